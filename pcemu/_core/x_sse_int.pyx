"""Packed integers, bitwise logic and shuffles on vector registers (SSE2 to SSE4.2), expanded from x_sse_int.pxi.in.

Register and memory form of each; the operation itself is one line of host_simd.h.
"""
from pcemu._core.simd cimport *

ctypedef void (*VecFn)(u8* d, const u8* s) noexcept nogil
ctypedef void (*VecImmFn)(u8* d, const u8* s, u32 imm) noexcept nogil
ctypedef void (*VecMaskFn)(u8* d, const u8* s, const u8* mask) noexcept nogil

# The memory forms' slow twins: whatever quick_r() does not do. Called through variables, so that the compiler keeps them out
# of the handlers, whose fast path then needs no stack.

cdef Op* slow_twin(Cpu* c, Op* op, VecFn f) noexcept nogil:
    cdef u8* p = ld16a(c, op)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    f(c.vec[op.reg], p)
    return nxt(c, op)


cdef Op* slow_part_twin(Cpu* c, Op* op, VecFn f, int size) noexcept nogil:
    cdef u8* p = ld(c, op, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    f(c.vec[op.reg], p)
    return nxt(c, op)


cdef Op* slow_imm_twin(Cpu* c, Op* op, VecImmFn f) noexcept nogil:
    cdef u8* p = ld16a(c, op)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    f(c.vec[op.reg], p, <u32>op.imm)
    return nxt(c, op)


cdef Op* slow_mask_twin(Cpu* c, Op* op, VecMaskFn f) noexcept nogil:
    cdef u8* p = ld16a(c, op)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    f(c.vec[op.reg], p, c.vec[0])
    return nxt(c, op)


cdef Op* (*slow)(Cpu* c, Op* op, VecFn f) noexcept nogil
cdef Op* (*slow_part)(Cpu* c, Op* op, VecFn f, int size) noexcept nogil
cdef Op* (*slow_imm)(Cpu* c, Op* op, VecImmFn f) noexcept nogil
cdef Op* (*slow_mask)(Cpu* c, Op* op, VecMaskFn f) noexcept nogil
slow = slow_twin
slow_part = slow_part_twin
slow_imm = slow_imm_twin
slow_mask = slow_mask_twin

include "gen/x_sse_int.pxi"
include "gen/x_sse_int_reg.pxi"
