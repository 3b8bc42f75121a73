"""A disk on an NBD server (fixed newstyle handshake, simple replies; the protocol is NetworkBlockDevice/nbd proto.md)."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
import threading
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pcemu.qom.threads import introduce

from . import iov
from .errors import BlockError
from .iov import Views
from .node import Node

PORT = 10809
GREETING = b"NBDMAGICIHAVEOPT"
OPTION_MAGIC = b"IHAVEOPT"
OPTION_REPLY = 0x0003E889045565A9
FIXED_NEWSTYLE, NO_ZEROES = 1, 2
OPT_EXPORT_NAME, OPT_GO = 1, 7
REP_ACK, REP_INFO, REP_ERROR = 1, 3, 1 << 31
REP_ERR_UNSUP, REP_ERR_UNKNOWN = REP_ERROR + 1, REP_ERROR + 6
INFO_EXPORT, INFO_BLOCK_SIZE = 0, 3
FLAG_READ_ONLY, FLAG_FLUSH, FLAG_FUA, FLAG_TRIM, FLAG_ZEROES = 2, 4, 8, 32, 64
READ, WRITE, DISCONNECT, FLUSH, TRIM, WRITE_ZEROES = 0, 1, 2, 3, 4, 6
CMD_FUA, CMD_NO_HOLE = 1, 2
REQUEST = struct.Struct(">IHHQQI")
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
REPLY = struct.Struct(">IIQ")
# Errors on the wire are numbers of their own, most of them Linux's.
ERRORS = {1: errno.EPERM, 5: errno.EIO, 12: errno.ENOMEM, 22: errno.EINVAL, 28: errno.ENOSPC, 75: errno.EOVERFLOW,
          95: errno.ENOTSUP, 108: errno.ESHUTDOWN}  # fmt: skip
MAX_REQUEST = 32 << 20
MAX_OPTION_REPLY = 64 << 10
CONNECT_SECONDS = 30
SOCKET_VIEWS = 512


def parse_filename(filename: str) -> dict[str, Any]:
    """``nbd://host:port/export``, ``nbd+unix:///export?socket=PATH``, ``nbd:host:port:exportname=X``, ``nbd:unix:PATH``."""
    if not filename.startswith(("nbd://", "nbd+tcp://", "nbd+unix://")):
        rest, _, export = filename.removeprefix("nbd:").partition(":exportname=")
        if rest.startswith("unix:"):
            return {"driver": "nbd", "server": {"type": "unix", "path": rest[5:]}, "export": export}
        host, _, port = rest.rpartition(":")
        if not host:
            raise BlockError(f"'{filename}': nbd:HOST:PORT or nbd:unix:PATH is expected")
        return {"driver": "nbd", "server": {"type": "inet", "host": host.strip("[]"), "port": port}, "export": export}
    try:
        url = urlsplit(filename)
        port = str(url.port or PORT)
        host = url.hostname or "localhost"
    except ValueError as error:
        raise BlockError(f"'{filename}': {error}") from None
    export = unquote(url.path.removeprefix("/"))
    if url.scheme == "nbd+unix":
        path = parse_qs(url.query).get("socket", [""])[0]
        if not path:
            raise BlockError(f"'{filename}': socket=PATH is missing")
        return {"driver": "nbd", "server": {"type": "unix", "path": path}, "export": export}
    return {"driver": "nbd", "server": {"type": "inet", "host": host, "port": port}, "export": export}


class _Pending:
    """A request that waits for its reply."""

    __slots__ = ("done", "error", "views")

    def __init__(self, views: Views) -> None:
        self.views = views
        self.error = 0
        self.done = threading.Event()


