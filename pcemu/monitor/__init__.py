"""Monitors: one table of commands (table.py), shown to people by hmp.py and to programs by qmp.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import CommandError
from .hmp import HmpMonitor
from .shell import Shell

if TYPE_CHECKING:
    from .qmp import QmpMonitor

__all__ = ["CommandError", "HmpMonitor", "Shell", "create"]


def create(machine: Any, chardev: Any, mode: str = "readline", pretty: bool = False) -> HmpMonitor | QmpMonitor:
    """A monitor on `chardev`, remembered by the machine (-mon chardev=ID,mode=readline|control)."""
    made: HmpMonitor | QmpMonitor
    if mode == "control":
        from .qmp import QmpMonitor

        made = QmpMonitor(machine, chardev, pretty)
    elif mode == "readline":
        made = HmpMonitor(machine, chardev)
    else:
        raise CommandError(f"-mon mode={mode}: one of readline, control")
    machine.monitors.append(made)
    return made
