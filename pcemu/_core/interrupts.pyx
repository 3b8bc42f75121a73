# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Delivery of exceptions and interrupts in every mode (SDM vol. 3, chapters 6 and 20; debug exceptions: 17.3)."""
from pcemu._core.access cimport *
from pcemu._core.segments cimport *
from pcemu._core.task cimport TASK_INT, find_tss, task_switch
from pcemu._core cimport mmu, modes

# Exception classes of the double-fault rules (SDM vol. 3, table 6-4)
cdef enum:
    BENIGN = 0
    CONTRIBUTORY = 1
    PAGE_FAULT = 2
    DOUBLE = 3


cdef inline u32 exc_class(u32 vector) noexcept nogil:
    if vector == EXC_PF:
        return PAGE_FAULT
    if vector == EXC_DF:
        return DOUBLE
    if vector == EXC_DE or (vector >= EXC_TS and vector <= EXC_GP):
        return CONTRIBUTORY
    return BENIGN


cdef inline void drop_flags(Cpu* c, u32 mask) noexcept nogil:
    c.eflags &= ~mask


cdef bint deliver_real(Cpu* c, u32 vector, u64 pc, u32 flags) noexcept nogil:
    """Through the interrupt vector table: real mode, and INT n redirected inside virtual-8086 mode."""
    cdef Stack s
    cdef u64 v[3]
    cdef u64 entry
    cdef u64 table = 0 if c.eflags & F_VM else c.idt_base
    if not (c.eflags & F_VM) and vector * 4 + 3 > c.idt_limit:
        return exc_err(c, EXC_GP, vector * 8 + 2)
    if c.eflags & F_VM:
        if not mmu.ld_at_cpl(c, vector * 4, 4, 3, &entry):
            return 0
    elif not mmu.sys_ld(c, table + vector * 4, 4, &entry):
        return 0
    stack_now(c, &s)
    v[0] = flags
    v[1] = c.seg[CS].sel
    v[2] = pc
    if not push_frame(c, &s, v, 3, 2):
        return 0
    set_sp(c, s.mask, s.sp)
    load_seg_real(c, CS, <u32>(entry >> 16))
    c.pc = entry & 0xFFFF
    return 1


cdef bint deliver_task(Cpu* c, u32 sel, u32 has_err, u32 err, u64 pc, u32 rf, u32 ext) noexcept nogil:
    """Through a task gate; the error code goes onto the new task's stack, in its TSS's width. rf: RF in the image saved."""
    cdef Desc d
    cdef Stack s
    cdef u64 v = err
    if not find_tss(c, sel, EXC_GP, ext, 0, &d):
        return 0
    c.eflags |= rf
    if not task_switch(c, sel, &d, TASK_INT, pc, ext):
        drop_flags(c, F_RF)
        return 0
    if has_err:
        stack_now(c, &s)
        s.err = ext
        if not push_frame(c, &s, &v, 1, 4 if (c.seg[TR].flags >> 8) & 8 else 2):
            return 0
        set_sp(c, s.mask, s.sp)
    return 1


cdef inline bint gate_open(Cpu* c, u32 hi, u32 kind, u32 err) noexcept nogil:
    """May this code use the gate, whose descriptor's upper half is hi, and is it present?"""
    if kind >= INT_SOFTX and ((hi >> 13) & 3) < c.cpl:
        return exc_err(c, EXC_GP, err)
    return 1 if hi & DESC_P else exc_err(c, EXC_NP, err)


