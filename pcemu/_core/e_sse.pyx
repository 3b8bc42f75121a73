"""Emitters of SSE to SSE4.2, AES and PCLMULQDQ: the same instruction again, on the guest's XMM registers (jit.pyx explains).

Guest XMM0-15 are in the host's registers of the same numbers, from their first use in a block to its end or to the next call of C
code; what has changed goes to the Cpu there, or in the stub that leads to a handler. Encodings come from the instruction table.
AVX is in e_avx.pyx.

The host's MXCSR is the guest's with all exceptions masked (simd.pxd); blocks of a mode in which one is unmasked (M_FPX) leave
arithmetic to the handlers.
"""
from pcemu._core.e_avx cimport emit_avx
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport *

cdef extern from *:
    """
    #if defined(__x86_64__)
    #include <cpuid.h>
    #endif
    /* the order of HOST in emit_table.py; behind them LAHF */
    static int pcemu_host_ext(int n)
    {
    #if defined(__x86_64__)
        unsigned a, b, c = 0, d;
        __builtin_cpu_init();
        switch (n) {
        case 0: return 1;
        case HOST_PNI: return __builtin_cpu_supports("sse3") != 0;
        case HOST_SSSE3: return __builtin_cpu_supports("ssse3") != 0;
        case HOST_SSE4_1: return __builtin_cpu_supports("sse4.1") != 0;
        case HOST_SSE4_2: return __builtin_cpu_supports("sse4.2") != 0;
        case HOST_AES: return __builtin_cpu_supports("aes") != 0;
        case HOST_PCLMULQDQ: return __builtin_cpu_supports("pclmul") != 0;
        case HOST_AVX: return __builtin_cpu_supports("avx") != 0;
        case HOST_AVX2: return __builtin_cpu_supports("avx2") != 0;
        case HOST_FMA: return __builtin_cpu_supports("fma") != 0;
        case HOST_F16C: return __builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) && c >> 29 & 1;
        case 99: return __get_cpuid(0x80000001, &a, &b, &c, &d) && c & 1;
        }
    #endif
        return 0;
    }
    """
    int host_ext "pcemu_host_ext"(int) nogil

cdef bint[16] have
for _i in range(16):
    have[_i] = host_ext(_i)
cdef bint have_lahf = host_ext(99)


# ---- encoding: like rr() and rm(), by an Encoding; w: REX.W

cdef void v_head(J* j, Encoding e, u32 w, u32 reg, u32 rm) noexcept nogil:
    cdef u32 rex = w << 3 | (reg >> 3) << 2 | rm >> 3
    if e.vex:                           # where the legacy instruction is all there is to do
        e_vex(j, e.prefix, e.map, e.opcode, w, 0, reg, 0, rm)
        return
    if e.prefix:
        e8(j, 0x66 if e.prefix == 1 else 0xF3 if e.prefix == 2 else 0xF2)
    if rex:
        e8(j, 0x40 | rex)
    e8(j, 0x0F)
    if e.map > 1:
        e8(j, 0x38 if e.map == 2 else 0x3A)
    e8(j, e.opcode)


cdef void v_rr(J* j, Encoding e, u32 w, int reg, int rm) noexcept nogil:
    v_head(j, e, w, reg, rm)
    e8(j, 0xC0 | ((reg & 7) << 3) | (rm & 7))


cdef void v_rm(J* j, Encoding e, u32 w, int reg, int base, s32 disp) noexcept nogil:
    v_head(j, e, w, reg, base)
    e_mem(j, reg, base, disp)


cdef void v_imm(J* j, Encoding e, Op* op, u32 form) noexcept nogil:
    cdef u32 v = <u32>op.imm
    if form != FORM_RI and form != FORM_RRI and form != FORM_RMI and form != FORM_MRI:
        return
    if e.opcode == 0xC2 and e.map == 1:
        v &= 7                          # CMPPS and its kin
    elif e.map == 3 and 0x08 <= e.opcode <= 0x0B:
        v &= 15                         # ROUNDPS ...
    e8(j, v)


cdef void v_mem(J* j, EmitRow r, bint write) noexcept nogil:
    """rcx + j.at = host address of the memory operand."""
    j.align = (r.sub & V_ALIGNED) != 0
    operand(j, r.width, write)
    j.align = 0


# ---- by the kind of operands

