"""From a pc to the block there: found, or translated from guest bytes. What the run loop does not keep lies in Cpu.scratch."""
from libc.string cimport memcpy, memset

from pcemu._core.access cimport *
from pcemu._core cimport blocks, mmu, physmem, tlb, vtime
from pcemu._core.debug cimport breakpoint_at, breakpoint_in_some_page
from pcemu._core.decode cimport DEC_MORE, decode, set_exit_op, set_limit_op
from pcemu._core.hooks cimport block_made
from pcemu._core.jit cimport jc_code, jit_mode, set_warm_op

cdef enum:
    MAX_OPS = 64            # of a block


cdef inline bint beyond(Cpu* c, u64 pc, u32 n) noexcept nogil:
    """Do n bytes of code at pc reach beyond the code segment? Then #GP(0) is pending."""
    if c.mode & M_CODE64 or c.seg[CS].limit - pc >= n - 1:
        return 0
    set_exc_err(c, EXC_GP, 0)
    return 1


cdef Op* h_breakpoint(Cpu* c, Op* op) noexcept nogil:
    """Stands before an instruction at whose place in some page there is a breakpoint. If it is this one: to the engine, which stops."""
    if UNLIKELY(c.debugger.n_breakpoints and not c.debugger.passing and breakpoint_at(c, lin_of(c, c.r[R_PC]))):
        c.budget += c.cur.n
        return leave(c, c.r[R_PC])
    return op[1].fn(c, op + 1)


cdef inline void set_breakpoint_op(Op* op) noexcept nogil:
    memset(op, 0, sizeof(Op))
    op.fn = h_breakpoint


cdef Block* translate_block(Cpu* c, u64 pc, u64 lin, u8* host, u32 max_insns) noexcept nogil:
    """Decode from lin (whose page lies at host) into a new block.

    NULL: a fault is pending, the arena is full (EXIT_NONE), or it must be a block that is not kept (EXIT_SINGLE).
    """
    cdef Mach* m = c.m
    cdef u32 off = lin & 4095
    cdef u64 addr = <u64>(host - m.ram) + off
    cdef Block* b = blocks.new_block(m, max_insns + 4)
    cdef bint stops = c.debugger.n_breakpoints != 0
    cdef u32 n = 0, pos = 0, k
    cdef int length
    cdef Op* op
    cdef u8 buf[32]
    cdef u8* host2
    cdef PageInfo* pg = &m.pages[addr >> 12]
    cdef bint first = pg.bitmap == 0 and pg.smc == 0
    cdef s64 t0 = vtime.host_ns()
    if b is NULL:
        c.exit = EXIT_NONE
        return NULL
    b.addr = addr
    b.mode = c.mode
    op = b.ops
    if stops and breakpoint_in_some_page(c, off):
        if c.mode & M_LIM:
            set_limit_op(op)
            op += 1
        set_breakpoint_op(op)
        op += 1
    elif jit_mode(c):
        set_warm_op(op)
        op += 1
    elif c.mode & M_LIM:
        set_limit_op(op)
        op += 1
    while True:
        if n and (stops and breakpoint_in_some_page(c, off + pos) or pg.stored and blocks.split(m, addr + pos)[0] == addr + pos):
            break
        length = decode(c, c.mode, host + off + pos, 4096 - off - pos, pos, op)
        if length == DEC_MORE:
            if n:
                break
            # the first instruction crosses into the next page: a block of one
            k = 4096 - off
            memcpy(buf, host + off, k)
            memset(buf + k, 0, sizeof(buf) - k)
            if beyond(c, pc, k + 1) or not mmu.fetch_page(c, lin + k, &host2):
                return NULL
            if host2 is NULL:                       # the rest comes from a device: nothing to keep
                c.exit = EXIT_SINGLE
                return NULL
            memcpy(buf + k, host2, 15 - k)
            length = decode(c, c.mode, buf, 15, 0, op)
            if length < 0:
                length = 15
            if beyond(c, pc, length):
                return NULL
            b.cross = <u32>length - k if <u32>length > k else 0
            memcpy(b.tail, buf + k, b.cross)
            n = 1
            pos = length
            op += 1
            break
        n += 1
        pos += length
        if op.props & OP_END:
            op += 1
            break
        op += 1
        if n >= max_insns or off + pos >= 4096:
            break
    set_exit_op(op, pos)
    b.n = n
    b.n_ops = <u32>(op - b.ops)
    b.nbytes = pos
    c.n_trans += 1
    c.n_trans_insn += n
    m.translate_ns += <u64>(vtime.host_ns() - t0)
    pg.smc = SMC_PATIENCE
    if first:
        tlb.protect_code(c, addr & ~<u64>4095)
    return b


cdef u8* mmio_code(Cpu* c, u64 lin, u8* buf) noexcept nogil:
    """Code bytes from device memory (or nowhere): read through the devices into buf (16 bytes)."""
    cdef u64 pa
    cdef u32 n = 4096 - (lin & 4095)
    if n > 16:
        n = 16
    memset(buf, 0xff, 16)
    if not mmu.xlate(c, lin, ACC_EXEC, c.cpl, &pa):
        return NULL
    if not physmem.mach_read(c.m, c, pa, buf, n):
        return NULL
    return buf


