# Segment registers: MOV, PUSH, POP, LDS .. LSS, and the checks of a load (SDM vol. 2, MOV; vol. 3, 5.4 to 5.7).

#: mov r, sreg: a 16-bit destination keeps the rest, a wider one is zero-extended
#: sizes 16 32 64
#: out %d=seg_ds
        = 8C /3d
#: mov r, cs
#: sizes 16 32 64
#: out %d=seg_cs
        = 8C /1d
#: mov m, sreg stores 16 bits whatever the operand size
#: sizes 16 32 64 | msize 2 | access w
#: om seg_ss
        = 8C /2m
#: mov r, of a segment register that does not exist
#: nocount
#: fault 6
        = 8C /6d
#: mov sreg, of one that does not exist
#: nocount
#: fault 6
        = 8E /7d
#: mov cs, r
#: nocount
#: fault 6
        = 8E /1d
#: mov es, r
#: modes v86 | sizes 16 32
#: in rdx=0x98761234
#: out es=0x1234
        = 8E /0d
#: mov ds, m
#: modes v86 | sizes 16 32 | msize 2 | access r
#: m 0x4321
#: out ds=0x4321
        = 8E /3m
#: mov es, r
#: modes protected | sizes 16 32 64
#: in rdx=0x98760000+rodata
#: out es=rodata
        = 8E /0d
#: mov gs, m
#: modes protected | sizes 16 32 64 | msize 2 | access r
#: m udata2
#: out gs=udata2
        = 8E /5m
#: mov fs, null
#: modes protected
#: in rdx=3
#: out fs=3
        = 8E /4d
#: ds null: the load is fine, an access is not
#: modes pm
#: in rdx=0
#: out ds=0
#: fault 13 ip=code+2
        = 8E /3d
        mov al, ds:[%DI]
#: ds null: in 64-bit mode nobody looks
#: modes long
#: in rdx=0
#: out ds=0 al=0xb1
        = 8E /3d
        mov al, ds:[%DI]
#: from the LDT
#: modes pm16 pm32 compat long64
#: in rdx=0xF
#: out es=0xf es_base=0 es_limit=0xffffffff es_flags=0xC0F300
        = 8E /0d
#: a conforming code segment is readable from any level
#: modes protected
#: in rdx=conform
#: out es=conform
        = 8E /0d
#: not present: #NP with the selector
#: modes protected
#: in rdx=absent
#: fault 11 err=absent&~3
        = 8E /3d
#: beyond the table's limit
#: modes protected
#: in rdx=0x203
#: fault 13 err=0x200
        = 8E /3d
#: beyond the LDT's limit
#: modes protected
#: in rdx=0x107
#: fault 13 err=0x104
        = 8E /3d
#: a system segment
#: modes protected
#: in rdx=tss
#: fault 13 err=tss
        = 8E /5d
#: code that cannot be read
#: modes protected
#: in rdx=xonly
#: fault 13 err=xonly&~3
        = 8E /5d
#: a more privileged segment
#: modes pm32 compat long64
#: in rdx=kdata
#: fault 13 err=kdata
        = 8E /3d
#: the RPL counts as well
#: modes pm16 pm32s
#: in rdx=kdata|3
#: fault 13 err=kdata
        = 8E /3d
#: mov ss, r
#: modes real vm86 | sizes 16 32
#: in rdx=0x4000
#: out ss=0x4000
        = 8E /2d
#: mov ss, r
#: modes pm32 compat long64 | sizes 16 32 64
#: in rdx=udata2
#: out ss=udata2
        = 8E /2d
#: mov ss, r
#: modes pm16 pm32s | sizes 16 32
#: in rdx=kdata2
#: out ss=kdata2
        = 8E /2d
#: mov ss, null
#: modes pm
#: in rdx=0
#: fault 13
        = 8E /2d
#: mov ss, null, in 64-bit mode at CPL 0
#: modes long | cpl 0
#: in rdx=0
#: out ss=0
        = 8E /2d
