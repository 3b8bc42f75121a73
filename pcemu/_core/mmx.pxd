"""MMX registers: the significands of the x87 registers, by physical number (SDM vol. 1, chapter 9)."""
from pcemu._core.state cimport *
from pcemu._core.x87 cimport ready


cdef inline bint mmx_ready(Cpu* c) noexcept nogil:
    """An MMX instruction looks for a pending x87 exception first. False: return fault(c, op)."""
    return ready(c)


cdef inline void mmx_state(Cpu* c) noexcept nogil:
    """... and leaves TOP 0 and every x87 register valid (9.5)."""
    c.ftop = 0
    c.ftag = 0xFF


cdef inline void mmx_put(Cpu* c, u32 i, u64 v) noexcept nogil:
    """... and, if it writes, ones in the register's sign and exponent."""
    c.fpr[2 * i] = v
    c.fpr[2 * i + 1] = 0xFFFF
    mmx_state(c)
