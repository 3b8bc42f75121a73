"""Runs one guest under pcemu and QEMU's TCG (and Bochs) side by side and compares the CPU time they take for it.

    python -m bench.run                         everything, five runs each: the figures of docs/performance.md
    python -m bench.run --bits 64 calls x87     two groups, 64-bit only
    python -m bench.run --quick calls vm-calls  a group and a workload in seconds (bench/quick.py)
    python -m bench.run --handlers calls        which share of the instructions ran without a handler (bench/handlers.py)
    python -m bench.run --list                  groups and workloads

The guest is a Debian kernel with one program as /init (bench/guest), 64-bit on a 64-bit kernel, 32-bit on a 32-bit
one. It frames each workload (bench/workloads.py) with lines on the serial console and waits for an answer, so that
nothing runs while we note the emulator's CPU time (all its threads, user and system). 'boot' is the CPU time from the
start of the emulator to the program's first line. Emulators take turns, so that a change in the host's speed meets all
of them; a ratio is the median over the runs of the ratio within a run. A checksum that differs is an error. The program
runs on the host as well ('native').
"""

from __future__ import annotations

import argparse
import compileall
import dataclasses
import json
import os
import platform
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import report, workloads
from bench.emulators import EMULATORS, ROOT, make_image
from bench.measure import BenchError, measure
from scripts import guests


def host() -> str:
    with suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} CPUs, Linux {platform.release()}"
    return platform.platform()


def list_workloads() -> None:
    for group in workloads.GROUPS:
        print(f"{group.name}: {group.title}")
        for workload in group.workloads:
            only = f" ({workload.bits[0]}-bit only)" if len(workload.bits) == 1 else ""
            print(f"    {workload.name:16} {workload.about}{only}; floor {workload.floor:g}")


def note(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def parse(argv: list[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="bench", description="Compare pcemu with QEMU's TCG and Bochs.")
    parser.add_argument("groups", nargs="*", help="groups or workloads to run (default: all)")
    parser.add_argument("--list", action="store_true", help="name groups and workloads")
    parser.add_argument("--runs", type=int, help="default: 5, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="only pcemu and QEMU, the smallest figures of the runs")
    parser.add_argument("--handlers", action="store_true", help="only pcemu: instructions that ran without a handler's call")
    parser.add_argument("--cached-qemu", action="store_true", help="with --quick: take QEMU's figures of an earlier run")
    parser.add_argument("--accel", default="", metavar="tcg,OPTION=VALUE", help="pcemu's -accel")
    parser.add_argument("--cpu", default="core2duo", help="-cpu of pcemu and QEMU (default: %(default)s)")
    parser.add_argument("--scale", type=int, default=100, help="per cent of the usual work")
    parser.add_argument("--emulators", default="pcemu,qemu,native", help="of: " + ", ".join(EMULATORS))
    parser.add_argument("--bits", help="64, 32 or 64,32 (default: both, with --quick 64)")
    parser.add_argument("--kernel", default="", choices=guests.KERNELS, help="default: cloud, for 32 bits 686-pae")
    parser.add_argument("--output", type=Path, help="also write all figures as JSON")
    args = parser.parse_args(argv)
    args.bits = args.bits or ("64" if args.quick else "64,32")
    if args.bits not in ("64", "32", "64,32"):
        parser.error("--bits: 64, 32 or 64,32")
    if args.scale < 1 or (args.runs is not None and args.runs < 1):
        parser.error("--scale and --runs: at least 1")
    args.emulators = list(dict.fromkeys(["pcemu", *filter(None, args.emulators.split(","))]))
    for name in args.emulators:
        if name not in EMULATORS:
            parser.error(f"--emulators: unknown '{name}' (known: {', '.join(EMULATORS)})")
    return parser, args


def main(argv: list[str] | None = None) -> int:
    parser, args = parse(argv)
    if args.list:
        list_workloads()
        return 0
    if shutil.which("gcc") is None:
        parser.error("gcc is needed to build the benchmark guest")
    images = []
    for bits in map(int, args.bits.split(",")):
        try:
            chosen = workloads.choose(args.groups, bits)
        except ValueError as error:
            parser.error(str(error))
        images.append(make_image(chosen, bits, args.kernel, scale=args.scale, cpu=args.cpu, accel=args.accel))
    compileall.compile_dir(ROOT / "pcemu", quiet=1)  # as an installed package is
    if args.handlers:
        from bench.handlers import handlers

        return max(handlers(image) for image in images)
    if args.quick:
        from bench.quick import quick

        return max(quick(image, args.runs or 1, args.cached_qemu) for image in images)
    missing = [name for name in args.emulators if not EMULATORS[name].installed()]
    if missing:
        note(f"not installed, left out: {', '.join(missing)}\n")
    names = [name for name in args.emulators if name not in missing]
    others = [name for name in names if name not in ("pcemu", "native")]
    runs = args.runs or 5
    figures: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "host": host(), "cpu": args.cpu, "accel": args.accel,
                               "versions": {name: EMULATORS[name].version() for name in names}}  # fmt: skip
    print(f"{figures['date']}, {figures['host']}; {runs} runs, -cpu {args.cpu}\n")
    for name in names:
        print(f"- {name}: {EMULATORS[name].version()}")
    trouble: list[str] = []
    for image in images:
        try:
            results, wrong = measure(names, image, runs, note)
        except BenchError as error:
            note(f"\nbench: {error}\n")
            return 1
        trouble += wrong
        print(f"\n## {image.bits}-bit guest ({image.kernel.name})\n\n{report.group_table(results)}\n")
        print(f"{report.summary(results, others)}\n\n{report.workload_table(results, others)}", flush=True)
        figures[f"{image.bits}"] = [{name: dataclasses.asdict(run) for name, run in turn.items()} for turn in results]
        if args.output:
            args.output.write_text(json.dumps(figures, indent=1))
    for line in trouble:
        note(f"bench: {line}\n")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
