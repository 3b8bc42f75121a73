"""Files of snippets: assembly, each with a header that says what it starts from and what it must leave.

    #: title
    #: modes all -real          names of layout.MODES and sets of case.SETS; - takes away. Default: all
    #: sizes 16 32 64           one case each; 64 only in 64-bit mode. Default: none
    #: cpl 0 | cpu Haswell | without sse4.2 | feat cx16 | priv | lock | access rw | align 16 | msize 8 | unit sse | org 0xBFF | tables
    #: in rax=5 %a=mask rbx=data+4 flags=Cz       (%a: the register of the case's size)
    #: m 0x1234                 the memory operand %m before
    #: mem data+8 = 01 02 03    bytes; or w:.. d:.. q:.. followed by expressions
    #: out eax=7 flags=oSz undef=ap loose=rdx
    #: om 0x1235
    #: omem data+8 = 00
    #: fault 13 err=0 cr2=hole ip=code+2
    #: stops shutdown          how the run ends, when not at a HLT
    #: end code+1               where it comes to a HLT, if not behind its last instruction
    #: nocount | notwins
            add     %a, %b

A new header begins a new case. case.py explains the text and the expressions.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .case import ALL, SETS, Case, Fault, Value, regname, value
from .layout import MODES

_WORDS = re.compile(r"(%?[\w.]+)=((?:\([^)]*\)|\S)+)")


def _number(text: str) -> Value:
    try:
        return int(text, 0)
    except ValueError:
        return text


def _modes(text: str) -> tuple[str, ...]:
    out: list[str] = []
    for w in text.split():
        names = SETS.get(w.lstrip("-"), (w.lstrip("-"),))
        assert all(n in MODES for n in names), f"no mode {w}"
        if w[0] == "-":
            out = [m for m in out or ALL if m not in names]
        else:
            out += [m for m in names if m not in out]
    return tuple(out)


def _bytes(text: str, size: int) -> list[tuple[Value, int]]:
    out: list[tuple[Value, int]] = []
    width = 1
    for w in text.split():
        m = re.match(r"([bwdqv]):(.*)", w)
        if m:
            width = {"b": 1, "w": 2, "d": 4, "q": 8, "v": size // 8}[m[1]]
            w = m[2]
        if width == 1 and not m:
            out += [(byte, 1) for byte in bytes.fromhex(w)]
        elif w:
            out.append((_number(w), width))
    return out


def _case(title: str, header: list[tuple[str, str]], code: str, size: int, where: str) -> Iterator[Case]:
    c = Case(title, code, size=size)
    groups: list[tuple[str, ...]] = [ALL]
    for key, rest in header:
        words = dict(_WORDS.findall(rest))
        if key == "modes":
            groups = [_modes(rest)]
        elif key in ("in", "out"):
            flags = words.pop("flags", "")
            if key == "in":
                c.flags = flags
            else:
                c.oflags += flags
                c.undef += words.pop("undef", "")
                c.loose += " " + words.pop("loose", "").replace(",", " ")
            target = c.regs if key == "in" else c.out
            for k, v in words.items():
                target[regname(k[1:], size) if k[0] == "%" else k] = _number(v)
        elif key in ("m", "om"):
            setattr(c, key, _number(rest))
        elif key in ("mem", "omem"):
            a, _, b = rest.partition("=")
            getattr(c, key)[a.strip()] = _bytes(b, size)
        elif key == "fault":
            c.fault = Fault(int(rest.split()[0], 0), **{{"err": "error"}.get(k, k): _number(v) for k, v in words.items()})
        elif key in ("cpl", "align", "msize"):
            setattr(c, key, value(_number(rest), {"n": size}))
        elif key in ("cpu", "without", "feat", "access", "unit", "twin", "stops"):
            setattr(c, key, rest)
        elif key in ("end", "org"):
            setattr(c, key, _number(rest))
        elif key in ("priv", "lock", "tables"):
            setattr(c, key, True)
        elif key == "nocount":
            c.count = False
        elif key == "notwins":
            c.twins = False
        elif key != "sizes":
            raise ValueError(f"{where}: {key}?")
    c.modes = [m for m in groups[0] if size != 64 or MODES[m].bits == 64]
    yield c


def parse(path: Path) -> Iterator[Case]:
    header: list[tuple[str, str]] = []
    code: list[str] = []
    title, line = "", 0

    def finish() -> Iterator[Any]:
        if not title:
            return
        sizes = [int(n) for k, v in header if k == "sizes" for n in v.split()] or [0]
        for size in sizes:
            try:
                yield from _case(title, header, "\n".join(code), size, f"{path.name}:{line}")
            except (KeyError, ValueError, AssertionError, SyntaxError, TypeError, NameError) as e:
                raise ValueError(f"{path.name}:{line}: {title}: {e!r}") from e

    for number, text in enumerate(path.read_text().splitlines(), 1):
        if text.startswith("#:"):
            key, _, rest = text[2:].strip().partition(" ")
            if code or not title:
                yield from finish()
                header, code, title, line = [], [], text[2:].strip(), number
            else:
                for part in text[2:].split(" | "):
                    key, _, rest = part.strip().partition(" ")
                    header.append((key, rest.strip()))
        elif text.split("#")[0].strip():
            code.append(text.split("#")[0])
    yield from finish()
