"""Intel 8254 programmable interval timer.

Datasheet: Intel 8254, order number 231164-005. Three 16-bit counters on one clock of 1.193182 MHz; counter 0 is
the PC's IRQ 0, counter 1 once refreshed memory, counter 2 drives the speaker (port 0x61).

Nothing happens at each clock pulse. A counter knows the pulse at which its counting element was loaded, and what
it holds and what OUT shows at any later pulse is arithmetic. Pulse k comes at virtual time k / 1193182 s.

A count written or a trigger takes effect at the next pulse. An access of the ISA bus takes longer than a pulse, so
programs rely on the next access finding it done (Linux reads the counter once "to delay for a microsecond"). Accesses
take no time here; therefore the counter is loaded at once, and counts from the next pulse on.
"""

from __future__ import annotations

from typing import Any

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import IrqIn, IrqOut, PortWindow, Property, State, Timer

FREQUENCY = 1193182
NS = 1_000_000_000

LSB, MSB, LSB_MSB = 1, 2, 3  # RW1 and RW0 of the control word


class Counter:
    """One of the three counters. Times are numbers of clock pulses.

    `loaded`: since the control word a count went from CR (count register) into CE (counting element), which holds
    `initial` at pulse `start` and counts from there, or stands still after `held` pulses because GATE is low.
    `pending`: the pulse, at the end of a cycle or half cycle, at which a new count is loaded (modes 2 and 3).
    """

    __slots__ = (
        "armed", "bcd", "cr", "gate", "held", "initial", "latch", "loaded", "low_byte", "low_half",
        "mode", "mode_bits", "null_count", "pending", "read_high", "residue", "rw", "start", "status",
    )  # fmt: skip

    def __init__(self, gate: int = 1) -> None:
        self.gate = gate
        self.mode = 3
        self.mode_bits = 3  # as written: 6 and 7 are other names of modes 2 and 3
        self.rw = LSB_MSB
        self.bcd = False
        self.cr = 0
        self.low_byte: int | None = None  # first byte of a count of which the second is awaited
        self.read_high = False  # the next read is the second byte's
        self.latch: int | None = None
        self.status: int | None = None  # latched by the read-back command
        self.armed = False  # a count was written since the control word
        self.null_count = False  # CR holds what CE has not seen yet
        self.pending: int | None = None
        self.low_half = False  # mode 3: the low half starts at pending
        self.loaded = False
        self.initial = 0x10000
        self.start = 0
        self.held: int | None = None
        self.residue = 0  # what CE holds while not loaded

    def free_run(self, pulse: int) -> None:
        """What a chip does that nobody programmed is undefined; this one counts 65536, mode 3."""
        self.armed = True
        self._load(pulse)

    # -- counting -------------------------------------------------------------------------------------------

    def _modulus(self) -> int:
        return 10000 if self.bcd else 0x10000

    def _count(self) -> int:
        """The number of pulses that CR stands for; 0 is the largest."""
        raw = self.cr
        if self.bcd:
            raw = (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15)
        return raw or self._modulus()

    def _load(self, pulse: int) -> None:
        self.initial = self._count()
        self.start = pulse
        if self.low_half:
            self.start -= (self.initial + 1) >> 1
        self.held = None if self.gate or self.mode in (1, 5) else 0
        self.loaded = True
        self.null_count = self.low_half = False
        self.pending = None

    def sync(self, pulse: int) -> None:
        """Catch up with a load that is due."""
        if self.pending is not None and pulse >= self.pending:
            self._load(self.pending)

    def _elapsed(self, pulse: int) -> int:
        """Pulses counted."""
        if self.held is not None:
            return self.held
        return pulse - self.start if pulse > self.start else 0

    def value(self, pulse: int) -> int:
        """CE, as it is read."""
        if not self.loaded:
            return self.residue
        n = self.initial
        elapsed = self._elapsed(pulse)
        if self.mode == 2:
            value = n - elapsed % n
        elif self.mode == 3:
            # Counts by two, twice per cycle; an odd count is loaded one less and its high half is a pulse longer.
            at, high = elapsed % n, (n + 1) >> 1
            value = (n & ~1) - 2 * (at if at < high else at - high)
        else:
            value = n - elapsed
        value %= self._modulus()
        if self.bcd:
            value = value // 1000 << 12 | value // 100 % 10 << 8 | value // 10 % 10 << 4 | value % 10
        return value

    def out(self, pulse: int) -> int:
        """The OUT pin."""
        mode = self.mode
        if not self.loaded:
            return 0 if mode == 0 else 1
        n = self.initial
        elapsed = self._elapsed(pulse)
        if mode < 2:
            return 1 if elapsed >= n else 0
        if mode > 3:
            return 0 if elapsed == n else 1
        if self.held is not None:
            return 1  # GATE low
        if mode == 3:
            return 1 if elapsed % n < (n + 1) >> 1 else 0
        return 0 if elapsed % n == n - 1 else 1

    def next_change(self, pulse: int) -> int | None:
        """The next pulse (after `pulse`, which is synced) at which OUT changes; None: it stays as it is.

        In modes 2, 4 and 5 it is the end of the one pulse for which OUT is low.
        """
        if not self.loaded or self.held is not None:
            return None
        n, mode = self.initial, self.mode
        elapsed = self._elapsed(pulse)
        if mode in (2, 3):
            if n == 1:
                return self.pending  # not a legal count: OUT does not move
            half, end = self._cycle(pulse)
            return half if mode == 3 and pulse < half else end
        change = n if mode < 2 else n + 1
        return self.start + change if elapsed < change else None

    def _cycle(self, pulse: int) -> tuple[int, int]:
        """Modes 2 and 3: the pulses at which this cycle's low half starts and at which it ends."""
        n = self.initial
        start = self.start + self._elapsed(pulse) // n * n
        return start + ((n + 1) >> 1), start + n

    # -- programming ----------------------------------------------------------------------------------------

    def control(self, word: int, pulse: int) -> None:
        """Control word: the counter stops, and OUT goes to the mode's first level at once."""
        self.sync(pulse)
        self.residue = self.value(pulse)
        self.rw = word >> 4 & 3
        self.mode_bits = word >> 1 & 7
        self.mode = self.mode_bits & 3 if self.mode_bits > 5 else self.mode_bits
        self.bcd = bool(word & 1)
        self.cr = 0
        self.null_count = True
        self.armed = self.loaded = self.read_high = self.low_half = False
        self.pending = self.held = self.low_byte = self.latch = self.status = None

    def write(self, value: int, pulse: int) -> None:
        """A byte of a count."""
        self.sync(pulse)
        if self.rw == LSB:
            self.cr = value
        elif self.rw == MSB:
            self.cr = value << 8
        elif self.low_byte is None:
            self.low_byte = value
            if self.mode == 0:  # the first byte stops the counting, and OUT goes low
                self.residue = self.value(pulse)
                self.loaded = False
            return
        else:
            self.cr = value << 8 | self.low_byte
            self.low_byte = None
        self.armed = self.null_count = True
        mode = self.mode
        if mode in (0, 4) or (mode in (2, 3) and not self.loaded):
            self._load(pulse + 1)
        elif mode in (2, 3) and self.held is None and self.pending is None:
            # Counting goes on with the old count to the end of the cycle (mode 3: half cycle).
            half, end = self._cycle(pulse)
            self.low_half = mode == 3 and pulse < half and self.initial > 1
            self.pending = half if self.low_half else end

    def set_gate(self, level: int, pulse: int) -> None:
        """The GATE pin: its level lets modes 0, 2, 3 and 4 count, its rising edge triggers modes 1, 2, 3 and 5."""
        if level == self.gate:
            return
        self.sync(pulse)
        self.gate = level
        mode = self.mode
        if mode in (1, 5):
            if level and self.armed:
                self._load(pulse + 1)
        elif self.loaded:
            if not level:
                self.held = self._elapsed(pulse)
                self.pending = None  # the cycle does not end any more
                self.low_half = False
            elif mode in (2, 3):
                self._load(pulse + 1)
            elif self.held is not None:
                self.start = max(self.start, pulse - self.held)
                self.held = None

    # -- reading --------------------------------------------------------------------------------------------

    def latch_count(self, pulse: int) -> None:
        if self.latch is None:
            self.sync(pulse)
            self.latch = self.value(pulse)

    def latch_status(self, pulse: int) -> None:
        if self.status is None:
            self.sync(pulse)
            self.status = (
                self.out(pulse) << 7 | self.null_count << 6 | self.rw << 4 | self.mode_bits << 1 | int(self.bcd)
            )

    def read(self, pulse: int) -> int:
        """A latched status first, then a latched count, else the counter as it runs."""
        if self.status is not None:
            status, self.status = self.status, None
            return status
        value = self.latch
        if value is None:
            self.sync(pulse)
            value = self.value(pulse)
        if self.rw == LSB_MSB:
            self.read_high = not self.read_high
            if self.read_high:
                return value & 0xFF
            self.latch = None
            return value >> 8
        self.latch = None
        return value & 0xFF if self.rw == LSB else value >> 8


