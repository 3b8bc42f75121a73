"""Runs one guest under pcemu, QEMU's TCG and Bochs side by side and compares the CPU time they take for it.

    python -m bench.run                         all groups, five runs each: the figures of docs/performance.md
    python -m bench.run --quick integer x87     a look at two groups in seconds (bench/quick.py)
    python -m bench.run --emulators pcemu,qemu --scale 300

The guest is Debian's cloud kernel with one program as /init (bench/guest). It frames each group of loops with lines on
the serial console; we note the emulator's CPU time (all its threads, user and system) at each line. 'boot' is the CPU
time from the start of the emulator to the program's first line. Emulators take turns, so that a change in the host's
speed meets all of them; a ratio is the median over the runs of the ratio within a run. A checksum that differs is an
error. The program runs on the host as well ('native').
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench import build
from bench.emulators import EMULATORS, ROOT, Emulator, Image
from scripts import guests, mkinitramfs
from scripts.debian import write_atomically

CMDLINE = "console=ttyS0 quiet mitigations=off nokaslr"
NATIVE_SCALE = 10  # native loops are short: run that many times longer for the time
PATIENCE = 1800.0

Times = dict[str, float]  # CPU seconds by group
Checksums = dict[str, str]


class BenchError(Exception):
    """A run that did not come to its end, or disagreed with the others."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all threads, in nanosecond resolution: Linux's clock id of another process' CPU clock."""
    seconds = time.clock_gettime_ns((~pid << 3) | 2) / 1e9
    with open(f"/proc/{pid}/stat") as file:  # and of children it has waited for: the host's fork-exec group
        fields = file.read().rpartition(")")[2].split()
    return seconds + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


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


def run_once(emulator: Emulator, image: Image) -> tuple[Times, Checksums]:
    """Boot once; the CPU time of each group."""
    times: Times = {}
    checksums: Checksums = {}
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
                _, mark, rest = line.partition("BENCH ")
                if not mark:
                    continue
                now = cpu_seconds(process.pid)
                if process.stdin is not None:
                    process.stdin.write(b"\n")
                    process.stdin.flush()
                word, *details = rest.split()
                if word == "start":
                    times["boot"] = now
                elif word == "begin":
                    begin = now
                elif word == "end":
                    times[details[0]] = now - begin
                    checksums[details[0]] = details[1]
                elif word == "done":
                    finished = True
                    break
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
            os.close(read_end)
            if process.stdin is not None:
                process.stdin.close()
        if not finished:
            message = (directory / "stderr").read_text(errors="replace")[-2000:]
            raise BenchError(f"{emulator.name} did not finish (last group: {list(times)[-1:]})\n{message}")
    if emulator.name == "native":
        del times["boot"]
    return times, checksums


def make_image(arguments: list[str], bits: int, kernel: str, accel: str = "") -> Image:
    program = build.build(bits)
    initrd = program.with_name(f"{program.name}.img")
    if not initrd.exists():
        write_atomically(initrd, mkinitramfs.build(program.read_bytes()))
    return Image(guests.get(kernel), initrd, " ".join([CMDLINE, "--", *arguments]), program, arguments, accel)


def measure(
    names: list[str], groups: list[str], runs: int, scale: int, bits: int, kernel: str, accel: str, wrong: list[str]
) -> list[dict[str, Times]]:
    """One dictionary (emulator -> times) a run; disagreements about checksums are added to 'wrong'."""
    image = make_image([f"scale={scale}", *groups], bits, kernel, accel)
    results: list[dict[str, Times]] = []
    expected: Checksums = {}
    for number in range(runs):
        row: dict[str, Times] = {}
        for name in names:
            print(f"run {number + 1} of {runs}: {name} ...", end="", file=sys.stderr, flush=True)
            times, checksums = run_once(EMULATORS[name], image)
            for group, checksum in checksums.items():
                if expected.setdefault(group, checksum) != checksum:
                    wrong.append(f"{name}: group {group} has checksum {checksum}, {names[0]} {expected[group]}")
            if name == "native":
                longer = make_image([f"scale={scale * NATIVE_SCALE}", *groups], bits, kernel)
                times = {group: spent / NATIVE_SCALE for group, spent in run_once(EMULATORS[name], longer)[0].items()}
            print(f" {sum(times.values()):.1f} s", file=sys.stderr)
            row[name] = times
        results.append(row)
    return results


