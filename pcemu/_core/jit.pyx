"""From ops to host code, on x86-64 hosts: hot blocks, compiled one by one.

The decoded ops stay the one representation. An op whose handler has a rule in isa/emit_table.py becomes host instructions,
mostly the same instruction again; any other op, and any op whose memory operand is not in the TLB, is run by its handler: the
guest's registers go back to the Cpu, the handler is called as the interpreter calls it, and compiled code goes on behind it. So
faults, devices and self-modification are the handlers' business alone.

Flags are not computed where nobody asks. What is known of them is a Node: which kind of operation, where its result and its
second operand are. A conditional op makes the host's flags from it; Cpu.cc_* is written where the block ends, where a
register that the node refers to changes, or, out of line, where an op turns out to fault.

Counts are as in the interpreter: a block's head pays for all of it, a fault gives back what did not run.

Here a unit is written, and entered. units.pyx says which blocks it has, stubs.pyx has what stands behind it, thunks.pyx what runs
below it. Emitters (e_*.pyx) are made of what emit.pyx, flags.pyx and operands.pyx have.
"""
from importlib import import_module

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from pcemu._core.access cimport *
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport track
from pcemu._core.stubs cimport *
from pcemu._core.thunks cimport *
from pcemu._core.units cimport gather
from pcemu._core.e_flow cimport go
from pcemu._core.e_x87 cimport x87_after, x87_begin, x87_close, x87_flush, x87_second
from pcemu._core.hooks cimport block_made
from pcemu._core.undo cimport Lock
from pcemu._core cimport blocks, vtime

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/mman.h>
    #include <unistd.h>
    #include <time.h>
    #if defined(__x86_64__)
    #define PCEMU_JIT 1
    #else
    #define PCEMU_JIT 0
    #endif
    /* One piece of memory, twice: written at *rw, run at *rx. */
    static int pcemu_map_twice(size_t size, unsigned char **rw, unsigned char **rx)
    {
        int fd = memfd_create("pcemu-code", MFD_CLOEXEC);
        if (fd < 0) return 0;
        if (ftruncate(fd, size)) { close(fd); return 0; }
        *rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        *rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
        close(fd);
        if (*rw != MAP_FAILED && *rx != MAP_FAILED) return 1;
        if (*rw != MAP_FAILED) munmap(*rw, size);
        if (*rx != MAP_FAILED) munmap(*rx, size);
        return 0;
    }
    """
    const int PCEMU_JIT
    int map_twice "pcemu_map_twice"(size_t, u8**, u8**) nogil

for _family in ("e_alu", "e_bits", "e_flow", "e_mmx", "e_move", "e_shift", "e_sse", "e_string", "e_x87"):     # they enter their emitters
    import_module("pcemu._core." + _family)

# Cpu fields by their displacement from r14, for those who show code
FIELDS = {AT_CC_RES: "cc_res", AT_CC_SRC: "cc_src", AT_CC_KIND: "cc_kind", AT_EFLAGS: "eflags", AT_BUDGET: "budget", AT_TLB_R: "tlb_r",
          AT_TLB_W: "tlb_w", AT_JCKEY: "jckey", AT_JCKEY + 4: "jckey.gen", AT_PGPC: "pgpc", AT_JTMP: "jtmp", AT_JC: "jc"}
FIELDS.update((AT_GROUPS + 8 * i, f"group{i}") for i in range(MAX_GROUPS))
FIELDS.update((8 * i - 128, "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split()[i]) for i in range(16))
FIELDS.update((AT_VEC + 32 * i, f"ymm{i}") for i in range(16))

ctypedef Op* (*EnterFn)(Cpu* c, u8* code) noexcept nogil

cdef enum:
    HEAT = 12               # executions before a block is compiled
    ROOM = 48 << 10         # no unit's code is longer: one that grows beyond is left to the interpreter
    X_ROOM = 16 << 10       # ... of that, stubs that save and restore vector registers
    REST_COUNT = 64         # groups that crossed into another page before a unit is compiled without, ...
    REST_APART = 150        # ... if there were no more instructions than that between them


# ===================================================================================================== liveness

cdef u32 kills(Op* op, EmitRow r) noexcept nogil:
    """Flags that the op gives a new value whatever happens."""
    if r.kills & KILLS_IF_COUNT:
        return r.kills & FB_ALL if op.imm & (63 if r.size == 3 else 31) else 0
    return r.kills


cdef bint may_leave(J* j, Op* op, EmitRow r) noexcept nogil:
    """Can the op fault, or is it the handler's anyway?"""
    if r.cls == E_NONE or op.props & OP_END or r.access:
        return 1
    return r.faults == FAULTS_ALWAYS or r.faults == FAULTS_FP and j.mode & M_FPX


