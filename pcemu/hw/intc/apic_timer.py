"""The local APIC's timer (Intel SDM volume 3, 11.5.4): one-shot, periodic and TSC-deadline."""

from __future__ import annotations

from pcemu.qom import Device, State, Timer

from .apic_regs import LVT_MASKED, LVT_TIMER, TIMER_PERIODIC, TIMER_TSC_DEADLINE

# A guest may ask for a tick every few nanoseconds; the machine would do nothing else.
MIN_PERIOD_NS = 5_000


class ApicTimer(Device):
    """The timer's part of a local APIC; what it raises goes to `accept`."""

    lvt = State("u32[6]", reset=LVT_MASKED)
    initial_count = State("u32")
    divide = State("u32", help="divide configuration register")
    shift = State("u8", reset=1, help="log2 of the divider")
    load_time = State("s64", help="when the count was loaded, ns")
    tsc_deadline = State("u64")

    timer: Timer

    def accept(self, vector: int, level: int) -> None:
        raise NotImplementedError

    def current_count(self) -> int:
        """Counts down from the initial count, a tick each 2^shift ns (11.5.4)."""
        initial: int = self.initial_count
        if not initial:
            return 0
        gone: int = (self.machine.clock.now() - self.load_time) >> self.shift
        if self.lvt[LVT_TIMER] >> 17 & 3 == TIMER_PERIODIC:
            return initial - gone % initial
        return initial - gone if gone < initial else 0

    def write_initial_count(self, value: int) -> None:
        if self.lvt[LVT_TIMER] >> 17 & 3 == TIMER_TSC_DEADLINE:
            return
        self.initial_count = value & 0xFFFFFFFF
        self.load_time = self.machine.clock.now()
        self._arm_timer()

    def write_divide(self, value: int) -> None:
        """Bits 3, 1 and 0: 000 is divide by 2, ... 110 by 128, 111 by 1."""
        self.divide = value & 0xB
        shift = ((value & 3 | value >> 1 & 4) + 1) & 7
        if shift == self.shift:
            return
        left = self.current_count()
        self.shift = shift
        # The count goes on from where it is, at the new rate.
        gone = self.initial_count - left if left else self.initial_count
        self.load_time = self.machine.clock.now() - (gone << shift)
        if left or self.lvt[LVT_TIMER] >> 17 & 3 == TIMER_PERIODIC:
            self._arm_timer()

    def _arm_timer(self) -> None:
        """(Re)arm for the next expiry. A masked timer counts without waking anybody."""
        entry = self.lvt[LVT_TIMER]
        mode = entry >> 17 & 3
        if mode == TIMER_TSC_DEADLINE:
            if self.tsc_deadline:
                self.timer.arm(min(self.tsc_deadline, 2**63 - 2))
            else:
                self.timer.cancel()
            return
        initial = self.initial_count
        if not initial or entry & LVT_MASKED or mode > TIMER_PERIODIC:
            self.timer.cancel()
            return
        period = initial << self.shift
        first = self.load_time + period
        now = self.machine.clock.now()
        if mode == TIMER_PERIODIC:
            if first <= now:
                first = self.load_time + ((now - self.load_time) // period + 1) * period
            if period < MIN_PERIOD_NS:
                first = max(first, now + MIN_PERIOD_NS)
        elif first <= now:
            self.timer.cancel()  # expired while it was masked
            return
        self.timer.arm(first)

    def on_timer(self) -> None:
        entry = self.lvt[LVT_TIMER]
        mode = entry >> 17 & 3
        if mode == TIMER_TSC_DEADLINE:
            self.tsc_deadline = 0
        elif mode == TIMER_PERIODIC:
            self._arm_timer()
        if not entry & LVT_MASKED:
            self.accept(entry & 0xFF, 0)

    def tsc_deadline_msr(self, value: int | None) -> int:
        """IA32_TSC_DEADLINE: zero disarms, a past value fires at once (11.5.4.1)."""
        if value is not None and self.lvt[LVT_TIMER] >> 17 & 3 == TIMER_TSC_DEADLINE:
            self.tsc_deadline = value & 0xFFFFFFFFFFFFFFFF
            self._arm_timer()
        return self.tsc_deadline