# -- the report -----------------------------------------------------------------------------------------------------


def ratios(results: list[dict[str, Times]], group: str, above: str, below: str) -> list[float]:
    pairs = [(run.get(above, {}).get(group), run.get(below, {}).get(group)) for run in results]
    return [over / under for over, under in pairs if over and under]


def _ratio_cell(values: list[float]) -> str:
    if not values:
        return "-"
    median = statistics.median(values)
    return f"{median:.2f} ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else f"{median:.2f}"


def report(results: list[dict[str, Times]], names: list[str]) -> str:
    """A Markdown table: seconds of each, and how many times faster the first is than each other."""
    first, *others = names
    groups = list(dict.fromkeys(group for run in results for name in names for group in run[name]))
    titles = ["group", *(f"{name}, s" for name in names), *(f"{first}'s speed against {name}'s" for name in others)]
    rows = [titles, ["---", *("--:" for _ in titles[1:])]]
    for group in groups:
        row = [group]
        for name in names:
            seconds = [run[name][group] for run in results if group in run[name]]
            row.append(f"{statistics.median(seconds):.3f}" if seconds else "-")
        row += [_ratio_cell(ratios(results, group, name, first)) for name in others]
        rows.append(row)
    means = ["geometric mean of the groups", *("" for _ in names)]
    for name in others:
        found = [ratios(results, group, name, first) for group in groups if group != "boot"]
        medians = [statistics.median(values) for values in found if values]
        means.append(f"**{statistics.geometric_mean(medians):.2f}**" if medians else "-")
    rows.append(means)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def host() -> str:
    with suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} CPUs, Linux {platform.release()}"
    return platform.platform()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench", description="Compare pcemu with QEMU's TCG and Bochs.")
    parser.add_argument("groups", nargs="*", help="groups to run (default: all)")
    parser.add_argument("--runs", type=int, help="default: 5, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="only pcemu and QEMU, the smallest figures of the runs")
    parser.add_argument("--cached-qemu", action="store_true", help="with --quick: take QEMU's figures of an earlier run")
    parser.add_argument("--accel", default="", metavar="tcg,OPTION=VALUE", help="pcemu's -accel")
    parser.add_argument("--scale", type=int, default=100, help="per cent of the usual work")
    parser.add_argument("--emulators", default="pcemu,qemu,bochs,native", help="the first is compared with the others")
    parser.add_argument("--bits", type=int, choices=(64, 32), default=64, help="of the program")
    parser.add_argument("--kernel", default="cloud", choices=guests.KERNELS)
    parser.add_argument("--output", type=Path, help="also write all figures as JSON")
    args = parser.parse_args(argv)
    names = [name for name in args.emulators.split(",") if name]
    for name in names:
        if name not in EMULATORS:
            parser.error(f"unknown emulator '{name}' (known: {', '.join(EMULATORS)})")
    missing = [name for name in names if not EMULATORS[name].installed()]
    if missing:
        print(f"not installed, left out: {', '.join(missing)}", file=sys.stderr)
    names = [name for name in names if name not in missing]
    if shutil.which("gcc") is None:
        parser.error("gcc is needed to build the benchmark guest")
    if args.quick:
        from bench.quick import quick

        image = make_image([f"scale={args.scale}", *args.groups], args.bits, args.kernel, args.accel)
        return quick(image, args.runs or 1, args.cached_qemu)
    args.runs = args.runs or 5
    wrong: list[str] = []
    try:
        results = measure(names, args.groups, args.runs, args.scale, args.bits, args.kernel, args.accel, wrong)
    except BenchError as error:
        print(f"\nbench: {error}", file=sys.stderr)
        return 1
    print(f"{time.strftime('%Y-%m-%d')}, {host()}; {args.runs} runs, kernel {args.kernel}, {args.bits}-bit program\n")
    for name in names:
        print(f"- {name}: {EMULATORS[name].version()}")
    print("\n" + report(results, names))
    if args.output:
        args.output.write_text(json.dumps({"host": host(), "runs": results}, indent=1))
    for line in wrong:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
