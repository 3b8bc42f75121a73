"""Lockstep runs (lockstep.pyx): what the engine needs of them."""
from pcemu._core.state cimport *

# One run from Cpu.pc on, compared. False: not even one block could be run so; nothing has happened. Otherwise Cpu.exit and
# Cpu.pc are as after run_ops() and, where an op did not complete, take_back(). A difference is EXIT_CALLBACK.
cdef bint lock_run(Cpu* c) noexcept nogil
cdef bint lock_start(Cpu* c) noexcept      # False: no memory
