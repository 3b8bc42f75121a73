"""What units need of jumps (e_flow.pyx)."""
from pcemu._core.emit cimport *

cdef void go(J* j, int slot, int cc) noexcept nogil
cdef void far_jump(J* j, int slot, s64 to) noexcept nogil
cdef bint same_page(J* j, s64 to) noexcept nogil
