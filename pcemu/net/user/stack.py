"""-netdev user: a small router in the emulator, between the guest's Ethernet and sockets of the host.

The guest sees a network (10.0.2.0/24 and fec0::/64 if nobody says otherwise) with a router that is also its host
(.2), a name server (.3) and, by DHCP or router advertisements, an address for itself. What it sends to the host's
address goes to the host's loopback, what it sends to the name server to the one in the host's resolv.conf, and
everything else where it says. No root rights are needed.

This module is the middle of it: Ethernet, ARP (RFC 826), IPv4 with fragments (RFC 791), ICMP (RFC 792), and the
files of the host. TCP, UDP, IPv6, DHCP and TFTP are next to it. Everything the guest or a peer sends may be nonsense;
it is then dropped, and every table has a limit.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import CSUM, ECN, TSO4, TSO6, UFO, Frame, NetClient, Offload
from . import wire
from .config import UserConfig
from .tcp import Tcp
from .udp import Udp
from .wire import ARP, ETH, ETH_SIZE, IP4, IP4_SIZE

if TYPE_CHECKING:
    from .forward import GuestForwardTarget

SECOND = 1_000_000_000
MOST_NEIGHBOURS = 256
MOST_UNRESOLVED, FRAMES_EACH, RESOLVE_TRIES = 64, 16, 5
MOST_QUEUED, MOST_QUEUED_BYTES = 2048, 8 << 20
MOST_FRAGMENTED, FRAGMENT_BYTES, FRAGMENT_NS = 64, 4 << 20, 30 * SECOND
RESOLV_CONF = "/etc/resolv.conf"
EDGE = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class Unresolved:
    """Frames for a guest whose MAC address is not known yet."""

    def __init__(self) -> None:
        self.frames: deque[tuple[bytes, Offload | None]] = deque(maxlen=FRAMES_EACH)
        self.tries = 0


class Fragments:
    """Packets that come in pieces; IPv4 and IPv6 alike."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.packets: dict[Any, tuple[int, dict[int, bytes], list[int]]] = {}  # (started, pieces by offset, [end, bytes])
        self.bytes = 0

    def add(self, key: Any, offset: int, more: bool, data: Frame) -> bytes | None:
        """Keep a piece; the whole payload when it was the last one missing."""
        now = self.clock.now()
        for old in [k for k, (start, _, _) in self.packets.items() if now - start > FRAGMENT_NS]:
            self._drop(old)
        if not data or offset + len(data) > 65535 or (more and len(data) & 7):
            return None
        if key not in self.packets:
            while len(self.packets) >= MOST_FRAGMENTED or self.bytes + len(data) > FRAGMENT_BYTES:
                if not self.packets:
                    return None
                self._drop(next(iter(self.packets)))
            self.packets[key] = (now, {}, [-1, 0])
        _, pieces, ends = self.packets[key]
        if offset in pieces or len(pieces) >= 8192:
            return None
        pieces[offset] = bytes(data)
        ends[1] += len(data)
        self.bytes += len(data)
        if not more:
            ends[0] = offset + len(data)
        if self.bytes > FRAGMENT_BYTES or ends[1] > 65535 or 0 <= ends[0] < ends[1]:
            self._drop(key)
            return None
        if ends[0] != ends[1]:
            return None
        whole = bytearray()
        for at in sorted(pieces):
            if at != len(whole):  # pieces overlap: refused, as RFC 5722 asks of IPv6
                self._drop(key)
                return None
            whole += pieces[at]
        self._drop(key)
        return bytes(whole)

    def _drop(self, key: Any) -> None:
        self.bytes -= self.packets.pop(key)[2][1]


