"""SSE floating point: arithmetic, comparisons and conversions, expanded from x_sse_fp.pxi.in.

A handler is one instruction of host_fp.h while every exception is masked. With one unmasked it goes through fp_slow(), which
runs the operation on a copy, looks at the flags and raises #XM with the destination unchanged (SDM vol. 1, 11.5).
"""
from libc.string cimport memcpy

from pcemu._core.simd cimport *

ctypedef void (*FpFn)(u8* d, const u8* s, u32 imm, u32* mx) noexcept nogil

cdef extern from "host_fp.h" nogil:
    u32 fp_run "pcemu_fp_run"(FpFn f, u8* d, const u8* s, u32 imm, u32* mx) noexcept

cdef enum:
    MX_BEFORE = 7       # IE, DE, ZE: found before the result is
    MX_UE = 1 << 4
    MX_FTZ = 1 << 15


cdef bint fp_try(Cpu* c, Op* op, FpFn f, u8* d, const u8* s) noexcept nogil:
    """Run f under the guest's masks. False: #XM (or #UD) is pending, its flags are set, and d is worthless."""
    cdef u32 ctl = c.mxcsr
    cdef u32 live = ~(c.mxcsr >> 7) & MXCSR_FLAGS         # unmasked
    cdef u32 flags
    cdef u8 again[16]
    if live & MX_UE:                                       # FTZ has no effect then
        ctl &= ~<u32>MX_FTZ
        memcpy(again, d, 16)
    flags = fp_run(f, d, s, <u32>op.imm, &ctl)
    if live & MX_UE:                                       # tininess alone is the exception: FTZ shows it when exact
        ctl |= MX_FTZ
        flags |= fp_run(f, again, s, <u32>op.imm, &ctl) & MX_UE
    if flags & live & MX_BEFORE:
        flags &= MX_BEFORE
    c.mxcsr |= flags
    if UNLIKELY(flags & live):
        set_exc(c, EXC_XM if c.cr4 & CR4_OSXMMEXCPT else EXC_UD)
        return 0
    return 1


cdef bint fp_commit(Cpu* c, Op* op, FpFn f, u8* d, const u8* s, int n) noexcept nogil:
    cdef u8 t[16]
    memcpy(t, d, n)
    if not fp_try(c, op, f, t, s):
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
    if not fp_try(c, op, f, t, s):
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
    """... that goes to an MMX register."""
    if UNLIKELY(not fp_commit(c, op, f, <u8*>&c.fpr[2 * op.reg], s, 8)):
        return fault(c, op)
    mmx_put(c, op.reg, c.fpr[2 * op.reg])
    return nxt(c, op)


cdef Op* fp_slow_from_mmx(Cpu* c, Op* op, FpFn f, const u8* s) noexcept nogil:
    """... that comes from one."""
    if UNLIKELY(not fp_commit(c, op, f, c.vec[op.reg], s, 16)):
        return fault(c, op)
    mmx_state(c)
    return nxt(c, op)


# Called through variables, so that the compiler keeps them out of the handlers, whose fast path then needs no stack.
cdef Op* (*fp_slow_mem)(Cpu* c, Op* op, FpFn f, u8* d, int size, int n) noexcept nogil
cdef Op* (*fp_slow_flags_mem)(Cpu* c, Op* op, FpFn f, const u8* d, int size) noexcept nogil
fp_slow_mem = fp_slow_mem_twin
fp_slow_flags_mem = fp_slow_flags_mem_twin

include "gen/x_sse_fp.pxi"
include "gen/x_sse_fp_reg.pxi"
