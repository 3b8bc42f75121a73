"""Emitters: arithmetic and logic, multiplication and division (jit.pyx explains)."""
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport *


cdef inline u32 kind_of(u32 sub, int sz) noexcept nogil:
    if sub == 0:
        return K_ADD + sz
    if sub == 5 or sub == 7:
        return K_SUB + sz
    return K_LOGIC


cdef void alu_loc_any(J* j, int sz, u32 sub, int dst, Op* op, u32 form, s64 v) noexcept nogil:
    """dst op= the op's register or immediate source. dst is a host register; r15 only where dst is not guest."""
    if form == FORM_RI:
        alu_ri(j, sz, sub, dst, v)
    elif is_high(sz, op.rm):
        rcx_lost(j)
        ld_g(j, 0, H_CX, op.rm)
        alu_rr(j, 0, sub, dst, H_CX)
    else:
        g_rm(j, sz, sub * 8 + (2 if sz == 0 else 3), dst, op.rm)


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
            rcx_stays(j)
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
        rcx_stays(j)
        return 1
    if not plain(j):
        return 0
    if form == FORM_RM:
        operand(j, 1 << sz, 0)
        j.host_lo = j.op_stub
        d = HR[gnum(sz, op.reg)]
        src = loc_env()
        if need and kind != K_LOGIC or is_high(sz, op.reg) or d < 0:
            rm(j, 2 if sz == 0 else sz, 0x0FB6 if sz == 0 else 0x8B, H_T, H_CX, j.at)
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
            rcx_stays(j)
            return 1
        if s == NO_REG:
            rm(j, sz, opc, d, H_CX, j.at)
        elif d >= 0 and not is_high(sz, op.reg):
            alu_rr(j, sz, sub, d, H_T)
        else:
            rcx_lost(j)
            ld_g(j, 3 if sz == 1 else sz, H_CX, op.reg)
            alu_rr(j, sz, sub, H_CX, H_T)
            st_g(j, sz, H_CX, op.reg)
        if not need:
            set_dead(j)
        else:
            set_node(j, N_TRIPLE, kind, sz, loc_g(op.reg), src if kind != K_LOGIC else loc_none(), CUR_DEAD, 1)
        rcx_stays(j)
        return 1
    # memory destination
    if form != FORM_MR and form != FORM_MI:
        return 0
    if form == FORM_MR and is_high(sz, op.reg):
        return 0
    operand(j, 1 << sz, sub != 7)
    j.host_lo = j.op_stub
    src = loc_g(op.reg) if form == FORM_MR else loc_imm(v)
    if sub == 7 and not need:
        set_dead(j)
        rcx_stays(j)
        return 1
    if not need:
        if form == FORM_MI:
            if sz and -128 <= v < 128:
                rm(j, sz, 0x83, sub, H_CX, j.at)
                e8(j, <u32>v)
            else:
                rm(j, sz, 0x80 if sz == 0 else 0x81, sub, H_CX, j.at)
                e_imm(j, sz, <u64>v)
        else:
            d = HR[gnum(sz, op.reg)]
            if d < 0:
                ld_g(j, sz, H_T, op.reg)
                d = H_T
            rm(j, sz, sub * 8 + (0 if sz == 0 else 1), d, H_CX, j.at)
        set_dead(j)
        rcx_stays(j)
        return 1
    rm(j, 2 if sz == 0 else sz, 0x0FB6 if sz == 0 else 0x8B, H_T, H_CX, j.at)
    alu_loc(j, sz, 5 if sub == 7 else sub, H_T, &src, 0)
    if sub != 7:
        rm(j, sz, 0x88 if sz == 0 else 0x89, H_T, H_CX, j.at)
    st_sx(j, sz, H_T)
    set_node(j, N_TRIPLE, kind, sz, loc_env(), src if kind != K_LOGIC else loc_none(), CUR_DEAD, 1)
    rcx_stays(j)
    return 1


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
        rcx_stays(j)
        return 1
    if not plain(j) or form == FORM_MR and is_high(sz, op.reg) or form == FORM_RM and is_high(sz, op.reg):
        return 0
    operand(j, 1 << sz, 0)
    j.host_lo = j.op_stub
    if not need:
        set_dead(j)
        rcx_stays(j)
        return 1
    src = loc_imm(v) if form == FORM_MI else loc_g(op.reg)
    rm(j, 2 if sz == 0 else sz, 0x0FB6 if sz == 0 else 0x8B, H_T, H_CX, j.at)
    alu_loc(j, sz, 4, H_T, &src, 0)
    st_sx(j, sz, H_T)
    set_node(j, N_TRIPLE, K_LOGIC, sz, loc_env(), loc_none(), CUR_DEAD, 1)
    rcx_stays(j)
    return 1


