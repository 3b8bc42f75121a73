"""Emitters: jumps, calls and returns, which end a block (jit.pyx explains)."""
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport *
from pcemu._core cimport vtime


cdef void goto_thunk(J* j, u32 cc, bint flat) noexcept nogil:
    """The pc is in rcx, or in jtmp already."""
    cdef Stub* s = new_stub(j, jcc_fwd(j, cc), STUB_END)
    s.arg = T_GOTO if flat else T_FIND


cdef void in_code(J* j) noexcept nogil:
    """The pc in ecx must lie in the code segment, or the handler raises #GP."""
    if j.mode & M_LIM:
        rm(j, 2, 0x3B, H_CX, H_ENV, AT_SEG + CS * 32 + 8)
        new_stub(j, jcc_fwd(j, 7), STUB_END)


cdef bint far_target(J* j, int sz) noexcept nogil:
    """May a direct branch of this operand size lead out of the code segment, or wrap at 64 KiB?"""
    return j.mode & M_LIM or sz == 1


cdef void target_pc(J* j, s64 to) noexcept nogil:
    """ecx = where a direct branch goes."""
    rcx_lost(j)
    ld_env(j, 2, H_CX, AT_PGPC)
    rm(j, 2, 0x8D, H_CX, H_CX, <s32>(j.boff + to))


cdef bint wide_branch(J* j, int sz) noexcept nogil:
    """Is the target cut to 16 bits in a larger code segment? The handler's."""
    return sz == 1 and j.mode & M_CODE_MASK != M_CODE16


cdef bint flat_code(J* j) noexcept nogil:
    """Is the program counter a linear address?"""
    return j.m64 or (j.mode & M_FLAT) != 0


cdef void by_cache(J* j) noexcept nogil:
    """Go to the pc in rcx, by the jump cache. It is known to lie in the code segment."""
    cdef bint flat = flat_code(j)
    if not flat:                                    # rcx = linear address
        st_env(j, 3, H_CX, AT_JTMP)
        rm(j, 2, 0x03, H_CX, H_ENV, AT_SEG + CS * 32)
    rr(j, 3, 0x8B, H_T, H_CX)
    rr(j, 3, 0xC1, 5, H_T)
    e8(j, 12)
    rr(j, 2, 0x33, H_T, H_CX)
    rr(j, 2, 0x81, 4, H_T)
    e32(j, JC_MASK)
    rr(j, 2, 0xC1, 4, H_T)
    e8(j, 5)
    rmx(j, 3, 0x3B, H_CX, H_ENV, H_T, 0, AT_JC)
    goto_thunk(j, 5, flat)
    if flat:
        rr(j, 3, 0x81, 4, H_CX)
        e32(j, <u32>-4096)
    else:
        rr(j, 2, 0x81, 4, H_CX)
        e32(j, 4095)
        rm(j, 2, 0x2B, H_CX, H_ENV, AT_JTMP)
        rr(j, 2, 0xF7, 3, H_CX)                     # neg
    st_env(j, 3, H_CX, AT_PGPC)
    ld_env(j, 3, H_CX, AT_JCKEY)
    rmx(j, 3, 0x3B, H_CX, H_ENV, H_T, 0, AT_JC + 8)
    rmx(j, 3, 0x8B, H_CX, H_ENV, H_T, 0, AT_JC)     # (the flags stay)
    goto_thunk(j, 5, flat)
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


cdef bint e_loop(J* j, Op* op, EmitRow r) noexcept nogil:
    """LOOP JCXZ (as JCC). What counts is r11."""
    cdef int sz = r.size
    cdef int asz = address_size(op)
    cdef int next_ = j.next_slot
    cdef u32 cc = 5 if r.sub == 0 else 4            # taken
    if wide_branch(j, sz):
        return 0
    if next_ < 0:
        home(j)
    if r.sub == 0:
        will_write(j, RCX, 0)
        count(j, asz, -1)
    j.in_host = 0
    rr(j, asz, 0x85, HR[RCX], HR[RCX])
    if next_ >= 0:
        new_stub(j, jcc_fwd(j, cc if next_ == 0 else cc ^ 1), STUB_SIDE).arg = 1 - next_
        return 1
    go(j, 1, cc)
    go(j, 0, -1)
    return 1


