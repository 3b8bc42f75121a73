"""Memory below the handlers: segments, page walks, TLB fills, devices, stores into code; ports; the physical map.

Paging: SDM vol. 3, chapter 4. A handler sees only the inline look-ups of access.pxd; whatever those do not find comes here.
"""
import os

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from pcemu._core.state cimport *
from pcemu._core cimport blocks
from pcemu._core.debug cimport WATCH_READ, WATCH_WRITE, dbg, watch_at
from pcemu._core.simd cimport MXCSR_CONTROL, fp_enter, fp_leave, fp_quiet, get_mxcsr, set_mxcsr
from pcemu._core.undo cimport Lock, lock_clock, lock_fresh, lock_walk, will_store

cdef extern from "time.h" nogil:
    ctypedef long time_t
    struct timespec:
        time_t tv_sec
        long tv_nsec
    int clock_gettime(int, timespec*)
    enum:
        CLOCK_MONOTONIC

# ================================================================================================ lazy flags

cdef u32 cf_slow(u32 kind, u64 res, u64 src) noexcept nogil:
    """CF of {kind, result, source} (state.pxd explains the kinds)."""
    cdef u32 sz = kind & 3
    if kind < 16:
        if kind < 4:        # ADD: res < src at the operation's size
            if sz == 0:
                return <u8>res < <u8>src
            if sz == 1:
                return <u16>res < <u16>src
            return <u32>res < <u32>src if sz == 2 else res < src
        if kind < 8:        # SUB: a < b
            if sz == 0:
                return <u8>(res + src) < <u8>src
            if sz == 1:
                return <u16>(res + src) < <u16>src
            return <u32>(res + src) < <u32>src if sz == 2 else res + src < src
        if kind < 12:       # ADC with carry in: res <= src
            if sz == 0:
                return <u8>res <= <u8>src
            if sz == 1:
                return <u16>res <= <u16>src
            return <u32>res <= <u32>src if sz == 2 else res <= src
        if sz == 0:         # SBB with borrow in: a <= b, a = res + src + 1
            return <u8>(res + src + 1) <= <u8>src
        if sz == 1:
            return <u16>(res + src + 1) <= <u16>src
        return <u32>(res + src + 1) <= <u32>src if sz == 2 else res + src + 1 <= src
    if kind == K_LOGIC:
        return 0
    if K_SHL <= kind < K_SHR:
        return (src >> ((8 << sz) - 1)) & 1
    return src & 1          # INC, DEC, RES, EFL, SHR


cdef u32 of_slow(u32 kind, u64 res, u64 src) noexcept nogil:
    cdef u32 sz = kind & 3
    cdef u32 sign = (8 << sz) - 1
    cdef u64 a
    if kind < 4 or 8 <= kind < 12:          # ADD, ADC: both operands' sign differs from the result's
        a = res - src - (kind >= 8)
        return ((a ^ res) & (src ^ res)) >> sign & 1
    if kind < 16:                           # SUB, SBB
        a = res + src + (kind >= 12)
        return ((a ^ src) & (a ^ res)) >> sign & 1
    if kind < K_DEC:
        return res == <u64>((<s64>-1) << sign)
    if kind < K_LOGIC:
        return (res & ((<u64>2 << sign) - 1)) == (<u64>1 << sign) - 1
    if kind == K_LOGIC:
        return 0
    if kind >= K_SHR:
        return ((res >> sign) ^ (res >> (sign - 1))) & 1
    if kind >= K_SHL:
        return ((res ^ src) >> sign) & 1
    return (src >> 11) & 1


cdef u32 arith_flags(u32 kind, u64 res, u64 src) noexcept nogil:
    cdef u32 f, af
    if kind == K_EFL:
        return src & F_ARITH
    f = 0
    if res == 0:
        f |= F_ZF
    if res >> 63:
        f |= F_SF
    if parity8(res):
        f |= F_PF
    if kind == K_LOGIC:
        return f
    if kind == K_RES:
        return f | (src & (F_CF | F_AF | F_OF))
    f |= cf_slow(kind, res, src)
    f |= of_slow(kind, res, src) << 11
    if kind >= K_SHL:
        return f
    # AF: carry out of bit 3 = a ^ b ^ res at bit 4
    if kind < 4 or 8 <= kind < 12:
        af = <u32>((res - src - (kind >= 8)) ^ src ^ res)
    elif kind < 16:
        af = <u32>((res + src + (kind >= 12)) ^ src ^ res)
    elif kind < K_DEC:
        af = 16 if (res & 15) == 0 else 0
    else:
        af = 16 if (res & 15) == 15 else 0
    return f | (af & F_AF)


# =============================================================================================== exceptions

cdef inline void exc(Cpu* c, u32 vector, u32 err) noexcept nogil:
    c.exit = EXIT_FAULT
    c.exc_vector = vector
    c.exc_has_err = 1
    c.exc_err = err
    c.exc_soft = 0


# ================================================================================================= segments

cdef u64 ea_offset(Cpu* c, Op* op) noexcept nogil:
    cdef u64 off = c.r[op.base] + (c.r[op.index] << (op.scale & 3)) + <u64><s64>op.disp
    cdef u32 asz = (op.scale >> 2) & 3
    if op.scale & 16:
        off += <u64>1 << 32
    if asz == 3:
        return off
    return <u32>off if asz == 2 else <u16>off


cdef bint seg_fault(Cpu* c, int seg) noexcept nogil:
    exc(c, EXC_SS if seg == SS else EXC_GP, 0)
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
        exc(c, EXC_AC, 0)
        return 0
    return 1


cdef bint ea_general(Cpu* c, Op* op, int size, int access) noexcept nogil:
    return seg_lin(c, op.seg, ea_offset(c, op), size, access)


# ==================================================================================================== paging

cdef bint page_fault(Cpu* c, u64 va, int acc, bint user, u32 bits) noexcept nogil:
    """#PF with its error code: bits = P (1) and RSVD (8); W, U and I are added here."""
    cdef u32 err = bits
    if acc == ACC_WRITE:
        err |= 2
    if user:
        err |= 4
    if acc == ACC_EXEC and ((c.efer & EFER_NXE and c.cr4 & CR4_PAE) or c.cr4 & CR4_SMEP):
        err |= 16
    c.cr2_next = va
    exc(c, EXC_PF, err)
    return 0


