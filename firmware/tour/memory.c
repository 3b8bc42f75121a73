/* Where is RAM? A program cannot find out by itself without guessing; the loader hands over the firmware's map. */
#include "tour.h"

static const char *kind_of(u32 type)
{
    static const char *const kinds[] = {"?", "RAM", "reserved", "ACPI tables", "ACPI NVS", "bad"};
    return kinds[type < 6 ? type : 0];
}

static u64 total;

static void say_range(u64 start, u64 length, u32 type)
{
    say("  %010X-%010X  %s\n", start, start + length - 1, kind_of(type));
    if (type == 1)
        total += length;
}

/* Multiboot: bit 6 of the flags says that there is a map. Each entry starts with its own size. */
static void walk_multiboot(const u32 *info)
{
    if (!(info[0] & 1 << 6)) {
        say("The loader left no map; it counts %u KiB below 1 MiB and %u KiB above.\n", info[1], info[2]);
        return;
    }
    for (u32 at = info[12]; at < info[12] + info[11];) {
        u32 size = *(u32 *)at;
        say_range(*(u64 *)(at + 4), *(u64 *)(at + 12), *(u32 *)(at + 20));
        at += 4 + size;
    }
}

/* PVH: version 1 of the table has the address of the map and the number of entries. */
static void walk_pvh(u32 info)
{
    if (*(u32 *)(info + 4) < 1) {
        say("The loader left no map.\n");
        return;
    }
    u32 at = *(u32 *)(info + 40);
    for (u32 entries = *(u32 *)(info + 48); entries; entries--, at += 24)
        say_range(*(u64 *)at, *(u64 *)(at + 8), *(u32 *)(at + 16));
}

void visit_memory(struct machine *m)
{
    heading("Memory");
    say("The loader's map of physical addresses:\n");
    if (m->loader == BY_MULTIBOOT)
        walk_multiboot((u32 *)m->boot_info);
    else if (m->loader == BY_PVH)
        walk_pvh(m->boot_info);
    if (total)
        say("Together %U KiB of RAM. The hole below 1 MiB is where the video memory and the BIOS sit.\n", total >> 10);

    /* A20: on the first PCs address line 20 was held at 0, and 1 MiB was the same place as 0. */
    volatile u32 *low = (u32 *)0x500, *high = (u32 *)0x100500;
    u32 keep = *low;
    *low = ~*high;
    say("Address line A20 is %s.\n", *low == *high ? "off: every other MiB is a mirror" : "on, as it should be");
    *low = keep;
}
