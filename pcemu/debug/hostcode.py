"""What the compiler does, as text: guest instructions with their handlers, and the host code made of them (capstone)."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from .disasm import disassemble

_warned = False


def ops(pc: int, code: bytes, bits: int, found: Iterable[tuple[int, int, str]]) -> Iterator[str]:
    """A line an op: (pc, bytes long, handler); `code` are the block's bytes, the first one's address is `pc`."""
    for at, _length, handler in found:
        text = disassemble(lambda a, n: code[a - pc : a - pc + n] or None, at, 1, bits)
        first, *rest = text.splitlines()
        yield f"{first:<70} {handler}"
        yield from rest


def host(address: int, code: bytes, names: dict[int, str]) -> Iterator[str]:
    """Host instructions; what lies in the Cpu has its displacement's name (jit.FIELDS). Without capstone: bytes."""
    decoder = _capstone()
    if decoder is None:
        yield from (f"0x{address + i:x}: {code[i:i + 16].hex(' ')}" for i in range(0, len(code), 16))
        return
    at = 0
    while at < len(code):
        for _, size, mnemonic, operands in decoder.disasm_lite(code[at:], address + at):
            yield f"0x{address + at:x}: {mnemonic:<8} {_named(operands, names)}".rstrip()
            at += size
        if at < len(code):  # data between instructions
            yield f"0x{address + at:x}: .byte    0x{code[at]:02x}"
            at += 1


def _capstone() -> Any:
    global _warned
    try:
        capstone = importlib.import_module("capstone")
    except ImportError:
        if not _warned:
            _warned = True
            print("pcemu: warning: the Python package 'capstone' is not installed: code is shown as bytes", file=sys.stderr)
        return None
    return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


def _named(operands: str, names: dict[int, str]) -> str:
    def name(found: re.Match[str]) -> str:
        disp = int(found[2], 16) * (-1 if found[1] == "-" else 1)
        return f"[{names[disp]}]" if disp in names else found[0]

    return re.sub(r"\[r14 ([+-]) (0x[0-9a-f]+|\d+)\]", name, operands).replace("[r14]", f"[{names.get(0, 'r14')}]")
