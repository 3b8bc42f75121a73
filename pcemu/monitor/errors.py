"""What commands raise; the text is the whole message."""

from __future__ import annotations

from pcemu.qom.errors import PcemuError


class CommandError(PcemuError):
    """A command that failed."""


class ArgumentError(CommandError):
    """A command line that does not fit the command; the shell adds where help is."""
