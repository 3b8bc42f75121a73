"""The multiplexer: Ctrl-A keys, focus, several front ends on one stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pcemu.chardev import ChardevError, create
from pcemu.testing.loophost import LoopHost as Host


class Console:
    """A multiplexed stream with a keyboard (a ring buffer's input) and two front ends."""

    def __init__(self) -> None:
        self.host = Host()
        self.mux: Any = create(self.host, {"backend": "ringbuf", "id": "m", "mux": "on"})
        self.base: Any = self.host.chardevs["m-base"]
        self.events: list[tuple[str, str]] = []
        self.got: dict[str, bytearray] = {}
        self.room: dict[str, int] = {}
        self.ports = {name: self.attach(name) for name in ("first", "second")}

    def attach(self, name: str) -> Any:
        port = self.mux.attach(name)
        self.got[name] = bytearray()
        self.room[name] = 1000
        port.can_receive = lambda: self.room[name]
        port.on_event = lambda event: self.events.append((name, event))
        port.on_input = self.got[name].extend
        return port

    def type(self, keys: bytes) -> None:
        self.base.feed(keys)
        self.host.turn()

    def shown(self) -> bytes:
        return self.base.read_ring(100_000)


@pytest.fixture
def console() -> Iterator[Console]:
    made = Console()
    yield made
    made.host.close()


def test_names(console: Console) -> None:
    assert list(console.host.chardevs) == ["m-base", "m"]
    assert (console.mux.describe(), console.base.describe()) == ("mux", "ringbuf")


def test_the_last_front_end_has_the_keyboard(console: Console) -> None:
    console.type(b"hello")
    assert console.got == {"first": b"", "second": b"hello"}


def test_output_of_all_is_shown(console: Console) -> None:
    console.ports["first"].write(b"one ")
    for byte in b"two":
        assert console.ports["second"].write_byte(byte)
    assert console.shown() == b"one two"


def test_ctrl_a_c_switches(console: Console) -> None:
    console.events.clear()
    console.type(b"a\x01cb\x01cc")
    assert console.got == {"first": b"b", "second": b"ac"}
    assert console.events == [("second", "mux-out"), ("first", "mux-in"), ("first", "mux-out"), ("second", "mux-in")]


def test_ctrl_a_twice_sends_one(console: Console) -> None:
    console.type(b"x\x01\x01y")
    assert console.got["second"] == b"x\x01y"


def test_the_escape_may_be_split_over_reads(console: Console) -> None:
    console.type(b"\x01")
    console.type(b"c")
    console.type(b"z")
    assert console.got["first"] == b"z"


def test_ctrl_a_b_sends_a_break(console: Console) -> None:
    console.events.clear()
    console.type(b"\x01b")
    assert console.events == [("second", "break")]


def test_ctrl_a_x_ends_the_machine(console: Console) -> None:
    console.type(b"\x01x")
    assert console.host.quits == [0]
    assert console.shown() == b"pcemu: Terminated\r\n"


def test_ctrl_a_h_and_unknown_keys(console: Console) -> None:
    console.type(b"\x01h")
    text = console.shown()
    for key in (b"C-a h", b"C-a x", b"C-a s", b"C-a t", b"C-a b", b"C-a c", b"C-a C-a"):
        assert key in text
    console.type(b"\x01q")
    assert console.shown() == b""
    assert console.got["second"] == b""


def test_ctrl_a_t_stamps_lines(console: Console) -> None:
    port = console.ports["second"]
    port.write(b"before\n")
    console.type(b"\x01t")
    port.write(b"rest of a line\n")
    console.host.clock.ns = 3_723_004_000_000
    for byte in b"line\n":
        port.write_byte(byte)
    console.type(b"\x01t")
    port.write(b"plain\n")
    assert console.shown() == b"before\nrest of a line\n[01:02:03.004] line\nplain\n"


def test_keys_get_through_when_the_guest_does_not_read(console: Console) -> None:
    console.room["second"] = 0
    console.type(b"typed ahead")
    console.type(b"\x01cmonitor")
    assert console.got["first"] == b"monitor"
    console.room["second"] = 100
    console.ports["second"].accept_input()
    console.host.turn()
    assert console.got["second"] == b"typed ahead"


def test_a_full_front_end_stops_the_keyboard_for_a_while(console: Console) -> None:
    console.room["second"] = 0
    console.type(b"x" * 5000)
    assert console.base._in             # kept below, not lost
    console.room["second"] = 1000
    console.ports["second"].accept_input()
    console.host.until(lambda: len(console.got["second"]) == 5000)


def test_detaching_passes_the_keyboard_on(console: Console) -> None:
    console.ports["second"].detach()
    console.type(b"x")
    assert console.got["first"] == b"x"


def test_at_most_four(console: Console) -> None:
    console.attach("third")
    console.attach("fourth")
    with pytest.raises(ChardevError, match="too many uses"):
        console.attach("fifth")
