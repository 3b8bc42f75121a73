"""Virtqueues of both formats: requests there and back, notifications, and everything a driver must not do."""

from __future__ import annotations

import struct
from random import Random
from typing import Any, ClassVar

import pytest
from device.virtio_driver import (
    DRIVER_OK,
    EVENT_IDX,
    INDIRECT,
    INDIRECT_DESC,
    ISR,
    LEGACY_BAR,
    NEEDS_RESET,
    NEXT,
    PACKED,
    RING_RESET,
    WRITE,
    Queue,
    Rig,
)

from pcemu.hw.virtio.device import VirtioDevice
from pcemu.hw.virtio.pci import VirtioPci
from pcemu.hw.virtio.queue import Virtqueue
from pcemu.qom import Property


class Echo(VirtioDevice):
    """Writes back what it reads, with one to every byte; keeps chains while `hold` is on."""

    type_name = "test-echo-device"
    device_number = 4

    def realize(self) -> None:
        self.hold = False
        self.kept: list[Any] = []
        self.first = self.add_queue(64, self.serve)
        self.add_queue(64, self.serve)

    def serve(self, queue: Virtqueue) -> None:
        for chain in queue.pop_all():
            if self.hold:
                self.kept.append(chain)
            else:
                queue.push(chain, self.answer(chain))
        queue.notify()

    @staticmethod
    def answer(chain: Any) -> int:
        data = chain.read(0, 1 << 20)
        return chain.write(0, bytes(b + 1 & 0xFF for b in data))


class EchoPci(VirtioPci):
    type_name = "test-echo-pci"
    device_class = Echo
    class_id = 0x00FF
    vectors = Property("u32", default=3)
    property_defaults: ClassVar[dict[str, Any]] = {"packed": True}


@pytest.fixture
def rig() -> Rig:
    return Rig(EchoPci)


FORMATS = [0, PACKED, INDIRECT_DESC, PACKED | INDIRECT_DESC, EVENT_IDX, PACKED | EVENT_IDX | INDIRECT_DESC]


@pytest.mark.parametrize("features", FORMATS)
def test_requests_there_and_back(rig: Rig, features: int) -> None:
    rig.start(features)
    random = Random(features)
    queue = rig.queues[0]
    for _ in range(300):  # several times around
        data = random.randbytes(random.randrange(1, 200))
        cut = random.randrange(len(data) + 1)
        parts = [part for part in (data[:cut], data[cut:]) if part]
        room = random.randrange(1, 120)
        length, back = queue.transfer(parts, [room, 150], bool(features & INDIRECT_DESC) and random.random() < 0.5)
        want = bytes(b + 1 & 0xFF for b in data)[: room + 150]
        assert (length, back) == (len(want), want)
        rig.heap = 0x100000
    assert rig.interrupts(1)
    assert not rig.interrupts(2) and rig.status & DRIVER_OK


@pytest.mark.parametrize("features", [0, PACKED])
def test_out_of_order(rig: Rig, features: int) -> None:
    rig.start(features, size=8)
    queue = rig.queues[0]
    rig.dev.hold = True
    random = Random(5)
    sent: dict[int, bytes] = {}
    for _ in range(100):
        while len(queue.free) >= 2 and random.random() < 0.8:
            data = random.randbytes(20)
            sent[queue.add([data], [20])] = data
        queue.kick()
        random.shuffle(rig.dev.kept)
        while rig.dev.kept and random.random() < 0.7:
            chain = rig.dev.kept.pop()
            rig.dev.first.finish(chain, Echo.answer(chain))
        for ident, length, back in queue.used():
            assert length == 20 and back == bytes(b + 1 & 0xFF for b in sent.pop(ident))
    assert not rig.status & NEEDS_RESET


