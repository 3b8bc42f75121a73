"""Write tests/asm/families/sse_vectors.txt: a case for every form of every MMX and SSE row, with what this host's processor
made of it. ``python -m tests.diff.make_sse_vectors`` from the top of the tree, on a host with SSE4.2, AES and PCLMULQDQ.

A line: feature, unit, bytes of the memory operand (0: none), its use (r, w), its alignment | the instruction | state before |
what is different after. %m is the memory operand, with its size. Values are hexadecimal numbers, flags letters, capitals set.
"""
from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import capstone
import numpy as np

from . import sse_native as native
from .sse_snippets import APPROXIMATE, Case, cases

OUT = Path(__file__).parent.parent / "asm" / "families" / "sse_vectors.txt"
EXTRA_IMMEDIATES = {"CMP": 3, "ROUND": 2, "PCMP": 3, "DPP": 1, "INSERTPS": 2}
FLAGS = {"o": 0x800, "s": 0x80, "z": 0x40, "a": 0x10, "p": 4, "c": 1}
GPR = {name: i for i, pair in enumerate((("eax", "rax"), ("ecx", "rcx"), ("edx", "rdx"))) for name in pair}
STRINGS = ["pcmpestri xmm0, {}, 12", "pcmpestri xmm0, {}, 0x40", "pcmpestrm xmm0, {}, 0x18", "pcmpestrm xmm0, {}, 0x45",
           "pcmpistri xmm0, {}, 8", "pcmpistri xmm0, {}, 0x45", "pcmpistrm xmm0, {}, 0x5A", "pcmpistrm xmm0, {}, 4"]
BY_HAND = """
sse sse 0 - 0 | rcpps xmm0, xmm1 | xmm1=4080000040000000bf8000003f800000 | xmm0=3e8000003f000000bf8000003f800000
sse sse 16 r 16 | rcpps xmm0, %m | m=7f8000008000000000000001ff800000 | xmm0=00000000ff8000007f80000080000000
sse sse 0 - 0 | rcpss xmm0, xmm1 | xmm0=33333333222222221111111100000000 xmm1=40800000 | xmm0=3333333322222222111111113e800000
sse sse 4 r 0 | rcpss xmm0, %m | xmm0=0 m=40400000 | xmm0=3eaaa800
sse sse 0 - 0 | rsqrtps xmm0, xmm1 | xmm1=4080000041800000bf8000003f800000 | xmm0=3f0000003e800000ffc000003f800000
sse sse 16 r 16 | rsqrtps xmm0, %m | m=7f80000080000000000000017fc12345 | xmm0=00000000ff8000007f8000007fc12345
sse sse 0 - 0 | rsqrtss xmm0, xmm1 | xmm0=33333333222222221111111100000000 xmm1=40800000 | xmm0=3333333322222222111111113f000000
sse sse 4 r 0 | rsqrtss xmm0, %m | xmm0=0 m=40000000 | xmm0=3f350800
sse sse 4 r 0 | ldmxcsr %m | m=ffbf | mxcsr=ffbf
sse sse 4 w 0 | stmxcsr %m | m=0 mxcsr=3fa5 | m=3fa5
sse mmx 8 w 0 | maskmovq mm0, mm1 | mm0=706050403020100 mm1=8000000000ff0080 m=aaaaaaaaaaaaaaaa | m=7aaaaaaaa02aa00
sse2 sse 16 w 0 | maskmovdqu xmm0, xmm1 | xmm0=f0e0d0c0b0a09080706050403020100 xmm1=80000000000000000000ff0000008080 \
m=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | m=faaaaaaaaaaaaaaaaaa05aaaaaa0100
sse2 sse 8 r 0 | = 66 - 48 0F 6E /0m | m=8877665544332211 | xmm0=8877665544332211
sse2 sse 8 w 0 | = 66 - 48 0F 7E /0m | xmm0=ffeeddccbbaa99888877665544332211 m=0 | m=8877665544332211
mmx mmx 8 r 0 | = - 48 0F 6E /1m | m=8877665544332211 | mm1=8877665544332211
mmx mmx 8 w 0 | = - 48 0F 7E /1m | mm1=8877665544332211 m=0 | m=8877665544332211
sse sse 0 - 0 | = - 0F 29 /10 | xmm0=f0e0d0c0b0a09080706050403020100 xmm1=102030405060708090a0b0c0d0e0f10 | xmm0=102030405060708090a0b0c0d0e0f10
sse sse 0 - 0 | = - 0F 11 /10 | xmm0=f0e0d0c0b0a09080706050403020100 xmm1=102030405060708090a0b0c0d0e0f10 | xmm0=102030405060708090a0b0c0d0e0f10
sse2 sse 0 - 0 | = 66 - 0F 29 /10 | xmm0=f0e0d0c0b0a09080706050403020100 xmm1=102030405060708090a0b0c0d0e0f10 | xmm0=102030405060708090a0b0c0d0e0f10
sse2 sse 0 - 0 | = 66 - 0F 11 /10 | xmm0=f0e0d0c0b0a09080706050403020100 xmm1=102030405060708090a0b0c0d0e0f10 | xmm0=102030405060708090a0b0c0d0e0f10
sse2 sse 0 - 0 | = 66 - 0F 7F /10 | xmm0=f0e0d0c0b0a09080706050403020100 xmm1=102030405060708090a0b0c0d0e0f10 | xmm0=102030405060708090a0b0c0d0e0f10
sse2 sse 0 - 0 | = F3 - 0F 7F /10 | xmm0=f0e0d0c0b0a09080706050403020100 xmm1=102030405060708090a0b0c0d0e0f10 | xmm0=102030405060708090a0b0c0d0e0f10
sse sse 0 - 0 | = F3 - 0F 11 /10 | xmm0=f0e0d0c0b0a09080706050403020100 xmm1=102030405060708090a0b0c0d0e0f10 | xmm0=f0e0d0c0b0a0908070605040d0e0f10
sse2 sse 0 - 0 | = F2 - 0F 11 /10 | xmm0=f0e0d0c0b0a09080706050403020100 xmm1=102030405060708090a0b0c0d0e0f10 | xmm0=f0e0d0c0b0a0908090a0b0c0d0e0f10
sse2 sse 0 - 0 | = 66 - 0F D6 /10 | xmm0=f0e0d0c0b0a09080706050403020100 xmm1=102030405060708090a0b0c0d0e0f10 | xmm0=90a0b0c0d0e0f10
sse4_1 sse 0 - 0 | = 66 - 0F 3A 15 /1c ib:2 | xmm1=102030405060708090a0b0c0d0e0f10 | ecx=b0c
mmx mmx 0 - 0 | = - 0F 7F /10 | mm0=1 mm1=8877665544332211 | mm0=8877665544332211
mmx mmx 0 - 0 | emms | ftw=ff | ftw=0
sse - 0 - 0 | prefetchnta %m | |
sse - 0 - 0 | prefetcht0 %m | |
sse - 0 - 0 | prefetcht1 %m | |
sse - 0 - 0 | prefetcht2 %m | |
- - 0 - 0 | prefetchw %m | |
"""
BY_HAND_ROWS = {"LDMXCSR", "STMXCSR", "MASKMOVQ", "MASKMOVDQU", "EMMS"}


