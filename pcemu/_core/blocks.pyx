"""The block cache: translated blocks by physical address and mode bits.

Blocks and their ops live in one arena that only grows; when it is full everything is dropped (outside any block). An
invalidated block keeps its memory until then and is marked by a length no budget admits, so that every chain and every
jump-cache entry that still points to it leads back to the engine.
"""
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pcemu._core.state cimport *

cdef extern from "sys/mman.h" nogil:
    int sys_munmap "munmap"(void*, size_t)


cdef extern from "time.h" nogil:
    ctypedef long time_t
    struct timespec:
        time_t tv_sec
        long tv_nsec
    int clock_gettime(int, timespec*)
    enum:
        CLOCK_THREAD_CPUTIME_ID


cdef s64 cpu_ns() noexcept nogil:
    cdef timespec ts
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts)
    return <s64>ts.tv_sec * 1000000000 + ts.tv_nsec


cdef inline u64 slot(Mach* m, u64 addr, u32 mode) noexcept nogil:
    cdef u64 h = addr * <u64>0x9E3779B97F4A7C15 + mode * <u64>0xC2B2AE3D27D4EB4F
    return (h >> 40) & m.hash_mask


cdef Block* find_block(Mach* m, u64 addr, u32 mode) noexcept nogil:
    cdef Block* b = m.hash[slot(m, addr, mode)]
    while b is not NULL:
        if b.addr == addr and b.mode == mode:
            return b
        b = b.hnext
    return NULL


cdef Block* new_block(Mach* m, u32 max_ops) noexcept nogil:
    """Room for a block of up to max_ops ops; commit_block() keeps what was used."""
    cdef u64 need = sizeof(Block) + <u64>max_ops * sizeof(Op)
    cdef Block* b
    if m.arena_used + need > m.arena_size:
        return NULL
    b = <Block*>(m.arena + m.arena_used)
    memset(b, 0, sizeof(Block))
    b.ops = <Op*>(m.arena + m.arena_used + sizeof(Block))
    return b


cdef void mark_page(Mach* m, Block* b) noexcept nogil:
    """Set the bits of the 64-byte granules that the block's first page holds of it."""
    cdef u32 lo = (b.addr & 4095) >> 6
    cdef u32 hi = ((b.addr & 4095) + b.nbytes - b.cross - 1) >> 6
    m.pages[b.addr >> 12].bitmap |= ((<u64>2 << (hi - lo)) - 1) << lo


cdef void commit_block(Mach* m, Block* b, u32 n_ops) noexcept nogil:
    """Enter the block into the hash and into its page's list."""
    cdef u64 h = slot(m, b.addr, b.mode)
    cdef PageInfo* pg = &m.pages[b.addr >> 12]
    m.arena_used += (sizeof(Block) + <u64>n_ops * sizeof(Op) + 63) & ~<u64>63
    b.hnext = m.hash[h]
    m.hash[h] = b
    b.pnext = pg.blocks
    pg.blocks = b
    mark_page(m, b)
    m.n_blocks += 1


cdef void kill(Mach* m, Block* b) noexcept nogil:
    cdef u64 h = slot(m, b.addr, b.mode)
    cdef Block** p = &m.hash[h]
    while p[0] is not NULL:
        if p[0] == b:
            p[0] = b.hnext
            break
        p = &p[0].hnext
    b.n = N_DEAD
    if b.head is not NULL:              # compiled code pays this much: never
        (<u32*>b.head)[0] = N_DEAD
    m.n_invalidated += 1


cdef void scan_page(Mach* m, u64 page, u64 addr, u64 size) noexcept nogil:
    """Kill the blocks listed on `page` that overlap [addr, addr+size); rebuild the page's bitmap."""
    cdef PageInfo* pg = &m.pages[page]
    cdef Block** p = &pg.blocks
    cdef Block* b
    pg.bitmap = 0
    while p[0] is not NULL:
        b = p[0]
        if (b.addr < addr + size and addr < b.addr + b.nbytes - b.cross
                or b.entry is not NULL and b.unit_lo < addr + size and addr < b.unit_hi):
            p[0] = b.pnext
            kill(m, b)
        else:
            mark_page(m, b)
            p = &b.pnext


cdef void invalidate(Mach* m, u64 addr, u64 size) noexcept nogil:
    cdef u64 page = addr >> 12
    cdef u64 last = (addr + size - 1) >> 12
    while page <= last:
        if m.pages[page].bitmap:
            scan_page(m, page, addr, size)
        page += 1


cdef void kill_at(Mach* m, const u64* where, u32 n) noexcept nogil:
    """A debugger's breakpoints come or go: whatever page they are in, blocks that hold such an offset are to be translated anew."""
    cdef u64 page
    cdef u32 i
    for page in range(m.ram_used >> 12):
        if m.pages[page].bitmap == 0:
            continue
        for i in range(n):
            if m.pages[page].bitmap >> ((where[i] & 4095) >> 6) & 1:
                scan_page(m, page, page << 12 | where[i] & 4095, 1)


cdef void flush_all(Mach* m) noexcept nogil:
    """Drop every block. No CPU may be inside one. What it takes depends on how many blocks there are, not on how much RAM."""
    cdef u64 i
    cdef s64 t0 = cpu_ns()
    cdef Block* b
    for i in range(m.hash_mask + 1):
        b = m.hash[i]
        m.hash[i] = NULL
        while b is not NULL:
            m.pages[b.addr >> 12].bitmap = 0
            m.pages[b.addr >> 12].blocks = NULL
            b = b.hnext
    m.arena_used = 0
    m.code_used = m.code_base
    m.code_full = 0
    m.n_flush_all += 1
    t0 = cpu_ns() - t0
    if <u64>t0 > m.flush_ns:
        m.flush_ns = <u64>t0


cdef bint init_blocks(Mach* m, u64 arena) noexcept:
    m.hash_mask = (1 << 16) - 1
    m.hash = <Block**>calloc(m.hash_mask + 1, sizeof(Block*))
    m.arena = <u8*>calloc(arena, 1)
    m.arena_size = arena if m.arena is not NULL else 0
    return m.hash is not NULL and m.arena is not NULL


cdef void free_blocks(Mach* m) noexcept:
    free(m.hash)
    free(m.arena)
    if m.code_rx is not NULL:
        sys_munmap(m.code_rx, m.code_size)
        sys_munmap(m.code_rw, m.code_size)
        free(m.calls)
        free(m.compiler)
