"""What runs below compiled code: handlers of ops that were not compiled, links from block to block, the way back to the engine.

make_thunks() writes the code that all units share (T_*), which takes the guest's registers home and calls the functions do_*. These
return where compiled code goes on, or NULL: leave it, with Cpu.jtmp as what the handler would have returned. jit.pyx explains
the whole.
"""
from libc.string cimport memcpy

from pcemu._core.access cimport *
from pcemu._core.emit cimport *
from pcemu._core.e_x87 cimport x87_back, x87_park
from pcemu._core.jit cimport OUT_BUDGET, OUT_DROPPED, OUT_HANDLER, OUT_NOT_COMPILED, OUT_NOT_KNOWN, OUT_OWN_CODE
from pcemu._core.jit cimport count_rest, h_jit, h_warm, jc_code
from pcemu._core cimport blocks, mmu, tlb


cdef inline Block* block_of(Op* op) noexcept nogil:
    return <Block*>(op.jit & (((<u64>1) << 48) - 1))


cdef inline void place(Cpu* c, Block* b) noexcept nogil:
    """The interpreter's idea of where we are."""
    cdef u64 pc = c.pgpc + (b.addr & 4095)
    c.cur = b
    c.r[R_PC] = pc if c.mode & M_CODE64 else <u32>pc


cdef inline u64 lin_of(Cpu* c, u64 pc) noexcept nogil:
    return pc if c.mode & M_CODE64 else <u32>(c.seg[CS].base + pc)


cdef inline u64 pc_of_lin(Cpu* c, u64 lin) noexcept nogil:
    return lin if c.mode & M_CODE64 else <u32>(lin - c.seg[CS].base)


cdef Op* h_back(Cpu* c, Op* op) noexcept nogil:
    """Behind the one op that compiled code had run: back to it."""
    return op


cdef u8* do_slow(Cpu* c, void* arg, u64 unit) noexcept nogil:
    """Run one op by its handler. NULL: leave. unit: its first block, and in the upper 16 bits the instructions behind the op's block."""
    cdef Op* op = <Op*>arg
    cdef Op* r
    cdef Block* head = <Block*>(unit & (((<u64>1) << 48) - 1))
    c.m.calls[op.jit >> 48] += 1
    place(c, block_of(op))
    memcpy(&c.slow_ops[0], op, sizeof(Op))
    c.slow_ops[1].fn = h_back
    r = op.fn(c, &c.slow_ops[0])
    while UNLIKELY(r == &c.slow_ops[0]):
        r = op.fn(c, r)                 # a repeated string instruction, one more piece
    if LIKELY(r == &c.slow_ops[1]):
        if LIKELY(head.n != N_DEAD):
            return <u8*>1
        # it stored into code that comes later in the unit: that is not to be run
        c.m.unit_exits[OUT_OWN_CODE] += 1
        c.budget += c.cur.n_ops - 1 - <u32>(op - c.cur.ops)
        leave(c, next_pc(c, op))
        r = NULL
    else:
        c.m.unit_exits[OUT_HANDLER] += 1
        if r is NULL and c.fault_op == &c.slow_ops[0]:
            c.fault_op = op
    c.budget += unit >> 48
    c.jtmp = <u64>r
    return NULL


cdef inline u8* to_engine(Cpu* c, u64 pc, u32 why) noexcept nogil:
    c.m.unit_exits[why] += 1
    c.jtmp = <u64>leave(c, pc)
    return NULL


cdef inline u8* onward(Cpu* c, Op* r) noexcept nogil:
    """r: what a block-ending handler returned. Go on in compiled code, or leave with it."""
    if r is not NULL and r.fn == h_jit and not near_hole(c, c.r[R_PC]) and not c.cur.cross and pay(c):
        c.pgpc = page_pc(c, c.cur, c.r[R_PC])
        return c.cur.code
    c.m.unit_exits[OUT_HANDLER if r is NULL else OUT_NOT_COMPILED] += 1
    c.jtmp = <u64>r
    return NULL


