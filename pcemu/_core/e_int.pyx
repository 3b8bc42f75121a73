"""Emitters of the integer instructions: the same instruction again, on the guest's registers (jit.pyx explains)."""
from pcemu._core.emit cimport *

# Each returns False where the handler shall do it; nothing has been written then.

cdef void moffs(J* j, Op* op, int size, bint write) noexcept nogil:
    """rcx = host address of an operand whose offset is the immediate."""
    mov_imm(j, H_CX, op.imm)
    by_segment(j, H_CX)
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
        return 1
    if form == FORM_RI:
        will_write(j, gnum(sz, op.reg), 0)
        if sz >= 2 and d >= 0:
            mov_imm(j, d, op.imm if sz == 3 else <u32>op.imm)
        else:
            mov_imm(j, H_T, op.imm if sz == 3 else <u32>op.imm)
            st_g(j, sz, H_T, op.reg)
        return 1
    if not plain(j):
        return 0
    if form == FORM_RM or form == FORM_RO:
        will_write(j, gnum(sz, op.reg), 0)
        if form == FORM_RM:
            mem(j, 1 << sz, 0)
        else:
            moffs(j, op, 1 << sz, 0)
        if is_high(sz, op.reg) or d < 0:
            if sz == 0:
                rm(j, 2, 0x0FB6, H_T, H_CX, 0)
            else:
                rm(j, sz, 0x8B, H_T, H_CX, 0)
            st_g(j, sz, H_T, op.reg)
        else:
            rm(j, sz, 0x8A if sz == 0 else 0x8B, d, H_CX, 0)
        return 1
    if form == FORM_MR or form == FORM_OR:
        if form == FORM_MR:
            mem(j, 1 << sz, 1)
        else:
            moffs(j, op, 1 << sz, 1)
        if is_high(sz, op.reg) or d < 0:
            ld_g(j, sz, H_T, op.reg)
            d = H_T
        rm(j, sz, 0x88 if sz == 0 else 0x89, d, H_CX, 0)
        return 1
    if form == FORM_MI:
        mem(j, 1 << sz, 1)
        rm(j, sz, 0xC6 if sz == 0 else 0xC7, 0, H_CX, 0)
        e_imm(j, sz, op.imm)
        return 1
    return 0


cdef inline u32 kind_of(u32 sub, int sz) noexcept nogil:
    if sub == 0:
        return K_ADD + sz
    if sub == 5 or sub == 7:
        return K_SUB + sz
    return K_LOGIC


