"""Integer arithmetic, logic and moves: expanded from x_alu.pxi.in for every form and size."""
from pcemu._core.access cimport *


cdef inline u64 imul_16(Cpu* c, u16 a, u16 b) noexcept nogil:
    """Signed product, low half; CF = OF = the product does not fit (SDM vol. 2, IMUL). ZF SF PF from the result (undefined there)."""
    cdef s32 r = <s32><s16>a * <s32><s16>b
    set_flags(c, K_RES, <u64><s64><s16>r, 0 if r == <s16>r else F_CF | F_OF)
    return <u64>r


cdef inline u64 imul_32(Cpu* c, u32 a, u32 b) noexcept nogil:
    cdef s64 r = <s64><s32>a * <s64><s32>b
    set_flags(c, K_RES, <u64><s64><s32>r, 0 if r == <s32>r else F_CF | F_OF)
    return <u64>r


cdef inline u64 imul_64(Cpu* c, u64 a, u64 b) noexcept nogil:
    cdef u64 r = a * b
    set_flags(c, K_RES, r, 0 if mulhi_s64(<s64>a, <s64>b) == <s64>r >> 63 else F_CF | F_OF)
    return r


include "gen/x_alu.pxi"
include "gen/x_alu_reg.pxi"
