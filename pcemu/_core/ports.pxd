"""The I/O ports (ports.pyx)."""
from pcemu._core.state cimport *
from pcemu._core.latch cimport PortTable

cdef class IoSpace:
    cdef PortTable* t
    cdef list reads             # of a range: read(offset, size)
    cdef list writes            # write(offset, size, value)
    cdef list own_reads         # the device's own methods, or None: read(offset, size)
    cdef list own_writes        # write(offset, value, size)
    cdef list handlers
    cdef u64 read(self, u32 port, int size) except? 0
    cdef int write(self, u32 port, int size, u64 v) except -1

# False: EXIT_SINGLE or EXIT_CALLBACK is pending.
cdef bint port_in(Cpu* c, u32 port, int size, u64* out) noexcept nogil
cdef bint port_out(Cpu* c, u32 port, int size, u64 v) noexcept nogil
# IOPL and the TSS bitmap; false: #GP(0) (or the bitmap's fault) is pending
cdef bint io_allowed(Cpu* c, u32 port, int size) noexcept nogil
