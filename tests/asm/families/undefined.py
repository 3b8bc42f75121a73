"""Opcodes that exist in some modes only, where they do not: #UD."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import LEGACY, Case, Fault

V86 = ("real", "vm86")
LONG = ("long64",)
MODRM = "C3"

NOT_IN_64_BIT_MODE = """06 0E 16 1E 07 17 1F 27 2F 37 3F 60 61 9A000000000000 EA000000000000 CE D40A D50A D6
    82C000 82C800 82D000 82D800 82E000 82E800 82F000 82F800""".split()
NOT_IN_REAL_MODE = "0F00C3 0F00CB 0F00D3 0F00DB 0F00E3 0F00EB 0F02C3 0F03C3 63C3".split()
ONLY_IN_64_BIT_MODE = "0F01F8 F30FAEC3 F30FAECB F30FAED3 F30FAEDB".split()


def cases() -> Iterator[Case]:
    for codes, modes in ((NOT_IN_64_BIT_MODE, LONG), (NOT_IN_REAL_MODE, V86), (ONLY_IN_64_BIT_MODE, LEGACY)):
        for code in codes:
            data = ",".join(f"0x{b:02x}" for b in bytes.fromhex(code))
            yield Case(f"{code} is undefined", f".byte {data}", modes, fault=Fault(6), twin="mode")
