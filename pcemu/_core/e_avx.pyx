"""Emitters of AVX, AVX2, FMA and F16C: the same VEX-coded instruction again, on the guest's YMM registers.

A VEX-coded instruction writes its destination whole, 128-bit forms with an upper half of zeros, and so does the host's: what it
has written is all of the guest's register. A source is loaded with its upper half only where the instruction is a 256-bit one.
Legacy SSE instructions (e_sse.pyx) keep the upper half, the host's or the one in the Cpu. So code without VEX pays nothing.
Memory operands need not be aligned, but for moves that say so. Gathers and masked moves are left to their handlers, and the
reciprocal estimates, which the manual does not define to the bit.
"""
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport *


cdef void a_rr(J* j, Encoding e, u32 w, u32 l, int reg, int vvvv, int rm_) noexcept nogil:
    e_vex(j, e.prefix, e.map, e.opcode, w, l, reg, vvvv, rm_)
    e8(j, 0xC0 | ((reg & 7) << 3) | (rm_ & 7))


cdef void a_rm(J* j, Encoding e, u32 w, u32 l, int reg, int vvvv, int base, s32 disp) noexcept nogil:
    e_vex(j, e.prefix, e.map, e.opcode, w, l, reg, vvvv, base)
    e_mem(j, reg, base, disp)


cdef void a_mem(J* j, EmitRow r, bint write) noexcept nogil:
    """rcx = host address of the memory operand."""
    j.align = (r.sub & V_ALIGNED) != 0
    mem(j, r.width, write)
    j.align = 0


cdef void a_imm(J* j, Encoding e, Op* op, EmitRow r) noexcept nogil:
    """The immediate, or the fourth register."""
    cdef u32 v = <u32>op.imm
    if r.form == FORM_RRRR or r.form == FORM_RRMR:
        v = <u32>op.is4 << 4
    elif r.form != FORM_RRI and r.form != FORM_RMI and r.form != FORM_RRRI and r.form != FORM_RRMI and r.form != FORM_MRI:
        return
    elif e.map == 1 and e.opcode == 0xC2:
        v &= 31                         # VCMPPS and its kin
    elif e.map == 3 and 0x08 <= e.opcode <= 0x0B:
        v &= 15                         # VROUNDPS ...
    e8(j, v)


cdef void a_vec(J* j, Op* op, Encoding e, EmitRow r, u32 w, u32 l) noexcept nogil:
    """V,H,W and V,W, with an immediate or a fourth register; W,V between registers; shifts by an immediate."""
    cdef int d = op.reg, s = op.rm, h = op.vvvv
    cdef bint three = (r.form == FORM_RRR or r.form == FORM_RRM or r.form == FORM_RRRI or r.form == FORM_RRMI
                       or r.form == FORM_RRRR or r.form == FORM_RRMR)
    if r.access:
        a_mem(j, r, 0)
    if r.sub & V_DEST:
        x_load_vex(j, d, l)
    if r.form == FORM_RRRR or r.form == FORM_RRMR:
        x_load_vex(j, op.is4, l)
    if three and not (r.sub & V_SELF and r.form == FORM_RRR and h == s):
        x_load_vex(j, h, l)
    if not three:
        h = 0
    if r.access:
        a_rm(j, e, w, l, d, h, H_CX, 0)
    elif e.modrm & ENC_VVVV:
        x_load_vex(j, d, l)
        a_rr(j, e, w, l, e.modrm & 7, op.vvvv, d)
        d = op.vvvv
    else:
        if not (r.sub & V_SELF and h == s):
            x_load_vex(j, s, l)
        if e.modrm & ENC_SWAP:
            a_rr(j, e, w, l, s, h, d)
        else:
            a_rr(j, e, w, l, d, h, s)
    a_imm(j, e, op, r)
    x_changed_vex(j, d)


cdef void a_vst(J* j, Op* op, Encoding e, EmitRow r, u32 w, u32 l) noexcept nogil:
    """M,V and M,V,Ib."""
    if e.map == 1 and (e.opcode == 0x2B or e.opcode == 0xE7):
        e.opcode = 0x29                 # the guest's streaming store is an ordinary one
        e.prefix = 0
    a_mem(j, r, 1)
    x_load_vex(j, op.reg, l)
    a_rm(j, e, w, l, op.reg, 0, H_CX, 0)
    a_imm(j, e, op, r)


