"""Motorola MC146818A real-time clock with its battery-backed memory, the PC's CMOS.

Datasheet: Motorola MC146818A, ADI1054. The century in byte 0x32 is the PC's addition.

The clock is not counted but computed when somebody looks: seconds since 1970 follow from the machine's time of
day and an offset the guest has set. Flags that rose since the last look are found out then; a timer runs only
while an interrupt is enabled and not already asserted.
"""

from __future__ import annotations

from typing import Any

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import IrqOut, PortWindow, Property, State, Timer

NS = 1_000_000_000
CRYSTAL = 32768

SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM = range(6)
DAY_OF_WEEK, DAY, MONTH, YEAR = 6, 7, 8, 9
REG_A, REG_B, REG_C, REG_D = 10, 11, 12, 13
CENTURY = 0x32
PS2_CENTURY = 0x37  # where the PS/2 has it; the same byte
TIME_BYTES = frozenset((SECONDS, MINUTES, HOURS, DAY_OF_WEEK, DAY, MONTH, YEAR, CENTURY))
ALARM_BYTES = frozenset((SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM))

UIP = 0x80  # register A
DIVIDER = 0x70
DIVIDER_32K = 0x20
B_SET, B_PIE, B_AIE, B_UIE, B_SQWE, B_DM, B_24H = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02
IRQF, PF, AF, UF = 0x80, 0x40, 0x20, 0x10  # register C; PF, AF and UF have their enables at the same place in B
FLAGS = PF | AF | UF
VRT = 0x80  # register D

# Update cycle with a 32.768 kHz crystal: UIP rises 244 us before it, and it takes 1984 us (table 5).
UIP_NS = 244_000 + 1_984_000
REINJECTIONS = 20  # lost periodic interrupts made up for between two ordinary ones
MOST_LOST = 0xFFFF