cdef u8* do_end(Cpu* c, void* arg, u64 unit) noexcept nogil:
    """The last op of a block, by its handler."""
    cdef Op* op = <Op*>arg
    c.m.calls[op.jit >> 48] += 1
    place(c, block_of(op))
    return onward(c, op.fn(c, op))


cdef u8* do_budget(Cpu* c, void* arg, u64 unit) noexcept nogil:
    """A block's head could not pay (or the block is dead): back to the engine."""
    cdef Block* b = <Block*>arg
    c.budget += (<u32*>b.head)[0]
    place(c, b)
    return to_engine(c, c.r[R_PC], OUT_DROPPED if b.n == N_DEAD else OUT_BUDGET)


cdef Block* known_block(Cpu* c, u64 pc) noexcept nogil:
    """The block at pc, if its page is in the TLB and it has been translated."""
    cdef u64 lin = lin_of(c, pc)
    cdef JcEntry* e = &c.jc[(lin ^ (lin >> 12)) & JC_MASK]
    cdef TlbEntry* t
    cdef Block* b
    if e.lin == lin and e.key == c.jckey:
        return e.block
    t = &c.tlb_x[tlb.tx_slot(lin)]
    if t.tag != lin & ~<u64>4095:
        return NULL
    b = blocks.find_block(c.m, <u64>(t.host - c.m.ram) + (lin & 4095), c.mode)
    if b is NULL or b.cross and b.entry is NULL:
        return NULL
    e.lin = lin
    e.key = c.jckey
    e.block = b
    jc_code(c, e)
    return b


cdef inline u8* to_interpreter(Cpu* c, Block* b, u64 pc) noexcept nogil:
    c.m.unit_exits[OUT_NOT_COMPILED] += 1
    c.jtmp = <u64>enter(c, b, pc)
    return NULL


cdef inline u8* to_block(Cpu* c, Block* b, u64 pc) noexcept nogil:
    if b.entry is not NULL and not near_hole(c, pc):
        c.pgpc = page_pc(c, b, pc)
        return b.entry
    return to_interpreter(c, b, pc)


cdef inline u8* link(Cpu* c, Block* b, Block** chain, u8* site, u64 pc) noexcept nogil:
    """A direct jump inside the page that is not patched yet."""
    cdef Block* t = chain[0]
    c.cur = b
    if t is NULL or t.n == N_DEAD:
        t = known_block(c, pc) if b.n != N_DEAD else NULL
        chain[0] = t
        if t is NULL:
            to_engine(c, pc, OUT_NOT_KNOWN)
            c.link = chain if b.n != N_DEAD else NULL
            return NULL
    if t.entry is not NULL and site is not NULL and b.n != N_DEAD:
        patch_rw(site, t.entry - c.m.code_rx + c.m.code_rw)
    return to_block(c, t, pc)


cdef u8* do_link(Cpu* c, void* arg, u64 unit) noexcept nogil:
    cdef Link* x = <Link*>arg
    cdef Block* b = x.b
    place(c, b)
    if x.slot:
        return link(c, b, &b.chain1, x.site, pc_wrap(c, c.r[R_PC] + b.ops[b.n_ops - 1].imm))
    return link(c, b, &b.chain0, x.site, pc_wrap(c, c.r[R_PC] + b.nbytes))


cdef u8* do_goto(Cpu* c, void* arg, u64 unit) noexcept nogil:
    """An indirect jump (its pc is in jtmp) that the jump cache does not know."""
    cdef Op* op = <Op*>arg
    cdef u64 pc = c.jtmp
    cdef Block* b
    cdef EmitRow row
    if UNLIKELY(c.mode & M_CODE64 and <u64>(<s64>(pc << 16) >> 16) != pc):
        # into the hole: the instruction faults, with the stack pointer as it was
        row = emit_rows[op.jit >> 48]
        if row.cls == E_RET:
            c.r[RSP] -= 8 + (op.imm if row.sub else 0)
        place(c, block_of(op))
        c.m.unit_exits[OUT_HANDLER] += 1
        c.jtmp = <u64>raise_err(c, op, EXC_GP, 0)
        return NULL
    c.link = NULL
    b = known_block(c, pc)
    if b is not NULL:
        return to_block(c, b, pc)
    return to_engine(c, pc, OUT_NOT_KNOWN)


