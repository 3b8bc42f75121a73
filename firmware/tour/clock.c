/*
 * Clocks. The 8254 runs at 1.193182 MHz on every PC ever made (a third of the colour carrier of American television,
 * divided by four): it is the yardstick for the time stamp counter, whose speed is anybody's guess.
 */
#include "tour.h"

enum { PIT_HZ = 1193182, CHANNEL0 = 0x40, CHANNEL2 = 0x42, COMMAND = 0x43, PORT_61 = 0x61 };

/* Channel 0 in mode 2: an interrupt each time it has counted down to 1, for ever. */
void pit_start_ticking(u32 hz)
{
    u32 divisor = PIT_HZ / hz;
    out8(COMMAND, 0x34); /* channel 0, low byte then high byte, mode 2 */
    out8(CHANNEL0, (u8)divisor);
    out8(CHANNEL0, (u8)(divisor >> 8));
}

/* A new mode without a count: the channel waits, its output does not change. */
void pit_stop(void) { out8(COMMAND, 0x30); }

/*
 * Channel 2 in mode 0: its output goes up when the count reaches zero. It is the channel of the loudspeaker; port 0x61
 * opens its gate (bit 0), keeps the speaker itself quiet (bit 1), and shows the output (bit 5).
 */
static void start_waiting(u32 milliseconds) /* up to 54 */
{
    u32 count = PIT_HZ * milliseconds / 1000;
    out8(PORT_61, (in8(PORT_61) & ~3) | 1);
    out8(COMMAND, 0xb0);
    out8(CHANNEL2, (u8)count);
    out8(CHANNEL2, (u8)(count >> 8));
}

void wait_milliseconds(u32 milliseconds)
{
    start_waiting(milliseconds);
    while (!(in8(PORT_61) & 0x20))
        ;
}

#ifndef __x86_64__

void visit_clocks(struct machine *m)
{
    enum { MILLISECONDS = 50 };
    u32 begin = 0, ticks, rest;

    heading("Clocks");
    if (m->pm_timer)
        begin = in32((u16)m->pm_timer);
    u64 tsc = m->tsc_hz ? read_tsc() : 0;
    wait_milliseconds(MILLISECONDS);
    tsc = m->tsc_hz ? read_tsc() - tsc : 0;
    if (m->pm_timer) {
        ticks = (in32((u16)m->pm_timer) - begin) & 0xffffff; /* 24 bits, then it starts again */
        say("While the 8254 counted %u ms, the ACPI timer made %u ticks: %u kHz (it should be 3579).\n",
            MILLISECONDS, ticks, ticks / MILLISECONDS);
    }
    if (!m->tsc_hz) {
        say("There is no time stamp counter to measure.\n");
        return;
    }
    m->tsc_hz = tsc * (1000 / MILLISECONDS);
    u64 mhz = divide(m->tsc_hz, 1000000, &rest);
    say("In the same time the time stamp counter advanced by %U: it runs at %U.%03u MHz.\n", tsc, mhz, rest / 1000);

    u64 first = read_tsc(), second = read_tsc();
    say("Reading it twice in a row gives %U more: that is what the reading costs.\n", second - first);
}

#endif
