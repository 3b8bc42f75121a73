# Call gates, returns to an outer level, IRET between levels and into virtual-8086 mode, task switches
# (SDM vol. 3, 5.8.3 to 5.8.6, 6.12, 7.3, 20.2). The kernel's stack for CPL 0 begins at kstack.

#: call gate, same level
#: modes pm32s | sizes 32 | tables
#: mem gdt+slot0 = w:code+0x40 kcseg32 0x8C00 0
#: out cs=kcseg32 rip=code+0x40 rsp=stack-8
#: omem stack-8 = d:end seg_cs
        = 9A id:0x12345678 iw:slot0
#: jmp through a call gate
#: modes pm32s | sizes 32 | tables
#: mem gdt+slot0 = w:code+0x40 kcseg32 0x8C00 0
#: out cs=kcseg32 rip=code+0x40
        = EA id:0x12345678 iw:slot0
#: call gate to an inner level: stack switched, parameters copied
#: modes pm32 | sizes 32 | tables
#: mem gdt+slot0 = w:0x440+0x8000-0x8000 kcode32 0xEC02 2
#: mem stack = d:0x11111111 0x22222222 0x33333333
#: omem stack = d:0x11111111 0x22222222 0x33333333
#: out cs=kcode32 cpl=0 rip=0x20440 ss=kdata rsp=kstack-24
#: omem kstack-24 = d:end seg_cs 0x11111111 0x22222222 stack seg_ss
        = 9A id:0 iw:slot0|3
#: call gate of 16 bits to an inner level
#: modes pm32 | sizes 32 | tables
#: mem gdt+slot0 = w:0x440 kcode16 0xE401 0
#: mem stack = w:0x1111 0x2222
#: omem stack = w:0x1111 0x2222
#: out cs=kcode16 cpl=0 rip=0x440 ss=kdata rsp=kstack-10
#: omem kstack-10 = w:end&0xffff seg_cs 0x1111 stack&0xffff seg_ss
        = 9A id:0 iw:slot0|3
#: call gate, DPL below the caller's level
#: modes pm32 | sizes 32 | tables
#: mem gdt+slot0 = w:0x440 kcode32 0x8C00 2
#: fault 13 err=slot0
        = 9A id:0 iw:slot0|3
#: call gate, RPL above its DPL
#: modes pm32s | sizes 32 | tables
#: mem gdt+slot0 = w:0x440 kcseg32 0x8C00 0
#: fault 13 err=slot0
        = 9A id:0 iw:slot0|3
#: call gate not present
#: modes pm32 | sizes 32 | tables
#: mem gdt+slot0 = w:0x440 kcode32 0x6C00 2
#: fault 11 err=slot0
        = 9A id:0 iw:slot0|3
#: call gate to data
#: modes pm32 | sizes 32 | tables
#: mem gdt+slot0 = w:0x440 kdata 0xEC00 2
#: fault 13 err=kdata
        = 9A id:0 iw:slot0|3
#: call gate to a segment that is not present
#: modes pm32 | sizes 32 | tables
#: mem gdt+slot0 = w:0x440 absentcode&~3 0xEC00 2
#: fault 11 err=absentcode&~3
        = 9A id:0 iw:slot0|3
#: call gate to no segment
#: modes pm32 | sizes 32 | tables
#: mem gdt+slot0 = w:0x440 0 0xEC00 2
#: fault 13
        = 9A id:0 iw:slot0|3
#: call gate, target beyond the limit
#: modes pm32 | sizes 32 | tables
#: mem gdt+slot0 = w:0x440 code0 0xEC00 2
#: fault 13
        = 9A id:0 iw:slot0|3
#: jmp through a gate cannot change level
#: modes pm32 | sizes 32 | tables
#: mem gdt+slot0 = w:0x440 kcode32 0xEC00 2
#: fault 13 err=kcode32
        = EA id:0 iw:slot0|3
#: call gate: the inner stack is not present, for handlers neither
#: modes pm32 | sizes 32 | tables
#: mem gdt+slot0 = w:0x440 kcode32 0xEC00 2
#: mem tssaddr+8 = w:kabsentss
#: stops shutdown
        = 9A id:0 iw:slot0|3
#: call gate of 64 bits to an inner level
#: modes long64 | sizes 32 | msize 6 | tables
#: mem gdt+slot0 = w:0x440 kcode64 0xEC00 2 d:0 0
#: m (slot0|3)<<32
#: out cs=kcode64 cpl=0 rip=0x20440 ss=0 rsp=kstack-32
#: omem kstack-32 = q:end seg_cs stack seg_ss
        = FF /3m
