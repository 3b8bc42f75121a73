# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Task switches through 16- and 32-bit TSSs (SDM vol. 3, chapter 7).

Everything that can fail before the point of no return is probed first; what fails afterwards (the new task's LDT and segments)
is a fault of the new task.
"""
from pcemu._core.access cimport *
from pcemu._core cimport mmu, modes, paging, tlb

cdef enum:
    TSS32_LIMIT = 0x67
    TSS16_LIMIT = 0x2B
    # flags a 32-bit TSS can load; a 16-bit one loads the low half of them
    TSS_FLAGS = 0x3F7FD5
    PEND_BT = 1 << 15           # DR6.BT


cdef bint find_tss(Cpu* c, u32 sel, u32 vector, u32 ext, bint busy, Desc* d) noexcept nogil:
    cdef u32 err = (sel & 0xFFFC) | ext
    cdef u32 t
    cdef int r
    if sel & 4 or not (sel & 0xFFFC):
        return exc_err(c, vector, err)
    r = fetch_desc(c, sel, d)
    if r < 0:
        return 0
    if r == FETCH_LIMIT:
        return exc_err(c, vector, err)
    t = (d.hi >> 8) & 0x1F
    if (t & ~<u32>8) != <u32>(T_TSS16_BUSY if busy else T_TSS16):
        return exc_err(c, vector, err)
    if not d_present(d):
        return exc_err(c, EXC_NP, err)
    return 1


cdef bint task_return(Cpu* c, u64 pc) noexcept nogil:
    cdef Desc d
    cdef u64 link
    if not mmu.sys_ld(c, <u32>c.seg[TR].base, 2, &link):
        return 0
    if not find_tss(c, <u32>link, EXC_TS, 0, 1, &d):
        return 0
    return task_switch(c, <u32>link, &d, TASK_IRET, pc, 0)


cdef bint task_code_seg(Cpu* c, u32 sel, u32 ext) noexcept nogil:
    """The new task's CS; its RPL is the new CPL (SDM vol. 3, table 7-1)."""
    cdef Desc d
    cdef u32 err = (sel & 0xFFFC) | ext
    cdef int r
    if not (sel & 0xFFFC):
        return exc_err(c, EXC_TS, err)
    r = fetch_desc(c, sel, &d)
    if r < 0:
        return 0
    if r == FETCH_LIMIT or not d_code(&d) or (d_dpl(&d) > (sel & 3) if d_conforming(&d) else d_dpl(&d) != (sel & 3)):
        return exc_err(c, EXC_TS, err)
    if not d_present(&d):
        return exc_err(c, EXC_NP, err)
    if not set_accessed(c, &d):
        return 0
    put_seg(c, CS, sel, &d)
    return 1


cdef bint task_data_seg(Cpu* c, u32 seg, u32 sel, u32 ext) noexcept nogil:
    cdef Desc d
    cdef u32 err = (sel & 0xFFFC) | ext
    cdef int r
    if not (sel & 0xFFFC):
        return 1                        # already null
    r = fetch_desc(c, sel, &d)
    if r < 0:
        return 0
    if r == FETCH_LIMIT or not (d.hi & DESC_S) or (d.hi & (DESC_CODE | DESC_RW)) == DESC_CODE:
        return exc_err(c, EXC_TS, err)
    if (d.hi & (DESC_CODE | DESC_CE)) != (DESC_CODE | DESC_CE) and (d_dpl(&d) < c.cpl or d_dpl(&d) < (sel & 3)):
        return exc_err(c, EXC_TS, err)
    if not d_present(&d):
        return exc_err(c, EXC_NP, err)
    if not set_accessed(c, &d):
        return 0
    put_seg(c, seg, sel, &d)
    return 1


cdef bint load_new_task(Cpu* c, u32* sel, u32 ldt, u32 ext) noexcept nogil:
    """LDT and segments of the new task, whose registers are loaded already."""
    cdef Desc d
    cdef u32 i
    for i in range(6):
        put_null(c, i, sel[i])
    put_null(c, LDTR, ldt)
    c.cpl = 3 if c.eflags & F_VM else sel[CS] & 3
    if not load_ldt(c, ldt, EXC_TS):
        c.exc_err |= ext
        return 0
    if c.eflags & F_VM:
        for i in range(6):
            load_seg_real(c, i, sel[i])
        return 1
    if not task_code_seg(c, sel[CS], ext) or not check_stack_seg(c, sel[SS], c.cpl, EXC_TS, ext, &d):
        return 0
    put_seg(c, SS, sel[SS], &d)
    for i in range(6):
        if i != CS and i != SS and not task_data_seg(c, i, sel[i], ext):
            return 0
    return 1


cdef bint task_switch(Cpu* c, u32 sel, Desc* d, u32 kind, u64 pc, u32 ext) noexcept nogil:
    cdef u32 old_sel = c.seg[TR].sel
    cdef u64 old = c.seg[TR].base
    cdef bint old32 = (c.seg[TR].flags >> 8) & 8
    cdef bint new32 = d_type(d) & 8
    cdef u64 base = d_base(d)
    cdef u64 img[26]                    # the new TSS, as dwords
    cdef u64 reg[8]
    cdef u32 segs[6]
    cdef u64 busy_old = <u32>(c.gdt_base + (old_sel & 0xFFF8) + 5)
    cdef u64 v
    cdef u64 cr3 = 0
    cdef u32 i, ldt, eflags, flags, trap = 0
    cdef bint ok
    c.switched = 0
    if d_limit(d) < <u32>(TSS32_LIMIT if new32 else TSS16_LIMIT):
        return exc_err(c, EXC_TS, (sel & 0xFFFC) | ext)
    # ---- everything that can fault while the old task is still whole
    for i in range(26 if new32 else 22):
        if new32:
            if not mmu.sys_ld(c, <u32>(base + 4 * i), 4, &img[i]):
                return 0
        elif not mmu.sys_ld(c, <u32>(base + 2 * i), 2, &img[i]):
            return 0
    if not mmu.sys_probe_write(c, <u32>(old + (0x20 if old32 else 0x0E)), 0x40 if old32 else 0x1C):
        return 0
    if (kind == TASK_JMP or kind == TASK_IRET) and not mmu.sys_probe_write(c, busy_old, 1):
        return 0
    if kind != TASK_IRET and not mmu.sys_probe_write(c, d.addr + 5, 1):
        return 0
    if (kind == TASK_CALL or kind == TASK_INT) and not mmu.sys_probe_write(c, <u32>base, 2):
        return 0
    # ---- save the old task
    flags = get_eflags(c)
    if kind == TASK_IRET:
        flags &= ~<u32>F_NT
    if old32:
        mmu.sys_st(c, <u32>(old + 0x20), 4, pc)
        mmu.sys_st(c, <u32>(old + 0x24), 4, flags)
        for i in range(8):
            mmu.sys_st(c, <u32>(old + 0x28 + 4 * i), 4, c.r[i])
        for i in range(6):
            mmu.sys_st(c, <u32>(old + 0x48 + 4 * i), 2, c.seg[i].sel)
    else:
        mmu.sys_st(c, <u32>(old + 0x0E), 2, pc)
        mmu.sys_st(c, <u32>(old + 0x10), 2, flags)
        for i in range(8):
            mmu.sys_st(c, <u32>(old + 0x12 + 2 * i), 2, c.r[i])
        for i in range(4):
            mmu.sys_st(c, <u32>(old + 0x22 + 2 * i), 2, c.seg[i].sel)
    if kind == TASK_JMP or kind == TASK_IRET:
        if mmu.sys_ld(c, busy_old, 1, &v):
            mmu.sys_st(c, busy_old, 1, v & ~<u64>2)
    if kind != TASK_IRET:
        d.hi |= 0x200
        mmu.sys_st(c, d.addr + 5, 1, (d.hi >> 8) & 0xFF)
    if kind == TASK_CALL or kind == TASK_INT:
        mmu.sys_st(c, <u32>base, 2, old_sel)
    # ---- the new task
    c.switched = 1
    put_seg(c, TR, sel, d)
    c.seg[TR].flags |= 0x200
    c.cr0 |= CR0_TS
    c.dr[7] &= ~<u64>0x155              # the local breakpoints were the old task's
    for i in range(6):
        segs[i] = 0
    if new32:
        cr3 = img[7]
        c.pc = img[8]
        eflags = <u32>img[9] & TSS_FLAGS
        for i in range(8):
            reg[i] = img[10 + i]
        for i in range(6):
            segs[i] = <u32>img[18 + i] & 0xFFFF
        ldt = <u32>img[24] & 0xFFFF
        trap = <u32>img[25] & 1
    else:
        c.pc = img[7]
        eflags = <u32>img[8] & TSS_FLAGS
        for i in range(8):
            reg[i] = 0xFFFF0000U | img[9 + i]   # what an 80386 leaves in the upper halves
        for i in range(4):
            segs[i] = <u32>img[17 + i] & 0xFFFF
        ldt = <u32>img[21] & 0xFFFF
    if kind == TASK_CALL or kind == TASK_INT:
        eflags |= F_NT
    for i in range(8):
        c.r[i] = reg[i]
    set_arith(c, eflags)
    c.eflags = (eflags & ~<u32>(F_ARITH | F_RF)) | 2
    if eflags & F_RF:
        c.rf_icount = c.icount_end - <u64>c.budget
    ok = 1
    if new32 and c.cr0 & CR0_PG:
        if c.cr4 & CR4_PAE:
            ok = paging.load_pdptes(c, cr3)
        if ok:
            c.cr3 = cr3
            tlb.flush_tlb(c, 0)
    if ok:
        ok = load_new_task(c, segs, ldt, ext)
    modes.update_mode(c)
    if ok and c.pc > c.seg[CS].limit:
        ok = exc_err(c, EXC_GP, ext)
    if ok and trap:
        c.dr6_pending |= PEND_BT
        c.pending |= PEND_DEBUG
    return ok
