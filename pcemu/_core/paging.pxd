"""Page walks (paging.pyx)."""
from pcemu._core.state cimport *

cdef struct Walk:
    u64 pa              # physical address of the byte, A20 applied
    u64 page_size
    bint global_
    bint ok

cdef bint walk(Cpu* c, u64 va, int acc, bint user, bint implicit, bint side, Walk* w) noexcept nogil
cdef bint load_pdptes(Cpu* c, u64 cr3) noexcept nogil   # PAE: false = #GP(0) pending (reserved bits)
cdef bint translate(Cpu* c, u64 va, u64* pa) noexcept nogil   # debug: no A/D update, no fault