cdef inline u64 pte_read(Cpu* c, u64 pa, int size) noexcept nogil:
    cdef Range* r = find_range(c.m, pa & c.a20_mask)
    cdef u8* p
    if r is NULL or r.kind > R_ROM or r.kind == R_UNMAPPED:
        return 0
    p = c.m.ram + r.off + ((pa & c.a20_mask) - r.start)
    return (<u64*>p)[0] if size == 8 else (<u32*>p)[0]


cdef inline void pte_set(Cpu* c, u64 pa, u64 bits) noexcept nogil:
    """Set A/D bits; a page table in ROM stays as it is."""
    cdef Range* r = find_range(c.m, pa & c.a20_mask)
    cdef u64 addr
    if r is NULL or r.kind != R_RAM:
        return
    addr = r.off + ((pa & c.a20_mask) - r.start)
    if c.m.pages[addr >> 12].bitmap:
        blocks.invalidate(c.m, addr, 1)
    if UNLIKELY(c.lock_pass):
        lock_walk(c, addr, bits)
    (<u8*>(c.m.ram + addr))[0] |= <u8>bits


cdef struct Walk:
    u64 pa              # physical address of the byte, A20 applied
    u64 page_size
    bint global_
    bint ok


cdef bint walk(Cpu* c, u64 va, int acc, bint user, bint implicit, bint side, Walk* w) noexcept nogil:
    """Translate va. side: set A/D bits and raise #PF; implicit: a descriptor-table access (SMAP ignores EFLAGS.AC)."""
    cdef u64 table, e, pa_e, addr_mask, rsvd, perms, size
    cdef u64 fresh[4]           # entries above the last level whose A bit is clear
    cdef u32 level, shift, i, n_fresh = 0
    cdef bint pae
    w.global_ = 0
    w.page_size = 4096
    if not c.cr0 & CR0_PG:
        w.pa = va & c.a20_mask
        return 1
    if c.efer & EFER_LMA:
        if <u64>(<s64>(va << 16) >> 16) != va:
            if side:
                exc(c, EXC_GP, 0)
            return 0
        level = 4
        table = c.cr3 & c.phys_mask & ~<u64>0xfff
        pae = 1
    elif c.cr4 & CR4_PAE:
        va = <u32>va
        e = c.pdpte[(va >> 30) & 3]
        if not e & 1:
            return page_fault(c, va, acc, user, 0) if side else 0
        table = e & c.phys_mask & ~<u64>0xfff
        level = 2
        pae = 1
    else:
        va = <u32>va
        table = c.cr3 & <u64>0xfffff000
        level = 2
        pae = 0
    perms = 7                   # U and W accumulate by and; bit 63 by or
    while True:
        if pae:
            shift = 12 + 9 * (level - 1)
            pa_e = table + ((va >> shift) & 511) * 8
            e = pte_read(c, pa_e, 8)
            rsvd = ~c.phys_mask & <u64>0x000ffffffffff000
            if not c.efer & EFER_NXE:
                rsvd |= <u64>1 << 63
            if not c.efer & EFER_LMA:
                rsvd |= <u64>0x7ff0000000000000
            addr_mask = c.phys_mask & ~<u64>0xfff & <u64>0x000fffffffffffff
        else:
            shift = 12 + 10 * (level - 1)
            pa_e = table + ((va >> shift) & 1023) * 4
            e = pte_read(c, pa_e, 4)
            rsvd = 0
            addr_mask = <u64>0xfffff000
        if not e & 1:
            return page_fault(c, va, acc, user, 0) if side else 0
        size = 4096
        if level == 4:
            rsvd |= 1 << 7
        elif level > 1 and e & 0x80 and (pae or c.cr4 & CR4_PSE):
            if pae:
                if level == 3 and not has_1g(c):
                    rsvd |= 1 << 7
                size = <u64>1 << shift
                rsvd |= (size - 1) & ~<u64>0x1fff       # below the page frame, above PAT
            else:
                size = 1 << 22
                rsvd |= 1 << 21                         # PSE-36: bits 13-20 are address bits 32-39
        if e & rsvd:
            return page_fault(c, va, acc, user, 9) if side else 0
        perms &= e | ~<u64>6
        perms |= e & (<u64>1 << 63)
        if size > 4096 or level == 1:
            break
        if not e & 0x20:
            fresh[n_fresh] = pa_e
            n_fresh += 1
        table = e & addr_mask
        level -= 1
    # ---- rights (SDM vol. 3, 4.6)
    if user:
        if not perms & 4 or acc == ACC_WRITE and not perms & 2 or acc == ACC_EXEC and perms >> 63:
            return page_fault(c, va, acc, user, 1) if side else 0
    else:
        if acc == ACC_WRITE and not perms & 2 and c.cr0 & CR0_WP:
            return page_fault(c, va, acc, user, 1) if side else 0
        if acc == ACC_EXEC:
            if perms >> 63 or perms & 4 and c.cr4 & CR4_SMEP:
                return page_fault(c, va, acc, user, 1) if side else 0
        elif perms & 4 and c.cr4 & CR4_SMAP and (implicit or not c.eflags & F_AC or c.cpl == 3):
            return page_fault(c, va, acc, user, 1) if side else 0
    if side:                    # a fault leaves no accessed bits behind
        for i in range(n_fresh):
            pte_set(c, fresh[i], 0x20)
        e = 0x20 | (0x40 if acc == ACC_WRITE else 0)
        if (pte_read(c, pa_e, 4) & e) != e:
            pte_set(c, pa_e, e)
    e = pte_read(c, pa_e, 8 if pae else 4)
    if pae:
        w.pa = (e & addr_mask & ~(size - 1)) | (va & (size - 1))
    elif size > 4096:
        w.pa = (e & <u64>0xffc00000) | ((e & 0x1fe000) << 19) | (va & (size - 1))
    else:
        w.pa = (e & addr_mask) | (va & 4095)
    w.pa &= c.a20_mask
    w.global_ = e & 0x100 and c.cr4 & CR4_PGE
    w.page_size = size
    return 1


cdef inline bint has_1g(Cpu* c) noexcept nogil:
    return (c.feat[FEAT_PDPE1GB >> 6] >> (FEAT_PDPE1GB & 63)) & 1


cdef bint translate(Cpu* c, u64 va, u64* pa) noexcept nogil:
    """Debug translation: no A/D update, no fault, any privilege."""
    cdef Walk w
    cdef u64 cr0 = c.cr0, cr4 = c.cr4
    cdef bint ok
    c.cr4 = cr4 & ~<u64>(CR4_SMAP | CR4_SMEP)
    ok = walk(c, va, ACC_READ, 0, 0, 0, &w)
    c.cr4 = cr4
    c.cr0 = cr0
    pa[0] = w.pa
    return ok


