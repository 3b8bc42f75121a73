"""The E820 map, RAM's split around the PCI hole, and the placement of images."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcemu.loader import e820
from pcemu.loader.e820 import E820Entry
from pcemu.loader.layout import Layout, NoRoomError
from pcemu.loader.platform import Platform, split_ram

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [
        (128 * MIB, 128 * MIB, 0),
        (0xE0000000 - MIB, 0xE0000000 - MIB, 0),
        (0xE0000000, 0xC0000000, 0x20000000),  # from here on both parts are whole GiB
        (4 * GIB, 3 * GIB, GIB),
        (20 * GIB, 3 * GIB, 17 * GIB),
    ],
)
def test_split(size: int, low: int, high: int) -> None:
    assert split_ram(size) == (low, high)


def test_map_of_a_small_machine() -> None:
    assert e820.memory_map(Platform(low_ram=64 * MIB)) == [
        (0, 0x9FC00, e820.RAM),
        (0x9FC00, 0x400, e820.RESERVED),
        (0xF0000, 0x10000, e820.RESERVED),
        (0x100000, 63 * MIB, e820.RAM),
    ]


def test_tables_are_cut_out_of_ram() -> None:
    tables = E820Entry(63 * MIB, 0x2000, e820.ACPI)
    found = e820.memory_map(Platform(low_ram=64 * MIB, high_ram=GIB), [tables])
    assert found[3:] == [
        (MIB, 62 * MIB, e820.RAM),
        tables,
        (63 * MIB + 0x2000, MIB - 0x2000, e820.RAM),
        (4 * GIB, GIB, e820.RAM),
    ]


@given(st.integers(1 * MIB, 8 * GIB), st.lists(st.tuples(st.integers(0, 5 * GIB), st.integers(1, GIB)), max_size=4))
def test_map_is_sorted_and_nothing_overlaps(ram: int, holes: list[tuple[int, int]]) -> None:
    low, high = split_ram(ram)
    disjoint: list[E820Entry] = []
    for start, size in holes:
        if all(start >= other.end or start + size <= other.start for other in disjoint):
            disjoint.append(E820Entry(start, size, e820.RESERVED))
    found = e820.memory_map(Platform(low_ram=low, high_ram=high), disjoint)
    for before, after in itertools.pairwise(found):
        assert before.end <= after.start
    assert all(entry.size > 0 for entry in found)
    assert sum(entry.size for entry in found if entry.kind == e820.RAM) <= low + high
    assert len(e820.encode(found)) == 20 * len(found)


def test_top_and_bottom_keep_clear_of_what_is_taken() -> None:
    layout = Layout(16 * MIB)
    layout.take(15 * MIB, 0x1000, "a hole")
    assert layout.top(MIB, "one") == 14 * MIB
    assert layout.top(0x1000, "two") == 16 * MIB - 0x1000
    assert layout.top(0x1001, "three") == 16 * MIB - 0x3000
    assert layout.bottom(0x1000, "four") == 0x1000
    assert layout.bottom(0xA0000, "five") == MIB  # not across the VGA window
    assert layout.top(0x1000, "six", limit=2 * MIB) == 2 * MIB - 0x1000


@pytest.mark.parametrize(("start", "size"), [(0, 17 * MIB), (16 * MIB - 1, 2), (0x9F000, 0x2000), (1 << 64, 1)])
def test_what_does_not_fit_is_refused(start: int, size: int) -> None:
    with pytest.raises(NoRoomError):
        Layout(16 * MIB).take(start, size, "it")


@given(st.lists(st.tuples(st.booleans(), st.integers(1, MIB)), max_size=20))
def test_claims_never_overlap(wishes: list[tuple[bool, int]]) -> None:
    layout = Layout(4 * MIB)
    for high, size in wishes:
        try:
            layout.top(size, "x") if high else layout.bottom(size, "x")
        except NoRoomError:
            continue
    claims = sorted(layout.claims)
    assert all(a.end <= b.start for a, b in itertools.pairwise(claims))
    assert claims[-1].end <= 4 * MIB
