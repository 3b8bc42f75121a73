"""What can go wrong with an image, as one line for the user."""

from __future__ import annotations

from pcemu.qom.errors import PcemuError


class BlockError(PcemuError):
    """An image cannot be opened, or is not what it should be; the text is the whole message."""


def printable(text: str) -> str:
    """What an image says, for a terminal: control characters and the like are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
