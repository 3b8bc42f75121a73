# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""x87 instructions that only move values between registers: exchange, copies, constants, signs, classes (SDM vol. 1, 8.3.2-8.3.6)."""
from pcemu._core.x87 cimport *

# The constants, cut off after 64 bits; nearest and upward rounding may add one (SDM vol. 1, 8.3.8)
cdef enum:
    UP_NEAREST = 1      # the rest is more than half a unit
    EXACT = 2

cdef struct Constant:
    u64 m
    u32 se
    u32 how

cdef Constant constants[7]
for _i, (_m, _se, _how) in enumerate((
        (0x8000000000000000, 0x3FFF, EXACT),            # 1
        (0xD49A784BCD1B8AFE, 0x4000, 0),                # log2(10)
        (0xB8AA3B295C17F0BB, 0x3FFF, UP_NEAREST),       # log2(e)
        (0xC90FDAA22168C234, 0x4000, UP_NEAREST),       # pi
        (0x9A209A84FBCFF798, 0x3FFD, UP_NEAREST),       # log10(2)
        (0xB17217F7D1CF79AB, 0x3FFE, UP_NEAREST),       # ln(2)
        (0, 0, EXACT))):
    constants[_i].m = _m
    constants[_i].se = _se
    constants[_i].how = _how


cdef Op* push_constant(Cpu* c, Op* op, u32 i) noexcept nogil:
    cdef u64 m = constants[i].m
    cdef u32 rc = c.fcw & 0xC00
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not room(c)):
        if stack_fault(c, X_C1):
            push(c, <u64>3 << 62, 0xFFFF)
        return nxt(c, op)
    c.fsw &= <u16>~X_C1
    if constants[i].how != EXACT and (rc == 0x800 or (rc == 0 and constants[i].how == UP_NEAREST)):
        m += 1
    push(c, m, constants[i].se)
    return nxt(c, op)


cdef Op* op_fld1(Cpu* c, Op* op) noexcept nogil:
    return push_constant(c, op, 0)


cdef Op* op_fldl2t(Cpu* c, Op* op) noexcept nogil:
    return push_constant(c, op, 1)


cdef Op* op_fldl2e(Cpu* c, Op* op) noexcept nogil:
    return push_constant(c, op, 2)


cdef Op* op_fldpi(Cpu* c, Op* op) noexcept nogil:
    return push_constant(c, op, 3)


cdef Op* op_fldlg2(Cpu* c, Op* op) noexcept nogil:
    return push_constant(c, op, 4)


cdef Op* op_fldln2(Cpu* c, Op* op) noexcept nogil:
    return push_constant(c, op, 5)


cdef Op* op_fldz(Cpu* c, Op* op) noexcept nogil:
    return push_constant(c, op, 6)


cdef Op* op_fld_t(Cpu* c, Op* op) noexcept nogil:
    """Push a copy of ST(i)."""
    cdef u32 s = phys(c, op.rm)
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not full(c, s) or not room(c)):
        if stack_fault(c, X_C1 if full(c, s) else 0):
            push(c, <u64>3 << 62, 0xFFFF)
        return nxt(c, op)
    c.fsw &= <u16>~X_C1
    push(c, c.fpr[2 * s], se(c, s))
    return nxt(c, op)


cdef Op* store(Cpu* c, Op* op, bint popping) noexcept nogil:
    """ST(i) = ST(0)."""
    cdef u32 r = phys(c, op.rm)
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not full(c, c.ftop)):
        if not stack_fault(c, 0):
            return nxt(c, op)
        put_nan(c, r)
    else:
        c.fsw &= <u16>~X_C1
        put(c, r, c.fpr[2 * c.ftop], se(c, c.ftop))
    if popping:
        pop(c)
    return nxt(c, op)


cdef Op* op_fst_t(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, 0)


cdef Op* op_fstp_t(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, 1)


cdef Op* op_fstpnce_t(Cpu* c, Op* op) noexcept nogil:
    """D9 D8+i, undocumented: as FSTP ST(i), but an empty register is only popped."""
    if LIKELY(full(c, c.ftop)):
        return store(c, op, 1)
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    c.fsw &= <u16>~X_C1
    pop(c)
    return nxt(c, op)


cdef Op* op_fxch_t(Cpu* c, Op* op) noexcept nogil:
    cdef u64* a = &c.fpr[2 * c.ftop]
    cdef u64* b = &c.fpr[2 * phys(c, op.rm)]
    cdef u64 m
    cdef u32 e
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not (c.ftag >> c.ftop) & (c.ftag >> phys(c, op.rm)) & 1):
        if not stack_fault(c, 0):
            return nxt(c, op)
        if not full(c, c.ftop):
            put_nan(c, c.ftop)
        if not full(c, phys(c, op.rm)):
            put_nan(c, phys(c, op.rm))
    else:
        c.fsw &= <u16>~X_C1
    m = a[0]
    e = se(c, c.ftop)
    a[0] = b[0]
    a[1] = se(c, phys(c, op.rm))
    b[0] = m
    b[1] = e
    return nxt(c, op)


