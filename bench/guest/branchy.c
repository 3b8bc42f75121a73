/* Branches that cannot be predicted. */
#include "sys.h"

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

/* Quicksort. */
u64 run_sort(u32 rounds)
{
    static u32 numbers[4096];
    u64 sum = 0;
    u32 state = 12345;
    while (rounds--) {
        for (u32 i = 0; i < 4096; i++)
            numbers[i] = next_random(&state);
        sort(numbers, numbers + 4095);
        sum = sum * 31 + numbers[1000] + numbers[3000];
    }
    return sum;
}

/* The sieve of Eratosthenes. */
u64 run_sieve(u32 rounds)
{
    static u8 composite[65536];
    u64 sum = 0;
    while (rounds--) {
        for (u32 i = 0; i < 65536; i++)
            composite[i] = 0;
        u32 primes = 0;
        for (u32 i = 2; i < 65536; i++)
            if (!composite[i]) {
                primes++;
                for (u32 j = i * 2; j < 65536; j += i)
                    composite[j] = 1;
            }
        sum = sum * 31 + primes;
    }
    return sum;
}

/* Steps of the Collatz sequence: a block of two or three instructions, a branch. */
u64 run_collatz(u32 rounds)
{
    u64 sum = 0;
    u32 start = 1;
    while (rounds--)
        for (u32 i = 0; i < 1000; i++) {
            uword x = start++ & 0xfffff;
            while (x > 1) {
                if (x & 1)
                    x = 3 * x + 1;
                else
                    x >>= 1;
                sum++;
            }
        }
    return sum;
}

/* A text taken apart by a machine of states: words, numbers, strings, comments. */
u64 run_tokens(u32 rounds)
{
    static u8 text[8192];
    static const char alphabet[] = "abcdefghij  \n\n0123456789+-*/(){}\"#_xyz";
    u64 sum = 0;
    u32 state = 3;
    for (u32 i = 0; i < sizeof text; i++)
        text[i] = (u8)alphabet[next_random(&state) % (sizeof alphabet - 1)];
    while (rounds--) {
        u32 words = 0, numbers = 0, others = 0, comments = 0, i = 0;
        while (i < sizeof text) {
            u8 c = text[i++];
            if (c == ' ' || c == '\n')
                continue;
            if ((c >= 'a' && c <= 'z') || c == '_') {
                while (i < sizeof text && ((text[i] >= 'a' && text[i] <= 'z') || text[i] == '_' || (text[i] >= '0' && text[i] <= '9')))
                    i++;
                words++;
            } else if (c >= '0' && c <= '9') {
                u32 value = 0;
                do
                    value = value * 10 + c - '0';
                while (i < sizeof text && (c = text[i]) >= '0' && c <= '9' && ++i);
                numbers += value;
            } else if (c == '#') {
                while (i < sizeof text && text[i] != '\n')
                    i++;
                comments++;
            } else {
                others = others * 3 + c;
            }
        }
        sum = sum * 31 + words + numbers + others + comments;
    }
    return sum;
}
