"""Intel 8254: the datasheet's timing diagrams, mode by mode, pulse by pulse; latches, read-back, BCD; IRQ 0."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from pcemu.hw.timer.i8254 import FREQUENCY, I8254
from pcemu.testing.harness import TestMachine

NS = 10**9


def ns(pulse: int) -> int:
    """When pulse number `pulse` comes."""
    return -(-pulse * NS // FREQUENCY)


class Pit:
    """The chip, and a clock that moves by pulses."""

    def __init__(self) -> None:
        self.m = TestMachine()
        self.pit = self.m.add(I8254, iobase=0x40)
        self.irq = self.m.watch(self.pit.irq)
        self.pulse = 100
        self.m.clock.advance_to(ns(self.pulse))
        self.pit.set_gate(2, 1)

    def tick(self, pulses: int = 1) -> None:
        self.pulse += pulses
        self.m.clock.advance_to(ns(self.pulse))

    def control(self, word: int) -> None:
        self.m.outb(0x43, word)

    def program(self, counter: int, mode: int, count: int, bcd: int = 0, rw: int = 3) -> None:
        self.control(counter << 6 | rw << 4 | mode << 1 | bcd)
        self.count(counter, count, rw)

    def count(self, counter: int, count: int, rw: int = 3) -> None:
        if rw & 1:
            self.m.outb(0x40 + counter, count & 0xFF)
        if rw & 2:
            self.m.outb(0x40 + counter, count >> 8)

    def status(self, counter: int) -> int:
        self.control(0xE0 | 2 << counter)
        return self.m.inb(0x40 + counter)

    def ce(self, counter: int, latched: bool = True) -> int:
        if latched:
            self.control(counter << 6)
        low = self.m.inb(0x40 + counter)
        return low | self.m.inb(0x40 + counter) << 8

    def out(self, counter: int = 2) -> int:
        return self.pit.out(counter)

    def trace(self, pulses: int, counter: int = 2) -> Iterator[tuple[int, int]]:
        """(CE, OUT) after each of the next pulses."""
        for _ in range(pulses):
            self.tick()
            yield self.ce(counter), self.out(counter)

    def outs(self, pulses: int) -> str:
        return "".join(str(out) for _, out in self.trace(pulses))


@pytest.fixture
def pit() -> Pit:
    return Pit()


# -- the diagrams of the datasheet (figures 15 to 20), counter 2 with LSB and MSB ------------------------------


def test_mode_0(pit: Pit) -> None:
    """CW=10 LSB=4: OUT goes high 4 + 1 pulses after the count was written, and counting goes on from FFFF."""
    pit.control(0xB0)
    assert pit.out() == 0
    pit.tick(5)
    assert pit.out() == 0
    pit.count(2, 4)
    assert list(pit.trace(7)) == [(4, 0), (3, 0), (2, 0), (1, 0), (0, 1), (0xFFFF, 1), (0xFFFE, 1)]


def test_mode_0_gate(pit: Pit) -> None:
    pit.program(2, 0, 3)
    assert list(pit.trace(2)) == [(3, 0), (2, 0)]
    pit.pit.set_gate(2, 0)
    assert list(pit.trace(3)) == [(2, 0)] * 3
    pit.pit.set_gate(2, 1)
    assert list(pit.trace(3)) == [(1, 0), (0, 1), (0xFFFF, 1)]
    pit.pit.set_gate(2, 0)
    assert list(pit.trace(2)) == [(0xFFFF, 1)] * 2, "GATE has no effect on OUT"


def test_mode_0_count_written_with_gate_low(pit: Pit) -> None:
    """The count is loaded all the same, and GATE starts it without another pulse."""
    pit.pit.set_gate(2, 0)
    pit.program(2, 0, 3)
    pit.tick()
    assert pit.ce(2) == 3 and not pit.status(2) & 0x40
    pit.tick(5)
    assert pit.ce(2) == 3
    pit.pit.set_gate(2, 1)
    assert list(pit.trace(3)) == [(2, 0), (1, 0), (0, 1)]


def test_mode_0_new_count(pit: Pit) -> None:
    """Figure 15, third diagram: counting continues from the new count."""
    pit.program(2, 0, 3, rw=1)
    assert [out for _, out in pit.trace(2)] == [0, 0]
    pit.count(2, 2, rw=1)
    assert pit.outs(4) == "0011"
    pit.count(2, 3, rw=1)
    assert pit.out() == 0, "a new count takes OUT low"
    assert pit.outs(5) == "00011"


def test_mode_0_two_byte_count(pit: Pit) -> None:
    """The first byte stops the counting and takes OUT low at once, the second lets it be loaded."""
    pit.program(2, 0, 2)
    pit.tick(10)
    assert pit.out() == 1
    pit.m.outb(0x42, 5)
    assert pit.out() == 0
    frozen = pit.ce(2)
    pit.tick(10)
    assert pit.ce(2) == frozen and pit.out() == 0
    pit.m.outb(0x42, 0)
    assert list(pit.trace(3)) == [(5, 0), (4, 0), (3, 0)]


def test_mode_1(pit: Pit) -> None:
    """Figure 16: one shot of N pulses, one pulse after the trigger."""
    pit.pit.set_gate(2, 0)
    pit.program(2, 1, 3)
    assert pit.outs(4) == "1111"
    pit.pit.set_gate(2, 1)
    assert list(pit.trace(5)) == [(3, 0), (2, 0), (1, 0), (0, 1), (0xFFFF, 1)]
    pit.pit.set_gate(2, 0)
    assert pit.outs(2) == "11"
    pit.pit.set_gate(2, 1)
    assert pit.outs(4) == "0001"


def test_mode_1_retrigger(pit: Pit) -> None:
    pit.pit.set_gate(2, 0)
    pit.program(2, 1, 3)
    pit.pit.set_gate(2, 1)
    assert pit.outs(2) == "00"
    pit.pit.set_gate(2, 0)
    pit.pit.set_gate(2, 1)
    assert pit.outs(4) == "0001"


def test_mode_1_new_count_waits_for_a_trigger(pit: Pit) -> None:
    pit.pit.set_gate(2, 0)
    pit.program(2, 1, 2)
    pit.pit.set_gate(2, 1)
    pit.tick()
    pit.count(2, 4)
    assert pit.status(2) & 0x40, "not in CE yet"
    assert pit.outs(3) == "011"
    pit.pit.set_gate(2, 0)
    pit.pit.set_gate(2, 1)
    assert list(pit.trace(5)) == [(4, 0), (3, 0), (2, 0), (1, 0), (0, 1)]


def test_mode_1_trigger_without_count(pit: Pit) -> None:
    pit.control(0xB2)
    pit.pit.set_gate(2, 0)
    pit.pit.set_gate(2, 1)
    assert pit.outs(5) == "11111"


@pytest.mark.parametrize("mode", [2, 6])
def test_mode_2(pit: Pit, mode: int) -> None:
    """Figure 17: low for one pulse in N."""
    pit.program(2, mode, 3)
    assert list(pit.trace(8)) == [(3, 1), (2, 1), (1, 0), (3, 1), (2, 1), (1, 0), (3, 1), (2, 1)]
    assert pit.status(2) & 0x3F == 0x30 | mode << 1, "the mode is read as it was written"


def test_mode_2_gate(pit: Pit) -> None:
    pit.program(2, 2, 3)
    assert pit.outs(3) == "110"
    pit.pit.set_gate(2, 0)
    assert pit.out() == 1, "at once"
    assert list(pit.trace(2)) == [(1, 1), (1, 1)]
    pit.pit.set_gate(2, 1)
    assert list(pit.trace(4)) == [(3, 1), (2, 1), (1, 0), (3, 1)]


def test_mode_2_new_count_at_end_of_cycle(pit: Pit) -> None:
    """Figure 17, third diagram."""
    pit.program(2, 2, 4)
    assert list(pit.trace(2)) == [(4, 1), (3, 1)]
    pit.count(2, 5)
    assert pit.status(2) & 0x40
    assert list(pit.trace(6)) == [(2, 1), (1, 0), (5, 1), (4, 1), (3, 1), (2, 1)]
    assert not pit.status(2) & 0x40


def test_mode_2_new_count_and_trigger(pit: Pit) -> None:
    pit.program(2, 2, 10)
    pit.tick(3)
    pit.count(2, 3)
    pit.pit.set_gate(2, 0)
    pit.tick(20)
    assert pit.ce(2) == 8
    pit.pit.set_gate(2, 1)
    assert list(pit.trace(4)) == [(3, 1), (2, 1), (1, 0), (3, 1)]


@pytest.mark.parametrize("mode", [3, 7])
def test_mode_3_even(pit: Pit, mode: int) -> None:
    """Figure 18, first diagram."""
    pit.program(2, mode, 4)
    assert list(pit.trace(9)) == [(4, 1), (2, 1), (4, 0), (2, 0), (4, 1), (2, 1), (4, 0), (2, 0), (4, 1)]


def test_mode_3_odd(pit: Pit) -> None:
    """Figure 18, second diagram: high for (N + 1) / 2, low for (N - 1) / 2."""
    pit.program(2, 3, 5)
    assert list(pit.trace(11)) == [
        (4, 1), (2, 1), (0, 1), (4, 0), (2, 0), (4, 1), (2, 1), (0, 1), (4, 0), (2, 0), (4, 1),
    ]  # fmt: skip


def test_mode_3_gate(pit: Pit) -> None:
    """Figure 18, third diagram."""
    pit.program(2, 3, 4)
    assert pit.outs(3) == "110"
    pit.pit.set_gate(2, 0)
    assert pit.out() == 1
    assert list(pit.trace(2)) == [(4, 1), (4, 1)]
    pit.pit.set_gate(2, 1)
    assert list(pit.trace(5)) == [(4, 1), (2, 1), (4, 0), (2, 0), (4, 1)]


def test_mode_3_new_count_at_end_of_half_cycle(pit: Pit) -> None:
    pit.program(2, 3, 6)
    assert list(pit.trace(2)) == [(6, 1), (4, 1)]
    pit.count(2, 4)
    assert list(pit.trace(6)) == [(2, 1), (4, 0), (2, 0), (4, 1), (2, 1), (4, 0)]
    pit.count(2, 5)
    assert list(pit.trace(7)) == [(2, 0), (4, 1), (2, 1), (0, 1), (4, 0), (2, 0), (4, 1)]


def test_mode_4(pit: Pit) -> None:
    """Figure 19: strobe N + 1 pulses after the count is written, once."""
    pit.program(2, 4, 3)
    assert list(pit.trace(6)) == [(3, 1), (2, 1), (1, 1), (0, 0), (0xFFFF, 1), (0xFFFE, 1)]
    pit.pit.set_gate(2, 0)
    assert list(pit.trace(1)) == [(0xFFFE, 1)]
    pit.pit.set_gate(2, 1)
    pit.count(2, 2)
    assert list(pit.trace(4)) == [(2, 1), (1, 1), (0, 0), (0xFFFF, 1)]


def test_mode_4_gate_and_new_count(pit: Pit) -> None:
    pit.program(2, 4, 3, rw=1)
    pit.tick()
    pit.pit.set_gate(2, 0)
    assert pit.outs(4) == "1111"
    pit.pit.set_gate(2, 1)
    assert pit.outs(2) == "11"
    pit.count(2, 2, rw=1)
    assert pit.outs(4) == "1101", "retriggered by the count, one pulse before the strobe"


def test_mode_5(pit: Pit) -> None:
    """Figure 20: strobe N + 1 pulses after the trigger."""
    pit.pit.set_gate(2, 0)
    pit.program(2, 5, 3)
    assert pit.outs(3) == "111"
    pit.pit.set_gate(2, 1)
    assert list(pit.trace(5)) == [(3, 1), (2, 1), (1, 1), (0, 0), (0xFFFF, 1)]
    pit.pit.set_gate(2, 0)
    pit.pit.set_gate(2, 1)
    assert pit.outs(2) == "11"
    pit.pit.set_gate(2, 0)
    pit.pit.set_gate(2, 1)
    assert pit.outs(5) == "11101"


def test_mode_5_new_count_waits_for_a_trigger(pit: Pit) -> None:
    pit.pit.set_gate(2, 0)
    pit.program(2, 5, 3)
    pit.pit.set_gate(2, 1)
    pit.tick()
    pit.count(2, 5)
    assert pit.outs(5) == "11011"
    pit.pit.set_gate(2, 0)
    pit.pit.set_gate(2, 1)
    assert pit.outs(7) == "1111101"


# -- counts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "bcd", "limit"), [(2, 0, 65536), (3, 0, 65536), (2, 1, 10000), (3, 1, 10000)])
def test_zero_is_the_largest_count(pit: Pit, mode: int, bcd: int, limit: int) -> None:
    pit.program(2, mode, 0, bcd)
    pit.tick()
    assert pit.ce(2) == 0
    first = pit.out()
    pit.tick(limit)
    assert (pit.ce(2), pit.out()) == (0, first)
    pit.tick(limit // 2 - 1)
    assert pit.out() == 1
    if mode == 3:
        pit.tick()
        assert pit.out() == 0


def test_bcd(pit: Pit) -> None:
    pit.program(2, 0, 0x1000, bcd=1)
    assert [ce for ce, _ in pit.trace(3)] == [0x1000, 0x0999, 0x0998]
    pit.tick(998)
    assert (pit.ce(2), pit.out()) == (0, 1)
    pit.tick()
    assert pit.ce(2) == 0x9999


@pytest.mark.parametrize("mode", range(6))
@pytest.mark.parametrize("count", [0xFFFF, 0xABCD, 0x9999, 0x000A, 1, 2])
@pytest.mark.parametrize("bcd", [0, 1])
def test_odd_counts_are_survived(pit: Pit, mode: int, count: int, bcd: int) -> None:
    """A count of 1 in modes 2 and 3, and digits above 9, are not legal; they must not hang or raise."""
    pit.program(0, mode, count, bcd)
    pit.program(2, mode, count, bcd)
    pit.pit.set_gate(2, 0)
    pit.pit.set_gate(2, 1)
    for _ in range(50):
        pit.tick(7)
        assert 0 <= pit.ce(2) <= 0xFFFF and pit.out() in (0, 1)


@pytest.mark.parametrize(("rw", "count", "value"), [(1, 0x12, 0x0012), (2, 0x3400, 0x3400), (3, 0x5678, 0x5678)])
def test_byte_access(pit: Pit, rw: int, count: int, value: int) -> None:
    """The byte that is not written is zero; one-byte accesses read only their byte."""
    pit.program(2, 2, count, rw=rw)
    pit.tick()
    if rw == 3:
        assert pit.ce(2) == value
    else:
        byte = value >> 8 if rw == 2 else value & 0xFF
        assert [pit.m.inb(0x42), pit.m.inb(0x42)] == [byte, byte]
    assert pit.status(2) >> 4 & 3 == rw
    assert pit.pit.counters[2].initial == value


def test_reads_and_writes_have_their_own_flip_flops(pit: Pit) -> None:
    """Datasheet, "Counter Latch Command": read LSB, write LSB, read MSB, write MSB."""
    pit.program(2, 2, 0x1234)
    pit.tick()
    low = pit.m.inb(0x42)
    pit.m.outb(0x42, 0x78)
    high = pit.m.inb(0x42)
    pit.m.outb(0x42, 0x56)
    assert high << 8 | low == 0x1234
    pit.tick(0x1234)
    assert pit.ce(2) == 0x5678


def test_control_word_resets_the_flip_flops(pit: Pit) -> None:
    pit.program(2, 2, 0x1234)
    pit.m.inb(0x42)
    pit.m.outb(0x42, 0xFF)
    pit.program(2, 2, 0x4321)
    pit.tick()
    assert pit.ce(2) == 0x4321


def test_control_word_stops_the_counter(pit: Pit) -> None:
    pit.program(2, 2, 100)
    pit.tick(11)
    pit.control(0xB6)
    assert pit.ce(2) == 90 and pit.out() == 1
    pit.tick(50)
    assert pit.ce(2) == 90
    assert pit.status(2) == 0x80 | 0x40 | 0x36


# -- latches ---------------------------------------------------------------------------------------------------


def test_counter_latch(pit: Pit) -> None:
    pit.program(2, 2, 1000)
    pit.tick()
    pit.control(0x80)
    pit.tick(10)
    pit.control(0x80)  # ignored: the first is not read yet
    low = pit.m.inb(0x42)
    pit.tick(10)
    assert pit.m.inb(0x42) << 8 | low == 1000
    assert pit.ce(2) == 980


def test_reading_without_a_latch_is_live(pit: Pit) -> None:
    pit.program(2, 2, 0x0200)
    pit.tick()
    assert pit.m.inb(0x42) == 0x00
    pit.tick()
    assert pit.m.inb(0x42) == 0x01, "the MSB of 0x1ff"


def test_latch_between_the_bytes_of_a_read(pit: Pit) -> None:
    pit.program(2, 2, 0x0201)
    pit.tick()
    assert pit.m.inb(0x42) == 0x01
    pit.tick(2)
    pit.control(0x80)
    pit.tick(0x100)
    assert pit.m.inb(0x42) == 0x01
    assert pit.m.inb(0x42) == 0xFF & (0x1FF - 0x100)


def test_latch_of_one_counter_leaves_others(pit: Pit) -> None:
    pit.program(1, 2, 500)
    pit.program(2, 2, 700)
    pit.tick(2)
    pit.control(0x40)
    pit.tick()
    assert pit.ce(2, latched=False) == 698
    assert pit.ce(1, latched=False) == 499


def test_control_word_drops_latches(pit: Pit) -> None:
    pit.program(2, 2, 1000)
    pit.tick(5)
    pit.control(0xC8)
    pit.program(2, 2, 0x55)
    pit.tick()
    assert pit.ce(2, latched=False) == 0x55


def test_read_back_counts(pit: Pit) -> None:
    for counter, count in ((0, 100), (1, 200), (2, 300)):
        pit.program(counter, 2, count)
    pit.tick()
    pit.control(0xDE)
    pit.tick(50)
    assert [pit.ce(c, latched=False) for c in range(3)] == [100, 200, 300]
    assert [pit.ce(c, latched=False) for c in range(3)] == [50, 150, 250]


def test_read_back_status_then_count(pit: Pit) -> None:
    """Whatever was latched first, the status is read first (datasheet, figure 13)."""
    pit.program(2, 3, 0x1234)
    pit.tick()
    pit.control(0x80)
    pit.control(0xE8)
    assert pit.m.inb(0x42) == 0xB6
    assert pit.ce(2, latched=False) == 0x1234
    pit.control(0xC8)
    assert pit.m.inb(0x42) == 0xB6
    pit.m.inb(0x42)
    pit.m.inb(0x42)


def test_read_back_status_is_kept(pit: Pit) -> None:
    pit.program(2, 0, 5)
    pit.control(0xE8)
    pit.tick(10)
    pit.control(0xE8)  # ignored
    assert pit.m.inb(0x42) == 0x30, "OUT low, as it was"
    assert pit.status(2) == 0xB0


def test_null_count(pit: Pit) -> None:
    """Figure 12: set by the control word and by a count, cleared when CE has it (here: before the next access)."""
    pit.control(0xB4)
    assert pit.status(2) & 0x40
    pit.m.outb(0x42, 9)
    assert pit.status(2) & 0x40
    pit.m.outb(0x42, 0)
    assert not pit.status(2) & 0x40
    pit.tick(3)
    pit.count(2, 20)
    assert pit.status(2) & 0x40, "waits for the end of the cycle"
    pit.tick(7)
    assert not pit.status(2) & 0x40


def test_the_next_access_finds_the_count_loaded(pit: Pit) -> None:
    """Linux's quick calibration: the MSB is 0xff for 256 pulses right after it was written, however fast the machine is."""
    pit.program(2, 0, 0xFFFF)
    reads = [pit.m.inb(0x42) for _ in range(6)]
    assert reads == [0xFF] * 6
    pit.tick()
    assert pit.ce(2) == 0xFFFF
    pit.tick(255)
    assert pit.ce(2) == 0xFF00
    pit.tick()
    assert pit.ce(2) == 0xFEFF


