"""The run loop: budget, interrupts, exceptions, and why handlers came back.

One turn: look at what is pending, find (or translate) the block at pc, run ops until one returns NULL, look at why.
All time is counted in instructions retired or read from the clock at known instructions, never from block shapes.
"""
from libc.stdint cimport INT64_MAX

from pcemu._core.access cimport *
from pcemu._core cimport blocks, tlb, vtime
from pcemu._core.debug cimport breakpoint_at
from pcemu._core.interrupts cimport breakpoint_hits, code_breakpoints, deliver_debug, deliver_exception, deliver_nmi, rf_set
from pcemu._core.jit cimport jit_mode
from pcemu._core.lockstep cimport lock_run
from pcemu._core.translate cimport lin_of, lookup

cdef enum:
    QUANTUM_LEAST = 500     # instructions, where they are slow
    QUANTUM_NS = 250000     # how long a quantum should last at most


cdef bint exec_breakpoint(Cpu* c, u64 pc) noexcept nogil:
    """An instruction breakpoint of DR0-3 at pc, RF clear: a fault before the instruction (SDM vol. 3, 17.3.1.1)."""
    cdef u32 hits
    if rf_set(c):
        return 0
    hits = breakpoint_hits(c, lin_of(c, pc), 1, 0)
    c.dr6_pending |= hits
    return hits != 0


cdef enum:                  # beside RUN_*, from the functions that are a part of a turn:
    GO_ON = -1              # no reason to come back
    AGAIN = -2              # a handler was entered: the next turn


cdef inline int ended(Cpu* c) noexcept nogil:
    """No handler could be entered: the processor shuts down, or a device failed on the way there."""
    return RUN_ERROR if c.exit == EXIT_CALLBACK else RUN_SHUTDOWN


cdef inline void fit_quantum(Cpu* c, u64 now, s64 ns) noexcept nogil:
    """A quantum has run out: the next one is as long as QUANTUM_NS will do for, going by this one. Some instructions take a
    thousand times as long as others, and whoever waits for a look waits for a quantum. It shrinks in steps, as it may have
    been the host that was busy with something else."""
    cdef s64 took = ns - c.look_ns
    cdef u64 fits
    if took > QUANTUM_NS:
        fits = (now - c.look_icount) * QUANTUM_NS // <u64>took
        if fits < c.quantum >> 3:
            fits = c.quantum >> 3
        if fits < QUANTUM_LEAST:
            fits = QUANTUM_LEAST
        if fits < c.quantum:
            c.quantum = fits
    elif c.quantum < QUANTUM and took < QUANTUM_NS // 2:
        c.quantum <<= 1
        if c.quantum > QUANTUM:
            c.quantum = QUANTUM


cdef int look_outside(Cpu* c, u64 stop_at, Mark* mark) noexcept nogil:
    """The outside world, once a quantum; then the next one begins. (The budget is ours alone, others set exit_request.)"""
    cdef u64 now, left
    cdef s64 ns
    c.leave_req = 0
    if c.debugger.hit:
        return RUN_WATCHPOINT
    if c.m.code_full:
        blocks.flush_all(c.m)
        tlb.bump_jc(c)
    now = c.icount_end - <u64>c.budget
    if load_acquire_u32(&c.exit_request):
        return RUN_EXIT
    ns = vtime.clock_ns(c)
    c.n_looks += 1
    c.toil = 0
    if not c.clk.icount:                         # (by the count of instructions the host's time plays no part)
        if c.budget <= 0 and mark.timed:
            fit_quantum(c, now, ns)
        mark.timed = 1
        c.look_icount = now
        c.look_ns = ns
    if ns >= c.clk.deadline:
        return RUN_DEADLINE
    if now >= stop_at:
        return RUN_BUDGET
    if c.n_exc + c.n_irq - mark.events > mark.most:
        if mark.most == 0:
            return RUN_EVENT
        mark.events = c.n_exc + c.n_irq
        if mark.icount == now:
            return RUN_EXIT                      # time counted in instructions stands still: let others have a look
        mark.icount = now
    left = stop_at - now
    if left > c.quantum:
        left = c.quantum
    if c.clk.icount and c.clk.deadline != INT64_MAX:
        ns = ((c.clk.deadline - ns) + ((<s64>1 << c.clk.shift) - 1)) >> c.clk.shift
        if <u64>ns < left:
            left = <u64>ns
    c.budget = <s64>left
    c.icount_end = now + left
    return GO_ON


