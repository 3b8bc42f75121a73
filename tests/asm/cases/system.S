# Control and debug registers, descriptor tables, selectors, TLB and caches. Level 0 unless said otherwise.

#: mov r, cr0
#: modes real pm16 pm32 pm32s compat | cpl 0 | priv
#: out edx=cr0
        mov edx, cr0
#: mov r, cr0: all 64 bits without REX.W too
#: modes long | cpl 0 | priv | sizes 32 64
#: in rdx=-1
#: out rdx=cr0
        = 0F 20 /0d
#: mov r, cr2
#: modes real pm16 pm32 pm32s compat | cpl 0 | priv
#: in cr2=0x12345678
#: out edx=0x12345678
        mov edx, cr2
#: mov r, cr3
#: modes long | cpl 0 | priv
#: out rdx=cr3
        mov rdx, cr3
#: mov r, cr4: ModRM.mod means nothing
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv
#: out rdx=cr4
        .byte 0x0f, 0x20, 0x22
#: mov r, cr8
#: modes long | cpl 0 | priv | nocount
#: out rdx=0
        mov rdx, cr8
#: mov r, cr1
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | nocount
#: fault 6
        .byte 0x0f, 0x20, 0xca
#: mov cr0, r
#: modes real pm16 pm32 pm32s compat | cpl 0 | priv
#: in rdx=cr0|8
#: out cr0=cr0|8
        mov cr0, edx
#: mov cr0, r
#: modes long | cpl 0 | priv | sizes 32 64
#: in rdx=cr0|8
#: out cr0=cr0|8
        = 0F 22 /0d
#: mov cr0: PG without PE
#: modes real | cpl 0
#: in rdx=0x80000010
#: fault 13
        mov cr0, edx
#: mov cr0: NW without CD
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rdx=cr0|0x20000000
#: fault 13
        = 0F 22 /0d
#: mov cr0: a bit of the upper half
#: modes long | cpl 0
#: in rdx=cr0|(1<<32)
#: fault 13
        mov cr0, rdx
#: mov cr0: reserved bits are ignored, ET is 1
#: modes real pm16 | cpl 0
#: in rdx=(cr0|0x1000ff00)&~0x10
#: out cr0=cr0
        mov cr0, edx
#: mov cr2, r
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv
#: in rdx=0x12345678
#: out cr2=0x12345678
        .byte 0x0f, 0x22, 0xd2
#: mov cr3, r
#: modes pm32 compat long64 | cpl 0 | priv
#: in rdx=cr3|0x18
#: out cr3=cr3|0x18
        .byte 0x0f, 0x22, 0xda
#: mov cr3: a bit beyond the physical address width
#: modes long | cpl 0
#: in rdx=1<<52
#: fault 13
        mov cr3, rdx
#: mov cr4, r
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv
#: in rdx=cr4|0x108
#: out cr4=cr4|0x108
        .byte 0x0f, 0x22, 0xe2
#: mov cr4: a reserved bit
#: modes real pm16 pm32 pm32s compat long64 | cpl 0
#: in rdx=cr4|0x8000000
#: fault 13
        .byte 0x0f, 0x22, 0xe2
#: mov cr4: PAE cannot go in long mode
#: modes compat long64 | cpl 0
#: in rdx=cr4&~0x20
#: fault 13
        .byte 0x0f, 0x22, 0xe2
#: mov cr4: PCIDE outside long mode
#: modes pm32 | cpl 0
#: in rdx=cr4|0x20000
#: fault 13
        .byte 0x0f, 0x22, 0xe2
#: mov cr8, r
#: modes long | cpl 0 | priv | nocount
#: in rdx=5
#: out rcx=5 cr8=5
        mov cr8, rdx
        mov rcx, cr8
#: mov cr8: more than four bits
#: modes long | cpl 0
#: in rdx=16
#: fault 13
        mov cr8, rdx
#: mov r, dr
#: modes real pm16 pm32 pm32s compat | cpl 0 | priv
#: in dr3=0x12345678
#: out edx=0x12345678
        mov edx, dr3
#: mov r, dr
#: modes long | cpl 0 | priv | sizes 32 64
#: in dr0=0x123456789abcdef0
#: out rdx=0x123456789abcdef0
        = 0F 21 /0d
#: mov r, dr6 and its alias
#: modes real pm16 pm32 pm32s compat long64 | cpl 0
#: out rdx=0xffff0ff0 rcx=0xffff0ff0
        .byte 0x0f, 0x21, 0xf2, 0x0f, 0x21, 0xe1
#: mov r, dr4 with CR4.DE
#: modes real pm16 pm32 compat long64 | cpl 0 | nocount
#: in cr4=cr4|8
#: fault 6
        .byte 0x0f, 0x21, 0xe1
