"""Windows: a device's registers as the bus sees them.

A device says how wide the accesses are that it understands; the window splits wider ones and merges narrower
ones (little-endian), so that a handler only ever sees naturally aligned accesses of the sizes it declared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .memory import MemoryRegion

if TYPE_CHECKING:
    from .device import Device


class PortLatch(Protocol):
    """The core's (pcemu/_core/latch.pyx), or the harness's."""

    def answer(self, offset: int, value: int) -> None: ...

    def collect(self, offset: int, count: int, on_written: Callable[[bytes, int], object] | None = None,
                within: int = -1) -> None: ...  # fmt: skip

    def supply(self, offset: int, data: bytes, on_read: Callable[[int, int], object] | None = None) -> None: ...


ReadFn = Callable[[int, int], int]
WriteFn = Callable[[int, int, int], None]
_T = TypeVar("_T", bound="Region")


class WindowHandler:
    """What the core calls: ``read(offset, size)`` and ``write(offset, size, value)``, with any size.

    direct     of a port window: the device's own methods, for accesses that need no adapting; see IoSpace.set_map()
    latch      of a port window: what the core does without calling the device; see `Region.use_latch`
    """

    __slots__ = ("direct", "latch", "name", "owner", "read", "write")

    def __init__(self, name: str, owner: object, read: ReadFn, write: WriteFn) -> None:
        self.name = name
        self.owner = owner
        self.read = read
        self.write = write
        self.direct: tuple[int, int, ReadFn, WriteFn] | None = None
        self.latch: Any = None

    def __repr__(self) -> str:
        return f"<handler {getattr(self.owner, 'type_name', '')}.{self.name}>"


def adapt_read(fn: ReadFn, low: int, high: int, limit: int) -> ReadFn:
    """A reader of any size from one that handles `low` to `high` bytes, aligned."""
    if limit == 1:
        return fn  # one port: the core asks for nothing else

    def bytes_only(offset: int, size: int) -> int:
        if size == 1:
            return fn(offset, 1) & 0xFF
        return sum((fn(offset + i, 1) & 0xFF) << (i << 3) for i in range(size))

    if high == 1:
        return bytes_only

    def read(offset: int, size: int) -> int:
        if low <= size <= high and not offset & (size - 1):
            return fn(offset, size) & ((1 << (size << 3)) - 1)
        value, done = 0, 0
        while done < size:
            at = offset + done
            step = _step(at, size - done, high)
            if step >= low:
                part = fn(at, step) & ((1 << (step << 3)) - 1)
            else:
                # Narrower than the device's registers: read the whole one, take the bytes asked for.
                start = at & -low
                step = min(size - done, start + low - at)
                part = (fn(start, low) >> ((at - start) << 3)) & ((1 << (step << 3)) - 1)
            value |= part << (done << 3)
            done += step
        return value

    return read


def adapt_write(fn: WriteFn, reader: ReadFn | None, low: int, high: int, limit: int) -> WriteFn:
    """A writer of any size, in the core's argument order, from one that handles `low` to `high` bytes.

    A write narrower than the register replaces its bytes in what the register reads as.
    """

    def bytes_only(offset: int, size: int, value: int) -> None:
        if size == 1:
            fn(offset, value, 1)
        else:
            for i in range(size):
                fn(offset + i, value >> (i << 3) & 0xFF, 1)

    if high == 1:
        return bytes_only

    def write(offset: int, size: int, value: int) -> None:
        if low <= size <= high and not offset & (size - 1):
            fn(offset, value, size)
            return
        done = 0
        while done < size:
            at = offset + done
            step = _step(at, size - done, high)
            if step >= low:
                fn(at, (value >> (done << 3)) & ((1 << (step << 3)) - 1), step)
            else:
                start = at & -low
                step = min(size - done, start + low - at)
                mask = ((1 << (step << 3)) - 1) << ((at - start) << 3)
                old = reader(start, low) if reader is not None else 0
                new = (old & ~mask) | ((value >> (done << 3)) << ((at - start) << 3) & mask)
                fn(start, new, low)
            done += step

    return write


def _step(at: int, left: int, high: int) -> int:
    """The largest naturally aligned piece at `at`, at most `left` and `high` bytes."""
    step = min(high, at & -at if at else high)
    while step > left:
        step >>= 1
    return step


class Region:
    """Declared in a class, cloned for each device. See `PortWindow` and `MmioWindow`."""

    space = ""

    def __init__(
        self,
        base: int | str | None = None,
        size: int | str = 1,
        read: str | None = None,
        write: str | None = None,
        access: tuple[int, int] = (1, 4),
        *,
        name: str = "",
        priority: int | None = None,
    ) -> None:
        """
        base       address, or the name of the property that holds it (None or -1 there: not mapped);
                   None: the board or the bus maps it
        size       bytes, or the name of the property that holds it
        read       the device's method ``(offset, size) -> int``; without one reads give all ones
        write      the device's method ``(offset, value, size)``; without one writes are lost
        access     smallest and largest access the methods handle
        priority   needed to lie over something else
        """
        self.base = base
        self.size = size
        self.read_name = read
        self.write_name = write
        self.access = access
        self.name = name
        self.priority = priority
        self.attr = ""
        self.owner: Any = None
        self.memory_region: MemoryRegion = None  # type: ignore[assignment]
        self.handler: WindowHandler = None  # type: ignore[assignment]
        self._root: MemoryRegion | None = None

    def __set_name__(self, owner: type, attr: str) -> None:
        self.attr = attr

    def bind(self: _T, owner: Device) -> _T:
        """This window for one device."""
        clone = object.__new__(type(self))
        clone.__dict__.update(self.__dict__)
        clone.owner = owner
        size = getattr(owner, self.size) if isinstance(self.size, str) else self.size
        clone.size = size
        clone.name = self.name or owner.type_name
        low, high = self.access
        reader = getattr(owner, self.read_name) if self.read_name else None
        writer = getattr(owner, self.write_name) if self.write_name else None
        read = adapt_read(reader, low, high, size) if reader else _read_ones
        write = adapt_write(writer, reader, low, high, size) if writer else _write_nothing
        clone.handler = WindowHandler(clone.name, owner, read, write)
        if reader and writer:
            clone.handler.direct = (low, high, reader, writer)
        clone.memory_region = MemoryRegion.mmio(clone.name, size, clone.handler, owner=owner)
        return clone

    # -- run time -------------------------------------------------------------------------------------------

    def _default_root(self) -> MemoryRegion:
        machine = self.owner.machine
        root: MemoryRegion = machine.io_root if self.space == "io" else machine.memory_root
        return root

    def map(self, addr: int, priority: int | None = None, root: MemoryRegion | None = None) -> None:
        """Put the window at `addr` (move it when it is somewhere already)."""
        region = self.memory_region
        if region.parent is not None:
            if (root is None or root is region.parent) and (priority is None or priority == region.priority):
                region.move(addr)
                return
            region.parent.remove(region)
        where = root or self._root or self._default_root()
        self._root = where
        where.add(region, addr, self.priority if priority is None else priority)

    def unmap(self) -> None:
        region = self.memory_region
        if region.parent is not None:
            region.parent.remove(region)

    def map_default(self) -> None:
        """Map at the declared base, if there is one."""
        base = getattr(self.owner, self.base) if isinstance(self.base, str) else self.base
        if base is not None and base not in (-1, 0xFFFFFFFF) and not self.mapped:
            self.map(base)

    @property
    def mapped(self) -> bool:
        return self.memory_region.parent is not None

    @property
    def addr(self) -> int | None:
        """Where it is mapped, None when it is not."""
        return self.memory_region.address() if self.mapped else None

    @property
    def enabled(self) -> bool:
        return self.memory_region.enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self.memory_region.enabled = on


class PortWindow(Region):
    """A range of I/O ports."""

    space = "io"

    def use_latch(self) -> PortLatch:
        """For a device whose ports are accessed a million times a second: what answers reads and keeps writes in its place.

        To be called in realize(); see docs/write-a-device.md.
        """
        latch: PortLatch = self.owner.machine.io.latch()
        self.handler.latch = latch
        return latch


class MmioWindow(Region):
    """A range of memory addresses with registers behind it."""

    space = "memory"

    def __init__(
        self,
        base: int | str | None = None,
        size: int | str = 0x1000,
        read: str | None = None,
        write: str | None = None,
        access: tuple[int, int] = (4, 4),
        *,
        name: str = "",
        priority: int | None = None,
    ) -> None:
        super().__init__(base, size, read, write, access, name=name, priority=priority)


def _read_ones(offset: int, size: int) -> int:
    return (1 << (size << 3)) - 1


def _write_nothing(offset: int, size: int, value: int) -> None:
    return
