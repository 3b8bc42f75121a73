# Single steps and breakpoints (SDM vol. 3, 17.2 and 17.3), and code where pages end or change.

#: single step
#: in flags=T
#: out dr6=0xffff4ff0
#: fault 1 ip=end-1 | nocount
        nop
        nop
#: single step over a branch
#: in flags=T
#: out dr6=0xffff4ff0
#: fault 1 ip=code+3 | nocount
        jmp 1f
        hlt
1:      nop
#: single step over each element of a REP
#: in flags=T rcx=3
#: out dr6=0xffff4ff0 rdi=data+0x41 rcx=2
#: omem data+0x40 = 98
#: fault 1 ip=code | nocount
        rep stosb
#: single step: the instruction after a load of SS comes first
#: modes pm32 compat long64
#: in flags=T rdx=seg_ss
#: out dr6=0xffff4ff0
#: fault 1 ip=end-1 | nocount
        mov ss, edx
        nop
        nop
#: single step: an instruction that faults does not trap
#: in flags=T
#: fault 6 | nocount
        ud2
#: single step: a software interrupt's handler is not stepped
#: modes protected
#: in flags=T
#: fault 0x21 ip=end | nocount
        int 0x21
#: an instruction breakpoint: before, as a fault
#: modes pm32 compat long64
#: in dr0=code dr7=0x401
#: out dr6=0xffff0ff1
#: fault 1 | nocount
        nop
#: an instruction breakpoint on the second instruction
#: modes pm32 compat long64
#: in dr3=code+1 dr7=0x440
#: out dr6=0xffff0ff8
#: fault 1 ip=code+1 | nocount
        nop
        nop
#: RF holds an instruction breakpoint once
#: modes pm32 compat long64
#: in dr0=code dr7=0x401 flags=R
#: out flags=r
#: nocount
        nop
#: a breakpoint on writing: after, as a trap
#: modes pm32 compat long64
#: in dr1=data+0x40 dr7=0x100404
#: out dr6=0xffff0ff2
#: omem data+0x40 = 98
#: fault 1 ip=code+2 | nocount
        mov [%DI], al
        nop
#: a breakpoint on writing: not on reading
#: modes pm32 compat long64
#: in dr1=data+0x40 dr7=0x100404
#: out al=0xb1 | nocount
        mov al, [%DI]
#: a breakpoint on access
#: modes pm32 compat long64
#: in dr1=data+0x40 dr7=0x300404
#: out dr6=0xffff0ff2 al=0xb1
#: fault 1 ip=code+2 | nocount
        mov al, [%DI]
        nop
#: four bytes are watched, one of them is touched
#: modes pm32 compat long64
#: in dr2=data+0x40 dr7=0x0f000410 rdi=data+0x43
#: out dr6=0xffff0ff4 al=0xc6
#: fault 1 ip=code+2 | nocount
        mov al, [%DI]
        nop
#: the byte behind is not
#: modes pm32 compat long64
#: in dr2=data+0x40 dr7=0x0f000410 rdi=data+0x44
#: out al=0xcd | nocount
        mov al, [%DI]
#: a breakpoint in the middle of a REP: with the element done
#: modes pm32 compat long64
#: in dr1=data+0x42 dr7=0x100404 rcx=5
#: out dr6=0xffff0ff2 rcx=2 rdi=data+0x43
#: omem data+0x40 = 98 98 98
#: fault 1 ip=code | nocount
        rep stosb
#: a port's breakpoint
#: modes pm16 pm32s
#: in cr4=cr4|8 dr0=port dr7=0x20401
#: out dr6=0xffff0ff1 al=0xa0
#: fault 1 ip=code+2 | nocount
        in al, %{port}
        nop
#: a disabled breakpoint
#: modes pm32 compat long64
#: in dr0=code dr7=0x400 | nocount
        nop

# ---- where code ends

#: NOP in the last byte of a page: the next page is looked at when it is needed
#: modes pm32 | org 0x1bff
#: fault 14 err=4 cr2=end ip=end
        nop
#: the same with NX
#: modes compat long64 | org 0x1bff
#: fault 14 err=0x14 cr2=end ip=end
        nop
#: an instruction over the end of a page: the fault is the instruction's, the address the next page's
#: modes pm32 | org 0x1bfd
#: fault 14 err=4 cr2=code+3
        mov eax, 0x12345678
#: the same with NX
#: modes compat long64 | org 0x1bfd
#: fault 14 err=0x14 cr2=code+3
        mov eax, 0x12345678
#: an instruction over two pages that are there
#: modes pm32 pm32s compat long64 real vm86 pm16 | org 0xbfd
#: out eax=0x12345678
        mov eax, 0x12345678
#: code beyond the limit of its segment
#: modes pm32s | org 0x1bff
#: fault 13 ip=end
        nop
#: an instruction over the limit
#: modes pm32s | org 0x1bfe
#: fault 13
        mov eax, 0x12345678

#: an instruction over the end of a 64 KiB segment
#: modes real pm16 | org 0x10000-0x402
#: mem code+0xfbfe = b8
#: fault 13
        mov ax, 0x1234
#: the limit in the middle of a page: straight on
#: modes pm32s
#: in cs_limit=0x402
#: fault 13 ip=code+3
        nop
        nop
        nop
        nop
#: the last instruction inside
#: modes pm32s
#: in cs_limit=0x406
#: out eax=0x12345678
#: fault 13 ip=code+7
        jmp 1f
1:      mov eax, 0x12345678
        nop

# ---- code that changes

#: a store into the next instruction
#: modes pm32 compat | nocount
#: in rax=5
#: out eax=4 loose=eflags
#: omem code+7 = 48
        mov byte ptr ds:[%{code+7}], 0x48
        .byte 0x40
#: a store into the next instruction
#: modes real vm86 | nocount
#: in rax=5 ds=seg_cs
#: out ax=4 loose=eflags
#: omem code+5 = 48
        mov byte ptr ds:[%{code+5}], 0x48
        .byte 0x40
#: a store into an instruction that ran before: a loop whose body changes
#: modes pm32 compat | nocount
#: in rax=0 rcx=2
#: out eax=0 ecx=0 flags=oZsaPc
#: out loose=eflags
#: omem code = 48
1:      .byte 0x40
        mov byte ptr ds:[%{code}], 0x48
        dec ecx
        jnz 1b
#: a REP store over code that runs later
#: modes pm32 compat | nocount
#: in rax=0x40 rcx=4 rdi=code+2
#: out eax=0x44 ecx=0 edi=code+6
#: out loose=eflags
#: omem code+2 = 40 40 40 40
        rep stosb
        .byte 0x48, 0x48, 0x48, 0x48
