/*
 * ACPI: tables in memory in which the firmware describes what a program cannot probe. (ACPI specification, chapter 5.)
 *
 * A 'root pointer' (RSDP) lies on a 16-byte boundary in the BIOS area; it leads to the root table (RSDT), a list of
 * addresses of all others. Every table starts with a signature of four letters, its length, and a checksum that makes
 * all its bytes add up to zero.
 */
#include "tour.h"

struct table {
    char signature[4];
    u32 length;
    u8 revision, checksum;
    char oem[6], oem_table[8];
    u32 oem_revision;
    char creator[4];
    u32 creator_revision;
} __attribute__((packed));

static int sums_to_zero(const u8 *bytes, u32 length)
{
    u8 sum = 0;
    while (length--)
        sum += *bytes++;
    return sum == 0;
}

static int starts_with(const void *at, const char *text)
{
    for (const char *p = at; *text; p++, text++)
        if (*p != *text)
            return 0;
    return 1;
}

static u32 find_root_pointer(void)
{
    for (u32 at = 0xe0000; at < 0x100000; at += 16)
        if (starts_with((void *)at, "RSD PTR ") && sums_to_zero((u8 *)at, 20))
            return at;
    return 0;
}

/* "FACP": fixed hardware. We want the ports that turn the machine off. */
static void read_fadt(struct machine *m, const u8 *fadt)
{
    m->pm_control = *(u32 *)(fadt + 64);
    m->pm_timer = *(u32 *)(fadt + 76);
    say("    power management: control port 0x%x, timer port 0x%x, interrupt %u\n", m->pm_control, m->pm_timer,
        *(u16 *)(fadt + 46));

    /* The value that means "off" is the first element of the package named _S5_ in the DSDT's byte code. */
    u32 dsdt = *(u32 *)(fadt + 40), length = *(u32 *)(dsdt + 4);
    for (u32 at = dsdt + 36; at + 8 < dsdt + length; at++)
        if (starts_with((void *)at, "_S5_\x12")) {
            u8 *element = (u8 *)at + 7; /* name, package opcode, length of one byte, number of elements */
            m->sleep_type = *element == 0x0a ? element[1] : *element; /* 0x0a: a byte follows; else 0 or 1 itself */
        }
}

/* "APIC": the interrupt controllers, and which of their inputs the old ISA interrupts arrive at. */
static void read_madt(struct machine *m, const u8 *madt)
{
    m->lapic = *(u32 *)(madt + 36);
    for (const u8 *entry = madt + 44; entry < madt + *(u32 *)(madt + 4) && entry[1]; entry += entry[1])
        switch (entry[0]) {
        case 0: say("    CPU %u has local APIC %u\n", entry[2], entry[3]); break;
        case 1:
            m->ioapic = *(u32 *)(entry + 4);
            say("    I/O APIC at 0x%x, inputs from %u\n", m->ioapic, *(u32 *)(entry + 8));
            break;
        case 2:
            say("    ISA interrupt %u arrives at input %u\n", entry[3], *(u32 *)(entry + 4));
            if (entry[3] == 0)
                m->timer_pin = *(u32 *)(entry + 4);
            break;
        }
}

void visit_acpi(struct machine *m)
{
    heading("ACPI tables");
    m->timer_pin = 2; /* where boards of this kind wire the PIT, should no table say so */
    u32 pointer = m->rsdp ? (u32)m->rsdp : find_root_pointer();
    if (!pointer) {
        say("None: this PC is older than ACPI, or was started without.\n");
        return;
    }
    m->rsdp = pointer;
    u32 root = *(u32 *)(pointer + 16);
    say("The root pointer is at 0x%x, the root table at 0x%x. It lists:\n", pointer, root);
    u32 entries = (*(u32 *)(root + 4) - sizeof(struct table)) / 4;
    for (u32 i = 0; i < entries; i++) {
        const struct table *table = *(struct table **)(root + sizeof(struct table) + 4 * i);
        say("  %c%c%c%c at 0x%08x, %u bytes, checksum %s\n", table->signature[0], table->signature[1],
            table->signature[2], table->signature[3], (u32)table, table->length,
            sums_to_zero((const u8 *)table, table->length) ? "right" : "WRONG");
        if (starts_with(table, "FACP"))
            read_fadt(m, (const u8 *)table);
        else if (starts_with(table, "APIC"))
            read_madt(m, (const u8 *)table);
        else if (starts_with(table, "HPET"))
            m->hpet = *(u32 *)((const u8 *)table + 44);
    }
}
