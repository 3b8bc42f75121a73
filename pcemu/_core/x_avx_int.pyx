"""AVX and AVX2: packed integers, bitwise logic, shuffles and permutations, AES and PCLMULQDQ, expanded from x_avx_int.pxi.in.

A handler for each instruction, form and vector length; the operations are the SSE ones of host_simd.h (host_avx.h).
"""
from pcemu._core.simd cimport *

cdef extern from "host_crypto.h" nogil:
    pass
cdef extern from "host_avx.h" nogil:
    pass

ctypedef void (*AvxFn)(u8* d, const u8* a, const u8* b, u32 imm) noexcept nogil
ctypedef void (*BlendFn)(u8* d, const u8* a, const u8* b, const u8* mask) noexcept nogil


cdef Op* slow_twin(Cpu* c, Op* op, AvxFn f, int size) noexcept nogil:
    """The memory forms' slow twin: whatever quick_r() does not do. No operand need be aligned."""
    cdef u8* p = ld(c, op, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    f(c.vec[op.reg], c.vec[op.vvvv], p, <u32>op.imm)
    return nxt(c, op)


cdef Op* slow_blend_twin(Cpu* c, Op* op, BlendFn f, int size) noexcept nogil:
    cdef u8* p = ld(c, op, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    f(c.vec[op.reg], c.vec[op.vvvv], p, c.vec[op.is4])
    return nxt(c, op)


# Called through variables, so that the compiler keeps them out of the handlers, whose fast path then needs no stack.
cdef Op* (*slow)(Cpu* c, Op* op, AvxFn f, int size) noexcept nogil
cdef Op* (*slow_blend)(Cpu* c, Op* op, BlendFn f, int size) noexcept nogil
slow = slow_twin
slow_blend = slow_blend_twin

include "gen/x_avx_int.pxi"
include "gen/x_avx_int_reg.pxi"
