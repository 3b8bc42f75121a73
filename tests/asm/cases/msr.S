# Model-specific registers, counters, identification, fast system calls, segment bases, SMAP windows, waiting.

#: rdtsc
#: feat tsc
#: out loose=rax,rdx
        rdtsc
#: rdtsc with CR4.TSD
#: modes vm86 pm32 compat long64
#: in cr4=cr4|4
#: fault 13
        rdtsc
#: rdtsc with CR4.TSD at CPL 0
#: modes real pm16 | nocount
#: in cr4=cr4|4
#: out loose=rax,rdx
        rdtsc
#: rdtscp
#: feat rdtscp
#: in tsc_aux=0x87654321
#: out rcx=0x87654321 loose=rax,rdx
        rdtscp
#: rdtscp with CR4.TSD
#: modes vm86 pm32 compat long64
#: in cr4=cr4|4
#: fault 13
        rdtscp
#: rdpmc: there are no counters
#: twin runs | feat i686
#: in rcx=0
#: fault 13
        rdpmc
#: rdpid
#: modes legacy | feat rdpid
#: in tsc_aux=0x87654321
#: out edx=0x87654321
        rdpid edx
#: rdpid
#: modes long | sizes 32 64 | feat rdpid
#: in tsc_aux=0x87654321
#: out rdx=0x87654321
        = F3 0F C7 /7d
#: rdrand
#: sizes 16 32 64 | feat rdrand
#: out flags=oszapC loose=rdx
        rdrand %d
#: rdseed
#: sizes 16 32 64 | feat rdseed
#: out flags=oszapC loose=rdx
        rdseed %d
#: cpuid 0
#: feat i486
#: in rax=0 rcx=0
#: out rax=0xd rbx=0x68747541 rcx=0x444d4163 rdx=0x69746e65
        cpuid
#: cpuid 1: family, model, stepping
#: nocount
#: in rax=1
#: out rax=0x000f06b1&~0xfffff|0x60fb1 loose=rax,rbx,rcx,rdx
        cpuid
#: rdmsr
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv | feat msr
#: in rcx=0x174 sysenter_cs=0x1234 rdx=5
#: out rax=0x1234 rdx=0
        rdmsr
#: wrmsr
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | priv | feat msr
#: in rcx=0x175 rax=0x12345678 rdx=0x7fff
#: out sysenter_esp=0x7fff12345678
        wrmsr
#: rdmsr of nothing
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rcx=0x12345
#: fault 13
        rdmsr
#: wrmsr of nothing
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rcx=0x12345
#: fault 13
        wrmsr
#: wrmsr: non-canonical
#: modes compat long64 | cpl 0
#: in rcx=0xc0000082 rax=0 rdx=0x8000
#: fault 13
        wrmsr
#: wrmsr EFER: a reserved bit
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rcx=0xc0000080 rax=efer|0x80 rdx=0
#: fault 13
        wrmsr
#: wrmsr EFER: LME cannot change with paging on
#: modes pm32 | cpl 0
#: in rcx=0xc0000080 rax=0x100 rdx=0
#: fault 13
        wrmsr
#: wrmsr PAT: a type that does not exist
#: modes real pm16 long64 | cpl 0
#: in rcx=0x277 rax=2 rdx=0
#: fault 13
        wrmsr
#: wrmsr APIC_BASE: into x2APIC mode
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rcx=0x1b rax=0xfee00c00 rdx=0 apic_base=0xfee00900
#: out apic_base=0xfee00d00
        wrmsr
#: wrmsr APIC_BASE: out of x2APIC mode: the whole APIC off
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rcx=0x1b rax=0xfee00000 rdx=0 apic_base=0xfee00d00
#: out apic_base=0xfee00100
        wrmsr
#: wrmsr APIC_BASE: x2APIC mode cannot fall back to xAPIC mode
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rcx=0x1b rax=0xfee00800 rdx=0 apic_base=0xfee00d00
#: fault 13
        wrmsr
#: wrmsr APIC_BASE: x2APIC mode without EN
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rcx=0x1b rax=0xfee00400 rdx=0 apic_base=0xfee00900
#: fault 13
        wrmsr
#: wrmsr APIC_BASE: x2APIC mode not from off
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rcx=0x1b rax=0xfee00c00 rdx=0 apic_base=0xfee00100
#: fault 13
        wrmsr
#: wrmsr APIC_BASE: x2APIC mode without the feature
#: modes real pm16 pm32 compat long64 | cpl 0 | cpu max,-x2apic
#: in rcx=0x1b rax=0xfee00c00 rdx=0 apic_base=0xfee00900
#: fault 13
        wrmsr
#: wrmsr APIC_BASE: a reserved bit
#: modes real pm16 pm32 compat long64 | cpl 0
#: in rcx=0x1b rax=0xfee00a00 rdx=0 apic_base=0xfee00900
#: fault 13
        wrmsr
#: rdmsr FS base
#: modes compat long64 | cpl 0
#: in rcx=0xc0000100 fs_base=0x123456789abc
#: out rax=0x56789abc rdx=0x1234
        rdmsr

