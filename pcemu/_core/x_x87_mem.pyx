# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""x87 loads and stores: the three floating-point formats, integers, packed decimals (SDM vol. 1, 4.7, 4.8 and 8.3.3).

Ordinary numbers change format by shifts; everything else takes the host's instruction.
"""
from libc.string cimport memcpy

from pcemu._core.x87 cimport *

cdef extern from "host_x87.h" nogil:
    u32 x_ld32(void* d, const void* a, const void* b, u32 cw) noexcept
    u32 x_ld64(void* d, const void* a, const void* b, u32 cw) noexcept
    u32 x_ldbcd(void* d, const void* a, const void* b, u32 cw) noexcept
    u32 x_st32(void* d, const void* a, const void* b, u32 cw) noexcept
    u32 x_st64(void* d, const void* a, const void* b, u32 cw) noexcept
    u32 x_ist16(void* d, const void* a, const void* b, u32 cw) noexcept
    u32 x_ist32(void* d, const void* a, const void* b, u32 cw) noexcept
    u32 x_ist64(void* d, const void* a, const void* b, u32 cw) noexcept
    u32 x_stbcd(void* d, const void* a, const void* b, u32 cw) noexcept

cdef enum:
    CHOP = 0xC00

# the indefinite value of each format, by size and kind
cdef u8 nan32[4]
cdef u8 nan64[8]
cdef u8 nan80[10]
cdef u8 int16[2]
cdef u8 int32[4]
cdef u8 int64[8]
cdef u8 bcd[10]
nan32[:] = [0, 0, 0xC0, 0xFF]
nan64[:] = [0, 0, 0, 0, 0, 0, 0xF8, 0xFF]
nan80[:] = [0, 0, 0, 0, 0, 0, 0, 0xC0, 0xFF, 0xFF]
int16[:] = [0, 0x80]
int32[:] = [0, 0, 0, 0x80]
int64[:] = [0, 0, 0, 0, 0, 0, 0, 0x80]
bcd[:] = [0, 0, 0, 0, 0, 0, 0, 0xC0, 0xFF, 0xFF]


# ------------------------------------------------------------------------------------------------------- loads

cdef Op* load(Cpu* c, Op* op, X87Fn f, int size) noexcept nogil:
    """Push a memory operand; f NULL: an integer, which is always exact, or an 80-bit value, which is taken as it is."""
    cdef u64* t = scratch(c)
    cdef X87Num n
    cdef u8* p
    cdef u32 sw
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    p = operand(c, op, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    if UNLIKELY(not room(c)):
        if stack_fault(c, X_C1):
            push(c, <u64>3 << 62, 0xFFFF)
        return nxt(c, op)
    t[1] = 0
    if f is not NULL:
        sw = run(c, f, t, p, NULL)
        if not outcome(c, f, S_NONE, sw, t, NULL, NULL) and sw & X_IE:      # an unmasked denormal is loaded all the same
            return nxt(c, op)
    else:
        c.fsw &= <u16>~X_C1
        if size == 10:
            t[0] = (<u64*>p)[0]
            t[1] = (<u16*>p)[4]
        else:
            n = whole((<s16*>p)[0] if size == 2 else (<s32*>p)[0] if size == 4 else (<s64*>p)[0])
            t[0] = n.m
            t[1] = n.se
    push(c, t[0], t[1])
    return nxt(c, op)


cdef Op* op_fld_m_32(Cpu* c, Op* op) noexcept nogil:
    cdef X87Num n
    cdef u8* p
    if UNLIKELY(c.fsw & X_ES or not room(c)):
        return load(c, op, x_ld32, 4)
    p = quick(c, op, c.tlb_r, 4)
    if UNLIKELY(p is NULL):
        return load(c, op, x_ld32, 4)
    n = widen32((<u32*>p)[0])
    if UNLIKELY(n.sw):
        return load(c, op, x_ld32, 4)
    c.fsw &= <u16>~X_C1
    push(c, n.m, n.se)
    return nxt(c, op)


cdef Op* op_fld_m_64(Cpu* c, Op* op) noexcept nogil:
    cdef X87Num n
    cdef u8* p
    if UNLIKELY(c.fsw & X_ES or not room(c)):
        return load(c, op, x_ld64, 8)
    p = quick(c, op, c.tlb_r, 8)
    if UNLIKELY(p is NULL):
        return load(c, op, x_ld64, 8)
    n = widen64((<u64*>p)[0])
    if UNLIKELY(n.sw):
        return load(c, op, x_ld64, 8)
    c.fsw &= <u16>~X_C1
    push(c, n.m, n.se)
    return nxt(c, op)


cdef Op* op_fld80_m(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p
    if UNLIKELY(c.fsw & X_ES or not room(c)):
        return load(c, op, NULL, 10)
    p = quick(c, op, c.tlb_r, 10)
    if UNLIKELY(p is NULL):
        return load(c, op, NULL, 10)
    c.fsw &= <u16>~X_C1
    push(c, (<u64*>p)[0], (<u16*>p)[4])
    return nxt(c, op)


cdef Op* op_fild_m_16(Cpu* c, Op* op) noexcept nogil:
    return load(c, op, NULL, 2)


cdef Op* op_fild_m_32(Cpu* c, Op* op) noexcept nogil:
    cdef X87Num n
    cdef u8* p
    if UNLIKELY(c.fsw & X_ES or not room(c)):
        return load(c, op, NULL, 4)
    p = quick(c, op, c.tlb_r, 4)
    if UNLIKELY(p is NULL):
        return load(c, op, NULL, 4)
    c.fsw &= <u16>~X_C1
    n = whole((<s32*>p)[0])
    push(c, n.m, n.se)
    return nxt(c, op)


cdef Op* op_fild_m_64(Cpu* c, Op* op) noexcept nogil:
    return load(c, op, NULL, 8)


cdef Op* op_fbld_m(Cpu* c, Op* op) noexcept nogil:
    return load(c, op, x_ldbcd, 10)

# ------------------------------------------------------------------------------------------------------ stores

cdef inline bint put_bytes(Cpu* c, Op* op, const u8* p, int size) noexcept nogil:
    """To c.ea, which ea() has checked."""
    if size == 2:
        return stv16(c, op, c.ea, (<u16*>p)[0])
    if size == 4:
        return stv32(c, op, c.ea, (<u32*>p)[0])
    if size == 8:
        return stv64(c, op, c.ea, (<u64*>p)[0])
    return mmu.st_slow_bytes(c, op, c.ea, p, size)


cdef bint too_small(const u8* p, int size, const u64* a) noexcept nogil:
    """Is a number that was stored as m32 or m64 below the format's normal range?"""
    if a[0] == 0:
        return 0
    if size == 4:
        return not (<u32*>p)[0] & 0x7F800000
    return not (<u64*>p)[0] & <u64>0x7FF << 52


