# INT3 INT INTO INT1 BOUND UD, and the flag instructions PUSHF POPF CLI STI. A `fault` here may be the interrupt asked for.

#: int3
#: fault 3 ip=end | twin runs
        int3
#: int n
#: fault 0x21 ip=end | twin runs
        int 0x21
#: int n through a trap gate leaves IF alone
#: modes pm32s | nocount
#: in flags=I
#: out flags=I
#: fault 0x31 ip=end
        int 0x31
#: int n: the gate is for CPL 0
#: modes pm32 compat long64
#: fault 13 err=0x40*8+2
        int 0x40
#: int n: the gate is not present
#: modes pm16 pm32 pm32s compat long64 vm86
#: fault 11 err=0x2f*8+2
        int 0x2f
#: int n beyond the table
#: modes pm16 pm32 pm32s
#: in idt_limit=0x107
#: fault 13 err=0x21*8+2
        int 0x21
#: int n beyond the vector table
#: modes real
#: in idt_limit=0x83
#: fault 13
        int 0x21
#: int n in virtual-8086 mode below IOPL 3
#: modes vm86
#: in eflags=0x20202
#: fault 13
        int 0x21
#: int3 in virtual-8086 mode below IOPL 3
#: modes vm86
#: in eflags=0x20202
#: fault 3 ip=end | twin runs
        int3
#: int n in virtual-8086 mode with VME, redirected to the program's own handler
#: modes vm86 | nocount
#: in cr4=cr4|1 eflags=0x23246
#: out eflags=0x23046 cs=0x600 rip=0x21 rsp=stack-6
#: omem stack-6 = w:end 0x2000 0x3246
        int 0x21
#: ... below IOPL 3 with VIF in the place of IF
#: modes vm86 | nocount
#: in cr4=cr4|1 eflags=0xa0046
#: out eflags=0x20046 cs=0x600 rip=0x21 rsp=stack-6
#: omem stack-6 = w:end 0x2000 0x3246
        int 0x21
#: ... unless the TSS sends it to the system
#: modes vm86 | nocount | tables
#: in cr4=cr4|1 eflags=0x23246
#: mem tssaddr+0x68+4 = 02
#: fault 0x21 ip=end
        int 0x21
#: int1
#: fault 1 ip=end | twin runs
        .byte 0xf1
#: into, overflow
#: modes legacy
#: in flags=O
#: fault 4 ip=end | twin runs
        into
#: into, none
#: modes legacy
#: in flags=o
        into
#: bound, inside
#: modes legacy | sizes 16 32 | msize n//4 | access r
#: in %d=5
#: m (6<<n)|5
        bound %d, [%DI]
#: bound, below (signed)
#: modes legacy | sizes 16 32 | msize n//4
#: in %d=mask-10
#: m (6<<n)|(mask-9)
#: fault 5
        bound %d, [%DI]
#: bound, above
#: modes legacy | sizes 16 32 | msize n//4
#: in %d=7
#: m (6<<n)|(mask-9)
#: fault 5
        bound %d, [%DI]
#: ud2
#: fault 6
        ud2
#: ud1
#: fault 6
        = 0F B9 /0c
#: ud1, memory
#: fault 6
        = 0F B9 /0m
#: ud0
#: fault 6
        = 0F FF /0c
#: ud0, memory
#: fault 6
        = 0F FF /0m
#: undefined opcodes
#: nocount
#: fault 6
        .byte 0x0f, 0x04
#: undefined opcodes
#: nocount
#: fault 6
        .byte 0x0f, 0x24, 0xc0
#: undefined opcodes
#: nocount
#: fault 6
        .byte 0xff, 0xff
#: undefined opcodes
#: nocount
#: fault 6
        .byte 0xfe, 0xd0
#: undefined opcodes
#: nocount
#: fault 6
        .byte 0x8f, 0xc8
#: fifteen bytes are the most
#: nocount
#: fault 13
        .byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90
#: fifteen bytes are an instruction
#: nocount
        .byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90

# ---- PUSHF, POPF

#: pushf
#: modes legacy | sizes 16 32
#: in flags=OSZAPC
#: out rsp=stack-n//8
#: omem stack-n//8 = v:(eflags|0x8d5)&~0x30000
        = 9C
#: pushf
#: modes long | sizes 16
#: in flags=oszapC
#: out rsp=stack-2
#: omem stack-2 = w:eflags|1
        = 9C
#: pushf, 64 bits
#: modes long | sizes 64
#: in flags=oszapC
#: out rsp=stack-8
#: omem stack-8 = q:eflags|1
        = - 9C
#: pushf below IOPL 3
#: modes vm86 | sizes 16 32
#: in eflags=0x20202
#: fault 13
        = 9C
#: pushf with VME: VIF stands for IF, IOPL reads as 3
#: modes vm86 | sizes 16
#: in eflags=0xa0002 cr4=cr4|1
#: out rsp=stack-2
#: omem stack-2 = w:0x3202
        = 9C
