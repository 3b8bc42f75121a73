"""-netdev stream and -netdev socket,listen=|connect=: frames to another emulator over a stream socket.

Each frame has its length in front, four bytes, most significant first.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import Any

from . import MAX_FRAME, Frame, NetClient, NetError, Offload
from .address import Address, from_keys, given_fd, show

MOST_FRAME = 4096 + 65536  # longer ones end the connection
READ_SIZE = 1 << 16


class StreamNet(NetClient):
    """One connection at a time. Without one, frames are lost; a server waits for the next when one has ended."""

    kind = "stream"
    prefix = ""  # of the description
    tells = True  # monitors, when a connection begins and ends

    def __init__(self, machine: Any, name: str) -> None:
        super().__init__(machine, name)
        self._listener: socket.socket | None = None
        self._sock: socket.socket | None = None
        self._connecting = False
        self._out = bytearray()  # what the socket did not take of a frame
        self._in = bytearray()
        self._watching_in = self._watching_out = False
        self._path = ""
        self.text = ""
        self.keep_alive = False

    # -- beginning --------------------------------------------------------------------------------------------

    def listen(self, address: Address) -> None:
        family, where = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if family == socket.AF_UNIX:
                self._path = where if not where.startswith("\0") else ""
                if self._path:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self._path)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(where)
            sock.listen(1)
        except OSError as error:
            sock.close()
            raise NetError(f"can't listen on {show(where)}: {error.strerror}") from None
        self.accept_on(sock)

    def accept_on(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._listener = sock
        self.machine.add_reader(sock.fileno(), self._accept)

    def connect_to(self, address: Address) -> None:
        family, where = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        self._sock = sock
        self.text = f"{self.prefix}connect to {show(where)}"
        try:
            sock.connect(where)
        except BlockingIOError:
            self._connecting = True
            self._watch_out(True)
            return
        except OSError as error:
            self._failed(error.strerror or str(error))
            return
        self.connected(sock)

    def _failed(self, why: str) -> None:
        print(f"pcemu: warning: netdev {self.name}: {self.text}: {why}", file=sys.stderr)
        self._drop()

    def connected(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.keep_alive:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._sock = sock
        self._connecting = False
        self._watch_in(True)
        if self.tells:
            self.machine.emit_event("NETDEV_STREAM_CONNECTED", {"netdev-id": self.name, "addr": _described(sock, self._path)})

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, peer = self._listener.accept()
        except OSError:
            return
        self.machine.remove_reader(self._listener.fileno())
        self.text = f"{self.prefix}connection from {show(peer or self._path)}"
        self.connected(sock)

    def _drop(self) -> None:
        """The connection has ended."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        fd = sock.fileno()
        if self._watching_in:
            self.machine.remove_reader(fd)
        if self._watching_out:
            self.machine.loop.remove_writer(fd)
        was_connected = not self._connecting
        self._watching_in = self._watching_out = self._connecting = False
        sock.close()
        if self.tells and was_connected:
            self.machine.emit_event("NETDEV_STREAM_DISCONNECTED", {"netdev-id": self.name})
        self._in.clear()
        waited = bool(self._out)
        self._out.clear()
        self.text = ""
        if self._listener is not None:
            self.machine.add_reader(self._listener.fileno(), self._accept)
        if waited:
            self.flush_queued()

    # -- frames -----------------------------------------------------------------------------------------------

    def receive(self, frame: Frame, offload: Offload | None = None) -> bool:
        if self._sock is None or self._connecting:
            self.lost += 1
            return True
        if self._out:
            return False
        parts = [len(frame).to_bytes(4, "big"), frame]
        try:
            done = self._sock.sendmsg(parts)
        except (BlockingIOError, InterruptedError):
            return self._wait()
        except OSError:
            self._drop()
            return True
        if done < len(frame) + 4:
            self._out += b"".join(parts)[done:]
            self._wait()
        return True

    def _wait(self) -> bool:
        self._watch_out(True)
        return False

    def _watch_in(self, on: bool) -> None:
        if self._sock is not None and on != self._watching_in:
            self._watching_in = on
            if on:
                self.machine.add_reader(self._sock.fileno(), self._readable)
            else:
                self.machine.remove_reader(self._sock.fileno())

    def _watch_out(self, on: bool) -> None:
        if self._sock is not None and on != self._watching_out:
            self._watching_out = on
            if on:
                self.machine.loop.add_writer(self._sock.fileno(), self._writable)
            else:
                self.machine.loop.remove_writer(self._sock.fileno())

    def _writable(self) -> None:
        sock = self._sock
        assert sock is not None
        if self._connecting:
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self._failed(os.strerror(error))
                return
            self._watch_out(False)
            self.connected(sock)
            return
        if self._out:
            try:
                del self._out[: sock.send(self._out)]
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._drop()
                return
        if not self._out:
            self._watch_out(False)
            self.flush_queued()

    def _readable(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._drop()
            return
        self._in += data
        self._pass_on()

    def _pass_on(self) -> None:
        """Whole frames go to the card; when it is full the rest waits, and the socket too."""
        data = self._in
        at = 0
        full = False
        while len(data) - at >= 4:
            size = int.from_bytes(data[at : at + 4], "big")
            if size > MOST_FRAME:
                print(f"pcemu: warning: netdev {self.name}: a frame of {size} bytes: connection ended", file=sys.stderr)
                self._drop()
                return
            if len(data) - at - 4 < size:
                break
            frame = bytes(data[at + 4 : at + 4 + size])
            if size <= MAX_FRAME and not self.send(frame):
                full = True
                break
            if self._sock is None:
                return
            at += 4 + size
        del data[:at]
        self._watch_in(not full)

    def on_room(self) -> None:
        if self._sock is not None and not self._connecting:
            self._pass_on()

    def describe(self) -> str:
        return self.text

    def close(self) -> None:
        super().close()
        listener, self._listener = self._listener, None
        if listener is not None:
            if self._sock is None:
                self.machine.remove_reader(listener.fileno())
            listener.close()
            if self._path:
                with contextlib.suppress(OSError):
                    os.unlink(self._path)
        self._drop()


def create(machine: Any, name: str, options: dict[str, Any]) -> NetClient:
    """-netdev stream,id=ID[,server=on|off],addr.type=inet|unix|fd,addr...."""
    if not any(key.startswith("addr.") for key in options):
        raise NetError("Parameter 'addr' is missing")
    server = options.get("server", False)
    address = from_keys(options, "addr", server, socket.SOCK_STREAM)
    client = StreamNet(machine, name)
    client.keep_alive = options.get("addr.keep-alive", False)
    try:
        if isinstance(address, str):
            sock = given_fd(machine, name, address)
            if server:
                client.accept_on(sock)
            else:
                client.text = f"fd={address}"
                client.connected(sock)
        elif server:
            client.listen(address)
        else:
            client.connect_to(address)
    except NetError:
        client.close()
        raise
    return client


def _described(sock: socket.socket, listens_at: str) -> dict[str, str]:
    """The other end, as QMP names addresses."""
    try:
        peer = sock.getpeername()
    except OSError:  # gone again
        peer = ""
    if isinstance(peer, tuple):
        return {"type": "inet", "host": str(peer[0]), "port": str(peer[1])}
    path = peer or listens_at
    return {"type": "unix", "path": path.decode(errors="replace") if isinstance(path, bytes) else path}
