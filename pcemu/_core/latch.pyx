# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Port latches: accesses to a device's ports that need no Python.

A device that knows what its next reads will give and that nothing will come of its next writes tells its latch so. The core
answers the reads and keeps the writes, and the device hears of them before any other Python of the machine runs: in the machine's
thread nobody can tell that its methods were not called one by one. When virtual time counts (an interrupt that comes a moment
after a write), the device is told when it was.
"""
from libc.string cimport memcpy

from pcemu._core.state cimport *
from pcemu._core cimport vtime


cdef s64 now_ns(Cpu* c) noexcept nogil:
    """Virtual time as a device that is called sees it."""
    cdef ClockState* k = c.clk
    if k.icount or not k.running:
        return vtime.clock_ns(c)
    return vtime.guest_ns(k, (vtime.quick_ns(k) if k.quick else vtime.host_ns()) - k.offset)


cdef bint latch_read(Cpu* c, Latch* a, u32 at, u64* out) noexcept nogil:
    """A byte read of port `at` of its window. False: the device has to be called."""
    cdef PortTable* t = <PortTable*>c.io
    if at >= LATCH_PORTS:
        return 0
    if a.known >> at & 1:
        out[0] = a.value[at]
        return 1
    if at != a.source or a.given >= a.supply or a.taken or t.waiting is not NULL and t.waiting is not a:
        return 0
    t.waiting = a
    out[0] = a.stock[a.given]
    a.given += 1
    a.last = now_ns(c)
    return 1


cdef int latch_write(Cpu* c, Latch* a, u32 at, u8 v) noexcept nogil:
    """A byte write to port `at`: KEPT, FULL (the device has to hear of them now), or UNKNOWN, if the device has to be called."""
    cdef PortTable* t = <PortTable*>c.io
    if at != a.sink or a.taken >= a.room or a.given or t.waiting is not NULL and t.waiting is not a:
        return UNKNOWN
    if not a.taken:
        t.waiting = a
        if a.within >= 0:
            a.first = now_ns(c)
            if a.first + a.within < c.clk.deadline:
                t.deadline = c.clk.deadline
                c.clk.deadline = t.lowered = a.first + a.within
                c.leave_req = 1
    a.kept[a.taken] = v
    a.taken += 1
    return KEPT if a.taken < a.room else FULL


cdef int settle_latch(Cpu* c, PortTable* t) except -1:
    """The device of the waiting latch hears of what was done for it."""
    cdef Latch* a = t.waiting
    cdef PortLatch latch = <PortLatch>a.pyobj
    cdef u32 n
    t.waiting = NULL
    if t.lowered:
        if c.clk.deadline == t.lowered:
            c.clk.deadline = t.deadline
        t.lowered = 0
    if a.taken:
        n = a.taken
        a.taken = a.room = 0
        latch.on_written((<char*>a.kept)[:n], a.first)
    if a.given:
        n = a.given
        a.given = a.supply = 0
        latch.on_read(n, a.last)
    return 0


cdef class PortLatch:
    """Set `latch` of a window's handler (WindowHandler) to one of these before the window is mapped.

    Offsets are those of the window's first eight ports. Python of the machine's thread that runs while the guest does (any
    device, hook, timer) finds nothing waiting: on_written() and on_read() have been called.
    """

    def __cinit__(self):
        self.state.pyobj = <void*>self

    def answer(self, u32 offset, int value):
        """Reads of this port give `value` (0 to 255) from now on; -1: they call the device."""
        if offset >= LATCH_PORTS or value > 255:
            raise ValueError(f"port {offset}, value {value}: a latch has 8 ports of a byte each")
        if value < 0:
            self.state.known &= ~<u8>(1 << offset)
        else:
            self.state.value[offset] = <u8>value
            self.state.known |= <u8>(1 << offset)

    def collect(self, u32 offset, u32 count, on_written=None, s64 within=-1):
        """Keep up to `count` byte writes to this port (one of the window's; 4096 at most): on_written(data, first_ns) gets them.

        It is called with the last of the `count`, at that instruction, or earlier, and then nothing is kept until the next
        collect(). So fewer than `count` writes must have no effect that a guest could tell from a later one. If an effect comes
        some time after the first of them, `within` says how many virtual ns: on_written() is called by then, and first_ns is
        when the first was (without `within` it means nothing).
        """
        if self.state.taken:
            raise RuntimeError("collect() with writes waiting")
        self.state.sink = <u8>offset
        self.state.room = min(count, <u32>LATCH_WRITES)
        self.state.within = within
        if on_written is not None:
            self.on_written = on_written

    def supply(self, u32 offset, bytes data, on_read=None):
        """The next byte reads of this port (one of the window's) give these bytes, at most 64, in turn; then they call the device.

        on_read(count, last_ns) tells how many were read, and when the last was; then nothing is supplied any more until the
        next supply().
        """
        cdef u32 n = <u32>min(len(data), <Py_ssize_t>LATCH_READS)
        if self.state.given:
            raise RuntimeError("supply() with reads waiting")
        self.state.source = <u8>offset
        self.state.supply = n
        memcpy(self.state.stock, <char*>data, n)
        if on_read is not None:
            self.on_read = on_read
