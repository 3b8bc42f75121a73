"""One run of the guest under one emulator: CPU seconds, checksums, memory."""

from __future__ import annotations

import os
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.emulators import EMULATORS, ROOT, Emulator, Image

PATIENCE = 1800.0
SHORT = 0.1  # seconds: what the host does faster is measured again ...
LONGER = 10  # ... doing that many times as much

Note = Callable[[str], None]
Mark = Callable[[str, list[str], Path], None]  # word, what follows it, the directory of the run's own files
Times = dict[str, float]  # CPU seconds by workload; 'boot': until the program's first line
Checksums = dict[str, str]


class BenchError(Exception):
    """A run that did not come to its end, or disagreed with the others."""


@dataclass
class Run:
    times: Times = field(default_factory=dict)
    checksums: Checksums = field(default_factory=dict)
    peak: float = 0.0  # MiB resident at most, guest RAM included


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all threads, in nanosecond resolution: Linux's clock id of another process' CPU clock."""
    seconds = time.clock_gettime_ns((~pid << 3) | 2) / 1e9
    with open(f"/proc/{pid}/stat") as file:  # and of children it has waited for: the host's fork-exec
        fields = file.read().rpartition(")")[2].split()
    return seconds + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def console_lines(fd: int, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Lines of the console until the emulator ends. A named pipe reads as empty until the emulator has opened it."""
    pending = b""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        if not select.select([fd], [], [], 1.0)[0]:
            continue
        data = os.read(fd, 65536)
        if not data:
            if ended:
                return
            time.sleep(0.01)
            continue
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace").strip()


def run_once(emulator: Emulator, image: Image, mark: Mark | None = None) -> Run:
    """Boot once and run the image's workloads. mark() hears of each line of the guest, which waits meanwhile. BenchError if the
    guest does not come to its end."""
    result = Run()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        command = emulator.command(image, directory)
        read_end, write_end = os.pipe()
        if emulator.console:
            os.close(read_end)
            os.mkfifo(directory / emulator.console)
            read_end = os.open(directory / emulator.console, os.O_RDONLY | os.O_NONBLOCK)
        with open(directory / "stderr", "wb") as stderr:
            process = subprocess.Popen(
                command, cwd=ROOT, stderr=stderr,
                stdin=subprocess.PIPE if emulator.waits else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if emulator.console else write_end,
            )  # fmt: skip
        os.close(write_end)
        begin = 0.0
        finished = False
        try:
            for line in console_lines(read_end, process):
                _, found, rest = line.partition("BENCH ")
                if not found:
                    continue
                now = cpu_seconds(process.pid)
                word, *details = rest.split()
                if word == "start" and emulator.name != "native":
                    result.times["boot"] = now
                elif word == "begin":
                    begin = now
                elif word == "end":
                    result.times[details[0]] = now - begin
                    result.checksums[details[0]] = details[1]
                if mark:
                    mark(word, details, directory)
                if word == "done":
                    result.peak = peak_mib(process.pid)
                    finished = True
                    break
                if process.stdin is not None:  # the guest stands still until now
                    process.stdin.write(b"\n")
                    process.stdin.flush()
        except BrokenPipeError:
            pass
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
            os.close(read_end)
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
        if not finished:
            message = (directory / "stderr").read_text(errors="replace")[-2000:]
            raise BenchError(f"{emulator.name} did not finish (last workload: {list(result.times)[-1:]})\n{message}")
    return result


def run_native(image: Image) -> Run:
    """On the host. What is over in a moment is done once more, longer."""
    result = run_once(EMULATORS["native"], image)
    short = [name for name, seconds in result.times.items() if seconds < SHORT]
    if short:
        longer = run_once(EMULATORS["native"], image.but(short, image.scale * LONGER))
        result.times |= {name: seconds / LONGER for name, seconds in longer.times.items()}
    return result


def measure(names: list[str], image: Image, runs: int, note: Note) -> tuple[list[dict[str, Run]], list[str]]:
    """Let the emulators take turns. One dictionary (emulator -> its run) a turn; and what is wrong with the checksums."""
    results: list[dict[str, Run]] = []
    wrong: dict[str, None] = {}
    expected: Checksums = {}
    for number in range(runs):
        row: dict[str, Run] = {}
        for name in names:
            note(f"{image.bits} bits, run {number + 1} of {runs}: {name} ...")
            row[name] = run_native(image) if name == "native" else run_once(EMULATORS[name], image)
            note(f" {sum(row[name].times.values()):.1f} s\n")
            for workload, checksum in row[name].checksums.items():
                if expected.setdefault(workload, checksum) != checksum:
                    wrong[f"{name}: {workload} has checksum {checksum}, {names[0]} {expected[workload]}"] = None
        results.append(row)
    return results, list(wrong)
