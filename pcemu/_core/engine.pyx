"""The run loop: translation, budget, interrupts, exceptions; and the Clock and Cpu objects that Python sees.

One turn: look at what is pending, find (or translate) the block at pc, run ops until one returns NULL, look at why.
All time is counted in instructions retired or read from the clock at known instructions, never from block shapes.
"""
import os

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from pcemu._core.access cimport *
from pcemu._core cimport blocks, mmu, modes, paging, physmem, tlb, vtime
from pcemu._core.debug cimport WATCH_READ, WATCH_WRITE, Debugger, Watch, breakpoint_at, dbg, stop_in_some_page
from pcemu._core.decode cimport DEC_MORE, add_handler, handler_name, decode, set_exit_op, set_limit_op
from pcemu._core.hooks cimport block_made
from pcemu._core.interrupts cimport breakpoint_hits, deliver_debug, deliver_exception, deliver_irq, deliver_nmi, rf_set
from pcemu._core.jit cimport RETIRED, jc_code, jit_init, jit_mode, set_warm_op
from pcemu._core.lockstep cimport lock_run, lock_start
from pcemu._core.pcid cimport free_pcids
from pcemu._core.physmem cimport Memory
from pcemu._core.ports cimport IoSpace
from pcemu._core.simd cimport fp_enter, fp_leave
from pcemu._core.state_regs cimport get_reg, reset_cpu, set_reg
from pcemu._core.undo cimport Lock, lock_free

include "gen/families.pxi"

register_all(add_handler)

cdef enum:
    MAX_OPS = 64            # of a block
    QUANTUM = 50000         # instructions between looks at exit_request and the host's clock
    BARRAGE = 20000         # exceptions and interrupts delivered between such looks

cdef s64 NEVER = 0x7fffffffffffffff
cdef u64 NO_KEY = ~<u64>0    # of no jump-cache entry


# ================================================================================================= translation

cdef inline u64 lin_of(Cpu* c, u64 pc) noexcept nogil:
    return pc if c.mode & M_CODE64 else <u32>(c.seg[CS].base + pc)


cdef inline bint beyond(Cpu* c, u64 pc, u32 n) noexcept nogil:
    """Do n bytes of code at pc reach beyond the code segment? Then #GP(0) is pending."""
    if c.mode & M_CODE64 or c.seg[CS].limit - pc >= n - 1:
        return 0
    set_exc_err(c, EXC_GP, 0)
    return 1


cdef Op* h_stop(Cpu* c, Op* op) noexcept nogil:
    """Stands before an instruction at whose place in some page there is a breakpoint. If it is this one: to the engine, which stops."""
    if UNLIKELY(c.n_stops and not c.skip_stop and breakpoint_at(c, lin_of(c, c.r[R_PC]))):
        c.budget += c.cur.n
        return leave(c, c.r[R_PC])
    return op[1].fn(c, op + 1)


cdef inline void set_stop_op(Op* op) noexcept nogil:
    memset(op, 0, sizeof(Op))
    op.fn = h_stop


cdef Block* translate_block(Cpu* c, u64 pc, u64 lin, u8* host, u32 max_insns) noexcept nogil:
    """Decode from lin (whose page lies at host) into a new block.

    NULL: a fault is pending, the arena is full (EXIT_NONE), or it must be a block that is not kept (EXIT_SINGLE).
    """
    cdef Mach* m = c.m
    cdef u32 off = lin & 4095
    cdef u64 addr = <u64>(host - m.ram) + off
    cdef Block* b = blocks.new_block(m, max_insns + 4)
    cdef bint stops = c.n_stops != 0
    cdef u32 n = 0, pos = 0, k
    cdef int length
    cdef Op* op
    cdef u8 buf[32]
    cdef u8* host2
    cdef PageInfo* pg = &m.pages[addr >> 12]
    cdef bint first = pg.bitmap == 0 and pg.smc == 0
    if b is NULL:
        c.exit = EXIT_NONE
        return NULL
    b.addr = addr
    b.mode = c.mode
    op = b.ops
    if stops and stop_in_some_page(c, off):
        if c.mode & M_LIM:
            set_limit_op(op)
            op += 1
        set_stop_op(op)
        op += 1
    elif jit_mode(c):
        set_warm_op(op)
        op += 1
    elif c.mode & M_LIM:
        set_limit_op(op)
        op += 1
    while True:
        if stops and n and stop_in_some_page(c, off + pos):
            break
        length = decode(c, c.mode, host + off + pos, 4096 - off - pos, pos, op)
        if length == DEC_MORE:
            if n:
                break
            # the first instruction crosses into the next page: a block of one
            k = 4096 - off
            memcpy(buf, host + off, k)
            memset(buf + k, 0, sizeof(buf) - k)
            if beyond(c, pc, k + 1) or not mmu.fetch_page(c, lin + k, &host2):
                return NULL
            if host2 is NULL:                       # the rest comes from a device: nothing to keep
                c.exit = EXIT_SINGLE
                return NULL
            memcpy(buf + k, host2, 15 - k)
            length = decode(c, c.mode, buf, 15, 0, op)
            if length < 0:
                length = 15
            if beyond(c, pc, length):
                return NULL
            b.cross = <u32>length - k if <u32>length > k else 0
            memcpy(b.tail, buf + k, b.cross)
            n = 1
            pos = length
            op += 1
            break
        n += 1
        pos += length
        if op.props & OP_END:
            op += 1
            break
        op += 1
        if n >= max_insns or off + pos >= 4096:
            break
    set_exit_op(op, pos)
    b.n = n
    b.n_ops = <u32>(op - b.ops)
    b.nbytes = pos
    c.n_trans += 1
    c.n_trans_insn += n
    pg.smc = SMC_PATIENCE
    if first:
        tlb.protect_code(c, addr & ~<u64>4095)
    return b


