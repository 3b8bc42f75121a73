from pcemu._core.state cimport *

cdef void register_handlers(AddFn add) noexcept nogil
