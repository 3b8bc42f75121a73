/* Ten ticks a second; one star a tick on the serial port; off after three. */
        .include "guest.inc"
_start: TAKE_IRQ 5, tick
        movw    $0x300, %dx
        movl    $100000, %eax           /* microseconds */
        outl    %eax, %dx
        sti
1:      hlt
        cmpl    $3, %ebx
        jne     1b
        POWER_OFF

tick:   PUT     0x3f8, '*'
        movw    $0x300, %dx
        inl     %dx, %eax               /* how many so far; lowers the interrupt line */
        movl    %eax, %ebx
        PUT     0x20, 0x20
        iret
