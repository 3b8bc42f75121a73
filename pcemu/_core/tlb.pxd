"""The TLB: fills, flushes, the second level, the jump cache's generations (tlb.pyx)."""
from pcemu._core.state cimport *
from pcemu._core.paging cimport Walk
from pcemu._core.undo cimport will_store

cdef enum:              # what compiled code asks for where the first level fails it: so many bytes, and
    REFILL_BYTES = 0xfff
    REFILL_ALIGNED = 1 << 12    # aligned to that many,
    REFILL_GROUP = 1 << 13      # ... the range of several accesses, some of them perhaps loads,
    REFILL_WRITE = 1 << 14

cdef u8* refill(Cpu* c, u64 va, u64 bytes) noexcept nogil
cdef void init_tlbs(Cpu* c) noexcept nogil
cdef void fill(Cpu* c, u32 mmu, u64 va, u8* host_page, Walk* w, int acc) noexcept nogil
# Enter a page of code, in a way that keeps the invariant that a page in the jump cache is in the execute TLB or among the Lost:
# so INVLPG and flushes know what the jump cache may hold. (To empty the jump cache for a page whose slot another one takes would
# be far too dear where two pages take turns.)
cdef void put_code(Cpu* c, u32 mmu, u64 page, u8* host_page, bint global_) noexcept nogil
cdef void flush_tlb(Cpu* c, bint globals_too) noexcept nogil
cdef void flush_l2(Cpu* c, bint globals_too) noexcept nogil
cdef void invlpg(Cpu* c, u64 va) noexcept nogil
cdef void flush_cw(Cpu* c) noexcept nogil
cdef void empty_write_tlb(Cpu* c) noexcept nogil
cdef void protect_code(Cpu* c, u64 ram_page) noexcept nogil         # drop write TLB entries of a page that now holds code
cdef void bump_user(Cpu* c) noexcept nogil       # forget the jump cache's entries of CPL 3
cdef void bump_kernel(Cpu* c) noexcept nogil     # ... of the other levels
cdef void bump_jc(Cpu* c) noexcept nogil         # ... all


cdef enum:              # Cpu.lost
    LOST_USER = 0
    LOST_KERNEL = 1


cdef inline u64 no_tag(u64 slot) noexcept nogil:
    """A tag that no address with this slot's index in the TLB matches."""
    return (slot ^ 1) << 12


cdef inline u32 tx_slot(u64 va) noexcept nogil:
    """Slot of the execute arrays: folded, since the text and the modules of a kernel, and programs, lie powers of two apart."""
    cdef u64 page = va >> 12
    return (page ^ page >> TLB_BITS ^ page >> 2 * TLB_BITS) & TLB_MASK


cdef inline void set_jckey(Cpu* c) noexcept nogil:
    """After the mode or a generation changed. User entries and the kernel's never share a key: the mode holds CPL."""
    c.jckey = <u64>(c.jc_user if c.cpl == 3 else c.jc_kernel) << 32 | c.mode


cdef inline u64 l2_slot(u64 va) noexcept nogil:
    return (va >> 12) * <u64>0x9E3779B97F4A7C15 >> (64 - L2_BITS)


cdef inline void put(Tlb* t, u32 s, u64 page, u8* host_page, bint global_) noexcept nogil:
    """Enter a page into slot s, and s into the list that a flush of its kind goes through. Code goes by put_code()."""
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


cdef inline u8* l2_read(Cpu* c, u64 va, int size) noexcept nogil:
    """What the first level has lost to a page with the same slot, or knows for writing: host address of va for reading, now in
    the first level again. NULL: not inside a page that is known."""
    cdef L2Entry* e = &c.l2[c.mmu][l2_slot(va)]
    cdef u32 s = (va >> 12) & TLB_MASK
    cdef TlbEntry* w = &c.tw[c.mmu].e[s]
    if va - e.tag > <u64>(4096 - size) or not e.flags & L2_READ or e.gen != c.l2_gens[e.flags & L2_GLOBAL]:
        if va - w.tag <= <u64>(4096 - size):
            put(&c.tr[c.mmu], s, w.tag, w.host, (c.tw[c.mmu].state[s] & TS_GLOBAL) != 0)
        else:                               # (compiled code may store to a page with code and load, by one look-up)
            w = &c.cw[c.mmu][(va >> 12) & CW_MASK]
            if va - w.tag > <u64>(4096 - size) or w.host is NULL:
                return NULL
            put(&c.tr[c.mmu], s, w.tag, w.host, 0)
        return w.host + (va - w.tag)
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
