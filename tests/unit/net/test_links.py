"""Cables, hubs, filters and the sockets between emulators."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pcemu.machine.builder import _warn_of_loose_cables
from pcemu.monitor.shell import Shell
from pcemu.net import CSUM, GSO_TCPV4, NEEDS_CSUM, TSO4, NetClient, NetError, Offload, connect, default_mac, options
from pcemu.net.hub import QUEUED
from pcemu.qom.errors import PcemuError
from pcemu.qom.object import add_object
from pcemu.testing.nethost import PATIENCE, NetHost

from .guest import ACK, HOST, MAC, Guest, ether, pseudo, tcp, udp, user
from .test_user_ip import echo

FRAME = ether(0x88B5, b"some payload that nobody knows")


class Raw(NetClient):
    """An end of a cable that keeps frames as they are."""

    kind = "nic"

    def __init__(self, host: NetHost, name: str = "card", takes: int = 0) -> None:
        super().__init__(host, name, "test", MAC)
        self.takes = takes
        self.got: list[bytes] = []
        self.offloads: list[Offload | None] = []
        self.full = False
        self.rooms = self.links = 0
        self.answer: bytes | None = None

    def receive(self, frame: Any, offload: Offload | None = None) -> bool:
        if self.full:
            return False
        self.got.append(bytes(frame))
        self.offloads.append(offload)
        if self.answer is not None:
            answer, self.answer = self.answer, None
            assert not self.send(answer)
            self.answer = answer
        return True

    def on_room(self) -> None:
        self.rooms += 1
        if self.answer is not None and self.send(self.answer):
            self.answer = None

    def link_changed(self) -> None:
        self.links += 1


def pair(host: NetHost, takes: int = 0) -> tuple[Raw, Raw]:
    one, other = Raw(host, "one"), Raw(host, "other", takes)
    connect(one, other)
    return one, other


def given(host: NetHost, text: str) -> NetClient:
    return options.create(host, options.pairs(text))


def cabled(host: NetHost, text: str, name: str = "card") -> tuple[Raw, NetClient]:
    card = Raw(host, name)
    net = given(host, text)
    connect(card, net)
    return card, net


# -- cables ---------------------------------------------------------------------------------------------------


def test_a_full_peer_is_offered_the_frame_again(host: NetHost) -> None:
    one, other = pair(host)
    other.full = True
    assert not one.send(FRAME)
    other.full = False
    other.flush_queued()
    assert one.rooms == 0  # not yet: after the current instruction
    host.turn()
    assert one.rooms == 1 and one.send(FRAME) and other.got == [FRAME]


def test_an_answer_does_not_come_inside_of_a_send(host: NetHost) -> None:
    one, other = pair(host)
    other.answer = b"answer".ljust(60)
    assert one.send(FRAME) and one.got == []
    host.turn()
    assert one.got == [b"answer".ljust(60)]


def test_segments_that_do_not_fit_at_once(host: NetHost) -> None:
    one, other = pair(host)
    frame = tcp(1, 2, 3, 4, ACK, bytes(5000))
    offload = Offload(NEEDS_CSUM, GSO_TCPV4, 54, 1000, 34, 16)
    other.receive = lambda frame, offload=None: len(other.got) < 2 and Raw.receive(other, frame, offload)
    assert one.send(frame, offload) and len(other.got) == 2  # taken: the rest is kept
    assert not one.send(FRAME)
    del other.receive
    other.flush_queued()
    host.turn()
    assert len(other.got) == 5 and one.rooms == 1 and not any(other.offloads)


def test_a_stopped_guest_gets_nothing(host: NetHost) -> None:
    card, net = user(host)
    host.guest_runs = False
    card.send(echo(HOST))
    host.turn()
    assert not card.packets
    host.guest_runs = True
    net._try_later()
    assert len(card.take()) == 1


def test_no_peer_and_link_down(host: NetHost) -> None:
    one, other = pair(host)
    one.set_link(False)
    assert one.send(FRAME) and other.got == [] and one.lost == 1 and (one.links, other.links) == (1, 1)
    one.set_link(True)
    assert one.send(FRAME) and len(other.got) == 1
    other.close()
    assert one.send(FRAME) and one.peer is None and other not in host.net_clients
    assert one.send(bytes(100_000)) and one.lost == 3


def test_addresses_of_cards(host: NetHost) -> None:
    assert default_mac(host).hex(":") == "52:54:00:12:34:56"
    Raw(host)
    assert default_mac(host).hex(":") == "52:54:00:12:34:57"


# -- hubs -----------------------------------------------------------------------------------------------------


def test_hub(host: NetHost) -> None:
    cards = [cabled(host, f"hubport,id=h{i},hubid=5", f"c{i}")[0] for i in range(3)]
    cards[0].send(FRAME)
    assert [card.got for card in cards] == [[], [FRAME], [FRAME]]
    cards[1].full = True
    for _ in range(QUEUED + 10):
        assert cards[0].send(FRAME)  # the others do not wait for it
    cards[1].full = False
    cards[1].flush_queued()
    host.turn()
    assert len(cards[1].got) == 1 + QUEUED and len(cards[2].got) == 1 + QUEUED + 10


def test_hub_takes_what_everybody_takes(host: NetHost) -> None:
    cards = [cabled(host, f"hubport,id=h{i},hubid=1", f"c{i}")[0] for i in range(3)]
    for card, takes in zip(cards, (0, CSUM | TSO4, CSUM), strict=True):
        card.takes = takes
    assert [card.peer.takes for card in cards if card.peer] == [CSUM, 0, 0]
    given(host, "user,id=u")
    given(host, "hubport,id=h9,hubid=2,netdev=u")
    card, port = cabled(host, "hubport,id=h10,hubid=2", "c9")
    assert port.takes & TSO4
    card.send(echo(HOST))
    host.turn()
    assert len(card.got) == 1


# -- filters --------------------------------------------------------------------------------------------------


def test_filter_dump(host: NetHost, tmp_path: Path) -> None:
    card, net = user(host)
    path = tmp_path / "net.pcap"
    add_object(host, {"qom-type": "filter-dump", "id": "f0", "netdev": "n0", "file": str(path), "maxlen": "100"})
    card.send(echo(HOST, bytes(300)))
    card.take()
    data = path.read_bytes()
    assert struct.unpack_from("<IHHiIII", data) == (0xA1B2C3D4, 2, 4, 0, 0, 100, 1)
    at, records = 24, []
    while at < len(data):
        seconds, _, kept, length = struct.unpack_from("<IIII", data, at)
        records.append((seconds, kept, length))
        at += 16 + kept
    assert records == [(1_700_000_000, 100, 342), (1_700_000_000, 100, 342)]
    host.objects.pop("f0").close()
    card.send(echo(HOST))
    assert path.read_bytes() == data and not net.filters


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_it(host: NetHost, tmp_path: Path) -> None:
    card, _ = user(host)
    path = tmp_path / "net.pcap"
    add_object(host, {"qom-type": "filter-dump", "id": "f0", "netdev": "n0", "file": str(path)})
    for frame in (echo(HOST), udp(5000, 69, b"\0\1x\0octet\0"), tcp(1, 2, 3, 4, ACK)):
        card.send(frame)
        card.take()
    checks = [f"-o{part}.check_checksum:TRUE" for part in ("ip", "udp", "tcp")]
    shown = subprocess.run(["tshark", "-r", str(path), "-Tfields", "-e_ws.col.Protocol", "-e_ws.malformed", "-eip.src", *checks,
                            "-eip.checksum.status", "-eudp.checksum.status", "-etcp.checksum.status"],
                           capture_output=True, text=True, check=True).stdout  # fmt: skip
    lines = [line.split("\t") for line in shown.splitlines()]
    assert [line[:3] for line in lines] == [["ICMP", "", "10.0.2.15"], ["ICMP", "", "10.0.2.2"], ["TFTP", "", "10.0.2.15"],
                                            ["TCP", "", "10.0.2.15"], ["TCP", "", "10.0.2.2"]]  # fmt: skip
    assert not any("0" in line[3:] for line in lines)


def test_filter_order_and_queue(host: NetHost, tmp_path: Path) -> None:
    card, net = user(host)

    def add(name: str, **props: str) -> Any:
        return add_object(host, {"qom-type": "filter-dump", "id": name, "netdev": "n0", "file": str(tmp_path / name), **props})

    a, b = add("a", queue="rx"), add("b", queue="tx", position="head")
    c = add("c", position="id=a", insert="before", status="off")
    assert net.filters == [b, c, a]
    card.send(echo(HOST))
    card.take()
    sizes = {name: len((tmp_path / name).read_bytes()) for name in "abc"}
    assert sizes == {"a": 24 + 16 + 46, "b": 24 + 16 + 46, "c": 24}
    with pytest.raises(PcemuError, match="position"):
        add("d", position="middle")
    with pytest.raises(PcemuError, match="netdev"):
        add_object(host, {"qom-type": "filter-dump", "id": "e", "file": "x"})
    with pytest.raises(PcemuError, match="there is no 'n1'"):
        add_object(host, {"qom-type": "filter-dump", "id": "e", "file": "x", "netdev": "n1"})
    with pytest.raises(PcemuError, match="can't open"):
        add("f", file=str(tmp_path / "no" / "dir"))


def test_impaired_line(host: NetHost) -> None:
    card, net = user(host)
    made = add_object(host, {"qom-type": "filter-impair", "id": "i", "netdev": "n0", "drop": "30", "queue": "rx", "seed": "3"})
    for _ in range(300):
        card.send(echo(HOST))
    count = len(card.take())
    assert count == 300 - made.dropped and 60 < made.dropped < 120
    made.close()
    made = add_object(host, {"qom-type": "filter-impair", "id": "j", "netdev": "n0", "delay": "1000", "duplicate": "100"})
    card.send(echo(HOST))
    assert card.take() == []
    host.advance(999_000)
    assert card.take() == []
    host.advance(1_100_000)
    assert len(card.take()) == 4  # twice there, each twice back
    made.close()
    add_object(host, {"qom-type": "filter-impair", "id": "k", "netdev": "n0", "reorder": "50", "queue": "rx"})
    for number in range(50):
        card.send(echo(HOST, number.to_bytes(4, "big")))
    host.advance(2_000_000)
    order = [int.from_bytes(p.body[8:12], "big") for p in card.take()]
    assert sorted(order) == list(range(50)) and order != list(range(50))
    with pytest.raises(PcemuError, match="from 0 to 100"):
        add_object(host, {"qom-type": "filter-impair", "id": "l", "netdev": "n0", "drop": "many"})
    assert net.filters[-1].id == "k"


# -- sockets --------------------------------------------------------------------------------------------------


# A loopback address of this process alone: a port that was free there still is when it is asked for.
OWN = f"127.{64 + (os.getpid() >> 16 & 63)}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((OWN, 0))
        port: int = sock.getsockname()[1]
        return port


def test_stream_between_two(host: NetHost) -> None:
    one, server = cabled(host, "socket,id=s,listen=127.0.0.1:0", "a")
    port = server._listener.getsockname()[1]
    assert one.send(FRAME) and server.lost == 1
    two, client = cabled(host, f"socket,id=c,connect=127.0.0.1:{port}", "b")
    host.until(lambda: server._sock is not None and client._sock is not None and not client._connecting)
    assert server.describe().startswith("socket: connection from 127.0.0.1:")
    assert client.describe() == f"socket: connect to 127.0.0.1:{port}"
    frames = [os.urandom(size) for size in (14, 60, 1514, 9000, 65000)] * 20
    for frame in frames:
        while not one.send(frame):
            host.until(lambda: one.rooms)
            one.rooms = 0
        assert two.send(FRAME)
    host.until(lambda: len(two.got) == len(frames) and len(one.got) == len(frames))
    assert two.got == frames and set(one.got) == {FRAME}
    client.close()
    host.until(lambda: not server.describe())
    three, _ = cabled(host, f"stream,id=d,addr.type=inet,addr.host=127.0.0.1,addr.port={port}", "e")
    host.until(lambda: server.describe())
    three.send(FRAME)
    host.until(lambda: len(one.got) == len(frames) + 1)


def test_stream_waits_for_a_full_card(host: NetHost, tmp_path: Path) -> None:
    path = tmp_path / "s"
    card, net = cabled(host, f"stream,id=s,server=on,addr.type=unix,addr.path={path}")
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(path))
    card.full = True
    frame = len(FRAME).to_bytes(4, "big") + FRAME
    peer.sendall(frame * 1000 + frame[:10])
    host.turn(20)
    assert card.got == [] and len(net._in) < 200_000
    card.full = False
    card.flush_queued()
    host.until(lambda: len(card.got) == 1000)
    peer.sendall(frame[10:] + (100_000).to_bytes(4, "big"))
    host.until(lambda: len(card.got) == 1001)
    peer.settimeout(PATIENCE)
    host.until(lambda: not net.describe())
    assert peer.recv(1) == b""  # a length that cannot be
    peer.close()
    net.close()
    assert not path.exists()


def test_datagrams(host: NetHost, tmp_path: Path) -> None:
    a, b = free_port(), free_port()
    one, _ = cabled(host, f"socket,id=a,udp={OWN}:{b},localaddr={OWN}:{a}", "a")
    two, _ = cabled(host, f"dgram,id=b,local.type=inet,local.host={OWN},local.port={b},remote.type=inet,"
                          f"remote.host={OWN},remote.port={a}", "b")  # fmt: skip
    one.send(FRAME)
    two.full = True
    host.turn()
    two.full = False
    two.flush_queued()
    two.send(FRAME[::-1])
    host.until(lambda: one.got and two.got)
    assert one.got == [FRAME[::-1]] and two.got == [FRAME]
    three, _ = cabled(host, f"dgram,id=c,local.type=unix,local.path={tmp_path}/c,remote.type=unix,remote.path={tmp_path}/d", "c")
    assert three.send(FRAME)  # nobody is there
    four, _ = cabled(host, f"dgram,id=d,local.type=unix,local.path={tmp_path}/d,remote.type=unix,remote.path={tmp_path}/c", "d")
    three.send(FRAME)
    host.until(lambda: four.got)


def test_multicast(host: NetHost) -> None:
    port = free_port()
    try:
        cards = [cabled(host, f"socket,id=m{i},mcast=230.0.0.1:{port},localaddr=127.0.0.1", f"c{i}")[0] for i in range(3)]
    except NetError:
        pytest.skip("the host has no multicast")
    cards[0].send(FRAME)
    host.until(lambda: all(card.got for card in cards[1:]))
    assert cards[1].got == [FRAME]


def test_passed_descriptors(host: NetHost) -> None:
    ours, theirs = socket.socketpair()
    card, net = cabled(host, f"socket,id=s,fd={theirs.detach()}")
    card.send(FRAME)
    assert ours.recv(1000) == len(FRAME).to_bytes(4, "big") + FRAME
    ours.close()
    host.until(lambda: not net.describe())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    card, _ = cabled(host, f"dgram,id=d,local.type=fd,local.str={theirs.detach()}", "d")
    ours.send(FRAME)
    host.until(lambda: card.got)
    card.send(FRAME)
    assert ours.recv(1000) == FRAME
    ours.close()


# -- the command line -----------------------------------------------------------------------------------------

ERRORS = [
    ("bogus,id=x", "Parameter 'type' does not accept value 'bogus'"),
    ("user", "Parameter 'id' is missing"),
    ("user,id=0", "Parameter 'id' expects an identifier"),
    ("user,id=n,bogus=1", "Invalid parameter 'bogus'"),
    ("user,id=n,restrict=foo", "Parameter 'restrict' expects 'on' or 'off'"),
    ("user,id=n,ipv4=off,ipv6=off", "IPv4 and IPv6 disabled"),
    ("user,id=n,ipv4=off,dns=10.0.2.3", "IPv4 disabled but netmask/host/dns provided"),
    ("user,id=n,ipv6=off,ipv6-prefix=fd00::", "IPv6 disabled but prefix/host6/dns6 provided"),
    ("user,id=n,net=foo", "Failed to parse netmask"),
    ("user,id=n,net=10.0.3.0/foo", "Failed to parse netmask (trailing chars)"),
    ("user,id=n,net=10.0.2.0/33", "Invalid netmask provided (must be in range 4-32)"),
    ("user,id=n,host=foo", "Failed to parse host"),
    ("user,id=n,net=10.0.3.0/24,host=1.2.3.4", "Host doesn't belong to network"),
    ("user,id=n,dns=10.0.2.2", "DNS must be different from host"),
    ("user,id=n,dhcpstart=1.2.3.4", "DHCP doesn't belong to network"),
    ("user,id=n,dhcpstart=10.0.2.3", "DHCP must be different from host and DNS"),
    ("user,id=n,ipv6-prefix=foo", "Failed to parse IPv6 prefix"),
    ("user,id=n,ipv6-prefixlen=130", "Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and 126)"),
    ("user,id=n,ipv6-host=fd00::2", "IPv6 Host doesn't belong to network"),
    ("user,id=n,smb=/x", "smb: not implemented yet"),
    ("user,id=n,hostfwd=tcp", "Invalid host forwarding rule 'tcp' (No : separators)"),
    ("user,id=n,hostfwd=tcp:", "Invalid host forwarding rule 'tcp:' (Missing : separator)"),
    ("user,id=n,hostfwd=tcp::1", "Invalid host forwarding rule 'tcp::1' (Bad host port separator)"),
    ("user,id=n,hostfwd=tcp::1-2", "Invalid host forwarding rule 'tcp::1-2' (Missing guest address)"),
    ("user,id=n,hostfwd=tcp:foo:1-:22", "Invalid host forwarding rule 'tcp:foo:1-:22' (Bad host address)"),
    ("user,id=n,hostfwd=foo::1-:22", "Invalid host forwarding rule 'foo::1-:22' (Bad protocol name)"),
    ("user,id=n,hostfwd=tcp::99999-:22", "Invalid host forwarding rule 'tcp::99999-:22' (Bad host port)"),
    ("user,id=n,hostfwd=tcp::1-:0", "Invalid host forwarding rule 'tcp::1-:0' (Bad guest port)"),
    ("user,id=n,hostfwd=tcp:192.0.2.1:1-:22", "Could not set up host forwarding rule 'tcp:192.0.2.1:1-:22'"),
    ("user,id=n,guestfwd=tcp:10.0.2.100:80", "Invalid guest forwarding rule 'tcp:10.0.2.100:80'"),
    ("user,id=n,guestfwd=udp:10.0.2.100:80-null", "Invalid guest forwarding rule 'udp:10.0.2.100:80-null'"),
    ("user,id=n,guestfwd=tcp:10.0.2.2:80-null",
     "Conflicting/invalid host:port in guest forwarding rule 'tcp:10.0.2.2:80-null'"),
    ("socket,id=s", "exactly one of listen=, connect=, mcast= or udp= is required"),
    ("socket,id=s,listen=foo", "host address 'foo' doesn't contain ':' separating host from port"),
    ("socket,id=s,mcast=127.0.0.1:5", "specified mcastaddr 127.0.0.1 (0x7f000001) does not contain a multicast address"),
    ("socket,id=s,udp=127.0.0.1:5", "localaddr= is mandatory with udp="),
    ("socket,id=s,fd=999", "s: Can't use file descriptor 999: Bad file descriptor"),
    ("stream,id=s", "Parameter 'addr' is missing"),
    ("stream,id=s,addr.type=inet,addr.host=x", "Parameter 'addr.port' is missing"),
    ("stream,id=s,addr.type=foo", "Parameter 'type' does not accept value 'foo'"),
    ("dgram,id=s", "dgram requires local= parameter"),
    ("tap,id=t,fd=999", "t: Can't use file descriptor 999: Bad file descriptor"),
    ("hubport,id=h", "Parameter 'hubid' is missing"),
    ("hubport,id=h,hubid=1,netdev=x", "netdev 'x' not found"),
    ("vde,id=v", "vde: not implemented yet"),
]  # fmt: skip


def open_sockets() -> set[str]:
    """The sockets this process has open, each by its inode: what another test left to the collector may go meanwhile."""
    targets = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own is closed by now
            targets.add(os.readlink(f"/proc/self/fd/{name}"))
    return {target for target in targets if target.startswith("socket:")}


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_errors(host: NetHost, text: str, message: str) -> None:
    before = open_sockets()
    with pytest.raises(PcemuError) as caught:
        given(host, text)
    assert str(caught.value) == message
    assert not host.netdevs and not host.net_clients and not open_sockets() - before


@pytest.mark.parametrize(
    ("text", "network", "mask"),
    [("10.1.2.3", "10.0.0.0", 8), ("172.16.5.0", "172.16.0.0", 12), ("192.168.1.0", "192.168.0.0", 16),
     ("198.18.1.1", "198.18.0.0", 15), ("200.1.1.0", "200.1.1.0", 24), ("10.0.3.0/255.255.255.0", "10.0.3.0", 24)],
)  # fmt: skip
def test_networks(host: NetHost, text: str, network: str, mask: int) -> None:
    net: Any = given(host, f"user,id=n,net={text}")
    assert net.describe() == f"net={network},restrict=off"
    assert net.config.mask == 0xFFFFFFFF << (32 - mask) & 0xFFFFFFFF


def test_json(host: NetHost) -> None:
    text = json.loads('{"type": "user", "id": "n", "restrict": true, "hostfwd": [{"str": "tcp:127.0.0.1:0-:22"}, '
                      '{"str": "udp:127.0.0.1:0-:53"}], "dnssearch": [{"str": "a.b"}]}')  # fmt: skip
    net: Any = options.create(host, options.flatten(text))
    assert len(net.tcp.listeners) == len(net.udp.listeners) == 1 and net.config.restrict and net.config.dns_search == ["a.b"]


def test_monitor(host: NetHost) -> None:
    shell = Shell(host)
    assert shell.run("netdev_add user,id=n0,net=10.0.9.0/24") == ""
    card = Guest(host)
    connect(card, host.netdevs["n0"])
    assert shell.run("info network") == (
        "card: index=0,type=nic,model=test,macaddr=52:54:00:12:34:56\n \\ n0: index=0,type=user,net=10.0.9.0,restrict=off\n")
    assert shell.run("hostfwd_add tcp:127.0.0.1:0-:22") == ""
    port = host.netdevs["n0"].tcp.listeners[0][1].getsockname()[1]
    assert f"TCP[HOST_FORWARD] {host.netdevs['n0'].tcp.listeners[0][1].fileno():3} " in shell.run("info usernet")
    assert shell.run(f"hostfwd_remove n0 tcp:127.0.0.1:{port}") == f"host forwarding rule for tcp:127.0.0.1:{port} removed\n"
    assert "unrecognized netdev id 'n7'" in shell.run("hostfwd_add n7 tcp::1-:2")
    assert "(Bad protocol name)" in shell.run("hostfwd_add x::1-:2")
    assert shell.run("set_link card off") == "" and card.link_down
    assert "Device 'x' not found" in shell.run("set_link x off")
    assert shell.run("netdev_del n0") == "" and card.peer is None and not host.netdevs
    assert "Device 'n0' not found" in shell.run("netdev_del n0")
    assert "user mode network stack not in use" in shell.run("hostfwd_add tcp::1-:2")


def test_checksums_are_left_to_those_who_take_them(host: NetHost) -> None:
    for takes, left in ((0, None), (CSUM, Offload(NEEDS_CSUM, csum_start=34, csum_offset=16))):
        one, other = pair(host, takes)
        frame = bytearray(tcp(1, 2, 3, 4, ACK, b"data"))
        frame[50:52] = struct.pack(">H", sum(struct.unpack(">6H", pseudo(frame[26:30], frame[30:34], 6, 24))) % 0xFFFF)
        one.send(bytes(frame), Offload(NEEDS_CSUM, csum_start=34, csum_offset=16))
        assert other.offloads == [left] and (other.got[0] == tcp(1, 2, 3, 4, ACK, b"data")) == (takes == 0)


def test_loose_cables_are_told_of(host: NetHost, capsys: pytest.CaptureFixture[str]) -> None:
    _warn_of_loose_cables(host)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
    port = options.create(host, [("type", "hubport"), ("id", "h1"), ("hubid", "3")])
    connect(Guest(host), port)
    options.create(host, [("type", "user"), ("id", "u")])
    options.create(host, [("type", "hubport"), ("id", "h2"), ("hubid", "4"), ("netdev", "u")])
    options.create(host, [("type", "user"), ("id", "alone")])
    _warn_of_loose_cables(host)  # type: ignore[arg-type]
    assert capsys.readouterr().err.splitlines() == [
        "pcemu: warning: netdev alone has no peer", "pcemu: warning: hub 3 is not connected to host network",
        "pcemu: warning: hub 4 with no nics"]  # fmt: skip
