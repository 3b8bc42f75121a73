"""MSI, MSI-X, power states and vendor capabilities of a PCI device; messages land in RAM here, where they can be seen."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from pcemu.hw.pci.bar import BarDecl
from pcemu.hw.pci.device import PciDevice
from pcemu.hw.pci.host import I440fxPciHost
from pcemu.hw.pci.msi import Msi
from pcemu.hw.pci.msix import Msix
from pcemu.qom import PcemuError
from pcemu.testing.harness import TestMachine

MESSAGE = 0x1000  # an address in RAM
TABLE = 0xE0000000


class Card(PciDevice):
    """MSI with four vectors that can be masked, MSI-X with 70 in BAR 1, power management, a vendor's capability."""

    type_name = ""
    vendor_id, device_id, interrupt_pin = 0x1234, 0x5678, 1
    bar_decls: ClassVar[tuple[BarDecl, ...]] = (BarDecl(0, 0x1000, read="bar_read", access=(4, 4), name="card"),)

    def realize(self) -> None:
        super().realize()
        self.vendor_at = self.add_vendor_capability(b"abc")
        self.power_at = self.add_power_management()
        self.msi = Msi(self, 4, maskable=True)
        self.msix = Msix(self, 70, 1)

    def bar_read(self, offset: int, size: int) -> int:
        return 7


class Board:
    def __init__(self) -> None:
        self.m = TestMachine(isa=False)
        host = self.m.add(I440fxPciHost)
        self.pins: list[int] = []
        host.pci.route_irqs(lambda devfn, pin: pin, lambda line, level: self.pins.append(level))
        self.card: Card = self.m.add(Card, host.pci)
        self.card.config_write(0x14, TABLE, 4)
        self.card.config_write(0x10, 0xE1000000, 4)
        self.card.config_write(4, 6, 2)

    def came(self) -> int:
        """The last message's data, 0 for none since the last look."""
        data = self.m.memory.ld(MESSAGE, 4)
        self.m.memory.st(MESSAGE, 4, 0)
        return int(data)

    def set_msi(self, vectors: int = 1) -> Msi:
        msi = self.card.msi
        assert msi is not None
        for at, size, value in ((4, 4, MESSAGE), (8, 4, 0), (12, 2, 0x4150), (2, 2, 1 | (vectors.bit_length() - 1) << 4)):
            self.card.config_write(msi.offset + at, value, size)
        return msi

    def set_msix(self) -> Msix:
        msix = self.card.msix
        assert msix is not None
        for vector in (0, 69):
            for at, value in ((0, MESSAGE), (4, 0), (8, 0xA0 + vector), (12, 0)):
                self.m.mmio_write(TABLE + 16 * vector + at, 4, value)
        self.card.config_write(msix.offset + 2, 0x8000, 2)
        return msix


@pytest.fixture
def b() -> Board:
    return Board()


def capabilities(card: Card) -> list[int]:
    found, at = [], card.config[0x34]
    while at:
        found.append(card.config[at])
        at = card.config[at + 1]
    return found


def test_list_of_capabilities(b: Board) -> None:
    assert capabilities(b.card) == [0x11, 0x05, 0x01, 0x09] and b.card.config[6] & 0x10
    at = b.card.vendor_at
    assert bytes(b.card.config[at + 2 : at + 6]) == b"\x06abc"
    b.card.config_write(at + 3, 0xFF, 1)
    assert b.card.config[at + 3] == ord("a")


def test_msi(b: Board) -> None:
    b.card.interrupt(1)
    assert b.pins == [1] and b.came() == 0
    b.set_msi()
    assert b.pins == [1, 0]  # messages instead
    b.card.interrupt(0)
    b.card.interrupt(1)
    assert b.pins == [1, 0] and b.came() == 0x4150
    b.card.interrupt(0)
    assert b.came() == 0


