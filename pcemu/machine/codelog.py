"""-d op and out_asm: blocks as they are translated, and the host code as they are compiled."""

from __future__ import annotations

from typing import Any

from pcemu.debug import hostcode
from pcemu.debug.log import Log


def log_code(cpu: Any, log: Log) -> None:
    """Have the core tell of blocks. With them in_asm is the instructions of each block, once it is translated."""
    ops, out = bool(log.items & {"op", "in_asm"}), "out_asm" in log.items
    handlers = "op" in log.items

    def made(kind: str, pc: int, *facts: Any) -> None:
        if not log.covers(pc):
            return
        if kind == "op":
            bits, code, found = facts
            lines = [f"{'OP' if handlers else 'IN'}: {pc:#x}", *hostcode.ops(pc, code, bits, found if handlers else _bare(found))]
        else:
            count, address, code = facts
            lines = [f"OUT: {pc:#x} [instructions={count} size={len(code)}]", *hostcode.host(address, code, _fields())]
        log.write("----------------\n" + "".join(line.rstrip() + "\n" for line in lines))

    cpu.code_hook = made
    cpu.log_code(ops, out)


def _bare(found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    return [(pc, length, "") for pc, length, _ in found]


def _fields() -> dict[int, str]:
    import importlib

    fields: dict[int, str] = importlib.import_module("pcemu._core.jit").FIELDS
    return fields
