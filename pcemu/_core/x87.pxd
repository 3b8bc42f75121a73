"""What the x87 handlers share: the register stack, pending exceptions, pointers, the host's instructions (SDM vol. 1, chapter 8).

Cpu.fpr holds the registers by physical number, Cpu.ftag a bit for each that is not empty, Cpu.fsw the status word without TOP.
ES and B are set in fsw exactly when an unmasked exception is flagged. Instruction and data pointer and opcode are kept for every
instruction that is not a control instruction, as AMD's processors do; FIP and FDP are offsets in their segments.
"""
from pcemu._core.access cimport *

cdef extern from "host_x87.h" nogil:
    ctypedef u32 (*X87Fn "x87_fn")(void* d, const void* a, const void* b, u32 cw) noexcept
    u32 x87_run(X87Fn f, void* d, const void* a, const void* b, u32 cw, u32 known) noexcept
    bint x87_host_default()
    X87Fn x87_arith[8][5]
    ctypedef struct X87Num "x87_num":
        u64 m
        u32 se
        u32 sw              # exception flags and C1
    X87Num x_quick_add(u64 ma, u32 sa, u64 mb, u32 sb) noexcept
    X87Num x_quick_mul(u64 ma, u32 sa, u64 mb, u32 sb) noexcept
    X87Num x_quick_div(u64 ma, u32 sa, u64 mb, u32 sb) noexcept

cdef enum:
    X_IE = 1 << 0
    X_DE = 1 << 1
    X_ZE = 1 << 2
    X_OE = 1 << 3
    X_UE = 1 << 4
    X_PE = 1 << 5
    X_FLAGS = 0x3F          # those six: in the status word, their masks in the control word
    X_BEFORE = 0x07         # found before there is a result
    X_SF = 1 << 6
    X_ES = 1 << 7
    X_C0 = 1 << 8
    X_C1 = 1 << 9
    X_C2 = 1 << 10
    X_C3 = 1 << 14
    X_CC = 0x4700
    X_B = 1 << 15
    CW_DEFAULT = 0x300      # of precision and rounding (CW_CONTROL): 64 bits, to nearest
    CW_CONTROL = 0xF00
    CW_PRECISION = 0x300
    SE_NAN = 0x7FFF
    X_SLOW = 0x10000        # in X87Num.sw: no result

cdef enum:                  # memory operands of arithmetic: second index of x87_arith
    A_REG = 0
    A_M32 = 1
    A_M64 = 2
    A_I16 = 3
    A_I32 = 4

cdef enum:                  # how a result scales with its operands: rescale()
    S_NONE = 0              # neither overflow nor underflow
    S_ADD = 1
    S_MUL = 2
    S_DIV = 3
    S_DIVR = 4
    S_SMALL = 5             # f(x) = about k * x for small x
    S_ATAN = 6
    S_LOG = 7
    S_LOGP1 = 8
    S_SCALE = 9
    S_EXACT = 10            # exact but for its exponent

# x87.pyx
cdef bint wait_slow(Cpu* c) noexcept nogil
cdef bint stack_fault(Cpu* c, u32 c1) noexcept nogil
cdef u32 run(Cpu* c, X87Fn f, void* d, const void* a, const void* b) noexcept nogil
cdef bint outcome(Cpu* c, X87Fn f, u32 how, u32 sw, u64* d, const u64* a, const u64* b) noexcept nogil
cdef void to80(u64* d, const void* p, u32 kind) noexcept nogil
cdef void ferr(Cpu* c, bint level) noexcept with gil

# ------------------------------------------------------------------------------------------------------- stack

cdef inline u32 phys(Cpu* c, u32 i) noexcept nogil:
    """Physical number of ST(i)."""
    return (c.ftop + i) & 7


cdef inline bint full(Cpu* c, u32 r) noexcept nogil:
    """Is physical register r not empty?"""
    return (c.ftag >> r) & 1


cdef inline u32 se(Cpu* c, u32 r) noexcept nogil:
    """Sign and exponent: a narrow load, because the host may just have stored ten bytes there."""
    return (<u16*>&c.fpr[2 * r + 1])[0]


cdef inline u64* scratch(Cpu* c) noexcept nogil:
    """Where the host's instructions put their results. On the stack, processors that rename its slots mistake the ten bytes for
    what was pushed there before, every time."""
    return <u64*>c.wbuf


cdef inline void put(Cpu* c, u32 r, u64 m, u64 se) noexcept nogil:
    c.fpr[2 * r] = m
    c.fpr[2 * r + 1] = se
    c.ftag |= <u8>(1 << r)


cdef inline void put_nan(Cpu* c, u32 r) noexcept nogil:
    """The indefinite QNaN: the masked response to an invalid operation."""
    put(c, r, <u64>3 << 62, 0xFFFF)


cdef inline void push(Cpu* c, u64 m, u64 se) noexcept nogil:
    c.ftop = <u8>((c.ftop - 1) & 7)
    put(c, c.ftop, m, se)


cdef inline void pop(Cpu* c) noexcept nogil:
    c.ftag &= <u8>~(1 << c.ftop)
    c.ftop = <u8>((c.ftop + 1) & 7)


cdef inline bint room(Cpu* c) noexcept nogil:
    """Is there an empty register to push into?"""
    return not full(c, (c.ftop - 1) & 7)

# ------------------------------------------------------------------------------------------ status and exceptions