cdef bint load_pdptes(Cpu* c, u64 cr3) noexcept nogil:
    """The four PAE page-directory-pointer entries are loaded with CR3 (SDM vol. 3, 4.4.1)."""
    cdef u64 e[4]
    cdef int i
    for i in range(4):
        e[i] = pte_read(c, (cr3 & <u64>0xffffffe0) + i * 8, 8)
        if e[i] & 1 and e[i] & (<u64>0x1e6 | (~c.phys_mask & ~<u64>0xfff)):
            exc(c, EXC_GP, 0)
            return 0
    for i in range(4):
        c.pdpte[i] = e[i]
    return 1


# ======================================================================================================= TLB

cdef inline u64 l2_slot(u64 va) noexcept nogil:
    return (va >> 12) * <u64>0x9E3779B97F4A7C15 >> (64 - L2_BITS)


cdef void reset_tlb(Tlb* t) noexcept nogil:
    cdef u64 i
    for i in range(<u64>TLB_SIZE):
        t.e[i].tag = no_tag(i)
        t.e[i].host = NULL
        t.state[i] = 0
    t.n_used = 0
    t.n_kept = 0


cdef void init_tlbs(Cpu* c) noexcept nogil:
    cdef int i
    for i in range(N_MMU):
        reset_tlb(&c.tr[i])
        reset_tlb(&c.tw[i])
        reset_tlb(&c.tx[i])
    for i in range(1 << JC_BITS):
        c.jc[i].key = 0
        c.jc[i].block = NULL
    c.l2_gens[0] = 1
    c.l2_gens[1] = 1
    c.tlb_gen = 1
    bump_jc(c)


cdef inline bint clear_slots(Tlb* t, u16* slots, u32 n, u8 keep, u8 listed) noexcept nogil:
    """Empty slots but those of a state in `keep`; take them off their list. Was a valid one emptied?"""
    cdef u32 i, s
    cdef bint hit = 0
    for i in range(n):
        s = slots[i]
        t.state[s] &= ~listed
        if not t.state[s] & keep:
            hit |= t.e[s].tag != no_tag(s)
            t.e[s].tag = no_tag(s)
    return hit


cdef bint flush_one(Tlb* t, bint globals_too) noexcept nogil:
    """Was there anything valid to flush?"""
    cdef bint hit = clear_slots(t, t.used, t.n_used, 0 if globals_too else TS_GLOBAL, TS_LISTED)
    t.n_used = 0
    if globals_too:
        hit |= clear_slots(t, t.kept, t.n_kept, 0, TS_KEPT)
        t.n_kept = 0
    return hit


cdef u32 new_gen(Cpu* c) noexcept nogil:
    """A generation that no jump-cache entry has."""
    cdef int i
    c.jc_gen += 1
    if c.jc_gen == 0:
        for i in range(1 << JC_BITS):
            c.jc[i].key = 0
        c.jc_gen = 2
        c.jc_user = 1
        c.jc_kernel = 1
    return c.jc_gen


cdef void bump_user(Cpu* c) noexcept nogil:
    """Forget the jump-cache entries of CPL 3."""
    c.jc_user = new_gen(c)
    set_jckey(c)


cdef void bump_kernel(Cpu* c) noexcept nogil:
    c.jc_kernel = new_gen(c)
    set_jckey(c)


cdef void bump_jc(Cpu* c) noexcept nogil:
    """Forget every jump-cache entry: the virtual-to-physical mapping of code may have changed."""
    bump_user(c)
    bump_kernel(c)


cdef void flush_cw(Cpu* c) noexcept nogil:
    if c.cw_used:
        memset(c.cw, 0, sizeof(c.cw))
        c.cw_used = 0


cdef void flush_l2(Cpu* c, bint globals_too) noexcept nogil:
    cdef int i
    for i in range(2 if globals_too else 1):
        c.l2_gens[i] += 1
        if c.l2_gens[i] == 0:
            memset(c.l2, 0, sizeof(c.l2))
            c.l2_gens[i] = 1


cdef inline void end_run(Cpu* c) noexcept nogil:
    """A lockstep run goes no further than where translations are forgotten."""
    if UNLIKELY(c.lock_pass):
        (<Lock*>c.lock).flushed = 1
        c.leave_req = 1


cdef void empty_write_tlb(Cpu* c) noexcept nogil:
    cdef int i
    for i in range(N_MMU):
        flush_one(&c.tw[i], 1)


cdef void flush_tlb(Cpu* c, bint globals_too) noexcept nogil:
    """Forget translations. Those of global pages stay, and so do the jump-cache entries for code in them: a page in the jump
    cache is in the execute TLB, so a privilege level that loses no page there loses no entry here."""
    cdef int i
    cdef bint user, kernel
    flush_cw(c)
    flush_l2(c, globals_too)
    for i in range(N_MMU):
        flush_one(&c.tr[i], globals_too)
        flush_one(&c.tw[i], globals_too)
    user = flush_one(&c.tx[MMU_USER], globals_too)
    kernel = flush_one(&c.tx[MMU_KERNEL], globals_too)
    kernel |= flush_one(&c.tx[MMU_KERNEL_AC], globals_too)
    if globals_too:
        c.tlb_gen += 1
        c.large_pages = 0
        memset(c.large_bloom, 0, sizeof(c.large_bloom))
    if user or globals_too:
        bump_user(c)
    if kernel or globals_too:
        bump_kernel(c)
    c.n_flush += 1
    end_run(c)


cdef bint drop_region(Tlb* t, u16* slots, u32 n, u64 va, u64 size) noexcept nogil:
    cdef u32 i, s
    cdef bint hit = 0
    for i in range(n):
        s = slots[i]
        if (t.e[s].tag ^ va) < size and t.e[s].tag != no_tag(s):
            t.e[s].tag = no_tag(s)
            hit = 1
    return hit


cdef bint drop(Tlb* t, u32 s, u64 va, u64 size) noexcept nogil:
    """Drop the entries of [va & -size, +size), of which s is the first one's slot; was there any?"""
    if size == 4096:
        if t.e[s].tag == va & ~<u64>4095:
            t.e[s].tag = no_tag(s)
            return 1
        return 0
    return drop_region(t, t.used, t.n_used, va, size) | drop_region(t, t.kept, t.n_kept, va, size)