#: call gate of 64 bits, same level
#: modes long64 | cpl 0 | sizes 32 | msize 6 | tables
#: mem gdt+slot0 = w:0x440 kcode64 0x8C00 2 d:0 0
#: m slot0<<32
#: out cs=kcode64 rip=0x20440 rsp=stack-16
#: omem stack-16 = q:end seg_cs
        = FF /3m
#: jmp through a call gate of 64 bits
#: modes long64 | sizes 32 | msize 6 | tables
#: mem gdt+slot0 = w:0x440 ucode64 0xEC00 2 d:0 0
#: m (slot0|3)<<32
#: out cs=ucode64 rip=0x20440
        = FF /5m
#: call gate of 64 bits to 32-bit code
#: modes long64 | sizes 32 | msize 6 | tables
#: mem gdt+slot0 = w:0x440 kcode32 0xEC00 2 d:0 0
#: m (slot0|3)<<32
#: fault 13 err=kcode32
        = FF /3m
#: call gate of 64 bits: the upper half has a type
#: modes long64 | sizes 32 | msize 6 | tables
#: mem gdt+slot0 = w:0x440 kcode64 0xEC00 2 d:0 0x100
#: m (slot0|3)<<32
#: fault 13 err=slot0
        = FF /3m
#: call gate of 64 bits to a non-canonical address
#: modes long64 | sizes 32 | msize 6 | tables
#: mem gdt+slot0 = w:0x440 kcode64 0xEC00 2 d:0x8000 0
#: m (slot0|3)<<32
#: fault 13
        = FF /3m

# ---- returns to an outer level

#: retf to CPL 3
#: modes pm32 | cpl 0 | sizes 32
#: mem stack = d:code+0x40 ucode32 stack+0x100 udata
#: omem stack = d:code+0x40 ucode32 stack+0x100 udata
#: out cs=ucode32 cpl=3 rip=code+0x40 ss=udata rsp=stack+0x100 ds=0 es=0
        = CB
#: retf imm to CPL 3 releases parameters on both stacks
#: modes pm32 | cpl 0 | sizes 32
#: in ds=udata es=conform
#: mem stack = d:code+0x40 ucode32 0x7777 stack+0x100 udata
#: omem stack = d:code+0x40 ucode32 0x7777 stack+0x100 udata
#: out cs=ucode32 cpl=3 rip=code+0x40 ss=udata rsp=stack+0x104
        = CA iw:4
#: retf to CPL 3: the stack's level is another
#: modes pm32 | cpl 0 | sizes 32
#: mem stack = d:code+0x40 ucode32 stack+0x100 kdata
#: omem stack = d:code+0x40 ucode32 stack+0x100 kdata
#: fault 13 err=kdata
        = CB
#: retf to CPL 3: no stack
#: modes pm32 | cpl 0 | sizes 32
#: mem stack = d:code+0x40 ucode32 stack+0x100 0
#: omem stack = d:code+0x40 ucode32 stack+0x100 0
#: fault 13
        = CB
#: retf to CPL 3: the stack is not present
#: modes pm32 | cpl 0 | sizes 32
#: mem stack = d:code+0x40 ucode32 stack+0x100 absentss
#: omem stack = d:code+0x40 ucode32 stack+0x100 absentss
#: fault 12 err=absentss&~3
        = CB
#: retf to CPL 3, 64 bits
#: modes long64 | cpl 0 | sizes 64
#: mem stack = q:code+0x40 ucode64 stack+0x100 udata
#: omem stack = q:code+0x40 ucode64 stack+0x100 udata
#: out cs=ucode64 cpl=3 rip=code+0x40 ss=udata rsp=stack+0x100 ds=0 es=0
        = CB
#: retf to a non-canonical address
#: modes long64 | cpl 0 | sizes 64
#: mem stack = q:1<<47 kcode64
#: omem stack = q:1<<47 kcode64
#: fault 13
        = CB

# ---- IRET between levels

#: iret to CPL 3: flags and IOPL
#: modes pm32 | cpl 0 | sizes 32
#: mem stack = d:code+0x40 ucode32 0x3ed5 stack+0x100 udata
#: omem stack = d:code+0x40 ucode32 0x3ed5 stack+0x100 udata
#: out cs=ucode32 cpl=3 rip=code+0x40 eflags=0x3ed7 ss=udata rsp=stack+0x100 ds=0 es=0
        = CF
#: iret to CPL 3, 64 bits
#: modes long64 | cpl 0 | sizes 64
#: mem stack = q:code+0x40 ucode64 0x3ed5 stack+0x100 udata
#: omem stack = q:code+0x40 ucode64 0x3ed5 stack+0x100 udata
#: out cs=ucode64 cpl=3 rip=code+0x40 eflags=0x3ed7 ss=udata rsp=stack+0x100 ds=0 es=0
        = CF