#: popf, CPL 0: everything but VM and RF
#: modes real pm16 pm32s | sizes 32
#: in eflags=2
#: mem stack = d:0x277ed5
#: omem stack = d:0x277ed5
#: out eflags=0x247ed7 rsp=stack+4
        = 9D
#: popf, 16 bits
#: modes real pm16 pm32s | sizes 16
#: in eflags=0x240002
#: mem stack = w:0x7ed5
#: omem stack = w:0x7ed5
#: out eflags=0x247ed7 rsp=stack+2
        = 9D
#: popf, CPL 3, IOPL 0: neither IF nor IOPL
#: modes pm32 compat | sizes 16 32
#: in eflags=0x202
#: mem stack = d:0x3cd5
#: omem stack = d:0x3cd5
#: out eflags=0xed7 rsp=stack+n//8
        = 9D
#: popf, CPL 3, IOPL 3: IF too
#: modes pm32 compat | sizes 16 32
#: in eflags=0x3202
#: mem stack = d:0x0cd5
#: omem stack = d:0x0cd5
#: out eflags=0x3cd7 rsp=stack+n//8
        = 9D
#: popf
#: modes vm86 | sizes 16 32
#: in eflags=0x23202
#: mem stack = d:0x0cd5
#: omem stack = d:0x0cd5
#: out eflags=0x23cd7 rsp=stack+n//8
        = 9D
#: popf
#: modes long | sizes 16
#: in eflags=0x202
#: mem stack = w:0x3cd5
#: omem stack = w:0x3cd5
#: out eflags=0xed7 rsp=stack+2
        = 9D
#: popf, 64 bits
#: modes long | sizes 64
#: in eflags=0x202
#: mem stack = q:0x3cd5
#: omem stack = q:0x3cd5
#: out eflags=0xed7 rsp=stack+8
        = - 9D
#: popf, 64 bits, CPL 0
#: modes long | sizes 64 | cpl 0
#: in eflags=0x202
#: mem stack = q:0x243cd5
#: omem stack = q:0x243cd5
#: out eflags=0x243cd7 rsp=stack+8
        = - 9D
#: popf below IOPL 3
#: modes vm86 | sizes 16 32
#: in eflags=0x20202
#: fault 13
        = 9D
#: popf with VME: IF is VIF
#: modes vm86 | sizes 16
#: in eflags=0x20202 cr4=cr4|1
#: mem stack = w:0x0202
#: omem stack = w:0x0202
#: out eflags=0xa0202 rsp=stack+2
        = 9D
#: popf with VME and VIP: opening interrupts faults
#: modes vm86 | sizes 16
#: in eflags=0x120202 cr4=cr4|1
#: mem stack = w:0x0202
#: omem stack = w:0x0202
#: fault 13
        = 9D
#: popf of TF: the trap comes after the next instruction
#: modes pm32s | sizes 32 | nocount
#: in eflags=0x202
#: mem stack = d:0x302
#: omem stack = d:0x302
#: out eflags=0x302 rsp=stack+4 dr6=0xffff4ff0
#: fault 1 ip=end
        = 9D
        nop
#: popf above the stack
#: modes vm86 pm32 compat long64
#: in rsp=guard+0x1000
#: fault 14 err=4 cr2=guard+0x1000+stackbase
        popf

# ---- CLI, STI

#: cli
#: modes real pm16 pm32s vm86
#: in flags=I
#: out flags=i
        cli
#: cli at CPL 0
#: modes pm32 compat long64 | cpl 0
#: in flags=I
#: out flags=i
        cli
#: cli, IOPL 3
#: modes pm32 compat long64
#: in eflags=0x3202
#: out flags=i
        cli
#: cli, IOPL 0
#: modes pm32 compat long64
#: fault 13
        cli
#: cli below IOPL 3
#: modes vm86
#: in eflags=0x20202
#: fault 13
        cli
#: cli with VME
#: modes vm86
#: in eflags=0xa0202 cr4=cr4|1
#: out eflags=0x20202
        cli
#: cli with PVI
#: modes pm32 compat long64
#: in eflags=0x80202 cr4=cr4|2
#: out eflags=0x202
        cli
#: sti
#: modes real pm16 pm32s vm86
#: in flags=i
#: out flags=I
        sti
#: sti at CPL 0
#: modes pm32 compat long64 | cpl 0
#: in flags=i
#: out flags=I
        sti
#: sti, IOPL 3
#: modes pm32 compat long64
#: in eflags=0x3002
#: out flags=I
        sti
#: sti, IOPL 0
#: modes pm32 compat long64
#: in flags=i
#: fault 13
        sti
#: sti with VME and VIP
#: modes vm86
#: in eflags=0x120002 cr4=cr4|1
#: fault 13
        sti
#: sti with PVI
#: modes pm32 compat long64
#: in eflags=0x2 cr4=cr4|2
#: out eflags=0x80002
        sti
#: hlt
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv
#: end code
        hlt
#: pause
        pause
