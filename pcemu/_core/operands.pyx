"""Memory operands in compiled code: their addresses, the segments, the TLB's look-up inline, and groups that share one.

What the TLB does not answer is left to a stub, so to the handler. jit.pyx explains the whole.
"""
from pcemu._core.emit cimport *
from pcemu._core.tlb cimport REFILL_ALIGNED, REFILL_GROUP, REFILL_WRITE


cdef bint plain(J* j) noexcept nogil:
    """Is the op's address one that address() can compute?"""
    return j.op.am != AM_GENERAL or j.op.base != R_PC


cdef int address_size(Op* op) noexcept nogil:
    """log2 of it in bytes."""
    return op.scale >> 2 & 3


cdef void offset(J* j, int dst, int sz) noexcept nogil:
    """dst (a scratch register, or one that base and index allow) = the op's offset in its segment, cut to 1 << sz bytes (4 or 8)."""
    cdef int asz = address_size(j.op)
    cdef Op* op = j.op
    cdef int b = op.base, x = op.index
    cdef s64 disp = op.disp
    cdef int hb = NO_REG, hx = NO_REG
    if b == R_PC:
        ld_env(j, 3, dst, AT_PGPC)
        hb = dst
        disp += j.boff
    elif b < 16:
        hb = HR[b]
        if hb < 0:
            ld_env(j, 3, dst, env_r(b))
            hb = dst
    if x < 16:
        hx = HR[x]
        if hx < 0:
            ld_env(j, 3, H_T, env_r(x))
            hx = H_T
    if disp != <s32>disp:
        j.failed = 1
    if hx >= 0:
        rmx(j, sz, 0x8D, dst, hb, hx, op.scale & 3, <s32>disp)
    elif hb >= 0:
        if disp == 0:
            if hb != dst or sz == 2:
                rr(j, sz, 0x8B, dst, hb)
        else:
            rm(j, sz, 0x8D, dst, hb, <s32>disp)
    else:
        mov_imm(j, dst, <u64>disp if sz == 3 else <u32>disp)
    if asz == 1:
        rr(j, 2, 0x0FB7, dst, dst)


cdef void by_segment(J* j, int seg, int size, bint write, u32 kind) noexcept nogil:
    """rcx: offset -> linear address of `size` bytes. What is not a plain data segment, and what lies beyond its limit, is the
    handler's (SDM vol. 3, 5.3-5.5)."""
    cdef int at = AT_SEG + seg * 32
    cdef bint code = seg == CS and not write
    if j.m64:
        if seg == FS or seg == GS:
            rm(j, 3, 0x03, H_CX, H_ENV, at)
        return
    if j.mode & M_FLAT and seg != CS and seg < FS:
        return
    if j.mode & (M_PE | M_VM) == M_PE:
        ld_env(j, 2, H_T, at + 12)
        rr(j, 2, 0x81, 4, H_T)
        e32(j, DESC_P | DESC_CODE | DESC_RW | (0 if code else DESC_CE))
        rr(j, 2, 0x81, 7, H_T)
        e32(j, DESC_P | DESC_RW | (DESC_CODE if code else 0))
        new_stub(j, jcc_fwd(j, 5), kind)
    ld_env(j, 2, H_T, at + 8)
    rr(j, 3, 0x2B, H_T, H_CX)
    rr(j, 3, 0x83, 7, H_T)
    e8(j, size - 1)
    new_stub(j, jcc_fwd(j, 12), kind)               # limit - offset < size - 1
    rm(j, 2, 0x03, H_CX, H_ENV, at)
    j.in_host = 0


cdef void tlb_index(J* j) noexcept nogil:
    """r15 = place of the TLB entry for the address in rcx."""
    if has_bmi:
        e32(j, 0xF07B63C4)              # rorx r15d, ecx, 8
        e8(j, 0xF9)
        e8(j, 8)
    else:
        rr(j, 2, 0x8B, H_T, H_CX)
        rr(j, 2, 0xC1, 5, H_T)
        e8(j, 8)
    rr(j, 2, 0x81, 4, H_T)
    e32(j, TLB_MASK << 4)


cdef s32 tlb_at(J* j, bint write) noexcept nogil:
    """Displacement of the TLB that the unit's mode uses."""
    return (AT_TLB_W if write else AT_TLB_R) + <s32>(j.mode >> M_MMU_SHIFT & 3) * <s32>sizeof(Tlb)


cdef Stub* may_refill(Stub* s, s32 at, int size, u32 how) noexcept nogil:
    """Before the stub does anything else it asks the second-level TLB, or if the page is one with code that may be stored to. The
    caller says where to go on (Stub.passed)."""
    s.tlb = at
    s.bytes = <u32>size | how
    return s


