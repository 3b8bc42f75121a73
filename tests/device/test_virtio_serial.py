"""virtio-serial: ports, their control messages, bytes both ways with back pressure."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from device.virtio_driver import CONFIG, Rig

from pcemu._core import engine
from pcemu.machine.hotplug import add_device, remove_device
from pcemu.qom import PcemuError
from pcemu.testing.harness import FakeChardev, TestMachine

MULTIPORT, EMERG_WRITE = 2, 4
READY, ADD, REMOVE, PORT_READY, CONSOLE, _, OPEN, NAME = range(8)


class SerialRig(Rig):
    def __init__(self, **props: Any) -> None:
        machine = TestMachine(ram=16 << 20, isa=False, memory=engine.Memory())
        self.console, self.stream = machine.add_chardev("c0"), machine.add_chardev("c1")
        super().__init__("virtio-serial-pci", machine, **{"max_ports": 4, **props})
        self.port0 = machine.add("virtconsole", chardev="c0", id="con")
        self.port1 = machine.add("virtserialport", chardev="c1", name="org.test")

    def tell(self, port: int, event: int, value: int) -> None:
        self.queues[3].transfer([struct.pack("<IHH", port, event, value)], [])

    def told(self) -> list[tuple[int, int, int, bytes]]:
        """Control messages since; gives buffers for more."""
        while len(self.queues[2].free) > 8:
            self.queues[2].add([], [64])
        self.queues[2].kick()
        found = [data[:length] for _, length, data in self.queues[2].used()]
        return [(*struct.unpack("<IHH", data[:8]), data[8:]) for data in found]


@pytest.fixture
def rig() -> SerialRig:
    rig = SerialRig()
    rig.start(MULTIPORT)
    return rig


def opened(rig: SerialRig) -> SerialRig:
    rig.tell(0, READY, 1)
    for port in (0, 1):
        rig.tell(port, PORT_READY, 1)
        rig.tell(port, OPEN, 1)
    rig.told()
    return rig


def test_how_ports_are_announced(rig: SerialRig) -> None:
    assert rig.config(4, 4) == 4 and rig.told() == []
    rig.tell(0, READY, 1)
    assert rig.told() == [(0, ADD, 1, b""), (1, ADD, 1, b"")]
    rig.tell(0, PORT_READY, 1)
    assert rig.told() == [(0, CONSOLE, 1, b""), (0, OPEN, 1, b"")]
    rig.tell(1, PORT_READY, 1)
    assert rig.told() == [(1, NAME, 1, b"org.test\0"), (1, OPEN, 1, b"")]
    rig.tell(1, OPEN, 1)
    assert rig.port1.guest_connected
    assert rig.port1.describe() == ["port 1, guest on, host on, throttle off"]
    rig.tell(3, OPEN, 1)  # not there
    assert rig.m.log.messages


def test_host_side_comes_and_goes(rig: SerialRig) -> None:
    opened(rig)
    rig.stream.event("closed")
    rig.console.event("closed")  # a console has always somebody
    assert rig.told() == [(1, OPEN, 0, b"")]
    rig.stream.event("opened")
    assert rig.told() == [(1, OPEN, 1, b"")]


def test_bytes_to_the_host(rig: SerialRig) -> None:
    opened(rig)
    data = bytes(range(256)) * 300
    rig.queues[5].transfer([data[:100], data[100:]], [])
    rig.queues[1].transfer([b"hello"], [])
    assert rig.stream.sent == data and rig.console.sent == b"hello"
    rig.queues[7].transfer([b"for nobody"], [])


def test_host_that_does_not_keep_up(rig: SerialRig) -> None:
    opened(rig)
    rig.stream.blocked = True
    rig.queues[5].add([b"abc"], [])
    rig.queues[5].kick()
    assert rig.port1.throttled and rig.queues[5].used() == [] and rig.stream.sent == b""
    rig.stream.blocked = False
    rig.stream.on_writable()
    assert not rig.port1.throttled and len(rig.queues[5].used()) == 1 and rig.stream.sent == b"abc"


def test_host_that_fills_up_in_the_middle(rig: SerialRig) -> None:
    opened(rig)
    data = bytes(range(256)) * 1000  # more than is passed on at once

    def write(piece: bytes) -> None:
        rig.stream.sent += piece
        rig.stream.blocked = True

    rig.stream.write = write
    rig.queues[5].add([data], [])
    rig.queues[5].kick()
    for _ in range(3):
        assert rig.queues[5].used() == [] and rig.port1.throttled
        rig.stream.blocked = False
        rig.stream.on_writable()
    assert rig.stream.sent == data and len(rig.queues[5].used()) == 1


def test_bytes_from_the_host(rig: SerialRig) -> None:
    rig.stream.feed(b"early")  # nobody has it open: it waits
    rig.queues[4].add([], [4])
    rig.queues[4].kick()
    assert rig.queues[4].used() == []
    opened(rig)
    assert [back for _, _, back in rig.queues[4].used()] == [b"earl"]
    rig.queues[4].add([], [100])
    rig.queues[4].kick()
    assert [back for _, _, back in rig.queues[4].used()] == [b"y"]
    rig.stream.feed(b"late")
    assert rig.queues[4].used() == []
    rig.queues[4].add([], [100])
    rig.queues[4].kick()
    assert [back for _, _, back in rig.queues[4].used()] == [b"late"]


def test_input_in_order_and_whole(rig: SerialRig) -> None:
    opened(rig)
    data = bytes(i * 7 & 0xFF for i in range(5000))
    rig.stream.feed(data)
    got = b""
    for size in (1, 10, 0x100, 3, 4096, 4096):
        rig.queues[4].add([], [size])
        rig.queues[4].kick()
        got += b"".join(back for _, _, back in rig.queues[4].used())
    assert got == data


def test_reset_keeps_what_was_not_delivered(rig: SerialRig) -> None:
    opened(rig)
    rig.queues[4].add([], [10])
    rig.queues[4].kick()
    rig.start(MULTIPORT)
    assert not rig.port1.guest_connected
    rig.stream.feed(b"abc")
    opened(rig)
    rig.queues[4].add([], [10])
    rig.queues[4].kick()
    assert [back for _, _, back in rig.queues[4].used()] == [b"abc"]


def test_without_multiport_there_is_one_console(rig: SerialRig) -> None:
    rig.start(0)
    assert rig.port0.guest_connected
    rig.queues[0].add([], [10])
    rig.queues[0].kick()
    rig.console.feed(b"hi")
    assert [back for _, _, back in rig.queues[0].used()] == [b"hi"]


def test_emergency_write(rig: SerialRig) -> None:
    assert rig.offered() & EMERG_WRITE
    rig.m.mmio_write(CONFIG + 8, 4, ord("!"))
    assert rig.console.sent == b"!"


def test_plugging_and_unplugging_ports(rig: SerialRig) -> None:
    opened(rig)
    port = rig.m.add("virtserialport", name="late", nr=3)
    assert rig.told() == [(3, ADD, 1, b"")]
    port.unplug()
    assert rig.told() == [(3, REMOVE, 1, b"")]
    rig.port1.unplug()
    assert isinstance(rig.stream, FakeChardev) and rig.stream.owner == ""


def test_control_messages_wait_for_buffers(rig: SerialRig) -> None:
    for _ in range(3):
        rig.tell(0, READY, 1)
    assert len(rig.told()) == 6


@pytest.mark.parametrize(
    "kind,props,text",
    [("virtserialport", {"nr": 0}, "reserved"), ("virtserialport", {"nr": 1}, "already exists at id 1"),
     ("virtserialport", {"nr": 4}, "Out-of-range"), ("virtserialport", {"name": "org.test"}, "by name"),
     ("virtconsole", {"nr": 0}, "already exists")],
)  # fmt: skip
def test_ports_that_cannot_be(rig: SerialRig, kind: str, props: dict[str, Any], text: str) -> None:
    with pytest.raises(PcemuError, match=text):
        rig.m.add(kind, **props)
    rig2 = SerialRig(max_ports=2)
    with pytest.raises(PcemuError, match="Maximum port limit"):
        rig2.m.add("virtserialport")


def test_ports_come_and_go(rig: SerialRig) -> None:
    """device_add and device_del of ports; buffers that were taken are there for the next port of that number."""
    opened(rig)
    more = rig.m.add_chardev("c2")
    port = add_device(rig.m, "virtserialport", {"chardev": "c2", "name": "late", "id": "p2", "nr": "2"})
    assert rig.told() == [(2, ADD, 1, b"")]
    rig.tell(2, PORT_READY, 1)
    assert rig.told() == [(2, NAME, 1, b"late\0"), (2, OPEN, 1, b"")]
    rig.tell(2, OPEN, 1)
    reading, writing = rig.queues[6], rig.queues[7]
    reading.add([], [16])
    reading.kick()
    assert more.can_receive() == 16                 # the buffer is taken, and nothing has come
    more.blocked = True
    writing.add([b"lost"], [])
    writing.kick()
    assert writing.used() == []
    with pytest.raises(PcemuError, match="already exists by name late"):
        add_device(rig.m, "virtserialport", {"name": "late"})
    with pytest.raises(PcemuError, match="already exists at id 2"):
        add_device(rig.m, "virtserialport", {"nr": "2"})
    remove_device(rig.m, port)
    assert rig.told() == [(2, REMOVE, 1, b"")] and len(writing.used()) == 1 and reading.used() == []
    assert port not in rig.m.devices and 2 not in rig.dev.ports and more.owner == ""
    again = add_device(rig.m, "virtserialport", {"chardev": "c2", "nr": "2"})
    more.blocked = False
    rig.told()
    rig.tell(2, PORT_READY, 1)
    rig.tell(2, OPEN, 1)
    assert more.can_receive() == 16
    more.on_input(b"hello")
    assert [data for _, _, data in reading.used()] == [b"hello"]
    writing.transfer([b"again"], [])
    assert more.sent == b"again"
    remove_device(rig.m, again)
