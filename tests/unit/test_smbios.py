"""SMBIOS structures, parsed back by the rules of the specification."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest

from pcemu.loader import smbios
from pcemu.loader.errors import LoaderError
from pcemu.loader.platform import Platform, split_ram

UUID = "12345678-9abc-def0-1122-334455667788"


def identity(**changes: object) -> smbios.Identity:
    values: dict[str, object] = {"manufacturer": "pcemu", "product": "PC", "version": "pc-x",
                                 "uuid": uuid.UUID(UUID).bytes, "cpu_signature": 0x60FB1}  # fmt: skip
    return smbios.Identity(**{**values, **changes})


def build(ram: int = 256 << 20, options: list[dict[str, str]] | None = None, firmware: str = "",
          **changes: object) -> list[tuple[int, int, bytes, list[str]]]:  # fmt: skip
    """(type, handle, formatted part, strings) of each structure, up to the end of the table."""
    low, high = split_ram(ram)
    platform = Platform(low_ram=low, high_ram=high)
    table, anchor = smbios.build(platform, identity(**changes), smbios.parse_options(options or []), firmware)
    found = []
    at = largest = 0
    while at < len(table):
        kind, length, handle = struct.unpack_from("<BBH", table, at)
        end = table.index(b"\x00\x00", at + length) + 2
        strings = [s.decode() for s in table[at + length : end - 1].split(b"\x00") if s]
        found.append((kind, handle, table[at : at + length], strings))
        largest = max(largest, end - at)
        at = end
    assert struct.unpack_from("<HIHB", anchor, 0x16) == (len(table), 0, len(found), 0x28)
    assert struct.unpack_from("<H", anchor, 8)[0] == largest
    return found


def string(structure: tuple[int, int, bytes, list[str]], offset: int) -> str:
    number = structure[2][offset]
    return structure[3][number - 1] if number else ""


def one(found: list[tuple[int, int, bytes, list[str]]], kind: int) -> tuple[int, int, bytes, list[str]]:
    (structure,) = [s for s in found if s[0] == kind]
    return structure


def test_types_and_lengths_are_those_of_2_8() -> None:
    found = build(firmware="0.1")
    assert [s[0] for s in found] == [0, 1, 3, 4, 16, 17, 19, 32, 127]
    assert {s[0]: len(s[2]) for s in found} == {0: 24, 1: 27, 3: 22, 4: 42, 16: 23, 17: 40, 19: 31, 32: 11, 127: 4}
    assert len({s[1] for s in found}) == len(found)  # handles are unique


def test_firmware_brings_its_own_type_0() -> None:
    assert build()[0][0] == 1
    assert build(options=[{"type": "0", "vendor": "V"}])[0][0] == 0


def test_uuid_is_stored_as_2_6_wants_it() -> None:
    system = one(build(), 1)
    assert system[2][8:24] == uuid.UUID(UUID).bytes_le
    other = "00112233-4455-6677-8899-aabbccddeeff"
    assert one(build(options=[{"type": "1", "uuid": other}]), 1)[2][8:24] == uuid.UUID(other).bytes_le


def test_options_set_fields_and_later_ones_win() -> None:
    options = [
        {"type": "1", "manufacturer": "A", "serial": "S1"},
        {"type": "1", "manufacturer": "B"},
        {"type": "0", "vendor": "V", "version": "1", "date": "01/02/2003", "release": "3.4", "uefi": "on"},
        {"type": "2", "product": "Board", "location": "Here"},
        {"type": "3", "asset": "Tag"},
        {"type": "4", "sock_pfx": "SOCKET", "max-speed": "3000"},
        {"type": "17", "loc_pfx": "SLOT", "speed": "1333"},
        {"type": "11", "value": "one"},
        {"type": "11", "value": "two"},
    ]
    found = build(options=options)
    assert (string(one(found, 1), 4), string(one(found, 1), 7)) == ("B", "S1")
    bios = one(found, 0)
    assert (string(bios, 4), string(bios, 8), bios[2][20], bios[2][21]) == ("V", "01/02/2003", 3, 4)
    assert bios[2][19] & 0x08
    assert string(one(found, 2), 5) == "Board" and string(one(found, 2), 10) == "Here"
    assert string(one(found, 3), 8) == "Tag"
    assert string(one(found, 4), 4) == "SOCKET 0"
    assert struct.unpack_from("<H", one(found, 4)[2], 20) == (3000,)
    assert string(one(found, 17), 16) == "SLOT 0"
    assert one(found, 11)[3] == ["one", "two"] and one(found, 11)[2][4] == 2


def test_memory_beyond_4_gib_and_beyond_a_dimm() -> None:
    found = build(ram=20 << 30)
    dimms = [struct.unpack_from("<H", s[2], 12)[0] for s in found if s[0] == 17]
    assert dimms == [16 << 10, 4 << 10]
    ranges = [struct.unpack_from("<II", s[2], 4) for s in found if s[0] == 19]
    assert ranges == [(0, (3 << 20) - 1), (4 << 20, (21 << 20) - 1)]
    assert struct.unpack_from("<I", one(found, 16)[2], 7) == (20 << 20,)


def test_sizes_that_do_not_fit_the_old_fields() -> None:
    found = build(ram=3 << 40)
    (array,) = [s for s in found if s[0] == 16]
    assert struct.unpack_from("<IHHQ", array[2], 7)[0] == 0x80000000
    assert struct.unpack_from("<Q", array[2], 15)[0] == 3 << 40
    low, high = [s[2] for s in found if s[0] == 19]
    assert struct.unpack_from("<II", low, 4) == (0, (3 << 20) - 1)
    assert struct.unpack_from("<QQ", high, 15) == (0, 0)
    huge = build(ram=5 << 40)
    above = [s[2] for s in huge if s[0] == 19][1]
    assert struct.unpack_from("<II", above, 4) == (0xFFFFFFFF, 0xFFFFFFFF)
    assert struct.unpack_from("<QQ", above, 15) == (4 << 30, (5 << 40) + (1 << 30) - 1)


def test_anchor_checksums() -> None:
    _, anchor = smbios.build(Platform(low_ram=1 << 26), identity(), smbios.SmbiosConfig())
    placed = smbios.place_anchor(anchor, 0xF1234)
    assert sum(placed) & 0xFF == 0 and sum(placed[16:]) & 0xFF == 0
    assert struct.unpack_from("<I", placed, 0x18) == (0xF1234,)


def test_structure_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "oem"
    file.write_bytes(bytes([200, 6, 0, 0x90, 1, 2]) + b"text\x00\x00")
    added = one(build(options=[{"file": str(file)}]), 200)
    assert added[2] == bytes([200, 6, 0, 0x90, 1, 2]) and added[3] == ["text"]


@pytest.mark.parametrize("contents", [b"", b"\x01", b"\x01\x02\x00\x00", b"\x01\x40\x00\x00", bytes(70 << 10)])
def test_bad_files_are_refused(contents: bytes, tmp_path: Path) -> None:
    file = tmp_path / "bad"
    file.write_bytes(contents)
    with pytest.raises(LoaderError, match=str(file)):
        smbios.parse_options([{"file": str(file)}])


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({}, "type=NUMBER"),
        ({"type": "x"}, "type=NUMBER"),
        ({"type": "7"}, "type=7"),
        ({"type": "1", "colour": "red"}, "colour"),
        ({"type": "1", "uuid": "12"}, "uuid=12"),
        ({"type": "0", "release": "300.1"}, "release"),
        ({"type": "0", "release": "one"}, "release"),
        ({"type": "4", "max-speed": "fast"}, "max-speed"),
        ({"type": "0", "uefi": "maybe"}, "uefi"),
        ({"type": "11", "path": "/nonexistent"}, "/nonexistent"),
    ],
)
def test_bad_options_name_what_is_wrong(option: dict[str, str], text: str) -> None:
    with pytest.raises(LoaderError, match=text):
        smbios.parse_options([option])
