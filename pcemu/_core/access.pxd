"""What every handler is made of: going to the next op, faulting, flags, and memory operands.

A handler has the shape

    cdef Op* op_add_rm_32(Cpu* c, Op* op) noexcept nogil:
        cdef u8* p = ld(c, op, 4)              # memory operand: a host pointer, or NULL with a fault pending
        if p is NULL:
            return fault(op, c)
        ... compute, then commit registers and flags ...
        return nxt(c, op)                      # sibling call of the next handler

Rules. An instruction completes or leaves state as it was: do everything that can fault first. A handler that ends its
block (table attribute ``end``) returns goto_rel(), goto_pc(), resume() or leave(), never nxt().
"""
from pcemu._core.state cimport *
from pcemu._core.faults cimport *
from pcemu._core cimport lazyflags, mmu, segcheck

# ------------------------------------------------------------------------------------------- control flow

cdef inline Op* nxt(Cpu* c, Op* op) noexcept nogil:
    """Straight on: a sibling call, so that a block runs without returning to the run loop."""
    return op[1].fn(c, op + 1)


cdef inline Op* fault(Cpu* c, Op* op) noexcept nogil:
    """Leave with the exception (or re-run request) that the failing helper has put into the Cpu."""
    c.fault_op = op
    return NULL


cdef inline Op* raise_exc(Cpu* c, Op* op, u32 vector) noexcept nogil:
    """A fault without error code (#UD, #NM, #DE, #MF, #XM ...)."""
    set_exc(c, vector)
    c.fault_op = op
    return NULL


cdef inline Op* raise_err(Cpu* c, Op* op, u32 vector, u32 err) noexcept nogil:
    """A fault with an error code (#GP, #SS, #NP, #TS, #PF ...)."""
    set_exc_err(c, vector, err)
    c.fault_op = op
    return NULL


cdef inline u64 pc_of(Cpu* c, Op* op) noexcept nogil:
    """Guest rip/eip/ip of this instruction."""
    cdef u64 pc = c.r[R_PC] + op.pcoff
    return pc if (c.mode & M_CODE64) else <u32>pc


cdef inline u64 pc_wrap(Cpu* c, u64 pc) noexcept nogil:
    """rip, eip or ip: the program counter wraps at the code size."""
    return pc if c.mode & M_CODE64 else <u32>pc


cdef inline u64 next_pc(Cpu* c, Op* op) noexcept nogil:
    """Guest rip/eip/ip after this instruction."""
    return pc_wrap(c, c.r[R_PC] + op.pcoff + op.length)


cdef inline void toil(Cpu* c, u64 n) noexcept nogil:
    """Work that an instruction stands for beyond itself: when much has come together the engine looks at the outside world,
    whatever is left of the quantum. (Not in lockstep: all passes of a run must end for the same reasons.)"""
    c.toil += n
    if UNLIKELY(c.toil >= MUCH_TOIL and c.lock is NULL):
        c.leave_req = 1


cdef inline Op* leave(Cpu* c, u64 pc) noexcept nogil:
    """The instruction is complete: leave to the engine, which looks at everything, and go on at pc."""
    c.pc = pc
    c.link = NULL
    c.exit = EXIT_PC
    return NULL


cdef inline Op* enter(Cpu* c, Block* b, u64 pc) noexcept nogil:
    """Run block b, whose first instruction is at pc, if the budget admits all of it."""
    c.budget -= b.n
    if UNLIKELY(c.budget < 0):
        c.budget += b.n
        c.pc = pc
        c.exit = EXIT_PC
        return NULL
    c.r[R_PC] = pc
    c.cur = b
    return b.ops


cdef inline Op* goto_pc(Cpu* c, u64 pc) noexcept nogil:
    """Indirect control transfer inside the same code segment, mode and privilege level."""
    cdef u64 lin
    cdef JcEntry* e
    if c.mode & M_CODE64:
        lin = pc
    else:
        lin = <u32>(c.seg[CS].base + pc)
    e = &c.jc[(lin ^ (lin >> 12)) & JC_MASK]
    c.link = NULL
    if LIKELY(e.lin == lin and e.key == c.jckey):
        return enter(c, e.block, pc)
    c.pc = pc
    c.exit = EXIT_PC
    return NULL


cdef inline Op* resume(Cpu* c, u64 pc) noexcept nogil:
    """As goto_pc, after an instruction that may have opened the door to a pending interrupt or changed mode or CPL."""
    if c.pending:
        return leave(c, pc)
    return goto_pc(c, pc)

# -------------------------------------------------------------------------------------------------- flags

