/*
 * The benchmark guest: one static program without a C library. As /init of a kernel, or on the host itself, it runs
 * workloads and frames each with a line, so that whoever reads the console can take the CPU time between them:
 *
 *   BENCH begin alu
 *   BENCH end alu 5f1e...        <- the checksum
 *   BENCH skip matrix-avx        <- the processor has not what it takes
 *   BENCH done
 *
 * Arguments: run=NAME,NAME... (all, if there is none), scale=N, which multiplies the work (per cent; 100), and 'wait':
 * read a byte from the standard input after each line, so that nothing runs while the time is taken.
 */
#include "sys.h"

const char *self_path = "/init";
char **environment;

static const struct {
    const char *name;
    workload *run;
    u32 rounds, needs;
} workloads[] = {
#define WORKLOAD(name, function, rounds, needs) {name, function, rounds, needs},
#include "table.h"
};
enum { WORKLOADS = sizeof workloads / sizeof *workloads };

/* The compiler may call these three. */
void *memcpy(void *to, const void *from, uword count)
{
    u8 *t = to;
    const u8 *f = from;
    while (count--)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int value, uword count)
{
    u8 *t = to;
    while (count--)
        *t++ = (u8)value;
    return to;
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* Is 'name' one of the names in a list with commas between them? */
static int listed(const char *list, const char *name)
{
    for (;;) {
        const char *c = name;
        while (*c && *c == *list)
            c++, list++;
        if (!*c && (!*list || *list == ','))
            return 1;
        while (*list && *list != ',')
            list++;
        if (!*list++)
            return 0;
    }
}

/* What the processor has and the kernel has switched on. */
static u32 features(void)
{
    u32 a, b, c, d, low, high;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
    if (a < 7)
        return 0;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
    if (~c & (1u << 28 | 1 << 27 | 1 << 12)) /* AVX, OSXSAVE, FMA */
        return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    return (low & 6) == 6 && b >> 5 & 1 ? NEEDS_AVX2 : 0;
}

static int waits;

static void line(const char *word, const char *name, u64 checksum, int with_checksum)
{
    char text[80], *p = text;
    const char *parts[] = {"BENCH ", word, *name ? " " : "", name};
    for (int i = 0; i < 4; i++)
        for (const char *c = parts[i]; *c; c++)
            *p++ = *c;
    if (with_checksum) {
        *p++ = ' ';
        for (int shift = 60; shift >= 0; shift -= 4)
            *p++ = "0123456789abcdef"[checksum >> shift & 15];
    }
    *p++ = '\n';
    syscall3(SYS_write, 1, text, p - text);
    syscall3(SYS_ioctl, 1, 0x5409, 1); /* TCSBRK: until it has left the serial port */
    if (waits)
        syscall3(SYS_read, 0, text, 1);
}

static u32 number(const char *text)
{
    u32 value = 0;
    while (*text >= '0' && *text <= '9')
        value = value * 10 + (u32)(*text++ - '0');
    return value;
}

void start(uword *stack)
{
    uword count = stack[0];
    char **arguments = (char **)(stack + 1);
    environment = arguments + count + 1;
    if (count > 1 && equal(arguments[1], "child")) /* what fork-exec executes */
        syscall1(SYS_exit, 7);
    if (syscall0(SYS_getpid) != 1)
        self_path = arguments[0];

    u32 scale = 100, has = features();
    const char *chosen = 0;
    for (uword i = 1; i < count; i++)
        if (listed(arguments[i], "wait"))
            waits = 1;
        else if (arguments[i][0] == 's')
            scale = number(arguments[i] + sizeof "scale");
        else
            chosen = arguments[i] + sizeof "run";

    line("start", "", 0, 0);
    for (u32 i = 0; i < WORKLOADS; i++) {
        const char *name = workloads[i].name;
        if (chosen && !listed(chosen, name))
            continue;
        if (workloads[i].needs & ~has) {
            line("skip", name, 0, 0);
            continue;
        }
        u32 rounds = workloads[i].rounds * scale / 100;
        line("begin", name, 0, 0);
        u64 checksum = workloads[i].run(rounds ? rounds : 1);
        line("end", name, checksum, 1);
    }
    line("done", "", 0, 0);
    if (syscall0(SYS_getpid) == 1)
        syscall4(SYS_reboot, 0xfee1dead, 0x28121969, 0x4321fedc, 0); /* power off */
    syscall1(SYS_exit, 0);
}

/* The kernel starts us with the arguments on the stack, as no C function expects them. */
#ifdef __x86_64__
__asm__(".globl _start\n_start: movq %rsp, %rdi; andq $-16, %rsp; call start; hlt");
#else
__asm__(".globl _start\n_start: movl %esp, %eax; andl $-16, %esp; subl $12, %esp; pushl %eax; call start; hlt");
#endif
