"""What can go wrong with an image, as one line for the user."""

from __future__ import annotations

from pcemu.qom.errors import PcemuError


class BlockError(PcemuError):
    """An image cannot be opened, or is not what it should be; the text is the whole message."""


def printable(text: str) -> str:
    """What an image says, for a terminal: control characters and the like are escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(c: str) -> str:
    if "\udc80" <= c <= "\udcff":  # a byte that was no UTF-8
        return f"\\x{ord(c) & 0xFF:02x}"
    return c.encode("unicode_escape").decode()
