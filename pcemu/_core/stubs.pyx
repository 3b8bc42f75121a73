"""Code out of line, behind a unit's: where an op is left to its handler, where the unit is left, and what must be home by then.

new_stub() (emit.pyx) notes what is known at a place that leads here. jit.pyx explains the whole.
"""
from pcemu._core.e_flow cimport by_cache, count, far_jump, far_target, flat_code, same_page, target_pc
from pcemu._core.e_x87 cimport x87_home
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.tlb cimport REFILL_WRITE


cdef void call_x87(J* j, XState* x, int t) noexcept nogil:
    """Call a thunk with an XState, which stands in the code."""
    cdef u8* over
    cdef XState* at
    e8(j, 0xE9)
    e32(j, 0)
    over = j.p
    while <u64>j.p & 7:
        e8(j, 0x90)
    at = <XState*>j.p
    at[0] = x[0]
    j.p += sizeof(XState)
    patch_rw(over - 4, j.p)
    mov_imm(j, H_T, <u64>at)
    call_rx(j, thunk(j, t))


cdef void refill_stub(J* j, Stub* s) noexcept nogil:
    """A page check has failed: on behind it, if the second-level TLB knows the page, or it holds code that the store does not touch."""
    cdef u8* over
    rmx(j, 3, 0x03, H_CX, H_ENV, H_T, 0, s.tlb)
    x_move(j, 0x0F29, s.xd)
    s.xd = 0
    mov_imm(j, H_T, <u64>s.bytes << 48 | <u64>j.head if s.bytes & REFILL_WRITE else s.bytes)
    call_rx(j, thunk(j, T_STORE if s.bytes & REFILL_WRITE else T_REFILL))
    over = jcc_fwd(j, 4)
    x_move(j, 0x0F28, s.xv)
    if s.sum:
        mov_imm(j, H_T, 0)
    jmp_rx(j, s.passed + j.rx)
    patch_rw(over, j.p)


cdef void to_handler(J* j, Stub* s) noexcept nogil:
    """Everything is home for the op's handler; the thunk's arguments are in their registers."""
    x_move(j, 0x0F29, s.xd)
    x_narrow(j, s.wide)
    if s.x87.on:
        call_x87(j, &s.x87, T_XPARK)
    if not s.synced:
        write_flags(j, s.node)
    mov_imm(j, H_T, <u64>s.op)
    mov_imm(j, H_CX, <u64>j.head | <u64>s.rest << 48)


cdef void write_stubs(J* j) noexcept nogil:
    cdef int i = 0
    cdef Stub* s
    cdef u8* over
    j.xv = j.xd = 0
    j.wide = 0
    j.x87.on = 0
    while i < j.n_stubs:                # far jumps add more
        if j.end - j.p < MARGIN:
            j.failed = 1
            return
        s = &j.stubs[i]
        i += 1
        patch_rw(s.at, j.p)
        j.op = s.op
        j.cur = s.node
        j.synced = s.synced
        j.b = s.b
        j.boff = s.b.addr & 4095
        j.rest = s.rest
        if s.passed is not NULL:
            refill_stub(j, s)
        if s.kind == STUB_GUARD:
            mov_imm(j, H_T, s.arg)
            jmp_rx(j, thunk(j, T_XGUARD))
        elif s.kind == STUB_CLEX:
            rm(j, 0, 0xF6, 0, H_ENV, AT_FSW)
            e8(j, 0x80)                 # ES: the interpreter knows what to do
            over = jcc_short(j, 5)
            e8(j, 0xDB)
            e8(j, 0xE3)                 # fninit
            jmp_rx(j, <u8*>s.arg + j.rx)
            here_short(j, over)
            x_move(j, 0x0F29, s.xd)
            x_narrow(j, s.wide)
            if not s.synced:
                write_flags(j, s.node)
            mov_imm(j, H_T, <u64>s.op)
            mov_imm(j, H_CX, <u64>j.head | <u64>s.rest << 48)
            jmp_rx(j, thunk(j, T_REST))
        elif s.kind == STUB_REST:
            to_handler(j, s)
            jmp_rx(j, thunk(j, T_REST))
        elif s.kind == STUB_CODES:
            x_move(j, 0x0F29, s.xd)
            x_narrow(j, s.wide)
            call_x87(j, &s.x87, T_XPARK)
            call_x87(j, &s.x87, T_XBACK)
            x_move(j, 0x0F28, s.xback)
            jmp_rx(j, <u8*>s.arg + j.rx)
        elif s.kind == STUB_SLOW:
            to_handler(j, s)
            call_rx(j, thunk(j, T_SLOW))
            if s.x87_back.on:
                call_x87(j, &s.x87_back, T_XBACK)
            if s.want_flags:
                call_rx(j, thunk(j, T_FLAGS))
            x_move(j, 0x0F28, s.xback)
            jmp_rx(j, s.back + j.rx)
        elif s.kind == STUB_OTHER:
            if not s.synced or s.x87.on:
                st_env(j, 3, H_CX, AT_VAL)
            leave_state(j, s)
            if not s.synced or s.x87.on:
                ld_env(j, 3, H_CX, AT_VAL)
            has_left(j)
            by_cache(j)
        elif s.kind == STUB_END:
            leave_state(j, s)
            mov_imm(j, H_T, <u64>s.op)
            jmp_rx(j, thunk(j, <int>s.arg if s.arg else T_END))
        elif s.kind == STUB_ROUND:
            x_move(j, 0x0F29, s.xd)
            x_narrow(j, s.wide)
            x87_home(j, &s.x87)
            if not s.synced:
                write_flags(j, s.node)
            if j.n != 2 * j.n1:
                rm(j, 3, 0x81, 0, H_ENV, AT_BUDGET)
                e32(j, j.n - 2 * j.n1)
            mov_imm(j, H_T, <u64>j.head)
            jmp_rx(j, thunk(j, T_BUDGET))
        elif s.kind == STUB_BUDGET:
            mov_imm(j, H_T, <u64>j.head)
            jmp_rx(j, thunk(j, T_BUDGET))
        else:
            if s.kind == STUB_SIDE:
                leave_state(j, s)
            leave_unit(j, s)


