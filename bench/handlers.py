"""Which share of the retired instructions ran as compiled code, without a call of a handler.

    python -m bench.run --handlers                      every group and the boot, 64 and 32 bits
    python -m bench.run --handlers --bits 32 wide       one group
    python -m bench.run --handlers --accel tcg,tb-size=2 calls

An instruction that the interpreter ran, because its block was not hot yet or for what was left of a block, counts as one with a
handler. The counts are those of ``info jit``, asked for while the guest waits between two workloads.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.emulators import Emulator, Image, pcemu
from bench.measure import BenchError, run_once
from bench.workloads import BOOT, GROUPS

GOAL, BOOT_GOAL = 98.0, 95.0  # per cent
NAMED = 4  # handlers that are named, the most frequent first


@dataclass
class Counts:
    """Instructions: retired, of these by compiled code, of these by which handler."""

    retired: int = 0
    compiled: int = 0
    calls: dict[str, int] = field(default_factory=dict)

    def __sub__(self, other: Counts) -> Counts:
        calls = {name: count - other.calls.get(name, 0) for name, count in self.calls.items()}
        return Counts(self.retired - other.retired, self.compiled - other.compiled, {k: v for k, v in calls.items() if v})

    def __add__(self, other: Counts) -> Counts:
        calls = {name: self.calls.get(name, 0) + other.calls.get(name, 0) for name in self.calls | other.calls}
        return Counts(self.retired + other.retired, self.compiled + other.compiled, calls)

    def share(self, part: int) -> float:
        return 100 * part / self.retired if self.retired else 0.0

    def row(self, name: str, goal: float) -> str:
        called = sum(self.calls.values())
        without = self.share(self.compiled - called)
        most = sorted(self.calls.items(), key=lambda item: -item[1])[:NAMED]
        named = ", ".join(f"{name.removeprefix('op_')} {self.share(count):.1f}" for name, count in most
                          if self.share(count) >= 0.1)  # fmt: skip
        mark = "" if without >= goal else " <"
        return (f"| {name} | {self.retired / 1e6:.1f} | {without:.1f}{mark} | {self.share(called):.1f} | "
                f"{self.share(self.retired - self.compiled):.1f} | {named} |")  # fmt: skip


class Monitor:
    """A QMP connection, made when it is first needed."""

    def __init__(self) -> None:
        self._file: Any = None

    def _line(self) -> dict[str, Any]:
        while True:
            answer = json.loads(self._file.readline())
            if "event" not in answer:
                return dict(answer)

    def ask(self, directory: Path, command: str) -> str:
        """What the human monitor answers."""
        if self._file is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(directory / "qmp"))
            self._file = connection.makefile("rw")
            connection.close()  # (the file holds it)
            self._line()
            self._send("qmp_capabilities")
        return str(self._send("human-monitor-command", {"command-line": command})["return"])

    def _send(self, name: str, arguments: dict[str, str] | None = None) -> dict[str, Any]:
        self._file.write(json.dumps({"execute": name, "arguments": arguments or {}}) + "\n")
        self._file.flush()
        return self._line()


def parse(text: str) -> Counts:
    """From `info jit`."""
    figures = {name: int(value) for name, value in re.findall(r"^(\w+) +(\d+)\r?$", text, re.MULTILINE)}
    calls = {name: count for name, count in figures.items() if name.startswith("op_")}
    return Counts(figures["instructions"], figures["compiled_retired"], calls)


def count(image: Image) -> dict[str, Counts]:
    """Counts by workload, and of the boot."""
    found: dict[str, Counts] = {}
    before = Counts()
    monitor = Monitor()

    def command(image: Image, directory: Path) -> list[str]:
        return [*pcemu(image, directory), "-qmp", f"unix:{directory}/qmp,server=on,wait=off"]

    def mark(word: str, details: list[str], directory: Path) -> None:
        nonlocal before
        if word == "done":
            return
        now = parse(monitor.ask(directory, "info jit"))
        if word == "start":
            found[BOOT.name] = now
        elif word == "end":
            found[details[0]] = now - before
        before = now

    run_once(Emulator("pcemu", command, waits=True), image, mark)
    return found


def handlers(image: Image) -> int:
    """Print the table of an image; 1 if a run did not finish."""
    try:
        found = count(image)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"\n{image.bits}-bit guest, -cpu {image.cpu}; per cent of the instructions retired\n")
    print("| group, workload | million | no handler | handler called | interpreted | most called |")
    print("|---|---:|---:|---:|---:|---|")
    for group in GROUPS:
        rows = [(w.name, found[w.name]) for w in group.workloads if w.name in found]
        goal = BOOT_GOAL if group.workloads == (BOOT,) else GOAL
        if len(rows) > 1:
            print(sum((counts for _, counts in rows), Counts()).row(f"**{group.name}**", goal))
        for name, counts in rows:
            print(counts.row(f"**{name}**" if len(rows) == 1 else name, goal))
    return 0
