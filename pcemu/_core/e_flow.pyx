"""Emitters: jumps, calls and returns, which end a block (jit.pyx explains)."""
from pcemu._core.emit cimport *


cdef void goto_thunk(J* j, u32 cc) noexcept nogil:
    cdef Stub* s = new_stub(j, jcc_fwd(j, cc), STUB_END)
    s.arg = T_GOTO


cdef void by_cache(J* j) noexcept nogil:
    """Go to the pc in rcx, by the jump cache."""
    rr(j, 3, 0x8B, H_T, H_CX)
    rr(j, 3, 0xC1, 5, H_T)
    e8(j, 12)
    rr(j, 2, 0x33, H_T, H_CX)
    rr(j, 2, 0x81, 4, H_T)
    e32(j, JC_MASK)
    rr(j, 2, 0xC1, 4, H_T)
    e8(j, 5)
    rmx(j, 3, 0x3B, H_CX, H_ENV, H_T, 0, AT_JC)
    goto_thunk(j, 5)
    rr(j, 3, 0x81, 4, H_CX)
    e32(j, <u32>-4096)
    st_env(j, 3, H_CX, AT_PGPC)
    ld_env(j, 3, H_CX, AT_JCKEY)
    rmx(j, 3, 0x3B, H_CX, H_ENV, H_T, 0, AT_JC + 8)
    rmx(j, 3, 0x8B, H_CX, H_ENV, H_T, 0, AT_JC)     # (the flags stay)
    goto_thunk(j, 5)
    rmx(j, 2, 0xFF, 4, H_ENV, H_T, 0, AT_JC + 24)


cdef bint same_page(J* j, s64 to) noexcept nogil:
    """to: offset from the block's pc."""
    cdef s64 off = j.boff + to
    return 0 <= off < 4096


cdef void far_jump(J* j, int slot, s64 to) noexcept nogil:
    """To another page, whose mapping may change: linked for one place of this page and one generation of the jump cache."""
    cdef u8* start
    cdef u8* a
    cdef u8* b
    e64(j, <u64>j.b)
    e64(j, slot)
    start = j.p
    ld_env(j, 3, H_CX, AT_PGPC)
    e8(j, 0x49)
    e8(j, 0xBF)
    e64(j, 1)                                       # (no page begins there)
    rr(j, 3, 0x3B, H_CX, H_T)
    a = jcc_fwd(j, 5)
    rm(j, 2, 0x81, 7, H_ENV, AT_JCKEY + 4)
    e32(j, 0)
    b = jcc_fwd(j, 5)
    rm(j, 3 if j.m64 else 2, 0x8D, H_T, H_T, <s32>((to + j.boff) & ~<s64>4095))
    st_env(j, 3, H_T, AT_PGPC)
    e8(j, 0xE9)
    e32(j, 0)
    if j.p - start != X_END:
        j.failed = 1
    patch_rw(a, j.p)
    patch_rw(b, j.p)
    mov_imm(j, H_T, <u64>start)
    jmp_rx(j, thunk(j, T_XLINK))


cdef void go(J* j, int slot, int cc) noexcept nogil:
    """Jump (cc < 0: always) to a successor of the unit's last block; the flags are home."""
    if cc >= 0:
        new_stub(j, jcc_fwd(j, cc), STUB_LINK).arg = slot
        return
    e8(j, 0xE9)
    e32(j, 0)
    new_stub(j, j.p - 4, STUB_LINK).arg = slot


cdef bint e_jcc(J* j, Op* op, EmitRow r) noexcept nogil:
    """In the middle of a unit: go on in the block that the unit has next, leave by a stub that writes the flags."""
    cdef int sz = r.size
    cdef u32 cc = r.sub
    cdef int next_ = j.next_slot
    if sz == 1:
        return 0
    if next_ >= 0:
        want(j, cc)
        new_stub(j, jcc_fwd(j, cc if next_ == 0 else cc ^ 1), STUB_SIDE).arg = 1 - next_
        return 1
    sync(j)
    want(j, cc)
    go(j, 1, cc)
    go(j, 0, -1)
    return 1


cdef bint e_jmp(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    if sz == 1:
        return 0
    if j.next_slot >= 0:
        return 1
    sync(j)
    go(j, 1, -1)
    return 1


cdef void push_return(J* j, Op* op, int sz) noexcept nogil:
    cdef int n = 1 << sz
    mem_at(j, RSP, -n, sz, n, 1, STUB_END)
    ld_env(j, 3, H_T, AT_PGPC)
    rm(j, sz, 0x8D, H_T, H_T, <s32>(j.boff + op.pcoff + op.length))
    rm(j, sz, 0x89, H_T, H_CX, 0)
    sp_lea(j, H_R13, -n)


cdef bint e_call(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    if not stack_ok(j, sz):
        return 0
    if j.next_slot >= 0:
        will_write(j, RSP, 0)
        push_return(j, op, sz)
        return 1
    home(j)
    push_return(j, op, sz)
    go(j, 1, -1)
    return 1


cdef bint e_jmpi(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    if sz != (3 if j.m64 else 2):
        return 0
    if form == FORM_M and op.am == AM_GENERAL:
        return 0
    home(j)
    if form == FORM_M:
        address(j, H_CX, 3 if j.op.am == AM_FLAT64 else 2)
        check(j, 1 << sz, 0, STUB_END)
        rm(j, sz, 0x8B, H_CX, H_CX, 0)
    else:
        ld_g(j, sz, H_CX, op.reg)
    if sub == 1:
        if j.m64:                       # a target in the non-canonical hole: nothing is pushed
            mov(j, H_T, H_CX)
            rr(j, 3, 0xC1, 7, H_T)
            e8(j, 47)
            rm(j, 3, 0x8D, H_T, H_T, 1)
            rr(j, 3, 0x83, 7, H_T)
            e8(j, 1)
            new_stub(j, jcc_fwd(j, 7), STUB_END)
        st_env(j, 3, H_CX, AT_JTMP)
        push_return(j, op, sz)
        ld_env(j, 3, H_CX, AT_JTMP)
    by_cache(j)
    return 1


cdef bint e_ret(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 sub = r.sub
    if not stack_ok(j, sz):
        return 0
    if j.next_slot >= 0:
        will_write(j, RSP, 0)
    else:
        home(j)
    mem_at(j, RSP, 0, sz, 1 << sz, 0, STUB_END)
    rm(j, sz, 0x8B, H_CX, H_CX, 0)
    sp_lea(j, H_R13, (1 << sz) + (<s32>(op.imm & 0xffff) if sub else 0))
    if j.next_slot < 0:
        by_cache(j)
        return 1
    # its call is part of the unit: it must have come back behind that
    ld_env(j, 3, H_T, AT_PGPC)
    rm(j, sz, 0x8D, H_T, H_T, <s32>j.next_off)
    rr(j, sz, 0x3B, H_CX, H_T)
    new_stub(j, jcc_fwd(j, 5), STUB_RETURN)
    j.in_host = 0
    return 1


emitters[E_JCC] = e_jcc
emitters[E_JMP] = e_jmp
emitters[E_CALL] = e_call
emitters[E_JMPI] = e_jmpi
emitters[E_RET] = e_ret
