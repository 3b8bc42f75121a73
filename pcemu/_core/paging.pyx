"""Page walks, page faults, accessed and dirty bits (SDM vol. 3, chapter 4)."""
from pcemu._core.state cimport *
from pcemu._core cimport blocks
from pcemu._core.faults cimport set_exc_err
from pcemu._core.physmem cimport find_range
from pcemu._core.undo cimport lock_walk

include "gen/features.pxi"


cdef bint page_fault(Cpu* c, u64 va, int acc, bint user, u32 bits) noexcept nogil:
    """#PF with its error code: bits = P (1) and RSVD (8); W, U and I are added here."""
    cdef u32 err = bits
    if acc == ACC_WRITE:
        err |= 2
    if user:
        err |= 4
    if acc == ACC_EXEC and ((c.efer & EFER_NXE and c.cr4 & CR4_PAE) or c.cr4 & CR4_SMEP):
        err |= 16
    c.cr2_next = va
    set_exc_err(c, EXC_PF, err)
    return 0


cdef inline u64 pte_read(Cpu* c, u64 pa, int size) noexcept nogil:
    cdef Range* r = find_range(c.m, pa & c.a20_mask)
    cdef u8* p
    if r is NULL or r.kind > R_ROM or r.kind == R_UNMAPPED:
        return 0
    p = c.m.ram + r.off + ((pa & c.a20_mask) - r.start)
    return (<u64*>p)[0] if size == 8 else (<u32*>p)[0]


cdef inline void pte_set(Cpu* c, u64 pa, u64 bits) noexcept nogil:
    """Set A/D bits; a page table in ROM stays as it is."""
    cdef Range* r = find_range(c.m, pa & c.a20_mask)
    cdef u64 addr
    if r is NULL or r.kind != R_RAM:
        return
    addr = r.off + ((pa & c.a20_mask) - r.start)
    if c.m.pages[addr >> 12].bitmap:
        blocks.invalidate(c.m, addr, 1)
    if UNLIKELY(c.lock_pass):
        lock_walk(c, addr, bits)
    (<u8*>(c.m.ram + addr))[0] |= <u8>bits


cdef inline bint has_1g(Cpu* c) noexcept nogil:
    return (c.feat[FEAT_PDPE1GB >> 6] >> (FEAT_PDPE1GB & 63)) & 1