cdef void liveness(J* j) noexcept nogil:
    cdef int i
    cdef u32 live = FB_ALL
    cdef Op* op
    cdef EmitRow r
    for i in range(j.n - 1, -1, -1):
        op = j.ops[i]
        r = emit_rows[op.jit >> 48]
        if i == j.n1 - 1:
            live = FB_ALL               # a loop's second round may leave before it begins
        j.live[i] = live
        live &= ~kills(op, r)
        if not r.kills & KILLS_IF_COUNT or not kills(op, r):    # (the row of a shift reads flags: for a count of zero)
            live |= op.fneed & FB_ALL
        if may_leave(j, op, r):
            live = FB_ALL


# ======================================================================================================== units

cdef void by_handler(J* j, Op* op) noexcept nogil:
    """No emitter: call the handler."""
    home(j)
    x_flush(j)
    j.xv = 0
    x87_flush(j)
    mov_imm(j, H_T, <u64>op)
    if op.props & OP_END:
        if j.rest:
            rm(j, 3, 0x81, 0, H_ENV, AT_BUDGET)
            e32(j, j.rest)
        jmp_rx(j, thunk(j, T_END))
    else:
        mov_imm(j, H_CX, <u64>j.head | <u64>j.rest << 48)
        call_rx(j, thunk(j, T_SLOW))
    if op.fdef | op.fundef or j.cur < 0:
        set_env(j, 0)
    j.in_host = 0
    x87_after(j, op, emit_rows[op.jit >> 48])


cdef void write_wrong(J* j, Op* op, EmitRow r) noexcept nogil:
    """Tests of lockstep (Mach.inject): write the op as an emitter with a mistake in it would, with a bit of the immediate, of the
    condition or of a register's number wrong, or, where there is none of these, with an instruction that does not belong there."""
    cdef Op bad
    cdef int i
    memcpy(&bad, op, sizeof(Op))
    if r.cls == E_JCC or r.cls == E_SETCC or r.cls == E_CMOVCC:
        r.sub ^= 1
    elif (r.form == FORM_RI or r.form == FORM_MI or r.form == FORM_I or r.form == FORM_RRI or r.form == FORM_RMI
            or r.form == FORM_MRI):
        bad.imm ^= 1
    elif (r.form == FORM_RR or r.form == FORM_R or r.form == FORM_RM or r.form == FORM_MR or r.form == FORM_RC) and r.cls != E_NOP:
        bad.reg ^= 8 if r.size == 0 else 1
    else:
        rm(j, 3, 0x8D, H_BP, H_BP, 1)               # lea rbp, [rbp + 1]
    j.op = &bad
    if not emitters[r.cls](j, &bad, r):
        rm(j, 3, 0x8D, H_BP, H_BP, 1)
        by_handler(j, op)
    j.op = op
    if j.x87.note == &bad:
        j.x87.note = op
    for i in range(j.op_stub, j.n_stubs):
        if j.stubs[i].op == &bad:
            j.stubs[i].op = op
        if j.stubs[i].x87.note == &bad:
            j.stubs[i].x87.note = op


cdef void pay_here(J* j, int n, u32 stub) noexcept nogil:
    rm(j, 3, 0x81, 5, H_ENV, AT_BUDGET)
    e32(j, n)
    new_stub(j, jcc_fwd(j, 8), stub)


