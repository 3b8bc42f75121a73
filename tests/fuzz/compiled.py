"""One random program by the interpreter, by compiled code, whole and in pieces, and by both in turn: the same final states."""

from __future__ import annotations

from random import Random
from typing import Any

from .core import Broken, build, differences, run
from .guest import CODE
from .programs import x87_program

HEAT = 1  # executions of a block before it is compiled: the programs hardly loop


def rig(seed: int, compiled: bool) -> Any:
    made, rng = build(seed)
    if seed % 4 == 3:
        attributes = made.cpu.get("cs_attr")
        made.memory.write(CODE, x87_program(rng, 64 if attributes >> 21 & 1 else 32 if attributes >> 22 & 1 else 16))
        made.cpu.set("fcw", rng.choice((0x37F, 0x37F, 0x37F, 0x27F, 0xF7F, 0x33F)))
    if compiled and not made.cpu.enable_jit(heat=HEAT):
        raise NotImplementedError("no compiled code on this host")
    return made


def check(seed: int, count: int = 1500) -> None:
    """All of a seed; raises Broken."""
    plain = run(rig(seed, False), count)
    whole = run(rig(seed, True), count)
    if found := differences(plain, whole):
        raise Broken(f"seed {seed}: compiled (after /): " + "; ".join(found[:12]))
    split = run(rig(seed, True), count, Random(seed ^ 0xC0DE), drop=True)
    if found := differences(plain, split):
        raise Broken(f"seed {seed}: compiled, in pieces (after /): " + "; ".join(found[:12]))
    mixed = rig(seed, True)
    mixed.switches = True
    if found := differences(plain, run(mixed, count, Random(seed ^ 0x5317C4), switch=True)):
        raise Broken(f"seed {seed}: compiled here and there (after /): " + "; ".join(found[:12]))
