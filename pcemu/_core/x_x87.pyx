# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""x87 arithmetic, comparisons and transcendentals (SDM vol. 1, 8.3), expanded from x_x87.pxi.in.

A fast path is one instruction of the host's (host_x87.h) while the control word is the ordinary one. What is rare, and every flag
that the guest does not have already, goes through the slow forms here, which see what the guest has unmasked.
"""
from pcemu._core.x87 cimport *


# ------------------------------------------------------------------------------------------- arithmetic, slowly

cdef Op* arith(Cpu* c, Op* op, u32 reg, u32 r, u32 s, bint popping) noexcept nogil:
    """Physical register r = r op s."""
    cdef u64* t = scratch(c)
    cdef u64* a = &c.fpr[2 * r]
    cdef u64* b = &c.fpr[2 * s]
    cdef X87Fn f = x87_arith[reg][A_REG]
    cdef u32 sw
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not (c.ftag >> r) & (c.ftag >> s) & 1):
        if not stack_fault(c, 0):
            return nxt(c, op)
        put_nan(c, r)
    else:
        t[1] = 0
        sw = run(c, f, t, a, b)
        if not outcome(c, f, scaling[reg], sw, t, a, b):
            return nxt(c, op)
        put(c, r, t[0], t[1])
    if popping:
        pop(c)
    return nxt(c, op)


cdef Op* arith_mem(Cpu* c, Op* op, u32 reg, u32 kind) noexcept nogil:
    """ST(0) = ST(0) op memory."""
    cdef u64* t = scratch(c)
    cdef u64 b[2]
    cdef u64* a = &c.fpr[2 * c.ftop]
    cdef X87Fn f = x87_arith[reg][kind]
    cdef u32 sw
    cdef u8* p
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    p = operand(c, op, 8 if kind == A_M64 else 2 if kind == A_I16 else 4)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    if UNLIKELY(not full(c, c.ftop)):
        if stack_fault(c, 0):
            put_nan(c, c.ftop)
        return nxt(c, op)
    t[1] = 0
    sw = run(c, f, t, a, p)
    to80(b, p, kind)
    if outcome(c, x87_arith[reg][A_REG], scaling[reg], sw, t, a, b):
        put(c, c.ftop, t[0], t[1])
    return nxt(c, op)


cdef Op* unary(Cpu* c, Op* op, X87Fn f, u32 how, u32 cc, bint two) noexcept nogil:
    """ST(0) = f(ST(0)), with two: of ST(0) and ST(1). cc: condition codes that f sets."""
    cdef u64* t = scratch(c)
    cdef u64* a = &c.fpr[2 * c.ftop]
    cdef u64* b = &c.fpr[2 * phys(c, 1)] if two else NULL
    cdef u32 sw
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not full(c, c.ftop) or (two and not full(c, phys(c, 1)))):
        c.fsw &= <u16>~(cc & X_C2)
        if stack_fault(c, 0):
            put_nan(c, c.ftop)
        return nxt(c, op)
    t[1] = 0
    sw = run(c, f, t, a, b)
    if outcome(c, f, how, sw, t, a, b):
        put(c, c.ftop, t[0], t[1])
        if t[1] & SE_NAN == SE_NAN:         # a NaN: of the codes only C2 is written
            cc &= X_C2
    else:
        cc &= X_C2
        sw = 0
    c.fsw = <u16>((c.fsw & ~cc) | (sw & cc))
    return nxt(c, op)


cdef Op* popping(Cpu* c, Op* op, X87Fn f, u32 how) noexcept nogil:
    """ST(1) = f(ST(0), ST(1)), then pop."""
    cdef u64* t = scratch(c)
    cdef u32 r = phys(c, 1)
    cdef u64* a = &c.fpr[2 * c.ftop]
    cdef u64* b = &c.fpr[2 * r]
    cdef u32 sw
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not (c.ftag >> c.ftop) & (c.ftag >> r) & 1):
        if not stack_fault(c, 0):
            return nxt(c, op)
        put_nan(c, r)
    else:
        t[1] = 0
        sw = run(c, f, t, a, b)
        if not outcome(c, f, how, sw, t, a, b):
            return nxt(c, op)
        put(c, r, t[0], t[1])
    pop(c)
    return nxt(c, op)


cdef Op* two_results(Cpu* c, Op* op, X87Fn f, u32 how, u32 cc) noexcept nogil:
    """f(ST(0)) is two values: the first replaces ST(0), the second is pushed."""
    cdef u64* t = scratch(c)
    cdef u32 sw
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not full(c, c.ftop) or not room(c)):
        c.fsw &= <u16>~cc
        if stack_fault(c, X_C1 if full(c, c.ftop) else 0):
            put_nan(c, c.ftop)
            push(c, <u64>3 << 62, 0xFFFF)
        return nxt(c, op)
    t[1] = t[3] = 0
    sw = run(c, f, t, &c.fpr[2 * c.ftop], NULL)
    c.fsw = <u16>((c.fsw & ~cc) | (sw & cc))
    if sw & cc:                             # C2: out of range, the operand stays
        set_c1(c, 0)
    elif outcome(c, f, how, sw, t, &c.fpr[2 * c.ftop], NULL):
        put(c, c.ftop, t[0], t[1])
        push(c, t[2], t[3])
    return nxt(c, op)

# ------------------------------------------------------------------------------------------ comparisons, slowly

cdef inline u32 zpc(u32 sw) noexcept nogil:
    """C3, C2 and C0 as ZF, PF and CF."""
    return (sw & X_C3) >> 8 | (sw & X_C2) >> 8 | (sw & X_C0) >> 8


cdef Op* compared(Cpu* c, Op* op, u32 sw, u32 pops, bint flags) noexcept nogil:
    """The result goes to EFLAGS or to the condition codes."""
    cdef u32 live = ~<u32>c.fcw & X_FLAGS
    c.fsw |= <u16>(sw & X_FLAGS)
    if flags:
        set_arith(c, zpc(sw))
    else:
        set_cc(c, sw)
    if sw & live:
        c.fsw |= X_ES | X_B
        return nxt(c, op)
    while pops:
        pop(c)
        pops -= 1
    return nxt(c, op)


cdef Op* compare(Cpu* c, Op* op, X87Fn f, u32 s, u32 pops, bint flags) noexcept nogil:
    """ST(0) with physical register s."""
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not (c.ftag >> c.ftop) & (c.ftag >> s) & 1):
        c.fsw = <u16>((c.fsw & ~X_C1) | X_SF)
        return compared(c, op, X_IE | X_C0 | X_C2 | X_C3, pops, flags)
    return compared(c, op, run(c, f, NULL, &c.fpr[2 * c.ftop], &c.fpr[2 * s]), pops, flags)


cdef Op* compare_mem(Cpu* c, Op* op, X87Fn f, int size, u32 pops) noexcept nogil:
    cdef u8* p
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    p = operand(c, op, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    if UNLIKELY(not full(c, c.ftop)):
        c.fsw |= X_SF
        return compared(c, op, X_IE | X_C0 | X_C2 | X_C3, pops, 0)
    return compared(c, op, run(c, f, NULL, &c.fpr[2 * c.ftop], p), pops, 0)


cdef Op* op_ftst(Cpu* c, Op* op) noexcept nogil:
    """ST(0) with zero."""
    cdef u64 zero[2]
    zero[0] = zero[1] = 0
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    note(c, op)
    if UNLIKELY(not full(c, c.ftop)):
        c.fsw |= X_SF
        return compared(c, op, X_IE | X_C0 | X_C2 | X_C3, 0, 0)
    return compared(c, op, run(c, x_com, NULL, &c.fpr[2 * c.ftop], zero), 0, 0)


include "gen/x_x87.pxi"
include "gen/x_x87_reg.pxi"
