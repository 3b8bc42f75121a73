"""MMX, and what SSE to SSSE3 added to it (SDM vol. 1, chapter 9), expanded from x_mmx.pxi.in.

MMX register i is the significand of physical x87 register i. Every MMX instruction sets TOP to 0 and marks all registers
valid, one that writes sets sign and exponent to ones, and a pending x87 exception comes first.
"""
from pcemu._core.mmx cimport mmx_put, mmx_ready, mmx_state
from pcemu._core.simd cimport *

cdef extern from "host_simd.h" nogil:
    u32 m_pmovmskb(u64 s) noexcept
    void st_pair(void* p, u64 lo, u64 hi) noexcept


cdef inline u64 pshufw(u64 s, u32 imm) noexcept nogil:
    return (<u16>(s >> ((imm & 3) * 16)) | <u64><u16>(s >> (((imm >> 2) & 3) * 16)) << 16
            | <u64><u16>(s >> (((imm >> 4) & 3) * 16)) << 32 | <u64><u16>(s >> (((imm >> 6) & 3) * 16)) << 48)


include "gen/x_mmx.pxi"


cdef Op* op_movq_qq(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not mmx_ready(c)):
        return fault(c, op)
    mmx_put(c, op.reg, c.fpr[2 * op.rm])
    return nxt(c, op)


cdef Op* op_movq_qm(Cpu* c, Op* op) noexcept nogil:
    return op_movd_qm_64(c, op)


cdef Op* op_movq_mq(Cpu* c, Op* op) noexcept nogil:
    return op_movd_mq_64(c, op)


cdef Op* op_movntq_mq(Cpu* c, Op* op) noexcept nogil:
    return op_movd_mq_64(c, op)


cdef Op* op_movq2dq_rq(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not mmx_ready(c)):
        return fault(c, op)
    st_pair(c.vec[op.reg], c.fpr[2 * op.rm], 0)
    mmx_state(c)
    return nxt(c, op)


cdef Op* op_movdq2q_qr(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not mmx_ready(c)):
        return fault(c, op)
    mmx_put(c, op.reg, (<u64*>c.vec[op.rm])[0])
    return nxt(c, op)


cdef Op* op_pmovmskb_rq(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not mmx_ready(c)):
        return fault(c, op)
    c.r[op.reg] = m_pmovmskb(c.fpr[2 * op.rm])
    mmx_state(c)
    return nxt(c, op)


cdef Op* op_pextrw_rqi(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not mmx_ready(c)):
        return fault(c, op)
    c.r[op.reg] = <u16>(c.fpr[2 * op.rm] >> ((op.imm & 3) * 16))
    mmx_state(c)
    return nxt(c, op)


cdef inline u64 insert16(u64 d, u64 v, u64 imm) noexcept nogil:
    cdef u32 at = (imm & 3) * 16
    return (d & ~(<u64>0xFFFF << at)) | (v << at)


cdef Op* op_pinsrw_qri(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not mmx_ready(c)):
        return fault(c, op)
    mmx_put(c, op.reg, insert16(c.fpr[2 * op.reg], <u16>c.r[op.rm], op.imm))
    return nxt(c, op)


cdef Op* op_pinsrw_qmi(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p
    if UNLIKELY(not mmx_ready(c)):
        return fault(c, op)
    p = ld(c, op, 2)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    mmx_put(c, op.reg, insert16(c.fpr[2 * op.reg], (<u16*>p)[0], op.imm))
    return nxt(c, op)


cdef Op* op_emms(Cpu* c, Op* op) noexcept nogil:
    """All x87 registers empty."""
    if UNLIKELY(not mmx_ready(c)):
        return fault(c, op)
    c.ftop = 0
    c.ftag = 0
    return nxt(c, op)


include "gen/x_mmx_reg.pxi"
