"""MMX and SSE against the host's own instructions: results, flags, exceptions, bit for bit."""
from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from . import sse_native as native
from .sse_snippets import APPROXIMATE, Case, cases

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="compares with the host's instructions")

N = int(os.environ.get("PCEMU_DIFF_STATES", "150"))       # states for each instruction; make soak raises it
CASES = [c for c in cases() if c.row.feat in native.host_flags()] if platform.machine() == "x86_64" else []
FLOAT = [c for c in CASES if c.kind != "int" or c.row.mnemonic.startswith("CVT")]
STRINGS = [f"pcmp{form} xmm0, {src}, {imm}" for form in ("estri", "estrm", "istri", "istrm") for src in ("xmm1", "[rsi]")
           for imm in range(0, 128, 1 if src == "xmm1" else 13)]
STRINGS += [f"rex.w pcmpestri xmm0, xmm1, {imm}" for imm in (0, 5, 10, 15)]
EXTRA = ["maskmovdqu xmm0, xmm1", "maskmovq mm0, mm1", "ldmxcsr [rsi]", "stmxcsr [rsi]", "prefetchw [rsi]",
         "prefetchnta [rdi + 9]", "movaps xmm0, xmm15", "paddb xmm9, xmm14", "movq xmm8, rbx", "pextrb [rsi + 3], xmm12, 7"]
RAW = {                                          # encodings the assembler does not write
    "cmpps xmm0, xmm1, 0x9d": "0f c2 c1 9d", "movq mm1, rax": "48 0f 6e c8", "movss (store form)": "f3 0f 11 c1",
    "movdqa (store form)": "66 0f 7f c1", "movups (store form)": "0f 11 c1", "pextrw (sse4.1)": "66 0f 3a 15 c1 03",
    "movq (store form)": "66 0f d6 c1", "movq mm (store form)": "0f 7f c1",
}


WIDE = re.compile(r"\b(r[a-d]x|xmm[89]|xmm1\d|rex\.w|qword ptr)\b|0x48, ")


def compatibility(text: str) -> str | None:
    """The text for 32-bit code; None where there is no such instruction."""
    if WIDE.search(text) and not text.startswith("cvtpi"):
        return None
    return text.replace("[rsi", "[esi").replace("[rdi", "[edi")


@pytest.fixture(scope="module", params=[64, 32], ids=["long", "compat"])
def batch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    texts = [c.text for c in CASES] + STRINGS + EXTRA
    texts += [".byte " + ", ".join("0x" + b for b in raw.split()) for raw in RAW.values()]
    texts += misaligned_texts()
    named = {t: t if request.param == 64 else compatibility(t) for t in texts}
    real = list(dict.fromkeys(t for t in named.values() if t))
    b = native.Batch(real, Path(tmp_path_factory.mktemp("sse")), bits=request.param)
    snippets = dict(zip(real, b.snippets, strict=True))
    yield {name: snippets[t] for name, t in named.items() if t}, b


def misaligned_texts() -> list[str]:
    return [c.text.replace("[rsi]", "[rsi + 120]") for c in CASES if c.memory]


def with_mxcsr(s: NDArray[Any], rng: np.random.Generator, unmasked: bool) -> NDArray[Any]:
    """Random rounding, flush-to-zero, denormals-are-zero; half of the states with the default; flags as they may lie around."""
    n = len(s)
    mx = 0x1F80 | rng.integers(0, 4, n) << 13 | rng.integers(0, 2, n) << 15 | rng.integers(0, 2, n) << 6
    mx = np.where(rng.integers(0, 2, n) == 0, 0x1F80, mx)
    if unmasked:
        mx = mx & ~(rng.integers(0, 64, n) << 7)
    else:
        mx = mx | np.where(rng.integers(0, 4, n) == 0, rng.integers(0, 64, n), 0)
    s["mxcsr"] = mx
    return s