cdef bint e_alu(J* j, Op* op, EmitRow r) noexcept nogil:
    """ADD OR AND SUB XOR CMP."""
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i]
    cdef u32 kind = kind_of(sub, sz)
    cdef u32 opc = sub * 8 + (2 if sz == 0 else 3)
    cdef int d, s
    cdef s64 v = imm_of(sz, op.imm)
    cdef Loc src
    if form == FORM_RR or form == FORM_RI:
        src = loc_g(op.rm) if form == FORM_RR else loc_imm(v)
        if sub == 7:
            if not need:
                set_dead(j)
            else:
                set_node(j, N_CMP, kind, sz, loc_g(op.reg), src, CUR_DEAD, 0)
            return 1
        d = HR[gnum(sz, op.reg)]
        if need and kind != K_LOGIC and form == FORM_RR and gnum(sz, op.rm) == gnum(sz, op.reg):
            st_src(j, sz, &src)
            src = loc_env()
        j.host_lo = j.op_stub
        if is_high(sz, op.reg):
            ld_g(j, 0, H_T, op.reg)
            alu_loc(j, 0, sub, H_T, &src, AT_CC_SRC)
            st_g(j, 0, H_T, op.reg)
        elif d >= 0:
            alu_loc_any(j, sz, sub, d, op, form, v)
        elif sz == 2:
            ld_g(j, sz, H_T, op.reg)
            alu_loc_any(j, sz, sub, H_T, op, form, v)
            st_g(j, sz, H_T, op.reg)
        else:
            ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
            alu_loc_any(j, sz, sub, H_T, op, form, v)
            st_g(j, sz, H_T, op.reg)
        if not need:
            set_dead(j)
        else:
            set_node(j, N_TRIPLE, kind, sz, loc_g(op.reg), src if kind != K_LOGIC else loc_none(), CUR_DEAD, 1)
        return 1
    if not plain(j):
        return 0
    if form == FORM_RM:
        mem(j, 1 << sz, 0)
        j.host_lo = j.op_stub
        d = HR[gnum(sz, op.reg)]
        src = loc_env()
        if need and kind != K_LOGIC or is_high(sz, op.reg) or d < 0:
            rm(j, 2 if sz == 0 else sz, 0x0FB6 if sz == 0 else 0x8B, H_T, H_CX, 0)
            if need and kind != K_LOGIC:
                st_env(j, 3, H_T, AT_CC_SRC)
            s = H_T
        else:
            s = NO_REG
        if sub == 7:
            if not need:
                set_dead(j)
            else:
                set_node(j, N_CMP, kind, sz, loc_g(op.reg), src, CUR_DEAD, 0)
            return 1
        if s == NO_REG:
            rm(j, sz, opc, d, H_CX, 0)
        elif d >= 0 and not is_high(sz, op.reg):
            alu_rr(j, sz, sub, d, H_T)
        else:
            ld_g(j, 3 if sz == 1 else sz, H_CX, op.reg)
            alu_rr(j, sz, sub, H_CX, H_T)
            st_g(j, sz, H_CX, op.reg)
        if not need:
            set_dead(j)
        else:
            set_node(j, N_TRIPLE, kind, sz, loc_g(op.reg), src if kind != K_LOGIC else loc_none(), CUR_DEAD, 1)
        return 1
    # memory destination
    if form != FORM_MR and form != FORM_MI:
        return 0
    if form == FORM_MR and is_high(sz, op.reg):
        return 0
    mem(j, 1 << sz, sub != 7)
    j.host_lo = j.op_stub
    src = loc_g(op.reg) if form == FORM_MR else loc_imm(v)
    if sub == 7 and not need:
        set_dead(j)
        return 1
    if not need:
        if form == FORM_MI:
            if sz and -128 <= v < 128:
                rm(j, sz, 0x83, sub, H_CX, 0)
                e8(j, <u32>v)
            else:
                rm(j, sz, 0x80 if sz == 0 else 0x81, sub, H_CX, 0)
                e_imm(j, sz, <u64>v)
        else:
            d = HR[gnum(sz, op.reg)]
            if d < 0:
                ld_g(j, sz, H_T, op.reg)
                d = H_T
            rm(j, sz, sub * 8 + (0 if sz == 0 else 1), d, H_CX, 0)
        set_dead(j)
        return 1
    rm(j, 2 if sz == 0 else sz, 0x0FB6 if sz == 0 else 0x8B, H_T, H_CX, 0)
    alu_loc(j, sz, 5 if sub == 7 else sub, H_T, &src, 0)
    if sub != 7:
        rm(j, sz, 0x88 if sz == 0 else 0x89, H_T, H_CX, 0)
    st_sx(j, sz, H_T)
    set_node(j, N_TRIPLE, kind, sz, loc_env(), src if kind != K_LOGIC else loc_none(), CUR_DEAD, 1)
    return 1


cdef Loc loc_none() noexcept nogil:
    """K_LOGIC has no second operand."""
    cdef Loc l
    l.t = L_NONE
    l.g = 0
    l.imm = 0
    return l


cdef void alu_loc_any(J* j, int sz, u32 sub, int dst, Op* op, u32 form, s64 v) noexcept nogil:
    """dst op= the op's register or immediate source. dst is a host register; r15 only where dst is not guest."""
    if form == FORM_RI:
        alu_ri(j, sz, sub, dst, v)
    elif is_high(sz, op.rm):
        ld_g(j, 0, H_CX, op.rm)
        alu_rr(j, 0, sub, dst, H_CX)
    else:
        g_rm(j, sz, sub * 8 + (2 if sz == 0 else 3), dst, op.rm)


cdef bint e_test(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i]
    cdef s64 v = imm_of(sz, op.imm)
    cdef Loc src
    if form == FORM_RR or form == FORM_RI:
        src = loc_g(op.rm) if form == FORM_RR else loc_imm(v)
        if not need:
            set_dead(j)
        elif form == FORM_RR and op.reg == op.rm:
            set_node(j, N_TRIPLE, K_LOGIC, sz, loc_g(op.reg), loc_none(), CUR_DEAD, 0)
        else:
            set_node(j, N_TEST, K_LOGIC, sz, loc_g(op.reg), src, CUR_DEAD, 0)
        return 1
    if not plain(j) or form == FORM_MR and is_high(sz, op.reg) or form == FORM_RM and is_high(sz, op.reg):
        return 0
    mem(j, 1 << sz, 0)
    j.host_lo = j.op_stub
    if not need:
        set_dead(j)
        return 1
    src = loc_imm(v) if form == FORM_MI else loc_g(op.reg)
    rm(j, 2 if sz == 0 else sz, 0x0FB6 if sz == 0 else 0x8B, H_T, H_CX, 0)
    alu_loc(j, sz, 4, H_T, &src, 0)
    st_sx(j, sz, H_T)
    set_node(j, N_TRIPLE, K_LOGIC, sz, loc_env(), loc_none(), CUR_DEAD, 1)
    return 1


