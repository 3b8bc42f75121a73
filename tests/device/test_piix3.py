"""82371SB PIIX3 (290550-002): PCI interrupt steering, shared levels, the reset control register."""

from __future__ import annotations

from typing import Any

import pytest

from pcemu.hw.isa.bus import IsaDevice
from pcemu.hw.isa.piix3 import Piix3
from pcemu.hw.pci.device import PciDevice
from pcemu.hw.pci.host import I440fxPciHost
from pcemu.qom import IrqOut
from pcemu.testing.harness import TestMachine


class Card(PciDevice):
    vendor_id, device_id, interrupt_pin = 0x1234, 1, 1


class CardD(Card):
    interrupt_pin = 4


class Board:
    def __init__(self) -> None:
        self.m = TestMachine(isa=False)
        self.host: I440fxPciHost = self.m.add(I440fxPciHost)
        self.piix: Piix3 = self.m.add(Piix3, self.host.pci, addr="01.0", multifunction=True)
        self.lines = [self.m.watch(line) for line in self.piix.isa.irq_lines]

    def card(self, addr: str, cls: type[Card] = Card) -> Any:
        return self.m.add(cls, self.host.pci, addr=addr)

    def route(self, *values: int) -> None:
        for pirq, value in enumerate(values):
            self.piix.config_write(0x60 + pirq, value, 1)

    def high(self) -> list[int]:
        return [number for number, line in enumerate(self.lines) if line.level]


@pytest.fixture
def b() -> Board:
    return Board()


def test_identity_and_reset_values(b: Board) -> None:
    r = b.piix.config_read
    assert r(0, 4) == 0x70008086 and r(4, 4) == 0x02000000 and r(8, 4) == 0x06010000
    assert r(0x0C, 4) == 0x00800000 and r(0x2C, 4) == 0x11001AF4
    for reg, value in ((0x4C, 0x0003004D), (0x60, 0x80808080), (0x68, 0x00000200), (0x70, 0x80), (0x74, 0x0C0C0000),
                       (0x78, 0x2), (0xA0, 0x8), (0xA8, 0xF)):  # fmt: skip
        assert r(reg, 4) == value, hex(reg)
    assert b.piix.describe() == ["class ISA bridge, addr 00:01.0, pci id 8086:7000 (sub 1af4:1100)"]
    assert b.piix.qtree_lines()[0] == "addr = 01.0"  # its wires are not gpios


@pytest.mark.parametrize(
    ("addr", "cls", "pirq"),
    [("1.2", CardD, 3), ("2", Card, 1), ("3", Card, 2), ("4", Card, 3), ("5", Card, 0), ("4", CardD, 2)],
)
def test_swizzle(b: Board, addr: str, cls: type[Card], pirq: int) -> None:
    routes = [9, 10, 11, 12]
    b.route(*routes)
    b.card(addr, cls).intx.set(1)
    assert b.high() == [routes[pirq]]


def test_lines_are_shared(b: Board) -> None:
    b.route(10, 10, 11, 11)
    five, two, three = b.card("5"), b.card("2"), b.card("3")  # PIRQ A, B, C
    five.intx.set(1)
    two.intx.set(1)
    three.intx.set(1)
    assert b.high() == [10, 11]
    five.intx.set(0)
    assert b.high() == [10, 11]
    two.intx.set(0)
    assert b.high() == [11]


def test_isa_devices_share_too(b: Board) -> None:
    class Old(IsaDevice):
        irq = IrqOut()

        def realize(self) -> None:
            self.connect_irq(self.irq, 10)

    old: Any = b.m.add(Old, b.piix.isa)
    b.route(10, 10, 11, 11)
    card = b.card("5")
    card.intx.set(1)
    old.irq.set(1)
    card.intx.set(0)
    assert b.high() == [10]
    old.irq.set(0)
    assert b.high() == []


def test_rerouting_moves_a_level(b: Board) -> None:
    b.route(10, 10, 11, 11)
    b.card("5").intx.set(1)
    b.route(5)
    assert b.high() == [5]
    b.route(0x85)  # off
    assert b.high() == []
    for irq in (0, 1, 2, 8, 13):  # reserved
        b.route(irq)
        assert b.high() == []
    assert b.piix.config_read(0x60, 1) == 13
    b.route(0x7B)
    assert b.piix.config_read(0x60, 1) == 0x0B  # bits 6-4 are reserved


def test_level_reaches_the_8259_as_the_elcr_says(b: Board) -> None:
    m = b.m
    pics = [
        m.add("isa-i8259", b.piix.isa, iobase=0x20, elcr_addr=0x4D0, elcr_mask=0xF8, master=True),
        m.add("isa-i8259", b.piix.isa, iobase=0xA0, elcr_addr=0x4D1, elcr_mask=0xDE),
    ]
    pics[0].cascade(pics[1])
    b.piix.isa.connect_irqs([pics[n >> 3].irq_in[n & 7] for n in range(16)])
    for port, icw in ((0x20, (0x11, 0x20, 4, 1)), (0xA0, (0x11, 0x28, 2, 1))):
        m.outb(port, icw[0])
        for value in icw[1:]:
            m.outb(port + 1, value)
    m.outb(0x21, 0)
    m.outb(0xA1, 0)
    b.route(10, 10, 11, 11)
    for elcr, again in ((0x0C, True), (0x00, False)):
        m.outb(0x4D1, elcr)
        card = b.card("5" if again else "9")
        card.intx.set(1)
        assert pics[0].irq.level == 1 and pics[0].intack() == 0x2A
        m.outb(0xA0, 0x20)
        m.outb(0x20, 0x20)
        assert bool(pics[0].irq.level) == again  # level: it is still asserted
        card.intx.set(0)
        assert pics[0].irq.level == 0


def test_reset_control(b: Board) -> None:
    b.m.outb(0xCF9, 0x02)
    assert b.m.inb(0xCF9) == 0x02 and b.m.requests == []
    b.m.outb(0xCF9, 0x06)
    assert b.m.requests == [("reset", "guest-reset", 0)]
    assert b.m.inb(0xCF9) == 0x02
    b.m.reset()
    assert b.m.inb(0xCF9) == 0


def test_configuration_address_does_not_reset(b: Board) -> None:
    b.m.outl(0xCF8, 0x80000600)  # CF9h is in the middle of this
    assert b.m.requests == [] and b.m.inl(0xCF8) == 0x80000600


def test_reset(b: Board) -> None:
    b.route(10, 10, 11, 11)
    b.card("5").intx.set(1)
    b.m.reset()
    assert b.high() == [] and b.piix.config_read(0x60, 4) == 0x80808080
