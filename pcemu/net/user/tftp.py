"""TFTP (RFC 1350, options RFC 2347-2349): files below one directory of the host, for reading."""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from struct import pack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stack import UserNet

RRQ, WRQ, DATA, ACK, ERROR, OACK = range(1, 7)
NOT_FOUND, VIOLATION, ILLEGAL, UNKNOWN = 1, 2, 4, 5
MOST_SESSIONS = 20
LARGEST_BLOCK = 1428  # a frame without fragments


class Session:
    """One file on its way to one port of a guest."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self.block_size = 512
        self.block = 0  # the last one sent, not wrapped
        self.done = False


class Tftp:
    def __init__(self, net: UserNet) -> None:
        self.net = net
        self.root = os.path.realpath(net.config.tftp)
        self.sessions: OrderedDict[tuple[bytes, int], Session] = OrderedDict()  # least recently used first

    def receive(self, source: bytes, port: int, target: bytes, data: memoryview) -> None:
        """A packet to port 69. (Sessions stay on that port: the guest's port tells them apart.)"""
        if len(data) < 4:
            return
        code = int.from_bytes(data[:2], "big")
        key = (source, port)
        reply: bytes | None = None
        if code == RRQ:
            reply = self._begin(key, bytes(data[2:600]))
        elif code == WRQ:
            reply = _error(VIOLATION, "files are for reading")
        elif code == ACK and key in self.sessions:
            self.sessions.move_to_end(key)
            reply = self._acknowledged(key, int.from_bytes(data[2:4], "big"))
        elif code == ERROR:
            self._end(key)
        if reply is not None:
            self.net.send_udp(target, 69, source, port, reply)

    def _begin(self, key: tuple[bytes, int], request: bytes) -> bytes:
        self._end(key)
        fields = request.split(b"\0")[:-1]
        if len(fields) < 2:
            return _error(ILLEGAL, "malformed request")
        if fields[1].lower() != b"octet":
            return _error(ILLEGAL, "only octet mode")
        opened = self._open(os.fsdecode(fields[0]))
        if opened is None:
            return _error(NOT_FOUND, "no such file")
        while len(self.sessions) >= MOST_SESSIONS:
            self._end(next(iter(self.sessions)))
        session = self.sessions[key] = opened
        answer = b""
        for name, value in zip(fields[2::2], fields[3::2], strict=False):
            name = name.lower()
            if name == b"tsize":
                answer += b"tsize\0%d\0" % session.size
            elif name == b"blksize" and value.isdigit() and len(value) < 6 and int(value) >= 8:
                session.block_size = min(int(value), LARGEST_BLOCK)
                answer += b"blksize\0%d\0" % session.block_size
        if answer:
            return pack(">H", OACK) + answer
        return self._block(session, 1)

    def _open(self, name: str) -> Session | None:
        """A regular file below the root, links followed; anything else is not there."""
        path = os.path.realpath(os.path.join(self.root, name.lstrip("/")))
        if os.path.commonpath((self.root, path)) != self.root:
            return None
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except (OSError, ValueError):
            return None
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            return None
        return Session(fd, status.st_size)

    def _acknowledged(self, key: tuple[bytes, int], number: int) -> bytes | None:
        session = self.sessions[key]
        if number == session.block & 0xFFFF:
            if session.done:
                self._end(key)
                return None
            return self._block(session, session.block + 1)
        if number == (session.block - 1) & 0xFFFF and session.block:
            return self._block(session, session.block)  # ours was lost
        return None

    def _block(self, session: Session, number: int) -> bytes:
        session.block = number
        try:
            data = os.pread(session.fd, session.block_size, (number - 1) * session.block_size)
        except OSError:
            return _error(UNKNOWN, "read error")
        session.done = len(data) < session.block_size
        return pack(">HH", DATA, number & 0xFFFF) + data

    def _end(self, key: tuple[bytes, int]) -> None:
        session = self.sessions.pop(key, None)
        if session is not None:
            os.close(session.fd)

    def close(self) -> None:
        for key in list(self.sessions):
            self._end(key)


def _error(code: int, text: str) -> bytes:
    return pack(">HH", ERROR, code) + text.encode() + b"\0"