cdef inline u32 get_cf(Cpu* c) noexcept nogil:
    """Carry flag as 0 or 1."""
    cdef u32 k = c.cc_kind
    cdef u64 res = c.cc_res
    cdef u64 src = c.cc_src
    if k == 7:      # K_SUB, 64 bits
        return res + src < src
    if k == 6:
        return <u32>(res + src) < <u32>src
    if k == 3:
        return res < src
    if k == 2:
        return <u32>res < <u32>src
    if k == 24:
        return 0
    return lazyflags.cf_slow(k, res, src)


cdef inline u32 get_zf(Cpu* c) noexcept nogil:
    if UNLIKELY(c.cc_kind == K_EFL):
        return (c.cc_src >> 6) & 1
    return c.cc_res == 0


cdef inline u32 get_sf(Cpu* c) noexcept nogil:
    if UNLIKELY(c.cc_kind == K_EFL):
        return (c.cc_src >> 7) & 1
    return c.cc_res >> 63


cdef inline u32 get_pf(Cpu* c) noexcept nogil:
    if UNLIKELY(c.cc_kind == K_EFL):
        return (c.cc_src >> 2) & 1
    return parity8(c.cc_res)


cdef inline u32 get_of(Cpu* c) noexcept nogil:
    if c.cc_kind == K_LOGIC:
        return 0
    return lazyflags.of_slow(c.cc_kind, c.cc_res, c.cc_src)


cdef inline u32 get_lt(Cpu* c) noexcept nogil:
    """SF != OF: less, signed."""
    cdef u32 k = c.cc_kind
    if k == 7:
        return <s64>(c.cc_res + c.cc_src) < <s64>c.cc_src
    if k == 6:
        return <s32>(c.cc_res + c.cc_src) < <s32>c.cc_src
    if k == 24:
        return c.cc_res >> 63
    return get_sf(c) ^ lazyflags.of_slow(k, c.cc_res, c.cc_src)


cdef inline u32 get_be(Cpu* c) noexcept nogil:
    """CF or ZF: below or equal, unsigned."""
    cdef u32 k = c.cc_kind
    if k == 7:
        return c.cc_res + c.cc_src <= c.cc_src
    if k == 6:
        return <u32>(c.cc_res + c.cc_src) <= <u32>c.cc_src
    return get_cf(c) | get_zf(c)


cdef inline u32 get_arith(Cpu* c) noexcept nogil:
    """The six arithmetic flags at their EFLAGS places."""
    return lazyflags.arith_flags(c.cc_kind, c.cc_res, c.cc_src)


cdef inline u32 get_eflags(Cpu* c) noexcept nogil:
    """The whole EFLAGS image, as PUSHF would see it before masking RF and VM."""
    return c.eflags | lazyflags.arith_flags(c.cc_kind, c.cc_res, c.cc_src)


cdef inline void set_flags(Cpu* c, u32 kind, u64 res, u64 src) noexcept nogil:
    """res sign-extended from the operation's size; see the K_ kinds in state.pxd."""
    c.cc_kind = kind
    c.cc_res = res
    c.cc_src = src


cdef inline void set_arith(Cpu* c, u32 bits) noexcept nogil:
    """Load all six arithmetic flags from their EFLAGS places."""
    c.cc_kind = K_EFL
    c.cc_src = bits & F_ARITH
    c.cc_res = 0

# --------------------------------------------------------------------------------------- memory operands

cdef inline u8* ldv(Cpu* c, Op* op, u64 va, int size) noexcept nogil:
    """Read size bytes at linear address va: pointer to them (maybe a buffer in the Cpu, good until the next access)."""
    cdef TlbEntry* e = &c.tlb_r[(va >> 12) & TLB_MASK]
    cdef u64 off = va - e.tag
    if LIKELY(off <= <u64>(4096 - size)):
        return e.host + off
    return mmu.ld_slow(c, op, va, size)


cdef inline u8* ld(Cpu* c, Op* op, int size) noexcept nogil:
    """The op's memory operand, for reading. NULL: return fault(c, op)."""
    cdef u64 va
    if LIKELY(op.am == AM_FLAT64):
        va = c.r[op.base] + (c.r[op.index] << (op.scale & 3)) + <u64><s64>op.disp + c.seg[op.seg].base
    elif op.am == AM_FLAT32:
        va = <u32>(<u32>(c.r[op.base] + (c.r[op.index] << (op.scale & 3)) + <u64><s64>op.disp) + c.seg[op.seg].base)
    else:
        if not segcheck.ea_general(c, op, size, ACC_READ):
            return NULL
        va = c.ea
    return ldv(c, op, va, size)


