"""EFLAGS' arithmetic bits from {kind, result, source} (state.pxd explains the kinds): what access.pxd does not answer inline."""
from pcemu._core.state cimport *


cdef u32 cf_slow(u32 kind, u64 res, u64 src) noexcept nogil:
    """CF of {kind, result, source} (state.pxd explains the kinds)."""
    cdef u32 sz = kind & 3
    if kind < 16:
        if kind < 4:        # ADD: res < src at the operation's size
            if sz == 0:
                return <u8>res < <u8>src
            if sz == 1:
                return <u16>res < <u16>src
            return <u32>res < <u32>src if sz == 2 else res < src
        if kind < 8:        # SUB: a < b
            if sz == 0:
                return <u8>(res + src) < <u8>src
            if sz == 1:
                return <u16>(res + src) < <u16>src
            return <u32>(res + src) < <u32>src if sz == 2 else res + src < src
        if kind < 12:       # ADC with carry in: res <= src
            if sz == 0:
                return <u8>res <= <u8>src
            if sz == 1:
                return <u16>res <= <u16>src
            return <u32>res <= <u32>src if sz == 2 else res <= src
        if sz == 0:         # SBB with borrow in: a <= b, a = res + src + 1
            return <u8>(res + src + 1) <= <u8>src
        if sz == 1:
            return <u16>(res + src + 1) <= <u16>src
        return <u32>(res + src + 1) <= <u32>src if sz == 2 else res + src + 1 <= src
    if kind == K_LOGIC:
        return 0
    if K_SHL <= kind < K_SHR:
        return (src >> ((8 << sz) - 1)) & 1
    return src & 1          # INC, DEC, RES, EFL, SHR


cdef u32 of_slow(u32 kind, u64 res, u64 src) noexcept nogil:
    cdef u32 sz = kind & 3
    cdef u32 sign = (8 << sz) - 1
    cdef u64 a
    if kind < 4 or 8 <= kind < 12:          # ADD, ADC: both operands' sign differs from the result's
        a = res - src - (kind >= 8)
        return ((a ^ res) & (src ^ res)) >> sign & 1
    if kind < 16:                           # SUB, SBB
        a = res + src + (kind >= 12)
        return ((a ^ src) & (a ^ res)) >> sign & 1
    if kind < K_DEC:
        return res == <u64>((<s64>-1) << sign)
    if kind < K_LOGIC:
        return (res & ((<u64>2 << sign) - 1)) == (<u64>1 << sign) - 1
    if kind == K_LOGIC:
        return 0
    if kind >= K_SHR:
        return ((res >> sign) ^ (res >> (sign - 1))) & 1
    if kind >= K_SHL:
        return ((res ^ src) >> sign) & 1
    return (src >> 11) & 1


cdef u32 arith_flags(u32 kind, u64 res, u64 src) noexcept nogil:
    cdef u32 f, af
    if kind == K_EFL:
        return src & F_ARITH
    f = 0
    if res == 0:
        f |= F_ZF
    if res >> 63:
        f |= F_SF
    if parity8(res):
        f |= F_PF
    if kind == K_LOGIC:
        return f
    if kind == K_RES:
        return f | (src & (F_CF | F_AF | F_OF))
    f |= cf_slow(kind, res, src)
    f |= of_slow(kind, res, src) << 11
    if kind >= K_SHL:
        return f
    # AF: carry out of bit 3 = a ^ b ^ res at bit 4
    if kind < 4 or 8 <= kind < 12:
        af = <u32>((res - src - (kind >= 8)) ^ src ^ res)
    elif kind < 16:
        af = <u32>((res + src + (kind >= 12)) ^ src ^ res)
    elif kind < K_DEC:
        af = 16 if (res & 15) == 0 else 0
    else:
        af = 16 if (res & 15) == 15 else 0
    return f | (af & F_AF)