cdef bint e_adc(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i]
    cdef int d = HR[gnum(sz, op.reg)]
    cdef Loc src, dst
    if form != FORM_RR and form != FORM_RI and form != FORM_RM or sz == 0 or sz == 1:
        return 0
    if form == FORM_RM:
        if not plain(j):
            return 0
        mem(j, 1 << sz, 0)
        rm(j, sz, 0x8B, H_T, H_CX, 0)
        st_env(j, 3, H_T, AT_VAL)
    want(j, 2)
    src = loc_g(op.rm) if form == FORM_RR else loc_imm(imm_of(sz, op.imm))
    if need:
        e8(j, 0x0F)
        e8(j, 0x92)
        e8(j, 0xC1)                                 # setc cl
        rr(j, 2, 0x0FB6, H_CX, H_CX)
        rmx(j, 2, 0x8D, H_CX, NO_REG, H_CX, 3, (K_ADD if sub == 2 else K_SUB) + sz)
        st_env(j, 2, H_CX, AT_CC_KIND)
        if form == FORM_RM:
            ld_env(j, 3, H_CX, AT_VAL)
            st_env(j, 3, H_CX, AT_CC_SRC)
        else:
            st_src(j, sz, &src)
    if d < 0:
        ld_g(j, sz, H_T, op.reg)
        d = H_T
    if form == FORM_RM:
        rm(j, sz, sub * 8 + 3, d, H_ENV, AT_VAL)
    elif form == FORM_RI:
        alu_ri(j, sz, sub, d, src.imm)
    else:
        g_rm(j, sz, sub * 8 + 3, d, op.rm)
    if d == H_T:
        st_g(j, sz, H_T, op.reg)
    j.host_lo = j.op_stub
    if not need:
        set_dead(j)
        return 1
    dst = loc_g(op.reg)
    st_res(j, sz, &dst)
    set_env(j, 1)
    return 1


cdef bint e_unary(J* j, Op* op, EmitRow r) noexcept nogil:
    """INC DEC NOT NEG."""
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i]
    cdef u32 opc = 0xFE if sz == 0 else 0xFF
    cdef u32 kind = (K_INC if sub == 0 else K_DEC) + sz if sub < 2 else K_SUB + sz
    cdef int d = HR[gnum(sz, op.reg)]
    cdef int prior
    cdef Loc src
    if form == FORM_R:
        if is_high(sz, op.reg):
            return 0
        if sub == 2:
            will_write(j, gnum(sz, op.reg), 0)
            opc -= 8
        elif sub == 3:
            opc -= 8
            if need:
                src = loc_g(op.reg)
                st_src(j, sz, &src)
        elif need & FB_C:
            if refers(j, j.cur, gnum(sz, op.reg)):
                detach(j)
        if d >= 0:
            rr(j, sz, opc, sub, d)
        else:
            ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
            rr(j, sz, opc, sub, H_T)
            st_g(j, sz, H_T, op.reg)
        if sub == 2:
            return 1
        j.host_lo = j.op_stub
        if not need:
            set_dead(j)
        elif sub == 3:
            set_node(j, N_TRIPLE, kind, sz, loc_g(op.reg), loc_env(), CUR_DEAD, 1)
        elif need & FB_C:
            prior = j.cur
            while prior >= 0 and j.nodes[prior].type == N_INC:
                prior = j.nodes[prior].prior
            set_node(j, N_INC, kind, sz, loc_g(op.reg), loc_none(), prior, 0)
        else:
            set_node(j, N_TRIPLE, kind, sz, loc_g(op.reg), loc_imm(0), CUR_DEAD, 0)
        return 1
    if not plain(j):
        return 0
    if sub == 2:
        mem(j, 1 << sz, 1)
        rm(j, sz, opc - 8, 2, H_CX, 0)
        return 1
    if sub < 2 and need & FB_C:
        node_cf(j, j.cur)
        st_env(j, 3, H_T, AT_JTMP)
    mem(j, 1 << sz, 1)
    if not need:
        rm(j, sz, opc - (8 if sub == 3 else 0), sub, H_CX, 0)
        set_dead(j)
        return 1
    rm(j, 2 if sz == 0 else sz, 0x0FB6 if sz == 0 else 0x8B, H_T, H_CX, 0)
    if sub == 3:
        st_env(j, 3, H_T, AT_CC_SRC)
    rr(j, sz, opc - (8 if sub == 3 else 0), sub, H_T)
    rm(j, sz, 0x88 if sz == 0 else 0x89, H_T, H_CX, 0)
    st_sx(j, sz, H_T)
    src = loc_env()
    if sub < 2:
        if need & FB_C:
            ld_env(j, 3, H_CX, AT_JTMP)
            st_env(j, 3, H_CX, AT_CC_SRC)
        else:
            src = loc_imm(0)
    set_node(j, N_TRIPLE, kind, sz, loc_env(), src, CUR_DEAD, 0)
    return 1


