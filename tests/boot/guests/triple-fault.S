/* An exception without an interrupt table, and none for the double fault either. */
        .include "multiboot.inc"
_start: SAY     'T'
        SAY     '\n'
        lidt    nothing
        ud2
nothing:
        .word   0
        .long   0
