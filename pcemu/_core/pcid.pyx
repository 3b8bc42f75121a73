# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""TLB entries of address spaces that are not running (SDM vol. 3, 4.10.1, 4.10.4).

The TLB itself has no tags: it holds the running address space and global pages, and a look-up stays one compare. A MOV to CR3
that changes the PCID puts the other entries aside, under the old PCID, and takes back those of the new one; both cost what was
filled. What lies aside is good for one Cpu.tlb_gen: a flush of everything (tlb.flush_tlb) counts that up and need not come here.
"""
from libc.stdlib cimport calloc, free

from pcemu._core.access cimport *
from pcemu._core cimport tlb

cdef enum:
    N_SETS = 16         # address spaces kept; Linux uses 6, with page-table isolation 12
    MOST = 2048         # entries of one; those beyond are walked for again
    ACCESSES = 3

cdef struct Kept:
    u64 page            # with the number of the array in the low bits: mmu index * 3 + access
    u8* host

cdef struct Space:
    u64 pcid
    u64 gen             # Cpu.tlb_gen when it was put aside; 0: nothing here
    u64 used            # when that was, for the choice of a victim
    u32 n
    Kept e[MOST]

cdef struct Spaces:
    u64 clock
    Space s[N_SETS]


cdef inline Tlb* array(Cpu* c, u32 which) noexcept nogil:
    cdef u32 access = which % ACCESSES
    cdef u32 mmu_index = which // ACCESSES
    if access == ACC_READ:
        return &c.tr[mmu_index]
    return &c.tw[mmu_index] if access == ACC_WRITE else &c.tx[mmu_index]


cdef Space* find(Cpu* c, u64 pcid) noexcept nogil:
    """What is kept under a PCID, or NULL."""
    cdef Spaces* all_ = <Spaces*>c.pcids
    cdef u32 i
    if all_ is not NULL:
        for i in range(<u32>N_SETS):
            if all_.s[i].gen == c.tlb_gen and all_.s[i].pcid == pcid:
                return &all_.s[i]
    return NULL


cdef Space* room(Cpu* c, u64 wanted) noexcept nogil:
    """A place for another address space: a free one, or that of the one away for longest, not `wanted`. NULL without memory."""
    cdef Spaces* all_ = <Spaces*>c.pcids
    cdef Space* best = NULL
    cdef u32 i
    if all_ is NULL:
        all_ = <Spaces*>calloc(1, sizeof(Spaces))
        c.pcids = all_
        if all_ is NULL:
            return NULL
    for i in range(<u32>N_SETS):
        if all_.s[i].gen != c.tlb_gen:
            return &all_.s[i]
        if all_.s[i].pcid != wanted and (best is NULL or all_.s[i].used < best.used):
            best = &all_.s[i]
    return best


cdef bint put_aside(Tlb* t, u32 which, Space* space) noexcept nogil:
    """Empty an array but for global pages; space may be NULL. Was there anything in it?"""
    cdef u32 i, s
    cdef u64 empty
    cdef bint hit = 0
    for i in range(t.n_used):
        s = t.used[i]
        t.state[s] &= ~<u8>TS_LISTED
        empty = tlb.no_tag(s)
        if t.state[s] & TS_GLOBAL or t.e[s].tag == empty:
            continue
        if space is not NULL and space.n < <u32>MOST:
            space.e[space.n].page = t.e[s].tag | which
            space.e[space.n].host = t.e[s].host
            space.n += 1
        t.e[s].tag = empty
        hit = 1
    t.n_used = 0
    return hit


cdef void take_back(Cpu* c, Space* space) noexcept nogil:
    cdef u32 i, which
    cdef u64 page
    cdef PageInfo* info
    for i in range(space.n):
        which = <u32>(space.e[i].page & 4095)
        page = space.e[i].page & ~<u64>4095
        if which % ACCESSES == ACC_EXEC:
            tlb.put_code(c, which // ACCESSES, page, space.e[i].host, 0)
            continue
        if which % ACCESSES == ACC_WRITE:
            info = &c.m.pages[<u64>(space.e[i].host - c.m.ram) >> 12]
            if info.bitmap or info.smc:             # code has been translated there meanwhile: stores take the slow way
                continue
        tlb.put(array(c, which), (page >> 12) & TLB_MASK, page, space.e[i].host, 0)
    space.gen = 0


cdef void switch_pcid(Cpu* c, u64 old, u64 new, bint keep) noexcept nogil:
    cdef Space* space
    cdef u32 which
    cdef bint user = 0, kernel = 0
    if new == old:
        if not keep:
            tlb.flush_tlb(c, 0)
        return
    if c.lock is not NULL:                          # a switch cannot be undone, a flush can
        tlb.flush_tlb(c, 0)
        return
    space = room(c, new)
    if space is not NULL:
        (<Spaces*>c.pcids).clock += 1
        space.pcid = old
        space.gen = c.tlb_gen
        space.used = (<Spaces*>c.pcids).clock
        space.n = 0
    for which in range(<u32>(N_MMU * ACCESSES)):
        if put_aside(array(c, which), which, space) and which % ACCESSES == ACC_EXEC:
            if which // ACCESSES == MMU_USER:
                user = 1
            else:
                kernel = 1
    tlb.flush_cw(c)
    tlb.flush_l2(c, 0)
    if user or c.lost[tlb.LOST_USER].local:         # before code comes back: what runs next is looked up anew
        tlb.bump_user(c)
    if kernel or c.lost[tlb.LOST_KERNEL].local:
        tlb.bump_kernel(c)
    space = find(c, new)
    if space is not NULL:
        if keep:
            take_back(c, space)
        else:
            space.gen = 0
    c.n_flush += 1


cdef void forget_pcid(Cpu* c, u64 pcid) noexcept nogil:
    cdef Space* space = find(c, pcid)
    if space is not NULL:
        space.gen = 0


cdef void forget_pcids(Cpu* c) noexcept nogil:
    c.tlb_gen += 1


cdef void free_pcids(Cpu* c) noexcept nogil:
    free(c.pcids)
    c.pcids = NULL
