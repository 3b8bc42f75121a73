"""Sockets and ptys, with the other side in the same process."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcemu.chardev import ChardevError, create, from_spec
from pcemu.chardev import telnet as telnet_module
from pcemu.testing.loophost import LoopHost as Host


@pytest.fixture
def host() -> Iterator[Host]:
    machine = Host()
    yield machine
    machine.close()


def unix_client(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.settimeout(300)
    return client


def watch(device: Any) -> tuple[list[bytes], list[str]]:
    got: list[bytes] = []
    events: list[str] = []
    device.on_event = events.append
    device.on_input = got.append
    return got, events


def test_unix_server(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "s"
    device = create(host, {"backend": "socket", "id": "s", "path": str(path), "server": "on", "wait": "off"})
    got, events = watch(device)
    assert device.describe() == f"disconnected:unix:{path},server=on"
    device.write(b"nobody hears this")
    host.turn()
    client = unix_client(path)
    host.until(lambda: events == ["opened"])
    assert device.describe() == f"unix:{path},server=on"
    device.write(b"out")
    host.turn()
    assert client.recv(100) == b"out"
    client.send(b"in")
    host.until(lambda: got == [b"in"])
    client.close()
    host.until(lambda: events == ["opened", "closed"])
    client = unix_client(path)          # the next one may come
    host.until(lambda: events[-1] == "opened")
    device.close()
    assert client.recv(10) == b""
    assert not path.exists()


def test_tcp_server_on_a_free_port_and_nowait(host: Host) -> None:
    device: Any = from_spec(host, "tcp:127.0.0.1:0,server,nowait,nodelay", "serial0")
    _, events = watch(device)
    port = int(device.describe().split(":")[3].split(",")[0])
    client = socket.create_connection(("127.0.0.1", port))
    host.until(lambda: events == ["opened"])
    assert device.describe() == (
        f"tcp:127.0.0.1:{port},server=on <-> 127.0.0.1:{client.getsockname()[1]}"
    )
    client.close()


def test_a_second_client_waits_for_the_first_to_leave(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "s"
    device = create(host, {"backend": "socket", "id": "s", "path": str(path), "server": "on", "wait": "off"})
    got, events = watch(device)
    first, second = unix_client(path), unix_client(path)
    second.send(b"second")
    host.until(lambda: events == ["opened"])
    host.turn(10)
    assert got == []
    first.close()
    host.until(lambda: got == [b"second"])
    second.close()


def test_server_waits_for_its_first_client(host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s"
    clients: list[socket.socket] = []

    def come() -> None:
        while not clients:
            try:
                clients.append(unix_client(path))
            except (FileNotFoundError, ConnectionRefusedError):
                threading.Event().wait(0.01)

    thread = threading.Thread(target=come)
    thread.start()
    device = create(host, {"backend": "socket", "id": "s", "path": str(path), "server": "on"})
    thread.join()
    assert device.connected
    assert capsys.readouterr().err == f"pcemu: waiting for connection on: disconnected:unix:{path},server=on\n"
    clients[0].close()


def test_client(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)
    device = create(host, {"backend": "socket", "id": "s", "path": str(path)})
    got, _ = watch(device)
    peer, _ = server.accept()
    device.write(b"hello")
    host.turn()
    assert peer.recv(10) == b"hello"
    peer.send(b"back")
    host.until(lambda: got == [b"back"])
    assert device.describe() == f"unix:{path}"
    peer.close()
    server.close()


def test_client_without_a_server(host: Host, tmp_path: Path) -> None:
    with pytest.raises(ChardevError, match=r"'s': unix:.*No such file"):
        create(host, {"backend": "socket", "id": "s", "path": str(tmp_path / "s")})


def test_client_that_keeps_trying(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    device: Any = create(host, {"backend": "socket", "id": "s", "path": str(path), "reconnect": "1"})
    _, events = watch(device)
    assert not device.connected
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)
    device._timer.cancel()              # what the second it waits would bring
    device._try_connect()
    assert events == ["opened"]
    peer, _ = server.accept()
    peer.close()
    host.until(lambda: events == ["opened", "closed"])
    assert device._timer is not None    # and again
    server.close()


def test_given_descriptor(host: Host) -> None:
    ours, theirs = socket.socketpair()
    device = create(host, {"backend": "socket", "id": "s", "fd": str(ours.detach())})
    watch(device)
    device.write(b"x")
    host.turn()
    assert theirs.recv(1) == b"x"
    theirs.close()


def test_a_slow_peer_gets_everything(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "s"
    device = create(host, {"backend": "socket", "id": "s", "path": str(path), "server": "on", "wait": "off"})
    _, events = watch(device)
    client = unix_client(path)
    host.until(lambda: events)
    data = os.urandom(700_000)
    device.write(data)
    host.turn()
    device.write_byte(7)
    assert device.blocked
    client.setblocking(False)
    got = bytearray()

    def read() -> bool:
        with contextlib.suppress(BlockingIOError):
            got.extend(client.recv(1 << 16))
        return len(got) == len(data) + 1

    host.until(read)
    assert got == data + b"\x07"
    assert not device.blocked
    client.close()


def test_a_peer_that_leaves_unblocks(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "s"
    device = create(host, {"backend": "socket", "id": "s", "path": str(path), "server": "on", "wait": "off"})
    _, events = watch(device)
    told: list[bool] = []
    device.on_writable = lambda: told.append(True)
    client = unix_client(path)
    host.until(lambda: events)
    device.write(bytes(1_000_000))
    host.turn()
    device.write_byte(7)
    assert device.blocked
    client.close()
    host.until(lambda: told)
    assert not device.blocked


# ---- telnet ------------------------------------------------------------------------------------------------------------


def test_telnet(host: Host) -> None:
    device: Any = from_spec(host, "telnet:127.0.0.1:0,server,nowait", "serial0")
    got, events = watch(device)
    port = int(device.describe().split(":")[3].split(",")[0])
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(300)
    host.until(lambda: events == ["opened"])
    assert client.recv(100) == telnet_module.GREETING
    device.write(b"a\xffb")
    host.turn()
    assert client.recv(100) == b"a\xff\xffb"
    client.send(b"\xff\xfd\x01x\r\0\xff\xf3\xff\xff\xff\xfa\x18\x01\xff\xf0y")
    host.until(lambda: b"".join(got) == b"x\r\xffy")
    assert events == ["opened", "break"]
    client.close()


def test_telnet_commands_may_be_split() -> None:
    stream = b"a\xff\xfd\x03b\xff\xffc\r\0d\xff\xfa\x01\x02\xff\xf0e\xff\xf3"
    whole = telnet_module.Filter().feed(stream)
    split = telnet_module.Filter()
    parts = [split.feed(bytes((byte,))) for byte in stream]
    assert whole == (b"ab\xffc\rde", 1)
    assert (b"".join(part[0] for part in parts), sum(part[1] for part in parts)) == whole


def test_telnet_cut_in_a_doubled_byte() -> None:
    coded = b"a\xff\xff\xff\xffb"
    assert [telnet_module.plain_length(coded, count) for count in range(7)] == [0, 1, 1, 2, 2, 3, 4]
    assert [telnet_module.splits_pair(coded, count) for count in range(7)] == [False, False, True, False, True, False, False]


# ---- pty ---------------------------------------------------------------------------------------------------------------


def test_pty(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    device: Any = create(host, {"backend": "pty", "id": "p"})
    got, events = watch(device)
    assert capsys.readouterr().out == f"char device redirected to {device.name} (label p)\n"
    device.write(b"nobody is there")
    host.turn()
    assert not device.connected
    slave = os.open(device.name, os.O_RDWR | os.O_NOCTTY)
    device.write(b"hello")
    host.until(lambda: events == ["opened"])
    assert device.describe() == f"pty:{device.name}"
    host.turn()
    assert select.select([slave], [], [], 300)[0]
    assert os.read(slave, 100) == b"hello"
    os.write(slave, b"\x03typed\n")     # raw: no signal, no echo, no translation
    host.until(lambda: b"".join(got) == b"\x03typed\n")
    os.close(slave)
    host.until(lambda: events == ["opened", "closed"])


def test_pty_link(host: Host, tmp_path: Path) -> None:
    link = tmp_path / "tty"
    device: Any = create(host, {"backend": "pty", "id": "p", "path": str(link)})
    assert os.readlink(link) == device.name
    device.close()
    assert not link.is_symlink()