cdef void a_vtog(J* j, Op* op, Encoding e, u32 l) noexcept nogil:
    """Masks: to a general register."""
    cdef int h = HR[op.reg]
    will_write(j, op.reg, 0)
    if h < 0:
        h = H_T
    x_load_vex(j, op.rm, l)
    a_rr(j, e, 0, l, h, 0, op.rm)
    if h == H_T:
        st_g(j, 2, H_T, op.reg)


cdef void a_gtov(J* j, Op* op, Encoding e, EmitRow r, u32 w) noexcept nogil:
    """From a general register, or memory that stands for one."""
    cdef int v = 0
    if r.access:
        a_mem(j, r, 0)
    if r.form != FORM_RR and r.form != FORM_RM:
        v = op.vvvv
        x_load_vex(j, v, 0)
    if r.access:
        a_rm(j, e, w, 0, op.reg, v, H_CX, 0)
    elif HR[op.rm] >= 0:
        a_rr(j, e, w, 0, op.reg, v, HR[op.rm])
    else:
        a_rm(j, e, w, 0, op.reg, v, H_ENV, env_r(op.rm))
    a_imm(j, e, op, r)
    x_changed_vex(j, op.reg)


cdef void a_vflags(J* j, Op* op, Encoding e, EmitRow r, u32 w, u32 l) noexcept nogil:
    """VPTEST, VTESTPS, VTESTPD: all six flags."""
    if r.form == FORM_RM:
        a_mem(j, r, 0)
        x_load_vex(j, op.reg, l)
        a_rm(j, e, w, l, op.reg, 0, H_CX, 0)
    else:
        x_load_vex(j, op.reg, l)
        x_load_vex(j, op.rm, l)
        a_rr(j, e, w, l, op.reg, 0, op.rm)
    set_host_all(j)                     # SF and AF are zero after such a comparison, and OF


cdef void a_vzero(J* j, u32 l) noexcept nogil:
    """VZEROUPPER, VZEROALL (l). Registers that are not in the host's get zeros at their places in the Cpu."""
    cdef int r, zero = NO_REG, n = 16 if j.m64 else 8
    e_vex(j, 0, 1, 0x77, 0, l, 0, 0, 0)
    if l:
        j.xv = j.xd = 0xFFFFFFFF if j.m64 else 0x00FF00FF
    else:
        for r in range(16):
            if not j.xv >> r & 1:
                zero = r
        if zero >= 0:
            e_vex(j, 0, 1, 0x57, 0, 0, zero, zero, zero)        # vxorps
            e8(j, 0xC0 | (zero & 7) * 9)
        for r in range(n):
            if j.xv >> r & 1:
                x_changed_vex(j, r)
            else:
                e_vex(j, 0, 1, 0x29, 0, 0, zero, 0, H_ENV)      # vmovaps
                e_mem(j, zero, H_ENV, AT_VEC + 32 * r + 16)
    j.wide = 0


cdef bint emit_avx(J* j, Op* op, Encoding e, EmitRow r) noexcept nogil:
    """A VEX-coded instruction that is not the legacy one (the host has it, and plain operands: emit_sse() has looked)."""
    cdef u32 vl = 1 if r.size == 5 or e.vex & VEX_L1 else 0
    cdef u32 w = 1 if r.size == 3 or e.vex & VEX_W1 else 0
    if r.cls == E_VEC:
        a_vec(j, op, e, r, w, vl)
    elif r.cls == E_VST:
        a_vst(j, op, e, r, w, vl)
    elif r.cls == E_VTOG:
        a_vtog(j, op, e, vl)
    elif r.cls == E_GTOV:
        a_gtov(j, op, e, r, w)
    elif r.cls == E_VZERO:
        a_vzero(j, vl)
    else:
        a_vflags(j, op, e, r, w, vl)
    if vl and (r.cls == E_VEC or r.cls == E_GTOV):
        j.wide = 1
    return 1
