"""PCI: configuration mechanism #1, configuration space, BARs that move, pins, slots, resource assignment."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from pcemu.hw.pci.bar import BarDecl
from pcemu.hw.pci.config import ConfigReg
from pcemu.hw.pci.device import PciDevice
from pcemu.hw.pci.enumerate import assign_resources
from pcemu.hw.pci.host import I440fxPciHost
from pcemu.hw.pci.info import info_pci
from pcemu.qom import PcemuError, PropertyError
from pcemu.testing.harness import TestMachine


class Card(PciDevice):
    """A device with one of each."""

    type_name = ""
    vendor_id, device_id, class_id, revision, prog_if = 0x1234, 0x5678, 0x00FF, 7, 2
    interrupt_pin = 1
    config_registers: ClassVar[tuple[ConfigReg, ...]] = (
        ConfigReg("MODE", 0x40, 2, reset=0x1200, writable=0x00F0, w1c=0x0F00, on_write="mode_written"),
    )
    bar_decls: ClassVar[tuple[BarDecl, ...]] = (
        BarDecl(0, 0x20, "io", "port_read", "port_write", (1, 4), name="card-io"),
        BarDecl(1, 0x1000, "mem", "mem_read", "mem_write", (4, 4), name="card-mem"),
        BarDecl(2, 0x4000, "mem", "mem_read", "mem_write", (4, 4), prefetch=True, bits64=True, name="card-big"),
    )

    def __init__(self, *args: Any, **props: Any) -> None:
        self.modes: list[tuple[int, int]] = []
        self.writes: list[tuple[int, int, int]] = []
        super().__init__(*args, **props)

    def mode_written(self, old: int, new: int) -> None:
        self.modes.append((old, new))

    def port_read(self, offset: int, size: int) -> int:
        return 0x10 + offset

    def port_write(self, offset: int, value: int, size: int) -> None:
        self.writes.append((offset, value, size))

    def mem_read(self, offset: int, size: int) -> int:
        return 0xC0DE0000 + offset

    def mem_write(self, offset: int, value: int, size: int) -> None:
        self.writes.append((offset, value, size))


class Board:
    def __init__(self) -> None:
        self.m = TestMachine(isa=False)
        self.host: I440fxPciHost = self.m.add(I440fxPciHost)
        self.card: Card = self.m.add(Card, self.host.pci, addr="05.0")

    def select(self, slot: int, fn: int, reg: int) -> None:
        self.m.outl(0xCF8, 0x80000000 | slot << 11 | fn << 8 | reg & 0xFC)

    def r(self, reg: int, size: int = 4, slot: int = 5, fn: int = 0) -> int:
        self.select(slot, fn, reg)
        return {1: self.m.inb, 2: self.m.inw, 4: self.m.inl}[size](0xCFC + (reg & 3))

    def w(self, reg: int, value: int, size: int = 4, slot: int = 5, fn: int = 0) -> None:
        self.select(slot, fn, reg)
        {1: self.m.outb, 2: self.m.outw, 4: self.m.outl}[size](0xCFC + (reg & 3), value)


@pytest.fixture
def b() -> Board:
    return Board()


# -- configuration mechanism #1 -----------------------------------------------------------------------------


def test_address_register(b: Board) -> None:
    b.m.outl(0xCF8, 0x80000000)
    assert b.m.inl(0xCF8) == 0x80000000
    b.m.outb(0xCF8, 0x55)  # not a dword: not for this register
    b.m.outw(0xCFA, 0x5555)
    assert b.m.inl(0xCF8) == 0x80000000
    assert b.m.inb(0xCF8) == 0xFF
    b.m.outl(0xCF8, 0xFFFFFFFF)
    assert b.m.inl(0xCF8) == 0x80FFFFFC


def test_probe_as_linux_does(b: Board) -> None:
    b.m.outb(0xCFB, 1)
    b.m.outl(0xCF8, 0x80000000)
    assert b.m.inl(0xCF8) == 0x80000000


def test_data_needs_the_enable_bit(b: Board) -> None:
    b.m.outl(0xCF8, 5 << 11)
    assert b.m.inl(0xCFC) == 0xFFFFFFFF
    b.m.outl(0xCF8, 0x80000000 | 5 << 11)
    assert b.m.inl(0xCFC) == 0x56781234


def test_nobody_there(b: Board) -> None:
    assert b.r(0, slot=6) == 0xFFFFFFFF and b.r(0, fn=1) == 0xFFFFFFFF
    assert b.r(0, 2, slot=31) == 0xFFFF
    b.m.outl(0xCF8, 0x80010000 | 5 << 11)  # bus 1
    assert b.m.inl(0xCFC) == 0xFFFFFFFF
    b.m.outl(0xCFC, 0)


def test_byte_and_word_access(b: Board) -> None:
    assert [b.r(i, 1) for i in range(4)] == [0x34, 0x12, 0x78, 0x56]
    assert (b.r(0, 2), b.r(2, 2)) == (0x1234, 0x5678)
    b.w(0x3C, 0x0B, 1)
    assert b.r(0x3C, 2) == 0x010B


# -- header -------------------------------------------------------------------------------------------------


def test_header(b: Board) -> None:
    assert b.r(0x08) == 0x00FF0207
    assert b.r(0x2C) == 0x11001AF4
    assert b.r(0x3D, 1) == 1 and b.r(0x0E, 1) == 0


def test_write_masks(b: Board) -> None:
    before = [b.r(reg) for reg in range(0, 256, 4)]
    for reg in range(0, 256, 4):
        b.w(reg, 0xFFFFFFFF)
    changed = {reg: b.r(reg) for reg in range(0, 256, 4) if b.r(reg) != before[reg // 4]}
    assert changed == {
        0x04: 0x00000507, 0x0C: 0xFF, 0x10: 0xFFFFFFE1, 0x14: 0xFFFFF000, 0x18: 0xFFFFC00C, 0x1C: 0xFFFFFFFF,
        0x3C: 0x1FF, 0x40: 0x10F0,
    }  # fmt: skip


def test_own_registers(b: Board) -> None:
    assert b.r(0x40, 2) == 0x1200
    b.w(0x40, 0xFF, 1)
    assert b.card.modes == [(0x1200, 0x12F0)]
    b.w(0x41, 0x02, 1)  # write one to clear
    assert b.r(0x40, 2) == 0x10F0
    b.w(0x42, 0xFF, 1)
    assert len(b.card.modes) == 2
    b.m.reset()
    assert b.r(0x40, 2) == 0x1200


def test_status_errors_clear_by_ones(b: Board) -> None:
    b.card.put(0x06, 2, 0xF910)
    b.w(0x06, 0x8000, 2)
    assert b.r(0x06, 2) == 0x7910
    b.w(0x06, 0xFFFF, 2)
    assert b.r(0x06, 2) == 0x0010


# -- BARs ---------------------------------------------------------------------------------------------------


def test_sizing(b: Board) -> None:
    for reg, mask in ((0x10, 0xFFFFFFE1), (0x14, 0xFFFFF000), (0x18, 0xFFFFC00C), (0x1C, 0xFFFFFFFF), (0x20, 0)):
        b.w(reg, 0xFFFFFFFF)
        assert b.r(reg) == mask


def test_io_bar_moves_the_device(b: Board) -> None:
    b.w(0x10, 0xC000)
    assert b.m.inb(0xC004) == 0xFF  # not decoded yet
    b.w(0x04, 1, 2)
    assert b.m.inb(0xC004) == 0x14
    b.m.outw(0xC008, 0xBEEF)
    assert b.card.writes == [(8, 0xBEEF, 2)]
    b.w(0x10, 0xD000)
    assert b.m.inb(0xC004) == 0xFF and b.m.inb(0xD004) == 0x14
    b.w(0x04, 0, 2)
    assert b.m.inb(0xD004) == 0xFF


def test_memory_bars(b: Board) -> None:
    b.w(0x14, 0xFEB00000)
    b.w(0x18, 0)
    b.w(0x1C, 0x10)
    b.w(0x04, 2, 2)
    assert b.m.mmio_read(0xFEB00010) == 0xC0DE0010
    assert b.m.mmio_read(0x10_0000_3FFC) == 0xC0DE3FFC
    b.m.mmio_write(0xFEB00020, 4, 5)
    assert b.card.writes == [(0x20, 5, 4)]
    b.w(0x1C, 0x20)
    assert b.m.mmio_read(0x10_0000_0000) == 0xFFFFFFFF and b.m.mmio_read(0x20_0000_0000) == 0xC0DE0000


def test_bars_that_decode_nothing(b: Board) -> None:
    b.w(0x04, 3, 2)
    for reg in (0x10, 0x14, 0x18):
        b.w(reg, 0xFFFFFFFF)
    b.w(0x1C, 0xFFFFFFFF)
    b.w(0x10, 0)
    assert {bar.addr for bar in b.card.bars.values()} <= {None}
    b.w(0x10, 0x12345678)  # beyond the I/O space
    assert b.card.bars[0].addr is None


def test_ram_lies_over_a_bar_put_there(b: Board) -> None:
    b.m.memory.st(0x8000, 4, 0x11223344)
    b.w(0x14, 0x8000)
    b.w(0x04, 2, 2)
    assert b.m.mmio_read(0x8000) == 0x11223344


def test_two_cards_on_one_address(b: Board) -> None:
    other: Card = b.m.add(Card, b.host.pci)
    for card in (b.card, other):
        card.config_write(0x14, 0xFEB00000, 4)
        card.config_write(0x04, 2, 2)
    assert b.m.mmio_read(0xFEB00000) == 0xC0DE0000
    other.config_write(0x04, 0, 2)
    assert b.m.mmio_read(0xFEB00000) == 0xC0DE0000


def test_reset_takes_bars_away(b: Board) -> None:
    b.w(0x14, 0xFEB00000)
    b.w(0x04, 2, 2)
    b.m.reset()
    assert b.m.mmio_read(0xFEB00000) == 0xFFFFFFFF and b.r(0x14) == 0


def test_snapshot_state_places_bars(b: Board) -> None:
    b.w(0x14, 0xFEB00000)
    b.w(0x04, 2, 2)
    state = b.card.get_state()
    b.m.reset()
    b.card.set_state(state)
    assert b.m.mmio_read(0xFEB00000) == 0xC0DE0000


def test_expansion_rom(b: Board, tmp_path: Path) -> None:
    rom = tmp_path / "card.rom"
    rom.write_bytes(b"\x55\xaa" + bytes(3000))
    card: Card = b.m.add(Card, b.host.pci, addr="6", romfile=str(rom))
    card.config_write(0x30, 0xFFFFFFFF, 4)
    assert card.config_read(0x30, 4) == 0xFFFFF001
    card.config_write(0x30, 0xFEA00000, 4)
    card.config_write(0x04, 2, 2)
    assert b.m.mmio_read(0xFEA00000, 2) == 0xFFFF
    card.config_write(0x30, 0xFEA00001, 4)
    assert b.m.mmio_read(0xFEA00000, 2) == 0xAA55
    off: Card = b.m.add(Card, b.host.pci, addr="7", romfile=str(rom), rombar=0)
    off.config_write(0x30, 0xFFFFFFFF, 4)
    assert off.config_read(0x30, 4) == 0
    with pytest.raises(PcemuError, match="nowhere"):
        b.m.add(Card, b.host.pci, romfile="/nowhere")


def test_capabilities(b: Board) -> None:
    class Capable(Card):
        def realize(self) -> None:
            super().realize()
            self.first = self.add_capability(0x09, 0x10)
            self.second = self.add_capability(0x11, 12, 0x98)
            self.third = self.add_capability(0x05, 8)

    card: Any = b.m.add(Capable, b.host.pci)
    assert (card.first, card.second, card.third) == (0x44, 0x98, 0x54)  # 40h is the card's own
    assert card.config_read(0x06, 2) & 0x10
    chain, at = [], card.config_read(0x34, 1)
    while at:
        chain.append(card.config_read(at, 1))
        at = card.config_read(at + 1, 1)
    assert chain == [0x05, 0x11, 0x09]


# -- interrupts and DMA -------------------------------------------------------------------------------------


def test_intx_lines_are_shared(b: Board) -> None:
    other: Card = b.m.add(Card, b.host.pci, addr="09.0")
    seen: list[tuple[int, int]] = []
    b.host.pci.route_irqs(lambda devfn, pin: (pin + (devfn >> 3)) & 3, lambda line, level: seen.append((line, level)))
    b.card.intx.set(1)
    other.intx.set(1)
    b.card.intx.set(0)
    assert seen == [(1, 1)]
    assert b.r(0x06, 2) & 8 == 0 and b.r(0x06, 2, slot=9) & 8
    other.intx.set(0)
    assert seen == [(1, 1), (1, 0)]


def test_interrupt_disable_bit(b: Board) -> None:
    seen: list[tuple[int, int]] = []
    b.host.pci.route_irqs(lambda devfn, pin: pin, lambda line, level: seen.append((line, level)))
    b.card.intx.set(1)
    b.w(0x04, 0x400, 2)
    assert seen == [(0, 1), (0, 0)] and b.r(0x06, 2) & 8  # still pending
    b.w(0x04, 0, 2)
    assert seen[-1] == (0, 1)
    b.m.reset()
    assert seen[-1] == (0, 0) and b.card.intx.level == 0


def test_dma_needs_bus_mastering(b: Board) -> None:
    b.m.memory.write(0x1000, b"abcd")
    assert b.card.dma_read(0x1000, 4) == b"\xff" * 4
    b.card.dma_write(0x1000, b"wxyz")
    b.w(0x04, 4, 2)
    assert b.card.dma_read(0x1000, 4) == b"abcd"
    b.card.dma_write(0x1000, b"wxyz")
    assert b.m.memory.read(0x1000, 4) == b"wxyz"


# -- slots --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "devfn"), [("05.0", 40), ("5", 40), ("0x1.0x2", 10), ("1f.7", 255), ("0", 0)])
def test_addr_property(text: str, devfn: int) -> None:
    m = TestMachine(isa=False)
    host: I440fxPciHost = m.add(I440fxPciHost)
    card: Card = m.add(Card, host.pci, addr=text)
    assert card.addr == devfn and host.pci.devices[devfn] is card


@pytest.mark.parametrize("text", ["20", "1.8", "x", "-2.0", ""])
def test_bad_addr(b: Board, text: str) -> None:
    with pytest.raises(PropertyError, match="addr"):
        Card(b.m, b.host.pci, addr=text)


def test_slots_are_given_out_in_order(b: Board) -> None:
    first: Card = b.m.add(Card, b.host.pci)
    assert first.addr == 0
    assert [b.m.add(Card, b.host.pci).addr >> 3 for _ in range(5)] == [1, 2, 3, 4, 6]


def test_slot_conflicts(b: Board) -> None:
    with pytest.raises(PcemuError, match=r"slot 5 function 0 not available for .* in use by"):
        Card(b.m, b.host.pci, addr="5")
    with pytest.raises(PcemuError, match=r"single function device can't be populated in function 5\.1"):
        Card(b.m, b.host.pci, addr="5.1")
    Card(b.m, b.host.pci, addr="6.1")
    with pytest.raises(PcemuError, match=r"6\.0 indicates single function, but 6\.1 is already populated"):
        Card(b.m, b.host.pci, addr="6.0")
    multi: Card = b.m.add(Card, b.host.pci, addr="6.0", multifunction="on")
    assert multi.config_read(0x0E, 1) == 0x80


def test_full_bus() -> None:
    m = TestMachine(isa=False)
    host: I440fxPciHost = m.add(I440fxPciHost)
    for _ in range(32):
        m.add(Card, host.pci)
    with pytest.raises(PcemuError, match="no slot/function available"):
        Card(m, host.pci)


def test_no_bus() -> None:
    with pytest.raises(PcemuError):
        TestMachine(isa=False).add(Card)


def test_unplug(b: Board) -> None:
    b.w(0x14, 0xFEB00000)
    b.w(0x04, 2, 2)
    b.card.unplug()
    assert b.r(0) == 0xFFFFFFFF and b.m.mmio_read(0xFEB00000) == 0xFFFFFFFF


# -- what people look at, and firmware's work ---------------------------------------------------------------


class Vga(PciDevice):
    vendor_id, device_id, class_id = 0x1013, 0x00B8, 0x0300
    bar_decls = (BarDecl(0, 32 << 20, prefetch=True), BarDecl(1, 0x1000))


class Net(PciDevice):
    vendor_id, device_id, class_id, subsystem_id, interrupt_pin = 0x1AF4, 0x1000, 0x0200, 0x0001, 1
    bar_decls = (BarDecl(0, 0x20, "io"), BarDecl(1, 0x1000), BarDecl(4, 0x4000, prefetch=True, bits64=True))


class Blk(PciDevice):
    vendor_id, device_id, class_id, subsystem_id, interrupt_pin = 0x1AF4, 0x1001, 0x0100, 0x0002, 1
    bar_decls = (BarDecl(0, 0x80, "io"), BarDecl(1, 0x1000), BarDecl(4, 0x4000, prefetch=True, bits64=True))


class Balloon(PciDevice):
    vendor_id, device_id, class_id, subsystem_id, interrupt_pin = 0x1AF4, 0x1002, 0x00FF, 0x0005, 1
    bar_decls = (BarDecl(0, 0x40, "io"), BarDecl(4, 0x4000, prefetch=True, bits64=True))


class Ide(PciDevice):
    vendor_id, device_id, class_id = 0x8086, 0x7010, 0x0101
    config_registers = (ConfigReg("IDETIM", 0x40, 4, writable=0xFFFFFFFF),)
    bar_decls = (BarDecl(4, 0x10, "io"),)


class Uhci(PciDevice):
    vendor_id, device_id, class_id, interrupt_pin = 0x8086, 0x7020, 0x0C03, 4
    bar_decls = (BarDecl(4, 0x20, "io"),)


# A libvirt guest under QEMU 7.2 with SeaBIOS, as its monitor shows it.
INFO_PCI = """\
  Bus  0, device   0, function 0:
    Host bridge: PCI device 8086:1237
      PCI subsystem 1af4:1100
      id ""
  Bus  0, device   1, function 0:
    ISA bridge: PCI device 8086:7000
      PCI subsystem 1af4:1100
      id ""
  Bus  0, device   1, function 1:
    IDE controller: PCI device 8086:7010
      PCI subsystem 1af4:1100
      BAR4: I/O at 0xc100 [0xc10f].
      id ""
  Bus  0, device   1, function 2:
    USB controller: PCI device 8086:7020
      PCI subsystem 1af4:1100
      IRQ 11, pin D
      BAR4: I/O at 0xc0c0 [0xc0df].
      id "usb"
  Bus  0, device   1, function 3:
    Bridge: PCI device 8086:7113
      PCI subsystem 1af4:1100
      IRQ 9, pin A
      id ""
  Bus  0, device   2, function 0:
    VGA controller: PCI device 1013:00b8
      PCI subsystem 1af4:1100
      BAR0: 32 bit prefetchable memory at 0xfc000000 [0xfdffffff].
      BAR1: 32 bit memory at 0xfebd0000 [0xfebd0fff].
      BAR6: 32 bit memory at 0xffffffffffffffff [0x0000fffe].
      id "video0"
  Bus  0, device   3, function 0:
    Ethernet controller: PCI device 1af4:1000
      PCI subsystem 1af4:0001
      IRQ 11, pin A
      BAR0: I/O at 0xc0e0 [0xc0ff].
      BAR1: 32 bit memory at 0xfebd1000 [0xfebd1fff].
      BAR4: 64 bit prefetchable memory at 0xfe000000 [0xfe003fff].
      BAR6: 32 bit memory at 0xffffffffffffffff [0x0003fffe].
      id "net0"
  Bus  0, device   4, function 0:
    SCSI controller: PCI device 1af4:1001
      PCI subsystem 1af4:0002
      IRQ 11, pin A
      BAR0: I/O at 0xc000 [0xc07f].
      BAR1: 32 bit memory at 0xfebd2000 [0xfebd2fff].
      BAR4: 64 bit prefetchable memory at 0xfe004000 [0xfe007fff].
      id "virtio-disk0"
  Bus  0, device   5, function 0:
    Class 0255: PCI device 1af4:1002
      PCI subsystem 1af4:0005
      IRQ 10, pin A
      BAR0: I/O at 0xc080 [0xc0bf].
      BAR4: 64 bit prefetchable memory at 0xfe008000 [0xfe00bfff].
      id "balloon0"
