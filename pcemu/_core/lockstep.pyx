"""Lockstep: what compiled code does is compared with what the handlers do, run by run.

A run is some hundred instructions from where the engine would enter a block. It is made by handlers first, which finds out
which pages it writes; undone; made by compiled code; and the two outcomes are compared: every register, with the flags
resolved, every byte of every page that either has written, the fault or other reason for the end, the pc and the number of
retired instructions. Compiled code ends where a unit does not fit into the budget, so its end may be another one than the
handlers'; then the run is undone once more and made by handlers to the very instruction where compiled code had ended.

Devices take no part. A run ends before an instruction that calls one, as it does before an access to a device in the middle of
a block: that instruction runs alone, between two runs, and is not compared. Clocks are read in the first pass, and the others
get the same readings; random numbers come from a state that is undone with the rest. Interrupts are looked at between runs.

What may be written is known because the write TLB is empty when a run begins: the first store to a page goes by the slow path,
which keeps a copy of the page (undo.pyx). Compiled code then finds those pages in the TLB, so its own stores are tried.
"""
import sys

from libc.string cimport memcmp, memcpy

from pcemu._core.access cimport *
from pcemu._core.decode cimport handler_name
from pcemu._core.interrupts cimport rf_set
from pcemu._core.jit cimport jit_mode
from pcemu._core.runloop cimport run_ops, shadow_now, take_back, unset_jckey
from pcemu._core.simd cimport fp_enter, fp_leave
from pcemu._core.state_regs cimport state_fields
from pcemu._core.translate cimport lookup
from pcemu._core.undo cimport *
from pcemu._core.x87 cimport ferr
from pcemu._core cimport blocks, physmem, tlb

cdef enum:
    RUN = 1000              # instructions
    BEYOND = 512            # compiled code may pay for so many behind the place where the handlers came to an end


class LockstepDifference(Exception):
    """Compiled code and the handlers do not agree; `facts` says where (report() has the keys)."""

    def __init__(self, dict facts):
        super().__init__(f"lockstep: compiled code differs from the handlers at {facts['pc']:#x}")
        self.facts = facts


cdef inline Lock* lock_of(Cpu* c) noexcept nogil:
    return <Lock*>c.lock


cdef bint lock_start(Cpu* c) noexcept:
    if c.lock is NULL and not lock_init(c):
        return 0
    lock_of(c).began = c.icount_end - <u64>c.budget
    return 1


# ====================================================================================================== undoing

cdef inline size_t part1(Cpu* c) noexcept nogil:
    """The Cpu up to what is cache or scratch; part2: the rest of its registers."""
    return <size_t>&c.cw - <size_t>c


cdef inline size_t part2(Cpu* c) noexcept nogil:
    return <size_t>&c.shadow_at - <size_t>c


cdef inline size_t part2_size(Cpu* c) noexcept nogil:
    return <size_t>&c.pcids - <size_t>&c.shadow_at


cdef inline void keep(Cpu* c, u8* to) noexcept nogil:
    memcpy(to, c, part1(c))
    memcpy(to + part2(c), <u8*>c + part2(c), part2_size(c))


cdef void keep_pages(Cpu* c) noexcept nogil:
    """What the run has written so far, to compare with later."""
    cdef Lock* k = lock_of(c)
    cdef u32 i
    for i in range(k.n_pages):
        memcpy(k.after + (<size_t>i << 12), c.m.ram + k.pages[i], 4096)


cdef void drop_code(Cpu* c, u64 addr, const u8* was) noexcept nogil:
    """A page is about to be what it was: code translated from what it is now goes."""
    cdef u32 at
    for at in range(0, 4096, 64):
        if memcmp(c.m.ram + addr + at, was + at, 64):
            blocks.invalidate(c.m, addr + at, 64)


cdef void undo(Cpu* c) noexcept nogil:
    """Registers and memory as at the beginning of the run."""
    cdef Lock* k = lock_of(c)
    cdef Cpu* s = <Cpu*>k.start
    cdef u32 i
    # what counts on, or describes the caches, which are not undone
    s.jc_gen = c.jc_gen
    s.jc_user = c.jc_user
    s.jc_kernel = c.jc_kernel
    s.large_pages = c.large_pages
    memcpy(s.large_bloom, c.large_bloom, sizeof(c.large_bloom))
    s.n_tlb_fill = c.n_tlb_fill
    s.n_flush = c.n_flush
    s.n_lookup = c.n_lookup
    s.n_single = c.n_single
    s.n_trans = c.n_trans
    s.n_trans_insn = c.n_trans_insn
    memcpy(c, s, part1(c))
    memcpy(<u8*>c + part2(c), <u8*>s + part2(c), part2_size(c))
    c.link = NULL
    c.cur = NULL
    for i in range(k.n_pages):
        if memcmp(c.m.ram + k.pages[i], k.before + (<size_t>i << 12), 4096):
            if c.m.pages[k.pages[i] >> 12].bitmap:
                drop_code(c, k.pages[i], k.before + (<size_t>i << 12))
            memcpy(c.m.ram + k.pages[i], k.before + (<size_t>i << 12), 4096)
    tlb.set_jckey(c)
    tlb.flush_cw(c)
    if k.flushed:
        tlb.flush_tlb(c, 1)
        k.flushed = 0
    else:
        for i in range(k.n_fresh):
            tlb.invlpg(c, k.fresh[i])
    k.n_fresh = 0
    k.walked = 0


