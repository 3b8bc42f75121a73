"""Address spaces as trees of regions, and the flat map the core runs on.

Siblings may overlap only when somebody said who is on top: a region added without a priority must not lie over
another such one. Among stated priorities the higher wins, and of two equal ones the newer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from .errors import OverlapError


class Handler(Protocol):
    """What the core calls for an MMIO or port access."""

    def read(self, offset: int, size: int) -> int: ...
    def write(self, offset: int, size: int, value: int) -> None: ...


class FlatRange(NamedTuple):
    """A piece of the flat map. `offset` counts from the start of the region's own contents."""

    start: int
    size: int
    region: MemoryRegion
    offset: int

    @property
    def end(self) -> int:
        return self.start + self.size


class MemoryRegion:
    """A node: a container, RAM, ROM, handled I/O, or an alias of a window into another region."""

    def __init__(self, name: str, size: int, *, kind: str = "container", handler: Any = None,
                 block: int = 0, target: MemoryRegion | None = None, target_offset: int = 0,
                 owner: object = None) -> None:  # fmt: skip
        self.name = name
        self.size = size
        self.kind = kind  # container, ram, rom, mmio, alias
        self.handler: Any = handler
        self.block = block  # ram and rom: where the core's block starts
        self.target = target
        self.target_offset = target_offset
        self.owner = owner
        self.parent: MemoryRegion | None = None
        self.offset = 0
        self.priority = 0
        self.stated = False
        self.children: list[MemoryRegion] = []  # in the order they were added
        self._enabled = True
        self._readonly = kind == "rom"
        self._aliases: list[MemoryRegion] = []
        self._spaces: list[AddressSpace] = []
        if target is not None:
            target._aliases.append(self)

    # -- leaves ---------------------------------------------------------------------------------------------

    @classmethod
    def ram(cls, name: str, size: int, block: int, owner: object = None) -> MemoryRegion:
        """RAM in a block got from the core's Memory.alloc()."""
        return cls(name, size, kind="ram", block=block, owner=owner)

    @classmethod
    def rom(cls, name: str, size: int, block: int, owner: object = None) -> MemoryRegion:
        """ROM in a block got from the core's Memory.alloc()."""
        return cls(name, size, kind="rom", block=block, owner=owner)

    @classmethod
    def mmio(cls, name: str, size: int, handler: Handler, owner: object = None) -> MemoryRegion:
        return cls(name, size, kind="mmio", handler=handler, owner=owner)

    @classmethod
    def alias(cls, name: str, target: MemoryRegion, offset: int, size: int,
              readonly: bool = False, owner: object = None) -> MemoryRegion:  # fmt: skip
        """A window on `size` bytes of `target` from `offset`; a read-only window drops writes to RAM."""
        region = cls(name, size, kind="alias", target=target, target_offset=offset, owner=owner)
        region._readonly = readonly
        return region

    # -- the tree -------------------------------------------------------------------------------------------

    def add(self, sub: MemoryRegion, offset: int, priority: int | None = None) -> None:
        """Put `sub` at `offset`. Without a priority it must not overlap another child without one."""
        if sub.parent is not None:
            raise ValueError(f"{sub.name} is in {sub.parent.name} already")
        if priority is None and sub._enabled:
            for other in self.children:
                if not other.stated and other._enabled and _overlap(offset, sub.size, other.offset, other.size):
                    raise OverlapError(
                        f"{sub.describe_at(offset)} overlaps {other.describe_at(other.offset)} in {self.name}"
                    )
        sub.parent = self
        sub.offset = offset
        sub.stated = priority is not None
        sub.priority = priority or 0
        self.children.append(sub)
        if sub._enabled:
            self._changed()

    def remove(self, sub: MemoryRegion) -> None:
        self.children.remove(sub)
        sub.parent = None
        if sub._enabled:
            self._changed()

    def move(self, offset: int) -> None:
        """Change where the region is in its parent (a guest moved it: never an error; the newest is on top)."""
        if offset == self.offset:
            return
        self.offset = offset
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent.children.append(self)
            if self._enabled:
                self._changed()

    def resize(self, size: int) -> None:
        if size != self.size:
            self.size = size
            self._changed()

    def retarget(self, target_offset: int) -> None:
        """Slide an alias's window along its target."""
        if target_offset != self.target_offset:
            self.target_offset = target_offset
            self._changed()

    @property
    def enabled(self) -> bool:
        return self._enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        if on != self._enabled:
            self._enabled = on
            if self.parent is not None or self._spaces or self._aliases:
                self._changed()

    @property
    def readonly(self) -> bool:
        return self._readonly

    @readonly.setter
    def readonly(self, on: bool) -> None:
        if on != self._readonly:
            self._readonly = on
            self._changed()

    def ordered(self) -> list[MemoryRegion]:
        """Children from the one on top down."""
        newest_first = self.children[::-1]
        newest_first.sort(key=lambda region: -region.priority)
        return newest_first

    def walk(self) -> Iterator[MemoryRegion]:
        yield self
        for child in self.children:
            yield from child.walk()

    def address(self) -> int:
        """Where the region starts in the space whose root it hangs under."""
        region, total = self, 0
        while region.parent is not None:
            total += region.offset
            region = region.parent
        return total

    def describe_at(self, offset: int) -> str:
        owner = getattr(self.owner, "type_name", "")
        name = f"{owner} ({self.name})" if owner and owner != self.name else self.name
        return f"{name} at {offset:#x}-{offset + self.size - 1:#x}"

    def _changed(self) -> None:
        for space in self._users(set()):
            space.changed()

    def _users(self, seen: set[int]) -> list[AddressSpace]:
        """Every address space this region shows up in, through its parents and through aliases."""
        found: list[AddressSpace] = []
        region: MemoryRegion | None = self
        while region is not None and id(region) not in seen:
            seen.add(id(region))
            found.extend(space for space in region._spaces if space not in found)
            for alias in region._aliases:
                found.extend(space for space in alias._users(seen) if space not in found)
            region = region.parent
        return found

    def __repr__(self) -> str:
        return f"<{self.kind} {self.describe_at(self.offset)}>"


