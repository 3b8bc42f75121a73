"""Memory operands of compiled code (operands.pyx)."""
from pcemu._core.emit cimport *

cdef bint plain(J* j) noexcept nogil
cdef int address_size(Op* op) noexcept nogil
cdef void offset(J* j, int dst, int sz) noexcept nogil
cdef void by_segment(J* j, int seg, int size, bint write, u32 kind) noexcept nogil
cdef void tlb_index(J* j) noexcept nogil
cdef s32 tlb_at(J* j, bint write) noexcept nogil
cdef void check(J* j, int size, bint write, u32 kind) noexcept nogil
cdef void mem(J* j, int size, bint write) noexcept nogil
cdef void mem_or(J* j, int size, bint write, u32 kind) noexcept nogil
cdef void operand(J* j, int size, bint write) noexcept nogil
cdef bint operand_sum(J* j, int size) noexcept nogil
cdef void stack(J* j, int g, s32 disp, int size, bint write, u32 kind) noexcept nogil
cdef void sp_set(J* j, int g, s32 disp) noexcept nogil
cdef u32 variants(J* j, int n) noexcept nogil
cdef void track(J* j, Op* op, EmitRow r) noexcept nogil
cdef void settle(J* j) noexcept nogil
cdef void rcx_stays(J* j) noexcept nogil
