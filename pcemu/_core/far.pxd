"""Far jumps, calls and returns, IRET and the fast system calls (far.pyx; SDM vol. 3, 5.8)."""
from pcemu._core.segments cimport *

# All return False with a fault pending and nothing changed (or Cpu.switched set). On success the new pc is in Cpu.pc, mode and
# CPL are updated. `next` is the pc after the instruction, osz its operand size in bytes.
cdef bint far_jump(Cpu* c, u32 sel, u64 off, u32 osz, u64 next) noexcept nogil
cdef bint far_call(Cpu* c, u32 sel, u64 off, u32 osz, u64 next) noexcept nogil
cdef bint far_return(Cpu* c, u32 osz, u32 drop) noexcept nogil
cdef bint iret(Cpu* c, u32 osz, u64 next) noexcept nogil
cdef bint syscall(Cpu* c, u64 next) noexcept nogil
cdef bint sysret(Cpu* c, bint wide) noexcept nogil
cdef bint sysenter(Cpu* c) noexcept nogil
cdef bint sysexit(Cpu* c, bint wide) noexcept nogil
# Replace the EFLAGS bits of mask; the caller calls modes.update_mode() when TF, VM or AC may have changed.
cdef void change_eflags(Cpu* c, u32 v, u32 mask) noexcept nogil
