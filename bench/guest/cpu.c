/* Groups that only compute: integers, branches, calls, indirect jumps. */
#include "sys.h"

#define KEEP __attribute__((noinline))

/* Multiplication, division, shifts, and a CRC bit by bit. */
static KEEP u64 alu(u64 x)
{
    u64 sum = 0;
    for (u32 i = 1; i < 20000; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        sum ^= x >> 29 ^ x << 7;
        sum += (x >> 32) & i;
    }
    return sum;
}

static KEEP u32 divisions(u32 x)
{
    u32 sum = 0;
    for (u32 i = 1; i < 6000; i++) {
        next_random(&x);
        sum += x / (i * 7 + 1) + x % (i + 3);
    }
    return sum;
}

static KEEP u32 crc(u32 x)
{
    u32 value = ~0u;
    for (u32 i = 0; i < 2000; i++) {
        value ^= next_random(&x) & 255;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (0xedb88320 & -(value & 1));
    }
    return value;
}

u64 run_integer(u32 rounds)
{
    u64 sum = 1;
    while (rounds--)
        sum = sum * 31 + alu(sum) + divisions((u32)sum | 1) + crc((u32)(sum >> 32) | 1);
    return sum;
}

/* Quicksort and the sieve of Eratosthenes: branches that cannot be predicted. */
static void sort(u32 *low, u32 *high)
{
    while (low < high) {
        u32 pivot = low[(high - low) / 2], *i = low, *j = high;
        while (i <= j) {
            while (*i < pivot)
                i++;
            while (*j > pivot)
                j--;
            if (i <= j) {
                u32 swap = *i;
                *i++ = *j;
                *j-- = swap;
            }
        }
        sort(low, j);
        low = i;
    }
}

static u32 numbers[16384];
static u8 composite[65536];

u64 run_branchy(u32 rounds)
{
    u64 sum = 0;
    u32 state = 12345;
    while (rounds--) {
        for (u32 i = 0; i < 16384; i++)
            numbers[i] = next_random(&state);
        sort(numbers, numbers + 16383);
        sum = sum * 31 + numbers[5000] + numbers[12000];
        for (u32 i = 0; i < 65536; i++)
            composite[i] = 0;
        u32 primes = 0;
        for (u32 i = 2; i < 65536; i++)
            if (!composite[i]) {
                primes++;
                for (u32 j = i * 2; j < 65536; j += i)
                    composite[j] = 1;
            }
        sum += primes;
    }
    return sum;
}

/* Calls and returns: Fibonacci and Ackermann by the book. */
static KEEP u32 fibonacci(u32 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
static KEEP u32 ackermann(u32 m, u32 n)
{
    return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

u64 run_calls(u32 rounds)
{
    u64 sum = 0;
    while (rounds--)
        sum = sum * 31 + fibonacci(24) + ackermann(2, 150) + (u32)rounds;
    return sum;
}

/* Indirect jumps: a little interpreter with one jump an instruction, and calls through a table. */
enum { PUSH, ADD, XOR, SHIFT, LOOP, SWAP, COUNT, STOP };

static KEEP u64 interpret(const u8 *code, u32 times)
{
    static const void *const labels[] = {&&push, &&add, &&xor, &&shift, &&loop, &&swap, &&count, &&stop};
    u64 a = 1, b = 2;
    const u8 *ip = code;
#define NEXT goto *labels[*ip++]
    NEXT;
push: b = a, a = *ip++; NEXT;
add: a += b; NEXT;
xor: a ^= b; NEXT;
shift: a = a << 5 | a >> 59; NEXT;
swap: { u64 t = a; a = b; b = t; } NEXT;
count: a += times; NEXT;
loop:
    if (--times)
        ip = code;
    NEXT;
stop:
    return a ^ b;
}

static KEEP u32 f0(u32 x) { return x + 1; }
static KEEP u32 f1(u32 x) { return x * 3; }
static KEEP u32 f2(u32 x) { return x ^ x >> 3; }
static KEEP u32 f3(u32 x) { return x - 77; }

u64 run_indirect(u32 rounds)
{
    static const u8 code[] = {ADD, SHIFT, XOR, SWAP, ADD, COUNT, SHIFT, PUSH, 17, ADD, XOR, SHIFT, SWAP, ADD, LOOP, STOP};
    static u32 (*volatile const table[4])(u32) = {f0, f1, f2, f3};
    u64 sum = 0;
    u32 x = 1;
    while (rounds--) {
        sum = sum * 31 + interpret(code, 3000);
        for (u32 i = 0; i < 20000; i++)
            x = table[(x ^ i) & 3](x);
        sum += x;
    }
    return sum;
}
