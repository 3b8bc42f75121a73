"""The mode of execution: what the control registers, segments and flags come to for decoder, TLB and jump cache."""
from pcemu._core.state cimport *
from pcemu._core.interrupts cimport code_breakpoints
from pcemu._core.simd cimport fp_quiet
from pcemu._core.tlb cimport set_jckey


cdef inline bint flat_data(Seg* s) noexcept nogil:
    """Base 0, limit 4 GiB, present, writable, expand-up data."""
    return s.base == 0 and s.limit == <u32>0xffffffff and (s.flags & (DESC_P | DESC_CODE | DESC_CE | DESC_RW)) == (DESC_P | DESC_RW)


cdef void update_mode(Cpu* c) noexcept nogil:
    """Recompute the mode bits of block keys, the mmu index and what depends on them."""
    cdef u32 m = c.cpl << M_CPL_SHIFT
    cdef Seg* cs = &c.seg[CS]
    cdef u32 idx
    if c.cr0 & CR0_PE:
        m |= M_PE
        if c.eflags & F_VM:
            m |= M_VM
    if c.efer & EFER_LMA:
        m |= M_LMA
        if cs.flags & DESC_L:
            m |= M_CODE64
    if not m & M_CODE64:
        if cs.flags & DESC_B:
            m |= M_CODE32
        if cs.limit != <u32>0xffffffff:
            m |= M_LIM
        if c.seg[SS].flags & DESC_B:
            m |= M_SS32
        if (flat_data(&c.seg[DS]) and flat_data(&c.seg[ES]) and flat_data(&c.seg[SS]) and cs.base == 0
                and cs.limit == <u32>0xffffffff and cs.flags & DESC_RW and m & M_PE and not m & M_VM):
            m |= M_FLAT
    m |= (M_EM if c.cr0 & CR0_EM else 0) | (M_TS if c.cr0 & CR0_TS else 0)
    m |= (M_MP if c.cr0 & CR0_MP else 0) | (M_NE if c.cr0 & CR0_NE else 0)
    if c.cr4 & CR4_OSFXSR:
        m |= M_OSFXSR
    if c.cr4 & CR4_OSXSAVE:
        m |= M_OSXSAVE
        if (c.xcr0 & 6) == 6:
            m |= M_AVX
    if c.eflags & F_TF or (c.dr[7] & 0xff and code_breakpoints(c)):
        m |= M_TF
    if c.eflags & F_AC and c.cr0 & CR0_AM and c.cpl == 3:
        m |= M_AC
    if not fp_quiet(c):
        m |= M_FPX
    if c.cpl == 3:
        idx = MMU_USER
    elif c.cr4 & CR4_SMAP and not c.eflags & F_AC:
        idx = MMU_KERNEL
    else:
        idx = MMU_KERNEL_AC
    c.mode = m | idx << M_MMU_SHIFT
    c.mmu = idx
    c.tlb_r = c.tr[idx].e
    c.tlb_w = c.tw[idx].e
    c.tlb_x = c.tx[idx].e
    set_jckey(c)
