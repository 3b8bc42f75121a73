"""virtio-balloon: pages go back to the host, and what was in them is gone."""

from __future__ import annotations

import os
import struct
from typing import Any

import pytest
from device.virtio_driver import CONFIG, Rig

from pcemu.machine.tree import Tree
from pcemu.qom import PcemuError

STATS_VQ, PAGE_POISON, REPORTING = 1 << 1, 1 << 4, 1 << 5


def used(rig: Rig) -> int:
    """Bytes of host memory behind guest RAM."""
    return os.fstat(rig.m.memory.ram_fd).st_blocks * 512


def fill(rig: Rig, first: int, pages: int) -> None:
    rig.m.memory.write(first << 12, b"\xaa" * (pages << 12))


@pytest.fixture
def rig() -> Rig:
    rig = Rig("virtio-balloon-pci", free_page_reporting=True)
    fill(rig, 0x100, 16)  # what the driver itself uses
    rig.start(STATS_VQ | PAGE_POISON | REPORTING, msix=False)
    return rig


def test_inflate_gives_memory_back(rig: Rig) -> None:
    fill(rig, 0x300, 256)
    before = used(rig)
    frames = [0x300 + i for i in range(128)] + [0x3FF - i for i in range(64)] + [0x380, 0xFFFFFFFF, 0xFFFFF, 0x40000]
    rig.queues[0].transfer([struct.pack(f"<{len(frames)}I", *frames)], [])
    assert before - used(rig) == 193 << 12
    assert rig.m.memory.read(0x300 << 12, 4096) == bytes(4096)
    assert rig.m.memory.read(0x381 << 12, 4096) == b"\xaa" * 4096
    rig.queues[1].transfer([struct.pack("<I", 0x300)], [])
    fill(rig, 0x300, 1)
    assert rig.m.memory.ld(0x300 << 12, 1) == 0xAA


def test_half_an_entry_and_nothing(rig: Rig) -> None:
    before = used(rig)
    rig.queues[0].transfer([b"\0\3"], [])
    rig.queues[0].transfer([], [16])
    assert used(rig) == before


def test_target_and_what_the_driver_says(rig: Rig) -> None:
    rig.dev.set_target(12 << 20)
    assert rig.config(0, 4) == 1024 and rig.m.mmio_read(0xE0001000, 1) == 3
    rig.m.mmio_write(CONFIG + 4, 4, 1000)
    assert rig.dev.guest_memory() == (16 << 20) - (1000 << 12)
    rig.dev.set_target(1 << 40)
    assert rig.config(0, 4) == 0
    rig.dev.set_target(8 << 20)
    rig.m.reset()
    assert rig.dev.num_pages == 2048 and rig.dev.actual == 0  # what the host wants survives


def test_statistics(rig: Rig) -> None:
    queue = rig.queues[2]
    queue.add([struct.pack("<HQHQHQ", 4, 1234, 5, 99999, 77, 1)], [])
    queue.kick()
    assert queue.used() == []  # the device keeps it
    assert rig.dev.stats["stat-free-memory"] == 1234 and rig.dev.stats["stat-total-memory"] == 99999
    assert rig.dev.stats["stat-swap-in"] == 2**64 - 1
    rig.dev.set_polling_interval(2)
    rig.m.clock.advance(1)
    assert len(queue.used()) == 1  # a question
    queue.add([struct.pack("<HQ", 4, 5)], [])
    queue.kick()
    assert rig.dev.stats["stat-free-memory"] == 5 and queue.used() == []
    rig.m.clock.advance(2_000_000_000)
    assert len(queue.used()) == 1
    rig.dev.set_polling_interval(0)
    assert rig.m.clock.pending() == []


def test_statistics_are_properties(rig: Rig) -> None:
    """guest-stats and guest-stats-polling-interval of the object tree, at the function and at the device behind it."""
    tree = Tree(rig.m)
    for device in (rig.pci, rig.dev):
        node = tree.find(tree.path_of(device))
        interval, stats = node.entry("guest-stats-polling-interval"), node.entry("guest-stats")
        assert interval.get() == 0 and stats.set is None and interval.set is not None
        for value, text in ((-1, "greater than zero"), (1 << 32, "too big"), ("1", "integer"), (True, "integer")):
            with pytest.raises(PcemuError, match=text):
                interval.set(value)
        rig.queues[2].add([struct.pack("<HQ", 4, 1234)], [])
        rig.queues[2].kick()
        interval.set(2)
        rig.m.clock.advance(1)
        assert interval.get() == 2 and len(rig.queues[2].used()) == 1
        assert stats.get()["stats"]["stat-free-memory"] == 1234
        interval.set(0)


def test_free_page_reporting(rig: Rig) -> None:
    fill(rig, 0x400, 64)
    before = used(rig)
    rig.queues[3].add_raw([(0x400 << 12, 32 << 12, 2), (0x430 << 12 | 0x800, 0x2000, 2)])
    rig.queues[3].kick()
    assert before - used(rig) == 33 << 12  # whole pages only
    assert len(rig.queues[3].used()) == 1


def test_poisoned_pages_stay(rig: Rig) -> None:
    rig.m.mmio_write(CONFIG + 12, 4, 0xAAAAAAAA)
    fill(rig, 0x300, 4)
    rig.queues[0].transfer([struct.pack("<I", 0x300)], [])
    assert rig.m.memory.ld(0x300 << 12, 1) == 0xAA


@pytest.mark.parametrize("props", [{"free_page_hint": True}, {"iothread": "io0"}])
def test_properties_that_cannot_be(props: dict[str, Any]) -> None:
    with pytest.raises(PcemuError, match=next(iter(props)).replace("_", "-")):
        Rig("virtio-balloon-pci", **props)


def test_one_balloon_a_machine(rig: Rig) -> None:
    with pytest.raises(PcemuError, match="Only one balloon"):
        rig.m.add("virtio-balloon-pci", rig.host.pci)
