"""SSE floating point: arithmetic, comparisons and conversions, expanded from x_sse_fp.pxi.in.

A handler is one instruction of host_fp.h while every exception is masked. With one unmasked it goes through fp_slow(), which
runs the operation on a copy, looks at the flags and raises #XM with the destination unchanged (SDM vol. 1, 11.5).
"""
from libc.string cimport memcpy

from pcemu._core.mmx cimport mmx_put, mmx_ready, mmx_state
from pcemu._core.simd cimport *

cdef extern from "host_fp.h" nogil:
    void f_dpps(u8* d, const u8* s, u32 imm, u32* mx) noexcept
    void f_dppd(u8* d, const u8* s, u32 imm, u32* mx) noexcept
    void rsqrt_init "pcemu_rsqrt_init"() noexcept
    u32 lane_pe "pcemu_lane_pe"(char kind, int width, u64 a, u64 b, u32 ctl, u32 live) noexcept
    u32 fma_pe "pcemu_fma_pe"(int code, int width, int i, u64 a, u64 b, u64 c, u32 ctl, u32 live) noexcept
    u32 fp_run "pcemu_fp_run"(FpFn f, u8* d, const u8* s, u32 imm, u32* mx) noexcept

cdef enum:
    MX_BEFORE = 7       # IE, DE, ZE: found before the result is
    MX_OE = 1 << 3
    MX_UE = 1 << 4
    MX_PE = 1 << 5
    MX_FTZ = 1 << 15


# Operations that can overflow or underflow
cdef struct Shape:
    FpFn f
    char kind
    int width
    int n
    int pairs

cdef Shape shapes[192]
cdef int n_shapes = 0


cdef void shape(FpFn f, char kind, int width, int n, int pairs):
    global n_shapes
    shapes[n_shapes] = Shape(f, kind, width, n, pairs)
    n_shapes += 1


cdef inline u64 lane(const u8* v, int i, int width) noexcept nogil:
    return (<u32*>v)[i] if width == 32 else (<u64*>v)[i]


cdef u32 trap_pe(FpFn f, const u8* d, const u8* s, u32 ctl, u32 live, u32 pe) noexcept nogil:
    """PE when an unmasked overflow or underflow is among the elements; pe if f is not such an operation."""
    cdef int i, k, half
    cdef Shape* p
    cdef u64 a, b
    for k in range(n_shapes):
        p = &shapes[k]
        if p.f == f:
            break
    else:
        return pe
    pe = 0
    for i in range(p.n):
        a = lane(d, i, p.width)
        b = lane(s, i, p.width)
        if p.kind == c'f':
            pe |= fma_pe(p.pairs, p.width, i, a, b, lane(s + 16, i, p.width), ctl, live)
            continue
        if p.pairs == HORIZONTAL:
            half = p.n // 2
            a = lane(d if i < half else s, 2 * (i % half), p.width)
            b = lane(d if i < half else s, 2 * (i % half) + 1, p.width)
        if p.kind == c'n':
            a = b
        pe |= lane_pe(c'-' if p.pairs == ALTERNATE and not i & 1 else p.kind, p.width, a, b, ctl, live)
    return pe


cdef bint fp_try(Cpu* c, Op* op, FpFn f, u8* d, const u8* s, int halves, int step) noexcept nogil:
    """Run f under the guest's masks, on 16 bytes of d or on two times 16, whose sources lie `step` bytes apart. False: #XM (or
    #UD) is pending, its flags are set, and d is worthless."""
    cdef u32 ctl = c.mxcsr
    cdef u32 live = ~(c.mxcsr >> 7) & MXCSR_FLAGS         # unmasked
    cdef u32 flags = 0, pe
    cdef u8 before[32]
    cdef u8 again[16]
    cdef int i
    memcpy(before, d, 16 * halves)
    if live & MX_UE:                                       # FTZ has no effect then
        ctl &= ~<u32>MX_FTZ
    for i in range(halves):
        flags |= fp_run(f, d + 16 * i, s + step * i, <u32>op.imm, &ctl)
    if live & MX_UE:                                       # tininess alone is the exception: FTZ shows it when exact
        ctl |= MX_FTZ
        for i in range(halves):
            memcpy(again, before + 16 * i, 16)
            flags |= fp_run(f, again, s + step * i, <u32>op.imm, &ctl) & MX_UE
        ctl &= ~<u32>MX_FTZ
    if flags & live & MX_BEFORE:
        flags &= MX_BEFORE
    elif flags & live & (MX_OE | MX_UE) and flags & MX_PE:
        pe = flags & MX_PE
        flags &= ~<u32>MX_PE
        for i in range(halves):
            flags |= trap_pe(f, before + 16 * i, s + step * i, ctl, live, pe)
    c.mxcsr |= flags
    if UNLIKELY(flags & live):
        set_exc(c, EXC_XM if c.cr4 & CR4_OSXMMEXCPT else EXC_UD)
        return 0
    return 1


cdef bint fp_commit(Cpu* c, Op* op, FpFn f, u8* d, const u8* s, int n) noexcept nogil:
    cdef u8 t[16]
    memcpy(t, d, n)
    if not fp_try(c, op, f, t, s, 1, 16):
        return 0
    memcpy(d, t, n)
    return 1


cdef Op* fp_slow(Cpu* c, Op* op, FpFn f, u8* d, const u8* s, int n) noexcept nogil:
    """A handler's work with an exception unmasked: n bytes of destination."""
    if UNLIKELY(not fp_commit(c, op, f, d, s, n)):
        return fault(c, op)
    return nxt(c, op)


