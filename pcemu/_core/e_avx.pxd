"""Emitters of AVX, AVX2, FMA and F16C."""
from pcemu._core.emit cimport *

cdef bint emit_avx(J* j, Op* op, Encoding e, EmitRow r) noexcept nogil
