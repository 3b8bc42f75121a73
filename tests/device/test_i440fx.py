"""82441FX (290549-001): PAM segments in their four states, SMRAM, identity."""

from __future__ import annotations

import pytest

from pcemu.hw.pci.enumerate import assign_resources, write_protect_shadow
from pcemu.hw.pci.host import I440fxPciHost
from pcemu.hw.pci.i440fx import I440FX, SEGMENTS
from pcemu.qom import MemoryRegion
from pcemu.testing.harness import TestMachine

ROM_AT, ROM_SIZE = 0xC0000, 0x40000


class Board:
    """RAM everywhere, a ROM on PCI from C0000h to FFFFFh, and something at A0000h."""

    def __init__(self) -> None:
        self.m = TestMachine(isa=False, ram=2 << 20)
        self.host: I440fxPciHost = self.m.add(I440fxPciHost)
        block = self.m.memory.alloc("rom", ROM_SIZE)
        self.m.memory.block_view(block, ROM_SIZE)[:] = b"\xee" * ROM_SIZE
        self.host.pci_memory.add(MemoryRegion.rom("rom", ROM_SIZE, block), ROM_AT)
        self.host.pci_memory.add(MemoryRegion.mmio("vga", 0x20000, Vga()), 0xA0000)
        ram = self.m.memory.block_view(self.m.ram.block, 2 << 20)
        ram[0xA0000:0x100000] = b"\x11" * 0x60000
        self.pmc: I440FX = self.m.add(I440FX, self.host.pci)

    def w(self, reg: int, value: int) -> None:
        self.m.outl(0xCF8, 0x80000000 | reg & 0xFC)
        self.m.outb(0xCFC + (reg & 3), value)

    def r(self, reg: int) -> int:
        self.m.outl(0xCF8, 0x80000000 | reg & 0xFC)
        return self.m.inb(0xCFC + (reg & 3))

    def set_segment(self, index: int, state: int) -> None:
        field = index + 1
        reg, shift = 0x59 + (field >> 1), 4 * (field & 1)
        self.w(reg, self.r(reg) & ~(3 << shift) | state << shift)


class Vga:
    def read(self, offset: int, size: int) -> int:
        return 0x77

    def write(self, offset: int, size: int, value: int) -> None:
        return


@pytest.fixture
def b() -> Board:
    return Board()


def test_identity(b: Board) -> None:
    b.m.outl(0xCF8, 0x80000000)
    assert b.m.inl(0xCFC) == 0x12378086
    assert b.pmc.describe() == ["class Host bridge, addr 00:00.0, pci id 8086:1237 (sub 1af4:1100)"]
    assert b.r(0x08) == 2 and b.r(0x72) == 0x02
    assert b.pmc.path() == "i440FX"


def test_ram_size_register() -> None:
    m = TestMachine(isa=False, ram=128 << 20)
    host: I440fxPciHost = m.add(I440fxPciHost)
    pmc: I440FX = m.add(I440FX, host.pci)
    assert pmc.config_read(0x57, 1) == 16


@pytest.mark.parametrize("segment", range(len(SEGMENTS)))
def test_four_states_of_a_segment(b: Board, segment: int) -> None:
    base, size = SEGMENTS[segment]
    last = base + size - 1
    m = b.m
    # Neither: reads and writes go to PCI.
    m.mmio_write(base, 1, 0x22)
    assert (m.mmio_read(base, 1), m.mmio_read(last, 1)) == (0xEE, 0xEE)
    # Write only: ROM is read, RAM is written.
    b.set_segment(segment, 2)
    m.mmio_write(base, 4, 0x33333333)
    m.mmio_write(last, 1, 0x44)
    assert m.mmio_read(base, 4) == 0xEEEEEEEE and m.mmio_read(last, 1) == 0xEE
    # Read only: RAM is read, writes are lost.
    b.set_segment(segment, 1)
    m.mmio_write(base, 1, 0x55)
    assert m.mmio_read(base, 4) == 0x33333333 and m.mmio_read(last, 1) == 0x44
    assert m.mmio_read(base + 4, 1) == 0x11  # neither the first write nor the last came here
    # Both.
    b.set_segment(segment, 3)
    m.mmio_write(base, 1, 0x66)
    assert m.mmio_read(base, 1) == 0x66
    # The others did not change.
    for other, (start, _) in enumerate(SEGMENTS):
        if other != segment:
            assert m.mmio_read(start, 1) == 0xEE
    m.reset()
    assert m.mmio_read(base, 1) == 0xEE


