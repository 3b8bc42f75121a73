"""virtio-net against the other end of a cable: frames both ways, offloads, back pressure, the control queue."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from device.virtio_driver import CONFIG, LEGACY_BAR, NEEDS_RESET, PACKED, Rig

from pcemu._core import engine
from pcemu.net import CSUM, NEEDS_CSUM, TSO4, NetClient, Offload
from pcemu.qom import PcemuError
from pcemu.testing.harness import TestMachine

MAC = bytes.fromhex("525400123456")
OTHER = bytes.fromhex("525400aabbcc")
GUEST_CSUM, GUEST_OFFLOADS, GUEST_TSO4, MRG_RXBUF, STATUS, CTRL_VQ, CTRL_RX, CTRL_VLAN, CTRL_RX_EXTRA, ANNOUNCE, MQ, CTRL_MAC = (
    1 << bit for bit in (1, 2, 7, 15, 16, 17, 18, 19, 20, 21, 22, 23))  # fmt: skip
CONTROL = CTRL_VQ | CTRL_RX | CTRL_VLAN | CTRL_RX_EXTRA | CTRL_MAC


class Peer(NetClient):
    """Takes frames while there is room."""

    kind = "test"

    def __init__(self, machine: Any, name: str = "n0") -> None:
        super().__init__(machine, name)
        self.takes = CSUM | TSO4
        self.frames: list[tuple[bytes, Offload | None]] = []
        self.room = 1 << 30
        self.rooms = 0

    def receive(self, frame: Any, offload: Offload | None = None) -> bool:
        if not self.room:
            return False
        self.room -= 1
        self.frames.append((bytes(frame), offload))
        return True

    def on_room(self) -> None:
        self.rooms += 1


class NetRig(Rig):
    def __init__(self, queues: int = 1, **props: Any) -> None:
        machine = TestMachine(ram=16 << 20, isa=False, memory=engine.Memory())
        peers = [Peer(machine, f"n{i}") for i in range(queues)]
        self.peer = peers[0]
        self.peer.queues = list(peers)
        machine.netdevs["n0"] = self.peer
        super().__init__("virtio-net-pci", machine, netdev="n0", **props)

    def send(self, frame: list[bytes], header: bytes = bytes(12), kick: bool = True) -> None:
        self.queues[1].add([header, *frame], [])
        if kick:
            self.queues[1].kick()

    def received(self) -> list[bytes]:
        return [data[:length] for _, length, data in self.queues[0].used()]

    def control(self, kind: int, command: int, data: bytes, queue: int = 2) -> int:
        return self.queues[queue].transfer([bytes((kind, command)), data], [1])[1][0]


@pytest.fixture
def rig() -> NetRig:
    rig = NetRig()
    rig.start(MRG_RXBUF | STATUS | CONTROL)
    return rig


def frame(to: bytes = MAC, size: int = 60, kind: int = 0x0800) -> bytes:
    return (to + OTHER + struct.pack(">H", kind) + bytes(i & 0xFF for i in range(size)))[:size]


@pytest.mark.parametrize("features", [0, PACKED])
def test_frames_out(features: int) -> None:
    rig = NetRig(packed=True)
    rig.start(features | MRG_RXBUF)
    sent = [frame(OTHER, size) for size in (14, 60, 1514, 9000)]
    for data in sent:
        rig.send([data[:7], data[7:]] if len(data) > 1000 else [data])
        assert len(rig.queues[1].used()) == 1
    assert [data for data, _ in rig.peer.frames] == sent
    # Header and frame in one buffer.
    rig.queues[1].add([bytes(12) + sent[1]], [])
    rig.queues[1].kick()
    assert rig.peer.frames[-1] == (sent[1], None)


def test_offloads_out(rig: NetRig) -> None:
    offload = Offload(NEEDS_CSUM, 1, 54, 1448, 34, 16)
    rig.send([frame(OTHER, 5000)], offload.pack() + bytes(2))
    assert rig.peer.frames[0][1] == offload


def test_peer_without_room(rig: NetRig) -> None:
    rig.peer.room = 1
    for i in range(3):
        rig.send([frame(OTHER, 60 + i)])
    assert len(rig.peer.frames) == 1 and len(rig.queues[1].used()) == 1
    rig.peer.room = 10
    rig.peer.flush_queued()
    rig.m.clock.advance(1)
    assert [len(data) for data, _ in rig.peer.frames] == [60, 61, 62]
    assert len(rig.queues[1].used()) == 2


def test_reset_with_a_frame_on_its_way(rig: NetRig) -> None:
    rig.peer.room = 0
    rig.send([frame(OTHER)])
    rig.start(MRG_RXBUF)
    rig.peer.room = 9
    rig.peer.flush_queued()
    rig.m.clock.advance(1)
    assert rig.peer.frames == [] and rig.queues[1].used() == []
    rig.send([frame(OTHER)])
    assert len(rig.peer.frames) == 1


def test_frames_that_cannot_be(rig: NetRig) -> None:
    rig.queues[1].add([bytes(12)] + [bytes(60000)] * 2, [])  # longer than any
    rig.queues[1].kick()
    assert rig.peer.frames == [] and len(rig.queues[1].used()) == 1
    rig.queues[1].add([bytes(11)], [])
    rig.queues[1].kick()
    assert rig.status & NEEDS_RESET


def test_frames_in(rig: NetRig) -> None:
    rig.queues[0].add([], [12, 1600])
    data = frame(size=100)
    assert rig.peer.send(data, Offload(2))
    assert rig.received() == [Offload(2).pack() + b"\1\0" + data]
    assert rig.interrupts(1)


def test_merged_buffers(rig: NetRig) -> None:
    for _ in range(5):
        rig.queues[0].add([], [512])
    data = frame(size=1500)
    assert rig.peer.send(data)
    first, *rest = rig.received()
    assert first[:12] == bytes(10) + b"\3\0" and first[12:] + b"".join(rest) == data
    # Not enough buffers: the frame waits, and nothing is used up.
    assert not rig.peer.send(data)
    assert rig.received() == []
    rig.queues[0].add([], [512])
    rig.queues[0].kick()
    rig.m.clock.advance(1)
    assert rig.peer.rooms == 1 and rig.peer.send(data)
    assert len(rig.received()) == 3


def test_without_merging() -> None:
    rig = NetRig()
    rig.start(GUEST_TSO4 | GUEST_CSUM)
    rig.queues[0].add([], [100])
    assert rig.peer.send(frame(size=200))  # does not fit: lost
    assert rig.received() == []
    assert rig.peer.send(frame(size=80))
    assert rig.received() == [bytes(10) + b"\1\0" + frame(size=80)]
    assert rig.peer.peer is not None and rig.peer.peer.takes == CSUM | TSO4


def test_receive_buffer_without_room_for_the_header(rig: NetRig) -> None:
    rig.queues[0].add([], [4])
    rig.peer.send(frame())
    assert rig.status & NEEDS_RESET


def test_not_started_drops() -> None:
    rig = NetRig()
    assert rig.peer.send(frame())


# -- the control queue --------------------------------------------------------------------------------------------


def passes(rig: NetRig, data: bytes) -> bool:
    rig.queues[0].add([], [2000])
    rig.queues[0].kick()
    rig.peer.send(data)
    return bool(rig.received())


def test_filters(rig: NetRig) -> None:
    broadcast, group, stranger = b"\xff" * 6, bytes.fromhex("01005e000001"), bytes.fromhex("525400ffffff")
    assert all(passes(rig, frame(to)) for to in (MAC, broadcast, group, stranger))  # promiscuous until told otherwise
    assert rig.control(0, 0, b"\0") == 0
    assert [passes(rig, frame(to)) for to in (MAC, broadcast, group, stranger)] == [True, True, False, False]
    assert rig.control(1, 0, struct.pack("<I6sI6s", 1, stranger, 1, group)) == 0
    assert [passes(rig, frame(to)) for to in (group, stranger, OTHER)] == [True, True, False]
    assert rig.control(0, 5, b"\1") == 0
    assert not passes(rig, frame(broadcast))
    assert rig.control(0, 1, b"\1") == 0
    assert passes(rig, frame(b"\3" + bytes(5)))
    many = b"".join(b"\2" + struct.pack(">IB", i, 0) for i in range(100))
    assert rig.control(1, 0, struct.pack("<I", 100) + many + struct.pack("<I", 0)) == 0
    assert passes(rig, frame(OTHER))  # too many to look at


def test_vlans(rig: NetRig) -> None:
    rig.control(0, 0, b"\0")
    tagged = MAC + OTHER + struct.pack(">HHH", 0x8100, 7, 0x0800) + bytes(50)
    assert not passes(rig, tagged)
    assert rig.control(2, 0, struct.pack("<H", 7)) == 0
    assert passes(rig, tagged)
    assert rig.control(2, 1, struct.pack("<H", 7)) == 0
    assert not passes(rig, tagged) and passes(rig, frame())


@pytest.mark.parametrize(
    "kind,command,data",
    [(0, 9, b"\0"), (1, 0, b"\xff" * 8), (1, 0, struct.pack("<II", 0, 0) + b"x"), (1, 1, b"123"), (2, 0, b"\0"), (2, 2, b"\0\0"),
     (2, 0, b"\xff\xff"), (3, 0, b"\0"), (4, 0, b"\1\0"), (5, 0, bytes(8)), (77, 0, b"\0")],
)  # fmt: skip
def test_commands_that_cannot_be(rig: NetRig, kind: int, command: int, data: bytes) -> None:
    assert rig.control(kind, command, data) == 1


def test_address(rig: NetRig) -> None:
    assert bytes(rig.config(i, 1) for i in range(6)) == MAC
    assert rig.control(1, 1, OTHER) == 0
    assert rig.dev.current_mac == OTHER
    rig.control(0, 0, b"\0")
    assert passes(rig, frame(OTHER)) and not passes(rig, frame(MAC))
    rig.start()
    assert rig.dev.current_mac == MAC
    # Legacy drivers write it.
    rig.m.outb(LEGACY_BAR + 18, 0)
    for i in range(6):
        rig.m.outb(LEGACY_BAR + (24 if rig.pci.msix.enabled else 20) + i, OTHER[i])
    assert rig.dev.current_mac == OTHER


def test_offloads_are_switched(rig: NetRig) -> None:
    rig.start(GUEST_CSUM | GUEST_TSO4 | CTRL_VQ | GUEST_OFFLOADS)
    nic = rig.peer.peer
    assert nic is not None and nic.takes == CSUM | TSO4
    assert rig.control(5, 0, struct.pack("<Q", GUEST_CSUM)) == 0 and nic.takes == CSUM
    assert rig.control(5, 0, struct.pack("<Q", 1 << 8)) == 1


def test_link_status(rig: NetRig) -> None:
    assert rig.m.mmio_read(CONFIG + 6, 2) == 1
    rig.peer.set_link(False)
    assert rig.m.mmio_read(CONFIG + 6, 2) == 0 and rig.interrupts(0)
    rig.peer.set_link(True)
    assert rig.m.mmio_read(CONFIG + 6, 2) == 1 and rig.interrupts(0)


def test_announcement(rig: NetRig) -> None:
    rig.start(STATUS | CTRL_VQ | ANNOUNCE)
    rig.dev.announce()
    assert rig.config(6, 2) == 3 and rig.interrupts(0)
    assert rig.control(3, 0, b"\0") == 0 and rig.config(6, 2) == 1


def test_several_queues() -> None:
    rig = NetRig(queues=3, mq=True)
    assert rig.pci.msix.vectors == 8
    rig.start(MRG_RXBUF | CTRL_VQ | MQ)
    assert len(rig.queues) == 7 and rig.config(8, 2) == 3
    assert rig.control(4, 0, b"\3\0", queue=6) == 0 and rig.control(4, 0, b"\4\0", queue=6) == 1
    rig.queues[5].add([bytes(12), frame(OTHER)], [])
    rig.queues[5].kick()
    assert len(rig.peer.queues[2].frames) == 1
    rig.queues[2].add([], [2000])
    rig.peer.queues[1].send(frame())
    assert len(rig.queues[2].used()) == 1
    # A driver that knows of one pair finds the control queue behind it.
    rig.start(MRG_RXBUF | CONTROL)
    assert len(rig.queues) == 3 and rig.control(0, 0, b"\0") == 0


@pytest.mark.parametrize(
    "props,text",
    [({"rx_queue_size": 100}, "power of 2"), ({"duplex": "third"}, "duplex"), ({"rss": True}, "rss"), ({"tx": "timer"}, "tx"),
     ({"mac": "1:2:3"}, "MAC")],
)  # fmt: skip
def test_properties_that_cannot_be(props: dict[str, Any], text: str) -> None:
    with pytest.raises(PcemuError, match=text):
        NetRig(**props)


def test_unplugging_pulls_the_cable(rig: NetRig) -> None:
    rig.pci.unplug()
    assert rig.peer.peer is None and rig.peer.send(frame())
