"""Emitters: single bits, and searches for them (jit.pyx explains)."""
from pcemu._core.emit cimport *


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


emitters[E_BT] = e_bt
emitters[E_SCAN] = e_scan
