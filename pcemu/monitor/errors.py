"""What commands raise; the text is the whole message."""

from __future__ import annotations

from typing import ClassVar

from pcemu.qom.errors import PcemuError


class CommandError(PcemuError):
    """A command that failed. QMP sends the class's name with the text."""

    error_class: ClassVar[str] = "GenericError"


class DeviceNotFound(CommandError):
    """No object has that id or path."""

    error_class = "DeviceNotFound"


class DeviceNotActive(CommandError):
    """The kind of device that the command is about is not in the machine."""

    error_class = "DeviceNotActive"


class CommandNotFound(CommandError):
    """QMP: no such command (or not now)."""

    error_class = "CommandNotFound"


class ArgumentError(CommandError):
    """A command line that does not fit the command; the shell adds where help is."""
