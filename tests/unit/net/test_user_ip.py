"""-netdev user below TCP: ARP, DHCP, DNS, ICMP, UDP, TFTP, IPv6."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from pcemu.net.user import add_forward, remove_forward, stack
from pcemu.testing.nethost import PATIENCE, NetHost

from .guest import DNS, GUEST, HOST, MAC, ROUTER_MAC, checksum, ether, ip, pseudo, read, udp, user

NOBODY, ALL = bytes(4), b"\xff" * 4
BROADCAST = b"\xff" * 6


def inet6(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


GUEST6, HOST6, DNS6 = inet6("fec0::15"), inet6("fec0::2"), inet6("fec0::3")
LINK_LOCAL, ROUTER6 = inet6("fe80::5054:ff:fe12:3456"), inet6("fe80::2")


def arp(operation: int, sender: bytes, wanted: bytes) -> bytes:
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation) + MAC + sender + bytes(6) + wanted
    return ether(0x0806, body, BROADCAST)


def echo(target: bytes, payload: bytes = b"ping", ttl: int = 64) -> bytes:
    body = struct.pack(">BBHHH", 8, 0, 0, 77, 1) + payload
    return ip(1, body[:2] + struct.pack(">H", checksum(body)) + body[4:], target=target, ttl=ttl)


@pytest.mark.parametrize("address", [HOST, DNS])
def test_arp(host: NetHost, address: bytes) -> None:
    card, _ = user(host)
    card.send(arp(1, GUEST, address))
    (answer,) = card.take()
    assert answer.frame == MAC + b"\x52\x55" + address + b"\x08\x06" + struct.pack(">HHBBH", 1, 0x0800, 6, 4, 2) + (
        b"\x52\x55" + address + address + MAC + GUEST)  # fmt: skip


@pytest.mark.parametrize("address", [GUEST, bytes((10, 0, 2, 99)), bytes((8, 8, 8, 8))])
def test_arp_for_others_is_not_answered(host: NetHost, address: bytes) -> None:
    card, _ = user(host)
    card.send(arp(1, GUEST, address))
    assert card.take() == []


@pytest.mark.parametrize("address", [HOST, DNS])
def test_ping_the_router(host: NetHost, address: bytes) -> None:
    card, _ = user(host)
    card.send(echo(address, b"abcdefgh" * 100))
    (answer,) = card.take()
    assert (answer.source, answer.target, answer.protocol) == (address, GUEST, 1)
    assert answer.body[:2] == b"\0\0" and answer.body[4:] == struct.pack(">HH", 77, 1) + b"abcdefgh" * 100
    assert answer.frame[:6] == MAC


def test_long_ping_in_fragments(host: NetHost) -> None:
    card, _ = user(host)
    payload = os.urandom(5000)
    body = struct.pack(">BBHHH", 8, 0, 0, 77, 1) + payload
    body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
    pieces = [(at, body[at : at + 1480]) for at in range(0, len(body), 1480)]
    for at, piece in [pieces[2], pieces[0], pieces[3], pieces[1]]:
        more = 0x2000 if at + 1480 < len(body) else 0
        card.send(ip(1, piece, ident=99, fragment=more | at >> 3))
    answers = card.take()
    assert [p.fragment for p in answers] == [0x2000, 0x2000 | 185, 0x2000 | 370, 555]
    assert b"".join(p.body for p in answers)[4:] == body[4:]


def test_pieces_that_never_fit_are_forgotten(host: NetHost) -> None:
    card, net = user(host)
    for ident in range(1000):
        card.send(ip(17, bytes(1480), ident=ident, fragment=0x2000))
    assert len(net._fragments.packets) <= stack.MOST_FRAGMENTED and net._fragments.bytes <= stack.FRAGMENT_BYTES
    host.advance(31 * 10**9)
    card.send(ip(17, bytes(1480), ident=5000, fragment=0x2000))
    assert len(net._fragments.packets) == 1
    for fragment in (0x2000, 0x2000 | 100, 185):  # they overlap
        card.send(ip(1, bytes(1480), ident=7, fragment=fragment))
    assert len(net._fragments.packets) == 1 and card.take() == []


def test_hop_limit(host: NetHost) -> None:
    card, _ = user(host)
    card.send(echo(bytes((192, 0, 2, 1)), ttl=1))
    (answer,) = card.take()
    assert answer.source == HOST and answer.body[:2] == b"\x0b\0" and answer.body[8 + 16 : 8 + 20] == bytes((192, 0, 2, 1))


# -- DHCP -----------------------------------------------------------------------------------------------------


def dhcp(kind: int, *options: bytes, mac: bytes = MAC, xid: int = 7, ciaddr: bytes = NOBODY, flags: int = 0) -> bytes:
    body = struct.pack(">BBBBIHH", 1, 1, 6, 0, xid, 0, flags) + ciaddr + bytes(12) + mac.ljust(16, b"\0") + bytes(192)
    body += b"\x63\x82\x53\x63" + (bytes((53, 1, kind)) if kind else b"") + b"".join(options) + b"\xff"
    frame = udp(68, 67, body, NOBODY, ALL)
    return BROADCAST + mac + frame[12:]


def answer_of(packet: Any) -> tuple[bytes, dict[int, bytes]]:
    """yiaddr and options."""
    data = packet.data
    assert (packet.sport, packet.dport) == (67, 68) and data[0] == 2 and data[236:240] == b"\x63\x82\x53\x63"
    options: dict[int, bytes] = {}
    at = 240
    while data[at] != 255:
        options[data[at]] = options.get(data[at], b"") + data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return data[16:20], options


def test_dhcp(host: NetHost) -> None:
    card, _ = user(host, hostname="box", dnssearch=["a.example", "b.example"], domainname="example", bootfile="pxe.0",
                   tftp_server_name="boot")  # fmt: skip
    card.send(dhcp(1))
    (offer,) = card.take()
    address, options = answer_of(offer)
    assert address == GUEST and options[53] == b"\x02" and offer.data[4:8] == struct.pack(">I", 7)
    assert options == {53: b"\x02", 54: HOST, 1: b"\xff\xff\xff\0", 3: HOST, 6: DNS, 51: struct.pack(">I", 86400), 12: b"box",
                       15: b"example", 66: b"boot", 67: b"pxe.0", 119: b"\1a\7example\0\1b\7example\0"}  # fmt: skip
    assert offer.data[20:24] == HOST and offer.data[108:236].rstrip(b"\0") == b"pxe.0"
    card.send(dhcp(3, b"\x32\x04" + GUEST, b"\x36\x04" + HOST))
    (ack,) = card.take()
    assert answer_of(ack)[1][53] == b"\x05" and ack.frame[:6] == MAC
    card.send(dhcp(3, b"\x32\x04" + bytes((10, 0, 2, 99))))
    (nak,) = card.take()
    assert answer_of(nak)[1][53] == b"\x06" and nak.target == ALL
    card.send(dhcp(3, b"\x32\x04" + GUEST, b"\x36\x04" + bytes((10, 0, 2, 77))))
    assert card.take() == []  # for another server


def test_dhcp_addresses_are_told_apart_and_run_out(host: NetHost) -> None:
    card, _ = user(host, net="192.168.76.0/24", dhcpstart="192.168.76.250")
    given = []
    for last in range(8):
        card.send(dhcp(1, mac=MAC[:5] + bytes((last,))))
        given += [answer_of(p)[0][3] for p in card.take()]
    assert given == [250, 251, 252, 253, 254]
    card.send(dhcp(7, mac=MAC[:5] + b"\x02"))  # released
    card.send(dhcp(1, mac=MAC[:5] + b"\x07"))
    assert [answer_of(p)[0][3] for p in card.take()] == [252]


def test_bootp(host: NetHost) -> None:
    card, _ = user(host)
    card.send(dhcp(0, flags=0x8000))
    (answer,) = card.take()
    address, options = answer_of(answer)
    assert address == GUEST and 53 not in options and answer.frame[:6] == BROADCAST


def test_restricted_dhcp_has_no_router(host: NetHost) -> None:
    card, _ = user(host, restrict="on")
    card.send(dhcp(1))
    _, options = answer_of(card.take()[0])
    assert 3 not in options and 6 not in options


# -- UDP ------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        yield sock


def test_udp_to_the_host_and_back(host: NetHost, server: socket.socket) -> None:
    card, net = user(host)
    port = server.getsockname()[1]
    card.send(udp(5000, port, b"question"))
    data, peer = server.recvfrom(100)
    assert data == b"question"
    server.sendto(b"answer", peer)
    host.until(lambda: card.packets)
    (answer,) = card.take()
    assert (answer.source, answer.sport, answer.target, answer.dport, answer.data) == (HOST, port, GUEST, 5000, b"answer")
    server.sendto(os.urandom(4000), peer)
    host.until(lambda: len(card.packets) == 3)
    whole = b"".join(p.body for p in card.take())
    assert checksum(pseudo(HOST, GUEST, 17, len(whole)) + whole) == 0
    host.advance(300 * 10**9)
    assert not net.udp.flows


def test_udp_checksum_is_looked_at(host: NetHost, server: socket.socket) -> None:
    card, net = user(host)
    frame = bytearray(udp(5000, server.getsockname()[1], b"question"))
    frame[-1] ^= 1
    card.send(bytes(frame))
    assert not net.udp.flows
    frame[40:42] = b"\0\0"  # none
    card.send(bytes(frame))
    assert server.recv(100) == b"questioo"


def test_port_unreachable(host: NetHost) -> None:
    card, _ = user(host)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())  # nobody else gets the port, and it hears only itself
        port = sock.getsockname()[1]
        card.send(udp(5000, port, b"question"))
        host.until(lambda: card.packets)
    (answer,) = card.take()
    assert (answer.protocol, answer.source, answer.body[:2]) == (1, HOST, b"\x03\x03")
    assert answer.body[8 + 12 : 8 + 20] == GUEST + HOST and answer.body[28:32] == struct.pack(">HH", 5000, port)


def test_many_ports_of_the_guest_do_not_use_up_the_hosts(host: NetHost, server: socket.socket) -> None:
    from pcemu.net.user.udp import MOST_FLOWS

    card, net = user(host)
    for port in range(1, MOST_FLOWS + 200):
        card.send(udp(port, server.getsockname()[1], b"x"))
    assert len(net.udp.flows) == MOST_FLOWS


def test_dns_goes_to_the_hosts_name_server(host: NetHost, server: socket.socket, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    conf = tmp_path / "resolv.conf"
    conf.write_text("# a comment\nsearch x\nnameserver bogus\nnameserver ::9\nnameserver 127.0.0.1\n")
    monkeypatch.setattr(stack, "RESOLV_CONF", str(conf))
    card, net = user(host)
    port = server.getsockname()[1]
    card.send(udp(5000, port, b"who?", target=DNS))
    _data, peer = server.recvfrom(100)
    server.sendto(b"me", peer)
    host.until(lambda: card.packets)
    (answer,) = card.take()
    assert (answer.source, answer.sport, answer.data) == (DNS, port, b"me")
    assert net.nameserver(6) == inet6("::9")
    conf.write_text("")
    assert net.nameserver(4) == bytes((127, 0, 0, 1))


def test_restrict(host: NetHost, server: socket.socket) -> None:
    card, net = user(host, restrict="on")
    card.send(udp(5000, server.getsockname()[1], b"question"))
    card.send(echo(bytes((127, 0, 0, 9))))
    assert not net.udp.flows and card.take() == []
    card.send(echo(HOST))
    assert len(card.take()) == 1


@pytest.mark.parametrize("target", [(127, 0, 0, 1), (0, 0, 0, 0), (224, 0, 0, 1), (255, 255, 255, 255), (10, 0, 2, 255),
                                    (10, 0, 2, 77)])  # fmt: skip
def test_where_the_guest_cannot_go(host: NetHost, target: tuple[int, ...]) -> None:
    card, net = user(host)
    card.send(udp(5000, 9, b"question", target=bytes(target)))
    assert not net.udp.flows


def test_udp_forward(host: NetHost) -> None:
    card, net = user(host, hostfwd="udp:127.0.0.1:0-:7")
    (listener,) = net.udp.listeners
    port = listener.sock.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", port))
        client.send(b"hello")
        host.until(lambda: card.packets)
        (question,) = card.take()  # who has 10.0.2.15?
        assert question.kind == 0x0806 and question.frame[38:42] == GUEST
        card.send(arp(2, GUEST, HOST))
        (packet,) = card.take()
        assert (packet.source, packet.dport, packet.data) == (HOST, 7, b"hello") and packet.frame[:6] == MAC
        card.send(udp(7, packet.sport, b"hello to you"))
        assert client.recv(100) == b"hello to you"
    assert remove_forward(net, f"udp:127.0.0.1:{port}") and not remove_forward(net, f"udp:127.0.0.1:{port}")


def test_nobody_answers_arp(host: NetHost) -> None:
    card, net = user(host, hostfwd="udp:127.0.0.1:0-:7")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(net.udp.listeners[0].sock.getsockname())
        for _ in range(100):
            client.send(b"hello")
        host.until(lambda: net._unresolved)
        host.turn(10)
    for _ in range(10):
        host.advance(10**9)
    assert len(card.take()) == stack.RESOLVE_TRIES and not net._unresolved


# -- TFTP -----------------------------------------------------------------------------------------------------


def request(name: str, *options: str) -> bytes:
    return udp(3000, 69, b"\0\1" + "\0".join([name, "octet", *options, ""]).encode())


def test_tftp(host: NetHost, tmp_path: Path) -> None:
    content = os.urandom(1500)
    (tmp_path / "pub").mkdir()
    (tmp_path / "pub" / "f").write_bytes(content)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "pub" / "out").symlink_to(tmp_path / "secret")
    card, net = user(host, tftp=tmp_path / "pub")
    got = b""
    card.send(request("f"))
    for block in range(1, 4):
        (data,) = card.take()
        assert data.data[:4] == struct.pack(">HH", 3, block) and (data.sport, data.dport) == (69, 3000)
        got += data.data[4:]
        card.send(udp(3000, 69, struct.pack(">HH", 4, block)))
    assert got == content and card.take() == [] and not net._tftp.sessions
    card.send(request("/f", "blksize", "1000", "tsize", "0", "unknown", "5"))
    assert card.take()[0].data == b"\0\6blksize\x001000\0tsize\x001500\0"
    card.send(udp(3000, 69, b"\0\4\0\0"))
    assert card.take()[0].data == b"\0\3\0\1" + content[:1000]
    card.send(udp(3000, 69, b"\0\4\0\0"))  # it was lost
    assert card.take()[0].data == b"\0\3\0\1" + content[:1000]
    for name in ("../secret", "out", "nothing", "", ".", "/etc/passwd", "x" * 400):
        card.send(request(name))
        assert card.take()[0].data[:4] == b"\0\5\0\1", name
    card.send(udp(3000, 69, b"\0\2f\0octet\0"))
    assert card.take()[0].data[:4] == b"\0\5\0\2"


def test_tftp_sessions_are_limited(host: NetHost, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(5000))
    card, net = user(host, tftp=tmp_path)
    for port in range(1000, 1100):
        card.send(udp(port, 69, b"\0\1f\0octet\0"))
    assert len(net._tftp.sessions) == 20


# -- IPv6 -----------------------------------------------------------------------------------------------------


def icmp6(kind: int, body: bytes, source: bytes = GUEST6, target: bytes = HOST6, hops: int = 255) -> bytes:
    message = bytes((kind, 0, 0, 0)) + body
    value = checksum(pseudo(source, target, 58, len(message)) + message)
    return ip(58, message[:2] + struct.pack(">H", value) + message[4:], source, target, ttl=hops)


def test_router_advertisement(host: NetHost) -> None:
    card, _ = user(host, dnssearch="a.example")
    card.send(icmp6(133, bytes(4), LINK_LOCAL, inet6("ff02::2")))
    (advert,) = card.take()
    assert (advert.source, advert.target, advert.body[0], advert.frame[:6]) == (ROUTER6, LINK_LOCAL, 134, MAC)
    assert advert.frame[14 + 7] == 255
    assert struct.unpack(">BBH", advert.body[4:8]) == (64, 0x40, 1800)
    options, at = {}, 16
    while at < len(advert.body):
        options[advert.body[at]] = advert.body[at : at + 8 * advert.body[at + 1]]
        at += 8 * advert.body[at + 1]
    assert options[1][2:] == ROUTER_MAC and options[3][2:4] == b"\x40\xc0" and options[3][16:] == inet6("fec0::")
    assert options[25][8:] == DNS6 and options[31][8:].startswith(b"\1a\7example\0") and options[5][4:] == struct.pack(">I", 1500)
    host.advance(601 * 10**9)
    (again,) = card.take()
    assert again.target == inet6("ff02::1") and again.frame[:6] == b"\x33\x33\0\0\0\1"


@pytest.mark.parametrize("address", [HOST6, DNS6, ROUTER6])
def test_neighbour_solicitation(host: NetHost, address: bytes) -> None:
    card, _ = user(host)
    group = inet6("ff02::1:ff00:0")[:13] + address[13:]
    card.send(icmp6(135, bytes(4) + address + b"\1\1" + MAC, LINK_LOCAL, group))
    (answer,) = card.take()
    assert answer.target == LINK_LOCAL and answer.body[0] == 136 and answer.body[4:8] == b"\xe0\0\0\0"
    assert answer.body[8:] == address + b"\2\1" + ROUTER_MAC
    card.send(icmp6(135, bytes(4) + address, bytes(16), group))  # a guest that would like to have it
    assert card.take()[0].target == inet6("ff02::1")
    card.send(icmp6(135, bytes(4) + address, LINK_LOCAL, group, hops=254))
    card.send(icmp6(135, bytes(4) + GUEST6, LINK_LOCAL, group))
    assert card.take() == []


def test_ping6(host: NetHost) -> None:
    card, _ = user(host)
    card.send(icmp6(128, b"\0\1\0\2" + b"data", hops=64))
    (answer,) = card.take()
    assert (answer.source, answer.target, answer.body[0], answer.body[4:]) == (HOST6, GUEST6, 129, b"\0\1\0\2data")


def test_dhcp6_information(host: NetHost) -> None:
    card, _ = user(host, bootfile="efi")
    client = b"\0\1\0\x0e" + bytes(14)
    card.send(udp(546, 547, b"\x0b\1\2\3" + client, LINK_LOCAL, inet6("ff02::1:2")))
    (answer,) = card.take()
    assert (answer.source, answer.sport, answer.dport) == (ROUTER6, 547, 546)
    assert answer.data.startswith(b"\7\1\2\3" + client) and struct.pack(">HH", 23, 16) + DNS6 in answer.data
    assert b"tftp://[fec0::2]/efi" in answer.data


def test_udp6(host: NetHost) -> None:
    card, _ = user(host)
    try:
        made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    except OSError:
        pytest.skip("the host has no IPv6")
    with made as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("the host has no IPv6")
        sock.settimeout(PATIENCE)
        card.send(udp(5000, sock.getsockname()[1], b"question", GUEST6, HOST6))
        _data, peer = sock.recvfrom(100)
        sock.sendto(b"answer", peer)
        host.until(lambda: card.packets)
        (answer,) = card.take()
        assert (answer.source, answer.target, answer.dport, answer.data) == (HOST6, GUEST6, 5000, b"answer")


def test_versions_can_be_off(host: NetHost) -> None:
    card, _ = user(host, ipv6="off")
    card.send(icmp6(128, b"\0\1\0\2" + b"data"))
    assert card.take() == []


def test_no_ipv4(host: NetHost) -> None:
    card, _ = user(host, ipv4="off")
    card.send(echo(HOST))
    card.send(arp(1, GUEST, HOST))
    assert card.take() == []


# -- the rest -------------------------------------------------------------------------------------------------


def test_a_full_guest_gets_it_later(host: NetHost) -> None:
    card, net = user(host)
    card.full = True
    for _ in range(5000):
        card.send(echo(HOST))
        host.clock.run_due()
    assert len(net._queue) == stack.MOST_QUEUED and net.lost == 5000 - stack.MOST_QUEUED
    card.full = False
    card.flush_queued()
    assert len(card.take()) == stack.MOST_QUEUED and not net.blocked


def test_link_down(host: NetHost) -> None:
    card, net = user(host)
    net.set_link(False)
    assert card.link_down
    card.send(echo(HOST))
    assert card.take() == []
    net.set_link(True)
    card.send(echo(HOST))
    assert len(card.take()) == 1


def test_monitor_adds_and_removes_forwards(host: NetHost) -> None:
    _, net = user(host)
    add_forward(net, "tcp:127.0.0.1:0-:22")
    ((forward, sock),) = net.tcp.listeners
    assert (forward.guest_port, forward.guest) == (22, 0x0A00020F)
    assert remove_forward(net, f"tcp:127.0.0.1:{sock.getsockname()[1]}") and not net.tcp.listeners


def test_frames_are_read_whatever_they_are(host: NetHost) -> None:
    """The helper of these tests finds wrong checksums."""
    with pytest.raises(AssertionError):
        read(udp(1, 2, b"x")[:-1] + b"y")
