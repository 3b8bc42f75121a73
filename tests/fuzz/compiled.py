"""One random program, run by the interpreter and by compiled code, in one go and in pieces: the final states are the same."""

from __future__ import annotations

from random import Random
from typing import Any

from .core import Broken, build, differences, run

HEAT = 1  # executions of a block before it is compiled: the programs hardly loop


def rig(seed: int, compiled: bool) -> Any:
    made = build(seed)[0]
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
