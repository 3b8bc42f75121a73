"""The hardware-made single-step vectors of the 80286 and the 80386 (https://github.com/SingleStepTests) against the core.

A vector runs up to the HLT behind it (or behind the jump it takes, or in the handler of the exception it raises). Compared are
every register, the flags, and the whole of the first 1.0625 MiB: a write the chip did not make is a failure too. What those
chips did differently from the processors this core models is in chips.py, each with its reason.
"""
from __future__ import annotations

import ctypes
import dataclasses
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import chips, moo

RAM = 16 << 20
REACH = 0x110000                    # what real mode can address
BUDGET = 100_000
GPR = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp")
SEGS = ("cs", "ds", "es", "fs", "gs", "ss")
REAL_DATA, REAL_CODE = 0x9300, 0x9B00


@dataclass
class Score:
    """Of one file: vectors that passed, failed (index and what differed), or were left out (by reason)."""
    name: str
    passed: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def run(self) -> int:
        return self.passed + len(self.failures)


class Runner:
    """A bare core with RAM and no devices: ports read as ones."""

    def __init__(self, wide: bool) -> None:
        from pcemu._core import cpumodel
        from pcemu._core.engine import Clock, CpuCore, IoSpace, Memory
        self.wide = wide
        self.memory = Memory()
        block = self.memory.alloc("ram", RAM)
        self.memory.set_map([(0, RAM, "ram", block, 0)])
        model = cpumodel.parse_cpu("486,-vme,-pse")
        gone = {"i486"} if wide else {"i486", "i386"}
        self.cpu: Any = CpuCore(self.memory, IoSpace(), Clock(0), dataclasses.replace(model, features=model.features - gone))
        self.view = np.frombuffer(self.memory.block_view(block, REACH), dtype=np.uint8)
        self.want = np.zeros(REACH, dtype=np.uint8)
        self.memcmp = ctypes.CDLL(None).memcmp
        self.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

    def load(self, v: moo.Vector, regs: dict[str, int]) -> None:
        c = self.cpu
        runs: list[tuple[int, bytearray]] = []
        for a, b in v.ram:
            if runs and runs[-1][0] + len(runs[-1][1]) == a:
                runs[-1][1].append(b)
            else:
                runs.append((a, bytearray([b])))
            if a < REACH:
                self.want[a] = b
        for a, data in runs:
            self.memory.write(a, bytes(data))
        if not self.wide and v.exception == 13:
            # An overrun of the stack segment is exception 13 on the 80286, 12 later: both lead to the same handler here.
            self.memory.write(12 * 4, self.memory.read(13 * 4, 4))
            self.want[48:52] = self.want[52:56]
        if c.get("cr0") != 0x10:
            c.set("cr0", 0x10)
        c.halted = False
        c.set("fcw", 0x37F)
        c.set("fsw", 0)
        c.set("idt_base", 0)
        c.set("idt_limit", 0x3FF)
        for s in SEGS:
            c.set(s, regs.get(s, 0) & 0xFFFF)
            c.set(s + "_base", (regs.get(s, 0) & 0xFFFF) << 4)
            c.set(s + "_limit", 0xFFFF)
            c.set(s + "_attr", REAL_CODE if s == "cs" else REAL_DATA)
        for r in GPR:
            c.set(r, regs[r])
        c.set("eflags", regs["eflags"] & chips.FLAGS_LOADED[self.wide] | 2)
        c.set("rip", regs["eip"])

    def run(self, v: moo.Vector, opcode: str) -> str | None:
        """None when the core left what the chip left, else what differs."""
        mask = chips.flag_mask(self.wide, opcode, v)
        self.load(v, v.regs)
        c = self.cpu
        why = c.run(BUDGET)
        after = {**v.regs, **v.regs_after}
        out = [] if why == "halted" else [f"ended by {why}"]
        for r in (*GPR, *SEGS, "eip"):
            keep = chips.register_mask(self.wide, opcode, v, r)
            got = c.get(r)
            if (got ^ after.get(r, got)) & keep & (0xFFFF if r in SEGS else 0xFFFFFFFF):
                out.append(f"{r} {got:#x}, chip {after[r]:#x}")
        got, want = c.get("eflags"), after["eflags"]
        if "eflags" not in v.regs_after:
            want = want & chips.FLAGS_LOADED[self.wide] | 2
        if (got ^ want) & mask:
            out.append(f"flags {got & mask:#x}, chip {want & mask:#x} (differ {(got ^ want) & mask:#x})")
        for a, b in v.ram_after:
            if a < REACH:
                self.want[a] = b
        if self.memcmp(self.view.ctypes.data, self.want.ctypes.data, REACH):
            loose = chips.loose_bytes(v, mask)
            for a in np.flatnonzero(self.view != self.want).tolist():
                x, y = int(self.view[a]), int(self.want[a])
                if (x ^ y) & ~loose.get(a, 0):
                    out.append(f"[{a:#x}] {x:#04x}, chip {y:#04x}")
                self.memory.write(a, bytes([y]))
        return "; ".join(out) or None


def opcode_of(path: Path) -> str:
    """``F7.6`` of ``F7.6.MOO.gz``."""
    return re.sub(r"\.(moo|json)(\.gz)?$", "", path.name, flags=re.IGNORECASE).upper()


def run_file(runner: Runner, path: Path, limit: int = 0, revoked: frozenset[str] = frozenset()) -> Score:
    """Every vector of a file, or `limit` of them spread over it."""
    _, _, vectors = moo.read(path, limit)
    op = opcode_of(path)
    score = Score(op)
    for v in vectors:
        if v.hash in revoked:
            score.left_out["revoked by the suite"] += 1
            continue
        reason = chips.left_out(runner.wide, op, v)
        if reason:
            score.left_out[reason] += 1
            continue
        bad = runner.run(v, op)
        if bad is None:
            score.passed += 1
        else:
            score.failures[v.index] = f"{op}[{v.index}] {v.name} ({v.code.hex()}): {bad}"
    return score


def files_of(root: Path) -> list[Path]:
    """The vector files of a checkout, real mode only."""
    found = [p for p in sorted(root.rglob("*")) if re.fullmatch(r"[0-9A-F.]+\.(moo|json)(\.gz)?", p.name, re.IGNORECASE)]
    return [p for p in found if not re.search("protected|unreal|virtual", str(p.relative_to(root)))]


def revocations(root: Path) -> frozenset[str]:
    path = root / "revocation_list.txt"
    text = path.read_text() if path.exists() else ""
    return frozenset(ln.strip() for ln in text.splitlines() if ln.strip() and not ln.startswith("#"))


def is_wide(path: Path) -> bool:
    """Are these the 80386's?"""
    cpu, _, vectors = moo.read(path, 1)
    return cpu.startswith("386") or any("cr0" in v.regs for v in vectors)
