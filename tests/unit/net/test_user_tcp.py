"""TCP of -netdev user: a guest made by hand on one side, sockets of the host on the other."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from pcemu.net import CSUM, GSO_TCPV4, NEEDS_CSUM, TSO4, Offload
from pcemu.net.user import connection as connection_module
from pcemu.testing.nethost import PATIENCE, NetHost

from .guest import ACK, FIN, GUEST, HOST, PSH, RST, SYN, TcpPeer, pseudo, tcp, user

MS = 1_000_000
SCALED = b"\2\4\5\xb4\1\3\3\7\4\2\1\1"  # MSS 1460, window scale 7, SACK permitted


class Server:
    """A listening socket, and the connection that came."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sock: socket.socket | None = None

    def accept(self) -> socket.socket:
        self.listener.settimeout(PATIENCE)
        self.sock = self.listener.accept()[0]
        self.sock.settimeout(PATIENCE)
        return self.sock

    def close(self) -> None:
        self.listener.close()
        if self.sock is not None:
            self.sock.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def opened(host: NetHost, server: Server, takes: int = 0, **given: Any) -> tuple[TcpPeer, socket.socket, Any]:
    """A guest's connection to the server: its two ends, and the network."""
    card, net = user(host, takes)
    peer = TcpPeer(card, server.port, **given)
    answer = peer.connect()
    assert answer.flags == SYN | ACK and answer.ack == 1001
    return peer, server.accept(), net


def hear(host: NetHost, sock: socket.socket, count: int) -> bytes:
    """So many bytes from a socket of the host's, in whatever pieces they come; the network goes on meanwhile."""
    got = bytearray()

    def enough() -> bool:
        with contextlib.suppress(BlockingIOError):
            got.extend(sock.recv(count - len(got)))
        return len(got) >= count

    sock.settimeout(0)
    host.until(enough)
    sock.settimeout(PATIENCE)
    return bytes(got)


def test_handshake_and_data_both_ways(host: NetHost, server: Server) -> None:
    peer, sock, net = opened(host, server)
    peer.send(b"hello")
    assert sock.recv(100) == b"hello"
    (ack,) = peer.handle()
    assert ack.flags == ACK and ack.ack == 1006 and not ack.data
    sock.send(b"world")
    assert peer.read(5) == b"world"
    assert [row[0] for row in net.tcp.describe()] == ["TCP[ESTABLISHED]"]


def test_options_of_the_handshake(host: NetHost, server: Server) -> None:
    card, _ = user(host)
    answer = TcpPeer(card, server.port, options=SCALED).connect()
    assert answer.options == b"\2\4\5\xb4\1\3\3\7\1\1\4\2"
    answer = TcpPeer(card, server.port, 40001, options=b"\2\4\2\x18").connect()
    assert answer.options == b"\2\4\5\xb4"
    answer = TcpPeer(card, server.port, 40002, options=b"\5\0\x80\xff").connect()  # nonsense
    assert answer.flags == SYN | ACK


def test_refused(host: NetHost) -> None:
    card, net = user(host)
    with socket.socket() as closed:  # nobody else gets the port, and nobody listens on it
        closed.bind(("127.0.0.1", 0))
        answer = TcpPeer(card, closed.getsockname()[1]).connect()
    assert answer.flags == RST | ACK and answer.ack == 1001 and not net.tcp.connections


def test_a_network_nobody_reaches(host: NetHost) -> None:
    card, _ = user(host)
    card.send(tcp(1, 2, 3, 0, SYN, target=bytes((240, 0, 0, 1))))
    (answer,) = card.take()
    assert answer.protocol == 1 and answer.body[:2] == b"\3\1"


def test_segments_that_belong_to_nothing(host: NetHost) -> None:
    card, _ = user(host)
    card.send(tcp(1, 2, 100, 555, ACK, b"abc"))
    (reset,) = card.take()
    assert (reset.flags, reset.seq, reset.sport, reset.dport) == (RST, 555, 2, 1)
    card.send(tcp(1, 2, 100, 0, FIN, b"abc"))
    (reset,) = card.take()
    assert (reset.flags, reset.ack) == (RST | ACK, 104)
    card.send(tcp(1, 2, 100, 0, RST))
    card.send(tcp(1, 2, 100, 0, RST | ACK))
    assert card.take() == []


