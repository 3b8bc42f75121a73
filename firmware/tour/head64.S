/*
 * The first instructions in 64-bit mode. head32.S jumped here with the page tables and segments in place; RDI holds
 * the address of struct machine, the first argument of a C function.
 */
        .code64
        .section .text.first, "ax"
        .globl  _start
_start:
        movl    $0x10, %eax                     /* 64-bit mode ignores most of what is in them, but not in SS */
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        leaq    stack_top(%rip), %rsp
        call    tour64                          /* main64.c; does not return */
1:      hlt
        jmp     1b

/* As in head32.S, with two differences: the CPU always pushes SS and RSP as well, and PUSHA is gone. */
        .section .text
        .macro  STUB number
        .if     (\number != 8) && ((\number < 10) || (\number > 14)) && (\number != 17)
        pushq   $0
        .endif
        pushq   $\number
        jmp     common
        .balign 16
        .endm

        .macro  EACH instruction, registers:vararg
        .irp    register, \registers
        \instruction %\register
        .endr
        .endm

        .globl  interrupt_stubs
        .balign 16
        .altmacro
interrupt_stubs:
        .set    vector, 0
        .rept   64
        STUB    %vector
        .set    vector, vector + 1
        .endr

common:
        EACH    pushq, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
        cld
        movq    %rsp, %rdi                      /* struct frame * */
        call    on_interrupt
        EACH    popq, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax
        addq    $16, %rsp                       /* vector and error code */
        iretq

        .section .bss
        .balign 16
        .space  16384
stack_top:

        .section .note.GNU-stack, "", @progbits
