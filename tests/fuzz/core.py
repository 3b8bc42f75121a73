"""One random program, run three ways: at once; in pieces; in pieces, with translated code dropped and hardly room for any.

The final states must be the same: instruction counts, chains of blocks, exits and the code cache are then invisible, as they
must be to a guest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from .guest import CODE, DATA, HANDLERS, MODES, RAM, ROM, STACK, TABLES, Rig, enter_mode
from .programs import ADDRESSES, program, value

MODELS = ("max", "max", "max", "max", "qemu64", "qemu32", "486", "pentium", "core2duo", "Haswell")
GPR = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")
SMALL_TB = 1 << 14  # room for four blocks of full length
NEVER = (1 << 63) - 1


class Broken(AssertionError):
    """The core broke a promise."""


@dataclass
class Outcome:
    """How a run ended."""

    why: str
    state: dict[str, Any]
    log: list[tuple[str, int, int, int, int]] = field(default_factory=list)


def build(seed: int, tb_size: int = 1 << 22) -> tuple[Rig, Random]:
    """The machine of a seed, ready to run."""
    rng = Random(seed)
    rig = Rig(seed, model=rng.choice(MODELS), tb_size=tb_size, wild=rng.random() < 0.7)
    mode = rng.choice(MODES)
    for block, size in ((rig.low, RAM), (rig.high, 0x10000), (rig.rom, 0x8000)):
        if rng.random() < 0.5:
            rig.memory.block_view(block, size)[:] = rng.randbytes(256) * (size // 256)
    bits = enter_mode(rig, rng, mode)
    code = program(rng, bits)
    rig.memory.write(CODE, code)
    rig.memory.block_view(rig.rom, 0x8000)[0x100:0x800] = code[:0x700]
    rig.memory.write(RAM - 64, code[-64:])
    rig.memory.write(DATA, rng.randbytes(0x200))
    cpu = rig.cpu
    for i, name in enumerate(GPR):
        if i < 8 or bits == 64:
            cpu.set(name, value(rng, bits) & (1 << 64 if bits == 64 else 1 << 32) - 1)
    cpu.set("rsp", STACK - 0x80 if mode not in ("real", "unreal", "vm86") else 0xFF00)
    if rng.random() < 0.1:
        cpu.set("rsp", value(rng, bits) & (1 << (64 if bits == 64 else 32)) - 1)
    start = 0 if cpu.get("cs_base") == CODE else CODE
    if mode.startswith("compat"):  # what 64-bit code has left in the upper halves, which nothing may look at
        high = Random(~seed)
        for name in GPR[:8]:
            if high.random() < 0.3:
                cpu.set(name, cpu.get(name) | high.choice((1, 0x80000000, 0xC0000000, 0xFFFFFFFF, high.getrandbits(32))) << 32)
    cpu.set("rip", start + (rng.randrange(0x40) if rng.random() < 0.3 else 0))
    if rng.random() < 0.05 and bits != 16:
        cpu.set("rip", rng.choice((RAM - 64, RAM - 7, ROM + 0x100, CODE + 0xFF8)))
    for i in range(16):
        cpu.set(f"xmm{i}", rng.choice((0, rng.getrandbits(128), 0x3F800000_40000000_7F800000_7FC00000)))
    cpu.set("fcw", rng.choice((0x37F, 0x27F, 0x340, 0xF7F, 0x300)))
    cpu.set("mxcsr", rng.choice((0x1F80, 0x1F80, 0x9FC0, 0x0, 0x7F80)))
    if rng.random() < 0.15:
        for i in range(4):
            cpu.set(f"dr{i}", rng.choice(ADDRESSES) + rng.randrange(16))
        cpu.set("dr7", rng.getrandbits(32) & 0xFFFF23FF | 0x400)
        cpu.set("cr4", cpu.get("cr4"))
    if rng.random() < 0.5:
        for _ in range(rng.randrange(12)):
            rig.plan(rng.randrange(3000), rng.randrange(4))
    if rng.random() < 0.1:
        cpu.set_a20(False)
    if rng.random() < 0.3:
        cpu.set_intr(True)
    if rng.random() < 0.1:  # code or tables where no RAM is
        cpu.set(rng.choice(("idt_base", "gdt_base", "tr_base", "ss_base", "cs_base")), rng.choice(ADDRESSES))
    if rng.random() < 0.05:
        cpu.set("cr3", rng.choice(ADDRESSES))
    return rig, rng


def run(rig: Rig, count: int, pieces: Random | None = None, drop: bool = False, switch: bool = False) -> Outcome:
    """At most `count` instructions. With `pieces` in portions of any size; with `drop` forgetting translations between them, with
    `switch` going from one engine to the other."""
    cpu = rig.cpu
    stuck = 0
    why = "budget"
    while (left := count - cpu.icount) > 0:
        if pieces is not None:
            left = min(left, pieces.choice((1, 1, 1, 2, 3, 5, 7, 30, pieces.randrange(1, 300))))
            if drop and pieces.random() < 0.3:
                rig.memory.drop_code()
            if switch and pieces.random() < 0.3:
                cpu.jit = not cpu.jit
        rig.due()
        before = cpu.icount
        why = cpu.run(left)
        after = cpu.icount
        if after < before or after - before > left or (why == "budget" and after - before != left):
            raise Broken(f"run({left}) from {before} stopped at {after}: {why}")
        if why == "halted":
            if not rig.events:
                break
            rig.clock.advance_to(rig.events[0][0])
        elif why in ("shutdown", "breakpoint"):
            break
        elif why == "exit_request" and after == before:
            stuck += 1
            if stuck > 20:
                why = "stuck"
                break
        if after != before:
            stuck = 0
    return Outcome(why, rig.state(), rig.probe.recent[-60:])


def differences(a: Outcome, b: Outcome) -> list[str]:
    if a.why == b.why == "stuck":
        return []  # exceptions without end: where it was looked at says nothing
    found = [] if a.why == b.why else [f"ended: {a.why} / {b.why}"]
    for name in a.state:
        x, y = a.state[name], b.state[name]
        if x != y:
            found.append(f"{name}: {x:#x} / {y:#x}" if isinstance(x, int) and isinstance(y, int) else f"{name}: {x} / {y}")
    for i, (x, y) in enumerate(zip(a.log, b.log, strict=False)):
        if x != y:
            found.append(f"device access {i}: {x} / {y}")
            break
    return found


def check(seed: int, count: int = 1500) -> None:
    """All of a seed; raises Broken."""
    whole = run(build(seed)[0], count)
    split = run(build(seed)[0], count, Random(seed ^ 0x5EED))
    if found := differences(whole, split):
        raise Broken(f"seed {seed}: in pieces (after /): " + "; ".join(found[:12]))
    tight = run(build(seed, SMALL_TB)[0], count, Random(seed ^ 0xD0D0), drop=True)
    if found := differences(whole, tight):
        raise Broken(f"seed {seed}: without a code cache (after /): " + "; ".join(found[:12]))


def first_difference(seed: int, count: int = 1500, drop: bool = False) -> int:
    """The smallest number of instructions at which the two ways differ (for whoever looks into a seed)."""
    lo, hi = 0, count
    while hi - lo > 1:
        mid = (lo + hi) // 2
        a = run(build(seed)[0], mid)
        b = run(build(seed, SMALL_TB if drop else 1 << 22)[0], mid, Random(seed ^ (0xD0D0 if drop else 0x5EED)), drop)
        if differences(a, b):
            hi = mid
        else:
            lo = mid
    return hi


__all__ = ["HANDLERS", "NEVER", "TABLES", "Broken", "Outcome", "build", "check", "differences", "first_difference", "run"]
