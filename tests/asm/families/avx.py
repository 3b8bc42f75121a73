"""AVX, AVX2, FMA and F16C: a case for every form and vector length of every row, from avx_vectors.txt, and the rules of VEX.

The vectors are what a processor made of them (tests/diff/make_avx_vectors.py writes the file).
"""
from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pcemu._core.isa import gen

from ..case import Case, Fault
from .sse import pairs

MODES = ("pm16", "pm32", "compat", "long64")
ON = {"xcr0": 7}
UD = Fault(6)


@lru_cache(maxsize=1)
def lines() -> list[list[str]]:
    text = Path(__file__).with_name("avx_vectors.txt").read_text()
    return [[part.strip() for part in line.split("|")] for line in text.splitlines() if line and not line.startswith("#")]


def vectors() -> Iterator[Case]:
    for head, name, code, before, after in lines():
        feat, size, use, align = head.split()
        start, end = pairs(before), pairs(after)
        flags = end.pop("flags", "")
        regs: dict[str, int | str] = {k: int(v, 16) for k, v in start.items()}
        out: dict[str, int | str] = {k: int(v, 16) for k, v in end.items()}
        m, om, block = regs.pop("m", None), out.pop("m", None), regs.pop("M", None)
        mem = {"data + 0x40": int(block).to_bytes(64, "little")} if block is not None else {}
        sib = block is not None
        for modes in (MODES[:1], MODES[1:]) if sib else (MODES,):
            # a vector of indices needs 32- or 64-bit addresses
            raw = f"= {'67 ' if sib and modes == MODES[:1] else ''}- {code}"
            yield Case(name, raw, MODES[3:] if name.endswith(" 64") else modes, msize=int(size) or 1, regs=regs | ON, out=out, oflags=flags, m=m,
                       om=om, mem=dict(mem), access="" if use == "-" else use, align=int(align), unit="avx",
                       feat=feat.replace("sse4_", "sse4."))


def no_such_mode() -> Iterator[Case]:
    """In real and virtual-8086 mode C4 and C5 are LES and LDS, which have no register form."""
    for _head, name, code, _before, _after in lines():
        if not name.endswith(" 64"):
            yield Case(f"{name} in real mode", f"= - {code}", ("real", "vm86"), fault=UD, twin="mode")
    for name, code in (("vzeroupper", "C5 F8 77"), ("vmaskmovdqu", "C5 F9 F7 C1")):
        yield Case(f"{name} in real mode", f"= - {code}", ("real", "vm86"), fault=UD, twin="mode")


def lengths_and_widths() -> Iterator[Case]:
    """The other VEX.L where one is asked for, the other VEX.W, VEX.vvvv where there is no such operand."""
    for row in gen.read_rows():
        if "avx" not in row.attrs:
            continue
        mmap, pp = row.map - 4, row.prefix or 0
        modrm = f"/{row.reg or 0}{'m' if row.mod == 'm' or any(o[0] == 'M' for o in row.operands) else '2'}"
        tail = ("04 57" if "vsib" in row.attrs else modrm) + (" ib:0" if any(o == "Ib" or o[0] == "L" for o in row.operands) else "")
        tail = tail if gen.has_modrm(row) else ""
        unused = 15 if not gen.placement(row, False)[4] else 14
        w, length = int("vex_w1" in row.attrs), int("vex_l1" in row.attrs)
        wrong = []
        if row.attrs & {"vex_l0", "vex_l1"}:
            wrong.append(("vex.l", w, unused, 1 - length))
        if row.attrs & {"vex_w0", "vex_w1"} and row.mnemonic[:-1] not in ("VPSRLV", "VPSLLV", "VPMASKMOV") and row.feat != "fma" and "vsib" not in row.attrs:
            wrong.append(("vex.w", 1 - w, unused, length))
        if unused == 15:
            wrong.append(("vex.vvvv", w, 14, length))
        for what, w_, v, length_ in wrong:
            code = f"= - C4 {0xE0 | mmap:02X} {w_ << 7 | v << 3 | length_ << 2 | pp:02X} {row.opcode:02X} {tail}"
            yield Case(f"{row.mnemonic.lower()}: {what}", code, ("pm32", "long64"), regs=dict(ON), fault=UD, count=False)


