"""What a case says: a snippet, the modes it runs in, the state before, and what is different after it.

Text of a snippet (GNU as, Intel syntax):

    %a %c %d %b %si %di %bp %sp %r8 ..   a register of the case's operand size      %al %ah: as they are
    %AX %BX %DI ..                       the same registers at the mode's address size
    %m                                   the memory operand: `size ptr [%DI]`, with rdi = data + 0x40 unless set
    %p                                   `byte ptr`, `word ptr` ..
    %{expr}                              a number, see below
    = FF /0c ib:5                        bytes of one instruction: an operand-size prefix as the case's size needs, ModRM with a
                                         register (letter) or the memory operand (m), immediates ib iw id iz iq

Values are numbers or expressions over the places of layout.py (`data`, `hole`, `stack`, `code` ...: offsets as the mode's
registers hold them; in `mem`, physical addresses), `n` (operand size in bits), `mask` (its largest value), `W` (bytes of the
mode's word) and `end` (where the snippet ends). A register's name says what was written: `eax` clears the upper half in 64-bit
mode, `ax` and `ah` leave the rest alone, `rax` is all of it.

Whatever a case does not mention must be as it was: registers, flags, memory.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from . import machine as mach
from .layout import DESCRIPTORS, HIGH, MODES, le

Value = int | str
Bytes = bytes | tuple[Value, int] | list[tuple[Value, int]]         # as they are, or values and how many bytes each takes

ALL = ("real", "vm86", "pm16", "pm32", "pm32s", "compat", "long64")
LEGACY = ("real", "vm86", "pm16", "pm32", "pm32s", "compat")
PROTECTED = ("pm16", "pm32", "pm32s", "compat", "long64")
SETS = {"all": ALL, "legacy": LEGACY, "protected": PROTECTED, "long": ("long64",), "v86": ("real", "vm86"),
        "pm": ("pm16", "pm32", "pm32s", "compat"), "word": ("real", "vm86", "pm16"), "dword": ("pm32", "pm32s", "compat"),
        "paged": ("vm86", "pm32", "compat", "long64"), "ring": ("pm16", "pm32", "compat", "long64")}

FLAG = {"c": 1, "p": 4, "a": 0x10, "z": 0x40, "s": 0x80, "t": 0x100, "i": 0x200, "d": 0x400, "o": 0x800, "n": 0x4000, "r": 0x10000,
        "v": 0x80000, "x": 0x40000}
# arithmetic flags before, unless the case says: one pattern or the other
PATTERNS = (0x844, 0x091)
REG = {8: ["al", "cl", "dl", "bl", "", "", "", ""], 16: ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"],
       32: ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"], 64: ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"]}
LETTER = ["a", "c", "d", "b", "sp", "bp", "si", "di"]
PTR = {8: "byte ptr", 16: "word ptr", 32: "dword ptr", 64: "qword ptr", 80: "tbyte ptr", 128: "xmmword ptr", 48: "fword ptr"}


@dataclass(frozen=True)
class Fault:
    """The exception a case ends in. error None: as exceptions of this vector do without saying more."""
    vector: int
    error: Value | None = None
    cr2: Value | None = None
    ip: Value = "code"


@dataclass
class Case:
    """One snippet, in one operand size, in some modes."""
    name: str
    code: str
    modes: Iterable[str] = ALL
    size: int = 0                       # bits of %a ...; 0: the snippet does not say %a
    msize: int = 0                      # bytes of the memory operand, when not size / 8
    regs: dict[str, Value] = field(default_factory=dict)
    out: dict[str, Value] = field(default_factory=dict)
    flags: str = ""                     # before: capitals set, small letters clear; the others as a pattern has them
    oflags: str = ""                    # after; letters not named are unchanged
    undef: str = ""                     # undefined after
    m: Value | None = None              # the memory operand before, after
    om: Value | None = None
    mem: dict[str, Bytes] = field(default_factory=dict)
    omem: dict[str, Bytes] = field(default_factory=dict)
    fault: Fault | None = None
    cpl: int | None = None
    cpu: str = "max"
    without: str = ""                   # a feature the processor lacks
    end: Value = "end"                  # where the snippet comes to its HLT
    stops: str = ""                     # how the run ends instead of all that: shutdown
    loose: str = ""                     # registers of unspecified value after
    org: Value = 0                      # added to where the code lies
    tables: bool = False                # reads or writes descriptor or page tables: they are put back afterwards
    io: tuple[tuple[str, int, int, int], ...] | None = None
    count: bool = True                  # does the first instruction count as covered?
    twin: str = ""                      # a fault derived from another case: which
    # what the manual says about the instruction: how fault cases are derived (twins.py)
    access: str = ""                    # of the memory operand: r, w, rw; '' none; n: never raises #AC
    align: int = 0                      # alignment it demands
    lock: bool = False
    priv: bool = False
    unit: str = ""                      # x87, mmx, sse, avx
    feat: str = ""
    twins: bool = True
    check: Callable[[dict[str, int]], str | None] | None = None     # more to say about the state after


@dataclass
class Instance:
    """A case in one mode."""
    case: Case
    mode: str
    text: str
    values: dict[str, int]
    code: bytes = b""
    line: int = 0

    @property
    def title(self) -> str:
        c = self.case
        return f"{c.name} [{self.mode}{f' {c.size}' if c.size else ''}{f' cpl{c.cpl}' if c.cpl is not None else ''}]"


# ------------------------------------------------------------------------------------------------------ values


@lru_cache(maxsize=65536)
def _compiled(expr: str) -> Any:
    return compile(expr, expr, "eval")


def value(v: Value, names: dict[str, int]) -> int:
    if isinstance(v, int):
        return v
    return int(eval(_compiled(v), {"__builtins__": {}}, names))


@lru_cache(maxsize=64)
def places(mode: str, cpl: int | None = None) -> dict[str, int]:
    """What expressions may name: pointers of the mode, and as `seg_ds`, `cr0` .. what registers hold before the case says otherwise."""
    m = MODES[mode]
    base = mach.baseline([], {}, m, m.cpl if cpl is None else cpl)
    return mach.pointers(m) | {"seg_" + s: base[s] for s in mach.SEGS} | {k: base.get(k, 0) for k in ("cr0", "cr3", "cr4", "efer", "eflags")}


PHYSICAL = mach.physical()


# --------------------------------------------------------------------------------------------------- templates

_RAW = re.compile(r"^\s*=(.*)$", re.M)
_NAME = re.compile(r"%(\{[^}]*\}|\w+)")


def _register(name: str, size: int, bits: int) -> str:
    if name.isupper():
        return REG[bits][LETTER.index(name.lower().rstrip("x"))]
    if name.startswith("r") and name[1:].isdigit():
        return name + {8: "b", 16: "w", 32: "d", 64: ""}[size]
    if name in LETTER:
        return REG[size][LETTER.index(name)]
    raise ValueError(f"%{name} is no register")


def _raw(text: str, size: int, bits: int, names: dict[str, int]) -> str:
    toks = text.split()
    pre: list[int] = []
    out: list[int] = []
    while toks and toks[0] in ("F0", "F2", "F3", "66", "67"):
        pre.append(int(toks.pop(0), 16))
    if toks and toks[0] == "-":
        toks.pop(0)
    elif size in (16, 32) and size != min(bits, 32):
        pre.append(0x66)
    elif size == 64:
        pre.append(0x48)
    for t in toks:
        if re.fullmatch("[0-9A-F]{2}", t):
            out.append(int(t, 16))
        elif t[0] == "/":
            reg = int(t[1])
            if t[2:] == "m":
                out.append(reg << 3 | (5 if bits == 16 else 7))
            else:
                out.append(0xC0 | reg << 3 | (int(t[2]) if t[2].isdigit() else LETTER.index(t[2:])))
        else:
            kind, _, v = t.partition(":")
            n = {"ib": 1, "iw": 2, "id": 4, "iq": 8, "iz": 2 if size == 16 else 4, "iv": size // 8, "ia": bits // 8}[kind]
            out += le(value(v, names), n)
    return ".byte " + ",".join(map(hex, pre + out))


def expand(case: Case, mode: str) -> Instance:
    bits = MODES[mode].bits
    names = dict(places(mode, case.cpl))
    size = case.size
    names["n"] = size or bits
    names["mask"] = (1 << (size or bits)) - 1
    if case.org:
        names["code"] += value(case.org, names)
    msize = case.msize or size // 8 or bits // 8

    def sub(m: re.Match[str]) -> str:
        name = m.group(1)
        if name[0] == "{":
            return str(value(name[1:-1], names))
        if name == "p":
            return PTR.get(8 * msize, "")
        if name == "m":
            return f"{PTR.get(8 * msize, '')} [{_register('DI', 0, bits)}]"
        return _register(name, size, bits)

    text = case.code.replace(";", "\n")
    text = _RAW.sub(lambda m: _raw(m.group(1), size, bits, names), text)
    return Instance(case, mode, _NAME.sub(sub, text), names)


# ------------------------------------------------------------------------------------------------------- state

BY_SELECTOR = {d[0]: n for n, d in DESCRIPTORS.items()}
_PART = {"ax": "rax", "cx": "rcx", "dx": "rdx", "bx": "rbx", "sp": "rsp", "bp": "rbp", "si": "rsi", "di": "rdi"}


def put(state: dict[str, int], name: str, v: int, mode: str) -> None:
    """Write a register under any of its names."""
    long = MODES[mode].bits == 64
    wide = (1 << 64) - 1 if long else 0xFFFFFFFF
    if name in state:
        if name in mach.GPR or name == "rip":
            v &= wide if name != "rip" or not long else (1 << 64) - 1
        state[name] = v
        if name in mach.SEGS:
            if not state["cr0"] & 1 or state["eflags"] & 0x20000:
                state[name + "_base"] = (v & 0xFFFF) << 4
            elif v & ~3 in BY_SELECTOR:
                mach.from_gdt(state, name, BY_SELECTOR[v & ~3])
                state[name] = v
        return
    if name in ("al", "cl", "dl", "bl"):
        r = f"r{name[0]}x"
        state[r] = state[r] & ~0xFF | v & 0xFF
    elif name in ("ah", "ch", "dh", "bh"):
        r = f"r{name[0]}x"
        state[r] = state[r] & ~0xFF00 | (v & 0xFF) << 8
    elif name in _PART:
        r = _PART[name]
        state[r] = state[r] & ~0xFFFF | v & 0xFFFF
    elif name[0] == "e" and name[1:] in _PART:
        state[_PART[name[1:]]] = v & 0xFFFFFFFF
    elif re.fullmatch(r"r\d+[dwb]", name):
        r, k = name[:-1], {"d": 0xFFFFFFFF, "w": 0xFFFF, "b": 0xFF}[name[-1]]
        state[r] = v & k if name[-1] == "d" else state[r] & ~k | v & k
    elif name.startswith("mm"):
        state["fpr" + name[2:]] = 0xFFFF << 64 | v & (1 << 64) - 1
    elif name.startswith("st"):
        state[f"fpr{(state['fsw'] >> 11) + int(name[2:]) & 7}"] = v
    else:
        raise KeyError(name)


def regname(letter: str, size: int) -> str:
    """Register `a` of a size, as `put` takes it."""
    return REG[size][LETTER.index(letter)]


def flag_bits(spec: str) -> tuple[int, int]:
    """(mask, value) of flags named by letters; capitals are set."""
    mask = v = 0
    for ch in spec:
        bit = FLAG[ch.lower()]
        mask |= bit
        if ch.isupper():
            v |= bit
    return mask, v


def initial(inst: Instance, base: dict[str, int], pattern: int) -> dict[str, int]:
    c = inst.case
    s = dict(base)
    s["rip"] = inst.values["code"]
    for k, v in c.regs.items():
        put(s, k, value(v, inst.values), inst.mode)
    if "eflags" not in c.regs:
        mask, bits = flag_bits(c.flags)
        s["eflags"] = (s["eflags"] | pattern) & ~mask | bits
    return s


def expected(inst: Instance, before: dict[str, int]) -> dict[str, int]:
    c = inst.case
    s = dict(before)
    if c.out.get("cpl") == 0:
        s["eflags"] &= ~0x20000                 # a way out of virtual-8086 mode
    for k, v in sorted(c.out.items(), key=lambda kv: kv[0] != "eflags"):      # VM decides what a selector means
        put(s, k, value(v, inst.values), inst.mode)
    mask, bits = flag_bits(c.oflags)
    s["eflags"] = s["eflags"] & ~mask | bits
    if "rip" not in c.out:
        s["rip"] = value(c.fault.ip if c.fault else c.end, inst.values)
    if c.fault is not None and c.fault.cr2 is not None:
        s["cr2"] = value(c.fault.cr2, inst.values)
    return s


def memory(inst: Instance, spec: dict[str, Bytes], m: Value | None) -> Iterator[tuple[int, bytes]]:
    """(physical address, bytes) of a case's memory."""
    names = PHYSICAL | {"n": inst.values["n"], "W": inst.values["W"]}
    for k, data in spec.items():
        if isinstance(data, tuple):
            data = [data]
        yield value(k, names), data if isinstance(data, bytes) else b"".join(le(value(v, inst.values), n) for v, n in data)
    if m is not None:
        c = inst.case
        n = c.msize or c.size // 8 or MODES[inst.mode].bits // 8
        at = value(c.regs["rdi"], inst.values) + MODES[inst.mode].data - (HIGH if MODES[inst.mode].bits == 64 else 0) \
            if "rdi" in c.regs else PHYSICAL["data"] + 0x40
        yield at, le(value(m, inst.values), n)


def variants(case: Case, **axes: Iterable[Any]) -> Iterator[Case]:
    """The case with every combination of field values."""
    todo = [case]
    for name, values in axes.items():
        todo = [replace(c, **{name: v}) for c in todo for v in values]
    yield from todo