cdef void second_round(J* j) noexcept nogil:
    """What is known here must hold whenever the last round comes back: of base registers, what no round changes."""
    cdef int g
    for g in range(18):
        if j.variant >> g & 1:
            j.epoch[g] += 1
            j.moved[g] = 0
    j.in_host = 0
    x87_second(j)
    j.second = j.p
    j.second_cur = j.cur
    j.second_synced = j.synced
    j.second_xv = j.xv
    j.second_xd = j.xd
    j.second_wide = j.wide
    j.held = -1
    j.rest = j.n - j.n1
    pay_here(j, j.rest, STUB_ROUND)


cdef void close_loop(J* j, u8* head) noexcept nogil:
    """Back to the second round, or, if the flags are not where they were there, to the first."""
    cdef bint again = x87_close(j)
    if j.second_cur != CUR_DEAD and (not same_flags(j, j.cur, j.second_cur) or j.second_synced and not j.synced):
        sync(j)
    if again or j.second_cur != CUR_DEAD and j.second_cur != CUR_ENV and not same_flags(j, j.cur, j.second_cur):
        sync(j)
        x_flush(j)
        x87_flush(j)
        jmp_rx(j, head + j.rx)
        return
    if j.wide and not j.second_wide:
        x_flush(j)
    x_move(j, 0x0F29, j.xd & ~j.second_xd)
    x_move(j, 0x0F28, j.second_xv & ~j.xv)
    jmp_rx(j, j.second + j.rx)


cdef void extent(J* j) noexcept nogil:
    """Of the unit's code."""
    cdef Block* t
    cdef int k
    j.lo = j.head.addr
    j.hi = j.head.addr + j.head.nbytes - j.head.cross
    for k in range(j.n_unit):
        t = j.unit[k]
        if t.addr < j.lo:
            j.lo = t.addr
        if t.addr + t.nbytes - t.cross > j.hi:
            j.hi = t.addr + t.nbytes - t.cross


cdef void in_segment(J* j) noexcept nogil:
    """All of the unit must lie in the code segment, and below 64 KiB if that is a 16-bit one: or the engine looks."""
    if j.m64 or not j.mode & M_LIM and j.mode & M_CODE_MASK:
        return
    ld_env(j, 2, H_CX, AT_PGPC)
    rm(j, 2, 0x8D, H_CX, H_CX, <s32>(j.lo & 4095))
    rr(j, 3, 0x81, 0, H_CX)
    e32(j, <u32>(j.hi - j.lo - 1))
    if not j.mode & M_CODE_MASK:
        rr(j, 3, 0x81, 7, H_CX)
        e32(j, 0xFFFF)
        new_stub(j, jcc_fwd(j, 7), STUB_BUDGET)
    if j.mode & M_LIM:
        ld_env(j, 2, H_T, AT_SEG + CS * 32 + 8)
        rr(j, 3, 0x3B, H_CX, H_T)
        new_stub(j, jcc_fwd(j, 7), STUB_BUDGET)


cdef inline bint unit_fits(Cpu* c, Block* b) noexcept nogil:
    """What in_segment() looks at."""
    cdef u64 end
    if c.mode & M_CODE64 or not c.mode & M_LIM and c.mode & M_CODE_MASK:
        return 1
    end = <u64><u32>(c.r[R_PC] - (b.addr - b.unit_lo)) + (b.unit_hi - b.unit_lo - 1)
    return end <= c.seg[CS].limit and (end <= 0xFFFF or c.mode & M_CODE_MASK)


