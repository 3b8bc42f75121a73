"""The physical map, and guest RAM (physmem.pyx)."""
from pcemu._core.state cimport *
from pcemu._core.simd cimport MXCSR_CONTROL, fp_enter, fp_leave, get_mxcsr, set_mxcsr

cdef class Memory:
    cdef Mach* m
    cdef int fd
    cdef list targets
    cdef list blocks
    cdef public object error
    cdef list cpus
    cdef object __weakref__
    cdef reraise(self)

# Any physical bytes. c: whose access it is, or NULL. False: EXIT_SINGLE or EXIT_CALLBACK (a device failed) is pending.
cdef bint mach_read(Mach* m, Cpu* c, u64 pa, u8* buf, u64 size) noexcept nogil
cdef bint mach_write(Mach* m, Cpu* c, u64 pa, const u8* buf, u64 size, bint rom_too) noexcept nogil
cdef u64 gap(Mach* m, u64 pa, u64 size) noexcept nogil
cdef bint apart(Cpu* c) noexcept nogil           # in a lockstep run: what calls a device asks to run alone. False


cdef inline Range* find_range(Mach* m, u64 pa) noexcept nogil:
    """The range that holds pa, or NULL."""
    cdef u32 lo = 0, hi = m.n_ranges, mid
    cdef Range* r
    if m.last_range is not NULL and m.last_range.start <= pa <= m.last_range.end:
        return m.last_range
    while lo < hi:
        mid = (lo + hi) >> 1
        r = &m.ranges[mid]
        if pa < r.start:
            hi = mid
        elif pa > r.end:
            lo = mid + 1
        else:
            if r.kind <= R_ROM:
                m.last_range = r
            return r
    return NULL


cdef inline u8* ram_page(Mach* m, u64 pa, int acc, Range** out) noexcept nogil:
    """Host address of the page of pa when the whole page is plain memory for this access, else NULL."""
    cdef Range* r = find_range(m, pa)
    cdef u64 page = pa & ~<u64>4095
    out[0] = r
    if r is NULL or r.kind == R_MMIO or r.kind == R_UNMAPPED or acc == ACC_WRITE and r.kind != R_RAM:
        return NULL
    if r.start > page or r.end < page + 4095:
        return NULL
    return m.ram + r.off + (page - r.start)


cdef inline void before_callback(Cpu* c) noexcept nogil:
    """Python runs with the host's own rounding, and its arithmetic sets none of the guest's sticky flags."""
    c.in_callback = 1
    if c.host_fp:
        get_mxcsr(c)
        if c.mxcsr & MXCSR_CONTROL:
            fp_leave(c)
            c.fp_left = 1


cdef inline void after_callback(Cpu* c) noexcept nogil:
    c.in_callback = 0
    if not c.clk.icount:
        c.leave_req = 1             # the call took host time, which is the guest's: look at the deadline
    if c.fp_left:
        c.fp_left = 0
        fp_enter(c)
    elif c.host_fp:
        set_mxcsr(c, c.mxcsr)
