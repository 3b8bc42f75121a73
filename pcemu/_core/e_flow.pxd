"""What units need of jumps (e_flow.pyx)."""
from pcemu._core.emit cimport *

cdef void by_cache(J* j) noexcept nogil
cdef void go(J* j, int slot, int cc) noexcept nogil
cdef void far_jump(J* j, int slot, s64 to) noexcept nogil
cdef void by_cache(J* j) noexcept nogil
cdef bint same_page(J* j, s64 to) noexcept nogil
cdef bint flat_code(J* j) noexcept nogil
cdef bint far_target(J* j, int sz) noexcept nogil
cdef void target_pc(J* j, s64 to) noexcept nogil
cdef void count(J* j, int asz, s32 by) noexcept nogil
