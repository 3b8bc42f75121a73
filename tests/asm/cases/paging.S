# Page walks (SDM vol. 3, chapter 4): rights, large pages, reserved bits, accessed and dirty bits, NX, SMEP, SMAP, invalidation.
# The data page is entry 0x31 of its table, the code page 0x20; tables lie at pd and pt, or paepd, pd64 and paept.

#: a read sets the accessed bits
#: modes pm32 | tables
#: mem pd = d:pt+7
#: mem pt+4*0x31 = d:0x31007
#: out al=0xb1
#: omem pd = d:pt+0x27
#: omem pt+4*0x31 = d:0x31027
        mov al, [%DI]
#: a write sets the dirty bit too
#: modes pm32 | tables
#: mem pt+4*0x31 = d:0x31007
#: omem data+0x40 = 98
#: omem pt+4*0x31 = d:0x31067
        mov [%DI], al
#: a read sets the accessed bits
#: modes pae compat long64 | tables
#: mem paept+8*0x31 = q:0x31007
#: out al=0xb1
#: omem paept+8*0x31 = q:0x31027
        mov al, [%DI]
#: a write after a read sets the dirty bit
#: modes pae compat long64 | tables
#: mem paept+8*0x31 = q:0x31007
#: out al=0xb1
#: omem data+0x41 = b1
#: omem paept+8*0x31 = q:0x31067
        mov al, [%DI]
        mov [%DI+1], al
#: a write that faults sets nothing
#: modes pm32 | tables
#: mem pt+4*0x34 = d:0x34005
#: omem pt+4*0x34 = d:0x34005
#: in rdi=ro
#: fault 14 err=7 cr2=ro
        mov [%DI], al
#: no table at all
#: modes pm32 compat
#: in rdi=0x400010
#: fault 14 err=4 cr2=0x400010
        mov al, [%DI]
#: no table at all, writing at the end of the address space
#: modes pm32 compat
#: in rdi=0xfffffffc
#: fault 14 err=6 cr2=0xfffffffc
        mov dword ptr [%DI], 5
#: no table at the top
#: modes long64
#: in rdi=0x123456789000
#: fault 14 err=4 cr2=0x123456789000
        mov al, [%DI]
#: a directory entry takes away the right to write
#: modes pm32 | tables
#: mem pd+4 = d:pt+5
#: in rdi=data+0x400000
#: fault 14 err=7 cr2=data+0x400000
        mov [%DI], al
#: ... and to access
#: modes compat | tables
#: mem paept+8*0x31 = q:0x31003
#: fault 14 err=5 cr2=data+0x40
        mov al, [%DI]
#: CR0.WP: level 0 respects read-only pages
#: modes pm32 pae compat long64 | cpl 0
#: in rdi=ro
#: fault 14 err=3 cr2=ro
        mov [%DI], al
#: without CR0.WP it does not
#: modes pm32 pae compat long64 | cpl 0
#: in rdi=ro cr0=cr0&~0x10000
#: omem ro = 98
        mov [%DI], al
#: without CR0.WP level 3 does
#: modes pm32 compat long64
#: in rdi=ro cr0=cr0&~0x10000
#: fault 14 err=7 cr2=ro
        mov [%DI], al

# ---- large pages

#: 4 MiB pages
#: modes pm32 | tables
#: in cr4=cr4|0x10 rdi=0x31040
#: mem pd = d:0x87
#: omem pd = d:0xe7
#: omem data+0x40 = 98
        mov [%DI], al
#: without CR4.PSE the bit means nothing
#: modes pm32 | tables
#: mem pd = d:pt+0x87
#: omem data+0x40 = 98
        mov [%DI], al
#: 4 MiB pages: bit 21 is reserved
#: modes pm32 | tables
#: in cr4=cr4|0x10 rdi=0x400000
#: mem pd+4 = d:0x200087
#: fault 14 err=0xd cr2=0x400000
        mov al, [%DI]
#: 4 MiB pages above 4 GiB: bits 13 to 20
#: modes pm32 | tables
#: in cr4=cr4|0x10 rdi=0x400000
#: mem pd+4 = d:0x2087
#: out al=0xff
        mov al, [%DI]
#: 2 MiB pages
#: modes pae | tables
#: in cr4=cr4|0x10
#: mem paepd = q:0x83
#: omem paepd = q:0xe3
#: omem data+0x40 = 98
        mov [%DI], al
#: 2 MiB pages
#: modes compat long64 | tables
#: mem pd64 = q:0x87
#: omem pd64 = q:0xe7
#: omem data+0x40 = 98
        mov [%DI], al
#: 2 MiB pages: bit 13 is reserved
#: modes compat long64 | tables
#: in rdi=data+0x200000
#: mem pd64+8 = q:0x202087
#: fault 14 err=0xd cr2=data+0x200000
        mov al, [%DI]
#: 1 GiB pages
#: modes compat long64 | tables
#: mem pdpt64 = q:0x87
#: omem pdpt64 = q:0xe7
#: omem data+0x40 = 98
        mov [%DI], al
#: 1 GiB pages, on a processor without them
#: modes compat | tables | cpu max,-pdpe1gb
#: in rdi=0x40000000
#: mem pdpt64+8 = q:0x87
#: fault 14 err=0xd cr2=0x40000000
        mov al, [%DI]

# ---- reserved bits and NX

#: a physical address that is too wide
#: modes pae | tables
#: mem paept+8*0x31 = q:0x31003|1<<51
#: fault 14 err=9 cr2=data+0x40
        mov al, [%DI]