cdef void invlpg(Cpu* c, u64 va) noexcept nogil:
    """Drop va's page. Large pages sit in the TLB as 4 KiB fragments: where one was filled the whole region goes."""
    cdef int i
    cdef u64 size = 4096
    cdef u64 h
    cdef L2Entry* e
    if not c.efer & EFER_LMA:
        va = <u32>va
    h = (va >> 21) * <u64>0x9E3779B97F4A7C15 >> 56
    if c.large_bloom[h >> 6] >> (h & 63) & 1:
        size = <u64>1 << (30 if c.large_pages & 2 else 22)
        va &= ~(size - 1)
        flush_l2(c, 1)
    else:
        for i in range(N_MMU):
            e = &c.l2[i][l2_slot(va)]
            if e.tag == va & ~<u64>4095:
                e.flags = 0
    for i in range(N_MMU):
        drop(&c.tr[i], (va >> 12) & TLB_MASK, va, size)
        drop(&c.tw[i], (va >> 12) & TLB_MASK, va, size)
        if drop(&c.tx[i], tx_slot(va), va, size):
            if i == MMU_USER:
                bump_user(c)
            else:
                bump_kernel(c)
    flush_cw(c)
    end_run(c)


cdef void put(Tlb* t, u32 s, u64 page, u8* host_page, bint global_) noexcept nogil:
    if global_:
        if not t.state[s] & TS_KEPT:
            t.kept[t.n_kept] = <u16>s
            t.n_kept += 1
        t.state[s] |= TS_KEPT | TS_GLOBAL
    else:
        if not t.state[s] & TS_LISTED:
            t.used[t.n_used] = <u16>s
            t.n_used += 1
        t.state[s] = (t.state[s] | TS_LISTED) & ~<u8>TS_GLOBAL
    t.e[s].host = host_page
    t.e[s].tag = page


cdef void put_code(Cpu* c, u32 mmu, u64 page, u8* host_page, bint global_) noexcept nogil:
    cdef u32 s = tx_slot(page)
    cdef Tlb* t = &c.tx[mmu]
    if t.e[s].tag != no_tag(s) and t.e[s].tag != page:
        if mmu == MMU_USER:
            bump_user(c)
        else:
            bump_kernel(c)
    put(t, s, page, host_page, global_)


cdef void fill(Cpu* c, u32 mmu, u64 va, u8* host_page, Walk* w, int acc) noexcept nogil:
    """Enter the page of va, as just walked, for this kind of access at an mmu index."""
    cdef u64 page = va & ~<u64>4095
    cdef L2Entry* e
    cdef u64 h
    if w.page_size > 4096:
        h = (page >> 21) * <u64>0x9E3779B97F4A7C15 >> 56
        c.large_bloom[h >> 6] |= <u64>1 << (h & 63)
        c.large_pages |= 2 if w.page_size > 1 << 22 else 1
    c.n_tlb_fill += 1
    if UNLIKELY(c.lock_pass):
        lock_fresh(c, page)
        if acc == ACC_WRITE:
            will_store(c, host_page, 1)
    if acc == ACC_EXEC:
        put_code(c, mmu, page, host_page, w.global_)
        return
    put(&c.tr[mmu] if acc == ACC_READ else &c.tw[mmu], (va >> 12) & TLB_MASK, page, host_page, w.global_)
    e = &c.l2[mmu][l2_slot(va)]
    if e.tag != page or e.gen != c.l2_gens[e.flags & L2_GLOBAL] or e.host != host_page or <bint>(e.flags & L2_GLOBAL) != w.global_:
        e.flags = 0
    e.tag = page
    e.host = host_page
    e.gen = c.l2_gens[w.global_]
    e.flags |= (L2_READ if acc == ACC_READ else L2_WRITE) | (L2_GLOBAL if w.global_ else 0)


cdef inline u8* l2_read(Cpu* c, u64 va, int size) noexcept nogil:
    """What the first level has lost to a page with the same slot: host address of va for reading, now in the first level
    again. NULL: not inside a page that the second level knows."""
    cdef L2Entry* e = &c.l2[c.mmu][l2_slot(va)]
    if va - e.tag > <u64>(4096 - size) or not e.flags & L2_READ or e.gen != c.l2_gens[e.flags & L2_GLOBAL]:
        return NULL
    put(&c.tr[c.mmu], (va >> 12) & TLB_MASK, e.tag, e.host, e.flags & L2_GLOBAL)
    c.n_l2_hit += 1
    return e.host + (va - e.tag)


cdef inline u8* l2_write(Cpu* c, u64 va, int size) noexcept nogil:
    """The same for writing. Pages that have got code since are for the slow path: protect_code() does not look here."""
    cdef L2Entry* e = &c.l2[c.mmu][l2_slot(va)]
    cdef PageInfo* pg
    if va - e.tag > <u64>(4096 - size) or not e.flags & L2_WRITE or e.gen != c.l2_gens[e.flags & L2_GLOBAL]:
        return NULL
    pg = &c.m.pages[<u64>(e.host - c.m.ram) >> 12]
    if pg.bitmap or pg.smc:
        return NULL
    will_store(c, e.host, 1)
    put(&c.tw[c.mmu], (va >> 12) & TLB_MASK, e.tag, e.host, e.flags & L2_GLOBAL)
    c.n_l2_hit += 1
    return e.host + (va - e.tag)


cdef inline void drop_host(Tlb* t, u16* slots, u32 n, u8* host) noexcept nogil:
    cdef u32 i, s
    for i in range(n):
        s = slots[i]
        if t.e[s].host == host:
            t.e[s].tag = no_tag(s)
            t.e[s].host = NULL


cdef void protect_code(Cpu* c, u64 ram_page) noexcept nogil:
    """Stores to this page (offset in host RAM space) must come to st_slow() from now on."""
    cdef u8* host = c.m.ram + ram_page
    cdef int i
    for i in range(N_MMU):
        drop_host(&c.tw[i], c.tw[i].used, c.tw[i].n_used, host)
        drop_host(&c.tw[i], c.tw[i].kept, c.tw[i].n_kept, host)


cdef inline Range* find_range(Mach* m, u64 pa) noexcept nogil:
    """The range that holds pa, or NULL."""
    cdef u32 lo = 0, hi = m.n_ranges, mid
    cdef Range* r
    if m.last_range is not NULL and m.last_range.start <= pa <= m.last_range.end:
        return m.last_range
    while lo < hi:
        mid = (lo + hi) >> 1
        r = &m.ranges[mid]
        if pa < r.start:
            hi = mid
        elif pa > r.end:
            lo = mid + 1
        else:
            if r.kind <= R_ROM:
                m.last_range = r
            return r
    return NULL


