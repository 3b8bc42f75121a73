/*
 * A boot loader for one Linux kernel on a raw disk, for emulators without -kernel (Bochs).
 *
 * bootdisk.py puts this program into the first sectors, kernel, initrd and command line behind it, and their places
 * into the table at 'places'. We run in real mode with the BIOS at hand; a detour into protected mode leaves ES with a
 * limit of 4 GiB ('unreal mode'), so that the copy can reach above 1 MiB. (Linux: Documentation/x86/boot.rst.)
 */
        .equ    SETUP, 0x9000                   /* segment of the kernel's real-mode part */
        .equ    BOUNCE, 0x2000                  /* segment the BIOS reads into before we copy upwards */
        .equ    CHUNK, 64                       /* sectors a time */
        .equ    KERNEL, 0x100000
        .equ    INITRD, 0x8000000

        .code16
        .text
        .globl  _start
_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        cld
        movb    %dl, drive
        movw    $3, count                       /* the rest of this program */
        movl    $0x7e00, buffer
        movl    $1, lba
        call    read
        jmp     main

/* Read 'count' sectors from 'lba' to 'buffer' (offset, segment). */
read:   pushaw
        movw    $packet, %si
        movb    drive, %dl
        movb    $0x42, %ah
        int     $0x13
        jc      failed
        popaw
        ret
failed: movw    $message, %si
1:      lodsb
        testb   %al, %al
        jz      2f
        movb    $0x0e, %ah
        int     $0x10
        jmp     1b
2:      hlt
        jmp     2b
message:
        .asciz  "disk error"

        .balign 4
packet: .byte   16, 0
count:  .word   0
buffer: .long   0
lba:    .quad   0
drive:  .byte   0

        .org    0x1d0
places: /* filled in by bootdisk.py: first sector and bytes */
kernel_lba:     .long 0
kernel_bytes:   .long 0
initrd_lba:     .long 0
initrd_bytes:   .long 0
cmdline_lba:    .long 0
        .org    0x1fe
        .word   0xaa55

main:   movl    $SETUP << 16, buffer            /* the first sector says how long the real-mode part is */
        movl    kernel_lba, %eax
        movl    %eax, lba
        movw    $1, count
        call    read
        movw    $SETUP, %ax
        movw    %ax, %fs
        movzbl  %fs:0x1f1, %ebp                 /* setup_sects */
        testl   %ebp, %ebp
        jnz     1f
        movl    $4, %ebp
1:      incl    %ebp                            /* and the boot sector itself */
        movw    %bp, count
        call    read

        movl    kernel_lba, %eax                /* the protected-mode part */
        addl    %ebp, %eax
        movl    %eax, lba
        movl    kernel_bytes, %ecx
        movl    %ebp, %eax
        shll    $9, %eax
        subl    %eax, %ecx
        movl    $KERNEL, %edi
        call    load

        movl    initrd_lba, %eax
        movl    %eax, lba
        movl    initrd_bytes, %ecx
        movl    $INITRD, %edi
        call    load

        movl    $SETUP << 16 | 0xe000, buffer   /* the command line, one sector */
        movl    cmdline_lba, %eax
        movl    %eax, lba
        movw    $1, count
        call    read

        movb    $0xff, %fs:0x210                /* type_of_loader: not registered */
        orb     $0x80, %fs:0x211                /* loadflags: heap_end_ptr is valid */
        movw    $0xde00 - 0x200, %fs:0x224      /* heap_end_ptr */
        movl    $INITRD, %fs:0x218
        movl    initrd_bytes, %eax
        movl    %eax, %fs:0x21c
        movl    $SETUP * 16 + 0xe000, %fs:0x228 /* cmd_line_ptr */
        cli
        movw    $SETUP, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movw    $0xde00, %sp
        ljmp    $SETUP + 0x20, $0

/* Copy ECX bytes from sector 'lba' on to physical address EDI, by way of the bounce buffer. */
load:   addl    $511, %ecx
        shrl    $9, %ecx                        /* sectors */
1:      movl    $CHUNK, %eax
        cmpl    %eax, %ecx
        jae     2f
        movl    %ecx, %eax
2:      movw    %ax, count
        movl    $BOUNCE << 16, buffer
        call    read
        addl    %eax, lba
        subl    %eax, %ecx
        pushl   %ecx
        movl    %eax, %ecx
        shll    $7, %ecx                        /* in units of four bytes */
        call    unreal
        movl    $BOUNCE * 16, %esi
        addr32 rep movsl %es:(%esi), %es:(%edi)
        popl    %ecx
        testl   %ecx, %ecx
        jnz     1b
        xorw    %ax, %ax
        movw    %ax, %es
        ret

/* Give ES base 0 and a limit of 4 GiB. The BIOS may take it back: done before each copy. */
unreal: cli
        lgdt    gdt_pointer
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        movw    $8, %bx
        movw    %bx, %es
        andb    $0xfe, %al
        movl    %eax, %cr0
        xorw    %bx, %bx
        movw    %bx, %es
        sti
        ret

        .balign 8
gdt:    .quad   0
        .quad   0x00cf93000000ffff
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt
        .org    0x800