#: iret from 64-bit to compatibility mode
#: modes long64 | cpl 0 | sizes 64
#: mem stack = q:code+0x40 ucode32 0x202 stack+0x100 udata
#: omem stack = q:code+0x40 ucode32 0x202 stack+0x100 udata
#: out cs=ucode32 cpl=3 rip=code+0x40 eflags=0x202 ss=udata rsp=stack+0x100 ds=0 es=0
        = CF
#: iret at CPL 3 changes neither IOPL nor IF
#: modes pm32 | sizes 32
#: mem stack = d:code+0x40 ucode32 0x3cd5
#: omem stack = d:code+0x40 ucode32 0x3cd5
#: out rip=code+0x40 eflags=0xed7 rsp=stack+12
        = CF
#: iret with NT set and no task to return to
#: modes pm32 | sizes 32
#: in flags=N
#: fault 10
#: nocount
        = CF
#: iret with NT in long mode
#: modes compat long64 | sizes 32
#: in flags=N
#: fault 13
        = CF
#: iret into virtual-8086 mode
#: modes pm32 | cpl 0 | sizes 32
#: mem stack = d:0x440 0x2000 0x23202 0x1700 0x4000 0x1111 0x2222 0x3333 0x4444
#: omem stack = d:0x440 0x2000 0x23202 0x1700 0x4000 0x1111 0x2222 0x3333 0x4444
#: out rip=0x440 cs=0x2000 eflags=0x23202 rsp=0x1700 ss=0x4000 es=0x1111 ds=0x2222 fs=0x3333 gs=0x4444 cpl=3
#: out loose=es_base,ds_base,fs_base,gs_base,cs_base,ss_base
        = CF
#: iret in virtual-8086 mode below IOPL 3
#: modes vm86 | sizes 16 32
#: in eflags=0x20202
#: fault 13
        = CF
#: the VM flag is not for CPL 3
#: modes pm32 | sizes 32
#: mem stack = d:code+0x40 ucode32 0x20202
#: omem stack = d:code+0x40 ucode32 0x20202
#: out rip=code+0x40 eflags=0x202 rsp=stack+12
        = CF

# ---- task switches

#: jmp to a TSS
#: modes pm32 | cpl 0 | sizes 32 | tables
#: mem tssbaddr+0x1c = d:pd code+0x40 0x202 1 2 3 4 stack-0x200 6 7 8
#: mem tssbaddr+0x48 = d:udata kcode32 kdata udata2 ufs 0 ldtsel
#: in flags=oszapc rax=0x11 rcx=0x12 rdx=0x13 rbx=0x14
#: out cs=kcode32 rip=code+0x40 eflags=0x202 eax=1 ecx=2 edx=3 ebx=4 esp=stack-0x200 ebp=6 esi=7 edi=8
#: out es=udata ss=kdata ds=udata2 fs=ufs gs=0 tr=tssb tr_base=tssbaddr tr_limit=0x67 tr_flags=0x8b00 cr0=cr0|8
#: omem tssaddr+0x20 = d:end 0x202 0x11 0x12 0x13 0x14 stack stack+0x100 data+0x80 data+0x40 seg_es seg_cs seg_ss seg_ds seg_fs seg_gs
#: omem gdt+tss+5 = 89
#: omem gdt+tssb+5 = 8b
        = EA id:0 iw:tssb
#: call to a TSS: linked back, NT set
#: modes pm32 | cpl 0 | sizes 32 | tables
#: mem tssbaddr+0x1c = d:pd code+0x40 0x202 1 2 3 4 stack-0x200 6 7 8
#: mem tssbaddr+0x48 = d:udata kcode32 kdata udata2 ufs 0 ldtsel
#: in flags=oszapc rax=0x11 rcx=0x12 rdx=0x13 rbx=0x14
#: out cs=kcode32 rip=code+0x40 eflags=0x4202 eax=1 ecx=2 edx=3 ebx=4 esp=stack-0x200 ebp=6 esi=7 edi=8
#: out es=udata ss=kdata ds=udata2 fs=ufs gs=0 tr=tssb tr_base=tssbaddr tr_limit=0x67 tr_flags=0x8b00 cr0=cr0|8
#: omem tssaddr+0x20 = d:end 0x202 0x11
#: omem tssbaddr = w:tss
#: omem gdt+tss+5 = 8b
#: omem gdt+tssb+5 = 8b
        = 9A id:0 iw:tssb
