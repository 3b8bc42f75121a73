"""The x87 of compiled code against the interpreter's: random programs, with stacks that begin at any depth, loops, branches,
operands that take the slow way or fault, control words, unmasked exceptions."""
from __future__ import annotations

import os
import random
import struct
from typing import Any

import pytest

from . import rig

pytestmark = [rig.needs_x86_64, pytest.mark.compiled]

SEEDS = int(os.environ.get("PCEMU_X87_SEEDS", "150"))
ARITH = ("add", "mul", "sub", "subr", "div", "divr")
PLAIN = ("fchs", "fabs", "fsqrt", "frndint", "f2xm1", "fsin", "fcos", "fscale", "fprem", "fprem1", "fyl2x", "fyl2xp1", "fpatan", "fxtract", "fptan", "fsincos",
         "ftst", "fxam", "fld1", "fldl2t", "fldl2e", "fldpi", "fldlg2", "fldln2", "fldz", "fnop", "fnclex", "fwait", "fcompp", "fucompp",
         "fprem", "fprem1")
RARE = ("ffree st(2)", "fincstp", "fdecstp", "fninit", "emms", "paddb mm1, mm2", "fnsave [rbx+0x80]; frstor [rbx+0x80]", "fxsave [rbx+0x400]", "cpuid", "fnstenv [rbx+0x80]", "xgetbv")


def memory(rng: random.Random, write: bool) -> str:
    """An operand: mostly near, now and then in two pages, or not there."""
    kind = rng.randrange(40)
    if kind == 0:
        return f"[rbx+{rng.choice((0xFF9, 0xFFC, 0x1FFE, 0xFF7))}]"
    if kind == 1 and write:
        return "[rip+9f]"
    if kind == 2:
        return "[rdi]"
    if kind == 3:
        return "[r13+rcx*8+0x40]"
    if kind == 4:
        return f"[rbx+r15*2+{8 * rng.randrange(32)}]"
    if kind == 5:
        return f"[ebx+{8 * rng.randrange(32)}]"
    return f"[rbx+{8 * rng.randrange(64)}]"


def instruction(rng: random.Random, depth: int) -> tuple[str, int]:
    """One, and what it does to the depth of the stack, which stays mostly within what is there."""
    k = rng.randrange(100)
    i = rng.randrange(max(1, min(depth, 8))) if rng.randrange(40) else rng.randrange(8)
    if depth < 2 and rng.randrange(30):
        k %= 25
    if depth > 6 and k < 25 and rng.randrange(30):
        k = 30 + k
    if k < 10:
        return f"fld {rng.choice(('dword', 'qword', 'tbyte'))} ptr {memory(rng, False)}", 1
    if k < 15:
        return f"fild {rng.choice(('word', 'dword', 'qword'))} ptr {memory(rng, False)}", 1
    if k < 20:
        return f"fld st({i})", 1
    if k < 25:
        return rng.choice(("fld1", "fldz", "fldpi", "fldl2e")), 1
    if k < 33:
        return f"f{rng.choice(ARITH)} {rng.choice(('dword', 'qword'))} ptr {memory(rng, False)}", 0
    if k < 36:
        return f"fi{rng.choice(ARITH)} {rng.choice(('word', 'dword'))} ptr {memory(rng, False)}", 0
    if k < 41:
        return f"f{rng.choice(ARITH)} st, st({i})", 0
    if k < 45:
        return f"f{rng.choice(ARITH)} st({i}), st", 0
    if k < 51:
        return f"f{rng.choice(ARITH)}p st({i or 1}), st", -1
    if k < 56:
        return f"fxch st({i})", 0
    if k < 62:
        return f"fstp {rng.choice(('dword', 'qword', 'tbyte'))} ptr {memory(rng, True)}", -1
    if k < 65:
        return f"fst {rng.choice(('dword', 'qword'))} ptr {memory(rng, True)}", 0
    if k < 67:
        return f"fistp {rng.choice(('word', 'dword', 'qword'))} ptr {memory(rng, True)}", -1
    if k < 68:
        return f"fisttp {rng.choice(('word', 'dword', 'qword'))} ptr {memory(rng, True)}", -1
    if k < 70:
        return f"fst{rng.choice(('', 'p'))} st({i})", -1
    if k < 74:
        return f"f{rng.choice(('', 'u'))}com{rng.choice(('', 'p'))} st({i})", -1
    if k < 76:
        return f"fcom{rng.choice(('', 'p'))} {rng.choice(('dword', 'qword'))} ptr {memory(rng, False)}", -1
    if k < 79:
        name = rng.choice(("fcomi", "fucomi", "fcomip", "fucomip"))
        return f"{name} st, st({i}); {rng.choice(('seta al', 'setb dl', 'setp cl', 'cmovae esi, eax', 'nop', 'pushfq; pop r8'))}", -1
    if k < 82:
        c = rng.choice(("b", "e", "be", "u", "nb", "ne", "nbe", "nu"))
        return f"{rng.choice(('cmp eax, edx', 'add esi, edx', 'bt edx, 3', 'nop'))}; fcmov{c} st, st({i})", 0
    if k < 92:
        name = rng.choice(PLAIN)
        return name, 1 if name.startswith("fld") or name in ("fxtract", "fptan", "fsincos") else -1 if name in ("fyl2x", "fpatan") else 0
    if k < 95:
        return rng.choice(("fnstsw ax", "fnstsw ax; sahf", "fnstsw [rbx+0x60]", "fnstcw [rbx+0x68]")), 0
    if k < 97:
        cw = rng.choice((0x37F, 0x27F, 0xF7F, 0xB7F, 0x7F, 0x77F, 0x37F, 0x37F, 0x37F, rng.choice((0x340, 0x37E, 0x37B, 0x36F))))
        return f"mov word ptr [rbx+0x70], {cw}; fldcw [rbx+0x70]", 0
    if k < 98 and rng.randrange(3) == 0:
        return rng.choice(RARE), 0
    return rng.choice(("add eax, [rbx+8]", "mov [rbx+0x10], rdx", "inc esi", "lea r8, [rax+rdx]", "mov r9, [rbx+0xFFC]", "xor edx, eax",
                       "addsd xmm1, xmm2", "adc eax, edx")), 0


