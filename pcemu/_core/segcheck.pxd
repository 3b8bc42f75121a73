"""From an operand to its linear address (segcheck.pyx)."""
from pcemu._core.state cimport *

# the op's memory operand: offset arithmetic at the op's address size, segment type and limit checks, alignment check;
# the linear address goes to c.ea. False: a fault is pending.
cdef bint ea_general(Cpu* c, Op* op, int size, int access) noexcept nogil
# linear address of seg:off into c.ea after the checks of the current mode (long mode: canonical only).
# #SS(0) for seg == SS, else #GP(0).
cdef bint seg_lin(Cpu* c, int seg, u64 off, int size, int access) noexcept nogil
cdef u64 ea_offset(Cpu* c, Op* op) noexcept nogil   # the operand's offset at its address size (LEA; no segment)
