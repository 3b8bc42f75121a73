"""TCP and Unix stream sockets, as server or client."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
from typing import Any

from . import telnet
from .base import READ_SIZE, Chardev, ChardevError

MOST_DESCRIPTORS = 16       # that come with one message


class SocketChardev(Chardev):
    """One peer at a time. Output without a peer is thrown away; a peer that leaves may come back.

    A server waits for its first client before the machine starts unless wait=off. A client must reach its server
    at the start, unless reconnect=SECONDS is given: then it tries until it does, and again after a loss.
    """

    backend = "socket"
    options = {
        "host": "str", "port": "str", "to": "int", "ipv4": "bool", "ipv6": "bool", "nodelay": "bool",
        "path": "str", "abstract": "bool", "tight": "bool", "fd": "str",
        "server": "bool", "wait": "bool", "telnet": "bool", "reconnect": "int",
    }

    def __init__(self, machine: Any, id: str = "", **opts: Any) -> None:
        super().__init__(machine, id, **opts)
        self.path: str | None = opts.get("path")
        self.host: str = opts.get("host") or ""
        self.port: str = str(opts.get("port") or "")
        self.server = bool(opts.get("server", False))
        self.wait = bool(opts.get("wait", self.server))
        self.telnet = bool(opts.get("telnet", False))
        self.reconnect: int = opts.get("reconnect", 0)
        self._check()
        self._made = ""                 # the socket's file, wherever we go (-daemonize changes the directory)
        self.connected = False
        self._listener: socket.socket | None = None
        self._sock: socket.socket | None = None
        self._watching_in = self._watching_out = False
        self._timer: Any = None
        self._telnet = telnet.Filter()
        try:
            self._open()
        except OSError as err:
            raise ChardevError(f"chardev '{id}': {self._where()}: {err.strerror or err}") from err

    def _check(self) -> None:
        ways = sum(1 for given in (self.path, self.port, self.opts.get("fd")) if given)
        if ways != 1:
            raise ChardevError(f"chardev '{self.id}': one of path=, port= or fd= is needed")
        if not self.server and self.opts.get("wait"):
            raise ChardevError(f"chardev '{self.id}': wait is for servers (server=on)")
        if self.server and self.reconnect:
            raise ChardevError(f"chardev '{self.id}': reconnect is for clients, not with server=on")

    # ---- opening --------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        fd = self.opts.get("fd")
        if fd is not None:
            given = socket.socket(fileno=self._descriptor(fd))
            if given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                self.server, self._listener = True, given
            else:
                self._connected(given)
                return
        elif self.server:
            self._listener = self._listen()
        if self._listener is not None:
            if self.wait:
                print(f"pcemu: waiting for connection on: {self.describe()}", file=sys.stderr, flush=True)
                self._connected(self._listener.accept()[0])
            else:
                self._listener.setblocking(False)
                self._await_client()
        elif self.reconnect:
            self._try_connect()
        else:
            self._connected(self._connect())

    def _descriptor(self, text: str) -> int:
        fds = getattr(self.machine, "fds", None)
        if fds is not None:
            fd: int = fds.use(text)
            return fd
        return int(text)

    def _addresses(self, passive: bool) -> list[tuple[Any, ...]]:
        want4, want6 = self.opts.get("ipv4"), self.opts.get("ipv6")
        family = socket.AF_UNSPEC
        if (want4 and not want6) or want6 is False:
            family = socket.AF_INET
        elif (want6 and not want4) or want4 is False:
            family = socket.AF_INET6
        flags = socket.AI_PASSIVE if passive else 0
        return socket.getaddrinfo(self.host or None, self.port, family, socket.SOCK_STREAM, 0, flags)

    def _unix_name(self) -> str:
        assert self.path is not None
        return "\0" + self.path if self.opts.get("abstract") else self.path

    def _listen(self) -> socket.socket:
        if self.path is not None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            if not self.opts.get("abstract"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)
            sock.bind(self._unix_name())
            sock.listen(1)
            self._made = os.path.abspath(self.path)
            return sock
        error: OSError | None = None
        last = int(self.opts.get("to") or 0)
        for family, kind, proto, _, address in self._addresses(passive=True):
            first = address[1]
            for port in range(first, max(first, last) + 1):
                sock = socket.socket(family, kind, proto)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if self.host == "" else 1)
                try:
                    sock.bind((address[0], port, *address[2:]))
                    sock.listen(1)
                    return sock
                except OSError as err:
                    sock.close()
                    error = err
        raise error or OSError("no address to listen on")

    def _connect(self) -> socket.socket:
        if self.path is not None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(self._unix_name())
            except OSError:
                sock.close()
                raise
            return sock
        error: OSError | None = None
        for family, kind, proto, _, address in self._addresses(passive=False):
            sock = socket.socket(family, kind, proto)
            try:
                sock.connect(address)
                return sock
            except OSError as err:
                sock.close()
                error = err
        raise error or OSError("no address to connect to")

    def _try_connect(self) -> None:
        self._timer = None
        if self.closed:
            return
        try:
            self._connected(self._connect())
        except OSError:
            loop = getattr(self.machine, "loop", None)
            if loop is not None:
                self._timer = loop.call_later(self.reconnect, self._try_connect)

    def _await_client(self) -> None:
        if self._listener is not None and not self.closed:
            self._listener.setblocking(False)
            self.machine.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if self._sock is not None:
            sock.close()
            return
        if not self.refuse_others:
            self.machine.remove_reader(self._listener.fileno())     # the next client waits until this one leaves
        self._connected(sock)

    @property
    def busy(self) -> bool:
        """Is there a peer already?"""
        return self._sock is not None or self.closed

    def add_client(self, sock: socket.socket) -> None:
        """A peer that somebody else has connected; only while there is none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._listener is not None and not self.refuse_others:
            self.machine.remove_reader(self._listener.fileno())
        self._connected(sock)

    def _connected(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if self.opts.get("nodelay") and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self.connected = True
        if self.telnet:
            self._telnet = telnet.Filter()
            sock.send(telnet.GREETING)
        self._event("opened")
        if self._on_input is not None:
            self._watch_input(True)

    def _lost(self) -> None:
        """The peer left: be ready for the next one."""
        if self._sock is None:
            return
        self._watch_input(False)
        self._watch_room(False)
        self._sock.close()
        self._sock = None
        self.connected = False
        self._event("closed")
        if self.server:
            self._await_client()
        elif self.reconnect and not self.closed:
            loop = getattr(self.machine, "loop", None)
            if loop is not None and self._timer is None:
                self._timer = loop.call_later(self.reconnect, self._try_connect)
        self.flush()                    # what was queued is for nobody now; whoever waits for room goes on

    # ---- moving bytes ---------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> int:
        if self._sock is None:
            return len(data)
        try:
            if not self.telnet:
                return self._sock.send(data)
            # 255 is doubled on a telnet line; send the halves of a pair together or not at all.
            coded = data.replace(b"\xff", b"\xff\xff")
            sent = self._sock.send(coded)
            if sent < len(coded):
                taken = telnet.plain_length(coded, sent)
                if telnet.splits_pair(coded, sent):
                    self._telnet_rest()
                    taken += 1
                return taken
            return len(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            loop = getattr(self.machine, "loop", None)
            self.connected = False
            if loop is not None:
                loop.call_soon(self._lost)
            return len(data)

    def _telnet_rest(self) -> None:
        """Half of a doubled 255 went out: the other half must follow before anything else."""
        assert self._sock is not None
        self._wait_room(1.0)
        with contextlib.suppress(OSError):
            self._sock.send(b"\xff")

    def _watch_room(self, on: bool) -> None:
        loop = getattr(self.machine, "loop", None)
        if on == self._watching_out or self._sock is None or loop is None:
            return
        if on:
            loop.add_writer(self._sock.fileno(), self._room)
        else:
            loop.remove_writer(self._sock.fileno())
        self._watching_out = on

    def _room(self) -> None:
        self._watch_room(False)
        self.flush()

    def _wait_room(self, timeout: float) -> None:
        if self._sock is not None:
            poll = select.poll()
            poll.register(self._sock.fileno(), select.POLLOUT)
            poll.poll(int(timeout * 1000))

    def _watch_input(self, on: bool) -> None:
        if on == self._watching_in or self._sock is None:
            return
        if on:
            self.machine.add_reader(self._sock.fileno(), self._readable)
        else:
            self.machine.remove_reader(self._sock.fileno())
        self._watching_in = on

    def _readable(self) -> None:
        if self._sock is None:
            return
        try:
            if self.accept_descriptors and self._sock.family == socket.AF_UNIX:
                data = self._receive_descriptors(self._sock)
            else:
                data = self._sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        if self.telnet:
            data, breaks = self._telnet.feed(data)
            for _ in range(breaks):
                self._event("break")
        if data:
            self._receive(data)

    def _receive_descriptors(self, sock: socket.socket) -> bytes:
        """Data, and the descriptors that came with it: they replace those nobody asked for."""
        data, fds, _, _ = socket.recv_fds(sock, READ_SIZE, MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if fds:
            while self.received_fds:
                os.close(self.received_fds.pop())
            self.received_fds = list(fds)
        return data

    # ---- the rest -------------------------------------------------------------------------------------------------

    def _where(self) -> str:
        protocol = "telnet" if self.telnet else "tcp"
        if self.path is not None:
            return f"unix:{self.path}" + (",server=on" if self.server else "")
        if self.opts.get("fd") is not None:
            return f"fd:{self.opts['fd']}" + (",server=on" if self.server else "")
        host, port = self.host, self.port
        if self._bound() is not None:
            host, port = self._bound()[:2]
        return f"{protocol}:{_bracket(host)}:{port}" + (",server=on" if self.server else "")

    def _bound(self) -> Any:
        listener = getattr(self, "_listener", None)
        return None if listener is None or listener.family == socket.AF_UNIX else listener.getsockname()

    def describe(self) -> str:
        if self._sock is None:
            return "disconnected:" + self._where()
        if self._sock.family == socket.AF_UNIX:
            return self._where()
        try:
            local, peer = self._sock.getsockname(), self._sock.getpeername()
        except OSError:
            return "disconnected:" + self._where()
        protocol = "telnet" if self.telnet else "tcp"
        server = ",server=on" if self.server else ""
        return f"{protocol}:{_bracket(local[0])}:{local[1]}{server} <-> {_bracket(peer[0])}:{peer[1]}"

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            if self._sock is None:
                self.machine.remove_reader(self._listener.fileno())
            self._listener.close()
            if self._made and not self.opts.get("abstract"):
                with contextlib.suppress(OSError):
                    os.unlink(self._made)
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        while self.received_fds:
            os.close(self.received_fds.pop())


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