#: mov ss, null with the wrong RPL
#: modes long | cpl 0
#: in rdx=3
#: fault 13
        = 8E /2d
#: mov ss, null at CPL 3
#: modes long
#: in rdx=3
#: fault 13
        = 8E /2d
#: mov ss: RPL and DPL are the CPL
#: modes pm32 compat long64
#: in rdx=udata&~3
#: fault 13 err=udata&~3
        = 8E /2d
#: mov ss: the DPL is not the CPL
#: modes pm16 pm32s
#: in rdx=udata&~3
#: fault 13 err=udata&~3
        = 8E /2d
#: mov ss: read-only
#: modes pm32 compat long64
#: in rdx=rodata
#: fault 13 err=rodata&~3
        = 8E /2d
#: mov ss: code
#: modes pm32 compat
#: in rdx=ucode32
#: fault 13 err=ucode32&~3
        = 8E /2d
#: mov ss: not present is #SS
#: modes pm32 compat long64
#: in rdx=absentss
#: fault 12 err=absentss&~3
        = 8E /2d
#: the accessed bit is set
#: modes pm16 pm32s | tables
#: mem gdt+slot0 = ffff000000 92 cf 00
#: omem gdt+slot0 = ffff000000 93 cf 00
#: in rdx=slot0
#: out es=slot0 es_base=0 es_limit=0xffffffff es_flags=0xC09300
        = 8E /0d
#: base and limit of a byte-granular segment
#: modes pm16 pm32s | tables
#: mem gdt+slot0 = 3412 785634 93 4f 12
#: in rdx=slot0
#: out es=slot0 es_base=0x12345678 es_limit=0xf1234 es_flags=0x409300
        = 8E /0d

# ---- limits and types of data segments

#: read-only data: a write
#: modes pm16 pm32 compat
#: in es=rodata rdi=0x1040
#: fault 13
        mov es:[%DI], al
#: read-only data: a read
#: modes pm16 pm32 compat
#: in es=rodata rdi=0x1040
#: out al=0xb1
        mov al, es:[%DI]
#: code is not writable
#: modes pm
#: fault 13
        mov cs:[%DI], al
#: an execute-only segment is not readable
#: modes pm16 pm32s
#: in es=kdata rdx=xonly
#: fault 13 err=xonly&~3
        mov es, edx
#: expand down: beyond the limit is inside
#: modes pm16 pm32 compat
#: in es=expdown rdi=0x1040
#: out al=0xb1
        mov al, es:[%DI]
#: expand down: up to the limit is outside
#: modes pm16 pm32 compat
#: in es=expdown rdi=0xFFF
#: fault 13
        mov al, es:[%DI]
#: expand down: the first byte counts
#: modes pm16 pm32 compat
#: in es=expdown rdi=0xFFF
#: fault 13
        mov eax, es:[%DI]
#: the stack segment: #SS
#: modes pm16 real vm86
#: in rbp=0xFFFF
#: fault 12
        mov ax, [bp]
#: the last byte of a segment
#: modes pm16 pm32s
#: in rdi=0x5FFF
#: mem sup+0xFFF = 77
#: out al=0x77
        mov al, [%DI]
#: one beyond
#: modes pm16 pm32s
#: in rdi=0x6000
#: fault 13
        mov al, [%DI]
#: fs: its limit
#: modes pm16 pm32 pm32s compat
#: in rdi=0xFFD
#: fault 13
        mov eax, fs:[%DI]

# ---- PUSH and POP of segment registers

#: push es
#: modes legacy | sizes 16
#: out rsp=stack-2
#: omem stack-2 = w:seg_es
        = 06
#: push es, 32 bits
#: modes legacy | sizes 32
#: out rsp=stack-4
#: omem stack-4 = d:seg_es
        = 06
#: push cs
#: modes legacy | sizes 16 32
#: out rsp=stack-n//8
#: omem stack-n//8 = v:seg_cs
        = 0E
