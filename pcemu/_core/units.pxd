"""Which blocks are compiled together (units.pyx)."""
from pcemu._core.emit cimport *

cdef void gather(J* j, Block* b, int most, bint loops) noexcept nogil
