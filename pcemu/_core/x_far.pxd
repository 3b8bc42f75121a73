"""Instructions that load segments, cross privilege levels or touch system flags."""
from pcemu._core.state cimport *

cdef void register_handlers(AddFn add) noexcept nogil
