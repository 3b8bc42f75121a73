"""The Clock object: a machine's virtual time, as Python reads and moves it. How the guest reads it: vtime.pyx."""
from libc.stdint cimport INT64_MAX
from libc.string cimport memset

from pcemu._core.state cimport *
from pcemu._core cimport vtime


cdef class Clock:
    """Virtual time in ns: host time, or instructions << shift (-icount). The time-stamp counter runs at 1 GHz."""
    def __init__(self, icount_shift=None, bint sleep=True):
        memset(&self.k, 0, sizeof(self.k))
        self.k.deadline = INT64_MAX
        self.k.quick = steady_tsc()
        self.sleep = sleep
        if icount_shift is not None:
            if not 0 <= icount_shift <= 10:
                raise ValueError("icount shift must be 0..10")
            self.k.icount = 1
            self.k.shift = icount_shift

    @property
    def icount(self):
        """Is time counted in instructions?"""
        return bool(self.k.icount)

    def now(self):
        """Virtual ns; inside a device callback, of the very instruction that called."""
        cdef ClockState* k = &self.k
        if k.icount:
            if self.c is NULL:
                return k.warp
            return <s64>((self.c.icount_end - <u64>self.c.budget - self.c.in_insn) << k.shift) + k.warp
        if not k.running:
            return k.frozen
        if self.c is NULL or not self.c.in_callback:
            return vtime.host_ns() - k.offset
        return vtime.guest_ns(k, vtime.host_ns() - k.offset)    # a device is asked for it

    @property
    def shift(self):
        """An instruction takes 2**shift virtual ns. It changes between two run()s, and the time that it is stays what it is."""
        return self.k.shift

    @shift.setter
    def shift(self, u32 shift):
        cdef s64 now = self.now()
        if not self.k.icount or shift > 10:
            raise ValueError("shift must be 0..10, of a clock that counts instructions")
        if self.c is not NULL and self.c.running:
            raise RuntimeError("Clock.shift changed while the CPU runs")
        self.k.shift = shift
        self.k.warp += now - self.now()

    def start(self):
        """Let host-driven time run."""
        if not self.k.running:
            self.k.offset = vtime.host_ns() - self.k.frozen
            self.k.running = 1

    def stop(self):
        """Freeze host-driven time (instruction-count time stands when no instruction runs)."""
        if self.k.running:
            self.k.frozen = vtime.host_ns() - self.k.offset
            self.k.running = 0

    def advance_to(self, s64 ns):
        """Jump forward to ns (a halted machine, a stepped clock); never backward."""
        cdef s64 d = ns - self.now()
        if d > 0:
            if self.k.icount:
                self.k.warp += d
            elif self.k.running:
                self.k.offset -= d
            else:
                self.k.frozen += d

    def hold_back(self, s64 ns):
        """Host-driven time: pretend the last ns did not pass (a starved host must not look like a lost second).

        No further back than what the guest has read: its clocks never run backward.
        """
        cdef s64 most
        if self.k.running:
            most = vtime.host_ns() - self.k.offset - self.k.seen
            if ns > most:
                ns = most
            if ns > 0:
                self.k.offset += ns

    @property
    def deadline(self):
        """ns of the next timer: the core leaves its run loop when it is reached (2**63 - 1: none)."""
        return self.k.deadline

    @deadline.setter
    def deadline(self, s64 ns):
        if ns < self.k.deadline and self.c is not NULL:
            self.c.leave_req = 1
        self.k.deadline = ns
