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
from bench.measure import BenchError, Checksums, Times, run_once
from bench.workloads import WORKLOADS
from scripts.debian import write_atomically

STORE = CACHE / "qemu.json"


def _key(image: Image) -> str:
    """What QEMU's figures depend on: its version, the kernel, the processor, the program, how much it does."""
    kernel = image.kernel.stat()
    what = (EMULATORS["qemu"].version(), image.kernel.name, kernel.st_size, kernel.st_mtime_ns)
    return hashlib.sha256(repr((*what, image.program.name, image.cpu, image.scale)).encode()).hexdigest()[:16]


def _load(path: Path) -> dict[str, tuple[Times, Checksums]]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _best(name: str, image: Image, runs: int) -> tuple[Times, Checksums]:
    times: Times = {}
    checksums: Checksums = {}
    for _ in range(runs):
        run = run_once(EMULATORS[name], image)
        checksums |= run.checksums
        times = {what: min(seconds, times.get(what, seconds)) for what, seconds in run.times.items()}
    return times, checksums


def _qemu(image: Image, runs: int, cached: bool) -> tuple[Times, Checksums]:
    """QEMU's figures: known ones if they will do, else new ones, which are kept."""
    key = _key(image)
    times, checksums = _load(STORE).get(key, ({}, {}))
    if not cached or not set(image.workloads) <= set(checksums):
        new_times, new_checksums = _best("qemu", image, runs)
        times, checksums = times | new_times, checksums | new_checksums
        write_atomically(STORE, json.dumps(_load(STORE) | {key: (times, checksums)}).encode())
    return times, checksums


def quick(image: Image, runs: int, cached_qemu: bool) -> int:
    """Print seconds of both and pcemu's speed against QEMU's; 1 if a checksum differs or a run did not finish."""
    try:
        theirs, expected = _qemu(image, runs, cached_qemu)
        ours, found = _best("pcemu", image, runs)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"{f'{image.bits} bits':16} {'pcemu, s':>10} {'qemu, s':>10} {'speed':>7} {'floor':>6}")
    for what, seconds in ours.items():
        if what in theirs:
            speed, floor = theirs[what] / seconds, WORKLOADS[what].floor
            print(f"{what:16} {seconds:10.3f} {theirs[what]:10.3f} {speed:7.2f} {floor:6g}{'' if speed >= floor else '  <'}")
    wrong = [what for what in found if found[what] != expected.get(what, found[what])]
    for what in wrong:
        print(f"bench: {what}: checksum {found[what]}, under qemu {expected[what]}", file=sys.stderr)
    return 1 if wrong else 0
