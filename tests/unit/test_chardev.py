"""Character devices: the model, options and short forms, and the back ends that need no peer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcemu import chardev as chardevs
from pcemu.chardev import Chardev, ChardevError, create, from_spec, parse_spec
from pcemu.chardev import base as base_module
from pcemu.chardev.base import HIGH_WATER
from pcemu.testing.loophost import LoopHost as Host


@pytest.fixture
def host() -> Iterator[Host]:
    machine = Host()
    yield machine
    machine.close()


class Slow(Chardev):
    """A back end that takes as much as it is told to."""

    def __init__(self, machine: Any) -> None:
        super().__init__(machine, "slow")
        self.taken = bytearray()
        self.room = 0

    def _send(self, data: bytes) -> int:
        count = min(self.room, len(data))
        self.room -= count
        self.taken += data[:count]
        return count


# ---- the model -------------------------------------------------------------------------------------------------------


def test_output_is_handed_over_once_a_slice(host: Host) -> None:
    device = Slow(host)
    device.room = 1000
    calls = []
    send = device._send
    device._send = lambda data: (calls.append(len(data)), send(data))[1]
    for byte in b"hello":
        assert device.write_byte(byte)
    device.write(b" world")
    assert calls == []
    host.turn()
    assert calls == [11]
    assert device.taken == b"hello world"


def test_much_output_does_not_wait_for_the_slice_to_end(host: Host) -> None:
    device = Slow(host)
    device.room = 1 << 20
    for _ in range(base_module.FLUSH_SIZE):
        device.write_byte(65)
    assert len(device.taken) >= base_module.FLUSH_SIZE - 1


def test_without_a_loop_output_is_handed_over_at_once() -> None:
    device = Slow(object())
    device.room = 10
    device.write(b"now")
    assert device.taken == b"now"


def test_back_pressure(host: Host) -> None:
    device = Slow(host)
    told = []
    device.on_writable = lambda: told.append(len(device._out))
    ready = True
    written = 0
    while ready:
        ready = device.write_byte(written & 0xFF)
        written += 1
    assert written == HIGH_WATER
    assert device.blocked
    device.room = 1000
    device.flush()
    assert device.blocked and not told
    device.room = 1 << 20
    device.flush()
    assert not device.blocked
    assert len(told) == 1
    assert device.taken == bytes(range(256)) * (HIGH_WATER // 256)


def test_a_guest_that_writes_on_loses_output_with_a_warning(host: Host, monkeypatch: pytest.MonkeyPatch,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(base_module, "MOST_KEPT", HIGH_WATER + 100)
    device = Slow(host)
    device.write(bytes(HIGH_WATER))
    host.turn()
    for _ in range(300):
        device.write_byte(1)
    assert len(device._out) <= HIGH_WATER + 100
    assert capsys.readouterr().err.count("output lost") == 1


def test_input_is_delivered_as_far_as_there_is_room(host: Host) -> None:
    device = Slow(host)
    got: list[bytes] = []
    room = [2]
    device.can_receive = lambda: room[0]
    device.on_input = got.append
    device._receive(b"abcdef")
    assert got == [b"ab"]
    room[0] = 3
    device.accept_input()
    assert got == [b"ab"]               # not from inside the device's own register access
    host.turn(1)
    assert got == [b"ab", b"cde"]
    host.turn()
    assert b"".join(got) == b"abcdef"


def test_input_before_a_front_end_is_kept(host: Host) -> None:
    device = Slow(host)
    device._receive(b"early")
    got: list[bytes] = []
    device.on_input = got.append
    host.turn()
    assert got == [b"early"]


def test_only_one_front_end(host: Host) -> None:
    device = create(host, {"backend": "null", "id": "n"})
    device.attach("serial0")
    with pytest.raises(ChardevError, match="in use by serial0"):
        device.attach("serial1")
    device.detach()
    device.attach("serial1")


def test_logfile_gets_a_copy(host: Host, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"old ")
    device = create(host, {"backend": "null", "id": "n", "logfile": str(log), "logappend": "on"})
    device.write(b"text")
    device.write_byte(33)
    device.close()
    assert log.read_bytes() == b"old text!"


# ---- file, pipe, ringbuf, null ------------------------------------------------------------------------------------------


def test_file_is_truncated_and_complete(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_bytes(b"old")
    device = create(host, {"backend": "file", "id": "f", "path": str(path)})
    device.write(b"x" * 100_000)
    for byte in b"end":
        device.write_byte(byte)
    device.close()
    assert path.read_bytes() == b"x" * 100_000 + b"end"
    assert device.describe() == "file"


def test_file_append(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_bytes(b"old")
    create(host, {"backend": "file", "id": "f", "path": str(path), "append": True}).write(b"new")
    host.turn()
    assert path.read_bytes() == b"oldnew"


def test_file_that_cannot_be_opened(host: Host, tmp_path: Path) -> None:
    with pytest.raises(ChardevError, match=r"'f'.*nowhere/x.*No such file"):
        create(host, {"backend": "file", "id": "f", "path": str(tmp_path / "nowhere/x")})


def test_full_disk_is_said_once(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    device = create(host, {"backend": "file", "id": "f", "path": "/dev/full"})
    device.write(b"lost")
    host.turn()
    device.write(b"lost")
    host.turn()
    assert capsys.readouterr().err == "pcemu: warning: chardev 'f': output lost: No space left on device\n"


def test_pipe_pair(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(f"{path}.in")
    os.mkfifo(f"{path}.out")
    device = create(host, {"backend": "pipe", "id": "p", "path": str(path)})
    got: list[bytes] = []
    device.on_input = got.append
    near = os.open(f"{path}.out", os.O_RDONLY | os.O_NONBLOCK)
    far = os.open(f"{path}.in", os.O_WRONLY)
    device.write(b"out")
    host.turn()
    assert os.read(near, 10) == b"out"
    os.write(far, b"in")
    host.until(lambda: got)
    assert got == [b"in"]
    os.close(near)
    os.close(far)


def test_a_pipe_that_nobody_reads_blocks_and_recovers(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    device = create(host, {"backend": "pipe", "id": "p", "path": str(path)})
    far = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    data = bytes(range(256)) * 2048     # 512 KiB: more than the pipe and the queue hold without blocking
    device.write(data)
    host.turn()
    device.write_byte(0)
    assert device.blocked
    got = bytearray()

    def read() -> bool:
        with contextlib.suppress(BlockingIOError):
            got.extend(os.read(far, 1 << 16))
        return len(got) >= len(data) + 1

    host.until(read)
    assert got == data + b"\0"
    assert not device.blocked
    os.close(far)


def test_ringbuf(host: Host) -> None:
    device: Any = create(host, {"backend": "ringbuf", "id": "r", "size": "8"})
    device.write(b"0123456789")
    assert device.read_ring(3) == b"234"
    assert device.read_ring(100) == b"56789"
    got: list[bytes] = []
    device.on_input = got.append
    device.feed(b"typed")
    assert got == [b"typed"]
    with pytest.raises(ChardevError, match="power of two"):
        create(host, {"backend": "ringbuf", "id": "q", "size": "100"})


# ---- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        ({"id": "x"}, "backend"),
        ({"backend": "null"}, "id"),
        ({"backend": "fil", "id": "x"}, "did you mean 'file'"),
        ({"backend": "udp", "id": "x"}, "not supported yet"),
        ({"backend": "file", "id": "x"}, "no path given"),
        ({"backend": "null", "id": "x", "pth": "y"}, "'pth' is not an option"),
        ({"backend": "stdio", "id": "x", "signal": "maybe"}, "signal expects 'on' or 'off'"),
        ({"backend": "socket", "id": "x", "server": "on"}, "one of path="),
        ({"backend": "socket", "id": "x", "path": "/a", "port": "1"}, "one of path="),
        ({"backend": "socket", "id": "x", "path": "/a", "server": "on", "reconnect": "1"}, "reconnect"),
        ({"backend": "ringbuf", "id": "x", "size": "big"}, "size expects a number"),
    ],
)
def test_wrong_options(host: Host, opts: dict[str, str], message: str) -> None:
    with pytest.raises(ChardevError, match=message):
        create(host, opts)
    assert host.chardevs == {}


def test_ids_are_unique(host: Host) -> None:
    create(host, {"backend": "null", "id": "c"})
    with pytest.raises(ChardevError, match="Duplicate ID 'c'"):
        create(host, {"backend": "null", "id": "c"})


def test_virtual_console_warns_and_swallows(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    device = create(host, {"backend": "vc", "id": "v", "cols": "80"})
    device.write(b"x")
    assert "virtual console" in capsys.readouterr().err


def test_help_lists_backends() -> None:
    text = chardevs.help_text()
    for name in ("null", "stdio", "file", "pty", "socket", "pipe", "ringbuf", "mux"):
        assert f"  {name}\n" in text


@pytest.mark.parametrize(
    ("spec", "opts"),
    [
        ("stdio", {"backend": "stdio"}),
        ("stdio,signal=off", {"backend": "stdio", "signal": "off"}),
        ("null", {"backend": "null"}),
        ("pty", {"backend": "pty"}),
        ("vc", {"backend": "vc"}),
        ("vc:80Cx24C", {"backend": "vc"}),
        ("file:/tmp/a b", {"backend": "file", "path": "/tmp/a b"}),
        ("file:a,,b,append=on", {"backend": "file", "path": "a,b", "append": "on"}),
        ("pipe:/tmp/p", {"backend": "pipe", "path": "/tmp/p"}),
        ("unix:/run/s,server,nowait", {"backend": "socket", "path": "/run/s", "server": "on", "nowait": "on"}),
        ("unix:/run/s,server=on,wait=off", {"backend": "socket", "path": "/run/s", "server": "on", "wait": "off"}),
        ("tcp:localhost:4444", {"backend": "socket", "host": "localhost", "port": "4444"}),
        ("tcp::4444,server", {"backend": "socket", "host": "", "port": "4444", "server": "on"}),
        ("tcp:[::1]:4444", {"backend": "socket", "host": "::1", "port": "4444"}),
        ("telnet:h:23,server,nowait",
         {"backend": "socket", "host": "h", "port": "23", "server": "on", "nowait": "on", "telnet": "on"}),
    ],
)
def test_short_forms(spec: str, opts: dict[str, str]) -> None:
    assert parse_spec(spec) == opts


@pytest.mark.parametrize(("spec", "message"), [("stdioo", "did you mean 'stdio'"), ("fil:x", "did you mean 'file'"),
                                               ("/dev/ttyS0", "not supported yet"), ("udp:h:1", "not supported yet"),
                                               ("", "not a valid char device")])
def test_wrong_short_forms(spec: str, message: str) -> None:
    with pytest.raises(ChardevError, match=message):
        parse_spec(spec)


def test_from_spec(host: Host) -> None:
    assert from_spec(host, "none", "serial0") is None
    made = from_spec(host, "null", "serial0")
    assert host.chardevs == {"serial0": made}
    assert from_spec(host, "chardev:serial0", "serial1") is made
    with pytest.raises(ChardevError, match=r"serial1.*did you mean 'serial0'"):
        from_spec(host, "chardev:serial1", "serial1")
    with pytest.raises(ChardevError, match="-serial mon:null: no monitor"):
        from_spec(host, "mon:null", "serial2")
