"""82093AA I/O APIC (290566-001): index and window, edge and level, remote IRR, EOI, delivery modes."""

from __future__ import annotations

import pytest

from pcemu.hw.intc.apic import LocalApic
from pcemu.hw.intc.ioapic import IoApic
from pcemu.testing.harness import TestMachine

BASE = 0xFEC00000
LAPIC = 0xFEE00000
MASKED, LEVEL, REMOTE_IRR = 0x10000, 0x8000, 0x4000


class Board:
    def __init__(self) -> None:
        self.m = TestMachine()
        self.cpu = self.m.cpu
        self.apic: LocalApic = self.m.add(LocalApic)
        self.apic.attach(self.cpu)
        self.apic.map()
        self.io: IoApic = self.m.add(IoApic)
        self.io.mmio.map(BASE)
        self.m.reset()
        self.m.mmio_write(LAPIC + 0xF0, 4, 0x1FF)

    def r(self, index: int) -> int:
        self.m.mmio_write(BASE, 4, index)
        return self.m.mmio_read(BASE + 0x10, 4)

    def w(self, index: int, value: int) -> None:
        self.m.mmio_write(BASE, 4, index)
        self.m.mmio_write(BASE + 0x10, 4, value)

    def route(self, pin: int, low: int, dest: int = 0) -> None:
        self.w(0x11 + 2 * pin, dest << 24)
        self.w(0x10 + 2 * pin, low)

    def eoi(self) -> None:
        self.m.mmio_write(LAPIC + 0xB0, 4, 0)


@pytest.fixture
def b() -> Board:
    return Board()


def test_reset_values(b: Board) -> None:
    assert b.r(0) == 0 and b.r(1) == 0x170020 and b.r(2) == 0
    for pin in range(24):
        assert (b.r(0x10 + 2 * pin), b.r(0x11 + 2 * pin)) == (MASKED, 0)
    assert b.m.mmio_read(BASE, 4) == 0x3F  # the index reads back


def test_writable_bits(b: Board) -> None:
    b.w(0, 0xFFFFFFFF)
    assert b.r(0) == 0x0F000000 and b.r(2) == 0x0F000000
    b.w(1, 0xFFFFFFFF)
    assert b.r(1) == 0x170020
    b.w(0x11, 0xFFFFFFFF)
    b.w(0x10, 0xFFFFFFFF)
    assert b.r(0x11) == 0xFF000000
    assert b.r(0x10) == 0x1FFFF & ~(REMOTE_IRR | 0x1000)


def test_edge(b: Board) -> None:
    b.route(4, 0x44)
    pin = b.io.irq_in[4]
    pin.set(1)
    assert b.cpu.intack() == 0x44
    b.eoi()
    assert b.cpu.intr == 0  # one edge, one interrupt
    pin.set(0)
    pin.set(1)
    assert b.cpu.intr == 1


def test_edge_on_masked_pin_is_lost(b: Board) -> None:
    pin = b.io.irq_in[4]
    b.route(4, MASKED | 0x44)
    pin.set(1)
    b.route(4, 0x44)
    assert b.cpu.intr == 0


def test_level_with_remote_irr(b: Board) -> None:
    b.route(10, LEVEL | 0x61)
    pin = b.io.irq_in[10]
    pin.set(1)
    assert b.r(0x10 + 20) == LEVEL | REMOTE_IRR | 0x61
    assert b.cpu.intack() == 0x61
    pin.set(0)
    pin.set(1)  # while it is served: remembered by the level alone
    assert b.cpu.intr == 0
    b.eoi()
    assert b.cpu.intack() == 0x61
    pin.set(0)
    b.eoi()
    assert b.cpu.intr == 0 and b.r(0x10 + 20) == LEVEL | 0x61


def test_level_waits_for_unmask(b: Board) -> None:
    b.route(10, LEVEL | MASKED | 0x61)
    b.io.irq_in[10].set(1)
    assert b.cpu.intr == 0
    b.route(10, LEVEL | 0x61)
    assert b.cpu.intack() == 0x61


def test_level_that_went_away_before_unmask(b: Board) -> None:
    b.route(10, LEVEL | MASKED | 0x61)
    b.io.irq_in[10].set(1)
    b.io.irq_in[10].set(0)
    b.route(10, LEVEL | 0x61)
    assert b.cpu.intr == 0


def test_masked_while_in_service(b: Board) -> None:
    b.route(10, LEVEL | 0x61)
    b.io.irq_in[10].set(1)
    b.cpu.intack()
    b.route(10, LEVEL | MASKED | 0x61)
    b.eoi()
    assert b.cpu.intr == 0 and not b.r(0x10 + 20) & REMOTE_IRR
    b.route(10, LEVEL | 0x61)
    assert b.cpu.intr == 1