cdef Op* move_if(Cpu* c, Op* op, bint cond) noexcept nogil:
    """ST(0) = ST(i) if cond; an empty register is found whether or not."""
    cdef u32 s = phys(c, op.rm)
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not (c.ftag >> c.ftop) & (c.ftag >> s) & 1):
        if stack_fault(c, 0):
            put_nan(c, c.ftop)
    elif cond:
        c.fpr[2 * c.ftop] = c.fpr[2 * s]
        c.fpr[2 * c.ftop + 1] = se(c, s)
    return nxt(c, op)


cdef Op* op_fcmovb_t(Cpu* c, Op* op) noexcept nogil:
    return move_if(c, op, get_cf(c) != 0)


cdef Op* op_fcmove_t(Cpu* c, Op* op) noexcept nogil:
    return move_if(c, op, get_zf(c) != 0)


cdef Op* op_fcmovbe_t(Cpu* c, Op* op) noexcept nogil:
    return move_if(c, op, get_be(c) != 0)


cdef Op* op_fcmovu_t(Cpu* c, Op* op) noexcept nogil:
    return move_if(c, op, get_pf(c) != 0)


cdef Op* op_fcmovnb_t(Cpu* c, Op* op) noexcept nogil:
    return move_if(c, op, get_cf(c) == 0)


cdef Op* op_fcmovne_t(Cpu* c, Op* op) noexcept nogil:
    return move_if(c, op, get_zf(c) == 0)


cdef Op* op_fcmovnbe_t(Cpu* c, Op* op) noexcept nogil:
    return move_if(c, op, get_be(c) == 0)


cdef Op* op_fcmovnu_t(Cpu* c, Op* op) noexcept nogil:
    return move_if(c, op, get_pf(c) == 0)


cdef Op* sign(Cpu* c, Op* op, u32 keep, u32 flip) noexcept nogil:
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not full(c, c.ftop)):
        if stack_fault(c, 0):
            put_nan(c, c.ftop)
        return nxt(c, op)
    c.fsw &= <u16>~X_C1
    c.fpr[2 * c.ftop + 1] = (se(c, c.ftop) & keep) ^ flip
    return nxt(c, op)


cdef Op* op_fchs(Cpu* c, Op* op) noexcept nogil:
    return sign(c, op, 0xFFFF, 0x8000)


cdef Op* op_fabs(Cpu* c, Op* op) noexcept nogil:
    return sign(c, op, 0x7FFF, 0)


cdef Op* op_fxam(Cpu* c, Op* op) noexcept nogil:
    """Class of ST(0) in C3, C2, C0 (SDM vol. 1, table 8-4); its sign, even of an empty register, in C1."""
    cdef u64 m = c.fpr[2 * c.ftop]
    cdef u32 e = se(c, c.ftop)
    cdef u32 cc
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if not full(c, c.ftop):
        cc = X_C3 | X_C0
    elif not e & SE_NAN:
        cc = X_C3 | X_C2 if m else X_C3
    elif not m >> 63:
        cc = 0                              # no longer supported
    elif e & SE_NAN == SE_NAN:
        cc = X_C0 if m << 1 else X_C2 | X_C0
    else:
        cc = X_C2
    set_cc(c, cc | (X_C1 if e & 0x8000 else 0))
    return nxt(c, op)


cdef Op* op_ffree_t(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    c.fsw &= <u16>~X_C1
    c.ftag &= <u8>~(1 << phys(c, op.rm))
    return nxt(c, op)


cdef Op* op_ffreep_t(Cpu* c, Op* op) noexcept nogil:
    """DF C0+i, undocumented: FFREE, then pop."""
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    c.fsw &= <u16>~X_C1
    c.ftag &= <u8>~(1 << phys(c, op.rm))
    pop(c)
    return nxt(c, op)


cdef Op* turn(Cpu* c, Op* op, u32 by) noexcept nogil:
    """TOP moves, the tags stay."""
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    c.fsw &= <u16>~X_C1
    c.ftop = <u8>((c.ftop + by) & 7)
    return nxt(c, op)


cdef Op* op_fincstp(Cpu* c, Op* op) noexcept nogil:
    return turn(c, op, 1)


cdef Op* op_fdecstp(Cpu* c, Op* op) noexcept nogil:
    return turn(c, op, 7)


cdef Op* op_fnop(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    return nxt(c, op)


include "gen/x_x87_stack_reg.pxi"