cdef bint deliver_protected(Cpu* c, u32 vector, u32 has_err, u32 err, u32 kind, u64 pc, u32 flags) noexcept nogil:
    cdef u32 ext = 1 if kind <= INT_ICEBP else 0
    cdef u32 gate_err = vector * 8 + 2 + ext
    cdef u64 raw
    cdef u32 lo, hi, t, sel, cs_err, n = 0, size, new_ss, cpl
    cdef Desc cs, ss
    cdef Stack s
    cdef u64 v[12]
    cdef u64 sp
    cdef int r
    cdef bint vm = (c.eflags & F_VM) != 0
    cdef u32 i
    if vector * 8 + 7 > c.idt_limit:
        return exc_err(c, EXC_GP, gate_err)
    if not mmu.sys_ld(c, <u32>(c.idt_base + vector * 8), 8, &raw):
        return 0
    lo = <u32>raw
    hi = <u32>(raw >> 32)
    t = (hi >> 8) & 0x1F
    if t != T_TASK and (t & ~<u32>8) != T_INT16 and (t & ~<u32>8) != T_TRAP16:
        return exc_err(c, EXC_GP, gate_err)
    if not gate_open(c, hi, kind, gate_err):
        return 0
    sel = lo >> 16
    if t == T_TASK:
        return deliver_task(c, sel, has_err, err, pc, flags & F_RF, ext)
    # ---- the handler's code segment
    if not (sel & 0xFFFC):
        return exc_err(c, EXC_GP, ext)
    cs_err = (sel & 0xFFFC) | ext
    r = fetch_desc(c, sel, &cs)
    if r < 0:
        return 0
    if r == FETCH_LIMIT or not d_code(&cs) or d_dpl(&cs) > c.cpl:
        return exc_err(c, EXC_GP, cs_err)
    if not d_present(&cs):
        return exc_err(c, EXC_NP, cs_err)
    if t & 8:
        size = 4
        c.pc = (lo & 0xFFFF) | (hi & 0xFFFF0000U)
    else:
        size = 2
        c.pc = lo & 0xFFFF
    cpl = c.cpl
    if vm and (d_conforming(&cs) or d_dpl(&cs) != 0):
        return exc_err(c, EXC_GP, cs_err)
    if not d_conforming(&cs) and d_dpl(&cs) < c.cpl:
        # ---- to an inner level, on the stack the TSS names
        cpl = d_dpl(&cs)
        if not tss_stack(c, cpl, ext, &new_ss, &sp) or not check_stack_seg(c, new_ss, cpl, EXC_TS, ext, &ss):
            return 0
        stack_new(c, &s, new_ss, &ss, sp, cpl)
        s.err |= ext
        if vm:
            v[0] = c.seg[GS].sel
            v[1] = c.seg[FS].sel
            v[2] = c.seg[DS].sel
            v[3] = c.seg[ES].sel
            n = 4
        v[n] = c.seg[SS].sel
        v[n + 1] = c.r[RSP]
        n += 2
    else:
        new_ss = 0
        stack_now(c, &s)
        s.err = ext
    v[n] = flags
    v[n + 1] = c.seg[CS].sel
    v[n + 2] = pc
    n += 3
    if has_err:
        v[n] = err
        n += 1
    if c.pc > d_limit(&cs):
        return exc_err(c, EXC_GP, ext)
    if not set_accessed(c, &cs) or not push_frame(c, &s, v, n, size):
        return 0
    # ---- nothing fails from here on
    if cpl != c.cpl:
        put_seg(c, SS, new_ss, &ss)
        c.r[RSP] = s.sp
        c.cpl = cpl
    else:
        set_sp(c, s.mask, s.sp)
    if vm:
        for i in range(6):
            if i != CS and i != SS:
                put_null(c, i, 0)
    put_seg(c, CS, (sel & 0xFFFC) | cpl, &cs)
    drop_flags(c, F_TF | F_NT | F_VM | (0 if t & 1 else F_IF))
    return 1