def prefixes() -> Iterator[Case]:
    """66, F2, F3, LOCK and REX before VEX; vector indices with 16-bit addresses, without SIB, or one register twice."""
    code = "C5 F0 58 C2"
    for p in ("66", "F2", "F3", "F0"):
        yield Case(f"{p} vaddps", f".byte 0x{p},0xC5,0xF0,0x58,0xC2", MODES, regs=dict(ON), fault=UD, count=False)
    yield Case("rex vaddps", ".byte 0x48," + ",".join("0x" + b for b in code.split()), ("long64",), regs=dict(ON), fault=UD, count=False)
    for what, tail in (("no SIB", "07"), ("register form", "C2"), ("index is the destination", "04 47"), ("index is the mask", "04 4F")):
        text = f".byte 0xC4,0xE2,0x71,0x90,{','.join('0x' + b for b in tail.split())}"
        yield Case(f"vpgatherdd: {what}", text, MODES[1:], regs=dict(ON), fault=UD, count=False)
    yield Case("vpgatherdd: destination is the mask", ".byte 0xC4,0xE2,0x79,0x90,0x04,0x57", MODES[1:], regs=dict(ON), fault=UD, count=False)
    yield Case("vpgatherdd: 16-bit addresses", ".byte 0xC4,0xE2,0x71,0x90,0x04,0x57", ("pm16",), regs=dict(ON), fault=UD, count=False)
    # the highest bit of VEX.vvvv: not looked at in 32-bit code, unless there is no such operand
    yield Case("vsqrtps: vex.vvvv[3]", ".byte 0xC4,0xE1,0x38,0x51,0xC2", MODES, regs=dict(ON), fault=UD, count=False)
    yield Case("vpand of xmm9, or xmm1", ".byte 0xC4,0xE1,0x31,0xDB,0xC1", MODES[:3], regs=ON | {"xmm1": 0x1234}, out={"xmm0": 0x1234, "ymm0h": 0},
               count=False)
    for mxcsr, em in ((0x1F80, 4),):
        yield Case("vpaddb with CR0.EM", "vpaddb xmm0, xmm0, xmm0", MODES, regs=ON | {"cr0": f"cr0 | {em}", "xmm0": 1, "mxcsr": mxcsr},
                   out={"xmm0": 2, "ymm0h": 0}, count=False)
        yield Case("vpaddb without OSFXSR", "vpaddb xmm0, xmm0, xmm0", MODES, regs=ON | {"cr4": "cr4 & ~0x200", "xmm0": 1, "mxcsr": mxcsr},
                   out={"xmm0": 2, "ymm0h": 0}, count=False)


def by_hand() -> Iterator[Case]:
    """What a loop over states cannot show: the store by rDI, all registers at once, elements a mask leaves out."""
    yield Case("vmaskmovdqu", "vmaskmovdqu xmm0, xmm1", MODES, msize=16, regs=ON | {"xmm0": 0xF0E0D0C0B0A09080706050403020100,
               "xmm1": 0x80000000000000000000FF0000008080}, m=0xAA * (((1 << 128) - 1) // 255),
               om=0xFAAAAAAAAAAAAAAAAAA05AAAAAA0100 | 0x00 << 120, access="w", unit="avx", feat="avx")
    upper = {f"ymm{i}h": 0 for i in range(16)}
    every = upper | {f"xmm{i}": 0 for i in range(16)}
    for name, result in (("vzeroupper", upper), ("vzeroall", every)):
        short = {k: v for k, v in result.items() if int(k.strip("xymh")) < 8}
        yield Case(name, name, MODES[:3], regs=dict(ON), out=dict(short), unit="avx", feat="avx")
        yield Case(name, name, MODES[3:], regs=dict(ON), out=dict(result), unit="avx", feat="avx")
    # the chosen elements lie in front of the hole, the others in it
    regs: dict[str, int | str] = ON | {"rdi": "hole - 8", "xmm1": 0x80000000_80000000, "ymm1h": 0}
    for code, out, om in (("vmaskmovps ymm0, ymm1, [%DI]", {"xmm0": 0x8877665544332211, "ymm0h": 0}, None),
                          ("vpmaskmovd [%DI], ymm1, ymm0", {}, 0x0706050403020100)):
        yield Case(f"{code}, to the edge", code, MODES[1:], regs=regs | {"xmm0": 0x0706050403020100}, mem={"hole - 8": (0x8877665544332211).to_bytes(8, "little")},
                   out=dict(out), omem={"hole - 8": om.to_bytes(8, "little")} if om is not None else {}, count=False)
    nothing: dict[str, int | str] = ON | {"rdi": "hole", "xmm1": 0x7FFFFFFF, "ymm1h": 0}
    yield Case("vmaskmovpd of nothing", "vmaskmovpd ymm0, ymm1, [%DI]", MODES[1:], regs=nothing, out={"xmm0": 0, "ymm0h": 0}, count=False)
    yield Case("vmaskmovps of nothing", "vmaskmovps [%DI], ymm1, ymm0", MODES[1:], regs=nothing, count=False)
    # the third element faults: two are there, with their mask elements cleared
    indices = 0x00000000_00001000_00000004_00000000
    yield Case("vpgatherdd, a fault half way", "vpgatherdd xmm0, [%DI + xmm2], xmm1", ("pm32", "compat", "long64"),
               regs=ON | {"rdi": "hole - 0x10", "xmm1": 0x80000000_FFFFFFFF_80000000_80000000, "xmm2": indices, "xmm0": 0x44444444_33333333_22222222_11111111},
               mem={"hole - 0x10": (0x8877665544332211).to_bytes(8, "little")}, out={"xmm0": 0x44444444_33333333_88776655_44332211, "xmm1": 0x80000000_FFFFFFFF_00000000_00000000},
               fault=Fault(14, 4, "hole + database + 0xFF0"), count=False)


def cases() -> Iterator[Case]:
    yield from vectors()
    yield from no_such_mode()
    yield from lengths_and_widths()
    yield from prefixes()
    yield from by_hand()
