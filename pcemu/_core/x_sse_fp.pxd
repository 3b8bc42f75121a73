"""What the AVX floating-point families share with the SSE one: operations with an exception unmasked."""
from pcemu._core.state cimport *

ctypedef void (*FpFn)(u8* d, const u8* s, u32 imm, u32* mx) noexcept nogil

cdef enum:              # how the elements of an operation pair
    PLAIN = 0           # d[i] op s[i]
    ALTERNATE = 1       # subtract in even places, add in odd
    HORIZONTAL = 2      # neighbours in d, then in s

# An operation that can overflow or underflow; kind: + - * / or n, double to single; n elements of `width` bits. kind f: FMA, with
# its code (host_fp.h) for `pairs`, the second and the third operand side by side at s.
cdef void shape(FpFn f, char kind, int width, int n, int pairs)
cdef bint fp_try(Cpu* c, Op* op, FpFn f, u8* d, const u8* s, int halves, int step) noexcept nogil
cdef bint fp_dot(Cpu* c, Op* op, bint double_width, u8* d, const u8* s, int halves) noexcept nogil

cdef void register_handlers(AddFn add) noexcept nogil