cdef bint deliver_long(Cpu* c, u32 vector, u32 has_err, u32 err, u32 kind, u64 pc, u32 flags) noexcept nogil:
    """Long mode: 16-byte gates, a stack aligned to 16 bytes that always gets SS:RSP, and the interrupt stack table."""
    cdef u32 ext = 1 if kind <= INT_ICEBP else 0
    cdef u32 gate_err = vector * 8 + 2 + ext
    cdef u64 raw, upper, target, sp
    cdef u32 lo, hi, t, sel, cs_err, ist, cpl, n, off
    cdef Desc cs
    cdef Stack s
    cdef u64 v[6]
    cdef int r
    if vector * 16 + 15 > c.idt_limit:
        return exc_err(c, EXC_GP, gate_err)
    if not mmu.sys_ld(c, c.idt_base + vector * 16, 8, &raw) or not mmu.sys_ld(c, c.idt_base + vector * 16 + 8, 8, &upper):
        return 0
    lo = <u32>raw
    hi = <u32>(raw >> 32)
    t = (hi >> 8) & 0x1F
    if t != T_INT32 and t != T_TRAP32:
        return exc_err(c, EXC_GP, gate_err)
    if not gate_open(c, hi, kind, gate_err):
        return 0
    sel = lo >> 16
    if not (sel & 0xFFFC):
        return exc_err(c, EXC_GP, ext)
    cs_err = (sel & 0xFFFC) | ext
    r = fetch_desc(c, sel, &cs)
    if r < 0:
        return 0
    if r == FETCH_LIMIT or not d_code(&cs) or d_dpl(&cs) > c.cpl or (cs.hi & (DESC_L | DESC_B)) != DESC_L:
        return exc_err(c, EXC_GP, cs_err)
    if not d_present(&cs):
        return exc_err(c, EXC_NP, cs_err)
    target = (upper << 32) | (hi & 0xFFFF0000U) | (lo & 0xFFFF)
    cpl = c.cpl if d_conforming(&cs) else d_dpl(&cs)
    ist = hi & 7
    if ist or cpl != c.cpl:
        off = 0x24 + (ist - 1) * 8 if ist else 4 + cpl * 8
        if off + 7 > c.seg[TR].limit:
            return exc_err(c, EXC_TS, (c.seg[TR].sel & 0xFFFC) | ext)
        if not mmu.sys_ld(c, c.seg[TR].base + off, 8, &sp):
            return 0
    else:
        sp = c.r[RSP]
    if not canonical(target):
        return exc_err(c, EXC_GP, ext)
    s.sp = sp & ~<u64>15
    s.mask = <u64>-1
    s.base = 0
    s.limit = 0
    s.flags = 0
    s.cpl = cpl
    s.err = ext
    s.wide = 1
    v[0] = c.seg[SS].sel
    v[1] = c.r[RSP]
    v[2] = flags
    v[3] = c.seg[CS].sel
    v[4] = pc
    n = 5
    if has_err:
        v[5] = err
        n = 6
    if not set_accessed(c, &cs) or not push_frame(c, &s, v, n, 8):
        return 0
    if cpl != c.cpl:
        put_null(c, SS, cpl)
        c.cpl = cpl
    c.r[RSP] = s.sp
    put_seg(c, CS, (sel & 0xFFFC) | cpl, &cs)
    c.pc = target
    drop_flags(c, F_TF | F_NT | (0 if t & 1 else F_IF))
    return 1


cdef int vm86_redirected(Cpu* c, u32 vector) noexcept nogil:
    """CR4.VME: does the TSS send this INT n to the 8086 program's own handler? (SDM vol. 3, 20.3.3; -1: fault)"""
    cdef u64 iomap, bits
    cdef u32 off
    cdef Seg* tr = &c.seg[TR]
    if not ((tr.flags >> 8) & 8) or tr.limit < 0x67:
        return 0
    if not mmu.sys_ld(c, <u32>(tr.base + 0x66), 2, &iomap):
        return -1
    if iomap < 32 or iomap > tr.limit:
        return 0
    off = <u32>iomap - 32 + (vector >> 3)
    if not mmu.sys_ld(c, <u32>(tr.base + off), 1, &bits):
        return -1
    return not ((bits >> (vector & 7)) & 1)


cdef bint deliver(Cpu* c, u32 vector, u32 has_err, u32 err, u32 kind, u64 pc) noexcept nogil:
    cdef u32 flags = get_eflags(c)
    cdef int redirected
    cdef bint ok
    c.switched = 0
    if kind == INT_FAULT or (kind != INT_SOFT and c.rf_icount == c.icount_end - <u64>c.budget):
        flags |= F_RF
    if not (c.cr0 & CR0_PE):
        ok = deliver_real(c, vector, pc, flags)
        if ok:
            drop_flags(c, F_IF | F_TF | F_AC)
    elif c.efer & EFER_LMA:
        ok = deliver_long(c, vector, has_err, err, kind, pc, flags)
    elif kind == INT_SOFT and c.eflags & F_VM:
        redirected = vm86_redirected(c, vector) if c.cr4 & CR4_VME else 0
        if redirected < 0:
            return 0
        if redirected:
            if (c.eflags & F_IOPL) == F_IOPL:
                ok = deliver_real(c, vector, pc, flags)
                if ok:
                    drop_flags(c, F_IF | F_TF)
            else:
                # the virtual interrupt flag stands in for IF
                flags = (flags & ~<u32>F_IF) | F_IOPL | (F_IF if flags & F_VIF else 0)
                ok = deliver_real(c, vector, pc, flags)
                if ok:
                    drop_flags(c, F_VIF | F_TF)
        elif (c.eflags & F_IOPL) != F_IOPL:
            return exc_err(c, EXC_GP, 0)
        else:
            ok = deliver_protected(c, vector, 0, 0, kind, pc, flags)
    else:
        ok = deliver_protected(c, vector, has_err, err, kind, pc, flags)
    if ok:
        c.rf_icount = <u64>-1
        c.shadow = SHADOW_NONE
        c.monitor_armed = 0
        modes.update_mode(c)
    return ok