cdef bint e_lea(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef int d = HR[op.reg]
    cdef u32 seg = op.seg
    cdef int t
    if op.am == AM_GENERAL or sz == 1 or op.am == AM_FLAT32 and sz != 2:
        return 0
    will_write(j, op.reg, 0)
    op.seg = SEG_FLAT
    t = H_CX
    if d >= 0 and (op.base == R_ZERO or op.base < 16 and HR[op.base] >= 0) and (op.index >= 16 or HR[op.index] >= 0):
        t = d
    address(j, t, sz)
    op.seg = <u8>seg
    if t != d:
        st_g(j, sz, H_CX, op.reg)
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
        mem(j, 4 if sub == 4 else 2 if sub & 1 else 1, 0)
        rm(j, sz, opc, t, H_CX, 0)
    if t == H_T:
        st_g(j, sz, H_T, op.reg)
    return 1


cdef bint e_shift(J* j, Op* op, EmitRow r) noexcept nogil:
    """SHL SHR SAR. cc_src: shifted by one less."""
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i]
    cdef u32 cnt = op.imm & (63 if sz == 3 else 31)
    cdef int d, z = 3 if sz == 3 else 2
    cdef u32 kind = (K_SHL if sub == 4 else K_SHR) + sz
    cdef u32 b8 = 0 if sz == 0 else 1
    if form == FORM_MC or form != FORM_MI and is_high(sz, op.reg):
        return 0
    if form == FORM_RI or form == FORM_RC:
        d = HR[gnum(sz, op.reg)]
    if form == FORM_RI:
        if cnt == 0:
            if sz == 2:
                will_write(j, op.reg, 0)
                ld_g(j, 2, H_T, op.reg)
                st_g(j, 2, H_T, op.reg)
            return 1
        if need:
            load_ext(j, sz, H_T, op.reg, sub)
            if cnt > 1:
                rr(j, z, 0xC1, sub, H_T)
                e8(j, cnt - 1)
            st_env(j, 3, H_T, AT_CC_SRC)
        if d >= 0:
            rr(j, sz, 0xC0 | b8, sub, d)
            e8(j, cnt)
        else:
            ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
            rr(j, sz, 0xC0 | b8, sub, H_T)
            e8(j, cnt)
            st_g(j, sz, H_T, op.reg)
        j.host_lo = j.op_stub
        if need:
            set_node(j, N_TRIPLE, kind, sz, loc_g(op.reg), loc_env(), CUR_DEAD, 1 if cnt == 1 else 2)
        else:
            set_dead(j)
        return 1
    if form == FORM_RC:
        if need:
            detach(j)
            sync(j)
        rr(j, 2, 0x8B, H_CX, HR[RCX])
        if d < 0 and not need:
            if sz == 2:
                shift_mem32(j, sub, op.reg)
            else:
                rm(j, sz, 0xD2 | b8, sub, H_ENV, env_r(gnum(sz, op.reg)))
            set_dead(j)
            return 1
        if not need:
            rr(j, sz, 0xD2 | b8, sub, d)
            set_dead(j)
            return 1
        return e_shift_c(j, op, sz, sub, kind)
    if not plain(j) or cnt == 0:
        return 0
    mem(j, 1 << sz, 1)
    if not need:
        rm(j, sz, 0xC0 | b8, sub, H_CX, 0)
        e8(j, cnt)
        set_dead(j)
        return 1
    if sz >= 2:
        rm(j, sz, 0x8B, H_T, H_CX, 0)
    else:
        rm(j, 2, (0x0FB6 if sub != 7 else 0x0FBE) | sz, H_T, H_CX, 0)
    if cnt > 1:
        rr(j, z, 0xC1, sub, H_T)
        e8(j, cnt - 1)
    st_env(j, 3, H_T, AT_CC_SRC)
    rm(j, sz, 0xC0 | b8, sub, H_CX, 0)
    e8(j, cnt)
    if sz >= 2:
        rm(j, sz, 0x8B, H_T, H_CX, 0)
    else:
        rm(j, 2, 0x0FB6 | sz, H_T, H_CX, 0)
    st_sx(j, sz, H_T)
    set_node(j, N_TRIPLE, kind, sz, loc_env(), loc_env(), CUR_DEAD, 0)
    return 1


cdef void shift_mem32(J* j, u32 sub, int g) noexcept nogil:
    ld_g(j, 2, H_T, g)
    rr(j, 2, 0xD3, sub, H_T)
    st_g(j, 2, H_T, g)