# ---- segment bases

#: swapgs
#: modes long | cpl 0 | priv
#: in gs_base=0x1111 kernel_gs_base=0x2222
#: out gs_base=0x2222 kernel_gs_base=0x1111
        swapgs
#: rdfsbase
#: modes long | sizes 32 64 | feat fsgsbase
#: in cr4=cr4|0x10000 fs_base=0x123456789abc
#: out %d=0x123456789abc
        = F3 0F AE /0d
#: rdgsbase
#: modes long | sizes 32 64 | feat fsgsbase
#: in cr4=cr4|0x10000 gs_base=0x123456789abc
#: out %d=0x123456789abc
        = F3 0F AE /1d
#: wrfsbase
#: modes long | sizes 32 64 | feat fsgsbase
#: in cr4=cr4|0x10000 rdx=0x123456789abc
#: out fs_base=0x123456789abc&mask
        = F3 0F AE /2d
#: wrgsbase
#: modes long | sizes 32 64 | feat fsgsbase
#: in cr4=cr4|0x10000 rdx=0x123456789abc
#: out gs_base=0x123456789abc&mask
        = F3 0F AE /3d
#: wrgsbase, non-canonical
#: modes long | sizes 64
#: in cr4=cr4|0x10000 rdx=1<<47
#: fault 13
        wrgsbase rdx
#: rdfsbase without CR4.FSGSBASE
#: modes long | sizes 64
#: fault 6
        rdfsbase rdx

# ---- SMAP windows, waiting

#: stac
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | feat smap
#: out flags=X
        stac
#: stac above CPL 0
#: modes vm86 pm32 compat long64 | twin runs | feat smap
#: fault 6
        stac
#: clac
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | feat smap
#: in flags=X
#: out flags=x
        clac
#: clac above CPL 0
#: modes vm86 pm32 compat long64 | twin runs | feat smap
#: fault 6
        clac
#: monitor
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | feat monitor
#: in rax=data rcx=0 rdx=0
        .byte 0x0f, 0x01, 0xc8
#: monitor: a bad hint
#: modes real pm16 pm32 pm32s compat long64 | cpl 0
#: in rax=data rcx=1 rdx=0
#: fault 13
        .byte 0x0f, 0x01, 0xc8
#: monitor above CPL 0
#: modes vm86 pm32 | twin runs | feat monitor
#: fault 6
        .byte 0x0f, 0x01, 0xc8
#: mwait without a monitor goes on
#: modes real pm16 pm32 pm32s compat long64 | cpl 0 | feat monitor
#: in rax=0 rcx=0
        .byte 0x0f, 0x01, 0xc9
#: mwait above CPL 0
#: modes vm86 pm32 | twin runs | feat monitor
#: fault 6
        .byte 0x0f, 0x01, 0xc9

# ---- SYSCALL and SYSRET

#: syscall, 64 bits
#: modes long | feat syscall
#: in efer=efer|1 star=0x38<<32 lstar=entry+0 sfmask=0x855 flags=OSZAPC
#: out cs=kcode64 cpl=0 rip=entry+0 ss=kdata2 rcx=end r11=eflags|0x8d5
#: out eflags=(eflags|0x8d5)&~0x855
        syscall
#: syscall from compatibility mode goes to CSTAR
#: modes compat | feat syscall
#: in efer=efer|1 star=0x38<<32 cstar=entry+1 sfmask=0 flags=oszapc
#: out cs=kcode64 cpl=0 rip=entry+1 ss=kdata2 rcx=end loose=r11
        syscall
#: syscall in protected mode: STAR holds the target, interrupts close
#: modes pm16 pm32 pm32s | feat syscall
#: in efer=1 star=(8<<32)|entry+2 flags=oszapc
#: out cs=kcode32 cpl=0 rip=entry+2 ss=kdata ecx=end eflags=2
        syscall
#: syscall without EFER.SCE
#: twin runs | feat syscall
#: fault 6
        syscall
#: syscall outside 64-bit mode on Intel
#: modes pm16 pm32 compat | cpu max,vendor=GenuineIntel
#: in efer=efer|1
#: fault 6
        syscall
#: sysret to 64 bits
#: modes long | cpl 0 | sizes 64 | feat syscall
#: in efer=efer|1 star=0x18<<48 rcx=code+0x40 r11=0x3ed7
#: out cs=ucode64 cpl=3 rip=code+0x40 ss=udata eflags=0x3ed7
        = 0F 07
#: sysret to compatibility mode
#: modes compat long64 | cpl 0 | sizes 16 32 | feat syscall
#: in efer=efer|1 star=0x18<<48 rcx=code+0x40 r11=0x3ed7
#: out cs=ucode32 cpl=3 rip=code+0x40 ss=udata eflags=0x3ed7
#: out loose=eflags
        = 0F 07
#: sysret in protected mode opens interrupts and leaves the flags
#: modes pm32 pm32s | cpl 0 | sizes 16 32 | feat syscall
#: in efer=1 star=0x18<<48 rcx=0x20440 eflags=0x3007
#: out cs=ucode32 cpl=3 rip=0x20440 ss=udata eflags=0x3207
        = 0F 07
