"""Slow loads and stores: what the handlers' inline look-ups (access.pxd) do not find in the TLB comes here.

Fills by the walk (paging.pyx), operands across two pages, devices, watched memory, stores into translated code; and system
accesses, to descriptor tables and inner stacks.
"""
from libc.string cimport memcpy

from pcemu._core.state cimport *
from pcemu._core cimport blocks
from pcemu._core.debug cimport WATCH_READ, WATCH_WRITE, watch_at
from pcemu._core.faults cimport set_exc_err
from pcemu._core.paging cimport Walk, walk
from pcemu._core.physmem cimport find_range, gap, mach_read, mach_write, ram_page
from pcemu._core.tlb cimport REFILL_ALIGNED, REFILL_BYTES, REFILL_GROUP, fill, l2_read, l2_write, tx_slot
from pcemu._core.undo cimport will_store

# ======================================================================================================= watched memory


cdef inline bint watching(Cpu* c) noexcept nogil:
    """Is any memory watched, by the guest or by a debugger?"""
    return c.dr[7] & 0xff or c.debugger.n_watches


cdef bint watched(Cpu* c, u64 va, u64 size) noexcept nogil:
    """Does a data breakpoint of DR7, or a debugger's, touch [va, va+size)?  (execution breakpoints are the engine's)"""
    cdef int i
    cdef u64 n
    if c.debugger.n_watches and watch_at(c, va, size, WATCH_READ | WATCH_WRITE):
        return 1
    if not c.dr[7] & 0xff:
        return 0
    for i in range(4):
        if c.dr[7] >> (2 * i) & 3 and c.dr[7] >> (16 + 4 * i) & 3:
            n = bp_len(c, i)
            if va < (c.dr[i] & ~(n - 1)) + n and (c.dr[i] & ~(n - 1)) < va + size:
                return 1
    return 0


cdef inline u64 bp_len(Cpu* c, int i) noexcept nogil:
    cdef u32 n = c.dr[7] >> (18 + 4 * i) & 3
    return 1 if n == 0 else 2 if n == 1 else 4 if n == 3 else 8


cdef void note_debugger(Cpu* c, u64 va, u64 size, u32 kinds) noexcept nogil:
    """A debugger's watches: the engine leaves after the instruction."""
    cdef u32 hit = watch_at(c, va, size, kinds)
    if hit and not c.debugger.hit:
        c.debugger.hit = hit
        c.leave_req = 1


cdef void note_watch(Cpu* c, u64 va, u64 size, int acc) noexcept nogil:
    """Data breakpoints are traps: record DR6 bits, the engine delivers #DB after the instruction (SDM vol. 3, 17.3.1.2)."""
    cdef int i
    cdef u64 n
    cdef u32 rw
    if c.debugger.n_watches:
        note_debugger(c, va, size, WATCH_READ if acc == ACC_READ else WATCH_WRITE)
    if not c.dr[7] & 0xff:
        return
    for i in range(4):
        rw = c.dr[7] >> (16 + 4 * i) & 3
        if rw == 0 or not c.dr[7] >> (2 * i) & 3 or rw == 1 and acc != ACC_WRITE or rw == 2:
            continue
        n = bp_len(c, i)
        if va < (c.dr[i] & ~(n - 1)) + n and (c.dr[i] & ~(n - 1)) < va + size:
            c.dr6_pending |= <u64>1 << i
            c.pending |= PEND_DEBUG
            c.leave_req = 1


# ================================================================================================ slow loads and stores


cdef inline bint phys_read(Cpu* c, u64 pa, u8* buf, u64 size) noexcept nogil:
    """Any physical bytes; false: a device failed (EXIT_CALLBACK)."""
    return mach_read(c.m, c, pa, buf, size)


cdef inline bint phys_write(Cpu* c, u64 pa, const u8* buf, u64 size) noexcept nogil:
    return mach_write(c.m, c, pa, buf, size, 0)


cdef void remember(Cpu* c, u32 mmu, u64 va, int acc, Walk* w) noexcept nogil:
    """Fill the TLB with what was walked, where that is right: plain memory, no watched page, no stores to code."""
    cdef Range* r
    cdef PageInfo* pg
    cdef TlbEntry* e
    cdef u8* host = ram_page(c.m, w.pa, acc, &r)
    if host is NULL:
        return
    if watching(c) and acc != ACC_EXEC and watched(c, va & ~<u64>4095, 4096):
        return
    if acc == ACC_WRITE:
        pg = &c.m.pages[<u64>(host - c.m.ram) >> 12]
        if pg.bitmap or pg.smc:
            if pg.bitmap == 0:
                pg.smc -= 1
            e = &c.cw[mmu][(va >> 12) & CW_MASK]
            e.tag = va & ~<u64>4095
            e.host = host
            c.cw_used = 1
            return
    fill(c, mmu, va, host, w, acc)