cdef bint e_adc(J* j, Op* op, EmitRow r) noexcept nogil:
    """ADC SBB. Between the carry and the instruction nothing may change the host's flags: moves only."""
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    cdef u32 need = j.live[j.i]
    cdef u32 opc = sub * 8 + (2 if sz == 0 else 3)
    cdef int h, d = HR[gnum(sz, op.reg)]
    cdef bint to_mem = form == FORM_MR or form == FORM_MI
    cdef bint in_mem = to_mem or form == FORM_RM
    cdef bint stays = 0
    cdef Loc src, dst
    if in_mem and not plain(j) or form != FORM_MI and is_high(sz, op.reg) or form == FORM_RR and is_high(sz, op.rm):
        return 0
    src = loc_imm(imm_of(sz, op.imm)) if form == FORM_RI or form == FORM_MI else loc_g(op.rm if form == FORM_RR else op.reg)
    if in_mem:
        operand(j, 1 << sz, to_mem)
        stays = j.in_host == HOST_ALL or j.in_host == HOST_NO_OF or j.in_host == HOST_CF
        if not stays:                   # rcx is lost where the carry must be made
            settle(j)
            st_env(j, 3, H_CX, AT_VAL)
    want(j, 2)
    if in_mem and not stays:
        ld_env(j, 3, H_CX, AT_VAL)
        rcx_lost(j)
    if need:
        e8(j, 0x41)
        e8(j, 0x0F)
        e8(j, 0x92)
        e8(j, 0xC7)                                 # setc r15b
        rr(j, 2, 0x0FB6, H_T, H_T)
        rmx(j, 2, 0x8D, H_T, NO_REG, H_T, 3, (K_ADD if sub == 2 else K_SUB) + sz)
        st_env(j, 2, H_T, AT_CC_KIND)
        if form == FORM_RM:
            rm(j, 2 if sz == 0 else sz, 0x0FB6 if sz == 0 else 0x8B, H_T, H_CX, j.at)
            st_env(j, 3, H_T, AT_CC_SRC)
        else:
            st_src(j, sz, &src)
    if to_mem:
        if form == FORM_MI:
            rm(j, sz, 0x80 if sz == 0 else 0x81, sub, H_CX, j.at)
            e_imm(j, sz, <u64>src.imm)
        else:
            h = d
            if h < 0:
                ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
                h = H_T
            rm(j, sz, opc - 2, h, H_CX, j.at)
    else:
        h = d
        if h < 0:
            ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
            h = H_T
        if form == FORM_RM:
            rm(j, sz, opc, h, H_CX, j.at)
        elif form == FORM_RI:
            alu_ri(j, sz, sub, h, src.imm)
        else:
            g_rm(j, sz, opc, h, op.rm)
        if h == H_T:
            st_g(j, sz, H_T, op.reg)
    j.host_lo = j.op_stub
    if not need:
        set_dead(j)
    else:
        if to_mem:
            rm(j, 3, 0x63 if sz == 2 else 0x8B if sz == 3 else <u32>(0x0FBE + sz), H_T, H_CX, j.at)
            st_env(j, 3, H_T, AT_CC_RES)
        else:
            dst = loc_g(op.reg)
            st_res(j, sz, &dst)
        set_env(j, HOST_ALL)
    rcx_stays(j)
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
            set_node(j, N_INC, kind, sz, loc_g(op.reg), loc_none(), prior, 4)
        else:
            set_node(j, N_TRIPLE, kind, sz, loc_g(op.reg), loc_imm(0), CUR_DEAD, 4)
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


cdef void set_product(J* j, int sz, int g, bint memory) noexcept nogil:
    """The flags of a product whose low half is in guest register g: CF and OF, both as the host's OF. Behind a memory operand they
    go where the handler, in whose place the instruction stands, would put them."""
    cdef Loc src
    if not j.live[j.i]:
        set_dead(j)
        return
    src = loc_overflow()
    rm(j, 0, 0x0F90, 0, H_ENV, AT_SAVED + 8)        # seto
    if memory:
        st_src(j, 3, &src)
        src = loc_env()
    set_node(j, N_TRIPLE, K_RES, sz, loc_g(g), src, CUR_DEAD, HOST_NONE)


cdef bint e_imul(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 form = r.form
    cdef int d = HR[op.reg]
    cdef int t
    cdef s64 v = imm_of(sz, op.imm)
    if form == FORM_RM or form == FORM_RMI:
        if not plain(j):
            return 0
        operand(j, 1 << sz, 0)
    t = d if d >= 0 else H_T
    if form == FORM_RR or form == FORM_RM:
        if d < 0:
            ld_g(j, 3 if sz == 1 else sz, H_T, op.reg)
        if form == FORM_RR:
            g_rm(j, sz, 0x0FAF, t, op.rm)
        else:
            rm(j, sz, 0x0FAF, t, H_CX, j.at)
    else:
        if d < 0 and sz == 1:
            ld_g(j, 3, H_T, op.reg)
        if form == FORM_RRI:
            g_rm(j, sz, 0x69, t, op.rm)
        else:
            rm(j, sz, 0x69, t, H_CX, j.at)
        e_imm(j, sz, <u64>v)
    if d < 0:
        st_g(j, sz, H_T, op.reg)
    set_product(j, sz, op.reg, form == FORM_RM or form == FORM_RMI)
    return 1


cdef bint e_mul(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 sub = r.sub
    cdef u32 form = r.form
    if sz < 2:
        return 0
    if form == FORM_M:
        if not plain(j):
            return 0
        operand(j, 1 << sz, 0)
        rm(j, sz, 0xF7, sub, H_CX, j.at)
    else:
        g_rm(j, sz, 0xF7, sub, op.reg)
    set_product(j, sz, RAX, form == FORM_M)
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


cdef bint e_cmpxchg(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef int sz = r.size
    cdef u32 need = j.live[j.i]
    cdef int s
    if sz < 2 or not plain(j):
        return 0
    s = HR[op.reg]
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


emitters[E_ALU] = e_alu
emitters[E_TEST] = e_test
emitters[E_ADC] = e_adc
emitters[E_UNARY] = e_unary
emitters[E_IMUL] = e_imul
emitters[E_MUL] = e_mul
emitters[E_DIV] = e_div
emitters[E_CMPXCHG] = e_cmpxchg
emitters[E_XADD] = e_xadd