#: push ss
#: modes legacy | sizes 16 32
#: out rsp=stack-n//8
#: omem stack-n//8 = v:seg_ss
        = 16
#: push ds
#: modes legacy | sizes 16 32
#: out rsp=stack-n//8
#: omem stack-n//8 = v:seg_ds
        = 1E
#: push fs
#: modes legacy | sizes 16 32
#: out rsp=stack-n//8
#: omem stack-n//8 = v:seg_fs
        = 0F A0
#: push gs
#: modes legacy | sizes 16 32
#: out rsp=stack-n//8
#: omem stack-n//8 = v:seg_gs
        = 0F A8
#: push fs
#: modes long | sizes 16
#: in fs=udata
#: out rsp=stack-2
#: omem stack-2 = w:udata
        = 0F A0
#: push gs
#: modes long | sizes 16
#: in gs=udata
#: out rsp=stack-2
#: omem stack-2 = w:udata
        = 0F A8
#: push fs, 64 bits
#: modes long | sizes 64
#: in fs=udata
#: out rsp=stack-8
#: omem stack-8 = q:udata
        = - 0F A0
#: push gs, 64 bits
#: modes long | sizes 64
#: in gs=udata
#: out rsp=stack-8
#: omem stack-8 = q:udata
        = - 0F A8
#: push below the stack
#: modes vm86 pm32 compat | sizes 16 32
#: in rsp=guard
#: fault 14 err=6 cr2=guard-n//8+stackbase
        = 1E
#: pop es
#: modes v86 | sizes 16 32
#: mem stack = v:0x4321
#: omem stack = v:0x4321
#: out es=0x4321 rsp=stack+n//8
        = 07
#: pop ds
#: modes v86 | sizes 16 32
#: mem stack = v:0x4321
#: omem stack = v:0x4321
#: out ds=0x4321 rsp=stack+n//8
        = 1F
#: pop ss
#: modes v86 | sizes 16 32
#: mem stack = v:0x4000
#: omem stack = v:0x4000
#: out ss=0x4000 rsp=stack+n//8
        = 17
#: pop fs
#: modes v86 | sizes 16 32
#: mem stack = v:0x4321
#: omem stack = v:0x4321
#: out fs=0x4321 rsp=stack+n//8
        = 0F A1
#: pop gs
#: modes v86 | sizes 16 32
#: mem stack = v:0x4321
#: omem stack = v:0x4321
#: out gs=0x4321 rsp=stack+n//8
        = 0F A9
#: pop es
#: modes pm | sizes 16 32
#: mem stack = v:rodata
#: omem stack = v:rodata
#: out es=rodata rsp=stack+n//8
        = 07
#: pop ds
#: modes pm | sizes 16 32
#: mem stack = v:rodata
#: omem stack = v:rodata
#: out ds=rodata rsp=stack+n//8
        = 1F
#: pop ss
#: modes pm32 compat | sizes 16 32
#: mem stack = v:udata2
#: omem stack = v:udata2
#: out ss=udata2 rsp=stack+n//8
        = 17
#: pop ss
#: modes pm16 pm32s | sizes 16 32
#: mem stack = v:kdata2
#: omem stack = v:kdata2
#: out ss=kdata2 rsp=stack+n//8
        = 17
#: pop fs
#: modes pm | sizes 16 32
#: mem stack = v:udata2
#: omem stack = v:udata2
#: out fs=udata2 rsp=stack+n//8
        = 0F A1
#: pop gs
#: modes pm | sizes 16 32
#: mem stack = v:udata2
#: omem stack = v:udata2
#: out gs=udata2 rsp=stack+n//8
        = 0F A9
#: pop fs
#: modes long | sizes 16
#: mem stack = w:udata2
#: omem stack = w:udata2
#: out fs=udata2 rsp=stack+2
        = 0F A1
