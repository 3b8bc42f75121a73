"""Blocks for the run loop (translate.pyx)."""
from pcemu._core.state cimport *

# The block at pc in the present mode, none of it beyond CS's limit. NULL: fault pending. Not cacheable: just the instruction at pc,
# in Cpu.scratch.
cdef Block* lookup(Cpu* c, u64 pc, bint cacheable) noexcept nogil


cdef inline u64 lin_of(Cpu* c, u64 pc) noexcept nogil:
    """The linear address of pc."""
    return pc if c.mode & M_CODE64 else <u32>(c.seg[CS].base + pc)
