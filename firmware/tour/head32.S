/*
 * The first instructions. Two kinds of loaders can start us, and both leave the CPU in the same state: 32-bit
 * protected mode with flat segments, paging off, interrupts off.
 *
 *   Multiboot 1   the loader searches the first 8 KiB of the file for the header below. At the entry EAX holds
 *                 0x2badb002 and EBX the address of a table.
 *   PVH           the loader finds our entry in an ELF note, the way Xen does. EBX holds the address of a table that
 *                 starts with its own magic number, 0x336ec578.
 */
        .code32

#ifndef WITHOUT_MULTIBOOT
        .section .multiboot, "a"
        .balign 4
        .equ    MAGIC, 0x1badb002
        .equ    FLAGS, 0x00000003               /* page-aligned modules; a memory map, please */
        .long   MAGIC, FLAGS, -(MAGIC + FLAGS)  /* the sum of the three is zero: that is the checksum */
#endif

        .section .note.pvh, "a", @note
        .balign 4
        .long   4, 4, 18                        /* length of the name and of the value; XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz  "Xen"
        .long   _start

        .section .text
        .globl  _start
_start:
        cli
        cld
        movl    $stack_top, %esp
        lgdt    gdt_pointer                     /* our own segments: the loader's may lie in memory we overwrite */
        ljmp    $0x08, $1f                      /* a far jump is the only way to load CS */
1:      movl    $0x10, %ecx
        movl    %ecx, %ds
        movl    %ecx, %es
        movl    %ecx, %ss
        xorl    %ecx, %ecx
        movl    %ecx, %fs
        movl    %ecx, %gs
        pushl   $0                              /* keeps the stack aligned to 16 at the call, as the ABI wants */
        pushl   $0
        pushl   %ebx
        pushl   %eax
        call    tour32                          /* main32.c; does not return */
2:      hlt
        jmp     2b

/*
 * Into long mode: void into_long_mode(machine, top page table). longmode.c explains; the order matters.
 */
        .globl  into_long_mode
into_long_mode:
        movl    4(%esp), %edi                   /* first argument of a 64-bit function */
        movl    8(%esp), %eax
        movl    %eax, %cr3                      /* where the page tables are */
        movl    %cr4, %eax
        orl     $0x20, %eax                     /* CR4.PAE: entries of 8 bytes */
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx               /* the EFER register */
        rdmsr
        orl     $0x100, %eax                    /* EFER.LME: long mode, as soon as paging is on */
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000000, %eax               /* CR0.PG: now. We are in a 32-bit segment of long mode ... */
        movl    %eax, %cr0
        ljmp    $0x18, $LONG_PART               /* ... until CS holds a 64-bit one: head64.S */

/*
 * Interrupts. The CPU pushes EFLAGS, CS, EIP and, for some exceptions, an error code. Each stub makes the stack look
 * the same (a zero where there is no error code, then the vector), and goes to one common place that saves the
 * registers and calls C with a pointer to all of it.
 */
        .macro  STUB number
        .if     (\number != 8) && ((\number < 10) || (\number > 14)) && (\number != 17)
        pushl   $0
        .endif
        pushl   $\number
        jmp     common
        .balign 16
        .endm

        .globl  interrupt_stubs
        .balign 16
        .altmacro
interrupt_stubs:                                /* 16 bytes each */
        .set    vector, 0
        .rept   64
        STUB    %vector
        .set    vector, vector + 1
        .endr

common:
        pusha
        cld
        pushl   %esp                            /* struct frame * */
        call    on_interrupt
        addl    $4, %esp
        popa
        addl    $8, %esp                        /* vector and error code */
        iret

/*
 * Segments: base 0, limit 4 GiB, so that an offset is an address. Only the L bit tells 64-bit code from 32-bit code.
 */
        .section .data
        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff              /* 0x08: 32-bit code */
        .quad   0x00cf93000000ffff              /* 0x10: data */
        .quad   0x00af9b000000ffff              /* 0x18: 64-bit code */
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt

/* The second half of the tour: a flat binary, linked to run at LONG_PART, where the linker script puts it. */
        .section .longmode, "ax"
        .incbin LONG_BINARY

        .section .bss
        .balign 16
        .space  16384
stack_top:

        .section .note.GNU-stack, "", @progbits
