"""IA-PC HPET, the high precision event timer (specification 1.0a, Intel and Microsoft, 2004).

A 100 MHz counter and 3 to 32 comparators. With legacy replacement routing, timers 0 and 1 take the place of the
8254 and of the RTC on their interrupt lines; until then those two pass through (inputs 0 and 1).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pcemu.qom import IrqIn, IrqOut, MmioWindow, Property, State, SysBusDevice, Timer

TICK_NS = 10  # 100 MHz
MIN_TIMERS, MAX_TIMERS = 3, 32
LINES = 32

# Register offsets (table 2).
CAPABILITIES, CONFIG, STATUS, COUNTER, TIMERS = 0x000, 0x010, 0x020, 0x0F0, 0x100
CFG_ENABLE, CFG_LEGACY = 1, 2

# Timer configuration (2.3.8).
T_LEVEL, T_ENABLE, T_PERIODIC, T_PERIODIC_CAP, T_64BIT_CAP, T_SET_VALUE, T_32BIT, T_FSB, T_FSB_CAP = (
    1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 8, 1 << 14, 1 << 15)  # fmt: skip
T_WRITABLE = T_LEVEL | T_ENABLE | T_PERIODIC | T_SET_VALUE | T_32BIT | 0x1F << 9
MASK32, MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF

# A guest may ask for a tick every 10 ns; the machine would do nothing else.
MIN_PERIOD_TICKS = 500
LEGACY_LINES = (0, 8)  # the 8254's and the RTC's
NEVER = 2**63 - 1


class Hpet(SysBusDevice):
    """HPET with a 100 MHz counter; every timer is 64 bits wide and may be periodic."""

    type_name = "hpet"
    desc = "high precision event timer"
    trace_events = ("hpet_ram_read", "hpet_ram_write")

    timers = Property("u8", default=3, help="comparators, 3 to 32")
    msi = Property(bool, help="timers can send messages (FSB delivery)")
    hpet_intcap = Property("u32", default=0, fmt="hex", help="interrupt lines the timers can be routed to, a bit each")
    hpet_offset_saved = Property(bool, default=True, help="the offset is in a saved state", inert="there are no saved states")

    config = State("u64")
    status = State("u64", help="level-triggered interrupts that are active")
    counter = State("u64", help="the counter while it stands still")
    offset = State("any", reset=0, help="virtual ns + offset = ns the counter has run")
    t_config = State("u64[32]")
    t_compare = State("u64[32]", reset=MASK64)
    t_period = State("u64[32]")
    t_fsb = State("u64[32]")
    legacy_level = State("u8[2]", help="levels from the 8254 and the RTC")

    irq_in = IrqIn(2, "on_legacy")
    pit_enabled = IrqOut()
    irqs = IrqOut(LINES, name="sysbus-irq")
    mmio = MmioWindow(None, 0x400, "mmio_read", "mmio_write", access=(4, 8))

    def __init__(self, machine: Any, *args: Any, **props: Any) -> None:
        super().__init__(machine, *args, **props)
        self.clocks: list[Timer] = []

    def realize(self) -> None:
        self.timers = min(max(self.timers, MIN_TIMERS), MAX_TIMERS)
        self.capabilities = 0x8086A001 | (self.timers - 1) << 8 | TICK_NS * 10**6 << 32
        self.clocks = [self.machine.clock.timer(partial(self.on_timer, n)) for n in range(self.timers)]

    def reset(self) -> None:
        super().reset()
        caps = T_PERIODIC_CAP | T_64BIT_CAP | (T_FSB_CAP if self.msi else 0) | self.hpet_intcap << 32
        for n, clock in enumerate(self.clocks):
            clock.cancel()
            self.t_config[n] = caps
        for pin in self.irq_in.pins:
            self.on_legacy(pin.index, pin.level)
        self.pit_enabled.set(1)

    # -- counter --------------------------------------------------------------------------------------------

    def ticks(self) -> int:
        """The counter; more than 64 bits are cut off where it is looked at."""
        if not self.config & CFG_ENABLE:
            return self.counter
        return (self.machine.clock.now() + self.offset) // TICK_NS

    # -- comparators ----------------------------------------------------------------------------------------

    def _mask(self, n: int) -> int:
        return MASK32 if self.t_config[n] & T_32BIT else MASK64

    def _arm(self, n: int, matched: bool = False) -> None:
        """Wait for the counter to equal comparator n; just now does not count when it `matched` already."""
        clock = self.clocks[n]
        if not self.config & CFG_ENABLE:
            clock.cancel()
            return
        mask = self._mask(n)
        now = self.ticks()
        left = (self.t_compare[n] - now) & mask
        if matched and not left:
            left = mask + 1
        deadline = (now + left) * TICK_NS - self.offset
        if deadline < NEVER:
            clock.arm(deadline)
        else:
            clock.cancel()

    def on_timer(self, n: int) -> None:
        config = self.t_config[n]
        period = self.t_period[n]
        if config & T_PERIODIC and period:
            mask = self._mask(n)
            late = (self.ticks() - self.t_compare[n]) & mask
            skip = late // period
            if period < MIN_PERIOD_TICKS:
                skip += MIN_PERIOD_TICKS // period
            self.t_compare[n] = (self.t_compare[n] + (skip + 1) * period) & mask
        self._arm(n, matched=True)
        if not config & T_ENABLE:
            return
        if config & T_FSB and self.msi:
            fsb = self.t_fsb[n]
            self.machine.memory.st(fsb >> 32, 4, fsb & MASK32)
        elif config & T_LEVEL:
            self.status |= 1 << n
            self._drive(self._route(n))
        else:
            self.irqs[self._route(n)].pulse()

    def _route(self, n: int) -> int:
        if n < 2 and self.config & CFG_LEGACY:
            return LEGACY_LINES[n]
        return self.t_config[n] >> 9 & 0x1F

    def _drive(self, line: int) -> None:
        """A line is high while any level-triggered timer routed to it is active."""
        level = 0
        for n in range(self.timers):
            config = self.t_config[n]
            if self.status >> n & 1 and config & T_LEVEL and config & T_ENABLE and self._route(n) == line:
                level = 1
        if not self.config & CFG_LEGACY and line in LEGACY_LINES:
            level |= self.legacy_level[LEGACY_LINES.index(line)]
        self.irqs[line].set(level)

    def on_legacy(self, pin: int, level: int) -> None:
        """The 8254 (0) or the RTC (1), that this chip passes on unless it replaces them."""
        self.legacy_level[pin] = level
        if not self.config & CFG_LEGACY:
            self._drive(LEGACY_LINES[pin])

    # -- registers ------------------------------------------------------------------------------------------

    def mmio_read(self, offset: int, size: int) -> int:
        if offset == COUNTER:  # the clock of many a guest
            return self.ticks() & (MASK64 if size == 8 else MASK32)
        value = self._read(offset & ~7) >> ((offset & 4) << 3)
        if self.tracing:
            self.trace("hpet_ram_read", addr=offset, value=value)
        return value

    def _read(self, register: int) -> int:
        if register >= TIMERS:
            n, which = (register - TIMERS) >> 5, register & 0x18
            if n >= self.timers or which == 0x18:
                return 0
            value: int = (self.t_config, self.t_compare, self.t_fsb)[which >> 3][n]
            return value
        if register == COUNTER:
            return self.ticks() & MASK64
        return {CAPABILITIES: self.capabilities, CONFIG: self.config, STATUS: self.status}.get(register, 0)

    def mmio_write(self, offset: int, value: int, size: int) -> None:
        if self.tracing:
            self.trace("hpet_ram_write", addr=offset, value=value, size=size)
        register, shift = offset & ~7, (offset & 4) << 3
        mask = (MASK64 if size == 8 else MASK32) << shift
        value = value << shift & mask
        if register >= TIMERS:
            n, which = (register - TIMERS) >> 5, register & 0x18
            if n >= self.timers or which == 0x18:
                self.log_guest_error("write of %#x at %#x", value, offset)
            elif which == 0x00:
                self._write_config(n, self.t_config[n] & ~mask | value)
            elif which == 0x08:
                self._write_comparator(n, mask, value)
            elif self.msi:
                self.t_fsb[n] = self.t_fsb[n] & ~mask | value
        elif register == CONFIG:
            self._write_general(self.config & ~mask | value)
        elif register == STATUS:
            self._clear(value)
        elif register == COUNTER and not self.config & CFG_ENABLE:
            self.counter = self.counter & ~mask | value
        else:
            self.log_guest_error("write of %#x at %#x", value, offset)

    def _write_general(self, new: int) -> None:
        """General configuration (2.3.5): overall enable and legacy replacement."""
        new &= CFG_ENABLE | CFG_LEGACY
        old = self.config
        if (old ^ new) & CFG_ENABLE:
            if new & CFG_ENABLE:
                self.offset = self.counter * TICK_NS - self.machine.clock.now()
            else:
                self.counter = self.ticks() & MASK64
        self.config = new
        if (old ^ new) & CFG_ENABLE:
            for n in range(self.timers):
                self._arm(n)
                if not new & CFG_ENABLE:
                    self.status &= ~(1 << n)
        if old != new:
            for line in {*LEGACY_LINES, *(config >> 9 & 0x1F for config in self.t_config)}:
                self._drive(line)
            self.pit_enabled.set(0 if new & CFG_LEGACY else 1)

    def _clear(self, value: int) -> None:
        """General interrupt status (2.3.6): writing ones clears."""
        cleared = self.status & value
        self.status &= ~cleared
        for n in range(self.timers):
            if cleared >> n & 1:
                self._drive(self._route(n))

    def _write_config(self, n: int, new: int) -> None:
        """Timer n configuration (2.3.8)."""
        old = self.t_config[n]
        writable = T_WRITABLE | (T_FSB if self.msi else 0)
        new = old & ~writable | new & writable
        if not self.hpet_intcap >> (new >> 9 & 0x1F) & 1:
            new = new & ~(0x1F << 9) | old & 0x1F << 9  # a line it cannot use is not taken
        before = self._route(n)
        self.t_config[n] = new
        if new & T_32BIT:
            self.t_compare[n] &= MASK32
            self.t_period[n] &= MASK32
        if not new & T_LEVEL or not new & T_ENABLE:
            self.status &= ~(1 << n)
        for line in {before, self._route(n)}:
            self._drive(line)
        self._arm(n)

    def _write_comparator(self, n: int, mask: int, value: int) -> None:
        """Comparator (2.3.9). In periodic mode it sets the period, and with T_SET_VALUE the next match as well."""
        config = self.t_config[n]
        width = self._mask(n)
        if not config & T_PERIODIC or config & T_SET_VALUE:
            self.t_compare[n] = (self.t_compare[n] & ~mask | value) & width
        if config & T_PERIODIC:
            self.t_period[n] = (self.t_period[n] & ~mask | value) & width
        self.t_config[n] = config & ~T_SET_VALUE
        self._arm(n)