class AddressSpace:
    """A root region and the function that receives its flat map whenever it changes."""

    def __init__(self, name: str, root: MemoryRegion, commit: Callable[[list[FlatRange]], None] | None) -> None:
        self.name = name
        self.root = root
        self.flat: list[FlatRange] = []
        self._commit = commit
        self._held = 0
        self._dirty = False
        root._spaces.append(self)

    def changed(self) -> None:
        self._dirty = True
        if not self._held:
            self.update()

    def update(self) -> None:
        self._dirty = False
        flat = flatten(self.root)
        if flat != self.flat:
            self.flat = flat
            if self._commit is not None:
                self._commit(flat)

    def __enter__(self) -> AddressSpace:
        """``with space:`` makes several changes one."""
        self._held += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self._held -= 1
        if not self._held and self._dirty:
            self.update()


class ReadOnlyView:
    """Stands in for a RAM region seen through a read-only alias, so that the flat map tells them apart."""

    kind = "rom"

    def __init__(self, region: MemoryRegion) -> None:
        self.region = region
        self.name = region.name
        self.block = region.block
        self.handler = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReadOnlyView) and other.region is self.region

    def __hash__(self) -> int:
        return hash(id(self.region))


def flatten(root: MemoryRegion) -> list[FlatRange]:
    """What is visible at each address, sorted, without overlaps; holes are absent."""
    ranges: list[FlatRange] = []
    _render(root, 0, 0, root.size, False, ranges)
    ranges.sort()
    return _merge(ranges)


def _render(region: MemoryRegion, base: int, low: int, high: int, readonly: bool, out: list[FlatRange]) -> None:
    """Add what `region`, placed at `base`, shows between `low` and `high` where nothing is yet."""
    low, high = max(low, base), min(high, base + region.size)
    if low >= high or not region._enabled:
        return
    readonly = readonly or region._readonly
    if region.kind == "alias":
        assert region.target is not None
        _render(region.target, base - region.target_offset, low, high, readonly, out)
        return
    if region.children:
        for child in region.ordered():
            _render(child, base + child.offset, low, high, readonly, out)
    if region.kind == "container":
        return
    shown: Any = region
    if readonly and region.kind == "ram":
        shown = ReadOnlyView(region)
    elif not readonly and region.kind == "rom":
        pass
    # `out` is small; the holes between what is there already are what this region fills.
    covered = sorted((r.start, r.start + r.size) for r in out if r.start < high and r.start + r.size > low)
    position = low
    for start, end in covered:
        if start > position:
            out.append(FlatRange(position, start - position, shown, position - base))
        position = max(position, end)
    if position < high:
        out.append(FlatRange(position, high - position, shown, position - base))


def _merge(ranges: list[FlatRange]) -> list[FlatRange]:
    merged: list[FlatRange] = []
    for item in ranges:
        if merged:
            last = merged[-1]
            if last.region == item.region and last.start + last.size == item.start \
                    and last.offset + last.size == item.offset:  # fmt: skip
                merged[-1] = FlatRange(last.start, last.size + item.size, last.region, last.offset)
                continue
        merged.append(item)
    return merged


def core_memory_map(flat: list[FlatRange]) -> list[tuple[int, int, str, Any, int]]:
    """The flat map in the form the core's Memory.set_map() takes."""
    result: list[tuple[int, int, str, Any, int]] = []
    for start, size, region, offset in flat:
        if region.kind == "mmio":
            result.append((start, size, "mmio", region.handler, offset))
        else:
            result.append((start, size, region.kind, region.block + offset, 0))
    return result


def core_io_map(flat: list[FlatRange]) -> list[tuple[int, int, Any, int]]:
    """The flat map in the form the core's IoSpace.set_map() takes."""
    return [(start, size, region.handler, offset) for start, size, region, offset in flat]


def _overlap(a: int, a_size: int, b: int, b_size: int) -> bool:
    return a < b + b_size and b < a + a_size