cdef bint xlate(Cpu* c, u64 va, int acc, u32 cpl, u64* pa) noexcept nogil:
    """va to physical at a privilege level, filling the TLB of the running mmu index where that is right."""
    cdef Walk w
    cdef bint user = cpl == 3
    if not walk(c, va, acc, user, 0, 1, &w):
        return 0
    pa[0] = w.pa
    if cpl != c.cpl and (cpl == 3 or c.cpl == 3):
        return 1                    # the arrays in use belong to another privilege
    if not c.efer & EFER_LMA:
        va = <u32>va
    remember(c, c.mmu, va, acc, &w)
    return 1


cdef inline bint need_single(Cpu* c, Op* op) noexcept nogil:
    """A device access in the middle of a block: ask to be run again alone, when the count and the clock are exact."""
    if c.single or op is NULL:
        return 0
    c.exit = EXIT_SINGLE
    return 1


cdef bint no_page(Cpu* c, Op* op) noexcept nogil:
    """An operand's translation failed. In 64-bit mode a non-canonical one addressed by RSP or RBP is #SS(0). False."""
    if c.exc_vector == EXC_GP and c.exit == EXIT_FAULT and op is not NULL and op.seg == SEG_FLAT and (op.base == RSP or op.base == RBP):
        c.exc_vector = EXC_SS
    return 0


cdef bint xlate2(Cpu* c, Op* op, u64 va, u64 va2, int acc, u64* pa, u64* pa2) noexcept nogil:
    """Both parts of an operand that crosses into the page of va2; all of it must be canonical before any page is looked at."""
    if c.mode & M_CODE64 and <u64>(<s64>(va2 << 16) >> 16) != va2:
        set_exc_err(c, EXC_GP, 0)
        return no_page(c, op)
    if xlate(c, va, acc, c.cpl, pa) and xlate(c, va2, acc, c.cpl, pa2):
        return 1
    return no_page(c, op)


cdef u8* ld_slow(Cpu* c, Op* op, u64 va, int size) noexcept nogil:
    cdef u64 pa, pa2
    cdef Range* r
    cdef u32 n
    cdef u8* p
    if not c.efer & EFER_LMA:
        va = <u32>va
    p = l2_read(c, va, size)
    if p is not NULL:
        return p
    if watching(c) and watched(c, va, size):
        if need_single(c, op):
            return NULL
        note_watch(c, va, size, ACC_READ)
    if (va & 4095) + size <= 4096:
        if not xlate(c, va, ACC_READ, c.cpl, &pa):
            no_page(c, op)
            return NULL
        r = find_range(c.m, pa)
        if r is not NULL and (r.kind == R_RAM or r.kind == R_ROM) and pa + size - 1 <= r.end:
            return c.m.ram + r.off + (pa - r.start)
        if not is_memory(c, pa, size) and need_single(c, op):
            return NULL
        if not phys_read(c, pa, c.lbuf, size):
            return NULL
        return c.lbuf
    n = 4096 - (va & 4095)
    if not xlate2(c, op, va, wrap(c, va + n), ACC_READ, &pa, &pa2):
        return NULL
    if (not is_memory(c, pa, n) or not is_memory(c, pa2, size - n)) and need_single(c, op):
        return NULL
    if not phys_read(c, pa, c.lbuf, n) or not phys_read(c, pa2, c.lbuf + n, size - n):
        return NULL
    return c.lbuf


cdef inline u64 wrap(Cpu* c, u64 va) noexcept nogil:
    return va if c.efer & EFER_LMA else <u32>va


cdef bint is_memory(Cpu* c, u64 pa, u64 size) noexcept nogil:
    """Is all of [pa, pa+size) RAM or ROM? A page may be cut up by small device ranges."""
    cdef Range* r = find_range(c.m, pa)
    if r is NULL or r.kind != R_RAM and r.kind != R_ROM:
        return 0
    return LIKELY(pa + size - 1 <= r.end) or is_memory(c, r.end + 1, pa + size - 1 - r.end)


