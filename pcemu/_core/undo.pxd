"""What a lockstep run (lockstep.pyx) keeps so that it can be undone and done again; mmu.pyx and others tell it."""
from pcemu._core.state cimport *

cdef enum:
    MAX_PAGES = 4096        # pages that a run may write
    PAGE_SLOTS = 16384
    MAX_CLOCKS = 2048       # clock readings in a run
    MAX_FRESH = 512
    MAX_WALKS = 512

cdef struct Lock:
    # pages of RAM that were or may be written, by their offset in host RAM space; what they held before the run, and after its
    # first half
    u32 n_pages
    u32 overflow            # more than fit: what was done cannot be undone
    u64 pages[4096]
    u16 slot[16384]         # hash of offsets: 1 + index into pages
    u8* before
    u8* after
    # translations whose walk set accessed or dirty bits: undone with them
    u32 walked
    u32 n_fresh
    u32 flushed             # the TLB was flushed
    u32 n_clock
    u64 fresh[512]
    u64 walks[512]          # accessed and dirty bits that walks have set in any pass: offset in host RAM space << 8 | bits
    u64 clock[2048]         # what the time-stamp counter said, in turn
    u32 at_clock
    u32 n_walks
    u32 ferr                # FERR#: 1 + the level that the pin is to have
    # the Cpu: at the beginning, and after the first half
    u8* start
    u8* first
    # counters
    u64 n_runs
    u64 n_compared          # instructions
    u64 n_third             # runs that took a third pass
    u64 began               # instructions retired when it was switched on
    u64 narrow              # until then each run is one unit, to find the one that differs
    s64 n_hand              # instructions retired
    s64 n_code
    u32 hand_first          # the first half of the comparison was the handlers'
    u32 stuck               # the budget does not admit what is compiled
    u8 again[8192]          # a bit for each block (hashed) that has been compiled anew

cdef bint lock_init(Cpu* c) noexcept                             # False: no memory
cdef void lock_free(Cpu* c) noexcept
cdef void forget_pages(Lock* k) noexcept nogil
cdef void lock_page(Cpu* c, u64 addr) noexcept nogil             # the page at this offset is about to be written
cdef u64 lock_clock(Cpu* c, u64 now) noexcept nogil              # a clock was read: what the run takes it to be
cdef void lock_walk(Cpu* c, u64 addr, u64 bits) noexcept nogil   # a walk is about to set bits of a page-table entry
cdef void lock_fresh(Cpu* c, u64 page) noexcept nogil            # this page's translation was put into the TLB


cdef inline void will_store(Cpu* c, u8* p, u64 size) noexcept nogil:
    """size (up to 4096) bytes of guest RAM at p are about to be written, or to be handed out for it."""
    cdef u64 addr
    if UNLIKELY(c.lock_pass):
        addr = <u64>(p - c.m.ram)
        lock_page(c, addr & ~<u64>4095)
        if (addr & 4095) + size > 4096:
            lock_page(c, (addr & ~<u64>4095) + 4096)
