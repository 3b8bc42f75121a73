"""HPET (IA-PC HPET specification 1.0a): counter, comparators, routing, levels, legacy replacement."""

from __future__ import annotations

import pytest

from pcemu.hw.timer.hpet import Hpet
from pcemu.testing.harness import TestMachine, WireWatch

BASE = 0xFED00000
CAP, CFG, STS, CNT = 0x000, 0x010, 0x020, 0x0F0
LEVEL, ENABLE, PERIODIC, SETVAL, M32, FSB = 0x2, 0x4, 0x8, 0x40, 0x100, 0x4000


def tcfg(n: int) -> int:
    return 0x100 + 0x20 * n


def tcmp(n: int) -> int:
    return 0x108 + 0x20 * n


class Board:
    def __init__(self, **props: object) -> None:
        self.m = TestMachine()
        self.h: Hpet = self.m.add(Hpet, **{"hpet_intcap": 0xFF0104, **props})
        self.h.mmio.map(BASE)
        self.lines = [self.m.watch(self.h.irqs[i]) for i in range(32)]
        self.pit = self.m.watch(self.h.pit_enabled)

    def r(self, reg: int, size: int = 4) -> int:
        return self.m.mmio_read(BASE + reg, size)

    def w(self, reg: int, value: int, size: int = 4) -> None:
        self.m.mmio_write(BASE + reg, size, value)

    def line(self, n: int) -> WireWatch:
        return self.lines[n]


@pytest.fixture
def b() -> Board:
    return Board()


def test_capabilities() -> None:
    b = Board(hpet_intcap=4)
    assert b.r(CAP) == 0x8086A201 and b.r(CAP + 4) == 0x989680
    assert b.r(CAP, 8) == 0x989680_8086A201
    assert (b.r(tcfg(0)), b.r(tcfg(0) + 4)) == (0x30, 4)
    assert b.r(tcmp(0), 8) == 0xFFFFFFFF_FFFFFFFF
    assert b.r(tcfg(3), 8) == 0  # only three timers
    b.w(CAP, 0, 8)
    assert b.r(CAP) == 0x8086A201


@pytest.mark.parametrize(("asked", "got"), [(0, 3), (3, 3), (8, 8), (255, 32)])
def test_timer_count(asked: int, got: int) -> None:
    b = Board(timers=asked)
    assert (b.r(CAP) >> 8 & 0x1F) + 1 == got
    assert b.r(tcfg(min(got, 24) - 1)) == 0x30  # what fits in the page's first KiB


def test_counter_runs_when_enabled(b: Board) -> None:
    b.w(CNT, 1000)
    b.m.clock.advance(1_000_000)
    assert b.r(CNT) == 1000
    b.w(CFG, 1)
    b.m.clock.advance(1_000_000)
    assert b.r(CNT) == 101_000
    b.w(CNT, 5)  # not while it runs
    assert b.r(CNT) == 101_000
    b.w(CFG, 0)
    b.m.clock.advance(1_000_000)
    assert b.r(CNT) == 101_000


def test_counter_is_64_bits(b: Board) -> None:
    b.w(CNT, 0xFFFFFFFF_FFFFFF00, 8)
    assert (b.r(CNT), b.r(CNT + 4)) == (0xFFFFFF00, 0xFFFFFFFF)
    b.w(CFG, 1)
    b.m.clock.advance(0x100 * 10)
    assert b.r(CNT, 8) == 0
    b.w(CFG, 0)
    b.w(CNT + 4, 7)
    assert b.r(CNT, 8) == 7 << 32


def test_one_shot_edge(b: Board) -> None:
    b.w(tcfg(0), ENABLE | 8 << 9)
    b.w(tcmp(0), 500, 8)
    b.w(CFG, 1)
    b.m.clock.advance(4999)
    assert b.line(8).edges == []
    b.m.clock.advance(1)
    assert b.line(8).times == [(5000, 1), (5000, 0)]
    b.m.clock.advance(10**12)
    assert b.line(8).rises == 1


def test_past_comparator_waits_for_the_wrap(b: Board) -> None:
    b.w(CFG, 1)
    b.m.clock.advance(10_000)
    b.w(tcfg(0), ENABLE | M32 | 8 << 9)
    b.w(tcmp(0), 900)
    b.m.clock.advance(1_000_000)
    assert b.line(8).rises == 0
    b.m.clock.advance_to((2**32 + 900) * 10)
    assert b.line(8).times[0] == ((2**32 + 900) * 10, 1)


def test_32_bit_one_shot_repeats_each_wrap(b: Board) -> None:
    b.w(CFG, 1)
    b.w(tcfg(0), ENABLE | M32 | 8 << 9)
    b.w(tcmp(0), 900)
    b.m.clock.advance(2 * 2**32 * 10)
    assert [t for t, level in b.line(8).times if level] == [9000, (2**32 + 900) * 10]


def test_disabled_timer_is_silent(b: Board) -> None:
    b.w(CFG, 1)
    b.w(tcfg(1), 8 << 9)
    b.w(tcmp(1), 100)
    b.m.clock.advance(100_000)
    assert b.line(8).edges == []


