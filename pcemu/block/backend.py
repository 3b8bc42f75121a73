"""A disk as a device sees it: requests that do not block, completed on the machine's thread."""

from __future__ import annotations

import contextlib
import errno
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

from . import iov
from .errors import BlockError
from .node import Node
from .pool import Lane, ThreadPool

Done = Callable[[int], object]

CLOSE_PATIENCE = 30.0  # seconds
INLINE_LIMIT = 1 << 20  # larger reads go to the pool even if the host has them in memory: copying takes its time


@dataclass
class Counts:
    """Requests of one kind."""

    done: int = 0
    bytes: int = 0
    ns: int = 0  # from the request to its end, all together
    failed: int = 0
    invalid: int = 0  # refused: beyond the end, or a write to a read-only disk


class Statistics:
    """What a back end has done; kinds are rd, wr, flush and unmap (discard)."""

    def __init__(self) -> None:
        self.kinds = {kind: Counts() for kind in ("rd", "wr", "flush", "unmap")}
        self.account_invalid = True  # do requests that were refused count as activity (last_ns),
        self.account_failed = True  # ... and those that failed, as time spent?
        self.highest = 0  # the end of what was written farthest behind
        self.last_ns = 0  # the host's time when the last request ended

    def refused(self, kind: str) -> None:
        self.kinds[kind].invalid += 1
        if self.account_invalid:
            self.last_ns = monotonic_ns()