#: pop gs
#: modes long | sizes 16
#: mem stack = w:udata2
#: omem stack = w:udata2
#: out gs=udata2 rsp=stack+2
        = 0F A9
#: pop fs, 64 bits
#: modes long | sizes 64
#: mem stack = q:udata2
#: omem stack = q:udata2
#: out fs=udata2 rsp=stack+8
        = - 0F A1
#: pop gs, 64 bits
#: modes long | sizes 64
#: mem stack = q:udata2
#: omem stack = q:udata2
#: out gs=udata2 rsp=stack+8
        = - 0F A9
#: pop ds of a bad selector moves nothing
#: modes pm
#: mem stack = d:absent
#: omem stack = d:absent
#: fault 11 err=absent&~3
        pop ds
#: pop above the stack
#: modes vm86 pm32 compat | sizes 16 32
#: in rsp=guard+0x1000
#: fault 14 err=4 cr2=guard+0x1000+stackbase
        = 07

# ---- far pointers

#: les
#: modes v86 | sizes 16 32 | msize n//8+2 | access r
#: m (0x4321<<n)|0x1234
#: out es=0x4321 %d=0x1234
        = C4 /2m
#: lds
#: modes v86 | sizes 16 32 | msize n//8+2 | access r
#: m (0x4321<<n)|0x1234
#: out ds=0x4321 %d=0x1234
        = C5 /2m
#: lss
#: modes v86 | sizes 16 32 | msize n//8+2 | access r
#: m (0x4000<<n)|0x1234
#: out ss=0x4000 %d=0x1234
        = 0F B2 /2m
#: lfs
#: modes v86 | sizes 16 32 | msize n//8+2 | access r
#: m (0x4321<<n)|0x1234
#: out fs=0x4321 %d=0x1234
        = 0F B4 /2m
#: lgs
#: modes v86 | sizes 16 32 | msize n//8+2 | access r
#: m (0x4321<<n)|0x1234
#: out gs=0x4321 %d=0x1234
        = 0F B5 /2m
#: les
#: modes pm | sizes 16 32 | msize n//8+2 | access r
#: m (rodata<<n)|0x1234
#: out es=rodata %d=0x1234
        = C4 /2m
#: lds
#: modes pm | sizes 16 32 | msize n//8+2 | access r
#: m (rodata<<n)|0x1234
#: out ds=rodata %d=0x1234
        = C5 /2m
#: lss
#: modes pm32 compat long64 | sizes 16 32 64 | msize n//8+2 | access r
#: m (udata2<<n)|0x1234
#: out ss=udata2 %d=0x1234
        = 0F B2 /2m
#: lss
#: modes pm16 pm32s | sizes 16 32 | msize n//8+2 | access r
#: m (kdata2<<n)|0x1234
#: out ss=kdata2 %d=0x1234
        = 0F B2 /2m
#: lfs
#: modes protected | sizes 16 32 64 | msize n//8+2 | access r
#: m (udata2<<n)|0x1234
#: out fs=udata2 %d=0x1234
        = 0F B4 /2m
#: lgs
#: modes protected | sizes 16 32 64 | msize n//8+2 | access r
#: m (udata2<<n)|0x1234
#: out gs=udata2 %d=0x1234
        = 0F B5 /2m
#: lds of a bad selector: neither register changes
#: modes pm
#: sizes 32 | msize 6
#: m (absent<<32)|0x1234
#: fault 11 err=absent&~3
        = C5 /2m
#: lss esp: the new stack is the one the next push uses
#: modes pm32 compat | sizes 32 | msize 6
#: m (udata2<<32)|0x41400
#: out ss=udata2 esp=0x413fc
#: omem stack-0x404 = d:0x12345678
#: notwins
        = 0F B2 /4m
        push 0x12345678
#: les of a register
#: modes v86 | nocount
#: fault 6
        = C4 /2d
#: lfs of a register
#: nocount
#: fault 6
        = 0F B4 /2d
