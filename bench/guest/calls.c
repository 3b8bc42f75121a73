/* Calls, indirect jumps, and what is made of them: interpreters. */
#include "sys.h"

static KEEP u32 fibonacci(u32 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
static KEEP u32 ackermann(u32 m, u32 n)
{
    return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

/* Fibonacci and Ackermann by the book. */
u64 run_calls(u32 rounds)
{
    u64 sum = 0;
    while (rounds--)
        sum = sum * 31 + fibonacci(18) + ackermann(2, 30) + rounds;
    return sum;
}

static KEEP u32 f0(u32 x) { return x + 1; }
static KEEP u32 f1(u32 x) { return x * 3; }
static KEEP u32 f2(u32 x) { return x ^ x >> 3; }
static KEEP u32 f3(u32 x) { return x - 77; }

/* Calls through a table, in no order. */
u64 run_indirect(u32 rounds)
{
    static u32 (*volatile const table[4])(u32) = {f0, f1, f2, f3};
    u32 x = 1;
    while (rounds--)
        for (u32 i = 0; i < 10000; i++)
            x = table[(x ^ i) & 3](x);
    return x;
}

/* A machine of sixteen registers and a little memory; its program hashes numbers into a table and looks for primes. */
enum { SET, ADD, SUB, MUL, XOR, SHR, AND, LOAD, STORE, LESS, IF, GO, REM, STOP };
#define OP(op, a, b, c) ((u32)(op) | (u32)(a) << 8 | (u32)(b) << 16 | (u32)(u8)(c) << 24)

static const u32 program[] = {
    /* 0 */ OP(SET, 1, 2, 0),    /* r1: candidate; r15 = 1, r14: how many */
    /* 1 */ OP(SET, 15, 1, 0),
    /* 2 */ OP(SET, 2, 2, 0),    /* r2: divisor */
    /* 3 */ OP(MUL, 3, 2, 2),
    /* 4 */ OP(LESS, 4, 1, 3),
    /* 5 */ OP(IF, 4, 0, 6),     /* beyond the root: prime */
    /* 6 */ OP(REM, 5, 1, 2),
    /* 7 */ OP(ADD, 2, 2, 15),
    /* 8 */ OP(IF, 5, 0, -6),    /* to 3 */
    /* 9 */ OP(ADD, 1, 1, 15),
    /* 10 */ OP(GO, 0, 0, 9),    /* to 20 */
    /* 11: unused */ OP(STOP, 0, 0, 0),
    /* 12 */ OP(MUL, 6, 1, 13),  /* a prime: into the table */
    /* 13 */ OP(SHR, 7, 6, 4),
    /* 14 */ OP(XOR, 7, 7, 6),
    /* 15 */ OP(LOAD, 8, 7, 0),
    /* 16 */ OP(ADD, 8, 8, 1),
    /* 17 */ OP(STORE, 8, 7, 0),
    /* 18 */ OP(ADD, 14, 14, 8),
    /* 19 */ OP(ADD, 1, 1, 15),
    /* 20 */ OP(LESS, 4, 1, 12),
    /* 21 */ OP(IF, 4, 0, -20),  /* to 2 */
    /* 22 */ OP(STOP, 0, 0, 0),
};

static KEEP u32 run_switched(u32 limit, u32 *memory)
{
    u32 r[16] = {[12] = limit, [13] = 2654435761u};
    for (const u32 *ip = program;;) {
        u32 i = *ip++, a = i >> 8 & 15, b = i >> 16 & 15, c = i >> 24 & 15;
        switch (i & 255) {
        case SET: r[a] = i >> 16 & 255; break;
        case ADD: r[a] = r[b] + r[c]; break;
        case SUB: r[a] = r[b] - r[c]; break;
        case MUL: r[a] = r[b] * r[c]; break;
        case XOR: r[a] = r[b] ^ r[c]; break;
        case SHR: r[a] = r[b] >> c; break;
        case AND: r[a] = r[b] & r[c]; break;
        case LOAD: r[a] = memory[r[b] & 255]; break;
        case STORE: memory[r[b] & 255] = r[a]; break;
        case LESS: r[a] = r[b] < r[c]; break;
        case IF: ip += r[a] ? (int8_t)(i >> 24) : 0; break;
        case GO: ip += (int8_t)(i >> 24); break;
        case REM: r[a] = r[b] % r[c]; break;
        case STOP: return r[14];
        }
    }
}

static KEEP u32 run_threaded(u32 limit, u32 *memory)
{
    static const void *const labels[] = {&&set, &&add, &&sub, &&mul, &&xor, &&shr, &&and, &&load, &&store, &&less, &&if_, &&go, &&rem,
                                         &&stop};
    u32 r[16] = {[12] = limit, [13] = 2654435761u}, i;
    const u32 *ip = program;
#define A r[i >> 8 & 15]
#define B r[i >> 16 & 15]
#define C r[i >> 24 & 15]
#define NEXT i = *ip++; goto *labels[i & 255]
    NEXT;
set: A = i >> 16 & 255; NEXT;
add: A = B + C; NEXT;
sub: A = B - C; NEXT;
mul: A = B * C; NEXT;
xor: A = B ^ C; NEXT;
shr: A = B >> (i >> 24 & 15); NEXT;
and: A = B & C; NEXT;
load: A = memory[B & 255]; NEXT;
store: memory[B & 255] = A; NEXT;
less: A = B < C; NEXT;
if_: ip += A ? (int8_t)(i >> 24) : 0; NEXT;
go: ip += (int8_t)(i >> 24); NEXT;
rem: A = B % C; NEXT;
stop:
    return r[14];
}

static u64 interpreted(u32 rounds, u32 (*run)(u32, u32 *))
{
    static u32 memory[256];
    u64 sum = 0;
    for (u32 i = 0; i < 256; i++)
        memory[i] = 0;
    while (rounds--)
        sum = sum * 31 + run(600, memory);
    return sum;
}

u64 run_vm_switch(u32 rounds) { return interpreted(rounds, run_switched); }
u64 run_vm_threaded(u32 rounds) { return interpreted(rounds, run_threaded); }

/* The same, each operation a function called through a table. */
struct machine {
    u32 r[16], *memory;
    const u32 *ip;
};
typedef int operation(struct machine *m, u32 i);
#define OPERATION(name, work) static int name(struct machine *m, u32 i) { u32 *r = m->r; (void)r; (void)i; work; return 1; }
OPERATION(do_set, A = i >> 16 & 255)
OPERATION(do_add, A = B + C)
OPERATION(do_sub, A = B - C)
OPERATION(do_mul, A = B * C)
OPERATION(do_xor, A = B ^ C)
OPERATION(do_shr, A = B >> (i >> 24 & 15))
OPERATION(do_and, A = B & C)
OPERATION(do_load, A = m->memory[B & 255])
OPERATION(do_store, m->memory[B & 255] = A)
OPERATION(do_less, A = B < C)
OPERATION(do_if, m->ip += A ? (int8_t)(i >> 24) : 0)
OPERATION(do_go, m->ip += (int8_t)(i >> 24))
OPERATION(do_rem, A = B % C)
static int do_stop(struct machine *m, u32 i) { return (void)m, (void)i, 0; }

static u32 run_called(u32 limit, u32 *memory)
{
    static operation *const table[] = {do_set, do_add, do_sub, do_mul, do_xor, do_shr, do_and, do_load, do_store, do_less, do_if, do_go,
                                       do_rem, do_stop};
    struct machine m = {.r = {[12] = limit, [13] = 2654435761u}, .memory = memory, .ip = program};
    u32 i;
    do
        i = *m.ip++;
    while (table[i & 255](&m, i));
    return m.r[14];
}

u64 run_vm_calls(u32 rounds) { return interpreted(rounds, run_called); }