def test_gate_within_the_pulse_of_a_load(pit: Pit) -> None:
    pit.program(2, 0, 3)
    pit.pit.set_gate(2, 0)
    pit.pit.set_gate(2, 1)
    assert list(pit.trace(4)) == [(3, 0), (2, 0), (1, 0), (0, 1)]


def test_read_back_of_nothing(pit: Pit) -> None:
    pit.program(2, 2, 0x77)
    pit.tick()
    pit.control(0xC0)
    pit.control(0xFE)
    assert pit.ce(2, latched=False) == 0x77


def test_control_port_reads_nothing(pit: Pit) -> None:
    assert pit.m.inb(0x43) == 0xFF


# -- time and IRQ 0 --------------------------------------------------------------------------------------------


def test_pulses_have_no_drift(pit: Pit) -> None:
    """1193182 pulses are one second, at any distance."""
    pit.program(0, 2, 0xFFFF)
    start = pit.pulse + 1
    for second in (1, 10, 86400 * 365):
        pit.m.clock.core.advance_to(second * NS)
        pit.pit._update()
        expected = 0xFFFF - (second * FREQUENCY - start) % 0xFFFF
        assert pit.ce(0) == expected


def test_irq_times_mode_2(pit: Pit) -> None:
    pit.program(0, 2, 1000)
    pit.irq.clear()
    pit.tick(5001)
    rises = [t for t, level in pit.irq.times if level]
    assert rises == [ns(101 + 1000 * k) for k in range(1, 6)]


