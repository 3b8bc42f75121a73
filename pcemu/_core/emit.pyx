"""What emitters are made of: the guest's registers, those for vectors too, and what leads out of line.

See jit.pyx for the whole, emit.pxd for the encoding, flags.pyx for flags, operands.pyx for memory.
"""
from pcemu._core.emit cimport *

cdef extern from *:
    """
    static int pcemu_host_has(const char *what)
    {
    #if defined(__x86_64__)
        __builtin_cpu_init();
        switch (what[0]) {
        case 'p': return __builtin_cpu_supports("popcnt") != 0;
        case 'b': return __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
        }
    #endif
        return 0;
    }
    """
    int host_has "pcemu_host_has"(const char*) nogil

cdef bint has_popcnt = host_has(b"popcnt")
cdef bint has_bmi = host_has(b"bmi")            # BMI1 and 2

cdef int[16] HR
HR[:] = [0, 11, 2, 3, 13, 5, 6, 7, 8, 9, 10, -1, 12, -1, -1, -1]

cdef u32[21] thunk_at

assert AT_VEC % 32 == 0                 # MOVAPS


cdef bint e_none(J* j, Op* op, EmitRow r) noexcept nogil:
    return 0


cdef EmitFn[256] emitters
for _i in range(256):
    emitters[_i] = e_none


# ============================================================================================== guest registers

cdef void g_rm(J* j, int sz, u32 opc, int reg, int g) noexcept nogil:
    """opc reg, guest register g (not AH..BH)."""
    cdef int n = gnum(sz, g)
    if HR[n] >= 0:
        rr(j, sz, opc, reg, HR[n])
    else:
        rm(j, sz, opc, reg, H_ENV, env_r(n))


cdef void ld_g(J* j, int sz, int dst, int g) noexcept nogil:
    """dst = guest register, zero-extended from 8, 32 or 64 bits (16: the whole register)."""
    cdef int n = gnum(sz, g)
    cdef int h = HR[n]
    if sz == 0:
        if g & 1 or h < 0:
            if h >= 0:
                st_env(j, 3, h, env_r(n))
            rm(j, 2, 0x0FB6, dst, H_ENV, env_r(n) + (g & 1))
            return
        e_prefix(j, 2, dst, 0, h, 4 <= h < 8)
        e_op(j, 0x0FB6)
        e8(j, 0xC0 | ((dst & 7) << 3) | (h & 7))
        return
    g_rm(j, 3 if sz == 3 else 2, 0x8B, dst, g)


cdef void st_g(J* j, int sz, int src, int g) noexcept nogil:
    """Guest register = src (r15 or rcx; rcx may be lost): 32 bits zero-extend, 8 and 16 merge. src must be clean above 32 bits."""
    cdef int n = gnum(sz, g)
    cdef int h = HR[n]
    if sz == 0 and g & 1:
        rcx_lost(j)
        if n == RCX:
            st_env(j, 3, h, env_r(n))
            rm(j, 0, 0x88, src, H_ENV, env_r(n) + 1)
            ld_env(j, 3, h, env_r(n))
        else:
            if src != H_CX:
                rr(j, 2, 0x8B, H_CX, src)
            e8(j, 0x88)                 # mov ah..bh, cl
            e8(j, 0xC0 | (H_CX << 3) | (4 + n))
    elif h >= 0:
        rr(j, sz, 0x88 if sz == 0 else 0x89, src, h)
    else:
        rm(j, 3 if sz == 2 else sz, 0x88 if sz == 0 else 0x89, src, H_ENV, env_r(n))


cdef s64 imm_of(int sz, u64 v) noexcept nogil:
    if sz == 0:
        return <s8>v
    if sz == 1:
        return <s16>v
    return <s64><s32>v if sz == 2 else <s64>v


cdef void alu_rr(J* j, int sz, u32 sub, int reg, int rm_) noexcept nogil:
    rr(j, sz, sub * 8 + (2 if sz == 0 else 3), reg, rm_)


cdef void alu_ri(J* j, int sz, u32 sub, int reg, s64 v) noexcept nogil:
    """reg op= v (v fits 32 bits, signed)."""
    if sz == 0:
        rr(j, 0, 0x80, sub, reg)
        e8(j, <u32>v)
    elif -128 <= v < 128:
        rr(j, sz, 0x83, sub, reg)
        e8(j, <u32>v)
    else:
        rr(j, sz, 0x81, sub, reg)
        e_imm(j, sz, <u64>v)


