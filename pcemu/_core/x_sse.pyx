"""Moves between vector registers, memory and general registers, single elements, MXCSR (SSE to SSE4.1)."""
from pcemu._core.mmx cimport mmx_ready, mmx_state
from pcemu._core.simd cimport *

cdef extern from "host_simd.h" nogil:
    void st_pair(void* p, u64 lo, u64 hi) noexcept
    void copy16 "h_copy16"(u8* d, const u8* s) noexcept
    u32 h_pmovmskb(const u8* s) noexcept
    u32 h_movmskps(const u8* s) noexcept
    u32 h_movmskpd(const u8* s) noexcept
    u32 h_ptest(const u8* d, const u8* s) noexcept
    void ins8(u8* d, u32 v, u32 i) noexcept
    void ins16(u8* d, u32 v, u32 i) noexcept
    void ins32(u8* d, u32 v, u32 i) noexcept
    void ins64(u8* d, u64 v, u32 i) noexcept
    void hi_insertps(u8* d, u32 v, u32 imm) noexcept


cdef inline u64 lo(const u8* v) noexcept nogil:
    return (<u64*>v)[0]


cdef inline u64 hi(const u8* v) noexcept nogil:
    return (<u64*>v)[1]


cdef Op* slow_load_twin(Cpu* c, Op* op, u64 align) noexcept nogil:
    """What quick_r() does not do for a 16-byte load."""
    cdef u8* p = NULL
    if not align:
        p = ld(c, op, 16)
    elif ea16(c, op, ACC_READ, 1):
        p = ldv(c, op, c.ea, 16)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    copy16(c.vec[op.reg], p)
    return nxt(c, op)


cdef Op* slow_store_twin(Cpu* c, Op* op, u64 align) noexcept nogil:
    if align:
        if UNLIKELY(not ea16(c, op, ACC_WRITE, 1) or not mmu.st_slow_bytes(c, op, c.ea, c.vec[op.reg], 16)):
            return fault(c, op)
    elif UNLIKELY(not st_bytes(c, op, c.vec[op.reg], 16)):
        return fault(c, op)
    return nxt(c, op)


ctypedef void (*PartFn)(u8* d, const u8* p) noexcept nogil


