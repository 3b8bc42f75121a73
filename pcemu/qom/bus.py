"""Buses: what devices are plugged into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .device import Device


class Bus:
    """A bus of a device (or of the machine, for the system bus)."""

    type_name: ClassVar[str] = "System"  # as `info qtree` shows it, and as devices say what they plug into
    hotpluggable: bool = False  # devices come and go while the machine runs

    def __init__(self, name: str, parent: Device | None = None, machine: Any = None) -> None:
        self.name = name
        self.parent = parent
        self.machine: Any = machine if machine is not None else getattr(parent, "machine", None)
        self.children: list[Device] = []  # oldest first; `info qtree` prints them newest first
        if parent is not None:
            parent.buses.append(self)

    def attach(self, device: Device) -> None:
        """Called by a new device. Subclasses check that it fits and give it its place."""
        self.children.append(device)

    def detach(self, device: Device) -> None:
        self.children.remove(device)

    def path(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<bus {self.name} ({self.type_name})>"