#: call through a task gate, and back by IRET
#: modes pm32 | cpl 0 | sizes 32 | tables
#: mem gdt+slot0 = w:0 tssb 0x8500 0
#: mem tssbaddr+0x1c = d:pd code+0x40 0x202 1 2 3 4 stack-0x200 6 7 8
#: mem tssbaddr+0x48 = d:udata kcode32 kdata udata2 ufs 0 ldtsel
#: mem code+0x40 = cf
#: mem tssaddr+0x1c = d:pd
#: mem tssaddr+0x60 = d:ldtsel
#: in flags=oszapc
#: out cr0=cr0|8
#: omem tssbaddr+0x20 = d:code+0x41 0x202 1
#: omem gdt+tss+5 = 8b
#: omem gdt+tssb+5 = 89
#: omem code+0x40 = cf
        = 9A id:0 iw:slot0
#: a task gate not present
#: modes pm32 | cpl 0 | sizes 32 | tables
#: mem gdt+slot0 = w:0 tssb 0x0500 0
#: fault 11 err=slot0
        = 9A id:0 iw:slot0
#: a task gate to something else
#: modes pm32 | cpl 0 | sizes 32 | tables
#: mem gdt+slot0 = w:0 kdata 0x8500 0
#: fault 13 err=kdata
        = EA id:0 iw:slot0
#: jmp to a 16-bit TSS
#: modes pm32 | cpl 0 | sizes 32 | tables
#: mem tss16addr+0xe = w:0x440 0x202 1 2 3 4 0x1700 6 7 8 kdata kcode16 kstack16 kdata2 ldtsel
#: in flags=oszapc
#: out cs=kcode16 rip=0x440 eflags=0x202 ax=1 cx=2 dx=3 bx=4 sp=0x1700 bp=6 si=7 di=8
#: out es=kdata ss=kstack16 ds=kdata2 fs=0 gs=0 tr=tss16 tr_base=tss16addr tr_limit=0x2b tr_flags=0x8300 cr0=cr0|8
#: out loose=rax,rcx,rdx,rbx,rsp,rbp,rsi,rdi
#: omem tssaddr+0x20 = d:end 0x202
        = EA id:0 iw:tss16
#: the debug trap of a new task
#: modes pm32 | cpl 0 | sizes 32 | tables
#: mem tssbaddr+0x1c = d:pd code+0x40 0x202 1 2 3 4 stack-0x200 6 7 8
#: mem tssbaddr+0x48 = d:udata kcode32 kdata udata2 ufs 0 ldtsel 0x680001
#: in flags=oszapc
#: out cs=kcode32 rip=code+0x40 eflags=0x202 eax=1 ecx=2 edx=3 ebx=4 esp=stack-0x200 ebp=6 esi=7 edi=8
#: out es=udata ss=kdata ds=udata2 fs=ufs gs=0 tr=tssb tr_base=tssbaddr tr_limit=0x67 tr_flags=0x8b00 cr0=cr0|8 dr6=0xffff8ff0
#: fault 1
        = EA id:0 iw:tssb
#: a bad data segment faults in the new task
#: modes pm32 | cpl 0 | sizes 32 | tables
#: mem tssbaddr+0x1c = d:pd code+0x40 0x202 1 2 3 4 stack-0x200 6 7 8
#: mem tssbaddr+0x48 = d:udata kcode32 kdata tss ufs 0 ldtsel
#: in flags=oszapc
#: out cs=kcode32 rip=code+0x40 eflags=0x202 eax=1 ecx=2 edx=3 ebx=4 esp=stack-0x200 ebp=6 esi=7 edi=8
#: out es=udata ss=kdata tr=tssb tr_base=tssbaddr tr_limit=0x67 tr_flags=0x8b00 cr0=cr0|8
#: out loose=ds,fs,gs,ds_base,fs_base,gs_base,ds_limit,fs_limit,gs_limit,ds_flags,fs_flags,gs_flags
#: fault 10 err=tss
        = EA id:0 iw:tssb
#: a task switch in long mode
#: modes compat | sizes 32
#: fault 13 err=tss
        = EA id:0 iw:tss
#: jmp to a busy TSS
#: modes pm32 | cpl 0 | sizes 32
#: fault 13 err=tss
        = EA id:0 iw:tss
#: a TSS below the caller's level
#: modes pm32 | sizes 32
#: fault 13 err=tssb
        = EA id:0 iw:tssb
#: a TSS that is too small
#: modes pm32 | cpl 0 | sizes 32 | tables
#: mem gdt+tssb = w:0x66
#: fault 10 err=tssb
        = EA id:0 iw:tssb
#: a TSS that is not present
#: modes pm32 | cpl 0 | sizes 32 | tables
#: mem gdt+tssb+5 = 09
#: fault 11 err=tssb
        = EA id:0 iw:tssb
