"""Calls from the core to what the machine has hung on the Python CPU object (hooks.pyx)."""
from pcemu._core.state cimport *

# All take the GIL. False: the hook raised; EXIT_CALLBACK is pending.
cdef bint cr8_access(Cpu* c, bint write, u64* v) noexcept with gil
cdef bint apic_base_written(Cpu* c) noexcept with gil
cdef bint tsc_deadline_access(Cpu* c, bint write, u64* v) noexcept with gil
# -d op and out_asm (Mach.log_code): a block at pc was translated, or a unit that begins with it compiled
cdef void block_made(Cpu* c, Block* b, u64 pc, bint compiled) noexcept with gil
# an MSR the core does not have; known: whether the hook took it
cdef bint other_msr(Cpu* c, u32 number, bint write, u64* v, bint* known) noexcept with gil
