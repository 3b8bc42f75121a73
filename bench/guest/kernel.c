/* Through the kernel: system calls, faults, signals, processes, pipes, files. */
#include "sys.h"

u64 run_syscall(u32 rounds)
{
    u64 sum = 0;
    while (rounds--)
        for (u32 i = 0; i < 100; i++)
            sum += syscall0(SYS_getppid) >= 0;
    return sum;
}

/* First touch of fresh pages, and giving them back. */
u64 run_page_fault(u32 rounds)
{
    enum { PAGES = 64 };
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

/* Stores to pages without the right, which a signal handler gives: as garbage collectors and debuggers do. */
struct action {
    void (*handler)(int, const u8 *, void *);
    unsigned long flags;
    void (*restorer)(void);
    u32 mask[2];
};
enum { SIGSEGV = 11, SA_SIGINFO = 4, SA_RESTORER = 0x04000000, ADDRESS_AT = sizeof(uword) == 8 ? 16 : 12 };
void restore_signal(void);
#ifdef __x86_64__
__asm__("restore_signal: movl $15, %eax; syscall");
#else
__asm__("restore_signal: movl $173, %eax; int $0x80");
#endif
static volatile u32 signals;

static void allow(int number, const u8 *info, void *context)
{
    (void)number, (void)context;
    syscall3(SYS_mprotect, *(const uword *)(info + ADDRESS_AT) & ~4095ul, 4096, 3);
    signals++;
}

u64 run_signal(u32 rounds)
{
    enum { PAGES = 16 };
    struct action action = {allow, SA_SIGINFO | SA_RESTORER, restore_signal, {0, 0}}, before;
    u8 *memory = map(PAGES * 4096, 0);
    u64 sum = 0;
    signals = 0;
    syscall4(SYS_rt_sigaction, SIGSEGV, &action, &before, 8);
    for (u32 i = 0; i < PAGES; i++)
        memory[i * 4096] = 1;
    while (rounds--) {
        syscall3(SYS_mprotect, memory, PAGES * 4096, 1);
        for (u32 i = 0; i < PAGES; i++)
            ((volatile u8 *)memory)[i * 4096] += (u8)i;
        sum = sum * 3 + memory[4096 * 5];
    }
    syscall4(SYS_rt_sigaction, SIGSEGV, &before, 0, 8);
    unmap(memory, PAGES * 4096);
    return sum * 31 + signals;
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
u64 run_pipe(u32 rounds)
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

/* Write a file in memory, read it again; open another. */
u64 run_file(u32 rounds)
{
    enum { BLOCKS = 16, SIZE = 4096 };
    static u8 block[SIZE];
    long file = syscall2(SYS_memfd_create, "bench", 0);
    u64 sum = 0;
    while (rounds--) {
        syscall3(SYS_lseek, file, 0, 0);
        for (u32 i = 0; i < BLOCKS; i++) {
            block[i * 11] = (u8)(rounds + i);
            syscall3(SYS_write, file, block, SIZE);
        }
        syscall3(SYS_lseek, file, 0, 0);
        for (u32 i = 0; i < BLOCKS; i++) {
            syscall3(SYS_read, file, block, SIZE - 512); /* not a whole page */
            sum = sum * 3 + block[i * 11] + block[100];
        }
        for (u32 i = 0; i < 8; i++) {
            long other = syscall3(SYS_open, self_path, 0, 0);
            sum += (u64)syscall3(SYS_read, other, block, 64) + block[1];
            syscall1(SYS_close, other);
        }
    }
    syscall1(SYS_close, file);
    return sum;
}
