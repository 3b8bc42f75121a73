"""The coprocessor error latch: FERR# -> IRQ 13, port 0xF0 (PC/AT technical reference; SDM vol. 1, 8.7.2)."""
from __future__ import annotations

from pcemu.hw.misc.ioportf0 import FerrLatch
from pcemu.testing.harness import TestMachine


def make() -> tuple[TestMachine, FerrLatch, list[int]]:
    m = TestMachine()
    latch = FerrLatch(m)
    latch.realize_now()
    levels: list[int] = []
    latch.irq.connect(levels.append)
    return m, latch, levels


def test_error_raises_irq13_until_port_f0_is_written() -> None:
    m, latch, levels = make()
    latch.on_ferr(0, 1)
    latch.on_ferr(0, 1)
    assert levels == [1]
    m.outb(0xF0, 0)
    assert levels == [1, 0]


def test_the_same_error_is_ignored_until_it_is_cleared() -> None:
    m, latch, levels = make()
    latch.on_ferr(0, 1)
    m.outb(0xF0, 0)
    latch.on_ferr(0, 1)
    assert levels == [1, 0]
    latch.on_ferr(0, 0)
    latch.on_ferr(0, 1)
    assert levels == [1, 0, 1]


def test_reset_forgets() -> None:
    m, latch, levels = make()
    latch.on_ferr(0, 1)
    m.outb(0xF0, 0)
    latch.reset()
    assert not latch.ignne
    latch.on_ferr(0, 1)
    assert levels[-1] == 1
