"""VEX encodings of the instruction table's AVX rows, made from the table itself, and a rig that runs any bytes on both sides."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcemu._core.isa import gen

from . import sse_native as native

SLOT = 15
# modrm.reg, vvvv, modrm.rm: all different, and every way for the destination to be a source
REGISTERS = ((0, 1, 2), (0, 0, 2), (0, 1, 0), (1, 2, 1), (3, 3, 3))
HIGH_REGISTERS = ((8, 1, 2), (0, 13, 2), (0, 1, 15), (9, 12, 14))
RSI, MASK_REGISTER = 6, 3


def encode(opcode: int, mmap: int, prefix: int, w: int, length: int, reg: int, vvvv: int, rm: int, mem: bool, imm: int | None = None,
           sib: int | None = None) -> bytes:
    """One instruction: map 1-3, prefix 0-3 (none 66 F3 F2), vector length 0 or 1. mem: [rsi], or by `sib` with base and index."""
    if mem:
        rm = RSI
    if mmap == 1 and not w and rm < 8 and sib is None:          # the short form where it will do
        head = [0xC5, (~reg & 8) << 4 | (~vvvv & 15) << 3 | length << 2 | prefix]
    else:
        head = [0xC4, (~reg & 8) << 4 | 0x40 | (~rm & 8) << 2 | mmap, w << 7 | (~vvvv & 15) << 3 | length << 2 | prefix]
    modrm = (0 if mem else 0xC0) | (reg & 7) << 3 | (4 if sib is not None else rm & 7)
    return bytes(head + [opcode, modrm] + ([sib] if sib is not None else []) + ([imm] if imm is not None else []))


def avx_rows() -> list[gen.Row]:
    return [r for r in gen.read_rows() if "avx" in r.attrs]


def available(row: gen.Row) -> bool:
    flags = native.host_flags()
    return row.feat in flags


def immediates(row: gen.Row) -> list[int | None]:
    if any(o[0] == "L" for o in row.operands):
        return [MASK_REGISTER << 4]
    if "Ib" not in row.operands:
        return [None]
    n = row.mnemonic
    if n.startswith("VCMP"):
        return list(range(32))
    if "STR" in n:
        return [0, 5, 0x0C, 0x18, 0x3A, 0x41, 0x6D]
    if n.startswith("VDPP"):
        return [0xFF, 0xF1, 0x71, 0x3F, 0x55, 0, 0x9A, 0x62]
    if n.startswith("VPERM2"):
        return [0x20, 0x31, 0x02, 0x13, 0x08, 0x83, 0x88, 0xF7]
    return [0, 1, 2, 4, 7, 8, 15, 17, 0x1B, 0x4E, 0x93, 0xFF]


@dataclass(frozen=True)
class Form:
    """One encoding of a row."""
    row: gen.Row
    code: bytes
    length: int
    memory: bool

    @property
    def text(self) -> str:
        return f"{self.row.name} {128 << self.length} {'memory' if self.memory else 'register'} [{self.code.hex(' ')}]"

    @property
    def kind(self) -> str:
        """What its operands hold: int, ps or pd."""
        n = self.row.mnemonic[1:]
        if n.startswith(("CVTSI", "CVTDQ", "CVTPH", "PERM", "GATHER", "P")):
            return "int"
        if n.startswith(("CVTPS", "CVTTPS", "CVTSS", "CVTTSS")) or n.endswith(("PS", "SS")):
            return "ps"
        if n.startswith(("CVTPD", "CVTTPD", "CVTSD", "CVTTSD")) or n.endswith(("PD", "SD")):
            return "pd"
        return "int"


def widths(row: gen.Row, bits: int) -> tuple[int, ...]:
    """Values of VEX.W that mean something (in 32-bit code Intel's ignore it where it picks a general register, AMD's may not)."""
    if "vex_w0" in row.attrs or "vex_w1" in row.attrs:
        return (int("vex_w1" in row.attrs),)
    return (0, 1) if gen.size_rule(row) == 5 and bits == 64 else (0,)


def forms(row: gen.Row, bits: int = 64, registers: tuple[tuple[int, int, int], ...] | None = None,
          imms: list[int | None] | None = None) -> Iterator[Form]:
    """Register and memory forms of a row in each vector length; not the gathers. registers: choices, all there are by default."""
    lengths = (0,) if "vex_l0" in row.attrs else (1,) if "vex_l1" in row.attrs else (0, 1)
    general = any(o[0] in "EG" for o in row.operands)
    uses_vvvv = gen.placement(row, False)[4]
    choices = registers or REGISTERS + (() if bits == 32 or general or row.mnemonic in ("VLDMXCSR", "VSTMXCSR") else HIGH_REGISTERS)
    for memory in (False, True):
        if (memory and not gen.has_mem(row)) or (not memory and not gen.has_regform(row)):
            continue
        for length in lengths:
            for w in widths(row, bits):
                for k, imm in enumerate(immediates(row) if imms is None else imms):
                    for reg, vvvv, rm in choices if k == 0 else choices[:1]:
                        if row.reg is not None:
                            reg = row.reg
                        if general and max(reg, rm) > 2:
                            continue
                        code = encode(row.opcode, row.map - 4, row.prefix or 0, w, length, reg, vvvv if uses_vvvv else 0, rm, memory, imm)
                        yield Form(row, code if gen.has_modrm(row) else code[:-1], length, memory)


class Rig:
    """One loop over states with room for an instruction in it, natively and in the emulated CPU."""

    def __init__(self, tmp: Path, bits: int, cpu: str = "max") -> None:
        self.batch = native.Batch([".fill 15, 1, 0x90", "nop"], tmp, cpu, bits, avx=True)
        self.snippet = self.batch.snippets[0]
        self.at = self.batch.code.index(b"\x90" * SLOT)

    def patch(self, code: bytes) -> None:
        import ctypes
        code = code.ljust(SLOT, b"\x90")
        ctypes.memmove(self.batch.base + self.at, code, SLOT)
        self.batch.memory.write(native.CODE + self.at, code)

    def differences(self, text: str, code: bytes, states: NDArray[Any], flags: int = native.ARITH, skip: tuple[str, ...] = ()) -> list[str]:
        self.patch(code)
        self.snippet.text = text
        return self.batch.differences(self.snippet, states, flags, skip)


def halves(rng: np.random.Generator, n: int) -> NDArray[Any]:
    """Vectors of single precision numbers about the range of half precision."""
    v = rng.integers(0, 1 << 32, (n, 4), dtype="u8").astype("u4")
    v = v & 0x807FFFFF | rng.integers(98, 146, (n, 4)).astype("u4") << 23
    few = rng.integers(0, 2, (n, 4)) == 0
    return np.where(few, v & 0xFFFFF000 | (rng.integers(0, 2, (n, 4)) << 12).astype("u4"), v).astype("u4").view("u1")