cdef u8* mmio_code(Cpu* c, u64 lin, u8* buf) noexcept nogil:
    """Code bytes from device memory (or nowhere): read through the devices into buf (16 bytes)."""
    cdef u64 pa
    cdef u32 n = 4096 - (lin & 4095)
    if n > 16:
        n = 16
    memset(buf, 0xff, 16)
    if not mmu.xlate(c, lin, ACC_EXEC, c.cpl, &pa):
        return NULL
    if not physmem.mach_read(c.m, c, pa, buf, n):
        return NULL
    return buf


cdef Block* mmio_block(Cpu* c, u64 pc, u64 lin) noexcept nogil:
    """Code outside RAM and ROM runs one uncached instruction at a time from the CPU's scratch block."""
    cdef Block* b = &c.scratch
    cdef u8 buf[32]
    cdef int length
    if mmio_code(c, lin, buf) is NULL:
        return NULL
    length = decode(c, c.mode, buf, 15, 0, c.scratch_ops)
    if length < 0:
        length = 15
    if beyond(c, pc, length):
        return NULL
    memset(b, 0, sizeof(Block))
    b.ops = c.scratch_ops
    b.addr = ~<u64>0 - 64
    b.mode = c.mode
    b.n = b.n_ops = 1
    b.nbytes = length
    set_exit_op(c.scratch_ops + 1, length)
    return b


cdef inline bint segment_ends(Cpu* c, u64 pc, u64 lin) noexcept nogil:
    """Does the code segment end inside the page? Its instructions there are looked at one by one, against the limit."""
    return not c.mode & M_CODE64 and c.seg[CS].limit - pc < 4095 - (lin & 4095)


cdef Block* single_block(Cpu* c, u64 pc, u64 lin, u8* host) noexcept nogil:
    """The one instruction at pc, uncached, in the CPU's scratch block."""
    cdef Block* b = &c.scratch
    cdef u32 off = lin & 4095, k
    cdef int length
    cdef u8 buf[32]
    cdef u8* host2
    memset(b, 0, sizeof(Block))
    b.ops = c.scratch_ops
    b.addr = <u64>(host - c.m.ram) + off
    b.mode = c.mode
    b.n = b.n_ops = 1
    length = decode(c, c.mode, host + off, 4096 - off, 0, c.scratch_ops)
    if length == DEC_MORE:
        k = 4096 - off
        memcpy(buf, host + off, k)
        memset(buf + k, 0, sizeof(buf) - k)
        if beyond(c, pc, k + 1) or not mmu.fetch_page(c, lin + k, &host2):
            return NULL
        if host2 is NULL:
            host2 = mmio_code(c, lin + k, buf + 16)
            if host2 is NULL:
                return NULL
        memcpy(buf + k, host2, 15 - k)
        length = decode(c, c.mode, buf, 15, 0, c.scratch_ops)
        if length < 0:
            length = 15
        b.cross = <u32>length - k if <u32>length > k else 0
    if beyond(c, pc, length):
        return NULL
    b.nbytes = length
    set_exit_op(c.scratch_ops + 1, length)
    return b


cdef Block* lookup(Cpu* c, u64 pc, bint cacheable) noexcept nogil:
    """The block at pc in the present mode, none of it beyond CS's limit. NULL: fault pending."""
    cdef Block* b = any_block(c, pc, cacheable)
    if c.mode & M_LIM and b is not NULL and UNLIKELY(pc + b.nbytes - 1 > c.seg[CS].limit):
        if b != &c.scratch:
            b = any_block(c, pc, 0)
            if b is NULL:
                return NULL
        if pc + b.nbytes - 1 > c.seg[CS].limit:
            set_exc_err(c, EXC_GP, 0)
            return NULL
    return b