cdef void begin(J* j, Cpu* c, Block* b) noexcept nogil:
    """A compile context where nothing is known."""
    j.p = c.m.code_rw + c.m.code_used
    j.end = j.p + ROOM
    j.rx = c.m.code_rx - c.m.code_rw
    j.c = c
    j.b = b
    j.mode = b.mode
    j.m64 = (b.mode & M_CODE64) != 0
    j.boff = b.addr & 4095
    j.cur = CUR_ENV
    j.synced = 1
    j.in_host = 0
    j.host_lo = 0
    j.n_nodes = 0
    j.n_stubs = 0
    j.op_stub = 0
    j.failed = 0
    j.xv = j.xd = j.xsize = 0
    j.mmx = -2
    j.wide = 0
    j.align = 0
    j.held = j.held_now = j.held_after = -1
    j.at = 0
    j.n_groups = 0
    memset(j.epoch, 0, sizeof(j.epoch))
    memset(j.moved, 0, sizeof(j.moved))


cdef bint write_unit(J* j, u8** entry, u8** head, u8** body) noexcept nogil:
    """The code of the unit that was gathered. False: it does not fit."""
    cdef Op* op = j.ops[0]
    cdef EmitRow r
    cdef int i, first, k, left
    liveness(j)
    x87_begin(j)
    j.rest = 0
    j.op = j.ops[0]
    entry[0] = j.p
    if j.head.cross:
        entry[0] = guard(j)
    head[0] = j.p
    pay_here(j, j.n1, STUB_BUDGET)
    body[0] = j.p
    in_segment(j)
    j.rest = j.n1
    k = -1
    left = 0
    for i in range(j.n):
        if left == 0:
            if i == j.n1:
                second_round(j)
            k += 1
            j.b = j.unit[k]
            j.boff = j.b.addr & 4095
            left = j.b.n
            j.rest -= left
            j.next_slot = j.slots[k]
            j.next_off = (j.unit[k + 1] if k + 1 < j.n_unit else j.head).addr & 4095
        left -= 1
        op = j.ops[i]
        j.i = i
        j.op = op
        r = emit_rows[op.jit >> 48]
        op.jit = (op.jit & (<u64>0xffff << 48)) | <u64>j.b
        first = j.op_stub = j.n_stubs
        if op.props & OP_END and (j.next_slot < 0 or left) or j.xsize > X_ROOM - 1024:
            x_flush(j)
            j.xv = 0
            x87_flush(j)
            if j.xsize > X_ROOM - 1024:
                j.x87.lost = 1
            j.held = -1
        if not op.props & OP_END and may_leave(j, op, r):
            spare(j)
        j.held_now = j.held
        j.held = j.held_after = -1
        if UNLIKELY(j.c.m.inject) and j.c.m.inject == r.cls:
            write_wrong(j, op, r)
        elif not emitters[r.cls](j, op, r):
            by_handler(j, op)
        while first < j.n_stubs:
            j.stubs[first].back = j.p
            if j.stubs[first].kind == STUB_SLOW:
                j.held = -1
            j.stubs[first].xback = j.xv
            j.xsize += 9 * <u32>(popcount64(j.xv & 0xFFFF) + popcount64(j.stubs[first].xd & 0xFFFF))
            if j.stubs[first].passed is not NULL:
                j.xsize += 9 * <u32>popcount64(j.stubs[first].xv & 0xFFFF)
            j.stubs[first].x87_back = j.x87
            if j.stubs[first].x87.on or j.x87.on:
                j.xsize += 150
            first += 1
        track(j, op, r)
        if j.failed or j.end - j.p < X_ROOM + MARGIN:
            return 0
    if j.loop:
        close_loop(j, head[0])
    elif not op.props & OP_END or r.cls == E_TIME or r.cls == E_STRING:
        j.op = op + 1
        home(j)
        x_flush(j)
        x87_flush(j)
        go(j, 0, -1)
    write_stubs(j)
    return not j.failed


cdef inline void lead(u8* head, u8* to) noexcept nogil:
    """What was compiled before, whose head this is, goes on elsewhere (both writable): nobody unlinks what jumps to it."""
    head[0] = 0xE9
    patch_rw(head + 1, to)


cdef void replace_dead(Mach* m, Block* b) noexcept nogil:
    cdef Block** at = blocks.grave(m, b)
    cdef Block* dead = at[0]
    if dead is not NULL and dead.addr == b.addr and dead.mode == b.mode:
        lead(dead.head - 4, b.entry - m.code_rx + m.code_rw)
        at[0] = NULL


