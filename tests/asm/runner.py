"""Run the cases of the assembly ring: ``python -m tests.asm.runner [family ...] [-k text] [-x]``.

Every case runs twice: as a block, as the processor would run it, and one instruction at a time; with different flags before.
"""
from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from . import families, layout, machine, snippets, twins
from .assembler import assemble
from .case import BY_SELECTOR, PATTERNS, Case, Instance, expand, expected, flag_bits, initial, memory, value
from .machine import NOT_COMPARED, SEGS, AsmMachine, Outcome

CASES = Path(__file__).parent / "cases"
REGIONS = layout.WATCHED


# ------------------------------------------------------------------------------------------------ collecting


def family_names() -> list[str]:
    """Python modules in families/, and files of snippets in cases/."""
    return sorted([m.name for m in pkgutil.iter_modules(families.__path__)] + [p.stem + ".S" for p in CASES.glob("*.S")])


def cases_of(family: str) -> Iterator[Case]:
    if family.endswith(".S"):
        yield from snippets.parse(CASES / family)
    else:
        yield from importlib.import_module(f"{families.__name__}.{family}").cases()


@lru_cache(maxsize=1)
def instances(family: str) -> list[Instance]:
    """Every case in every mode, the fault cases derived from them, assembled."""
    found = [expand(c, m) for c in cases_of(family) for m in c.modes]
    found += [expand(c, m) for c, m in twins.derive(found)]
    unique: dict[tuple[int, str], int] = {}
    for inst in found:
        unique.setdefault((layout.MODES[inst.mode].bits, inst.text), len(unique))
    codes = assemble(list(unique))
    for inst in found:
        inst.code = codes[unique[layout.MODES[inst.mode].bits, inst.text]]
        inst.values["end"] = inst.values["code"] + len(inst.code)
    return found


# ---------------------------------------------------------------------------------------------------- one case


def _diff_memory(m: AsmMachine, written: dict[int, bytes], wanted: dict[int, bytes], loose_stack: bool) -> Iterator[str]:
    """Compare what is watched with the image, what the case wrote, and what it wants; put the image back."""
    for lo, hi in REGIONS:
        got = m.mem.read(lo, hi - lo)
        base = m.image[lo:hi]
        touched = [(a, d[:hi - a]) for spec in (written, wanted) for a, d in spec.items() if lo <= a < hi]
        if got == base and not touched:
            continue
        want = bytearray(base)
        for a, d in touched:
            want[a - lo:a - lo + len(d)] = d
        if got != want and not (loose_stack and lo == layout.STACK_SEG + 0x1000):
            i = next(i for i in range(hi - lo) if got[i] != want[i])
            yield f"memory at {lo + i:#x}: {got[i:i + 16].hex(' ')}, expected {bytes(want[i:i + 16]).hex(' ')}"
        m.mem.write(lo, base)
    for a, d in wanted.items():
        if not any(lo <= a < hi for lo, hi in REGIONS):
            got = m.mem.read(a, len(d))
            if got != d:
                yield f"memory at {a:#x}: {got.hex(' ')}, expected {d.hex(' ')}"


def _diff_state(inst: Instance, want: dict[str, int], out: Outcome) -> Iterator[str]:
    c = inst.case
    skip = out.loose | NOT_COMPARED - c.out.keys() | set(c.loose.split())
    for s in SEGS:
        if s in c.out and want["cr0"] & 1 and not want["eflags"] & 0x20000 and want[s] & ~3 not in BY_SELECTOR:
            skip |= {s + "_base", s + "_limit", s + "_flags"} - c.out.keys()
    got = out.state
    if got == want and not skip:
        return
    for k, v in want.items():
        if v != got[k] and k not in skip:
            if k == "eflags":
                mask = ~flag_bits(c.undef)[0]
                if out.how == "fault":      # RF is the exception's; real mode pushes 16 bits and clears AC
                    mask &= ~0x50000 if layout.MODES[inst.mode].real else ~0x10000
                if not (v ^ got[k]) & mask:
                    continue
                yield f"flags {got[k]:#x}, expected {v:#x} (differ: {(v ^ got[k]) & mask:#x})"
            else:
                yield f"{k} {got[k]:#x}, expected {v:#x}"


