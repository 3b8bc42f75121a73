"""Compiled blocks (jit.pyx): what the engine, and what runs below compiled code, need of them."""
from pcemu._core.state cimport *

cdef enum:              # of Mach.calls, behind the handlers:
    RETIRED = 8191      # instructions that compiled code retired, those by a handler's call included

cdef enum:              # why compiled code was left (Mach.unit_exits)
    OUT_BUDGET = 0          # not enough of it for the next unit: interrupts, deadlines and the outside world are looked at
    OUT_DROPPED = 1         # the next unit's code was stored to
    OUT_NOT_KNOWN = 2       # nothing has been translated where it goes, or not for the present mapping
    OUT_NOT_COMPILED = 3    # ... it has, but is not compiled, or not enterable where it lies
    OUT_HANDLER = 4         # a handler: exceptions, device accesses to be made alone, HLT, changes of the mode ...
    OUT_OWN_CODE = 5        # the unit itself was stored to
    N_OUT = 6

cdef bint jit_init(Mach* m, u64 size) noexcept          # False: not on this host, or no memory for code
cdef bint jit_mode(Cpu* c) noexcept nogil
cdef void set_warm_op(Op* op) noexcept nogil            # before the first op of a block: counts, and compiles
cdef Op* h_warm(Cpu* c, Op* op) noexcept nogil          # ... that op's handler,
cdef Op* h_jit(Cpu* c, Op* op) noexcept nogil           # ... and of the one before a compiled block
cdef void count_rest(Cpu* c, Block* b) noexcept nogil   # a group of the unit was left to the handlers


cdef inline void jc_code(Cpu* c, JcEntry* e) noexcept nogil:
    """Where compiled code goes on from this jump-cache entry."""
    e.code = e.block.entry if e.block.entry is not NULL else c.m.thunk_interp