def test_shadowing_copies_in_place(b: Board) -> None:
    for segment in range(len(SEGMENTS)):
        b.set_segment(segment, 2)
    for at in range(ROM_AT, ROM_AT + ROM_SIZE, 4096):
        b.m.memory.write(at, b.m.memory.read(at, 4096))
    for segment in range(len(SEGMENTS)):
        b.set_segment(segment, 1)
    assert b.m.memory.read(ROM_AT, ROM_SIZE) == b"\xee" * ROM_SIZE
    assert {entry[2] for entry in b.m.memory.ranges if ROM_AT <= entry[0] < 0x100000} <= {"rom", "ram"}


def test_pam_reserved_bits(b: Board) -> None:
    for reg in range(0x59, 0x60):
        b.w(reg, 0xFF)
        assert b.r(reg) == (0x30 if reg == 0x59 else 0x33)


def test_write_only_reads_reach_handlers_and_holes(b: Board) -> None:
    b.host.pci_memory.add(MemoryRegion.mmio("thing", 0x100, Vga()), 0xD0000, priority=5)
    b.set_segment(5, 2)  # D0000h
    assert b.m.mmio_read(0xD0000, 1) == 0x77
    assert b.pmc.pci_read(0x12345678, 4) == 0xFFFFFFFF
    assert b.pmc.pci_read(0xFFFFFFFF_FFFFFFFE, 4) == 0xFFFFFFFF


def test_smram(b: Board) -> None:
    assert b.m.mmio_read(0xA0000, 1) == 0x77
    b.w(0x72, 0x4A)  # open
    assert b.m.mmio_read(0xA0000, 1) == 0x11 and b.m.mmio_read(0xBFFFF, 1) == 0x11
    b.w(0x72, 0x0A)
    assert b.m.mmio_read(0xA0000, 1) == 0x77
    b.w(0x72, 0x5A)  # locked: closes, and stays
    assert b.r(0x72) == 0x1A and b.m.mmio_read(0xA0000, 1) == 0x77
    b.w(0x72, 0x4A)
    assert b.r(0x72) == 0x1A
    b.m.reset()
    assert b.r(0x72) == 0x02


def test_firmware_state(b: Board) -> None:
    assign_resources(b.host)
    b.m.memory.write(0xF0000, b"RSD PTR ")
    write_protect_shadow(b.host)
    assert [b.r(reg) for reg in range(0x59, 0x60)] == [0x10, 0x11, 0x11, 0x11, 0x11, 0x11, 0x33]
    assert b.m.memory.read(0xF0000, 8) == b"RSD PTR "
    b.m.mmio_write(0xF0000, 1, 0)
    assert b.m.mmio_read(0xF0000, 1) == ord("R")
    b.m.mmio_write(0xE8000, 1, 0x99)
    assert b.m.mmio_read(0xE8000, 1) == 0x99


def test_turbo_reset_control(b: Board) -> None:
    b.w(0x93, 0x02)
    assert b.m.requests == []
    b.w(0x93, 0x06)
    assert b.m.requests[0][0] == "reset"


def test_snapshot_state(b: Board) -> None:
    b.set_segment(0, 3)
    b.m.mmio_write(0xF0000, 1, 0x42)
    state = b.pmc.get_state()
    b.m.reset()
    assert b.m.mmio_read(0xF0000, 1) == 0xEE
    b.pmc.set_state(state)
    assert b.m.mmio_read(0xF0000, 1) == 0x42
