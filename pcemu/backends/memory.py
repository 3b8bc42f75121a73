"""Where guest RAM comes from: -object memory-backend-ram, -memfd and -file, used by -machine memory-backend=ID; -mem-path.

All RAM is one mapping of the core's, backed by a file in memory that nobody sees. A file of the host's is mapped over
its place.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from typing import Any

from pcemu.qom import PcemuError, Property
from pcemu.qom.object import UserObject

MAP_FIXED, MADV_DONTDUMP, MADV_POPULATE_WRITE = 0x10, 16, 23
MAP_FAILED = ctypes.c_void_p(-1).value
PAGE = mmap.PAGESIZE
POLICIES = ("default", "preferred", "bind", "interleave")


def address_of(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def advise(view: memoryview, advice: int) -> None:
    """madvise(); raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.madvise(ctypes.c_void_p(address_of(view)), ctypes.c_size_t(len(view)), advice):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def populate(view: memoryview) -> None:
    """Have the host give every page now; raises OSError. Older kernels cannot be asked, and pages are touched."""
    try:
        advise(view, MADV_POPULATE_WRITE)
    except OSError:
        for at in range(0, len(view), PAGE):
            view[at] = view[at]


class MemoryBackend(UserObject):
    """What all have in common."""

    size = Property("size", default=0, help="of the memory")
    prealloc = Property(bool, help="have the host give all of it at the start")
    dump = Property(bool, default=True, help="it is part of a core dump of pcemu")
    merge = Property(bool, default=True, help="let the host merge equal pages", so=False,
                     inert="hosts do not merge shared memory, which guest RAM is")  # fmt: skip
    reserve = Property(bool, default=True, help="reserve room for it on the host", so=False, inert="nothing is reserved")
    prealloc_threads = Property("u32", default=1, help="threads that touch it", inert="the host does it in one call")
    policy = Property(default="default", choices=POLICIES, help="NUMA policy of the host")
    host_nodes = Property(str, help="NUMA nodes of the host", inert="there is no NUMA policy")
    x_use_canonical_path_for_ramblock_id = Property(bool, inert="there are no saved states")

    def complete(self) -> None:
        self.used = False
        if not self.size:
            raise PcemuError("can't create backend with size 0")
        if self.policy != "default":
            raise PcemuError(f"policy={self.policy}: not implemented yet")

    def place(self, view: memoryview) -> None:
        """`view` is where it becomes the guest's RAM."""
        self.used = True
        self.map_over(view)
        try:
            if not self.dump:
                advise(view, MADV_DONTDUMP)
            if self.prealloc:
                populate(view)
        except OSError as error:
            raise PcemuError(f"{self.type_name} '{self.id}': {error.strerror}") from None

    def map_over(self, view: memoryview) -> None:
        """For those that bring memory of their own."""


class MemoryBackendRam(MemoryBackend):
    """Memory of the host's."""

    type_name = "memory-backend-ram"

    share = Property(bool, help="other processes may have it", so=True, inert="guest RAM is a shared mapping in any case")


class MemoryBackendMemfd(MemoryBackend):
    """The same: all of pcemu's RAM is a memfd."""

    type_name = "memory-backend-memfd"

    share = Property(bool, default=True, help="other processes may have it", so=True,
                     inert="guest RAM is a shared mapping in any case")  # fmt: skip
    hugetlb = Property(bool, help="of huge pages")
    hugetlbsize = Property("size", default=0, help="which ones", inert="there are no huge pages")
    seal = Property(bool, default=True, help="its size cannot change", inert="nobody else has its descriptor")

    def complete(self) -> None:
        super().complete()
        if self.hugetlb:
            raise PcemuError("hugetlb=on: not implemented yet")


class MemoryBackendFile(MemoryBackend):
    """A file of the host's, or one without a name in a directory (/dev/shm, a hugetlbfs)."""

    type_name = "memory-backend-file"
    required = ("mem-path",)

    mem_path = Property(str, help="the file or directory")
    share = Property(bool, help="on: what the guest writes is in the file")
    readonly = Property(bool, help="open the file for reading")
    align = Property("size", default=0, help="of the mapping", inert="it is what the host needs")
    discard_data = Property(bool, help="forget the contents at the end", inert="a file keeps what was written")
    pmem = Property(bool, help="the file is on persistent memory", so=False, inert="there is no persistent memory")

    def complete(self) -> None:
        super().complete()
        if self.readonly and self.share:
            raise PcemuError("readonly=on needs share=off: the guest writes its RAM")
        self.fd = -1
        try:
            if os.path.isdir(self.mem_path):
                self.fd, name = tempfile.mkstemp(prefix="pcemu-ram-", dir=self.mem_path)
                os.unlink(name)
            else:
                flags = os.O_RDONLY if self.readonly else os.O_RDWR | os.O_CREAT
                self.fd = os.open(self.mem_path, flags | os.O_CLOEXEC, 0o600)
            there = os.fstat(self.fd).st_size
            if 0 < there < self.size:
                raise PcemuError(f"backing store size {there:#x} does not match 'size' option {self.size:#x}")
            if not there:
                os.ftruncate(self.fd, self.size)
        except OSError as error:
            self.close()
            raise PcemuError(f"can't open backing store {self.mem_path} for guest RAM: {error.strerror}") from None
        except PcemuError:
            self.close()
            raise

    def map_over(self, view: memoryview) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        kind = mmap.MAP_SHARED if self.share else mmap.MAP_PRIVATE
        place = libc.mmap(ctypes.c_void_p(address_of(view)), ctypes.c_size_t(-(-len(view) // PAGE) * PAGE),
                          mmap.PROT_READ | mmap.PROT_WRITE, kind | MAP_FIXED, self.fd, ctypes.c_long(0))  # fmt: skip
        if place == MAP_FAILED:
            raise PcemuError(f"{self.type_name} '{self.id}': cannot map {self.mem_path}: {os.strerror(ctypes.get_errno())}")
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def backend_of(machine: Any) -> MemoryBackend:
    """What -machine memory-backend= names; its size is the machine's, and -m may only say the same."""
    ident = machine.board.memory_backend
    backend = machine.objects.get(ident)
    if not isinstance(backend, MemoryBackend):
        raise PcemuError(f"-machine memory-backend={ident}: there is no memory backend of that name")
    if backend.used:
        raise PcemuError(f"-machine memory-backend={ident}: it is in use")
    if machine.config.ram_given and machine.ram_size != backend.size:
        raise PcemuError(f"-machine memory-backend={ident}: RAM size specified by -m ({machine.ram_size:#x}) must match "
                         f"its size ({backend.size:#x})")  # fmt: skip
    machine.ram_size = backend.size
    return backend
