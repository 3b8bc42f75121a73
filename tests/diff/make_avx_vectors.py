"""Write tests/asm/families/avx_vectors.txt: a case for every form and vector length of every AVX row, with what this host's
processor made of it. ``python -m tests.diff.make_avx_vectors`` from the top of the tree, on a host with AVX2, FMA and F16C.

A line: feature, bytes of the memory operand (0: none), its use (r, w; rn, wn: never #AC), its alignment | name | the instruction's
bytes | state before | what is different after. Values are hexadecimal, flags letters, capitals set; M: 64 bytes from data + 0x40.
"""
from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import capstone
import numpy as np
from numpy.typing import NDArray

from pcemu._core.isa import gen

from . import sse_native as native
from .test_avx import APPROXIMATE
from .vex import Form, Rig, avx_rows, encode, forms, halves

OUT = Path(__file__).parent.parent / "asm" / "families" / "avx_vectors.txt"
FLAGS = {"o": 0x800, "s": 0x80, "z": 0x40, "a": 0x10, "p": 4, "c": 1}
ALIGNED = re.compile(r"VMOV(AP|DQA|NT)")
GPR = ("eax", "ecx", "edx", "ebx")
IMMEDIATE = {"VPERM2": 0x31, "VCMP": 0x1A, "VROUND": 9, "VPCMP": 0x1A, "VPSRL": 3, "VPSLL": 3, "VPSRA": 3}
BY_HAND = ("VMASKMOVDQU", "VZERO")
# what capstone 5 is wrong about
SIZES = {"VCOMISD": 8, "VPGATHERDD": 4, "VPGATHERQD": 4, "VGATHERDPS": 4, "VGATHERQPS": 4, "VPGATHERDQ": 8, "VPGATHERQQ": 8, "VGATHERDPD": 8,
         "VGATHERQPD": 8}


def immediate(row: gen.Row) -> list[int | None] | None:
    if "Ib" not in row.operands:
        return None
    return [next((v for n, v in IMMEDIATE.items() if row.mnemonic.startswith(n)), 0x93)]


def wanted() -> Iterator[Form]:
    for row in avx_rows():
        if "vsib" in row.attrs:
            w = int("vex_w1" in row.attrs)
            for length in (0, 1):
                yield Form(row, encode(row.opcode, 2, 1, w, length, 0, 1, 0, True, sib=0x56), length, True)      # [rsi + 2 * xmm2]
        else:
            yield from forms(row, registers=((0, 1, 2),), imms=immediate(row))


def memory_size(form: Form) -> int:
    if not form.memory:
        return 0
    if form.row.mnemonic in SIZES:
        return SIZES[form.row.mnemonic]
    if form.row.mnemonic.startswith(("VMASKMOV", "VPMASKMOV")):
        return 16 << form.length
    md = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    md.detail = True
    insn = next(md.disasm(form.code, 0))
    return next(int(o.size) for o in insn.operands if o.type == capstone.x86.X86_OP_MEM)


def inputs(rng: np.random.Generator, form: Form) -> NDArray[Any]:
    """A state whose operands have something in common: equal elements, counts in range, masks."""
    name = form.row.mnemonic
    s = native.states(rng, 1, form.kind)
    s["ftw"] = s["fsw"] = 0
    s["mxcsr"] = 0x1F80
    xmm, ymmh, mem = s["xmm"][0], s["ymmh"][0], s["mem"][0]
    if re.match(r"VPS[LR][LA]", name):
        for v in (xmm[2], ymmh[2], mem[:16], mem[16:32]):
            v[:] = 0
            v[0] = v[4] = rng.integers(1, 8)
            v[8] = v[12] = rng.integers(1, 40)
            if "V" not in name[4:]:
                v[4:] = 0
    elif "PH" in name:
        for i in range(4):
            xmm[i], ymmh[i] = halves(rng, 1)[0], halves(rng, 1)[0]
    elif form.kind == "int":
        for lane in rng.permutation(4)[:2]:
            at = slice(4 * lane, 4 * lane + 4)
            xmm[2][at] = mem[at] = xmm[1][at]
            ymmh[2][at] = mem[16:][at] = ymmh[1][at]
    if "MASK" in name or "vsib" in form.row.attrs:
        xmm[1][3::4], ymmh[1][3::4] = (0x80, 0, 0x80, 0x80), (0, 0x80, 0x80, 0)
        xmm[1][7] = ymmh[1][15] = 0x80
    if "vsib" in form.row.attrs:
        for v in (xmm[2], ymmh[2]):
            v[:] = 0
            v[::8] = rng.integers(0, 26, 2)
            if name[-3 if name.startswith("VG") else -2] == "D":
                v[4::8] = rng.integers(0, 26, 2)
        xmm[2][0] = 0
    if "STR" in name:
        for v in (xmm, mem.reshape(4, 16)):
            v[:] = np.array([0x41, 0x42, 0x43, 0x61], "u1")[rng.integers(0, 4, v.shape)]
        xmm[0, 7:] = 0
        s["gpr"][0, [0, 2]] = (3, 11)
    if name == "VLDMXCSR":
        mem[:4] = (0xBF, 0x7F, 0, 0)
    return s


