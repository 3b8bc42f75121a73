"""Exceptions and interrupts (interrupts.pyx; SDM vol. 3, chapters 6, 17.3 and 20.3)."""
from pcemu._core.state cimport *

cdef enum:
    INT_FAULT = 0       # an exception that reports the instruction at pc: RF is set in the pushed image
    INT_TRAP = 1        # an exception after the instruction (#DB), or an abort
    INT_EXT = 2         # external interrupt, NMI
    INT_ICEBP = 3       # INT1: no privilege check, EXT set
    INT_SOFTX = 4       # INT3, INTO: gate privilege checked
    INT_SOFT = 5        # INT n: ... and subject to IOPL and redirection in virtual-8086 mode

# One attempt to enter the handler of a vector. pc is pushed. False: another fault is pending (Cpu.switched: of the task switched to).
cdef bint deliver(Cpu* c, u32 vector, u32 has_err, u32 err, u32 kind, u64 pc) noexcept nogil
# What is pending in Cpu.exc_*, with the double-fault rules. On success the handler's pc is in Cpu.pc, mode and CPL are updated.
# False: shutdown (Cpu.exit is EXIT_SHUTDOWN).
cdef bint deliver_exception(Cpu* c, u64 pc) noexcept nogil
cdef bint deliver_irq(Cpu* c, u32 vector, u64 pc) noexcept nogil
cdef bint deliver_nmi(Cpu* c, u64 pc) noexcept nogil
# #DB as a trap: DR6 takes the causes in Cpu.dr6_pending, PEND_DEBUG is cleared.
cdef bint deliver_debug(Cpu* c, u64 pc) noexcept nogil

# RF is not kept in Cpu.eflags: it is set at one instruction count.
cdef inline bint rf_set(Cpu* c) noexcept nogil:
    """Is RF set for the instruction about to run? (between instructions)"""
    return c.rf_icount == c.icount_end - <u64>c.budget

# Debug register helpers
cdef inline bint code_breakpoints(Cpu* c) noexcept nogil:
    """Is an execution breakpoint enabled in DR7?"""
    cdef int i
    for i in range(4):
        if c.dr[7] >> (2 * i) & 3 and not c.dr[7] >> (16 + 4 * i) & 3:
            return 1
    return 0

# DR6 bits of the enabled breakpoints that [addr, addr + size) hits, of a kind: 0 execution, 1 data write, 2 I/O, 3 data access
cdef u32 breakpoint_hits(Cpu* c, u64 addr, u64 size, u32 kind) noexcept nogil
