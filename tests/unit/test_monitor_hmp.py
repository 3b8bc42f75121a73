"""The human monitor on a stream: prompt, echo, editing, multiplexing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import pcemu
from pcemu import monitor
from pcemu.chardev import create, from_spec
from pcemu.machine.config import MachineConfig
from pcemu.monitor.editline import LineEditor
from pcemu.testing.loophost import LoopHost

BANNER = f"pcemu {pcemu.__version__} monitor - type 'help' for more information\r\n".encode()
PROMPT = b"(qemu) "


class MonitorHost(LoopHost):
    status = "running"
    devices: list[Any] = []
    cpus: list[Any] = []
    config = MachineConfig(name="vm")


@pytest.fixture
def host() -> Iterator[MonitorHost]:
    made = MonitorHost()
    yield made
    made.close()


def test_a_session(host: MonitorHost) -> None:
    stream: Any = create(host, {"backend": "ringbuf", "id": "r"})
    made = monitor.create(host, stream)
    assert host.monitors == [made]
    assert stream.read_ring(1000) == BANNER + PROMPT
    stream.feed(b"info name\r")
    assert stream.read_ring(1000) == b"info name\r\nvm\r\n" + PROMPT
    stream.feed(b"\n")
    assert stream.read_ring(1000) == b"", "the LF of a CR LF is not another line"
    stream.feed(b"\n")
    assert stream.read_ring(1000) == b"\r\n" + PROMPT
    stream.feed(b"fo")
    stream.feed(b"o\n")
    assert stream.read_ring(1000) == b"foo\r\nunknown command: 'foo'\r\n" + PROMPT


def test_an_unknown_mode(host: MonitorHost) -> None:
    stream = create(host, {"backend": "null", "id": "n"})
    with pytest.raises(monitor.CommandError, match="readline, control"):
        monitor.create(host, stream, mode="other")


def test_history_command(host: MonitorHost) -> None:
    stream: Any = create(host, {"backend": "ringbuf", "id": "r"})
    monitor.create(host, stream)
    stream.feed(b"info name\ninfo kvm\n")
    stream.read_ring(1000)
    stream.feed(b"info history\n")
    assert b"0: 'info name'\r\n1: 'info kvm'\r\n2: 'info history'\r\n" in stream.read_ring(1000)


def mux(host: MonitorHost) -> tuple[Any, Any]:
    """What -nographic makes: a monitor and a console on one stream."""
    host.chardevs.clear()
    base: Any = create(host, {"backend": "ringbuf", "id": "c", "mux": "on"})
    monitor.create(host, base)
    return base, host.chardevs["c-base"]


def test_monitor_behind_a_console(host: MonitorHost) -> None:
    shared, base = mux(host)
    console = shared.attach("serial0")
    typed = bytearray()
    console.on_input = typed.extend
    host.turn()
    assert base.read_ring(1000) == b""          # the console has the focus: no banner
    console.write(b"login: ")
    base.feed(b"root\x01c")
    host.turn()
    assert typed == b"root"
    assert base.read_ring(1000) == b"login: " + BANNER + PROMPT
    base.feed(b"info kvm\n")
    host.turn()
    console.write(b"[guest]")                   # both are shown
    assert base.read_ring(1000) == b"info kvm\r\nkvm support: disabled\r\n" + PROMPT + b"[guest]"
    base.feed(b"half\x01cx")
    host.turn()
    assert typed == b"rootx"
    base.read_ring(1000)
    base.feed(b"\x01c")
    host.turn()
    assert base.read_ring(1000) == PROMPT + b"half"     # the line goes on where it was


def test_monitor_alone_on_a_multiplexer(host: MonitorHost) -> None:
    _, base = mux(host)
    host.turn()
    assert base.read_ring(1000) == BANNER + PROMPT


def test_output_while_not_in_focus_is_kept(host: MonitorHost) -> None:
    shared, base = mux(host)
    host.turn()
    shared.attach("serial0")
    base.read_ring(1000)
    host.monitors[0].print("done\n")
    assert base.read_ring(1000) == b""
    base.feed(b"\x01c")
    host.turn()
    assert base.read_ring(1000) == b"done\r\n" + PROMPT


def test_mon_short_form(host: MonitorHost) -> None:
    made: Any = from_spec(host, "mon:null", "serial0", monitor=monitor.create)
    assert made.backend == "mux"
    assert len(host.monitors) == 1
    assert set(host.chardevs) == {"serial0", "serial0-base"}


def test_a_client_that_comes_again_gets_a_fresh_prompt(host: MonitorHost) -> None:
    stream: Any = create(host, {"backend": "ringbuf", "id": "r"})
    monitor.create(host, stream)
    stream.feed(b"half a line")
    stream._event("closed")
    stream.read_ring(1000)
    stream._event("opened")
    assert stream.read_ring(1000) == BANNER + PROMPT
    stream.feed(b"info kvm\n")
    assert b"kvm support" in stream.read_ring(1000)


# ---- the line editor ---------------------------------------------------------------------------------------------------


class Screen:
    """Shows what a terminal would: one line, carriage motions, erase to end."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.history: list[str] = []
        self.rows = [""]
        self.column = 0
        names = ["info", "print", "quit", "stop", "system_reset", "system_powerdown"]
        self.editor = LineEditor(self.show, self.lines.append, self.history,
                                 lambda line: [n for n in names if n.startswith(line)])

    def show(self, text: str) -> None:
        while text:
            if text.startswith("\x1b[K"):
                self.rows[-1], text = self.rows[-1][:self.column], text[3:]
                continue
            char, text = text[0], text[1:]
            if char == "\b":
                self.column -= 1
            elif char == "\n":
                self.rows.append("")
            elif char == "\r":
                self.column = 0
            else:
                row = self.rows[-1]
                self.rows[-1] = row[:self.column] + char + row[self.column + 1:]
                self.column += 1

    def type(self, keys: bytes) -> str:
        self.editor.feed(keys)
        return self.rows[-1]