cdef Block* mmio_block(Cpu* c, u64 pc, u64 lin) noexcept nogil:
    """Code outside RAM and ROM runs one uncached instruction at a time from the CPU's scratch block."""
    cdef Block* b = &c.scratch
    cdef u8 buf[32]
    cdef int length
    if mmio_code(c, lin, buf) is NULL:
        return NULL
    length = decode(c, c.mode, buf, 15, 0, c.scratch_ops)
    if length < 0:
        length = 15
    if beyond(c, pc, length):
        return NULL
    memset(b, 0, sizeof(Block))
    b.ops = c.scratch_ops
    b.addr = ~<u64>0 - 64
    b.mode = c.mode
    b.n = b.n_ops = 1
    b.nbytes = length
    set_exit_op(c.scratch_ops + 1, length)
    return b


cdef inline bint segment_ends(Cpu* c, u64 pc, u64 lin) noexcept nogil:
    """Does the code segment end inside the page? Its instructions there are looked at one by one, against the limit."""
    return not c.mode & M_CODE64 and c.seg[CS].limit - pc < 4095 - (lin & 4095)


cdef Block* single_block(Cpu* c, u64 pc, u64 lin, u8* host) noexcept nogil:
    """The one instruction at pc, uncached, in the CPU's scratch block."""
    cdef Block* b = &c.scratch
    cdef u32 off = lin & 4095, k
    cdef int length
    cdef u8 buf[32]
    cdef u8* host2
    memset(b, 0, sizeof(Block))
    b.ops = c.scratch_ops
    b.addr = <u64>(host - c.m.ram) + off
    b.mode = c.mode
    b.n = b.n_ops = 1
    length = decode(c, c.mode, host + off, 4096 - off, 0, c.scratch_ops)
    if length == DEC_MORE:
        k = 4096 - off
        memcpy(buf, host + off, k)
        memset(buf + k, 0, sizeof(buf) - k)
        if beyond(c, pc, k + 1) or not mmu.fetch_page(c, lin + k, &host2):
            return NULL
        if host2 is NULL:
            host2 = mmio_code(c, lin + k, buf + 16)
            if host2 is NULL:
                return NULL
        memcpy(buf + k, host2, 15 - k)
        length = decode(c, c.mode, buf, 15, 0, c.scratch_ops)
        if length < 0:
            length = 15
        b.cross = <u32>length - k if <u32>length > k else 0
    if beyond(c, pc, length):
        return NULL
    b.nbytes = length
    set_exit_op(c.scratch_ops + 1, length)
    return b


cdef Block* lookup(Cpu* c, u64 pc, bint cacheable) noexcept nogil:
    """The block at pc in the present mode, none of it beyond CS's limit. NULL: fault pending."""
    cdef Block* b = any_block(c, pc, cacheable)
    if c.mode & M_LIM and b is not NULL and UNLIKELY(pc + b.nbytes - 1 > c.seg[CS].limit):
        if b != &c.scratch:
            b = any_block(c, pc, 0)
            if b is NULL:
                return NULL
        if pc + b.nbytes - 1 > c.seg[CS].limit:
            set_exc_err(c, EXC_GP, 0)
            return NULL
    return b


cdef Block* any_block(Cpu* c, u64 pc, bint cacheable) noexcept nogil:
    cdef u64 lin = lin_of(c, pc)
    cdef JcEntry* e = &c.jc[(lin ^ (lin >> 12)) & JC_MASK]
    cdef u8* host
    cdef u8* host2
    cdef Block* b
    cdef u64 addr
    c.n_lookup += 1
    if not c.mode & M_CODE64 and UNLIKELY(pc > c.seg[CS].limit):
        set_exc_err(c, EXC_GP, 0)
        return NULL
    if not mmu.fetch_page(c, lin, &host):
        return NULL
    if host is NULL:
        return mmio_block(c, pc, lin)
    if not cacheable or segment_ends(c, pc, lin):
        return single_block(c, pc, lin, host)
    addr = <u64>(host - c.m.ram) + (lin & 4095)
    b = blocks.find_block(c.m, addr, c.mode)
    if b is not NULL and UNLIKELY(b.cross):
        if beyond(c, pc, b.nbytes) or not mmu.fetch_page(c, (lin & ~<u64>4095) + 4096, &host2):
            return NULL
        if host2 is NULL or not same(b.tail, host2, b.cross):
            return single_block(c, pc, lin, host)
        if b.entry is NULL:
            return b                            # (compiled code looks itself)
    if b is NULL:
        b = translate_block(c, pc, lin, host, MAX_OPS)
        if b is NULL:
            if c.exit == EXIT_SINGLE:
                c.exit = EXIT_NONE
                return single_block(c, pc, lin, host)
            if c.exit != EXIT_NONE:
                return NULL
            blocks.flush_all(c.m)
            tlb.bump_jc(c)
            c.link = NULL
            b = translate_block(c, pc, lin, host, MAX_OPS)
            if b is NULL:
                return single_block(c, pc, lin, host) if c.exit == EXIT_SINGLE else NULL
        blocks.commit_block(c.m, b, b.n_ops + 1)
        toil(c, b.n * TRANSLATING)
        if UNLIKELY(c.m.log_code & 1):
            block_made(c, b, pc, 0)
        if b.cross:
            return b
    e.lin = lin
    e.key = c.jckey
    e.block = b
    jc_code(c, e)
    # a chain inside the page
    if c.link is not NULL:
        if c.cur is not NULL and c.cur.n != N_DEAD and not c.cur.cross and (c.cur.addr ^ addr) >> 12 == 0 and c.cur.mode == b.mode:
            c.link[0] = b
        c.link = NULL
    return b


cdef inline bint same(u8* a, u8* b, u32 n) noexcept nogil:
    cdef u32 i
    for i in range(n):
        if a[i] != b[i]:
            return 0
    return 1