# ====================================================================================================== passes

cdef inline bint goes_on(Cpu* c) noexcept nogil:
    """After EXIT_PC: would the engine enter the next block without looking at anything?"""
    if c.pending & ~<u32>PEND_INTR or c.pending and c.eflags & F_IF:
        return 0
    return not (c.leave_req or c.halted or c.eflags & F_TF) and jit_mode(c)


cdef s64 one_pass(Cpu* c, u32 which, s64 limit, bint exactly, bint* hard) noexcept nogil:
    """Run up to `limit` instructions; how many retired. exactly: to the last of them, else to where a block does not fit.
    hard: something else than the limit ended it."""
    cdef Lock* k = lock_of(c)
    cdef u64 end = c.icount_end
    cdef s64 left = c.budget
    cdef Block* b
    cdef s64 before = limit
    cdef u32 idle = 0
    c.icount_end = end - <u64>left + <u64>limit
    c.budget = limit
    c.lock_pass = which
    k.at_clock = 0
    hard[0] = 0
    fp_enter(c)
    while True:
        c.exit = EXIT_NONE
        b = lookup(c, c.pc, 1)
        if b is not NULL and exactly and b.n > c.budget:
            b = lookup(c, c.pc, 0)
        if b is NULL or b == &c.scratch and not exactly or b.n > c.budget:
            hard[0] = b is NULL or b == &c.scratch
            c.exit = EXIT_PC                # (a fault of the fetch is met again by the engine)
            break
        c.budget -= b.n
        c.r[R_PC] = c.pc
        c.cur = b
        c.link = NULL
        c.step_after = 0
        if b == &c.scratch:
            unset_jckey(c)              # it comes back here
        run_ops(c, b.ops)
        if b == &c.scratch:
            tlb.set_jckey(c)
        if c.exit != EXIT_PC:
            hard[0] = 1
            if c.exit == EXIT_SINGLE or c.exit == EXIT_FAULT:
                take_back(c)
            break
        if not goes_on(c):
            hard[0] = 1
            break
        idle = idle + 1 if c.budget == before else 0
        if c.budget <= 0 or idle == 2:      # (the first time it may be a block that is to be translated anew)
            break
        before = c.budget
    fp_leave(c)
    c.lock_pass = LOCK_OFF
    limit -= c.budget
    c.icount_end = end
    c.budget = left - limit
    return limit


cdef bint compare(Cpu* c) noexcept nogil:
    """Make a run in both ways; True: compared, and the same."""
    cdef Lock* k = lock_of(c)
    cdef s64 n_hand, n_code, n_again, limit = c.budget
    cdef u64 cold
    cdef Block* b
    cdef bint hard
    if limit > RUN:
        limit = RUN
    if k.narrow:
        b = lookup(c, c.pc, 1)
        if b is not NULL and limit > (b.unit_n if b.entry is not NULL else b.n):
            limit = b.unit_n if b.entry is not NULL else b.n
    forget_pages(k)
    k.n_clock = 0
    k.n_fresh = 0
    k.n_walks = 0
    k.walked = 0
    k.flushed = 0
    k.ferr = 0
    tlb.empty_write_tlb(c)
    keep(c, k.start)
    # by handlers
    n_hand = one_pass(c, LOCK_HANDLERS, limit, 0, &hard)
    k.hand_first = 1
    keep(c, k.first)
    keep_pages(c)
    undo(c)
    # by compiled code
    cold = c.n_cold
    n_code = one_pass(c, LOCK_COMPILED, limit + (BEYOND if hard else 0), 0, &hard)
    cold = c.n_cold - cold
    if n_code == 0 and c.exit == EXIT_PC and not hard:
        undo(c)
        k.stuck = 1
        return 1
    if n_code != n_hand:
        # by handlers, exactly as far
        k.n_third += 1
        k.hand_first = 0
        keep(c, k.first)
        keep_pages(c)
        undo(c)
        n_again = n_code + ((<Cpu*>k.first).exit == EXIT_FAULT or (<Cpu*>k.first).exit == EXIT_SINGLE)
        n_hand = one_pass(c, LOCK_HANDLERS, n_again, 1, &hard)
        if n_hand == n_code + 1 and (<Cpu*>k.first).exit == EXIT_SINGLE and c.exit == EXIT_PC:
            # A store into the running unit. Where the block is not compiled (any more), handlers make it at once.
            undo(c)
            if n_code == 0:
                k.stuck = 1
                c.exit = EXIT_PC
                return 1
            n_hand = one_pass(c, LOCK_HANDLERS, n_code, 1, &hard)
            (<Cpu*>k.first).exit = c.exit
    if n_hand != n_code or k.overflow or registers_differ(c) or page_that_differs(c) >= 0:
        k.n_hand = n_hand
        k.n_code = n_code
        return 0
    k.n_runs += 1
    k.n_compared += <u64>n_code - cold
    return 1


