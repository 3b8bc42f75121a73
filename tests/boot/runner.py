"""Runs one boot test: a command line, what is typed and what must appear, and how the program ends.

The tests are written in cases/*.toml. Each [[boot]] table has

    name      of the test
    args      pcemu's arguments; {cloud} and the like stand for fetched or built files (see files.py), {dir} for an
              empty directory of this test
    step      a list of {expect = 'regular expression', send = "text"}: each in turn; both are optional
    lines     what the output must hold, as whole lines (regular expressions), in any order
    absent    regular expressions that may not match any line of the output
    output    the file to look at instead of standard output
    stderr    a regular expression that standard error must match
    stop      "signal": the guest does not end by itself; SIGTERM is sent after the last step
    status    the exit status (default 0)
    marks     pytest marks
    host_clock  true: time is the host's. Without it a guest's time is its instruction count, and a loaded host changes
              nothing
    pcemu_only  true: not for QEMU (see below)
    path      directories with Python packages that pcemu finds as well

PCEMU_BOOT_WITH="qemu-system-x86_64 -accel tcg" runs the same cases under another emulator.
"""

from __future__ import annotations

import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EMULATOR = os.environ.get("PCEMU_BOOT_WITH", "")
# Only there to end a test that hangs: no test passes or fails by the host's speed.
PATIENCE = float(os.environ.get("PCEMU_BOOT_PATIENCE", "1800"))

STEADY = "-icount shift=2,sleep=off -rtc base=2024-02-29T12:00:00,clock=vm -seed 7"

# What no Linux guest may print. (Warnings of the kernel are compared with known-warnings.txt besides.)
TROUBLE = [
    r"\bFirmware Bug\b", r"ACPI (BIOS )?(Error|Warning|Exception)", r"nobody cared", r"\bspurious\b",
    r"[Ll]ost .*(interrupt|tick)", r"soft lockup", r"rcu.*stall", r"Call Trace", r"\bWARNING:", r"\bBUG:",
    r"Kernel panic", r"Oops", r"MP-BIOS bug", r"clocksource:.*(unstable|wd|skew)", r"TSC unstable", r"Invalid PCCH",
]  # fmt: skip


@dataclass
class Step:
    expect: str = ""
    send: str = ""


@dataclass
class Case:
    name: str
    args: str
    step: list[Step] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    output: str = ""
    stderr: str = ""
    stop: str = ""
    status: int = 0
    marks: list[str] = field(default_factory=list)
    linux: bool = False
    host_clock: bool = False
    pcemu_only: bool = False
    path: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.step = [Step(**step) if isinstance(step, dict) else step for step in self.step]


def load_cases(directory: Path = HERE / "cases") -> list[Case]:
    cases = []
    for path in sorted(directory.glob("*.toml")):
        for table in tomllib.loads(path.read_text())["boot"]:
            cases.append(Case(**table))
    return cases


class BootFailure(AssertionError):
    """The guest did not do what the case says."""


class Running:
    """An emulator that runs, its output so far, and its end."""

    def __init__(self, command: list[str], cwd: Path, path: list[str]) -> None:
        self.command = command
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *path])},
        )  # fmt: skip
        self._streams: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
        self.seen = 0  # how far steps have looked
        self._deadline = time.monotonic() + PATIENCE
        self._selector = selectors.DefaultSelector()
        assert self.process.stdout is not None and self.process.stderr is not None
        self._selector.register(self.process.stdout, selectors.EVENT_READ, "out")
        self._selector.register(self.process.stderr, selectors.EVENT_READ, "err")

    @property
    def out(self) -> str:
        return self._streams["out"].decode(errors="replace").replace("\r", "")

    @property
    def err(self) -> str:
        return self._streams["err"].decode(errors="replace")

    def _read(self) -> bool:
        """Take what there is; false at the end of both streams."""
        if not self._selector.get_map():
            return False
        ready = self._selector.select(self._deadline - time.monotonic())
        if not ready:
            raise BootFailure(f"nothing more happens\n{self.report()}")
        for key, _ in ready:
            data = os.read(key.fd, 65536)
            if data:
                self._streams[key.data] += data
            else:
                self._selector.unregister(key.fileobj)
        return True

    def expect(self, pattern: str) -> None:
        while True:
            match = re.compile(pattern, re.MULTILINE).search(self.out, self.seen)
            if match:
                self.seen = match.end()
                return
            if not self._read():
                raise BootFailure(f"ended before /{pattern}/ appeared\n{self.report()}")

    def send(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def finish(self) -> int:
        while self._read():
            pass
        return self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self._selector.close()

    def report(self) -> str:
        tail = "\n".join(self.out.splitlines()[-40:])
        return f"command: {shlex.join(self.command)}\n--- output, its end:\n{tail}\n--- stderr:\n{self.err[-3000:]}"


def command_for(args: list[str]) -> list[str]:
    if EMULATOR:
        tour = str(ROOT / "pcemu" / "data" / "tour.elf")
        return [*shlex.split(EMULATOR), *(tour if arg == "builtin:tour" else arg for arg in args)]
    return [sys.executable, "-m", "pcemu", *args]


def known_warnings() -> list[re.Pattern[str]]:
    lines = (HERE / "known-warnings.txt").read_text().splitlines()
    return [re.compile(line) for line in lines if line and not line.startswith("#")]


def check_output(case: Case, text: str) -> list[str]:
    """What is wrong with the output, in words."""
    lines = text.replace("\r", "").splitlines()
    wrong = []
    for pattern in case.lines:
        if not any(re.fullmatch(pattern, line) for line in lines):
            wrong.append(f"no line is /{pattern}/")
    for pattern in [*case.absent, *(TROUBLE if case.linux else [])]:
        wrong += [f"/{pattern}/ may not appear: {line}" for line in lines if re.search(pattern, line)]
    if case.linux:
        known = known_warnings()
        for line in lines:
            head, mark, warning = line.partition("# warning: ")
            if mark and not head and not any(one.search(warning) for one in known):
                wrong.append(f"a warning that QEMU's guest does not print: {warning}")
        wrong += [f"check failed: {line}" for line in lines if re.match(r"EXERCISE \S+ FAIL", line)]
    return wrong


def run(case: Case, files: dict[str, str], directory: Path) -> str:
    """Run a case; returns the output. Raises BootFailure."""

    def fill(text: str) -> str:
        return re.sub(r"\{([\w-]+)\}", lambda m: str(directory) if m[1] == "dir" else files[m[1]], text)

    args = [fill(arg) for arg in shlex.split(case.args)]
    if not case.host_clock and "-icount" not in args:
        args += shlex.split(STEADY)
    guest = Running(command_for(args), directory, case.path)
    try:
        for step in case.step:
            if step.expect:
                guest.expect(step.expect)
            if step.send:
                guest.send(step.send)
        if case.stop == "signal":
            guest.process.send_signal(signal.SIGTERM)
        status = guest.finish()
        text = Path(fill(case.output)).read_text(errors="replace") if case.output else guest.out
        wrong = check_output(case, text)
        if status != case.status:
            wrong.append(f"exit status {status}, not {case.status}")
        if case.stderr and not re.search(case.stderr, guest.err):
            wrong.append(f"stderr does not match /{case.stderr}/")
        if wrong:
            raise BootFailure("\n".join([*wrong, guest.report()]))
        return text
    finally:
        guest.close()