def test_irq_times_mode_3(pit: Pit) -> None:
    pit.program(0, 3, 101)
    pit.irq.clear()
    pit.tick(300)
    assert pit.irq.times == [
        (ns(101 + 51), 0), (ns(101 + 101), 1), (ns(101 + 152), 0), (ns(101 + 202), 1), (ns(101 + 253), 0),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 100, 65535])
def test_irq_time_mode_0(pit: Pit, count: int) -> None:
    pit.program(0, 0, count)
    assert pit.irq.level == 0
    pit.irq.clear()
    pit.tick(200000)
    assert pit.irq.times == [(ns(100 + 1 + count), 1)]
    assert pit.m.clock.pending() == [], "nothing more to come: no timer"


def test_one_shot_takes_one_timer_event(pit: Pit) -> None:
    """The way a tickless kernel uses it."""
    for _ in range(3):
        pit.program(0, 0, 500)
        assert len(pit.m.clock.pending()) == 1
        pit.tick(500)
        assert pit.irq.level == 0 and len(pit.m.clock.pending()) == 1
        pit.tick()
        assert pit.irq.level == 1 and pit.m.clock.pending() == []


def test_irq_mode_4_strobes(pit: Pit) -> None:
    pit.program(0, 4, 10)
    pit.irq.clear()
    pit.tick(50)
    assert pit.irq.times == [(ns(112), 0), (ns(112), 1)], "one event: OUT is low only for the pulse before"
    assert pit.m.clock.pending() == []


