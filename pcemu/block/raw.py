"""The raw format: the bytes as they are, or a window of them (offset=, size=)."""

from __future__ import annotations

import errno

from .errors import BlockError
from .graph import looks_like_a_format
from .iov import Views
from .node import Extent, Node


class RawNode(Node):
    """`file` from `offset` on, `size` bytes long (None: to its end)."""

    driver = "raw"

    def __init__(self, file: Node, offset: int = 0, size: int | None = None, node_name: str = "",
                 read_only: bool = False, probed: bool = False) -> None:  # fmt: skip
        super().__init__(node_name, read_only or file.read_only)
        if offset % 512 or (size or 0) % 512:
            raise BlockError("raw: offset and size must be multiples of 512")
        if offset > file.size or (size is not None and offset + size > file.size):
            raise BlockError(f"raw: offset={offset} and size={size} lie outside of '{file.filename}', {file.size} bytes")
        self.file: Node = file
        self.offset = offset
        self.probed = probed
        self._window = size is not None
        self.size = file.size - offset if size is None else size
        self.filename = file.filename
        self.can_fast_zero = file.can_fast_zero
        self.writes_in_turn = file.writes_in_turn

    def pread(self, offset: int, views: Views) -> None:
        self.file.pread(self.offset + offset, views)

    def try_pread(self, offset: int, views: Views) -> bool:
        return self.file.try_pread(self.offset + offset, views)

    def pwrite(self, offset: int, views: Views, fua: bool = False) -> None:
        if self.probed and offset < 16 and looks_like_a_format(b"".join(bytes(view[:16]) for view in views[:16])[:16]):
            raise OSError(errno.EPERM, "a guest may not make a raw image look like another format unless format=raw is given")
        self.file.pwrite(self.offset + offset, views, fua)

    def flush(self) -> None:
        self.file.flush()

    def discard(self, offset: int, length: int) -> None:
        self.file.discard(self.offset + offset, length)

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        self.file.write_zeroes(self.offset + offset, length, unmap)

    def status(self, offset: int, length: int) -> Extent:
        return self.file.status(self.offset + offset, length)

    def truncate(self, size: int) -> None:
        if self._window:
            raise OSError(errno.ENOTSUP, "raw: a window (size=) cannot be resized")
        self.file.truncate(self.offset + size)
        self.size = size