cdef Op* slow_part_twin(Cpu* c, Op* op, PartFn f, int size) noexcept nogil:
    """... for a load of part of a register."""
    cdef u8* p = ld(c, op, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    f(c.vec[op.reg], p)
    return nxt(c, op)


cdef Op* slow_value_twin(Cpu* c, Op* op, u64 v, int size) noexcept nogil:
    """... and for a store."""
    if UNLIKELY(not (st32(c, op, v) if size == 4 else st64(c, op, v))):
        return fault(c, op)
    return nxt(c, op)


# Called through variables, so that the compiler keeps them out of the handlers, whose fast path then needs no stack.
cdef Op* (*slow_load)(Cpu* c, Op* op, u64 align) noexcept nogil
cdef Op* (*slow_store)(Cpu* c, Op* op, u64 align) noexcept nogil
cdef Op* (*slow_part)(Cpu* c, Op* op, PartFn f, int size) noexcept nogil
cdef Op* (*slow_value)(Cpu* c, Op* op, u64 v, int size) noexcept nogil
slow_load = slow_load_twin
slow_store = slow_store_twin
slow_part = slow_part_twin
slow_value = slow_value_twin

include "gen/x_sse.pxi"

# ------------------------------------------------------------------------------------------- parts of a register

cdef Op* op_movss_rr(Cpu* c, Op* op) noexcept nogil:
    cdef u8* d = c.vec[op.reg]
    st_pair(d, (lo(d) & <u64>0xFFFFFFFF00000000) | <u32>lo(c.vec[op.rm]), hi(d))
    return nxt(c, op)


cdef Op* op_movsd_rr(Cpu* c, Op* op) noexcept nogil:
    cdef u8* d = c.vec[op.reg]
    st_pair(d, lo(c.vec[op.rm]), hi(d))
    return nxt(c, op)


cdef Op* op_movhlps_rr(Cpu* c, Op* op) noexcept nogil:
    cdef u8* d = c.vec[op.reg]
    st_pair(d, hi(c.vec[op.rm]), hi(d))
    return nxt(c, op)


cdef Op* op_movlhps_rr(Cpu* c, Op* op) noexcept nogil:
    cdef u8* d = c.vec[op.reg]
    st_pair(d, lo(d), lo(c.vec[op.rm]))
    return nxt(c, op)


cdef Op* op_movq_rr(Cpu* c, Op* op) noexcept nogil:
    st_pair(c.vec[op.reg], lo(c.vec[op.rm]), 0)
    return nxt(c, op)


cdef Op* op_movddup_rr(Cpu* c, Op* op) noexcept nogil:
    st_pair(c.vec[op.reg], lo(c.vec[op.rm]), lo(c.vec[op.rm]))
    return nxt(c, op)


cdef inline void even(u8* d, u8* s) noexcept nogil:
    cdef u64 a = lo(s), b = hi(s)
    st_pair(d, <u32>a | (a << 32), <u32>b | (b << 32))


cdef inline void odd(u8* d, u8* s) noexcept nogil:
    cdef u64 a = lo(s), b = hi(s)
    st_pair(d, (a >> 32) | (a & <u64>0xFFFFFFFF00000000), (b >> 32) | (b & <u64>0xFFFFFFFF00000000))


cdef Op* op_movsldup_rr(Cpu* c, Op* op) noexcept nogil:
    even(c.vec[op.reg], c.vec[op.rm])
    return nxt(c, op)


cdef Op* op_movsldup_rm(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld16a(c, op)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    even(c.vec[op.reg], p)
    return nxt(c, op)


cdef Op* op_movshdup_rr(Cpu* c, Op* op) noexcept nogil:
    odd(c.vec[op.reg], c.vec[op.rm])
    return nxt(c, op)


cdef Op* op_movshdup_rm(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld16a(c, op)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    odd(c.vec[op.reg], p)
    return nxt(c, op)

# ------------------------------------------------------------------------- vector and general registers

cdef Op* op_movd_rr_32(Cpu* c, Op* op) noexcept nogil:
    st_pair(c.vec[op.reg], <u32>c.r[op.rm], 0)
    return nxt(c, op)


cdef Op* op_movd_rr_64(Cpu* c, Op* op) noexcept nogil:
    st_pair(c.vec[op.reg], c.r[op.rm], 0)
    return nxt(c, op)


cdef Op* op_movdr_rr_32(Cpu* c, Op* op) noexcept nogil:
    c.r[op.reg] = <u32>lo(c.vec[op.rm])
    return nxt(c, op)


cdef Op* op_movdr_rr_64(Cpu* c, Op* op) noexcept nogil:
    c.r[op.reg] = lo(c.vec[op.rm])
    return nxt(c, op)


cdef Op* op_movmskps_rr(Cpu* c, Op* op) noexcept nogil:
    c.r[op.reg] = h_movmskps(c.vec[op.rm])
    return nxt(c, op)


cdef Op* op_movmskpd_rr(Cpu* c, Op* op) noexcept nogil:
    c.r[op.reg] = h_movmskpd(c.vec[op.rm])
    return nxt(c, op)


cdef Op* op_pmovmskb_rr(Cpu* c, Op* op) noexcept nogil:
    c.r[op.reg] = h_pmovmskb(c.vec[op.rm])
    return nxt(c, op)


cdef inline void test_flags(Cpu* c, u32 bits) noexcept nogil:
    """ZF and CF as given, the other four cleared."""
    set_arith(c, bits)


cdef Op* op_ptest_rr(Cpu* c, Op* op) noexcept nogil:
    test_flags(c, h_ptest(c.vec[op.reg], c.vec[op.rm]))
    return nxt(c, op)


cdef Op* op_ptest_rm(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld16a(c, op)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    test_flags(c, h_ptest(c.vec[op.reg], p))
    return nxt(c, op)

# -------------------------------------------------------------------------------------------- single elements

cdef Op* op_insertps_rri(Cpu* c, Op* op) noexcept nogil:
    hi_insertps(c.vec[op.reg], (<u32*>c.vec[op.rm])[(op.imm >> 6) & 3], <u32>op.imm)
    return nxt(c, op)


cdef Op* op_insertps_rmi(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld(c, op, 4)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    hi_insertps(c.vec[op.reg], (<u32*>p)[0], <u32>op.imm)
    return nxt(c, op)

# ------------------------------------------------------------------------------------------------------- MXCSR

cdef Op* op_ldmxcsr_m(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld(c, op, 4)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    if UNLIKELY((<u32*>p)[0] & ~mxcsr_mask(c)):
        return raise_err(c, op, EXC_GP, 0)
    set_mxcsr(c, (<u32*>p)[0])
    return fp_mode(c, op)


cdef Op* op_stmxcsr_m(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not st32(c, op, get_mxcsr(c))):
        return fault(c, op)
    return nxt(c, op)

# ------------------------------------------------------------------------------------------------ masked stores

cdef bint store_masked(Cpu* c, Op* op, const u8* src, const u8* mask, int n) noexcept nogil:
    """MASKMOVQ and MASKMOVDQU: bytes of src whose mask byte has its top bit set, to seg:[rDI]. Nothing is written,
    and no page touched, unless all of them can be."""
    cdef int i, first = -1, last = 0
    cdef u32 asz = (op.scale >> 2) & 3
    cdef u64 off = c.r[RDI]
    cdef u64 va
    if asz == 1:
        off = <u16>off
    elif asz == 2:
        off = <u32>off
    for i in range(n):
        if mask[i] & 0x80:
            last = i
            if first < 0:
                first = i
    if not segcheck.seg_lin(c, op.seg, off, n, ACC_WRITE):
        return 0
    if first < 0:
        return 1
    va = c.ea
    if not mmu.probe_write(c, op, va + first, last - first + 1):
        return 0
    for i in range(first, last + 1):
        if mask[i] & 0x80:
            if not stv8(c, op, va + i, src[i]):
                return 0
    return 1


cdef Op* op_maskmovdqu_rr(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not store_masked(c, op, c.vec[op.reg], c.vec[op.rm], 16)):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_maskmovq_qq(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not mmx_ready(c)):
        return fault(c, op)
    if UNLIKELY(not store_masked(c, op, <u8*>&c.fpr[2 * op.reg], <u8*>&c.fpr[2 * op.rm], 8)):
        return fault(c, op)
    mmx_state(c)
    return nxt(c, op)

# ------------------------------------------------------------------------------------- non-temporal, prefetch

cdef Op* op_movnti_mr_32(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not st32(c, op, c.r[op.reg])):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_movnti_mr_64(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not st64(c, op, c.r[op.reg])):
        return fault(c, op)
    return nxt(c, op)


include "gen/x_sse_reg.pxi"