def test_irq_level_follows_the_control_word(pit: Pit) -> None:
    pit.program(0, 2, 100)
    assert pit.irq.level == 1
    pit.control(0x30)
    assert pit.irq.level == 0
    assert pit.m.clock.pending() == []
    pit.control(0x34)
    assert pit.irq.level == 1


def test_new_period_changes_the_timer(pit: Pit) -> None:
    pit.program(0, 2, 1000)
    pit.tick(500)
    pit.count(0, 100)
    pit.irq.clear()
    pit.tick(720)
    rises = [t for t, level in pit.irq.times if level]
    assert rises == [ns(1101), ns(1201), ns(1301)]


@pytest.mark.parametrize("mode", [2, 3])
def test_illegal_count_of_one_arms_no_timer(pit: Pit, mode: int) -> None:
    pit.program(0, mode, 1)
    pit.tick(10)
    assert pit.m.clock.pending() == []


def test_other_counters_need_no_timer(pit: Pit) -> None:
    pit.program(0, 0, 1)
    pit.tick(10)
    pit.program(1, 2, 18)
    pit.program(2, 3, 1000)
    assert pit.m.clock.pending() == []


@pytest.mark.parametrize(
    ("mode", "late", "rises"),
    [(2, 99, 0), (2, 101, 1), (2, 350, 1), (3, 151, 0), (3, 202, 1), (3, 420, 1),
     (0, 500, 1), (4, 101, 0), (4, 103, 1), (4, 500, 1)],
)  # fmt: skip
@pytest.mark.parametrize("found_by", ["timer", "write"])
def test_a_late_timer_gives_one_edge(pit: Pit, mode: int, late: int, rises: int, found_by: str) -> None:
    """A host that is late: what happened in between is one edge, also when the guest writes before the timer runs."""
    pit.program(0, mode, 100)
    pit.irq.clear()
    pit.pulse += late
    pit.m.clock.core.advance_to(ns(pit.pulse))
    if found_by == "timer":
        pit.m.clock.run_due()
        assert pit.irq.level == pit.out(0) or mode == 4
    else:
        pit.control(0x34)
    assert pit.irq.rises == rises + (found_by == "write" and mode == 3 and not rises)