cdef inline bint ea(Cpu* c, Op* op, int size, int access) noexcept nogil:
    """Put the linear address of the op's memory operand into c.ea, after segment checks for `access` (ACC_READ, ACC_WRITE)."""
    if LIKELY(op.am == AM_FLAT64):
        c.ea = c.r[op.base] + (c.r[op.index] << (op.scale & 3)) + <u64><s64>op.disp + c.seg[op.seg].base
        return 1
    if op.am == AM_FLAT32:
        c.ea = <u32>(<u32>(c.r[op.base] + (c.r[op.index] << (op.scale & 3)) + <u64><s64>op.disp) + c.seg[op.seg].base)
        return 1
    return segcheck.ea_general(c, op, size, access)


cdef inline u8* wrp(Cpu* c, Op* op, u64 va, int size) noexcept nogil:
    """Host pointer for a plain store to ordinary RAM, or NULL when mmu.st_slow() must do it."""
    cdef TlbEntry* e = &c.tlb_w[(va >> 12) & TLB_MASK]
    cdef u64 off = va - e.tag
    if LIKELY(off <= <u64>(4096 - size)):
        return e.host + off
    return NULL


cdef inline bint stv8(Cpu* c, Op* op, u64 va, u64 v) noexcept nogil:
    """Store at a linear address. False: return fault(c, op)."""
    cdef u8* p = wrp(c, op, va, 1)
    if LIKELY(p is not NULL):
        p[0] = <u8>v
        return 1
    return mmu.st_slow(c, op, va, v, 1)


cdef inline bint stv16(Cpu* c, Op* op, u64 va, u64 v) noexcept nogil:
    cdef u8* p = wrp(c, op, va, 2)
    if LIKELY(p is not NULL):
        (<u16*>p)[0] = <u16>v
        return 1
    return mmu.st_slow(c, op, va, v, 2)


cdef inline bint stv32(Cpu* c, Op* op, u64 va, u64 v) noexcept nogil:
    cdef u8* p = wrp(c, op, va, 4)
    if LIKELY(p is not NULL):
        (<u32*>p)[0] = <u32>v
        return 1
    return mmu.st_slow(c, op, va, v, 4)


cdef inline bint stv64(Cpu* c, Op* op, u64 va, u64 v) noexcept nogil:
    cdef u8* p = wrp(c, op, va, 8)
    if LIKELY(p is not NULL):
        (<u64*>p)[0] = v
        return 1
    return mmu.st_slow(c, op, va, v, 8)


cdef inline bint st8(Cpu* c, Op* op, u64 v) noexcept nogil:
    """Store to the op's memory operand. False: return fault(c, op)."""
    if not ea(c, op, 1, ACC_WRITE):
        return 0
    return stv8(c, op, c.ea, v)


cdef inline bint st16(Cpu* c, Op* op, u64 v) noexcept nogil:
    if not ea(c, op, 2, ACC_WRITE):
        return 0
    return stv16(c, op, c.ea, v)


cdef inline bint st32(Cpu* c, Op* op, u64 v) noexcept nogil:
    if not ea(c, op, 4, ACC_WRITE):
        return 0
    return stv32(c, op, c.ea, v)


cdef inline bint st64(Cpu* c, Op* op, u64 v) noexcept nogil:
    if not ea(c, op, 8, ACC_WRITE):
        return 0
    return stv64(c, op, c.ea, v)


cdef inline bint st_bytes(Cpu* c, Op* op, const u8* src, int size) noexcept nogil:
    """Store `size` (any up to 64) bytes to the op's memory operand, all or nothing."""
    cdef u8* p
    if not ea(c, op, size, ACC_WRITE):
        return 0
    p = wrp(c, op, c.ea, size)
    if LIKELY(p is not NULL):
        mmu.copy_small(p, src, size)
        return 1
    return mmu.st_slow_bytes(c, op, c.ea, src, size)


cdef inline u8* rw(Cpu* c, Op* op, int size) noexcept nogil:
    """The op's memory operand for read-modify-write: change the bytes in place, then `if not rw_done(c, op, p): return fault(c, op)`
    BEFORE committing registers and flags. Nothing is written until rw_done() when p is the buffer (page-crossing, device)."""
    cdef u8* p
    if not ea(c, op, size, ACC_WRITE):
        return NULL
    p = wrp(c, op, c.ea, size)
    if LIKELY(p is not NULL):
        return p
    return mmu.rw_slow(c, op, c.ea, size)


cdef inline bint rw_done(Cpu* c, Op* op, u8* p) noexcept nogil:
    if LIKELY(p is not c.wbuf):
        return 1
    return mmu.rw_commit(c, op)
