"""String instructions (SDM vol. 1, 7.3.9). A REP counts one instruction a chunk; chunks end where a guest address crosses a
page, and are one element on anything but RAM, so that time never depends on how fast the host copies."""
from libc.string cimport memmove, memset

from pcemu._core.access cimport *
from pcemu._core cimport ports


cdef inline u64 by_asz(Op* op, u64 v) noexcept nogil:
    cdef u32 asz = (op.scale >> 2) & 3
    if asz == 3:
        return v
    return <u32>v if asz == 2 else <u16>v


cdef inline u64 rep_count(Cpu* c, Op* op) noexcept nogil:
    """Elements left: 1 without a REP prefix."""
    if not op.osz & (OSZ_REP | OSZ_REPNE):
        return 1
    return by_asz(op, c.r[RCX])


cdef inline bint str_ea(Cpu* c, Op* op, u32 seg, u64 off, int size, int access) noexcept nogil:
    """Linear address of a string operand into c.ea."""
    off = by_asz(op, off)
    if LIKELY(c.mode & M_CODE64 and not c.mode & M_AC):
        c.ea = off + (c.seg[seg].base if seg >= FS else 0)
        return 1
    return segcheck.seg_lin(c, seg, off, size, access)


cdef inline bint bulk(Cpu* c, Op* op) noexcept nogil:
    """May one chunk be more than one element?"""
    return not (c.mode & M_TF)


cdef inline bint plain(Cpu* c, u64 va) noexcept nogil:
    """After a load at va: is all of its page memory, and nothing of it watched? (Then the load has filled the TLB.)"""
    return (va ^ c.tlb_r[(va >> 12) & TLB_MASK].tag) < 4096


cdef inline u64 chunk(u64 cnt, u64 src, u64 dst, u32 b) noexcept nogil:
    """Elements until the first page end (at least 1)."""
    cdef u64 k = (4096 - (src & 4095)) // b
    cdef u64 j = (4096 - (dst & 4095)) // b
    if j < k:
        k = j
    if cnt < k:
        k = cnt
    return k if k else 1


cdef inline u64 in_segments(Cpu* c, Op* op, u64 k, u32 b) noexcept nogil:
    """Cut a chunk to what the address size and the segments admit; in flat modes all of it."""
    cdef u64 lim
    if LIKELY((c.mode & M_CODE64) or ((c.mode & M_FLAT) and (op.scale >> 2) & 3 == 2 and op.seg < FS)):
        return k
    if (op.scale >> 2) & 3 == 1:
        lim = (0x10000 - <u64><u16>c.r[RSI]) // b
        if lim < k:
            k = lim
        lim = (0x10000 - <u64><u16>c.r[RDI]) // b
        if lim < k:
            k = lim
    if k <= 1:
        return 1
    if (not segcheck.seg_lin(c, op.seg, by_asz(op, c.r[RSI] + (k - 1) * b), b, ACC_READ)
            or not segcheck.seg_lin(c, ES, by_asz(op, c.r[RDI] + (k - 1) * b), b, ACC_READ)):
        return 1
    return k


cdef inline void advance(Cpu* c, Op* op, bint si, bint di, s64 n) noexcept nogil:
    cdef u32 asz = (op.scale >> 2) & 3
    if asz == 3:
        if si:
            c.r[RSI] += n
        if di:
            c.r[RDI] += n
    elif asz == 2:
        if si:
            c.r[RSI] = <u32>(c.r[RSI] + n)
        if di:
            c.r[RDI] = <u32>(c.r[RDI] + n)
    else:
        if si:
            (<u16*>&c.r[RSI])[0] = <u16>(c.r[RSI] + n)
        if di:
            (<u16*>&c.r[RDI])[0] = <u16>(c.r[RDI] + n)


cdef inline bint rep_next(Cpu* c, Op* op, u64 cnt, u64 k) noexcept nogil:
    """Count k elements done; true: go on with the next chunk here and now (it is paid for)."""
    cdef u32 asz
    if not op.osz & (OSZ_REP | OSZ_REPNE):
        return 0
    asz = (op.scale >> 2) & 3
    if asz == 3:
        c.r[RCX] -= k
    elif asz == 2:
        c.r[RCX] = <u32>(c.r[RCX] - k)
    else:
        (<u16*>&c.r[RCX])[0] = <u16>(c.r[RCX] - k)
    toil(c, k)
    if cnt == k or c.single or (c.mode & M_TF) or c.budget <= 0 or c.leave_req:
        return 0
    c.budget -= 1
    return 1


cdef inline Op* string_done(Cpu* c, Op* op) noexcept nogil:
    return op[1].fn(c, op + 1)              # the block's exit op


cdef Op* string_end(Cpu* c, Op* op) noexcept nogil:
    """After the last chunk of this turn: on, or the same instruction again."""
    if op.osz & (OSZ_REP | OSZ_REPNE) and by_asz(op, c.r[RCX]):
        return leave(c, pc_of(c, op))
    if c.leave_req:
        return leave(c, next_pc(c, op))
    return string_done(c, op)


include "gen/x_string.pxi"
include "gen/x_string_reg.pxi"