def test_eoi_register(b: Board) -> None:
    b.route(10, LEVEL | 0x61)
    b.io.irq_in[10].set(1)
    b.m.mmio_write(BASE + 0x40, 4, 0x62)
    assert b.r(0x10 + 20) & REMOTE_IRR
    b.io.irq_in[10].set(0)
    b.m.mmio_write(BASE + 0x40, 4, 0x61)
    assert not b.r(0x10 + 20) & REMOTE_IRR


def test_version_11_has_no_eoi_register() -> None:
    m = TestMachine()
    io: IoApic = m.add(IoApic, version=0x11)
    io.mmio.map(BASE)
    m.mmio_write(BASE, 4, 1)
    assert m.mmio_read(BASE + 0x10, 4) == 0x170011
    io.entries[3] = LEVEL | REMOTE_IRR | 0x61
    m.mmio_write(BASE + 0x40, 4, 0x61)
    assert io.entries[3] & REMOTE_IRR


def test_edge_mode_clears_remote_irr(b: Board) -> None:
    b.route(10, LEVEL | 0x61)
    b.io.irq_in[10].set(1)
    b.io.irq_in[10].set(0)
    b.w(0x10 + 20, MASKED | 0x61)
    b.w(0x10 + 20, LEVEL | 0x61)
    assert b.r(0x10 + 20) == LEVEL | 0x61


def test_destinations_and_modes(b: Board) -> None:
    pin = b.io.irq_in[1]
    b.route(1, 0x50, dest=9)
    pin.pulse()
    assert b.cpu.intr == 0
    b.m.mmio_write(LAPIC + 0xD0, 4, 0x01000000)
    b.route(1, 0x950, dest=1)  # logical, lowest priority
    pin.pulse()
    assert b.cpu.intack() == 0x50
    b.eoi()
    b.route(1, 0x400)
    pin.pulse()
    assert b.cpu.nmis == 1
    b.route(1, 0x500)
    pin.pulse()
    assert b.cpu.inits == 1


def test_extint_takes_the_vector_from_the_8259(b: Board) -> None:
    b.io.extint_ack = lambda: 0x38
    b.route(0, 0x700)
    b.io.irq_in[0].pulse()
    assert b.cpu.intack() == 0x38


def test_level_nobody_takes_can_go_later(b: Board) -> None:
    b.route(10, LEVEL | 0x61, dest=5)
    b.io.irq_in[10].set(1)
    assert not b.r(0x10 + 20) & REMOTE_IRR
    b.route(10, LEVEL | 0x61, dest=0)
    assert b.cpu.intr == 1


def test_polarity_is_kept_and_does_not_invert(b: Board) -> None:
    b.route(10, LEVEL | 0x2061)
    assert b.cpu.intr == 0
    b.io.irq_in[10].set(1)
    assert b.cpu.intr == 1


def test_reset_keeps_wires(b: Board) -> None:
    b.io.irq_in[10].set(1)
    b.m.reset()
    b.m.mmio_write(LAPIC + 0xF0, 4, 0x1FF)
    b.route(10, LEVEL | 0x61)
    assert b.cpu.intr == 1


def test_any_access_is_survived(b: Board) -> None:
    for index in range(256):
        b.w(index, 0xFFFFFFFF)
        b.r(index)
        b.w(index, 0)
    for offset in range(0, 0x1000, 4):
        b.m.mmio_read(BASE + offset, 4)
        b.m.mmio_write(BASE + offset, 4, 0xFFFFFFFF)
    for size in (1, 2, 8):
        b.m.mmio_read(BASE + 0x10, size)
        b.m.mmio_write(BASE + 0x10, size, (1 << 8 * size) - 1)


def test_info_lines(b: Board) -> None:
    b.route(10, LEVEL | 0x800 | 0x28, dest=1)
    b.io.irq_in[10].set(1)
    b.m.mmio_write(BASE, 4, 0x24)
    lines = b.io.info_lines()
    assert lines[0] == "ioapic0: ver=0x20 id=0x00 sel=0x24 (redir[10])"
    assert lines[1] == "  pin 0  0x0000000000010000 dest=0 vec=0   active-hi edge  masked fixed  physical"
    assert lines[11] == "  pin 10 0x0100000000008828 dest=1 vec=40  active-hi level        fixed  logical"
    assert lines[25] == "  IRR      10" and lines[26] == "  Remote IRR (none)"