cdef void load_ext(J* j, int sz, int dst, int g, u32 sub) noexcept nogil:
    """dst = guest register, extended from 8 and 16 bits as the shift wants it."""
    if sz >= 2:
        ld_g(j, sz, dst, g)
    elif sz == 1:
        g_rm(j, 2, 0x0FBF if sub == 7 else 0x0FB7, dst, g)
    else:
        ld_g(j, 0, dst, g)
        if sub == 7:
            rr(j, 2, 0x0FBE, dst, dst)


cdef bint e_shift_c(J* j, Op* op, int sz, u32 sub, u32 kind) noexcept nogil:
    """A shift by CL (in ecx) whose flags matter: a count of 0 leaves them alone."""
    cdef u8* skip
    cdef int d = HR[gnum(sz, op.reg)]
    cdef int z = 3 if sz == 3 else 2
    cdef u32 b8 = 0 if sz == 0 else 1
    if sz == 2:
        ld_g(j, 2, H_T, op.reg)
        st_g(j, 2, H_T, op.reg)
    rr(j, 2, 0x83, 4, H_CX)
    e8(j, 63 if sz == 3 else 31)
    skip = jcc_fwd(j, 4)
    rm(j, 2, 0x8D, H_CX, H_CX, -1)
    load_ext(j, sz, H_T, op.reg, sub)
    rr(j, z, 0xD3, sub, H_T)
    st_env(j, 3, H_T, AT_CC_SRC)
    st_kind(j, kind)
    rm(j, 2, 0x8D, H_CX, H_CX, 1)
    ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
    rr(j, sz, 0xD2 | b8, sub, H_T)
    if d >= 0 and sz == 3:
        mov(j, d, H_T)
    else:
        st_g(j, sz, H_T, op.reg)
    st_sx(j, sz, H_T)
    patch_rw(skip, j.p)
    set_env(j, 0)
    return 1