cdef u8* do_xlink(Cpu* c, void* arg, u64 unit) noexcept nogil:
    """A jump into another page that is not linked, or whose pages may lie elsewhere now."""
    cdef u8* x = <u8*>arg
    cdef Block* b = (<Block**>(x - 16))[0]
    cdef Block* t
    cdef u64 pc
    place(c, b)
    pc = pc_wrap(c, c.r[R_PC] + (b.ops[b.n_ops - 1].imm if (x - 8)[0] else b.nbytes))
    c.link = NULL
    t = known_block(c, pc)
    if t is NULL:
        return to_engine(c, pc, OUT_NOT_KNOWN)
    if t.entry is not NULL and not near_hole(c, pc):
        (<u64*>(x + X_PGPC))[0] = c.pgpc
        (<u32*>(x + X_GEN))[0] = <u32>(c.jckey >> 32)
        patch_rw(x + X_REL, t.entry - c.m.code_rx + c.m.code_rw)
    return to_block(c, t, pc)


cdef u8* do_xguard(Cpu* c, void* arg, u64 unit) noexcept nogil:
    """An instruction that crosses into another page, whose mapping or bytes may have changed."""
    cdef u8* x = <u8*>arg
    cdef Block* b = (<Block**>(x - 16))[0]
    place(c, b)
    c.link = NULL
    if b.n != N_DEAD and intact(c, b, c.r[R_PC]):
        (<u64*>(x + X_PGPC))[0] = c.pgpc
        (<u32*>(x + X_GEN))[0] = <u32>(c.jckey >> 32)
        (<u64*>(x + X_HOST2))[0] = <u64>next_page(c, c.r[R_PC])
        return b.entry
    return to_engine(c, c.r[R_PC], OUT_NOT_KNOWN)


cdef u8* do_rest(Cpu* c, void* arg, u64 unit) noexcept nogil:
    """A group of accesses crosses into another page, or is not in the TLB: the handlers do the rest of the block."""
    cdef Op* op = <Op*>arg
    cdef Block* head = <Block*>(unit & (((<u64>1) << 48) - 1))
    place(c, block_of(op))
    c.budget += unit >> 48
    if head.n != N_DEAD:
        count_rest(c, head)
    if LIKELY(c.lock is NULL):
        while op is not NULL and op.fn != h_jit and op.fn != h_warm:
            op = op.fn(c, op)
    return onward(c, op)


cdef u8* do_rot(Cpu* c, void* arg, u64 unit) noexcept nogil:
    cdef u64 res = <u64>arg
    cdef u32 top = (8 << (c.jtmp >> 1)) - 1
    cdef u32 cf, of
    if c.jtmp & 1:
        cf = (res >> top) & 1
        of = cf ^ ((res >> (top - 1)) & 1)
    else:
        cf = res & 1
        of = cf ^ ((res >> top) & 1)
    set_arith(c, (get_arith(c) & ~<u32>(F_CF | F_OF)) | cf | (of << 11))
    return <u8*>1


cdef u8* do_interp(Cpu* c, void* arg, u64 unit) noexcept nogil:
    """The jump cache knows a block that was not compiled when the entry was made. arg: the entry's offset."""
    cdef JcEntry* e = <JcEntry*>(<u8*>c.jc + <u64>arg)
    c.link = NULL
    if e.block.entry is not NULL and not near_hole(c, e.lin):
        e.code = e.block.entry
        return e.code
    return to_interpreter(c, e.block, pc_of_lin(c, e.lin))


