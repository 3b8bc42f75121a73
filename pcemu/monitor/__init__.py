"""Monitors: one table of commands (table.py), shown to people by hmp.py, and later to programs as QMP."""

from __future__ import annotations

from typing import Any

from .errors import CommandError
from .hmp import HmpMonitor
from .shell import Shell

__all__ = ["CommandError", "HmpMonitor", "Shell", "create"]


def create(machine: Any, chardev: Any, mode: str = "readline", pretty: bool = False) -> HmpMonitor:
    """A monitor on `chardev`, remembered by the machine (-mon chardev=ID,mode=readline)."""
    if mode == "control":
        raise CommandError("-mon mode=control: QMP is not implemented yet")
    if mode != "readline":
        raise CommandError(f"-mon mode={mode}: one of readline, control")
    monitor = HmpMonitor(machine, chardev)
    machine.monitors.append(monitor)
    return monitor
