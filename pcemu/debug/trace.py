"""Trace events: declared by device classes, switched on by name or pattern with -trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase


class Tracer:
    """Knows which events are on and writes those that happen: ``device:event field=value ...``"""

    def __init__(self, patterns: Iterable[str] = (), write: Callable[[str], object] | None = None) -> None:
        self.patterns = tuple(patterns)
        self._write = write
        self.sink: Callable[[object, str, dict[str, object]], None] | None = None

    def enabled_events(self, events: tuple[str, ...]) -> frozenset[str]:
        if not self.patterns:
            return frozenset()
        return frozenset(event for event in events if self._matches(event))

    def _matches(self, event: str) -> bool:
        on = False
        for pattern in self.patterns:  # later patterns win; '-name' switches off
            if pattern.startswith("-"):
                on = on and not fnmatchcase(event, pattern[1:])
            else:
                on = on or fnmatchcase(event, pattern)
        return on

    def emit(self, device: object, event: str, fields: dict[str, object]) -> None:
        if self.sink is not None:
            self.sink(device, event, fields)
        if self._write is not None:
            shown = " ".join(f"{k}={v:#x}" if isinstance(v, int) else f"{k}={v}" for k, v in fields.items())
            self._write(f"{event} {shown}\n")