def test_periodic_as_linux_sets_it_up(b: Board) -> None:
    b.w(CFG, 0)
    b.w(CNT, 0, 8)
    b.w(CFG, 1)
    b.m.clock.advance(1000)
    b.w(tcfg(0), ENABLE | PERIODIC | SETVAL | M32)
    b.w(tcmp(0), b.r(CNT) + 10_000)
    assert not b.r(tcfg(0)) & SETVAL
    b.m.clock.advance(1000)
    b.w(tcmp(0), 10_000)
    b.w(CFG, 3)
    b.m.clock.advance(350_000)
    assert [t for t, level in b.line(0).times if level] == [101_000, 201_000, 301_000]
    assert b.r(tcmp(0)) == 40_100  # reads as the next match


def test_periodic_without_set_value_changes_only_the_period(b: Board) -> None:
    b.w(CFG, 1)
    b.w(tcfg(0), ENABLE | PERIODIC | SETVAL | 8 << 9)
    b.w(tcmp(0), 1000, 8)
    b.w(tcmp(0), 2000, 8)
    b.m.clock.advance(60_000)
    assert [t for t, level in b.line(8).times if level] == [10_000, 30_000, 50_000]


def test_tiny_period_does_not_stall_the_machine(b: Board) -> None:
    b.w(tcfg(0), ENABLE | PERIODIC | SETVAL | 8 << 9)
    b.w(tcmp(0), 1, 8)
    b.w(CFG, 1)
    b.m.clock.advance(1_000_000)
    assert 0 < b.line(8).rises <= 200
    b.w(tcfg(0), ENABLE | PERIODIC | SETVAL | 8 << 9)
    b.w(tcmp(0), 0, 8)  # a period of nothing
    b.m.clock.advance(1_000_000)


def test_level_triggered(b: Board) -> None:
    b.w(tcfg(0), ENABLE | LEVEL | 16 << 9)
    b.w(tcfg(1), ENABLE | LEVEL | 16 << 9)
    b.w(tcmp(0), 100)
    b.w(tcmp(1), 200)
    b.w(tcmp(0) + 4, 0)
    b.w(tcmp(1) + 4, 0)
    b.w(CFG, 1)
    b.m.clock.advance(5000)
    assert b.r(STS) == 3 and b.line(16).level == 1
    b.w(STS, 1)
    assert b.r(STS) == 2 and b.line(16).level == 1  # shared
    b.w(STS, 2)
    assert b.line(16).level == 0


def test_disabling_drops_a_level(b: Board) -> None:
    for register, value in ((CFG, 0), (tcfg(0), LEVEL | 16 << 9)):
        b.w(tcfg(0), ENABLE | LEVEL | 16 << 9)
        b.w(CFG, 0)
        b.w(CNT, 0, 8)
        b.w(tcmp(0), 100, 8)
        b.w(CFG, 1)
        b.m.clock.advance(2000)
        assert b.line(16).level == 1
        b.w(register, value)
        assert b.line(16).level == 0 and b.r(STS) == 0


def test_route_must_be_possible() -> None:
    b = Board(hpet_intcap=4)
    b.w(tcfg(0), 2 << 9)
    assert b.r(tcfg(0)) >> 9 & 0x1F == 2
    b.w(tcfg(0), 9 << 9)
    assert b.r(tcfg(0)) >> 9 & 0x1F == 2


def test_legacy_replacement(b: Board) -> None:
    b.h.irq_in[0].set(1)
    assert b.line(0).level == 1  # the 8254 passes through
    b.w(CFG, 3)
    assert b.line(0).level == 0 and b.pit.level == 0
    b.h.irq_in[1].set(1)
    assert b.line(8).level == 0
    b.w(tcfg(0), ENABLE | 8 << 9)
    b.w(tcfg(1), ENABLE | 16 << 9)
    b.w(tcmp(0), 100, 8)
    b.w(tcmp(1), 100, 8)
    b.line(0).clear()
    b.m.clock.advance(2000)
    assert b.line(0).rises == 1 and b.line(8).rises == 1 and b.line(16).rises == 0
    b.w(CFG, 1)
    assert b.line(8).level == 1 and b.pit.level == 1  # the RTC's level is back


def test_fsb_delivery() -> None:
    b = Board(msi=True)
    b.w(tcfg(2), ENABLE | FSB)
    assert b.r(tcfg(2)) & 0xC000 == 0xC000
    b.w(0x150, 0xCAFE)
    b.w(0x154, 0x2000)
    b.w(tcmp(2), 10, 8)
    b.w(CFG, 1)
    b.m.clock.advance(1000)
    assert b.m.memory.ld(0x2000, 4) == 0xCAFE
    plain = Board()
    plain.w(tcfg(2), FSB)
    assert plain.r(tcfg(2)) & 0xC000 == 0


def test_reset(b: Board) -> None:
    b.w(tcfg(0), ENABLE | PERIODIC | SETVAL)
    b.w(tcmp(0), 1000)
    b.w(CFG, 3)
    b.m.clock.advance(500)
    b.m.reset()
    assert b.m.clock.pending() == [] and b.r(CFG) == 0 and b.r(CNT) == 0 and b.pit.level == 1


def test_any_access_is_survived(b: Board) -> None:
    for value in (0xFFFFFFFF_FFFFFFFF, 0, 0x5555_5555_5555_5555):
        for offset in range(0, 0x400, 2):
            for size in (1, 2, 4, 8):
                b.w(offset, value & ((1 << 8 * size) - 1), size)
                assert 0 <= b.r(offset, size) < 1 << 8 * size
        b.m.clock.advance(100_000)
