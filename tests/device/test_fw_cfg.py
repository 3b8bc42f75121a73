"""fw_cfg: items by port and by DMA, the file directory, and what the guest cannot do."""

from __future__ import annotations

import struct

import pytest

from pcemu.hw.nvram import fw_cfg
from pcemu.hw.nvram.fw_cfg import FwCfgIo
from pcemu.qom import PcemuError
from pcemu.testing.harness import TestMachine

SELECT, DATA, DMA_HIGH, DMA_LOW = 0x510, 0x511, 0x514, 0x518
DESCRIPTOR = 0x1000
TARGET = 0x2000


def machine() -> tuple[TestMachine, FwCfgIo]:
    m = TestMachine()
    return m, m.add(FwCfgIo)


def read(m: TestMachine, key: int, count: int) -> bytes:
    m.outw(SELECT, key)
    return bytes(m.inb(DATA) for _ in range(count))


def dma(m: TestMachine, control: int, length: int = 0, address: int = TARGET, at: int = DESCRIPTOR) -> int:
    """Start a transfer as a guest does, big-endian; the control word afterwards."""
    m.memory.write(at, struct.pack(">IIQ", control, length, address))
    m.outl(DMA_HIGH, int.from_bytes((at >> 32).to_bytes(4, "big"), "little"))
    m.outl(DMA_LOW, int.from_bytes((at & 0xFFFFFFFF).to_bytes(4, "big"), "little"))
    (result,) = struct.unpack(">I", m.memory.read(at, 4))
    return int(result)


def directory(m: TestMachine) -> list[tuple[str, int, int]]:
    (count,) = struct.unpack(">I", read(m, fw_cfg.FILE_DIR, 4))
    found = []
    for _ in range(count):
        size, key, _, name = struct.unpack(">IHH56s", bytes(m.inb(DATA) for _ in range(64)))
        found.append((name.rstrip(b"\0").decode(), key, size))
    return found


def test_signature_and_id() -> None:
    m, _ = machine()
    assert read(m, fw_cfg.SIGNATURE, 5) == b"QEMU\0"
    assert read(m, fw_cfg.ID, 4) == b"\x03\0\0\0"


def test_signature_is_selected_after_reset() -> None:
    m, dev = machine()
    dev.add_i16(fw_cfg.NB_CPUS, 7)
    read(m, fw_cfg.NB_CPUS, 1)
    m.reset()
    assert bytes(m.inb(DATA) for _ in range(4)) == b"QEMU"


def test_dma_register_shows_its_signature_in_every_width() -> None:
    m, _ = machine()
    assert bytes(m.inb(DMA_HIGH + i) for i in range(8)) == b"QEMU CFG"
    assert m.inl(DMA_HIGH).to_bytes(4, "little") == b"QEMU"
    assert m.inw(DMA_LOW + 2).to_bytes(2, "little") == b"FG"


def test_without_dma_there_is_none() -> None:
    m = TestMachine()
    m.add(FwCfgIo, dma_enabled=False)
    assert m.inl(DMA_HIGH) == 0xFFFFFFFF
    assert read(m, fw_cfg.ID, 1) == b"\x01"


def test_numbers_are_little_endian_and_zeros_follow() -> None:
    m, dev = machine()
    dev.add_i16(fw_cfg.NB_CPUS, 0x1234)
    dev.add_i32(fw_cfg.KERNEL_ADDR, 0x100000)
    dev.add_i64(fw_cfg.RAM_SIZE, 0x1_2345_6789)
    dev.add_string(fw_cfg.CMDLINE_DATA, b"quiet")
    assert read(m, fw_cfg.NB_CPUS, 4) == b"\x34\x12\0\0"
    assert read(m, fw_cfg.KERNEL_ADDR, 4) == b"\0\0\x10\0"
    assert read(m, fw_cfg.RAM_SIZE, 8) == struct.pack("<Q", 0x1_2345_6789)
    assert read(m, fw_cfg.CMDLINE_DATA, 7) == b"quiet\0\0"


def test_selecting_again_starts_over() -> None:
    m, _ = machine()
    assert read(m, fw_cfg.SIGNATURE, 2) == b"QE"
    assert read(m, fw_cfg.SIGNATURE, 2) == b"QE"


@pytest.mark.parametrize("key", [0x1F, 0x3FFF, 0x8000, 0xFFFF])
def test_items_that_do_not_exist_read_zero(key: int) -> None:
    m, _ = machine()
    assert read(m, key, 4) == bytes(4)


def test_write_channel_bit_is_ignored() -> None:
    m, _ = machine()
    assert read(m, fw_cfg.SIGNATURE | 0x4000, 4) == b"QEMU"


def test_files_are_numbered_by_name() -> None:
    m, dev = machine()
    dev.add_file("opt/z", b"last")
    dev.add_file("bootorder", b"")
    dev.add_file("etc/e820", b"0123456789")
    assert directory(m) == [("bootorder", 0x20, 0), ("etc/e820", 0x21, 10), ("opt/z", 0x22, 4)]
    assert read(m, 0x22, 5) == b"last\0"
    assert dev.file_key("etc/e820") == 0x21
    dev.add_file("opt/z", b"replaced")
    assert read(m, 0x22, 8) == b"replaced"