#: mov dr, r
#: modes real pm16 pm32 pm32s compat | cpl 0 | priv
#: in edx=0x12345678
#: out dr1=0x12345678
        mov dr1, edx
#: mov dr, r
#: modes long | cpl 0 | priv | sizes 32 64
#: in rdx=0x123456789abcdef0
#: out dr0=0x123456789abcdef0
        = 0F 23 /0d
#: mov dr7: reserved bits
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rdx=0xfffffffc-0x2000
#: out dr7=0xffff07fc-0x4
#: out loose=dr7
        .byte 0x0f, 0x23, 0xfa
#: mov dr7: the upper half
#: modes long | cpl 0
#: in rdx=1<<32
#: fault 13
        mov dr7, rdx
#: mov dr with DR7.GD: #DB before, BD set, GD cleared
#: modes real pm16 pm32 compat long64 | cpl 0
#: in dr7=0x2400
#: out dr7=0x400 dr6=0xffff2ff0
#: fault 1
        .byte 0x0f, 0x23, 0xc2
#: clts
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv
#: in cr0=cr0|8
#: out cr0=cr0
        clts
#: smsw r: as much of CR0 as the operand takes
#: sizes 16 32 64
#: out %d=cr0&mask
        = 0F 01 /4d
#: smsw m
#: sizes 16 32 64 | msize 2 | access w
#: om cr0&0xffff
        = 0F 01 /4m
#: smsw under UMIP
#: modes pm32 compat long64
#: in cr4=cr4|0x800
#: fault 13
        smsw ax
#: lmsw r: TS EM MP and PE
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv
#: in rdx=8|(cr0&1)
#: out cr0=cr0&~6|8
        lmsw dx
#: lmsw m
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv | msize 2 | access r
#: m 2|(cr0&1)|0xfff0
#: out cr0=cr0|2
        lmsw %m
#: lmsw cannot leave protected mode
#: modes pm16 pm32 compat long64 | cpl 0
#: in rdx=2
#: out cr0=cr0
        lmsw dx

# ---- descriptor-table registers

#: sgdt
#: modes legacy | msize 6 | access w
#: om (gdt<<16)|0x1ff
        sgdt [%DI]
#: sgdt
#: modes long | msize 10 | cpl 0 | notwins
#: in gdt_base=0xffff800012345678
#: om (0xffff800012345678<<16)|0x1ff
        sgdt [%DI]
#: sgdt
#: modes long | msize 10 | access w
#: om (gdt<<16)|0x1ff
        sgdt [%DI]
#: sidt
#: modes real | msize 6 | access w
#: om 0x3ff
        sidt [%DI]
#: sidt
#: modes vm86 pm16 pm32 pm32s | msize 6 | access w
#: om (idt<<16)|0x7ff
        sidt [%DI]
#: sidt
#: modes compat | msize 6 | access w
#: om (idt64<<16)|0xfff
        sidt [%DI]
#: sidt
#: modes long | msize 10 | access w
#: om (idt64<<16)|0xfff
        sidt [%DI]
#: sgdt, sidt under UMIP
#: modes vm86 pm32 compat long64
#: in cr4=cr4|0x800
#: fault 13
        sidt [%DI]
#: lgdt
#: modes real pm16 pm32 pm32s compat | cpl 0 | msize 6 | access r | priv | sizes 32
#: m (0x12348000<<16)|0x1ff
#: out gdt_base=0x12348000
        = 0F 01 /2m
#: lgdt, with a 16-bit operand 24 bits of base
#: modes real pm16 pm32 pm32s compat | cpl 0 | msize 6 | access r | priv | sizes 16
#: m (0x12008000<<16)|0x1ff
#: out gdt_base=gdt gdt_limit=0x1ff
        = 0F 01 /2m
#: lgdt
#: modes pm16 pm32 pm32s compat real | cpl 0 | msize 6 | access r | priv | sizes 32
#: m (gdt<<16)|0x3ff
#: out gdt_base=gdt gdt_limit=0x3ff
        = 0F 01 /2m
#: lgdt
#: modes long | cpl 0 | msize 10 | access r | priv
#: m (gdt<<16)|0x2ff
#: out gdt_limit=0x2ff
        lgdt [%DI]
#: lgdt, non-canonical
#: modes long | cpl 0 | msize 10
#: m (1<<63)|0x2ff
#: fault 13
        lgdt [%DI]
#: lidt
#: modes real pm16 pm32 pm32s compat | cpl 0 | msize 6 | access r | priv | sizes 32
#: m (0x12345678<<16)|0x2ff
#: out idt_base=0x12345678 idt_limit=0x2ff
        = 0F 01 /3m
#: lidt, with a 16-bit operand 24 bits of base
#: modes real pm16 pm32 pm32s compat | cpl 0 | msize 6 | access r | priv | sizes 16
#: m (0x12345678<<16)|0x2ff
#: out idt_base=0x345678 idt_limit=0x2ff
        = 0F 01 /3m
