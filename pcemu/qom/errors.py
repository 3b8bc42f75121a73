"""Errors a user can cause: one line of text, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PcemuError(Exception):
    """Something the user asked for cannot be done; the text is the whole message."""


class PropertyError(PcemuError):
    """A device property does not exist or does not take the value."""


class UnknownTypeError(PcemuError, LookupError):
    """No device type has this name."""


class OverlapError(PcemuError):
    """Two regions lie over each other and nobody said which one is on top."""


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` when a candidate is close, else nothing."""
    slack = max(1, len(name) // 4)
    near = [word for word in candidates if abs(len(word) - len(name)) <= slack]
    close = difflib.get_close_matches(name, near, n=1, cutoff=0.7)
    return f" (did you mean '{close[0]}'?)" if close else ""