cdef Block* any_block(Cpu* c, u64 pc, bint cacheable) noexcept nogil:
    cdef u64 lin = lin_of(c, pc)
    cdef JcEntry* e = &c.jc[(lin ^ (lin >> 12)) & JC_MASK]
    cdef u8* host
    cdef u8* host2
    cdef Block* b
    cdef u64 addr
    c.n_lookup += 1
    if not c.mode & M_CODE64 and UNLIKELY(pc > c.seg[CS].limit):
        set_exc_err(c, EXC_GP, 0)
        return NULL
    if not mmu.fetch_page(c, lin, &host):
        return NULL
    if host is NULL:
        return mmio_block(c, pc, lin)
    if not cacheable or segment_ends(c, pc, lin):
        return single_block(c, pc, lin, host)
    addr = <u64>(host - c.m.ram) + (lin & 4095)
    b = blocks.find_block(c.m, addr, c.mode)
    if b is not NULL and UNLIKELY(b.cross):
        if beyond(c, pc, b.nbytes) or not mmu.fetch_page(c, (lin & ~<u64>4095) + 4096, &host2):
            return NULL
        if host2 is NULL or not same(b.tail, host2, b.cross):
            return single_block(c, pc, lin, host)
        if b.entry is NULL:
            return b                            # (compiled code looks itself)
    if b is NULL:
        b = translate_block(c, pc, lin, host, MAX_OPS)
        if b is NULL:
            if c.exit == EXIT_SINGLE:
                c.exit = EXIT_NONE
                return single_block(c, pc, lin, host)
            if c.exit != EXIT_NONE:
                return NULL
            blocks.flush_all(c.m)
            tlb.bump_jc(c)
            c.link = NULL
            b = translate_block(c, pc, lin, host, MAX_OPS)
            if b is NULL:
                return single_block(c, pc, lin, host) if c.exit == EXIT_SINGLE else NULL
        blocks.commit_block(c.m, b, b.n_ops + 1)
        if UNLIKELY(c.m.log_code & 1):
            block_made(c, b, pc, 0)
        if b.cross:
            return b
    e.lin = lin
    e.key = c.jckey
    e.block = b
    jc_code(c, e)
    # a chain inside the page
    if c.link is not NULL:
        if c.cur is not NULL and c.cur.n != N_DEAD and not c.cur.cross and (c.cur.addr ^ addr) >> 12 == 0 and c.cur.mode == b.mode:
            c.link[0] = b
        c.link = NULL
    return b


cdef inline bint same(u8* a, u8* b, u32 n) noexcept nogil:
    cdef u32 i
    for i in range(n):
        if a[i] != b[i]:
            return 0
    return 1


# ==================================================================================================== running

cdef inline void run_ops(Cpu* c, Op* op) noexcept nogil:
    c.in_insn = 1
    while op is not NULL:
        op = op.fn(c, op)
    c.in_insn = 0


cdef void take_back(Cpu* c) noexcept nogil:
    """The op at fault_op and those after it in the block did not retire: give their count back; pc is the op's."""
    cdef u32 index = <u32>(c.fault_op - c.cur.ops)
    c.budget += c.cur.n_ops - index
    c.pc = c.r[R_PC] + c.fault_op.pcoff
    if not c.mode & M_CODE64:
        c.pc = <u32>c.pc


cdef bint exec_breakpoint(Cpu* c, u64 pc) noexcept nogil:
    """An instruction breakpoint of DR0-3 at pc, RF clear: a fault before the instruction (SDM vol. 3, 17.3.1.1)."""
    cdef u32 hits
    if rf_set(c):
        return 0
    hits = breakpoint_hits(c, lin_of(c, pc), 1, 0)
    c.dr6_pending |= hits
    return hits != 0


cdef enum:
    RUN_BUDGET = 0
    RUN_DEADLINE = 1
    RUN_EXIT = 2
    RUN_HALTED = 3
    RUN_SHUTDOWN = 4
    RUN_ERROR = 5
    RUN_INTACK = 6          # an external interrupt is to be acknowledged by Python
    RUN_INIT = 7
    RUN_STOP = 8            # a debugger's breakpoint
    RUN_EVENT = 9           # an exception or interrupt was delivered, and the caller wants to know
    RUN_WATCH = 10          # a debugger's watched memory was accessed

cdef struct Mark:           # what had been when run() last looked around: a guest can fault for ever and retire nothing
    u64 events
    u64 icount
    u64 most                # events until run() has another look: BARRAGE, or 0 to come back after each
    bint held               # a debugger's step: INTR and NMI have to wait


cdef inline int ended(Cpu* c) noexcept nogil:
    """No handler could be entered: the processor shuts down, or a device failed on the way there."""
    return RUN_ERROR if c.exit == EXIT_CALLBACK else RUN_SHUTDOWN


