"""-d op and out_asm: blocks as they are translated and compiled."""
from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
import snippet

from pcemu.debug import hostcode
from pcemu.debug.log import Log
from pcemu.machine.codelog import log_code

LOOP = "mov ecx, 40; 1: add eax, [ebx]; dec ecx; jnz 1b"


def logged(items: str, ranges: tuple[tuple[int, int], ...] = ()) -> str:
    _, cpu = snippet.make(snippet.assemble(LOOP), "max")
    if not cpu.enable_jit(heat=4):
        pytest.skip("nothing is compiled on this host")
    lines: list[str] = []
    log = Log(frozenset(items.split(",")), lines.append)
    log.ranges = ranges
    log_code(cpu, log)
    assert cpu.run(10_000) == "halted"
    return "".join(lines)


def test_blocks_with_their_handlers_once_each() -> None:
    pytest.importorskip("capstone")
    text = logged("op")
    assert re.search(r"^OP: 0x1005\n0x00001005:  03 03 +addl +\(%ebx\), %eax +op_add_rm_32$", text, re.MULTILINE)
    assert text.count("OP: 0x1005") == 1
    assert "OUT" not in text


def test_host_code_with_the_names_of_fields() -> None:
    pytest.importorskip("capstone")
    text = logged("out_asm")
    found = re.search(r"^OUT: 0x1005 \[instructions=(\d+) size=(\d+)\]\n0x[0-9a-f]+: sub +qword ptr \[budget\], ", text, re.M)
    assert found and int(found[1]) >= 3
    assert "OP:" not in text


def test_only_what_dfilter_covers() -> None:
    assert logged("op,out_asm", ranges=((0x1000, 0x1004),)).count("-" * 16) == 1
    assert logged("op,out_asm", ranges=((0x3000, 0x3FFF),)) == ""


def test_in_asm_beside_them_is_blocks() -> None:
    pytest.importorskip("capstone")
    text = logged("in_asm,out_asm")
    assert text.index("IN: 0x1005") < text.index("OUT: 0x1005")
    assert "op_add" not in text


def test_without_capstone_bytes_and_one_warning(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = importlib.import_module

    def missing(name: str, *rest: Any) -> Any:
        if name == "capstone":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    monkeypatch.setattr(hostcode, "_warned", False)
    assert list(hostcode.host(0x1000, bytes(range(20)), {})) == [
        "0x1000: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f", "0x1010: 10 11 12 13"]
    list(hostcode.host(0, b"\x90", {}))
    assert capsys.readouterr().err.count("capstone") == 1
