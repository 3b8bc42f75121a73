"""UDP (RFC 768) and echo requests between the guest and sockets of the host."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections import OrderedDict
from collections.abc import Iterator
from struct import pack, unpack_from
from typing import TYPE_CHECKING, Any

from .. import Offload
from . import wire
from .wire import UDP_HEADER, UDP_SIZE

if TYPE_CHECKING:
    from .config import HostForward
    from .stack import UserNet

SECOND = 1_000_000_000
MOST_FLOWS = 400
FLOW_NS, DNS_NS, PING_NS = 240 * SECOND, 20 * SECOND, 20 * SECOND
SWEEP_NS = 10 * SECOND
MOST_CLIENTS = 1024  # of a forwarded port
MOST_ALIASES = 16
AT_ONCE = 64  # datagrams read in a row
IP_RECVERR, IPV6_RECVERR = 11, 25  # <linux/in.h>, <linux/in6.h>
SO_EE_ORIGIN_LOCAL = 1


def waiting(sock: socket.socket) -> Iterator[tuple[bytes, Any]]:
    """Datagrams that are there, and their senders; past errors that the host reports instead."""
    for _ in range(AT_ONCE):
        try:
            yield sock.recvfrom(65535)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            continue


class Flow:
    """A port of a guest, and the socket that stands for it."""

    def __init__(self, udp: Udp, key: Any, family: int, sock: socket.socket) -> None:
        self.udp = udp
        self.key = key
        self.sock = sock
        self.family = family
        self.guest: bytes = key[0]
        self.port: int = key[1]
        self.seen = udp.net.machine.clock.now()
        self.life = FLOW_NS
        self.aliases: OrderedDict[tuple[str, int], bytes] = OrderedDict()  # whom the guest knows by another address
        level, option = (socket.IPPROTO_IP, IP_RECVERR) if family == socket.AF_INET else (socket.IPPROTO_IPV6, IPV6_RECVERR)
        with contextlib.suppress(OSError):
            sock.setsockopt(level, option, 1)
        udp.net.watch(sock.fileno(), self.event, select.EPOLLIN)

    def send(self, target: bytes, address: tuple[Any, ...], payload: memoryview) -> int:
        """0, or why the host did not send it."""
        self.seen = self.udp.net.machine.clock.now()
        name = address[:2]
        if target in self.udp.net.own4 or len(target) == 16:
            self.aliases[name] = target
            self.aliases.move_to_end(name)
            if len(self.aliases) > MOST_ALIASES:
                self.aliases.popitem(last=False)
        for _ in range(2):
            try:
                self.sock.sendto(payload, address)
                return 0
            except (BlockingIOError, InterruptedError):
                return 0
            except OSError as error:
                # What an earlier datagram met is reported at this one.
                if error.errno not in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
                    return error.errno or errno.EIO
                number = error.errno
                self.read_errors()
        return number

    def event(self, events: int) -> None:
        if events & select.EPOLLERR:
            self.read_errors()
        for data, address in waiting(self.sock):
            self.seen = self.udp.net.machine.clock.now()
            self.udp.net.send_udp(self.known_as(address), address[1], self.guest, self.port, data)

    def known_as(self, address: tuple[Any, ...]) -> bytes:
        """The address by which the guest knows a peer."""
        alias = self.aliases.get(address[:2])
        if alias is not None:
            return alias
        return self.udp.net.inside(socket.inet_pton(self.family, address[0].partition("%")[0]))

    def read_errors(self) -> None:
        """ICMP errors that the host got for what the guest sent: pass them on."""
        for _ in range(AT_ONCE):
            try:
                _, ancillary, _, address = self.sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for _, _, data in ancillary:
                if len(data) < 16 or not address:
                    continue
                number, origin = unpack_from("=IB", data)
                why = ERRORS.get(number)
                if why is not None and origin != SO_EE_ORIGIN_LOCAL:
                    first = pack(">HHHH", self.port, address[1], UDP_SIZE, 0)
                    self.udp.net.unreachable(self.guest, self.known_as(address), wire.UDP, first, why)

    def close(self) -> None:
        self.udp.net.unwatch(self.sock.fileno())
        self.sock.close()


class Ping(Flow):
    """Echo requests with one identifier; the host's kernel gives them one of its own."""

    def event(self, events: int) -> None:
        net = self.udp.net
        for data, address in waiting(self.sock):
            if len(data) < 8:
                continue
            source, ident, body = self.known_as(address), pack(">H", self.port), data[6:]
            if self.family == socket.AF_INET:
                if data[0] == 0:
                    rest = int.from_bytes(ident + body[:2], "big")
                    net.send_ip(source, self.guest, wire.ICMP, wire.icmp(0, 0, rest, body[2:]))
            elif data[0] == 129 and net.ip6 is not None:
                net.ip6.send(self.guest, 129, 0, ident + body, source)

    def read_errors(self) -> None:
        return


class Listener:
    """hostfwd=udp: datagrams to a port of the host go to the guest, answers back."""

    def __init__(self, udp: Udp, forward: HostForward) -> None:
        self.udp = udp
        self.forward = forward
        self.guest = forward.guest.to_bytes(4, "big")
        self.clients: OrderedDict[tuple[bytes, int], tuple[str, int]] = OrderedDict()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind((forward.host, forward.host_port))
        except OSError:
            self.sock.close()
            raise
        udp.net.watch(self.sock.fileno(), self.event, select.EPOLLIN)

    def event(self, events: int) -> None:
        net = self.udp.net
        for data, address in waiting(self.sock):
            remote = net.inside(socket.inet_aton(address[0]))
            self.clients[(remote, address[1])] = address
            self.clients.move_to_end((remote, address[1]))
            if len(self.clients) > MOST_CLIENTS:
                self.clients.popitem(last=False)
            net.send_udp(remote, address[1], self.guest, self.forward.guest_port, data)

    def close(self) -> None:
        self.udp.net.unwatch(self.sock.fileno())
        self.sock.close()


