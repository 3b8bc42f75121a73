"""A debugger's breakpoints and watches: set, replaced, dropped. Between runs only; who looks at them: debug.pxd."""
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pcemu._core.state cimport *
from pcemu._core cimport blocks, tlb


cdef set_breakpoints(Cpu* c, set new):
    """Linear addresses, instead of those set before. Blocks that hold one that comes or goes are killed: translated anew, they
    begin and end there or no longer do."""
    cdef Debugger* d = &c.debugger
    cdef set old = {d.breakpoints[i] for i in range(d.n_breakpoints)}
    cdef u64* stops
    cdef u64* changed
    cdef u32 n
    if new == old:
        return
    stops = <u64*>calloc(len(new) + 1, sizeof(u64))
    changed = <u64*>calloc(len(new ^ old), sizeof(u64))
    try:
        if stops is NULL or changed is NULL:
            raise MemoryError()
        for n, addr in enumerate(new):
            stops[n] = addr
        for n, addr in enumerate(new ^ old):
            changed[n] = addr
        blocks.kill_at(c.m, changed, <u32>len(new ^ old))
        d.breakpoints, stops = stops, d.breakpoints
        d.n_breakpoints = <u32>len(new)
        memset(d.filter, 0, sizeof(d.filter))
        for addr in new:
            d.filter[(addr >> 6) & 15] |= <u64>1 << (addr & 63)
    finally:
        free(stops)
        free(changed)


cdef set_watches(Cpu* c, list watches):
    """(linear address, bytes, kinds: 'r', 'w' or 'rw') of each, instead of those set before."""
    cdef Debugger* d = &c.debugger
    cdef Watch* watch = <Watch*>calloc(len(watches) + 1, sizeof(Watch))
    if watch is NULL:
        raise MemoryError()
    try:
        for i, (addr, size, kinds) in enumerate(watches):
            watch[i].addr = addr
            watch[i].size = size
            watch[i].kind = (WATCH_READ if "r" in kinds else 0) | (WATCH_WRITE if "w" in kinds else 0)
    except BaseException:
        free(watch)
        raise
    free(d.watches)
    d.watches = watch
    d.n_watches = <u32>len(watches)
    d.hit = 0
    tlb.flush_tlb(c, True)


cdef void forget(Cpu* c) noexcept:
    """The Cpu goes."""
    free(c.debugger.breakpoints)
    free(c.debugger.watches)