cdef inline bint in_running(Cpu* c, u64 addr, int size) noexcept nogil:
    """Does a store at addr (host RAM space) change the block that is running, or kill it with its unit? (Of what it does then to
    the rest of the block nobody would hear.)"""
    cdef Block* b = c.cur
    if b is NULL or b.n == N_DEAD:
        return 0
    return (b.addr < addr + size and addr < b.addr + b.nbytes
            or b.entry is not NULL and b.unit_lo < addr + size and addr < b.unit_hi)


cdef inline bint alone(Cpu* c, Op* op, u64 addr, int size) noexcept nogil:
    """The op changes what is running: it is to run alone; if that is its own block, to begin a block next time, which goes on. False."""
    cdef Block* b = c.cur
    cdef u64 at = b.addr + op.pcoff
    if b.addr < addr + size and addr < b.addr + b.nbytes and c.lock is NULL:     # (the passes of a lockstep run end at the same op)
        blocks.split(c.m, at)[0] = at
    c.exit = EXIT_SINGLE
    return 0


cdef void drop_code(Cpu* c, u64 addr, int size) noexcept nogil:
    """Kill translated code. To go through a page's blocks can take microseconds: after some hundred times the quantum ends, here
    and now (the count of instructions is icount_end - budget, and stays), as compiled loops look at nothing else."""
    blocks.invalidate(c.m, addr, size)
    c.toil += KILLING
    if UNLIKELY(c.toil >= MUCH_TOIL and c.budget > 0 and c.lock_pass == LOCK_OFF):
        c.icount_end -= <u64>c.budget
        c.budget = 0


cdef bint code_guard(Cpu* c, Op* op, u64 pa, int size) noexcept nogil:
    """Before a store to [pa, pa+size) inside a page: kill translated code there. False: re-run alone (the running block is hit)."""
    cdef Range* r = find_range(c.m, pa)
    cdef u64 addr
    cdef int n = <int>gap(c.m, pa, size) if r is NULL else size if <u64>(size - 1) <= r.end - pa else <int>(r.end - pa + 1)
    if n < size:                        # other ranges in the same page
        return code_guard(c, op, pa, n) and code_guard(c, op, pa + n, size - n)
    if r is NULL or r.kind != R_RAM:
        return 1
    addr = r.off + (pa - r.start)
    if c.m.pages[addr >> 12].bitmap == 0:
        return 1
    blocks.note_store(c, addr, size)
    if not blocks.has_code(c.m, addr, size) or not blocks.touched(c.m, addr, size):
        return 1
    if not c.single and op is not NULL and in_running(c, addr, size):
        return alone(c, op, addr, size)
    drop_code(c, addr, size)
    return 1


cdef u8* code_page(Cpu* c, Op* op, u64 va, int size) noexcept nogil:
    """For a store inside one page: where that is if it is known as one with code, which is dropped there. NULL: it is not known, or
    (EXIT_SINGLE is pending) the op is to run alone."""
    cdef TlbEntry* e = &c.cw[c.mmu][(va >> 12) & CW_MASK]
    cdef u64 addr
    cdef PageInfo* pg
    if va - e.tag > <u64>(4096 - size) or e.host is NULL:
        return NULL
    addr = <u64>(e.host - c.m.ram) + (va & 4095)
    pg = &c.m.pages[addr >> 12]
    blocks.note_store(c, addr, size)
    if pg.bitmap:
        if blocks.has_code(c.m, addr, size) and blocks.touched(c.m, addr, size):
            if not c.single and op is not NULL and in_running(c, addr, size):
                alone(c, op, addr, size)
                return NULL
            drop_code(c, addr, size)
    elif pg.smc:
        pg.smc -= 1
    else:
        e.host = NULL                   # an ordinary page again: the next walk fills the TLB
    will_store(c, c.m.ram + addr, size)
    return c.m.ram + addr


