"""Virtual time: by the count of instructions, or by the host's clock, which its time-stamp counter stands in for."""
from pcemu._core.state cimport *
from pcemu._core.undo cimport lock_clock

cdef extern from "time.h" nogil:
    ctypedef long time_t
    struct timespec:
        time_t tv_sec
        long tv_nsec
    int clock_gettime(int, timespec*)
    enum:
        CLOCK_MONOTONIC


cdef s64 host_ns() noexcept nogil:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return <s64>ts.tv_sec * 1000000000 + ts.tv_nsec


cdef s64 clock_ns(Cpu* c) noexcept nogil:
    """Virtual time in ns at the running instruction (or between instructions, outside one)."""
    cdef ClockState* k = c.clk
    if k.icount:
        return <s64>((c.icount_end - <u64>c.budget - c.in_insn) << k.shift) + k.warp
    return host_ns() - k.offset if k.running else k.frozen


cdef bint look_at_clock(ClockState* k, u64 tsc) noexcept nogil:
    """Note what the host's clock says at its counter's value `tsc`, just read. False if that took too long to be worth
    anything (the host ran something else meanwhile)."""
    cdef s64 ns = host_ns()
    if host_tsc() - tsc > 4000:
        return 0
    if tsc - k.base_tsc > <u64>1 << 32 or ns - k.base_ns > 1000000000:
        k.base_tsc = k.anchor_tsc
        k.base_ns = k.anchor_ns
    if k.base_tsc and tsc - k.base_tsc < <u64>1 << 34 and ns - k.base_ns > (100000000 if k.rate else 1000000):
        k.rate = <u64>((ns - k.base_ns) << 24) // ((tsc - k.base_tsc) >> 8)
    k.anchor_tsc = tsc
    k.anchor_ns = ns
    return 1


cdef s64 quick_ns(ClockState* k) noexcept nogil:
    """The host's clock by its time-stamp counter, whose rate is measured as we go: half the cost. It is never further than
    a millisecond from a look at the clock itself."""
    cdef u64 tsc = host_tsc()
    if not k.rate or tsc - k.anchor_tsc > QUICK_SPAN:
        if not look_at_clock(k, tsc) or not k.rate:
            return host_ns()
    return k.anchor_ns + <s64>((tsc - k.anchor_tsc) * k.rate >> 32)


cdef s64 guest_ns(ClockState* k, s64 ns) noexcept nogil:
    """Host-driven time as the guest may see it when ns have passed. Where the host has stalled us, not much more than the
    next timer's time: a guest that watches a clock while it waits for that timer must not find it overdue by ages. And never
    backward."""
    cdef s64 most
    if ns - k.deadline > CATCH_UP:
        most = k.deadline + CATCH_UP
        if most < k.seen:
            most = k.seen
        k.offset += ns - most
        ns = most
    if ns > k.seen:
        k.seen = ns
    return k.seen


cdef u64 read_tsc(Cpu* c) noexcept nogil:
    """The time-stamp counter runs at 1 GHz: virtual ns, plus what the guest wrote."""
    cdef ClockState* k = c.clk
    if k.icount or not k.running:
        k.seen = clock_ns(c)
    else:
        guest_ns(k, (quick_ns(k) if k.quick else host_ns()) - k.offset)
    return (<u64>k.seen if LIKELY(not c.lock_pass) else lock_clock(c, <u64>k.seen)) + c.tsc_offset
