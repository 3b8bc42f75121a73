"""Ports, waiting, counters, CPUID, segment bases."""
from pcemu._core.state cimport *

cdef void register_handlers(AddFn add) noexcept nogil
