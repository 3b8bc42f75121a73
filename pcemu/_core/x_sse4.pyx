"""String comparison (SSE4.2: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM), AES-NI and PCLMULQDQ."""
from pcemu._core.simd cimport *

cdef extern from "host_simd.h" nogil:
    void st_pair(void* p, u64 lo, u64 hi) noexcept
    u32 str_eq8(const u8* v, u32 x) noexcept
    u32 str_eq16(const u8* v, u32 x) noexcept
    u32 str_geu8(const u8* v, u32 x) noexcept
    u32 str_geu16(const u8* v, u32 x) noexcept
    u32 str_ges8(const u8* v, u32 x) noexcept
    u32 str_ges16(const u8* v, u32 x) noexcept
    u32 str_leu8(const u8* v, u32 x) noexcept
    u32 str_leu16(const u8* v, u32 x) noexcept
    u32 str_les8(const u8* v, u32 x) noexcept
    u32 str_les16(const u8* v, u32 x) noexcept
    u32 str_same8(const u8* a, const u8* b) noexcept
    u32 str_same16(const u8* a, const u8* b) noexcept

cdef enum:              # the control byte (SDM vol. 2, 4.1)
    STR_WORDS = 1
    STR_SIGNED = 2
    STR_ANY = 0         # bits 3:2
    STR_RANGES = 1
    STR_EACH = 2
    STR_ORDERED = 3
    STR_NEGATE = 16
    STR_VALID_ONLY = 32
    STR_HIGH = 64       # index of the most significant bit; mask of elements, not bits


cdef inline u32 element(const u8* v, u32 i, u32 ctl) noexcept nogil:
    return (<u16*>v)[i] if ctl & STR_WORDS else v[i]


cdef inline u32 equal_to(const u8* v, u32 x, u32 ctl) noexcept nogil:
    """A bit for each element of v equal to x."""
    return str_eq16(v, x) if ctl & STR_WORDS else str_eq8(v, x)


cdef inline u32 between(const u8* v, u32 low, u32 high, u32 ctl) noexcept nogil:
    if ctl & STR_SIGNED:
        if ctl & STR_WORDS:
            return str_ges16(v, low) & str_les16(v, high)
        return str_ges8(v, low) & str_les8(v, high)
    if ctl & STR_WORDS:
        return str_geu16(v, low) & str_leu16(v, high)
    return str_geu8(v, low) & str_leu8(v, high)


cdef u32 compare(Cpu* c, const u8* a, const u8* b, u32 la, u32 lb, u32 ctl) noexcept nogil:
    """IntRes2 of strings a (destination, la elements) and b (source); sets the flags."""
    cdef u32 n = 8 if ctl & STR_WORDS else 16
    cdef u32 every = (<u32>1 << n) - 1
    cdef u32 valid_a = (<u32>1 << la) - 1
    cdef u32 valid_b = (<u32>1 << lb) - 1
    cdef u32 kind = (ctl >> 2) & 3
    cdef u32 res = 0
    cdef u32 i
    if kind == STR_ANY:
        for i in range(la):
            res |= equal_to(b, element(a, i, ctl), ctl)
        res &= valid_b
    elif kind == STR_RANGES:
        for i in range(la >> 1):
            res |= between(b, element(a, 2 * i, ctl), element(a, 2 * i + 1, ctl), ctl)
        res &= valid_b
    elif kind == STR_EACH:
        res = str_same16(a, b) if ctl & STR_WORDS else str_same8(a, b)
        res = (res & valid_a & valid_b) | (every & ~(valid_a | valid_b))
    else:
        # a begins at place j of b; what would lie beyond the register counts as a match
        res = every
        for i in range(la):
            res &= ((equal_to(b, element(a, i, ctl), ctl) & valid_b) >> i) | (every & ~(every >> i))
    if ctl & STR_NEGATE:
        res ^= valid_b if ctl & STR_VALID_ONLY else every
    set_arith(c, (F_CF if res else 0) | (F_ZF if lb < n else 0) | (F_SF if la < n else 0) | (F_OF if res & 1 else 0))
    return res


cdef inline u32 implicit_length(const u8* v, u32 ctl) noexcept nogil:
    """Elements before the first zero."""
    cdef u32 n = 8 if ctl & STR_WORDS else 16
    return <u32>ctz64(equal_to(v, 0, ctl) | (<u64>1 << n))


cdef inline u32 explicit_length(Cpu* c, Op* op, u32 reg) noexcept nogil:
    """The magnitude of EAX or EDX (RAX, RDX with REX.W), no more than fit."""
    cdef u32 n = 8 if op.imm & STR_WORDS else 16
    cdef s64 v = <s64>c.r[reg] if (op.osz & 3) == 3 else <s32>c.r[reg]
    if v < 0:
        return n if v < -<s64>n else <u32>-v
    return n if v > n else <u32>v


cdef inline void put_index(Cpu* c, u32 res, u32 ctl) noexcept nogil:
    cdef u32 n = 8 if ctl & STR_WORDS else 16
    if res:
        n = 63 - clz64(res) if ctl & STR_HIGH else ctz64(res)
    c.r[RCX] = n


cdef inline u64 spread8(u32 bits) noexcept nogil:
    """A byte of ones for each of eight bits."""
    cdef u64 v = ((bits & 0xFF) * <u64>0x0101010101010101) & <u64>0x8040201008040201
    v = ((v + <u64>0x7F7F7F7F7F7F7F7F) | v) & <u64>0x8080808080808080
    return (v >> 7) * 0xFF


cdef inline u64 spread4(u32 bits) noexcept nogil:
    """Sixteen ones for each of four bits."""
    return ((bits & 1) | <u64>(bits & 2) << 15 | <u64>(bits & 4) << 30 | <u64>(bits & 8) << 45) * 0xFFFF


cdef inline void put_mask(Cpu* c, u32 res, u32 ctl) noexcept nogil:
    if not ctl & STR_HIGH:
        st_pair(c.vec[0], res, 0)
    elif ctl & STR_WORDS:
        st_pair(c.vec[0], spread4(res), spread4(res >> 4))
    else:
        st_pair(c.vec[0], spread8(res), spread8(res >> 8))


include "gen/x_sse4.pxi"
include "gen/x_sse4_reg.pxi"
