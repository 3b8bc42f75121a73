"""Files and block devices of the host."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
import sys
from functools import cache
from typing import Any

from . import iov, locks
from .errors import BlockError
from .iov import Views
from .node import Extent, Node, Status

IOV_MAX = 1024
ALIGNMENT = 4096  # what O_DIRECT wants of memory and offsets everywhere
BLKGETSIZE64, BLKDISCARD, BLKZEROOUT = 0x80081272, 0x1277, 0x127F
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 0x10  # fallocate(2)
UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EINVAL, errno.ENODEV)


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return libc


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) with a mode, which os.posix_fallocate() does not have."""
    if not sys.platform.startswith("linux"):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    if _libc().fallocate(fd, mode, offset, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class FileNode(Node):
    """A regular file. Reads beyond its end are zeroes; writes there make it grow."""

    driver = "file"
    can_fast_zero = True

    def __init__(self, path: str, *, read_only: bool = False, direct: bool = False, no_flush: bool = False,
                 locking: str = "auto", share_write: bool = False, node_name: str = "",
                 regular_only: bool = False) -> None:  # fmt: skip
        super().__init__(node_name, read_only)
        self.path = self.filename = path
        self.no_flush = no_flush
        self._punch = self._zero_range = True  # until the file system says no
        self._nowait = hasattr(os, "RWF_NOWAIT")
        self._sync_error: OSError | None = None
        self.writes_in_turn = not direct
        flags = os.O_CLOEXEC | (os.O_RDONLY if read_only else os.O_RDWR)
        try:
            mode = os.stat(path).st_mode
            self._check_kind(mode, regular_only)
            self.fd = os.open(path, flags | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise BlockError(f"Could not open '{path}': {getattr(error, 'strerror', None) or error}") from None
        self._direct_fd = -1
        try:
            self._check_kind(os.fstat(self.fd).st_mode, regular_only)  # still, after the open
            os.set_blocking(self.fd, True)
            if locking != "off":
                locks.acquire(self.fd, path, write=not read_only, share_write=share_write, must=locking == "on")
            if direct:
                self._open_direct(flags)
            self.size = self._measure()
        except BaseException:
            self._close()
            raise

    def _check_kind(self, mode: int, regular_only: bool) -> None:
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise BlockError(f"Could not open '{self.path}': {what}")

    def _open_direct(self, flags: int) -> None:
        """A second descriptor past the page cache. What is not aligned goes through the first: the kernel keeps the two
        in step."""
        try:
            self._direct_fd = os.open(self.path, flags | os.O_DIRECT)
        except OSError as error:
            raise BlockError(f"Could not open '{self.path}' with O_DIRECT: {error.strerror} (cache.direct=off)") from None
        self._nowait = False

    def _measure(self) -> int:
        return os.fstat(self.fd).st_size

    def _descriptor(self, offset: int, views: Views) -> int:
        """The direct one for what is aligned."""
        if self._direct_fd < 0 or offset % ALIGNMENT:
            return self.fd
        for view in views:
            if len(view) % ALIGNMENT or _address(view) % ALIGNMENT:
                return self.fd
        return self._direct_fd

    # -- requests ---------------------------------------------------------------------------------------------

    def pread(self, offset: int, views: Views) -> None:
        left = iov.total(views)
        fd = self._descriptor(offset, views) if self._direct_fd >= 0 else self.fd
        while left:
            got = os.preadv(fd, views[:IOV_MAX], offset)
            if got == left:
                return
            views = iov.cut(views, got, left - got)
            if got == 0:
                iov.clear(views)  # beyond the end
                return
            if got % ALIGNMENT:
                fd = self.fd
            left -= got
            offset += got

    def try_pread(self, offset: int, views: Views) -> bool:
        if not self._nowait or len(views) > IOV_MAX:
            return False
        try:
            got = os.preadv(self.fd, views, offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in UNSUPPORTED:
                self._nowait = False
            return False
        return got == iov.total(views)

    def pwrite(self, offset: int, views: Views, fua: bool = False) -> None:
        left = total = iov.total(views)
        start = offset
        fd = self._descriptor(offset, views) if self._direct_fd >= 0 else self.fd
        while left:
            done = os.pwritev(fd, views[:IOV_MAX], offset)
            offset += done
            if done == left:
                break
            if done == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            views = iov.cut(views, done, left - done)
            left -= done
            if done % ALIGNMENT:
                fd = self.fd
        if start + total > self.size:
            self.size = start + total  # threads may race here: the file knows, this is a lower bound
        if fua:
            self.flush()

    def flush(self) -> None:
        """fdatasync. After a failure the kernel has dropped what it could not write: no later flush may succeed."""
        if self.no_flush or self.read_only:
            return
        if self._sync_error is not None:
            raise self._sync_error
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            self._sync_error = error
            raise

    def discard(self, offset: int, length: int) -> None:
        length = min(length, self._measure() - offset)
        if length > 0 and self._punch and self.unmap:
            try:
                fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, offset, length)
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                self._punch = False

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        if unmap and self._punch and self.unmap:
            self.discard(offset, min(length, max(0, self._measure() - offset)))
            if self._punch:
                self._grow(offset + length)
                return
        if self._zero_range:
            try:
                fallocate(self.fd, ZERO_RANGE, offset, length)
                self.size = max(self.size, offset + length)
                return
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                self._zero_range = False
        super().write_zeroes(offset, length, unmap)

    def _grow(self, end: int) -> None:
        if end > self._measure():
            os.ftruncate(self.fd, end)
        self.size = max(self.size, end)

    def status(self, offset: int, length: int) -> Extent:
        try:
            data = os.lseek(self.fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return Extent(Status.ZERO, length, offset)
            return Extent(Status.DATA, length, offset)
        if data > offset:
            return Extent(Status.ZERO, min(length, data - offset), offset)
        end = os.lseek(self.fd, offset, os.SEEK_HOLE)
        return Extent(Status.DATA, max(1, min(length, end - offset)), offset)

    def truncate(self, size: int) -> None:
        os.ftruncate(self.fd, size)
        self.size = size

    def allocated(self) -> int:
        return os.fstat(self.fd).st_blocks * 512

    def _close(self) -> None:
        for fd in (self.fd, self._direct_fd):
            if fd >= 0:
                os.close(fd)
        self.fd = self._direct_fd = -1


class HostDeviceNode(FileNode):
    """A block device: its size is fixed."""

    driver = "host_device"

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(path, **options)
        self.writes_in_turn = False

    def _check_kind(self, mode: int, regular_only: bool) -> None:
        if not stat.S_ISBLK(mode):
            raise BlockError(f"Could not open '{self.path}': 'host_device' driver requires it to be a block device")

    def _measure(self) -> int:
        return os.lseek(self.fd, 0, os.SEEK_END)

    def discard(self, offset: int, length: int) -> None:
        if self._punch and self.unmap:
            try:
                fcntl.ioctl(self.fd, BLKDISCARD, struct.pack("QQ", offset, length))
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                self._punch = False

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        # A discarded device may read as anything: zeroes are asked for.
        if self._zero_range and not (offset | length) % 512:
            try:
                fcntl.ioctl(self.fd, BLKZEROOUT, struct.pack("QQ", offset, length))
                return
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                self._zero_range = False
        Node.write_zeroes(self, offset, length, unmap)

    def status(self, offset: int, length: int) -> Extent:
        return Extent(Status.DATA, length, offset)

    def truncate(self, size: int) -> None:
        if size > self.size:
            raise OSError(errno.ENOSPC, f"{self.path}: a device cannot grow")

    def allocated(self) -> int:
        return self.size


def _address(view: memoryview) -> int:
    if view.readonly:
        return 1  # not known without a copy: counts as misaligned
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def open_host_file(path: str, **options: Any) -> FileNode:
    """A file or a block device, whichever it is."""
    try:
        is_device = stat.S_ISBLK(os.stat(path).st_mode)
    except (OSError, ValueError):
        is_device = False
    return (HostDeviceNode if is_device else FileNode)(path, **options)
