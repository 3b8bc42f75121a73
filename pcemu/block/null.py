"""null-co: a disk that keeps nothing, to measure everything around it."""

from __future__ import annotations

from . import iov
from .iov import Views
from .node import Extent, Node, Status


class NullNode(Node):
    """Writes go nowhere; reads leave the buffer alone, or zero it (read-zeroes=on)."""

    driver = "null-co"
    can_fast_zero = True

    def __init__(self, size: int = 1 << 30, read_zeroes: bool = False, latency_ns: int = 0, node_name: str = "",
                 read_only: bool = False) -> None:  # fmt: skip
        super().__init__(node_name, read_only)
        self.size = size
        self.read_zeroes = read_zeroes
        self.latency_ns = latency_ns
        self.filename = "null-co://"

    def _wait(self) -> None:
        if self.latency_ns:
            import time

            time.sleep(self.latency_ns / 1e9)  # in a pool thread: the host's time, not the guest's

    def pread(self, offset: int, views: Views) -> None:
        self._wait()
        if self.read_zeroes:
            iov.clear(views)

    def try_pread(self, offset: int, views: Views) -> bool:
        if self.latency_ns:
            return False
        self.pread(offset, views)
        return True

    def pwrite(self, offset: int, views: Views, fua: bool = False) -> None:
        self._wait()

    def flush(self) -> None:
        self._wait()

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        self._wait()

    def status(self, offset: int, length: int) -> Extent:
        return Extent(Status.ZERO if self.read_zeroes else Status.DATA, length, offset)

    def truncate(self, size: int) -> None:
        self.size = size
