"""The I/O ports (ports.pyx)."""
from pcemu._core.state cimport *

cdef class IoSpace:
    cdef u16 index[65536]
    cdef u32 first[4096]
    cdef u32 offset[4096]
    cdef list reads
    cdef list writes
    cdef u32 n
    cdef u64 read(self, u32 port, int size)
    cdef write(self, u32 port, int size, u64 v)

# These take the GIL. False: EXIT_SINGLE or EXIT_CALLBACK is pending.
cdef bint port_in(Cpu* c, u32 port, int size, u64* out) noexcept with gil
cdef bint port_out(Cpu* c, u32 port, int size, u64 v) noexcept with gil
# IOPL and the TSS bitmap; false: #GP(0) (or the bitmap's fault) is pending
cdef bint io_allowed(Cpu* c, u32 port, int size) noexcept nogil