cdef Op* store(Cpu* c, Op* op, X87Fn f, int size, const u8* indefinite, u32 cw, bint popping) noexcept nogil:
    """ST(0), converted by f under control word cw, to memory. An unmasked exception other than inexact leaves both alone."""
    cdef u8* t = c.lbuf         # not on the stack: as scratch() says
    cdef u64* a = &c.fpr[2 * c.ftop]
    cdef u16 before = c.fsw
    cdef u32 live = ~<u32>c.fcw & X_FLAGS
    cdef u32 sw
    cdef bint write = 1
    if UNLIKELY(not ready(c) or not ea(c, op, size, ACC_WRITE)):
        return fault(c, op)
    if UNLIKELY(not full(c, c.ftop)):
        write = stack_fault(c, 0)
        memcpy(t, indefinite, size)
    elif f is NULL:
        memcpy(t, a, 10)
        c.fsw &= <u16>~X_C1
    else:
        sw = x87_run(f, t, a, NULL, cw, c.fsw & c.fcw & X_FLAGS)
        if live:
            if live & X_UE and (f == x_st32 or f == x_st64) and (sw & X_UE or too_small(t, size, a)):
                sw = X_UE
            if sw & live & X_OE:
                sw = X_OE
            if sw & live & ~X_PE:
                sw &= ~(X_PE | X_C1)
                write = 0
            if sw & live:
                c.fsw |= X_ES | X_B
        c.fsw = <u16>((c.fsw & ~X_C1) | (sw & (X_FLAGS | X_C1)))
    if write and UNLIKELY(not put_bytes(c, op, t, size)):
        c.fsw = before
        return fault(c, op)
    note_mem(c, op, c.ea)
    if write and popping:
        pop(c)
    return nxt(c, op)