cdef int run_slice(Cpu* c, u64 max_insns, Mark* mark) noexcept nogil:
    """Run until something needs Python. c.pc is the guest pc between turns."""
    cdef u64 stop_at = c.icount_end - <u64>c.budget + max_insns
    cdef u64 now, left
    cdef s64 ns
    cdef Block* b
    cdef bint stepping, alone, compared
    cdef u32 shadow
    c.link = NULL                                # pc and code may have changed since
    while True:
        # ---- the outside world, once a quantum (the budget is ours alone; others set exit_request)
        if c.budget <= 0 or c.leave_req or c.n_exc + c.n_irq - mark.events > mark.most:
            c.leave_req = 0
            if dbg(c).hit:
                return RUN_WATCH
            if c.m.code_full:
                blocks.flush_all(c.m)
                tlb.bump_jc(c)
            now = c.icount_end - <u64>c.budget
            if load_acquire_u32(&c.exit_request):
                return RUN_EXIT
            ns = vtime.clock_ns(c)
            if ns >= c.clk.deadline:
                return RUN_DEADLINE
            if now >= stop_at:
                return RUN_BUDGET
            if c.n_exc + c.n_irq - mark.events > mark.most:
                if mark.most == 0:
                    return RUN_EVENT
                mark.events = c.n_exc + c.n_irq
                if mark.icount == now:
                    return RUN_EXIT              # time counted in instructions stands still: let others have a look
                mark.icount = now
            left = stop_at - now
            if left > QUANTUM:
                left = QUANTUM
            if c.clk.icount and c.clk.deadline != NEVER:
                ns = ((c.clk.deadline - ns) + ((<s64>1 << c.clk.shift) - 1)) >> c.clk.shift
                if <u64>ns < left:
                    left = <u64>ns
            c.budget = <s64>left
            c.icount_end = now + left
        # ---- what is pending
        shadow = c.shadow if c.shadow_at == c.icount_end - <u64>c.budget else SHADOW_NONE
        if c.pending:
            if c.pending & PEND_INIT:
                return RUN_INIT
            if c.pending & PEND_DEBUG and not shadow & SHADOW_SS:
                if not deliver_debug(c, c.pc):
                    return ended(c)
                continue
            if c.pending & PEND_NMI and not mark.held and not c.nmi_blocked and not shadow & SHADOW_SS:
                c.pending &= ~<u32>PEND_NMI
                c.halted = 0
                if not deliver_nmi(c, c.pc):
                    return ended(c)
                continue
            if c.pending & PEND_INTR and c.eflags & F_IF and not shadow and not mark.held:
                return RUN_INTACK
        if c.halted:
            return RUN_HALTED
        # ---- run
        stepping = (c.eflags & F_TF) != 0
        alone = stepping or c.single or (shadow and c.pending) or (c.dr[7] & 0xff and code_bp(c))
        if alone:
            if c.dr[7] & 0xff and not shadow & SHADOW_CODE and exec_breakpoint(c, c.pc):
                if not deliver_debug(c, c.pc):
                    return ended(c)
                continue
        if c.n_stops and not c.skip_stop and breakpoint_at(c, lin_of(c, c.pc)):
            return RUN_STOP
        c.exit = EXIT_NONE
        b = lookup(c, c.pc, not alone)
        if b is NULL:
            c.single = 0
            if c.exit == EXIT_CALLBACK:
                return RUN_ERROR
            if not deliver_exception(c, c.pc):
                return ended(c)
            continue
        if b.n > c.budget:                       # the quantum ends inside: one instruction at a time, to the exact count
            b = lookup(c, c.pc, 0)
            if b is NULL:
                c.single = 0
                if c.exit == EXIT_CALLBACK:
                    return RUN_ERROR
                if not deliver_exception(c, c.pc):
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
        if UNLIKELY(compared):
            pass
        elif b == &c.scratch:                    # a block of one may touch devices at once,
            c.single = 1
            c.jckey = NO_KEY                     # and what they changed is looked at before the next: it always comes back here
            run_ops(c, b.ops)
            c.single = 0
            tlb.set_jckey(c)
        else:
            run_ops(c, b.ops)
        # ---- why
        if c.exit == EXIT_PC:
            if ((c.eflags & F_TF) != 0 if c.step_after else stepping) and not ss_shadow(c):
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
            dbg(c).hit = 0
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


cdef inline bint ss_shadow(Cpu* c) noexcept nogil:
    """After MOV SS and POP SS the single-step trap is left out."""
    return c.shadow & SHADOW_SS and c.shadow_at == c.icount_end - <u64>c.budget


cdef inline bint code_bp(Cpu* c) noexcept nogil:
    """Is an execution breakpoint enabled in DR7?"""
    cdef int i
    for i in range(4):
        if c.dr[7] >> (2 * i) & 3 and not c.dr[7] >> (16 + 4 * i) & 3:
            return 1
    return 0


# ================================================================================================ Python's view

