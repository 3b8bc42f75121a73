/* Says A on the first serial port, waits for one key, which comes by interrupt, echoes it, turns the power off. */
        .include "guest.inc"
_start: movw    $0x3f8, %dx             /* transmitter holding register */
        movb    $'A', %al
        outb    %al, %dx                /* <- the instruction that docs/architecture.md follows */

        TAKE_IRQ 4, key
        PUT     0x3f9, 1                /* UART: interrupt when a character has come */
        sti
        hlt                             /* <- the interrupt comes here */
        POWER_OFF

key:    movw    $0x3f8, %dx
        inb     %dx, %al
        outb    %al, %dx
        PUT     0x20, 0x20              /* 8259: end of interrupt */
        iret