def wanted() -> list[Case]:
    """One case a row and form, a few with more immediates."""
    seen: dict[tuple[int, bool, str], int] = {}
    out = []
    for c in cases():
        if c.row.mnemonic in APPROXIMATE | BY_HAND_ROWS:
            continue
        width = "64" if re.search(r"\br[a-d]x|qword ptr", c.text) else ""
        key = (c.row.id, c.memory, width)
        limit = next((n for prefix, n in EXTRA_IMMEDIATES.items() if c.row.mnemonic.startswith(prefix)), 1)
        position = seen.get(key, 0)
        seen[key] = position + 1
        # not the dullest immediates
        if (position == 0 and "i" in c.text and c.row.operands and "Ib" in c.row.operands and limit == 1) or position > limit:
            continue
        if "Ib" not in c.row.operands or position >= (1 if limit == 1 else 0):
            out.append(c)
    return out


def memory_size(code: bytes) -> int:
    """Bytes of the memory operand, as capstone sees it."""
    md = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    md.detail = True
    insn = next(md.disasm(code, 0))
    if insn.mnemonic == "comisd":           # capstone 5 says 16
        return 8
    return next(int(o.size) for o in insn.operands if o.type == capstone.x86.X86_OP_MEM)


def alignment(text: str, size: int) -> int:
    return 16 if size == 16 and not re.match(r"movup|movdqu|lddqu|pcmp.str", text) else 0


