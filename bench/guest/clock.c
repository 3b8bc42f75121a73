/* Clocks: through the library that the kernel maps into each process, and the time-stamp counter. */
#include "sys.h"

struct timespec {
    long seconds, nanoseconds;
};
typedef int clock_function(int, struct timespec *);

#ifdef __x86_64__
typedef struct { u32 name; u8 info, other; uint16_t section; u64 value, size; } symbol;
typedef struct { u32 type, flags; u64 offset, address, physical, file_size, memory_size, align; } segment;
enum { SEGMENTS_AT = 32, SEGMENT_COUNT_AT = 56 };
#else
typedef struct { u32 name, value, size; u8 info, other; uint16_t section; } symbol;
typedef struct { u32 type, offset, address, physical, file_size, memory_size, flags, align; } segment;
enum { SEGMENTS_AT = 28, SEGMENT_COUNT_AT = 44 };
#endif
static const char clock_name[] = "__vdso_clock_gettime";

static int system_clock(int clock, struct timespec *time) { return (int)syscall2(SYS_clock_gettime, clock, time); }

/* The kernel maps a small shared library into each process; its clock_gettime reads the time without a system call. */
static clock_function *find_clock(void)
{
    uword *entry = (uword *)environment;
    while (*entry++) /* the auxiliary vector follows the environment */
        ;
    uword base = 0;
    for (; entry[0]; entry += 2)
        if (entry[0] == 33)
            base = entry[1];
    if (!base)
        return system_clock;
    const segment *segments = (const segment *)(base + *(uword *)(base + SEGMENTS_AT));
    const uword *dynamic = 0;
    for (u32 i = 0; i < *(uint16_t *)(base + SEGMENT_COUNT_AT); i++)
        if (segments[i].type == 2)
            dynamic = (const uword *)(base + segments[i].offset);
    const symbol *symbols = 0;
    const char *names = 0;
    const u32 *hash = 0;
    for (; dynamic && dynamic[0]; dynamic += 2) {
        if (dynamic[0] == 5)
            names = (const char *)(base + dynamic[1]);
        if (dynamic[0] == 6)
            symbols = (const symbol *)(base + dynamic[1]);
        if (dynamic[0] == 4)
            hash = (const u32 *)(base + dynamic[1]);
    }
    u32 count = hash ? hash[1] : 32; /* without the old hash table: there are about a dozen symbols, ours among the first */
    for (u32 i = 1; symbols && names && i < count; i++) {
        const char *a = names + symbols[i].name, *b = clock_name;
        while (*a && *a == *b)
            a++, b++;
        if (*a == *b)
            return (clock_function *)(base + symbols[i].value);
    }
    return system_clock;
}

static u64 read_tsc(void)
{
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

/* The checksum counts readings, and those that went backwards: none. */
u64 run_clock(u32 rounds)
{
    clock_function *now = find_clock();
    u64 backwards = 0, last = 0, readings = 0;
    while (rounds--)
        for (u32 i = 0; i < 500; i++, readings++) {
            struct timespec time;
            now(1, &time);
            u64 value = (u64)time.seconds * 1000000000u + (u64)time.nanoseconds;
            backwards += value < last;
            last = value;
        }
    return backwards << 32 | readings;
}

u64 run_rdtsc(u32 rounds)
{
    u64 backwards = 0, last = 0, readings = 0;
    while (rounds--)
        for (u32 i = 0; i < 500; i++, readings++) {
            u64 value = read_tsc();
            backwards += value < last;
            last = value;
        }
    return backwards << 32 | readings;
}