cdef bint walk(Cpu* c, u64 va, int acc, bint user, bint implicit, bint side, Walk* w) noexcept nogil:
    """Translate va. side: set A/D bits and raise #PF; implicit: a descriptor-table access (SMAP ignores EFLAGS.AC)."""
    cdef u64 table, e, pa_e, addr_mask, rsvd, perms, size
    cdef u64 fresh[4]           # entries above the last level whose A bit is clear
    cdef u32 level, shift, i, n_fresh = 0
    cdef bint pae
    w.global_ = 0
    w.page_size = 4096
    if not c.cr0 & CR0_PG:
        w.pa = va & c.a20_mask
        return 1
    if c.efer & EFER_LMA:
        if <u64>(<s64>(va << 16) >> 16) != va:
            if side:
                set_exc_err(c, EXC_GP, 0)
            return 0
        level = 4
        table = c.cr3 & c.phys_mask & ~<u64>0xfff
        pae = 1
    elif c.cr4 & CR4_PAE:
        va = <u32>va
        e = c.pdpte[(va >> 30) & 3]
        if not e & 1:
            return page_fault(c, va, acc, user, 0) if side else 0
        table = e & c.phys_mask & ~<u64>0xfff
        level = 2
        pae = 1
    else:
        va = <u32>va
        table = c.cr3 & <u64>0xfffff000
        level = 2
        pae = 0
    perms = 7                   # U and W accumulate by and; bit 63 by or
    while True:
        if pae:
            shift = 12 + 9 * (level - 1)
            pa_e = table + ((va >> shift) & 511) * 8
            e = pte_read(c, pa_e, 8)
            rsvd = ~c.phys_mask & <u64>0x000ffffffffff000
            if not c.efer & EFER_NXE:
                rsvd |= <u64>1 << 63
            if not c.efer & EFER_LMA:
                rsvd |= <u64>0x7ff0000000000000
            addr_mask = c.phys_mask & ~<u64>0xfff & <u64>0x000fffffffffffff
        else:
            shift = 12 + 10 * (level - 1)
            pa_e = table + ((va >> shift) & 1023) * 4
            e = pte_read(c, pa_e, 4)
            rsvd = 0
            addr_mask = <u64>0xfffff000
        if not e & 1:
            return page_fault(c, va, acc, user, 0) if side else 0
        size = 4096
        if level == 4:
            rsvd |= 1 << 7
        elif level > 1 and e & 0x80 and (pae or c.cr4 & CR4_PSE):
            if pae:
                if level == 3 and not has_1g(c):
                    rsvd |= 1 << 7
                size = <u64>1 << shift
                rsvd |= (size - 1) & ~<u64>0x1fff       # below the page frame, above PAT
            else:
                size = 1 << 22
                rsvd |= 1 << 21                         # PSE-36: bits 13-20 are address bits 32-39
        if e & rsvd:
            return page_fault(c, va, acc, user, 9) if side else 0
        perms &= e | ~<u64>6
        perms |= e & (<u64>1 << 63)
        if size > 4096 or level == 1:
            break
        if not e & 0x20:
            fresh[n_fresh] = pa_e
            n_fresh += 1
        table = e & addr_mask
        level -= 1
    # ---- rights (SDM vol. 3, 4.6)
    if user:
        if not perms & 4 or acc == ACC_WRITE and not perms & 2 or acc == ACC_EXEC and perms >> 63:
            return page_fault(c, va, acc, user, 1) if side else 0
    else:
        if acc == ACC_WRITE and not perms & 2 and c.cr0 & CR0_WP:
            return page_fault(c, va, acc, user, 1) if side else 0
        if acc == ACC_EXEC:
            if perms >> 63 or perms & 4 and c.cr4 & CR4_SMEP:
                return page_fault(c, va, acc, user, 1) if side else 0
        elif perms & 4 and c.cr4 & CR4_SMAP and (implicit or not c.eflags & F_AC or c.cpl == 3):
            return page_fault(c, va, acc, user, 1) if side else 0
    if side:                    # a fault leaves no accessed bits behind
        for i in range(n_fresh):
            pte_set(c, fresh[i], 0x20)
        e = 0x20 | (0x40 if acc == ACC_WRITE else 0)
        if (pte_read(c, pa_e, 4) & e) != e:
            pte_set(c, pa_e, e)
    e = pte_read(c, pa_e, 8 if pae else 4)
    if pae:
        w.pa = (e & addr_mask & ~(size - 1)) | (va & (size - 1))
    elif size > 4096:
        w.pa = (e & <u64>0xffc00000) | ((e & 0x1fe000) << 19) | (va & (size - 1))
    else:
        w.pa = (e & addr_mask) | (va & 4095)
    w.pa &= c.a20_mask
    w.global_ = e & 0x100 and c.cr4 & CR4_PGE
    w.page_size = size
    return 1


cdef bint translate(Cpu* c, u64 va, u64* pa) noexcept nogil:
    """Debug translation: no A/D update, no fault, any privilege."""
    cdef Walk w
    cdef u64 cr0 = c.cr0, cr4 = c.cr4
    cdef bint ok
    c.cr4 = cr4 & ~<u64>(CR4_SMAP | CR4_SMEP)
    ok = walk(c, va, ACC_READ, 0, 0, 0, &w)
    c.cr4 = cr4
    c.cr0 = cr0
    pa[0] = w.pa
    return ok


cdef bint load_pdptes(Cpu* c, u64 cr3) noexcept nogil:
    """The four PAE page-directory-pointer entries are loaded with CR3 (SDM vol. 3, 4.4.1)."""
    cdef u64 e[4]
    cdef int i
    for i in range(4):
        e[i] = pte_read(c, (cr3 & <u64>0xffffffe0) + i * 8, 8)
        if e[i] & 1 and e[i] & (<u64>0x1e6 | (~c.phys_mask & ~<u64>0xfff)):
            set_exc_err(c, EXC_GP, 0)
            return 0
    for i in range(4):
        c.pdpte[i] = e[i]
    return 1
