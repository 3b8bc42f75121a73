"""Vector operands in devices and across page boundaries: each device access happens once, a fault leaves nothing half done."""
from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import sse_native as native

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the snippets' rig is for x86-64 hosts")

ABSENT = native.RAM                     # the page behind RAM is not present
DEVICE = native.RAM + 0x200000          # a device of 2 MiB, and nothing behind it
TEXTS = ["movups [rax], xmm0", "movaps [rax], xmm0", "movss [rax], xmm0", "movhps [rax], xmm0", "movq [rax], mm0",
         "movups xmm2, [rax]", "paddb xmm2, [rax]", "addps xmm2, [rax]", "cvtps2pd xmm2, [rax]", "fxsave [rax]", "fxrstor [rax]",
         "xsave [rax]", "mov rdi, rax; maskmovdqu xmm0, xmm1", "pinsrw xmm2, [rax], 1", "stmxcsr [rax]"]


class Device:
    """Answers with the offset in every byte, and keeps a log."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int, int]] = []

    def read(self, offset: int, size: int) -> int:
        self.log.append(("r", offset, size))
        return int.from_bytes(bytes((offset + i) & 0xFF for i in range(size)), "little")

    def write(self, offset: int, size: int, value: int) -> None:
        self.log.append(("w", offset, size))
        assert 0 <= value < 1 << 8 * size


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], Any, Device]]:
    b = native.Batch(TEXTS, Path(tmp_path_factory.mktemp("ssemem")))
    device = Device()
    b.memory.set_map([(0, native.RAM, "ram", b.ram, 0), (DEVICE, 0x200000, "mmio", device, 0)])
    b.memory.write(0x5000 + 8 * (DEVICE >> 21), (DEVICE | 0x83).to_bytes(8, "little"))
    b.cpu.set("xcr0", 3)
    yield {s.text: s for s in b.snippets}, b, device


def run(rig: Any, text: str, address: int, mask: bytes = b"") -> Any:
    by_text, b, device = rig
    device.log.clear()
    s = native.states(np.random.default_rng(1), 1, "int")
    s["gpr"][0, :3] = (address, 0, 0)
    if mask:
        s["xmm"][0, 1] = np.frombuffer(mask, "u1")
    return s[0], b.guest(by_text[text], s)[0]


@pytest.mark.parametrize(("text", "address", "log"), [
    ("movups [rax], xmm0", DEVICE + 0x30, [("w", 0x30, 8), ("w", 0x38, 8)]),
    ("movaps [rax], xmm0", DEVICE + 0x40, [("w", 0x40, 8), ("w", 0x48, 8)]),
    ("movss [rax], xmm0", DEVICE + 0x44, [("w", 0x44, 4)]),
    ("movhps [rax], xmm0", DEVICE + 8, [("w", 8, 8)]),
    ("movq [rax], mm0", DEVICE + 16, [("w", 16, 8)]),
    ("stmxcsr [rax]", DEVICE + 4, [("w", 4, 4)]),
    ("paddb xmm2, [rax]", DEVICE + 0x20, [("r", 0x20, 8), ("r", 0x28, 8)]),
    ("cvtps2pd xmm2, [rax]", DEVICE + 0x20, [("r", 0x20, 8)]),
    ("pinsrw xmm2, [rax], 1", DEVICE + 0x1000, [("r", 0x1000, 2)]),
])
def test_device_access_once(rig: Any, text: str, address: int, log: list[tuple[str, int, int]]) -> None:
    _, out = run(rig, text, address)
    assert out["fault"] == 0 and rig[2].log == log


def test_device_load(rig: Any) -> None:
    """Bytes arrive in order, over a page boundary too."""
    _, out = run(rig, "movups xmm2, [rax]", DEVICE + 0xFF9)
    assert bytes(out["out_xmm"][2]) == bytes((0xFF9 + i) & 0xFF for i in range(16))
    assert sum(size for _, _, size in rig[2].log) == 16


def test_masked_store_to_device(rig: Any) -> None:
    mask = bytes([0x80, 0, 0, 0xFF, *[0] * 12])
    _, out = run(rig, "mov rdi, rax; maskmovdqu xmm0, xmm1", DEVICE + 0x100, mask)
    assert out["fault"] == 0 and rig[2].log == [("w", 0x100, 1), ("w", 0x103, 1)]


@pytest.mark.parametrize(("text", "address"), [
    ("movups [rax], xmm0", ABSENT - 8), ("fxsave [rax]", ABSENT - 256), ("xsave [rax]", ABSENT - 64),
    ("xsave [rax]", ABSENT - 512)])
def test_store_over_the_edge(rig: Any, text: str, address: int) -> None:
    """The second page is not there: #PF at its start, the first page as it was."""
    _, b, _ = rig
    before = bytes(range(256)) * 4
    b.memory.write(ABSENT - 1024, before)
    _, out = run(rig, text, address)
    assert out["fault"] == 14 and b.cpu.get("cr2") == ABSENT
    assert b.memory.read(ABSENT - 1024, 1024) == before


def test_device_store_over_the_edge(rig: Any) -> None:
    """Nothing reaches the device when the rest of the operand faults."""
    _, out = run(rig, "movups [rax], xmm0", DEVICE + 0x200000 - 8)
    assert out["fault"] == 14 and rig[2].log == []
    _, out = run(rig, "fxsave [rax]", DEVICE + 0x200000 - 256)
    assert out["fault"] == 14 and rig[2].log == []


def test_masked_store_over_the_edge(rig: Any) -> None:
    """Only the pages of the chosen bytes matter; if one is missing nothing is written."""
    _, b, _ = rig
    text = "mov rdi, rax; maskmovdqu xmm0, xmm1"
    b.memory.write(ABSENT - 16, bytes(16))
    s, out = run(rig, text, ABSENT - 8, bytes([0x80] * 8 + [0] * 8))
    assert out["fault"] == 0 and b.memory.read(ABSENT - 8, 8) == bytes(s["xmm"][0][:8])
    b.memory.write(ABSENT - 16, bytes(16))
    _, out = run(rig, text, ABSENT - 8, bytes([0x80] * 9 + [0] * 7))
    assert out["fault"] == 14 and b.memory.read(ABSENT - 16, 16) == bytes(16)


def test_restore_over_the_edge(rig: Any) -> None:
    """FXRSTOR that faults changes no register."""
    s, out = run(rig, "fxrstor [rax]", ABSENT - 256)
    assert out["fault"] == 14
    assert (out["out_xmm"] == s["xmm"]).all() and out["out_mxcsr"] == s["mxcsr"] and out["out_fcw"] == s["fcw"]
