"""MC146818A: time registers and their formats, update cycle, divider, alarm, periodic and update interrupts, CMOS."""

from __future__ import annotations

import calendar
import datetime
import random

import pytest

from pcemu.hw.timer.mc146818rtc import Mc146818Rtc, date_from_days, days_from_date
from pcemu.testing.harness import TestMachine

NS = 10**9
MS = 10**6
US = 10**3
A, B, C, D = 10, 11, 12, 13
SET, PIE, AIE, UIE, SQWE, DM, H24 = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02
TICK = NS / 32768


class Rtc:
    def __init__(self, base: str = "2024-02-29T12:00:00", driftfix: str = "none") -> None:
        self.m = TestMachine()
        self.m.rtc_config.base = base
        self.m.rtc_config.driftfix = driftfix
        self.dev = self.m.add(Mc146818Rtc, base_year=2000)
        self.irq = self.m.watch(self.dev.irq)

    def __getitem__(self, index: int) -> int:
        self.m.outb(0x70, index)
        return self.m.inb(0x71)

    def __setitem__(self, index: int, value: int) -> None:
        self.m.outb(0x70, index)
        self.m.outb(0x71, value)

    def run(self, ns: float) -> None:
        self.m.clock.advance(round(ns))

    def time(self) -> tuple[int, ...]:
        """Century, year, month, day, hour, minute, second as the registers have them."""
        return tuple(self[i] for i in (0x32, 9, 8, 7, 4, 2, 0))

    def set(self, year: int, month: int, day: int, hour: int, minute: int, second: int, century: int = 0x20) -> None:
        self[B] = self[B] | SET
        for index, value in ((0x32, century), (9, year), (8, month), (7, day), (4, hour), (2, minute), (0, second)):
            self[index] = value
        self[B] = self[B] & ~SET


@pytest.fixture
def rtc() -> Rtc:
    return Rtc()


# -- reading and setting the time ------------------------------------------------------------------------------


def test_power_on(rtc: Rtc) -> None:
    assert (rtc[A], rtc[B], rtc[C], rtc[D]) == (0x26, 0x02, 0x00, 0x80)
    assert rtc.time() == (0x20, 0x24, 0x02, 0x29, 0x12, 0x00, 0x00)
    assert rtc[6] == 5, "a Thursday; Sunday is 1"
    assert rtc.m.inb(0x70) == 0xFF, "the index cannot be read"
    assert rtc.m.clock.pending() == [], "no interrupt is enabled: no timer"