def test_msi_vectors(b: Board) -> None:
    msi = b.set_msi(vectors=4)
    assert msi.allowed == 4
    msi.notify(3)
    assert b.came() == 0x4153
    msi = b.set_msi(vectors=2)
    msi.notify(3)
    assert b.came() == 0x4151
    b.card.config_write(msi.offset + 2, 1 | 7 << 4, 2)  # more than there are
    assert msi.allowed == 4


def test_msi_mask(b: Board) -> None:
    msi = b.set_msi(vectors=4)
    b.card.config_write(msi.offset + 16, 0b10, 4)
    msi.notify(1)
    assert b.came() == 0 and b.card.get(msi.offset + 20) == 0b10
    b.card.config_write(msi.offset + 16, 0, 4)
    assert b.came() == 0x4151 and b.card.get(msi.offset + 20) == 0


def test_messages_need_bus_mastering(b: Board) -> None:
    msi = b.set_msi()
    b.card.config_write(4, 2, 2)
    msi.notify(0)
    assert b.came() == 0


def test_msix(b: Board) -> None:
    msix = b.set_msix()
    assert b.card.get(msix.offset + 2, 2) & 0x7FF == 69
    b.card.interrupt(1, 69)
    assert b.came() == 0xA0 + 69 and b.pins == []
    msix.notify(70)
    msix.notify(5)  # masked since reset
    assert b.came() == 0
    pba = b.card.get(msix.offset + 8) & ~7
    assert b.m.mmio_read(TABLE + pba, 4) == 1 << 5
    b.m.mmio_write(TABLE + pba, 4, 0)  # read-only
    assert b.m.mmio_read(TABLE + pba, 4) == 1 << 5


def test_msix_function_mask(b: Board) -> None:
    msix = b.set_msix()
    b.card.config_write(msix.offset + 2, 0xC000, 2)
    msix.notify(69)
    pba = b.card.get(msix.offset + 8) & ~7
    assert b.came() == 0 and b.m.mmio_read(TABLE + pba + 8, 4) == 1 << 5
    b.card.config_write(msix.offset + 2, 0x8000, 2)
    assert b.came() == 0xA0 + 69 and msix.pending == 0


def test_msix_vector_mask_and_reset(b: Board) -> None:
    msix = b.set_msix()
    b.m.mmio_write(TABLE + 12, 4, 0xFFFFFFFF)
    assert b.m.mmio_read(TABLE + 12, 4) == 1
    msix.notify(0)
    b.m.mmio_write(TABLE + 12, 4, 0)
    assert b.came() == 0xA0
    saved = b.card.get_state()
    b.m.reset()
    assert not msix.enabled and msix.table[12] == 1
    b.card.set_state(saved)
    msix.notify(0)
    assert b.came() == 0xA0


def test_power_states(b: Board) -> None:
    at = b.card.power_at
    b.card.config_write(at + 4, 3, 2)
    assert not b.card.powered
    assert b.m.mmio_read(0xE1000000, 4) == 0xFFFFFFFF  # decodes nothing
    b.set_msi().notify(0)
    assert b.came() == 0
    b.card.config_write(at + 4, 1, 2)  # D1 is not there
    assert b.card.config[at + 4] & 3 == 3
    b.card.config_write(at + 4, 0, 2)
    assert b.m.mmio_read(0xE1000000, 4) == 7 and b.card.get(0x10) == 0xE1000000
    b.card.config_write(at + 4, 3, 2)
    b.m.reset()
    assert b.card.powered


@pytest.mark.parametrize("what", [lambda card: Msi(card, 3), lambda card: Msi(card, 64), lambda card: Msix(card, 0, 1),
                                  lambda card: Msix(card, 2049, 1)])  # fmt: skip
def test_numbers_of_vectors_that_cannot_be(b: Board, what: Any) -> None:
    with pytest.raises((ValueError, PcemuError), match="vectors"):
        what(b.card)


def test_no_room_for_capabilities(b: Board) -> None:
    with pytest.raises(PcemuError, match="no room"):
        for _ in range(20):
            b.card.add_vendor_capability(bytes(20))
