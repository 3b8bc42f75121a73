/*
 * The PCI bus, through 'configuration mechanism #1' (PCI Local Bus Specification 3.2.2.3.2): write an address to port
 * 0xcf8, then read or write 32 bits at port 0xcfc. An address names bus, device, function and register; where no
 * device answers, all bits read as ones.
 */
#include "tour.h"

enum { ADDRESS = 0xcf8, DATA = 0xcfc, ENABLE = 0x80000000 };

u32 pci_read(u32 bus, u32 device, u32 function, u32 offset)
{
    out32(ADDRESS, ENABLE | bus << 16 | device << 11 | function << 8 | (offset & 0xfc));
    return in32(DATA);
}

void pci_write(u32 bus, u32 device, u32 function, u32 offset, u32 value)
{
    out32(ADDRESS, ENABLE | bus << 16 | device << 11 | function << 8 | (offset & 0xfc));
    out32(DATA, value);
}

static const struct {
    u32 id; /* device and vendor, as register 0 holds them */
    const char *name;
} chips[] = {
    {0x12378086, "i440FX host bridge: CPU and memory"},
    {0x70008086, "PIIX3 ISA bridge: all the old chips hang on it"},
    {0x70108086, "PIIX3 IDE disk controller"},
    {0x70208086, "PIIX3 USB controller"},
    {0x71138086, "PIIX4 power management"},
    {0x11111234, "VGA"},
    {0x100e8086, "Ethernet (82540EM)"},
};

static const struct {
    u16 class;
    const char *name;
} classes[] = {
    {0x0100, "SCSI controller"}, {0x0101, "IDE controller"}, {0x0106, "SATA controller"}, {0x0200, "network card"},
    {0x0300, "display"},         {0x0401, "sound"},          {0x0403, "sound"},           {0x0500, "memory"},
    {0x0600, "host bridge"},     {0x0601, "ISA bridge"},     {0x0604, "PCI bridge"},      {0x0680, "bridge"},
    {0x0700, "serial port"},     {0x0c03, "USB controller"}, {0x0c05, "SMBus"},
};

static const char *name_of(u32 id, u16 class)
{
    for (u32 i = 0; i < sizeof chips / sizeof *chips; i++)
        if (chips[i].id == id)
            return chips[i].name;
    for (u32 i = 0; i < sizeof classes / sizeof *classes; i++)
        if (classes[i].class == class)
            return classes[i].name;
    return "a device of another kind";
}

static void say_function(u32 device, u32 function, u32 id)
{
    u32 class = pci_read(0, device, function, 8) >> 16;
    say("  00:%02x.%x  %04x:%04x  class %04x  %s\n", device, function, id & 0xffff, id >> 16, class,
        name_of(id, (u16)class));

    u32 bars = pci_read(0, device, function, 0x0c) >> 16 & 0x7f ? 2 : 6; /* bridges have two base registers */
    for (u32 i = 0; i < bars; i++) {
        u32 bar = pci_read(0, device, function, 0x10 + 4 * i);
        if (bar & 1)
            say("           register block at port 0x%x\n", bar & ~3u);
        else if (bar)
            say("           memory at 0x%08x\n", bar & ~15u);
        if ((bar & 7) == 4)
            i++; /* a 64-bit address takes two */
    }
    u32 interrupt = pci_read(0, device, function, 0x3c);
    if (interrupt >> 8 & 255)
        say("           pin INT%c#, routed to interrupt %u\n", 'A' - 1 + (int)(interrupt >> 8 & 255), interrupt & 255);
}

void visit_pci(struct machine *m)
{
    heading("The PCI bus");
    out32(ADDRESS, ENABLE);
    if (in32(ADDRESS) != ENABLE) {
        say("None: port 0xcf8 does not remember what is written to it. This is an ISA PC.\n");
        return;
    }
    m->has_pci = 1;
    say("On bus 0 there are:\n");
    for (u32 device = 0; device < 32; device++) {
        if (pci_read(0, device, 0, 0) == ~0u)
            continue;
        u32 functions = pci_read(0, device, 0, 0x0c) >> 16 & 0x80 ? 8 : 1; /* header type, bit 7: several functions */
        for (u32 function = 0; function < functions; function++) {
            u32 id = pci_read(0, device, function, 0);
            if (id == ~0u)
                continue;
            say_function(device, function, id);
            if (id == 0x71138086) { /* without ACPI tables the chip itself tells where its ports are */
                u32 base = pci_read(0, device, function, 0x40) & 0xffc0;
                if (base && !m->pm_control)
                    m->pm_control = base + 4;
                if (base && !m->pm_timer)
                    m->pm_timer = base + 8;
            }
        }
    }
}
