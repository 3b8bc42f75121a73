"""Runs seeds of one family in a process of its own: a crash or a hang of the core is then a finding like any other.

    python -m fuzz.worker FAMILY FIRST COUNT        (from tests/)

Prints a line for every seed that fails and `done` at the end. A seed that takes more than LIMIT seconds of CPU time ends the
process with a traceback; so does a crash. Which seed it was stands in the line `at N` before it.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
LIMIT = 60  # ordinary seeds take milliseconds
LIMITS = {"images": 20}
FAMILIES = ("core", "compiled", "vectors", "board", "images", "virtio", "network")


def checker(family: str) -> Callable[[int], None]:
    """The function that runs one seed and raises when something is wrong."""
    module = importlib.import_module(f"fuzz.{family}")
    found: Callable[[int], None] = module.check
    return found


def main(family: str, first: int, count: int) -> int:
    check = checker(family)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    faulthandler.register(signal.SIGPROF, chain=True)  # the traceback, then the signal's default: the end
    bad = 0
    for seed in range(first, first + count):
        os.write(1, f"at {seed}\n".encode())
        signal.setitimer(signal.ITIMER_PROF, LIMITS.get(family, LIMIT))
        try:
            check(seed)
        except AssertionError as error:
            bad += 1
            print(f"FAILED {family} {seed}: {error}", flush=True)
        except Exception:
            bad += 1
            print(f"FAILED {family} {seed}: {traceback.format_exc()}", flush=True)
    signal.setitimer(signal.ITIMER_PROF, 0)
    print("done", flush=True)
    return 1 if bad else 0


def findings(family: str, first: int, count: int, timeout: float) -> Iterator[tuple[int, str]]:
    """Run seeds in a process; (seed, what happened) of each that failed. After a crash the rest is run in a new process."""
    last = first + count
    while first < last:
        args = [sys.executable, "-X", "faulthandler", "-m", "fuzz.worker", family, str(first), str(last - first)]
        env = dict(os.environ, PYTHONPATH=os.pathsep.join((str(TESTS), str(ROOT), os.environ.get("PYTHONPATH", ""))))
        try:
            done = subprocess.run(args, capture_output=True, text=True, errors="replace", timeout=timeout, env=env, cwd=TESTS)
            out, err, code = done.stdout, done.stderr, done.returncode
        except subprocess.TimeoutExpired as expired:
            out, err, code = str(expired.stdout or b"", "utf-8", "replace"), "", -1
        at = first
        message: list[str] = []
        seed = -1
        for line in out.splitlines():
            if line.startswith(("at ", "done", "FAILED ")) and message:
                yield seed, "\n".join(message)
                message = []
            if line.startswith("at "):
                at = int(line[3:])
            elif line.startswith("FAILED "):
                seed, message = at, [line]
            elif message:
                message.append(line)
        if message:
            yield seed, "\n".join(message)
        if out.rstrip().endswith("done"):
            return
        yield at, f"FAILED {family} {at}: the process ended with status {code}\n{err[-3000:]}"
        first = at + 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