def days_from_date(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01; month and day may be out of range and carry."""
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    shifted = year - (month <= 2)  # years that begin in March have their leap day last
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5
    return 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year + day - 1 - 719468


def date_from_days(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a day counted from 1970-01-01."""
    era, rest = divmod(days + 719468, 146097)
    year = (rest - rest // 1460 + rest // 36524 - rest // 146096) // 365
    day_of_year = rest - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = (shifted + 2) % 12 + 1
    return era * 400 + year + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


class Mc146818Rtc(IsaDevice):
    """Motorola MC146818A real-time clock and CMOS RAM."""

    type_name = "mc146818rtc"
    desc = "real-time clock"
    user_creatable = False
    trace_events = ("rtc_read", "rtc_write", "rtc_irq")

    base_year = Property("s32", name="base_year", default=1980, help="what the year is counted from; 2000: see century")
    iobase = Property("u16", default=0x70, fmt="hex", help="first of two I/O ports")
    irq_number = Property("u8", name="irq", default=8, max=15, help="ISA interrupt line")
    lost_tick_policy = Property("enum", name="lost_tick_policy", default="discard", choices=("discard", "delay", "slew"),
                                label="LostTickPolicy",
                                help="periodic interrupts that the guest missed: dropped, or made up for")  # fmt: skip

    index = State("u8", help="the byte that port 1 is")
    nmi_masked = State("bool", help="bit 7 of port 0 as written")
    cmos = State("u8[128]", kept=True, help="registers and RAM; the time is there only while the clock stands still")
    offset = State("any", kept=True, help="ns from the machine's time of day to the clock's")
    day_offset = State("u8", kept=True, help="what makes of a date's day of the week the one the guest has set")
    mark = State("any", kept=True, help="the clock's ns up to which flags have been found out")
    lost = State("u16", help="periodic interrupts still to be made up for")
    reinjected = State("u8", help="how many were, since the last ordinary one")

    irq = IrqOut()
    ports = PortWindow("iobase", 2, "io_read", "io_write", access=(1, 1), name="rtc")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cmos[REG_A] = DIVIDER_32K | 6  # as a BIOS leaves it: 32.768 kHz, 1024 Hz
        self.cmos[REG_B] = B_24H
        self.cmos[REG_D] = VRT

    def realize(self) -> None:
        if self.base_year == 2000:
            self.base_year = 0  # two digits and the century byte say it all
        if self.machine.rtc_config.driftfix == "slew":
            self.lost_tick_policy = "slew"
        if self.lost_tick_policy == "delay":
            raise self.fail("lost_tick_policy: 'delay' is not for this device; one of discard, slew")
        self._timer: Timer = self.machine.clock.timer(self._on_timer)
        self.mark = self._now()

    def reset(self) -> None:
        """The RESET pin: interrupts off, flags off. The battery keeps the time and the memory."""
        super().reset()
        self._sync()
        self.cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE)
        self.cmos[REG_C] = 0
        self._timer.cancel()

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        self._on_timer()

    # -- for the board and the loader -----------------------------------------------------------------------

    def set_cmos(self, index: int, value: int) -> None:
        """Set a byte of CMOS RAM, as a BIOS's setup would (registers and time are left alone)."""
        index &= 0x7F
        if index > REG_D and index != CENTURY:
            self.cmos[index] = value & 0xFF

    def get_cmos(self, index: int) -> int:
        """What the guest would read, without side effects."""
        index &= 0x7F
        if index == REG_A:
            return self.cmos[REG_A] | (UIP if self._updating(self._now()) else 0)
        if index in TIME_BYTES and self._running():
            return self._encode_time(self._now())[index]
        return self.cmos[index]

    def calendar(self) -> dict[str, int]:
        """The time it shows, as C's `struct tm` has it (months from 0, years from 1900)."""
        days, second = divmod(self._now() // NS, 86400)
        year, month, day = date_from_days(days)
        return {"tm_year": year - 1900, "tm_mon": month - 1, "tm_mday": day,
                "tm_hour": second // 3600, "tm_min": second // 60 % 60, "tm_sec": second % 60}  # fmt: skip

    # -- the clock ------------------------------------------------------------------------------------------

    def _now(self) -> int:
        """The clock's own time in ns since 1970. The divider is its part below a second."""
        value: int = self.machine.rtc_ns() + self.offset
        return value

    def _divider_runs(self) -> bool:
        return self.cmos[REG_A] & DIVIDER <= DIVIDER_32K

    def _running(self) -> bool:
        """Does the time advance? Else it is in `cmos`, as the guest sets it."""
        return not self.cmos[REG_B] & B_SET and self.cmos[REG_A] & DIVIDER <= DIVIDER_32K

    def _updating(self, now: int) -> bool:
        return self._running() and now % NS >= NS - UIP_NS

    def _number(self, value: int) -> int:
        """A number as the registers hold it (register B, DM)."""
        value %= 100
        return value if self.cmos[REG_B] & B_DM else value // 10 << 4 | value % 10

    def _from_number(self, raw: int) -> int:
        return raw if self.cmos[REG_B] & B_DM else (raw >> 4) * 10 + (raw & 15)

    def _hour(self, hour: int) -> int:
        if self.cmos[REG_B] & B_24H:
            return self._number(hour)
        return self._number((hour + 11) % 12 + 1) | (0x80 if hour >= 12 else 0)

    def _from_hour(self, raw: int) -> int:
        if self.cmos[REG_B] & B_24H:
            return self._from_number(raw)
        return self._from_number(raw & 0x7F) % 12 + (12 if raw & 0x80 else 0)

    def _encode_time(self, now: int) -> dict[int, int]:
        days, second = divmod(now // NS, 86400)
        year, month, day = date_from_days(days)
        year = max(0, year - self.base_year)
        return {
            SECONDS: self._number(second % 60),
            MINUTES: self._number(second // 60 % 60),
            HOURS: self._hour(second // 3600),
            DAY_OF_WEEK: self._number((days + 4 + self.day_offset) % 7 + 1),  # Sunday is 1
            DAY: self._number(day),
            MONTH: self._number(month),
            YEAR: self._number(year),
            CENTURY: self._number(year // 100),
        }

    def _stop(self, now: int) -> None:
        """Put the time where the guest can change it."""
        for index, value in self._encode_time(now).items():
            self.cmos[index] = value

    def _start(self, now: int) -> None:
        """Go on from the time in the registers; the divider is as it is. Values out of range carry."""
        cmos, number = self.cmos, self._from_number
        year = number(cmos[YEAR]) + number(cmos[CENTURY]) * 100 + self.base_year
        days = days_from_date(year, number(cmos[MONTH]), number(cmos[DAY]))
        second = self._from_hour(cmos[HOURS]) * 3600 + number(cmos[MINUTES]) * 60 + number(cmos[SECONDS])
        days, second = days + second // 86400, second % 86400
        self.day_offset = (number(cmos[DAY_OF_WEEK]) - 1 - (days + 4)) % 7
        then = (days * 86400 + second) * NS + now % NS
        self.offset += then - now
        self.mark = then
        if abs(then - now) >= NS and self.machine.listeners:
            change = {"offset": round(self.offset / NS), "qom-path": self.machine.path_of(self)}
            self.machine.emit_event("RTC_CHANGE", change)

    # -- flags and interrupts -------------------------------------------------------------------------------

    def _period(self) -> int:
        """Cycles of the crystal between periodic interrupts, 0 for none (table 5, rate selection)."""
        rate = self.cmos[REG_A] & 15
        if not rate or not self._divider_runs():
            return 0
        return 1 << (rate + 6 if rate < 3 else rate - 1)

    def _sync(self) -> int:
        """Set the flags of what happened since the last look; returns the clock's time."""
        now, mark = self._now(), self.mark
        self.mark = now
        if now <= mark:  # the host's clock was put back
            return now
        flags = 0
        period = self._period()
        if period:
            edges = now * CRYSTAL // NS // period - mark * CRYSTAL // NS // period
            if edges:
                flags = PF
                self.reinjected = 0
                if self.lost_tick_policy == "slew" and self.cmos[REG_B] & B_PIE:
                    self.lost = min(self.lost + edges, MOST_LOST)
        if now // NS != mark // NS and self._running():
            flags |= UF
            if not self.cmos[REG_C] & AF:
                alarm = self._next_alarm(mark // NS)
                if alarm is not None and alarm <= now // NS:
                    flags |= AF
        self.cmos[REG_C] |= flags
        return now

    def _next_alarm(self, second: int) -> int | None:
        """The first second after `second` at which the time matches the alarm bytes."""
        cmos = self.cmos
        hours = self._alarm_values(cmos[HOURS_ALARM], 24, self._hour)
        minutes = self._alarm_values(cmos[MINUTES_ALARM], 60, self._number)
        seconds = self._alarm_values(cmos[SECONDS_ALARM], 60, self._number)
        if not (hours and minutes and seconds):
            return None  # no time has these bytes
        days, start = divmod(second + 1, 86400)
        for hour in hours:
            for minute in minutes:
                base = hour * 3600 + minute * 60
                if base + seconds[-1] >= start:
                    for value in seconds:
                        if base + value >= start:
                            return days * 86400 + base + value
        return (days + 1) * 86400 + hours[0] * 3600 + minutes[0] * 60 + seconds[0]

    @staticmethod
    def _alarm_values(raw: int, count: int, encode: Any) -> list[int]:
        """The values an alarm byte matches; 0xc0 to 0xff is "don't care"."""
        if raw >= 0xC0:
            return list(range(count))
        return [value for value in range(count) if encode(value) == raw]

    def _update(self) -> None:
        """Drive IRQ, and come back when an enabled interrupt is due. Flags are found out already."""
        cmos = self.cmos
        enabled = cmos[REG_B] & FLAGS
        active = cmos[REG_C] & enabled
        cmos[REG_C] = cmos[REG_C] & FLAGS | (IRQF if active else 0)
        if self.tracing:
            self.trace("rtc_irq", level=int(bool(active)), flags=cmos[REG_C])
        self.irq.set(active)
        if active or not enabled:
            # Asserted until register C is read: further events change nothing.
            self._timer.cancel()
            return
        now = self.mark
        due: list[int] = []
        period = self._period()
        if enabled & PF and period:
            edge = (now * CRYSTAL // NS // period + 1) * period
            due.append(-(-edge * NS // CRYSTAL))
        if self._running():
            if enabled & UF:
                due.append((now // NS + 1) * NS)
            if enabled & AF:
                alarm = self._next_alarm(now // NS)
                if alarm is not None:
                    due.append(alarm * NS)
        if due:
            self._timer.arm_in(min(due) - now)
        else:
            self._timer.cancel()

    def _on_timer(self) -> None:
        self._sync()
        self._update()

    # -- registers ------------------------------------------------------------------------------------------

    def io_read(self, offset: int, size: int) -> int:
        if not offset:
            return 0xFF  # the index is write-only
        if self.index == REG_C:
            value = self._read_c()
        else:
            value = self.get_cmos(self.index)
        if self.tracing:
            self.trace("rtc_read", addr=self.index, value=value)
        return value

    def _read_c(self) -> int:
        """Reading the flags clears them and IRQ."""
        self._sync()
        self._update()
        value: int = self.cmos[REG_C]
        self.cmos[REG_C] = 0
        self._update()
        if self.lost and value & PF:
            self.lost -= 1
            if self.lost and self.cmos[REG_B] & B_PIE and self.reinjected < REINJECTIONS:
                self.reinjected += 1
                self.cmos[REG_C] = PF
                self._update()
        return value

    def io_write(self, offset: int, value: int, size: int) -> None:
        if not offset:
            self.index = value & 0x7F
            if self.index == PS2_CENTURY:
                self.index = CENTURY
            self.nmi_masked = bool(value & 0x80)
            return
        index = self.index
        if self.tracing:
            self.trace("rtc_write", addr=index, value=value)
        if index == REG_A:
            self._write_a(value)
        elif index == REG_B:
            self._write_b(value)
        elif index in (REG_C, REG_D):
            self.log_guest_error("write of %#x to read-only register %#x", value, index)
        elif index in TIME_BYTES:
            self._write_time(index, value)
        elif index in ALARM_BYTES:
            self._sync()
            self.cmos[index] = value
            self._update()
        else:
            self.cmos[index] = value

    def _write_time(self, index: int, value: int) -> None:
        if not self._running():
            self.cmos[index] = value
            return
        now = self._sync()
        self._stop(now)
        self.cmos[index] = value
        self._start(now)
        self._update()

    def _write_a(self, value: int) -> None:
        now = self._sync()
        ran, divided = self._running(), self._divider_runs()
        self.cmos[REG_A] = value & ~UIP
        runs = self._running()
        if ran and not runs:
            self._stop(now)
        if self._divider_runs() and not divided:
            # Out of divider reset: the first update comes half a second later.
            then = now // NS * NS + NS // 2
            self.offset += then - now
            self.mark = now = then
        if runs and not ran:
            self._start(now)
        self._update()

    def _write_b(self, value: int) -> None:
        now = self._sync()
        ran, format_changes = self._running(), (self.cmos[REG_B] ^ value) & (B_DM | B_24H)
        if ran and (value & B_SET or format_changes):
            self._stop(now)  # the bytes stay what they are, whatever DM and 24/12 make of them
        if value & B_SET:
            value &= ~B_UIE
        if not value & B_PIE:
            self.lost = 0
        self.cmos[REG_B] = value
        if self._running() and (format_changes or not ran):
            self._start(now)
        self._update()
