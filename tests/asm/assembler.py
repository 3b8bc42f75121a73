"""Many snippets through one run of GNU as."""
from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path


def _sections(elf: bytes) -> dict[str, bytes]:
    """Contents of an ELF64 object's sections by name."""
    shoff, = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    heads = [struct.unpack_from("<IIQQQQ", elf, shoff + i * size) for i in range(count)]
    base = heads[names][4]
    out = {}
    for name, _type, _flags, _addr, offset, length in heads:
        end = elf.index(b"\0", base + name)
        out[elf[base + name:end].decode()] = elf[offset:offset + length]
    return out


class AsmError(Exception):
    """What as said, with the snippets it was about."""


def assemble(snippets: Sequence[tuple[int, str]]) -> list[bytes]:
    """Machine code of (bits, text) pairs. Labels are best numeric (`1:`, `1b`): all snippets share one name space."""
    lines: list[str] = [".intel_syntax noprefix"]
    owner: list[int] = [0]
    for i, (bits, text) in enumerate(snippets):
        part = [f".code{bits}", f".Ls{i}:", *text.splitlines(), f".Le{i}:", ".section .index,\"\"", f".long .Ls{i}-.Ls0, .Le{i}-.Ls0",
                ".text"]
        lines += part
        owner += [i] * len(part)
    with tempfile.TemporaryDirectory() as d:
        obj = Path(d, "t.o")
        r = subprocess.run(["as", "--64", "-o", str(obj), "-"], input="\n".join(lines) + "\n", capture_output=True, text=True)
        if r.returncode or not obj.exists():
            out = []
            for m in list(re.finditer(r"^\{?.*?:(\d+): (Error: .*)$", r.stderr, re.M))[:20]:
                i = owner[int(m.group(1)) - 1]
                out.append(f"{m.group(2)} in {snippets[i][1].strip()!r} (.code{snippets[i][0]})")
            raise AsmError("\n".join(out) or r.stderr)
        sections = _sections(obj.read_bytes())
    at = list(struct.iter_unpack("<II", sections.get(".index", b"")))
    for offset, _info, _addend in struct.iter_unpack("<QQq", sections.get(".rela.text", b"")):
        i = next(i for i, (a, b) in enumerate(at) if a <= offset < b)
        raise AsmError(f"a symbol in {snippets[i][1]!r}; use numeric labels and %{{..}}")
    return [sections[".text"][a:b] for a, b in at]
