"""Run-time device state: what reset restores and what a snapshot holds, and nothing else."""

from __future__ import annotations

import re
from typing import Any

_KIND = re.compile(r"(u8|u16|u32|u64|s8|s16|s32|s64|bool|any)(?:\[(\d+)\])?")


class StateDecl:
    """One piece of state of a device class; the value itself is a plain attribute of the device."""

    __slots__ = ("attr", "base", "count", "help", "kept", "reset")

    def __init__(self, kind: str, reset: Any, help: str, kept: bool) -> None:
        match = _KIND.fullmatch(kind)
        if match is None:
            raise ValueError(f"State: unknown kind {kind!r}")
        self.base = match[1]
        self.count = int(match[2]) if match[2] else None
        self.reset = reset
        self.help = help
        self.kept = kept
        self.attr = ""

    def __set_name__(self, owner: type, attr: str) -> None:
        self.attr = attr

    def initial(self) -> Any:
        """A fresh reset value (never shared between devices)."""
        reset = self.reset() if callable(self.reset) else self.reset
        if self.count is None:
            if self.base == "bool":
                return bool(reset)
            return list(reset) if isinstance(reset, list) else reset
        values = [reset] * self.count if isinstance(reset, (int, bool)) else list(reset)
        if len(values) != self.count:
            raise ValueError(f"State {self.attr}: {self.count} reset values needed")
        return bytearray(values) if self.base == "u8" else values

    def check(self, value: Any) -> None:
        """Does a value fit the declared kind? Used when a snapshot is made or loaded."""
        if self.base == "any":
            return
        items = [value] if self.count is None else list(value)
        if self.count is not None and len(items) != self.count:
            raise ValueError(f"{self.attr}: {len(items)} values instead of {self.count}")
        if self.base == "bool":
            low, high = 0, 1
        else:
            bits = int(self.base[1:])
            low, high = (0, 2**bits - 1) if self.base[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        for item in items:
            if not low <= item <= high:
                raise ValueError(f"{self.attr}: {item} does not fit {self.base}")


def State(kind: str = "u32", *, reset: Any = 0, help: str = "", kept: bool = False) -> Any:
    """Declare state.

    kind    "u8" "u16" "u32" "u64" "s8".."s64" "bool" "any", or an array of them: "u16[3]".
            Arrays are lists, u8 arrays are bytearrays.
    reset   power-on value; for arrays one value for all or a sequence; a callable makes a fresh one
    kept    survives reset (battery-backed memory); set once at construction
    """
    return StateDecl(kind, reset, help, kept)
