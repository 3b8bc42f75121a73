"""Reader of MOO files, the container of the hardware-made single-step vectors (https://github.com/dbalsom/moo, version 1.1).

A file is chunks: four letters, a 32-bit length, the payload. ``TEST`` holds the state before (``INIT``) and what an instruction
changed in it (``FINA``); cycles, queues and effective addresses are not read.
"""
from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REGS16 = ("ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags")
REGS32 = ("cr0", "cr3", "eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp", "cs", "ds", "es", "fs", "gs", "ss", "eip",
          "eflags", "dr6", "dr7")
WIDE = {"ax": "eax", "bx": "ebx", "cx": "ecx", "dx": "edx", "sp": "esp", "bp": "ebp", "si": "esi", "di": "edi", "ip": "eip",
        "flags": "eflags"}


@dataclass
class Vector:
    """One instruction: its bytes (with the HLT that ends it), the state before, and what is different after."""
    index: int = 0
    name: str = ""
    code: bytes = b""
    regs: dict[str, int] = field(default_factory=dict)          # by their 32-bit names
    ram: list[tuple[int, int]] = field(default_factory=list)
    regs_after: dict[str, int] = field(default_factory=dict)
    ram_after: list[tuple[int, int]] = field(default_factory=list)
    exception: int | None = None
    flags_at: int = 0                                           # where that exception pushed the flags
    hash: str = ""


def _chunks(data: bytes, pos: int, end: int) -> Iterator[tuple[str, int, int]]:
    while pos + 8 <= end:
        n = int.from_bytes(data[pos + 4:pos + 8], "little")
        yield data[pos:pos + 4].decode("latin-1"), pos + 8, n
        pos += 8 + n


def _regs(data: bytes, pos: int, wide: bool) -> dict[str, int]:
    names, size, code = (REGS32, 4, "I") if wide else (REGS16, 2, "H")
    mask = int.from_bytes(data[pos:pos + size], "little")
    present = [n for i, n in enumerate(names) if mask >> i & 1]
    values = struct.unpack_from(f"<{len(present)}{code}", data, pos + size)
    return {WIDE.get(n, n): v for n, v in zip(present, values, strict=True)}


def _state(data: bytes, pos: int, n: int) -> tuple[dict[str, int], list[tuple[int, int]]]:
    regs: dict[str, int] = {}
    ram: list[tuple[int, int]] = []
    for tag, at, _ in _chunks(data, pos, pos + n):
        if tag in ("REGS", "RG32"):
            regs = _regs(data, at, tag == "RG32")
        elif tag == "RAM ":
            count = int.from_bytes(data[at:at + 4], "little")
            ram = list(struct.iter_unpack("<IB", data[at + 4:at + 4 + 5 * count]))
    return regs, ram


def _vector(data: bytes, pos: int, n: int) -> Vector:
    v = Vector(index=int.from_bytes(data[pos:pos + 4], "little"))
    for tag, at, size in _chunks(data, pos + 4, pos + n):
        if tag in ("NAME", "BYTS"):
            count = int.from_bytes(data[at:at + 4], "little")
            raw = data[at + 4:at + 4 + count]
            if tag == "NAME":
                v.name = raw.decode("latin-1")
            else:
                v.code = raw
        elif tag == "INIT":
            v.regs, v.ram = _state(data, at, size)
        elif tag == "FINA":
            v.regs_after, v.ram_after = _state(data, at, size)
        elif tag == "EXCP":
            v.exception, v.flags_at = data[at], int.from_bytes(data[at + 1:at + 5], "little")
        elif tag == "HASH":
            v.hash = data[at:at + size].hex()
    return v


def _from_json(t: dict[str, Any]) -> Vector:
    before, after, exc = t["initial"], t["final"], t.get("exception")

    def regs(d: dict[str, int]) -> dict[str, int]:
        return {WIDE.get(n, n): x for n, x in d.items()}

    return Vector(t.get("idx", 0), t.get("name", ""), bytes(t["bytes"]), regs(before["regs"]), [(a, b) for a, b in before["ram"]],
                  regs(after["regs"]), [(a, b) for a, b in after["ram"]], exc["number"] if exc else None,
                  exc["flag_address"] if exc else 0, t.get("hash", ""))


def read(path: Path, limit: int = 0) -> tuple[str, int, Iterator[Vector]]:
    """CPU id, how many vectors a .MOO or .json file (either perhaps .gz) has, and these: all, or `limit` spread over the file."""
    data = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        data = gzip.decompress(data)
    if data[:4] != b"MOO ":
        tests = json.loads(data)
        return "json", len(tests), (_from_json(t) for t in tests[::_stride(len(tests), limit)])
    cpu, where = "", []
    for tag, at, n in _chunks(data, 0, len(data)):
        if tag == "MOO ":
            cpu = data[at + 8:at + 12].decode("latin-1").strip()
        elif tag == "TEST":
            where.append((at, n))
    return cpu, len(where), (_vector(data, at, n) for at, n in where[::_stride(len(where), limit)])


def _stride(count: int, limit: int) -> int:
    return -(-count // limit) if limit and count else 1
