"""Kernels put into a real board with a stand-in for the processor: where everything lies and how it is entered."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_images import bzimage, elf32, elf64, multiboot_header, pvh_note

from pcemu.loader import LoaderError, direct, smbios
from pcemu.loader.e820 import memory_map
from pcemu.loader.layout import Layout
from pcemu.loader.multiboot import split_modules
from pcemu.loader.plan import BootRequest
from pcemu.loader.platform import Platform
from pcemu.machine.config import FwCfgEntry, MachineConfig
from pcemu.machine.machine import Machine
from pcemu.testing.fakes import FakeCore, FakeCpu

MIB = 1 << 20
Boot = Callable[..., Machine]


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Boot]:
    """boot(kernel=b"...", initrd=b"...", **config): files are written, the machine is built."""
    machines: list[Machine] = []

    def boot(**options: Any) -> Machine:
        for name in ("kernel", "initrd", "bios"):
            if isinstance(options.get(name), bytes):
                file = tmp_path / name
                file.write_bytes(options[name])
                options[name] = str(file)
        options.setdefault("ram_size", 64 * MIB)
        machine = Machine(MachineConfig(**options), core=FakeCore())
        machines.append(machine)
        return machine.build()

    yield boot
    for machine in machines:
        machine.close()


def u32(machine: Machine, address: int) -> int:
    return int(machine.memory.ld(address, 4))


def check_flat(machine: Machine, code: int) -> None:
    """Flat segments, and a GDT that says the same."""
    regs = machine.cpu.regs
    assert (regs["cs"], regs["ds"], regs["ss"]) == (0x10, 0x18, 0x18)
    assert regs["cs_base"] == regs["ds_base"] == 0
    assert regs["cs_limit"] == regs["ds_limit"] == 0xFFFFFFFF
    assert regs["eflags"] == 2
    gdt = machine.memory.read(regs["gdt_base"], regs["gdt_limit"] + 1)
    assert struct.unpack_from("<Q", gdt, 0x10)[0] == code
    assert struct.unpack_from("<Q", gdt, 0x18)[0] == 0x00CF93000000FFFF


# -- Linux ---------------------------------------------------------------------------------------------------


def test_64_bit_linux(boot: Boot) -> None:
    m = boot(kernel=bzimage(payload=b"\x90" * 0x1234), initrd=b"I" * 5000, append="console=ttyS0 quiet")
    regs, mem = m.cpu.regs, m.memory
    assert (regs["rip"], regs["rsi"]) == (0x100200, 0x7000)
    assert regs["cr0"] & 0x80000001 == 0x80000001 and regs["cr4"] == 0x20 and regs["efer"] == 0x500
    check_flat(m, 0x00AF9B000000FFFF)
    assert mem.read(0x100000, 0x1234) == b"\x90" * 0x1234

    zero_page = mem.read(0x7000, 4096)
    assert zero_page[0x202:0x206] == b"HdrS" and zero_page[0x210] == 0xFF
    cmdline, = struct.unpack_from("<I", zero_page, 0x228)
    assert mem.read(cmdline, 20) == b"console=ttyS0 quiet\0"
    initrd, size = struct.unpack_from("<II", zero_page, 0x218)
    assert size == 5000 and initrd % 4096 == 0 and mem.read(initrd, size) == b"I" * 5000
    assert initrd >= 0x1000000 + 0x800000
    rsdp, = struct.unpack_from("<Q", zero_page, 0x70)
    assert mem.read(rsdp, 8) == b"RSD PTR "
    # Setup code and everything else that is not the header is zero.
    assert zero_page[0x26C:0x2D0] == bytes(0x2D0 - 0x26C)


def walk(machine: Machine, address: int) -> int:
    """A four-level page walk, as the processor does it."""
    table = machine.cpu.regs["cr3"]
    for shift in (39, 30, 21, 12):
        entry = machine.memory.ld(table + 8 * (address >> shift & 511), 8)
        assert entry & 3 == 3
        if entry & 0x80 or shift == 12:
            return int(entry & ~0xFFF & ~((1 << shift) - 1)) | address & ((1 << shift) - 1)
        table = entry & ~0xFFF
    raise AssertionError


@pytest.mark.parametrize("address", [0, 0x7000, 0x100200, 0x3FFFFFFF, 0x40000000, 0xFEE00000, 0xFFFFFFFF])
def test_the_first_4_gib_are_mapped_onto_themselves(boot: Boot, address: int) -> None:
    assert walk(boot(kernel=bzimage()), address) == address


def test_32_bit_linux(boot: Boot) -> None:
    m = boot(kernel=bzimage(xloadflags=0))
    assert (m.cpu.regs["rip"], m.cpu.regs["rsi"], m.cpu.regs["cr0"]) == (0x100000, 0x7000, 0x11)
    assert "cr4" not in m.cpu.regs
    check_flat(m, 0x00CF9B000000FFFF)


def test_64_bit_linux_needs_a_64_bit_processor(boot: Boot) -> None:
    with pytest.raises(LoaderError, match="long mode"):
        boot(kernel=bzimage(), cpu="qemu32")
    boot(kernel=bzimage(xloadflags=0), cpu="qemu32")


def test_memory_map_in_the_zero_page(boot: Boot) -> None:
    m = boot(kernel=bzimage(), ram_size=256 * MIB)
    count = m.memory.ld(0x7000 + 0x1E8, 1)
    entries = [struct.unpack("<QQI", m.memory.read(0x7000 + 0x2D0 + 20 * i, 20)) for i in range(count)]
    assert entries[0] == (0, 0x9FC00, 1)
    ((start, size, _),) = [entry for entry in entries if entry[2] == 3]
    assert start + size == 256 * MIB
    assert (0x100000, start - 0x100000, 1) in entries
    # Every table the RSDT names lies in it.
    rsdp = m.memory.ld(0x7000 + 0x70, 8)
    rsdt = u32(m, rsdp + 16)
    for i in range((u32(m, rsdt + 4) - 36) // 4):
        assert start <= u32(m, rsdt + 36 + 4 * i) < start + size


def test_initrd_stays_below_what_the_kernel_can_reach(boot: Boot) -> None:
    m = boot(kernel=bzimage(initrd_max=0x1FFFFFF), initrd=bytes(5000))
    assert u32(m, 0x7000 + 0x218) + 5000 <= 0x2000000


def test_reset_puts_everything_back(boot: Boot) -> None:
    m = boot(kernel=bzimage(), append="x")
    m.memory.write(0x100000, bytes(0x1000))
    m.memory.write(0x7000, bytes(4096))
    m.cpu.regs.clear()
    m.reset_all()
    assert m.memory.read(0x100000, 4) == b"\x90" * 4 and m.memory.read(0x7202, 4) == b"HdrS"
    assert m.cpu.regs["rip"] == 0x100200


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (b"", "empty"),
        (b"hello, world", "not a kernel"),
        (b"\x1f\x8b\x08" + bytes(99), "gzip"),
        (bytes(0x10000), "not a kernel"),
        (bzimage()[:0x240], "cut off"),
        (bzimage()[:0x400], "cut off"),
        (bzimage(payload=bytes(0x10000))[:-0x8000], "cut off"),
        (bzimage(version=0x201), "2.01"),
        (bzimage(loadflags=0), "zImage"),
        (bzimage(init_size=0x40000000), "does not fit"),
        (bzimage(pref_address=1 << 63), "does not fit"),
        (elf32([(0x100000, b"x", 1)], 0x100000), "neither"),
        (elf32([(0x100000, b"x", 1)], 0x100000, pvh_note(0x100000))[:-3], "beyond the end"),
        (elf64([(0x100000, b"x", 1)], 0, pvh_note(1 << 32, 8)), "4 GiB"),
        (elf32([(0x100000, b"x", 1 << 31)], 0, pvh_note(0x100000)), "does not fit"),
        (elf32([(0x100000, b"x", 1), (0x100000, b"y", 1)], 0, pvh_note(0x100000)), "overlaps"),
        (elf32([(0xB8000, b"x", 1)], 0, pvh_note(0xB8000)), "overlaps the video"),
        (multiboot_header(0x8) + bytes(64), "features 0x8"),
        (multiboot_header(0) + bytes(64), "not an ELF file"),
        (multiboot_header(0x10000, 0x100000, 0x200000, 0, 0, 0) + bytes(64), "load addresses"),
        (multiboot_header(0x10000, 0x100000, 0x100000, 0x200000, 0, 0) + bytes(64), "shorter"),
        (multiboot_header(0x10000, 0x100000, 0x100000, 0x100040, 0x100001, 0) + bytes(64), "bss"),
        (multiboot_header(0x10000, 0x100000, 0x100000, 0x100040, 0xF0000000, 0) + bytes(64), "does not fit"),
    ],
)
def test_images_that_cannot_be_started(boot: Boot, image: bytes, text: str) -> None:
    with pytest.raises(LoaderError, match=text) as caught:
        boot(kernel=image)
    assert "-kernel" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kernel": "/nonexistent"}, "-kernel /nonexistent: No such file"),
        ({"kernel": "/tmp"}, "-kernel /tmp: Is a directory"),
        ({"kernel": "builtin:nosuch"}, "no such built-in guest"),
        ({"kernel": "a\0b"}, "not a file name"),
        ({"kernel": "/dev/null"}, "-kernel /dev/null: not a regular file"),
        ({"kernel": bzimage(), "initrd": "/nonexistent"}, "-initrd /nonexistent"),
        ({"kernel": bzimage(), "initrd": b""}, "-initrd .*empty"),
        ({"kernel": bzimage(), "initrd": bytes(60 * MIB)}, "-initrd .*no room"),
        ({"kernel": bzimage(), "append": "x" * 3000}, "-append: 3000 bytes; the kernel takes at most 2047"),
        ({"initrd": "x"}, "-initrd: only makes sense with -kernel"),
        ({"append": "x"}, "-append: only makes sense"),
        ({"kernel": bzimage(), "ram_size": 1 << 19}, "less than 1 MiB"),
        ({"kernel": bzimage(), "machine": "none"}, "nothing to boot it with"),
        ({"uuid": "12"}, "-uuid 12"),
        ({"bios": "/nonexistent"}, "-bios /nonexistent"),
        ({"bios": "no-such-firmware.bin"}, "-bios no-such-firmware.bin"),
        ({"bios": bytes(65537)}, "multiple of 64 KiB"),
        ({"bios": bytes((16 << 20) + 65536)}, "larger than 16 MiB"),
        ({"fw_cfg": [FwCfgEntry("opt/x")]}, "one of file"),
        ({"fw_cfg": [FwCfgEntry("x" * 60, string="")]}, "-fw_cfg name=x"),
        ({"fw_cfg": [FwCfgEntry("etc/e820", string="")]}, "already"),
        ({"fw_cfg": [FwCfgEntry("opt/x", file="/nonexistent")]}, "/nonexistent"),
    ],
)
def test_options_that_cannot_be_followed(boot: Boot, options: dict[str, Any], text: str) -> None:
    with pytest.raises(LoaderError, match=text) as caught:
        boot(**options)
    assert "\n" not in str(caught.value)


WHOLE_IMAGES = [
    bzimage(payload=b"\xf4" * 64),
    elf32([(0x100000, b"\xf4" * 64, 99)], 0x100000, pvh_note(0x100000)),
    multiboot_header(0x10003, 0x100000, 0x100000, 0x100040, 0x100080, 0x100020) + b"\xf4" * 64,
    elf32([(0x100000, multiboot_header(3) + b"\xf4" * 64, 200)], 0x10000C),
]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_images_are_planned_or_refused(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(WHOLE_IMAGES))
    damaged = bytearray(whole)
    first = 0x1F1 if whole[0x202:0x206] == b"HdrS" else 0
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(first, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    image = bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    platform = Platform(low_ram=32 * MIB)
    request = BootRequest("file", image, None, b"x", platform, Layout(platform.low_ram), memory_map(platform), 0)
    try:
        plan = direct.choose(request)
    except LoaderError:
        return
    assert all(address + len(data) <= platform.low_ram for address, data in plan.writes)
    assert all(address + size <= platform.low_ram for address, size in plan.zeros)
    plan.start(FakeCpu())


# -- Multiboot and PVH ---------------------------------------------------------------------------------------


def test_multiboot_elf_with_modules(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1" * 5000)
    (tmp_path / "two,three").write_bytes(b"23")
    kernel = elf32([(0x100000, multiboot_header(3) + b"code", 0x3000)], 0xC0100010, vaddr=0xC0000000)
    modules = f"{tmp_path}/one first args,{tmp_path}/two,,three"
    m = boot(kernel=kernel, initrd=modules, append="a b", ram_size=64 * MIB)
    regs, mem = m.cpu.regs, m.memory
    assert regs["rax"] == 0x2BADB002 and regs["rip"] == 0x100010 and regs["cr0"] == 0x11
    check_flat(m, 0x00CF9B000000FFFF)
    assert mem.read(0x100000, 16) == kernel[52 + 32 : 52 + 32 + 16]
    info = regs["rbx"]
    assert u32(m, info) == 0x24D
    assert u32(m, info + 4) == 639 and u32(m, info + 8) == 63 * 1024 - 8

    def text(address: int) -> str:
        return str(mem.read(address, 4096).split(b"\0")[0].decode())

    assert text(u32(m, info + 16)) == f"{tmp_path}/kernel a b"
    assert text(u32(m, info + 64)) == "pcemu"
    count, at = u32(m, info + 20), u32(m, info + 24)
    found = [struct.unpack("<IIII", mem.read(at + 16 * i, 16)) for i in range(count)]
    assert [mem.read(start, end - start) for start, end, _, _ in found] == [b"1" * 5000, b"23"]
    assert [text(string) for _, _, string, _ in found] == [f"{tmp_path}/one first args", f"{tmp_path}/two,three"]
    assert all(start % 4096 == 0 and start >= 0x103000 for start, _, _, _ in found)
    length, at = u32(m, info + 44), u32(m, info + 48)
    entries = [struct.unpack("<IQQI", mem.read(at + 24 * i, 24)) for i in range(length // 24)]
    assert length % 24 == 0 and entries[0] == (20, 0, 0x9FC00, 1)


def test_multiboot_by_addresses(boot: Boot) -> None:
    """The header is 64 bytes into the file; loading starts 32 bytes before it, and its bss is cleared."""
    header = multiboot_header(0x10000, 0x200020, 0x200000, 0x200080, 0x201000, 0x200044)
    image = b"A" * 64 + header + b"B" * 200
    m = boot(kernel=image)
    assert m.memory.read(0x200000, 0x80) == image[32 : 32 + 0x80]
    assert m.cpu.regs["rip"] == 0x200044
    m.memory.write(0x200080, b"\xff" * 0xF80)
    m.reset_all()
    assert m.memory.read(0x200080, 0xF80) == bytes(0xF80)


def test_multiboot_load_end_0_is_the_whole_file(boot: Boot) -> None:
    image = multiboot_header(0x10000, 0x200000, 0x200000, 0, 0, 0x200020) + b"C" * 100
    assert boot(kernel=image).memory.read(0x200000, len(image)) == image


@pytest.mark.parametrize(("at", "found"), [(0, True), (4, True), (2, False), (8180, True), (8184, False)])
def test_multiboot_header_is_searched_where_it_may_be(boot: Boot, at: int, found: bool) -> None:
    image = (bytes(at) + multiboot_header(8)).ljust(9000, b"\0")
    with pytest.raises(LoaderError, match="features" if found else "not a kernel"):
        boot(kernel=image)


def test_a_wrong_checksum_is_no_multiboot_header(boot: Boot) -> None:
    with pytest.raises(LoaderError, match="not a kernel"):
        boot(kernel=multiboot_header(3)[:8] + bytes(64))


@pytest.mark.parametrize(
    ("text", "parts"),
    [("a,b", ["a", "b"]), ("a x y, b", ["a x y", "b"]), ("a,,b", ["a,b"]), (",a,,,", ["a,"]), ("", [])],
)
def test_module_lists(text: str, parts: list[str]) -> None:
    assert split_modules(text) == parts


@pytest.mark.parametrize("bits", [32, 64])
def test_pvh(boot: Boot, bits: int) -> None:
    segments = [(0x100000, b"code", 0x2000), (0x400000, b"data", 4)]
    note = pvh_note(0x100010, bits // 8)
    kernel = elf32(segments, 0x100000, note) if bits == 32 else elf64(segments, 0x100000, note)
    m = boot(kernel=kernel, initrd=b"ramdisk", append="quiet")
    regs, mem = m.cpu.regs, m.memory
    assert regs["rip"] == 0x100010 and regs["cr0"] == 0x11
    assert regs["tr_limit"] == 0x67 and regs["tr_attr"] == 0x8B00
    check_flat(m, 0x00CF9B000000FFFF)
    magic, version, _, modules, list_at, cmdline, rsdp, map_at, entries = struct.unpack("<IIIIQQQQI", mem.read(regs["rbx"], 52))
    assert (magic, version, modules) == (0x336EC578, 1, 1)
    assert mem.read(cmdline, 6) == b"quiet\0" and mem.read(rsdp, 8) == b"RSD PTR "
    start, size = struct.unpack("<QQ", mem.read(list_at, 16))
    assert mem.read(start, size) == b"ramdisk"
    assert struct.unpack("<QQI", mem.read(map_at, 20)) == (0, 0x9FC00, 1) and entries == 6
    assert mem.read(0x400000, 4) == b"data" and mem.read(0x100004, 4) == bytes(4)


def test_multiboot_goes_before_pvh(boot: Boot) -> None:
    kernel = elf32([(0x100000, multiboot_header(3), 0x1000)], 0x100000, pvh_note(0x100010))
    assert boot(kernel=kernel).cpu.regs["rax"] == 0x2BADB002


# -- the machine around the kernel ---------------------------------------------------------------------------


def test_low_memory_is_as_a_bios_has_it(boot: Boot) -> None:
    m = boot(kernel=bzimage(), serials=["null", "null"])
    mem = m.memory
    assert mem.read(0x400, 4) == struct.pack("<HH", 0x3F8, 0x2F8)
    assert mem.ld(0x413, 2) == 639 and mem.ld(0x40E, 2) == 0x9FC0 and mem.ld(0x9FC00, 1) == 1
    offset, segment = struct.unpack("<HH", mem.read(4 * 0x13, 4))
    assert mem.ld(segment * 16 + offset, 1) == 0xCF  # IRET
    for vector, code in ((0x08, "50b020e62058cf"), (0x70, "50b020e6a0e62058cf")):
        offset, segment = struct.unpack("<HH", mem.read(4 * vector, 4))
        assert mem.read(segment * 16 + offset, len(code) // 2).hex() == code
    assert mem.ld(0xFFFFFFF0, 1) == mem.ld(0xFFFF0, 1) == 0xEA


def test_smbios_anchor_is_where_systems_look(boot: Boot) -> None:
    m = boot(kernel=bzimage(), uuid="00112233-4455-6677-8899-aabbccddeeff")
    area = m.memory.read(0xF0000, 0x10000)
    at = area.index(b"_SM_")
    assert at % 16 == 0 and sum(area[at : at + 0x1F]) & 0xFF == 0
    size, address = struct.unpack_from("<HI", area, at + 0x16)
    table = m.memory.read(address, size)
    assert table[-6:-2] == b"\x7f\x04\x00\x7f"
    assert bytes.fromhex("33221100554477668899aabbccddeeff") in table


def test_chips_are_as_firmware_leaves_them(boot: Boot) -> None:
    m = boot(kernel=bzimage())
    ports = m.io
    pic: Any = m.find("isa-i8259")
    assert (pic.irq_base, pic.imr, ports.read(0x4D1, 1)) == (8, 0xFF, 0x0C)
    assert ports.read(0x21, 1) == ports.read(0xA1, 1) == 0xFF
    mem = m.memory
    assert [mem.ld(0xFEE00000 + register, 4) for register in (0xF0, 0x350, 0x360)] == [0x1FF, 0x8700, 0x8400]
    host: Any = m.find("i440FX-pcihost")
    assert host.config_read(0, 1 << 3, 0x60, 4) == 0x0B0B0A0A
    assert host.config_read(0, 1 << 3 | 3, 0x40, 4) == 0x601
    assert ports.read(0x608, 4) != 0xFFFFFFFF  # the PM timer is there
    ports.write(0x43, 1, 0xE2)  # read back the status of channel 0
    assert ports.read(0x40, 1) & 0x3F == 0x34
    rtc: Any = m.find("mc146818rtc")
    assert [rtc.get_cmos(i) for i in (0x15, 0x16, 0x34, 0x35)] == [0x80, 0x02, 0, 3]
    regs = m.cpu.regs
    assert regs["mtrr_def"] == 0xC06 and regs["mtrr_var0"] == 0x80000000


@pytest.mark.parametrize(("ram", "uncached"), [(64 * MIB, 0x80000000), (2560 * MIB, 0xC0000000), (3400 * MIB, 0xE0000000)])
def test_no_ram_is_uncached(ram: int, uncached: int) -> None:
    from pcemu.loader.cpustate import set_memory_types
    cpu = FakeCpu()
    set_memory_types(cpu, ram, 40)
    base, mask = cpu.regs["mtrr_var0"], cpu.regs["mtrr_var1"]
    assert base == uncached and mask & 0xFFF == 0x800
    inside = [address for address in (ram - 1, uncached, 0xFFFFFFFF, 1 << 32) if address & mask & ~0xFFF == base]
    assert inside == [uncached, 0xFFFFFFFF]


def test_no_acpi_means_no_tables(boot: Boot) -> None:
    m = boot(kernel=bzimage(), no_acpi=True)
    assert m.memory.ld(0x7070, 8) == 0
    assert b"RSD PTR " not in m.memory.read(0xE0000, 0x20000)
    assert "etc/acpi/tables" not in fw_cfg_files(m)


def test_no_hpet_means_no_hpet_table(boot: Boot) -> None:
    with_hpet = fw_cfg_files(boot(kernel=bzimage()))["etc/acpi/tables"]
    without = fw_cfg_files(boot(kernel=bzimage(), no_hpet=True))["etc/acpi/tables"]
    assert b"HPET" in with_hpet and b"HPET" not in without


def test_isapc_starts_kernels_without_acpi(boot: Boot) -> None:
    m = boot(kernel=bzimage(xloadflags=0), machine="isapc", cpu="486")
    assert m.cpu.regs["rip"] == 0x100000
    assert m.memory.ld(0x7070, 8) == 0 and m.memory.ld(0xFFFF0, 1) == 0xEA


# -- firmware ------------------------------------------------------------------------------------------------


def fw_cfg_files(machine: Machine) -> dict[str, bytes]:
    device: Any = machine.find("fw_cfg_io")
    files: dict[str, bytes] = device.files
    return files


def rom(size: int) -> bytes:
    return b"".join(struct.pack("<I", i) for i in range(0, size, 4))


@pytest.mark.parametrize("machine", ["pc", "isapc"])
@pytest.mark.parametrize("size", [64 << 10, 128 << 10, 256 << 10, 4 << 20])
def test_rom_lies_below_4_gib_and_below_1_mib(boot: Boot, size: int, machine: str) -> None:
    image = rom(size)
    m = boot(bios=image, machine=machine)
    low = min(size, 128 << 10)
    assert m.memory.read((1 << 32) - size, size) == image
    assert m.memory.read(0x100000 - low, low) == image[-low:]
    m.memory.write(0xFFFF0, b"\0\0")
    if machine == "isapc":  # firmware's own memory; as it was after a reset
        assert m.memory.read(0xFFFFFFF0, 2) == b"\0\0"
        m.reset_all()
    assert m.memory.read(0xFFFF0, 2) == image[-16:-14]
    assert "rip" not in m.cpu.regs  # it starts at the reset vector


def test_firmware_finds_everything_in_fw_cfg(boot: Boot) -> None:
    m = boot(bios=bytes(64 << 10), ram_size=64 * MIB, uuid="00112233-4455-6677-8899-aabbccddeeff",
             fw_cfg=[FwCfgEntry("opt/org.test", string="hello")])  # fmt: skip
    device: Any = m.find("fw_cfg_io")
    files = device.files
    assert files["etc/e820"] == struct.pack("<QQI", 0, 64 * MIB, 1)
    assert files["opt/org.test"] == b"hello"
    assert files["etc/smbios/smbios-anchor"][:4] == b"_SM_"
    assert len(files["etc/table-loader"]) % 128 == 0 and files["etc/acpi/rsdp"][:8] == b"RSD PTR "
    assert files["etc/boot-fail-wait"] == b"\xff" * 4
    assert device.items[2].hex() == "00112233445566778899aabbccddeeff"
    assert device.items[3] == struct.pack("<Q", 64 * MIB)
    assert device.items[5] == device.items[15] == b"\1\0"
    assert device.items[0x8002] == b"\1\0\0\0"


def test_kernel_for_firmware(boot: Boot) -> None:
    kernel = bzimage(payload=b"P" * 0x2000)
    m = boot(bios=bytes(64 << 10), kernel=kernel, initrd=b"I" * 100, append="quiet")
    device: Any = m.find("fw_cfg_io")

    def number(key: int) -> int:
        return int.from_bytes(device.items[key], "little")

    assert device.items[0x11] == b"P" * 0x2000 and number(0x08) == 0x2000 and number(0x07) == 0x100000
    setup = device.items[0x18]
    assert number(0x17) == len(setup) == 1024 and number(0x16) == 0x10000
    assert setup[0x210] == 0xB0 and struct.unpack_from("<I", setup, 0x228) == (0x20000,)
    assert struct.unpack_from("<II", setup, 0x218) == (number(0x0A), 100) and device.items[0x12] == b"I" * 100
    assert device.items[0x15] == b"quiet\0" and number(0x14) == 6


def test_firmware_can_only_be_given_linux(boot: Boot) -> None:
    with pytest.raises(LoaderError, match="with -bios only a Linux bzImage"):
        boot(bios=bytes(64 << 10), kernel=elf32([(0x100000, b"x", 1)], 0, pvh_note(0)))


def test_firmware_is_found_by_name(boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.bin").write_bytes(rom(64 << 10))
    monkeypatch.setenv("PCEMU_FIRMWARE_PATH", f"/nonexistent:{tmp_path}")
    assert boot(bios="own.bin").memory.read(0xFFFF0, 4) == rom(64 << 10)[-16:-12]


def test_a_machine_with_nothing_to_boot_says_so(boot: Boot) -> None:
    area = boot().memory.read(0xF0000, 0x10000)
    assert b"Nothing to boot" in area and area[0xFFF0] == 0xEA


def test_oem_ids_can_be_chosen(boot: Boot) -> None:
    tables = fw_cfg_files(boot(kernel=bzimage()))["etc/acpi/tables"]
    assert tables.count(b"PCEMU PCEMUPC ") == 7
    options = {"x-oem-id": "ACME", "x-oem-table-id": "ACMEPC"}
    tables = fw_cfg_files(boot(kernel=bzimage(), machine_options=options))["etc/acpi/tables"]
    assert tables.count(b"ACME  ACMEPC  ") == 7
    with pytest.raises(LoaderError, match="x-oem-id=TOOLONG"):
        boot(kernel=bzimage(), machine_options={"x-oem-id": "TOOLONG"})


@pytest.mark.parametrize("ram", [33 * MIB, 64 * MIB, 3000 * MIB])
def test_images_and_tables_keep_out_of_each_others_way(tmp_path: Path, ram: int) -> None:
    """Nothing the loader writes lies over anything else it writes."""
    (tmp_path / "kernel").write_bytes(bzimage())
    (tmp_path / "initrd").write_bytes(b"I" * 100_000)
    config = MachineConfig(kernel=str(tmp_path / "kernel"), initrd=str(tmp_path / "initrd"), append="x", no_acpi=True)
    machine = Machine(config, core=FakeCore())
    platform = Platform(low_ram=ram)
    identity = smbios.Identity("a", "b", "c", bytes(16))
    plan = direct.load(machine, platform, smbios.build(platform, identity, smbios.SmbiosConfig(), "1"))
    machine.close()
    spans = sorted((address, address + len(data)) for address, data in plan.writes if data)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans)), spans
    assert spans[-1][1] <= ram
