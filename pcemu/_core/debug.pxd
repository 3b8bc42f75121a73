"""What a debugger (gdbstub.py) has asked of a CPU: where to stop, and which memory to watch.

None of it costs anything where it is not. Before an instruction at a breakpoint a block ends, and the next one begins with an op
that asks breakpoint_at() (translate.pyx); all other blocks are as they were. A page with a watched byte is not in the read and write
TLB, so that an access there takes the slow path, which compares addresses (mmu.pyx).
"""
from pcemu._core.state cimport *

cdef enum:
    WATCH_READ = 1
    WATCH_WRITE = 2

cdef set_breakpoints(Cpu* c, set new)
cdef set_watches(Cpu* c, list watches)
cdef void forget(Cpu* c) noexcept


cdef inline bint breakpoint_at(Cpu* c, u64 lin) noexcept nogil:
    """Is there a breakpoint at this linear address?"""
    cdef Debugger* d = &c.debugger
    cdef u32 i
    if not d.filter[(lin >> 6) & 15] >> (lin & 63) & 1:
        return 0
    for i in range(d.n_breakpoints):
        if d.breakpoints[i] == lin:
            return 1
    return 0


cdef inline bint breakpoint_in_some_page(Cpu* c, u64 offset) noexcept nogil:
    """Is there one at this offset of any page? Blocks are found by physical address, so translation does not ask which."""
    cdef Debugger* d = &c.debugger
    cdef u32 i
    if not d.filter[(offset >> 6) & 15] >> (offset & 63) & 1:
        return 0
    for i in range(d.n_breakpoints):
        if (d.breakpoints[i] ^ offset) & 4095 == 0:
            return 1
    return 0


cdef inline u32 watch_at(Cpu* c, u64 va, u64 size, u32 kinds) noexcept nogil:
    """Number, counted from 1, of the watch of one of these kinds that [va, va + size) touches; 0: none."""
    cdef Debugger* d = &c.debugger
    cdef u32 i
    for i in range(d.n_watches):
        if d.watches[i].kind & kinds and (va - d.watches[i].addr < d.watches[i].size or d.watches[i].addr - va < size):
            return i + 1
    return 0
