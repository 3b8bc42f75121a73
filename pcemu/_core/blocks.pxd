"""The block cache: blocks by physical address and mode (blocks.pyx)."""
from pcemu._core.state cimport *

cdef Block* find_block(Mach* m, u64 addr, u32 mode) noexcept nogil
cdef Block** grave(Mach* m, Block* b) noexcept nogil
cdef Block* new_block(Mach* m, u32 max_ops) noexcept nogil      # NULL: the arena is full, flush_all() and try again
cdef void commit_block(Mach* m, Block* b, u32 n_ops) noexcept nogil
cdef void invalidate(Mach* m, u64 addr, u64 size) noexcept nogil     # kill the blocks that overlap [addr, addr + size)
cdef bint touched(Mach* m, u64 addr, u64 size) noexcept nogil     # ... are there any, in the page of addr?
cdef void kill_at(Mach* m, const u64* where, u32 n) noexcept nogil     # the blocks at these addresses' offsets, in every page
cdef void flush_all(Mach* m) noexcept nogil                     # outside any block only
cdef bint init_blocks(Mach* m, u64 arena) noexcept
cdef void free_blocks(Mach* m) noexcept


cdef inline u64 granules(u64 addr, u64 size) noexcept nogil:
    """The bits of [addr, addr + size), inside one page, in PageInfo.bitmap and .stored."""
    cdef u32 lo = (addr & 4095) >> 6
    cdef u32 hi = ((addr & 4095) + size - 1) >> 6
    return ((<u64>2 << (hi - lo)) - 1) << lo


cdef inline u64* split(Mach* m, u64 addr) noexcept nogil:
    """Where Mach.splits has addr, if it does."""
    return &m.splits[addr * <u64>0x9E3779B97F4A7C15 >> 58]


cdef inline bint has_code(Mach* m, u64 addr, u64 size) noexcept nogil:
    """Does [addr, addr + size), inside one page, touch translated code (64-byte granules)?"""
    return (m.pages[addr >> 12].bitmap & granules(addr, size)) != 0


cdef inline void note_store(Cpu* c, u64 addr, u64 size) noexcept nogil:
    """The guest is about to store to [addr, addr + size), inside one page, which holds code or has held it lately."""
    c.m.pages[addr >> 12].stored |= granules(addr, size)
    c.m.now = c.icount_end - <u64>c.budget