cdef class Clock:
    """Virtual time in ns: host time, or instructions << shift (-icount). The time-stamp counter runs at 1 GHz."""
    cdef ClockState k
    cdef Cpu* c
    cdef readonly bint sleep

    def __init__(self, icount_shift=None, bint sleep=True):
        memset(&self.k, 0, sizeof(self.k))
        self.k.deadline = NEVER
        self.k.quick = steady_tsc()
        self.sleep = sleep
        if icount_shift is not None:
            if not 0 <= icount_shift <= 10:
                raise ValueError("icount shift must be 0..10")
            self.k.icount = 1
            self.k.shift = icount_shift

    @property
    def icount(self):
        """Is time counted in instructions?"""
        return bool(self.k.icount)

    def now(self):
        """Virtual ns; inside a device callback, of the very instruction that called."""
        cdef ClockState* k = &self.k
        if k.icount:
            if self.c is NULL:
                return k.warp
            return <s64>((self.c.icount_end - <u64>self.c.budget - self.c.in_insn) << k.shift) + k.warp
        if not k.running:
            return k.frozen
        if self.c is NULL or not self.c.in_callback:
            return vtime.host_ns() - k.offset
        return vtime.guest_ns(k, vtime.host_ns() - k.offset)    # a device is asked for it

    @property
    def shift(self):
        """An instruction takes 2**shift virtual ns. It changes between two run()s, and the time that it is stays what it is."""
        return self.k.shift

    @shift.setter
    def shift(self, u32 shift):
        cdef s64 now = self.now()
        if not self.k.icount or shift > 10:
            raise ValueError("shift must be 0..10, of a clock that counts instructions")
        if self.c is not NULL and self.c.running:
            raise RuntimeError("Clock.shift changed while the CPU runs")
        self.k.shift = shift
        self.k.warp += now - self.now()

    def start(self):
        """Let host-driven time run."""
        if not self.k.running:
            self.k.offset = vtime.host_ns() - self.k.frozen
            self.k.running = 1

    def stop(self):
        """Freeze host-driven time (instruction-count time stands when no instruction runs)."""
        if self.k.running:
            self.k.frozen = vtime.host_ns() - self.k.offset
            self.k.running = 0

    def advance_to(self, s64 ns):
        """Jump forward to ns (a halted machine, a stepped clock); never backward."""
        cdef s64 d = ns - self.now()
        if d > 0:
            if self.k.icount:
                self.k.warp += d
            elif self.k.running:
                self.k.offset -= d
            else:
                self.k.frozen += d

    def hold_back(self, s64 ns):
        """Host-driven time: pretend the last ns did not pass (a starved host must not look like a lost second).

        No further back than what the guest has read: its clocks never run backward.
        """
        cdef s64 most
        if self.k.running:
            most = vtime.host_ns() - self.k.offset - self.k.seen
            if ns > most:
                ns = most
            if ns > 0:
                self.k.offset += ns

    @property
    def deadline(self):
        """ns of the next timer: the core leaves its run loop when it is reached (2**63 - 1: none)."""
        return self.k.deadline

    @deadline.setter
    def deadline(self, s64 ns):
        if ns < self.k.deadline and self.c is not NULL:
            self.c.leave_req = 1
        self.k.deadline = ns


REASONS = ("budget", "deadline", "exit_request", "halted", "shutdown", "error", "intack", "init", "breakpoint", "event",
           "watchpoint")

