"""Region trees and the flat maps made of them."""

from __future__ import annotations

import random

import pytest

from pcemu.qom import AddressSpace, MemoryRegion, OverlapError
from pcemu.qom.memory import core_memory_map, flatten


class Silent:
    def read(self, offset: int, size: int) -> int:
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        return


def io(name: str, size: int) -> MemoryRegion:
    return MemoryRegion.mmio(name, size, Silent())


def view(root: MemoryRegion) -> list[tuple[int, int, str, int]]:
    return [(r.start, r.end, r.region.name, r.offset) for r in flatten(root)]


def test_holes_and_order() -> None:
    root = MemoryRegion("root", 0x1000)
    root.add(io("b", 0x10), 0x200)
    root.add(io("a", 0x10), 0x100)
    assert view(root) == [(0x100, 0x110, "a", 0), (0x200, 0x210, "b", 0)]


def test_priority_splits_what_lies_below() -> None:
    root = MemoryRegion("root", 0x1000)
    root.add(io("conf", 4), 0xCF8)
    root.add(io("reset", 1), 0xCF9, priority=1)
    assert view(root) == [(0xCF8, 0xCF9, "conf", 0), (0xCF9, 0xCFA, "reset", 0), (0xCFA, 0xCFC, "conf", 2)]


def test_negative_priority_is_background() -> None:
    root = MemoryRegion("root", 0x1000)
    pci = MemoryRegion("pci", 0x1000)
    pci.add(io("bar", 0x800), 0x400, priority=1)
    root.add(pci, 0, priority=-1)
    root.add(MemoryRegion.ram("ram", 0x600, 0x10000), 0)
    assert view(root) == [(0, 0x600, "ram", 0), (0x600, 0xC00, "bar", 0x200)]


def test_unstated_overlap_is_an_error() -> None:
    root = MemoryRegion("root", 0x1000)
    root.add(io("a", 0x10), 0x100)
    with pytest.raises(OverlapError, match="b at 0x10f-0x11e overlaps a at 0x100-0x10f in root"):
        root.add(io("b", 0x10), 0x10F)
    root.add(io("c", 0x10), 0x110)


def test_equal_priority_newest_wins_and_moving_makes_new() -> None:
    root = MemoryRegion("root", 0x1000)
    a, b = io("a", 0x10), io("b", 0x10)
    root.add(a, 0x100, priority=1)
    root.add(b, 0x108, priority=1)
    assert view(root) == [(0x100, 0x108, "a", 0), (0x108, 0x118, "b", 0)]
    a.move(0x104)
    assert view(root) == [(0x104, 0x114, "a", 0), (0x114, 0x118, "b", 0xC)]


def test_leaf_with_children_shows_between_them() -> None:
    root = MemoryRegion("root", 0x1000)
    rtc = io("rtc", 2)
    rtc.add(io("rtc-index", 1), 0)
    root.add(rtc, 0x70)
    assert view(root) == [(0x70, 0x71, "rtc-index", 0), (0x71, 0x72, "rtc", 1)]


def test_alias_and_readonly_alias() -> None:
    ram = MemoryRegion.ram("pc.ram", 0x100000, 0x40000)
    root = MemoryRegion("root", 2**64)
    root.add(MemoryRegion.alias("below-4g", ram, 0, 0x100000), 0)
    root.add(MemoryRegion.alias("pam-rom", ram, 0xF0000, 0x10000, readonly=True), 0xF0000, priority=1)
    assert core_memory_map(flatten(root)) == [
        (0, 0xF0000, "ram", 0x40000, 0),
        (0xF0000, 0x10000, "rom", 0x40000 + 0xF0000, 0),
    ]


def test_neighbouring_aliases_of_one_ram_merge() -> None:
    ram = MemoryRegion.ram("pc.ram", 0x100000, 0)
    root = MemoryRegion("root", 2**64)
    root.add(MemoryRegion.alias("low", ram, 0, 0xC0000), 0)
    root.add(MemoryRegion.alias("pam-ram", ram, 0xC0000, 0x4000), 0xC0000, priority=1)
    assert view(root) == [(0, 0xC4000, "pc.ram", 0)]


def test_alias_into_a_container_follows_changes_there() -> None:
    commits: list[list[tuple[int, int, str, int]]] = []
    pci = MemoryRegion("pci", 2**32)
    root = MemoryRegion("root", 2**32)
    root.add(MemoryRegion.alias("window", pci, 0xA0000, 0x20000), 0xA0000)
    space = AddressSpace("memory", root, lambda flat: commits.append([(r.start, r.end, r.region.name, r.offset) for r in flat]))
    space.update()
    vga = io("vga", 0x20000)
    pci.add(vga, 0xA0000)
    vga.enabled = False
    assert commits == [[(0xA0000, 0xC0000, "vga", 0)], []]


def test_one_commit_for_a_batch_and_none_for_nothing() -> None:
    commits: list[int] = []
    root = MemoryRegion("root", 0x1000)
    space = AddressSpace("io", root, lambda flat: commits.append(len(flat)))
    with space:
        for port in range(0, 0x100, 0x10):
            root.add(io(f"p{port}", 4), port)
    assert commits == [16]
    hidden = io("hidden", 4)
    hidden.enabled = False
    root.add(hidden, 0x200)
    space.changed()
    assert commits == [16]


def test_disabled_region_may_wait_under_another() -> None:
    root = MemoryRegion("root", 0x1000)
    root.add(io("a", 0x10), 0x100)
    other = io("b", 0x10)
    other.enabled = False
    root.add(other, 0x100)
    assert view(root) == [(0x100, 0x110, "a", 0)]


def test_random_trees_against_a_painter() -> None:
    """Painting every leaf on a byte array from the lowest layer up gives the same picture."""
    rng = random.Random(7)
    for _ in range(200):
        size = 64
        root = MemoryRegion("root", size)
        paint: list[tuple[str, int] | None] = [None] * size

        def grow(parent: MemoryRegion, depth: int, names: list[int], rng: random.Random = rng, size: int = size) -> None:
            for _ in range(rng.randint(1, 4)):
                names[0] += 1
                name = f"r{names[0]}"
                kind = rng.choice(("container", "io") if depth else ("io",))
                child = MemoryRegion(name, rng.randint(1, 32)) if kind == "container" else io(name, rng.randint(1, 32))
                if depth:
                    grow(child, depth - 1, names)
                child.enabled = rng.random() > 0.1
                parent.add(child, rng.randint(0, size - 1), priority=rng.randint(-2, 2))

        def draw(region: MemoryRegion, base: int, low: int, high: int, paint: list[tuple[str, int] | None] = paint) -> None:
            if not region.enabled:
                return
            low, high = max(low, base), min(high, base + region.size)
            if region.kind == "mmio":
                for at in range(low, high):
                    paint[at] = (region.name, at - base)
            for child in reversed(region.ordered()):
                draw(child, base + child.offset, low, high)

        grow(root, 2, [0])
        draw(root, 0, 0, size)
        flat: list[tuple[str, int] | None] = [None] * size
        for piece in flatten(root):
            for i in range(piece.size):
                assert flat[piece.start + i] is None
                flat[piece.start + i] = (piece.region.name, piece.offset + i)
        assert flat == paint