def test_directory_has_its_full_size() -> None:
    _m, dev = machine()
    assert len(dev.items[fw_cfg.FILE_DIR]) == 4 + 64 * dev.file_slots


@pytest.mark.parametrize("name", ["", "x" * 56, "a\0b"])
def test_bad_file_names(name: str) -> None:
    _, dev = machine()
    with pytest.raises(PcemuError):
        dev.add_file(name, b"")


def test_slots_run_out() -> None:
    _, dev = machine()
    for i in range(dev.file_slots):
        dev.add_file(f"opt/{i}", b"")
    with pytest.raises(PcemuError, match="no room"):
        dev.add_file("opt/more", b"")
    dev.add_file("opt/0", b"but this one is there already")


def test_guest_writes_change_nothing() -> None:
    m, dev = machine()
    dev.add_file("f", b"abcd")
    m.outw(SELECT, 0x20)
    m.outb(DATA, 0x55)
    assert bytes(m.inb(DATA) for _ in range(4)) == b"abcd"
    assert any("read-only" in message for message in m.log.messages)


def test_dma_read_selects_copies_and_fills_with_zeros() -> None:
    m, dev = machine()
    dev.add_file("f", b"hello")
    m.memory.write(TARGET, b"\xee" * 16)
    assert dma(m, 0x20 << 16 | fw_cfg.DMA_SELECT | fw_cfg.DMA_READ, 8) == 0
    assert m.memory.read(TARGET, 9) == b"hello\0\0\0\xee"


def test_dma_goes_on_where_the_last_one_ended() -> None:
    m, dev = machine()
    dev.add_file("f", b"0123456789")
    assert dma(m, 0x20 << 16 | fw_cfg.DMA_SELECT) == 0
    assert dma(m, fw_cfg.DMA_READ, 3) == 0
    assert dma(m, fw_cfg.DMA_SKIP, 2) == 0
    assert dma(m, fw_cfg.DMA_READ, 2, TARGET + 3) == 0
    assert m.memory.read(TARGET, 5) == b"01256"
    assert m.inb(DATA) == ord("7")  # the ports share the position


def test_skipping_beyond_the_end() -> None:
    m, dev = machine()
    dev.add_file("f", b"ab")
    assert dma(m, 0x20 << 16 | fw_cfg.DMA_SELECT | fw_cfg.DMA_SKIP, 0xFFFFFFFF) == 0
    assert m.inb(DATA) == 0


def test_dma_write_is_an_error() -> None:
    m, dev = machine()
    dev.add_file("f", b"abcd")
    m.memory.write(TARGET, b"XXXX")
    assert dma(m, 0x20 << 16 | fw_cfg.DMA_SELECT | fw_cfg.DMA_WRITE, 4) == fw_cfg.DMA_ERROR
    assert read(m, 0x20, 4) == b"abcd"


@pytest.mark.parametrize(("length", "address"), [(0xFFFFFFFF, 0), (0x1000, (1 << 64) - 1)])
def test_wild_dma_ends_in_an_error(length: int, address: int) -> None:
    m, _ = machine()
    assert dma(m, fw_cfg.DMA_READ, length, address) == fw_cfg.DMA_ERROR


def test_dma_descriptor_above_4_gib_and_nowhere() -> None:
    m, _ = machine()
    assert dma(m, fw_cfg.DMA_READ, 4, TARGET, at=0x1_0000_0000) == 0xFFFFFFFF  # no memory there: nothing to write to
    assert dma(m, 0, 4) == 0  # no operation


def test_address_register_takes_only_dwords() -> None:
    m, _ = machine()
    m.memory.write(DESCRIPTOR, struct.pack(">IIQ", fw_cfg.DMA_READ, 4, TARGET))
    m.outw(DMA_LOW + 2, 0x0010)
    assert m.memory.read(DESCRIPTOR, 4) == struct.pack(">I", fw_cfg.DMA_READ)


def test_bulk_reads_are_the_same_as_single_ones() -> None:
    m, dev = machine()
    dev.add_file("f", bytes(range(100)))
    m.outw(SELECT, 0x20)
    first = m.inb(DATA)
    assert bytes([first]) + dev.io_read_bulk(120) == bytes(range(100)) + bytes(21)


def test_state_comes_back() -> None:
    m, dev = machine()
    dev.add_file("f", b"abcdef")
    read(m, 0x20, 2)
    state = dev.get_state()
    read(m, fw_cfg.SIGNATURE, 3)
    dev.set_state(state)
    assert m.inb(DATA) == ord("c")


def test_option_roms_are_listed() -> None:
    _, dev = machine()
    dev.add_file("genroms/b.bin", b"12")
    dev.add_file("etc/e820", b"1")
    dev.add_file("genroms/a.bin", b"")
    assert dev.rom_files() == [("genroms/a.bin", 0), ("genroms/b.bin", 2)]