cdef inline u8* ram_page(Mach* m, u64 pa, int acc, Range** out) noexcept nogil:
    """Host address of the page of pa when the whole page is plain memory for this access, else NULL."""
    cdef Range* r = find_range(m, pa)
    cdef u64 page = pa & ~<u64>4095
    out[0] = r
    if r is NULL or r.kind == R_MMIO or r.kind == R_UNMAPPED or acc == ACC_WRITE and r.kind != R_RAM:
        return NULL
    if r.start > page or r.end < page + 4095:
        return NULL
    return m.ram + r.off + (page - r.start)


cdef inline bint watching(Cpu* c) noexcept nogil:
    """Is any memory watched, by the guest or by a debugger?"""
    return c.dr[7] & 0xff or dbg(c).n_watch


cdef bint watched(Cpu* c, u64 va, u64 size) noexcept nogil:
    """Does a data breakpoint of DR7, or a debugger's, touch [va, va+size)?  (execution breakpoints are the engine's)"""
    cdef int i
    cdef u64 n
    if dbg(c).n_watch and watch_at(c, va, size, WATCH_READ | WATCH_WRITE):
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
    if hit and not dbg(c).hit:
        dbg(c).hit = hit
        c.leave_req = 1


cdef void note_watch(Cpu* c, u64 va, u64 size, int acc) noexcept nogil:
    """Data breakpoints are traps: record DR6 bits, the engine delivers #DB after the instruction (SDM vol. 3, 17.3.1.2)."""
    cdef int i
    cdef u64 n
    cdef u32 rw
    if dbg(c).n_watch:
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


# ================================================================================== slow loads and stores

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
        exc(c, EXC_GP, 0)
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
    """Does a store at addr (host RAM space) change the block that is running?"""
    cdef Block* b = c.cur
    return b is not NULL and b.n != N_DEAD and b.addr < addr + size and addr < b.addr + b.nbytes


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
    if c.m.pages[addr >> 12].bitmap == 0 or not blocks.has_code(c.m, addr, size):
        return 1
    if not c.single and op is not NULL and in_running(c, addr, size):
        c.exit = EXIT_SINGLE
        return 0
    blocks.invalidate(c.m, addr, size)
    return 1


cdef bint st_slow_bytes(Cpu* c, Op* op, u64 va, const u8* src, int size) noexcept nogil:
    cdef u64 pa, pa2, addr
    cdef u32 n
    cdef TlbEntry* e
    cdef PageInfo* pg
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
        e = &c.cw[c.mmu][(va >> 12) & CW_MASK]
        if e.tag == va & ~<u64>4095 and e.host is not NULL:
            addr = <u64>(e.host - c.m.ram) + (va & 4095)
            pg = &c.m.pages[addr >> 12]
            if pg.bitmap:
                if blocks.has_code(c.m, addr, size):
                    if not c.single and op is not NULL and in_running(c, addr, size):
                        c.exit = EXIT_SINGLE
                        return 0
                    blocks.invalidate(c.m, addr, size)
            elif pg.smc:
                pg.smc -= 1
            else:
                e.host = NULL               # an ordinary page again: the walk below fills the TLB
            will_store(c, c.m.ram + addr, size)
            memcpy(c.m.ram + addr, src, size)
            return 1
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
        if dbg(c).n_watch:
            note_debugger(c, va, size, WATCH_READ)
        note_watch(c, va, size, ACC_WRITE)
    n = 4096 - (va & 4095)
    if n > <u32>size:
        n = size
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


cdef bint probe_at(Cpu* c, Op* op, u64 va, int size, int acc, u32 cpl) noexcept nogil:
    cdef u64 pa, first, last
    va = wrap(c, va)
    first = va
    last = wrap(c, va + size - 1)
    if c.mode & M_CODE64 and <u64>(<s64>(last << 16) >> 16) != last:
        exc(c, EXC_GP, 0)
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
    if dbg(c).n_watch:
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


# ====================================================================================== mode of execution

cdef inline bint flat_data(Seg* s) noexcept nogil:
    """Base 0, limit 4 GiB, present, writable, expand-up data."""
    return s.base == 0 and s.limit == <u32>0xffffffff and (s.flags & (DESC_P | DESC_CODE | DESC_CE | DESC_RW)) == (DESC_P | DESC_RW)


cdef inline bint code_breakpoints(Cpu* c) noexcept nogil:
    cdef int i
    for i in range(4):
        if c.dr[7] >> (2 * i) & 3 and not c.dr[7] >> (16 + 4 * i) & 3:
            return 1
    return 0


cdef void update_mode(Cpu* c) noexcept nogil:
    """Recompute the mode bits of block keys, the mmu index and what depends on them."""
    cdef u32 m = c.cpl << M_CPL_SHIFT
    cdef Seg* cs = &c.seg[CS]
    cdef u32 idx
    if c.cr0 & CR0_PE:
        m |= M_PE
        if c.eflags & F_VM:
            m |= M_VM
    if c.efer & EFER_LMA:
        m |= M_LMA
        if cs.flags & DESC_L:
            m |= M_CODE64
    if not m & M_CODE64:
        if cs.flags & DESC_B:
            m |= M_CODE32
        if cs.limit != <u32>0xffffffff:
            m |= M_LIM
        if c.seg[SS].flags & DESC_B:
            m |= M_SS32
        if (flat_data(&c.seg[DS]) and flat_data(&c.seg[ES]) and flat_data(&c.seg[SS]) and cs.base == 0
                and cs.limit == <u32>0xffffffff and cs.flags & DESC_RW and m & M_PE and not m & M_VM):
            m |= M_FLAT
    if c.cr0 & CR0_EM:
        m |= M_EM
    if c.cr0 & CR0_TS:
        m |= M_TS
    if c.cr0 & CR0_MP:
        m |= M_MP
    if c.cr0 & CR0_NE:
        m |= M_NE
    if c.cr4 & CR4_OSFXSR:
        m |= M_OSFXSR
    if c.cr4 & CR4_OSXSAVE:
        m |= M_OSXSAVE
        if (c.xcr0 & 6) == 6:
            m |= M_AVX
    if c.eflags & F_TF or (c.dr[7] & 0xff and code_breakpoints(c)):
        m |= M_TF
    if c.eflags & F_AC and c.cr0 & CR0_AM and c.cpl == 3:
        m |= M_AC
    if not fp_quiet(c):
        m |= M_FPX
    if c.cpl == 3:
        idx = MMU_USER
    elif c.cr4 & CR4_SMAP and not c.eflags & F_AC:
        idx = MMU_KERNEL
    else:
        idx = MMU_KERNEL_AC
    c.mode = m | idx << M_MMU_SHIFT
    c.mmu = idx
    c.tlb_r = c.tr[idx].e
    c.tlb_w = c.tw[idx].e
    c.tlb_x = c.tx[idx].e
    set_jckey(c)