class UserNet(NetClient):
    """See the top of the file."""

    kind = "user"
    takes = CSUM | TSO4 | TSO6 | ECN | UFO

    def __init__(self, machine: Any, name: str, config: UserConfig) -> None:
        super().__init__(machine, name)
        self.config = config
        self.host4 = config.host.to_bytes(4, "big")
        self.dns4 = config.dns.to_bytes(4, "big")
        self.mac4 = self.mac6 = b"\x52\x55" + self.host4
        self.own4 = {self.host4, self.dns4} if config.ipv4 else set()
        self.guest_forwards: dict[tuple[bytes, int], GuestForwardTarget] = {}
        self.macs: dict[bytes, bytes] = {}  # of guests, by address
        self.leases: dict[bytes, int] = {}  # addresses DHCP gave out, by MAC
        self.ident = 0
        self._queue: deque[tuple[Frame, Offload | None]] = deque()  # for a guest that is full
        self._queue_bytes = 0
        self._unresolved: dict[bytes, Unresolved] = {}
        self._resolve_timer = machine.clock.timer(self._resolve_again)
        self._fragments = Fragments(machine.clock)
        self._nameservers: list[bytes] = []
        self._nameservers_seen: Any = None
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self.tcp = Tcp(self)
        self.udp = Udp(self)
        self.ip6: Any = None
        if config.ipv6:
            from .ip6 import Ip6

            self.ip6 = Ip6(self)
        self._tftp: Any = None
        machine.add_reader(self._epoll.fileno(), self._host_ready)

    # -- files of the host ------------------------------------------------------------------------------------

    def watch(self, fd: int, handler: Callable[[int], None], events: int = EDGE) -> None:
        """Call `handler(events)` in the machine's thread; edge-triggered unless `events` says otherwise."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def _host_ready(self) -> None:
        for fd, events in self._epoll.poll(0, 256):
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
        self.tcp.pump()

    # -- to the guest -----------------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """Is the guest full?"""
        return bool(self._queue)

    def emit(self, frame: Frame, offload: Offload | None = None) -> None:
        """Send a frame, or keep it until the guest has room; what it has no room for in the end is lost."""
        queue = self._queue
        if not queue and self.send(frame, offload):
            return
        if len(queue) < MOST_QUEUED and self._queue_bytes + len(frame) <= MOST_QUEUED_BYTES:
            queue.append((frame, offload))
            self._queue_bytes += len(frame)
        else:
            self.lost += 1

    def on_room(self) -> None:
        queue = self._queue
        while queue:
            frame, offload = queue[0]
            if not self.send(frame, offload):
                return
            queue.popleft()
            self._queue_bytes -= len(frame)
        self.tcp.pump()

    def send_ip(self, source: bytes, target: bytes, protocol: int, payload: bytes) -> None:
        """A packet from us (or through us) to the guest that has the address `target`."""
        self.ident = (self.ident + 1) & 0xFFFF
        mac = self.macs.get(target, wire.NO_MAC)
        if len(target) == 4:
            frames = wire.ip4_frames(mac, self.mac4, source, target, protocol, payload, self.ident)
        else:
            frames = wire.ip6_frames(mac, self.mac6, source, target, protocol, payload, self.ident)
        for frame in frames:
            if mac is wire.NO_MAC:
                self.resolve(target, frame, None)
            else:
                self.emit(frame)

    def send_udp(self, source: bytes, sport: int, target: bytes, dport: int, payload: bytes) -> None:
        if len(payload) <= 65507:
            self.send_ip(source, target, wire.UDP, wire.udp(source, sport, target, dport, payload))

    def send_segment(self, source: bytes, sport: int, target: bytes, dport: int, seq: int, ack: int, flags: int) -> None:
        """A TCP segment that belongs to no connection."""
        head = wire.TCP_HEADER.pack(sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 0, 0, 0)
        value = wire.checksum(head, wire.pseudo_sum(source, target, wire.TCP, len(head)))
        self.send_ip(source, target, wire.TCP, head[:16] + wire.U16.pack(value) + head[18:])

    def unreachable(self, guest: bytes, target: bytes, protocol: int, first: bytes,
                    why: tuple[tuple[int, int], tuple[int, int]]) -> None:  # fmt: skip
        """Tell a guest that its packet to `target` (whose transport header began with `first`) went nowhere."""
        kind, code = why[len(guest) == 16]
        if len(guest) == 4:
            quoted = wire.ip4_header(guest, target, protocol, IP4_SIZE + len(first), 0)
            self.send_ip(self.host4, guest, wire.ICMP, wire.icmp(kind, code, 0, quoted + first))
        elif self.ip6 is not None:
            quoted = wire.IP6.pack(0x60000000, len(first), protocol, 64, guest, target)
            self.ip6.send(guest, kind, code, bytes(4) + quoted + first)

    # -- who is where -----------------------------------------------------------------------------------------

    def learn(self, address: bytes, mac: bytes) -> None:
        """A guest told its MAC address."""
        macs = self.macs
        if macs.get(address) == mac or mac[0] & 1 or mac == wire.NO_MAC:
            return
        if len(macs) >= MOST_NEIGHBOURS and address not in macs:
            del macs[next(iter(macs))]
        macs[address] = mac
        waiting = self._unresolved.pop(address, None)
        if waiting is not None:
            for frame, offload in waiting.frames:
                self.emit(mac + frame[6:], offload)

    def resolve(self, address: bytes, frame: bytes, offload: Offload | None) -> None:
        """Ask who has `address`, and keep the frame until somebody says so."""
        waiting = self._unresolved.get(address)
        if waiting is None:
            if len(self._unresolved) >= MOST_UNRESOLVED:
                return
            waiting = self._unresolved[address] = Unresolved()
            self._ask(address)
        waiting.frames.append((frame, offload))
        if not self._resolve_timer.pending:
            self._resolve_timer.arm_in(SECOND)

    def _ask(self, address: bytes) -> None:
        if len(address) == 4:
            request = ARP.pack(1, wire.ETH_IP4, 6, 4, 1, self.mac4, self.host4, wire.NO_MAC, address)
            self.emit(ETH.pack(wire.BROADCAST_MAC, self.mac4, wire.ETH_ARP) + request)
        elif self.ip6 is not None:
            self.ip6.solicit(address)

    def _resolve_again(self) -> None:
        for address, waiting in list(self._unresolved.items()):
            waiting.tries += 1
            if waiting.tries >= RESOLVE_TRIES:
                del self._unresolved[address]
            else:
                self._ask(address)
        if self._unresolved:
            self._resolve_timer.arm_in(SECOND)

    def outside(self, target: bytes, port: int) -> tuple[int, tuple[Any, ...]] | None:
        """Family and address of the socket that the guest means; None: nobody can be reached by that."""
        if len(target) == 4:
            if target == self.host4:
                return socket.AF_INET, ("127.0.0.1", port)
            if target == self.dns4:
                return self._socket_address(self.nameserver(4), port)
            if target[0] in (0, 127) or target[0] >= 224:
                return None
            if int.from_bytes(target, "big") & self.config.mask == self.config.network:
                return None
            return socket.AF_INET, (socket.inet_ntoa(target), port)
        if self.ip6 is None:
            return None
        if self.ip6.is_host(target):
            return socket.AF_INET6, ("::1", port)
        if target == self.config.dns6:
            return self._socket_address(self.nameserver(6), port)
        if not self.ip6.is_global(target):
            return None
        return socket.AF_INET6, (socket.inet_ntop(socket.AF_INET6, target), port)

    @staticmethod
    def _socket_address(address: bytes, port: int) -> tuple[int, tuple[Any, ...]]:
        if len(address) == 4:
            return socket.AF_INET, (socket.inet_ntoa(address), port)
        return socket.AF_INET6, (socket.inet_ntop(socket.AF_INET6, address), port)

    def inside(self, address: bytes) -> bytes:
        """What the guest sees of a host's address: loopback is the router."""
        if len(address) == 4:
            return self.host4 if address[0] == 127 else address
        return self.config.host6 if address == bytes(15) + b"\1" else address

    def nameserver(self, version: int) -> bytes:
        """The host's first name server of that version, or of the other; loopback if it has none."""
        try:
            status = os.stat(RESOLV_CONF)
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._nameservers_seen:
                self._nameservers_seen = seen
                with open(RESOLV_CONF, "rb") as file:
                    self._nameservers = _read_nameservers(file.read(1 << 16).decode("latin-1"))
        except OSError:
            self._nameservers, self._nameservers_seen = [], None
        size = 4 if version == 4 else 16
        ordered = sorted(self._nameservers, key=lambda address: len(address) != size)
        return ordered[0] if ordered else bytes((127, 0, 0, 1))

    # -- from the guest ---------------------------------------------------------------------------------------

    def receive(self, frame: Frame, offload: Offload | None = None) -> bool:
        """A frame of the guest. Always taken: what cannot be passed on now is lost, or kept by TCP."""
        view = memoryview(frame)
        if len(view) >= ETH_SIZE:
            target, source, kind = ETH.unpack_from(view)
            # Ours, or everybody's: on a hub there are other guests' frames as well.
            if target[0] & 1 or target[:2] == b"\x52\x55":
                if kind == wire.ETH_IP4:
                    if self.config.ipv4:
                        self._receive_ip4(source, view[ETH_SIZE:], offload)
                elif kind == wire.ETH_IP6:
                    if self.ip6 is not None:
                        self.ip6.receive(source, view[ETH_SIZE:], offload)
                elif kind == wire.ETH_ARP and self.config.ipv4:
                    self._receive_arp(view[ETH_SIZE:])
        if self.tcp.work:
            self._try_later()
        return True

    def _receive_arp(self, packet: memoryview) -> None:
        if len(packet) < ARP.size:
            return
        hardware, protocol, hsize, psize, operation, mac, address, _, wanted = ARP.unpack_from(packet)
        if (hardware, protocol, hsize, psize) != (1, wire.ETH_IP4, 6, 4):
            return
        if address in self.own4:
            return  # a guest that uses our address; a probe for it (RFC 5227) has the sender 0.0.0.0
        if any(address):
            self.learn(address, mac)
        if operation == 1 and wanted in self.own4:
            own = b"\x52\x55" + wanted
            reply = ARP.pack(1, wire.ETH_IP4, 6, 4, 2, own, wanted, mac, address)
            self.emit(ETH.pack(mac, own, wire.ETH_ARP) + reply)

    def _receive_ip4(self, mac: bytes, packet: memoryview, offload: Offload | None) -> None:
        if len(packet) < IP4_SIZE:
            return
        version, _, length, ident, fragment, ttl, protocol, _, source, target = IP4.unpack_from(packet)
        header = (version & 15) * 4
        if version >> 4 != 4 or header < IP4_SIZE or length < header or length > len(packet):
            return
        if wire.checksum(packet[:header]):
            return
        if source in self.own4 or source[0] in (127,) or source[0] >= 224:
            return
        if source != b"\0\0\0\0":
            self.learn(source, mac)
        payload = packet[header:length]
        if fragment & 0x3FFF:
            key = (source, target, protocol, ident)
            whole = self._fragments.add(key, (fragment & 0x1FFF) * 8, bool(fragment & 0x2000), payload)
            if whole is None:
                return
            payload, offload = memoryview(whole), None
        if ttl <= 1 and target not in self.own4 and target[0] < 224 and not self.config.restrict:
            self.send_ip(self.host4, source, wire.ICMP, wire.icmp(11, 0, 0, bytes(packet[: header + 8])))
            return
        if protocol == wire.TCP:
            self.tcp.receive(source, target, payload, offload)
        elif protocol == wire.UDP:
            self.udp.receive(source, target, payload, offload, mac)
        elif protocol == wire.ICMP:
            self._receive_icmp(source, target, payload)

    def _receive_icmp(self, source: bytes, target: bytes, packet: memoryview) -> None:
        """Echo requests: for us, or for somebody the host may ping for us."""
        if len(packet) < 8 or packet[0] != 8 or wire.checksum(packet):
            return
        if target in self.own4:
            reply = wire.icmp(0, 0, int.from_bytes(packet[4:8], "big"), bytes(packet[8:]))
            self.send_ip(target, source, wire.ICMP, reply)
        elif not self.config.restrict and self.outside(target, 0) is not None:
            self.udp.ping(source, target, packet)

    # -- services ---------------------------------------------------------------------------------------------

    def serve(self, source: bytes, sport: int, target: bytes, dport: int, payload: memoryview, mac: bytes) -> bool:
        """UDP for ourselves: DHCP and TFTP."""
        if len(target) == 4:
            if dport == 67 and (target == self.host4 or target == b"\xff\xff\xff\xff"):
                from . import dhcp

                dhcp.receive(self, payload, mac)
                return True
            for_us = target == self.host4
        else:
            for_us = self.ip6.is_host(target)
        if dport == 69 and for_us:
            if self.config.tftp:
                if self._tftp is None:
                    from .tftp import Tftp

                    self._tftp = Tftp(self)
                self._tftp.receive(source, sport, target, payload)
            return True
        return False

    def link_changed(self) -> None:
        if self.link_down:
            self._queue.clear()
            self._queue_bytes = 0

    def describe(self) -> str:
        address = socket.inet_ntoa(self.config.network.to_bytes(4, "big"))
        return f"net={address},restrict={'on' if self.config.restrict else 'off'}"

    def close(self) -> None:
        if self._epoll.closed:
            return
        super().close()
        self.tcp.close()
        self.udp.close()
        if self.ip6 is not None:
            self.ip6.close()
        if self._tftp is not None:
            self._tftp.close()
        for target in self.guest_forwards.values():
            target.close()
        self._resolve_timer.cancel()
        self.machine.remove_reader(self._epoll.fileno())
        self._epoll.close()


def _read_nameservers(text: str) -> list[bytes]:
    """The addresses in a resolv.conf, in their order."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                found.append(socket.inet_pton(family, words[1].partition("%")[0]))
                break
            except (OSError, ValueError):
                continue
    return found