def _diff_end(inst: Instance, out: Outcome) -> str | None:
    c = inst.case
    if c.stops:
        return None if out.how == c.stops else f"ended: {out.how}, expected {c.stops}"
    if c.fault is None:
        if out.how == "fault":
            return f"ended in exception {out.vector} (error code {out.error}) at {out.state['rip']:#x}"
        return None if out.how == "done" else f"ended: {out.how}"
    f = c.fault
    if out.how == "done" and out.vector == f.vector == 13 and out.state["rip"] == value(f.ip, inst.values):
        out.how = "fault"                   # a HLT that was to fault
    if out.how != "fault":
        return f"ended: {out.how}, expected exception {f.vector}"
    if out.vector != f.vector:
        return f"exception {out.vector} (error code {out.error}), expected {f.vector}"
    if not layout.MODES[inst.mode].real and f.vector in machine.HAS_ERROR_CODE:
        want = 0 if f.error is None else value(f.error, inst.values)
        if out.error != want:
            return f"exception {f.vector}: error code {out.error:#x}, expected {want:#x}"
    return None


def run_instance(m: AsmMachine, inst: Instance, pattern: int, single: bool) -> list[str]:
    """What is wrong (nothing: an empty list)."""
    c = inst.case
    before = initial(inst, m.base(inst.mode, c.cpl), PATTERNS[pattern])
    written = dict(memory(inst, c.mem, c.m))
    at = inst.values["code"] + layout.MODES[inst.mode].code
    written[at] = inst.code
    if "end" not in c.out and c.end != "end":
        written.setdefault(at + len(inst.code), b"\xf4")
    for a, d in written.items():
        m.mem.write(a, d)
    m.load(before)
    if c.tables:
        m.flush()
    out = m.execute(inst.mode, single)
    bad = _diff_end(inst, out)
    errors = [bad] if bad else []
    if c.stops:
        m.restore_all()
        return errors
    want = expected(inst, before)
    if c.unit == "mmx" and c.fault is None:
        want |= {k: {"ftw": 0xFF, "fsw": want["fsw"] & ~0x3800}[k] for k in ("ftw", "fsw") if k not in c.out}
    errors += _diff_state(inst, want, out)
    errors += _diff_memory(m, written, dict(memory(inst, c.omem, c.om)), out.how == "fault" and not out.state["cpl"])
    if c.io is not None and tuple(m.device.log) != c.io:
        errors.append(f"ports: {m.device.log}, expected {list(c.io)}")
    if c.check is not None and not errors:
        more = c.check(out.state)
        errors += [more] if more else []
    if c.tables:
        m.mem.write(0, m.image[:layout.TABLES[1]])
    for a, d in written.items():
        if not any(lo <= a < hi for lo, hi in REGIONS):
            m.mem.write(a, m.image[a:a + len(d)])
    if errors and bad:
        m.restore_all()
    return errors


def explain(inst: Instance, errors: list[str], pattern: int, single: bool) -> str:
    code = inst.code.hex(" ")
    how = "single steps" if single else "block"
    return "\n    ".join([f"{inst.title}{f' ({inst.case.twin})' if inst.case.twin else ''}, {how}: {inst.text.strip()!r} = {code}", *errors])


def run(found: Iterable[Instance], stop: bool = False) -> tuple[int, list[str]]:
    """(how many ran, what failed)"""
    count = 0
    failed = []

    def key(i: Instance) -> tuple[str, str, str, int]:
        return i.case.cpu, i.case.without, i.mode, -1 if i.case.cpl is None else i.case.cpl

    for (cpu, without, _mode, _cpl), group in groupby(sorted(found, key=key), key=key):
        m = machine.machine(cpu, without)
        for inst in group:
            count += 1
            for pattern, single in ((0, False), (1, True)):
                try:
                    errors = run_instance(m, inst, pattern, single)
                except Exception as e:
                    raise RuntimeError(f"{inst.title}: {inst.text!r}: {e!r}") from e
                if errors:
                    failed.append(explain(inst, errors, pattern, single))
                    if stop:
                        return count, failed
                    break
    return count, failed


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("family", nargs="*", default=[])
    ap.add_argument("-k", default="", help="only titles and texts that contain this")
    ap.add_argument("-m", default="", help="only this mode")
    ap.add_argument("-n", type=int, default=20, help="failures to print")
    ap.add_argument("-x", action="store_true", help="stop at the first failure")
    a = ap.parse_args()
    bad = 0
    for family in a.family or family_names():
        t = time.monotonic()
        found = [i for i in instances(family) if a.k in i.title + i.text and (not a.m or i.mode == a.m)]
        t2 = time.monotonic()
        n, failed = run(found, a.x)
        bad += len(failed)
        print(f"{family}: {n} cases, {len(failed)} failed ({t2 - t:.1f} s to make, {time.monotonic() - t2:.1f} s to run)")
        for text in failed[:a.n]:
            print("  " + text)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
