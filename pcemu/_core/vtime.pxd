"""Virtual time (vtime.pyx)."""
from pcemu._core.state cimport *

cdef enum:
    CATCH_UP = 10000000     # ns of virtual time that may be seen to pass at once
    QUICK_SPAN = 1 << 21    # ticks of the host's counter between two looks at its clock

cdef u64 read_tsc(Cpu* c) noexcept nogil         # exact at the running instruction
cdef s64 clock_ns(Cpu* c) noexcept nogil
cdef s64 host_ns() noexcept nogil
cdef s64 quick_ns(ClockState* k) noexcept nogil
cdef s64 guest_ns(ClockState* k, s64 ns) noexcept nogil
