"""What a debugger (gdbstub.py) has asked of a CPU: where to stop, and which memory to watch.

None of it costs anything where it is not. Before an instruction at a breakpoint a block ends, and the next one begins with an op
that asks breakpoint_at() (translate.pyx); all other blocks are as they were. A page with a watched byte is not in the read and write
TLB, so that an access there takes the slow path, which compares addresses (mmu.pyx).
"""
from pcemu._core.state cimport *

cdef struct Watch:
    u64 addr                # linear
    u64 size
    u32 kind                # WATCH_*

cdef enum:
    WATCH_READ = 1
    WATCH_WRITE = 2

cdef struct Debugger:       # lies in Cpu.stops
    u64* stops              # Cpu.n_stops linear addresses
    Watch* watch
    u32 n_watch
    u32 hit                 # a watched access was made: number of the Watch, counted from 1
    u64 filter[16]          # a bit for the low ten bits of each of `stops`

cdef set_breakpoints(Cpu* c, set new)
cdef set_watches(Cpu* c, list watches)
cdef void forget(Cpu* c) noexcept


cdef inline Debugger* dbg(Cpu* c) noexcept nogil:
    return <Debugger*>c.stops


cdef inline bint breakpoint_at(Cpu* c, u64 lin) noexcept nogil:
    """Is there a breakpoint at this linear address?"""
    cdef Debugger* d = dbg(c)
    cdef u32 i
    if not d.filter[(lin >> 6) & 15] >> (lin & 63) & 1:
        return 0
    for i in range(c.n_stops):
        if d.stops[i] == lin:
            return 1
    return 0


cdef inline bint stop_in_some_page(Cpu* c, u64 offset) noexcept nogil:
    """Is there one at this offset of any page? Blocks are found by physical address, so translation does not ask which."""
    cdef Debugger* d = dbg(c)
    cdef u32 i
    if not d.filter[(offset >> 6) & 15] >> (offset & 63) & 1:
        return 0
    for i in range(c.n_stops):
        if (d.stops[i] ^ offset) & 4095 == 0:
            return 1
    return 0


cdef inline u32 watch_at(Cpu* c, u64 va, u64 size, u32 kinds) noexcept nogil:
    """Number, counted from 1, of the watch of one of these kinds that [va, va + size) touches; 0: none."""
    cdef Debugger* d = dbg(c)
    cdef u32 i
    for i in range(d.n_watch):
        if d.watch[i].kind & kinds and (va - d.watch[i].addr < d.watch[i].size or d.watch[i].addr - va < size):
            return i + 1
    return 0
