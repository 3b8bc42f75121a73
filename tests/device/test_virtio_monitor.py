"""What monitors show of a virtio device whose driver is at work: status, a queue's place and progress, what is in a ring."""

from __future__ import annotations

from typing import Any

import pytest
from device.virtio_driver import EVENT_IDX, HEAP, INDIRECT, NEXT, VERSION_1, WRITE, Rig

from pcemu.monitor import commands_virtio as commands
from pcemu.monitor.errors import CommandError
from pcemu.monitor.table import Context

PACKED = 1 << 34


def started(features: int = 0, **props: Any) -> tuple[Rig, Context, str]:
    """A balloon, whose device keeps what is in its queue of statistics."""
    rig = Rig("virtio-balloon-pci", **props)
    rig.m.status = "running"
    rig.start(1 << 1 | features, msix=False)
    return rig, Context(rig.m), rig.m.path_of(rig.dev)


def test_status() -> None:
    rig, ctx, path = started(EVENT_IDX)
    status = commands.query_virtio_status(ctx, path)
    assert [text.partition(":")[0] for text in status["status"]["statuses"]] == [
        "VIRTIO_CONFIG_S_FEATURES_OK", "VIRTIO_CONFIG_S_DRIVER_OK", "VIRTIO_CONFIG_S_DRIVER", "VIRTIO_CONFIG_S_ACKNOWLEDGE",
    ]  # fmt: skip
    features = status["guest-features"]
    names = {text.partition(":")[0] for text in features["transports"] + features["dev-features"]}
    assert names == {"VIRTIO_F_VERSION_1", "VIRTIO_RING_F_EVENT_IDX", "VIRTIO_BALLOON_F_STATS_VQ"}
    assert status["started"] and not status["broken"] and rig.dev.features == VERSION_1 | EVENT_IDX | 2
    text = commands.info_virtio_status(ctx, path)
    assert text.startswith(f"{path}:\n  device_name:             virtio-balloon \n")
    assert "\tVIRTIO_CONFIG_S_DRIVER: " in text and "unknown" not in text
    rig.dev.broken("on purpose")
    assert commands.query_virtio_status(ctx, path)["broken"]


def test_queue() -> None:
    rig, ctx, path = started()
    rig.queues[2].add([bytes(10)], [])
    rig.queues[2].kick()
    for data in (b"\1\0\0\0", b"\2\0\0\0"):
        rig.queues[0].transfer([data], [])
    for index, (last, used, inuse) in ((0, (2, 2, 0)), (2, (1, 0, 1))):
        status = commands.query_virtio_queue_status(ctx, path, index)
        assert (status["last-avail-idx"], status["used-idx"], status["inuse"]) == (last, used, inuse)
        queue = rig.queues[index]
        assert (status["vring-desc"], status["vring-avail"], status["vring-used"]) == (queue.desc, queue.driver, queue.device)
    assert "  last_avail_idx:       2\n" in commands.info_virtio_queue_status(ctx, path, 0)
    for wrong in (-1, len(rig.dev.queues)):
        with pytest.raises(CommandError, match=f"Invalid virtqueue number {wrong}"):
            commands.query_virtio_queue_status(ctx, path, wrong)


def test_what_is_in_a_ring() -> None:
    rig, ctx, path = started()
    queue = rig.queues[2]
    head = queue.add_raw([(HEAP, 16, 0), (HEAP + 64, 32, WRITE)])
    element = commands.query_virtio_queue_element(ctx, path, 2)       # not taken yet: the next
    assert element["descs"] == [{"addr": HEAP, "len": 16, "flags": ["next"]}, {"addr": HEAP + 64, "len": 32, "flags": ["write"]}]
    assert (element["index"], element["avail"]["ring"], element["avail"]["idx"]) == (head, head, 1)
    queue.kick()
    assert commands.query_virtio_queue_element(ctx, path, 2, 0)["descs"] == element["descs"]      # an old place
    second = queue.add_raw([(HEAP, 8, 0), (HEAP + 8, 8, 0), (HEAP + 16, 8, WRITE)], indirect=True)
    element = commands.query_virtio_queue_element(ctx, path, 2)
    assert element["index"] == second and [desc["len"] for desc in element["descs"]] == [8, 8, 8]
    text = commands.info_virtio_queue_element(ctx, path, 2, None)
    assert f"        addr {HEAP + 16:#x} len 8 (write)\n" in text.replace("0x0x", "0x")


@pytest.mark.parametrize(("flags", "length", "following", "text"), [
    (NEXT, 16, 0xFFFF, "Invalid descriptor number 65535"),
    (INDIRECT, 15, 0, "Invalid size for indirect buffer table: 15"),
    (INDIRECT, 0, 0, "Invalid size for indirect buffer table: 0"),
])  # fmt: skip
def test_nonsense_in_a_ring(flags: int, length: int, following: int, text: str) -> None:
    rig, ctx, path = started()
    queue = rig.queues[2]
    queue.put_desc(0, HEAP, length, flags, following)
    queue.publish(0)
    with pytest.raises(CommandError, match=text):
        commands.query_virtio_queue_element(ctx, path, 2)


def test_a_ring_that_loops_and_one_outside_memory() -> None:
    rig, ctx, path = started()
    queue = rig.queues[2]
    queue.put_desc(0, HEAP, 4, NEXT, 0)
    queue.publish(0)
    assert len(commands.query_virtio_queue_element(ctx, path, 2)["descs"]) == queue.size
    queue.put_desc(0, 1 << 40, 16, INDIRECT, 0)
    with pytest.raises(CommandError, match="no RAM at 0x10000000000"):
        commands.query_virtio_queue_element(ctx, path, 2)
    queue.put_desc(0, HEAP, 0xFFFFFFF0, INDIRECT, 0)      # a table of a quarter of a billion
    rig.m.memory.write(HEAP, b"".join((HEAP).to_bytes(8, "little") + bytes([4, 0, 0, 0, 1, 0, 0, 0]) for _ in range(4)))
    assert len(commands.query_virtio_queue_element(ctx, path, 2)["descs"]) <= rig.dev.queues[2].max_size


def test_rings_that_are_not_shown() -> None:
    rig, ctx, path = started(PACKED, packed=True)
    with pytest.raises(CommandError, match="Packed ring not supported"):
        commands.query_virtio_queue_element(ctx, path, 0)
    assert commands.query_virtio_queue_status(ctx, path, 0)["vring-num"] == rig.queues[0].size
    with pytest.raises(CommandError, match="is not a VirtIODevice"):
        commands.query_virtio_status(ctx, rig.m.path_of(rig.pci))
