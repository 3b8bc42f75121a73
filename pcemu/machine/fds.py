"""File descriptors handed to the machine: by name (getfd), in sets (add-fd, -add-fd), and /dev/fdset/N as a path.

A privileged manager opens files and sockets and gives them to a process that may open nothing itself. A set holds
several descriptors of one file, opened differently; opening `/dev/fdset/N` duplicates the one with the wanted access.
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass, field
from typing import Any

from pcemu.qom.errors import PcemuError

_SET_PATH = re.compile(r"/dev/fdset/(\d{1,18})")


@dataclass
class FdSet:
    """fd -> what its giver said about it."""

    fds: dict[int, str | None] = field(default_factory=dict)


class Descriptors:
    """All of one machine."""

    def __init__(self) -> None:
        self.named: dict[str, int] = {}
        self.sets: dict[int, FdSet] = {}

    # -- what came over a socket ------------------------------------------------------------------------------

    def take_received(self, chardev: Any) -> int:
        """The descriptor that came with the last message of a monitor's stream; the ones behind it are closed."""
        received: list[int] = getattr(chardev, "received_fds", [])
        if not received:
            raise PcemuError("No file descriptor supplied via SCM_RIGHTS")
        fd = received.pop(0)
        self.drop_received(chardev)
        return fd

    def drop_received(self, chardev: Any) -> None:
        received: list[int] = getattr(chardev, "received_fds", [])
        while received:
            os.close(received.pop())

    # -- named ------------------------------------------------------------------------------------------------

    def give_name(self, name: str, fd: int) -> None:
        """getfd: an older descriptor of that name is closed."""
        if name[:1].isdigit():
            os.close(fd)
            raise PcemuError("Parameter 'fdname' expects a name not starting with a digit")
        old = self.named.pop(name, None)
        if old is not None:
            os.close(old)
        self.named[name] = fd

    def close_name(self, name: str) -> None:
        fd = self.named.pop(name, None)
        if fd is None:
            raise PcemuError(f"File descriptor named '{name}' not found")
        os.close(fd)

    def use(self, text: str) -> int:
        """What `fd=` says: a number, or a name, which is used up."""
        if re.fullmatch("[0-9]{1,9}", text):
            return int(text)
        fd = self.named.pop(text, None)
        if fd is None:
            raise PcemuError(f"File descriptor named '{text}' has not been found")
        return fd

    # -- sets -------------------------------------------------------------------------------------------------

    def add(self, fd: int, number: int | None = None, opaque: str | None = None) -> int:
        """Into a set (a new one when no number is given); returns the set's number."""
        if number is not None and number < 0:
            os.close(fd)
            raise PcemuError("Parameter 'fdset-id' expects a non-negative value")
        if number is None:
            number = next(n for n in range(len(self.sets) + 1) if n not in self.sets)
        self.sets.setdefault(number, FdSet()).fds[fd] = opaque
        return number

    def remove(self, number: int, fd: int | None = None) -> None:
        found = self.sets.get(number)
        name = f"fdset-id:{number}" + ("" if fd is None else f", fd:{fd}")
        if found is None or (fd is not None and fd not in found.fds):
            raise PcemuError(f"File descriptor named '{name}' not found")
        for each in list(found.fds) if fd is None else [fd]:
            del found.fds[each]
            os.close(each)
        if not found.fds:
            del self.sets[number]

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        """os.open(), which knows /dev/fdset/N."""
        matched = _SET_PATH.fullmatch(path)
        if matched is None:
            return os.open(path, flags | os.O_CLOEXEC, mode)
        found = self.sets.get(int(matched[1]))
        if found is None:
            raise FileNotFoundError(2, "no such set of file descriptors", path)
        wanted = flags & os.O_ACCMODE
        for fd in found.fds:
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == wanted:
                made = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
                if flags & os.O_TRUNC and wanted != os.O_RDONLY:
                    os.ftruncate(made, 0)
                return made
        raise PermissionError(13, "no descriptor of the set has the wanted access", path)

    def close(self) -> None:
        for fd in self.named.values():
            os.close(fd)
        for each in self.sets.values():
            for fd in each.fds:
                os.close(fd)
        self.named.clear()
        self.sets.clear()

