/* A test that reports its result: 21 written to isa-debug-exit ends the emulator with status 21 * 2 + 1. */
        .include "multiboot.inc"
_start: SAY     'X'
        SAY     '\n'
        movl    $21, %eax
        outl    %eax, $0xf4
1:      hlt
        jmp     1b