def test_irq_control(pit: Pit) -> None:
    """The HPET takes IRQ 0 in legacy replacement mode: a wire low on the control input."""
    pit.program(0, 2, 100)
    pit.pit.irq_control[0].set(1)
    pit.pit.irq_control[0].set(0)
    assert pit.irq.level == 0 and pit.m.clock.pending() == []
    pit.tick(1005)
    assert pit.irq.level == 0
    pit.pit.irq_control[0].set(1)
    assert pit.irq.level == 1
    pit.irq.clear()
    pit.tick(200)
    assert pit.irq.rises == 2


def test_power_on_runs_free(pit: Pit) -> None:
    pit.m.reset()
    assert [pit.status(c) for c in range(3)] == [0xB6] * 3
    pit.irq.clear()
    pit.tick(65536 * 3)
    assert pit.irq.rises == 3


def reference_run(word: int, script: list[tuple[str, int]]) -> list[tuple[int, int]]:
    """A counter that is clocked pulse by pulse, as the datasheet describes it; LSB and MSB, binary."""
    mode = word >> 1 & 7
    mode = mode & 3 if mode > 5 else mode
    out = 0 if mode == 0 else 1
    ce: int | None = None  # None: not loaded
    count, gate = 0, 1
    load = trigger = strobe_armed = False
    history = []
    for action, value in script:
        if action == "count":
            count = value or 65536
            if mode == 0:
                out = 0
                ce = None
            if mode in (0, 4) or (mode in (2, 3) and ce is None):
                load = True
        elif action == "gate":
            if value and not gate and mode in (1, 2, 3, 5) and count:
                trigger = True
            gate = value
            if not gate and mode in (2, 3):
                out = 1
        else:
            for _ in range(value):
                if load or trigger:
                    ce = count & ~1 if mode == 3 else count
                    load = trigger = False
                    strobe_armed = True
                    out = 0 if mode in (0, 1) else 1
                    odd = count & 1
                elif ce is not None and (gate or mode in (1, 5)):
                    if mode == 3:
                        if (ce == 2 and not (odd and out)) or ce == 0:
                            out ^= 1
                            ce, odd = count & ~1, count & 1
                        else:
                            ce -= 2
                    elif mode == 2 and ce == 1:
                        ce, out = count, 1
                    else:
                        ce = (ce - 1) & 0xFFFF
                        if mode in (0, 1) and ce == 0:
                            out = 1
                        elif mode == 2:
                            out = 0 if ce == 1 else 1
                        elif mode in (4, 5):
                            out = 0 if ce == 0 and strobe_armed else 1
                            strobe_armed = strobe_armed and ce != 0
                history.append((-1 if ce is None else ce & 0xFFFF, out))
    return history


