/* The stops in 32-bit protected mode. */
#include "tour.h"

static struct machine machine;

static void visit_loader(struct machine *m, u32 eax, u32 ebx)
{
    heading("How we got here");
    m->boot_info = ebx;
    if (eax == BY_MULTIBOOT) {
        m->loader = BY_MULTIBOOT;
        say("A Multiboot loader put us at 1 MiB and left a table at 0x%x (in EBX).\n", ebx);
    } else if (*(u32 *)ebx == BY_PVH) {
        m->loader = BY_PVH;
        m->rsdp = *(u64 *)(ebx + 32);
        say("A PVH loader put us at 1 MiB and left a table at 0x%x (in EBX).\n", ebx);
    } else {
        say("EAX is 0x%x, which no loader that we know leaves there.\n", eax);
    }

    u32 cr0;
    u16 cs;
    __asm__("mov %%cr0, %0" : "=r"(cr0));
    __asm__("mov %%cs, %0" : "=r"(cs));
    say("CR0 is 0x%08x: protected mode is %s, paging is %s. CS selects entry %u of our segment table.\n", cr0,
        cr0 & 1 ? "on" : "off", cr0 >> 31 ? "on" : "off", cs >> 3);
}

void tour32(u32 eax, u32 ebx)
{
    struct machine *m = &machine;

    console_start();
    interrupts_start(); /* so that an exception ends in a message */
    say("\nA tour of this PC\n=================\n");
    visit_loader(m, eax, ebx);
    visit_cpu(m);
    visit_memory(m);
    visit_acpi(m);
    visit_pci(m);
    visit_chips(m);
    visit_clocks(m);
    visit_x87();
    visit_pic(m);
    if (m->has_long_mode)
        enter_long_mode(m); /* the tour goes on in main64.c */
    heading("No long mode");
    say("This processor has no 64-bit mode: the tour ends in 32 bits.\n");
    visit_apic(m);
    power_off(m);
}
