"""The mode of execution (modes.pyx)."""
from pcemu._core.state cimport *

cdef void update_mode(Cpu* c) noexcept nogil     # after CPL, CS, SS, DS, ES, CR0, CR4, EFER, XCR0, EFLAGS.TF/VM/AC changed
