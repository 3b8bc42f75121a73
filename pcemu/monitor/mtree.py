"""`info mtree`: address spaces as trees of regions, and flat as the core sees them."""

from __future__ import annotations

from typing import Any

from pcemu.qom import AddressSpace, MemoryRegion

KINDS = {"ram": "ram", "rom": "rom"}        # everything else, containers too, is shown as i/o


class _Printer:
    def __init__(self, owner: bool, disabled: bool) -> None:
        self.lines: list[str] = []
        self.queue: list[MemoryRegion] = []         # targets of aliases, shown on their own behind the spaces
        self.owner = owner
        self.disabled = disabled

    def region(self, region: MemoryRegion, level: int, base: int) -> None:
        start = base + region.offset
        end = start + region.size - 1
        if region.kind == "alias":
            assert region.target is not None
            if region.target not in self.queue:
                self.queue.append(region.target)
        if region.enabled or self.disabled:
            self.lines.append("  " * level + self._line(region, start, end))
        # By address, and among those at one address the one on top first. A disabled region's children are
        # listed: they are where they would be.
        for child in sorted(region.ordered(), key=lambda child: (child.offset, -child.priority)):
            self.region(child, level + 1, start)

    def _line(self, region: MemoryRegion, start: int, end: int) -> str:
        text = f"{start:016x}-{end:016x} (prio {region.priority}, {kind_of(region)}): "
        if region.kind == "alias":
            assert region.target is not None
            first = region.target_offset
            text += f"alias {region.name} @{region.target.name} {first:016x}-{first + region.size - 1:016x}"
        else:
            text += region.name
        if not region.enabled:
            text += " [disabled]"
        return text + (owner_of(region) if self.owner else "")


def kind_of(region: MemoryRegion) -> str:
    while region.kind == "alias" and region.target is not None:
        region = region.target
    return KINDS.get(region.kind, "i/o")


def owner_of(region: MemoryRegion) -> str:
    owner: Any = region.owner
    if owner is None:
        return " orphan"
    return f" owner:{{dev id={owner.id}}}" if owner.id else f" owner:{{dev type={owner.type_name}}}"


def _spaces(machine: Any) -> list[tuple[list[str], AddressSpace]]:
    """Address spaces, those with one root together. A CPU sees the system's memory."""
    memory_names = [f"cpu-memory-{index}" for index in range(len(machine.cpus))] + [machine.memory_space.name]
    return [([machine.io_space.name], machine.io_space), (memory_names, machine.memory_space)]


def show_tree(machine: Any, owner: bool = False, disabled: bool = False) -> str:
    printer = _Printer(owner, disabled)
    for names, space in _spaces(machine):
        printer.lines += [f"address-space: {name}" for name in names]
        printer.region(space.root, 1, 0)
        printer.lines.append("")
    done = 0
    while done < len(printer.queue):                # showing one may queue others
        target = printer.queue[done]
        done += 1
        printer.lines.append(f"memory-region: {target.name}")
        printer.region(target, 1, 0)
        printer.lines.append("")
    return "".join(line + "\n" for line in printer.lines)


def show_flat(machine: Any, owner: bool = False) -> str:
    lines: list[str] = []
    for number, (names, space) in enumerate(_spaces(machine)):
        lines.append(f"FlatView #{number}")
        lines += [f' AS "{name}", root: {space.root.name}' for name in names]
        lines.append(f" Root memory region: {space.root.name}")
        position = 0
        for start, size, region, offset in space.flat:
            if space is machine.io_space and start > position:
                lines.append(_flat_line(space.root, position, start, position, "i/o", owner))
            shown = getattr(region, "region", region)       # RAM behind a read-only alias is shown as ROM
            lines.append(_flat_line(shown, start, start + size, offset, KINDS.get(region.kind, "i/o"), owner))
            position = start + size
        if space is machine.io_space and position < space.root.size:
            lines.append(_flat_line(space.root, position, space.root.size, position, "i/o", owner))
        lines.append("")
    return "".join(line + "\n" for line in lines)


def _flat_line(region: MemoryRegion, start: int, end: int, offset: int, kind: str, owner: bool) -> str:
    text = f"  {start:016x}-{end - 1:016x} (prio {region.priority}, {kind}): {region.name}"
    if offset:
        text += f" @{offset:016x}"
    return text + (owner_of(region) if owner else "")
