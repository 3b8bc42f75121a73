"""Random programs of vector instructions (SSE, AVX, FMA, MMX) and of general ones with a VEX prefix, from the instruction table,
in loops, mostly on memory that is there: the interpreter and compiled code end in the same state."""

from __future__ import annotations

import struct
from functools import lru_cache
from random import Random
from typing import Any

from pcemu._core.isa import gen

from .compiled import HEAT
from .core import GPR, Broken, differences, run
from .guest import CODE, DATA, STACK, Rig, enter_mode
from .programs import load, piece

MODES = ("long", "long", "long", "long-user", "pm32", "paged")
PLACES = (DATA, DATA, DATA + 0xFC0, DATA + 0xFE0, DATA + 0x1000, DATA + 0x40)
PREFIXES = (b"", b"\x66", b"\xf3", b"\xf2")
VALUES = (0, 0x3F800000_40000000_7F800000_7FC00000, 0x3FF00000_00000000_C0080000_00000000)


@lru_cache(maxsize=1)
def rows() -> list[gen.Row]:
    return [r for r in gen.read_rows() if r.attrs & {"avx", "sse", "mmx"} or (r.vex and r.feat in ("bmi1", "bmi2"))]


def operand(rng: Random, row: gen.Row) -> bytes:
    """ModRM and what follows: a register, or memory off RBX, RSI, RDI or RBP."""
    reg = rng.randrange(8) if row.reg is None else row.reg
    memory = row.mod == "m" or (row.mod != "r" and rng.random() < 0.5)
    if not memory:
        return bytes((0xC0 | reg << 3 | rng.randrange(8),))
    rm = rng.choice((3, 3, 5, 6, 7))
    if "vsib" in row.attrs or rng.random() < 0.05:
        index = rng.randrange(8) if "vsib" in row.attrs or rng.random() < 0.1 else 4
        return bytes((0x44 | reg << 3, rng.choice((0, 0x40)) | index << 3 | rm, rng.randrange(0, 64, 16)))
    if rng.random() < 0.15:
        return bytes((0x80 | reg << 3 | rm,)) + struct.pack("<i", rng.choice((0x100, 0xFC0, 0xFE0, -16)))
    return bytes((0x40 | reg << 3 | rm, rng.randrange(128) if rng.random() < 0.1 else rng.randrange(0, 128, 32)))


def vector(rng: Random, bits: int) -> bytes:
    row = rng.choice(rows())
    tail = operand(rng, row) if gen.has_modrm(row) else b""
    if gen.imm_kind(row) != "none":
        tail += bytes((rng.randrange(256),))
    opcode = bytes((row.opcode,))
    prefix = row.prefix or 0
    high = rng.getrandbits(4) if bits == 64 else 0
    if not row.vex:
        rex = bytes((0x40 | high,)) if high else b""
        return PREFIXES[prefix] + rex + (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a")[row.map & 3] + opcode + tail
    w = int("vex_w1" in row.attrs) or ("vex_w0" not in row.attrs and high >> 3)
    length = 0 if "vex_l0" in row.attrs else 1 if "vex_l1" in row.attrs else rng.randrange(2)
    uses = gen.placement(row, False)[4]
    vvvv = (rng.randrange(16) if bits == 64 else rng.randrange(8)) if uses else 0
    last = w << 7 | (~vvvv & 15) << 3 | length << 2 | prefix
    return bytes((0xC4, (~high & 7) << 5 | row.map & 3, last)) + opcode + tail


def program(rng: Random, bits: int, size: int = 0x800) -> bytes:
    out = bytearray()
    while len(out) < size:
        for reg in (3, 5, 6, 7):
            out += load(rng, bits, reg, rng.choice(PLACES) + (rng.choice((4, 8, 16, 24)) if rng.random() < 0.1 else 0))
        count = rng.choice((0, 0, 3, 12))
        if count:
            out += load(rng, bits, 1, count)
        start = len(out)
        for _ in range(rng.randrange(2, 14)):
            out += vector(rng, bits) if rng.random() < 0.98 else piece(rng, bits)
            if rng.random() < 0.1:
                out += rng.choice((b"\xc5\xf8\x77", b"\x0f\x77", b"\x01\xc2", b"\x85\xd2", b"\x75\x02\x90\x90"))
        if count:  # dec ecx; jnz
            out += b"\xff\xc9\x0f\x85" + struct.pack("<i", start - len(out) - 8)
    return bytes(out[:size])


def rig(seed: int, compiled: bool) -> Any:
    rng = Random(seed)
    made = Rig(seed, model="max", tb_size=1 << 22, wild=False)
    bits = enter_mode(made, rng, rng.choice(MODES))
    cpu = made.cpu
    made.memory.write(CODE, program(rng, bits))
    made.memory.write(DATA, rng.randbytes(0x3000))
    cpu.set("cr0", cpu.get("cr0") & ~0xC)
    cpu.set("eflags", cpu.get("eflags") & ~0x40500)
    cpu.set("cr4", cpu.get("cr4") | 0x40600)
    cpu.set("xcr0", 7)
    for name in GPR[: 16 if bits == 64 else 8]:
        cpu.set(name, rng.getrandbits(bits))
    cpu.set("rsp", STACK - 0x80)
    cpu.set("rip", CODE)
    for i in range(16):
        cpu.set(f"ymm{i}", rng.choice((rng.getrandbits(256), *(v << 128 | v for v in VALUES))))
    for i in range(8):
        cpu.set(f"st{i}", rng.getrandbits(80))
    cpu.set("fcw", rng.choice((0x37F, 0x37F, 0x37F, 0x27F, 0x340)))
    cpu.set("mxcsr", rng.choice((0x1F80, 0x1F80, 0x1F80, 0x1F80, 0x9FC0, 0x7F80, 0x1D80)))
    if compiled and not cpu.enable_jit(heat=HEAT):
        raise NotImplementedError("no compiled code on this host")
    return made


def check(seed: int, count: int = 1500) -> None:
    """All of a seed; raises Broken."""
    plain, whole, split = rig(seed, False), rig(seed, True), rig(seed, True)
    expected = run(plain, count)
    if found := differences(expected, run(whole, count)):
        raise Broken(f"seed {seed}: compiled (after /): " + "; ".join(found[:12]))
    if found := differences(expected, run(split, count, Random(seed ^ 0xC0DE), drop=True)):
        raise Broken(f"seed {seed}: compiled, in pieces (after /): " + "; ".join(found[:12]))
