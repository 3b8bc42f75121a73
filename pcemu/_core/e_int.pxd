"""Integer emitters (e_int.pyx)."""
from pcemu._core.emit cimport *

cdef bint emit_int(J* j, Op* op, EmitRow r) noexcept nogil     # False: nothing was written, the handler shall do it
cdef void go(J* j, int slot, int cc) noexcept nogil
cdef void far_jump(J* j, int slot, s64 to) noexcept nogil
cdef bint same_page(J* j, s64 to) noexcept nogil
