/* The stops in 64-bit long mode. */
#include "tour.h"

/* SSE2: floating point with one instruction a step, in registers of 128 bits. */
static void visit_sse(void)
{
    uword control;
    u64 billion = 1000000000, two = 2, result;
    u32 digits;

    __asm__("mov %%cr4, %0" : "=r"(control));
    control |= 3 << 9; /* CR4.OSFXSR and OSXMMEXCPT: "the operating system knows about these registers" */
    __asm__ volatile("mov %0, %%cr4" : : "r"(control));
    __asm__ volatile("cvtsi2sdq %1, %%xmm0; sqrtsd %%xmm0, %%xmm0; cvtsi2sdq %2, %%xmm1; mulsd %%xmm1, %%xmm0;"
                     "cvttsd2siq %%xmm0, %0" : "=r"(result) : "r"(two), "r"(billion));
    u64 whole = divide(result, (u32)billion, &digits);
    say("SSE2 says that the square root of 2 is %U.%09u.\n", whole, digits);
}

static void visit_64_bits(void)
{
    u64 tables, product_high, product_low;

    heading("Long mode");
    __asm__("mov %%cr3, %0" : "=r"(tables));
    say("EFER is 0x%X: long mode is active (bit 10). The page tables start at 0x%X.\n", read_msr(0xc0000080), tables);
    __asm__("mulq %3" : "=d"(product_high), "=a"(product_low) : "a"(~0ull), "r"(~0ull));
    say("The square of 2^64-1 is 0x%016X%016X: one instruction.\n", product_high, product_low);
    visit_sse();
}

void tour64(struct machine *m)
{
    visit_64_bits();
    interrupts_start();
    visit_apic(m);
    power_off(m);
}