cdef void leave_state(J* j, Stub* s) noexcept nogil:
    """Out of the middle of a unit: vector registers and flags are home, what does not run is not paid."""
    x_move(j, 0x0F29, s.xd)
    x_narrow(j, s.wide)
    x87_home(j, &s.x87)
    if not s.synced:
        write_flags(j, s.node)
    if s.rest:
        rm(j, 3, 0x81, 0, H_ENV, AT_BUDGET)
        e32(j, s.rest)


cdef void has_left(J* j) noexcept nogil:
    """Stubs of what follows have nothing to bring home or to give back: leave_state() did."""
    j.cur = CUR_ENV
    j.synced = 1
    j.rest = 0
    j.xd = 0
    j.wide = 0


cdef void leave_unit(J* j, Stub* s) noexcept nogil:
    """To another unit: a jump that is patched when both ends are known."""
    cdef Op* last = &j.b.ops[j.b.n_ops - 1]
    cdef EmitRow r = emit_rows[last.jit >> 48]
    cdef s64 to = <s64>last.imm if s.arg else <s64>j.b.nbytes
    cdef bint test = s.arg and not s.checked and far_target(j, r.size)
    cdef u8* site = s.at
    cdef u8* over = NULL
    cdef u8* wraps = NULL
    cdef u8* beyond = NULL
    cdef Link* x
    if test:                            # the target must lie in the code segment, or the handler does the branch
        target_pc(j, to)
        if r.size == 1:
            rr(j, 2, 0x81, 7, H_CX)
            e32(j, 0xFFFF)
            wraps = jcc_fwd(j, 7)
        if j.mode & M_LIM:
            rm(j, 2, 0x3B, H_CX, H_ENV, AT_SEG + CS * 32 + 8)
            beyond = jcc_fwd(j, 7)
    if s.kind == STUB_SIDE or test:
        e8(j, 0xE9)
        e32(j, 0)
        over = j.p
    if test:
        if wraps is not NULL:
            patch_rw(wraps, j.p)
        if beyond is not NULL:
            patch_rw(beyond, j.p)
        if r.cls == E_LOOP and r.sub == 0:
            count(j, last.scale >> 2 & 3, 1)
        mov_imm(j, H_T, <u64>last)
        jmp_rx(j, thunk(j, T_END))
    if not same_page(j, to) and not flat_code(j):
        patch_rw(over - 4 if over is not NULL else site, j.p)
        target_pc(j, to)
        has_left(j)
        by_cache(j)
        return
    if not same_page(j, to):
        while (<u64>j.p + 16 + X_GEN) & 3:      # so that what is patched does not straddle cache lines
            e8(j, 0x90)
        patch_rw(over - 4 if over is not NULL else site, j.p + 16)
        far_jump(j, <int>s.arg, to)
        return
    while <u64>j.p & 7:
        e8(j, 0x90)
    x = <Link*>j.p
    j.p += sizeof(Link)
    x.b = j.b
    x.slot = s.arg
    x.site = over - 4 if over is not NULL else site
    patch_rw(x.site, j.p)
    mov_imm(j, H_T, <u64>x)
    jmp_rx(j, thunk(j, T_LINK))


cdef u8* guard(J* j) noexcept nogil:
    """Before the head of an instruction that crosses into another page: is it still the same? Returns where it begins."""
    cdef u8* x
    cdef u32 k = 0, n
    while (<u64>j.p + 16 + X_GEN) & 3:
        e8(j, 0x90)
    e64(j, <u64>j.b)
    e64(j, 0)
    x = j.p
    ld_env(j, 3, H_CX, AT_PGPC)
    e8(j, 0x49)
    e8(j, 0xBF)
    e64(j, 1)
    rr(j, 3, 0x3B, H_CX, H_T)
    new_stub(j, jcc_fwd(j, 5), STUB_GUARD).arg = <u64>x
    rm(j, 2, 0x81, 7, H_ENV, AT_JCKEY + 4)
    e32(j, 0)
    new_stub(j, jcc_fwd(j, 5), STUB_GUARD).arg = <u64>x
    e8(j, 0x49)
    e8(j, 0xBF)
    e64(j, 0)
    while k < j.b.cross:
        n = j.b.cross - k
        if n >= 4:
            rm(j, 2, 0x81, 7, H_T, k)
            e32(j, (<u32*>(j.b.tail + k))[0])
            n = 4
        else:
            rm(j, 0, 0x80, 7, H_T, k)
            e8(j, j.b.tail[k])
            n = 1
        k += n
        new_stub(j, jcc_fwd(j, 5), STUB_GUARD).arg = <u64>x
    return x