cdef class CpuCore:
    """One x86 CPU. Its state is a C struct; registers are read and set by the names of state_regs."""
    cdef Cpu* c
    cdef readonly Memory memory
    cdef readonly IoSpace io
    cdef readonly Clock clock
    cdef readonly object model
    cdef public object intack
    cdef public object cr8_hook
    cdef public object apicbase_hook
    cdef public object tsc_deadline_hook
    cdef public object init_hook
    cdef public object msr_hook
    cdef public object ferr_hook    # ferr_hook(level): the FERR# pin, for IRQ 13 (CR0.NE = 0)
    cdef public object code_hook        # hears of blocks (hooks.block_made()), as log_code() says
    cdef public object lockstep_facts   # of the run in which lockstep has found a difference
    cdef object __weakref__

    def __cinit__(self):
        self.c = <Cpu*>aligned_calloc(4096, sizeof(Cpu))
        if self.c is NULL:
            raise MemoryError()

    def __init__(self, Memory memory, IoSpace io, Clock clock, model, u64 seed=0):
        self.memory = memory
        self.io = io
        self.clock = clock
        self.model = model
        self.c.m = memory.m
        self.c.io = <void*>io
        self.c.pyobj = <void*>self
        self.c.clk = &clock.k
        clock.c = self.c
        memory.cpus.append(<size_t>self.c)
        self.c.rng = seed
        tlb.init_tlbs(self.c)
        for i, word in enumerate(model.feature_words()):
            self.c.feat[i] = word
        self.load_cpuid()
        self.reset()
        forced = os.environ.get("PCEMU_JIT", "")        # whole test suites on either engine: executions before compiling
        if forced.isdigit():
            self.enable_jit(heat=int(forced))
        if os.environ.get("PCEMU_LOCKSTEP", "") == "1":
            self.lockstep()

    def __dealloc__(self):
        if self.c is not NULL:
            if self.memory is not None and self.memory.cpus is not None and <size_t>self.c in self.memory.cpus:
                self.memory.cpus.remove(<size_t>self.c)
            if self.clock is not None and self.clock.c == self.c:
                self.clock.c = NULL
            free(self.c.cpuid_tab)
            free_pcids(self.c)
            free(dbg(self.c).stops)
            free(dbg(self.c).watch)
            lock_free(self.c)
            aligned_free(self.c)

    def load_cpuid(self):
        """Copy the model's CPUID leaves into the table that the CPUID handler searches."""
        cdef list leaves = self.model.cpuid_table()
        cdef u32 n = len(leaves), i, j
        free(self.c.cpuid_tab)
        self.c.cpuid_tab = <u32*>calloc(6 * n + 6, sizeof(u32))
        if self.c.cpuid_tab is NULL:
            raise MemoryError()
        for i in range(n):
            for j in range(6):
                self.c.cpuid_tab[6 * i + j] = leaves[i][j]
        self.c.n_cpuid = n
        self.c.phys_mask = (<u64>1 << self.model.phys_bits) - 1

    def reset(self):
        """Power-on state (SDM vol. 3, table 9-1)."""
        reset_cpu(self.c, self.model)
        self.c.cur = NULL
        self.c.link = NULL
        self.c.pending = 0
        self.c.dr6_pending = 0
        self.c.shadow = 0
        self.c.single = 0
        self.c.halted = 0
        self.c.nmi_blocked = 0
        modes.update_mode(self.c)
        tlb.flush_tlb(self.c, True)
        self.c.leave_req = 1

    # ------------------------------------------------------------------------------------------- running

    def run(self, u64 max_insns=<u64>1 << 62, bint events=False, bint held=False):
        """Run until something happens; returns one of REASONS. An exception of a device is raised here.

        With `events` it also comes back, with 'event', when an interrupt or exception has been delivered and the first
        instruction of its handler is next. `held`: as a debugger steps, past breakpoints, interrupts and NMIs waiting.
        """
        cdef int why
        cdef u32 vector
        cdef Mark mark
        if self.c.in_callback or self.c.running:
            raise RuntimeError("Cpu.run() called from inside a device callback")
        cdef u64 stop_at = self.icount + max_insns
        self.c.running = 1
        mark.events = self.c.n_exc + self.c.n_irq
        mark.icount = ~<u64>0
        mark.most = 0 if events else BARRAGE
        mark.held = held
        self.c.skip_stop = held
        try:
            while True:
                if self.icount >= stop_at:
                    return "budget"
                with nogil:
                    fp_enter(self.c)
                    why = run_slice(self.c, stop_at - (self.c.icount_end - <u64>self.c.budget), &mark)
                    fp_leave(self.c)
                if why == RUN_EXIT:
                    store_release_u32(&self.c.exit_request, 0)
                    self.settle()
                    return "exit_request"
                if why == RUN_INTACK:
                    # the INTA cycle: the 8259 or the local APIC names the vector; a spurious end is theirs to report
                    v = self.intack() if self.intack is not None else 0xff
                    if v < 0:
                        self.c.pending &= ~<u32>PEND_INTR
                        continue
                    vector = v & 0xff
                    self.c.halted = 0
                    if not deliver_irq(self.c, vector, self.c.pc):
                        self.settle()
                        if self.c.exit == EXIT_CALLBACK:
                            self.memory.reraise()
                        return "shutdown"
                    continue
                if why == RUN_INIT:
                    self.c.pending &= ~<u32>PEND_INIT
                    if self.init_hook is not None:
                        self.init_hook()
                    else:
                        self.init()
                    continue
                self.settle()
                if why == RUN_ERROR:
                    self.memory.reraise()
                return REASONS[why]
        finally:
            self.c.running = 0

    cdef void settle(self):
        """End the quantum: the unused budget goes back, so that icount_end is the count."""
        self.c.icount_end -= <u64>self.c.budget
        self.c.budget = 0

    def step(self):
        """One instruction, or the delivery of the exception that it raises."""
        return self.run(1, True, True)

    def init(self):
        """INIT: as reset, but TSC, MSRs, caches and FPU state stay (SDM vol. 3, table 9-1)."""
        self.reset()

    def request_exit(self):
        """Ask run() to return soon; callable from any thread, and from device callbacks (then: after this instruction)."""
        store_release_u32(&self.c.exit_request, 1)
        if self.c.in_callback:
            self.c.leave_req = 1
            self.c.leave_now = 1

    def set_intr(self, bint level):
        """The INTR pin."""
        if level:
            self.c.pending |= PEND_INTR
            self.c.leave_req = 1
        else:
            self.c.pending &= ~<u32>PEND_INTR

    def set_nmi(self):
        self.c.pending |= PEND_NMI
        self.c.leave_req = 1

    def set_init(self):
        self.c.pending |= PEND_INIT
        self.c.leave_req = 1

    def set_a20(self, bint on):
        """The A20 gate masks physical addresses when a translation is filled; a change flushes."""
        cdef u64 mask = ~<u64>0 if on else ~<u64>(1 << 20)
        if mask != self.c.a20_mask:
            self.c.a20_mask = mask
            tlb.flush_tlb(self.c, True)
            self.c.leave_req = 1

    def set_stops(self, addrs):
        """Linear addresses at which run() returns 'breakpoint' before the instruction; they replace those set before.

        It does so at once where the CPU stands at one: step() goes past it.
        """
        cdef set new = set(addrs)
        cdef set old = {dbg(self.c).stops[i] for i in range(self.c.n_stops)}
        cdef Debugger* d = dbg(self.c)
        cdef u64* changed
        cdef u64* stops
        cdef u32 n = 0
        self.between_runs("set_stops")
        if new == old:
            return
        stops = <u64*>calloc(len(new) + 1, sizeof(u64))
        changed = <u64*>calloc(len(new ^ old), sizeof(u64))
        try:
            if stops is NULL or changed is NULL:
                raise MemoryError()
            for n, addr in enumerate(new):
                stops[n] = addr
            for n, addr in enumerate(new ^ old):
                changed[n] = addr
            blocks.kill_at(self.memory.m, changed, <u32>len(new ^ old))
            d.stops, stops = stops, d.stops
            self.c.n_stops = <u32>len(new)
            memset(d.filter, 0, sizeof(d.filter))
            for addr in new:
                d.filter[(addr >> 6) & 15] |= <u64>1 << (addr & 63)
        finally:
            free(stops)
            free(changed)

    def set_watches(self, list watches):
        """(linear address, bytes, kinds: 'r', 'w' or 'rw') of memory that run() returns 'watchpoint' for, after an access."""
        cdef Debugger* d = dbg(self.c)
        cdef Watch* watch
        self.between_runs("set_watches")
        watch = <Watch*>calloc(len(watches) + 1, sizeof(Watch))
        if watch is NULL:
            raise MemoryError()
        try:
            for i, (addr, size, kinds) in enumerate(watches):
                watch[i].addr = addr
                watch[i].size = size
                watch[i].kind = (WATCH_READ if "r" in kinds else 0) | (WATCH_WRITE if "w" in kinds else 0)
        except BaseException:
            free(watch)
            raise
        free(d.watch)
        d.watch = watch
        d.n_watch = <u32>len(watches)
        d.hit = 0
        tlb.flush_tlb(self.c, True)

    def take_watch(self):
        """Index of the watch that was hit, forgotten by that; None without one. run() goes no further before."""
        cdef u32 hit = dbg(self.c).hit
        dbg(self.c).hit = 0
        return hit - 1 if hit else None

    cdef between_runs(self, str what):
        if self.c.running:
            raise RuntimeError(f"Cpu.{what}() while the CPU runs")

    @property
    def a20(self):
        return bool(self.c.a20_mask >> 20 & 1)

    @property
    def halted(self):
        return bool(self.c.halted)

    @halted.setter
    def halted(self, bint v):
        self.c.halted = v

    @property
    def intr(self):
        """Is the INTR pin raised?"""
        return bool(self.c.pending & PEND_INTR)

    @property
    def runnable(self):
        """Would run() do something now: not halted, or an event that ends the halt is pending."""
        return (not self.c.halted or self.c.pending & (PEND_NMI | PEND_INIT | PEND_DEBUG)
                or (self.c.pending & PEND_INTR and self.c.eflags & F_IF))

    @property
    def event_due(self):
        """Does an interrupt or a trap come before the next instruction?"""
        cdef u32 shadow = self.c.shadow if self.c.shadow_at == self.icount else SHADOW_NONE
        cdef u32 pending = self.c.pending
        if pending & PEND_INIT:
            return True
        if shadow & SHADOW_SS:
            return False
        return bool(pending & PEND_DEBUG or pending & PEND_NMI and not self.c.nmi_blocked
                    or pending & PEND_INTR and self.c.eflags & F_IF and not shadow)

    @property
    def icount(self):
        """Instructions retired; inside a callback, before the one that called."""
        return self.c.icount_end - <u64>self.c.budget - self.c.in_insn

    @property
    def apicbase(self):
        return self.c.apic_base

    @apicbase.setter
    def apicbase(self, u64 v):
        self.c.apic_base = v

    @property
    def long_mode(self):
        return bool(self.c.efer & EFER_LMA)

    @property
    def code_bits(self):
        """16, 32 or 64: the default size of the code that runs now."""
        return (16, 32, 64, 64)[self.c.mode & M_CODE_MASK]

    # ------------------------------------------------------------------------------------------ registers

    def get(self, str name):
        """A register by its gdb/QMP name (state_regs lists them); KeyError otherwise."""
        return get_reg(self.c, name)

    def set(self, str name, value):
        """Set a register; caches that depend on it (mode, TLB) follow."""
        set_reg(self.c, name, value)

    # --------------------------------------------------------------------------------- debug memory access

    def translate(self, u64 va):
        """Physical address of a linear address, or None; no side effects."""
        cdef u64 pa
        return pa if paging.translate(self.c, va, &pa) else None

    def read_virt(self, u64 va, Py_ssize_t n):
        """Bytes at a linear address (RAM and ROM; devices are read); ValueError where nothing is mapped."""
        out = bytearray()
        while n > 0:
            pa = self.translate(va)
            if pa is None:
                raise ValueError(f"Cannot access memory at {va:#x}")
            k = min(<u64>n, 4096 - (va & 4095))
            out += self.memory.read(pa, k)
            va += k
            n -= k
        return bytes(out)

    def write_virt(self, u64 va, bytes data):
        pos = 0
        while pos < len(data):
            pa = self.translate(va + pos)
            if pa is None:
                raise ValueError(f"Cannot access memory at {va + pos:#x}")
            k = min(len(data) - pos, 4096 - ((va + pos) & 4095))
            self.memory.write(pa, data[pos:pos + k], debug=True)
            pos += k

    def enable_jit(self, u64 size=<u64>32 << 20, u32 heat=0):
        """Compile hot blocks for the host, into `size` bytes; heat: executions before that (0: as measured best).

        False where it cannot be done: another processor than x86-64, no executable memory, or PCEMU_JIT=off in the
        environment. Before the first run().
        """
        cdef Mach* m = self.memory.m
        if os.environ.get("PCEMU_JIT", "") == "off":
            return False
        if m.code_rx is NULL and not jit_init(m, size):
            return False
        if heat:
            m.heat = heat
        m.code_off = 0
        self.memory.drop_code()
        return True

    @property
    def jit(self):
        """Are hot blocks compiled? Once enable_jit() has found room for them this may change at any time, in a device's callback too:
        every block is dropped before the next one. The guest does not notice."""
        return self.memory.m.code_rx is not NULL and not self.memory.m.code_off

    @jit.setter
    def jit(self, bint on):
        cdef Mach* m = self.memory.m
        if on and m.code_rx is NULL:
            raise ValueError("jit: enable_jit() comes first")
        if self.c.lock is not NULL and not on:
            raise ValueError("jit: lockstep has nothing to compare without")
        if on == m.code_off:
            m.code_off = not on
            m.code_full = 1             # the run loop drops the blocks
            self.c.leave_req = 1

    def lockstep(self, bint on=True, u64 size=<u64>32 << 20, u32 inject=0):
        """Compare compiled code with the handlers as it runs (lockstep.pyx); every block is compiled at its first execution.

        run() raises lockstep.LockstepDifference where they do not agree. False where nothing is compiled. Not while it runs.
        inject: a class of isa/emit_table.py whose emitters are to make a mistake, to see that it is found.
        """
        self.memory.m.inject = inject
        if not on:
            lock_free(self.c)
            return True
        if not self.enable_jit(size):
            return False
        if not lock_start(self.c, lookup):
            raise MemoryError("no memory for lockstep runs")
        tlb.flush_tlb(self.c, True)
        return True

    def log_code(self, bint translated, bint compiled):
        """Of which blocks code_hook is to hear: of those that are translated, of those that are compiled."""
        self.c.m.log_code = translated | compiled << 1

    def block_ops(self, u64 pc):
        """(pc, bytes long, handler) of each op of the block at pc in the present mode, decoded if need be; [] if that faults."""
        cdef Block* b = lookup(self.c, pc, 1)
        cdef Op* op
        if b is NULL:
            return []
        found = []
        for i in range(b.n):
            op = &b.ops[b.n_ops - b.n + i]
            found.append((pc + op.pcoff, op.length, handler_name(<int>(op.jit >> 48))))
        return found

    def compiled_code(self):
        """(address, bytes) of all host code behind the thunks, for disassembly."""
        cdef Mach* m = self.memory.m
        if m.code_rx is NULL:
            return 0, b""
        return <size_t>(m.code_rx + m.code_base), (<char*>(m.code_rw + m.code_base))[:m.code_used - m.code_base]

    def handler_calls(self):
        """How often compiled code called each handler (name: count), the most frequent first."""
        cdef Mach* m = self.memory.m
        if m.calls is NULL:
            return {}
        found = [(m.calls[i], handler_name(i)) for i in range(RETIRED) if m.calls[i]]
        return {name: count for count, name in sorted(found, reverse=True)}

    def stats(self):
        """Counters since the start."""
        cdef Lock* k = <Lock*>self.c.lock
        found = {"lockstep_runs": k.n_runs, "lockstep_third_passes": k.n_third, "lockstep_compared": k.n_compared,
                 "lockstep_instructions": self.icount - k.began} if k is not NULL else {}
        return {**found, "interpreted": self.c.n_cold, "flushes": self.c.m.n_flush_all, "longest_flush_ns": self.c.m.flush_ns,
                "compiled": self.c.m.n_compiled, "compiled_retired": self.memory.m.calls[RETIRED] if self.memory.m.calls else 0,
                "compiled_instructions": self.c.m.n_compiled_insn,
                "compiled_bytes": self.c.m.n_compiled_bytes, "compile_ns": self.c.m.compile_ns,
                "instructions": self.icount, "translations": self.c.n_trans, "translated_instructions": self.c.n_trans_insn,
                "lookups": self.c.n_lookup, "tlb_fills": self.c.n_tlb_fill, "tlb_l2_hits": self.c.n_l2_hit,
                "tlb_flushes": self.c.n_flush,
                "single": self.c.n_single, "exceptions": self.c.n_exc, "interrupts": self.c.n_irq, "mode": self.c.mode}


cdef extern from *:
    """
    #include <stdlib.h>
    static void *pcemu_aligned_calloc(size_t align, size_t size)
    {
        void *p = NULL;
        if (posix_memalign(&p, align, (size + align - 1) & ~(align - 1))) return NULL;
        memset(p, 0, size);
        return p;
    }
    """
    void* aligned_calloc "pcemu_aligned_calloc"(size_t align, size_t size)
    void aligned_free "free"(void* p)


globals().update(Cpu=CpuCore, Memory=Memory, IoSpace=IoSpace)