def test_pieces_of_guest_ram(rig: Rig) -> None:
    """What out_views() and in_views() give behaves like memoryviews, also when the chain is gone."""
    rig.start(0)
    rig.dev.hold = True
    rig.queues[0].add([b"0123456789", b"abc"], [8, 4])
    chain = rig.dev.first.pop()
    out, into = chain.out_views(2), chain.in_views(1, 9)
    assert [bytes(piece) for piece in out] == [b"23456789", b"abc"] and [len(piece) for piece in into] == [7, 2]
    first = out[0]
    assert (bytes(first[1:-1]), bytes(first[:]), bytes(first[9:]), bytes(first[5:2]), bytes(first[-3:][1:])) == (
        b"345678", b"23456789", b"", b"", b"89")  # fmt: skip
    assert first[0] == ord("2") and memoryview(first).readonly and not memoryview(into[0]).readonly
    into[0][:] = b"ABCDEFG"
    into[1][1:2] = b"Z"
    into[1][0] = 0x59
    with pytest.raises(TypeError):
        first[0:1] = b"x"
    with pytest.raises(ValueError):
        into[0][:] = b"another length"
    with pytest.raises(IndexError):
        first[8]
    with pytest.raises(NotImplementedError):
        first[::2]
    pieces = [into[0][2:], into[1]]
    rig.dev.first.finish(chain, 12)
    del chain, out, into
    assert [bytes(piece) for piece in pieces] == [b"CDEFG", b"YZ"]
    ((_, _, back),) = rig.queues[0].used()
    assert back == b"\0ABCDEFGYZ\0\0"
    assert hasattr(first, "readonly") and first.readonly and not pieces[0].readonly


def test_rewind_gives_the_same_chain_again(rig: Rig) -> None:
    for features in (0, PACKED, EVENT_IDX):
        rig.start(features, size=4)
        queue, virtqueue = rig.queues[0], rig.dev.first
        rig.dev.hold = True
        for _ in range(9):
            queue.add([b"abc"], [3])
            first = virtqueue.pop()
            virtqueue.rewind(first)
            again = virtqueue.pop()
            assert again.head == first.head and virtqueue.pop() is None
            virtqueue.push(first, 3)  # not out any more
            assert queue.used() == []
            virtqueue.push(again, 0)
            virtqueue.push(again, 0)
            assert len(queue.used()) == 1


def test_notifications_as_the_driver_wants_them(rig: Rig) -> None:
    rig.start(0)
    queue = rig.queues[0]
    rig.m.memory.st(queue.driver, 2, 1)  # VIRTQ_AVAIL_F_NO_INTERRUPT
    queue.transfer([b"x"], [1])
    assert not rig.interrupts(1)
    rig.m.memory.st(queue.driver, 2, 0)
    queue.transfer([b"x"], [1])
    assert rig.interrupts(1)


def test_event_index(rig: Rig) -> None:
    rig.start(EVENT_IDX)
    queue = rig.queues[0]
    event = queue.driver + 4 + 2 * queue.size
    queue.transfer([b"x"], [1])
    assert rig.interrupts(1)  # the first one in any case
    rig.m.memory.st(event, 2, 3)  # tell me of the fourth
    seen = []
    for _ in range(4):
        queue.transfer([b"x"], [1])
        seen.append(rig.interrupts(1))
    assert seen == [False, False, True, False]
    # The device asks for a notification of the very next buffer.
    assert rig.m.memory.ld(queue.device + 4 + 8 * queue.size, 2) == queue.avail


def test_event_index_packed(rig: Rig) -> None:
    rig.start(EVENT_IDX | PACKED, size=4)
    queue = rig.queues[0]
    queue.transfer([b"x"], [1])  # two slots: places 0 and 1
    assert rig.interrupts(1)
    rig.m.memory.write(queue.driver, struct.pack("<HH", 0x8000 | 2, 2))  # RING_EVENT_FLAGS_DESC, place 2, first wrap
    queue.transfer([b"x"], [1])
    assert rig.interrupts(1)
    rig.m.memory.write(queue.driver, struct.pack("<HH", 0, 1))  # RING_EVENT_FLAGS_DISABLE
    queue.transfer([b"x"], [1])
    assert not rig.interrupts(1)


def test_suppression_is_asked_for(rig: Rig) -> None:
    for features, flags_at in ((0, 0), (PACKED, 2)):
        rig.start(features)
        queue = rig.queues[0]
        rig.dev.first.suppress(True)
        assert rig.m.memory.ld(queue.device + flags_at, 2) == 1
        rig.dev.first.suppress(False)
        assert rig.m.memory.ld(queue.device + flags_at, 2) == 0