def check(batch: Any, texts: list[str], make: Any, flags: int = native.ARITH) -> None:
    by_text, b = batch
    bad: list[str] = []
    for text in texts:
        if b.bits == 32 and text not in by_text:
            continue
        bad += b.differences(by_text[text], make(text), flags)
    assert not bad, f"{len(bad)} differences\n" + "\n".join(bad[:40])


def by_kind(c: Case, seed: int) -> NDArray[Any]:
    return native.states(np.random.default_rng(seed), N, c.kind)


@pytest.mark.parametrize("feature", ["mmx", "sse", "sse2", "pni", "ssse3", "sse4_1", "sse4_2", "aes", "pclmulqdq"])
def test_integer_and_moves(batch: Any, feature: str) -> None:
    picked = {c.text: c for c in CASES if c.row.feat == feature and c.row.mnemonic not in APPROXIMATE}
    if not picked:
        pytest.skip(f"the host has no {feature}")
    check(batch, list(picked), lambda t: by_kind(picked[t], 1))


@pytest.mark.parametrize("width", ["ps", "pd"])
def test_floating_point(batch: Any, width: str) -> None:
    picked = {c.text: c for c in FLOAT if c.row.mnemonic not in APPROXIMATE}
    rng = np.random.default_rng(2)
    check(batch, list(picked), lambda t: with_mxcsr(native.states(rng, N, width), rng, False))


@pytest.mark.parametrize("width", ["ps", "pd"])
def test_unmasked_exceptions(batch: Any, width: str) -> None:
    picked = {c.text: c for c in FLOAT if c.row.mnemonic not in APPROXIMATE}
    rng = np.random.default_rng(3)
    check(batch, list(picked), lambda t: with_mxcsr(native.states(rng, N, width), rng, True))


def test_without_osxmmexcpt(batch: Any) -> None:
    """With CR4.OSXMMEXCPT clear an unmasked exception is #UD."""
    by_text, b = batch
    s = native.states(np.random.default_rng(12), 1, "ps")
    s["mxcsr"] = 0x1F80 & ~(1 << 9)
    s["xmm"][:, 0].view("f4")[:] = 1
    s["xmm"][:, 1] = 0
    cr4 = b.cpu.get("cr4")
    b.cpu.set("cr4", cr4 & ~(1 << 10))
    out = b.guest(by_text["divps xmm0, xmm1"], s)
    b.cpu.set("cr4", cr4)
    assert out["fault"][0] == 6 and (out["out_xmm"][0, 0] == s["xmm"][0, 0]).all() and out["out_mxcsr"][0] & 0x3F == 4
    assert b.guest(by_text["divps xmm0, xmm1"], s)["fault"][0] == 19


def string_states(seed: int) -> NDArray[Any]:
    """Few different bytes, a zero here and there, lengths of both signs."""
    rng = np.random.default_rng(seed)
    s = native.states(rng, N, "int")
    for field in (s["xmm"], s["mem"].reshape(N, 4, 16)):
        field[:] = np.array([0x41, 0x42, 0x80, 0xFF, 1], "u1")[rng.integers(0, 5, field.shape)]
        field[rng.integers(0, 24, field.shape) == 0] = 0
        words = rng.integers(0, 2, len(field)) == 0
        field[words, :, 1::2] = 0
    part = rng.integers(0, 3, N) == 0
    s["xmm"][part, 0, :8] = s["xmm"][part, 1, 4:12]
    s["gpr"][:, [0, 2]] = rng.integers(-20, 21, (N, 2)).astype("i8").view("u8")
    huge = rng.integers(0, 6, N) == 0
    s["gpr"][huge, 0] = np.uint64(0x8000000080000000)
    return s


def test_strings(batch: Any) -> None:
    check(batch, STRINGS, lambda t: string_states(4))


def test_odd_encodings(batch: Any) -> None:
    texts = [".byte " + ", ".join("0x" + b for b in raw.split()) for raw in RAW.values()]
    check(batch, texts + EXTRA[:2] + EXTRA[4:], lambda t: native.states(np.random.default_rng(5), N, "int"))