class NbdNode(Node):
    """An export. Requests of all threads share the connection; a thread of its own takes the replies."""

    driver = "nbd"

    def __init__(self, server: dict[str, Any], export: str = "", *, node_name: str = "", read_only: bool = False,
                 unmap: bool = False) -> None:  # fmt: skip
        super().__init__(node_name, read_only)
        self.unmap = unmap
        self.export = export
        self.filename = _name(server, export)
        self._flags = 0
        self._block, self._most = 1, MAX_REQUEST
        self._send_lock = threading.Lock()
        self._edge_lock = threading.Lock()
        self._pending: dict[int, _Pending] = {}
        self._handles = itertools.count(1)
        self._failure = ""
        try:
            self._socket = _connect(server)
        except (OSError, ValueError, OverflowError) as error:
            raise BlockError(f"Failed to connect to '{self.filename}': {getattr(error, 'strerror', None) or error}") from None
        try:
            self._handshake()
        except (OSError, struct.error) as error:
            self._socket.close()
            raise BlockError(f"'{self.filename}': handshake with the NBD server failed: {error}") from None
        except BlockError:
            self._socket.close()
            raise
        if not 0 <= self.size < 1 << 63:
            self._socket.close()
            raise BlockError(f"'{self.filename}': the server's size makes no sense: {self.size}")
        if self._flags & FLAG_READ_ONLY and not read_only:
            self._socket.close()
            raise BlockError(f"'{self.filename}': request for write access denied: the export is read-only")
        self.can_fast_zero = bool(self._flags & FLAG_ZEROES)
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read_replies, name="nbd", daemon=True)
        self._reader.start()

    # -- handshake --------------------------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        data = bytearray(count)
        self._fill([memoryview(data)])
        return bytes(data)

    def _fill(self, views: Views) -> None:
        left = iov.total(views)
        while left:
            got = self._socket.recvmsg_into(views[:SOCKET_VIEWS])[0]
            if got == 0:
                raise ConnectionError("the server closed the connection")
            left -= got
            if left:
                views = iov.cut(views, got, left)

    def _send(self, views: list[Any]) -> None:
        left = [memoryview(view) for view in views]
        total = iov.total(left)
        while total:
            done = self._socket.sendmsg(left[:SOCKET_VIEWS])
            total -= done
            if total:
                left = iov.cut(left, done, total)

    def _option(self, option: int, data: bytes) -> None:
        self._send([OPTION_MAGIC + struct.pack(">II", option, len(data)) + data])

    def _handshake(self) -> None:
        if self._take(16) != GREETING:
            raise BlockError(f"'{self.filename}': not an NBD server (or one of the old style)")
        (flags,) = struct.unpack(">H", self._take(2))
        if not flags & FIXED_NEWSTYLE:
            raise BlockError(f"'{self.filename}': the NBD server does not know the fixed newstyle handshake")
        self._send([struct.pack(">I", flags & (FIXED_NEWSTYLE | NO_ZEROES))])
        name = self.export.encode()
        if len(name) > 4096:
            raise BlockError("nbd: the export's name is too long")
        self._option(OPT_GO, struct.pack(">I", len(name)) + name + struct.pack(">HH", 1, INFO_BLOCK_SIZE))
        for _ in range(1000):
            magic, option, kind, length = struct.unpack(">QIII", self._take(20))
            if magic != OPTION_REPLY or option != OPT_GO or length > MAX_OPTION_REPLY:
                raise BlockError(f"'{self.filename}': the NBD server talks nonsense")
            data = self._take(length)
            if kind == REP_ACK:
                return
            if kind == REP_INFO and length >= 12 and data[:2] == b"\0\0":
                self.size, self._flags = struct.unpack_from(">QH", data, 2)
            elif kind == REP_INFO and length >= 14 and data[:2] == struct.pack(">H", INFO_BLOCK_SIZE):
                least, _, most = struct.unpack_from(">III", data, 2)
                if not 1 <= least <= 65536 or least & (least - 1) or most < least:
                    raise BlockError(f"'{self.filename}': the NBD server's block size makes no sense")
                self._block, self._most = least, min(most, MAX_REQUEST) // least * least
            elif kind == REP_ERR_UNSUP:
                self._export_name(name, flags)
                return
            elif kind == REP_ERR_UNKNOWN:
                raise BlockError(f"'{self.filename}': Requested export not available")
            elif kind & REP_ERROR:
                text = "".join(c if c.isprintable() else "?" for c in data[:200].decode(errors="replace"))
                raise BlockError(f"'{self.filename}': the NBD server refuses: {text or hex(kind)}")
        raise BlockError(f"'{self.filename}': the NBD server does not come to an end")

    def _export_name(self, name: bytes, flags: int) -> None:
        """The older way, without errors: the server hangs up."""
        self._option(OPT_EXPORT_NAME, name)
        self.size, self._flags = struct.unpack(">QH", self._take(10))
        if not flags & NO_ZEROES:
            self._take(124)

    # -- requests ---------------------------------------------------------------------------------------------

    def _read_replies(self) -> None:
        """The thread that takes replies; it ends with the connection."""
        introduce()
        try:
            while True:
                magic, error, handle = REPLY.unpack(self._take(REPLY.size))
                pending = self._pending.get(handle)
                if magic != REPLY_MAGIC or pending is None:
                    raise ConnectionError("the NBD server talks nonsense")
                if error:
                    pending.error = ERRORS.get(error, errno.EINVAL)
                elif pending.views:
                    self._fill(pending.views)
                del self._pending[handle]
                pending.done.set()
        except (OSError, ValueError) as failure:
            self._failure = str(failure) or "the connection is gone"
            for pending in list(self._pending.values()):
                pending.error = errno.EIO
                pending.done.set()

    def _request(self, kind: int, offset: int, length: int, flags: int = 0, *, into: Views = (), data: Views = ()) -> None:
        pending = _Pending(into)
        handle = next(self._handles)
        self._pending[handle] = pending
        if self._failure:
            raise OSError(errno.EIO, f"{self.filename}: {self._failure}")
        try:
            with self._send_lock:
                self._send([REQUEST.pack(REQUEST_MAGIC, flags, kind, handle, offset, length), *data])
        except OSError as error:
            raise OSError(errno.EIO, f"{self.filename}: {error.strerror or error}") from None
        pending.done.wait()
        if pending.error:
            text = self._failure or os.strerror(pending.error)
            raise OSError(pending.error, f"{self.filename}: {text}")

    def pread(self, offset: int, views: Views) -> None:
        total = iov.total(views)
        there = max(0, min(total, self.size - offset))
        if there < total:
            iov.clear(iov.cut(views, there, total - there))
            views, total = iov.cut(views, 0, there), there
        if (offset | total) & (self._block - 1):
            low, high = offset & -self._block, min(-(-(offset + total) // self._block) * self._block, self.size)
            data = bytearray(high - low)
            self._read(low, [memoryview(data)])
            iov.fill(views, memoryview(data)[offset - low : offset - low + total])
            return
        self._read(offset, views)

    def _read(self, offset: int, views: Views) -> None:
        total = iov.total(views)
        for done in range(0, total, self._most):
            count = min(self._most, total - done)
            self._request(READ, offset + done, count, into=iov.cut(views, done, count))

    def pwrite(self, offset: int, views: Views, fua: bool = False) -> None:
        total = iov.total(views)
        if offset + total > self.size:
            raise OSError(errno.ENOSPC, f"{self.filename}: {os.strerror(errno.ENOSPC)}")
        if (offset | total) & (self._block - 1):
            with self._edge_lock:
                low, high = offset & -self._block, min(-(-(offset + total) // self._block) * self._block, self.size)
                data = bytearray(high - low)
                self._read(low, [memoryview(data)])
                data[offset - low : offset - low + total] = iov.joined(views)
                self._write(low, [memoryview(data)], fua)
            return
        self._write(offset, views, fua)

    def _write(self, offset: int, views: Views, fua: bool) -> None:
        total = iov.total(views)
        with_flag = fua and self._flags & FLAG_FUA
        for done in range(0, total, self._most):
            count = min(self._most, total - done)
            self._request(WRITE, offset + done, count, CMD_FUA if with_flag else 0, data=iov.cut(views, done, count))
        if fua and not with_flag:
            self.flush()

    def flush(self) -> None:
        if self._flags & FLAG_FLUSH and not self.read_only:
            self._request(FLUSH, 0, 0)

    def discard(self, offset: int, length: int) -> None:
        if self.unmap and self._flags & FLAG_TRIM and not (offset | length) & (self._block - 1):
            self._pieces(TRIM, offset, length, 0)

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        if self._flags & FLAG_ZEROES and not (offset | length) & (self._block - 1):
            self._pieces(WRITE_ZEROES, offset, length, 0 if unmap and self.unmap else CMD_NO_HOLE)
        else:
            super().write_zeroes(offset, length, unmap)

    def _pieces(self, kind: int, offset: int, length: int, flags: int) -> None:
        most = (1 << 30) // self._block * self._block
        for done in range(0, length, most):
            self._request(kind, offset + done, min(most, length - done), flags)

    def truncate(self, size: int) -> None:
        if size > self.size:
            raise OSError(errno.ENOSPC, f"{self.filename}: an export cannot grow")

    def allocated(self) -> int:
        return 0

    def _close(self) -> None:
        try:
            with self._send_lock:
                self._send([REQUEST.pack(REQUEST_MAGIC, 0, DISCONNECT, 0, 0, 0)])
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._reader.join()
        self._socket.close()


def _name(server: dict[str, Any], export: str) -> str:
    if server.get("type") == "unix":
        return f"nbd+unix:///{export}?socket={server.get('path')}"
    return f"nbd://{server.get('host')}:{server.get('port', PORT)}" + (f"/{export}" if export else "")


def _connect(server: dict[str, Any]) -> socket.socket:
    if server["type"] == "unix":
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(server["path"])
        except BaseException:
            connection.close()
            raise
        return connection
    try:
        connection = socket.create_connection((server["host"], int(server["port"])), CONNECT_SECONDS)
    except ValueError:
        raise ValueError(f"port '{server['port']}' is not a number") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