# ======================================================================================== physical memory

cdef bint phys_read(Cpu* c, u64 pa, u8* buf, u64 size) noexcept nogil:
    """Any physical bytes; false: a device failed (EXIT_CALLBACK)."""
    return mach_read(c.m, c, pa, buf, size)


cdef bint phys_write(Cpu* c, u64 pa, const u8* buf, u64 size) noexcept nogil:
    return mach_write(c.m, c, pa, buf, size, 0)


cdef bint mach_read(Mach* m, Cpu* c, u64 pa, u8* buf, u64 size) noexcept nogil:
    cdef Range* r
    cdef u64 n
    while size:
        r = find_range(m, pa)
        if r is NULL:
            n = gap(m, pa, size)
            memset(buf, 0xff, n)
        else:
            n = r.end - pa + 1
            if n > size or n == 0:
                n = size
            if r.kind == R_RAM or r.kind == R_ROM:
                memcpy(buf, m.ram + r.off + (pa - r.start), n)
            elif r.kind == R_UNMAPPED:
                memset(buf, 0xff, n)
            else:
                n = mmio_size(pa, n)
                if not mmio_read(m, c, r, pa, buf, <int>n):
                    return 0
        pa += n
        buf += n
        size -= n
    return 1


cdef bint mach_write(Mach* m, Cpu* c, u64 pa, const u8* buf, u64 size, bint rom_too) noexcept nogil:
    cdef Range* r
    cdef u64 n, addr
    while size:
        r = find_range(m, pa)
        if r is NULL:
            n = gap(m, pa, size)
        else:
            n = r.end - pa + 1
            if n > size or n == 0:
                n = size
            if r.kind == R_RAM or r.kind == R_ROM and rom_too:
                addr = r.off + (pa - r.start)
                if c is NULL:
                    blocks.invalidate(m, addr, n)
                else:
                    will_store(c, m.ram + addr, n)
                memcpy(m.ram + addr, buf, n)
            elif r.kind == R_MMIO:
                n = mmio_size(pa, n)
                if not mmio_write(m, c, r, pa, buf, <int>n):
                    return 0
        pa += n
        buf += n
        size -= n
    return 1


cdef u64 gap(Mach* m, u64 pa, u64 size) noexcept nogil:
    """Unmapped bytes from pa on, up to size."""
    cdef u32 i
    for i in range(m.n_ranges):
        if m.ranges[i].start > pa:
            return size if m.ranges[i].start - pa > size else m.ranges[i].start - pa
    return size


cdef inline u64 mmio_size(u64 pa, u64 n) noexcept nogil:
    """The largest power of two up to 8 that the rest of an access can be done in."""
    if n >= 8:
        return 8
    return 4 if n >= 4 else 2 if n >= 2 else 1


cdef bint apart(Cpu* c) noexcept nogil:
    """Devices hear nothing of lockstep runs: an instruction that accesses one runs alone, between two of them."""
    c.exit = EXIT_SINGLE
    return 0


cdef inline void before_callback(Cpu* c) noexcept nogil:
    """Python runs with the host's own rounding, and its arithmetic sets none of the guest's sticky flags."""
    c.in_callback = 1
    if c.host_fp:
        get_mxcsr(c)
        if c.mxcsr & MXCSR_CONTROL:
            fp_leave(c)
            c.fp_left = 1


cdef inline void after_callback(Cpu* c) noexcept nogil:
    c.in_callback = 0
    if not c.clk.icount:
        c.leave_req = 1             # the call took host time, which is the guest's: look at the deadline
    if c.fp_left:
        c.fp_left = 0
        fp_enter(c)
    elif c.host_fp:
        set_mxcsr(c, c.mxcsr)


cdef bint mmio_read(Mach* m, Cpu* c, Range* r, u64 pa, u8* buf, int n) noexcept with gil:
    cdef Memory mem = <Memory>m.pymem
    cdef u64 v
    if c is not NULL and c.lock_pass:
        return apart(c)
    if c is not NULL:
        before_callback(c)
    try:
        v = <u64>(mem.targets[r.target][0](r.off + (pa - r.start), n) & 0xffffffffffffffff)
        memcpy(buf, &v, n)
        return 1
    except BaseException as e:
        mem.error = e
        if c is not NULL:
            c.exit = EXIT_CALLBACK
        return 0
    finally:
        if c is not NULL:
            after_callback(c)


cdef bint mmio_write(Mach* m, Cpu* c, Range* r, u64 pa, const u8* buf, int n) noexcept with gil:
    cdef Memory mem = <Memory>m.pymem
    cdef u64 v = 0
    if c is not NULL and c.lock_pass:
        return apart(c)
    memcpy(&v, buf, n)
    if c is not NULL:
        before_callback(c)
    try:
        mem.targets[r.target][1](r.off + (pa - r.start), n, v)
        return 1
    except BaseException as e:
        mem.error = e
        if c is not NULL:
            c.exit = EXIT_CALLBACK
        return 0
    finally:
        if c is not NULL:
            after_callback(c)


