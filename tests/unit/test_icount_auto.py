"""-icount auto: virtual time keeps pace with the host's."""

from __future__ import annotations

from typing import Any

import pytest

from pcemu._core.cpumodel import parse_cpu
from pcemu._core.engine import Clock, Cpu, IoSpace, Memory
from pcemu.machine import icount
from pcemu.machine.icount import PERIOD_NS, AutoShift


class CountingClock:
    """Instruction-count time without a CPU; shift as engine.Clock has it."""

    def __init__(self) -> None:
        self.instructions = 0
        self.bias = 0
        self._shift = 3

    def now(self) -> int:
        return (self.instructions << self._shift) + self.bias

    @property
    def shift(self) -> int:
        return self._shift

    @shift.setter
    def shift(self, value: int) -> None:
        now = self.now()
        self._shift = value
        self.bias += now - self.now()


@pytest.mark.parametrize("mips", [3, 20, 125, 400])
def test_the_clocks_stay_together(monkeypatch: pytest.MonkeyPatch, mips: float) -> None:
    """Whatever the host's speed, within half a second after the first ten."""
    host = 10**12
    monkeypatch.setattr(icount, "monotonic_ns", lambda: host)
    clock = CountingClock()
    auto = AutoShift(clock)
    auto.start()
    worst = 0
    for step in range(600):  # a minute
        host += PERIOD_NS
        clock.instructions += int(mips * PERIOD_NS / 1000)
        before = clock.now()
        auto.look()
        assert clock.now() == before  # a new shift is no jump
        if step >= 100:
            worst = max(worst, abs(clock.now() - (host - 10**12)))
    assert worst < 0.5e9


@pytest.mark.parametrize("mips, shift", [(0.5, 10), (2000, 0)])
def test_there_is_no_more_than_the_range_of_shifts(monkeypatch: pytest.MonkeyPatch, mips: float, shift: int) -> None:
    host = 10**12
    monkeypatch.setattr(icount, "monotonic_ns", lambda: host)
    clock = CountingClock()
    auto = AutoShift(clock)
    auto.start()
    for _ in range(20):
        host += PERIOD_NS
        clock.instructions += int(mips * PERIOD_NS / 1000)
        auto.look()
    assert clock.shift == shift


def test_standing_still_is_not_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    host = 10**12
    monkeypatch.setattr(icount, "monotonic_ns", lambda: host)
    clock = CountingClock()
    auto = AutoShift(clock)
    auto.start()
    host += 3600 * 10**9  # stopped for an hour
    auto.start()
    host += PERIOD_NS
    clock.instructions += PERIOD_NS >> 3
    auto.look()
    assert clock.shift == 3


def test_a_new_shift_leaves_the_time_as_it_is() -> None:
    memory: Any = Memory()
    memory.set_map([(0, 0x10000, "ram", memory.alloc("ram", 0x10000), 0)])
    memory.write(0x1000, b"\x90" * 100 + b"\xf4")
    clock: Any = Clock(icount_shift=3)
    cpu: Any = Cpu(memory, IoSpace(), clock, parse_cpu("max"))
    cpu.set("cs_base", 0)
    cpu.set("rip", 0x1000)
    assert cpu.run(50) == "budget" and clock.now() == 400
    clock.shift = 1
    assert clock.now() == 400
    assert cpu.run(10) == "budget" and clock.now() == 420
    clock.deadline = 441
    assert cpu.run(100) == "deadline" and clock.now() == 442
    with pytest.raises(ValueError, match="shift must be"):
        clock.shift = 11
    with pytest.raises(ValueError, match="counts instructions"):
        Clock().shift = 2
