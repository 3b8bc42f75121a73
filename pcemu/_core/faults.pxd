"""An exception becomes pending in the Cpu; who finds it returns False or NULL, and the engine delivers it."""
from pcemu._core.state cimport *


cdef inline void set_exc(Cpu* c, u32 vector) noexcept nogil:
    c.exit = EXIT_FAULT
    c.exc_vector = vector
    c.exc_has_err = 0
    c.exc_err = 0
    c.exc_soft = 0


cdef inline void set_exc_err(Cpu* c, u32 vector, u32 err) noexcept nogil:
    c.exit = EXIT_FAULT
    c.exc_vector = vector
    c.exc_has_err = 1
    c.exc_err = err
    c.exc_soft = 0
