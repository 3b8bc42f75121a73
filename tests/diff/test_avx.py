"""AVX, AVX2, FMA and F16C against the host's own instructions: whole registers, flags, exceptions, bit for bit."""
from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pcemu._core.isa import gen

from . import sse_native as native
from .vex import REGISTERS, Form, Rig, available, avx_rows, encode, forms, halves

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64" or "avx" not in native.host_flags(),
                                reason="compares with the host's instructions")

N = int(os.environ.get("PCEMU_DIFF_STATES", "60"))       # states for each encoding; make soak raises it
ROWS = [r for r in avx_rows() if available(r)]
BITS = [64, 32]
IDS = ["long", "compat"]
APPROXIMATE = {"VRCPPS", "VRCPSS", "VRSQRTPS", "VRSQRTSS"}
GATHERS = [r for r in ROWS if "vsib" in r.attrs]
NO_FLOAT = {"VMOV", "VBLEN", "VPERM", "VUNPC", "VSHUF", "VAND", "VOR", "VXOR", "VINSE", "VEXTR", "VBROA", "VTEST", "VMASK", "VMOVM"}
FLOAT = [r for r in ROWS if r not in GATHERS and not any(r.mnemonic.startswith(p) for p in NO_FLOAT) and r.mnemonic not in APPROXIMATE
         and (r.mnemonic[-2:] in ("PS", "PD", "SS", "SD") or "CVT" in r.mnemonic)]


@pytest.fixture(scope="module", params=BITS, ids=IDS)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    yield Rig(Path(tmp_path_factory.mktemp("avx")), request.param)