cdef void count(J* j, int asz, s32 by) noexcept nogil:
    """CX, ECX or RCX += by; the flags stay."""
    if asz == 1:
        rm(j, 2, 0x8D, H_T, HR[RCX], by)
        rr(j, 1, 0x89, H_T, HR[RCX])
    else:
        rm(j, asz, 0x8D, HR[RCX], HR[RCX], by)


cdef bint e_jcc(J* j, Op* op, EmitRow r) noexcept nogil:
    """In the middle of a unit: go on in the block that the unit has next, leave by a stub that writes the flags."""
    cdef int sz = r.size
    cdef u32 cc = r.sub
    cdef int next_ = j.next_slot
    if wide_branch(j, sz):
        return 0
    if next_ >= 0:
        want(j, cc)
        new_stub(j, jcc_fwd(j, cc if next_ == 0 else cc ^ 1), STUB_SIDE).arg = 1 - next_
        rcx_stays(j)
        return 1
    sync(j)
    want(j, cc)
    go(j, 1, cc)
    go(j, 0, -1)
    return 1


cdef bint e_jmp(J* j, Op* op, EmitRow r) noexcept nogil:
    if wide_branch(j, r.size):
        return 0
    if j.next_slot >= 0:
        rcx_stays(j)
        return 1
    sync(j)
    go(j, 1, -1)
    return 1


cdef void push_return(J* j, Op* op, int sz) noexcept nogil:
    cdef int n = 1 << sz
    stack(j, RSP, -n, n, 1, STUB_END)
    ld_env(j, 3, H_T, AT_PGPC)
    rm(j, 3 if j.m64 else 2, 0x8D, H_T, H_T, <s32>(j.boff + op.pcoff + op.length))
    rm(j, sz, 0x89, H_T, H_CX, j.at)
    sp_set(j, RSP, -n)


