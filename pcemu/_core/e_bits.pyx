"""Emitters: single bits, and searches for them (jit.pyx explains)."""
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport *


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
            home(j)
        mem(j, 1 << sz, sub != 4)
        rm(j, sz, 0x0FBA, sub, H_CX, 0)
        e8(j, <u32>op.imm)
    else:
        if sub == 4 and not need:
            return 1
        if need:
            home(j)
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


cdef void vex_operand(J* j, Op* op, EmitRow r, int reg, int vvvv, int g) noexcept nogil:
    """The op's instruction with this reg and vvvv, on the memory operand at rcx or guest register g."""
    cdef Encoding e = encodings[op.kind]
    cdef u32 w = 1 if r.size == 3 else 0
    if r.access:
        e_vex(j, e.prefix, e.map, e.opcode, w, 0, reg, vvvv, H_CX)
        e_mem(j, reg, H_CX, 0)
    elif HR[g] >= 0:
        e_vex(j, e.prefix, e.map, e.opcode, w, 0, reg, vvvv, HR[g])
        e8(j, 0xC0 | ((reg & 7) << 3) | (HR[g] & 7))
    else:
        e_vex(j, e.prefix, e.map, e.opcode, w, 0, reg, vvvv, H_ENV)
        e_mem(j, reg, H_ENV, env_r(g))


cdef bint e_bmi(J* j, Op* op, EmitRow r) noexcept nogil:
    """BMI1 and BMI2. sub: the flags stay (0; 3: MULX), are those of a logical operation (1), or that and CF (2)."""
    cdef u32 digit = encodings[op.kind].modrm & 7
    cdef int g = op.vvvv if digit else op.reg           # the destination
    cdef int d = HR[g] if HR[g] >= 0 else H_T
    cdef int v = HR[op.vvvv]
    cdef u32 need = j.live[j.i]
    if not has_bmi or r.access and not plain(j):
        return 0
    if r.sub == 0 or r.sub == 3:
        will_write(j, g, 0)
        if r.sub == 3:
            will_write(j, op.vvvv, 0)
    if r.access:
        mem(j, r.width, 0)
    if digit:                                           # BLSR BLSMSK BLSI
        vex_operand(j, op, r, <int>digit, d, op.reg)
    elif r.form == FORM_RRI or r.form == FORM_RMI:      # RORX
        vex_operand(j, op, r, d, 0, op.rm)
        e8(j, <u32>op.imm)
    elif r.sub == 3:                                    # MULX: the host's RDX is the guest's
        vex_operand(j, op, r, d, v if v >= 0 else H_CX, op.rm)
        if v < 0:
            st_g(j, r.size, H_CX, op.vvvv)
    else:
        if v < 0:
            ld_g(j, 3, H_T, op.vvvv)
            v = H_T
        vex_operand(j, op, r, d, v, op.rm)
    if r.sub == 2 and need:
        rr(j, 0, 0x0F92, 0, H_CX)                       # setc
        rr(j, 2, 0x0FB6, H_CX, H_CX)
        st_env(j, 3, H_CX, AT_CC_SRC)
    if HR[g] < 0:
        st_g(j, r.size, H_T, g)
    if r.sub == 1 or r.sub == 2:
        if not need:
            set_dead(j)
        elif r.sub == 1:
            set_node(j, N_TRIPLE, K_LOGIC, r.size, loc_g(g), loc_none(), CUR_DEAD, 0)
        else:
            set_node(j, N_TRIPLE, K_RES, r.size, loc_g(g), loc_env(), CUR_DEAD, 0)
    return 1


emitters[E_BT] = e_bt
emitters[E_BMI] = e_bmi
emitters[E_SCAN] = e_scan
