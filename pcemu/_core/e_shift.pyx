"""Emitters: shifts and rotations (jit.pyx explains)."""
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport *


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
            if d >= 0:
                st_env(j, 3, d, AT_SAVED + 8)
            else:
                ld_g(j, 3, H_T, gnum(sz, op.reg))
                st_env(j, 3, H_T, AT_SAVED + 8)
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
            set_node(j, N_TRIPLE, kind, sz, loc_g(op.reg), loc_shift(sz, sub, cnt - 1), CUR_DEAD,
                     HOST_ALL if cnt == 1 else HOST_NO_OF)
        else:
            set_dead(j)
        rcx_stays(j)
        return 1
    if form == FORM_RC:
        if need:
            home(j)
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


emitters[E_SHIFT] = e_shift
emitters[E_ROTATE] = e_rotate
emitters[E_SHD] = e_shd
