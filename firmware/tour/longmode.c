/*
 * The door to 64-bit mode. Long mode needs paging, with page tables of four levels: 9 bits of the address select an
 * entry in each, 12 bits are left for the byte in the page. We use large pages of 2 MiB, which end a level earlier,
 * and map the first 4 GiB to themselves, so that no address changes its meaning.
 */
#include "tour.h"

#define PAGE __attribute__((aligned(4096)))
static PAGE u64 level4[512], level3[512], level2[4][512];

enum { PRESENT = 1, WRITABLE = 2, LARGE = 0x80 };

__attribute__((noreturn)) void into_long_mode(struct machine *m, u64 *top); /* head32.S */

void enter_long_mode(struct machine *m)
{
    level4[0] = (u32)level3 | PRESENT | WRITABLE;
    for (u32 i = 0; i < 4; i++) {
        level3[i] = (u32)level2[i] | PRESENT | WRITABLE;
        for (u32 j = 0; j < 512; j++)
            level2[i][j] = ((u64)i << 30 | (u64)j << 21) | PRESENT | WRITABLE | LARGE;
    }
    into_long_mode(m, level4);
}

/* The x87 coprocessor: pi is one of its seven constants. Shown here as the last thing of the 32-bit part. */
void visit_x87(void)
{
    u32 control, billion = 1000000000, digits;
    u64 result;

    heading("Floating point");
    __asm__("mov %%cr0, %0" : "=r"(control));
    control &= ~(1u << 2 | 1u << 3); /* CR0.EM, CR0.TS: without them instructions go to the coprocessor, not to a trap */
    __asm__ volatile("mov %0, %%cr0; fninit" : : "r"(control));
    __asm__ volatile("fldpi; fimull %1; fistpll %0" : "=m"(result) : "m"(billion));
    u64 whole = divide(result, billion, &digits);
    say("The x87 says that pi is %U.%09u (its registers have 64 bits of mantissa).\n", whole, digits);
}