# -- nonsense -----------------------------------------------------------------------------------------------------


def bad_split(queue: Queue) -> dict[str, Any]:
    """What to do to a split ring, by name."""
    memory, rig = queue.rig.m.memory, queue.rig
    good = rig.alloc(64)

    def table(*entries: tuple[int, int, int, int]) -> None:
        data = b"".join(struct.pack("<QIHH", *entry) for entry in entries)
        queue.put_desc(0, rig.store(data), len(data), INDIRECT, 0)
        queue.publish(0)

    def desc(*entries: tuple[int, int, int, int]) -> None:
        for slot, entry in enumerate(entries):
            queue.put_desc(slot, *entry)
        queue.publish(0)

    def avail_jumps() -> None:
        memory.st(queue.driver + 2, 2, 0x1234)

    def head_out_of_range() -> None:
        queue.publish(queue.size)

    def more_than_there_are() -> None:
        rig.dev.hold = True
        for _ in range(queue.size + 1):
            desc((good, 8, 0, 0))
            queue.kick()

    return {
        "avail index": avail_jumps,
        "head": head_out_of_range,
        "next": lambda: desc((good, 8, NEXT, queue.size)),
        "loop": lambda: desc((good, 8, NEXT, 1), (good, 8, NEXT, 0)),
        "no bytes": lambda: desc((good, 0, 0, 0)),
        "hole": lambda: desc((0x40000000, 8, 0, 0)),
        "end of RAM": lambda: desc(((16 << 20) - 4, 8, WRITE, 0)),
        "wraps": lambda: desc((2**64 - 4, 8, WRITE, 0)),
        "device memory": lambda: desc((0xE0000000, 8, 0, 0)),
        "order": lambda: desc((good, 8, NEXT | WRITE, 1), (good, 8, 0, 0)),
        "indirect and next": lambda: desc((good, 16, INDIRECT | NEXT, 1), (good, 8, 0, 0)),
        "nested": lambda: table((good, 16, INDIRECT, 0)),
        "table size": lambda: desc((good, 15, INDIRECT, 0)),
        "table empty": lambda: desc((good, 0, INDIRECT, 0)),
        "table in a hole": lambda: desc((0x40000000, 16, INDIRECT, 0)),
        "table loops": lambda: table((good, 8, NEXT, 1), (good, 8, NEXT, 0)),
        "table next": lambda: table((good, 8, NEXT, 2), (good, 8, 0, 0)),
        "too many": more_than_there_are,
    }


@pytest.mark.parametrize("what", list(bad_split(Queue(Rig(EchoPci), 0, 64, False, False))))
def test_nonsense_needs_a_reset(rig: Rig, what: str) -> None:
    rig.start(INDIRECT_DESC)
    queue = rig.queues[0]
    bad_split(queue)[what]()
    queue.kick()
    assert rig.status & NEEDS_RESET, rig.m.log.messages
    assert rig.interrupts(0)  # configuration changed: look at the status
    assert rig.m.memory.ld(queue.device + 2, 2) == 0
    queue.kick()  # nothing more happens
    rig.dev.hold = False
    rig.start()  # and a reset is all it needs
    assert not rig.status & NEEDS_RESET
    assert rig.queues[0].transfer([b"abc"], [3]) == (3, b"bcd")


def test_an_indirect_table_behind_ordinary_descriptors(rig: Rig) -> None:
    """Unusual, and allowed (2.7.5.3.2)."""
    rig.start(INDIRECT_DESC)
    queue = rig.queues[0]
    data, room = rig.store(b"abc"), rig.alloc(3)
    table = rig.store(struct.pack("<QIHH", room, 3, WRITE, 0))
    queue.put_desc(0, data, 3, NEXT, 1)
    queue.put_desc(1, table, 16, INDIRECT, 0)
    queue.chains[0] = ([0, 1], [(room, 3)])
    queue.publish(0)
    queue.kick()
    assert queue.used() == [(0, 3, b"bcd")]


def test_indirect_that_was_not_negotiated(rig: Rig) -> None:
    for features in (0, PACKED):
        rig.start(features)
        rig.queues[0].add([b"abc"], [3], indirect=True)
        rig.queues[0].kick()
        assert rig.status & NEEDS_RESET