def inputs(rng: np.random.Generator, text: str, kind: str) -> Any:
    """A state whose operands have something in common: equal elements, counts in range, strings."""
    s = native.states(rng, 1, kind)
    s["ftw"] = s["fsw"] = 0
    s["mxcsr"] = 0x1F80
    xmm, mem, st = s["xmm"][0], s["mem"][0], s["st"][0]
    if re.match(r"ps[lr][la]", text):
        for v in (xmm[1], mem, st[1]):
            v[:8] = (rng.integers(1, 8), 0, 0, 0, 0, 0, 0, 0)
    elif kind == "int":
        for lane in rng.permutation(4)[:2]:
            xmm[1][4 * lane:4 * lane + 4] = mem[4 * lane:4 * lane + 4] = xmm[0][4 * lane:4 * lane + 4]
        st[1][2:4] = mem[2:4] = st[0][2:4]
    if "str" in text:
        for v in (xmm, mem.reshape(4, 16)):
            v[:] = np.array([0x41, 0x42, 0x43, 0x61], "u1")[rng.integers(0, 4, v.shape)]
        xmm[0, rng.integers(3, 9):] = 0
        s["gpr"][0, [0, 2]] = (3, 11)
    return s


def hexadecimal(v: Any) -> str:
    return f"{int.from_bytes(bytes(v), 'little'):x}"


def vector(text: str, s: Any, out: Any, size: int) -> tuple[str, str]:
    before: list[str] = []
    after: list[str] = []
    implicit = ["xmm0"] if "blendv" in text or "strm" in text else []
    implicit += ["eax", "edx"] if "pcmpestr" in text else []
    after_only = ["ecx"] if "stri" in text else []
    for name in dict.fromkeys(re.findall(r"\b(?:xmm\d|mm\d|[er][acd]x)\b", text) + implicit + after_only):
        if name in GPR:
            i = GPR[name]
            x, y = int(s["gpr"][i]), int(out["out_gpr"][i])
            if name[0] == "e":
                x &= 0xFFFFFFFF
            before.append(f"{name}={x:x}")
            if y != (int(s["gpr"][i])):
                after.append(f"{name}={y:x}")
        elif name.startswith("xmm"):
            i = int(name[3:])
            before.append(f"{name}={hexadecimal(s['xmm'][i])}")
            if (s["xmm"][i] != out["out_xmm"][i]).any():
                after.append(f"{name}={hexadecimal(out['out_xmm'][i])}")
        else:
            i = int(name[2:])
            x, y = s["st"][i][:8], out["out_st"][i][:8]
            before.append(f"{name}={hexadecimal(x)}")
            if (s["st"][i][:10] != out["out_st"][i][:10]).any():
                after.append(f"{name}={hexadecimal(y)}")
    if size:
        before.append(f"m={hexadecimal(s['mem'][:size])}")
        if (s["mem"] != out["mem"]).any():
            after.append(f"m={hexadecimal(out['mem'][:size])}")
    if s["mxcsr"] != out["out_mxcsr"]:
        after.append(f"mxcsr={int(out['out_mxcsr']):x}")
    if re.search("comis|ptest|pcmp.str", text):
        after.append("flags=" + "".join(c.upper() if out["out_flags"] & bit else c for c, bit in FLAGS.items()))
    return " ".join(before), " ".join(after)


def main() -> None:
    picked = wanted()
    texts = [c.text for c in picked] + [t.format(src) for t in STRINGS for src in ("xmm1", "[rsi]")]
    b = native.Batch(["nop", *texts], Path(tempfile.mkdtemp()))
    start = b.code.index(b"\x9d\x90") + 1 - b.snippets[0].offset       # POPFQ, NOP
    lines = []
    for i, (text, snippet) in enumerate(zip(texts, b.snippets[1:], strict=True)):
        c = picked[i] if i < len(picked) else None
        s = inputs(np.random.default_rng(1000 + i), text, c.kind if c else "int")
        out = b.host(snippet, s)
        assert out["fault"][0] == 0, text
        size = memory_size(b.code[snippet.offset + start:][:15]) if "[rsi]" in text else 0
        use = "-" if not size else "w" if (out["mem"] != s["mem"]).any() else "r"
        row = c.row if c else None
        feat = row.feat if row and row.feat else "sse4_2"
        unit = "".join(u for u in ("mmx", "sse") if u in row.attrs) or "-" if row else "sse"
        before, after = vector(text, s[0], out[0], size)
        shown = re.sub(r"(?:[dq]word ptr )?\[rsi\]", "%m", text)
        lines.append(f"{feat} {unit} {size} {use} {alignment(text, size)} | {shown} | {before} | {after}")
    OUT.write_text("# Written by tests/diff/make_sse_vectors.py\n" + BY_HAND.lstrip().replace("\\\n", "") + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