cdef inline int serve_pending(Cpu* c, u32 shadow, bint held) noexcept nogil:
    """Of what is pending, the most urgent that nothing holds."""
    if c.pending & PEND_INIT:
        return RUN_INIT
    if c.pending & PEND_DEBUG and not shadow & SHADOW_SS:
        return AGAIN if deliver_debug(c, c.pc) else ended(c)
    if c.pending & PEND_NMI and not held and not c.nmi_blocked and not shadow & SHADOW_SS:
        c.pending &= ~<u32>PEND_NMI
        c.halted = 0
        return AGAIN if deliver_nmi(c, c.pc) else ended(c)
    if c.pending & PEND_INTR and c.eflags & F_IF and not shadow and not held:
        return RUN_INTACK
    return GO_ON


cdef inline int look_why(Cpu* c, bint stepping, bint compared) noexcept nogil:
    """Handlers came back: what for? (What a lockstep run left has been taken back.)"""
    c.m.exits[c.exit] += 1
    if c.exit == EXIT_PC:
        if ((c.eflags & F_TF) != 0 if c.step_after else stepping) and not shadow_now(c) & SHADOW_SS:     # (SDM vol. 3, 6.8.3)
            c.dr6_pending |= 1 << 14
            c.pending |= PEND_DEBUG
    elif c.exit == EXIT_SINGLE:
        if not compared:
            take_back(c)
        c.single = 1
        c.n_single += 1
    elif c.exit == EXIT_FAULT:
        if not compared:
            take_back(c)
        c.dr6_pending = 0
        c.pending &= ~<u32>PEND_DEBUG
        c.debugger.hit = 0
        if not deliver_exception(c, c.pc):
            return ended(c)
    elif c.exit == EXIT_INT:
        if not deliver_exception(c, c.pc):
            return ended(c)
    elif c.exit == EXIT_HALT:
        c.halted = 1
        if stepping:
            c.dr6_pending |= 1 << 14
            c.pending |= PEND_DEBUG
            c.halted = 0
    elif c.exit == EXIT_SHUTDOWN:
        return RUN_SHUTDOWN
    elif c.exit == EXIT_CALLBACK:
        return RUN_ERROR
    return GO_ON


cdef int run_slice(Cpu* c, u64 max_insns, Mark* mark) noexcept nogil:
    """Run until something needs Python."""
    cdef u64 stop_at = c.icount_end - <u64>c.budget + max_insns
    cdef Block* b
    cdef bint stepping, alone, compared
    cdef u32 shadow
    cdef int why
    c.link = NULL                                # pc and code may have changed since
    while True:
        if c.budget <= 0 or c.leave_req or c.n_exc + c.n_irq - mark.events > mark.most:
            why = look_outside(c, stop_at, mark)
            if why != GO_ON:
                return why
        shadow = shadow_now(c)
        if c.pending:
            why = serve_pending(c, shadow, mark.held)
            if why == AGAIN:
                continue
            if why != GO_ON:
                return why
        if c.halted:
            return RUN_HALTED
        stepping = (c.eflags & F_TF) != 0
        alone = stepping or c.single or (shadow and c.pending) or (c.dr[7] & 0xff and code_breakpoints(c))
        if alone and c.dr[7] & 0xff and not shadow & SHADOW_CODE and exec_breakpoint(c, c.pc):
            if not deliver_debug(c, c.pc):
                return ended(c)
            continue
        if c.debugger.n_breakpoints and not c.debugger.passing and breakpoint_at(c, lin_of(c, c.pc)):
            return RUN_BREAKPOINT
        c.exit = EXIT_NONE
        b = lookup(c, c.pc, not alone)
        if b is not NULL and b.n > c.budget:     # the quantum ends inside: one instruction at a time, to the exact count
            b = lookup(c, c.pc, 0)
        if b is NULL:
            c.single = 0
            if c.exit == EXIT_CALLBACK or not deliver_exception(c, c.pc):
                return ended(c)
            continue
        compared = c.lock is not NULL and b != &c.scratch and jit_mode(c) and lock_run(c)
        if UNLIKELY(not compared and b.n == N_DEAD):    # undone with what it had been translated from
            b = lookup(c, c.pc, 0)
            if b is NULL:
                continue
        if not compared:
            c.budget -= b.n
            c.r[R_PC] = c.pc
            c.cur = b
            c.link = NULL
            c.step_after = 0
            if b == &c.scratch:                  # a block of one may touch devices at once, and what they changed is looked at
                c.single = 1                     # before the next: it always comes back here
                unset_jckey(c)
                run_ops(c, b.ops)
                c.single = 0
                tlb.set_jckey(c)
            else:
                run_ops(c, b.ops)
        why = look_why(c, stepping, compared)
        if why != GO_ON:
            return why