cdef Op* store32(Cpu* c, Op* op, bint popping) noexcept nogil:
    """The fast path of FST and FSTP m32: round the significand to 24 bits, to nearest even."""
    cdef u64 m = c.fpr[2 * c.ftop]
    cdef u32 sexp = se(c, c.ftop)
    cdef u32 e = (sexp & SE_NAN) - (16383 - 127)
    cdef u64 cut = m & <u64>0xFFFFFFFFFF
    cdef u32 up = 0
    cdef u32 v
    cdef u8* p
    if UNLIKELY(not quiet(c) or not full(c, c.ftop)):
        return store(c, op, x_st32, 4, nan32, c.fcw, popping)
    v = (sexp & 0x8000) << 16
    if m:
        if UNLIKELY(e - 1 >= 0xFD or not m >> 63):
            return store(c, op, x_st32, 4, nan32, c.fcw, popping)
        up = <u32>((cut + <u64>0x7FFFFFFFFF + (m >> 40 & 1)) >> 40)
        v |= (e << 23) + (<u32>(m >> 40) & 0x7FFFFF) + up
    elif UNLIKELY(sexp & SE_NAN):
        return store(c, op, x_st32, 4, nan32, c.fcw, popping)
    p = quick(c, op, c.tlb_w, 4)
    if UNLIKELY(p is NULL):
        return store(c, op, x_st32, 4, nan32, c.fcw, popping)
    (<u32*>p)[0] = v
    c.fsw = <u16>((c.fsw & ~X_C1) | up << 9 | (X_PE if cut else 0))
    if popping:
        pop(c)
    return nxt(c, op)


cdef Op* store64(Cpu* c, Op* op, bint popping) noexcept nogil:
    """... m64: to 53 bits."""
    cdef u64 m = c.fpr[2 * c.ftop]
    cdef u64 sexp = se(c, c.ftop)
    cdef u64 e = (sexp & SE_NAN) - (16383 - 1023)
    cdef u64 cut = m & 0x7FF
    cdef u64 up = 0
    cdef u64 v
    cdef u8* p
    if UNLIKELY(not quiet(c) or not full(c, c.ftop)):
        return store(c, op, x_st64, 8, nan64, c.fcw, popping)
    v = (sexp & 0x8000) << 48
    if m:
        if UNLIKELY(e - 1 >= 0x7FD or not m >> 63):
            return store(c, op, x_st64, 8, nan64, c.fcw, popping)
        up = (cut + 0x3FF + (m >> 11 & 1)) >> 11
        v |= (e << 52) + (m >> 11 & <u64>0xFFFFFFFFFFFFF) + up
    elif UNLIKELY(sexp & SE_NAN):
        return store(c, op, x_st64, 8, nan64, c.fcw, popping)
    p = quick(c, op, c.tlb_w, 8)
    if UNLIKELY(p is NULL):
        return store(c, op, x_st64, 8, nan64, c.fcw, popping)
    (<u64*>p)[0] = v
    c.fsw = <u16>((c.fsw & ~X_C1) | up << 9 | (X_PE if cut else 0))
    if popping:
        pop(c)
    return nxt(c, op)


cdef Op* op_fst_m_32(Cpu* c, Op* op) noexcept nogil:
    return store32(c, op, 0)


cdef Op* op_fstp_m_32(Cpu* c, Op* op) noexcept nogil:
    return store32(c, op, 1)


cdef Op* op_fst_m_64(Cpu* c, Op* op) noexcept nogil:
    return store64(c, op, 0)


cdef Op* op_fstp_m_64(Cpu* c, Op* op) noexcept nogil:
    return store64(c, op, 1)


cdef Op* op_fstp80_m(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p
    if UNLIKELY(c.fsw & X_ES or not full(c, c.ftop)):
        return store(c, op, NULL, 10, nan80, 0, 1)
    p = quick(c, op, c.tlb_w, 10)
    if LIKELY(p is not NULL):
        (<u64*>p)[0] = c.fpr[2 * c.ftop]
        (<u16*>p)[4] = <u16>se(c, c.ftop)
        c.fsw &= <u16>~X_C1
        pop(c)
        return nxt(c, op)
    return store(c, op, NULL, 10, nan80, 0, 1)


cdef Op* op_fist_m_16(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, x_ist16, 2, int16, c.fcw, 0)


cdef Op* op_fist_m_32(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, x_ist32, 4, int32, c.fcw, 0)


cdef Op* op_fistp_m_16(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, x_ist16, 2, int16, c.fcw, 1)


cdef Op* op_fistp_m_32(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, x_ist32, 4, int32, c.fcw, 1)


cdef Op* op_fistp_m_64(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, x_ist64, 8, int64, c.fcw, 1)


cdef Op* op_fisttp_m_16(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, x_ist16, 2, int16, c.fcw | CHOP, 1)


cdef Op* op_fisttp_m_32(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, x_ist32, 4, int32, c.fcw | CHOP, 1)


cdef Op* op_fisttp_m_64(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, x_ist64, 8, int64, c.fcw | CHOP, 1)


cdef Op* op_fbstp_m(Cpu* c, Op* op) noexcept nogil:
    return store(c, op, x_stbcd, 10, bcd, c.fcw, 1)


include "gen/x_x87_mem_reg.pxi"