cdef void check(J* j, int size, bint write, u32 kind) noexcept nogil:
    """rcx = linear address -> host address of `size` bytes, by the TLB; otherwise to a stub. (j.at = 0.)"""
    cdef s32 at = tlb_at(j, write)
    cdef Stub* s
    j.at = 0
    rcx_lost(j)
    tlb_index(j)
    rmx(j, 3, 0x2B, H_CX, H_ENV, H_T, 0, at)
    if j.align:                         # in the page and aligned
        rr(j, 3, 0xF7, 0, H_CX)
        e32(j, ~<u32>(4096 - size))
    else:
        rr(j, 3, 0x81, 7, H_CX)
        e32(j, 4096 - size)
    s = may_refill(new_stub(j, jcc_fwd(j, 5 if j.align else 7), kind), at, size,
                   (REFILL_WRITE if write else 0) | (REFILL_ALIGNED if j.align else 0))
    s.sum = j.sum
    if j.sum:
        rmx(j, 3, 0x8B, H_T, H_ENV, H_T, 0, at + 8)
        j.summed = 1
    else:
        rmx(j, 3, 0x03, H_CX, H_ENV, H_T, 0, at + 8)
    s.passed = j.p
    j.in_host = 0


cdef void mem(J* j, int size, bint write) noexcept nogil:
    """rcx = host address of the op's memory operand."""
    mem_or(j, size, write, STUB_SLOW)
    settle(j)


cdef void mem_or(J* j, int size, bint write, u32 kind) noexcept nogil:
    """rcx + j.at = host address of the op's memory operand; with a stub of this kind."""
    rcx_lost(j)
    locate(j, size, write, kind)


cdef void operand(J* j, int size, bint write) noexcept nogil:
    """rcx + j.at = host address of the op's memory operand. For emitters that have not changed rcx before: it may be there already."""
    locate(j, size, write, STUB_SLOW)


cdef bint operand_sum(J* j, int size) noexcept nogil:
    """The same, to be read; or (True) it is at rcx + r15, which is a cycle less for what waits for the address."""
    j.sum = 1
    j.summed = 0
    locate(j, size, 0, STUB_SLOW)
    j.sum = 0
    return j.summed


cdef void locate(J* j, int size, bint write, u32 kind) noexcept nogil:
    cdef Op* op = j.op
    cdef Place p
    if op.am != AM_GENERAL and op.seg != FS and op.seg != GS:
        p = place_of(op, j.boff)
        mem_at(j, &p, size, write, kind)
        return
    offset(j, H_CX, 3 if address_size(op) == 3 else 2)
    by_segment(j, op.seg, size, write, kind)
    check(j, size, write, kind)


# ---- the stack

cdef bint flat_stack(J* j) noexcept nogil:
    """Is the stack pointer a linear address?"""
    return j.m64 or j.mode & (M_FLAT | M_SS32) == (M_FLAT | M_SS32)


cdef void stack(J* j, int g, s32 disp, int size, bint write, u32 kind) noexcept nogil:
    """rcx + j.at = host address of `size` bytes at SS:[guest register g + disp]."""
    cdef Place p = place_off(g, disp, 3 if j.m64 else 2)
    if flat_stack(j):
        mem_at(j, &p, size, write, kind)
        return
    rm(j, 2, 0x8D, H_CX, HR[g], disp)
    if not j.mode & M_SS32:
        rr(j, 2, 0x0FB7, H_CX, H_CX)
    by_segment(j, SS, size, write, kind)
    check(j, size, write, kind)


cdef void sp_set(J* j, int g, s32 disp) noexcept nogil:
    """RSP, ESP or SP = guest register g + disp. r15 is lost."""
    if j.m64 or j.mode & M_SS32:
        rm(j, 3 if j.m64 else 2, 0x8D, H_R13, HR[g], disp)
    else:
        rm(j, 2, 0x8D, H_T, HR[g], disp)
        rr(j, 1, 0x89, H_T, H_R13)


# ---- groups: one check for neighbouring accesses off one base