cdef void compile_block(Cpu* c, Block* b, bint lone) noexcept nogil:
    """Compile a unit that begins with b: a loop, else a trace, else b alone; what does not fit either stays with the interpreter."""
    cdef Mach* m = c.m
    cdef J* j = <J*>m.compiler
    cdef int attempt
    cdef u8* body = NULL
    cdef u8* head = NULL
    cdef u8* entry = NULL
    cdef s64 t0
    if b.n == N_DEAD or b.cross and not b.mode & (M_CODE64 | M_FLAT):
        return
    if m.code_used + ROOM > m.code_size:
        m.code_full = 1
        c.leave_req = 1
        return
    t0 = vtime.host_ns()
    for attempt in range(3):
        begin(j, c, b)
        j.lone = lone
        gather(j, b, MAX_UNIT if attempt < 2 else 1, attempt == 0)
        extent(j)
        if write_unit(j, &entry, &head, &body):
            break
    else:
        return
    if lone:
        if <u32>j.n1 != b.unit_n:
            return                      # what was compiled before counts on that
        if b.unit_lo < j.lo:
            j.lo = b.unit_lo
        if b.unit_hi > j.hi:
            j.hi = b.unit_hi
    if c.lock is NULL:
        b.count = <u32>(c.icount_end - <u64>c.budget)
    b.head = head + 4
    b.entry = entry + j.rx
    b.code = body + j.rx
    b.unit_n = j.n1
    b.unit_lo = j.lo
    b.unit_hi = j.hi
    b.code_size = <u32>(j.p - entry)
    m.n_compiled += 1
    m.n_compiled_insn += j.n
    m.n_compiled_bytes += j.p - (m.code_rw + m.code_used)
    m.code_used += (j.p - (m.code_rw + m.code_used) + 15) & ~<u64>15
    b.ops[0].fn = h_jit
    replace_dead(m, b)
    m.compile_ns += <u64>(vtime.host_ns() - t0)
    if UNLIKELY(m.log_code & 2):
        block_made(c, b, c.r[R_PC], 1)


cdef void count_rest(Cpu* c, Block* b) noexcept nogil:
    """A group was left to the handlers. If that happens all the time (data across a page's edge), the unit is compiled again, without."""
    cdef u32 now = <u32>(c.icount_end - <u64>c.budget)
    cdef u8* old = b.head - 4
    b.strays += 1
    if b.strays != REST_COUNT:
        return
    b.strays = 0
    if now - b.count < REST_COUNT * REST_APART:
        compile_block(c, b, 1)
        if b.head - 4 != old:
            b.strays = REST_COUNT       # once is enough
            lead(old, b.head - 4)
    b.count = now                       # (no longer executions: it is compiled)


cdef Op* beyond_limit(Cpu* c, Op* op) noexcept nogil:
    """The block's end lies beyond the code segment's limit: its instructions run one by one."""
    c.exit = EXIT_SINGLE
    c.fault_op = op + 1
    return NULL


cdef bint compile_again(Cpu* c, Block* b) noexcept nogil:
    """Lockstep compiles at the first execution, when nothing is known of what runs next: once a block has run as often as is
    usual before that, it is dropped and may become part of a unit. True: it was."""
    cdef Lock* k = <Lock*>c.lock
    cdef u32 h = <u32>(b.addr * <u64>0x9E3779B97F4A7C15 >> 48)
    b.count += 1
    if b.count != c.m.heat or b.unit_n != b.n or k.again[h >> 3] >> (h & 7) & 1:
        return 0
    k.again[h >> 3] |= <u8>(1 << (h & 7))
    blocks.invalidate(c.m, b.addr, 1)
    return 1


