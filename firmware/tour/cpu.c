/* CPUID: the processor describes itself. (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix D and E.) */
#include "tour.h"

void cpuid(u32 leaf, u32 *a, u32 *b, u32 *c, u32 *d)
{
    *a = leaf;
    *c = 0;
    __asm__("cpuid" : "+a"(*a), "=b"(*b), "+c"(*c), "=d"(*d));
}

#ifndef __x86_64__ /* the rest is a stop of the 32-bit part */

/* An 80486 may lack CPUID. Where bit 21 of EFLAGS can be changed, there is one. */
static int has_cpuid(void)
{
    u32 before, after;
    __asm__("pushfl; popl %0; movl %0, %1; xorl $0x200000, %1; pushl %1; popfl; pushfl; popl %1; pushl %0; popfl"
            : "=&r"(before), "=&r"(after));
    return ((before ^ after) & 0x200000) != 0;
}

struct feature {
    u8 bit;
    const char *name;
};

static const struct feature leaf1_edx[] = {
    {0, "fpu"},   {3, "pse"},   {4, "tsc"},   {5, "msr"},   {6, "pae"},  {8, "cx8"},  {9, "apic"}, {11, "sep"},
    {12, "mtrr"}, {13, "pge"},  {15, "cmov"}, {16, "pat"},  {19, "clflush"}, {23, "mmx"}, {24, "fxsr"}, {25, "sse"},
    {26, "sse2"}, {0xff, 0},
};
static const struct feature leaf1_ecx[] = {
    {0, "sse3"},    {1, "pclmulqdq"}, {9, "ssse3"},  {12, "fma"},     {13, "cx16"}, {17, "pcid"},   {19, "sse4.1"},
    {20, "sse4.2"}, {21, "x2apic"},   {22, "movbe"}, {23, "popcnt"},  {24, "tsc-deadline"}, {25, "aes"},
    {26, "xsave"},  {28, "avx"},      {29, "f16c"},  {30, "rdrand"},  {31, "hypervisor"}, {0xff, 0},
};
static const struct feature leaf7_ebx[] = {
    {0, "fsgsbase"}, {3, "bmi1"}, {5, "avx2"}, {7, "smep"}, {8, "bmi2"}, {9, "erms"}, {10, "invpcid"},
    {18, "rdseed"},  {19, "adx"}, {20, "smap"}, {0xff, 0},
};
static const struct feature extended_edx[] = {
    {11, "syscall"}, {20, "nx"}, {26, "1gb-pages"}, {27, "rdtscp"}, {29, "long-mode"}, {0xff, 0},
};

static void say_features(const struct feature *table, u32 bits)
{
    for (; table->name; table++)
        if (bits >> table->bit & 1)
            say(" %s", table->name);
}

void visit_cpu(struct machine *m)
{
    u32 a, b, c, d, top, text[13];

    heading("The processor");
    if (!has_cpuid()) {
        say("No CPUID instruction: an 80486 or older.\n");
        return;
    }
    cpuid(0, &top, &text[0], &text[2], &text[1]); /* twelve characters in EBX, EDX, ECX */
    text[3] = 0;
    say("Vendor \"%s\".", (char *)text);

    cpuid(1, &a, &b, &c, &d);
    u32 family = a >> 8 & 15, model = a >> 4 & 15;
    if (family == 15 || family == 6)
        model |= a >> 12 & 0xf0;
    if (family == 15)
        family += a >> 20 & 255;
    say(" Family %u, model %u, stepping %u.\n", family, model, a & 15);
    m->has_apic = d >> 9 & 1;
    m->tsc_hz = d >> 4 & 1; /* there is one; clock.c finds out how fast it runs */
    say("It has:");
    say_features(leaf1_edx, d);
    say_features(leaf1_ecx, c);
    if (top >= 7) {
        cpuid(7, &a, &b, &c, &d);
        say_features(leaf7_ebx, b);
    }
    cpuid(0x80000000, &top, &b, &c, &d);
    if (top >= 0x80000001 && top < 0x80010000) {
        cpuid(0x80000001, &a, &b, &c, &d);
        say_features(extended_edx, d);
        m->has_long_mode = d >> 29 & 1;
    }
    say("\n");
    if (top >= 0x80000004 && top < 0x80010000) {
        for (u32 i = 0; i < 3; i++) /* 48 characters in three leaves */
            cpuid(0x80000002 + i, &text[4 * i], &text[4 * i + 1], &text[4 * i + 2], &text[4 * i + 3]);
        text[12] = 0;
        say("It calls itself \"%s\".\n", (char *)text);
    }
    if (top >= 0x80000008 && top < 0x80010000) {
        cpuid(0x80000008, &a, &b, &c, &d);
        say("Physical addresses have %u bits, virtual ones %u.\n", a & 255, a >> 8 & 255);
    }
}

#endif
