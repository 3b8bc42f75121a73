"""FXSAVE, XSAVE and their kin against the host: images, headers, faults; and what the host cannot show."""
from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from . import sse_native as native

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="compares with the host's instructions")

N = 400
AVX = "avx" in native.host_flags()
ALL = 7 if AVX else 3                   # what the host's XCR0 has, as far as the emulated CPU knows it
SAVES = ["fxsave [rsi + 128]", "fxsave64 [rsi + 128]", "xsave [rsi + 128]", "xsave64 [rsi + 128]", "xsavec [rsi + 128]",
         "xsavec64 [rsi + 128]"]
RESTORES = ["fxrstor [rsi + 128]", "fxrstor64 [rsi + 128]", "xrstor [rsi + 128]", "xrstor64 [rsi + 128]"]
MISALIGNED = ["fxsave [rsi + 136]", "fxrstor [rsi + 136]", "xsave [rsi + 144]", "xrstor [rsi + 144]"]
GUEST_ONLY = ["xsaveopt [rsi + 128]", "xgetbv", "xsetbv"]
COMPACT = 1 << 63
# FOP, FIP and FDP (AMD processors save them only with an exception pending), MXCSR_MASK
VARY = np.r_[6:24, 28:32]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    b = native.Batch(["nop", *SAVES, *RESTORES, *MISALIGNED, *GUEST_ONLY], Path(tmp_path_factory.mktemp("xsave")), avx=AVX)
    b.cpu.set("xcr0", ALL)
    yield {s.text: s for s in b.snippets}, b


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Without AVX state around the snippet: for what changes XCR0 and CR4."""
    b = native.Batch(["nop", "xsave64 [rsi + 128]", "xrstor64 [rsi + 128]", *GUEST_ONLY], Path(tmp_path_factory.mktemp("plain")))
    b.cpu.set("xcr0", 3)
    yield {s.text: s for s in b.snippets}, b


def make(text: str, seed: int) -> NDArray[Any]:
    """Random x87 state and area; for a restore a plausible image with an occasional fault in it."""
    rng = np.random.default_rng(seed)
    s = native.states(rng, N, "int")
    s["image"][:, :24] = rng.integers(0, 256, (N, 24))
    s["area"] = rng.integers(0, 256, s["area"].shape)
    s["gpr"][:, 0] = rng.integers(0, ALL + 1, N)
    s["gpr"][:, 2] = 0
    if "rstor" in text:
        mx = s["area"][:, 24:28].copy().view("u4") & 0xFFFF
        mx[rng.integers(0, 8, N) == 0] |= 1 << 19
        s["area"][:, 24:28] = mx.view("u1")
        header = np.zeros((N, 8), "u8")
        header[:, 0] = rng.integers(0, ALL + 1, N)
        compact = rng.integers(0, 2, N) == 1
        header[compact, 1] = np.uint64(COMPACT) | rng.integers(0, ALL + 1, compact.sum()).astype("u8")
        for word in range(8):
            wrong = rng.integers(0, 30, N) == 0
            header[wrong, word] |= np.uint64(1) << rng.choice(np.array([40, 62, 63], "u8"), wrong.sum())
        s["area"][:, 512:576] = header.view("u1")
    return s


@pytest.mark.parametrize("text", ["nop", *SAVES, *RESTORES, *MISALIGNED])
def test_against_host(batch: Any, text: str) -> None:
    by_text, b = batch
    s = make(text, 1)
    host, guest = b.host(by_text[text], s), b.guest(by_text[text], s)
    assert (host["fault"] == guest["fault"]).all()
    assert (host["out_ymmh"] == guest["out_ymmh"]).all()
    for field in ("out_image", "area"):
        x, y = np.delete(host[field], VARY, axis=1), np.delete(guest[field], VARY, axis=1)
        wrong = np.nonzero((x != y).any(axis=1))[0]
        assert not len(wrong), (field, len(wrong), np.nonzero(x[wrong[0]] != y[wrong[0]])[0])


def test_pointers_come_back(batch: Any) -> None:
    """FIP, FDP and FOP survive FXRSTOR and FXSAVE in both widths."""
    by_text, b = batch
    s = make("nop", 2)
    out = b.guest(by_text["nop"], s)
    assert (out["out_image"][:, 8:24] == s["image"][:, 8:24]).all()
    assert (out["out_image"][:, 6] == s["image"][:, 6]).all() and (out["out_image"][:, 7] == s["image"][:, 7] & 7).all()
    out = b.guest(by_text["fxsave [rsi + 128]"], s)
    assert (out["area"][:, 8:12] == s["image"][:, 8:12]).all() and (out["area"][:, 16:20] == s["image"][:, 16:20]).all()
    assert not out["area"][:, 12:16].any()


def test_xsaveopt_leaves_initial_components(plain: Any) -> None:
    """XSAVEOPT writes what is in use; MXCSR and XSTATE_BV in any case."""
    by_text, b = plain
    s = make("xsaveopt", 3)
    s["gpr"][:, 0] = 3
    s["xmm"][::2] = 0
    out = b.guest(by_text["xsaveopt [rsi + 128]"], s)
    assert (out["area"][::2, 160:416] == s["area"][::2, 160:416]).all()
    assert (out["area"][1::2, 160:416] == s["xmm"][1::2].reshape(-1, 256)).all()
    assert ((out["area"][:, 512] & 3) == np.where(np.arange(N) % 2, 3, 1)).all()
    assert (out["area"][:, 24:28].copy().view("u4")[:, 0] == s["mxcsr"]).all()


@pytest.mark.parametrize(("ecx", "value", "fault"), [(0, 1, 0), (0, 3, 0), (0, 0, 13), (0, 2, 13), (0, 7, 0), (0, 5, 13), (0, 0x203, 13),
                                                     (1, 3, 13), (0, 1 << 63 | 3, 13)])
def test_xsetbv(plain: Any, ecx: int, value: int, fault: int) -> None:
    """XCR0: x87 always there, AVX state only with SSE's, nothing the model lacks."""
    by_text, b = plain
    s = native.states(np.random.default_rng(4), 1, "int")
    s["gpr"][0, :3] = (value & 0xFFFFFFFF, ecx, value >> 32)
    out = b.guest(by_text["xsetbv"], s)
    assert out["fault"][0] == fault
    assert b.cpu.get("xcr0") == (3 if fault else value)
    b.cpu.set("xcr0", 3)


def test_xgetbv(plain: Any) -> None:
    """ECX 0: XCR0. ECX 1: those of its components that are not in their initial state. Else #GP."""
    by_text, b = plain
    s = native.states(np.random.default_rng(5), 4, "int")
    s["gpr"][:, 1] = (0, 1, 1, 2)
    s["xmm"][2] = 0
    out = b.guest(by_text["xgetbv"], s)
    assert out["fault"].tolist() == [0, 0, 0, 13]
    assert out["out_gpr"][:3, 0].tolist() == [3, 3, 1]


def test_needs_osxsave(plain: Any) -> None:
    """#UD without CR4.OSXSAVE."""
    by_text, b = plain
    old = b.cpu.get("cr4")
    b.cpu.set("cr4", old & ~(1 << 18))
    try:
        for text in ("xsave64 [rsi + 128]", "xrstor64 [rsi + 128]", "xgetbv", "xsetbv"):
            out = b.guest(by_text[text], native.states(np.random.default_rng(6), 1, "int"))
            assert out["fault"][0] == 6, text
    finally:
        b.cpu.set("cr4", old)
