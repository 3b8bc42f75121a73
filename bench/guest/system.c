/* Groups that go through the kernel: system calls, processes, switches between them, clocks. */
#include "sys.h"

u64 run_syscall(u32 rounds)
{
    u64 sum = 0;
    while (rounds--)
        for (u32 i = 0; i < 100; i++)
            sum += syscall0(SYS_getppid) >= 0;
    return sum;
}

/* A child that executes this program again and ends with status 7. */
u64 run_fork_exec(u32 rounds)
{
    char *arguments[] = {(char *)self_path, "child", 0};
    u64 sum = 0;
    while (rounds--) {
        long child = syscall0(SYS_fork);
        if (child == 0) {
            syscall3(SYS_execve, self_path, arguments, environment);
            syscall1(SYS_exit, 99);
        }
        u32 status = 0;
        syscall4(SYS_wait4, child, &status, 0, 0);
        sum = sum * 3 + (status >> 8);
    }
    return sum;
}

/* Two processes that wake each other through two pipes. */
u64 run_context_switch(u32 rounds)
{
    int there[2], back[2];
    u64 sum = 0;
    syscall1(SYS_pipe, there);
    syscall1(SYS_pipe, back);
    long child = syscall0(SYS_fork);
    if (child == 0) {
        u8 byte;
        syscall1(SYS_close, there[1]);
        while (syscall3(SYS_read, there[0], &byte, 1) == 1) {
            byte = (u8)(byte * 3 + 1);
            syscall3(SYS_write, back[1], &byte, 1);
        }
        syscall1(SYS_exit, 0);
    }
    for (u32 i = 0; i < rounds * 30; i++) {
        u8 byte = (u8)i;
        syscall3(SYS_write, there[1], &byte, 1);
        syscall3(SYS_read, back[0], &byte, 1);
        sum = sum * 3 + byte;
    }
    syscall1(SYS_close, there[1]);
    syscall4(SYS_wait4, child, 0, 0, 0);
    syscall1(SYS_close, there[0]);
    syscall1(SYS_close, back[0]);
    syscall1(SYS_close, back[1]);
    return sum;
}

/* -- clocks -------------------------------------------------------------------------------------------------------- */

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

/* The checksum counts readings that went backwards: none. */
u64 run_clock(u32 rounds)
{
    clock_function *now = find_clock();
    u64 backwards = 0, tsc_backwards = 0, last = 0, last_tsc = 0, readings = 0;
    while (rounds--) {
        for (u32 i = 0; i < 500; i++) {
            struct timespec time;
            now(1, &time);
            u64 value = (u64)time.seconds * 1000000000u + (u64)time.nanoseconds;
            backwards += value < last;
            last = value;
        }
        for (u32 i = 0; i < 500; i++) {
            u64 value = read_tsc();
            tsc_backwards += value < last_tsc;
            last_tsc = value;
        }
        readings += 1000;
    }
    return tsc_backwards << 48 | backwards << 32 | readings;
}
