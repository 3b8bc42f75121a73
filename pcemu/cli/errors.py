"""How the command line says no."""

from __future__ import annotations

from pcemu.qom.errors import PcemuError


class UsageError(PcemuError):
    """An option or its argument is wrong; the text is the whole line but for the program's name."""


class Done(Exception):
    """The command line asked for a list and got it; nothing is to be run."""


def at(option: str, value: str | None, text: str) -> UsageError:
    """``-device bogus: what is wrong``."""
    where = f"-{option} {value}" if value else f"-{option}"
    return UsageError(f"{where}: {text}")


def not_yet(option: str, value: str | None = None) -> UsageError:
    return at(option, value, "not implemented yet")