def program(rng: random.Random) -> tuple[str, int]:
    depth = first = rng.choice((0, 0, 0, 1, 2, 3, 5, 7, 8))
    out = []
    loops = 0
    for n in range(rng.randrange(2, 40)):
        text, change = instruction(rng, depth)
        depth = max(0, min(8, depth + change))
        out.append(text)
        if rng.randrange(8) == 0:
            out.append(f"test {rng.choice(('eax', 'edx', 'esi'))}, {1 << rng.randrange(4)}; jnz {n % 8 + 1}f; {n % 8 + 1}:")
    body = "; ".join(out)
    if rng.randrange(2):
        loops = rng.choice((2, 3, 40))
        # as many pushes as pops: what is left over goes
        tidy = "; ".join(["fstp st"] * (depth - first) if depth > first else ["fld1"] * (first - depth))
        body = f"mov r12d, {loops}; 0: {body}; {tidy}; dec r12d; jnz 0b"
    return f"{body}; hlt; 9: .quad 0, 0", first


def number(rng: random.Random) -> bytes:
    """80 bits: mostly of ordinary size."""
    kind = rng.randrange(20)
    if kind == 0:
        return rng.randbytes(10)
    if kind == 1:
        return struct.pack("<QH", 0, rng.choice((0, 0x8000)))
    if kind == 2:
        return struct.pack("<QH", rng.getrandbits(64), rng.choice((0, 0x7FFF, 0x8000, 0xFFFF, 1)))
    return struct.pack("<QH", rng.getrandbits(64) | 1 << 63, rng.randrange(16383 - 20, 16383 + 20) | rng.getrandbits(1) << 15)


def data(rng: random.Random) -> bytes:
    out = b""
    while len(out) < 0x3000:
        kind = rng.randrange(6)
        if kind == 0:
            out += struct.pack("<d", rng.uniform(-1000, 1000))
        elif kind == 1:
            out += struct.pack("<ff", rng.uniform(-10, 10), rng.uniform(-1e6, 1e6))
        elif kind == 2:
            out += struct.pack("<hhi", rng.randrange(-100, 100), 7, rng.randrange(-1000, 1000))
        elif kind == 3:
            out += number(rng)
        else:
            out += rng.choice((b"\0" * 8, rng.randbytes(8), struct.pack("<d", 0.5), struct.pack("<q", 3)))
    return out[:0x3000]


def outcome(code: bytes, depth: int, seed: int, heat: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("PCEMU_JIT", heat)
    engine = rig.Emulated()
    rng = random.Random(seed)
    fx = bytearray(rig.fresh_fx())
    top = rng.randrange(8)
    fcw = rng.choice((0x37F, 0x37F, 0x37F, 0x37F, 0x27F, 0xF7F, 0x33F, 0x37B))
    fsw = rng.choice((0, 0x3A20, 0x4100, 0x20, 0x3F, 0x4700)) & 0x477F | top << 11
    fx[0:4] = struct.pack("<HH", fcw, fsw)
    fx[4] = sum(1 << (top + i & 7) for i in range(depth))
    for i in range(8):
        fx[32 + 16 * i:42 + 16 * i] = number(rng)
    gpr = [rng.getrandbits(64) for _ in range(16)]
    gpr[1], gpr[3], gpr[4], gpr[7], gpr[13], gpr[15] = 1, rig.DATA, rig.DATA + 0x8000, 0x3000_0000, rig.DATA, 4
    before = rig.Machine(gpr, rng.getrandbits(12) & rig.ALL_FLAGS, bytes(fx), data(rng))
    engine.run(code, before, 20_000, "halted")
    c = engine.cpu
    out: dict[str, Any] = {r: c.get(r) for r in (*rig.GPR, "rip", "eflags", "mxcsr", "cr2", "xmm1", "fcw", "fsw", "ftw", "fop", "fip", "fdp",
                                                 "fcs", "fds")}
    out |= {f"fpr{i}": f"{c.get(f'fpr{i}'):x}" for i in range(8)}
    out |= {"memory": engine.mem.read(rig.DATA, 0x8000), "code": engine.mem.read(rig.CODE, 0x1000), "count": c.icount}
    return out


@pytest.mark.parametrize("batch", range(4))
def test_as_interpreted(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = range(batch * SEEDS, (batch + 1) * SEEDS)
    programs = [program(random.Random(f"x87 {seed}")) for seed in seeds]
    for seed, (text, depth), code in zip(seeds, programs, rig.assemble([p[0] for p in programs]), strict=True):
        interpreted = outcome(code, depth, seed, "off", monkeypatch)
        compiled = outcome(code, depth, seed, "1", monkeypatch)
        wrong = {k: (v, interpreted[k]) for k, v in compiled.items() if v != interpreted[k]}
        if "memory" in wrong:
            at = next(i for i, (a, b) in enumerate(zip(compiled["memory"], interpreted["memory"], strict=True)) if a != b)
            wrong["memory"] = (hex(at), compiled["memory"][at:at + 10].hex(), interpreted["memory"][at:at + 10].hex())
        assert not wrong, f"seed {seed}, depth {depth}: {text}\ncompiled, interpreted: {wrong}"
