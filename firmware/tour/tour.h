/*
 * The tour: a guest that walks through the PC it runs on and says what it sees.
 *
 * There is no operating system and no C library here: a boot loader (QEMU's or pcemu's -kernel) puts us into memory
 * and jumps to head32.S. From there on every byte that reaches the screen is ours. Read in this order:
 *
 *   head32.S        the first instructions; how a program gets from the loader into C
 *   main32.c        the list of stops in 32-bit protected mode
 *   console.c       the serial port, and how numbers become text
 *   cpu.c           CPUID: which processor is this?
 *   memory.c        where is RAM?
 *   acpi.c          the tables in which the firmware describes the board
 *   pci.c           the PCI bus
 *   chips.c         the chips behind fixed ports and addresses
 *   clock.c         one clock measured with another
 *   interrupts.c    the interrupt table, and the timer interrupt through the 8259
 *   apic.c          the same interrupt through the I/O APIC and the local APIC
 *   longmode.c      page tables, and the door to 64-bit mode
 *   head64.S, main64.c    the stops in long mode
 *   power.c         the way out
 *
 * The files below main32.c are compiled twice, for both modes; what differs is marked with __x86_64__.
 */
#ifndef TOUR_H
#define TOUR_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned long uword; /* as wide as a register: 32 or 64 bits */

/* What one stop learns and a later one needs. The same layout in both modes: it is handed from one to the other. */
struct machine {
    u64 rsdp;      /* where ACPI starts, 0 if there is none */
    u64 tsc_hz;    /* from clock.c; 0: no time stamp counter */
    u32 loader;    /* which of the two below */
    u32 boot_info; /* address of what the loader left for us */
    u32 has_pci;
    u32 has_apic;
    u32 has_long_mode;
    u32 lapic;      /* addresses of the two APICs; 0: none */
    u32 ioapic;
    u32 timer_pin;  /* the I/O APIC input to which the PIT is wired */
    u32 pm_control; /* port of ACPI's PM1 control register; 0: unknown */
    u32 pm_timer;   /* port of the ACPI timer; 0: unknown */
    u32 hpet;
    u32 sleep_type; /* the value that means "off" in the PM1 control register */
};

enum { BY_MULTIBOOT = 0x2badb002, BY_PVH = 0x336ec578 };

/* -- ports and memory-mapped registers ---------------------------------------------------------------------------- */

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out16(u16 port, u16 value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }

static inline u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u16 in16(u16 port)
{
    u16 value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u32 in32(u16 port)
{
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* volatile: the compiler must do every access, in order, and with this size; a register is not a variable. */
static inline u32 mmio_read(u32 address) { return *(volatile u32 *)(uword)address; }
static inline void mmio_write(u32 address, u32 value) { *(volatile u32 *)(uword)address = value; }

static inline u64 read_tsc(void)
{
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

static inline u64 read_msr(u32 number)
{
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
    return (u64)high << 32 | low;
}

static inline void interrupts_on(void) { __asm__ volatile("sti" : : : "memory"); }
static inline void interrupts_off(void) { __asm__ volatile("cli" : : : "memory"); }
/* STI lets exactly one more instruction run before the first interrupt: no interrupt can slip in before the HLT. */
static inline void wait_for_interrupt(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }

/* -- console.c ---------------------------------------------------------------------------------------------------- */

void console_start(void);
/* %s string, %c character, %u and %x 32-bit number, %U and %X 64-bit number; %08x pads with zeros, %-8s with blanks. */
void say(const char *format, ...);
void heading(const char *text);
/* Divide a 64-bit number by a 32-bit one without the compiler's library. */
u64 divide(u64 number, u32 by, u32 *remainder);

/* -- the stops ---------------------------------------------------------------------------------------------------- */

void visit_cpu(struct machine *m);
void visit_memory(struct machine *m);
void visit_acpi(struct machine *m);
void visit_pci(struct machine *m);
void visit_chips(struct machine *m);
void visit_clocks(struct machine *m);
void visit_pic(struct machine *m);
void visit_apic(struct machine *m);
void visit_x87(void);
void visit_long_mode(void);
__attribute__((noreturn)) void enter_long_mode(struct machine *m);
__attribute__((noreturn)) void power_off(struct machine *m);

/* -- what stops share --------------------------------------------------------------------------------------------- */

void cpuid(u32 leaf, u32 *a, u32 *b, u32 *c, u32 *d);
u32 pci_read(u32 bus, u32 device, u32 function, u32 offset);
void pci_write(u32 bus, u32 device, u32 function, u32 offset, u32 value);
void pit_start_ticking(u32 hz);
void pit_stop(void);
void wait_milliseconds(u32 milliseconds);
u64 tick_period_in_tsc(u32 ticks);

enum {
    VECTOR_PIC = 0x20,       /* the 8259 pair's sixteen inputs: 0x20-0x2f */
    VECTOR_TIMER = 0x30,     /* the PIT through the I/O APIC */
    VECTOR_LAPIC = 0x31,     /* the local APIC's own timer */
    VECTOR_SPURIOUS = 0x3f,
    VECTORS = 0x40,
};
extern volatile u32 interrupt_count[VECTORS];
void interrupts_start(void);
void pic_mask(u16 mask);

#endif