#: a physical address that is too wide
#: modes compat long64 | tables
#: mem paept+8*0x31 = q:0x31007|1<<45
#: fault 14 err=0xd cr2=data+0x40
        mov al, [%DI]
#: PAE without long mode: bits 52 to 62 are reserved
#: modes pae | tables
#: mem paept+8*0x31 = q:0x31003|1<<55
#: fault 14 err=9 cr2=data+0x40
        mov al, [%DI]
#: long mode ignores them
#: modes compat long64 | tables
#: mem paept+8*0x31 = q:0x31007|1<<55
#: out al=0xb1
        mov al, [%DI]
#: bit 7 of a level-4 entry is reserved
#: modes compat long64 | tables
#: mem pml4+8*1 = q:pdpt64+0x87
#: mem pml4+8*0xff = q:pdpt64+0x87
#: in rdi=high+(1<<39)
#: fault 14 err=0xd cr2=high+(1<<39)
#: modes long64
        mov al, [%DI]
#: execution of a page that is not for it
#: modes compat long64 | tables
#: mem paept+8*0x20 = q:0x20007|1<<63
#: fault 14 err=0x15 cr2=code
        nop
#: execution at level 0 of a page that is not for it
#: modes pae | tables
#: mem paept+8*0x20 = q:0x20007|1<<63
#: fault 14 err=0x11 cr2=0x20400
        nop
#: data of a page that is not for execution
#: modes pae compat long64 | tables
#: mem paept+8*0x31 = q:0x31007|1<<63
#: out al=0xb1
        mov al, [%DI]
#: without EFER.NXE bit 63 is reserved
#: modes compat long64 | tables
#: in efer=efer&~0x800
#: mem paept+8*0x31 = q:0x31007|1<<63
#: fault 14 err=0xd cr2=data+0x40
        mov al, [%DI]
#: a fetch from what is not there, with NX
#: modes pae | tables
#: in rdi=hole
#: fault 14 err=0x10 cr2=hole ip=hole
        jmp %DI
#: a fetch from what is not there, without
#: modes pm32
#: in rdi=hole
#: fault 14 err=4 cr2=hole ip=hole
        jmp edi
#: a fetch from a supervisor's page
#: modes pm32
#: in rdi=sup
#: fault 14 err=5 cr2=sup ip=sup
        jmp edi

# ---- SMEP, SMAP

#: SMEP: level 0 does not execute user pages
#: modes pm32 pae compat long64 | cpl 0
#: in cr4=cr4|0x100000
#: fault 14 err=0x11 cr2=0x20400
        nop
#: SMEP: level 3 does
#: modes pm32 compat long64
#: in cr4=cr4|0x100000
        nop
#: SMAP: level 0 does not read user pages
#: modes pm32 pae compat long64 | cpl 0
#: in cr4=cr4|0x200000 rsp=kstack-0x100
#: fault 14 err=1 cr2=data+0x40
        mov al, [%DI]
#: SMAP: nor does it write them
#: modes pm32 pae compat long64 | cpl 0
#: in cr4=cr4|0x200000 rsp=kstack-0x100
#: fault 14 err=3 cr2=data+0x40
        mov [%DI], al
#: SMAP: unless AC is set
#: modes pm32 pae compat long64 | cpl 0
#: in cr4=cr4|0x200000 rsp=kstack-0x100 flags=X
#: out al=0xb1
        mov al, [%DI]
#: SMAP: STAC and CLAC
#: modes pm32 pae compat long64 | cpl 0
#: in cr4=cr4|0x200000 rsp=kstack-0x100 flags=x
#: out al=0xb1
#: fault 14 err=1 cr2=data+0x41 ip=end-W//4-1-(W//8)*0
#: out loose=rip
        stac
        mov al, [%DI]
        clac
        mov ah, [%DI+1]
#: SMAP: level 3 is not concerned
#: modes pm32 compat long64
#: in cr4=cr4|0x200000
#: out al=0xb1
        mov al, [%DI]

# ---- invalidation

#: invlpg: the new translation counts
#: modes pm32 | cpl 0 | tables
#: in rcx=0x34003
#: out al=0xb1 dl=0x21
        mov al, [edi]
        mov [0x11000+4*0x31], ecx
        invlpg [edi]
        mov dl, [edi]
#: invlpg, 64 bits
#: modes long64 | cpl 0 | tables
#: in rcx=0x34003
#: out al=0xb1 dl=0x21
        mov al, [rdi]
        mov [0x14000+8*0x31], rcx
        invlpg [rdi]
        mov dl, [rdi]
#: mov cr3
#: modes pae compat | cpl 0 | tables
#: in rcx=0x34003
#: out al=0xb1 dl=0x21 ebx=cr3
        mov al, [edi]
        mov [0x14000+8*0x31], ecx
        mov ebx, cr3
        mov cr3, ebx
        mov dl, [edi]
#: a PDPTE with reserved bits cannot be loaded
#: modes pae | tables
#: mem pdpt+8 = q:paepd+3
#: in rbx=cr3
#: fault 13
        mov cr3, ebx
#: without paging, linear is physical
#: modes pm32 | cpl 0 | tables
#: in rbx=cr0&0x7fffffff rdi=hole
#: mem hole = 77
#: out al=0x77 cr0=cr0&0x7fffffff
        mov cr0, ebx
        mov al, [edi]
