"""Shifts, rotates, bit tests and scans, multiplication and division, decimal adjust, BMI (x_bits.pxi.in for every size)."""
from pcemu._core.access cimport *

cdef u32 crc_table[256]


cdef void make_crc_table() noexcept:
    """CRC32C, reflected polynomial 0x82F63B78 (SDM vol. 2, CRC32)."""
    cdef u32 i, _bit, v
    for i in range(256):
        v = i
        for _bit in range(8):
            v = (v >> 1) ^ (0x82F63B78 if v & 1 else 0)
        crc_table[i] = v

make_crc_table()


cdef inline u32 crc32c(u32 crc, u64 v, int size) noexcept nogil:
    cdef int _i
    for _i in range(size):
        crc = crc_table[(crc ^ <u32>v) & 0xff] ^ (crc >> 8)
        v >>= 8
    return crc


cdef inline void set_cf(Cpu* c, u32 cf) noexcept nogil:
    """Change CF alone."""
    set_arith(c, (get_arith(c) & ~F_CF) | cf)


cdef inline bint ea_bits(Cpu* c, Op* op, u64 delta, int size, int access) noexcept nogil:
    """Linear address of the operand displaced by delta bytes (BT with a register bit offset)."""
    cdef u64 off
    if LIKELY(op.am == AM_FLAT64):
        if not ea(c, op, size, access):
            return 0
        c.ea += delta
        return 1
    off = segcheck.ea_offset(c, op) + delta
    if (op.scale >> 2) & 3 == 1:
        off = <u16>off
    elif (op.scale >> 2) & 3 == 2:
        off = <u32>off
    return segcheck.seg_lin(c, op.seg, off, size, access)


cdef inline bint mul_8(Cpu* c, u8 b) noexcept nogil:
    cdef u32 r = <u32><u8>c.r[RAX] * b
    (<u16*>&c.r[RAX])[0] = <u16>r
    set_flags(c, K_RES, <u64><s64><s8>r, F_CF | F_OF if r >> 8 else 0)
    return 1


cdef inline bint mul_16(Cpu* c, u16 b) noexcept nogil:
    cdef u32 r = <u32><u16>c.r[RAX] * b
    (<u16*>&c.r[RAX])[0] = <u16>r
    (<u16*>&c.r[RDX])[0] = <u16>(r >> 16)
    set_flags(c, K_RES, <u64><s64><s16>r, F_CF | F_OF if r >> 16 else 0)
    return 1


cdef inline bint mul_32(Cpu* c, u32 b) noexcept nogil:
    cdef u64 r = <u64><u32>c.r[RAX] * b
    c.r[RAX] = <u32>r
    c.r[RDX] = r >> 32
    set_flags(c, K_RES, <u64><s64><s32>r, F_CF | F_OF if r >> 32 else 0)
    return 1


cdef inline bint mul_64(Cpu* c, u64 b) noexcept nogil:
    cdef u64 a = c.r[RAX]
    c.r[RAX] = a * b
    c.r[RDX] = mulhi_u64(a, b)
    set_flags(c, K_RES, c.r[RAX], F_CF | F_OF if c.r[RDX] else 0)
    return 1


cdef inline bint imul1_8(Cpu* c, u8 b) noexcept nogil:
    cdef s32 r = <s32><s8>c.r[RAX] * <s8>b
    (<u16*>&c.r[RAX])[0] = <u16>r
    set_flags(c, K_RES, <u64><s64><s8>r, 0 if r == <s8>r else F_CF | F_OF)
    return 1


cdef inline bint imul1_16(Cpu* c, u16 b) noexcept nogil:
    cdef s32 r = <s32><s16>c.r[RAX] * <s16>b
    (<u16*>&c.r[RAX])[0] = <u16>r
    (<u16*>&c.r[RDX])[0] = <u16>(r >> 16)
    set_flags(c, K_RES, <u64><s64><s16>r, 0 if r == <s16>r else F_CF | F_OF)
    return 1