#: lidt
#: modes long | cpl 0 | msize 10 | access r | priv
#: m (0x7000000000<<16)|0xeff
#: out idt_base=0x7000000000 idt_limit=0xeff
        lidt [%DI]
#: lidt of a register
#: modes real pm16 pm32 compat long64 | cpl 0 | nocount
#: fault 6
        .byte 0x0f, 0x01, 0xdf
#: sldt r
#: modes protected | sizes 16 32 64
#: out %d=ldtsel
        = 0F 00 /0d
#: sldt m
#: modes protected | sizes 16 32 64 | msize 2 | access w
#: om ldtsel
        = 0F 00 /0m
#: str r
#: modes protected | sizes 16 32 64
#: out %d=tss
        = 0F 00 /1d
#: str m
#: modes protected | sizes 16 32 64 | msize 2 | access w
#: om tss
        = 0F 00 /1m
#: lldt r
#: modes pm16 pm32 pm32s | cpl 0 | priv
#: in rdx=ldtsel ldt=0 ldt_base=0 ldt_limit=0 ldt_flags=0
#: out ldt=ldtsel ldt_base=ldt ldt_limit=0xff ldt_flags=0x8200
        lldt dx
#: lldt r, in long mode: 16 bytes
#: modes compat long64 | cpl 0 | priv | tables
#: mem gdt+slot0 = w:0xff 0x8800 0x8200 0 d:0x7f00 0
#: in rdx=slot0
#: out ldt=slot0 ldt_base=0x7f0000008800 ldt_limit=0xff ldt_flags=0x8200
        lldt dx
#: lldt m
#: modes pm16 pm32 pm32s | cpl 0 | priv | msize 2 | access r
#: m 0
#: out ldt=0 ldt_base=0 ldt_limit=0 ldt_flags=0
        lldt %m
#: lldt m
#: modes compat long64 | cpl 0 | priv | msize 2 | access r
#: m 0
#: out ldt=0 ldt_base=0 ldt_limit=0 ldt_flags=0
        lldt %m
#: lldt of a data segment
#: modes pm16 pm32 compat long64 | cpl 0
#: in rdx=kdata
#: fault 13 err=kdata
        lldt dx
#: lldt of a selector in the LDT
#: modes pm16 pm32 compat long64 | cpl 0
#: in rdx=0xc
#: fault 13 err=0xc
        lldt dx
#: ltr r
#: modes pm16 pm32 pm32s | cpl 0 | priv | tables
#: in rdx=tssb
#: out tr=tssb tr_base=tssbaddr tr_limit=0x67 tr_flags=0x8b00
#: omem gdt+tssb+5 = 8b
        ltr dx
#: ltr m
#: modes pm16 pm32 pm32s | cpl 0 | priv | tables | msize 2 | access r
#: m tss16
#: out tr=tss16 tr_base=tss16addr tr_limit=0x2b tr_flags=0x8300
#: omem gdt+tss16+5 = 83
        ltr %m
#: ltr r, in long mode
#: modes compat long64 | cpl 0 | priv | tables
#: mem gdt+slot0 = w:0x67 0xe000 0x8900 0 d:0x7f00 0
#: in rdx=slot0
#: out tr=slot0 tr_base=0x7f000000e000 tr_limit=0x67 tr_flags=0x8b00
#: omem gdt+slot0+5 = 8b
        ltr dx
#: ltr m, in long mode
#: modes compat long64 | cpl 0 | priv | tables | msize 2 | access r
#: mem gdt+slot0 = w:0x67 0xe000 0x8900 0 d:0 0
#: m slot0
#: out tr=slot0 tr_base=tss64addr tr_limit=0x67 tr_flags=0x8b00
#: omem gdt+slot0+5 = 8b
        ltr %m
#: ltr of a busy TSS
#: modes pm16 pm32 pm32s | cpl 0
#: in rdx=tss
#: fault 13 err=tss
        ltr dx
#: ltr of null
#: modes pm16 pm32 compat long64 | cpl 0
#: in rdx=3
#: fault 13
        ltr dx
#: ltr not present
#: modes pm16 pm32 pm32s | cpl 0 | tables
#: mem gdt+tssb+5 = 09
#: in rdx=tssb
#: fault 11 err=tssb
        ltr dx

# ---- what a selector may be used for

#: verr: data
#: modes protected
#: in rdx=rodata
#: out flags=Z
        verr dx
#: verr m
#: modes protected | msize 2 | access r
#: m udata
#: out flags=Z
        verr %m
#: verr: code that cannot be read
#: modes protected
#: in rdx=xonly
#: out flags=z
        verr dx
