"""The integer snippets of test_integer.py as 32-bit code, plus what only 32-bit code has, against the host in compatibility mode."""
from __future__ import annotations

import random
import re

import pytest

from .rig import differences, needs_x86_64
from .rig32 import assemble32, emulated32, native32
from .test_integer import GROUPS, fix_registers, random_machine, shift_mask

pytestmark = needs_x86_64

ONLY_64 = re.compile(r"\b(r\d+[bwd]?|r[abcd]x|r[sd]i|r[sb]p|sil|dil|bpl|spl|qword|movabs|cqo|cdqe|movsxd|cmpxchg16b|rip|pushfq"
                     r"|movsq|stosq|lodsq|scasq|cmpsq)\b")


def to_32(line: str) -> str | None:
    """The line with 32-bit addressing, or None when it needs 64-bit mode."""
    line = re.sub(r"\[[^]]*\]", lambda m: re.sub(r"\br([abcd]x|[sd]i|[sb]p)\b", r"e\1", m[0]), line)
    return None if ONLY_64.search(line) else line


def groups() -> dict[str, tuple[list[str], str]]:
    out = {}
    for name, (lines, undefined) in GROUPS.items():
        kept = [x for x in map(to_32, lines) if x]
        if kept:
            out[name] = (kept, undefined)
    out["inc"][0].extend(["inc ecx", "dec edx", "inc bx", "dec si"])
    out["push-all"] = (["pushad", "popad", "pushaw", "popaw", "push 0x1234; pop ax", "push ebx; pop cx; pop dx"], "")
    out["decimal"] = (["daa", "das"], "o")
    out["ascii"] = (["aaa", "aas"], "oszp")
    out["ascii-mul"] = (["aam", "aad", "aam 7", "aad 3", "aam 16"], "oac")
    out["addr16"] = (["mov ax, [bx+si]", "lea eax, [bx+di+5]", "lea ax, [bp+4]"], "")
    out["salc"] = ([".byte 0xd6"], "")
    return out


GROUPS32 = groups()


@pytest.mark.parametrize("group", GROUPS32)
def test_against_host(group: str) -> None:
    lines, undefined = GROUPS32[group]
    if group == "addr16":
        lines = lines[1:]               # the data page is above 64 KiB: addresses only
    rng = random.Random(group)
    bad = []
    for text, code in zip(lines, assemble32(lines), strict=True):
        for _ in range(24):
            m = random_machine(rng)
            fix_registers(text.replace("edi", "rdi").replace("esi", "rsi"), m)
            after = emulated32().run(code, m, text.count(";") + 1)
            if after is None:
                assert "div" in text, f"{text}: the emulated instruction faulted"
                continue
            d = differences(text, m, native32().run(code, m), after, shift_mask(text, m, undefined))
            if d:
                bad.append(d)
                break
    assert not bad, f"{len(bad)} of {len(lines)} snippets differ:\n" + "\n".join(bad[:10])