def test_guest_closes_first(host: NetHost, server: Server) -> None:
    peer, sock, net = opened(host, server)
    peer.out(ACK | FIN | PSH, b"bye")
    peer.seq += 4
    assert sock.recv(100) == b"bye" and sock.recv(100) == b""
    (ack,) = peer.handle()
    assert ack.ack == peer.seq
    sock.send(b"but I still have something")  # half-closed
    assert peer.read(26) == b"but I still have something"
    sock.close()
    peer.read(1000)
    assert peer.fin
    host.turn()
    host.advance(connection_module.TIME_WAIT_NS)
    assert not net.tcp.connections and not net._handlers


def test_host_closes_first(host: NetHost, server: Server) -> None:
    peer, sock, net = opened(host, server)
    sock.send(b"x")
    sock.shutdown(socket.SHUT_WR)
    assert peer.read(5) == b"x" and peer.fin
    peer.send(b"answer")
    assert sock.recv(100) == b"answer"
    peer.handle()
    peer.out(ACK | FIN)
    assert peer.handle()[-1].ack == peer.seq + 1
    assert sock.recv(100) == b""
    peer.out(ACK | FIN)  # the acknowledgement was lost
    assert peer.handle()[-1].ack == peer.seq + 1
    assert [row[0] for row in net.tcp.describe()] == ["TCP[TIME_WAIT]"]
    again = TcpPeer(peer.guest, server.port, peer.sport)
    again.seq = 5_000_000
    assert again.connect().flags == SYN | ACK  # the port is used again


def test_resets(host: NetHost, server: Server) -> None:
    peer, sock, net = opened(host, server)
    peer.out(RST, seq=peer.seq + 100)  # somewhere in the window: who knows who sent it (RFC 5961)
    assert peer.handle()[0].flags == ACK and net.tcp.connections
    peer.out(RST, seq=peer.seq - 100)
    assert peer.handle() == [] and net.tcp.connections
    peer.out(RST)
    assert not net.tcp.connections and peer.handle() == []
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


def test_host_resets(host: NetHost, server: Server) -> None:
    peer, sock, net = opened(host, server)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    peer.read(1)
    assert peer.reset and not net.tcp.connections


def test_syn_of_an_open_connection_is_challenged(host: NetHost, server: Server) -> None:
    peer, _, net = opened(host, server)
    peer.out(SYN, seq=77)
    (answer,) = peer.handle()
    assert answer.flags == ACK and answer.ack == peer.seq and net.tcp.connections


def test_repeated_syn_gets_its_answer_again(host: NetHost, server: Server) -> None:
    card, _ = user(host)
    peer = TcpPeer(card, server.port)
    peer.out(SYN)
    host.until(lambda: card.packets)
    (first,) = card.take()
    peer.out(SYN)
    (second,) = card.take()
    assert (first.seq, second.seq) == (second.seq, first.seq) and second.flags == SYN | ACK
    host.advance(1000 * MS)
    assert [p.flags for p in card.take()] == [SYN | ACK]


# -- windows --------------------------------------------------------------------------------------------------


def test_a_slow_host_closes_the_window(host: NetHost, server: Server) -> None:
    peer, sock, net = opened(host, server, options=SCALED)
    edge = peer.seq + 65535
    total, digest = 0, hashlib.sha256()
    while True:
        host.advance(MS)
        for packet in peer.handle():
            edge = packet.ack + (packet.window << 7)
        room = edge - peer.seq
        if room < 1000:
            break
        data = os.urandom(min(60000, room))
        peer.send(data)
        digest.update(data)
        total += len(data)
    (entry,) = net.tcp.connections.values()
    assert 0 < entry.kept <= net.tcp.window() and total > entry.kept
    peer.out(ACK, b"x" * 1000)  # beyond it
    taken = peer.handle()[-1].ack - peer.seq
    assert taken <= room + 127  # the edge was not a multiple of the window's unit
    peer.seq += taken
    digest.update(b"x" * taken)
    total += taken
    assert hashlib.sha256(hear(host, sock, total)).digest() == digest.digest()
    host.turn()
    assert peer.handle()[-1].window << 7 > 500_000  # it was told that there is room again


