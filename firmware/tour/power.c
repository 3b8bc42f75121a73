/*
 * The way out. ACPI machines are turned off by writing a 'sleep type' and the 'sleep enable' bit to the PM1 control
 * register (ACPI specification 4.8.3.2). On this board the PIIX4 chip listens there.
 */
#include "tour.h"

enum { SLEEP_ENABLE = 1 << 13 };

void power_off(struct machine *m)
{
    heading("The end");
    if (m->pm_control) {
        u16 value = (u16)(m->sleep_type << 10 | SLEEP_ENABLE);
        say("Writing 0x%04x to port 0x%x turns the power off. Good bye.\n", value, m->pm_control);
        out16((u16)m->pm_control, value);
        wait_milliseconds(50); /* the voltage does not fall at once */
    }
    say("This PC has no switch that a program can reach. It is safe to turn it off now.\n");
    for (;;)
        __asm__ volatile("cli; hlt");
}