cdef inline bint ready(Cpu* c) noexcept nogil:
    """A waiting instruction looks for a pending exception. False: return fault(c, op)."""
    return LIKELY(not c.fsw & X_ES) or wait_slow(c)


cdef inline bint quiet(Cpu* c) noexcept nogil:
    """Nothing pending, rounding to nearest at 64 bits, inexact and underflow masked (an exact tiny result raises that when it is
    not, and the host does not tell)."""
    return LIKELY(c.fcw & 0xF30 == 0x330 and not c.fsw & X_ES)


cdef inline bint new_flags(Cpu* c, u32 sw) noexcept nogil:
    """Has the host's status word a flag that the guest's has not? Then it may be a stale one, or unmasked: start again slowly."""
    return UNLIKELY(sw & X_FLAGS & ~<u32>c.fsw)


cdef inline void set_c1(Cpu* c, u32 sw) noexcept nogil:
    c.fsw = <u16>((c.fsw & ~X_C1) | (sw & X_C1))


cdef inline void set_cc(Cpu* c, u32 sw) noexcept nogil:
    c.fsw = <u16>((c.fsw & ~X_CC) | (sw & X_CC))


cdef inline void result(Cpu* c, u32 r, X87Num n) noexcept nogil:
    """A fast path's result into a register that is not empty."""
    c.fpr[2 * r] = n.m
    c.fpr[2 * r + 1] = n.se
    c.fsw = <u16>((c.fsw & ~X_C1) | n.sw)


cdef inline X87Num widen32(u32 v) noexcept nogil:
    """A normal number or zero; the others are X_SLOW."""
    cdef u32 e = (v >> 23) & 0xFF
    cdef X87Num n
    n.m = <u64>v << 40 | <u64>1 << 63
    n.se = e + (16383 - 127) | (v >> 31) << 15
    n.sw = 0
    if UNLIKELY(e - 1 >= 0xFE):
        n.m = 0
        n.se = (v >> 31) << 15
        n.sw = X_SLOW if v << 1 else 0
    return n


cdef inline X87Num widen64(u64 v) noexcept nogil:
    cdef u32 e = <u32>(v >> 52) & 0x7FF
    cdef X87Num n
    n.m = v << 11 | <u64>1 << 63
    n.se = e + (16383 - 1023) | <u32>(v >> 63) << 15
    n.sw = 0
    if UNLIKELY(e - 1 >= 0x7FE):
        n.m = 0
        n.se = <u32>(v >> 63) << 15
        n.sw = X_SLOW if v << 1 else 0
    return n


cdef inline X87Num whole(s64 v) noexcept nogil:
    """An integer as an 80-bit value."""
    cdef u64 m = <u64>(-v if v < 0 else v)
    cdef X87Num n
    cdef u32 z
    n.m = 0
    n.se = 0
    n.sw = 0
    if m:
        z = clz64(m)
        n.m = m << z
        n.se = <u32>(<u64>v >> 63) << 15 | (16383 + 63 - z)
    return n


cdef inline void summarise(Cpu* c) noexcept nogil:
    """ES and B follow flags and masks."""
    if UNLIKELY(c.fsw & ~c.fcw & X_FLAGS):
        c.fsw |= X_ES | X_B
    else:
        c.fsw &= <u16>~(X_ES | X_B)

# ---------------------------------------------------------------------------------------- pointers and operands

cdef inline void note(Cpu* c, Op* op) noexcept nogil:
    """Instruction pointer and opcode. The decoder puts the opcode's eleven bits into op.imm."""
    c.fip = c.r[R_PC] + op.pcoff
    c.fop = <u16>op.imm
    c.fcs = c.seg[CS].sel


cdef inline void note_mem(Cpu* c, Op* op, u64 va) noexcept nogil:
    """... and data pointer."""
    cdef u64 off = va - c.seg[op.seg].base
    note(c, op)
    c.fdp = off if c.mode & M_CODE64 else <u32>off
    c.fds = c.seg[DS if op.seg == SEG_FLAT else op.seg].sel


cdef inline u8* quick(Cpu* c, Op* op, TlbEntry* tlb, int size) noexcept nogil:
    """The op's operand, its pointers noted, where a flat address and a TLB hit are all it takes; else NULL with nothing done."""
    cdef u64 va, off
    cdef TlbEntry* e
    if LIKELY(op.am == AM_FLAT64):
        va = c.r[op.base] + (c.r[op.index] << (op.scale & 3)) + <u64><s64>op.disp + c.seg[op.seg].base
    elif op.am == AM_FLAT32:
        va = <u32>(<u32>(c.r[op.base] + (c.r[op.index] << (op.scale & 3)) + <u64><s64>op.disp) + c.seg[op.seg].base)
    else:
        return NULL
    e = &tlb[(va >> 12) & TLB_MASK]
    off = va - e.tag
    if LIKELY(off <= <u64>(4096 - size)):
        note_mem(c, op, va)
        return e.host + off
    return NULL


cdef inline u8* operand(Cpu* c, Op* op, int size) noexcept nogil:
    """The op's memory operand for reading, its pointers noted. NULL: return fault(c, op)."""
    cdef u8* p
    if UNLIKELY(not ea(c, op, size, ACC_READ)):
        return NULL
    p = ldv(c, op, c.ea, size)
    if LIKELY(p is not NULL):
        note_mem(c, op, c.ea)
    return p