def number(v: Any) -> str:
    return f"{int.from_bytes(bytes(v), 'little'):x}"


def line(rig: Rig, form: Form, seed: int) -> str:
    row = form.row
    s = inputs(np.random.default_rng(seed), form)
    rig.patch(form.code)
    out = (rig.batch.guest if row.mnemonic in APPROXIMATE else rig.batch.host)(rig.snippet, s)[0]
    s = s[0]
    assert out["fault"] == 0, form.text
    before, after = [], []
    vectors = {0, 1, 2} | ({3} if any(o[0] == "L" for o in row.operands) else set())
    for i in range(16):
        for name, x, y in ((f"xmm{i}", s["xmm"][i], out["out_xmm"][i]), (f"ymm{i}h", s["ymmh"][i], out["out_ymmh"][i])):
            if i in vectors:
                before.append(f"{name}={number(x)}")
            if (x != y).any():
                after.append(f"{name}={number(y)}")
    wide = "vex_w1" not in row.attrs and form.code[0] == 0xC4 and form.code[2] & 0x80
    implicit = "PCMPESTR" in row.mnemonic or "PCMPISTR" in row.mnemonic
    if any(o[0] in "EGR" for o in row.operands) or implicit:
        for i, name in enumerate(GPR):
            name = "r" + name[1:] if wide else name
            x, y = int(s["gpr"][i]), int(out["out_gpr"][i])
            before.append(f"{name}={x if wide else x & 0xFFFFFFFF:x}")
            if x != y:
                after.append(f"{name}={y:x}")
    size = memory_size(form)
    use = "-"
    if size:
        use = "w" if row.operands[0][0] in "MEW" and not row.mnemonic.startswith("VLD") else "r"
        n = 64 if "vsib" in row.attrs else size
        before.append(f"{'M' if n == 64 else 'm'}={number(s['mem'][:n])}")
        if (s["mem"] != out["mem"]).any():
            after.append(f"m={number(out['mem'][:n])}")
        if "vsib" in row.attrs or "MASKMOV" in row.mnemonic:
            use += "n"
    if s["mxcsr"] != out["out_mxcsr"]:
        after.append(f"mxcsr={int(out['out_mxcsr']):x}")
    if row.flags[1]:
        after.append("flags=" + "".join(c.upper() if out["out_flags"] & bit else c for c, bit in FLAGS.items()))
    tail = form.code[(3 if form.code[0] == 0xC5 else 4):]
    code = [f"{b:02X}" for b in form.code[:-len(tail)]]
    if gen.has_modrm(row):
        if "vsib" in row.attrs:
            code += [f"{tail[0]:02X}", f"{tail[1] + 1:02X}"]        # [rdi + 2 * xmm2]
        else:
            code.append(f"/{tail[0] >> 3 & 7}{'m' if form.memory else tail[0] & 7}")
            code += [f"ib:{b}" for b in tail[1:]]
    feat = "avx2" if "avx2_l1" in row.attrs and form.length else row.feat
    aligned = size if ALIGNED.match(row.mnemonic) and size else 0
    name = f"{row.mnemonic.lower()} {128 << form.length}{' 64' if wide else ''}"
    return f"{feat} {size} {use} {aligned} | {name} | {' '.join(code)} | {' '.join(before)} | {' '.join(after)}"


def main() -> None:
    rig = Rig(Path(tempfile.mkdtemp()), 64)
    lines = [line(rig, form, i) for i, form in enumerate(wanted()) if form.row.mnemonic not in BY_HAND]
    OUT.write_text("# Written by tests/diff/make_avx_vectors.py\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
