/* Run a snippet on the host; exceptions it raises go on at the address in r13 with the vector stored at r15 + 1128. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uint64_t vector = (uint64_t)uc->uc_mcontext.gregs[REG_TRAPNO];
    (void)sig;
    (void)info;
    memcpy((char *)uc->uc_mcontext.gregs[REG_R15] + 1128, &vector, 8);
    uc->uc_mcontext.gregs[REG_RIP] = uc->uc_mcontext.gregs[REG_R13];
    uc->uc_mcontext.gregs[REG_EFL] &= ~(1 << 18);     /* AC: C code does not like it */
}

void run_native(void (*fn)(void *states, uint64_t n), void *states, uint64_t n)
{
    static const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGBUS};
    static const uint32_t mxcsr = 0x1f80;
    struct sigaction act, old[4];
    memset(&act, 0, sizeof(act));
    act.sa_sigaction = on_fault;
    act.sa_flags = SA_SIGINFO;
    for (int i = 0; i < 4; i++)
        sigaction(signals[i], &act, &old[i]);
    fn(states, n);
    __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
    for (int i = 0; i < 4; i++)
        sigaction(signals[i], &old[i], 0);
}
