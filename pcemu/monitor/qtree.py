"""`info qtree`: the devices on their buses, newest first."""

from __future__ import annotations

from typing import Any


def show(machine: Any) -> str:
    lines: list[str] = []
    _bus(machine.main_bus, 0, lines)
    return "".join(line + "\n" for line in lines)


def _bus(bus: Any, indent: int, lines: list[str]) -> None:
    pad = " " * indent
    lines.append(f"{pad}bus: {bus.name}")
    lines.append(f"{pad}  type {bus.type_name}")
    for device in reversed(bus.children):
        if device.realized:
            _device(device, indent + 2, lines)


def _device(device: Any, indent: int, lines: list[str]) -> None:
    pad = " " * indent
    lines.append(f'{pad}dev: {device.type_name}, id "{device.id}"')
    lines.extend(f"{pad}  {line}" for line in device.qtree_lines())
    for bus in reversed(device.buses):
        _bus(bus, indent + 2, lines)