cdef bint e_rotate(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef int d = HR[gnum(sz, op.reg)]
    cdef u32 b8 = 0 if sz == 0 else 1
    cdef u32 need = j.live[j.i] & (FB_C | FB_O)
    cdef int prior
    if form != FORM_RI and form != FORM_RC or is_high(sz, op.reg) or need and form == FORM_RC:
        return 0
    if form == FORM_RI and not op.imm & (63 if sz == 3 else 31):
        return 0
    will_write(j, gnum(sz, op.reg), FB_C | FB_O)
    if form == FORM_RC:
        rr(j, 2, 0x8B, H_CX, HR[RCX])
    if d < 0:
        ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
        d = H_T
    rr(j, sz, (0xC0 if form == FORM_RI else 0xD2) | b8, sub, d)
    if form == FORM_RI:
        e8(j, <u32>op.imm)
    if d == H_T:
        st_g(j, sz, H_T, op.reg)
    j.in_host = 0
    if need:
        prior = j.cur
        while prior >= 0 and j.nodes[prior].type == N_ROT:      # its CF and OF are gone
            prior = j.nodes[prior].prior
        set_node(j, N_ROT, sub, sz, loc_g(op.reg), loc_none(), CUR_ENV if j.synced and prior == j.cur else prior, 0)
    return 1


cdef bint e_imul(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i]
    cdef int d = HR[op.reg]
    cdef int t
    cdef s64 v = imm_of(sz, op.imm)
    if form == FORM_RM or form == FORM_RMI:
        if not plain(j):
            return 0
        mem(j, 1 << sz, 0)
    t = d if d >= 0 else H_T
    if form == FORM_RR or form == FORM_RM:
        if d < 0:
            ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
        if form == FORM_RR:
            g_rm(j, sz, 0x0FAF, t, op.rm)
        else:
            rm(j, sz, 0x0FAF, t, H_CX, 0)
    else:
        if d < 0 and sz == 1:
            ld_g(j, 3, H_T, op.reg)
        if form == FORM_RRI:
            g_rm(j, sz, 0x69, t, op.rm)
        else:
            rm(j, sz, 0x69, t, H_CX, 0)
        e_imm(j, sz, <u64>v)
    if d < 0:
        st_g(j, sz, H_T, op.reg)
    overflow_src(j, need)
    if need:
        set_node(j, N_TRIPLE, K_RES, sz, loc_g(op.reg), loc_env(), CUR_DEAD, 0)
    else:
        set_dead(j)
    return 1


cdef void overflow_src(J* j, u32 need) noexcept nogil:
    """cc_src = CF and OF, both as the host's OF."""
    if need:
        e8(j, 0x0F)
        e8(j, 0x90)
        e8(j, 0xC1)                                 # seto cl
        rr(j, 2, 0x0FB6, H_CX, H_CX)
        rr(j, 2, 0xF7, 3, H_CX)                     # neg ecx
        rr(j, 2, 0x81, 4, H_CX)
        e32(j, F_CF | F_OF)
        st_env(j, 3, H_CX, AT_CC_SRC)


cdef bint e_mul(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i]
    if sz < 2:
        return 0
    if form == FORM_M:
        if not plain(j):
            return 0
        mem(j, 1 << sz, 0)
        rm(j, sz, 0xF7, sub, H_CX, 0)
    else:
        g_rm(j, sz, 0xF7, sub, op.reg)
    overflow_src(j, need)
    if need:
        set_node(j, N_TRIPLE, K_RES, sz, loc_g(RAX), loc_env(), CUR_DEAD, 0)
    else:
        set_dead(j)
    return 1


cdef bint e_div(J* j, Op* op, EmitRow r) noexcept nogil:
    """#DE is the handler's: the quotient is known to fit before the host divides."""
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    if sz < 2:
        return 0
    if form == FORM_M and not plain(j):
        return 0
    will_write(j, RAX, 0)
    will_write(j, RDX, 0)
    if form == FORM_M:
        mem(j, 1 << sz, 0)
        rm(j, sz, 0x8B, H_CX, H_CX, 0)
    else:
        ld_g(j, sz, H_CX, op.reg)
    if sub == 6:
        rr(j, sz, 0x3B, H_DX, H_CX)
        new_stub(j, jcc_fwd(j, 3), STUB_SLOW)       # edx >= divisor
    else:
        rr(j, sz, 0x8B, H_T, H_AX)
        rr(j, sz, 0xC1, 7, H_T)
        e8(j, 63 if sz == 3 else 31)
        rr(j, sz, 0x3B, H_T, H_DX)
        new_stub(j, jcc_fwd(j, 5), STUB_SLOW)       # more than a sign extension
        rm(j, sz, 0x8D, H_T, H_CX, 1)
        rr(j, sz, 0x83, 7, H_T)
        e8(j, 1)
        new_stub(j, jcc_fwd(j, 6), STUB_SLOW)       # divisor 0 or -1
    rr(j, sz, 0xF7, sub, H_CX)
    j.in_host = 0
    return 1


cdef bint stack_ok(J* j, int sz) noexcept nogil:
    """Pushes of this size, with a flat stack?"""
    return sz == (3 if j.m64 else 2)


cdef void sp_lea(J* j, int dst, s32 disp) noexcept nogil:
    rm(j, 3 if j.m64 else 2, 0x8D, dst, H_R13, disp)


cdef bint e_push(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 form = r.form
    cdef int n = 1 << sz
    cdef int h
    if not stack_ok(j, sz) or form == FORM_M:
        return 0
    will_write(j, RSP, 0)
    mem_at(j, RSP, -n, sz, n, 1, STUB_SLOW)
    if form == FORM_I:
        rm(j, sz, 0xC7, 0, H_CX, 0)
        e32(j, <u32>op.imm)
    else:
        h = HR[op.reg]
        if h < 0:
            ld_g(j, sz, H_T, op.reg)
            h = H_T
        rm(j, sz, 0x89, h, H_CX, 0)
    sp_lea(j, H_R13, -n)
    return 1


cdef bint e_pop(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef int n = 1 << sz
    cdef int h = HR[op.reg]
    if not stack_ok(j, sz):
        return 0
    will_write(j, RSP, 0)
    will_write(j, op.reg, 0)
    mem_at(j, RSP, 0, sz, n, 0, STUB_SLOW)
    if op.reg != RSP:
        sp_lea(j, H_R13, n)
    if h >= 0:
        rm(j, sz, 0x8B, h, H_CX, 0)
    else:
        rm(j, sz, 0x8B, H_T, H_CX, 0)
        st_g(j, sz, H_T, op.reg)
    return 1


cdef bint e_leave(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    if not stack_ok(j, sz):
        return 0
    will_write(j, RSP, 0)
    will_write(j, RBP, 0)
    mem_at(j, RBP, 0, sz, 1 << sz, 0, STUB_SLOW)
    rm(j, sz, 0x8D, H_R13, H_BP, 1 << sz)
    rm(j, sz, 0x8B, H_BP, H_CX, 0)
    return 1


# ---- the end of a block

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


cdef void goto_thunk(J* j, u32 cc) noexcept nogil:
    cdef Stub* s = new_stub(j, jcc_fwd(j, cc), STUB_END)
    s.arg = T_GOTO


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
    detach(j)
    sync(j)
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
    detach(j)
    sync(j)
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
    detach(j)
    sync(j)
    mem_at(j, RSP, 0, sz, 1 << sz, 0, STUB_END)
    rm(j, sz, 0x8B, H_CX, H_CX, 0)
    sp_lea(j, H_R13, (1 << sz) + (<s32>(op.imm & 0xffff) if sub else 0))
    by_cache(j)
    return 1


# ---- conditions and the rest

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


cdef bint e_bt(J* j, Op* op, EmitRow r) noexcept nogil:
    """BT BTS BTR BTC: only CF changes."""
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i] & FB_C
    cdef int d = HR[op.reg]
    if form == FORM_MI:
        if not plain(j):
            return 0
        if need:
            detach(j)
            sync(j)
        mem(j, 1 << sz, sub != 4)
        rm(j, sz, 0x0FBA, sub, H_CX, 0)
        e8(j, <u32>op.imm)
    else:
        if sub == 4 and not need:
            return 1
        if need:
            detach(j)
            sync(j)
        elif sub != 4:
            will_write(j, op.reg, FB_C)
        if d < 0:
            ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
        if form == FORM_RI:
            rr(j, sz, 0x0FBA, sub, d if d >= 0 else H_T)
            e8(j, <u32>op.imm)
        else:
            if HR[op.rm] < 0:
                ld_g(j, 3 if sz == 1 else sz, H_CX, op.rm)
            rr(j, sz, 0x0F83 | (sub << 3), HR[op.rm] if HR[op.rm] >= 0 else H_CX, d if d >= 0 else H_T)
        if d < 0 and sub != 4:
            st_g(j, sz, H_T, op.reg)            # (a move)
    j.in_host = 0
    if need:
        j.host_lo = j.op_stub
        rr(j, 0, 0x0F92, 0, H_T)
        rr(j, 2, 0x0FB6, H_T, H_T)
        call_c(j, T_SETCF)
        rr(j, 2, 0x0FBA, 4, H_T)
        e8(j, 0)
        set_env(j, 3)
    return 1


cdef bint e_scan(J* j, Op* op, EmitRow r) noexcept nogil:
    """BSF BSR TZCNT LZCNT POPCNT."""
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i]
    cdef int d = HR[op.reg], t
    if sz == 1 or sub == 4 and not has_popcnt or 2 <= sub < 4 and not has_bmi:
        return 0
    if form == FORM_RM:
        if not plain(j):
            return 0
        mem(j, 1 << sz, 0)
        rm(j, sz, 0x8B, H_CX, H_CX, 0)
    else:
        ld_g(j, sz, H_CX, op.rm)
    t = d if d >= 0 else H_T
    if sub < 2:
        if need:
            rr(j, 3, 0x63 if sz == 2 else 0x8B, H_T, H_CX)
            st_env(j, 3, H_T, AT_CC_RES)
        if d < 0:
            ld_g(j, 3, H_T, op.reg)
        rr(j, sz, 0x0FBC + sub, t, H_CX)
        if d < 0:
            st_env(j, 3, H_T, env_r(op.reg))
        if need:
            set_node(j, N_TRIPLE, K_LOGIC, sz, loc_env(), loc_none(), CUR_DEAD, 0)
        else:
            set_dead(j)
        return 1
    e8(j, 0xF3)
    rr(j, sz, 0x0FB8 if sub == 4 else 0x0FBA + sub, t, H_CX)
    if need:
        e8(j, 0x0F)
        e8(j, 0x94 if sub == 4 else 0x92)
        e8(j, 0xC1)
        rr(j, 2, 0x0FB6, H_CX, H_CX)
        if sub == 4:
            rr(j, 2, 0xC1, 4, H_CX)
            e8(j, 6)
        st_env(j, 3, H_CX, AT_CC_SRC)
    if d < 0:
        st_g(j, sz, H_T, op.reg)
    if not need:
        set_dead(j)
    elif sub == 4:
        set_node(j, N_TRIPLE, K_EFL, sz, loc_imm(0), loc_env(), CUR_DEAD, 0)
    else:
        set_node(j, N_TRIPLE, K_RES, sz, loc_g(op.reg), loc_env(), CUR_DEAD, 0)
    return 1


cdef bint e_cmpxchg(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 need = j.live[j.i]
    cdef int s = HR[op.reg]
    if sz < 2 or not plain(j):
        return 0
    mem(j, 1 << sz, 1)
    j.host_lo = j.op_stub
    if need:
        rm(j, sz, 0x8B, H_T, H_CX, 0)
        st_env(j, 3, H_T, AT_CC_SRC)
        rr(j, sz, 0xF7, 3, H_T)
        rr(j, sz, 0x03, H_T, H_AX)
        st_sx(j, sz, H_T)
    if s < 0:
        ld_g(j, sz, H_T, op.reg)
        s = H_T
    rm(j, sz, 0x0FB1, s, H_CX, 0)
    if need:
        set_node(j, N_TRIPLE, K_SUB + sz, sz, loc_env(), loc_env(), CUR_DEAD, 1)
    else:
        set_dead(j)
    return 1


cdef bint e_xadd(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 need = j.live[j.i]
    cdef Loc src
    if sz < 2 or not plain(j):
        return 0
    mem(j, 1 << sz, 1)
    if need:
        src = loc_g(op.reg)
        st_src(j, sz, &src)
    ld_g(j, sz, H_T, op.reg)
    rm(j, sz, 0x0FC1, H_T, H_CX, 0)
    if need:
        rm(j, sz, 0x8B, H_CX, H_CX, 0)
        st_sx(j, sz, H_CX)
    st_g(j, sz, H_T, op.reg)
    if need:
        set_node(j, N_TRIPLE, K_ADD + sz, sz, loc_env(), loc_env(), CUR_DEAD, 0)
    else:
        set_dead(j)
    return 1


cdef bint e_shd(J* j, Op* op, EmitRow r) noexcept nogil:
    """SHLD SHRD by an immediate (by CL where the flags do not matter)."""
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i]
    cdef u32 cnt = op.imm & (63 if sz == 3 else 31)
    cdef int d = HR[op.reg], s = HR[op.rm]
    cdef u32 opc = 0x0FA4 if sub == 0 else 0x0FAC
    if sz < 2 or d < 0 or form == FORM_RRC and (need or s < 0) or form == FORM_RRI and cnt == 0:
        return 0
    if form == FORM_RRC:
        rr(j, 2, 0x8B, H_CX, HR[RCX])
        rr(j, sz, opc + 1, s, d)
        set_dead(j)
        return 1
    if need:
        st_env(j, 3, d, AT_JTMP)
    if s < 0:
        ld_g(j, sz, H_T, op.rm)
        s = H_T
    rr(j, sz, opc, s, d)
    e8(j, cnt)
    if not need:
        set_dead(j)
        return 1
    e8(j, 0x0F)
    e8(j, 0x92)
    e8(j, 0xC1)
    rr(j, 2, 0x0FB6, H_CX, H_CX)
    ld_env(j, sz, H_T, AT_JTMP)
    rr(j, sz, 0x33, H_T, d)
    rr(j, sz, 0xC1, 5, H_T)
    e8(j, 63 if sz == 3 else 31)
    rr(j, 2, 0xC1, 4, H_T)
    e8(j, 11)
    rr(j, 2, 0x0B, H_CX, H_T)
    st_env(j, 3, H_CX, AT_CC_SRC)
    set_node(j, N_TRIPLE, K_RES, sz, loc_g(op.reg), loc_env(), CUR_DEAD, 0)
    return 1


cdef bint e_dir(J* j, Op* op, EmitRow r) noexcept nogil:
    """CLD STD."""
    cdef u32 sub = r.sub
    rm(j, 2, 0x81, 1 if sub else 4, H_ENV, AT_EFLAGS)
    e32(j, F_DF if sub else ~<u32>F_DF)
    j.in_host = 0
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


cdef bint e_nop(J* j, Op* op, EmitRow r) noexcept nogil:
    return r.form != FORM_RR or op.reg == op.rm         # 41 90 is an exchange


cdef bint e_none(J* j, Op* op, EmitRow r) noexcept nogil:
    return 0


ctypedef bint (*EmitFn)(J* j, Op* op, EmitRow r) noexcept nogil

cdef EmitFn[64] emitters                # by class
emitters[E_NONE] = e_none
emitters[E_MOV] = e_mov
emitters[E_ALU] = e_alu
emitters[E_TEST] = e_test
emitters[E_ADC] = e_adc
emitters[E_UNARY] = e_unary
emitters[E_LEA] = e_lea
emitters[E_MOVX] = e_movx
emitters[E_SHIFT] = e_shift
emitters[E_ROTATE] = e_rotate
emitters[E_IMUL] = e_imul
emitters[E_MUL] = e_mul
emitters[E_DIV] = e_div
emitters[E_PUSH] = e_push
emitters[E_POP] = e_pop
emitters[E_LEAVE] = e_leave
emitters[E_JCC] = e_jcc
emitters[E_JMP] = e_jmp
emitters[E_CALL] = e_call
emitters[E_JMPI] = e_jmpi
emitters[E_RET] = e_ret
emitters[E_SETCC] = e_setcc
emitters[E_CMOVCC] = e_cmovcc
emitters[E_CBW] = e_cbw
emitters[E_CWD] = e_cwd
emitters[E_BSWAP] = e_bswap
emitters[E_XCHG] = e_xchg
emitters[E_NOP] = e_nop
emitters[E_BT] = e_bt
emitters[E_SCAN] = e_scan
emitters[E_CMPXCHG] = e_cmpxchg
emitters[E_XADD] = e_xadd
emitters[E_SHD] = e_shd
emitters[E_DIR] = e_dir


cdef bint emit_int(J* j, Op* op, EmitRow r) noexcept nogil:
    return emitters[r.cls](j, op, r)
