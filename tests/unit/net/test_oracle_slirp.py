"""The same frames to QEMU's -netdev user and to ours: the answers say the same.

QEMU runs a machine without a processor; its network is reached through `-netdev socket`.
"""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcemu.net import NicClient, connect, options
from pcemu.testing.nethost import PATIENCE, NetHost

from .guest import ACK, DNS, GUEST, HOST, MAC, SYN, Packet, read, tcp, udp, user
from .test_user_ip import LINK_LOCAL, answer_of, arp, dhcp, echo, icmp6, inet6, request

QEMU = shutil.which("qemu-system-x86_64")
pytestmark = [pytest.mark.oracle, pytest.mark.skipif(QEMU is None, reason="QEMU is not installed")]
CONFIG = {"hostname": "box", "bootfile": "pxe.0", "domainname": "example", "tftp-server-name": "boot", "ipv4": "on", "ipv6": "on"}


class Wire(NicClient):
    """Frames as they come."""

    def __init__(self, host: NetHost) -> None:
        super().__init__(host, "wire", "test", MAC)
        self.frames: list[bytes] = []

    def receive(self, frame: Any, offload: Any = None) -> bool:
        self.frames.append(bytes(frame))
        return True


class Both:
    def __init__(self, host: NetHost, qemu: Wire, root: Path) -> None:
        self.host, self.qemu = host, qemu
        self.ours, self.net = user(host, tftp=str(root), **CONFIG)

    def ask(self, frame: bytes, wanted: Any = lambda packet: True) -> tuple[Packet, Packet]:
        """The first answer of each that is `wanted`."""
        self.qemu.frames.clear()
        self.ours.packets.clear()
        self.qemu.send(frame)
        self.ours.send(frame)
        found: dict[str, Packet] = {}

        def both() -> bool:
            # QEMU asks for the guest's address before it answers; it is told what it wants to know.
            for data in self.qemu.frames:
                if data[12:14] == b"\x08\x06" and data[20:22] == b"\0\1":
                    self.qemu.send(arp(2, GUEST, HOST))
            for name, packets in (("theirs", map(read, self.qemu.frames)), ("ours", self.ours.packets)):
                for packet in packets:
                    if wanted(packet):
                        found.setdefault(name, packet)
            self.qemu.frames.clear()
            return len(found) == 2

        self.host.until(both)
        return found["theirs"], found["ours"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    root = tmp_path_factory.mktemp("tftp")
    (root / "file").write_bytes(bytes(range(256)) * 4)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        text = ",".join(f"{key}={value}" for key, value in CONFIG.items())
        assert QEMU is not None
        process = subprocess.Popen(
            [QEMU, "-M", "none", "-display", "none", "-monitor", "none", "-serial", "none",
             "-netdev", f"user,id=u,tftp={root},{text}",
             "-netdev", "hubport,id=h0,hubid=1,netdev=u", "-netdev", f"socket,id=s,connect=127.0.0.1:{port}",
             "-netdev", "hubport,id=h1,hubid=1,netdev=s"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            listener.settimeout(PATIENCE)
            sock = listener.accept()[0]
            host = NetHost()
            far = options.create(host, options.pairs(f"socket,id=far,fd={sock.detach()}"))
            wire = Wire(host)
            connect(wire, far)
            made = Both(host, wire, root)
            made.ask(arp(1, GUEST, HOST))
            yield made
            host.close()
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("address", [HOST, DNS])
def test_arp(both: Both, address: bytes) -> None:
    theirs, ours = both.ask(arp(1, GUEST, address))
    assert ours.frame == theirs.frame[: len(ours.frame)]


def test_dhcp(both: Both) -> None:
    for frame in (dhcp(1), dhcp(3, b"\x32\x04" + GUEST, b"\x36\x04" + HOST), dhcp(3, b"\x32\x04" + bytes((10, 0, 2, 77)))):
        theirs, ours = both.ask(frame, lambda packet: packet.dport == 68)
        (address, options_), (their_address, their_options) = answer_of(ours), answer_of(theirs)
        assert options_[53] == their_options[53]
        assert address == (their_address if options_[53] != b"\x06" else bytes(4))  # none in a DHCPNAK (RFC 2131, table 3)
        if options_[53] != b"\x06":
            assert options_.pop(67) == b"pxe.0"  # QEMU says it in the field in front of the options only; we in both
            assert ours.data[108:236] == theirs.data[108:236]
        else:
            their_options.pop(56)  # why not, in words
            assert options_.pop(54) == HOST  # RFC 2131 wants it; QEMU leaves it out
        assert options_ == their_options


def test_ping(both: Both) -> None:
    theirs, ours = both.ask(echo(HOST, b"some data"), lambda packet: packet.protocol == 1)
    assert (ours.source, ours.target, ours.body) == (theirs.source, theirs.target, theirs.body)


def test_tftp(both: Both) -> None:
    for frame in (request("file"), request("nothing"), request("file", "tsize", "0", "blksize", "600")):
        theirs, ours = both.ask(frame, lambda packet: packet.sport == 69)
        assert ours.data[:4] == theirs.data[:4] and ours.dport == theirs.dport
        if ours.data[1] == 3:
            assert ours.data == theirs.data
        if ours.data[1] == 6:
            assert sorted(ours.data[2:].split(b"\0")) == sorted(theirs.data[2:].split(b"\0"))


def test_closed_ports(both: Both) -> None:
    with socket.socket() as closed:  # nobody else gets the port, and nobody listens on it
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        theirs, ours = both.ask(tcp(5000, port, 77, 0, SYN), lambda packet: packet.protocol == 6)
    assert (ours.flags, ours.ack, ours.source, ours.sport) == (theirs.flags, theirs.ack, theirs.source, theirs.sport)
    theirs, ours = both.ask(tcp(5001, port, 77, 99, ACK), lambda packet: packet.protocol == 6)
    assert (ours.flags, ours.seq) == (theirs.flags, theirs.seq)


def test_open_port(both: Both) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        frame = tcp(5002, server.getsockname()[1], 77, 0, SYN, options=b"\2\4\5\xb4")
        theirs, ours = both.ask(frame, lambda packet: packet.protocol == 6)
        assert (ours.flags, ours.ack, ours.options) == (theirs.flags, theirs.ack, theirs.options)
        assert (ours.source, ours.sport, ours.target, ours.dport) == (theirs.source, theirs.sport, theirs.target, theirs.dport)


def test_udp_echo(both: Both) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(PATIENCE)
        both.qemu.send(udp(5000, server.getsockname()[1], b"hello"))
        both.ours.send(udp(5000, server.getsockname()[1], b"hello"))
        both.host.turn()
        for _ in range(2):
            data, peer = server.recvfrom(100)
            server.sendto(data[::-1], peer)
        theirs, ours = both.ask(arp(1, GUEST, HOST), lambda packet: packet.protocol == 17)
        assert (ours.source, ours.sport, ours.dport, ours.data) == (theirs.source, theirs.sport, theirs.dport, theirs.data)


def test_router_advertisement(both: Both) -> None:
    frame = icmp6(133, bytes(4), LINK_LOCAL, inet6("ff02::2"))
    theirs, ours = both.ask(frame, lambda packet: packet.protocol == 58 and packet.body[0] == 134)
    assert ours.source == theirs.source

    def prefix(packet: Packet) -> bytes:
        at = 16
        while packet.body[at] != 3:
            at += 8 * packet.body[at + 1]
        return packet.body[at : at + 4] + packet.body[at + 16 : at + 32]

    assert prefix(ours) == prefix(theirs)
    assert struct.unpack(">B", ours.body[4:5]) == struct.unpack(">B", theirs.body[4:5])


@pytest.mark.parametrize("address", ["fec0::2", "fec0::3", "fe80::2"])
def test_neighbour_solicitation(both: Both, address: str) -> None:
    target = inet6(address)
    frame = icmp6(135, bytes(4) + target + b"\1\1" + MAC, LINK_LOCAL, inet6("ff02::1:ff00:0")[:13] + target[13:])
    theirs, ours = both.ask(frame, lambda packet: packet.protocol == 58 and packet.body[0] == 136)
    assert (ours.body[8:24], ours.body[24:26]) == (theirs.body[8:24], theirs.body[24:26])
