"""x87 instructions against the host's processor: whole FPU states in, whole states out, by FRSTOR and FNSAVE around each.

One snippet loops over a few hundred random states, natively and emulated: every register, tag, status and control bit, the
pointers, EFLAGS, general registers and memory of the two are compared.
"""
from __future__ import annotations

import os
import random
import struct
from functools import lru_cache

import pytest

from .rig import CODE, DATA, Emulated, Machine, Native, assemble, fresh_fx, native, needs_x86_64

pytestmark = needs_x86_64

CASES = 200                     # a batch
BATCHES = max(1, int(os.environ.get("PCEMU_DIFF_STATES", "150")) // 50)     # for each instruction and kind of state
IN, OUT = 0, 0x8000             # in the data page: FRSTOR image and operand, 128 bytes; FNSAVE image, flags, memory: 160 bytes
OUT_SIZE = 160
LOOP = ("2: frstor [rsi]; mov rax, [rsi + 120]; push rax; popfq; mov rbx, [rsi + 108]; mov [rdi + 128], rbx; "
        "mov bx, [rsi + 116]; mov [rdi + 136], rbx; {op}; pushfq; mov [rdi + 120], rax; fnsave [rdi]; pop [rdi + 112]; "
        "fninit; add rsi, 128; add rdi, 160; dec ecx; jnz 2b")

ARITH = ["fadd", "fmul", "fsub", "fsubr", "fdiv", "fdivr"]
MEM = "[rdi + 128]"


def arith() -> dict[str, list[str]]:
    out = {}
    for n in ARITH:
        i = n.replace("f", "fi", 1)
        out[n] = [f"{n} st, st(1)", f"{n} st, st", f"{n} st, st(5)", f"{n} st(1), st", f"{n} st(3), st", f"{n}p st(1), st",
                  f"{n}p st(2), st", f"{n}p st, st", f"{n} dword ptr {MEM}", f"{n} qword ptr {MEM}", f"{i} word ptr {MEM}",
                  f"{i} dword ptr {MEM}"]
    return out


GROUPS: dict[str, list[str]] = {
    **arith(),
    "fcom": ["fcom st(1)", "fcom st", "fcomp st(3)", "fcompp", "fucom st(1)", "fucomp st(2)", "fucompp", "ftst",
             *(f"{n} {p} ptr {MEM}" for n in ("fcom", "fcomp") for p in ("dword", "qword")),
             *(f"{n} {p} ptr {MEM}" for n in ("ficom", "ficomp") for p in ("word", "dword")),
             ".byte 0xdc, 0xd1", ".byte 0xdc, 0xda", ".byte 0xde, 0xd1"],
    "fcomi": ["fcomi st, st(1)", "fcomip st, st(2)", "fucomi st, st(1)", "fucomip st, st(3)", "fcomi st, st"],
    "load": [*(f"fld {p} ptr {MEM}" for p in ("dword", "qword", "tbyte")),
             *(f"fild {p} ptr {MEM}" for p in ("word", "dword", "qword")), "fld st", "fld st(1)", "fld st(7)",
             "fld1", "fldl2t", "fldl2e", "fldpi", "fldlg2", "fldln2", "fldz"],
    "fbld": [f"fbld tbyte ptr {MEM}"],
    "store": [*(f"fst {p} ptr {MEM}" for p in ("dword", "qword")), *(f"fstp {p} ptr {MEM}" for p in ("dword", "qword", "tbyte")),
              "fst st(1)", "fst st(4)", "fstp st", "fstp st(2)", ".byte 0xdf, 0xd2", ".byte 0xdf, 0xda"],
    "fist": [*(f"fist {p} ptr {MEM}" for p in ("word", "dword")), *(f"fistp {p} ptr {MEM}" for p in ("word", "dword", "qword")),
             *(f"fisttp {p} ptr {MEM}" for p in ("word", "dword", "qword"))],
    "fbstp": [f"fbstp tbyte ptr {MEM}"],
    "stack": ["fxch st(1)", "fxch st(5)", "fxch st", ".byte 0xdd, 0xca", ".byte 0xdf, 0xc9", "ffree st(1)", "ffree st",
              ".byte 0xdf, 0xc2", "fincstp", "fdecstp", "fnop", "fchs", "fabs", "fxam", ".byte 0xd9, 0xda", ".byte 0xd9, 0xd8"],
    "fcmov": [f"fcmov{c} st, st({i})" for c in ("b", "e", "be", "u", "nb", "ne", "nbe", "nu") for i in (1, 3)],
    "root": ["fsqrt", "frndint"],
    "scale": ["fscale", "fxtract"],
    "remainder": ["fprem", "fprem1"],
    "transcendental": ["f2xm1", "fyl2x", "fyl2xp1", "fptan", "fpatan", "fsin", "fcos", "fsincos"],
    "control": ["fnclex", "fninit", "fldcw [rsi]", f"fnstcw {MEM}", f"fnstsw {MEM}", "fnstsw ax", ".byte 0xdb, 0xe0",
                ".byte 0xdb, 0xe1", ".byte 0xdb, 0xe4", "fwait"],
}

# ------------------------------------------------------------------------------------------------------ operands

TOP = 1 << 63
SIGNIFICANDS = [TOP, TOP + 1, TOP | 1 << 62, (1 << 64) - 1, (1 << 64) - 2, TOP | 0x7FF, TOP | 0x400, TOP | 0xC00, TOP | 0x3FF,
                TOP | 1 << 39, TOP | 1 << 40, TOP | (1 << 40) - 1, (1 << 64) - (1 << 11), (1 << 64) - (1 << 10),
                (1 << 64) - (1 << 40), (1 << 64) - (1 << 39)]


def f80(se: int, m: int) -> int:
    return se << 64 | m


# zeros, ones, infinities; NaNs; what is not supported since the 387; denormals; the ends of the range
SPECIAL = [f80(0, 0), f80(0x8000, 0), f80(0x3FFF, TOP), f80(0xBFFF, TOP), f80(0x7FFF, TOP), f80(0xFFFF, TOP),
           f80(0x7FFF, 3 << 62), f80(0xFFFF, 3 << 62), f80(0x7FFF, 3 << 62 | 0x1234), f80(0x7FFF, TOP | 1),
           f80(0xFFFF, TOP | 0x5555), f80(0x7FFF, TOP | 0x5555), f80(0x7FFF, (1 << 64) - 1),
           f80(0x7FFF, 0), f80(0x7FFF, 1), f80(0xFFFF, 1 << 62), f80(0x4000, 1 << 62), f80(0x4000, 0), f80(0x7FFE, 1),
           f80(0, 1), f80(0, TOP - 1), f80(0, TOP), f80(0x8000, 1 << 62), f80(0x8000, TOP | 5),
           f80(1, TOP), f80(1, TOP | 1), f80(0x7FFE, (1 << 64) - 1), f80(0xFFFE, TOP), f80(0x4000, TOP), f80(0x4000, 3 << 62),
           f80(0x3FFE, TOP)]
EXPONENTS = [1, 2, 0x7FFE, 0x7FFD]
EXPONENTS += [16383 + e for e in (-127, -128, -150, 127, 128, -1022, -1023, -1075, 1023, 1024, -64, -8191, 8192)]
DOUBLES = [0.0, -0.0, 1.0, -1.5, 1e308, 5e-324, 2.5e-308, float("inf"), float("nan"), 3.7]
FLOATS = [0.0, -0.0, 1.0, -1.5, 3e38, 1e-45, 2e-39, float("inf"), float("nan"), 3.7]


def number(rng: random.Random) -> int:
    """An 80-bit value: special, around the limits of the formats, near one, or anything."""
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(SPECIAL)
    sign = rng.getrandbits(1) << 79
    m = rng.choice(SIGNIFICANDS) if rng.random() < 0.4 else rng.getrandbits(64) | TOP
    if rng.random() < 0.3:
        m &= -1 << rng.randrange(64) | TOP
    if kind < 0.45:
        e = min(max(rng.choice(EXPONENTS) + rng.randrange(-2, 3), 1), 0x7FFE)
    elif kind < 0.85:
        e = 16383 + rng.randrange(-70, 70) if rng.random() < 0.5 else 16383 + rng.randrange(-3, 4)
    elif kind < 0.9:
        return sign | rng.getrandbits(rng.randrange(1, 64))          # denormal
    else:
        e = rng.randrange(1, 0x7FFF)
    return sign | e << 64 | m


def related(rng: random.Random, v: int) -> int:
    """A value that meets v in a comparison or cancels in a sum."""
    kind = rng.randrange(4)
    if kind == 0:
        return v ^ rng.getrandbits(1) << 79
    if kind == 1:
        return (v + rng.randrange(-3, 4)) % (1 << 80)
    if kind == 2:
        return (v + (rng.randrange(-66, 67) << 64)) % (1 << 80)
    return number(rng)


def operand(rng: random.Random, v: int) -> bytes:
    """Ten bytes of memory operand: a number in some format, or anything."""
    kind = rng.randrange(6)
    if kind == 0:
        return struct.pack("<d", rng.choice(DOUBLES)) + b"\0\0"
    if kind == 1:
        return struct.pack("<f", rng.choice(FLOATS)) + rng.randbytes(6)
    if kind == 2:
        v = rng.choice([0, 1, -1, 1 << 62, -1 << 63, 1 << 31, rng.getrandbits(40), -rng.getrandbits(20)])
        return struct.pack("<q", v) + b"\0\0"
    if kind == 3:
        return v.to_bytes(10, "little")
    if kind == 4:
        e = rng.choice([0, 1, 2046, 2047, rng.randrange(2048), 1023 + rng.randrange(-60, 60)])
        return struct.pack("<Q", rng.getrandbits(1) << 63 | e << 52 | rng.getrandbits(52)) + b"\1\2"
    return rng.randbytes(10)


def decimal(rng: random.Random) -> bytes:
    digits = rng.choice([0, 1, 10**18 - 1, rng.randrange(10**18), rng.randrange(10**6)])
    text = f"{digits:018d}"
    return bytes(int(text[i:i + 2], 16) for i in range(16, -2, -2)) + bytes([rng.choice((0, 0x80))])


CW_MODES = [0x37F, 0x27F, 0x07F, 0x77F, 0xB7F, 0xF7F, 0x67F, 0x87F, 0xC7F, 0xA7F, 0xE7F, 0x17F]


def state(rng: random.Random, unmasked: bool, holes: bool, bcd: bool) -> bytes:
    """A FRSTOR image with no exception pending, and a memory operand."""
    cw = rng.choice(CW_MODES) if rng.random() < 0.6 else 0x37F
    if unmasked:
        cw &= ~(rng.getrandbits(6) if rng.random() < 0.5 else 1 << rng.randrange(6))
    sw = rng.getrandbits(3) << 11 | (rng.getrandbits(16) & 0x4700 if rng.random() < 0.7 else 0)
    if rng.random() < 0.5:
        sw |= rng.getrandbits(6) & cw
    top = sw >> 11
    regs = [number(rng) for _ in range(8)]
    for i in (1, 2, 3):
        if rng.random() < 0.3:
            regs[i] = related(rng, regs[0])
    tags = 0
    for i in range(8):
        empty = rng.random() < 0.25 if holes else i == 7           # ST(7) empty: room for a push
        tags |= (3 if empty else 0) << 2 * ((top + i) & 7)
    image = struct.pack("<7I", cw, sw, tags, rng.getrandbits(32), rng.getrandbits(27), rng.getrandbits(32), rng.getrandbits(16))
    image += b"".join(r.to_bytes(10, "little") for r in regs)
    memory = decimal(rng) if bcd else operand(rng, regs[1])
    flags = 0x202 | rng.getrandbits(12) & 0x8D5         # IF as the host has it
    return image + memory + b"\0\0" + flags.to_bytes(8, "little")


@lru_cache(maxsize=1)
def emulator() -> Emulated:
    e = Emulated()
    e.cpu.set("cs", 0x33)
    e.cpu.set("ss", 0x2B)
    e.cpu.set("cr0", e.cpu.get("cr0") | 0x20)
    return e


def run_batch(code: bytes, records: list[bytes]) -> tuple[bytes, bytes]:
    """The results of a batch, native and emulated."""
    emu = emulator()
    m = Machine(fx=fresh_fx())
    m.gpr[1], m.gpr[4], m.gpr[6], m.gpr[7] = len(records), DATA + 0xFF00, DATA + IN, DATA + OUT
    m.data = b"".join(records).ljust(0x10000, b"\0")
    # FDS is whatever DS the process happens to have: 0, or what 32-bit snippets before this left
    emu.cpu.set("ds", native().run(assemble_ds(), Machine(fx=m.fx)).gpr[0] & 0xFFFF)
    n = native().run(code, m)
    emu.cpu.set_breakpoints([CODE + Native.SNIP + len(code)])
    e = emu.run_to_stop(code, m)
    emu.cpu.set_breakpoints([])
    assert e is not None, f"the emulated snippet stopped at {emu.cpu.get('rip'):#x}"
    return n.data[OUT:OUT + OUT_SIZE * len(records)], e.data[OUT:OUT + OUT_SIZE * len(records)]


@lru_cache(maxsize=1)
def assemble_ds() -> bytes:
    return assemble(["mov eax, ds"])[0]


FIELDS = [("cw", 0, 4), ("sw", 4, 8), ("tw", 8, 12), ("fip", 12, 16), ("fcs", 16, 18), ("fop", 18, 20), ("fdp", 20, 24),
          ("fds", 24, 28), *((f"st{i}", 28 + 10 * i, 38 + 10 * i) for i in range(8)), ("eflags", 112, 120), ("rax", 120, 128),
          ("memory", 128, 144)]


def fields(out: bytes) -> dict[str, int]:
    return {name: int.from_bytes(out[a:b], "little") for name, a, b in FIELDS}


def show(record: bytes, n: dict[str, int], e: dict[str, int]) -> str:
    cw, sw, tags = struct.unpack_from("<3I", record)
    regs = " ".join(f"{int.from_bytes(record[28 + 10 * i:38 + 10 * i], 'little'):020x}" for i in range(3))
    diff = "; ".join(f"{k}: native {n[k]:x}, emulated {e[k]:x}" for k in n if n[k] != e[k])
    return f"  cw={cw:x} sw={sw:x} tags={tags:x} st0-2={regs} mem={record[108:118][::-1].hex()}\n    {diff}"


def forgive(n: dict[str, int], e: dict[str, int]) -> None:
    """What the host's kernel saves and restores between two native instructions: not the pointers, or not their selectors."""
    if n["fdp"] == 0 or n["fcs"] == 0:
        e["fdp"], e["fds"], e["fcs"] = n["fdp"], n["fds"], n["fcs"]
    if n["fip"] == 0:
        for k in ("fip", "fcs", "fop"):
            e[k] = n[k]


@lru_cache(maxsize=1)
def snippets() -> dict[str, bytes]:
    ops = [op for group in GROUPS.values() for op in group]
    return dict(zip(ops, assemble([LOOP.format(op=op) for op in ops]), strict=True))


def check(op: str, records: list[bytes], code: bytes | None = None) -> list[str]:
    bad = []
    for i in range(0, len(records), CASES):
        part = records[i:i + CASES]
        nat, emu = run_batch(code or snippets()[op], part)
        for k, record in enumerate(part):
            a, b = nat[OUT_SIZE * k:OUT_SIZE * (k + 1)], emu[OUT_SIZE * k:OUT_SIZE * (k + 1)]
            if a != b:
                n, e = fields(a), fields(b)
                forgive(n, e)
                if n != e:
                    bad.append(show(record, n, e))
    return bad


@pytest.mark.parametrize("mode", ["masked", "unmasked", "holes", "holes-unmasked"])
@pytest.mark.parametrize("group", GROUPS)
def test_against_host(group: str, mode: str) -> None:
    rng = random.Random(group + mode)
    bad = {}
    for op in GROUPS[group]:
        records = [state(rng, "unmasked" in mode, "holes" in mode, group == "fbld") for _ in range(BATCHES * CASES)]
        wrong = check(op, records)
        if wrong:
            bad[op] = wrong
    assert not bad, "\n".join(f"{op}: {len(w)} differ\n" + "\n".join(w[:3]) for op, w in bad.items())


def test_sequences() -> None:
    """Several instructions in a row: what one leaves behind (flags of the host's among it) is not the next one's."""
    rng = random.Random(87)
    ops = [op for name, group in GROUPS.items() if name not in ("fbld", "control") for op in group]
    texts = ["; ".join(rng.choice(ops) for _ in range(rng.randrange(3, 9))) for _ in range(20 * BATCHES)]
    bad = {}
    for text, code in zip(texts, assemble([LOOP.format(op=t) for t in texts]), strict=True):
        wrong = check(text, [state(rng, False, False, False) for _ in range(CASES)], code)
        if wrong:
            bad[text] = wrong
    assert not bad, "\n".join(f"{op}: {len(w)} differ\n" + "\n".join(w[:3]) for op, w in bad.items())