cdef bint e_call(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    if wide_branch(j, sz):
        return 0
    if j.next_slot >= 0:
        will_write(j, RSP, 0)
        push_return(j, op, sz)
        return 1
    home(j)
    if far_target(j, sz):               # before anything is pushed
        target_pc(j, <s64>op.imm)
        if sz == 1:
            rr(j, 2, 0x81, 7, H_CX)
            e32(j, 0xFFFF)
            new_stub(j, jcc_fwd(j, 7), STUB_END)
        in_code(j)
    push_return(j, op, sz)
    go(j, 1, -1)
    j.stubs[j.n_stubs - 1].checked = 1
    return 1


cdef void leap(J* j) noexcept nogil:
    """To the pc in rcx: on in the unit, if that is where its next block is."""
    if j.next_slot < 0:
        by_cache(j)
        return
    ld_env(j, 3, H_T, AT_PGPC)
    rm(j, 3 if j.m64 else 2, 0x8D, H_T, H_T, <s32>j.next_off)
    rr(j, 3 if j.m64 else 2, 0x3B, H_CX, H_T)
    new_stub(j, jcc_fwd(j, 5), STUB_OTHER)
    j.in_host = 0


cdef bint e_jmpi(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    if form == FORM_M and not plain(j):
        return 0
    if j.next_slot < 0:
        home(j)
    if form == FORM_M:
        mem_or(j, 1 << sz, 0, STUB_END)
        rm(j, 2 if sz == 1 else sz, 0x0FB7 if sz == 1 else 0x8B, H_CX, H_CX, j.at)
    elif sz == 1:
        g_rm(j, 2, 0x0FB7, H_CX, op.reg)
    else:
        ld_g(j, sz, H_CX, op.reg)
    rcx_lost(j)
    in_code(j)
    if sub == 1:
        if j.m64:                       # a target in the non-canonical hole: nothing is pushed
            mov(j, H_T, H_CX)
            rr(j, 3, 0xC1, 7, H_T)
            e8(j, 47)
            rm(j, 3, 0x8D, H_T, H_T, 1)
            rr(j, 3, 0x83, 7, H_T)
            e8(j, 1)
            new_stub(j, jcc_fwd(j, 7), STUB_END)
        st_env(j, 3, H_CX, AT_VAL)
        will_write(j, RSP, 0)
        push_return(j, op, sz)
        ld_env(j, 3, H_CX, AT_VAL)
    leap(j)
    return 1


cdef bint e_ret(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 sub = r.sub
    if j.next_slot >= 0:
        will_write(j, RSP, 0)
    else:
        home(j)
    stack(j, RSP, 0, 1 << sz, 0, STUB_END)
    rm(j, 2 if sz == 1 else sz, 0x0FB7 if sz == 1 else 0x8B, H_CX, H_CX, j.at)
    in_code(j)
    sp_set(j, RSP, (1 << sz) + (<s32>(op.imm & 0xffff) if sub else 0))
    leap(j)
    return 1


cdef extern from *:
    """
    #define PCEMU_CLOCK(f) ((int)offsetof(struct __pyx_t_5pcemu_5_core_5state_ClockState, f))
    """
    enum:
        CLOCK_DEADLINE "PCEMU_CLOCK(deadline)"
        CLOCK_OFFSET "PCEMU_CLOCK(offset)"
        CLOCK_SEEN "PCEMU_CLOCK(seen)"
        CLOCK_ANCHOR_TSC "PCEMU_CLOCK(anchor_tsc)"
        CLOCK_ANCHOR_NS "PCEMU_CLOCK(anchor_ns)"
        CLOCK_RATE "PCEMU_CLOCK(rate)"


cdef bint e_time(J* j, Op* op, EmitRow r) noexcept nogil:
    """RDTSC, as vtime.read_tsc() while the host's counter stands in for its clock; the handler when it is time to look at that."""
    cdef ClockState* k = j.c.clk
    if k.icount or not k.quick or not k.rate or j.c.lock is not NULL:   # (lockstep logs readings)
        return 0
    will_write(j, RAX, 0)
    will_write(j, RDX, 0)
    if j.mode >> M_CPL_SHIFT & 3:
        rm(j, 2, 0xF7, 0, H_ENV, AT_CR4)
        e32(j, CR4_TSD)
        new_stub(j, jcc_fwd(j, 5), STUB_SLOW)
    e8(j, 0x0F)
    e8(j, 0x31)
    rr(j, 3, 0xC1, 4, H_DX)
    e8(j, 32)
    rr(j, 3, 0x0B, H_AX, H_DX)
    mov_imm(j, H_T, <u64>k)
    mov(j, H_CX, H_AX)
    rm(j, 3, 0x2B, H_CX, H_T, CLOCK_ANCHOR_TSC)
    rr(j, 3, 0x81, 7, H_CX)
    e32(j, vtime.QUICK_SPAN)
    new_stub(j, jcc_fwd(j, 7), STUB_SLOW)
    rm(j, 3, 0x0FAF, H_CX, H_T, CLOCK_RATE)
    rr(j, 3, 0xC1, 5, H_CX)
    e8(j, 32)
    rm(j, 3, 0x03, H_CX, H_T, CLOCK_ANCHOR_NS)
    rm(j, 3, 0x2B, H_CX, H_T, CLOCK_OFFSET)
    mov(j, H_DX, H_CX)
    rm(j, 3, 0x2B, H_DX, H_T, CLOCK_DEADLINE)
    rr(j, 3, 0x81, 7, H_DX)
    e32(j, vtime.CATCH_UP)
    new_stub(j, jcc_fwd(j, 15), STUB_SLOW)
    rm(j, 3, 0x3B, H_CX, H_T, CLOCK_SEEN)
    new_stub(j, jcc_fwd(j, 12), STUB_SLOW)
    rm(j, 3, 0x89, H_CX, H_T, CLOCK_SEEN)
    rm(j, 3, 0x03, H_CX, H_ENV, AT_TSC)
    rr(j, 2, 0x8B, H_AX, H_CX)
    rr(j, 3, 0xC1, 5, H_CX)
    e8(j, 32)
    rr(j, 2, 0x8B, H_DX, H_CX)
    j.in_host = HOST_NONE
    return 1


emitters[E_TIME] = e_time
emitters[E_JCC] = e_jcc
emitters[E_LOOP] = e_loop
emitters[E_JMP] = e_jmp
emitters[E_CALL] = e_call
emitters[E_JMPI] = e_jmpi
emitters[E_RET] = e_ret
