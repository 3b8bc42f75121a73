"""Emitters of the x87 instructions."""
from pcemu._core.emit cimport *

cdef void x87_begin(J* j) noexcept nogil                        # before a unit's first op
cdef void x87_flush(J* j) noexcept nogil                        # everything home, the host's x87 is empty
cdef void x87_home(J* j, XState* x) noexcept nogil              # ... in a stub, with the state at it
cdef void x87_after(J* j, Op* op, EmitRow r) noexcept nogil     # a handler has run the op
cdef u8* x87_park(Cpu* c, void* arg, u64 unit) noexcept nogil   # thunks
cdef u8* x87_back(Cpu* c, void* arg, u64 unit) noexcept nogil
cdef void x87_second(J* j) noexcept nogil                       # loops
cdef bint x87_close(J* j) noexcept nogil
