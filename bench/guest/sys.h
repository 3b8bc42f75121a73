/* System calls of Linux without a C library, for 64-bit and 32-bit x86. */
#ifndef SYS_H
#define SYS_H

#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef unsigned long uword;

#ifdef __x86_64__
enum { SYS_read = 0, SYS_write = 1, SYS_mmap = 9, SYS_munmap = 11, SYS_ioctl = 16, SYS_pipe = 22, SYS_getppid = 110,
       SYS_fork = 57, SYS_execve = 59, SYS_exit = 60, SYS_wait4 = 61, SYS_open = 2, SYS_close = 3, SYS_reboot = 169, SYS_getpid = 39,
       SYS_clock_gettime = 228, SYS_lseek = 8, SYS_mprotect = 10, SYS_rt_sigaction = 13, SYS_memfd_create = 319 };

static inline long syscall6(long n, uword a, uword b, uword c, uword d, uword e, uword f)
{
    long result;
    register uword r10 __asm__("r10") = d;
    register uword r8 __asm__("r8") = e;
    register uword r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#else
enum { SYS_read = 3, SYS_write = 4, SYS_mmap = 192, SYS_munmap = 91, SYS_ioctl = 54, SYS_pipe = 42, SYS_getppid = 64,
       SYS_fork = 2, SYS_execve = 11, SYS_exit = 1, SYS_wait4 = 114, SYS_open = 5, SYS_close = 6, SYS_reboot = 88, SYS_getpid = 20,
       SYS_clock_gettime = 265, SYS_lseek = 19, SYS_mprotect = 125, SYS_rt_sigaction = 174, SYS_memfd_create = 356 };

static inline long syscall6(long n, uword a, uword b, uword c, uword d, uword e, uword f)
{
    uword more[2] = {a, f}; /* EBX may be the caller's, EBP is: both by way of memory */
    long result;
    __asm__ volatile("pushl %%ebx; pushl %%ebp; movl 4(%%ebx), %%ebp; movl (%%ebx), %%ebx; int $0x80; popl %%ebp; popl %%ebx"
                     : "=a"(result) : "a"(n), "b"(more), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return result;
}
#endif

#define syscall0(n) syscall6(n, 0, 0, 0, 0, 0, 0)
#define syscall1(n, a) syscall6(n, (uword)(a), 0, 0, 0, 0, 0)
#define syscall2(n, a, b) syscall6(n, (uword)(a), (uword)(b), 0, 0, 0, 0)
#define syscall3(n, a, b, c) syscall6(n, (uword)(a), (uword)(b), (uword)(c), 0, 0, 0)
#define syscall4(n, a, b, c, d) syscall6(n, (uword)(a), (uword)(b), (uword)(c), (uword)(d), 0, 0)

/* Fresh zero pages; with 'executable' for code written at run time. Memory is reserved when it is touched. */
static inline void *map(uword size, int executable)
{
    return (void *)syscall6(SYS_mmap, 0, size, executable ? 7 : 3, 0x4022, (uword)-1, 0);
}
static inline void unmap(void *at, uword size) { syscall2(SYS_munmap, at, size); }

/* bench.c */
extern const char *self_path;
extern char **environment;
/* The next of a series of pseudo-random numbers (xorshift). */
static inline u32 next_random(u32 *state)
{
    u32 x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

#define KEEP __attribute__((noinline))
enum { MIB = 1 << 20 };

/* A workload: does its work 'rounds' times and returns a checksum that every correct CPU agrees on. */
typedef u64 workload(u32 rounds);
enum { NEEDS_AVX2 = 1 };
#define WORKLOAD(name, function, rounds, needs) workload function;
#include "table.h" /* made of bench/workloads.py */
#undef WORKLOAD

#endif
