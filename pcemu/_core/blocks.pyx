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


cdef Block** grave(Mach* m, Block* b) noexcept nogil:
    """Where the dead block at b's place is remembered, if it was compiled; or another one."""
    return &m.graves[slot(m, b.addr, b.mode) & 1023]


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


cdef u32 LAST_PAGE = ~<u32>0         # PageInfo.next

cdef enum:
    FRESH_HEAT = 2          # executions before code is compiled that was written beside other code: by a compiler, which has its reasons
    SHORT_LIFE = 128        # ... unless the like of it was stored to again before that many times its length had been retired


cdef void mark_page(Mach* m, Block* b) noexcept nogil:
    """Set the bits of the 64-byte granules that the block's first page holds of it."""
    m.pages[b.addr >> 12].bitmap |= granules(b.addr, b.nbytes - b.cross)


cdef void commit_block(Mach* m, Block* b, u32 n_ops) noexcept nogil:
    """Enter the block into the hash and into its page's list."""
    cdef u64 h = slot(m, b.addr, b.mode)
    cdef PageInfo* pg = &m.pages[b.addr >> 12]
    m.arena_used += (sizeof(Block) + <u64>n_ops * sizeof(Op) + 63) & ~<u64>63
    b.hnext = m.hash[h]
    m.hash[h] = b
    b.pnext = pg.blocks
    pg.blocks = b
    if pg.next == 0:
        pg.next = m.code_pages if m.code_pages else LAST_PAGE
        m.code_pages = <u32>(b.addr >> 12) + 1
        m.n_code_pages += 1
    b.heat = m.heat
    if pg.stored >> ((b.addr & 4095) >> 6) & 1:
        if pg.heat == 0:
            pg.heat = FRESH_HEAT
        if pg.heat < b.heat:
            b.heat = pg.heat
    mark_page(m, b)
    m.n_blocks += 1


cdef void kill(Mach* m, PageInfo* pg, Block* b) noexcept nogil:
    cdef u64 h = slot(m, b.addr, b.mode)
    cdef Block** p = &m.hash[h]
    while p[0] is not NULL:
        if p[0] == b:
            p[0] = b.hnext
            break
        p = &p[0].hnext
    b.n = N_DEAD
    if b.head is not NULL:
        (<u32*>b.head)[0] = N_DEAD      # compiled code pays this much: never
        grave(m, b)[0] = b
        if <s32>(<u32>m.now - b.count) >= <s32>(SHORT_LIFE * b.unit_n):     # (what was paid for may not have been retired)
            pg.heat = FRESH_HEAT
        elif pg.heat < m.heat:
            pg.heat *= 2
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
            kill(m, pg, b)
        else:
            mark_page(m, b)
            p = &b.pnext


cdef bint touched(Mach* m, u64 addr, u64 size) noexcept nogil:
    """Is there a translated instruction in [addr, addr + size), as far as that is in the page of addr?"""
    cdef Block* b = m.pages[addr >> 12].blocks
    while b is not NULL:
        if b.addr < addr + size and addr < b.addr + b.nbytes - b.cross:
            return 1
        b = b.pnext
    return 0


cdef void invalidate(Mach* m, u64 addr, u64 size) noexcept nogil:
    """(A unit's blocks are all listed: where no block is touched no unit is, though what lies between its blocks may be.)"""
    cdef u64 page = addr >> 12
    cdef u64 last = (addr + size - 1) >> 12
    cdef u64 from_
    while page <= last:
        from_ = addr if page == addr >> 12 else page << 12
        if m.pages[page].bitmap and touched(m, from_, addr + size - from_):
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


cdef inline void forget(PageInfo* pg) noexcept nogil:
    pg.bitmap = 0
    pg.blocks = NULL
    pg.next = 0


cdef void flush_all(Mach* m) noexcept nogil:
    """Drop every block. No CPU may be inside one. It goes through the pages that held any, not through the blocks; where these are
    many, through all of the RAM's pages, which lie in a row."""
    cdef s64 t0 = cpu_ns()
    cdef u64 n_pages = m.ram_used >> 12, i
    cdef u32 next = m.code_pages
    cdef PageInfo* pg
    if m.arena_used:
        memset(m.hash, 0, (m.hash_mask + 1) * sizeof(Block*))
        memset(m.graves, 0, sizeof(m.graves))
    if m.n_code_pages > n_pages >> 5:
        for i in range(n_pages):
            if m.pages[i].next:
                forget(&m.pages[i])
    else:
        while next and next != LAST_PAGE:
            pg = &m.pages[next - 1]
            next = pg.next
            forget(pg)
    m.code_pages = 0
    m.n_code_pages = 0
    m.arena_used = 0
    m.code_used = m.code_base
    m.code_full = 0
    m.n_flush_all += 1
    t0 = cpu_ns() - t0
    if <u64>t0 > m.flush_ns:
        m.flush_ns = <u64>t0


cdef bint init_blocks(Mach* m, u64 arena) noexcept:
    cdef u64 slots = 1 << 16
    while slots < arena >> 10:          # a block and its ops take three or four hundred bytes at least
        slots <<= 1
    m.hash_mask = slots - 1
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