cdef bint st_slow_bytes(Cpu* c, Op* op, u64 va, const u8* src, int size) noexcept nogil:
    cdef u64 pa, pa2
    cdef u32 n
    cdef u8* p
    if not c.efer & EFER_LMA:
        va = <u32>va
    p = l2_write(c, va, size)
    if p is not NULL:
        memcpy(p, src, size)
        return 1
    if watching(c) and watched(c, va, size):
        if need_single(c, op):
            return 0
        note_watch(c, va, size, ACC_WRITE)
    if (va & 4095) + size <= 4096:
        p = code_page(c, op, va, size)
        if p is not NULL:
            memcpy(p, src, size)
            return 1
        if c.exit == EXIT_SINGLE:
            return 0
        if not xlate(c, va, ACC_WRITE, c.cpl, &pa):
            return no_page(c, op)
        if not is_memory(c, pa, size) and need_single(c, op):
            return 0
        if not code_guard(c, op, pa, size):
            return 0
        return phys_write(c, pa, src, size)
    n = 4096 - (va & 4095)
    if not xlate2(c, op, va, wrap(c, va + n), ACC_WRITE, &pa, &pa2):
        return 0
    if (not is_memory(c, pa, n) or not is_memory(c, pa2, size - n)) and need_single(c, op):
        return 0
    if not code_guard(c, op, pa, n) or not code_guard(c, op, pa2, size - n):
        return 0
    if not phys_write(c, pa, src, n):
        return 0
    return phys_write(c, pa2, src + n, size - n)


cdef u8* store_place(Cpu* c, u64 va, u64 what) noexcept nogil:
    """Compiled code has not found a place to store to at va in the first level. Where it may store, code there being dropped; NULL:
    the handler shall do it. what: the running unit's first block, and in the upper 16 bits the number of bytes and REFILL_*.

    The handler does what changes the running unit, since that has to be left; what has to be walked for; what is watched."""
    cdef Block* unit = <Block*>(what & (((<u64>1) << 48) - 1))
    cdef u32 how = <u32>(what >> 48)
    cdef int size = <int>(how & REFILL_BYTES)
    cdef TlbEntry* e = &c.cw[c.mmu][(va >> 12) & CW_MASK]
    cdef PageInfo* pg
    cdef u64 addr
    cdef u8* p
    if how & REFILL_ALIGNED and va & <u64>(size - 1):
        return NULL
    if c.lock is NULL:
        p = l2_write(c, va, size)
        if p is not NULL:
            return p
    if va - e.tag > <u64>(4096 - size) or e.host is NULL or watching(c):
        return NULL
    p = e.host + (va - e.tag)
    addr = <u64>(p - c.m.ram)
    pg = &c.m.pages[addr >> 12]
    blocks.note_store(c, addr, size)
    if pg.bitmap:
        if blocks.has_code(c.m, addr, size) and blocks.touched(c.m, addr, size):
            if how & REFILL_GROUP or addr < unit.unit_hi and unit.unit_lo < addr + size:
                return NULL
            drop_code(c, addr, size)
    elif pg.smc and not how & REFILL_GROUP:
        pg.smc -= 1
    else:
        return NULL                     # an ordinary page again, or soon: handlers count
    c.m.n_code_stores += 1
    will_store(c, p, size)
    return p


cdef bint st_slow(Cpu* c, Op* op, u64 va, u64 v, int size) noexcept nogil:
    return st_slow_bytes(c, op, va, <const u8*>&v, size)


cdef u8* rw_slow(Cpu* c, Op* op, u64 va, int size) noexcept nogil:
    """Read-modify-write: a pointer into RAM, or the buffer that rw_commit() stores. Everything that can fail fails here."""
    cdef u64 pa, pa2 = 0
    cdef Range* r
    cdef u32 n
    cdef u8* p
    if not c.efer & EFER_LMA:
        va = <u32>va
    p = l2_write(c, va, size)
    if p is not NULL:
        return p
    if watching(c) and watched(c, va, size):
        if need_single(c, op):
            return NULL
        if c.debugger.n_watches:
            note_debugger(c, va, size, WATCH_READ)
        note_watch(c, va, size, ACC_WRITE)
    n = 4096 - (va & 4095)
    if n > <u32>size:
        n = size
    if n == <u32>size:
        p = code_page(c, op, va, size)
        if p is not NULL or c.exit == EXIT_SINGLE:
            return p
    if n < <u32>size:
        if not xlate2(c, op, va, wrap(c, va + n), ACC_WRITE, &pa, &pa2):
            return NULL
    elif not xlate(c, va, ACC_WRITE, c.cpl, &pa):
        no_page(c, op)
        return NULL
    if (not is_memory(c, pa, n) or n < <u32>size and not is_memory(c, pa2, size - n)) and need_single(c, op):
        return NULL
    if not code_guard(c, op, pa, n) or n < <u32>size and not code_guard(c, op, pa2, size - n):
        return NULL
    r = find_range(c.m, pa)
    if n == <u32>size and r is not NULL and r.kind == R_RAM and pa + size - 1 <= r.end:
        will_store(c, c.m.ram + r.off + (pa - r.start), size)
        return c.m.ram + r.off + (pa - r.start)
    if not phys_read(c, pa, c.wbuf, n) or n < <u32>size and not phys_read(c, pa2, c.wbuf + n, size - n):
        return NULL
    c.w_pa0 = pa
    c.w_pa1 = pa2
    c.w_size = size
    c.w_kind = n
    return c.wbuf


