"""The TLB and what hangs on it: fills, flushes, INVLPG, the second level, the jump cache's generations."""
from libc.string cimport memset

from pcemu._core.state cimport *
from pcemu._core.paging cimport Walk
from pcemu._core.undo cimport Lock, lock_fresh, will_store


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


cdef inline u32 lost_bit(u64 page) noexcept nogil:
    return <u32>((page >> 12) * <u64>0x9E3779B97F4A7C15 >> 54)


cdef inline void lose(Lost* x, u64 page, bint global_) noexcept nogil:
    """The page leaves the execute TLB and not the jump cache."""
    cdef u32 h = lost_bit(page)
    x.filter[h >> 6] |= <u64>1 << (h & 63)
    x.any = 1
    if not global_:
        x.local = 1


cdef inline bint is_lost(Lost* x, u64 va, u64 size) noexcept nogil:
    """Has one of the pages of [va, va + size) been lost? (Perhaps.)"""
    cdef u32 h = lost_bit(va)
    return x.any and (size != 4096 or x.filter[h >> 6] >> (h & 63) & 1)


cdef inline void find_again(Lost* x) noexcept nogil:
    if x.any:
        memset(x, 0, sizeof(Lost))


cdef void bump_user(Cpu* c) noexcept nogil:
    """Forget the jump-cache entries of CPL 3."""
    find_again(&c.lost[LOST_USER])
    c.jc_user = new_gen(c)
    set_jckey(c)


cdef void bump_kernel(Cpu* c) noexcept nogil:
    find_again(&c.lost[LOST_KERNEL])
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
    cache is in the execute TLB or among the lost, so a privilege level that loses no page there loses no entry here."""
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
    if user or globals_too or c.lost[LOST_USER].local:
        bump_user(c)
    if kernel or globals_too or c.lost[LOST_KERNEL].local:
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
    if is_lost(&c.lost[LOST_USER], va, size):
        bump_user(c)
    if is_lost(&c.lost[LOST_KERNEL], va, size):
        bump_kernel(c)
    flush_cw(c)
    end_run(c)


cdef void put_code(Cpu* c, u32 mmu, u64 page, u8* host_page, bint global_) noexcept nogil:
    cdef u32 s = tx_slot(page)
    cdef Tlb* t = &c.tx[mmu]
    if t.e[s].tag != no_tag(s) and t.e[s].tag != page:
        lose(&c.lost[LOST_USER if mmu == MMU_USER else LOST_KERNEL], t.e[s].tag, (t.state[s] & TS_GLOBAL) != 0)
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
    e.flags |= L2_READ | (L2_WRITE if acc == ACC_WRITE else 0) | (L2_GLOBAL if w.global_ else 0)


cdef u8* refill(Cpu* c, u64 va, u64 bytes) noexcept nogil:
    """Compiled code has not found so many bytes (and REFILL_*) at va in the first level. Where they are, by the second, or NULL."""
    cdef int size = <int>(bytes & REFILL_BYTES)
    if bytes & REFILL_ALIGNED and va & <u64>(size - 1) or c.lock is not NULL:
        return NULL
    return l2_read(c, va, size)


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