#: verr: null, a system segment, beyond the table
#: modes protected
#: in rdx=tss rcx=0 rbx=0x3fff
#: out flags=z
        verr dx
        jz 1f
        verr cx
        jz 1f
        verr bx
1:
#: verr: more privileged
#: modes pm32 compat long64
#: in rdx=kdata
#: out flags=z
        verr dx
#: verr: conforming code is readable from anywhere
#: modes protected
#: in rdx=conform
#: out flags=Z
        verr dx
#: verw
#: modes protected
#: in rdx=udata
#: out flags=Z
        verw dx
#: verw m
#: modes protected | msize 2 | access r
#: m rodata
#: out flags=z
        verw %m
#: verw: code
#: modes protected
#: in rdx=ucode32
#: out flags=z
        verw dx
#: lar
#: modes protected | sizes 16 32 64
#: in rbx=udata
#: out flags=Z %d=0xc0f300&mask
        = 0F 02 /2b
#: lar m
#: modes protected | sizes 16 32 64 | msize 2 | access r
#: m rodata
#: out flags=Z %d=0x40f100&mask
        = 0F 02 /2m
#: lar of null
#: modes protected | sizes 32
#: in rbx=0
#: out flags=z
        lar %d, %b
#: lar of a TSS
#: modes pm16 pm32 pm32s | sizes 32 | cpl 0
#: in rbx=tss
#: out flags=Z edx=0x8b00
        lar %d, %b
#: lar of an interrupt gate
#: modes pm16 | sizes 32 | tables
#: mem gdt+slot0 = w:0 8 0x8e00 0
#: in rbx=slot0
#: out flags=z
        lar %d, %b
#: lar of a call gate
#: modes pm16 | sizes 32 | tables
#: mem gdt+slot0 = w:0 8 0x8c00 0
#: in rbx=slot0
#: out flags=Z edx=0x8c00
        lar %d, %b
#: lsl, pages
#: modes protected | sizes 16 32 64
#: in rbx=udata
#: out flags=Z %d=0xffffffff&mask
        = 0F 03 /2b
#: lsl m, bytes
#: modes protected | sizes 16 32 64 | msize 2 | access r
#: m rodata
#: out flags=Z %d=0x5fff
        = 0F 03 /2m
#: lsl of a call gate
#: modes pm16 | sizes 32 | tables
#: mem gdt+slot0 = w:0 8 0x8c00 0
#: in rbx=slot0
#: out flags=z
        lsl %d, %b
#: lsl above the level
#: modes pm32 compat long64 | sizes 32
#: in rbx=kdata
#: out flags=z
        lsl %d, %b
#: arpl raises the RPL
#: modes pm
#: in rdx=0x101 rbx=3
#: out flags=Z rdx=0x103
        arpl dx, bx
#: arpl leaves it
#: modes pm
#: in rdx=0x102 rbx=1
#: out flags=z
        arpl dx, bx
#: arpl m
#: modes pm | msize 2 | access r
#: in rbx=0x333
#: m 0x200
#: om 0x203
#: out flags=Z
        arpl %m, bx

# ---- TLB and caches

#: invlpg
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv | feat i486
        invlpg [%DI]
#: invlpg of a register
#: modes real pm16 pm32 compat long64 | cpl 0 | nocount
#: fault 6
        .byte 0x0f, 0x01, 0xff
#: invlpg of what nothing maps
#: modes pm32 compat long64 | cpl 0
#: in rdi=hole
        invlpg [%DI]
#: invpcid, all contexts
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv | feat invpcid | msize 16 | access r
#: in rdx=2
#: m 0
        = 66 - 0F 38 82 /2m
#: invpcid: REX.W means nothing
#: modes long | cpl 0 | msize 16
#: in rdx=2
#: m 0
        = 66 - 48 0F 38 82 /2m
#: invpcid: a type that does not exist
#: modes real pm16 pm32 compat long64 | cpl 0 | msize 16
#: in rdx=4
#: m 0
#: fault 13
        = 66 - 0F 38 82 /2m
#: invpcid: reserved bits of the descriptor
#: modes real pm16 pm32 compat long64 | cpl 0 | msize 16
#: in rdx=0
#: m 0x1000
#: fault 13
        = 66 - 0F 38 82 /2m
#: invd
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv | feat i486
        invd
#: wbinvd
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv | feat i486
        wbinvd
#: wbnoinvd
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv
        .byte 0xf3, 0x0f, 0x09
#: lfence
#: feat sse2
        lfence
#: mfence
#: feat sse2
        mfence
#: sfence
#: feat sse
        sfence
#: clflush
#: access r | msize 1 | feat clflush
        clflush [%DI]
#: clflushopt
#: access r | msize 1 | feat clflushopt
        clflushopt [%DI]
#: clwb
#: access r | msize 1 | feat clwb
        clwb [%DI]