cdef Op* h_jit(Cpu* c, Op* op) noexcept nogil:
    """Stands before the first op of a compiled block: run the code."""
    cdef s64 budget
    cdef u64 end
    if UNLIKELY(c.mode & M_LIM and c.r[R_PC] + c.cur.nbytes - 1 > c.seg[CS].limit):
        return beyond_limit(c, op)
    if UNLIKELY(near_hole(c, c.r[R_PC]) or not unit_fits(c, c.cur)):
        c.n_cold += c.cur.n
        return op[1].fn(c, op + 1)
    if UNLIKELY(c.cur.cross and not intact(c, c.cur, c.r[R_PC])):
        c.budget += c.cur.n
        return leave(c, c.r[R_PC])
    if UNLIKELY(c.lock_pass == LOCK_HANDLERS):
        return op[1].fn(c, op + 1)
    if UNLIKELY(c.lock_pass == LOCK_COMPILED):
        budget = c.budget + c.cur.n
        if compile_again(c, c.cur) or not pay(c):
            c.budget = budget
            return leave(c, c.r[R_PC])
    elif UNLIKELY(not pay(c)):
        c.n_cold += c.cur.n
        return op[1].fn(c, op + 1)
    c.pgpc = page_pc(c, c.cur, c.r[R_PC])
    budget = c.budget + c.cur.unit_n
    end = c.icount_end
    op = (<EnterFn>(c.m.code_rx + thunk_at[T_ENTER]))(c, c.cur.code)
    # what has been paid for and is not done yet, or not at all
    if op is not NULL:
        budget -= c.cur.ops + c.cur.n_ops - op - (op.fn == h_warm or op.fn == h_jit)
    elif c.exit == EXIT_FAULT or c.exit == EXIT_SINGLE:
        budget -= c.cur.ops + c.cur.n_ops - c.fault_op
    c.m.calls[RETIRED] += <u64>(budget - c.budget) + c.icount_end - end     # (the quantum may have been cut short)
    return op


cdef Op* h_warm(Cpu* c, Op* op) noexcept nogil:
    """Stands before the first op of a block that is not compiled: count."""
    cdef Block* b = c.cur
    if UNLIKELY(c.mode & M_LIM and c.r[R_PC] + b.nbytes - 1 > c.seg[CS].limit):
        return beyond_limit(c, op)
    if UNLIKELY(c.lock_pass == LOCK_HANDLERS):
        return op[1].fn(c, op + 1)
    b.count += 1
    if (b.count == b.heat or b.count == 1 and c.lock is not NULL) and c.m.code_rx is not NULL:
        if b.cross and next_page(c, c.r[R_PC]) is NULL:     # no memory: what was fetched is not fetched again
            b.count = 0
        else:
            compile_block(c, b, 0)
            if op.fn == h_jit:
                return op.fn(c, op)
    c.n_cold += b.n
    return op[1].fn(c, op + 1)


cdef bint jit_mode(Cpu* c) noexcept nogil:
    """Are blocks of the present mode compiled?"""
    return c.m.code_rx is not NULL and not c.m.code_off and not c.mode & (M_TF | M_AC)


cdef void set_warm_op(Op* op) noexcept nogil:
    memset(op, 0, sizeof(Op))
    op.fn = h_warm


cdef bint jit_init(Mach* m, u64 size) noexcept:
    """Map memory for code and write the thunks."""
    cdef J* j
    if not PCEMU_JIT:
        return 0
    if size < 1 << 20:
        size = 1 << 20
    m.calls = <u64*>calloc(8192, sizeof(u64))
    j = <J*>calloc(1, sizeof(J))
    if m.calls is NULL or j is NULL or not map_twice(size, &m.code_rw, &m.code_rx):
        free(m.calls)
        free(j)
        m.calls = NULL
        m.code_rx = NULL
        return 0
    m.code_size = size
    m.compiler = j
    j.p = m.code_rw
    j.rx = m.code_rx - m.code_rw
    make_thunks(j)
    m.code_base = m.code_used = (j.p - m.code_rw + 63) & ~<u64>63
    m.thunk_interp = m.code_rx + thunk_at[T_INTERP]
    m.heat = HEAT
    return 1
