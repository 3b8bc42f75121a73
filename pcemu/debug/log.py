"""The -d log: what goes into it, and where it goes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import IO

from pcemu.qom.errors import PcemuError, suggestion

# name -> (what it shows, whether it exists yet)
ITEMS: dict[str, tuple[str, bool]] = {
    "in_asm": ("each instruction, disassembled, when it first runs", True),
    "op": ("each block when it is translated: instructions and their handlers", True),
    "out_asm": ("each block when it is compiled: the host code", True),
    "int": ("interrupts and exceptions, with the CPU's state after them", True),
    "exec": ("the address of each instruction that runs, and its number", True),
    "cpu": ("the CPU's state before each instruction", True),
    "fpu": ("x87 and SSE registers in the CPU's state", False),
    "mmu": ("page walks and faults", False),
    "pcall": ("protected-mode far calls and returns", False),
    "cpu_reset": ("the CPU's state before it is reset", True),
    "unimp": ("what the guest uses and is not implemented", True),
    "guest_errors": ("what the guest does and hardware does not define", True),
    "page": ("the memory map at start", False),
    "nochain": ("blocks do not jump to each other", False),
    "plugin": ("output of plugins", False),
    "strace": ("system calls (user mode only)", False),
    "tid": ("a log file for each thread", False),
    "vpu": ("vector registers in the CPU's state", False),
}


class Log:
    """Which items are on, and a `write` for those who asked."""

    def __init__(self, items: frozenset[str] = frozenset(), write: Callable[[str], object] | None = None) -> None:
        self.items = items
        self.guest_errors = "guest_errors" in items
        self.unimp = "unimp" in items
        self.ranges: tuple[tuple[int, int], ...] = ()       # -dfilter: only code at these addresses, first and last; (): all
        self._stream: IO[str] | None = None
        self._write = write

    def write(self, text: str) -> None:
        if self._write is not None:
            self._write(text)
        else:
            stream = self._stream or sys.stderr
            stream.write(text)
            stream.flush()

    def covers(self, addr: int) -> bool:
        """Is code at this address to be logged?"""
        return not self.ranges or any(first <= addr <= last for first, last in self.ranges)

    @property
    def stream(self) -> IO[str] | None:
        """The log's file, None when it is standard error."""
        return self._stream

    def open_file(self, path: str, option: str = "-D ") -> None:
        """-D: log to a file ('%d' in the name is the process id)."""
        path = with_pid(path)
        try:
            self._stream = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - lives as long as the log
        except OSError as error:
            raise PcemuError(f"{option}{path}: {error.strerror}") from None

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def parse_ranges(spec: str) -> tuple[tuple[int, int], ...]:
    """-dfilter: FIRST..LAST, START+SIZE and LAST-SIZE, with commas between them."""
    found = []
    for item in spec.split(","):
        match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|\d+)(\.\.|\+|-)(0[xX][0-9a-fA-F]+|\d+)", item.strip())
        if match is None:
            raise PcemuError(f"-dfilter {item}: FIRST..LAST, START+SIZE or LAST-SIZE is expected")
        one, other = (int(text, 16 if text[:2] in ("0x", "0X") else 10) for text in (match[1], match[3]))
        first, last = {"..": (one, other), "+": (one, one + other - 1), "-": (one - other + 1, one)}[match[2]]
        if not 0 <= first <= last < 1 << 64:
            raise PcemuError(f"-dfilter {item}: the range is empty or reaches beyond 64 bits")
        found.append((first, last))
    return tuple(found)


def with_pid(path: str) -> str:
    """-D and -trace file=: '%d' is the process id."""
    if "%d" in path:
        import os

        path = path.replace("%d", str(os.getpid()), 1)
    return path


def parse_items(spec: str, warn: Callable[[str], object]) -> frozenset[str]:
    """The items of a -d argument; `warn` hears about those that are known and not available."""
    chosen: set[str] = set()
    for name in spec.split(","):
        if name == "all":
            chosen.update(item for item, (_, there) in ITEMS.items() if there)
        elif name == "none" or not name:
            continue
        elif name.startswith("trace:"):
            chosen.add(name)
        elif name not in ITEMS:
            raise PcemuError(f"-d {name}: invalid log item{suggestion(name, ITEMS)}")
        elif not ITEMS[name][1]:
            warn(f"-d {name}: not available")
        else:
            chosen.add(name)
    return frozenset(chosen)


def help_text() -> str:
    """What -d help prints."""
    lines = ["Log items (comma separated):"]
    lines += [f"{name:<15} {text}{'' if there else ' (not available yet)'}" for name, (text, there) in ITEMS.items()]
    lines.append(f"{'trace:PATTERN':<15} trace events whose names match")
    return "\n".join(lines)
