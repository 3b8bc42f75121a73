# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Descriptors, segment registers and the stacks of far transfers (SDM vol. 3, chapters 3 and 5).

Functions that can fail return False with the fault pending in the Cpu and change nothing but accessed bits, which a
processor may set early as well.
"""
from pcemu._core.access cimport *
from pcemu._core cimport mmu, tlb

# ------------------------------------------------------------------------------------------------ descriptors


cdef inline u64 wrap(Cpu* c, u64 va) noexcept nogil:
    """Linear addresses of tables are 32 bits wide outside long mode."""
    return va if c.efer & EFER_LMA else <u32>va


cdef int fetch_desc(Cpu* c, u32 sel, Desc* d) noexcept nogil:
    cdef u64 raw, base
    cdef u32 limit
    if sel & 4:
        base = c.seg[LDTR].base
        limit = c.seg[LDTR].limit
        if not (c.seg[LDTR].flags & DESC_P):
            return FETCH_LIMIT
    else:
        base = c.gdt_base
        limit = c.gdt_limit
    if (sel & 0xFFFF | 7) > limit:
        return FETCH_LIMIT
    d.addr = wrap(c, base + (sel & 0xFFF8))
    if not mmu.sys_ld(c, d.addr, 8, &raw):
        return FETCH_FAULT
    d.lo = <u32>raw
    d.hi = <u32>(raw >> 32)
    return FETCH_OK


cdef int fetch_upper(Cpu* c, u32 sel, Desc* d, u64* upper) noexcept nogil:
    cdef u64 raw
    cdef u32 limit = c.seg[LDTR].limit if sel & 4 else c.gdt_limit
    if (sel & 0xFFFF | 7) + 8 > limit:
        return FETCH_LIMIT
    if not mmu.sys_ld(c, d.addr + 8, 8, &raw):
        return FETCH_FAULT
    upper[0] = raw << 32
    # the type field of the upper half must be 0 (SDM vol. 3, 5.8.3.1); the caller faults as for a bad type
    return FETCH_LIMIT if (raw >> 32) & 0x1F00 else FETCH_OK


cdef bint set_accessed(Cpu* c, Desc* d) noexcept nogil:
    if d.hi & DESC_A:
        return 1
    d.hi |= DESC_A
    return mmu.sys_st(c, d.addr + 5, 1, (d.hi >> 8) & 0xFF)


cdef void put_seg(Cpu* c, u32 seg, u32 sel, Desc* d) noexcept nogil:
    cdef Seg* s = &c.seg[seg]
    if seg == CS and s.limit != d_limit(d) and not c.efer & EFER_LMA:
        tlb.bump_jc(c)                  # a jump's cached target was inside the old limit
    s.sel = <u16>sel
    s.base = d_base(d)
    s.limit = d_limit(d)
    s.flags = d.hi & SEG_BITS


cdef void put_flat(Cpu* c, u32 seg, u32 sel, u32 flags) noexcept nogil:
    cdef Seg* s = &c.seg[seg]
    s.sel = <u16>sel
    s.base = 0
    s.limit = 0xFFFFFFFFU
    s.flags = flags


cdef void put_null(Cpu* c, u32 seg, u32 sel) noexcept nogil:
    cdef Seg* s = &c.seg[seg]
    s.sel = <u16>sel
    s.base = 0
    s.limit = 0
    s.flags = 0

# ------------------------------------------------------------------------------------------ segment registers


cdef void load_seg_real(Cpu* c, u32 seg, u32 sel) noexcept nogil:
    """Real mode keeps limit and attributes (SDM vol. 3, 9.9.2: a limit of 4 GiB survives); virtual-8086 mode sets them."""
    cdef Seg* s = &c.seg[seg]
    s.sel = <u16>sel
    s.base = (sel & 0xFFFF) << 4
    if c.eflags & F_VM:
        s.limit = 0xFFFF
        s.flags = REAL_DATA | (3 << DESC_DPL_SHIFT)
    elif not (s.flags & DESC_P):
        s.limit = 0xFFFF                # left null by protected mode
        s.flags = REAL_DATA


cdef bint check_stack_seg(Cpu* c, u32 sel, u32 cpl, u32 vector, u32 ext, Desc* d) noexcept nogil:
    cdef int r
    cdef u32 err = (sel & 0xFFFC) | ext
    if not (sel & 0xFFFC):
        return exc_err(c, vector, ext)
    r = fetch_desc(c, sel, d)
    if r < 0:
        return 0
    if r == FETCH_LIMIT or (sel & 3) != cpl or d_dpl(d) != cpl \
            or (d.hi & (DESC_S | DESC_CODE | DESC_RW)) != (DESC_S | DESC_RW):
        return exc_err(c, vector, err)
    if not d_present(d):
        return exc_err(c, EXC_SS, err)
    return set_accessed(c, d)


cdef bint load_seg(Cpu* c, u32 seg, u32 sel) noexcept nogil:
    cdef Desc d
    cdef int r
    cdef u32 dpl
    if in_real(c):
        load_seg_real(c, seg, sel)
        return 1
    if not (sel & 0xFFFC):
        if seg == SS:
            # 64-bit mode below CPL 3 runs on a null SS (SDM vol. 3, 5.7.1)
            if not (c.mode & M_CODE64) or c.cpl == 3 or (sel & 3) != c.cpl:
                return exc_err(c, EXC_GP, 0)
        put_null(c, seg, sel)
        return 1
    if seg == SS:
        if not check_stack_seg(c, sel, c.cpl, EXC_GP, 0, &d):
            return 0
        put_seg(c, SS, sel, &d)
        return 1
    r = fetch_desc(c, sel, &d)
    if r < 0:
        return 0
    if r == FETCH_LIMIT or not (d.hi & DESC_S) or (d.hi & (DESC_CODE | DESC_RW)) == DESC_CODE:
        return exc_err(c, EXC_GP, sel & 0xFFFC)     # a system segment, or code that cannot be read
    if (d.hi & (DESC_CODE | DESC_CE)) != (DESC_CODE | DESC_CE):
        dpl = d_dpl(&d)
        if dpl < c.cpl or dpl < (sel & 3):
            return exc_err(c, EXC_GP, sel & 0xFFFC)
    if not d_present(&d):
        return exc_err(c, EXC_NP, sel & 0xFFFC)
    if not set_accessed(c, &d):
        return 0
    put_seg(c, seg, sel, &d)
    return 1


cdef bint load_ldt(Cpu* c, u32 sel, u32 vector) noexcept nogil:
    """LLDT (faults #GP) and the LDT of a task switch (#TS)."""
    cdef Desc d
    cdef u64 upper = 0
    cdef int r
    if not (sel & 0xFFFC):
        put_null(c, LDTR, sel)
        return 1
    if sel & 4:
        return exc_err(c, vector, sel & 0xFFFC)
    r = fetch_desc(c, sel, &d)
    if r > 0 and (d.hi & (DESC_S | 0xF00)) != T_LDT << 8:
        r = FETCH_LIMIT
    if r > 0 and c.efer & EFER_LMA:
        r = fetch_upper(c, sel, &d, &upper)
    if r < 0:
        return 0
    if r == FETCH_LIMIT or not canonical(upper | d_base(&d)):
        return exc_err(c, vector, sel & 0xFFFC)
    if not d_present(&d):
        return exc_err(c, EXC_NP if vector == EXC_GP else vector, sel & 0xFFFC)
    put_seg(c, LDTR, sel, &d)
    c.seg[LDTR].base |= upper
    return 1


cdef bint load_tr(Cpu* c, u32 sel) noexcept nogil:
    """LTR: an available TSS in the GDT becomes busy."""
    cdef Desc d
    cdef u64 upper = 0
    cdef int r
    cdef u32 t
    if not (sel & 0xFFFC):
        return exc_err(c, EXC_GP, 0)
    if sel & 4:
        return exc_err(c, EXC_GP, sel & 0xFFFC)
    r = fetch_desc(c, sel, &d)
    if r > 0:
        t = (d.hi >> 8) & 0x1F
        if t != T_TSS32 and (t != T_TSS16 or c.efer & EFER_LMA):
            r = FETCH_LIMIT
    if r > 0 and c.efer & EFER_LMA:
        r = fetch_upper(c, sel, &d, &upper)
    if r < 0:
        return 0
    if r == FETCH_LIMIT or not canonical(upper | d_base(&d)):
        return exc_err(c, EXC_GP, sel & 0xFFFC)
    if not d_present(&d):
        return exc_err(c, EXC_NP, sel & 0xFFFC)
    d.hi |= 0x200                       # busy
    if not mmu.sys_st(c, d.addr + 5, 1, (d.hi >> 8) & 0xFF):
        return 0
    put_seg(c, TR, sel, &d)
    c.seg[TR].base |= upper
    return 1


cdef void drop_inaccessible(Cpu* c) noexcept nogil:
    cdef u32 i
    cdef Seg* s
    for i in range(6):
        s = &c.seg[i]
        if i == CS or i == SS or (s.flags & (DESC_S | DESC_CODE | DESC_CE)) == (DESC_S | DESC_CODE | DESC_CE):
            continue
        if ((s.flags >> DESC_DPL_SHIFT) & 3) < c.cpl and s.flags & DESC_P:
            s.sel = 0
            s.flags = 0                 # the base stays, and 64-bit code goes on using it

# ------------------------------------------------------------------------------------------------------ stacks


cdef bint seg_room(u32 flags, u32 limit, u64 off, u32 size) noexcept nogil:
    """Do size bytes at off lie inside a data segment?"""
    cdef u64 last = off + size - 1
    if (flags & (DESC_CODE | DESC_CE)) == DESC_CE:          # expand down
        return off > limit and last <= (<u64>0xFFFFFFFFU if flags & DESC_B else <u64>0xFFFF)
    return last <= limit


cdef void stack_now(Cpu* c, Stack* s) noexcept nogil:
    s.sp = c.r[RSP]
    s.base = c.seg[SS].base
    s.limit = c.seg[SS].limit
    s.flags = c.seg[SS].flags
    s.cpl = c.cpl
    s.err = 0
    s.wide = (c.mode & M_CODE64) != 0
    if s.wide:
        s.mask = <u64>-1
        s.base = 0
    else:
        s.mask = 0xFFFFFFFFU if c.seg[SS].flags & DESC_B else 0xFFFF


cdef void stack_new(Cpu* c, Stack* s, u32 sel, Desc* d, u64 sp, u32 cpl) noexcept nogil:
    s.sp = sp
    s.base = d_base(d)
    s.limit = d_limit(d)
    s.flags = d.hi & SEG_BITS
    s.cpl = cpl
    s.err = sel & 0xFFFC
    s.wide = 0
    s.mask = 0xFFFFFFFFU if d.hi & DESC_B else 0xFFFF


cdef inline bint stack_lin(Cpu* c, Stack* s, u64 off, u32 size, u64* lin) noexcept nogil:
    if s.wide:
        if not canonical(off) or not canonical(off + size - 1):
            return exc_err(c, EXC_SS, s.err)
        lin[0] = off
        return 1
    if not seg_room(s.flags, s.limit, off, size):
        return exc_err(c, EXC_SS, s.err)
    lin[0] = <u32>(s.base + off)
    return 1


cdef bint push_frame(Cpu* c, Stack* s, const u64* v, u32 n, u32 size) noexcept nogil:
    cdef u64 lin[MAX_PUSH]
    cdef u64 sp = s.sp
    cdef u32 i
    if n == 0:
        return 1
    for i in range(n):
        sp = (sp - size) & s.mask
        if not stack_lin(c, s, sp, size, &lin[i]):
            return 0
    if lin[0] - lin[n - 1] == <u64>(n - 1) * size:
        if not mmu.probe_write_at_cpl(c, lin[n - 1], n * size, s.cpl):
            return 0
    else:
        for i in range(n):
            if not mmu.probe_write_at_cpl(c, lin[i], size, s.cpl):
                return 0
    for i in range(n):
        if not mmu.st_at_cpl(c, lin[i], size, s.cpl, v[i]):
            return 0
    s.sp = (s.sp & ~s.mask) | sp
    return 1


cdef bint peek(Cpu* c, Stack* s, u64* v, u32 n, u32 size, u64 skip) noexcept nogil:
    cdef u64 lin = 0
    cdef u32 i
    for i in range(n):
        if not stack_lin(c, s, (s.sp + skip + i * size) & s.mask, size, &lin):
            return 0
        if not mmu.ld_at_cpl(c, lin, size, s.cpl, &v[i]):
            return 0
    return 1


cdef void set_sp(Cpu* c, u64 mask, u64 sp) noexcept nogil:
    """A 16-bit stack leaves the upper half of ESP alone; a 32-bit one clears the upper half of RSP."""
    if mask == 0xFFFF:
        c.r[RSP] = (c.r[RSP] & ~<u64>0xFFFF) | (sp & 0xFFFF)
    else:
        c.r[RSP] = sp & mask


cdef bint tss_stack(Cpu* c, u32 cpl, u32 ext, u32* ss, u64* sp) noexcept nogil:
    cdef Seg* tr = &c.seg[TR]
    cdef u32 t = (tr.flags >> 8) & 15
    cdef u32 off
    cdef u64 v
    cdef u32 err = (tr.sel & 0xFFFC) | ext
    if c.efer & EFER_LMA:
        off = cpl * 8 + 4
        if off + 7 > tr.limit:
            return exc_err(c, EXC_TS, err)
        ss[0] = cpl
        return mmu.sys_ld(c, tr.base + off, 8, sp)
    if t & 8:
        off = cpl * 8 + 4
        if off + 5 > tr.limit:
            return exc_err(c, EXC_TS, err)
        if not mmu.sys_ld(c, <u32>(tr.base + off), 4, sp) or not mmu.sys_ld(c, <u32>(tr.base + off + 4), 2, &v):
            return 0
    else:
        off = cpl * 4 + 2
        if off + 3 > tr.limit:
            return exc_err(c, EXC_TS, err)
        if not mmu.sys_ld(c, <u32>(tr.base + off), 2, sp) or not mmu.sys_ld(c, <u32>(tr.base + off + 2), 2, &v):
            return 0
    ss[0] = <u32>v
    return 1
