"""The run loop (runloop.pyx), and what lockstep runs (lockstep.pyx) have in common with it."""
from pcemu._core.state cimport *

cdef enum:                  # why run_slice() came back, by the order of engine.REASONS
    RUN_BUDGET = 0
    RUN_DEADLINE = 1
    RUN_EXIT = 2
    RUN_HALTED = 3
    RUN_SHUTDOWN = 4
    RUN_ERROR = 5
    RUN_INTACK = 6          # an external interrupt is to be acknowledged by Python
    RUN_INIT = 7
    RUN_BREAKPOINT = 8      # a debugger's breakpoint
    RUN_EVENT = 9           # an exception or interrupt was delivered, and the caller wants to know
    RUN_WATCHPOINT = 10     # a debugger's watched memory was accessed

cdef enum:
    QUANTUM = 50000         # instructions between looks at the outside world: exit_request, the host's clock
    BARRAGE = 5000          # exceptions and interrupts delivered between them

cdef struct Mark:           # what had been when run() last looked around: a guest can fault for ever and retire nothing
    u64 events
    u64 icount
    u64 most                # events until run() has another look: BARRAGE, or 0 to come back after each
    bint timed              # it has: what has passed since was the guest's time alone
    bint held               # a debugger's step: INTR and NMI have to wait

cdef int run_slice(Cpu* c, u64 max_insns, Mark* mark) noexcept nogil     # c.pc is the guest pc before and after


cdef inline void run_ops(Cpu* c, Op* op) noexcept nogil:
    c.in_insn = 1
    while op is not NULL:
        op = op.fn(c, op)
    c.in_insn = 0


cdef inline void take_back(Cpu* c) noexcept nogil:
    """The op at fault_op and those after it in the block did not retire: give their count back; pc is the op's."""
    cdef u32 index = <u32>(c.fault_op - c.cur.ops)
    c.budget += c.cur.n_ops - index
    c.pc = c.r[R_PC] + c.fault_op.pcoff
    if not c.mode & M_CODE64:
        c.pc = <u32>c.pc


cdef inline void unset_jckey(Cpu* c) noexcept nogil:
    """Until tlb.set_jckey() no jump-cache entry matches: what looks there comes back to the run loop."""
    c.jckey = ~<u64>0


cdef inline u32 shadow_now(Cpu* c) noexcept nogil:
    """Between instructions: what of SHADOW_* holds for the next one."""
    return c.shadow if c.shadow_at == c.icount_end - <u64>c.budget else SHADOW_NONE
