"""Compiled blocks (jit.pyx): what the engine needs of them."""
from pcemu._core.state cimport *

cdef enum:              # of Mach.calls, behind the handlers:
    RETIRED = 8191      # instructions that compiled code retired, those by a handler's call included

cdef bint jit_init(Mach* m, u64 size) noexcept          # False: not on this host, or no memory for code
cdef bint jit_mode(Cpu* c) noexcept nogil
cdef void set_warm_op(Op* op) noexcept nogil            # before the first op of a block: counts, and compiles


cdef inline void jc_code(Cpu* c, JcEntry* e) noexcept nogil:
    """Where compiled code goes on from this jump-cache entry."""
    e.code = e.block.entry if e.block.entry is not NULL else c.m.thunk_interp
