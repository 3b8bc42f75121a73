"""Stack, near calls, returns, jumps and loops (x_flow.pxi.in for every operand size)."""
from pcemu._core.access cimport *


cdef inline u64 sp_mask(Cpu* c, u64 sp) noexcept nogil:
    """A stack offset at the width of the stack pointer: RSP, ESP (SS.B) or SP."""
    if c.mode & M_CODE64:
        return sp
    return <u32>sp if c.mode & M_SS32 else <u16>sp


cdef inline void sp_add(Cpu* c, s64 n) noexcept nogil:
    if LIKELY(c.mode & M_CODE64):
        c.r[RSP] += n
    elif c.mode & M_SS32:
        c.r[RSP] = <u32>(c.r[RSP] + n)
    else:
        (<u16*>&c.r[RSP])[0] = <u16>(c.r[RSP] + n)


cdef inline bint stack_at(Cpu* c, u64 off, int size, int access) noexcept nogil:
    """Linear address of SS:off into c.ea."""
    return segcheck.seg_lin(c, SS, sp_mask(c, off), size, access)


cdef bint stack_fault(Cpu* c) noexcept nogil:
    """A stack access failed. In 64-bit mode a non-canonical address is #SS(0) there (SDM vol. 2, PUSH). False."""
    if c.exit == EXIT_FAULT and c.exc_vector == EXC_GP:
        c.exc_vector = EXC_SS
    return 0


cdef bint probe_stack(Cpu* c, Op* op, u64 off, int size) noexcept nogil:
    """Could size bytes at SS:off be pushed?"""
    if not stack_at(c, off, size, ACC_WRITE):
        return 0
    return mmu.probe_write(c, op, c.ea, size) or stack_fault(c)


cdef inline bint pc_ok(Cpu* c, u64 pc) noexcept nogil:
    """A branch target inside the code segment, or canonical: else #GP(0) on the branch itself."""
    if LIKELY(c.mode & M_CODE64):
        return <u64>(<s64>(pc << 16) >> 16) == pc
    return pc <= c.seg[CS].limit


cdef Op* link_taken(Cpu* c, Op* op, u64 pc) noexcept nogil:
    """No chain yet: through the jump cache, and remember the slot when the target lies in the same page."""
    cdef u64 base = 0 if c.mode & M_CODE64 else c.seg[CS].base
    cdef u64 lin = pc + base
    cdef JcEntry* e
    if not c.mode & M_CODE64:
        lin = <u32>lin
    e = &c.jc[(lin ^ (lin >> 12)) & JC_MASK]
    if (lin ^ (c.r[R_PC] + base)) >> 12 == 0 and not c.cur.cross:
        if e.lin == lin and e.key == c.jckey and c.cur.n != N_DEAD:
            c.cur.chain1 = e.block
            return enter(c, e.block, pc)
        c.link = &c.cur.chain1
    else:
        if LIKELY(e.lin == lin and e.key == c.jckey):
            return enter(c, e.block, pc)
        c.link = NULL
    c.pc = pc
    c.exit = EXIT_PC
    return NULL


cdef inline Op* goto_taken(Cpu* c, Op* op, u64 pc) noexcept nogil:
    """To a direct target: by the block's chain if it is there."""
    cdef Block* b = c.cur.chain1
    if LIKELY(b is not NULL):
        return enter(c, b, pc)
    return link_taken(c, op, pc)


cdef inline Op* goto_any(Cpu* c, u64 pc) noexcept nogil:
    """An indirect jump, or a return. Where it last went to is what a unit goes on with."""
    cdef Block* b = c.cur
    cdef Op* to = goto_pc(c, pc)
    if LIKELY(to is not NULL) and b != &c.scratch:
        b.chain1 = c.cur
    return to


cdef inline u64 target(Cpu* c, Op* op) noexcept nogil:
    return pc_wrap(c, c.r[R_PC] + op.imm)


cdef inline u64 target_16(Cpu* c, Op* op) noexcept nogil:
    return <u16>(c.r[R_PC] + op.imm)


cdef inline Op* branch(Cpu* c, Op* op) noexcept nogil:
    cdef u64 pc = target(c, op)
    if UNLIKELY(not pc_ok(c, pc)):
        return raise_err(c, op, EXC_GP, 0)
    return goto_taken(c, op, pc)


cdef inline Op* branch_16(Cpu* c, Op* op) noexcept nogil:
    cdef u64 pc = target_16(c, op)
    if UNLIKELY(not pc_ok(c, pc)):
        return raise_err(c, op, EXC_GP, 0)
    if UNLIKELY(pc != target(c, op)):
        return goto_pc(c, pc)               # wrapped: not in the page of the chain
    return goto_taken(c, op, pc)


cdef inline Op* not_taken(Cpu* c, Op* op) noexcept nogil:
    cdef Block* b = c.cur.chain0
    if LIKELY(b is not NULL):
        return enter(c, b, next_pc(c, op))
    return op[1].fn(c, op + 1)              # the block's exit op does the rest


cdef inline u64 counter(Cpu* c, Op* op) noexcept nogil:
    """CX, ECX or RCX by the address size."""
    cdef u32 asz = (op.scale >> 2) & 3
    if asz == 3:
        return c.r[RCX]
    return <u32>c.r[RCX] if asz == 2 else <u16>c.r[RCX]


cdef inline u64 count_down(Cpu* c, Op* op) noexcept nogil:
    cdef u32 asz = (op.scale >> 2) & 3
    if asz == 3:
        c.r[RCX] -= 1
        return c.r[RCX]
    if asz == 2:
        c.r[RCX] = <u32>(c.r[RCX] - 1)
        return c.r[RCX]
    (<u16*>&c.r[RCX])[0] = <u16>(c.r[RCX] - 1)
    return <u16>c.r[RCX]


cdef inline void count_up(Cpu* c, Op* op) noexcept nogil:
    cdef u32 asz = (op.scale >> 2) & 3
    if asz == 3:
        c.r[RCX] += 1
    elif asz == 2:
        c.r[RCX] = <u32>(c.r[RCX] + 1)
    else:
        (<u16*>&c.r[RCX])[0] = <u16>(c.r[RCX] + 1)


include "gen/x_flow.pxi"
include "gen/x_flow_reg.pxi"
