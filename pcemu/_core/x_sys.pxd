"""System registers, descriptor tables, TLB and caches."""
from pcemu._core.state cimport *

cdef void register_handlers(AddFn add) noexcept nogil