cdef bint lock_run(Cpu* c) noexcept nogil:
    cdef Lock* k = lock_of(c)
    cdef bint good
    k.stuck = 0
    fp_leave(c)
    good = compare(c)
    if UNLIKELY(k.narrow or not good):
        if not good and k.narrow == 0:      # once more from the beginning, unit by unit
            note(c)
            undo(c)
            k.narrow = c.icount_end - <u64>c.budget + <u64>(k.n_code if k.n_code > k.n_hand else k.n_hand)
            c.exit = EXIT_PC
        elif not good or k.narrow <= c.icount_end - <u64>c.budget:
            report(c, not good)
    fp_enter(c)
    if UNLIKELY(k.ferr):
        ferr(c, k.ferr - 1)
    return not k.stuck


# =================================================================================================== comparing

cdef bint registers_differ(Cpu* c) noexcept nogil:
    """Is any state of the two Cpus, the one that was kept and this one, not the same?"""
    cdef Cpu* s = <Cpu*>lock_of(c).first
    if s.exit != c.exit or s.pc != c.pc or s.budget != c.budget:
        return 1
    if c.exit == EXIT_FAULT or c.exit == EXIT_INT:
        if s.exc_vector != c.exc_vector or s.exc_has_err != c.exc_has_err or s.exc_err != c.exc_err or s.exc_soft != c.exc_soft:
            return 1
        if c.exit == EXIT_FAULT and c.exc_vector == EXC_PF and s.cr2_next != c.cr2_next:
            return 1
    if get_eflags(s) != get_eflags(c) or memcmp(s.r, c.r, 16 * sizeof(u64)):
        return 1
    if s.mode != c.mode or s.cpl != c.cpl or s.mmu != c.mmu or s.pending != c.pending or s.nmi_blocked != c.nmi_blocked:
        return 1
    if s.halted != c.halted or s.rng != c.rng or shadow_now(s) != shadow_now(c) or rf_set(s) != rf_set(c):
        return 1
    # segments, tables, control and debug registers, MSRs, x87, vector registers
    if memcmp(s.seg, c.seg, <size_t>&c.feat - <size_t>&c.seg):
        return 1
    if s.monitor_armed != c.monitor_armed or s.monitor_va != c.monitor_va or s.monitor_value != c.monitor_value:
        return 1
    return memcmp(&s.tsc_adjust, &c.tsc_adjust, <size_t>&c.n_bad_msr - <size_t>&c.tsc_adjust) != 0


cdef s64 page_that_differs(Cpu* c) noexcept nogil:
    """Its number in the log, or -1."""
    cdef Lock* k = lock_of(c)
    cdef u32 i
    for i in range(k.n_pages):
        if memcmp(k.after + (<size_t>i << 12), c.m.ram + k.pages[i], 4096):
            set_walked(c, i)
            if memcmp(k.after + (<size_t>i << 12), c.m.ram + k.pages[i], 4096):
                return i
    return -1


cdef void set_walked(Cpu* c, u32 page) noexcept nogil:
    """Whether an access makes a page walk depends on what the TLB still holds, which is not undone: accessed and dirty bits that
    one pass has set count as set by both."""
    cdef Lock* k = lock_of(c)
    cdef u32 i
    cdef u64 addr
    for i in range(k.n_walks):
        addr = k.walks[i] >> 8
        if addr & ~<u64>4095 == k.pages[page]:
            (k.after + (<size_t>page << 12) + (addr & 4095))[0] |= <u8>k.walks[i]
            c.m.ram[addr] |= <u8>k.walks[i]


# =================================================================================================== reporting

EXITS = {EXIT_PC: "goes on", EXIT_FAULT: "fault", EXIT_SINGLE: "device", EXIT_HALT: "halt", EXIT_SHUTDOWN: "shutdown",
         EXIT_CALLBACK: "device failed", EXIT_INT: "software interrupt"}


cdef object value_at(Cpu* c, size_t at, u32 n):
    return int.from_bytes((<char*>c + at)[:n], "little")


