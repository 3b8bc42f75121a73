"""guestfwd=: connections of the guest to one address and port that end in a command or a character device."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from typing import TYPE_CHECKING, Any

from .. import NetError

if TYPE_CHECKING:
    from .config import GuestForward
    from .connection import Connection
    from .stack import UserNet

MOST_COMMANDS = 64
ROOM = 64 << 10


class GuestForwardTarget:
    """Makes the host's end of a connection."""

    def __init__(self, net: UserNet, forward: GuestForward) -> None:
        self.net = net
        self.forward = forward
        net.guest_forwards[(forward.address.to_bytes(4, "big"), forward.port)] = self
        net.own4.add(forward.address.to_bytes(4, "big"))

    def open(self) -> Any:
        """A stream for a new connection, or None."""
        raise NotImplementedError

    def attach(self, connection: Connection) -> None:
        """The connection that got the stream."""

    def close(self) -> None:
        """The network is closed."""


class CommandTarget(GuestForwardTarget):
    """guestfwd=...-cmd:COMMAND: each connection runs it, with the connection as its input and output."""

    def __init__(self, net: UserNet, forward: GuestForward) -> None:
        super().__init__(net, forward)
        self.command = forward.target.removeprefix("cmd:")
        self.children: list[subprocess.Popen[bytes]] = []

    def open(self) -> socket.socket | None:
        self.children = [child for child in self.children if child.poll() is None]
        if len(self.children) >= MOST_COMMANDS:
            return None
        ours, theirs = socket.socketpair()
        try:
            command = ["/bin/sh", "-c", self.command]
            child = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno(), start_new_session=True)
        except OSError:
            ours.close()
            return None
        finally:
            theirs.close()
        self.children.append(child)
        ours.setblocking(False)
        return ours

    def attach(self, connection: Connection) -> None:
        self.net.watch(connection.end.fileno(), connection.host_event)

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(1)


class ChardevEnd:
    """A character device that looks like a stream socket."""

    def __init__(self, chardev: Any) -> None:
        self.chardev = chardev
        self.data = bytearray()
        self.connection: Connection | None = None
        self.ended = False
        chardev.can_receive = lambda: max(0, ROOM - len(self.data))
        chardev.on_event = self._event
        chardev.on_writable = self._writable
        chardev.on_input = self._input

    def _input(self, data: bytes) -> None:
        self.data += data
        self._ready()

    def _event(self, event: str) -> None:
        if event == "closed":
            self.ended = True
            self._ready()

    def _ready(self) -> None:
        if self.connection is not None:
            self.connection.readable = True
            self.connection.enqueue()
            self.connection.net._try_later()

    def _writable(self) -> None:
        if self.connection is not None:
            self.connection.writable = True
            self.connection._flush()

    def recv(self, size: int) -> bytes:
        if not self.data:
            if self.ended:
                return b""
            raise BlockingIOError
        data = bytes(self.data[:size])
        del self.data[:size]
        self.chardev.accept_input()
        return data

    def send(self, data: memoryview | bytes) -> int:
        if self.chardev.blocked:
            raise BlockingIOError
        self.chardev.write(bytes(data))
        return len(data)

    def shutdown(self, how: int) -> None:
        """A character device has no end of its input; the connection ends both ways."""
        self.ended = True
        self._ready()

    def setsockopt(self, *args: Any) -> None:
        return

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.connection = None
        self.chardev.detach()


class ChardevTarget(GuestForwardTarget):
    """guestfwd=...-DEVICE: one connection at a time, with a character device."""

    def __init__(self, net: UserNet, forward: GuestForward) -> None:
        from pcemu import chardev

        name = f"guestfwd.tcp.{forward.port}"
        try:
            found = chardev.from_spec(net.machine, forward.target, name, device="guestfwd")
        except chardev.ChardevError as error:
            raise NetError(f"Could not open guest forwarding device '{name}': {error}") from None
        if found is None:
            raise NetError(f"Could not open guest forwarding device '{name}'")
        self.chardev = found
        super().__init__(net, forward)

    def open(self) -> ChardevEnd | None:
        if self.chardev.owner:
            return None
        return ChardevEnd(self.chardev.attach(f"netdev '{self.net.name}'"))

    def attach(self, connection: Connection) -> None:
        connection.end.connection = connection
        connection.readable = connection.hungup = True


def make(net: UserNet, forward: GuestForward) -> GuestForwardTarget:
    """The target of a rule; raises NetError."""
    return CommandTarget(net, forward) if forward.target.startswith("cmd:") else ChardevTarget(net, forward)