cdef class Memory:
    """Guest-physical memory: host blocks carved out of one memfd mapping, and the flattened map over them."""

    def __cinit__(self, u64 reserve=<u64>1 << 38, u64 tb_size=<u64>24 << 20):
        self.m = <Mach*>calloc(1, sizeof(Mach))
        if self.m is NULL:
            raise MemoryError()
        self.fd = -1

    def __init__(self, u64 reserve=<u64>1 << 38, u64 tb_size=<u64>24 << 20):
        """reserve: bytes of address space for all blocks together (sparse); tb_size: bytes for translated blocks (sparse)."""
        self.fd = os.memfd_create("pcemu-ram", getattr(os, "MFD_CLOEXEC", 1))
        self.targets = []
        self.blocks = []
        self.cpus = []
        self.m.ram = <u8*>sys_mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if self.m.ram == <u8*>MAP_FAILED:
            self.m.ram = NULL
            raise MemoryError("cannot reserve address space for guest RAM")
        self.m.ram_size = reserve
        self.m.pymem = <void*>self
        if not blocks.init_blocks(self.m, tb_size):
            raise MemoryError("cannot reserve memory for translated blocks")

    def __dealloc__(self):
        if self.m is not NULL:
            if self.m.ram is not NULL:
                sys_munmap(self.m.ram, self.m.ram_size)
            blocks.free_blocks(self.m)
            free(self.m.pages)
            free(self.m.ranges)
            free(self.m)
        if self.fd >= 0:
            sys_close(self.fd)          # at the interpreter's end the os module may be gone

    def alloc(self, str name, u64 size):
        """A zero-filled, page-aligned host block for RAM, ROM or video memory; returns its offset in host RAM space."""
        cdef u64 off = self.m.ram_used
        cdef u64 n = (size + 4095) & ~<u64>4095
        cdef PageInfo* pages
        if off + n > self.m.ram_size:
            raise MemoryError(f"{name}: {size} bytes do not fit into the host address space reserved for guest RAM")
        os.ftruncate(self.fd, off + n)
        if n and sys_mmap(self.m.ram + off, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self.fd, off) == MAP_FAILED:
            raise MemoryError(f"{name}: cannot map {size} bytes")
        pages = <PageInfo*>calloc((off + n) >> 12, sizeof(PageInfo))
        if pages is NULL:
            raise MemoryError(name)
        if self.m.pages is not NULL:
            memcpy(pages, self.m.pages, (off >> 12) * sizeof(PageInfo))
            free(self.m.pages)
        self.m.pages = pages
        self.m.ram_used = off + n
        self.blocks.append((name, off, size))
        return off

    @property
    def host_blocks(self):
        """(name, offset, size) of every alloc()."""
        return list(self.blocks)

    @property
    def ram_fd(self):
        return self.fd

    def set_map(self, list ranges):
        """The flattened physical map: (start, size, 'ram'|'rom'|'mmio', target, offset), sorted, without overlaps.

        ram and rom: target is an offset from alloc(); mmio: target has read(offset, size) and write(offset, size, value).
        """
        cdef u32 n = len(ranges), i
        cdef Range* r = <Range*>calloc(n + 1, sizeof(Range))
        cdef u64 last = 0
        cdef list targets = []
        if r is NULL:
            raise MemoryError()
        for i, (start, size, kind, target, offset) in enumerate(ranges):
            if size <= 0 or (i and start <= last):
                free(r)
                raise ValueError(f"physical map: range at {start:#x} is empty or overlaps the one before")
            r[i].start = start
            r[i].end = last = start + size - 1
            if kind == "mmio":
                r[i].kind = R_MMIO
                r[i].off = offset
                r[i].target = len(targets)
                targets.append((target.read, target.write))
            else:
                r[i].kind = R_RAM if kind == "ram" else R_ROM
                r[i].off = target + offset
                if r[i].off + size > self.m.ram_used:
                    free(r)
                    raise ValueError(f"physical map: {kind} at {start:#x} reaches beyond its block")
        free(self.m.ranges)
        self.m.last_range = NULL
        self.m.ranges = r
        self.m.n_ranges = n
        self.targets = targets
        self.m.map_gen += 1
        for ptr in self.cpus:
            flush_tlb(<Cpu*><size_t>ptr, True)
            (<Cpu*><size_t>ptr).leave_req = 1

    def read(self, u64 paddr, Py_ssize_t n):
        """n bytes of physical memory as a bus master sees them (device ranges are read)."""
        cdef bytes out = bytes(n)
        if not mach_read(self.m, NULL, paddr, <u8*><char*>out, n):
            self.reraise()
        return out

    def write(self, u64 paddr, data, bint debug=False):
        """Store bytes as a bus master; translated code there is dropped. ROM is written only with debug=True."""
        cdef const unsigned char[:] view = data
        if view.shape[0] and not mach_write(self.m, NULL, paddr, &view[0], view.shape[0], debug):
            self.reraise()

    def ld(self, u64 paddr, int size):
        """Little-endian load of 1, 2, 4 or 8 bytes."""
        cdef u64 v = 0
        if not mach_read(self.m, NULL, paddr, <u8*>&v, size):
            self.reraise()
        return v

    def st(self, u64 paddr, int size, value):
        """Little-endian store of 1, 2, 4 or 8 bytes."""
        cdef u64 v = <u64>(value & 0xffffffffffffffff)
        if not mach_write(self.m, NULL, paddr, <u8*>&v, size, 0):
            self.reraise()

    cdef reraise(self):
        e, self.error = self.error, None
        raise e

    def block_view(self, u64 offset, u64 size):
        """Raw writable view of part of an alloc()ed block; for loading before the guest runs."""
        if offset + size > self.m.ram_used:
            raise ValueError("beyond the end of host RAM space")
        if size == 0:
            return memoryview(bytearray())
        return PyMemoryView_FromMemory(<char*>self.m.ram + offset, size, 0x200)

    def drop_code(self):
        """Forget every translated block (tests, tb-size experiments). Only while no CPU runs."""
        blocks.flush_all(self.m)
        for ptr in self.cpus:
            bump_jc(<Cpu*><size_t>ptr)

    def stats(self):
        return {"blocks": self.m.n_blocks, "invalidated": self.m.n_invalidated, "arena_used": self.m.arena_used,
                "arena_size": self.m.arena_size, "flush_all": self.m.n_flush_all, "map_generation": self.m.map_gen}


cdef extern from "sys/mman.h" nogil:
    void* sys_mmap "mmap"(void*, size_t, int, int, int, long)
    int sys_munmap "munmap"(void*, size_t)
    enum:
        PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_SHARED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_FIXED
    void* MAP_FAILED

cdef extern from "unistd.h" nogil:
    int sys_close "close"(int)

cdef extern from "Python.h":
    object PyMemoryView_FromMemory(char*, Py_ssize_t, int)


# ===================================================================================================== ports