def test_the_guests_window_is_kept(host: NetHost, server: Server) -> None:
    peer, sock, _ = opened(host, server, window=3000)
    sock.sendall(bytes(range(250)) * 100)
    host.until(lambda: sum(len(p.data) for p in peer.guest.packets) >= 3000)
    assert sum(len(p.data) for p in peer.handle(acknowledge=False)) == 3000
    peer.window = 0
    peer.out(ACK)
    host.turn(5)
    assert peer.handle() == []
    for wait in (200, 400, 800):  # it asks from time to time
        host.advance(wait * MS + MS)
        (probe,) = peer.handle()
        assert not probe.data and probe.seq == (peer.ack - 1) & 0xFFFFFFFF
        peer.out(ACK)
    peer.window = 60000
    peer.out(ACK)
    assert peer.read(25000) == bytes(range(250)) * 100


def test_silly_window_is_not_used(host: NetHost, server: Server) -> None:
    peer, sock, _ = opened(host, server, window=4000)
    sock.sendall(bytes(4010))
    peer.read(4010)
    peer.window = 5
    peer.handle(acknowledge=False)
    peer.out(ACK)
    sock.sendall(bytes(500))
    host.turn(5)
    assert peer.handle(acknowledge=False) == []


def test_window_of_segments_that_come_late(host: NetHost, server: Server) -> None:
    """An old acknowledgement does not bring an old window back."""
    peer, _, net = opened(host, server)
    old = peer.seq
    peer.send(b"abc")
    peer.window = 100
    peer.out(ACK)
    (entry,) = net.tcp.connections.values()
    assert entry.snd_edge - entry.snd_una == 100
    peer.window = 60000
    peer.out(ACK, seq=old)
    assert entry.snd_edge - entry.snd_una == 100


# -- order ----------------------------------------------------------------------------------------------------


def test_out_of_order(host: NetHost, server: Server) -> None:
    peer, sock, net = opened(host, server, options=SCALED)
    base = peer.seq
    data = bytes(range(256)) * 4
    peer.out(ACK, data[600:1000], seq=base + 600)
    (ack,) = peer.handle()
    assert ack.ack == base and ack.options == b"\1\1\5\x0a" + struct.pack(">II", base + 600, base + 1000)
    peer.out(ACK, data[200:400], seq=base + 200)
    (ack,) = peer.handle()
    assert ack.options[2:4] == b"\5\x12" and ack.options[4:12] == struct.pack(">II", base + 200, base + 400)
    peer.out(ACK, data[100:300], seq=base + 100)  # overlaps
    peer.out(ACK | FIN, data[1000:], seq=base + 1000)
    peer.out(ACK, data[300:700], seq=base + 300)
    peer.handle()
    peer.out(ACK, data[:150], seq=base)
    assert peer.handle()[-1].ack == base + 1024 + 1
    assert hear(host, sock, len(data)) == data and sock.recv(1) == b""
    assert net.tcp.buffered == 0


def test_old_and_partly_old_segments(host: NetHost, server: Server) -> None:
    peer, sock, _ = opened(host, server)
    peer.send(b"abcdef")
    peer.handle()
    peer.out(ACK, b"abcdef", seq=peer.seq - 6)
    assert peer.handle()[0].ack == peer.seq
    peer.out(ACK, b"defghi", seq=peer.seq - 3)
    assert hear(host, sock, 9) == b"abcdefghi"
    peer.out(ACK, seq=peer.seq - 10)  # keep-alive
    assert peer.handle()[-1].ack == peer.seq + 3


def test_out_of_order_is_limited(host: NetHost, server: Server) -> None:
    peer, _, net = opened(host, server, options=SCALED)
    for at in range(3000):
        peer.out(ACK, b"x", seq=peer.seq + 2 * at + 2)
    (entry,) = net.tcp.connections.values()
    assert len(entry.early) == connection_module.MOST_EARLY


# -- losses ---------------------------------------------------------------------------------------------------


