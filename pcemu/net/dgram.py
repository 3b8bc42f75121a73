"""-netdev dgram and -netdev socket,udp=|mcast=: frames to other emulators, one in each datagram."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from . import MAX_FRAME, Frame, NetClient, NetError, Offload
from .address import Address, from_keys, given_fd, show

AT_ONCE = 64


class DgramNet(NetClient):
    """What the socket cannot take is lost, as datagrams are."""

    kind = "dgram"

    def __init__(self, machine: Any, name: str, sock: socket.socket, target: Any, text: str, kind: str = "dgram") -> None:
        super().__init__(machine, name, kind)
        self.kind = kind
        self.sock: socket.socket | None = sock
        self.target = target  # None: the socket is connected
        self.text = text
        self.path = ""
        self._held: bytes | None = None  # read, but the card is full
        sock.setblocking(False)
        machine.add_reader(sock.fileno(), self._readable)

    def receive(self, frame: Frame, offload: Offload | None = None) -> bool:
        assert self.sock is not None
        try:
            if self.target is None:
                self.sock.send(frame)
            else:
                self.sock.sendto(frame, self.target)
        except OSError:
            self.lost += 1
        return True

    def _readable(self) -> None:
        for _ in range(AT_ONCE):
            if self.sock is None:
                return
            try:
                frame = self.sock.recv(MAX_FRAME + 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue
            if frame and not self.send(frame):
                self._held = frame
                self.machine.remove_reader(self.sock.fileno())
                return

    def on_room(self) -> None:
        if self._held is not None and self.sock is not None and self.send(self._held):
            self._held = None
            self.machine.add_reader(self.sock.fileno(), self._readable)
            self._readable()

    def describe(self) -> str:
        return self.text

    def close(self) -> None:
        super().close()
        sock, self.sock = self.sock, None
        if sock is None:
            return
        if self._held is None:
            self.machine.remove_reader(sock.fileno())
        sock.close()
        if self.path:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


def multicast(target: Any, local: str | None) -> socket.socket:
    """A socket of a multicast group; what is sent comes back to other sockets of this host too."""
    group = socket.inet_aton(target[0])
    if not 224 <= group[0] < 240:
        number = int.from_bytes(group, "big")
        raise NetError(f"specified mcastaddr {target[0]} (0x{number:08x}) does not contain a multicast address")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(target)
        interface = socket.inet_aton(local) if local else bytes(4)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + interface)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        if local:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
    except OSError as error:
        sock.close()
        raise NetError(f"can't join multicast group {target[0]}: {error.strerror}") from None
    return sock


def bound(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_UNIX:
            if not where.startswith("\0"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(where)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
    except OSError as error:
        sock.close()
        raise NetError(f"can't bind to {show(where)}: {error.strerror}") from None
    return sock


def create(machine: Any, name: str, options: dict[str, Any]) -> NetClient:
    """-netdev dgram,id=ID,local.type=inet|unix|fd,local...[,remote.type=inet|unix,remote....]."""
    has = {side: any(key.startswith(side + ".") for key in options) for side in ("local", "remote")}
    remote = from_keys(options, "remote", False, socket.SOCK_DGRAM) if has["remote"] else None
    if isinstance(remote, str):
        raise NetError("remote.type must be inet or unix")
    if remote is not None and remote[0] == socket.AF_INET and 224 <= socket.inet_aton(remote[1][0])[0] < 240:
        local_host = options.get("local.host") if has["local"] else None
        if has["local"] and options.get("local.type") == "fd":
            sock = given_fd(machine, name, options.get("local.str", ""))
        else:
            sock = multicast(remote[1], local_host)
        return DgramNet(machine, name, sock, remote[1], f"mcast={show(remote[1])}")
    if not has["local"]:
        raise NetError("dgram requires local= parameter")
    local = from_keys(options, "local", True, socket.SOCK_DGRAM)
    if isinstance(local, str):
        if remote is not None:
            raise NetError("don't set remote with local.fd")
        return DgramNet(machine, name, given_fd(machine, name, local), None, f"fd={local}")
    if remote is None:
        raise NetError("type=inet or type=unix requires remote parameter")
    if remote[0] != local[0]:
        raise NetError("remote and local types must be the same")
    sock = bound(local)
    if local[0] == socket.AF_UNIX:
        client = DgramNet(machine, name, sock, remote[1], f"udp={local[1]}:{remote[1]}")
        client.path = "" if local[1].startswith("\0") else local[1]
        return client
    return DgramNet(machine, name, sock, remote[1], f"udp={show(local[1])}/{show(remote[1])}")
