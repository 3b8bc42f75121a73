"""What -accel tcg,lockstep=on prints when compiled code and the handlers do not agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import hostcode
from .disasm import disassemble


def describe(facts: dict[str, Any]) -> str:
    """The report, of the facts of a LockstepDifference."""
    return "\n".join(_lines(facts))


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    pc, bits = facts["pc"], facts["bits"]
    yield (f"lockstep: compiled code and handlers differ in the {'unit' if facts['one'] else 'run'} at {pc:#x}, "
           f"after {facts['compared']} instructions that agreed")
    if facts["overflow"]:
        yield "more pages are written than the log holds"
    for who in ("handlers", "compiled"):
        how, at, retired = facts[who]
        yield f"{who + ':':<10} {retired} instructions, then {how} at {at:#x}"
    for name, hand, code in facts["registers"]:
        yield f"{name:<16} handlers {hand:#x}, compiled {code:#x}"
    for at, before, hand, code in facts["memory"]:
        yield f"memory {at:#010x} was {before:#018x}, handlers {hand:#018x}, compiled {code:#018x}"
    if not facts["one"]:
        yield "Made once more, unit by unit, it agrees."
        return
    code = facts["bytes"]
    yield "guest:"
    yield from hostcode.ops(pc, code, bits, facts["guest"])
    count, start, unit = facts["unit"]
    if len(unit) > len(code):
        yield f"the unit, {count} instructions:"
        yield from disassemble(lambda a, n: unit[a - start : a - start + n] or None, start, count, bits).splitlines()
    yield "host:"
    yield from hostcode.host(facts["host"][0], facts["host"][1], facts["fields"])
