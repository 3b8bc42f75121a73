"""Fuzzing for as long as one likes: prints what is found, and at the end (or after Ctrl-C) a line for docs/soak.md.

    python -m fuzz.soak [--family core|board|images|...] [--first SEED] [--hours H] [--resume FILE]       (from tests/)

With a file, the hours are of CPU time, over all runs that name it: each goes on where the one before stopped, and there is
nothing left to do when they are through.

PCEMU_JIT=2 makes nearly every block of the programs a compiled one, in the family `core` too.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import resource
import sys
import time
from pathlib import Path

from .worker import FAMILIES, findings

BATCH = 500
BATCHES = {"images": 20_000, "virtio": 2_000}  # by family, where seeds are cheap


class Progress:
    """How far each family has come, and what failed; kept in a file after each batch, if there is one."""

    def __init__(self, file: Path | None, first: int) -> None:
        self.file = file
        self.first = first
        self.seconds = 0.0
        self.ran: dict[str, int] = {}
        self.bad: list[str] = []
        if file is not None and file.exists():
            try:
                kept = json.loads(file.read_text())
                self.first, self.seconds = int(kept["first"]), float(kept["seconds"])
                self.ran = {str(k): int(v) for k, v in kept["ran"].items()}
                self.bad = [str(seed) for seed in kept["bad"]]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise SystemExit(f"fuzz.soak: {file} is not what an earlier run left: {error}") from None

    def note(self, family: str, seconds: float) -> None:
        self.ran[family] = self.ran.get(family, 0) + BATCHES.get(family, BATCH)
        self.seconds += seconds
        if self.file is not None:
            text = json.dumps({"first": self.first, "seconds": self.seconds, "ran": self.ran, "bad": self.bad})
            beside = self.file.with_suffix(".new")
            beside.write_text(text)
            beside.replace(self.file)


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz.soak", description="random programs and accesses, for hours")
    parser.add_argument("--family", choices=FAMILIES, action="append", help="default: all, in turn")
    parser.add_argument("--first", type=int, default=1_000_000, help="seed to begin with (%(default)s)")
    parser.add_argument("--hours", type=float, default=8.0, help="how long (%(default)s)")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="go on where the run before stopped")
    options = parser.parse_args()
    families = options.family or FAMILIES
    progress = Progress(options.resume, options.first)
    began = time.monotonic()
    try:
        for family in itertools.cycle(families):
            if (progress.seconds if options.resume else time.monotonic() - began) >= 3600 * options.hours:
                break
            spent = _spent()
            batch = BATCHES.get(family, BATCH)
            for seed, text in findings(family, progress.first + progress.ran.get(family, 0), batch, timeout=batch * 60):
                progress.bad.append(f"{family} {seed}")
                print(text, flush=True)
            progress.note(family, _spent() - spent)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    jit = os.environ.get("PCEMU_JIT", "")
    jit = f", PCEMU_JIT={jit}" if jit else ""
    for family in families:
        if ran := progress.ran.get(family):
            failed = sum(x.split()[0] == family for x in progress.bad)
            print(f"| {datetime.date.today()} | {family}{jit} | {progress.first} to {progress.first + ran - 1} | {failed} |")
    return 1 if progress.bad else 0


if __name__ == "__main__":
    sys.exit(main())