"""


def full_board(tmp_path: Path) -> tuple[TestMachine, I440fxPciHost]:
    roms = []
    for name, size in (("vga", 0x10000), ("net", 0x40000)):
        path = tmp_path / name
        path.write_bytes(bytes(size))
        roms.append(str(path))
    m = TestMachine(isa=False)
    host: I440fxPciHost = m.add(I440fxPciHost)
    m.add("i440FX", host.pci)
    piix3 = m.add("PIIX3", host.pci, multifunction=True)
    m.add(Ide, host.pci, addr="1.1")
    m.add("PIIX4_PM", host.pci, addr="1.3", smb_io_base=0xB100)
    m.add(Uhci, host.pci, id="usb", addr="1.2")
    m.add("isa-i8259", piix3.isa, iobase=0x20, elcr_addr=0x4D0, elcr_mask=0xF8, master=True)
    m.add("isa-i8259", piix3.isa, iobase=0xA0, elcr_addr=0x4D1, elcr_mask=0xDE)
    m.add(Vga, host.pci, id="video0", romfile=roms[0])
    m.add(Net, host.pci, id="net0", romfile=roms[1])
    m.add(Blk, host.pci, id="virtio-disk0")
    m.add(Balloon, host.pci, id="balloon0")
    return m, host


def test_assignment_is_what_seabios_makes_of_it(tmp_path: Path) -> None:
    m, host = full_board(tmp_path)
    assign_resources(host)
    assert "\n".join(info_pci(host.pci)) + "\n" == INFO_PCI
    assert (m.inb(0x4D0), m.inb(0x4D1)) == (0x00, 0x0C)
    piix3 = host.pci.devices[8]
    assert [piix3.config_read(0x60 + i, 1) for i in range(4)] == [10, 10, 11, 11]
    assert host.pci.devices[9].config_read(0x40, 4) == 0x80008000
    for device in host.devices():
        assert device.config_read(4, 2) == 0x103
    assert m.inl(0x608) != 0xFFFFFFFF  # the PM timer is at 600h + 8
    assert m.inb(0x700) == 0  # and the SMBus at 700h
    assign_resources(host)  # again after a reset, or twice
    assert "\n".join(info_pci(host.pci)) + "\n" == INFO_PCI


def test_qtree_lines(tmp_path: Path) -> None:
    _, host = full_board(tmp_path)
    assign_resources(host)
    by_id = {device.id: device for device in host.devices()}
    assert by_id["balloon0"].describe() == [
        "class Class 00ff, addr 00:05.0, pci id 1af4:1002 (sub 1af4:0005)",
        "bar 0: i/o at 0xc080 [0xc0bf]",
        "bar 4: mem at 0xfe008000 [0xfe00bfff]",
    ]
    assert by_id["net0"].qtree_lines() == [
        "addr = 03.0",
        f'romfile = "{tmp_path}/net"',
        "romsize = 262144 (0x40000)",
        "rombar = 1 (0x1)",
        "multifunction = false",
        "x-pcie-lnksta-dllla = true",
        "x-pcie-extcap-init = true",
        'failover_pair_id = ""',
        "acpi-index = 0 (0x0)",
        "class Ethernet controller, addr 00:03.0, pci id 1af4:1000 (sub 1af4:0001)",
        "bar 0: i/o at 0xc0e0 [0xc0ff]",
        "bar 1: mem at 0xfebd1000 [0xfebd1fff]",
        "bar 4: mem at 0xfe000000 [0xfe003fff]",
        "bar 6: mem at 0xffffffffffffffff [0x3fffe]",
    ]
    assert host.qtree_lines() == [
        "pci-hole64-size = 2147483648 (2 GiB)",
        "short_root_bus = 0 (0x0)",
        "x-pci-hole64-fix = true",
        "x-config-reg-migration-enabled = true",
        "bypass-iommu = false",
    ]


def test_what_does_not_fit_goes_above_4g_or_nowhere() -> None:
    class Huge(PciDevice):
        vendor_id, device_id = 0x1234, 1
        bar_decls = (BarDecl(0, 8 << 30, prefetch=True, bits64=True), BarDecl(2, 1 << 31), BarDecl(3, 0x1000))

    m = TestMachine(isa=False)
    host: I440fxPciHost = m.add(I440fxPciHost)
    huge: Huge = m.add(Huge, host.pci)
    assign_resources(host)
    assert huge.bars[0].addr == 8 << 30
    assert huge.bars[2].addr is None
    assert huge.bars[3].addr == 0xFEBFF000


def test_random_configuration_writes_are_survived(tmp_path: Path) -> None:
    m, host = full_board(tmp_path)
    assign_resources(host)
    rng = Random(1)
    for _ in range(4000):
        size = rng.choice((1, 2, 4))
        m.outl(0xCF8, 0x80000000 | rng.choice(list(host.pci.devices)) << 8 | rng.randrange(0, 256, 4))
        port = 0xCFC + rng.randrange(0, 4, size)
        value = rng.choice((0, 0xFFFFFFFF, rng.getrandbits(32))) & ((1 << 8 * size) - 1)
        {1: m.outb, 2: m.outw, 4: m.outl}[size](port, value)
        assert 0 <= {1: m.inb, 2: m.inw, 4: m.inl}[size](port) < 1 << 8 * size
    m.reset()
    assign_resources(host)
    assert "\n".join(info_pci(host.pci)) + "\n" == INFO_PCI
