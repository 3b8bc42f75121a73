"""Faults that every instruction of a kind shares, derived from cases that succeed.

A case says what the manual says of its instruction (how it uses its memory operand, whether LOCK is allowed, privileged or
not, the feature that brings it); here that becomes the same bytes with an operand, a prefix, a level or a processor under
which they must fault, leaving everything as it was.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from .case import Case, Fault, Instance
from .layout import MODES

USER, WRITE, PRESENT = 4, 2, 1
NON_CANONICAL = 1 << 47


def _fault(c: Case, kind: str, fault: Fault, regs: dict[str, Any], **changes: Any) -> Case:
    return replace(c, name=f"{c.name}: {kind}", regs=c.regs | regs, out={}, oflags="", undef="", m=None, om=None, omem={}, fault=fault,
                   twin=kind, end="end", loose="", io=None, check=None, **changes)


def memory_faults(c: Case, mode: str) -> Iterator[Case]:
    """Page faults, limits, canonical form, alignment: the operand moved to where it may not be (SDM vol. 2, the exception lists)."""
    m = MODES[mode]
    cpl = m.cpl if c.cpl is None else c.cpl
    n = c.msize or c.size // 8
    write = "w" in c.access
    if m.paging:
        err = (USER if cpl == 3 else 0) | (WRITE if write else 0)
        yield _fault(c, "pf", Fault(14, err, "hole + database"), {"rdi": "hole"})
        if n > 1 and not c.align:
            yield _fault(c, "pf-cross", Fault(14, err, "hole + database"), {"rdi": "hole - 1"})
        if write:
            yield _fault(c, "pf-ro", Fault(14, err | PRESENT, "ro + database"), {"rdi": "ro"})
        if cpl == 3:
            yield _fault(c, "pf-user", Fault(14, err | PRESENT, "sup + database"), {"rdi": "sup"})
    if m.real or m.vm:
        if n > 1 and not c.align:
            yield _fault(c, "limit", Fault(13), {"rdi": 0xFFFF})
    elif m.segmented and not c.align:
        yield _fault(c, "limit", Fault(13), {"rdi": f"0x6000 - {n} + 1"})
    if m.bits == 64:
        yield _fault(c, "canonical", Fault(13), {"rdi": NON_CANONICAL})
    if c.align:
        yield _fault(c, "align", Fault(13), {"rdi": "data + 0x41"})
    elif cpl == 3 and n in (2, 4, 8) and "n" not in c.access:
        yield _fault(c, "ac", Fault(17), {"rdi": "data + 0x41", "cr0": "cr0 | 0x40000"}, flags=c.flags + "X")


def rule_faults(c: Case, mode: str) -> Iterator[Case]:
    """Faults by prefix, privilege, feature and unit."""
    cpl = MODES[mode].cpl if c.cpl is None else c.cpl
    if c.lock and c.access:
        yield replace(c, name=c.name + ": lock", code="lock " + c.code if not c.code.lstrip().startswith("=")
                      else c.code.replace("=", "= F0", 1), twin="lock")
    else:
        yield _fault(c, "lock-ud", Fault(6), {}, code=".byte 0xF0\n" + c.code)
    if c.priv and not MODES[mode].real and cpl == 0 and mode != "pm32s":
        yield _fault(c, "priv", Fault(13), {}, cpl=3)
    if c.feat:
        yield _fault(c, "feat", Fault(6), {}, without=c.feat)
    if c.unit == "avx":
        yield _fault(c, "ts", Fault(7), {"cr0": "cr0 | 8"})
        yield _fault(c, "xcr0", Fault(6), {"xcr0": 3})
        yield _fault(c, "osxsave", Fault(6), {"cr4": "cr4 & ~0x40000"})
    elif c.unit:
        yield _fault(c, "ts", Fault(7), {"cr0": "cr0 | 8"})
        yield _fault(c, "em", Fault(7 if c.unit == "x87" else 6), {"cr0": "cr0 | 4"})
        if "sse" in c.unit:
            yield _fault(c, "osfxsr", Fault(6), {"cr4": "cr4 & ~0x200"})


def derive(found: Iterable[Instance]) -> Iterator[tuple[Case, str]]:
    """Fault cases of these instances, each once for a snippet, mode and size."""
    seen = set()
    for inst in found:
        c = inst.case
        if not c.twins or ((c.fault is not None or c.stops) and c.twin != "runs") or c.org or not c.count:
            continue
        key = (inst.text, inst.mode, c.size, c.cpl, c.access)
        if key in seen:
            continue
        seen.add(key)
        if c.access and c.access != "none":
            for t in memory_faults(c, inst.mode):
                yield t, inst.mode
        for t in rule_faults(c, inst.mode):
            yield t, inst.mode
        if c.priv and inst.mode == "real":
            yield _fault(c, "priv", Fault(13), {}, cpl=None), "vm86"
