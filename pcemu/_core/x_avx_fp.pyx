"""AVX floating point: the SSE operations with three operands and 256 bits, expanded from x_avx_fp.pxi.in.

As in x_sse_fp.pyx a handler is the operation itself while every exception is masked, and goes through fp_try() with one unmasked.
"""
from libc.string cimport memcpy, memset

from pcemu._core.simd cimport *
from pcemu._core.x_sse_fp cimport ALTERNATE, HORIZONTAL, PLAIN, FpFn, fp_dot, fp_try, shape

cdef extern from "host_avx_fp.h" nogil:
    void rsqrt_init "pcemu_rsqrt_init"() noexcept

cdef enum:              # how a result is made of 16-byte operations
    ONE = 0             # one; the upper half of the register becomes zero
    TWO = 1             # one for each half
    WIDE = 2            # ... whose sources are half as long
    NARROW = 3          # the low halves of two results


cdef bint avx_fp_commit(Cpu* c, Op* op, FpFn f, const u8* s, int how) noexcept nogil:
    cdef u8* d = c.vec[op.reg]
    cdef u8 t[32]
    memcpy(t, c.vec[op.vvvv], 32)
    if not fp_try(c, op, f, t, s, 1 if how == ONE else 2, 8 if how == WIDE else 16):
        return 0
    if how == NARROW:
        memcpy(t + 8, t + 16, 8)
    if how == NARROW or how == ONE:
        memset(t + 16, 0, 16)
    memcpy(d, t, 32)
    return 1


cdef Op* avx_fp_slow(Cpu* c, Op* op, FpFn f, const u8* s, int how) noexcept nogil:
    """A handler's work with an exception unmasked."""
    if UNLIKELY(not avx_fp_commit(c, op, f, s, how)):
        return fault(c, op)
    return nxt(c, op)


cdef Op* avx_fp_slow_mem_twin(Cpu* c, Op* op, FpFn f, int size, int how) noexcept nogil:
    """A memory form's slow twin, for any of its reasons."""
    cdef u8* p = ld(c, op, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    return avx_fp_slow(c, op, f, p, how)


# Called through a variable, so that the compiler keeps it out of the handlers, whose fast path then needs no stack.
cdef Op* (*avx_fp_slow_mem)(Cpu* c, Op* op, FpFn f, int size, int how) noexcept nogil
avx_fp_slow_mem = avx_fp_slow_mem_twin


cdef bint avx_dot_commit(Cpu* c, Op* op, const u8* s, bint wide, int halves) noexcept nogil:
    cdef u8 t[32]
    memset(t, 0, 32)
    memcpy(t, c.vec[op.vvvv], 16 * halves)
    if not fp_dot(c, op, wide, t, s, halves):
        return 0
    memcpy(c.vec[op.reg], t, 32)
    return 1


cdef Op* avx_dot_slow(Cpu* c, Op* op, const u8* s, bint wide, int halves) noexcept nogil:
    if UNLIKELY(not avx_dot_commit(c, op, s, wide, halves)):
        return fault(c, op)
    return nxt(c, op)

include "gen/x_avx_fp.pxi"
rsqrt_init()
include "gen/x_avx_fp_reg.pxi"
