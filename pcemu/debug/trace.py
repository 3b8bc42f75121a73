"""Trace events: declared by device classes, switched on by name or pattern with -trace.

An event that is off costs its device the test of an empty set: `Device.tracing` is the set of those that are on. What happens
goes to a sink, as text (TextSink) or as a compact binary file (tracefile.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol


class Sink(Protocol):
    """Where events go."""

    def event(self, device: Any, event: str, fields: dict[str, object]) -> None:
        """Note one."""

    def flush(self) -> None:
        """The host has all of it."""

    def close(self) -> None:
        """No more come."""


def shown(event: str, fields: Mapping[str, object]) -> str:
    """``event field=value ...``"""
    return " ".join([event, *(f"{name}={value:#x}" if isinstance(value, int) else f"{name}={value}"
                              for name, value in fields.items())])  # fmt: skip


class TextSink:
    """A line for each."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write

    def event(self, device: Any, event: str, fields: dict[str, object]) -> None:
        self.write(shown(event, fields) + "\n")

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class Tracer:
    """Knows which events are on, those of devices to come too, and passes on those that happen."""

    def __init__(self, patterns: Iterable[str] = (), sink: Sink | None = None) -> None:
        self.patterns = list(patterns)
        self.sink = sink

    def enabled_events(self, events: tuple[str, ...]) -> frozenset[str]:
        """Of a device's events, those that are on."""
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

    def switch(self, pattern: str, on: bool, devices: Iterable[Any]) -> bool:
        """Turn what matches on or off, in the devices there are and those to come; False when no event matches."""
        found = False
        for device in devices:
            matching = frozenset(event for event in device.trace_events if fnmatchcase(event, pattern))
            if matching:
                found = True
                device.tracing = device.tracing | matching if on else device.tracing - matching
                device.tracing_changed()
        if found:
            stale = (pattern, f"-{pattern}")
            self.patterns = [*(old for old in self.patterns if old not in stale), pattern if on else f"-{pattern}"]
        return found

    def emit(self, device: Any, event: str, fields: dict[str, object]) -> None:
        if self.sink is not None:
            self.sink.event(device, event, fields)

    def flush(self) -> None:
        if self.sink is not None:
            self.sink.flush()

    def close(self) -> None:
        if self.sink is not None:
            self.sink.close()
            self.sink = None


def states(devices: Iterable[Any], pattern: str = "*") -> dict[str, bool]:
    """The events of some devices that match, in alphabetical order, and whether they are on in one of them."""
    found: dict[str, bool] = {}
    for device in devices:
        for event in device.trace_events:
            if fnmatchcase(event, pattern):
                found[event] = found.get(event, False) or event in device.tracing
    return dict(sorted(found.items()))
