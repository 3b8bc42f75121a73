/* Run a snippet on the host, in 64-bit or compatibility mode. An exception goes on at the address in r13, its vector stored in the
   state: at r15 + 1128, or rbp + 1128 in compatibility mode. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { CODE32 = 0x23, CODE64 = 0x33 };      /* Linux's selectors */

static void on_fault(int sig, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint64_t vector = (uint64_t)r[REG_TRAPNO];
    (void)sig;
    (void)info;
    memcpy((char *)r[(r[REG_CSGSFS] & 0xffff) == CODE32 ? REG_RBP : REG_R15] + 1128, &vector, 8);
    r[REG_RIP] = r[REG_R13];
    r[REG_EFL] &= ~(1 << 18);               /* AC: C code does not like it */
}

void *low_memory(size_t size)
{
    void *p = mmap(0, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    return p == MAP_FAILED ? 0 : p;
}

void run_native(void (*fn)(void *states, uint64_t n, void *stack, uint64_t cs32, uint64_t cs64), void *states, uint64_t n, uint64_t bits)
{
    static const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGBUS};
    static const uint32_t mxcsr = 0x1f80;
    static char *low;
    struct sigaction act, old[4];
    stack_t stack = {0}, old_stack;
    if (!low)
        low = low_memory(0x20000);
    stack.ss_sp = low + 0x10000;            /* signals in compatibility mode */
    stack.ss_size = 0x10000;
    if (bits == 32)
        sigaltstack(&stack, &old_stack);
    memset(&act, 0, sizeof(act));
    act.sa_sigaction = on_fault;
    act.sa_flags = SA_SIGINFO | (bits == 32 ? SA_ONSTACK : 0);
    for (int i = 0; i < 4; i++)
        sigaction(signals[i], &act, &old[i]);
    fn(states, n, low + 0xf000, CODE32, CODE64);
    __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
    for (int i = 0; i < 4; i++)
        sigaction(signals[i], &old[i], 0);
    if (bits == 32)
        sigaltstack(&old_stack, 0);
}