cdef list differing_registers(Cpu* hand, Cpu* code):
    """(name, by handlers, compiled)."""
    found = []
    if get_eflags(hand) != get_eflags(code):
        found.append(("eflags", get_eflags(hand), get_eflags(code)))
    fields = list(state_fields(hand))
    fields += [(f"fpr{i}", <size_t>&hand.fpr[2 * i] - <size_t>hand, 10) for i in range(8)]
    fields += [(f"ymm{i}", <size_t>&hand.vec[i][0] - <size_t>hand, 32) for i in range(16)]
    fields += [(name, <size_t>at - <size_t>hand, 4) for name, at in
               (("mode", <size_t>&hand.mode), ("pending", <size_t>&hand.pending), ("monitor", <size_t>&hand.monitor_armed))]
    if hand.exit == EXIT_FAULT or code.exit == EXIT_FAULT:
        fields += [(name, <size_t>at - <size_t>hand, 4) for name, at in
                   (("vector", <size_t>&hand.exc_vector), ("error code", <size_t>&hand.exc_err))]
        fields.append(("fault address", <size_t>&hand.cr2_next - <size_t>hand, 8))
    for name, at, n in fields:
        if name == "interrupt_shadow":
            a, b = shadow_now(hand), shadow_now(code)
        elif name == "rf_icount":
            a, b = rf_set(hand), rf_set(code)
        else:
            a, b = value_at(hand, at, n), value_at(code, at, n)
        if a != b:
            found.append((name, a, b))
    return found


cdef list differing_memory(Cpu* c, bint hand_first):
    """(offset in host RAM space, before, by handlers, compiled), the bytes as integers of up to 8, at most 32 of them."""
    cdef Lock* k = lock_of(c)
    cdef u32 i, at
    cdef u8* a
    cdef u8* b
    found = []
    for i in range(k.n_pages):
        a = k.after + (<size_t>i << 12)
        b = c.m.ram + k.pages[i]
        if memcmp(a, b, 4096) == 0:
            continue
        for at in range(0, 4096, 8):
            if (<u64*>(a + at))[0] != (<u64*>(b + at))[0] and len(found) < 32:
                pair = ((<u64*>(a + at))[0], (<u64*>(b + at))[0])
                if not hand_first:
                    pair = pair[1], pair[0]
                found.append((k.pages[i] + at, (<u64*>(k.before + (<size_t>i << 12) + at))[0], *pair))
    return found


cdef dict facts_of(Cpu* c):
    """What the two halves of the run that has just been made have left."""
    cdef Lock* k = lock_of(c)
    cdef Cpu* start = <Cpu*>k.start
    cdef Cpu* hand = <Cpu*>k.first if k.hand_first else c
    cdef Cpu* code = c if k.hand_first else <Cpu*>k.first
    return {"pc": start.pc, "bits": (16, 32, 64, 64)[start.mode & M_CODE_MASK], "compared": k.n_compared, "overflow": bool(k.overflow),
            "handlers": (EXITS.get(hand.exit, "?"), hand.pc, k.n_hand), "compiled": (EXITS.get(code.exit, "?"), code.pc, k.n_code),
            "registers": differing_registers(hand, code), "memory": differing_memory(c, k.hand_first), "one": 0}


cdef void note(Cpu* c) noexcept with gil:
    """A run differs. Which of its units it is will be seen when it is made again, unit by unit."""
    (<object>c.pyobj).lockstep_facts = facts_of(c)


cdef void report(Cpu* c, bint found) noexcept with gil:
    """Leave with a LockstepDifference. found: by the unit that was just run, else by no single one."""
    cdef Block* b
    cdef Op* op
    facts = facts_of(c) if found else (<object>c.pyobj).lockstep_facts
    if found:
        undo(c)
        b = lookup(c, c.pc, 1)
        if b is not NULL:
            facts["one"] = 1
            op = &b.ops[b.n_ops - b.n]
            facts["guest"] = [(c.pc + op[i].pcoff, op[i].length, handler_name(<int>(op[i].jit >> 48))) for i in range(b.n)]
            facts["bytes"] = (<char*>c.m.ram + b.addr)[:b.nbytes - b.cross] + (<char*>b.tail)[:b.cross]
            facts["host"] = (<size_t>b.entry, (<char*>b.entry)[:b.code_size] if b.entry is not NULL else b"")
            facts["fields"] = sys.modules["pcemu._core.jit"].FIELDS
            facts["unit"] = (b.unit_n, c.pc + b.unit_lo - b.addr, (<char*>c.m.ram + b.unit_lo)[:b.unit_hi - b.unit_lo])
    c.exit = EXIT_CALLBACK
    (<physmem.Memory>c.m.pymem).error = LockstepDifference(facts)