cdef bint rw_commit(Cpu* c, Op* op) noexcept nogil:
    if not phys_write(c, c.w_pa0, c.wbuf, c.w_kind):
        return 0
    return c.w_kind == c.w_size or phys_write(c, c.w_pa1, c.wbuf + c.w_kind, c.w_size - c.w_kind)


cdef u8* ram_for_write(Cpu* c, Op* op, u64 va, int size) noexcept nogil:
    """What a REP chunk is must not depend on what the TLB holds or where code has been translated."""
    cdef u64 pa
    cdef Range* r
    cdef u8* p
    c.exit = EXIT_NONE
    if not c.efer & EFER_LMA:
        va = <u32>va
    p = l2_write(c, va, size)
    if p is not NULL:
        return p
    if (va & 4095) + size > 4096 or (watching(c) and watched(c, va, size)):
        return NULL
    if not xlate(c, va, ACC_WRITE, c.cpl, &pa):
        return NULL
    r = find_range(c.m, pa)
    if r is NULL or r.kind != R_RAM or pa + size - 1 > r.end or not code_guard(c, op, pa, size):
        return NULL
    will_store(c, c.m.ram + r.off + (pa - r.start), size)
    return c.m.ram + r.off + (pa - r.start)


cdef void copy_small(u8* dst, const u8* src, int size) noexcept nogil:
    memcpy(dst, src, size)


# =============================================================================================================== probes


cdef bint probe_at(Cpu* c, Op* op, u64 va, int size, int acc, u32 cpl) noexcept nogil:
    cdef u64 pa, first, last
    va = wrap(c, va)
    first = va
    last = wrap(c, va + size - 1)
    if c.mode & M_CODE64 and <u64>(<s64>(last << 16) >> 16) != last:
        set_exc_err(c, EXC_GP, 0)
        return no_page(c, op)
    if not xlate(c, first, acc, cpl, &pa):
        return no_page(c, op)
    if acc == ACC_WRITE and op is not NULL and not code_guard(c, op, pa, 1 if (first ^ last) >> 12 else size):
        return 0
    if (first ^ last) >> 12:
        if not xlate(c, last & ~<u64>4095, acc, cpl, &pa):
            return 0
        if acc == ACC_WRITE and op is not NULL and not code_guard(c, op, pa, (last & 4095) + 1):
            return 0
    return 1


cdef bint probe_write(Cpu* c, Op* op, u64 va, int size) noexcept nogil:
    cdef TlbEntry* e = &c.tlb_w[(va >> 12) & TLB_MASK]
    if va - e.tag <= <u64>(4096 - size):
        return 1
    return probe_at(c, op, va, size, ACC_WRITE, c.cpl)


cdef bint probe_read(Cpu* c, Op* op, u64 va, int size) noexcept nogil:
    cdef TlbEntry* e = &c.tlb_r[(va >> 12) & TLB_MASK]
    if va - e.tag <= <u64>(4096 - size):
        return 1
    return probe_at(c, op, va, size, ACC_READ, c.cpl)


# ====================================================================================================== system accesses


cdef inline u32 system_mmu(Cpu* c) noexcept nogil:
    """The mmu index at which descriptor tables and inner stacks are looked up: the strictest of the supervisor's, so that what
    it holds is right for all its accesses."""
    return MMU_KERNEL if c.cr4 & CR4_SMAP else MMU_KERNEL_AC


cdef inline u8* known_read(Cpu* c, u64 va, int size) noexcept nogil:
    """Host address for a supervisor's read inside a page that the TLB holds, or NULL."""
    cdef TlbEntry* e = &c.tr[system_mmu(c)].e[(va >> 12) & TLB_MASK]
    return e.host + (va - e.tag) if va - e.tag <= <u64>(4096 - size) else NULL


cdef inline u8* known_write(Cpu* c, u64 va, int size) noexcept nogil:
    cdef TlbEntry* e = &c.tw[system_mmu(c)].e[(va >> 12) & TLB_MASK]
    return e.host + (va - e.tag) if va - e.tag <= <u64>(4096 - size) else NULL


