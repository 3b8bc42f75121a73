"""Code out of line (stubs.pyx)."""
from pcemu._core.emit cimport *

cdef enum:
    MARGIN = 2 << 10    # no instruction's code is longer, nor a stub's

cdef void write_stubs(J* j) noexcept nogil
cdef u8* guard(J* j) noexcept nogil