def test_packed_nonsense(rig: Rig) -> None:
    good = rig.alloc(64)
    for entries in (
        [(good, 8, 70, 0x80)],  # an id that is not there
        [(good, 8, 0, 0x80 | NEXT)] * 64,  # a chain without end
        [(good, 0, 0, 0x80)],
        [(0x40000000, 8, 0, 0x80)],
        [(good, 8, 0, 0x80 | INDIRECT)],
        [(good, 16, 0, 0x80 | INDIRECT | NEXT)],
        [(good, 8, 0, 0x80 | WRITE | NEXT), (good, 8, 0, 0x80)],
    ):
        rig.start(PACKED | INDIRECT_DESC)
        for slot, entry in enumerate(entries):
            rig.m.memory.write(rig.queues[0].desc + 16 * slot, struct.pack("<QIHH", *entry))
        rig.queues[0].kick()
        assert rig.status & NEEDS_RESET


@pytest.mark.parametrize("features", [0, PACKED | EVENT_IDX, INDIRECT_DESC | EVENT_IDX])
def test_random_rings(rig: Rig, features: int) -> None:
    """Whatever is in the rings, the device stands still or works, and stores nothing outside buffers."""
    random = Random(features + 1)
    for _ in range(150):
        rig.heap = 0x100000
        rig.start(features | INDIRECT_DESC, size=16)
        queue = rig.queues[0]
        memory = rig.m.memory
        for slot in range(16):
            addr = random.choice((0x100000, 0x100010, 0xFFFFF8, 0x40000000, 0, 2**64 - 1, queue.desc))
            flags = random.choice((0, 1, 2, 3, 4, 5, 0x80, 0x81, 0x84, 0x8080, random.getrandbits(16)))
            size = random.choice((0, 1, 16, 32, 256, 4096, 0xFFFFFFFF))
            memory.write(queue.desc + 16 * slot, struct.pack("<QIHH", addr, size, flags, random.randrange(20)))
        memory.write(queue.driver, struct.pack("<HH16HH", 0, random.randrange(20), *(random.randrange(18) for _ in range(17))))
        queue.kick()
        if rig.status & NEEDS_RESET:
            assert not rig.dev.running


def test_areas_outside_ram(rig: Rig) -> None:
    for at in (0x20, 0x28, 0x30):
        rig.start(queues=0)
        for offset in (0x20, 0x28, 0x30):
            rig.put(offset, 4, 0x20000)
        rig.put(at, 4, 0xFFFFF0)
        rig.put(at + 4, 4, 1)
        rig.put(0x1C, 2, 1)
        assert rig.status & NEEDS_RESET


# -- reset --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [0, PACKED])
def test_reset_with_requests_in_flight(rig: Rig, features: int) -> None:
    rig.start(features)
    rig.dev.hold = True
    rig.queues[0].add([b"abc"], [3])
    rig.queues[0].kick()
    (chain,) = rig.dev.kept
    rig.start(features)
    rig.dev.first.finish(chain, Echo.answer(chain))
    assert rig.queues[0].used() == [] and not rig.interrupts(1)
    rig.dev.hold = False
    assert rig.queues[0].transfer([b"abc"], [3]) == (3, b"bcd")


def test_reset_of_one_queue(rig: Rig) -> None:
    rig.start(RING_RESET)
    rig.put(0x16, 2, 0)
    rig.put(0x3A, 2, 1)
    assert (rig.get(0x3A, 2), rig.get(0x1C, 2)) == (0, 0)
    rig.queues[0].add([b"abc"], [3])
    rig.queues[0].kick()
    assert rig.queues[0].used() == []
    assert rig.queues[1].transfer([b"abc"], [3]) == (3, b"bcd")


def test_without_bus_mastering_nothing_happens(rig: Rig) -> None:
    rig.start()
    rig.pci.config_write(4, 3, 2)
    rig.queues[0].add([b"abc"], [3])
    rig.queues[0].kick()
    assert rig.queues[0].used() == []
    rig.pci.config_write(4, 7, 2)
    assert [length for _, length, _ in rig.queues[0].used()] == [3]


