"""The Clock object (clock.pyx)."""
from pcemu._core.state cimport *


cdef class Clock:
    cdef ClockState k
    cdef Cpu* c                 # that runs by it; NULL: none yet
    cdef readonly bint sleep
