"""TCP (RFC 9293) between the guest and sockets of the host: the table of connections, and how they begin."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections import deque
from struct import pack, unpack_from
from typing import TYPE_CHECKING, Any

from .. import Frame, Offload
from . import wire
from .connection import CONNECTING, TIME_WAIT, Connection
from .wire import ACK, FIN, RST, SYN, TCP_HEADER

if TYPE_CHECKING:
    from .config import HostForward
    from .stack import UserNet

MOST_CONNECTIONS = 4000  # beyond it new ones are refused
BUFFERED = 64 << 20  # bytes all connections together keep for a slow host, and for a slow guest
LARGEST_WINDOW = 1 << 20  # what one connection gets of it
SMALLEST_WINDOW = 64 << 10
LISTEN_QUEUE = 128
LAZY_NS = 1_000_000

Key = tuple[bytes, int, bytes, int]  # guest's address and port, the other's

_REFUSED = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT)


class Tcp:
    """All connections of one -netdev user."""

    def __init__(self, net: UserNet) -> None:
        self.net = net
        self.connections: dict[Key, Connection] = {}
        self.listeners: list[tuple[HostForward, socket.socket]] = []
        self.work: deque[Connection] = deque()  # those that have something to send to the guest
        self.buffered = 0  # bytes kept for slow sockets of the host, and out of order
        self.most_buffered = BUFFERED
        self._lazy: list[Connection] = []
        self._lazy_timer = net.machine.clock.timer(self._ack_lazy)
        self.waiting: deque[Connection] = deque()  # in TIME_WAIT, oldest first

    # -- from the guest -------------------------------------------------------------------------------------

    def receive(self, source: bytes, target: bytes, packet: memoryview, offload: Offload | None) -> None:
        """A TCP segment of the guest, IP header removed."""
        if len(packet) < wire.TCP_SIZE:
            return
        sport, dport, seq, ack, data_offset, flags, window, _, _ = TCP_HEADER.unpack_from(packet)
        start = (data_offset >> 4) * 4
        if start < wire.TCP_SIZE or start > len(packet) or not wire.good_sum(source, target, wire.TCP, packet, offload):
            return
        connection = self.connections.get((source, sport, target, dport))
        if connection is not None and flags & SYN and connection.state == TIME_WAIT and not flags & ACK:
            connection.forget()  # the guest uses its port again (RFC 9293, 3.6.1)
            connection = None
        if connection is not None:
            connection.segment(seq, ack, flags, window, packet[start:], packet[wire.TCP_SIZE : start])
            return
        if flags & RST:
            return
        if flags & (SYN | ACK) == SYN:
            self._begin(source, sport, target, dport, seq, window, packet[wire.TCP_SIZE : start])
            return
        if flags & ACK:
            self.net.send_segment(target, dport, source, sport, ack, 0, RST)
        else:
            length = len(packet) - start + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)
            self.net.send_segment(target, dport, source, sport, 0, seq + length, RST | ACK)

    def _begin(self, source: bytes, sport: int, target: bytes, dport: int, seq: int, window: int, options: memoryview) -> None:
        """The guest's SYN: connect to whom it means."""
        net = self.net
        key = (source, sport, target, dport)

        def refuse() -> None:
            net.send_segment(target, dport, source, sport, 0, seq + 1, RST | ACK)

        if len(self.connections) >= MOST_CONNECTIONS and not self._make_room():
            refuse()
            return
        forward = net.guest_forwards.get((target, dport))
        if forward is not None:
            end = forward.open()
            if end is None:
                refuse()
                return
            connection = Connection(self, key, end)
            connection.began(seq, window, options)
            forward.attach(connection)
            connection.host_connected()
            return
        if net.config.restrict:
            return
        real = net.outside(target, dport)
        if real is None:
            net.unreachable(source, target, wire.TCP, pack(">HHI", sport, dport, seq), wire.NO_HOST)
            return
        family, address = real
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:
            refuse()  # no more files, or the host has no such protocol
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the guest has done Nagle's part
        error = sock.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            self.failed(key, seq, error)
            return
        connection = Connection(self, key, sock)
        connection.began(seq, window, options)
        net.watch(sock.fileno(), connection.host_event)
        if error == 0:
            connection.host_connected()

    def failed(self, key: Key, seq: int, error: int) -> None:
        """The host could not connect: tell the guest what it would have been told."""
        source, sport, target, dport = key
        if error in _REFUSED or error not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM):
            self.net.send_segment(target, dport, source, sport, 0, seq + 1, RST | ACK)
            return
        why = {errno.ENETUNREACH: wire.NO_ROUTE, errno.EHOSTUNREACH: wire.NO_HOST}.get(error, wire.FORBIDDEN)
        self.net.unreachable(source, target, wire.TCP, pack(">HHI", sport, dport, seq), why)

    def _make_room(self) -> bool:
        """Drop the oldest connection that is over but for late packets."""
        while self.waiting:
            oldest = self.waiting.popleft()
            if oldest.state == TIME_WAIT:
                oldest.forget()
                return True
        return False

    # -- hostfwd ----------------------------------------------------------------------------------------------

    def listen(self, forward: HostForward) -> None:
        """Accept connections for a port of the guest; raises OSError."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((forward.host, forward.host_port))
            sock.listen(LISTEN_QUEUE)
        except OSError:
            sock.close()
            raise
        self.listeners.append((forward, sock))
        self.net.watch(sock.fileno(), lambda events: self._accept(forward, sock), select.EPOLLIN)

    def unlisten(self, host: str, port: int) -> bool:
        for index, (_, sock) in enumerate(self.listeners):
            if sock.getsockname()[:2] == (host or "0.0.0.0", port):
                self.net.unwatch(sock.fileno())
                sock.close()
                del self.listeners[index]
                return True
        return False

    def _accept(self, forward: HostForward, listener: socket.socket) -> None:
        try:
            sock, (host, port) = listener.accept()
        except OSError:
            return
        net = self.net
        if len(self.connections) >= MOST_CONNECTIONS and not self._make_room():
            sock.close()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        remote = net.inside(socket.inet_aton(host))
        guest = forward.guest.to_bytes(4, "big")
        while (guest, forward.guest_port, remote, port) in self.connections:
            port = port % 65535 + 1  # two addresses of the host look like one to the guest
        connection = Connection(self, (guest, forward.guest_port, remote, port), sock)
        net.watch(sock.fileno(), connection.host_event)
        connection.call_guest()

    # -- to the guest -----------------------------------------------------------------------------------------

    def window(self) -> int:
        """Bytes one connection may have on the way, or keep."""
        return max(SMALLEST_WINDOW, min(LARGEST_WINDOW, BUFFERED // max(1, len(self.connections))))

    def pump(self) -> None:
        """Let connections send in turn, a piece each, until the guest is full or nobody has anything."""
        work, net = self.work, self.net
        while work and not net.blocked:
            connection = work.popleft()
            connection.queued = False
            if connection.output():
                connection.enqueue()

    def ack_later(self, connection: Connection) -> None:
        """It has something to acknowledge, but nothing that is in a hurry."""
        self._lazy.append(connection)
        if not self._lazy_timer.pending:
            self._lazy_timer.arm_in(LAZY_NS)

    def _ack_lazy(self) -> None:
        lazy, self._lazy = self._lazy, []
        for connection in lazy:
            connection.lazy = False
            if connection.acked_to != connection.rcv_nxt:
                connection._ack_soon()
        self.pump()

    def initial_sequence(self) -> int:
        return int.from_bytes(os.urandom(4), "big")

    def close(self) -> None:
        for connection in list(self.connections.values()):
            connection.drop()
        for _, sock in self.listeners:
            self.net.unwatch(sock.fileno())
            sock.close()
        self.listeners.clear()
        self.work.clear()
        self._lazy.clear()
        self._lazy_timer.cancel()

    def describe(self) -> list[tuple[str, int, str, int, str, int, int, int]]:
        """Rows of `info usernet`: state, fd, source, port, destination, port, bytes for the host, bytes for the guest."""
        rows = []
        for connection in self.connections.values():
            guest, gport, remote, rport = connection.key
            fd = connection.end.fileno() if connection.end is not None else -1
            if connection.from_host:
                ends = (_text(remote), rport, _text(guest), gport)
            else:
                ends = (_text(guest), gport, _text(remote), rport)
            rows.append((f"TCP[{connection.state_name()}]", fd, *ends, connection.kept, connection.in_flight()))
        for forward, sock in self.listeners:
            host, port = sock.getsockname()[:2]
            shown = "*" if host == "0.0.0.0" else host
            guest_text = _text(forward.guest.to_bytes(4, "big"))
            rows.append(("TCP[HOST_FORWARD]", sock.fileno(), shown, port, guest_text, forward.guest_port, 0, 0))
        return rows


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def options_of(data: Frame) -> dict[int, bytes]:
    """TCP options by kind; a malformed tail is ignored (RFC 9293, 3.1)."""
    found: dict[int, bytes] = {}
    at, end = 0, len(data)
    while at < end:
        kind = data[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 2 > end or data[at + 1] < 2 or at + data[at + 1] > end:
            break
        found[kind] = bytes(data[at + 2 : at + data[at + 1]])
        at += data[at + 1]
    return found


def sack_blocks(data: Any) -> list[tuple[int, int]]:
    """The blocks of a SACK option (RFC 2018)."""
    return [unpack_from(">II", data, at) for at in range(0, len(data) // 8 * 8, 8)]


__all__ = ["CONNECTING", "Tcp", "options_of", "sack_blocks"]
