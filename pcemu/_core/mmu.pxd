"""Slow loads and stores, probes, system accesses (mmu.pyx)."""
from pcemu._core.state cimport *

cdef u8* ld_slow(Cpu* c, Op* op, u64 va, int size) noexcept nogil
cdef bint st_slow(Cpu* c, Op* op, u64 va, u64 v, int size) noexcept nogil
cdef bint st_slow_bytes(Cpu* c, Op* op, u64 va, const u8* src, int size) noexcept nogil
cdef u8* store_place(Cpu* c, u64 va, u64 what) noexcept nogil
cdef u8* rw_slow(Cpu* c, Op* op, u64 va, int size) noexcept nogil
cdef bint rw_commit(Cpu* c, Op* op) noexcept nogil
# Host pointer for a store of size bytes inside one page of RAM that the TLB does not hold, translated code there dropped.
# NULL: not such a page (the store itself will tell), or EXIT_SINGLE is pending in c.exit.
cdef u8* ram_for_write(Cpu* c, Op* op, u64 va, int size) noexcept nogil
cdef void copy_small(u8* dst, const u8* src, int size) noexcept nogil

# would a write of size bytes (up to two pages) at va go through? False: the fault (or re-run request) is pending.
cdef bint probe_write(Cpu* c, Op* op, u64 va, int size) noexcept nogil
cdef bint probe_read(Cpu* c, Op* op, u64 va, int size) noexcept nogil

# System accesses: at supervisor privilege whatever the CPL (descriptor tables, TSS, IDT, interrupt stacks). False: fault pending.
# These may be called outside an op (interrupt delivery): op may be NULL.
cdef bint sys_ld(Cpu* c, u64 va, int size, u64* out) noexcept nogil
cdef bint sys_st(Cpu* c, u64 va, int size, u64 v) noexcept nogil
cdef bint sys_probe_write(Cpu* c, u64 va, int size) noexcept nogil
# ... the same at an explicit privilege level (the new stack's of an interrupt or far call): cpl 3 = user
cdef bint ld_at_cpl(Cpu* c, u64 va, int size, u32 cpl, u64* out) noexcept nogil
cdef bint st_at_cpl(Cpu* c, u64 va, int size, u32 cpl, u64 v) noexcept nogil
cdef bint probe_write_at_cpl(Cpu* c, u64 va, int size, u32 cpl) noexcept nogil

# for the engine
cdef bint fetch_page(Cpu* c, u64 lin, u8** host) noexcept nogil     # execute access; false: fault pending
cdef bint xlate(Cpu* c, u64 va, int acc, u32 cpl, u64* pa) noexcept nogil