# What the host's errors are to the guest.
ERRORS = {
    errno.ECONNREFUSED: wire.NO_PORT, errno.EHOSTUNREACH: wire.NO_HOST, errno.ENETUNREACH: wire.NO_ROUTE,
    errno.EACCES: wire.FORBIDDEN, errno.EPERM: wire.FORBIDDEN, errno.EADDRNOTAVAIL: wire.NO_ROUTE,
}  # fmt: skip


class Udp:
    """All UDP of one -netdev user."""

    def __init__(self, net: UserNet) -> None:
        self.net = net
        self.flows: OrderedDict[Any, Flow] = OrderedDict()  # least recently used first
        self.listeners: list[Listener] = []
        self._sweeper = net.machine.clock.timer(self._sweep)

    def receive(self, source: bytes, target: bytes, packet: memoryview, offload: Offload | None, mac: bytes) -> None:
        """A datagram of the guest, IP header removed."""
        if len(packet) < UDP_SIZE:
            return
        sport, dport, length, check = UDP_HEADER.unpack_from(packet)
        if length < UDP_SIZE or length > len(packet):
            return
        packet = packet[:length]
        # 0 is "no checksum", but not with IPv6 (RFC 8200, 8.1).
        if not wire.good_sum(source, target, wire.UDP, packet, offload) if check else len(source) == 16:
            return
        net = self.net
        payload = packet[UDP_SIZE:]
        if net.serve(source, sport, target, dport, payload, mac) or sport == 0:
            return
        for listener in self.listeners:
            if listener.forward.guest_port == sport and listener.guest == source:
                client = listener.clients.get((target, dport))
                if client is not None:
                    with contextlib.suppress(OSError):
                        listener.sock.sendto(payload, client)
                    return
        if net.config.restrict:
            return
        real = net.outside(target, dport)
        if real is None:
            return
        flow = self._flow((source, sport, real[0]), real[0], socket.SOCK_DGRAM, 0, Flow)
        if flow is None:
            return
        if dport == 53:
            flow.life = DNS_NS
        error = flow.send(target, real[1], payload)
        if error:
            net.unreachable(source, target, wire.UDP, bytes(packet[:8]), ERRORS.get(error, wire.NO_HOST))

    def ping(self, source: bytes, target: bytes, packet: memoryview) -> None:
        """An echo request for somebody outside; needs the host's ping_group_range to let us."""
        real = self.net.outside(target, 0)
        if real is None:
            return
        family, address = real
        protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
        ident = int.from_bytes(packet[4:6], "big")
        flow = self._flow((source, ident, family, "ping"), family, socket.SOCK_DGRAM, protocol, Ping)
        if flow is None:
            return
        flow.life = PING_NS
        error = flow.send(target, address, packet)
        if error:
            protocol = wire.ICMP if len(source) == 4 else wire.ICMP6
            self.net.unreachable(source, target, protocol, bytes(packet[:8]), ERRORS.get(error, wire.NO_HOST))

    def _flow(self, key: Any, family: int, kind: int, protocol: int, cls: type[Flow]) -> Flow | None:
        flow = self.flows.get(key)
        if flow is not None:
            self.flows.move_to_end(key)
            return flow
        if len(self.flows) >= MOST_FLOWS:
            self.flows.popitem(last=False)[1].close()
        try:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        except OSError:
            return None  # no more files, no such protocol, or no right to ping
        flow = self.flows[key] = cls(self, key, family, sock)
        if not self._sweeper.pending:
            self._sweeper.arm_in(SWEEP_NS)
        return flow

    def _sweep(self) -> None:
        now = self.net.machine.clock.now()
        for key, flow in list(self.flows.items()):
            if now - flow.seen > flow.life:
                del self.flows[key]
                flow.close()
        if self.flows:
            self._sweeper.arm_in(SWEEP_NS)

    def listen(self, forward: HostForward) -> None:
        """hostfwd; raises OSError."""
        self.listeners.append(Listener(self, forward))

    def unlisten(self, host: str, port: int) -> bool:
        for index, listener in enumerate(self.listeners):
            if listener.sock.getsockname()[:2] == (host or "0.0.0.0", port):
                listener.close()
                del self.listeners[index]
                return True
        return False

    def close(self) -> None:
        self._sweeper.cancel()
        for flow in self.flows.values():
            flow.close()
        self.flows.clear()
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()

    def describe(self) -> list[tuple[str, int, str, int, str, int, int, int]]:
        """Rows of `info usernet`."""
        rows = []
        now = self.net.machine.clock.now()
        for flow in self.flows.values():
            name = "ICMP" if isinstance(flow, Ping) else "UDP"
            left = max(0, flow.life - (now - flow.seen)) // SECOND
            guest = socket.inet_ntop(socket.AF_INET if len(flow.guest) == 4 else socket.AF_INET6, flow.guest)
            rows.append((f"{name}[{left} sec]", flow.sock.fileno(), guest, flow.port, "*", 0, 0, 0))
        for listener in self.listeners:
            host, port = listener.sock.getsockname()[:2]
            guest = socket.inet_ntoa(listener.guest)
            shown = "*" if host == "0.0.0.0" else host
            rows.append(("UDP[HOST_FORWARD]", listener.sock.fileno(), shown, port, guest, listener.forward.guest_port, 0, 0))
        return rows