def test_state_of_a_running_queue(rig: Rig) -> None:
    rig.start(PACKED | EVENT_IDX)
    for _ in range(40):
        rig.queues[0].transfer([b"abc"], [3])
    saved = rig.dev.get_state(), rig.pci.get_state()
    rig.m.reset()
    rig.dev.set_state(saved[0])
    rig.pci.set_state(saved[1])
    rig.dev.mask(False)
    assert rig.queues[0].transfer([b"abc"], [3]) == (3, b"bcd")


# -- the transport ------------------------------------------------------------------------------------------------


def test_features_that_are_not_offered(rig: Rig) -> None:
    rig.put(0x14, 1, 3)
    for half, bits in ((0, 1 << 5), (1, 1)):
        rig.put(8, 4, half)
        rig.put(0xC, 4, bits)
    rig.put(0x14, 1, 11)
    assert rig.status == 3  # FEATURES_OK did not stick


def test_interrupt_pin_and_isr(rig: Rig) -> None:
    levels: list[int] = []
    rig.host.pci.route_irqs(lambda devfn, pin: pin, lambda line, level: levels.append(level))
    rig.start(msix=False)
    rig.queues[0].transfer([b"x"], [1])
    assert levels == [1]
    rig.queues[0].transfer([b"x"], [1])
    assert rig.m.mmio_read(ISR, 1) == 1 and rig.m.mmio_read(ISR, 1) == 0
    assert levels == [1, 0]
    rig.dev.config_changed()
    assert rig.m.mmio_read(ISR, 1) & 2


def test_masked_vector_is_pending(rig: Rig) -> None:
    rig.start()
    rig.m.mmio_write(0xE1000000 + 16 + 12, 4, 1)
    rig.queues[0].transfer([b"x"], [1])
    assert not rig.interrupts(1)
    assert rig.m.mmio_read(0xE1000000 + 0x800, 4) == 2
    rig.m.mmio_write(0xE1000000 + 16 + 12, 4, 0)
    assert rig.interrupts(1) and rig.m.mmio_read(0xE1000000 + 0x800, 4) == 0


def test_legacy_registers(rig: Rig) -> None:
    m = rig.m
    m.outb(LEGACY_BAR + 18, 0)
    m.outb(LEGACY_BAR + 18, 3)
    assert m.inl(LEGACY_BAR) >> 32 == 0
    m.outl(LEGACY_BAR + 4, 0)
    m.outw(LEGACY_BAR + 14, 0)
    assert m.inw(LEGACY_BAR + 12) == 64
    queue = Queue(rig, 0, 64, False, True)
    m.outl(LEGACY_BAR + 8, queue.desc >> 12)
    assert m.inl(LEGACY_BAR + 8) == queue.desc >> 12
    m.outb(LEGACY_BAR + 18, 7)
    queue.add([b"abc"], [3])
    m.outw(LEGACY_BAR + 16, 0)
    assert queue.used() == [(0, 3, b"bcd")]
    assert m.inb(LEGACY_BAR + 19) == 1 and m.inb(LEGACY_BAR + 19) == 0
    m.outw(LEGACY_BAR + 14, 7)
    assert m.inw(LEGACY_BAR + 12) == 0


def test_window_in_configuration_space(rig: Rig) -> None:
    at = rig.pci.config_cap
    rig.pci.config_write(at + 4, 4, 1)
    rig.pci.config_write(at + 8, 0x12, 4)
    rig.pci.config_write(at + 12, 2, 4)
    assert rig.pci.config_read(at + 16, 2) == 2  # num_queues
    rig.pci.config_write(at + 8, 0x16, 4)
    rig.pci.config_write(at + 16, 1, 2)
    assert rig.get(0x16, 2) == 1


def test_capabilities_are_where_linux_looks(rig: Rig) -> None:
    pci, found = rig.pci, {}
    at = pci.config[0x34]
    while at:
        if pci.config[at] == 9:
            found[pci.config[at + 3]] = (pci.config[at + 4], pci.get(at + 8), pci.get(at + 12))
        at = pci.config[at + 1]
    assert found == {1: (4, 0, 0x1000), 3: (4, 0x1000, 0x1000), 4: (4, 0x2000, 0x1000), 2: (4, 0x3000, 0x1000), 5: (0, 0, 0)}
