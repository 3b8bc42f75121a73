"""Runs the public suites and prints their scores. Each is found by the path of its own checkout or build:

    python3 -m tests.suites.run test386 ROM [--reference test386-EE-reference.txt]
    python3 -m tests.suites.run sst DIR [--limit N] [--only F7.6 ...] [--table]
    python3 -m tests.suites.run testfloat testfloat_gen [--only fsqrt ...] [--level 2] [--table]

The status is 1 when something failed that known.txt does not list, or passed that it does. docs/fidelity.md says where the
suites are, and keeps the scores.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from . import rom386, sst, testfloat

KNOWN = Path(__file__).with_name("known.txt")


def known(suite: str) -> set[tuple[str, int]]:
    """(file, vector) of every known failure of a suite."""
    lines = [ln.split(None, 3) for ln in KNOWN.read_text().splitlines() if ln.strip() and not ln.startswith("#")]
    return {(f[1], int(f[2])) for f in lines if f[0] == suite}


def run_test386(args: argparse.Namespace) -> int:
    result = rom386.run(args.rom, args.cpu)
    ok = result.code == rom386.DONE
    print(f"test386, -cpu {args.cpu}: POST code {result.code:#04x} after {result.instructions:,} instructions"
          + (" (the end)" if ok else ": failed there"))
    if args.reference:
        wrong = result.wrong_lines(args.reference.read_bytes())
        print(f"  printed results: {len(result.output.splitlines()):,} lines, {wrong:,} differ from the reference")
        ok = ok and not wrong
    return 0 if ok else 1


def run_sst(args: argparse.Namespace) -> int:
    files = [f for f in sst.files_of(args.directory) if not args.only or sst.opcode_of(f) in args.only]
    if not files:
        print(f"{args.directory}: no vectors there", file=sys.stderr)
        return 1
    wide = sst.is_wide(files[0])
    suite = "sst386" if wide else "sst286"
    runner, revoked, expected = sst.Runner(wide), sst.revocations(args.directory), known(suite)
    total, passed, left_out, news = 0, 0, Counter[str](), 0
    ran: set[tuple[str, int]] = set()
    for file in files:
        score = sst.run_file(runner, file, args.limit, revoked)
        total, passed = total + score.run, passed + score.passed
        left_out += score.left_out
        if args.table:
            print(f"{score.name:<8} {score.passed:>6} of {score.run:>6}  left out {sum(score.left_out.values()):>5}", flush=True)
        failed = {(score.name, i) for i in score.failures}
        new = sorted(failed - expected)
        news += len(new)
        for _, i in new[:args.show]:
            print(f"  {score.failures[i][:300]}", flush=True)
        if not args.limit:
            ran |= {k for k in expected if k[0] == score.name}
            expected -= failed
    stale = sorted(ran & expected)
    for name, i in stale:
        print(f"{name}[{i}] passes: take it out of {KNOWN.name}")
    print(f"{suite}: {passed:,} of {total:,} vectors pass ({100 * passed / max(total, 1):.4f} %), {len(files)} files; "
          f"{total - passed} fail, {news} of them not in {KNOWN.name}")
    for reason, n in left_out.most_common():
        print(f"  left out {n:>7,}: {reason}")
    return 1 if news or stale else 0


def run_testfloat(args: argparse.Namespace) -> int:
    total = failed = forms = 0
    for case in testfloat.CASES:
        if args.only and case.name not in args.only and case.function not in args.only:
            continue
        count = bad = 0
        for rounding in case.modes:
            for precision in case.precisions:
                n, b, told = testfloat.run_case(case, args.generator, rounding, precision, args.level, args.show)
                count, bad = count + n, bad + b
                for text in told:
                    print(f"  {text}")
        if args.table or bad:
            print(f"{case.name:<28} {case.function:<22} {count - bad:>9,} of {count:>9,}", flush=True)
        total, failed, forms = total + count, failed + bad, forms + 1
    print(f"testfloat: {total - failed:,} of {total:,} vectors pass, {forms} instructions and forms")
    return 1 if failed or not forms else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="suites", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_subparsers(dest="suite", required=True)
    p = which.add_parser("test386", help="a ROM that tests an 80386")
    p.add_argument("rom", type=Path)
    p.add_argument("--cpu", default="486")
    p.add_argument("--reference", type=Path, help="what group 0xee has to print")
    p.set_defaults(run=run_test386)
    p = which.add_parser("sst", help="hardware-made vectors of the 80286 or 80386")
    p.add_argument("directory", type=Path)
    p.add_argument("--limit", type=int, default=0, help="at most so many vectors of a file, spread over it")
    p.set_defaults(run=run_sst)
    q = which.add_parser("testfloat", help="Berkeley TestFloat")
    q.add_argument("generator", type=Path, help="the program testfloat_gen")
    q.add_argument("--level", type=int, choices=(1, 2), default=1)
    q.set_defaults(run=run_testfloat)
    for r in (p, q):
        r.add_argument("--only", nargs="+", metavar="NAME", help="files (F7.6), instructions or functions")
        r.add_argument("--table", action="store_true", help="a line for each file or instruction")
        r.add_argument("--show", type=int, default=3, metavar="N", help="failures shown of each")
    args = parser.parse_args(arguments)
    start = time.monotonic()
    status: int = args.run(args)
    print(f"({time.monotonic() - start:.0f} s)")
    return status


if __name__ == "__main__":
    sys.exit(main())
