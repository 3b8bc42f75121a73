"""Base address registers: how a device class declares one, and what it is at run time."""

from __future__ import annotations

from dataclasses import dataclass

from pcemu.qom import MemoryRegion

from .config import BAR0, BAR_64BIT, BAR_IO, BAR_PREFETCH, ROM_BAR, ROM_ENABLE

ROM_INDEX = 6
# Above everything else on the bus, as address decoding of BARs is.
BAR_PRIORITY = 1


@dataclass(frozen=True)
class BarDecl:
    """A BAR with registers behind it, handled by the device's methods.

    read    the device's method ``(offset, size) -> int``
    write   the device's method ``(offset, value, size)``
    access  smallest and largest access they handle
    """

    index: int
    size: int | str  # bytes, or the name of the property that holds them
    kind: str = "mem"  # "io" or "mem"
    read: str | None = None
    write: str | None = None
    access: tuple[int, int] = (1, 4)
    prefetch: bool = False
    bits64: bool = False
    name: str = ""


class Bar:
    """One BAR of one device: where its region is, if it is anywhere."""

    __slots__ = ("addr", "bits64", "index", "kind", "offset", "prefetch", "region", "size")

    def __init__(self, index: int, region: MemoryRegion, kind: str, prefetch: bool, bits64: bool) -> None:
        size = region.size
        if size & (size - 1) or size < (4 if kind == "io" else 16):
            raise ValueError(f"{region.name}: a BAR cannot be {size} bytes")
        self.index = index
        self.size = size
        self.kind = kind
        self.prefetch = prefetch
        self.bits64 = bits64
        self.region = region
        self.addr: int | None = None
        self.offset = ROM_BAR if index == ROM_INDEX else BAR0 + 4 * index

    @property
    def is_rom(self) -> bool:
        return self.index == ROM_INDEX

    @property
    def width(self) -> int:
        """Bytes of the register."""
        return 8 if self.bits64 else 4

    @property
    def flags(self) -> int:
        """The read-only low bits (6.2.5.1)."""
        if self.is_rom:
            return 0
        if self.kind == "io":
            return BAR_IO
        return (BAR_PREFETCH if self.prefetch else 0) | (BAR_64BIT if self.bits64 else 0)

    @property
    def writable(self) -> int:
        """Address bits software sees when it sizes the BAR."""
        mask = -self.size & ((1 << 8 * self.width) - 1)
        return mask | (ROM_ENABLE if self.is_rom else 0)

    def target(self, value: int) -> int | None:
        """Where a register value puts the region; None when it decodes nothing."""
        addr = value & -self.size
        if self.is_rom and not value & ROM_ENABLE:
            return None
        last = addr + self.size - 1
        # All ones is what sizing leaves behind for a moment, and zero what reset does.
        limit = 0xFFFF if self.kind == "io" else (1 << 8 * self.width) - 2
        return addr if addr and last <= limit else None

    def place(self, root: MemoryRegion, addr: int | None) -> None:
        """Move the region, or take it off the bus."""
        if addr == self.addr:
            return
        region = self.region
        if self.addr is None:
            assert addr is not None
            root.add(region, addr, priority=BAR_PRIORITY)
        elif addr is None:
            root.remove(region)
        else:
            region.move(addr)
        self.addr = addr