@pytest.mark.parametrize("mode", range(6))
@pytest.mark.parametrize("seed", range(20))
def test_against_a_clocked_model(mode: int, seed: int) -> None:
    """Random gates and counts: arithmetic and clocking agree at every pulse."""
    rng = random.Random(mode * 1000 + seed)
    word = 0xB0 | mode << 1
    script: list[tuple[str, int]] = [("tick", 1), ("count", rng.randrange(2, 30))]
    for _ in range(40):
        script.append(("tick", rng.randrange(1, 40)))
        choice = rng.randrange(3)
        if choice == 0:
            script.append(("count", rng.randrange(2, 30)))
        elif choice == 1:
            script.append(("gate", rng.randrange(2)))
    pit = Pit()
    pit.control(word)
    seen = []
    for action, value in script:
        if action == "count":
            pit.count(2, value)
        elif action == "gate":
            pit.pit.set_gate(2, value)
        else:
            seen += list(pit.trace(value))
    expected = reference_run(word, script)
    assert len(seen) == len(expected)
    for at, (got, want) in enumerate(zip(seen, expected, strict=True)):
        assert got[1] == want[1] and want[0] in (-1, got[0]), f"pulse {at}: {got} instead of {want}\n{script}"


def test_any_write_is_survived() -> None:
    rng = random.Random(8254)
    pit = Pit()
    for _ in range(20000):
        action = rng.randrange(4)
        port = 0x40 + rng.randrange(4)
        if action == 0:
            pit.m.outb(port, rng.randrange(256))
        elif action == 1:
            assert 0 <= pit.m.inb(port) <= 255
        elif action == 2:
            pit.tick(rng.choice((0, 1, 2, 17, 300)))
            if pit.pit.counters[0].mode not in (2, 4, 5):
                assert pit.irq.level == pit.out(0)
        else:
            pit.pit.set_gate(rng.randrange(3), rng.randrange(2))
