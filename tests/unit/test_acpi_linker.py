"""The linker script that firmware runs, run here as firmware does, against what `link()` makes."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from pcemu.loader import acpi
from pcemu.loader.acpi.linker import ZONE_FSEG, ZONE_HIGH, LinkedFiles
from pcemu.loader.platform import Platform

PLACES = {"etc/acpi/rsdp": 0xF6040, "etc/acpi/tables": 0x7FE0000}


def place(name: str, size: int, align: int, zone: int) -> int:
    address = PLACES[name]
    assert address % align == 0
    assert (zone == ZONE_FSEG) == (0xF0000 <= address < 0x100000)
    return address


def run_script(script: bytes, files: dict[str, bytes], where: Callable[[str, int, int, int], int]) -> dict[int, bytes]:
    """What firmware does with etc/table-loader: three commands in records of 128 bytes."""
    address: dict[str, int] = {}
    contents: dict[str, bytearray] = {}

    def text(raw: bytes) -> str:
        return raw.split(b"\x00")[0].decode()

    assert len(script) % 128 == 0
    for at in range(0, len(script), 128):
        record = script[at : at + 128]
        (command,) = struct.unpack_from("<I", record)
        name = text(record[4:60])
        if command == 1:
            align, zone = struct.unpack_from("<IB", record, 60)
            contents[name] = bytearray(files[name])
            address[name] = where(name, len(files[name]), align, zone)
        elif command == 2:
            source = text(record[60:116])
            offset, size = struct.unpack_from("<IB", record, 116)
            field = contents[name]
            value = int.from_bytes(field[offset : offset + size], "little") + address[source]
            field[offset : offset + size] = value.to_bytes(size, "little")
        elif command == 3:
            offset, start, length = struct.unpack_from("<III", record, 60)
            part = contents[name]
            part[offset] = (part[offset] - sum(part[start : start + length])) & 0xFF
        else:
            pytest.fail(f"unknown command {command}")
    return {address[name]: bytes(data) for name, data in contents.items()}


def test_firmware_gets_the_same_tables_as_a_direct_boot() -> None:
    linked = acpi.build(Platform(low_ram=128 << 20))
    files = {name: bytes(data) for name, data in linked.files.items()}
    assert run_script(linked.script(), files, place) == dict(linked.link(place))


def test_linking_twice_gives_the_same_and_leaves_the_files_alone() -> None:
    linked = acpi.build(Platform(low_ram=128 << 20))
    before = {name: bytes(data) for name, data in linked.files.items()}
    assert linked.link(place) == linked.link(place)
    assert {name: bytes(data) for name, data in linked.files.items()} == before


def test_checksum_and_pointer() -> None:
    linked = LinkedFiles()
    first = linked.add("a", 16, ZONE_HIGH)
    first += bytes(16)
    second = linked.add("b", 16, ZONE_HIGH)
    second += b"\x01" * 4
    linked.point("a", 8, 4, "b", 2)
    linked.checksum("a", 0, 0, 16)
    images = dict(linked.link(lambda name, size, align, zone: {"a": 0x1000, "b": 0x2000}[name]))
    assert struct.unpack_from("<I", images[0x1000], 8) == (0x2002,)
    assert sum(images[0x1000]) & 0xFF == 0
