"""The Cpu object, which with Clock, Memory and IoSpace is all that Python sees of the core.

Cpu.run() goes round runloop.run_slice(), which comes back, with the GIL released until then, for what needs Python.
"""
import os

from libc.stdlib cimport calloc, free

from pcemu._core.access cimport *
from pcemu._core cimport debug, modes, paging, tlb
from pcemu._core.clock cimport Clock
from pcemu._core.decode cimport add_handler, handler_name
from pcemu._core.interrupts cimport deliver_irq
from pcemu._core.jit cimport N_OUT, RETIRED, jit_init
from pcemu._core.latch cimport settle_ports
from pcemu._core.lockstep cimport lock_start
from pcemu._core.pcid cimport free_pcids
from pcemu._core.physmem cimport Memory
from pcemu._core.ports cimport IoSpace
from pcemu._core.runloop cimport *
from pcemu._core.simd cimport fp_enter, fp_leave
from pcemu._core.state_regs cimport get_reg, reset_cpu, set_reg
from pcemu._core.translate cimport lookup
from pcemu._core.undo cimport Lock, lock_free

include "gen/families.pxi"

register_all(add_handler)

# why Cpu.run() came back, by the order of runloop.RUN_*
REASONS = ("budget", "deadline", "exit_request", "halted", "shutdown", "error", "intack", "init", "breakpoint", "event",
           "watchpoint")
# ... and by the order of EXIT_* and jit.OUT_*
EXITS = ("none", "next", "fault", "alone", "halt", "shutdown", "error", "int")
OUTS = ("budget", "dropped", "not_translated", "not_compiled", "handler", "own_code")

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
        self.c.io = <void*>io.t
        self.c.pyobj = <void*>self
        self.c.clk = &clock.k
        clock.c = self.c
        memory.cpus.append(<size_t>self.c)
        self.c.rng = seed
        tlb.init_tlbs(self.c)
        for i, word in enumerate(model.feature_words()):
            self.c.feat[i] = word
        self.c.quantum = QUANTUM
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
            debug.forget(self.c)
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
        mark.timed = 0
        self.c.debugger.passing = held
        try:
            while True:
                if self.icount >= stop_at:
                    return "budget"
                with nogil:
                    fp_enter(self.c)
                    why = run_slice(self.c, stop_at - (self.c.icount_end - <u64>self.c.budget), &mark)
                    fp_leave(self.c)
                self.c.m.turns[why] += 1
                settle_ports(self.c)
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
            self.c.n_exits += 1

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

    def set_breakpoints(self, addrs):
        """Linear addresses at which run() returns 'breakpoint' before the instruction; they replace those set before.

        It does so at once where the CPU stands at one: step() goes past it.
        """
        self.between_runs("set_breakpoints")
        debug.set_breakpoints(self.c, set(addrs))

    def set_watches(self, list watches):
        """(linear address, bytes, kinds: 'r', 'w' or 'rw') of memory that run() returns 'watchpoint' for, after an access."""
        self.between_runs("set_watches")
        debug.set_watches(self.c, watches)

    def take_watch(self):
        """Index of the watch that was hit, forgotten by that; None without one. run() goes no further before."""
        cdef u32 hit = self.c.debugger.hit
        self.c.debugger.hit = 0
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
        cdef u32 shadow = shadow_now(self.c)
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
        if not lock_start(self.c):
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
        """Counters since the start. exit_*: why the run loop had to look for the next block; left_*: why compiled code was left;
        stop_*: why Python was come back to."""
        cdef Lock* k = <Lock*>self.c.lock
        cdef Mach* m = self.c.m
        exits = {f"exit_{EXITS[i]}": m.exits[i] for i in range(1, 8)}
        exits |= {f"left_{OUTS[i]}": m.unit_exits[i] for i in range(N_OUT)}
        exits |= {f"stop_{REASONS[i]}": m.turns[i] for i in range(len(REASONS))}
        found = {"lockstep_runs": k.n_runs, "lockstep_third_passes": k.n_third, "lockstep_compared": k.n_compared,
                 "lockstep_instructions": self.icount - k.began} if k is not NULL else {}
        return {**found, "interpreted": self.c.n_cold, "flushes": self.c.m.n_flush_all, "longest_flush_ns": self.c.m.flush_ns,
                "compiled": self.c.m.n_compiled, "compiled_retired": self.memory.m.calls[RETIRED] if self.memory.m.calls else 0,
                "compiled_instructions": self.c.m.n_compiled_insn,
                "compiled_bytes": m.n_compiled_bytes, "compile_ns": m.compile_ns, "code_stores": m.n_code_stores,
                "instructions": self.icount, "translations": self.c.n_trans, "translated_instructions": self.c.n_trans_insn,
                "translate_ns": m.translate_ns, "invalidated": m.n_invalidated, "lookups": self.c.n_lookup,
                "tlb_misses": self.c.n_tlb_fill + self.c.n_l2_hit, "tlb_fills": self.c.n_tlb_fill,
                "tlb_l2_hits": self.c.n_l2_hit, "tlb_flushes": self.c.n_flush, "looks": self.c.n_looks,
                "exits": self.c.n_exits, "single": self.c.n_single,
                "exceptions": self.c.n_exc, "interrupts": self.c.n_irq, "mode": self.c.mode, **exits}


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


globals().update(Cpu=CpuCore, Clock=Clock, Memory=Memory, IoSpace=IoSpace)
