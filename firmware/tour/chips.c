/* The chips that every PC has at the same ports since 1984, and a few newer ones at fixed addresses. */
#include "tour.h"

static void found(const char *chip, const char *where) { say("  %-25s %-20s ", chip, where); }

static u8 cmos(u8 index)
{
    out8(0x70, index | 0x80); /* bit 7 keeps the NMI off meanwhile */
    return in8(0x71);
}

static u32 from_bcd(u8 value) { return (value >> 4) * 10u + (value & 15); }

static void find_pic(void)
{
    found("8259A interrupt pair", "0x20, 0xa0");
    out8(0x21, 0xa5); /* the mask register reads back what was written */
    u8 first = in8(0x21);
    out8(0xa1, 0x5a);
    u8 second = in8(0xa1);
    pic_mask(0xffff);
    say(first == 0xa5 && second == 0x5a ? "both masks read back\n" : "masks read 0x%02x, 0x%02x\n", first, second);
}

static void find_pit(void)
{
    found("8254 timer", "0x40-0x43");
    out8(0x43, 0xe2); /* read-back command: latch the status of channel 0 */
    u8 status = in8(0x40);
    say("channel 0 is in mode %u, %s\n", status >> 1 & 7, status & 0x40 ? "not loaded yet" : "counting");
}

static void find_rtc(void)
{
    found("MC146818 clock", "0x70, 0x71");
    while (cmos(10) & 0x80) /* update in progress: digits may change under our eyes */
        ;
    u8 day = cmos(7), month = cmos(8), year = cmos(9), hour = cmos(4), minute = cmos(2), second = cmos(0);
    say("it is 20%02u-%02u-%02u %02u:%02u:%02u; battery %s\n", from_bcd(year), from_bcd(month), from_bcd(day),
        from_bcd(hour), from_bcd(minute), from_bcd(second), cmos(13) & 0x80 ? "good" : "empty");
}

static void find_keyboard(void)
{
    found("8042 keyboard controller", "0x60, 0x64");
    if (in8(0x64) == 0xff) {
        say("not here\n");
        return;
    }
    for (u32 tries = 0; in8(0x64) & 1 && tries < 16; tries++)
        in8(0x60); /* throw away what was typed before */
    out8(0x64, 0xaa); /* self-test */
    u32 tries = 0;
    while (!(in8(0x64) & 1) && ++tries < 100000)
        ;
    u8 answer = in8(0x60);
    say(answer == 0x55 ? "self-test passed\n" : "self-test answers 0x%02x\n", answer);
    out8(0x64, 0xae); /* the self-test disables the keyboard: enable it again */
}

static void find_dma(void)
{
    found("8237 DMA controller", "0x00-0x0f");
    out8(0x0c, 0); /* the address register is 16 bits behind one port: first the flip-flop, then low and high byte */
    out8(0x00, 0x34);
    out8(0x00, 0x12);
    out8(0x0c, 0);
    u32 address = in8(0x00);
    address |= (u32)in8(0x00) << 8;
    say(address == 0x1234 ? "its address register works\n" : "its address register reads 0x%04x\n", address);
}

static void find_uart(void)
{
    found("16550A serial port", "0x3f8");
    u32 kind = in8(0x3fa) >> 6; /* both bits set: the FIFO that console.c turned on works */
    say(kind == 3 ? "you read this through it; its FIFO is on\n" : "a UART without a working FIFO\n");
}

static void find_fw_cfg(void)
{
    static const char expected[] = "QEMU";
    found("fw_cfg", "0x510");
    out16(0x510, 0); /* select item 0: the signature */
    u32 match = 0;
    for (u32 i = 0; i < 4; i++)
        match += in8(0x511) == (u8)expected[i];
    if (match != 4) {
        say("not here\n");
        return;
    }
    out16(0x510, 3); /* item 3: the size of RAM, 64 bits */
    u64 size = 0;
    for (u32 i = 0; i < 8; i++)
        size |= (u64)in8(0x511) << 8 * i;
    say("the emulator says: %U MiB of RAM\n", size >> 20);
}

static void find_hpet(struct machine *m)
{
    u32 address = m->hpet ? m->hpet : 0xfed00000;
    found("HPET timer", "0xfed00000");
    u32 capabilities = mmio_read(address), period = mmio_read(address + 4);
    if (capabilities == ~0u || period == 0) {
        say("not here\n");
        m->hpet = 0;
        return;
    }
    m->hpet = address;
    say("%u comparators, a tick takes %u ns\n", (capabilities >> 8 & 31) + 1, period / 1000000);
}

static void find_pm_timer(const struct machine *m)
{
    found("ACPI timer", "power management");
    if (!m->pm_timer) {
        say("not here\n");
        return;
    }
    u32 first = in32((u16)m->pm_timer), second = in32((u16)m->pm_timer);
    for (u32 tries = 0; second == first && tries < 100000; tries++)
        second = in32((u16)m->pm_timer);
    say("port 0x%x %s\n", m->pm_timer, second != first ? "counts" : "stands still");
}

static void find_apics(struct machine *m)
{
    found("I/O APIC", "0xfec00000");
    u32 address = m->ioapic ? m->ioapic : 0xfec00000;
    mmio_write(address, 1); /* select the version register, then read it through the window */
    u32 version = mmio_read(address + 0x10);
    m->ioapic = version == ~0u || version == 0 ? 0 : address;
    if (m->ioapic)
        say("version 0x%x, %u inputs\n", version & 255, (version >> 16 & 255) + 1);
    else
        say("not here\n");

    found("local APIC", "0xfee00000");
    if (!m->has_apic) {
        say("not here: CPUID does not list it\n");
        m->lapic = 0;
        return;
    }
    u64 base = read_msr(0x1b); /* where it is, and whether it is on (bit 11) and we are the boot processor (bit 8) */
    m->lapic = (u32)base & 0xfffff000;
    say("id %u, version 0x%x, %s, %s processor\n", mmio_read(m->lapic + 0x20) >> 24, mmio_read(m->lapic + 0x30) & 255,
        base & 1 << 11 ? "on" : "off", base & 1 << 8 ? "boot" : "application");
}

void visit_chips(struct machine *m)
{
    heading("The chips");
    find_pic();
    find_pit();
    find_rtc();
    find_keyboard();
    find_dma();
    find_uart();
    find_pm_timer(m);
    find_hpet(m);
    find_apics(m);
    find_fw_cfg();
}
