# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The log of a lockstep run: pages before they are written, clock readings, translations that left marks in page tables."""
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from pcemu._core.state cimport *

cdef enum:
    ALMOST = 64             # a run ends where so many pages are left


cdef bint lock_init(Cpu* c) noexcept:
    cdef Lock* k = <Lock*>calloc(1, sizeof(Lock))
    if k is NULL:
        return 0
    c.lock = k
    k.before = <u8*>malloc(<size_t>MAX_PAGES << 12)
    k.after = <u8*>malloc(<size_t>MAX_PAGES << 12)
    k.start = <u8*>malloc(sizeof(Cpu))
    k.first = <u8*>malloc(sizeof(Cpu))
    if k.before is NULL or k.after is NULL or k.start is NULL or k.first is NULL:
        lock_free(c)
        return 0
    return 1


cdef void lock_free(Cpu* c) noexcept:
    cdef Lock* k = <Lock*>c.lock
    if k is not NULL:
        free(k.before)
        free(k.after)
        free(k.start)
        free(k.first)
        free(k)
        c.lock = NULL


cdef inline u32 hash_of(u64 addr) noexcept nogil:
    return <u32>((addr >> 12) * <u64>0x9E3779B97F4A7C15 >> 50)


cdef void forget_pages(Lock* k) noexcept nogil:
    cdef u32 i, h
    for i in range(k.n_pages):
        h = hash_of(k.pages[i])
        while k.slot[h]:
            k.slot[h] = 0
            h = (h + 1) & (PAGE_SLOTS - 1)
    k.n_pages = 0
    k.overflow = 0


cdef void lock_page(Cpu* c, u64 addr) noexcept nogil:
    cdef Lock* k = <Lock*>c.lock
    cdef u32 h = hash_of(addr)
    while k.slot[h]:
        if k.pages[k.slot[h] - 1] == addr:
            return
        h = (h + 1) & (PAGE_SLOTS - 1)
    if k.n_pages >= MAX_PAGES:
        k.overflow = 1
        return
    k.pages[k.n_pages] = addr
    memcpy(k.before + (<size_t>k.n_pages << 12), c.m.ram + addr, 4096)
    k.n_pages += 1
    k.slot[h] = <u16>k.n_pages
    if k.n_pages > MAX_PAGES - ALMOST:
        c.leave_req = 1


cdef u64 lock_clock(Cpu* c, u64 now) noexcept nogil:
    """The first pass reads clocks, those after it get what it got."""
    cdef Lock* k = <Lock*>c.lock
    if k.at_clock < k.n_clock:
        now = k.clock[k.at_clock]
    elif k.n_clock < MAX_CLOCKS:
        k.clock[k.n_clock] = now
        k.n_clock += 1
    k.at_clock += 1
    return now


cdef void lock_walk(Cpu* c, u64 addr, u64 bits) noexcept nogil:
    cdef Lock* k = <Lock*>c.lock
    lock_page(c, addr & ~<u64>4095)
    k.walked = 1
    if k.n_walks < MAX_WALKS:
        k.walks[k.n_walks] = addr << 8 | bits
        k.n_walks += 1


cdef void lock_fresh(Cpu* c, u64 page) noexcept nogil:
    """Only what a walk marked: the other translations may stay when the run is undone, and it is done again with them."""
    cdef Lock* k = <Lock*>c.lock
    if k.walked:
        k.walked = 0
        if k.n_fresh < MAX_FRESH:
            k.fresh[k.n_fresh] = page
            k.n_fresh += 1
        else:
            k.flushed = 1
