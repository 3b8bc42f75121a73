"""Slow paths of the memory system: TLB fills, page walks, faults, devices, stores into code (mmu.pyx)."""
from pcemu._core.state cimport *

cdef u32 cf_slow(u32 kind, u64 res, u64 src) noexcept nogil
cdef u32 of_slow(u32 kind, u64 res, u64 src) noexcept nogil
cdef u32 arith_flags(u32 kind, u64 res, u64 src) noexcept nogil

# the op's memory operand: offset arithmetic at the op's address size, segment type and limit checks, alignment check;
# the linear address goes to c.ea. False: a fault is pending.
cdef bint ea_general(Cpu* c, Op* op, int size, int access) noexcept nogil
# linear address of seg:off into c.ea after the checks of the current mode (long mode: canonical only).
# #SS(0) for seg == SS, else #GP(0).
cdef bint seg_lin(Cpu* c, int seg, u64 off, int size, int access) noexcept nogil
cdef u8* ld_slow(Cpu* c, Op* op, u64 va, int size) noexcept nogil
cdef bint st_slow(Cpu* c, Op* op, u64 va, u64 v, int size) noexcept nogil
cdef bint st_slow_bytes(Cpu* c, Op* op, u64 va, const u8* src, int size) noexcept nogil
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

# State changes that others must hear of
cdef void update_mode(Cpu* c) noexcept nogil     # after CPL, CS, SS, DS, ES, CR0, CR4, EFER, XCR0, EFLAGS.TF/VM/AC changed
cdef void flush_tlb(Cpu* c, bint globals_too) noexcept nogil
cdef void invlpg(Cpu* c, u64 va) noexcept nogil
cdef void flush_cw(Cpu* c) noexcept nogil
cdef void empty_write_tlb(Cpu* c) noexcept nogil
cdef bint apart(Cpu* c) noexcept nogil           # in a lockstep run: what calls a device asks to run alone. False

cdef inline u64 no_tag(u64 slot) noexcept nogil:
    """A tag that no address with this slot's index in the TLB matches."""
    return (slot ^ 1) << 12

cdef inline u32 tx_slot(u64 va) noexcept nogil:
    """Slot of the execute arrays: folded, since two pages of code that took turns in one would empty the jump cache each time."""
    cdef u64 page = va >> 12
    return (page ^ page >> TLB_BITS ^ page >> 2 * TLB_BITS) & TLB_MASK

# Enter a page into slot s, and s into the list that a flush of its kind goes through. Code goes by put_code(), which keeps the
# invariant that a page in the jump cache is in the execute TLB: so INVLPG and flushes know what the jump cache may hold.
cdef void put(Tlb* t, u32 s, u64 page, u8* host_page, bint global_) noexcept nogil
cdef void put_code(Cpu* c, u32 mmu, u64 page, u8* host_page, bint global_) noexcept nogil
cdef void flush_l2(Cpu* c, bint globals_too) noexcept nogil
cdef void bump_user(Cpu* c) noexcept nogil       # forget the jump cache's entries of CPL 3
cdef void bump_kernel(Cpu* c) noexcept nogil     # ... of the other levels

cdef bint load_pdptes(Cpu* c, u64 cr3) noexcept nogil   # PAE: false = #GP(0) pending (reserved bits)
cdef bint translate(Cpu* c, u64 va, u64* pa) noexcept nogil   # debug: no A/D update, no fault

# Ports and devices (these take the GIL). False: EXIT_SINGLE or EXIT_CALLBACK is pending.
cdef bint port_in(Cpu* c, u32 port, int size, u64* out) noexcept with gil
cdef bint port_out(Cpu* c, u32 port, int size, u64 v) noexcept with gil
cdef u64 read_tsc(Cpu* c) noexcept nogil         # exact at the running instruction
cdef u64 icount_now(Cpu* c) noexcept nogil       # instructions retired before the running one (which ends its block)
cdef u64 next_random(Cpu* c) noexcept nogil
cdef u64 ea_offset(Cpu* c, Op* op) noexcept nogil   # the operand's offset at its address size (LEA; no segment)
# IOPL and the TSS bitmap; false: #GP(0) (or the bitmap's fault) is pending
cdef bint io_allowed(Cpu* c, u32 port, int size) noexcept nogil

# for the engine
cdef class Memory:
    cdef Mach* m
    cdef int fd
    cdef list targets
    cdef list blocks
    cdef public object error
    cdef list cpus
    cdef object __weakref__
    cdef reraise(self)

cdef class IoSpace:
    cdef u16 index[65536]
    cdef u32 first[4096]
    cdef u32 offset[4096]
    cdef list reads
    cdef list writes
    cdef u32 n
    cdef u64 read(self, u32 port, int size)
    cdef write(self, u32 port, int size, u64 v)

cdef bint fetch_page(Cpu* c, u64 lin, u8** host) noexcept nogil     # execute access; false: fault pending
cdef bint xlate(Cpu* c, u64 va, int acc, u32 cpl, u64* pa) noexcept nogil
cdef void protect_code(Cpu* c, u64 ram_page) noexcept nogil         # drop write TLB entries of a page that now holds code
cdef void init_tlbs(Cpu* c) noexcept nogil
cdef bint mach_read(Mach* m, Cpu* c, u64 pa, u8* buf, u64 size) noexcept nogil
cdef bint mach_write(Mach* m, Cpu* c, u64 pa, const u8* buf, u64 size, bint rom_too) noexcept nogil
cdef void bump_jc(Cpu* c) noexcept nogil                            # forget all jump-cache entries


cdef inline void set_jckey(Cpu* c) noexcept nogil:
    """After the mode or a generation changed. User entries and the kernel's never share a key: the mode holds CPL."""
    c.jckey = <u64>(c.jc_user if c.cpl == 3 else c.jc_kernel) << 32 | c.mode


cdef enum:
    CATCH_UP = 10000000     # ns of virtual time that may be seen to pass at once
    QUICK_SPAN = 1 << 21    # ticks of the host's counter between two looks at its clock


cdef s64 clock_ns(Cpu* c) noexcept nogil
cdef s64 host_ns() noexcept nogil
cdef s64 guest_ns(ClockState* k, s64 ns) noexcept nogil
