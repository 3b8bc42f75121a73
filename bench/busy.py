"""What a thread that computes in Python does to the devices of a guest in the same process.

    python -m bench.busy [--rounds N]

The embedding program runs a machine in its main thread and, or not, a loop of pure Python in another. The guest waits for things
of which each takes a few turns of Python: a timer every millisecond (how late is it?), 4 KiB of a disk after half a millisecond
of work, a byte from a serial line that goes back to it at once. The first two are timed in the guest, the last on the host. Shown
are median, the 99th of a hundred and the longest, in microseconds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.devices import prepare

COUNT = 300
TASKS = {
    "timer, how late": f"ticks {COUNT}",
    "disk, a read of 4 KiB": f"gap /dev/vda {COUNT}",
    "serial line, there and back": f"echo /dev/ttyS3 {COUNT}",
}
KINDS = {
    "idle": "nothing else runs",
    "busy": "a thread computes",
    "5 ms": "a thread computes, and Python's switch interval stays what it is",
}
EMBED = """
import sys, threading
from pcemu.cli.main import run
from pcemu.machine import turns
kind = sys.argv.pop(1)
if kind == "5 ms":
    turns.INTERVAL = 1.0
if kind != "idle":
    def compute():
        x = 0
        while True:
            x = (x * 3 + 1) % 1000003
    threading.Thread(target=compute, daemon=True).start()
sys.exit(run(sys.argv[1:]))
"""


def spread(took: list[float]) -> list[int]:
    """Median, 99th of a hundred, longest; in microseconds."""
    took = sorted(took)
    return [round(took[at] * 1e6) for at in (len(took) // 2, len(took) * 99 // 100, -1)]


def type_and_wait(directory: Path) -> list[int]:
    """COUNT bytes into the guest's serial line, each after the one before has come back and some rest."""
    took = []
    with open(directory / "typed.in", "r+b", 0) as typed, open(directory / "typed.out", "r+b", 0) as printed:
        for _ in range(COUNT):
            time.sleep(0.0005)
            begun = time.perf_counter()
            typed.write(b"x")
            printed.read(1)
            took.append(time.perf_counter() - begun)
    return spread(took)


def measure(kind: str, directory: Path) -> list[list[int]]:
    """One boot of a program of this kind: what TASKS took."""
    arguments = prepare(directory, list(TASKS.values()))
    command = [sys.executable, "-c", EMBED, kind, *arguments]
    found: list[list[int]] = []
    commands = iter(TASKS.values())
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("BEGIN") and next(commands).startswith("echo"):
                found.append(type_and_wait(directory))
            elif line.startswith("GAPS"):
                found.append([int(word) for word in line.split()[1:]])
    if len(found) < len(TASKS):
        raise SystemExit(f"bench.busy: no result for {', '.join(list(TASKS)[len(found) :])}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.busy", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="shown is the one with the smallest medians")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        for kind, about in KINDS.items():
            rounds = [measure(kind, Path(name)) for _ in range(args.rounds)]
            print(f"{about}:")
            for task, values in zip(TASKS, zip(*rounds, strict=True), strict=True):
                median, most, longest = min(values)
                print(f"  {task:30} median {median:6}, 99 % under {most:6}, longest {longest:6}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
