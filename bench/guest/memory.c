/* Groups that move data: streams, chains of pointers, string instructions, pages. */
#include "sys.h"

enum { MIB = 1 << 20 };

/* Sum, scale and copy arrays that do not fit the caches of the host's core. */
u64 run_streaming(u32 rounds)
{
    enum { WORDS = 2 * MIB / 8 };
    u64 *a = map(5 * MIB, 0), *b = a + WORDS + 5 * 512, sum = 0; /* not a power of two apart: that is another test */
    for (u32 i = 0; i < WORDS; i++)
        a[i] = i * 0x9e3779b97f4a7c15ull;
    while (rounds--) {
        for (u32 i = 0; i < WORDS; i++)
            b[i] = a[i] * 5 + rounds;
        for (u32 i = 0; i < WORDS; i++)
            sum += b[i];
        for (u32 i = 0; i < WORDS; i++)
            a[i] = b[i] ^ sum;
    }
    unmap(a, 5 * MIB);
    return sum;
}

/* A chain through 16 MiB in random order: nearly every step misses the TLB. */
u64 run_chasing(u32 rounds)
{
    enum { LINES = 16 * MIB / 64 };
    u32 *memory = map(16 * MIB, 0), state = 99;
    u64 sum = 0;
    for (u32 i = 0; i < LINES; i++)
        memory[i * 16] = i;
    for (u32 i = LINES - 1; i > 0; i--) { /* Sattolo: one cycle through all */
        u32 j = next_random(&state) % i, swap = memory[i * 16];
        memory[i * 16] = memory[j * 16];
        memory[j * 16] = swap;
    }
    u32 at = 0;
    while (rounds--) {
        for (u32 i = 0; i < 100000; i++)
            at = memory[at * 16];
        sum = sum * 31 + at;
    }
    unmap(memory, 16 * MIB);
    return sum;
}

/* REP MOVS, STOS, SCAS, CMPS: short ones and long ones. */
static void rep_movsb(void *to, const void *from, uword n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}
static void rep_movsl(void *to, const void *from, uword n)
{
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}
static void rep_stosb(void *to, int value, uword n)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
}
static uword repne_scasb(const void *at, int value, uword n)
{
    __asm__ volatile("repne scasb" : "+D"(at), "+c"(n) : "a"(value) : "memory", "cc");
    return n;
}
static uword repe_cmpsb(const void *a, const void *b, uword n)
{
    __asm__ volatile("repe cmpsb" : "+D"(a), "+S"(b), "+c"(n) : : "memory", "cc");
    return n;
}

u64 run_strings(u32 rounds)
{
    enum { SIZE = 256 << 10 };
    u8 *a = map(SIZE, 0), *b = map(SIZE, 0);
    u64 sum = 0;
    for (u32 i = 0; i < SIZE; i++)
        a[i] = (u8)(i * 7 >> 2 | 1);
    while (rounds--) {
        rep_movsb(b, a, SIZE); /* long */
        rep_stosb(a + 1000, (int)rounds | 1, SIZE / 2);
        rep_movsl(a, b, SIZE / 8);
        sum = sum * 31 + b[rounds * 97 & (SIZE - 1)];
        b[5000] = 0;
        sum += repne_scasb(b, 0, 6000) + repe_cmpsb(a, b, 6000);
        for (u32 i = 0; i < 2000; i++) { /* short: the lengths of names and small structures */
            u32 n = 4 + (i * 13 & 31), at = i * 64 & (SIZE - 1);
            rep_movsb(b + at, a + at + 5, n);
            rep_stosb(a + at, (int)n, n);
            sum += repne_scasb(b + at, (int)n, n);
        }
    }
    unmap(a, SIZE);
    unmap(b, SIZE);
    return sum;
}

/* REP MOVSB of 256 KiB and nothing else: to be compared with the host's memmove. */
u64 run_block_copy(u32 rounds)
{
    enum { SIZE = 256 << 10 };
    u8 *a = map(SIZE, 0), *b = map(SIZE, 0);
    u64 sum = 0;
    for (u32 i = 0; i < SIZE; i++)
        a[i] = (u8)(i * 7 >> 2);
    while (rounds--) {
        rep_movsb(b, a, SIZE);
        sum = sum * 31 + b[rounds * 97 & (SIZE - 1)];
    }
    unmap(a, SIZE);
    unmap(b, SIZE);
    return sum;
}

/* First touch of fresh pages, and giving them back. */
u64 run_page_fault(u32 rounds)
{
    enum { PAGES = 256 };
    u64 sum = 0;
    while (rounds--) {
        u8 *memory = map(PAGES * 4096, 0);
        for (u32 i = 0; i < PAGES; i++)
            memory[i * 4096 + (i & 63)] = (u8)i;
        for (u32 i = 0; i < PAGES; i++)
            sum = sum * 3 + memory[i * 4096 + (i & 63)] + memory[i * 4096 + 100];
        unmap(memory, PAGES * 4096);
    }
    return sum;
}

/* Code that is written, run, patched and run again, in one place and in fresh ones. */
u64 run_self_modifying(u32 rounds)
{
    typedef u32 function(void);
    u8 *page = map(64 * 4096, 1);
    u64 sum = 0;
    while (rounds--) {
        for (u32 i = 0; i < 1000; i++) { /* mov eax, imm32; add eax, imm8; ret: patch the immediates */
            u32 value = i * 2654435761u;
            u8 code[] = {0xb8, (u8)value, (u8)(value >> 8), (u8)(value >> 16), (u8)(value >> 24), 0x83, 0xc0, (u8)i & 0x7f, 0xc3};
            for (u32 j = 0; j < sizeof code; j++)
                ((volatile u8 *)page)[j] = code[j];
            sum += ((function *)(void *)page)();
        }
        for (u32 i = 0; i < 1000; i++) { /* a new function, as a just-in-time compiler writes them; run a few times */
            u8 *at = page + 4096 + (i * 160) % (62 * 4096);
            u32 n = 0;
            at[n++] = 0xb8;
            for (u32 j = 0; j < 4; j++)
                at[n++] = (u8)(i >> j);
            for (u32 j = 0; j < 20; j++) {
                at[n++] = 0x05; /* add eax, imm32 */
                at[n++] = (u8)(i + j);
                at[n++] = (u8)j;
                at[n++] = 0;
                at[n++] = (u8)(rounds & 1);
            }
            at[n++] = 0xc3;
            for (u32 j = 0; j < 5; j++)
                sum = sum * 3 + ((function *)(void *)at)();
        }
    }
    unmap(page, 64 * 4096);
    return sum;
}
