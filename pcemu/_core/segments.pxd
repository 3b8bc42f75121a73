"""Descriptors, segment registers and the stacks of far transfers (segments.pyx; SDM vol. 3, chapters 3 and 5)."""
from pcemu._core.state cimport *

cdef enum:              # fetch_desc()
    FETCH_FAULT = -1    # a page fault is pending
    FETCH_LIMIT = 0     # beyond its table: the caller's fault
    FETCH_OK = 1

cdef enum:              # system descriptor types
    T_TSS16 = 1
    T_LDT = 2
    T_TSS16_BUSY = 3
    T_CALL16 = 4
    T_TASK = 5
    T_INT16 = 6
    T_TRAP16 = 7
    T_TSS32 = 9
    T_TSS32_BUSY = 11
    T_CALL32 = 12
    T_INT32 = 14
    T_TRAP32 = 15

cdef enum:
    SEG_BITS = 0x00F0FF00       # the bits of a descriptor's high dword that Seg.flags keeps
    FLAT_CODE32 = 0x00C09B00
    FLAT_CODE64 = 0x00A09B00
    FLAT_DATA = 0x00C09300
    REAL_DATA = 0x00009300
    MAX_PUSH = 48

cdef struct Desc:
    u32 lo
    u32 hi
    u64 addr            # linear address it was read from

cdef struct Stack:      # the current stack or one being switched to
    u64 sp
    u64 mask            # 64 K, 4 G or all: how far the stack pointer counts
    u64 base
    u32 limit
    u32 flags
    u32 cpl
    u32 err             # error code of its #SS
    bint wide           # 64-bit mode: no limits, canonical addresses only

# ---- descriptors
cdef inline u32 d_dpl(Desc* d) noexcept nogil:
    return (d.hi >> 13) & 3


cdef inline u32 d_type(Desc* d) noexcept nogil:
    return (d.hi >> 8) & 15


cdef inline bint d_present(Desc* d) noexcept nogil:
    return (d.hi & DESC_P) != 0


cdef inline bint d_code(Desc* d) noexcept nogil:
    return (d.hi & (DESC_S | DESC_CODE)) == (DESC_S | DESC_CODE)


cdef inline bint d_conforming(Desc* d) noexcept nogil:
    return (d.hi & DESC_CE) != 0


cdef inline u64 d_base(Desc* d) noexcept nogil:
    return (d.lo >> 16) | ((d.hi & 0xFF) << 16) | (d.hi & 0xFF000000U)


cdef inline u32 d_limit(Desc* d) noexcept nogil:
    cdef u32 n = (d.lo & 0xFFFF) | (d.hi & 0xF0000)
    return (n << 12) | 0xFFF if d.hi & DESC_G else n


cdef inline bint canonical(u64 va) noexcept nogil:
    return <u64>(<s64>(va << 16) >> 16) == va


cdef inline bint in_real(Cpu* c) noexcept nogil:
    """Real or virtual-8086 mode: selectors are paragraphs."""
    return not (c.cr0 & CR0_PE) or (c.eflags & F_VM) != 0


cdef inline bint exc_err(Cpu* c, u32 vector, u32 err) noexcept nogil:
    """Raise a fault with an error code: `return exc_err(...)` from a function that says 0 for failure."""
    c.exit = EXIT_FAULT
    c.exc_vector = vector
    c.exc_has_err = 1
    c.exc_err = err
    c.exc_soft = 0
    return 0

# the descriptor of a selector that is not null
cdef int fetch_desc(Cpu* c, u32 sel, Desc* d) noexcept nogil
# long mode: the second half of a 16-byte system descriptor, as bits 63:32 of its base or offset; type field checked
cdef int fetch_upper(Cpu* c, u32 sel, Desc* d, u64* upper) noexcept nogil
cdef bint set_accessed(Cpu* c, Desc* d) noexcept nogil
cdef void put_seg(Cpu* c, u32 seg, u32 sel, Desc* d) noexcept nogil
cdef void put_flat(Cpu* c, u32 seg, u32 sel, u32 flags) noexcept nogil
cdef void put_null(Cpu* c, u32 seg, u32 sel) noexcept nogil

# ---- segment registers. False: a fault is pending. The caller calls modes.update_mode() where the mode may have changed.
# as MOV, POP, LDS..: any segment but CS, in the current mode
cdef bint load_seg(Cpu* c, u32 seg, u32 sel) noexcept nogil
cdef void load_seg_real(Cpu* c, u32 seg, u32 sel) noexcept nogil
# a stack segment for privilege level cpl: faults are `vector` (#GP, #TS), or #SS when not present
cdef bint check_stack_seg(Cpu* c, u32 sel, u32 cpl, u32 vector, u32 ext, Desc* d) noexcept nogil
cdef bint load_ldt(Cpu* c, u32 sel, u32 vector) noexcept nogil
cdef bint load_tr(Cpu* c, u32 sel) noexcept nogil
# after a return to an outer level: data segments that level may not use become null
cdef void drop_inaccessible(Cpu* c) noexcept nogil

# ---- stacks
cdef void stack_now(Cpu* c, Stack* s) noexcept nogil
cdef void stack_new(Cpu* c, Stack* s, u32 sel, Desc* d, u64 sp, u32 cpl) noexcept nogil
# v[0] first; nothing is written when it fails. s.sp moves, Cpu.r[RSP] does not.
cdef bint push_frame(Cpu* c, Stack* s, const u64* v, u32 n, u32 size) noexcept nogil
# the n items above the stack pointer plus skip, without moving it
cdef bint peek(Cpu* c, Stack* s, u64* v, u32 n, u32 size, u64 skip) noexcept nogil
cdef void set_sp(Cpu* c, u64 mask, u64 sp) noexcept nogil
# SS:ESP (or RSP) of privilege level cpl from the TSS: #TS(tr)
cdef bint tss_stack(Cpu* c, u32 cpl, u32 ext, u32* ss, u64* sp) noexcept nogil
cdef bint seg_room(u32 flags, u32 limit, u64 off, u32 size) noexcept nogil