@lru_cache(maxsize=16)
def pool(kind: str, seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    s = native.states(rng, N, "ps" if kind == "half" else kind)
    if kind == "half":
        for field in (s["xmm"], s["ymmh"]):
            for i in range(4):
                field[:, i] = halves(rng, N)
        s["mem"][:, :16] = halves(rng, N)
        s["mem"][:, 16:32] = halves(rng, N)
    return s


@lru_cache(maxsize=16)
def with_mxcsr(kind: str, seed: int, unmasked: bool) -> NDArray[Any]:
    """Random rounding, flush-to-zero, denormals-are-zero; half of the states with the default."""
    s = pool(kind, seed).copy()
    rng = np.random.default_rng(seed + 1000)
    n = len(s)
    mx = 0x1F80 | rng.integers(0, 4, n) << 13 | rng.integers(0, 2, n) << 15 | rng.integers(0, 2, n) << 6
    mx = np.where(rng.integers(0, 2, n) == 0, 0x1F80, mx)
    s["mxcsr"] = mx & ~(rng.integers(0, 64, n) << 7) if unmasked else mx | np.where(rng.integers(0, 4, n) == 0, rng.integers(0, 64, n), 0)
    return s


def check(rig: Rig, found: Iterator[Form], make: Any, skip: tuple[str, ...] = ()) -> None:
    bad: list[str] = []
    for form in found:
        bad += rig.differences(form.text, form.code, make(form), skip=skip)
        if len(bad) > 30:
            break
    assert not bad, f"{len(bad)} differences\n" + "\n".join(bad[:30])


@pytest.mark.parametrize("feature", ["avx", "avx2", "aes", "pclmulqdq", "fma", "f16c"])
def test_masked(rig: Rig, feature: str) -> None:
    """Every form, vector length and immediate; destination and sources the same in every way."""
    rows = [r for r in ROWS if r.feat == feature and r.mnemonic not in APPROXIMATE and r not in GATHERS]
    check(rig, (f for r in rows for f in forms(r, rig.batch.bits)), lambda f: pool(f.kind, 1))


KINDS = ["ps", "pd", "half"]


@pytest.mark.parametrize("kind", KINDS)
def test_floating_point(rig: Rig, kind: str) -> None:
    rows = [r for r in FLOAT if kind != "half" or "PH" in r.mnemonic]
    check(rig, (f for r in rows for f in forms(r, rig.batch.bits, REGISTERS[:1])), lambda f: with_mxcsr(kind, 2, False))


@pytest.mark.parametrize("kind", KINDS)
def test_unmasked_exceptions(rig: Rig, kind: str) -> None:
    rows = [r for r in FLOAT if kind != "half" or "PH" in r.mnemonic]
    check(rig, (f for r in rows for f in forms(r, rig.batch.bits, REGISTERS[:1])), lambda f: with_mxcsr(kind, 3, True))


def test_misaligned(rig: Rig) -> None:
    """Only the aligned moves fault; some of these operands cross into another page."""
    found = []
    for row in ROWS:
        for f in forms(row, rig.batch.bits, REGISTERS[:1], [0] if "Ib" in row.operands else None):
            if f.memory and row not in GATHERS:
                # [rsi + disp8]: 8 bytes off
                at = len(f.code) - 1 - (1 if "Ib" in row.operands or any(o[0] == "L" for o in row.operands) else 0)
                found.append(Form(row, f.code[:at] + bytes([f.code[at] | 0x40, 0x18]) + f.code[at + 1:], f.length, True))
    check(rig, (f for f in found if f.row.mnemonic not in APPROXIMATE), lambda f: pool("int", 4))


def gather_states(rig: Rig, index: int, seed: int) -> NDArray[Any]:
    """Indices that stay in the state; the mask's sign bits at random."""
    rng = np.random.default_rng(seed)
    s = native.states(rng, N, "int")
    for field in (s["xmm"], s["ymmh"]):
        v = rng.integers(-100, 100, (N, 16 // index))
        field[:, 2] = v.astype(f"i{index}").view("u1")
    return s


@pytest.mark.parametrize("row", GATHERS, ids=[r.mnemonic for r in GATHERS])
def test_gathers(rig: Rig, row: gen.Row) -> None:
    index = 4 if "DD" in row.mnemonic or "GATHERD" in row.mnemonic else 8
    w = int("vex_w1" in row.attrs)
    bad = []
    for length in (0, 1):
        for scale in range(4):
            code = encode(row.opcode, 2, 1, w, length, 0, 1, 0, True, sib=scale << 6 | 2 << 3 | 6)
            bad += rig.differences(f"{row.mnemonic} {128 << length} scale {scale}", code, gather_states(rig, index, scale))
    assert not bad, "\n".join(bad[:10])


@pytest.mark.parametrize("row", GATHERS, ids=[r.mnemonic for r in GATHERS])
def test_gathers_that_fault(rig: Rig, row: gen.Row) -> None:
    """Elements before the one that faults are there, the mask says which."""
    index = 4 if "GATHERD" in row.mnemonic else 8
    w = int("vex_w1" in row.attrs)
    s = gather_states(rig, index, 9)
    rng = np.random.default_rng(10)
    for field in (s["xmm"], s["ymmh"]):
        v = field[:, 2].copy().view(f"i{index}")
        v[rng.integers(0, 4, v.shape) == 0] = 0x40000000        # a gigabyte on: neither has anything there
        field[:, 2] = v.view("u1")
    for length in (0, 1):
        code = encode(row.opcode, 2, 1, w, length, 0, 1, 0, True, sib=2 << 3 | 6)
        rig.patch(code)
        a, b = rig.batch.host(rig.snippet, s), rig.batch.guest(rig.snippet, s)
        # an element after the one that faults may have been loaded or not: a prefix of the host's order is all that is promised
        assert ((a["fault"] == 14) == (b["fault"] == 14)).all()
        assert (b["fault"] == 14).any() and (b["fault"] == 0).any()
        ok = b["fault"] == 0
        for field_name in ("out_xmm", "out_ymmh", "out_gpr", "mem"):
            assert (a[field_name][ok] == b[field_name][ok]).all(), (row.mnemonic, length, field_name)


# VEX opcodes of features the table does not have: AVX512 masks, GFNI, VAES, VPCLMULQDQ, AVX-VNNI ..., XOP aside
OTHER = {(1, o) for o in (*range(0x41, 0x4C), *range(0x90, 0x94), 0x98, 0x99)} | {(2, o) for o in (0x50, 0x51, 0x52, 0x53, 0xCF)} \
    | {(3, o) for o in (*range(0x30, 0x34), 0xCE, 0xCF)} | {(2, o) for o in range(0xDC, 0xE0)} | {(3, 0x44)} | {(2, o) for o in (0xB0, 0xB1, 0x72)}


@pytest.mark.parametrize("mmap", [1, 2, 3])
def test_every_opcode(rig: Rig, mmap: int) -> None:
    """Which encodings are instructions: opcode, mandatory prefix, VEX.L, VEX.W, register and memory form."""
    s = pool("int", 5)[:1].copy()
    s["gpr"][:] = 0
    bad = []
    for opcode in range(256):
        if (mmap, opcode) in OTHER or (mmap == 1 and opcode in (0x77, 0xAE, 0xF7)):
            continue
        for k in range(32):
            prefix, length, w, memory, vvvv = k & 3, k >> 2 & 1, k >> 3 & 1, bool(k >> 4 & 1), 1
            if w and rig.batch.bits == 32:
                continue
            for vvvv in (0, 1):
                if mmap == 3 and opcode < 2 and not w:      # VPERMQ and VPERMPD: W1 says the SDM, some do not look
                    continue
                code = encode(opcode, mmap, prefix, w, length, 0, vvvv, 2, memory, 0x30 if mmap == 3 or opcode in (0x70, 0xC2, 0xC4, 0xC5, 0xC6) else None)
                rig.patch(code)
                a, b = rig.batch.host(rig.snippet, s)[0], rig.batch.guest(rig.snippet, s)[0]
                if (a["fault"] == 6) != (b["fault"] == 6):
                    bad.append(f"{code.hex(' ')}: host {a['fault']}, emulated {b['fault']}")
    assert not bad, f"{len(bad)}\n" + "\n".join(bad[:60])
