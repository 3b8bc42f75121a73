"""Below compiled code (thunks.pyx), and what has to be looked at before it is entered."""
from libc.string cimport memcmp

from pcemu._core.emit cimport *
from pcemu._core cimport tlb

cdef void make_thunks(J* j) noexcept                    # at j.p


cdef inline bint near_hole(Cpu* c, u64 pc) noexcept nogil:
    """So near the non-canonical hole that a direct branch might lead into it: interpreted, where every target is checked."""
    cdef u64 a = pc + (<u64>1 << 32), b = pc - (<u64>1 << 32)
    if not c.mode & M_CODE64:
        return 0
    return <u64>(<s64>(a << 16) >> 16) != a or <u64>(<s64>(b << 16) >> 16) != b


cdef inline u64 page_pc(Cpu* c, Block* b, u64 pc) noexcept nogil:
    """pc of the first byte of the page that holds b, which is at pc. (In a segment it may be below 0: it wraps.)"""
    pc -= b.addr & 4095
    return pc if c.mode & M_CODE64 else <u32>pc


cdef inline bint pay(Cpu* c) noexcept nogil:
    """The interpreter has paid for the block c.cur: the rest of the unit."""
    c.budget -= c.cur.unit_n - c.cur.n
    if LIKELY(c.budget >= 0):
        return 1
    c.budget += c.cur.unit_n - c.cur.n
    return 0


cdef inline u8* next_page(Cpu* c, u64 pc) noexcept nogil:
    """Host address of the page behind pc's, if the TLB holds it for code."""
    cdef u64 page = (pc & ~<u64>4095) + 4096
    cdef TlbEntry* t = &c.tlb_x[tlb.tx_slot(page)]
    return t.host if t.tag == page else NULL


cdef inline bint intact(Cpu* c, Block* b, u64 pc) noexcept nogil:
    """Is the end of the block's one instruction in the next page what it was?"""
    cdef u8* host = next_page(c, pc)
    return host is not NULL and memcmp(b.tail, host, b.cross) == 0
