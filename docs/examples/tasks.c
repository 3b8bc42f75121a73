/* A kernel of one page, for docs/debugging.md: three tasks take turns for ever.

   gcc -m32 -g -O1 -ffreestanding -fno-pie -no-pie -nostdlib -static -Wl,--build-id=none,-Ttext-segment=0x100000 \
       -o tasks.elf docs/examples/tasks.c */

__asm__(".section .text.first, \"ax\"\n"
        ".balign 4\n"
        ".long 0x1badb002, 0, -0x1badb002\n"    /* Multiboot */
        ".globl _start\n"
        "_start: mov $stack_end, %esp\n"
        "        call kernel_main\n"
        ".bss\n"
        ".skip 4096\n"
        "stack_end:\n"
        ".text\n");

enum state { READY, RUNNING };

struct task {
    const char *name;
    enum state state;
    unsigned runs;
    struct task *next;
};

static struct task tasks[3] = {
    { "shell", READY, 0, &tasks[1] },
    { "clock", READY, 0, &tasks[2] },
    { "idle", READY, 0, &tasks[0] },
};
struct task *current = &tasks[2];
unsigned total;

__attribute__((noinline)) void run(struct task *task)
{
    task->state = RUNNING;
    task->runs++;
    total++;
    task->state = READY;
}

__attribute__((noinline)) void schedule(void)
{
    current = current->next;
    run(current);
}

void kernel_main(void)
{
    for (;;)
        schedule();
}