cdef u8* do_flags(Cpu* c, void* arg, u64 unit) noexcept nogil:
    c.jtmp = get_arith(c) | 2
    return <u8*>1


cdef u8* do_cf(Cpu* c, void* arg, u64 unit) noexcept nogil:
    c.jtmp = get_cf(c)
    return <u8*>1


cdef u8* do_setcf(Cpu* c, void* arg, u64 unit) noexcept nogil:
    set_arith(c, (get_arith(c) & ~<u32>F_CF) | <u32>(<u64>arg & 1))
    c.jtmp = <u64>arg & 1
    return <u8*>1


# ===================================================================================================== thunks

cdef void all_regs(J* j, bint store) noexcept nogil:
    cdef int g
    for g in range(16):
        if HR[g] >= 0:
            rm(j, 3, 0x89 if store else 0x8B, HR[g], H_ENV, env_r(g))


cdef void volatile_regs(J* j, bint store) noexcept nogil:
    """Those that a C function need not preserve (System V ABI)."""
    cdef int g
    for g in range(16):
        if HR[g] >= 0 and HR[g] != H_BX and HR[g] != H_BP and HR[g] < 12:
            rm(j, 3, 0x89 if store else 0x8B, HR[g], H_ENV, env_r(g))


cdef void to_c(J* j, void* fn) noexcept nogil:
    """Guest registers home; rax = fn(Cpu, r15, rcx)."""
    all_regs(j, 1)
    rm(j, 3, 0x8D, H_DI, H_ENV, -128)
    mov(j, H_SI, H_T)
    mov(j, H_DX, H_CX)
    mov_imm(j, H_AX, <u64>fn)
    e8(j, 0xFF)
    e8(j, 0xD0)                         # call rax


cdef void quick_flags(J* j) noexcept nogil:
    """What comparisons and logic leave in Cpu.cc_*, which is what most conditions ask for: the host's flags by doing it again."""
    cdef int sz
    cdef u8* other
    ld_env(j, 2, H_CX, AT_CC_KIND)
    ld_env(j, 3, H_T, AT_CC_RES)
    for sz in range(4):
        alu_ri(j, 2, 7, H_CX, K_SUB + sz)
        other = jcc_short(j, 5)
        rm(j, sz, 0x02 if sz == 0 else 0x03, H_T, H_ENV, AT_CC_SRC)
        rm(j, sz, 0x3A if sz == 0 else 0x3B, H_T, H_ENV, AT_CC_SRC)
        e8(j, 0xC3)
        here_short(j, other)
    alu_ri(j, 2, 5, H_CX, K_LOGIC)
    alu_ri(j, 2, 7, H_CX, 4)
    other = jcc_short(j, 3)
    rr(j, 3, 0x85, H_T, H_T)
    e8(j, 0xC3)
    here_short(j, other)


