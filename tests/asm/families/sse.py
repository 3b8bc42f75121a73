"""MMX and SSE to SSE4.2, AES, PCLMULQDQ: a case for every form of every row, from sse_vectors.txt.

The vectors are what a processor made of them (tests/diff/make_sse_vectors.py writes the file); RCP and RSQRT, whose results are
the implementation's, and what leaves registers alone are there by hand.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pcemu._core.isa import gen

from ..case import ALL, Case
from ..layout import MODES

LONG = tuple(m for m in ALL if MODES[m].bits == 64)
X87 = {"ftw": 0xFF, "fsw": 0}


@lru_cache(maxsize=1)
def falls_back() -> set[str]:
    """Mnemonics with a mandatory prefix whose opcode without it is of another feature: without their own, a processor ignores
    the prefix and runs that (a Pentium III takes PADDB xmm for PADDB mm)."""
    rows = [r for r in gen.read_rows() if not r.vex]
    plain = {(r.map, r.opcode, r.reg): r.feat for r in rows if not r.prefix}
    return {r.mnemonic for r in rows if r.prefix and plain.get((r.map, r.opcode, r.reg), r.feat) != r.feat}


def pairs(text: str) -> dict[str, str]:
    return dict(p.split("=") for p in text.split())


def case(line: str) -> Case:
    head, code, before, after = (part.strip() for part in line.split("|"))
    feat, unit, size, use, align = head.split()
    name = code.split()[0]
    start, end = pairs(before), pairs(after)
    flags = end.pop("flags", "")
    regs: dict[str, int | str] = {k: int(v, 16) for k, v in start.items()}
    out: dict[str, int | str] = {k: int(v, 16) for k, v in end.items()}
    m, om = regs.pop("m", None), out.pop("m", None)
    if unit == "mmxsse" and "mm" in code.replace("xmm", ""):
        out |= X87
    raw = code.startswith("=") and not re.search("D6|3A", code)
    spelled = "MOVD" if name in ("movd", "movq") else name.upper()
    fallback = unit == "sse" and (raw or spelled in falls_back())
    wide = re.search(r"\br[acd]x\b|pextrq|pinsrq|48 0F", code) or (size == "8" and name.startswith("cvtsi2"))
    return Case(code, code, LONG if wide else ALL, msize=int(size) or 1, regs=regs, out=out, oflags=flags, m=m, om=om,
                access="" if use == "-" else use, align=int(align), unit="" if unit == "-" else unit,
                feat="" if feat == "-" or fallback else feat.replace("sse4_", "sse4."))


def cases() -> Iterator[Case]:
    for line in Path(__file__).with_name("sse_vectors.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            yield case(line)