def test_time_passes(rtc: Rtc) -> None:
    rtc.run(NS - 1)
    assert rtc[0] == 0x00
    rtc.run(1)
    assert rtc[0] == 0x01
    rtc.run(58 * NS)
    assert rtc.time()[-2:] == (0x00, 0x59)
    rtc.run(NS)
    assert rtc.time()[-2:] == (0x01, 0x00)
    rtc.run(12 * 3600 * NS)
    assert rtc.time() == (0x20, 0x24, 0x03, 0x01, 0x00, 0x01, 0x00)
    assert rtc[6] == 6


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((0x23, 0x02, 0x28), (0x23, 0x03, 0x01)),
        ((0x24, 0x02, 0x28), (0x24, 0x02, 0x29)),
        ((0x00, 0x02, 0x29), (0x00, 0x03, 0x01)),
        ((0x24, 0x04, 0x30), (0x24, 0x05, 0x01)),
        ((0x24, 0x12, 0x31), (0x25, 0x01, 0x01)),
    ],
)
def test_calendar(rtc: Rtc, before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
    rtc.set(*before, 0x23, 0x59, 0x59)
    rtc.run(NS)
    assert rtc.time()[1:4] == after


def test_century_carries(rtc: Rtc) -> None:
    rtc.set(0x99, 0x12, 0x31, 0x23, 0x59, 0x59, century=0x19)
    assert rtc.time() == (0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59)
    rtc.run(NS)
    assert rtc.time() == (0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00)
    assert rtc[0x37] == 0x20, "the PS/2's address of it"


def test_date_arithmetic() -> None:
    for days in range(-300000, 300000, 97):
        want = datetime.date(1970, 1, 1) + datetime.timedelta(days)
        assert date_from_days(days) == (want.year, want.month, want.day)
        assert days_from_date(want.year, want.month, want.day) == days
    assert days_from_date(2023, 14, 1) == days_from_date(2024, 2, 1)
    assert days_from_date(2024, 0, 0) == days_from_date(2023, 11, 30)


def test_day_of_week_counts_by_itself(rtc: Rtc) -> None:
    """The chip does not know which day a date is."""
    rtc[6] = 2
    assert rtc[6] == 2
    rtc.run(86400 * NS)
    assert rtc[6] == 3
    rtc.run(5 * 86400 * NS)
    assert rtc[6] == 1


def test_binary_mode(rtc: Rtc) -> None:
    rtc[B] = SET
    rtc[B] = SET | DM | H24
    for index, value in ((0x32, 20), (9, 31), (8, 10), (7, 19), (4, 23), (2, 58), (0, 59)):
        rtc[index] = value
    rtc[B] = DM | H24
    assert rtc.time() == (20, 31, 10, 19, 23, 58, 59)
    rtc.run(61 * NS)
    assert rtc.time() == (20, 31, 10, 20, 0, 0, 0)


@pytest.mark.parametrize("dm", [0, DM])
def test_12_hour_mode(rtc: Rtc, dm: int) -> None:
    rtc[B] = SET
    rtc[B] = SET | dm
    rtc[4], rtc[2], rtc[0] = (0x91, 0x59, 0x59) if not dm else (0x8B, 59, 59)  # 11:59:59 PM
    rtc[B] = dm
    hours = []
    rtc.run(NS)
    for _ in range(25):
        hours.append(rtc[4])
        rtc.run(3600 * NS)
    number = [12, *range(1, 12)]
    if not dm:
        number = [n // 10 * 16 + n % 10 for n in number]
    assert hours == [*number, *(n | 0x80 for n in number), number[0]]


def test_format_bits_leave_the_bytes_alone(rtc: Rtc) -> None:
    """Register B: the ten bytes must be set again when DM or 24/12 changes; the chip converts nothing."""
    rtc.set(0x24, 0x05, 0x17, 0x10, 0x20, 0x15)
    rtc[B] = DM | H24
    assert rtc.time() == (0x20, 0x24, 0x05, 0x17, 0x10, 0x20, 0x15)
    rtc.run(NS)
    assert rtc[0] == 0x16


def test_set_bit_holds_the_time(rtc: Rtc) -> None:
    rtc.run(300 * MS)
    rtc[B] = SET | H24
    before = rtc.time()
    rtc.run(10 * NS)
    assert rtc.time() == before
    rtc[0] = 0x30
    rtc.run(10 * NS)
    assert rtc[0] == 0x30
    rtc[B] = H24
    rtc.run(699 * MS)
    assert rtc[0] == 0x30, "the divider went on: 300 ms into the second"
    rtc.run(1 * MS)
    assert rtc[0] == 0x31


def test_writing_while_it_runs(rtc: Rtc) -> None:
    rtc.run(250 * MS)
    rtc[0] = 0x40
    assert rtc[0] == 0x40
    rtc.run(750 * MS)
    assert rtc[0] == 0x41


def test_divider_reset(rtc: Rtc) -> None:
    """Register A: after the reset is removed the first update comes half a second later."""
    rtc.run(123 * MS)
    rtc[A] = 0x76
    rtc.run(5 * NS)
    assert rtc.time()[-1] == 0x00
    rtc[0] = 0x10
    rtc[A] = 0x26
    rtc.run(499 * MS)
    assert rtc[0] == 0x10
    rtc.run(1 * MS)
    assert rtc[0] == 0x11
    rtc.run(NS)
    assert rtc[0] == 0x12


def test_linux_set_time_sequence(rtc: Rtc) -> None:
    save_b, save_a = rtc[B], rtc[A]
    rtc[B] = save_b | SET
    rtc[A] = save_a | 0x70
    for index, value in ((9, 0x30), (8, 0x01), (7, 0x02), (4, 0x03), (2, 0x04), (0, 0x05), (0x32, 0x20)):
        rtc[index] = value
    rtc[B] = save_b
    rtc.run(7 * NS)
    assert rtc[0] == 0x05, "the divider is still held"
    rtc[A] = save_a
    rtc.run(499 * MS)
    assert rtc[0] == 0x05
    rtc.run(2 * MS)
    assert rtc.time() == (0x20, 0x30, 0x01, 0x02, 0x03, 0x04, 0x06)


def test_values_out_of_range_carry(rtc: Rtc) -> None:
    rng = random.Random(1)
    for _ in range(500):
        rtc[B] = SET | rng.choice((0, DM, H24, DM | H24))
        for index in (0, 2, 4, 6, 7, 8, 9, 0x32):
            rtc[index] = rng.randrange(256)
        rtc[B] = rtc[B] & ~SET
        rtc.run(rng.randrange(10**12))
        assert all(0 <= rtc[i] <= 255 for i in (0, 2, 4, 6, 7, 8, 9, 0x32))
    rtc.dev.get_state()


# -- update cycle ----------------------------------------------------------------------------------------------


def test_update_in_progress(rtc: Rtc) -> None:
    """UIP is high 244 us before the update cycle and during its 1984 us."""
    rtc.run(NS - 2229 * US)
    assert not rtc[A] & 0x80
    rtc.run(1 * US)
    assert rtc[A] & 0x80
    rtc.run(2227 * US)
    assert rtc[A] & 0x80 and rtc[0] == 0x00
    rtc.run(1 * US)
    assert not rtc[A] & 0x80 and rtc[0] == 0x01


def test_no_update_no_uip(rtc: Rtc) -> None:
    rtc.run(NS - 1 * US)
    rtc[B] = SET | H24
    assert not rtc[A] & 0x80
    rtc[B] = H24
    assert rtc[A] & 0x80
    rtc[A] = 0x76
    assert rtc[A] == 0x76


def test_uip_cannot_be_written(rtc: Rtc) -> None:
    rtc[A] = 0xFF
    assert rtc[A] == 0x7F


def test_update_flag_without_interrupt(rtc: Rtc) -> None:
    rtc.run(NS - 1)
    assert rtc[C] & 0x10 == 0
    rtc.run(1)
    assert rtc[C] & 0x90 == 0x10
    assert rtc[C] & 0x10 == 0, "reading cleared it"
    assert rtc.irq.edges == [] and rtc.m.clock.pending() == []


def test_update_interrupt(rtc: Rtc) -> None:
    rtc.run(200 * MS)
    rtc[B] = H24 | UIE
    assert rtc.m.clock.pending() == [NS]
    rtc.run(800 * MS)
    assert rtc.irq.times == [(NS, 1)]
    assert rtc.m.clock.pending() == [], "asserted until register C is read"
    rtc.run(5 * NS)
    assert rtc.irq.level == 1
    assert rtc[C] & 0x90 == 0x90
    assert rtc.irq.level == 0
    assert rtc.m.clock.pending() == [7 * NS]
    rtc.run(NS)
    assert rtc.irq.times[-1] == (7 * NS, 1)


def test_set_clears_update_interrupt_enable(rtc: Rtc) -> None:
    rtc[B] = H24 | UIE
    rtc[B] = H24 | UIE | SET
    assert rtc[B] == H24 | SET
    rtc.run(3 * NS)
    assert rtc.irq.edges == [] and not rtc[C] & 0x10


# -- periodic interrupt ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", range(1, 16))
def test_periodic_rates(rtc: Rtc, rate: int) -> None:
    """Table 5: 3.90625 and 7.8125 ms for 1 and 2, then from 122.070 us doubling to 500 ms."""
    cycles = {1: 128, 2: 256}.get(rate, 1 << (rate - 1))
    rtc[A] = 0x20 | rate
    rtc[B] = H24 | PIE
    times = []
    for _ in range(5):
        rtc.run(cycles * TICK)
        while not rtc.irq.level:
            rtc.run(1)
        times.append(rtc.irq.times[-1][0])
        assert rtc[C] & 0xC0 == 0xC0
        assert rtc.irq.level == 0
    first = times[0] / (cycles * TICK)
    assert [round(t / (cycles * TICK) - first) for t in times] == [0, 1, 2, 3, 4]
    assert all(0 <= t - k * cycles * TICK < 1 for k, t in enumerate(times, round(first)))


def test_periodic_has_no_drift(rtc: Rtc) -> None:
    rtc[A] = 0x26
    rtc[B] = H24 | PIE
    for _ in range(1024):
        rtc.run(NS / 1024 + 1)
        rtc[C]
    assert [t for t, level in rtc.irq.times if level][-1] == NS


def test_periodic_flag_without_interrupt(rtc: Rtc) -> None:
    rtc[C]
    rtc[A] = 0x2F
    rtc.run(499 * MS)
    assert not rtc[C] & 0x40
    rtc.run(2 * MS)
    assert rtc[C] == 0x40
    assert rtc[C] == 0
    rtc[A] = 0x20
    rtc.run(2 * NS)
    assert not rtc[C] & 0x40, "rate 0: none"


def test_enabling_with_a_flag_set_interrupts_at_once(rtc: Rtc) -> None:
    rtc[A] = 0x2F
    rtc.run(600 * MS)
    rtc[B] = H24 | PIE
    assert rtc.irq.level == 1
    rtc[B] = H24
    assert rtc.irq.level == 0, "the enable gates IRQF"
    assert rtc[C] & 0xC0 == 0x40


def test_divider_reset_stops_periodic(rtc: Rtc) -> None:
    rtc[B] = H24 | PIE
    rtc[A] = 0x76
    rtc[C]
    rtc.run(NS)
    assert rtc.irq.level == 0 and rtc.m.clock.pending() == []
    rtc[A] = 0x26
    rtc.run(NS / 1024 + 1)
    assert rtc.irq.level == 1


def test_set_bit_does_not_stop_periodic(rtc: Rtc) -> None:
    rtc[B] = H24 | PIE | SET
    rtc.run(NS / 1024 + 1)
    assert rtc.irq.level == 1 and rtc[C] & 0x40


# -- alarm -----------------------------------------------------------------------------------------------------


def test_alarm(rtc: Rtc) -> None:
    rtc[5], rtc[3], rtc[1] = 0x12, 0x30, 0x15
    rtc[B] = H24 | AIE
    assert rtc.m.clock.pending() == [(30 * 60 + 15) * NS]
    rtc.run(3600 * NS)
    assert rtc.irq.times == [((30 * 60 + 15) * NS, 1)]
    assert rtc[C] & 0xA0 == 0xA0
    assert rtc.m.clock.pending() == [(86400 + 30 * 60 + 15) * NS], "tomorrow again"


def test_alarm_earlier_today_is_tomorrow(rtc: Rtc) -> None:
    rtc[5], rtc[3], rtc[1] = 0x11, 0x59, 0x59
    rtc[B] = H24 | AIE
    assert rtc.m.clock.pending() == [(86400 - 1) * NS]


@pytest.mark.parametrize(
    ("alarm", "due"),
    [
        ((0xFF, 0xFF, 0xFF), [1, 2, 3]),
        ((0xC0, 0xFF, 0x30), [30, 90, 150]),
        ((0xFF, 0x05, 0x00), [300, 3900, 7500]),
        ((0x13, 0xFF, 0x59), [3659, 3719, 3779]),
        ((0x13, 0x01, 0xFF), [3660, 3661, 3662]),
    ],
)
def test_alarm_dont_care(rtc: Rtc, alarm: tuple[int, int, int], due: list[int]) -> None:
    rtc[5], rtc[3], rtc[1] = alarm
    rtc[B] = H24 | AIE
    seen = []
    while len(seen) < 3:
        rtc.m.clock.advance_to(rtc.m.clock.pending()[0])
        seen.append(rtc.m.clock.now() // NS)
        assert rtc[C] & 0x20
    assert seen == due


def test_alarm_in_12_hour_binary_mode(rtc: Rtc) -> None:
    rtc[B] = SET | DM
    rtc[4], rtc[2], rtc[0] = 11, 0, 0
    rtc[5], rtc[3], rtc[1] = 0x81, 0, 0
    rtc[B] = DM | AIE
    assert rtc.m.clock.pending() == [2 * 3600 * NS]


@pytest.mark.parametrize("index", [1, 3, 5])
def test_alarm_that_no_time_has(rtc: Rtc, index: int) -> None:
    rtc[5], rtc[3], rtc[1] = 0xFF, 0xFF, 0xFF
    rtc[index] = 0x7F
    rtc[B] = H24 | AIE
    assert rtc.m.clock.pending() == []
    rtc.run(86400 * NS)
    assert not rtc[C] & 0x20


def test_alarm_flag_without_interrupt(rtc: Rtc) -> None:
    rtc[5], rtc[3], rtc[1] = 0x12, 0x00, 0x10
    rtc.run(10 * NS - 1)
    assert not rtc[C] & 0x20
    rtc.run(1)
    assert rtc[C] & 0x20
    rtc.run(86399 * NS)
    assert not rtc[C] & 0x20
    rtc.run(NS)
    assert rtc[C] & 0x20


def test_setting_the_time_moves_the_alarm(rtc: Rtc) -> None:
    rtc[5], rtc[3], rtc[1] = 0x18, 0x00, 0x00
    rtc[B] = H24 | AIE
    rtc[4] = 0x17
    assert rtc.m.clock.pending() == [3600 * NS]
    rtc[B] = H24 | AIE | SET
    assert rtc.m.clock.pending() == []


# -- memory, reset, NMI mask -----------------------------------------------------------------------------------


def test_cmos_memory(rtc: Rtc) -> None:
    for index in range(14, 128):
        if index not in (0x32, 0x37):
            rtc[index] = index ^ 0x5A
    assert all(rtc[i] == i ^ 0x5A for i in range(14, 128) if i not in (0x32, 0x37))
    rtc.dev.set_cmos(0x34, 0x12)
    assert rtc[0x34] == 0x12 and rtc.dev.get_cmos(0x34) == 0x12
    rtc.dev.set_cmos(B, 0xFF)
    assert rtc[B] == H24


def test_flags_and_vrt_cannot_be_written(rtc: Rtc) -> None:
    rtc[C] = 0xFF
    rtc[D] = 0x00
    assert rtc[C] == 0 and rtc[D] == 0x80
    assert len(rtc.m.log.messages) == 2


def test_index_has_seven_bits(rtc: Rtc) -> None:
    rtc[0x40] = 0x77
    rtc.m.outb(0x70, 0xC0)
    assert rtc.m.inb(0x71) == 0x77 and rtc.dev.nmi_masked
    rtc.m.outb(0x70, 0x40)
    assert not rtc.dev.nmi_masked


def test_reset_keeps_time_and_memory(rtc: Rtc) -> None:
    rtc[0x40] = 0x77
    rtc[4] = 0x05
    rtc[A] = 0x2A
    rtc[B] = H24 | PIE | AIE | UIE | SQWE
    rtc.run(3 * NS)
    assert rtc.irq.level == 1
    rtc.m.reset()
    assert rtc.irq.level == 0
    assert (rtc[A], rtc[B], rtc[C]) == (0x2A, H24, 0)
    assert rtc[0x40] == 0x77
    assert rtc.time()[-3:] == (0x05, 0x00, 0x03)
    assert rtc.m.clock.pending() == []


def test_reset_does_not_count_as_an_update(rtc: Rtc) -> None:
    rtc.run(5 * NS)
    rtc.m.reset()
    assert rtc[C] == 0


# -- configuration ---------------------------------------------------------------------------------------------


def test_base_date() -> None:
    rtc = Rtc("1999-12-31")
    assert rtc.time() == (0x19, 0x99, 0x12, 0x31, 0x00, 0x00, 0x00)
    assert rtc[6] == 6


def test_base_year_without_century() -> None:
    m = TestMachine()
    m.rtc_config.base = "1987-06-05T04:03:02"
    dev = m.add(Mc146818Rtc, base_year=1980)
    m.outb(0x70, 9)
    assert m.inb(0x71) == 0x07
    assert dev.base_year == 1980


def test_properties() -> None:
    rtc = Rtc(driftfix="slew")
    lines = rtc.dev.qtree_lines()
    assert lines[:5] == [
        'gpio-out "" 1', "base_year = 0 (0x0)", "iobase = 112 (0x70)", "irq = 8 (0x8)", 'lost_tick_policy = "slew"',
    ]  # fmt: skip


def test_lost_ticks_are_dropped_by_default(rtc: Rtc) -> None:
    rtc[B] = H24 | PIE
    rtc.run(10 * NS / 1024 + 1)
    assert rtc[C] & 0x40
    assert rtc[C] == 0


def test_lost_ticks_are_made_up_for() -> None:
    rtc = Rtc(driftfix="slew")
    rtc[B] = H24 | PIE
    rtc.run(10 * NS / 1024 + 1)
    count = 0
    while rtc.irq.level:
        assert rtc[C] & 0xC0 == 0xC0
        count += 1
    assert count == 10
    rtc.run(1000 * NS / 1024)
    count = 0
    while rtc.irq.level:
        rtc[C]
        count += 1
    assert count == 21, "not all at once: the guest must get something else done"
    for _ in range(100):
        rtc.run(NS / 1024 + 1)
        while rtc.irq.level:
            rtc[C]
            count += 1
    assert count == 1100


def test_host_clock_put_back(rtc: Rtc) -> None:
    """The machine's time of day may jump; nothing fires twice or stops."""
    jump = 0
    rtc.m.rtc_ns = lambda: calendar.timegm((2024, 5, 1, 0, 0, 0)) * NS + rtc.m.clock.now() + jump
    rtc[C]
    rtc[B] = H24 | UIE
    jump = -3600 * NS
    rtc.run(1100 * MS)
    assert rtc.irq.level == 0
    rtc.run(3600 * NS)
    rtc[C]
    rtc.run(1100 * MS)
    assert rtc.irq.level == 1


def test_any_write_is_survived(rtc: Rtc) -> None:
    rng = random.Random(146818)
    for _ in range(10000):
        action = rng.randrange(3)
        index = rng.choice((*range(14), 0x32, rng.randrange(256)))
        if action == 0:
            rtc[index] = rng.randrange(256)
        elif action == 1:
            assert 0 <= rtc[index] <= 255
        else:
            rtc.run(rng.choice((1, 100 * US, 30 * MS, NS)))
        assert rtc.irq.level == rtc.dev.cmos[C] >> 7
    rtc.dev.get_state()
