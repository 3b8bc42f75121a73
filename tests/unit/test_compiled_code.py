"""Compiled code at its limits: what does not fit is left to the interpreter, and comes out the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SNIPPET = Path(__file__).resolve().parents[2] / "docs" / "examples" / "snippet.py"


@pytest.fixture(scope="module")
def snippet() -> Any:
    spec = importlib.util.spec_from_file_location("snippet", SNIPPET)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(snippet: Any, code: bytes, heat: int) -> tuple[dict[str, int], dict[str, int]]:
    memory, cpu = snippet.make(code, "max")
    memory.st(snippet.DATA, 4, 3)
    cpu.set("fs", 16)
    for name, value in (("fs_base", 0), ("fs_limit", 0xFFFFFFFF), ("fs_attr", 0xCF9300)):
        cpu.set(name, value)
    if heat and not cpu.enable_jit(size=1 << 20, heat=heat):
        pytest.skip("no compiled code on this host")
    assert cpu.run(1_000_000) == "halted"
    return {name: cpu.get(name) for name in (*snippet.REGISTERS, "eflags")} | {"icount": cpu.icount}, cpu.stats()


@pytest.mark.parametrize("blocks", [1, 2, 9])
@pytest.mark.parametrize("insns", [
    "inc esi; mov edx, 0; div dword ptr fs:[ebx]; mov eax, ecx",            # out of line: six stubs for each division,
    "inc esi; ror eax, 3; mov edi, fs:[ebx]; adc edi, fs:[ebx+4]",          # flags of two instructions in each of them,
    "addps xmm0, xmm1; mulps xmm2, xmm3; subps xmm4, xmm5; mov edi, fs:[ebx]",      # vector registers to save and restore
])
def test_long_blocks_with_much_out_of_line(snippet: Any, insns: str, blocks: int) -> None:
    one = "; ".join([insns] * 15)
    body = "; ".join(f"{one}; jc 2f; jmp 3{n % 10}f; 3{n % 10}: " for n in range(blocks))
    code = snippet.assemble(f"mov ecx, 60; 1: {body}; 2: dec ecx; jnz 1b")
    plain, _ = run(snippet, code, 0)
    compiled, stats = run(snippet, code, 2)
    assert compiled == plain
    assert stats["compiled"]
    assert stats["compiled_bytes"] < 1 << 20


def test_what_compiled_code_retires_is_counted(snippet: Any) -> None:
    """A loop of five instructions whose load finds RAM 64 times, then a device, which takes it out of compiled code."""
    code = snippet.assemble("mov ecx, 100; 1: inc esi; mov eax, [edi]; add edi, 0x400; dec ecx; jnz 1b")
    _, stats = run(snippet, code, 2)
    # two rounds before it is compiled; then whole rounds; then one instruction before the load, and the three after it (but once)
    assert stats["compiled_retired"] == 62 * 5 + 36 + 35 * 3
