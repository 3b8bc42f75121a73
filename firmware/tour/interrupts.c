/*
 * Interrupts. A device raises a wire; an interrupt controller turns it into a number, the vector; the CPU looks the
 * vector up in the interrupt descriptor table (IDT), saves where it was, and goes to the address it finds there.
 */
#include "tour.h"

/* What the stub in head32.S or head64.S leaves on the stack. */
struct frame {
#ifdef __x86_64__
    uword registers[15];
#else
    uword registers[8];
#endif
    uword vector, error, ip, cs, flags;
};

/* An entry of the IDT: the address in pieces, a code segment, and a type (0x8e: present, interrupt gate). */
static struct gate {
    u16 low, selector;
    u8 stack, type;
    u16 middle;
#ifdef __x86_64__
    u32 high, zero;
#endif
} idt[VECTORS];

volatile u32 interrupt_count[VECTORS];

extern const u8 interrupt_stubs[];

void interrupts_start(void)
{
    for (u32 i = 0; i < VECTORS; i++) {
        uword address = (uword)interrupt_stubs + 16 * i;
        idt[i].low = (u16)address;
        idt[i].middle = (u16)(address >> 16);
        idt[i].type = 0x8e;
#ifdef __x86_64__
        idt[i].high = (u32)(address >> 32);
        idt[i].selector = 0x18; /* our segments: see head32.S */
#else
        idt[i].selector = 0x08;
#endif
    }
    struct {
        u16 limit;
        uword base;
    } __attribute__((packed)) pointer = {sizeof idt - 1, (uword)idt};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

/* Called by every stub. */
void on_interrupt(const struct frame *frame)
{
    u32 vector = (u32)frame->vector;
    interrupt_count[vector]++;
    if (vector < VECTOR_PIC) {
        say("\nException %u (error code 0x%x) at 0x%X: the tour ends here.\n", vector, (u32)frame->error, (u64)frame->ip);
        for (;;)
            __asm__ volatile("cli; hlt");
    }
    /* 'End of interrupt': the controller may deliver the next one. */
    if (vector < VECTOR_PIC + 16)
        out8(0x20, 0x20);
    else if (vector != VECTOR_SPURIOUS)
        mmio_write(0xfee000b0, 0);
}

/* -- the 8259 pair (datasheet 231468) ------------------------------------------------------------------------------ */

void pic_mask(u16 mask)
{
    out8(0x21, (u8)mask);
    out8(0xa1, (u8)(mask >> 8));
}

#ifndef __x86_64__

static void pic_start(void)
{
    out8(0x20, 0x11); /* ICW1: initialise; three more words follow */
    out8(0xa0, 0x11);
    out8(0x21, VECTOR_PIC); /* ICW2: vectors of the eight inputs. The BIOS has them at 8, among the exceptions */
    out8(0xa1, VECTOR_PIC + 8);
    out8(0x21, 1 << 2); /* ICW3: the second chip hangs on input 2 of the first */
    out8(0xa1, 2);
    out8(0x21, 1); /* ICW4: 8086 mode */
    out8(0xa1, 1);
    pic_mask(0xffff);
}

void visit_pic(struct machine *m)
{
    enum { HZ = 100, TICKS = 10 };

    heading("A timer interrupt, the old way");
    say("8254 channel 0 -> 8259 input 0 -> vector 0x%x. Waiting in HLT for %u ticks at %u Hz ...\n", VECTOR_PIC,
        TICKS + 1, HZ);
    pic_start();
    pit_start_ticking(HZ);
    pic_mask(0xfffe);
    while (interrupt_count[VECTOR_PIC] == 0) /* the first tick: from here on we count whole periods */
        wait_for_interrupt();
    u64 begin = m->tsc_hz ? read_tsc() : 0;
    while (interrupt_count[VECTOR_PIC] <= TICKS)
        wait_for_interrupt();
    u64 cycles = m->tsc_hz ? read_tsc() - begin : 0;
    pic_mask(0xffff);
    pit_stop();
    say("... they came.");
    if (m->tsc_hz)
        say(" %u periods took %U us by the time stamp counter (they should take %u).", TICKS,
            divide(cycles * 1000, (u32)divide(m->tsc_hz, 1000, 0), 0), TICKS * 1000000 / HZ);
    say("\n");
}

#endif
