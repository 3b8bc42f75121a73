/*
 * The benchmark guest: one static program without a C library. As /init of a kernel, or on the host itself, it runs
 * groups of loops and frames each with a line, so that whoever reads the console can take the CPU time between them:
 *
 *   BENCH begin integer
 *   BENCH end integer 5f1e...        <- the checksum
 *   BENCH done
 *
 * Arguments: names of groups (all, if there is none), scale=N, which multiplies the work (per cent; 100), and 'wait':
 * read a byte from the standard input after each line (on the host, where a group takes less than a scheduler's delay).
 */
#include "sys.h"

const char *self_path = "/init";
char **environment;

static const struct {
    const char *name;
    group_function *run;
    u32 rounds; /* 0.1 to 0.5 seconds of CPU time of QEMU's TCG on a machine of 2024 */
} groups[] = {
    {"integer", run_integer, 600},
    {"branchy", run_branchy, 60},
    {"calls", run_calls, 96},
    {"indirect", run_indirect, 400},
    {"streaming", run_streaming, 40},
    {"chasing", run_chasing, 20},
    {"strings", run_strings, 160},
    {"block-copy", run_block_copy, 300},
    {"sse-integer", run_sse_integer, 1200},
    {"sse-float", run_sse_float, 240},
    {"x87", run_x87, 280},
    {"syscall", run_syscall, 3600},
    {"fork-exec", run_fork_exec, 200},
    {"page-fault", run_page_fault, 100},
    {"context-switch", run_context_switch, 100},
    {"clock", run_clock, 3000},
    {"self-modifying", run_self_modifying, 30},
};
enum { GROUPS = sizeof groups / sizeof *groups };

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

    u32 scale = 100, chosen = 0;
    for (uword i = 1; i < count; i++)
        if (arguments[i][0] == 's' && arguments[i][5] == '=')
            scale = number(arguments[i] + 6);
        else if (equal(arguments[i], "wait"))
            waits = 1;
        else
            for (u32 g = 0; g < GROUPS; g++)
                chosen |= (u32)equal(arguments[i], groups[g].name) << g;

    line("start", "", 0, 0);
    for (u32 g = 0; g < GROUPS; g++) {
        if (chosen && !(chosen >> g & 1))
            continue;
        u32 rounds = groups[g].rounds * scale / 100;
        line("begin", groups[g].name, 0, 0);
        u64 checksum = groups[g].run(rounds ? rounds : 1);
        line("end", groups[g].name, checksum, 1);
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
