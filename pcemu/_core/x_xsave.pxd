from pcemu._core.state cimport *

cdef void register_handlers(OpFn* t) noexcept nogil