def test_mxcsr_moves(batch: Any) -> None:
    """LDMXCSR refuses reserved bits (bit 17, AMD's misaligned mode, aside); STMXCSR sees flags just set."""
    s = with_mxcsr(native.states(np.random.default_rng(6), N, "ps"), np.random.default_rng(7), False)
    mem = s["mem"].view("u4")
    mem[::2, 0] &= 0xFFFF
    mem[:, 0] &= ~np.uint32(1 << 17)
    check(batch, ["ldmxcsr [rsi]", "stmxcsr [rsi]"], lambda t: s.copy())


def test_misaligned(batch: Any) -> None:
    """#GP where a 16-byte operand must be aligned, and only there; some of these operands cross into another page."""
    check(batch, misaligned_texts(), lambda t: native.states(np.random.default_rng(8), 32, "int"))


@pytest.mark.skipif("misalignsse" not in native.host_flags(), reason="the host has no MXCSR.MM")
def test_misaligned_mode(batch: Any) -> None:
    """AMD's MXCSR.MM allows it to all instructions but moves."""
    s = native.states(np.random.default_rng(8), 32, "int")
    s["mxcsr"] |= 1 << 17
    # the approximations are ours, not the host's (test_approximations)
    check(batch, [t for t in misaligned_texts() if not t.startswith(("rcp", "rsqrt"))], lambda t: s.copy())


def test_pending_x87_exception(batch: Any) -> None:
    """MMX instructions report a pending x87 exception first; those that touch no MMX register do not look."""
    s = native.states(np.random.default_rng(9), 8, "int")
    s["fcw"] = 0x37F & ~1
    s["fsw"] |= 0x8081
    picked = [c.text for c in CASES if "mmx" in c.row.attrs] + ["maskmovq mm0, mm1"]
    check(batch, picked, lambda t: s.copy())


@pytest.mark.parametrize(("text", "power"), [("rcpps xmm0, xmm1", -1.0), ("rsqrtps xmm0, xmm1", -0.5)])
def test_approximations(batch: Any, text: str, power: float) -> None:
    """Within 1.5 * 2^-12 of the quotient or root, powers of four exact; no flags."""
    by_text, b = batch
    rng = np.random.default_rng(10)
    s = native.states(rng, 4000, "ps")
    v = rng.integers(0x01000000, 0x7E000000, (4000, 4)).astype("u4")
    v[:60, 0] = [0x01000000 + (k << 24) for k in range(60)]
    s["xmm"][:, 1] = v.view("u1")
    out = b.guest(by_text[text], s)
    x = v.view("f4").astype("f8") ** power
    y = np.ascontiguousarray(out["out_xmm"][:, 0]).view("f4")
    assert np.abs(y / x - 1).max() <= 1.5 * 2.0 ** -12
    exact = v[:, 0] & 0x7FFFFF == 0 if power == -1 else v[:, 0] & 0xFFFFFF == 0x800000
    assert (y[exact, 0] == x[exact, 0]).all()
    assert (out["out_mxcsr"] == 0x1F80).all()


@pytest.mark.parametrize("name", ["rcpps xmm0, xmm1", "rsqrtps xmm0, xmm1", "rcpss xmm0, xmm1", "rsqrtss xmm0, [rsi]"])
def test_approximation_specials(batch: Any, name: str) -> None:
    """Zeros, infinities, NaNs, denormals and negative numbers: as the host."""
    by_text, b = batch
    special = np.array([0, 1 << 31, 1, 0x80000001, 0x7FFFFF, 0x7F800000, 0xFF800000, 0x7FC12345, 0xFF812345, 0x7F7FFFFF], "u4")
    s = native.states(np.random.default_rng(11), len(special), "ps")
    s["xmm"][:, 1] = np.repeat(special[:, None], 4, axis=1).view("u1")
    s["mem"][:, :16] = s["xmm"][:, 1]
    assert not b.differences(by_text[name], s)
