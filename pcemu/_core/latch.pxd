"""What the core does itself at a device's ports (latch.pyx)."""
from pcemu._core.state cimport *

cdef enum:
    LATCH_PORTS = 8             # of a window
    LATCH_WRITES = 4096
    LATCH_READS = 64
    UNKNOWN = 0                 # what latch_write() answers
    KEPT = 1
    FULL = 2

cdef struct Latch:
    u8 known                    # bit n: a read of port n gives value[n]
    u8 value[LATCH_PORTS]
    # byte writes to one port, kept
    u8 sink
    u32 room                    # how many may be, with those that are; 0: none
    u32 taken
    s64 within                  # virtual ns after the first within which the device hears of them; < 0: that may be later
    s64 first                   # virtual time of the first
    u8 kept[LATCH_WRITES]
    # byte reads of one port, answered one after the other
    u8 source
    u32 supply                  # how many may be
    u32 given
    s64 last                    # virtual time of the last
    u8 stock[LATCH_READS]
    void* pyobj                 # its PortLatch

cdef struct PortTable:          # of an IoSpace
    Latch* waiting              # the one whose device has not heard of all
    void* pyio                  # the IoSpace
    s64 deadline                # the clock's, to be put back when it has ...
    s64 lowered                 # ... for this one; 0: it is untouched
    u16 index[65536]            # of a port's range
    u32 first[4096]
    u32 offset[4096]
    Latch* latch[4096]
    u8 low[4096]                # smallest and largest access that the device's own methods take; 0: these are not known
    u8 high[4096]

cdef class PortLatch:
    cdef Latch state
    cdef object on_written
    cdef object on_read

cdef bint latch_read(Cpu* c, Latch* a, u32 at, u64* out) noexcept nogil
cdef int latch_write(Cpu* c, Latch* a, u32 at, u8 v) noexcept nogil
cdef int settle_latch(Cpu* c, PortTable* t) except -1


cdef inline int settle_ports(Cpu* c) except -1:
    """Before any Python runs: devices hear of what was done for them."""
    cdef PortTable* t = <PortTable*>c.io
    return settle_latch(c, t) if t.waiting is not NULL else 0