#: sysret in 16-bit protected mode
#: modes pm16 | cpl 0 | sizes 16 32 | feat syscall
#: in efer=1 star=0x18<<48 rcx=0x20440 eflags=0x3007
#: out cs=ucode32 cpl=3 rip=0x20440 ss=udata eflags=0x3207
        = 0F 07
#: sysret above CPL 0
#: modes vm86 pm32 compat long64 | twin runs | feat syscall | sizes 16 32
#: in efer=efer|1
#: fault 13
        = 0F 07
#: sysret in real mode
#: modes real | twin runs | feat syscall | sizes 16 32
#: in efer=efer|1
#: fault 13
        = 0F 07
#: sysret without EFER.SCE
#: modes pm32 compat long64 | cpl 0
#: fault 6
        = 0F 07

# ---- SYSENTER and SYSEXIT

#: sysenter
#: modes vm86 pm16 pm32 pm32s | feat sep
#: in sysenter_cs=8 sysenter_esp=0x18800 sysenter_eip=entry+3 eflags=eflags&~0xd5|0x200
#: out eflags=eflags&~0x202d5|2 cs=kcode32 cpl=0 rip=entry+3 rsp=0x18800 ss=kdata
        sysenter
#: sysenter in long mode, on Intel
#: modes compat long64 | cpu max,vendor=GenuineIntel | feat sep
#: in sysenter_cs=8 sysenter_esp=0x18800 sysenter_eip=entry+3 flags=oszapc
#: out cs=8 cs_base=0 cs_limit=0xffffffff cs_flags=0xA09B00 cpl=0 rip=entry+3 rsp=0x18800 ss=kdata eflags=2
        sysenter
#: sysenter in long mode, on AMD
#: modes compat long64
#: fault 6
        sysenter
#: sysenter in real mode
#: modes real | twin runs | feat sep
#: in sysenter_cs=8
#: fault 13
        sysenter
#: sysenter without a selector
#: modes pm16 pm32 vm86
#: in sysenter_cs=3
#: fault 13
        sysenter
#: sysexit
#: modes pm16 pm32 pm32s | cpl 0 | feat sep | sizes 16 32
#: in sysenter_cs=8 rcx=stack-0x40 rdx=0x20440
#: out cs=ucode32 cpl=3 rip=0x20440 rsp=stack-0x40 ss=udata
        = 0F 35
#: sysexit to 64-bit mode, on Intel
#: modes long | cpl 0 | cpu max,vendor=GenuineIntel | feat sep | sizes 64
#: in sysenter_cs=8 rcx=stack-0x40 rdx=0x20440
#: out cs=ucode64 cpl=3 rip=0x20440 rsp=stack-0x40 ss=udata2
        = 0F 35
#: sysexit to compatibility mode, on Intel
#: modes compat long64 | cpl 0 | cpu max,vendor=GenuineIntel | feat sep | sizes 16 32
#: in sysenter_cs=8 rcx=stack-0x40 rdx=0x20440
#: out cs=ucode32 cpl=3 rip=0x20440 rsp=stack-0x40 ss=udata
        = 0F 35
#: sysexit above CPL 0
#: modes vm86 pm32 | twin runs | feat sep | sizes 16 32
#: in sysenter_cs=8
#: fault 13
        = 0F 35
#: sysexit in real mode
#: modes real | twin runs | feat sep | sizes 16 32
#: in sysenter_cs=8
#: fault 13
        = 0F 35
#: sysexit without a selector
#: modes pm32 | cpl 0
#: in sysenter_cs=0
#: fault 13
        = 0F 35

# ---- hints

#: nop with ModRM
        = 0F 1F /0c
#: nop with ModRM, memory: nothing is read
#: modes vm86 pm32 compat long64
#: in rdi=hole
        = 0F 1F /0m
#: nop with ModRM, memory
        = 0F 1F /0m
#: hint
        = 0F 18 /4c
#: hint, memory
        = 0F 18 /7m
#: hint
        = 0F 19 /0c
#: hint, memory
        = 0F 19 /0m
#: hint
        = 0F 1A /0c
#: hint, memory
        = 0F 1A /0m
#: hint
        = 0F 1B /0c
#: hint, memory
        = 0F 1B /0m
#: hint
        = 0F 1C /0c
#: hint, memory
        = 0F 1C /0m
#: hint
        = 0F 1D /0c
#: hint, memory
        = 0F 1D /0m
#: hint
        = 0F 1E /0c
#: hint, memory
        = 0F 1E /0m
#: prefetchnta
#: feat sse
        prefetchnta [%DI]
#: prefetcht0
#: feat sse
        prefetcht0 [%DI]
#: prefetcht1
#: feat sse
        prefetcht1 [%DI]
#: prefetcht2 of what is not there
#: modes vm86 pm32 compat long64 | feat sse
#: in rdi=hole
        prefetcht2 [%DI]
#: prefetcht2
        prefetcht2 [%DI]
#: prefetchw
        prefetchw [%DI]
