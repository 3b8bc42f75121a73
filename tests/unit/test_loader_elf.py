"""The ELF reader: what it accepts, and that nothing a file says makes it do anything else than refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loader_images import elf32, elf64, pvh_note

from pcemu.loader import elf, pvh


def test_segments_and_entry() -> None:
    file = elf.parse(elf32([(0x100000, b"code", 0x2000), (0x200000, b"", 0x10)], 0xC0100002, vaddr=0xC0000000))
    assert [(s.paddr, file.contents(s), s.mem_size) for s in file.loads] == [
        (0x100000, b"code", 0x2000),
        (0x200000, b"", 0x10),
    ]
    assert file.physical_entry == 0x100002


def test_entry_outside_all_segments_is_physical_already() -> None:
    assert elf.parse(elf64([(0x200000, b"x", 1)], 0x1000000)).physical_entry == 0x1000000


@pytest.mark.parametrize("align", [0, 1, 4, 8])
@pytest.mark.parametrize("size", [4, 8])
def test_pvh_entry_is_found_among_other_notes(align: int, size: int) -> None:
    if align == 8:  # descriptions and notes at multiples of 8
        other = pvh_note(0x1111, 8, kind=3)
        mine = pvh_note(0x1000150, size)
    else:
        other = pvh_note(0, 6, kind=6) + bytes(2)
        mine = pvh_note(0x1000150, size)
    file = elf.parse(elf64([(0x1000000, b"x", 1)], 0, other + mine, note_align=align))
    assert pvh.find_entry(file) == 0x1000150


@pytest.mark.parametrize("note", [pvh_note(1, 4, b"xEn\0"), pvh_note(1, 4, kind=17), pvh_note(1, 2), pvh_note(1)[:-1]])
def test_other_notes_are_no_entry(note: bytes) -> None:
    assert pvh.find_entry(elf.parse(elf32([(0, b"x", 1)], 0, note))) is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: b"\x7fELG" + d[4:], "not an ELF file"),
        (lambda d: d[:40], "cut off"),
        (lambda d: d[:60], "cut off"),
        (lambda d: d[:-1], "beyond the end"),
        (lambda d: d[:5] + b"\x02" + d[6:], "little-endian"),
        (lambda d: d[:16] + b"\x01\x00" + d[18:], "not an executable"),
        (lambda d: d[:18] + b"\x28\x00" + d[20:], "not for x86"),
        (lambda d: d[:44] + b"\x00\x00" + d[46:], "0 program headers"),
        (lambda d: d[:44] + b"\xff\xff" + d[46:], "program headers"),
        (lambda d: d[:42] + b"\x08\x00" + d[44:], "cut off"),
    ],
)
def test_damaged_files_are_refused(change: object, text: str) -> None:
    with pytest.raises(elf.ElfError, match=text):
        elf.parse(change(elf32([(0x100000, b"code", 4)], 0x100000)))


def test_more_in_the_file_than_in_memory() -> None:
    with pytest.raises(elf.ElfError, match="larger in the file"):
        elf.parse(elf32([(0x100000, b"code", 2)], 0x100000))


@given(st.data())
def test_any_damage_is_an_elf_error_or_harmless(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([
        elf32([(0x100000, b"code", 0x2000)], 0x100000, pvh_note(5)), elf64([(0x100000, b"code", 0x2000)], 0, pvh_note(5, 8)),
    ]))  # fmt: skip
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    try:
        file = elf.parse(bytes(damaged))
    except elf.ElfError:
        return
    assert all(len(file.contents(segment)) == segment.file_size for segment in file.loads)
    pvh.find_entry(file)
    assert isinstance(file.physical_entry, int)
