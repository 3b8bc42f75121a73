"""The host's own TCP as the guest: a tap interface in a network namespace, cabled to -netdev user. Needs root."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pcemu.net import connect, options
from pcemu.net.tap import TapNet, _open
from pcemu.qom.object import add_object
from pcemu.testing.nethost import NetHost

pytestmark = pytest.mark.oracle
NAMESPACE = f"pcemu{os.getpid()}"

# In the namespace: COUNT connections to HOST:PORT at once. Each sends SIZE bytes, ends, and gets their SHA-256 and them back.
CLIENT = """
import hashlib, os, socket, sys, threading
host, port, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
good = []
def run():
    with socket.create_connection((host, port), 600) as sock:
        data = os.urandom(size)
        threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR))).start()
        got = bytearray()
        while piece := sock.recv(1 << 18):
            got += piece
    if got == hashlib.sha256(data).digest() + data:
        good.append(1)
threads = [threading.Thread(target=run) for _ in range(count)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(good))
"""


def serve(sock: socket.socket) -> None:
    data = bytearray()
    while piece := sock.recv(1 << 18):
        data += piece
    sock.sendall(hashlib.sha256(data).digest() + data)
    sock.close()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[int]:
    family = request.param
    try:
        listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family, backlog=128)
    except OSError:
        pytest.skip("the host has no IPv6")

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def net() -> Iterator[Any]:
    if os.geteuid() or shutil.which("ip") is None or not os.path.exists("/dev/net/tun"):
        pytest.skip("needs root, iproute2 and /dev/net/tun")
    if subprocess.run(["ip", "netns", "add", NAMESPACE], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no network namespaces here")
    libc = ctypes.CDLL(None)
    host = NetHost(real=True)
    try:
        with open("/proc/self/ns/net") as own, open(f"/var/run/netns/{NAMESPACE}") as other:
            assert libc.setns(other.fileno(), 0) == 0
            try:
                fd, name, vnet = _open("", 1, None)
            finally:
                assert libc.setns(own.fileno(), 0) == 0
        tap = TapNet(host, "tap", fd, name, vnet, "")
        made = options.create(host, [("type", "user"), ("id", "n0")])
        connect(tap, made)
        for command in (f"link set lo up|link set {name} up|addr add 10.0.2.15/24 dev {name}"
                        f"|addr add fec0::15/64 dev {name} nodad|route add default via 10.0.2.2").split("|"):  # fmt: skip
            subprocess.run(["ip", "-n", NAMESPACE, *command.split()], check=True)
        yield host
    finally:
        host.close()
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)


def run(host: NetHost, address: str, port: int, size: int, count: int) -> int:
    command = ["ip", "netns", "exec", NAMESPACE, sys.executable, "-c", CLIENT, address, str(port), str(size), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        host.until(lambda: process.poll() is not None, seconds=600)
        assert process.stdout is not None
        return int(process.stdout.read())


@pytest.mark.parametrize(("server", "address"), [(socket.AF_INET, "10.0.2.2"), (socket.AF_INET6, "fec0::2")], indirect=["server"])
def test_bulk(net: NetHost, server: int, address: str) -> None:
    assert run(net, address, server, 16 << 20, 1) == 1


@pytest.mark.parametrize("server", [socket.AF_INET], indirect=True)
def test_a_hundred_at_once(net: NetHost, server: int) -> None:
    assert run(net, "10.0.2.2", server, 100_000, 100) == 100
    user: Any = net.netdevs["n0"]
    assert user.tcp.buffered == 0
    net.until(lambda: not user.tcp.connections)


@pytest.mark.parametrize("server", [socket.AF_INET], indirect=True)
def test_bad_line(net: NetHost, server: int) -> None:
    add_object(net, {"qom-type": "filter-impair", "id": "bad", "netdev": "n0", "drop": "3", "reorder": "3", "duplicate": "2"})
    assert run(net, "10.0.2.2", server, 300_000, 3) == 3
