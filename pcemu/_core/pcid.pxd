"""Address spaces that are not running, by PCID (pcid.pyx)."""
from pcemu._core.state cimport *

cdef enum:
    PCID_MASK = 0xFFF

# CR3 goes from PCID `old` to `new`; keep: bit 63 was set, what the TLB has of `new` may be used
cdef void switch_pcid(Cpu* c, u64 old, u64 new, bint keep) noexcept nogil
cdef void forget_pcid(Cpu* c, u64 pcid) noexcept nogil      # what is kept of an address space that does not run
cdef void forget_pcids(Cpu* c) noexcept nogil               # ... of all of them
cdef void free_pcids(Cpu* c) noexcept nogil
