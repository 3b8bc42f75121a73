"""isa-debugcon, isa-debug-exit and pc-testdev."""

from __future__ import annotations

import pytest

from pcemu.qom import PcemuError
from pcemu.testing.harness import TestMachine


def test_debugcon_prints_and_reads_back() -> None:
    m = TestMachine()
    host = m.add_chardev("d")
    m.add("isa-debugcon", chardev="d")
    for byte in b"hi":
        m.outb(0xE9, byte)
    assert host.sent == b"hi"
    assert m.inb(0xE9) == 0xE9


def test_debugcon_elsewhere() -> None:
    m = TestMachine()
    host = m.add_chardev("d")
    m.add("isa-debugcon", chardev="d", iobase="0x402", readback="0x12")
    m.outb(0x402, 0x41)
    assert (host.sent, m.inb(0x402), m.inb(0xE9)) == (b"A", 0x12, 0xFF)


def test_debugcon_needs_a_chardev() -> None:
    with pytest.raises(PcemuError, match="isa-debugcon"):
        TestMachine().add("isa-debugcon")


@pytest.mark.parametrize(("value", "status"), [(0, 1), (1, 3), (0x10, 33), (0x80, 1), (0xFF, 0xFF)])
def test_debug_exit_status(value: int, status: int) -> None:
    m = TestMachine()
    m.add("isa-debug-exit")
    m.outb(0x501, value)
    assert m.requests == [("shutdown", "isa-debug-exit", status)]


def test_debug_exit_size_and_place() -> None:
    m = TestMachine()
    m.add("isa-debug-exit", iobase="0xf4", iosize="0x4")
    m.outl(0xF4, 5)
    assert m.requests == [("shutdown", "isa-debug-exit", 11)]
    assert m.inb(0xF4) == 0
    assert m.inb(0xF8) == 0xFF


def test_testdev_scratch_register() -> None:
    m = TestMachine()
    m.add("pc-testdev")
    m.outl(0xE0, 0x12345678)
    assert (m.inb(0xE0), m.inb(0xE3), m.inw(0xE2), m.inl(0xE0)) == (0x78, 0x12, 0x1234, 0x12345678)
    m.outb(0xE1, 0xAA)
    assert m.inl(0xE8) == 0x1234AA78    # the byte-wide window is the same register
    m.outw(0xE2, 0xBEEF)
    assert m.inl(0xE0) == 0xBEEFAA78


def test_testdev_drives_interrupt_lines() -> None:
    m = TestMachine()
    m.add("pc-testdev")
    m.outb(0x2005, 1)
    assert [line.level for line in m.isa_irq] == [0] * 5 + [1] + [0] * 10
    m.outb(0x2005, 0)
    assert m.isa_irq[5].edges == [1, 0]
    m.outb(0x2017, 1)                   # past the ISA lines: noted, not done
    assert m.log.messages


def test_testdev_memory() -> None:
    m = TestMachine()
    m.add("pc-testdev")
    m.mmio_write(0xFF000010, 4, 0xCAFEBABE)
    assert m.mmio_read(0xFF000010, 4) == 0xCAFEBABE
    assert m.mmio_read(0xFF000012, 2) == 0xCAFE


def test_debugcon_inside_testdevs_window() -> None:
    m = TestMachine()
    host = m.add_chardev("d")
    m.add("pc-testdev")
    m.add("isa-debugcon", chardev="d")
    m.outb(0xE9, 0x41)
    assert host.sent == b"A"
    m.outb(0xE8, 0x55)
    assert m.inb(0xE0) == 0x55
