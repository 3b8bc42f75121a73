"""YMM operands, masked moves and gathers in devices and across page boundaries: each device access once, a fault leaves nothing
half done but what a gather may."""
from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import sse_native as native
from .test_sse_memory import ABSENT, DEVICE, Device

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the snippets' rig is for x86-64 hosts")

TEXTS = ["vmovups [rax], ymm0", "vmovaps [rax], ymm0", "vmovups ymm2, [rax]", "vpaddb ymm2, ymm3, [rax]", "vaddps ymm2, ymm3, [rax]",
         "vextractf128 [rax], ymm0, 1", "vcvtps2ph [rax], ymm0, 0", "vbroadcastss ymm2, [rax]", "vmaskmovps [rax], ymm1, ymm0",
         "vpmaskmovq [rax], ymm1, ymm0", "vmaskmovps ymm2, ymm1, [rax]", "vpgatherdd ymm2, [rax + ymm4 * 4], ymm1",
         "mov rdi, rax; mov eax, 7; xsave [rdi]", "vfmadd231ps ymm2, ymm3, [rax]"]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], Any, Device]]:
    b = native.Batch(TEXTS, Path(tmp_path_factory.mktemp("avxmem")), avx=True)
    device = Device()
    b.memory.set_map([(0, native.RAM, "ram", b.ram, 0), (DEVICE, 0x200000, "mmio", device, 0)])
    b.memory.write(0x5000 + 8 * (DEVICE >> 21), (DEVICE | 0x83).to_bytes(8, "little"))
    yield {s.text: s for s in b.snippets}, b, device


def run(rig: Any, text: str, address: int, mask: list[int] | None = None, index: list[int] | None = None, kind: str = "int") -> Any:
    """mask: eight 32-bit elements, for ymm1; index: the same for ymm4."""
    by_text, b, device = rig
    device.log.clear()
    s = native.states(np.random.default_rng(1), 1, kind)
    s["gpr"][0, :3] = (address, 0, 0)
    for i, elements in ((1, mask), (4, index)):
        if elements is not None:
            v = np.array(elements, "u4").view("u1")
            s["xmm"][0, i], s["ymmh"][0, i] = v[:16], v[16:]
    return s[0], b.guest(by_text[text], s)[0]


def eights(kind: str, at: int, n: int) -> list[tuple[str, int, int]]:
    return [(kind, at + 8 * i, 8) for i in range(n)]


@pytest.mark.parametrize(("text", "address", "log"), [
    ("vmovups [rax], ymm0", DEVICE + 0x30, eights("w", 0x30, 4)),
    ("vmovaps [rax], ymm0", DEVICE + 0x40, eights("w", 0x40, 4)),
    ("vextractf128 [rax], ymm0, 1", DEVICE + 0x40, eights("w", 0x40, 2)),
    ("vcvtps2ph [rax], ymm0, 0", DEVICE + 0x40, eights("w", 0x40, 2)),
    ("vpaddb ymm2, ymm3, [rax]", DEVICE + 0x20, eights("r", 0x20, 4)),
    ("vaddps ymm2, ymm3, [rax]", DEVICE + 0x20, eights("r", 0x20, 4)),
    ("vfmadd231ps ymm2, ymm3, [rax]", DEVICE + 0x20, eights("r", 0x20, 4)),
    ("vbroadcastss ymm2, [rax]", DEVICE + 0x24, [("r", 0x24, 4)]),
])
def test_device_access_once(rig: Any, text: str, address: int, log: list[tuple[str, int, int]]) -> None:
    _, out = run(rig, text, address)
    assert out["fault"] == 0 and rig[2].log == log


def test_device_load(rig: Any) -> None:
    """Bytes arrive in order, over a page boundary too."""
    _, out = run(rig, "vmovups ymm2, [rax]", DEVICE + 0xFF1)
    got = bytes(out["out_xmm"][2]) + bytes(out["out_ymmh"][2])
    assert got == bytes((0xFF1 + i) & 0xFF for i in range(32))
    assert sum(size for _, _, size in rig[2].log) == 32


ON, OFF = 0x80000000, 0x7FFFFFFF