def test_retransmission_by_time(host: NetHost, server: Server) -> None:
    peer, sock, _net = opened(host, server)
    sock.send(b"hello")
    host.until(lambda: peer.guest.packets)
    (first,) = peer.guest.take()
    times = []
    for _ in range(5):
        start = host.clock.now()
        while not peer.guest.packets:
            host.advance(10 * MS)
        (again,) = peer.guest.take()
        assert (again.seq, again.data) == (first.seq, b"hello")
        times.append((host.clock.now() - start) // MS)
    assert times == [200, 400, 800, 1600, 3200]
    peer.ack += 5
    peer.out(ACK)
    host.advance(100_000 * MS)
    assert peer.guest.take() == []
    sock.send(b"more")
    host.until(lambda: peer.guest.packets)
    peer.guest.take()
    host.advance(205 * MS)
    assert len(peer.guest.take()) == 1  # the time-out is short again


def test_guest_that_is_gone(host: NetHost, server: Server) -> None:
    peer, sock, net = opened(host, server)
    sock.send(b"hello")
    host.until(lambda: peer.guest.packets)
    peer.guest.take()
    for _ in range(100):
        host.advance(60_000 * MS)
    assert not net.tcp.connections
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


@pytest.mark.parametrize("sack", [False, True])
def test_fast_retransmission(host: NetHost, server: Server, sack: bool) -> None:
    """Two of many segments are lost: both come again without waiting for a timer."""
    options = SCALED if sack else SCALED[:8]
    peer, sock, net = opened(host, server, options=options)
    data = os.urandom(30 * 500)
    segments = []
    for at in range(0, len(data), 500):
        sock.send(data[at : at + 500])
        host.until(lambda: peer.guest.packets)
        segments += peer.guest.take()
    lost = {3, 7}
    have: set[int] = set()

    def acknowledge() -> None:
        while any(s.seq == peer.ack and s.seq in have for s in segments):
            peer.ack += next(len(s.data) for s in segments if s.seq == peer.ack)
        blocks = sorted(s for s in have if s >= peer.ack)
        option = b""
        if sack and blocks:
            first, end = blocks[0], blocks[0]
            for block in blocks:
                if block == end:
                    end += 500
            option = b"\1\1\5\x0a" + struct.pack(">II", first, end)
        peer.out(ACK, options=option, window=1000)

    for index, segment in enumerate(segments):
        if index not in lost:
            have.add(segment.seq)
            acknowledge()
    again: list[int] = []
    for _ in range(10):
        packets = peer.guest.take()
        if not packets:
            break
        for packet in packets:
            again.append((packet.seq - segments[0].seq) // 500)
            have.add(packet.seq)
            acknowledge()
    assert again == [3, 7] and host.clock.now() == 0
    (entry,) = net.tcp.connections.values()
    assert entry.recover is None and not entry.sent


@pytest.mark.parametrize("seed", range(4))
def test_a_bad_line(host: NetHost, server: Server, seed: int) -> None:
    """A fifth of all frames is lost, both ways; everything arrives."""
    rng = random.Random(seed)
    peer, sock, _ = opened(host, server)
    peer.guest.wish = lambda packet: rng.random() > 0.2
    sent = os.urandom(20000)
    sock.sendall(sent)
    sock.shutdown(socket.SHUT_WR)
    mine = rng.randbytes(5000)
    base, heard = peer.seq, bytearray()
    acked = 0
    for _ in range(3000):
        for packet in peer.handle(acknowledge=False):
            acked = max(acked, ((packet.ack - base + 2**31) & 0xFFFFFFFF) - 2**31)
        if len(heard) == len(mine) and peer.fin and acked == len(mine):
            break
        if rng.random() > 0.2:
            peer.seq = base + acked
            piece = mine[acked : acked + 700]
            peer.out(ACK, piece)
        host.advance(20 * MS)
        sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            heard += sock.recv(1 << 16)
    assert bytes(peer.data) == sent and peer.fin and bytes(heard) == mine


# -- offload --------------------------------------------------------------------------------------------------


def test_large_segments_to_a_guest_that_takes_them(host: NetHost, server: Server) -> None:
    peer, sock, _net = opened(host, server, takes=CSUM | TSO4, options=SCALED)
    peer.window = 60000
    peer.out(ACK)
    data = os.urandom(500_000)
    sock.setblocking(False)
    sent = 0
    large = 0
    while len(peer.data) < len(data):
        if sent < len(data):
            with contextlib.suppress(BlockingIOError):
                sent += sock.send(data[sent:])
        for packet in peer.handle():
            if len(packet.data) > 1460:
                assert packet.offload == Offload(NEEDS_CSUM, GSO_TCPV4, 54, 1460, 34, 16)
                large += 1
        host.turn(1)
    assert bytes(peer.data) == data and large > 5


def test_large_segments_are_cut_for_one_that_does_not(host: NetHost, server: Server) -> None:
    peer, sock, _ = opened(host, server, options=SCALED)
    data = os.urandom(60_000)
    sock.sendall(data)
    host.until(lambda: sum(len(p.data) for p in peer.guest.packets) >= len(data))
    packets = peer.handle()
    assert max(len(p.data) for p in packets) == 1460 and bytes(peer.data) == data


def test_large_segments_of_the_guest(host: NetHost, server: Server) -> None:
    peer, sock, _ = opened(host, server)
    data = os.urandom(50_000)
    frame = bytearray(tcp(peer.sport, peer.port, peer.seq, peer.ack, ACK, data))
    frame[50:52] = struct.pack(">H", sum(struct.unpack(">6H", pseudo(GUEST, HOST, 6, len(frame) - 34))) % 0xFFFF)
    peer.guest.send(bytes(frame), Offload(NEEDS_CSUM, GSO_TCPV4, 54, 1448, 34, 16))
    assert hear(host, sock, len(data)) == data and peer.handle()[-1].ack == peer.seq + len(data)


def test_wrong_checksum_is_dropped(host: NetHost, server: Server) -> None:
    peer, _, _ = opened(host, server)
    frame = bytearray(tcp(peer.sport, peer.port, peer.seq, peer.ack, ACK, b"data"))
    frame[-1] ^= 1
    peer.guest.send(bytes(frame))
    assert peer.handle() == []


# -- forwards -------------------------------------------------------------------------------------------------


def test_host_forward(host: NetHost) -> None:
    card, net = user(host, hostfwd="tcp:127.0.0.1:0-:22")
    port = net.tcp.listeners[0][1].getsockname()[1]
    net.learn(GUEST, card.mac)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(PATIENCE)
        host.until(lambda: card.packets)
        (syn,) = card.take()
        assert (syn.flags, syn.source, syn.target, syn.dport) == (SYN, HOST, GUEST, 22) and syn.options.startswith(b"\2\4")
        peer = TcpPeer(card, syn.sport, 22)
        peer.ack = syn.seq + 1
        peer.out(SYN | ACK, options=SCALED)
        peer.seq += 1
        (ack,) = peer.handle()
        assert (ack.flags, ack.ack) == (ACK, peer.seq)
        client.sendall(b"knock")
        assert peer.read(5) == b"knock"
        peer.send(b"who is there?")
        assert client.recv(100) == b"who is there?"


def test_host_forward_to_a_closed_port(host: NetHost) -> None:
    card, net = user(host, hostfwd="tcp:127.0.0.1:0-:22")
    net.learn(GUEST, card.mac)
    with socket.create_connection(net.tcp.listeners[0][1].getsockname()) as client:
        client.settimeout(PATIENCE)
        host.until(lambda: card.packets)
        (syn,) = card.take()
        card.send(tcp(22, syn.sport, 0, syn.seq + 1, RST | ACK))
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_host_forward_without_a_guest(host: NetHost) -> None:
    card, net = user(host, hostfwd="tcp:127.0.0.1:0-:22")
    with socket.create_connection(net.tcp.listeners[0][1].getsockname()) as client:
        host.until(lambda: card.packets)
        for _ in range(200):
            host.advance(1000 * MS)
        client.settimeout(PATIENCE)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert not net.tcp.connections


def test_guest_forward_to_a_command(host: NetHost) -> None:
    card, _net = user(host, guestfwd="tcp:10.0.2.100:80-cmd:tr a-z A-Z", restrict="on")
    peer = TcpPeer(card, 80, target=bytes((10, 0, 2, 100)))
    assert peer.connect().flags == SYN | ACK
    peer.out(ACK | FIN, b"shout")
    peer.seq += 6
    assert peer.read(100) == b"SHOUT" and peer.fin
    peer = TcpPeer(card, 81, target=bytes((10, 0, 2, 100)))
    peer.out(SYN)
    assert card.take() == []  # restricted


def test_guest_forward_to_a_chardev(host: NetHost) -> None:
    card, net = user(host, guestfwd="tcp:10.0.2.100:80-chardev:c")
    assert net
    peer = TcpPeer(card, 80, target=bytes((10, 0, 2, 100)))
    assert peer.connect().flags == SYN | ACK
    ring = host.chardevs["c"]
    peer.send(b"into the ring")
    host.turn()
    assert ring.read_ring(100) == b"into the ring"
    ring.feed(b"and out")
    host.turn()
    assert peer.read(7) == b"and out"
    other = TcpPeer(card, 80, 40001, target=bytes((10, 0, 2, 100)))
    assert other.connect().flags & RST  # one at a time
    peer.out(RST)
    host.turn()
    assert not ring.owner


@pytest.fixture
def host() -> Iterator[NetHost]:
    from pcemu.chardev import create

    machine = NetHost()
    create(machine, {"backend": "ringbuf", "id": "c", "size": "4096"})
    yield machine
    machine.close()


# -- limits ---------------------------------------------------------------------------------------------------


def test_connections_are_limited(host: NetHost, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from pcemu.net.user import tcp as tcp_module

    monkeypatch.setattr(tcp_module, "MOST_CONNECTIONS", 20)
    card, _net = user(host)
    for port in range(1, 40):
        card.send(tcp(port, server.port, 1, 0, SYN))
    host.until(lambda: len(card.packets) == 39)
    packets = card.take()
    assert sum(1 for p in packets if p.flags == SYN | ACK) == 20 and sum(1 for p in packets if p.flags & RST) == 19


def test_what_is_kept_for_slow_hosts_is_limited(host: NetHost, server: Server) -> None:
    card, net = user(host)
    net.tcp.most_buffered = 300_000
    peers = [TcpPeer(card, server.port, 1000 + n, options=SCALED) for n in range(20)]
    for peer in peers:
        peer.connect()
    for _ in range(100):
        for peer in peers:
            peer.send(bytes(20000))
            host.turn(1)
            for packet in peer.handle(False):
                peer.seq = max(peer.seq - 20000, packet.ack)
    assert net.tcp.buffered <= 300_000


def test_no_files_left(host: NetHost, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    card, net = user(host)

    def no_socket(*args: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("pcemu.net.user.tcp.socket.socket", no_socket)
    card.send(tcp(1, server.port, 3, 0, SYN))
    assert card.take()[0].flags & RST and not net.tcp.connections


def test_nonsense_never_raises(host: NetHost, server: Server) -> None:
    """Random changes of real frames, and frames cut short."""
    rng = random.Random(7)
    peer, _sock, net = opened(host, server, options=SCALED)
    from .test_fuzz import only_the_host
    from .test_user_ip import LINK_LOCAL, dhcp, echo, icmp6, inet6, request

    only_the_host(net)
    models = [
        tcp(peer.sport, peer.port, peer.seq, peer.ack, ACK, b"data", options=b"\1\1\5\x0a" + bytes(8)), echo(HOST), dhcp(1),
        request("x", "blksize", "1000"), icmp6(133, bytes(4), LINK_LOCAL, inet6("ff02::2")), tcp(5, peer.port, 9, 0, SYN),
        icmp6(135, bytes(20) + b"\1\1" + bytes(6), LINK_LOCAL, inet6("ff02::1:ff00:2")),
    ]  # fmt: skip
    for number in range(6000):
        frame = bytearray(rng.choice(models))
        for _ in range(rng.randrange(4)):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        frame = frame[: rng.randrange(len(frame) + 1)] if rng.random() < 0.2 else frame
        offload = None
        if rng.random() < 0.5:  # then checksums are not looked at
            offload = Offload(1, rng.choice((0, 1, 3, 4, 0x81, 99)), rng.randrange(200), rng.randrange(3000), 34, 16)
        peer.guest.send(bytes(frame), offload)
        if number % 50 == 0:
            host.turn(1)
            peer.guest.take()
    assert not host.loop.is_closed()
