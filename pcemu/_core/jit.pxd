"""Compiled blocks (jit.pyx): what the engine, and what runs below compiled code, need of them."""
from pcemu._core.state cimport *

cdef enum:              # of Mach.calls, behind the handlers:
    RETIRED = 8191      # instructions that compiled code retired, those by a handler's call included

cdef bint jit_init(Mach* m, u64 size) noexcept          # False: not on this host, or no memory for code
cdef bint jit_mode(Cpu* c) noexcept nogil
cdef void set_warm_op(Op* op) noexcept nogil            # before the first op of a block: counts, and compiles
cdef Op* h_warm(Cpu* c, Op* op) noexcept nogil          # ... that op's handler,
cdef Op* h_jit(Cpu* c, Op* op) noexcept nogil           # ... and of the one before a compiled block
cdef void count_rest(Cpu* c, Block* b) noexcept nogil   # a group of the unit was left to the handlers


cdef inline void jc_code(Cpu* c, JcEntry* e) noexcept nogil:
    """Where compiled code goes on from this jump-cache entry."""
    e.code = e.block.entry if e.block.entry is not NULL else c.m.thunk_interp