cdef class IoSpace:
    """The 64 KiB of I/O ports."""

    def __init__(self):
        self.reads = [None]
        self.writes = [None]
        self.n = 1

    def set_map(self, list ranges):
        """(port, count, handler, offset), not overlapping."""
        self.reads = [None]
        self.writes = [None]
        memset(self.index, 0, sizeof(self.index))
        for port, count, handler, offset in ranges:
            i = len(self.reads)
            if i >= 4096:
                raise ValueError("too many port ranges")
            self.first[i] = port
            self.offset[i] = offset
            self.reads.append(handler.read)
            self.writes.append(handler.write)
            for p in range(port, min(port + count, 65536)):
                self.index[p] = i

    cdef u64 read(self, u32 port, int size):
        cdef u32 i = self.index[port & 0xffff]
        cdef u64 v = 0
        cdef int k
        if size > 1 and (port + size > 0x10000 or self.index[port + size - 1] != i):
            for k in range(size):
                v |= (self.read((port + k) & 0xffff, 1) & 0xff) << (8 * k)
            return v
        if i == 0:
            return (<u64>1 << (8 * size)) - 1
        return <u64>(self.reads[i](self.offset[i] + port - self.first[i], size) & 0xffffffff)

    cdef write(self, u32 port, int size, u64 v):
        cdef u32 i = self.index[port & 0xffff]
        cdef int k
        if size > 1 and (port + size > 0x10000 or self.index[port + size - 1] != i):
            for k in range(size):
                self.write((port + k) & 0xffff, 1, (v >> (8 * k)) & 0xff)
            return
        if i:
            self.writes[i](self.offset[i] + port - self.first[i], size, v)

    def inp(self, u32 port, int size):
        """Read a port (monitor, tests)."""
        return self.read(port & 0xffff, size)

    def outp(self, u32 port, int size, u64 value):
        self.write(port & 0xffff, size, value)


cdef bint port_in(Cpu* c, u32 port, int size, u64* out) noexcept with gil:
    cdef IoSpace io = <IoSpace>c.io
    if c.lock_pass:
        return apart(c)
    before_callback(c)
    try:
        out[0] = io.read(port, size)
        return 1
    except BaseException as e:
        (<Memory>c.m.pymem).error = e
        c.exit = EXIT_CALLBACK
        return 0
    finally:
        after_callback(c)


cdef bint port_out(Cpu* c, u32 port, int size, u64 v) noexcept with gil:
    cdef IoSpace io = <IoSpace>c.io
    if c.lock_pass:
        return apart(c)
    before_callback(c)
    try:
        io.write(port, size, v)
        return 1
    except BaseException as e:
        (<Memory>c.m.pymem).error = e
        c.exit = EXIT_CALLBACK
        return 0
    finally:
        after_callback(c)


cdef bint io_allowed(Cpu* c, u32 port, int size) noexcept nogil:
    """IOPL, or the I/O permission bitmap of a 32-bit TSS (SDM vol. 1, 18.5.2)."""
    cdef u64 base, bits
    if not c.cr0 & CR0_PE or not (c.eflags & F_VM) and c.cpl <= (c.eflags >> 12) & 3:
        return 1
    if (c.seg[TR].flags >> 8 & 15) in (9, 11) and c.seg[TR].limit >= 103:
        if not sys_ld(c, c.seg[TR].base + 102, 2, &base):
            return 0
        if base + (port >> 3) + 1 <= c.seg[TR].limit:
            if not sys_ld(c, c.seg[TR].base + base + (port >> 3), 2, &bits):
                return 0
            if not (bits >> (port & 7)) & ((1 << size) - 1):
                return 1
    exc(c, EXC_GP, 0)
    return 0


# ====================================================================================================== time

cdef u64 icount_now(Cpu* c) noexcept nogil:
    return c.icount_end - <u64>c.budget - 1


cdef s64 host_ns() noexcept nogil:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return <s64>ts.tv_sec * 1000000000 + ts.tv_nsec


cdef s64 clock_ns(Cpu* c) noexcept nogil:
    """Virtual time in ns at the running instruction (or between instructions, outside one)."""
    cdef ClockState* k = c.clk
    if k.icount:
        return <s64>((c.icount_end - <u64>c.budget - c.in_insn) << k.shift) + k.warp
    return host_ns() - k.offset if k.running else k.frozen


cdef bint look_at_clock(ClockState* k, u64 tsc) noexcept nogil:
    """Note what the host's clock says at its counter's value `tsc`, just read. False if that took too long to be worth
    anything (the host ran something else meanwhile)."""
    cdef s64 ns = host_ns()
    if host_tsc() - tsc > 4000:
        return 0
    if tsc - k.base_tsc > <u64>1 << 32 or ns - k.base_ns > 1000000000:
        k.base_tsc = k.anchor_tsc
        k.base_ns = k.anchor_ns
    if k.base_tsc and tsc - k.base_tsc < <u64>1 << 34 and ns - k.base_ns > (100000000 if k.rate else 1000000):
        k.rate = <u64>((ns - k.base_ns) << 24) // ((tsc - k.base_tsc) >> 8)
    k.anchor_tsc = tsc
    k.anchor_ns = ns
    return 1


cdef s64 quick_ns(ClockState* k) noexcept nogil:
    """The host's clock by its time-stamp counter, whose rate is measured as we go: half the cost. It is never further than
    a millisecond from a look at the clock itself."""
    cdef u64 tsc = host_tsc()
    if not k.rate or tsc - k.anchor_tsc > QUICK_SPAN:
        if not look_at_clock(k, tsc) or not k.rate:
            return host_ns()
    return k.anchor_ns + <s64>((tsc - k.anchor_tsc) * k.rate >> 32)


cdef s64 guest_ns(ClockState* k, s64 ns) noexcept nogil:
    """Host-driven time as the guest may see it when ns have passed. Where the host has stalled us, not much more than the
    next timer's time: a guest that watches a clock while it waits for that timer must not find it overdue by ages. And never
    backward."""
    cdef s64 most
    if ns - k.deadline > CATCH_UP:
        most = k.deadline + CATCH_UP
        if most < k.seen:
            most = k.seen
        k.offset += ns - most
        ns = most
    if ns > k.seen:
        k.seen = ns
    return k.seen


cdef u64 read_tsc(Cpu* c) noexcept nogil:
    """The time-stamp counter runs at 1 GHz: virtual ns, plus what the guest wrote."""
    cdef ClockState* k = c.clk
    if k.icount or not k.running:
        k.seen = clock_ns(c)
    else:
        guest_ns(k, (quick_ns(k) if k.quick else host_ns()) - k.offset)
    return (<u64>k.seen if LIKELY(not c.lock_pass) else lock_clock(c, <u64>k.seen)) + c.tsc_offset


cdef u64 next_random(Cpu* c) noexcept nogil:
    """splitmix64 from the machine's seed."""
    cdef u64 z
    c.rng += <u64>0x9E3779B97F4A7C15
    z = c.rng
    z = (z ^ (z >> 30)) * <u64>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <u64>0x94D049BB133111EB
    return z ^ (z >> 31)


include "gen/features.pxi"
