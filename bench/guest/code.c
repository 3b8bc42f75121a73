/* Code that is written while the program runs. */
#include "sys.h"

typedef u32 function(void);

/* Constants patched into one function, which runs after each patch. */
u64 run_patch(u32 rounds)
{
    u8 *page = map(4096, 1);
    u64 sum = 0;
    while (rounds--)
        for (u32 i = 0; i < 100; i++) { /* mov eax, imm32; add eax, imm8; ret */
            u32 value = i * 2654435761u;
            u8 code[] = {0xb8, (u8)value, (u8)(value >> 8), (u8)(value >> 16), (u8)(value >> 24), 0x83, 0xc0, (u8)i & 0x7f, 0xc3};
            for (u32 j = 0; j < sizeof code; j++)
                ((volatile u8 *)page)[j] = code[j];
            sum += ((function *)(void *)page)();
        }
    unmap(page, 4096);
    return sum;
}

/* A loop that patches an instruction of its own. */
u64 run_patch_loop(u32 rounds)
{
    u8 *page = map(4096, 1);
    u64 sum = 0;
    /* xor eax, eax; mov ecx, 50; again: add eax, 1 (its constant changes); mov [constant], cl; dec ecx; jnz again; ret */
    static const u8 code[] = {0x31, 0xc0, 0xb9, 50, 0, 0, 0, 0x05, 1, 0, 0, 0, 0x88, 0x0d, 0, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf1, 0xc3};
    for (u32 i = 0; i < sizeof code; i++)
        page[i] = code[i];
    u32 where = sizeof(uword) == 8 ? (u32)(8 - 18) : (u32)(uword)page + 8;
    for (u32 i = 0; i < 4; i++)
        page[14 + i] = (u8)(where >> 8 * i);
    while (rounds--)
        sum = sum * 31 + ((function *)(void *)page)();
    unmap(page, 4096);
    return sum;
}

/* A new function, as a just-in-time compiler writes them; it runs a few times. */
u64 run_fresh(u32 rounds)
{
    u8 *page = map(64 * 4096, 1);
    u64 sum = 0;
    u32 next = 0;
    while (rounds--)
        for (u32 i = 0; i < 100; i++) {
            u8 *at = page + next * 160 % (63 * 4096);
            u32 n = 0;
            next++;
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
    unmap(page, 64 * 4096);
    return sum;
}

/* A compiler of formulas: translates a row of operations into a loop of machine code and runs it for a while. */
static u32 translate(u8 *at, u32 seed, u32 turns)
{
    u32 n = 0, loop;
    at[n++] = 0xb8; /* mov eax, seed */
    for (u32 j = 0; j < 4; j++)
        at[n++] = (u8)(seed >> 8 * j);
    at[n++] = 0xb9; /* mov ecx, turns */
    for (u32 j = 0; j < 4; j++)
        at[n++] = (u8)(turns >> 8 * j);
    loop = n;
    for (u32 k = 0; k < 16; k++) {
        u32 value = next_random(&seed);
        switch (value & 3) {
        case 0: at[n++] = 0x05; break;                  /* add eax, imm32 */
        case 1: at[n++] = 0x35; break;                  /* xor eax, imm32 */
        case 2: at[n++] = 0x69; at[n++] = 0xc0; break;  /* imul eax, eax, imm32 */
        case 3: at[n++] = 0x2d; break;                  /* sub eax, imm32 */
        }
        for (u32 j = 0; j < 4; j++)
            at[n++] = (u8)(value >> 8 * j) | 1;
        at[n++] = 0xc1, at[n++] = 0xc0, at[n++] = (u8)((value >> 9 & 15) | 1); /* rol eax, imm8 */
    }
    at[n++] = 0xff, at[n++] = 0xc9; /* dec ecx */
    at[n++] = 0x0f, at[n++] = 0x85; /* jnz */
    u32 back = loop - (n + 4);
    for (u32 j = 0; j < 4; j++)
        at[n++] = (u8)(back >> 8 * j);
    at[n++] = 0xc3;
    return n;
}

u64 run_guest_jit(u32 rounds)
{
    enum { SIZE = 64 * 4096 };
    u8 *page = map(SIZE, 1);
    u64 sum = 0;
    u32 at = 0, seed = 77;
    while (rounds--)
        for (u32 i = 0; i < 20; i++) {
            if (at > SIZE - 512)
                at = 0;
            function *made = (function *)(void *)(page + at);
            at += (translate(page + at, next_random(&seed), 100) + 15) & ~15u;
            for (u32 j = 0; j < 5; j++)
                sum = sum * 3 + made();
        }
    unmap(page, SIZE);
    return sum;
}
