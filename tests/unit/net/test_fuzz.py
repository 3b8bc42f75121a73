"""Whatever a guest sends to -netdev user, and whatever peers do: nothing raises, and nothing is left behind."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from pcemu.net import Offload
from pcemu.testing.nethost import NetHost

from .guest import ACK, FIN, GUEST, HOST, PSH, RST, SYN, ip, tcp, udp, user
from .test_user_ip import GUEST6, HOST6, LINK_LOCAL, arp, dhcp, echo, icmp6, inet6, request

STEPS = 4000


def only_the_host(net: Any) -> None:
    """Changed addresses must not make the tests talk to strangers."""
    outside = net.outside
    net.outside = lambda target, port: outside(target, port) if target in (net.host4, net.config.host6) else None


class Fuzzer:
    """Connections whose segments are near to what they should be, other packets, and changes of both."""

    def __init__(self, host: NetHost, seed: int, root: Path) -> None:
        self.host = host
        self.rng = random.Random(seed)
        (root / "x").write_bytes(bytes(5000))
        self.card, self.net = user(host, tftp=str(root), hostfwd=["tcp:127.0.0.1:0-:22", "udp:127.0.0.1:0-:7"])
        self.card.wish = lambda packet: False
        only_the_host(self.net)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.port = self.server.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.peers: list[int] = []
        self.sockets: list[socket.socket] = []

    def begin(self) -> None:
        """A connection that is opened as it should be."""
        sport, seq = self.rng.randrange(1, 65536), self.rng.randrange(1 << 32)
        options = self.rng.choice([b"", b"\2\4\5\xb4\1\3\3\7\4\2\1\1"])
        self.card.send(tcp(sport, self.port, seq, 0, SYN, options=options))
        self.host.turn(2)
        found = self.net.tcp.connections.get((GUEST, sport, HOST, self.port))
        if found is not None:
            self.card.send(tcp(sport, self.port, seq + 1, found.snd_nxt, ACK))
            self.peers.append(sport)

    def segment(self) -> bytes:
        rng = self.rng
        if not self.peers or rng.random() < 0.02:
            self.begin()
        sport = rng.choice(self.peers or [1])
        entry = self.net.tcp.connections.get((GUEST, sport, HOST, self.port))
        if entry is None:
            self.peers = [port for port in self.peers if port != sport]
            return echo(HOST)
        seq = entry.rcv_nxt + rng.choice([0, 0, 0, 0, 1, -1, 100, -100, 1000, 70000, 1 << 31])
        una, nxt = entry.snd_una, entry.snd_nxt
        ack = rng.choice([nxt, nxt, una, nxt + 1, una - 1, rng.randrange(1 << 32)])
        flags = rng.choice([ACK, ACK, ACK, ACK | PSH, ACK | FIN, ACK | rng.randrange(256), rng.randrange(256)])
        if flags & RST and rng.random() < 0.8:
            flags &= ~RST
        if flags & FIN and rng.random() < 0.7:
            flags &= ~FIN
        left, right = ((entry.snd_una + rng.randrange(3000)) & 0xFFFFFFFF for _ in range(2))
        sack = b"\1\1\5\x0a" + left.to_bytes(4, "big") + right.to_bytes(4, "big")
        options = rng.choice([b"", b"", sack, rng.randbytes(rng.randrange(10) * 4)])
        payload = rng.randbytes(rng.choice([0, 0, 1, 100, 1460]))
        return tcp(sport, self.port, seq, ack, flags, payload, options, rng.choice([0, 1, 100, 65535]))

    def other(self) -> bytes:
        rng = self.rng
        makers: list[Any] = [
            lambda: echo(HOST), lambda: dhcp(rng.randrange(9)), lambda: arp(rng.randrange(3), GUEST, HOST),
            lambda: request("x", "blksize", str(rng.randrange(2000)), "tsize", "0"),
            lambda: udp(3000, 69, b"\0\4" + rng.randbytes(2)), lambda: icmp6(133, bytes(4), LINK_LOCAL, inet6("ff02::2")),
            lambda: icmp6(135, bytes(4) + HOST6 + b"\1\1" + bytes(6), LINK_LOCAL, inet6("ff02::1:ff00:2")),
            lambda: udp(rng.randrange(65536), self.udp.getsockname()[1], rng.randbytes(rng.randrange(100))),
            lambda: ip(17, rng.randbytes(rng.randrange(1, 1480)), ident=rng.randrange(50), fragment=rng.randrange(0x4000)),
            lambda: udp(546, 547, b"\x0b\1\2\3" + rng.randbytes(rng.randrange(40)), LINK_LOCAL, inet6("ff02::1:2")),
            lambda: ip(rng.choice((0, 43, 44, 60)), rng.randbytes(rng.randrange(8, 60)), GUEST6, HOST6),
        ]  # fmt: skip
        frame: bytes = rng.choice(makers)()
        return frame

    def step(self) -> None:
        rng = self.rng
        frame = bytearray(self.segment() if rng.random() < 0.6 else self.other())
        if rng.random() < 0.3:
            for _ in range(rng.randrange(1, 4)):
                frame[rng.randrange(len(frame))] = rng.randrange(256)
            if rng.random() < 0.3:
                frame = frame[: rng.randrange(len(frame) + 1)]
        offload = None
        if rng.random() < 0.4:  # then checksums are not looked at
            offload = Offload(1, rng.choice((0, 0, 1, 3, 4, 0x81, 99)), rng.randrange(200), rng.randrange(3000), 34, 16)
        self.card.send(bytes(frame), offload)
        if rng.random() < 0.1:
            self.outside()

    def outside(self) -> None:
        """The host's side, time, and a guest that is full now and then."""
        rng = self.rng
        self.host.turn(1)
        with contextlib.suppress(BlockingIOError):
            sock, _ = self.server.accept()
            sock.setblocking(False)
            self.sockets.append(sock)
        for sock in list(self.sockets):
            what = rng.random()
            try:
                if what < 0.3:
                    sock.send(rng.randbytes(rng.randrange(5000)))
                elif what < 0.6:
                    sock.recv(10000)
                elif what < 0.62:
                    raise ConnectionError
                elif what < 0.64:
                    sock.shutdown(socket.SHUT_WR)
            except BlockingIOError:
                continue
            except OSError:
                sock.close()
                self.sockets.remove(sock)
        if rng.random() < 0.3:
            self.host.advance(rng.randrange(10 ** rng.randrange(5, 12)))
        self.card.full = rng.random() < 0.1
        if not self.card.full:
            self.card.flush_queued()

    def run(self, steps: int) -> None:
        try:
            for _ in range(steps):
                self.step()
            assert self.net.tcp.buffered >= 0
            for entry in list(self.net.tcp.connections.values()):
                entry.drop()
            assert self.net.tcp.buffered == 0 and not self.net.tcp.connections
        finally:
            for sock in (*self.sockets, self.server, self.udp):
                sock.close()


@pytest.mark.parametrize("seed", range(2))
def test_fuzz(host: NetHost, tmp_path: Path, seed: int) -> None:
    Fuzzer(host, seed, tmp_path).run(STEPS)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 200))
def test_fuzz_long(host: NetHost, tmp_path: Path, seed: int) -> None:
    Fuzzer(host, seed, tmp_path).run(100 * STEPS)
