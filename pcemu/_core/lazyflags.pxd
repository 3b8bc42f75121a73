"""EFLAGS' arithmetic bits from {kind, result, source} (lazyflags.pyx)."""
from pcemu._core.state cimport *

cdef u32 cf_slow(u32 kind, u64 res, u64 src) noexcept nogil
cdef u32 of_slow(u32 kind, u64 res, u64 src) noexcept nogil
cdef u32 arith_flags(u32 kind, u64 res, u64 src) noexcept nogil