cdef void make_thunks(J* j) noexcept:
    cdef u8* base = j.p
    cdef u8* at
    cdef int i
    cdef void* fns[9]
    cdef int[9] nums
    # Op* enter(Cpu* c, u8* code)
    thunk_at[T_ENTER] = <u32>(j.p - base)
    for i in (H_BX, H_BP, 12, 13, 14, 15):
        e_prefix(j, 2, 0, 0, i, 0)
        e8(j, 0x50 | (i & 7))
    rm(j, 3, 0x8D, H_SP, H_SP, -8)
    rm(j, 3, 0x8D, H_ENV, H_DI, 127)
    rm(j, 3, 0x8D, H_ENV, H_ENV, 1)
    mov(j, H_T, H_SI)
    all_regs(j, 0)
    e8(j, 0x41)
    e8(j, 0xFF)
    e8(j, 0xE7)                         # jmp r15
    # leave with Cpu.jtmp; the guest's registers are home
    thunk_at[T_EXIT] = <u32>(j.p - base)
    ld_env(j, 3, H_AX, AT_JTMP)
    rm(j, 3, 0x8D, H_SP, H_SP, 8)
    for i in (15, 14, 13, 12, H_BP, H_BX):
        e_prefix(j, 2, 0, 0, i, 0)
        e8(j, 0x58 | (i & 7))
    e8(j, 0xC3)
    # called: the op in r15 by its handler
    thunk_at[T_SLOW] = <u32>(j.p - base)
    rm(j, 3, 0x8D, H_SP, H_SP, -8)
    to_c(j, <void*>do_slow)
    rm(j, 3, 0x8D, H_SP, H_SP, 8)
    rr(j, 3, 0x85, H_AX, H_AX)
    at = jcc_fwd(j, 4)
    all_regs(j, 0)
    e8(j, 0xC3)
    patch_rw(at, j.p)
    rm(j, 3, 0x8D, H_SP, H_SP, 8)
    jmp_rx(j, base + j.rx + thunk_at[T_EXIT])
    # jumped to: something that ends in another block, or leaves
    nums[:] = [T_END, T_BUDGET, T_LINK, T_GOTO, T_INTERP, T_REST, T_XLINK, T_XGUARD, T_FIND]
    fns[:] = [<void*>do_end, <void*>do_budget, <void*>do_link, <void*>do_goto, <void*>do_interp, <void*>do_rest, <void*>do_xlink,
              <void*>do_xguard, <void*>do_goto]
    for i in range(9):
        thunk_at[nums[i]] = <u32>(j.p - base)
        if nums[i] == T_GOTO:
            st_env(j, 3, H_CX, AT_JTMP)
        to_c(j, fns[i])
        rr(j, 3, 0x85, H_AX, H_AX)
        e8(j, 0x0F)
        e8(j, 0x84)
        e32(j, <u32>((base + thunk_at[T_EXIT]) - (j.p + 4)))
        mov(j, H_T, H_AX)
        all_regs(j, 0)
        e8(j, 0x41)
        e8(j, 0xFF)
        e8(j, 0xE7)                     # jmp r15
    # called: where the first-level TLB does not tell an address. What C code may change goes home and comes back
    nums[:2] = [T_REFILL, T_STORE]
    fns[:2] = [<void*>tlb.refill, <void*>mmu.store_place]
    for i in range(2):
        thunk_at[nums[i]] = <u32>(j.p - base)
        rm(j, 3, 0x8D, H_SP, H_SP, -8)
        volatile_regs(j, 1)
        rm(j, 3, 0x8D, H_DI, H_ENV, -128)
        mov(j, H_SI, H_CX)
        mov(j, H_DX, H_T)
        mov_imm(j, H_AX, <u64>fns[i])
        e8(j, 0xFF)
        e8(j, 0xD0)                     # call rax
        mov(j, H_CX, H_AX)
        rr(j, 3, 0x85, H_CX, H_CX)
        rm(j, 3, 0x8D, H_SP, H_SP, 8)
        volatile_regs(j, 0)
        e8(j, 0xC3)
    # called: flags. All registers but the scratch ones stay; r15 becomes Cpu.jtmp
    fns[0] = <void*>do_flags
    fns[1] = <void*>do_cf
    fns[2] = <void*>do_setcf
    fns[3] = <void*>do_rot
    fns[4] = <void*>x87_park
    fns[5] = <void*>x87_back
    nums[:6] = [T_FLAGS, T_CF, T_SETCF, T_ROT, T_XPARK, T_XBACK]
    for i in range(6):
        thunk_at[nums[i]] = <u32>(j.p - base)
        if nums[i] == T_FLAGS:
            quick_flags(j)
        rm(j, 3, 0x8D, H_SP, H_SP, -8)
        to_c(j, fns[i])
        rm(j, 3, 0x8D, H_SP, H_SP, 8)
        all_regs(j, 0)
        if i == 0:
            rm(j, 2, 0xFF, 6, H_ENV, AT_JTMP)       # push
            e8(j, 0x9D)                 # popfq
        else:
            ld_env(j, 3, H_T, AT_JTMP)
        e8(j, 0xC3)