class I8254(IsaDevice):
    """Intel 8254 programmable interval timer (231164-005)."""

    type_name = "isa-pit"
    desc = "interval timer"
    user_creatable = False
    trace_events = ("pit_ioport_read", "pit_ioport_write", "pit_set_gate")

    iobase = Property("u32", default=0xFFFFFFFF, fmt="hex", help="first of four I/O ports")

    counters = State("any", reset=lambda: [Counter(), Counter(), Counter(gate=0)])
    irq_disabled = State("bool", help="IRQ 0 belongs to somebody else (the HPET in legacy replacement mode)")

    irq = IrqOut()
    irq_control = IrqIn(1, "on_irq_control")
    ports = PortWindow("iobase", 4, "io_read", "io_write", access=(1, 1), name="pit")

    def realize(self) -> None:
        self._now = self.machine.clock.now
        self._timer: Timer = self.machine.clock.timer(self._on_timer)

    def reset(self) -> None:
        super().reset()
        pulse = self.pulse()
        for counter in self.counters:
            counter.free_run(pulse)
        self._update()

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        self._update()

    def pulse(self) -> int:
        """How many clock pulses there were."""
        return self._now() * FREQUENCY // NS

    # -- pins -----------------------------------------------------------------------------------------------

    def out(self, index: int) -> int:
        """OUT of a counter, now."""
        counter = self.counters[index]
        pulse = self._now() * FREQUENCY // NS
        counter.sync(pulse)
        level: int = counter.out(pulse)
        return level

    def set_gate(self, index: int, level: int) -> None:
        """GATE of a counter. In a PC those of counters 0 and 1 are always high."""
        if self.tracing:
            self.trace("pit_set_gate", counter=index, level=level)
        if index == 0:
            self._catch_up()
        self.counters[index].set_gate(1 if level else 0, self.pulse())
        if index == 0:
            self._update()

    def on_irq_control(self, pin: int, level: int) -> None:
        self._catch_up()
        self.irq_disabled = not level
        self._update()

    def _update(self) -> None:
        """Drive IRQ 0 with OUT of counter 0, and come back when that changes."""
        counter = self.counters[0]
        pulse = self.pulse()
        counter.sync(pulse)
        if self.irq_disabled:
            self.irq.set(0)
            self._timer.cancel()
            return
        self.irq.set(counter.out(pulse))
        self._arm(counter, pulse)

    def _arm(self, counter: Counter, pulse: int) -> None:
        change = counter.next_change(pulse)
        if change is None:
            self._timer.cancel()
        else:
            self._timer.arm(-(-change * NS // FREQUENCY))

    def _on_timer(self) -> None:
        """OUT of counter 0 changed; how many times, if the timer is late, does not matter."""
        counter = self.counters[0]
        pulse = self._now() * FREQUENCY // NS
        counter.sync(pulse)
        level = counter.out(pulse)
        irq = self.irq
        if level == irq.level:
            irq.set(not level)  # it was the other one in between
        irq.set(level)
        self._arm(counter, pulse)

    def _catch_up(self) -> None:
        """Before counter 0 is touched: a change that is due and was not looked at yet must not get lost."""
        deadline = self._timer.deadline
        if deadline is not None and deadline <= self._now():
            self._on_timer()

    # -- registers ------------------------------------------------------------------------------------------

    def io_read(self, offset: int, size: int) -> int:
        if offset == 3:
            return 0xFF  # no operation: the data pins are not driven
        value: int = self.counters[offset].read(self._now() * FREQUENCY // NS)
        if self.tracing:
            self.trace("pit_ioport_read", addr=offset, value=value)
        return value

    def io_write(self, offset: int, value: int, size: int) -> None:
        if self.tracing:
            self.trace("pit_ioport_write", addr=offset, value=value)
        pulse = self._now() * FREQUENCY // NS
        index = offset if offset != 3 else value >> 6
        if offset == 3:
            if index == 3:
                self._read_back(value, pulse)
                return
            if not value & 0x30:
                self.counters[index].latch_count(pulse)
                return
        counter = self.counters[index]
        if index == 0:
            self._catch_up()
        if offset == 3:
            counter.control(value, pulse)
        else:
            counter.write(value, pulse)
        if index == 0:
            self._update()

    def _read_back(self, command: int, pulse: int) -> None:
        """Read-back command: latches counts and statuses of several counters at once; the bits are low-active."""
        for index, counter in enumerate(self.counters):
            if command & 2 << index:
                if not command & 0x20:
                    counter.latch_count(pulse)
                if not command & 0x10:
                    counter.latch_status(pulse)
