"""Fuzzing for as long as one likes: prints what is found, and at the end (or after Ctrl-C) a line for docs/soak.md.

    python -m fuzz.soak [--family core|compiled|vectors|board] [--first SEED] [--hours H]        (from tests/)

PCEMU_JIT=2 makes nearly every block of the programs a compiled one, in the family `core` too.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import sys
import time

from .worker import FAMILIES, findings

BATCH = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz.soak", description="random programs and accesses, for hours")
    parser.add_argument("--family", choices=FAMILIES, action="append", help="default: all, in turn")
    parser.add_argument("--first", type=int, default=1_000_000, help="seed to begin with (%(default)s)")
    parser.add_argument("--hours", type=float, default=8.0, help="how long (%(default)s)")
    options = parser.parse_args()
    families = options.family or FAMILIES
    end = time.monotonic() + 3600 * options.hours
    ran = dict.fromkeys(families, 0)
    bad: list[str] = []
    try:
        for family in itertools.cycle(families):
            if time.monotonic() >= end:
                break
            for seed, text in findings(family, options.first + ran[family], BATCH, timeout=BATCH * 60):
                bad.append(f"{family} {seed}")
                print(text, flush=True)
            ran[family] += BATCH
    except KeyboardInterrupt:
        print(file=sys.stderr)
    jit = os.environ.get("PCEMU_JIT", "")
    jit = f", PCEMU_JIT={jit}" if jit else ""
    for family in families:
        last = options.first + ran[family] - 1
        failed = sum(x.startswith(family) for x in bad)
        print(f"| {datetime.date.today()} | {family}{jit} | {options.first} to {last} | {failed} |")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