LEFT, RIGHT, UP, DOWN, HOME, END, DELETE = (
    b"\x1b[D", b"\x1b[C", b"\x1b[A", b"\x1b[B", b"\x1b[H", b"\x1bOF", b"\x1b[3~")


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        (b"stop", "stop"),
        (b"stpo\x7f\x7fop", "stop"),
        (b"sop" + LEFT * 2 + b"t", "stop"),
        (b"stopp" + b"\x08", "stop"),
        (b"xstop" + HOME + DELETE, "stop"),
        (b"top\x01s", "stop"),
        (b"sto" + HOME + END + b"p", "stop"),
        (b"to" + HOME + b"s\x05p", "stop"),
        (b"stop all of it" + LEFT * 10 + b"\x0b", "stop"),
        (b"oh stop" + LEFT * 4 + b"\x15", "stop"),
        (b"stop it\x17\x7f", "stop"),
        (b"stxop" + b"\x02\x02\x02\x04\x06", "stop"),
        (b"\x7f\x7fstop" + RIGHT + b"\x1b[99Z", "stop"),
        (b"quit\x03stop", "stop"),
    ],
)
def test_editing(keys: bytes, shown: str) -> None:
    screen = Screen()
    assert screen.type(keys) == shown
    screen.type(b"\r")
    assert screen.lines == [shown]


def test_recalling_lines() -> None:
    screen = Screen()
    screen.type(b"first\rsecond\r")
    assert screen.type(b"draft" + UP) == "second"
    assert screen.type(UP) == "first"
    assert screen.type(UP) == "first"
    assert screen.type(DOWN + DOWN) == "draft"
    assert screen.type(UP + b"!\r") == ""
    assert screen.lines == ["first", "second", "second!"]
    assert screen.history == ["first", "second", "second!"]
    screen.type(b"first\r")             # the same line again moves to the end
    assert screen.history == ["second", "second!", "first"]


def test_completion() -> None:
    screen = Screen()
    assert screen.type(b"pr\t") == "print "
    screen.type(b"\x15")
    assert screen.type(b"sy\t") == "system_"
    assert screen.type(b"\t") == "system_"
    assert "system_reset  system_powerdown" in screen.rows
    assert screen.type(b"p\t") == "system_powerdown "
    screen.type(b"\x15")
    assert screen.type(b"zz\t") == "zz"


def test_completion_of_arguments() -> None:
    from pcemu.machine.config import DeviceConfig
    from pcemu.machine.machine import Machine
    from pcemu.monitor.completion import candidates
    from pcemu.testing.fakes import FakeCore

    machine = Machine(MachineConfig(ram_size=1 << 20, devices=[DeviceConfig("isa-debug-exit", {"id": "exit0"})],
                                    chardevs=[{"backend": "ringbuf", "id": "r0"}, {"backend": "null", "id": "n0"}]),
                      core=FakeCore()).build()  # fmt: skip
    for line, expected in (
        ("info stat", ["status"]), ("help info stat", ["status"]), ("help sto", ["stop"]), ("device_del ", ["exit0"]),
        ("ringbuf_read ", ["r0"]), ("chardev-remove ", ["n0", "r0"]), ("trace-event pit_set", ["pit_set_gate"]),
        ("trace-event pit_set_gate ", ["off", "on"]), ("device_add isa-ser", ["isa-serial"]), ("x 0 ", []),
        ("qom-list /machine/periph", ["/machine/peripheral", "/machine/peripheral-anon"]),
        ("qom-get /machine/peripheral/exit0 iob", ["iobase"]), ("sendkey ctrl-alt-del", ["ctrl-alt-delete"]),
        ("netdev_add us", ["user"]), ("chardev-add nu", ["null"]), ("chardev-change r0 ringb", ["ringbuf"]),
        ("nonsense ", []), ("info nonsense ", []), ("qom-list /nope/", []),
    ):  # fmt: skip
        assert candidates(machine, line) == expected, line
    assert "stop" in candidates(machine, "")
    machine.close()
