"""One group in seconds: pcemu against QEMU's TCG, for those who change the core.

    python -m bench.run --quick calls                       one run of each
    python -m bench.run --quick --cached-qemu calls x87     QEMU's figures of an earlier such run, if there are any
    python -m bench.run --quick --accel tcg,jit=off calls   with options for pcemu's engine
    python -m bench.run --quick --runs 3 calls              the smallest of three

The figures are minima: a host with other work on it makes a run slower, never faster.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from bench.build import CACHE
from bench.emulators import EMULATORS, Image
from bench.run import BenchError, Checksums, Times, run_once
from scripts.debian import write_atomically

STORE = CACHE / "qemu.json"


def _key(image: Image) -> str:
    """What QEMU's figures depend on: its version, the kernel, the program, the arguments."""
    kernel = image.kernel.stat()
    parts = (EMULATORS["qemu"].version(), image.kernel.name, kernel.st_size, kernel.st_mtime_ns, image.program.name, image.cmdline)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _load(path: Path) -> dict[str, tuple[Times, Checksums]]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _best(name: str, image: Image, runs: int) -> tuple[Times, Checksums]:
    times: Times = {}
    checksums: Checksums = {}
    for _ in range(runs):
        spent, checksums = run_once(EMULATORS[name], image)
        times = {what: min(seconds, times.get(what, seconds)) for what, seconds in spent.items()}
    return times, checksums


def quick(image: Image, runs: int, cached_qemu: bool) -> int:
    """Print seconds of both and pcemu's speed against QEMU's; 1 if a checksum differs or a run did not finish."""
    key = _key(image)
    known = _load(STORE) if cached_qemu else {}
    try:
        if key in known:
            theirs, expected = known[key]
        else:
            theirs, expected = _best("qemu", image, runs)
            write_atomically(STORE, json.dumps(_load(STORE) | {key: (theirs, expected)}).encode())
        ours, found = _best("pcemu", image, runs)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"{'':24}   pcemu, s   qemu, s{' (cached)' if key in known else ''}   pcemu's speed against qemu's")
    for what, seconds in ours.items():
        print(f"{what:24} {seconds:10.3f} {theirs[what]:9.3f} {theirs[what] / seconds:10.2f}")
    wrong = [what for what in found if found[what] != expected[what]]
    for what in wrong:
        print(f"bench: {what}: checksum {found[what]}, under qemu {expected[what]}", file=sys.stderr)
    return 1 if wrong else 0
