"""What every format and protocol is: a run of bytes that can be read and written from any thread.

Calls block and raise OSError; requests of several threads may overlap. A format has a child in `file` (and `backing`).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Self

from . import iov
from .iov import Views

CHUNK = 1 << 20  # zeroes are written in pieces of this size where nothing faster is there


class Status(IntEnum):
    """What a run of bytes is: see Node.status."""

    HOLE = 0  # not in this layer: the backing file's, or zeroes without one
    ZERO = 1
    DATA = 2


class Extent:
    """A run with one status. `at`: where it lies in the file below, None when it does not lie there as it is."""

    __slots__ = ("at", "compressed", "length", "status")

    def __init__(self, status: Status, length: int, at: int | None = None, compressed: bool = False) -> None:
        self.status = status
        self.length = length
        self.at = at
        self.compressed = compressed


class Node:
    """Base of all. `size` is in bytes; what lies beyond it cannot be read or written by users of the node."""

    driver = ""
    can_fast_zero = False  # write_zeroes() is quicker than writing zeroes
    # Writes gain nothing from being made at once: the host lets one thread at a time write into a file's cached pages, and the
    # others spin meanwhile.
    writes_in_turn = False

    def __init__(self, node_name: str = "", read_only: bool = False) -> None:
        self.node_name = node_name
        self.read_only = read_only
        self.size = 0
        self.file: Node | None = None
        self.backing: Node | None = None
        self.filename = ""  # as the user would name it again
        self.unmap = False  # discard() does something
        self.options: Any = None  # graph.Options it was opened with
        self.closed = False
        self.number = 0  # in the name that monitors show, if it has no other

    # -- requests ---------------------------------------------------------------------------------------------

    def pread(self, offset: int, views: Views) -> None:
        """Fill `views` from `offset` on."""
        raise NotImplementedError

    def try_pread(self, offset: int, views: Views) -> bool:
        """The same if that needs no waiting; False (and views undefined) otherwise."""
        return False

    def pwrite(self, offset: int, views: Views, fua: bool = False) -> None:
        """Write `views` at `offset`; with `fua` it is on stable storage afterwards."""
        raise NotImplementedError

    def flush(self) -> None:
        """What was written before is on stable storage afterwards."""

    def discard(self, offset: int, length: int) -> None:
        """The contents are no longer needed; what is read there afterwards is the driver's choice."""

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        """Zeroes; with `unmap` the space may be given back."""
        while length > 0:
            count = min(length, CHUNK)
            self.pwrite(offset, iov.zero_views(count))
            offset += count
            length -= count

    def status(self, offset: int, length: int) -> Extent:
        """What lies at `offset`, and how far (at least 1 byte, at most `length`)."""
        return Extent(Status.DATA, length, offset)

    def truncate(self, size: int) -> None:
        """Change the size."""
        raise OSError(errno.ENOTSUP, f"{self.driver}: cannot be resized")

    # -- life -------------------------------------------------------------------------------------------------

    def children(self) -> Iterator[Node]:
        for child in (self.file, self.backing):
            if child is not None:
                yield child

    def close(self) -> None:
        """Leave everything in order; children too. Idempotent. Raises OSError if something could not be written."""
        if self.closed:
            return
        self.closed = True
        error: OSError | None = None
        for step in (self._close, *(child.close for child in self.children())):
            try:
                step()
            except OSError as failure:
                error = error or failure
        if error is not None:
            raise error

    def _close(self) -> None:
        """For subclasses: before the children are closed."""

    # -- for formats ------------------------------------------------------------------------------------------

    def get(self, offset: int, length: int) -> bytearray:
        """`length` bytes as they are."""
        data = bytearray(length)
        self.pread(offset, [memoryview(data)])
        return data

    def put(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.pwrite(offset, [memoryview(data)])

    def allocated(self) -> int:
        """Bytes the host has set aside."""
        return sum(child.allocated() for child in self.children())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