def test_masked_moves_and_a_device(rig: Any) -> None:
    """Only the chosen elements are accessed."""
    mask = [ON, OFF, OFF, ON, OFF, OFF, OFF, ON]
    _, out = run(rig, "vmaskmovps [rax], ymm1, ymm0", DEVICE + 0x100, mask)
    assert out["fault"] == 0 and rig[2].log == [("w", 0x100, 4), ("w", 0x10C, 4), ("w", 0x11C, 4)]
    _, out = run(rig, "vmaskmovps ymm2, ymm1, [rax]", DEVICE + 0x100, mask)
    assert out["fault"] == 0 and rig[2].log == [("r", 0x100, 4), ("r", 0x10C, 4), ("r", 0x11C, 4)]
    assert bytes(out["out_xmm"][2]) == bytes([0, 1, 2, 3, *[0] * 8, 0xC, 0xD, 0xE, 0xF])
    _, out = run(rig, "vpmaskmovq [rax], ymm1, ymm0", DEVICE + 0x100, mask)
    assert out["fault"] == 0 and rig[2].log == [("w", 0x108, 8), ("w", 0x118, 8)]


def test_gather_from_a_device(rig: Any) -> None:
    _, out = run(rig, "vpgatherdd ymm2, [rax + ymm4 * 4], ymm1", DEVICE + 0x100, [ON, OFF, ON, OFF, OFF, OFF, OFF, OFF], [3, 0, 1, 0, 0, 0, 0, 0])
    assert out["fault"] == 0 and rig[2].log == [("r", 0x10C, 4), ("r", 0x104, 4)]
    assert bytes(out["out_xmm"][2])[:4] == b"\x0c\x0d\x0e\x0f" and not out["out_xmm"][1].any() and not out["out_ymmh"][1].any()


@pytest.mark.parametrize(("text", "address"), [
    ("vmovups [rax], ymm0", ABSENT - 8), ("vmovups [rax], ymm0", ABSENT - 24), ("vextractf128 [rax], ymm0, 1", ABSENT - 8),
    ("vcvtps2ph [rax], ymm0, 0", ABSENT - 8),
    ("mov rdi, rax; mov eax, 7; xsave [rdi]", ABSENT - 576), ("mov rdi, rax; mov eax, 7; xsave [rdi]", ABSENT - 768)])
def test_store_over_the_edge(rig: Any, text: str, address: int) -> None:
    """The second page is not there: #PF at its start, the first page as it was, no flag raised."""
    _, b, _ = rig
    before = bytes(range(256)) * 4
    b.memory.write(ABSENT - 1024, before)
    _, out = run(rig, text, address, kind="ps")
    assert out["fault"] == 14 and b.cpu.get("cr2") == ABSENT
    assert b.memory.read(ABSENT - 1024, 1024) == before and out["out_mxcsr"] == 0x1F80


def test_masked_moves_at_the_edge(rig: Any) -> None:
    """Only the pages of the chosen elements matter; if one is missing nothing is written."""
    _, b, _ = rig
    for text in ("vmaskmovps [rax], ymm1, ymm0", "vmaskmovps ymm2, ymm1, [rax]"):
        b.memory.write(ABSENT - 64, bytes(64))
        s, out = run(rig, text, ABSENT - 8, [ON, ON, OFF, OFF, OFF, OFF, OFF, OFF])
        assert out["fault"] == 0
        assert b.memory.read(ABSENT - 8, 8) == (bytes(s["xmm"][0][:8]) if text.endswith("ymm0") else bytes(8))
        b.memory.write(ABSENT - 64, bytes(64))
        s, out = run(rig, text, ABSENT - 8, [ON, ON, ON, OFF, OFF, OFF, OFF, OFF])
        assert out["fault"] == 14 and b.cpu.get("cr2") == ABSENT and b.memory.read(ABSENT - 8, 8) == bytes(8)
        assert (out["out_xmm"][2] == s["xmm"][2]).all()


def test_gather_goes_on_after_a_fault(rig: Any) -> None:
    """Elements before the fault are in the destination, their masks cleared; the others are as they were."""
    _, b, _ = rig
    b.memory.write(ABSENT - 16, bytes(range(0x10, 0x20)))
    s, out = run(rig, "vpgatherdd ymm2, [rax + ymm4 * 4], ymm1", ABSENT - 16, [ON, OFF, ON, ON, ON, OFF, OFF, ON], [3, 9, 0, 4, 1, 9, 9, 2])
    assert out["fault"] == 14 and b.cpu.get("cr2") == ABSENT
    got, old = (np.ascontiguousarray(v["out_xmm" if v is out else "xmm"][2]).view("u4") for v in (out, s))
    assert got.tolist() == [0x1F1E1D1C, old[1], 0x13121110, old[3]]
    assert (out["out_ymmh"][2] == s["ymmh"][2]).all()
    mask = np.concatenate([out["out_xmm"][1], out["out_ymmh"][1]]).view("u4")
    assert mask.tolist() == [0, 0, 0, ON, ON, OFF, OFF, ON]
