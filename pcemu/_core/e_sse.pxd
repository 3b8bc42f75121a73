"""Emitters of the vector instructions."""
from pcemu._core.emit cimport *

cdef bint emit_sse(J* j, Op* op, EmitRow r) noexcept nogil