class BlockBackend:
    """`root` with a queue of requests.

    All methods are for the machine's thread. Buffers belong to the backend until `done(errno)` is called, on the same
    thread, from the loop: never from inside the call that started the request, unless the device says that it can take
    this (`may_finish_early`; data in the host's page cache is then there at once, without a turn of the loop).
    errno is 0 or the host's (EIO, ENOSPC, ...). Requests may finish in any order. A flush covers the requests that were
    finished when it was made. Requests that overlap are not ordered: a device or its guest does that.
    """

    def __init__(self, ident: str, root: Node, post: Callable[[Callable[[], object]], object], pool: ThreadPool | None = None,
                 *, discard: bool = False, detect_zeroes: str = "off", write_cache: bool = True) -> None:  # fmt: skip
        self.id = ident
        self.node_name = root.node_name
        self.root = root
        self.size = root.size  # bytes, a multiple of 512 for what a guest sees: see sectors
        self.read_only = root.read_only
        self.discard_enabled = discard
        self.detect_zeroes = detect_zeroes  # "off", "on" or "unmap"
        self.write_cache = write_cache  # False: every write is stable when it is done (cache=writethrough)
        self.may_finish_early = False  # set by a device whose `done` may be called before preadv() & co. return
        self.options: dict[str, str] = {}  # of -drive, for the device: serial, werror, rerror
        self.owner = ""
        self.in_flight = 0
        self.failures = 0
        self.stats = Statistics()
        self.io_status = "ok"  # of a device that stopped the machine: "failed" or "nospace"
        self.on_resize: Callable[[], object] | None = None
        self._post = post
        self._pool = pool or ThreadPool()
        self._own_pool = pool is None
        self._lane = Lane(self._pool)
        self._finished: deque[tuple[Done, int]] = deque()
        self._posted = False
        self._wake = threading.Event()
        self._closed = False
        self.gone = False  # drive_del, while a device had it: the device is there still

    @property
    def sectors(self) -> int:
        """Size in whole sectors of 512 bytes; a rest at the end is not shown to guests."""
        return self.size >> 9

    # -- who uses it ------------------------------------------------------------------------------------------

    def attach(self, owner: str) -> None:
        """A device takes it; a second one is refused."""
        if self.owner:
            raise BlockError(f"Drive '{self.id or self.node_name}' is already in use by another device")
        self.owner = owner

    def detach(self) -> None:
        self.drain()
        self.owner = ""
        self.may_finish_early = False

    # -- requests ---------------------------------------------------------------------------------------------

    def preadv(self, offset: int, views: Sequence[memoryview], done: Done) -> None:
        """Read into writable views of bytes, from byte `offset` on. EIO beyond the end."""
        length = iov.total(views)
        if offset < 0 or offset + length > self.size:
            self.stats.refused("rd")
            self._finish(done, errno.EIO)
            return
        done = self._counted("rd", length, done)
        if length <= INLINE_LIMIT and not self._closed:
            try:
                if self.root.try_pread(offset, views):
                    self._finish(done, 0)
                    return
            except OSError:
                pass  # the pool will say what it is
        self._submit(lambda: self.root.pread(offset, views), done)

    def pwritev(self, offset: int, views: Sequence[memoryview], done: Done, fua: bool = False) -> None:
        """Write views of bytes at byte `offset`. `fua`: it is stable when it is done. EPERM on a read-only disk."""
        length = iov.total(views)
        if not self._writable(offset, length, done):
            return
        done = self._counted("wr", length, done)
        self.stats.highest = max(self.stats.highest, offset + length)
        fua = fua or not self.write_cache
        in_turn = self.root.writes_in_turn and not fua
        if self.detect_zeroes != "off":
            unmap = self.detect_zeroes == "unmap" and self.discard_enabled

            def write() -> None:
                if all(map(iov.is_zero, views)):
                    self._zero(offset, length, unmap, fua)
                else:
                    self.root.pwrite(offset, views, fua)

            self._submit(write, done, in_turn)
            return
        self._submit(lambda: self.root.pwrite(offset, views, fua), done, in_turn)

    def flush(self, done: Done) -> None:
        """What was done before is stable when this is done."""
        done = self._counted("flush", 0, done)
        if self.read_only:
            self._finish(done, 0)
            return
        self._submit(self.root.flush, done)

    def discard(self, offset: int, length: int, done: Done) -> None:
        """The contents are not needed any more. A hint; does nothing unless discard=unmap."""
        if not self._writable(offset, length, done, "unmap"):
            return
        done = self._counted("unmap", length, done)
        if not self.discard_enabled:
            self._finish(done, 0)
            return
        self._submit(lambda: self.root.discard(offset, length), done)

    def write_zeroes(self, offset: int, length: int, done: Done, unmap: bool = False) -> None:
        """Zeroes from `offset` on; with `unmap` the space may be given back (if discard=unmap)."""
        if not self._writable(offset, length, done):
            return
        done = self._counted("wr", length, done)
        unmap = unmap and self.discard_enabled
        self._submit(lambda: self._zero(offset, length, unmap, not self.write_cache), done)

    def _zero(self, offset: int, length: int, unmap: bool, fua: bool) -> None:
        self.root.write_zeroes(offset, length, unmap)
        if fua:
            self.root.flush()

    def drain(self, patience: float | None = None) -> bool:
        """Wait until nothing is in flight; every `done` has been called when this returns.

        With `patience`, give up if nothing finishes for so many seconds (a server that does not answer): False.
        """
        while self.in_flight:
            self._deliver()
            if self.in_flight and not self._finished:
                if not self._wake.wait(patience):
                    return False
                self._wake.clear()
        return True

    def resized(self) -> None:
        """The image below has a new size (block_resize)."""
        self.size = self.root.size
        if self.on_resize is not None:
            self.on_resize()

    # -- the machinery ----------------------------------------------------------------------------------------

    def _counted(self, kind: str, length: int, done: Done) -> Done:
        """`done`, which keeps the statistics first."""
        counts, start = self.stats.kinds[kind], monotonic_ns()

        def finished(number: int) -> None:
            if not number or self.stats.account_failed:
                self.stats.last_ns = now = monotonic_ns()
                counts.ns += now - start
            if number:
                counts.failed += 1
            else:
                counts.done += 1
                counts.bytes += length
            done(number)

        return finished

    def _writable(self, offset: int, length: int, done: Done, kind: str = "wr") -> bool:
        if self.read_only:
            self.stats.refused(kind)
            self._finish(done, errno.EPERM)
            return False
        if offset < 0 or length < 0 or offset + length > self.size:
            self.stats.refused(kind)
            self._finish(done, errno.EIO)
            return False
        return True

    def _submit(self, work: Callable[[], Any], done: Done, in_turn: bool = False) -> None:
        self.in_flight += 1
        if self._closed:
            self._complete(done, errno.ENOMEDIUM)
            return

        def run() -> None:
            number = 0
            try:
                work()
            except OSError as error:
                number = error.errno or errno.EIO
                self._report(error)
            except MemoryError:
                number = errno.ENOMEM
            except Exception as error:
                number = errno.EIO
                self._report(error)
            self._complete(done, number)

        (self._lane if in_turn else self._pool).submit(run)

    def _report(self, error: Exception) -> None:
        """The first failures are worth a line; a guest that goes on for ever must not fill the terminal."""
        self.failures += 1
        if self.failures <= 3:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
            print(f"pcemu: drive '{self.id or self.node_name}': {text}", file=sys.stderr)

    def _finish(self, done: Done, number: int) -> None:
        """On the machine's thread: at once, or as if the pool had done it."""
        if self.may_finish_early:
            done(number)
            return
        self.in_flight += 1
        self._complete(done, number)

    def _complete(self, done: Done, number: int) -> None:
        """From any thread."""
        self._finished.append((done, number))
        self._wake.set()
        if not self._posted:
            self._posted = True
            with contextlib.suppress(RuntimeError):  # the loop is closed; drain() delivers
                self._post(self._deliver)

    def _deliver(self) -> None:
        self._posted = False
        finished = self._finished
        while finished:
            done, number = finished.popleft()
            self.in_flight -= 1
            done(number)

    def close(self) -> None:
        """Finish what is in flight, make everything stable and close the image. Idempotent. OSError if it cannot."""
        if self._closed:
            return
        self._closed = True
        if not self.drain(CLOSE_PATIENCE):
            raise OSError(errno.ETIMEDOUT, f"{self.in_flight} requests are not answered; given up")
        if self._own_pool:
            self._pool.close()
        if self.root.closed:
            return
        try:
            if not self.read_only:
                self.root.flush()
        finally:
            self.root.close()