cdef Op* fp_slow_mem_twin(Cpu* c, Op* op, FpFn f, u8* d, int size, int n) noexcept nogil:
    """A memory form's slow twin, for any of its reasons: `size` bytes of operand, 16 aligned."""
    cdef u8* p = ld16a(c, op) if size == 16 else ld(c, op, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    if not fp_quiet(c):
        return fp_slow(c, op, f, d, p, n)
    f(d, p, <u32>op.imm, &c.mxcsr)
    return nxt(c, op)


cdef bint fp_commit_flags(Cpu* c, Op* op, FpFn f, const u8* d, const u8* s) noexcept nogil:
    cdef u8 t[16]
    memcpy(t, d, 16)
    if not fp_try(c, op, f, t, s, 1, 16):
        return 0
    set_arith(c, (<u32*>t)[0])
    return 1


cdef Op* fp_slow_flags(Cpu* c, Op* op, FpFn f, const u8* d, const u8* s) noexcept nogil:
    """... that goes to EFLAGS."""
    if UNLIKELY(not fp_commit_flags(c, op, f, d, s)):
        return fault(c, op)
    return nxt(c, op)


cdef Op* fp_slow_flags_mem_twin(Cpu* c, Op* op, FpFn f, const u8* d, int size) noexcept nogil:
    cdef u8* p = ld(c, op, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    return fp_slow_flags(c, op, f, d, p)


cdef Op* fp_slow_mmx(Cpu* c, Op* op, FpFn f, const u8* s) noexcept nogil:
    """... that goes to an MMX register. The x87 state goes over to MMX even when #XM follows, as processors do it."""
    mmx_state(c)
    if UNLIKELY(not fp_commit(c, op, f, <u8*>&c.fpr[2 * op.reg], s, 8)):
        return fault(c, op)
    mmx_put(c, op.reg, c.fpr[2 * op.reg])
    return nxt(c, op)


cdef bint fp_dot(Cpu* c, Op* op, bint double_width, u8* d, const u8* s, int halves) noexcept nogil:
    """DPPS and DPPD, on one or two times 16 bytes: products, then one or two rounds of horizontal sums. Each stage raises for
    itself."""
    cdef u8 t[32]
    cdef u8 u[32]
    cdef int i, n = 16 * halves, width = 8 if double_width else 4
    memcpy(t, d, n)
    memcpy(u, s, n)
    for i in range(n):
        if not op.imm >> (4 + (i & 15) // width) & 1:
            t[i] = u[i] = 0
    if not fp_try(c, op, f_mulpd if double_width else f_mulps, t, u, halves, 16):
        return 0
    for _stage in range(1 if double_width else 2):
        memcpy(u, t, n)
        if not fp_try(c, op, f_haddpd if double_width else f_haddps, t, u, halves, 16):
            return 0
    for i in range(n):
        d[i] = t[(i & 16) + i % width] if op.imm >> ((i & 15) // width) & 1 else 0
    return 1


cdef Op* fp_slow_dot(Cpu* c, Op* op, u8* d, const u8* s, bint double_width) noexcept nogil:
    if UNLIKELY(not fp_dot(c, op, double_width, d, s, 1)):
        return fault(c, op)
    return nxt(c, op)


# Called through variables, so that the compiler keeps them out of the handlers, whose fast path then needs no stack.
cdef Op* (*fp_slow_mem)(Cpu* c, Op* op, FpFn f, u8* d, int size, int n) noexcept nogil
cdef Op* (*fp_slow_flags_mem)(Cpu* c, Op* op, FpFn f, const u8* d, int size) noexcept nogil
fp_slow_mem = fp_slow_mem_twin
fp_slow_flags_mem = fp_slow_flags_mem_twin

include "gen/x_sse_fp.pxi"

rsqrt_init()
shape(f_haddps, c'+', 32, 4, HORIZONTAL)
shape(f_haddpd, c'+', 64, 2, HORIZONTAL)
shape(f_hsubps, c'-', 32, 4, HORIZONTAL)
shape(f_hsubpd, c'-', 64, 2, HORIZONTAL)
shape(f_addsubps, c'+', 32, 4, ALTERNATE)
shape(f_addsubpd, c'+', 64, 2, ALTERNATE)
shape(f_cvtsd2ss, c'n', 64, 1, PLAIN)
shape(f_cvtpd2ps, c'n', 64, 2, PLAIN)


cdef Op* op_dpps_rri(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not fp_quiet(c)):
        return fp_slow_dot(c, op, c.vec[op.reg], c.vec[op.rm], 0)
    f_dpps(c.vec[op.reg], c.vec[op.rm], <u32>op.imm, &c.mxcsr)
    return nxt(c, op)


cdef Op* op_dpps_rmi(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld16a(c, op)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    if UNLIKELY(not fp_quiet(c)):
        return fp_slow_dot(c, op, c.vec[op.reg], p, 0)
    f_dpps(c.vec[op.reg], p, <u32>op.imm, &c.mxcsr)
    return nxt(c, op)


cdef Op* op_dppd_rri(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not fp_quiet(c)):
        return fp_slow_dot(c, op, c.vec[op.reg], c.vec[op.rm], 1)
    f_dppd(c.vec[op.reg], c.vec[op.rm], <u32>op.imm, &c.mxcsr)
    return nxt(c, op)


cdef Op* op_dppd_rmi(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld16a(c, op)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    if UNLIKELY(not fp_quiet(c)):
        return fp_slow_dot(c, op, c.vec[op.reg], p, 1)
    f_dppd(c.vec[op.reg], p, <u32>op.imm, &c.mxcsr)
    return nxt(c, op)


include "gen/x_sse_fp_reg.pxi"
