"""What the handlers of system instructions share."""
from pcemu._core.access cimport *


cdef inline bint has_feat(Cpu* c, u32 n) noexcept nogil:
    return (c.feat[n >> 6] >> (n & 63)) & 1


cdef inline Op* done(Cpu* c, Op* op, u32 mode) noexcept nogil:
    """Straight on after an instruction that ends its block, which was translated for `mode`."""
    if UNLIKELY(c.pending or c.leave_req or (mode | c.mode) & M_TF):
        return leave(c, next_pc(c, op))
    if LIKELY(c.mode == mode):
        return nxt(c, op)
    return goto_pc(c, next_pc(c, op))


cdef inline void hold(Cpu* c, u32 kind) noexcept nogil:
    """Hold interrupts while the next instruction runs. For instructions that end their block: the count is theirs."""
    c.shadow = kind
    c.shadow_at = c.icount_end - <u64>c.budget


cdef inline u64 load_le(const u8* p, u32 size) noexcept nogil:
    if size == 2:
        return (<u16*>p)[0]
    return (<u32*>p)[0] if size == 4 else (<u64*>p)[0]


cdef inline void put_gpr(Cpu* c, u32 reg, u64 v, u32 size) noexcept nogil:
    """A general register of 2 (upper bits stay), 4 (cleared) or 8 bytes."""
    if size == 2:
        (<u16*>&c.r[reg])[0] = <u16>v
    elif size == 4:
        c.r[reg] = <u32>v
    else:
        c.r[reg] = v


cdef inline u64 sp_mask(Cpu* c) noexcept nogil:
    if c.mode & M_CODE64:
        return <u64>-1
    return <u64>0xFFFFFFFFU if c.mode & M_SS32 else <u64>0xFFFF


cdef inline bint stv(Cpu* c, Op* op, u64 va, u64 v, u32 size) noexcept nogil:
    if size == 2:
        return stv16(c, op, va, v)
    return stv32(c, op, va, v) if size == 4 else stv64(c, op, va, v)


cdef inline bint stack_fault(Cpu* c) noexcept nogil:
    """A stack access failed. In 64-bit mode a non-canonical address is #SS(0) there (SDM vol. 2, PUSH). False."""
    if c.exit == EXIT_FAULT and c.exc_vector == EXC_GP:
        c.exc_vector = EXC_SS
    return 0


cdef inline bint push_val(Cpu* c, Op* op, u64 v, u32 size) noexcept nogil:
    cdef u64 mask = sp_mask(c)
    cdef u64 sp = (c.r[RSP] - size) & mask
    if not segcheck.seg_lin(c, SS, sp, size, ACC_WRITE):
        return 0
    if not stv(c, op, c.ea, v, size):
        return stack_fault(c)
    c.r[RSP] = sp if mask != 0xFFFF else (c.r[RSP] & ~<u64>0xFFFF) | sp
    return 1


cdef inline bint top_val(Cpu* c, Op* op, u64* v, u32 size) noexcept nogil:
    """What a pop of this size would read; the stack pointer stays."""
    cdef u8* p
    if not segcheck.seg_lin(c, SS, c.r[RSP] & sp_mask(c), size, ACC_READ):
        return 0
    p = ldv(c, op, c.ea, size)
    if p is NULL:
        return stack_fault(c)
    v[0] = load_le(p, size)
    return 1