cdef u32 changes(J* j, Op* op, EmitRow r, int* reg, s64* by) noexcept nogil:
    """Guest registers that the op changes, as a mask; but `reg` (or NO_REG) by an amount known beforehand."""
    cdef u32 mask = r.changes & 0xFF
    cdef u32 step = r.step
    reg[0] = NO_REG
    by[0] = 0
    if r.changes & C_ALL:
        return 0x3FFFF                  # (also what addresses without registers mean)
    if r.changes & C_FIRST:
        mask |= <u32>1 << gnum(r.size, op.reg)
    if r.changes & C_SECOND:
        mask |= <u32>1 << gnum(r.size, op.rm)
    if r.changes & C_VVVV:
        mask |= <u32>1 << op.vvvv
    if step == STEP_NONE:
        return mask
    if step <= STEP_POP:
        if not flat_stack(j):
            mask |= <u32>1 << RSP
        elif not mask >> RSP & 1:
            reg[0] = RSP
            by[0] = -(1 << r.size) if step == STEP_PUSH else 1 << r.size
        return mask
    if r.size != (3 if j.m64 else 2) or step == STEP_LEA and (op.base != op.reg or op.index < 16 or op.am == AM_GENERAL):
        return mask
    reg[0] = op.reg
    if step == STEP_ADD or step == STEP_SUB:
        by[0] = imm_of(r.size, op.imm) if step == STEP_ADD else -imm_of(r.size, op.imm)
    elif step == STEP_LEA:
        by[0] = op.disp
    else:
        by[0] = 1 if step == STEP_INC else -1
    return 0


cdef Place place_of(Op* op, u32 boff) noexcept nogil:
    """boff: the place of the op's block in its page."""
    cdef Place p
    p.base = op.base
    p.index = op.index
    p.scale = op.scale & 3 if op.index < 16 else 0
    p.sz = address_size(op)
    p.disp = op.disp
    if op.base == R_PC:
        p.disp += boff
    return p


cdef Place place_off(int base, s64 disp, int sz) noexcept nogil:
    cdef Place p
    p.base = base
    p.index = R_ZERO
    p.scale = 0
    p.sz = sz
    p.disp = disp
    return p


cdef bint access(J* j, int i, Place* p, int* size, bint* write) noexcept nogil:
    """Does op i access the place (and nothing else), by an emitter of ours?"""
    cdef Op* op = j.ops[i]
    cdef EmitRow r = emit_rows[op.jit >> 48]
    size[0] = r.width
    write[0] = (r.access & A_WRITE) != 0
    if r.access & (A_PUSH | A_POP):
        p[0] = place_off(RSP, -size[0] if r.access & A_PUSH else 0, 3 if j.m64 else 2)
        return flat_stack(j)
    if not r.access & A_OPERAND or op.seg == FS or op.seg == GS or op.am == AM_GENERAL:
        return 0
    p[0] = place_of(op, j.boffs[i])
    return 1


cdef u32 variants(J* j, int n) noexcept nogil:
    """Guest registers that the first n ops leave other than they were, as a mask."""
    cdef s64[16] moved
    cdef u32 mask = 0
    cdef int i, reg
    cdef s64 by
    for i in range(16):
        moved[i] = 0
    for i in range(n):
        mask |= changes(j, j.ops[i], emit_rows[j.ops[i].jit >> 48], &reg, &by)
        if reg >= 0:
            moved[reg] += by
    for i in range(16):
        if moved[i]:
            mask |= <u32>1 << i
    return mask


cdef void track(J* j, Op* op, EmitRow r) noexcept nogil:
    """The op has been written: what it did to the registers."""
    cdef int reg, g
    cdef s64 by
    cdef u32 mask = changes(j, op, r, &reg, &by)
    if reg >= 0:
        j.moved[reg] += by
    for g in range(18):
        if mask >> g & 1:
            j.epoch[g] += 1
            j.moved[g] = 0


cdef bint same_registers(Place* a, Place* b) noexcept nogil:
    return a.base == b.base and a.index == b.index and a.scale == b.scale and a.sz == b.sz


cdef bint foresee(J* j, Place* p, s64* lo, s64* hi, bint* write) noexcept nogil:
    """From the present op on: the range of accesses off the place's registers that belong together. False: there is but one."""
    cdef int i, size, reg, n = 0
    cdef s64 by, moved = j.moved[p.base] + (j.moved[p.index] << p.scale), x, a, b
    cdef bint w, steady
    cdef u32 mask, mine = <u32>1 << p.base | <u32>1 << p.index
    cdef Place q
    write[0] = 0
    steady = p.index == R_ZERO and (p.base == RSP or p.base == RBP) or j.loop and not j.variant & mine
    for i in range(j.i, j.n):
        if i == j.n1 and i > j.i and j.variant & mine:
            break
        if access(j, i, &q, &size, &w) and same_registers(&q, p):
            x = moved + q.disp
            a = x if n == 0 or x < lo[0] else lo[0]
            b = x + size if n == 0 or x + size > hi[0] else hi[0]
            if b - a <= (GROUP_SPAN if steady else GROUP_STEP * (n + 1)):
                lo[0] = a
                hi[0] = b
                write[0] |= w
                n += 1
        mask = changes(j, j.ops[i], emit_rows[j.ops[i].jit >> 48], &reg, &by)
        if mask & mine:
            break
        if reg == p.base:
            moved += by
        if reg == p.index:
            moved += by << p.scale
    return n > 1