cdef bint deliver_nested(Cpu* c, u32 vector, u32 has_err, u32 err, u32 kind, u64 pc) noexcept nogil:
    """Until a handler is entered or the processor shuts down (SDM vol. 3, 6.15, interrupt 8)."""
    cdef u32 first, second
    while True:
        if vector == EXC_PF and kind <= INT_TRAP:
            c.cr2 = c.cr2_next
        if deliver(c, vector, has_err, err, kind, pc):
            c.halted = 0
            c.link = NULL
            c.exit = EXIT_PC
            return 1
        if c.exit == EXIT_CALLBACK:
            return 0                    # a device in the way of tables or stack failed
        if c.switched:
            pc = c.pc
        first = exc_class(vector) if kind <= INT_TRAP else <u32>BENIGN
        second = exc_class(c.exc_vector)
        if first == DOUBLE:
            c.exit = EXIT_SHUTDOWN
            c.pc = pc
            return 0
        if (first == CONTRIBUTORY and second == CONTRIBUTORY) or (first == PAGE_FAULT and second != BENIGN):
            if c.exc_vector == EXC_PF:
                c.cr2 = c.cr2_next
            vector = EXC_DF
            has_err = 1
            err = 0
            kind = INT_TRAP
        else:
            vector = c.exc_vector
            has_err = c.exc_has_err
            err = c.exc_err
            kind = INT_FAULT


cdef bint deliver_exception(Cpu* c, u64 pc) noexcept nogil:
    c.n_exc += 1
    return deliver_nested(c, c.exc_vector, c.exc_has_err, c.exc_err, INT_SOFTX if c.exc_soft else INT_FAULT, pc)


cdef bint deliver_irq(Cpu* c, u32 vector, u64 pc) noexcept nogil:
    c.n_irq += 1
    return deliver_nested(c, vector, 0, 0, INT_EXT, pc)


cdef bint deliver_nmi(Cpu* c, u64 pc) noexcept nogil:
    """NMI is blocked until IRET; when its delivery faults it comes again after the fault's handler (SDM vol. 3, 6.7.1)."""
    c.n_irq += 1
    c.nmi_blocked = 1
    if deliver(c, EXC_NMI, 0, 0, INT_EXT, pc):
        c.halted = 0
        c.link = NULL
        c.exit = EXIT_PC
        return 1
    if c.exit == EXIT_CALLBACK:
        return 0
    if not c.switched:
        c.pending |= PEND_NMI
    return deliver_nested(c, c.exc_vector, c.exc_has_err, c.exc_err, INT_FAULT, c.pc if c.switched else pc)


cdef bint deliver_debug(Cpu* c, u64 pc) noexcept nogil:
    """DR6 keeps what it has, but for B0-B3 (SDM vol. 3, 17.2.3); entering the handler clears DR7.GD."""
    cdef u64 causes = c.dr6_pending
    if causes & 15:
        c.dr[6] &= ~<u64>15
    c.dr[6] |= causes & 0xE00F
    c.dr6_pending = 0
    c.pending &= ~<u32>PEND_DEBUG
    c.dr[7] &= ~<u64>(1 << 13)
    c.n_exc += 1
    return deliver_nested(c, EXC_DB, 0, 0, INT_TRAP, pc)


cdef u32 breakpoint_hits(Cpu* c, u64 addr, u64 size, u32 kind) noexcept nogil:
    """LEN says how much a breakpoint watches, from its address rounded down (SDM vol. 3, 17.2.4, 17.2.5)."""
    cdef u64 dr7 = c.dr[7]
    cdef u64 start, watched
    cdef u32 i, rw, hits = 0
    for i in range(4):
        if not ((dr7 >> (2 * i)) & 3):
            continue
        rw = (dr7 >> (16 + 4 * i)) & 3
        if rw != kind and not (kind == 1 and rw == 3):
            continue
        watched = (dr7 >> (18 + 4 * i)) & 3
        watched = 8 if watched == 2 else watched + 1
        start = c.dr[i] & ~(watched - 1)
        if addr < start + watched and start < addr + size:
            hits |= 1 << i
    return hits