cdef inline bint imul1_32(Cpu* c, u32 b) noexcept nogil:
    cdef s64 r = <s64><s32>c.r[RAX] * <s32>b
    c.r[RAX] = <u32>r
    c.r[RDX] = <u32>(r >> 32)
    set_flags(c, K_RES, <u64><s64><s32>r, 0 if r == <s32>r else F_CF | F_OF)
    return 1


cdef inline bint imul1_64(Cpu* c, u64 b) noexcept nogil:
    cdef u64 a = c.r[RAX]
    c.r[RAX] = a * b
    c.r[RDX] = <u64>mulhi_s64(<s64>a, <s64>b)
    set_flags(c, K_RES, c.r[RAX], 0 if <s64>c.r[RDX] == <s64>c.r[RAX] >> 63 else F_CF | F_OF)
    return 1


# Division: false = #DE (zero divisor or quotient too large). Flags are undefined; they are left alone.

cdef inline bint div_8(Cpu* c, u8 d) noexcept nogil:
    cdef u32 a = <u16>c.r[RAX]
    if d == 0 or a // d > 0xff:
        return 0
    (<u16*>&c.r[RAX])[0] = <u16>((a // d) | ((a % d) << 8))
    return 1


cdef inline bint div_16(Cpu* c, u16 d) noexcept nogil:
    cdef u32 a = (<u32><u16>c.r[RDX] << 16) | <u16>c.r[RAX]
    if d == 0 or a // d > 0xffff:
        return 0
    (<u16*>&c.r[RAX])[0] = <u16>(a // d)
    (<u16*>&c.r[RDX])[0] = <u16>(a % d)
    return 1


cdef inline bint div_32(Cpu* c, u32 d) noexcept nogil:
    cdef u64 a = (c.r[RDX] << 32) | <u32>c.r[RAX]
    if d == 0 or a // d > <u64>0xffffffff:
        return 0
    c.r[RAX] = a // d
    c.r[RDX] = a % d
    return 1


cdef inline bint div_64(Cpu* c, u64 d) noexcept nogil:
    cdef u64 rem = 0
    if d == 0 or c.r[RDX] >= d:
        return 0
    c.r[RAX] = div128(c.r[RDX], c.r[RAX], d, &rem)
    c.r[RDX] = rem
    return 1


cdef inline bint idiv_8(Cpu* c, u8 d) noexcept nogil:
    cdef s32 a = <s16>c.r[RAX], s = <s8>d, q
    if s == 0:
        return 0
    q = a // s
    if q != <s8>q:
        return 0
    (<u16*>&c.r[RAX])[0] = <u16>((q & 0xff) | ((a % s) << 8))
    return 1


cdef inline bint idiv_16(Cpu* c, u16 d) noexcept nogil:
    cdef s64 a = <s32>((<u32><u16>c.r[RDX] << 16) | <u16>c.r[RAX]), s = <s16>d, q
    if s == 0:
        return 0
    q = a // s
    if q != <s16>q:
        return 0
    (<u16*>&c.r[RAX])[0] = <u16>q
    (<u16*>&c.r[RDX])[0] = <u16>(a % s)
    return 1


cdef inline bint idiv_32(Cpu* c, u32 d) noexcept nogil:
    cdef s64 a = <s64>((c.r[RDX] << 32) | <u32>c.r[RAX]), s = <s32>d, q
    if s == 0 or (s == -1 and <u64>a == <u64>1 << 63):
        return 0
    q = a // s
    if q != <s32>q:
        return 0
    c.r[RAX] = <u32>q
    c.r[RDX] = <u32>(a % s)
    return 1


cdef inline bint idiv_64(Cpu* c, u64 d) noexcept nogil:
    """By magnitudes: |dividend| / |divisor|, then the signs (the remainder has the dividend's)."""
    cdef u64 hi = c.r[RDX], lo = c.r[RAX], rem = 0, q, m = d
    cdef bint neg_n = <s64>hi < 0, neg_d = <s64>d < 0
    if d == 0:
        return 0
    if neg_n:
        lo = 0 - lo
        hi = ~hi + (lo == 0)
    if neg_d:
        m = 0 - d
    if hi >= m:
        return 0
    q = div128(hi, lo, m, &rem)
    if neg_n != neg_d:
        if q > <u64>1 << 63:
            return 0
        q = 0 - q
    elif q >= <u64>1 << 63:
        return 0
    c.r[RAX] = q
    c.r[RDX] = 0 - rem if neg_n else rem
    return 1


cdef inline u64 bextr(u64 a, u64 ctl) noexcept nogil:
    cdef u32 start = ctl & 255, n = (ctl >> 8) & 255
    if start > 63:
        return 0
    a >>= start
    return a if n > 63 else a & ((<u64>1 << n) - 1)


cdef inline u64 bzhi(u64 a, u64 n) noexcept nogil:
    return a if n > 63 else a & ((<u64>1 << n) - 1)


cdef inline u64 pdep(u64 src, u64 mask) noexcept nogil:
    cdef u64 res = 0, low
    while mask:
        low = mask & (0 - mask)
        if src & 1:
            res |= low
        src >>= 1
        mask ^= low
    return res


cdef inline u64 pext(u64 src, u64 mask) noexcept nogil:
    cdef u64 res = 0, low, bit = 1
    while mask:
        low = mask & (0 - mask)
        if src & low:
            res |= bit
        bit <<= 1
        mask ^= low
    return res


include "gen/x_bits.pxi"


# ---- byte swaps, conversions, decimal adjust

cdef Op* op_bswap_r_16(Cpu* c, Op* op) noexcept nogil:
    (<u16*>&c.r[op.reg])[0] = 0             # undefined by the SDM; this is what processors do
    return nxt(c, op)


cdef Op* op_bswap_r_32(Cpu* c, Op* op) noexcept nogil:
    c.r[op.reg] = bswap32(<u32>c.r[op.reg])
    return nxt(c, op)


cdef Op* op_bswap_r_64(Cpu* c, Op* op) noexcept nogil:
    c.r[op.reg] = bswap64(c.r[op.reg])
    return nxt(c, op)


cdef Op* op_cbw_16(Cpu* c, Op* op) noexcept nogil:
    (<u16*>&c.r[RAX])[0] = <u16><s16><s8>c.r[RAX]
    return nxt(c, op)


cdef Op* op_cbw_32(Cpu* c, Op* op) noexcept nogil:
    c.r[RAX] = <u32><s32><s16>c.r[RAX]
    return nxt(c, op)


cdef Op* op_cbw_64(Cpu* c, Op* op) noexcept nogil:
    c.r[RAX] = <u64><s64><s32>c.r[RAX]
    return nxt(c, op)


cdef Op* op_cwd_16(Cpu* c, Op* op) noexcept nogil:
    (<u16*>&c.r[RDX])[0] = 0xffff if <s16>c.r[RAX] < 0 else 0
    return nxt(c, op)


cdef Op* op_cwd_32(Cpu* c, Op* op) noexcept nogil:
    c.r[RDX] = <u32>(<s32>c.r[RAX] >> 31)
    return nxt(c, op)


cdef Op* op_cwd_64(Cpu* c, Op* op) noexcept nogil:
    c.r[RDX] = <u64>(<s64>c.r[RAX] >> 63)
    return nxt(c, op)


cdef Op* op_xlat(Cpu* c, Op* op) noexcept nogil:
    cdef u64 off = c.r[RBX] + <u8>c.r[RAX]
    cdef u32 asz = (op.scale >> 2) & 3
    cdef u8* p
    if asz == 1:
        off = <u16>off
    elif asz == 2:
        off = <u32>off
    if not segcheck.seg_lin(c, op.seg, off, 1, ACC_READ):
        return fault(c, op)
    p = ldv(c, op, c.ea, 1)
    if p is NULL:
        return fault(c, op)
    (<u8*>c.r)[0] = p[0]
    return nxt(c, op)


cdef Op* op_cmc(Cpu* c, Op* op) noexcept nogil:
    set_arith(c, get_arith(c) ^ F_CF)
    return nxt(c, op)


cdef Op* op_clc(Cpu* c, Op* op) noexcept nogil:
    set_arith(c, get_arith(c) & ~F_CF)
    return nxt(c, op)


cdef Op* op_stc(Cpu* c, Op* op) noexcept nogil:
    set_arith(c, get_arith(c) | F_CF)
    return nxt(c, op)


cdef Op* op_cld(Cpu* c, Op* op) noexcept nogil:
    c.eflags &= ~<u32>F_DF
    return nxt(c, op)


cdef Op* op_std(Cpu* c, Op* op) noexcept nogil:
    c.eflags |= F_DF
    return nxt(c, op)


cdef Op* op_lahf(Cpu* c, Op* op) noexcept nogil:
    (<u8*>c.r)[1] = <u8>((get_arith(c) & 0xD5) | 2)
    return nxt(c, op)


cdef Op* op_sahf(Cpu* c, Op* op) noexcept nogil:
    set_arith(c, (get_arith(c) & F_OF) | ((<u8*>c.r)[1] & 0xD5))
    return nxt(c, op)


cdef Op* op_salc(Cpu* c, Op* op) noexcept nogil:
    (<u8*>c.r)[0] = 0xff if get_cf(c) else 0
    return nxt(c, op)


cdef inline void adjusted(Cpu* c, u8 al, u32 keep) noexcept nogil:
    """Flags after a decimal adjust: SF ZF PF from AL, AF and CF as given; OF (undefined) clear."""
    (<u8*>c.r)[0] = al
    set_flags(c, K_RES, <u64><s64><s8>al, keep)


cdef Op* op_daa(Cpu* c, Op* op) noexcept nogil:
    cdef u8 al = <u8>c.r[RAX], old = al
    cdef u32 fl = get_arith(c), new = 0
    if (al & 15) > 9 or fl & F_AF:
        al = <u8>(al + 6)
        new |= F_AF
    if old > 0x99 or fl & F_CF:
        al = <u8>(al + 0x60)
        new |= F_CF
    adjusted(c, al, new)
    return nxt(c, op)


cdef Op* op_das(Cpu* c, Op* op) noexcept nogil:
    cdef u8 al = <u8>c.r[RAX], old = al
    cdef u32 fl = get_arith(c), new = 0
    if (al & 15) > 9 or fl & F_AF:
        if al < 6:
            new |= F_CF
        al = <u8>(al - 6)
        new |= F_AF
    if old > 0x99 or fl & F_CF:
        al = <u8>(al - 0x60)
        new |= F_CF
    adjusted(c, al, new)
    return nxt(c, op)


cdef Op* op_aaa(Cpu* c, Op* op) noexcept nogil:
    cdef u16 ax = <u16>c.r[RAX]
    cdef u32 new = 0
    if (ax & 15) > 9 or get_arith(c) & F_AF:
        ax = <u16>(ax + 0x106)
        new = F_AF | F_CF
    ax &= 0xff0f
    (<u16*>&c.r[RAX])[0] = ax
    set_flags(c, K_RES, <u64><s64><s8>ax, new)
    return nxt(c, op)


cdef Op* op_aas(Cpu* c, Op* op) noexcept nogil:
    cdef u16 ax = <u16>c.r[RAX]
    cdef u32 new = 0
    if (ax & 15) > 9 or get_arith(c) & F_AF:
        ax = <u16>(ax - 6 - 0x100)
        new = F_AF | F_CF
    ax &= 0xff0f
    (<u16*>&c.r[RAX])[0] = ax
    set_flags(c, K_RES, <u64><s64><s8>ax, new)
    return nxt(c, op)


cdef Op* op_aam_i(Cpu* c, Op* op) noexcept nogil:
    cdef u8 base = <u8>op.imm, al = <u8>c.r[RAX]
    if base == 0:
        return raise_exc(c, op, EXC_DE)
    (<u16*>&c.r[RAX])[0] = <u16>((al % base) | ((al // base) << 8))
    set_flags(c, K_LOGIC, <u64><s64><s8>(al % base), 0)
    return nxt(c, op)


cdef Op* op_aad_i(Cpu* c, Op* op) noexcept nogil:
    cdef u8 al = <u8>(<u8>c.r[RAX] + <u8>(c.r[RAX] >> 8) * <u8>op.imm)
    (<u16*>&c.r[RAX])[0] = al
    set_flags(c, K_LOGIC, <u64><s64><s8>al, 0)
    return nxt(c, op)


cdef Op* op_cmpxchgxb_m_32(Cpu* c, Op* op) noexcept nogil:
    """CMPXCHG8B: EDX:EAX with m64; only ZF changes."""
    cdef u64 old, want = (c.r[RDX] << 32) | <u32>c.r[RAX]
    cdef u8* p = rw(c, op, 8)
    if p is NULL:
        return fault(c, op)
    old = (<u64*>p)[0]
    if old == want:
        (<u64*>p)[0] = (c.r[RCX] << 32) | <u32>c.r[RBX]
    if not rw_done(c, op, p):
        return fault(c, op)
    if old == want:
        set_arith(c, get_arith(c) | F_ZF)
    else:
        c.r[RAX] = <u32>old
        c.r[RDX] = old >> 32
        set_arith(c, get_arith(c) & ~F_ZF)
    return nxt(c, op)


cdef Op* op_cmpxchgxb_m_64(Cpu* c, Op* op) noexcept nogil:
    """CMPXCHG16B: RDX:RAX with m128, which must be aligned."""
    cdef u64 lo, hi
    cdef u8* p
    cdef bint same
    if not (c.feat[FEAT_CX16 >> 6] >> (FEAT_CX16 & 63)) & 1:
        return raise_exc(c, op, EXC_UD)
    if not ea(c, op, 16, ACC_WRITE):
        return fault(c, op)
    if c.ea & 15:
        return raise_err(c, op, EXC_GP, 0)
    p = rw(c, op, 16)
    if p is NULL:
        return fault(c, op)
    lo = (<u64*>p)[0]
    hi = (<u64*>p)[1]
    same = lo == c.r[RAX] and hi == c.r[RDX]
    if same:
        (<u64*>p)[0] = c.r[RBX]
        (<u64*>p)[1] = c.r[RCX]
    if not rw_done(c, op, p):
        return fault(c, op)
    if same:
        set_arith(c, get_arith(c) | F_ZF)
    else:
        c.r[RAX] = lo
        c.r[RDX] = hi
        set_arith(c, get_arith(c) & ~F_ZF)
    return nxt(c, op)


cdef Op* op_nop90_rr(Cpu* c, Op* op) noexcept nogil:
    """90: NOP; with REX.B it is XCHG r8, rAX."""
    cdef u64 a
    if op.rm == 0:
        return nxt(c, op)
    a = c.r[RAX]
    if op.osz & 3 == 3:
        c.r[RAX] = c.r[op.rm]
        c.r[op.rm] = a
    elif op.osz & 3 == 2:
        c.r[RAX] = <u32>c.r[op.rm]
        c.r[op.rm] = <u32>a
    else:
        (<u16*>&c.r[RAX])[0] = <u16>c.r[op.rm]
        (<u16*>&c.r[op.rm])[0] = <u16>a
    return nxt(c, op)


cdef Op* op_nope(Cpu* c, Op* op) noexcept nogil:
    """Hint NOPs (0F 19-1F): the memory operand is not accessed."""
    return nxt(c, op)


include "gen/features.pxi"
include "gen/x_bits_reg.pxi"