# ============================================================================================= vector registers

cdef void x_move(J* j, u32 opc, u32 regs) noexcept nogil:
    """MOVAPS of registers (a bit each) from (0F28) or to (0F29) their places in the Cpu; VMOVAPS of those with an upper half."""
    cdef int r
    for r in range(16):
        if not regs >> r & 0x10001:
            continue
        if opc == 0x0F28 and not regs >> r & 1:
            x_upper(j, r)
        elif regs >> 16:
            e_vex(j, 0, 1, opc, 0, regs >> (16 + r) & 1, r, 0, H_ENV)
            e_mem(j, r, H_ENV, AT_VEC + 32 * r)
        else:
            rm(j, 2, opc, r, H_ENV, AT_VEC + 32 * r)


cdef void x_upper(J* j, int r) noexcept nogil:
    """The upper half of a register whose lower one is there."""
    e_vex(j, 1, 3, 0x18, 0, 1, r, r, H_ENV)                     # vinsertf128
    e_mem(j, r, H_ENV, AT_VEC + 32 * r + 16)
    e8(j, 1)


cdef void x_load(J* j, int r) noexcept nogil:
    """Guest register r is in the host's from here on: its lower half."""
    if not j.xv >> r & 1:
        x_move(j, 0x0F28, <u32>1 << r)
        j.xv |= <u32>1 << r


cdef void x_load_vex(J* j, int r, bint whole) noexcept nogil:
    """... for a VEX-coded instruction: its lower half, or both."""
    if not j.xv >> r & 1:
        e_vex(j, 0, 1, 0x28, 0, whole, r, 0, H_ENV)             # vmovaps
        e_mem(j, r, H_ENV, AT_VEC + 32 * r)
    elif whole and not j.xv >> (16 + r) & 1:
        x_upper(j, r)
    j.xv |= (<u32>0x10001 if whole else <u32>1) << r
    if whole:
        j.wide = 1


cdef void x_changed(J* j, int r) noexcept nogil:
    j.xv |= <u32>1 << r
    j.xd |= <u32>1 << r


cdef void x_changed_vex(J* j, int r) noexcept nogil:
    """A VEX-coded instruction writes all of a register."""
    j.xv |= <u32>0x10001 << r
    j.xd |= <u32>0x10001 << r


cdef int x_free(J* j, int other) noexcept nogil:
    """A host register that holds none of the guest's, and is not `other`."""
    cdef int r
    for r in range(15, -1, -1):
        if not j.xv >> r & 1 and r != other:
            return r
    x_flush(j)
    j.xv = 0
    return 15 if other != 15 else 14


cdef void x_narrow(J* j, bint wide) noexcept nogil:
    """Before legacy SSE instructions of C code: upper halves that are not zero make those slow on some hosts."""
    if wide:
        e8(j, 0xC5)                     # vzeroupper
        e8(j, 0xF8)
        e8(j, 0x77)


cdef void x_flush(J* j) noexcept nogil:
    """All of them are in the Cpu, too."""
    x_move(j, 0x0F29, j.xd)
    j.xd = 0
    if j.wide:
        x_narrow(j, 1)
        j.wide = 0
        j.xv &= 0xFFFF


# =============================================================================================== out of line

cdef Stub* new_stub(J* j, u8* at, u32 kind) noexcept nogil:
    cdef Stub* s
    if j.n_stubs >= MAX_STUBS:
        j.failed = 1
        return &j.stubs[0]
    s = &j.stubs[j.n_stubs]
    j.n_stubs += 1
    s.at = at
    s.back = NULL
    s.op = j.op
    s.node = j.cur
    s.synced = j.synced
    s.kind = kind
    s.want_flags = 0
    s.xd = j.xd
    s.xback = 0
    s.wide = j.wide
    s.x87 = j.x87
    s.x87_back = j.x87
    s.arg = 0
    s.passed = NULL
    s.sum = 0
    s.xv = j.xv
    s.checked = 0
    s.b = j.b
    s.rest = j.rest
    return s


cdef void call_c(J* j, int t) noexcept nogil:
    """Call a thunk, in whose C code vector registers get lost. (Perhaps under a condition: nothing else changes.)"""
    rcx_lost(j)
    x_move(j, 0x0F29, j.xd)
    x_narrow(j, j.wide)
    call_rx(j, thunk(j, t))
    x_move(j, 0x0F28, j.xv)
