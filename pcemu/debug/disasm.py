"""Disassembly as the monitor prints it: AT&T syntax, by capstone (imported when first needed)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

LONGEST = 15            # bytes of an x86 instruction
BYTES_A_LINE = 8


def disassemble(read: Callable[[int, int], bytes | None], addr: int, count: int, bits: int) -> str:
    """`count` instructions at `addr`. `read(addr, n)` returns None where memory cannot be read."""
    lines: list[str] = []
    try:
        for pc, code, text in _instructions(read, addr, count, bits):
            lines += _lines(pc, code, text)
    except _Unreadable as error:
        lines.append(f"0x{error.addr:08x}: unable to read memory")
    return "".join(line + "\n" for line in lines)


class _Unreadable(Exception):
    def __init__(self, addr: int) -> None:
        super().__init__(addr)
        self.addr = addr


def _instructions(read: Callable[[int, int], bytes | None], addr: int, count: int,
                  bits: int) -> Iterator[tuple[int, bytes, str]]:
    decoder = _decoder(bits)
    for _ in range(count):
        code = _fetch(read, addr)
        found = next(iter(decoder.disasm_lite(code, addr, 1)), None) if decoder is not None else None
        if found is None:
            yield addr, code[:1], f".byte    0x{code[0]:02x}"
            addr += 1
        else:
            _, size, mnemonic, operands = found
            yield addr, code[:size], f"{mnemonic:<8} {operands}"
            addr += size


def _decoder(bits: int) -> Any:
    """capstone's, or None: then bytes are all there is."""
    try:
        capstone = importlib.import_module("capstone")
    except ImportError:
        return None
    modes = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}
    decoder = capstone.Cs(capstone.CS_ARCH_X86, modes[bits])
    decoder.syntax = capstone.CS_OPT_SYNTAX_ATT
    return decoder


def _fetch(read: Callable[[int, int], bytes | None], addr: int) -> bytes:
    """As much of the next instruction as can be read."""
    code = read(addr, LONGEST)
    if code is None:        # the readable part may end inside these bytes
        code = b""
        while len(code) < LONGEST and (byte := read(addr + len(code), 1)) is not None:
            code += byte
    if not code:
        raise _Unreadable(addr)
    return code


def _lines(pc: int, code: bytes, text: str) -> Iterator[str]:
    for at in range(0, len(code), BYTES_A_LINE):
        part = "".join(f" {byte:02x}" for byte in code[at:at + BYTES_A_LINE])
        line = f"0x{pc + at:08x}: {part:<{3 * BYTES_A_LINE}}"
        yield f"{line}  {text}" if at == 0 else line.rstrip()
