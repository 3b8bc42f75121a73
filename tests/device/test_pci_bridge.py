"""pci-bridge: configuration cycles, windows and interrupts go through it; what firmware does with it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from pcemu.hw.pci.bar import BarDecl
from pcemu.hw.pci.bridge import PciBridge
from pcemu.hw.pci.device import PciDevice
from pcemu.hw.pci.enumerate import assign_resources
from pcemu.hw.pci.host import I440fxPciHost
from pcemu.hw.pci.info import info_pci
from pcemu.qom import PcemuError
from pcemu.testing.harness import TestMachine


class Card(PciDevice):
    type_name = ""
    vendor_id, device_id, class_id, interrupt_pin = 0x1234, 0x5678, 0x00FF, 1
    bar_decls: ClassVar[tuple[BarDecl, ...]] = (
        BarDecl(0, 0x20, "io", "bar_read", None, (1, 4), name="card-io"),
        BarDecl(1, 0x1000, "mem", "bar_read", None, (4, 4), name="card-mem"),
        BarDecl(2, 0x4000, "mem", "bar_read", None, (4, 4), prefetch=True, bits64=True, name="card-big"),
    )

    def bar_read(self, offset: int, size: int) -> int:
        return 0x40 + offset


class Board:
    def __init__(self) -> None:
        self.m = m = TestMachine(isa=False)
        self.host: I440fxPciHost = m.add(I440fxPciHost)
        self.lines: list[tuple[int, int]] = []
        self.host.pci.route_irqs(PciBridge.pin_behind, lambda line, level: self.lines.append((line, level)))
        self.near: PciBridge = m.add(PciBridge, self.host.pci, id="near", addr="04.0")
        self.far: PciBridge = m.add(PciBridge, self.near.secondary, id="far", addr="01.0")
        self.card: Card = m.add(Card, self.near.secondary, addr="03.0")
        self.last: Card = m.add(Card, self.far.secondary, addr="02.0")


@pytest.fixture
def b() -> Board:
    return Board()


def bars(card: Card) -> list[int | None]:
    return [card.bars[index].addr for index in range(3)]


def test_firmware_numbers_buses_and_opens_windows(b: Board) -> None:
    assert b.host.config_read(1, 3 << 3, 0, 4) == 0xFFFFFFFF
    assign_resources(b.host)
    assert [b.near.config[i] for i in (0x18, 0x19, 0x1A)] == [0, 1, 2]
    assert [b.far.config[i] for i in (0x18, 0x19, 0x1A)] == [1, 2, 2]
    assert b.host.config_read(1, 3 << 3, 0, 4) == 0x56781234
    assert b.host.config_read(2, 2 << 3, 0, 4) == 0x56781234
    assert b.host.config_read(2, 3 << 3, 0, 4) == b.host.config_read(3, 0, 0, 4) == 0xFFFFFFFF
    for card in (b.card, b.last):
        io, mem, big = bars(card)
        assert io is not None and mem is not None and big is not None
        bridge = b.near if card is b.card else b.far
        for addr, (first, last) in zip((io, mem, big), bridge.ranges(), strict=True):
            assert first <= addr <= last
        assert b.m.inb(io + 3) == 0x43
        assert b.m.mmio_read(mem + 8, 4) == 0x48 and b.m.mmio_read(big + 16, 4) == 0x50
    # Nested windows lie inside, and neighbours do not overlap.
    for (a, z), (c, y) in zip(b.near.ranges(), b.far.ranges(), strict=True):
        assert a <= c <= y <= z


def test_a_closed_window_hides_what_is_behind(b: Board) -> None:
    assign_resources(b.host)
    io, mem, _ = bars(b.card)
    assert io is not None and mem is not None
    b.near.config_write(4, 0, 2)
    assert b.m.inb(io) == 0xFF and b.m.mmio_read(mem, 4) == 0xFFFFFFFF
    b.near.config_write(4, 7, 2)
    assert b.m.inb(io) == 0x40
    b.near.config_write(0x22, 0, 2)  # the limit falls below the base
    assert b.m.mmio_read(mem, 4) == 0xFFFFFFFF and b.m.inb(io) == 0x40


def test_an_address_outside_the_window_is_not_passed_on(b: Board) -> None:
    assign_resources(b.host)
    b.card.config_write(0x14, 0xD0000000, 4)
    assert b.card.bars[1].addr == 0xD0000000 and b.m.mmio_read(0xD0000000, 4) == 0xFFFFFFFF


def test_interrupt_pins_rotate(b: Board) -> None:
    b.card.intx.set(1)  # INTA of slot 3 is the bridge's pin 3; that of slot 4 is line 7 & 3
    assert b.lines == [((0 + 3 + 4) & 3, 1)]
    b.last.intx.set(1)  # slot 2, behind slot 1, behind slot 4: the same line
    b.card.intx.set(0)
    assert b.lines[1:] == []
    b.last.intx.set(0)
    assert b.lines[1:] == [(3, 0)]


def test_secondary_reset(b: Board) -> None:
    assign_resources(b.host)
    b.near.config_write(0x3E, 0x40, 2)
    assert b.card.command == 0 and bars(b.card) == [None] * 3
    assert b.far.config[0x19] == 0
    assert b.host.config_read(2, 2 << 3, 0, 4) == 0xFFFFFFFF


def test_info_pci_shows_all_buses(b: Board) -> None:
    assert len([line for line in info_pci(b.host.pci) if "Bus" in line]) == 1
    assign_resources(b.host)
    lines = info_pci(b.host.pci)
    assert [line for line in lines if "Bus" in line] == [
        "  Bus  0, device   4, function 0:", "  Bus  1, device   1, function 0:", "  Bus  2, device   2, function 0:",
        "  Bus  1, device   3, function 0:"]  # fmt: skip
    assert "      secondary bus 1." in lines


def test_state(b: Board) -> None:
    assign_resources(b.host)
    saved = [(device, device.get_state()) for device in (b.near, b.far, b.card, b.last)]
    where = bars(b.last)
    b.m.reset()
    assert bars(b.last) == [None] * 3
    for device, state in saved:
        device.set_state(state)
    assert bars(b.last) == where and b.m.inb(where[0] or 0) == 0x40


def test_unplugging_a_bridge_takes_what_is_behind(b: Board) -> None:
    assign_resources(b.host)
    io = bars(b.last)[0]
    assert io is not None
    b.near.unplug()
    assert b.m.inb(io) == 0xFF and b.m.find_all(Card) == [] and b.m.find_all(PciBridge) == []


@pytest.mark.parametrize("props", [{"shpc": True}, {"msi": "on"}, {"io_reserve": "4k"}])
def test_what_there_is_not(b: Board, props: dict[str, Any]) -> None:
    with pytest.raises(PcemuError, match=next(iter(props)).replace("_", "-")):
        b.m.add(PciBridge, b.host.pci, **props)
