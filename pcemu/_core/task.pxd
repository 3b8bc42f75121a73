"""Task switches through a TSS (task.pyx; SDM vol. 3, chapter 7)."""
from pcemu._core.segments cimport *

cdef enum:
    TASK_JMP = 0
    TASK_CALL = 1
    TASK_INT = 2
    TASK_IRET = 3

# The TSS a selector names: it must be in the GDT and available (busy for IRET); else `vector` with the selector as error code.
cdef bint find_tss(Cpu* c, u32 sel, u32 vector, u32 ext, bint busy, Desc* d) noexcept nogil
# Leave the running task (which goes on at pc) for the one of TSS descriptor d. The new pc is in Cpu.pc. False: a fault is
# pending; with Cpu.switched set it is the new task's, at Cpu.pc.
cdef bint task_switch(Cpu* c, u32 sel, Desc* d, u32 kind, u64 pc, u32 ext) noexcept nogil
# IRET with NT set
cdef bint task_return(Cpu* c, u64 pc) noexcept nogil