cdef inline bint walk_system(Cpu* c, u64 va, int acc, u32 cpl, bint implicit, Walk* w) noexcept nogil:
    """walk() at an explicit privilege; the supervisor's pages are remembered."""
    if not walk(c, va, acc, cpl == 3, implicit, 1, w):
        return 0
    if cpl != 3 and (implicit or not c.cr4 & CR4_SMAP or not c.eflags & F_AC):
        remember(c, system_mmu(c), va, acc, w)
    return 1


cdef bint probe_write_at_cpl(Cpu* c, u64 va, int size, u32 cpl) noexcept nogil:
    if cpl != 3 and known_write(c, va, size) is not NULL:
        return 1
    return probe_at(c, NULL, va, size, ACC_WRITE, cpl)


cdef bint access_at(Cpu* c, u64 va, int size, u32 cpl, bint implicit, int acc, u8* buf) noexcept nogil:
    """Read or write up to 8 bytes at an explicit privilege, page by page, probed first."""
    cdef Walk w
    cdef u64 pa[2]
    cdef int i, n, parts
    va = wrap(c, va)
    if c.debugger.n_watches:
        note_debugger(c, va, size, WATCH_READ if acc == ACC_READ else WATCH_WRITE)
    n = 4096 - (va & 4095)
    parts = 1 if n >= size else 2
    if n > size:
        n = size
    for i in range(parts):
        if not walk_system(c, va if i == 0 else wrap(c, va + n), acc, cpl, implicit, &w):
            return 0
        pa[i] = w.pa
    for i in range(parts):
        if acc == ACC_READ:
            if not phys_read(c, pa[i], buf + (0 if i == 0 else n), n if i == 0 else size - n):
                return 0
        else:
            code_guard(c, NULL, pa[i], n if i == 0 else size - n)
            if not phys_write(c, pa[i], buf + (0 if i == 0 else n), n if i == 0 else size - n):
                return 0
    return 1


cdef bint sys_ld(Cpu* c, u64 va, int size, u64* out) noexcept nogil:
    cdef u8* p = known_read(c, va, size)
    out[0] = 0
    if p is not NULL:
        memcpy(out, p, size)
        return 1
    return access_at(c, va, size, 0, 1, ACC_READ, <u8*>out)


cdef bint sys_st(Cpu* c, u64 va, int size, u64 v) noexcept nogil:
    cdef u8* p = known_write(c, va, size)
    if p is not NULL:
        memcpy(p, &v, size)
        return 1
    return access_at(c, va, size, 0, 1, ACC_WRITE, <u8*>&v)


cdef bint sys_probe_write(Cpu* c, u64 va, int size) noexcept nogil:
    cdef Walk w
    if known_write(c, va, size) is not NULL:
        return 1
    if not walk_system(c, wrap(c, va), ACC_WRITE, 0, 1, &w):
        return 0
    if (va & 4095) + size > 4096:
        return walk_system(c, wrap(c, va + size - 1), ACC_WRITE, 0, 1, &w)
    return 1


cdef bint ld_at_cpl(Cpu* c, u64 va, int size, u32 cpl, u64* out) noexcept nogil:
    cdef u8* p = known_read(c, va, size) if cpl != 3 else NULL
    out[0] = 0
    if p is not NULL:
        memcpy(out, p, size)
        return 1
    return access_at(c, va, size, cpl, 0, ACC_READ, <u8*>out)


cdef bint st_at_cpl(Cpu* c, u64 va, int size, u32 cpl, u64 v) noexcept nogil:
    cdef u8* p = NULL
    cdef TlbEntry* e
    if cpl != 3:
        p = known_write(c, va, size)
    elif c.cpl == 3:
        e = &c.tlb_w[(va >> 12) & TLB_MASK]
        if va - e.tag <= <u64>(4096 - size):
            p = e.host + (va - e.tag)
    if p is not NULL:
        memcpy(p, &v, size)
        return 1
    return access_at(c, va, size, cpl, 0, ACC_WRITE, <u8*>&v)


cdef bint fetch_page(Cpu* c, u64 lin, u8** host) noexcept nogil:
    """Host address of the page to execute from; NULL with True: code in device memory."""
    cdef TlbEntry* e
    cdef u64 pa
    cdef Range* r
    lin = wrap(c, lin)
    e = &c.tx[c.mmu].e[tx_slot(lin)]
    if lin - e.tag < 4096:
        host[0] = e.host
        return 1
    if not xlate(c, lin, ACC_EXEC, c.cpl, &pa):
        return 0
    host[0] = ram_page(c.m, pa, ACC_EXEC, &r)
    return 1