cdef void place_address(J* j, Place* p, s64 disp) noexcept nogil:
    """rcx = the sum of the place's registers, and disp. r15 may be lost."""
    cdef int hb = NO_REG, hx = NO_REG
    if disp != <s32>disp:
        j.failed = 1
    if p.base == R_PC:
        ld_env(j, 3, H_CX, AT_PGPC)
        hb = H_CX
    elif p.base < 16:
        hb = HR[p.base]
        if hb < 0:
            ld_env(j, p.sz, H_CX, env_r(p.base))
            hb = H_CX
    if p.index < 16:
        hx = HR[p.index]
        if hx < 0:
            ld_env(j, p.sz, H_T, env_r(p.index))
            hx = H_T
    if hx >= 0:
        rmx(j, p.sz, 0x8D, H_CX, hb, hx, p.scale, <s32>disp)
    elif hb < 0:
        mov_imm(j, H_CX, <u64>disp if p.sz == 3 else <u32>disp)
    elif disp:
        rm(j, p.sz, 0x8D, H_CX, hb, <s32>disp)
    elif hb != H_CX or p.sz == 2:
        rr(j, p.sz, 0x8B, H_CX, hb)


cdef void mem_at(J* j, Place* p, int size, bint write, u32 kind) noexcept nogil:
    """rcx + j.at = host address of the place. kind: of the stub where the TLB does not know."""
    cdef Group* q = NULL
    cdef Group* t
    cdef Stub* s
    cdef int k
    cdef s32 at
    cdef s64 moved = j.moved[p.base] + (j.moved[p.index] << p.scale), x = moved + p.disp, lo = 0, hi = 0
    cdef bint w = 0
    cdef int free_ = -1
    for k in range(j.n_groups):
        t = &j.groups[k]
        if t.epoch != j.epoch[t.place.base] or t.epoch_x != j.epoch[t.place.index]:
            free_ = k
            continue
        if same_registers(&t.place, p) and t.lo <= x and x + size <= t.hi and (t.write or not write):
            q = t
            break
    if q is NULL:
        if free_ < 0 and j.n_groups < MAX_GROUPS:
            free_ = j.n_groups
        # not where the op has a stub already: that comes back behind the group's check
        if free_ < 0 or j.lone or j.n_stubs > j.op_stub or not foresee(j, p, &lo, &hi, &w) or lo > x or x + size > hi:
            place_address(j, p, p.disp)
            check(j, size, write, kind)
            return
        k = free_
        if k == j.n_groups:
            j.n_groups += 1
        q = &j.groups[k]
        q.place = p[0]
        q.epoch = j.epoch[p.base]
        q.epoch_x = j.epoch[p.index]
        q.lo = lo
        q.hi = hi
        q.write = w | write
        # the check, of the whole range
        place_address(j, p, lo - moved)
        tlb_index(j)
        at = tlb_at(j, q.write)
        rmx(j, 3, 0x2B, H_CX, H_ENV, H_T, 0, at)
        rr(j, 3, 0x81, 7, H_CX)
        e32(j, <u32>(4096 - (hi - lo)))
        s = may_refill(new_stub(j, jcc_fwd(j, 7), STUB_REST), at, <int>(hi - lo), REFILL_GROUP | (REFILL_WRITE if q.write else 0))
        rmx(j, 3, 0x03, H_CX, H_ENV, H_T, 0, at + 8)
        s.passed = j.p
        st_env(j, 3, H_CX, AT_GROUPS + 8 * k)
        j.in_host = 0
    elif j.held_now != k:
        ld_env(j, 3, H_CX, AT_GROUPS + 8 * k)
    j.held_now = -1
    j.held_after = k
    j.at = <s32>(x - q.lo)
    if j.align:
        settle(j)
        rr(j, 0, 0xF6, 0, H_CX)         # test cl, size - 1
        e8(j, size - 1)
        new_stub(j, jcc_fwd(j, 5), kind)
        j.in_host = 0


cdef void settle(J* j) noexcept nogil:
    """The displacement of the operand becomes part of rcx."""
    if j.at:
        rm(j, 3, 0x8D, H_CX, H_CX, j.at)
        j.at = 0
        j.held_after = -1


cdef void rcx_stays(J* j) noexcept nogil:
    """The emitter has left rcx as the last memory operand, or the op before, needed it: the next of that group finds it there."""
    j.held = j.held_after if j.held_after >= 0 else j.held_now