cdef void e_vec(J* j, Op* op, Encoding e, EmitRow r) noexcept nogil:
    """V,W and V,W,Ib and W,V between registers; shifts by an immediate."""
    cdef int d = op.reg, s = op.rm
    if r.sub & V_XMM0:
        x_load(j, 0)
    if r.form == FORM_RM or r.form == FORM_RMI:
        v_mem(j, r, 0)
        if not r.sub & V_WHOLE:
            x_load(j, d)
        v_rm(j, e, 0, d, H_CX, j.at)
    elif r.form == FORM_RI:
        x_load(j, d)
        v_rr(j, e, 0, e.modrm & 7, d)
    else:
        if not (r.sub & V_SELF and d == s):
            x_load(j, s)
            if not r.sub & V_WHOLE:
                x_load(j, d)
        if e.modrm & ENC_SWAP:
            v_rr(j, e, 0, s, d)
        else:
            v_rr(j, e, 0, d, s)
    v_imm(j, e, op, r.form)
    x_changed(j, d)


cdef void e_vst(J* j, Op* op, Encoding e, EmitRow r, u32 w) noexcept nogil:
    """M,V and M,V,Ib."""
    if e.map == 1 and (e.opcode == 0x2B or e.opcode == 0xE7):
        e.opcode = 0x29                 # the guest's streaming store is an ordinary one
        e.prefix = 0
    v_mem(j, r, 1)
    x_load(j, op.reg)
    v_rm(j, e, w, op.reg, H_CX, j.at)
    v_imm(j, e, op, r.form)


cdef void e_vtog(J* j, Op* op, Encoding e, EmitRow r, u32 w) noexcept nogil:
    """To a general register."""
    cdef int h = HR[op.reg]
    will_write(j, op.reg, 0)
    if h < 0:
        h = H_T
    if r.form == FORM_RM:
        operand(j, r.width, 0)
        v_rm(j, e, w, h, H_CX, j.at)
    else:
        x_load(j, op.rm)
        if e.modrm & ENC_SWAP:
            v_rr(j, e, w, op.rm, h)
        else:
            v_rr(j, e, w, h, op.rm)
        v_imm(j, e, op, r.form)
    if h == H_T:
        st_g(j, 3 if w else 2, H_T, op.reg)


cdef void e_gtov(J* j, Op* op, Encoding e, EmitRow r, u32 w) noexcept nogil:
    """From a general register, or memory that stands for one."""
    cdef int h
    if r.form == FORM_RM or r.form == FORM_RMI:
        operand(j, r.width, 0)
    if not r.sub & V_WHOLE:
        x_load(j, op.reg)
    if r.form == FORM_RM or r.form == FORM_RMI:
        v_rm(j, e, w, op.reg, H_CX, j.at)
    else:
        h = HR[op.rm]
        if h >= 0:
            v_rr(j, e, w, op.reg, h)
        else:
            v_rm(j, e, w, op.reg, H_ENV, env_r(op.rm))
    v_imm(j, e, op, r.form)
    x_changed(j, op.reg)


cdef void e_vflags(J* j, Op* op, Encoding e, EmitRow r) noexcept nogil:
    """COMISS, UCOMISS, PTEST: all six flags."""
    if r.form == FORM_RM:
        v_mem(j, r, 0)
        x_load(j, op.reg)
        v_rm(j, e, 0, op.reg, H_CX, j.at)
    else:
        x_load(j, op.reg)
        x_load(j, op.rm)
        v_rr(j, e, 0, op.reg, op.rm)
    set_host_all(j)


cdef bint emit_sse(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef Encoding e = encodings[op.kind]
    cdef u32 w = 1 if r.size == 3 else 0
    if not have[e.host] or r.sub & V_FP and j.mode & M_FPX:
        return 0
    if r.access and not plain(j):
        return 0
    if r.cls == E_VFLAGS and not have_lahf:
        return 0
    if e.vex and (not have[HOST_AVX] or e.vex & VEX_AVX2_L1 and r.size == 5 and not have[HOST_AVX2]):
        return 0
    if e.vex and not e.vex & VEX_LEGACY:
        return emit_avx(j, op, e, r)
    if r.cls == E_VEC:
        e_vec(j, op, e, r)
    elif r.cls == E_VST:
        e_vst(j, op, e, r, w)
    elif r.cls == E_VTOG:
        e_vtog(j, op, e, r, w)
    elif r.cls == E_GTOV:
        e_gtov(j, op, e, r, w)
    else:
        e_vflags(j, op, e, r)
        rcx_lost(j)
    rcx_stays(j)
    return 1


for _i in (E_VEC, E_VST, E_VTOG, E_GTOV, E_VZERO, E_VFLAGS):
    emitters[_i] = emit_sse
