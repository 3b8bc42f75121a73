/*
 * Resets the machine in three ways, one a boot, then leaves with status 7. RAM keeps its content over a reset: the
 * counter at 3 MiB tells which boot this is. The loader must put the guest, with .data as it was, in place again.
 */
        .include "multiboot.inc"
_start: movl    $0x300000, %ebx
        cmpl    $0x600d600d, 4(%ebx)            /* is it our counter? */
        je      1f
        movl    $0, (%ebx)
        movl    $0x600d600d, 4(%ebx)
1:      incl    (%ebx)
        movw    $0x3f8, %dx
        movb    (%ebx), %al
        addb    $'0', %al                       /* the number of this boot */
        outb    %al, %dx
        movb    fresh, %al                      /* 'f', if .data is fresh */
        outb    %al, %dx
        movb    $'!', fresh
        SAY     '\n'
        cmpl    $1, (%ebx)
        je      keyboard
        cmpl    $2, (%ebx)
        je      reset_register
        cmpl    $3, (%ebx)
        je      triple_fault
        movl    $3, %eax
        outl    %eax, $0xf4
        jmp     stop
keyboard:                                       /* the 8042 pulses the reset line */
        movb    $0xfe, %al
        outb    %al, $0x64
        jmp     stop
reset_register:                                 /* the PIIX3's register: 2 arms, 6 pulls */
        movw    $0xcf9, %dx
        movb    $2, %al
        outb    %al, %dx
        movb    $6, %al
        outb    %al, %dx
        jmp     stop
triple_fault:
        lidt    nothing
        ud2
stop:   hlt
        jmp     stop
nothing:
        .word   0
        .long   0
        .data
fresh:  .byte   'f'
