"""Emitters: moves, exchanges, conversions, the stack (jit.pyx explains)."""
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport *


cdef void moffs(J* j, Op* op, int size, bint write) noexcept nogil:
    """rcx = host address of an operand whose offset is the immediate."""
    mov_imm(j, H_CX, op.imm)
    by_segment(j, op.seg, size, write, STUB_SLOW)
    check(j, size, write, STUB_SLOW)


cdef bint e_mov(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 form = r.form
    cdef int d = HR[gnum(sz, op.reg)]
    if form == FORM_RR:
        will_write(j, gnum(sz, op.reg), 0)
        if is_high(sz, op.reg) or is_high(sz, op.rm) or d < 0:
            ld_g(j, sz, H_T, op.rm)
            st_g(j, sz, H_T, op.reg)
        else:
            g_rm(j, sz, 0x8A if sz == 0 else 0x8B, d, op.rm)
        rcx_stays(j)
        return 1
    if form == FORM_RI:
        will_write(j, gnum(sz, op.reg), 0)
        if sz >= 2 and d >= 0:
            mov_imm(j, d, op.imm if sz == 3 else <u32>op.imm)
        else:
            mov_imm(j, H_T, op.imm if sz == 3 else <u32>op.imm)
            st_g(j, sz, H_T, op.reg)
        rcx_stays(j)
        return 1
    if not plain(j):
        return 0
    if form == FORM_RM or form == FORM_RO:
        will_write(j, gnum(sz, op.reg), 0)
        if form == FORM_RM and sz >= 2 and d >= 0:
            if operand_sum(j, 1 << sz):
                rmx(j, sz, 0x8B, d, H_CX, H_T, 0, 0)
            else:
                rm(j, sz, 0x8B, d, H_CX, j.at)
            rcx_stays(j)
            return 1
        if form == FORM_RM:
            operand(j, 1 << sz, 0)
        else:
            moffs(j, op, 1 << sz, 0)
        if is_high(sz, op.reg) or d < 0:
            if sz == 0:
                rm(j, 2, 0x0FB6, H_T, H_CX, j.at)
            else:
                rm(j, sz, 0x8B, H_T, H_CX, j.at)
            st_g(j, sz, H_T, op.reg)
        else:
            rm(j, sz, 0x8A if sz == 0 else 0x8B, d, H_CX, j.at)
        rcx_stays(j)
        return 1
    if form == FORM_MR or form == FORM_OR:
        if form == FORM_MR:
            operand(j, 1 << sz, 1)
        else:
            moffs(j, op, 1 << sz, 1)
        if is_high(sz, op.reg) or d < 0:
            ld_g(j, sz, H_T, op.reg)
            d = H_T
        rm(j, sz, 0x88 if sz == 0 else 0x89, d, H_CX, j.at)
        rcx_stays(j)
        return 1
    if form == FORM_MI:
        operand(j, 1 << sz, 1)
        rm(j, sz, 0xC6 if sz == 0 else 0xC7, 0, H_CX, j.at)
        e_imm(j, sz, op.imm)
        rcx_stays(j)
        return 1
    return 0


cdef bint e_lea(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef int d = HR[op.reg]
    cdef int t = H_CX
    if not plain(j):
        return 0
    will_write(j, op.reg, 0)
    if d >= 0 and sz >= 2 and (op.base == R_ZERO or op.base < 16 and HR[op.base] >= 0) and (op.index >= 16 or HR[op.index] >= 0):
        t = d
    offset(j, t, 3 if sz == 3 and address_size(op) == 3 else 2)
    if t != d:
        st_g(j, sz, H_CX, op.reg)
        rcx_lost(j)
    rcx_stays(j)
    return 1


cdef bint e_movx(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef u32 opc = 0x63 if sub == 4 else 0x0FB6 if sub == 0 else 0x0FB7 if sub == 1 else 0x0FBE if sub == 2 else 0x0FBF
    cdef int d = HR[op.reg]
    cdef int t = d if d >= 0 and sz >= 2 else H_T
    cdef int src
    if sub == 4 and sz == 1:
        return 0
    if form == FORM_RM and not plain(j):
        return 0
    will_write(j, op.reg, 0)
    if form == FORM_RR:
        if sub == 0 or sub == 2:
            src = HR[op.rm >> 3]
            if op.rm & 1 or src < 0:
                if src >= 0:
                    st_env(j, 3, src, env_r(op.rm >> 3))
                rm(j, sz, opc, t, H_ENV, env_r(op.rm >> 3) + (op.rm & 1))
            else:
                e_prefix(j, sz, t, 0, src, 4 <= src < 8)
                e_op(j, opc)
                e8(j, 0xC0 | ((t & 7) << 3) | (src & 7))
        else:
            g_rm(j, sz, opc, t, op.rm)
    else:
        operand(j, 4 if sub == 4 else 2 if sub & 1 else 1, 0)
        rm(j, sz, opc, t, H_CX, j.at)
    if t == H_T:
        st_g(j, sz, H_T, op.reg)
    rcx_stays(j)
    return 1


cdef bint e_xchg(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 form = r.form
    if sz < 2:
        return 0
    if form == FORM_RR:
        will_write(j, op.reg, 0)
        will_write(j, op.rm, 0)
        ld_g(j, sz, H_T, op.reg)
        ld_g(j, sz, H_CX, op.rm)
        st_g(j, sz, H_CX, op.reg)
        st_g(j, sz, H_T, op.rm)
        return 1
    if not plain(j):
        return 0
    will_write(j, op.reg, 0)
    mem(j, 1 << sz, 1)
    if HR[op.reg] >= 0:
        rm(j, sz, 0x8B, H_T, H_CX, 0)
        rm(j, sz, 0x89, HR[op.reg], H_CX, 0)
        st_g(j, sz, H_T, op.reg)
    else:
        ld_g(j, sz, H_T, op.reg)
        rm(j, sz, 0x87, H_T, H_CX, 0)
        st_g(j, sz, H_T, op.reg)
    return 1


cdef bint e_cbw(J* j, Op* op, EmitRow r) noexcept nogil:
    will_write(j, RAX, 0)
    e_prefix(j, r.size, 0, 0, 0, 0)
    e8(j, 0x98)
    return 1


cdef bint e_cwd(J* j, Op* op, EmitRow r) noexcept nogil:
    will_write(j, RDX, 0)
    e_prefix(j, r.size, 0, 0, 0, 0)
    e8(j, 0x99)
    return 1


cdef bint e_bswap(J* j, Op* op, EmitRow r) noexcept nogil:
    if r.size < 2:
        return 0
    will_write(j, op.reg, 0)
    ld_g(j, r.size, H_T, op.reg)
    e_prefix(j, r.size, 0, 0, H_T, 0)
    e8(j, 0x0F)
    e8(j, 0xC8 | (H_T & 7))
    st_g(j, r.size, H_T, op.reg)
    return 1


cdef bint e_push(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 form = r.form
    cdef int n = 1 << sz
    cdef int h
    if form == FORM_M and not plain(j):
        return 0
    will_write(j, RSP, 0)
    if form == FORM_M:
        operand(j, n, 0)
        rm(j, sz, 0x8B, H_T, H_CX, j.at)
        st_env(j, 3, H_T, AT_VAL)
    stack(j, RSP, -n, n, 1, STUB_SLOW)
    if form == FORM_I:
        rm(j, sz, 0xC7, 0, H_CX, j.at)
        e_imm(j, sz, op.imm)
    elif form == FORM_M:
        ld_env(j, 3, H_T, AT_VAL)
        rm(j, sz, 0x89, H_T, H_CX, j.at)
    else:
        h = HR[op.reg]
        if h < 0:
            ld_g(j, sz, H_T, op.reg)
            h = H_T
        rm(j, sz, 0x89, h, H_CX, j.at)
    sp_set(j, RSP, -n)
    rcx_stays(j)
    return 1


cdef bint e_pop(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef int n = 1 << sz
    cdef int h = HR[op.reg]
    will_write(j, RSP, 0)
    will_write(j, op.reg, 0)
    stack(j, RSP, 0, n, 0, STUB_SLOW)
    sp_set(j, RSP, n)
    if h >= 0:
        rm(j, sz, 0x8B, h, H_CX, j.at)
    else:
        rm(j, sz, 0x8B, H_T, H_CX, j.at)
        st_g(j, sz, H_T, op.reg)
    rcx_stays(j)
    return 1


cdef bint e_leave(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    will_write(j, RSP, 0)
    will_write(j, RBP, 0)
    stack(j, RBP, 0, 1 << sz, 0, STUB_SLOW)
    sp_set(j, RBP, 1 << sz)
    rm(j, sz, 0x8B, H_BP, H_CX, j.at)
    return 1


cdef bint e_cmovcc(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 cc = r.sub
    cdef u32 form = r.form
    cdef int d = HR[op.reg]
    if form == FORM_RM:
        if not plain(j):
            return 0
        will_write(j, op.reg, 0)
        mem(j, 1 << sz, 0)
        rm(j, sz, 0x8B, H_T, H_CX, 0)
        st_env(j, 3, H_T, AT_VAL)
    else:
        will_write(j, op.reg, 0)
    want(j, cc)
    if d < 0:
        ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
    if form == FORM_RM:
        rm(j, sz, 0x0F40 | cc, d if d >= 0 else H_T, H_ENV, AT_VAL)
    else:
        g_rm(j, sz, 0x0F40 | cc, d if d >= 0 else H_T, op.rm)
    if d < 0:
        st_g(j, sz, H_T, op.reg)
    return 1


cdef bint e_setcc(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef u32 cc = r.sub
    cdef u32 form = r.form
    cdef int h
    if form == FORM_R:
        will_write(j, op.reg >> 3, 0)
        want(j, cc)
        h = HR[op.reg >> 3]
        if op.reg & 1:
            e8(j, 0x0F)
            e8(j, 0x90 | cc)
            e8(j, 0xC1)
            st_g(j, 0, H_CX, op.reg)
        elif h >= 0:
            rr(j, 0, 0x0F90 | cc, 0, h)
        else:
            rm(j, 0, 0x0F90 | cc, 0, H_ENV, env_r(op.reg >> 3))
        return 1
    if not plain(j):
        return 0
    want(j, cc)
    rm(j, 0, 0x0F90 | cc, 0, H_ENV, AT_VAL)
    mem(j, 1, 1)
    rm(j, 2, 0x0FB6, H_T, H_ENV, AT_VAL)
    rm(j, 0, 0x88, H_T, H_CX, 0)
    return 1


cdef bint e_dir(J* j, Op* op, EmitRow r) noexcept nogil:
    """CLD STD."""
    cdef u32 sub = r.sub
    rm(j, 2, 0x81, 1 if sub else 4, H_ENV, AT_EFLAGS)
    e32(j, F_DF if sub else ~<u32>F_DF)
    j.in_host = 0
    return 1


cdef bint e_nop(J* j, Op* op, EmitRow r) noexcept nogil:
    return r.form != FORM_RR or op.reg == op.rm         # 41 90 is an exchange


emitters[E_MOV] = e_mov
emitters[E_LEA] = e_lea
emitters[E_MOVX] = e_movx
emitters[E_XCHG] = e_xchg
emitters[E_CBW] = e_cbw
emitters[E_CWD] = e_cwd
emitters[E_BSWAP] = e_bswap
emitters[E_PUSH] = e_push
emitters[E_POP] = e_pop
emitters[E_LEAVE] = e_leave
emitters[E_CMOVCC] = e_cmovcc
emitters[E_SETCC] = e_setcc
emitters[E_DIR] = e_dir
emitters[E_NOP] = e_nop
