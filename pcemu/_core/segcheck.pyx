"""From an operand to its linear address: offsets, and the segments' checks (SDM vol. 3, 5.3-5.5)."""
from pcemu._core.state cimport *
from pcemu._core.faults cimport set_exc_err


cdef u64 ea_offset(Cpu* c, Op* op) noexcept nogil:
    cdef u64 off = c.r[op.base] + (c.r[op.index] << (op.scale & 3)) + <u64><s64>op.disp
    cdef u32 asz = (op.scale >> 2) & 3
    if op.scale & 16:
        off += <u64>1 << 32
    if asz == 3:
        return off
    return <u32>off if asz == 2 else <u16>off


cdef bint seg_fault(Cpu* c, int seg) noexcept nogil:
    set_exc_err(c, EXC_SS if seg == SS else EXC_GP, 0)
    return 0


cdef bint seg_lin(Cpu* c, int seg, u64 off, int size, int access) noexcept nogil:
    cdef Seg* s = &c.seg[seg]
    cdef u64 last, lim
    if c.mode & M_CODE64:
        c.ea = off + (s.base if seg >= FS else 0)
    else:
        if c.mode & M_PE and not c.mode & M_VM:
            # null, execute-only, read-only and expand-down segments (SDM vol. 3, 5.3-5.5)
            if not s.flags & DESC_P:
                return seg_fault(c, seg)
            if s.flags & DESC_CODE:
                if access == ACC_WRITE or not s.flags & DESC_RW:
                    return seg_fault(c, seg)
            elif access == ACC_WRITE and not s.flags & DESC_RW:
                return seg_fault(c, seg)
        last = off + <u64>(size - 1)
        if (s.flags & (DESC_CODE | DESC_CE)) == DESC_CE and c.mode & M_PE and not c.mode & M_VM:
            lim = <u64>0xffffffff if s.flags & DESC_B else 0xffff
            if off <= s.limit or last > lim:
                return seg_fault(c, seg)
        elif last > s.limit:
            return seg_fault(c, seg)
        c.ea = <u32>(s.base + off)
    if UNLIKELY(c.mode & M_AC) and c.ea & (size - 1) and (size & (size - 1)) == 0 and size <= 8:
        set_exc_err(c, EXC_AC, 0)
        return 0
    return 1


cdef bint ea_general(Cpu* c, Op* op, int size, int access) noexcept nogil:
    return seg_lin(c, op.seg, ea_offset(c, op), size, access)
