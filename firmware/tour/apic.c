/*
 * The same timer through the newer controllers: the I/O APIC has a table that says, for each of its inputs, which
 * vector to send to which processor; the local APIC in that processor receives it. (82093AA datasheet; Intel SDM
 * volume 3, chapter 11.) The local APIC has a timer of its own, too.
 */
#include "tour.h"

enum { /* registers of the local APIC */
    TASK_PRIORITY = 0x80,
    SPURIOUS = 0xf0,
    LVT_TIMER = 0x320,
    INITIAL_COUNT = 0x380,
    CURRENT_COUNT = 0x390,
    DIVIDE = 0x3e0,
    MASKED = 1 << 16,
};

static void ioapic_write(u32 ioapic, u32 index, u32 value)
{
    mmio_write(ioapic, index); /* one address selects ... */
    mmio_write(ioapic + 0x10, value); /* ... the other one is a window to what was selected */
}

static void through_io_apic(const struct machine *m)
{
    enum { HZ = 100, TICKS = 10 };

    say("8254 channel 0 -> I/O APIC input %u -> local APIC -> vector 0x%x. Waiting for %u ticks ...\n", m->timer_pin,
        VECTOR_TIMER, TICKS);
    ioapic_write(m->ioapic, 0x10 + 2 * m->timer_pin + 1, mmio_read(m->lapic + 0x20)); /* to us, by our APIC's id */
    ioapic_write(m->ioapic, 0x10 + 2 * m->timer_pin, VECTOR_TIMER); /* fixed, edge-triggered, active high, not masked */
    pit_start_ticking(HZ);
    while (interrupt_count[VECTOR_TIMER] < TICKS)
        wait_for_interrupt();
    pit_stop();
    ioapic_write(m->ioapic, 0x10 + 2 * m->timer_pin, MASKED);
    say("... they came; through the 8259 came %u meanwhile, all its inputs being masked.\n", interrupt_count[VECTOR_PIC]);
}

static void own_timer(const struct machine *m)
{
    enum { MILLISECONDS = 20 };

    mmio_write(m->lapic + DIVIDE, 0xb); /* do not divide the bus clock */
    mmio_write(m->lapic + LVT_TIMER, MASKED | VECTOR_LAPIC);
    mmio_write(m->lapic + INITIAL_COUNT, ~0u);
    wait_milliseconds(MILLISECONDS);
    u32 counted = ~0u - mmio_read(m->lapic + CURRENT_COUNT);
    say("The local APIC's own timer counted %u in %u ms: %u MHz.", counted, MILLISECONDS,
        counted / (MILLISECONDS * 1000));

    mmio_write(m->lapic + LVT_TIMER, VECTOR_LAPIC); /* one-shot */
    mmio_write(m->lapic + INITIAL_COUNT, counted / 2);
    while (interrupt_count[VECTOR_LAPIC] == 0)
        wait_for_interrupt();
    mmio_write(m->lapic + LVT_TIMER, MASKED);
    say(" Set to half of that, it interrupted us %s.\n", interrupt_count[VECTOR_LAPIC] == 1 ? "once" : "TOO OFTEN");
}

void visit_apic(struct machine *m)
{
    heading("A timer interrupt, the new way");
    if (!m->lapic) {
        say("Not on this PC: the processor has no local APIC.\n");
        return;
    }
    pic_mask(0xffff);
    mmio_write(m->lapic + TASK_PRIORITY, 0);
    mmio_write(m->lapic + SPURIOUS, 1 << 8 | VECTOR_SPURIOUS); /* bit 8 turns the local APIC on */
    for (u32 i = 0; i < VECTORS; i++)
        interrupt_count[i] = 0;
    if (m->ioapic)
        through_io_apic(m);
    else
        say("There is no I/O APIC: device interrupts have only the 8259.\n");
    own_timer(m);
}
