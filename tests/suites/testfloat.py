"""Berkeley TestFloat 3 (https://github.com/ucb-bar/berkeley-testfloat-3) against the x87 and SSE instructions.

``testfloat_gen``, built beside SoftFloat with its 8086-SSE specialization, writes operands, result and exception flags. Guest
code in a loop loads the operands, executes the instruction and stores result and flags; both are compared bit by bit, in every
rounding mode, and for the x87's arithmetic in every precision. Tininess is detected after rounding. The denormal-operand flag
is not compared: IEEE 754, and so TestFloat, has none.
"""
from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

CODE, TABLES, DATA = 0x10000, 0x20000, 0x400000
RECORD = 64                 # a at 0, b at 16, result at 32, flags at 48
RAM = 32 << 20
MOST = (RAM - DATA) // RECORD
ROUNDING = {"near_even": 0, "min": 1, "max": 2, "minMag": 3}
PRECISION = {"32": 0, "64": 2, "80": 3}

SIZE = {"f32": 4, "f64": 8, "extF80": 10, "i32": 4, "i64": 8, "bool": 1}

# TestFloat function | instruction | code | result | options, and 'one' (the rounding mode does not matter), 'packed', 'pc' (the
# precision control matters). {t} {s} {p}: f32 s dword, f64 d qword; {o} {so} {po}: the other one; {i} {r} {pi}: i32 eax dword,
# i64 rax qword. A, B: the operands, Z: the result. LOAD: operands to xmm0 and xmm1; STORE: xmm0 is the result, ST: st(0) is;
# FLAGS c: ZF, PF and CF to a truth value.
SSE = """
{t}_add            | adds{s}          | LOAD; adds{s} xmm0, xmm1; STORE                    | {t} |
{t}_sub            | subs{s}          | LOAD; subs{s} xmm0, xmm1; STORE                    | {t} |
{t}_mul            | muls{s}          | LOAD; muls{s} xmm0, xmm1; STORE                    | {t} |
{t}_div            | divs{s}          | LOAD; divs{s} xmm0, xmm1; STORE                    | {t} |
{t}_add            | addp{s}          | movaps xmm0, A; addp{s} xmm0, B; movaps Z, xmm0    | {t} | packed
{t}_sub            | subp{s}          | movaps xmm0, A; subp{s} xmm0, B; movaps Z, xmm0    | {t} | packed
{t}_mul            | mulp{s}          | movaps xmm0, A; mulp{s} xmm0, B; movaps Z, xmm0    | {t} | packed
{t}_div            | divp{s}          | movaps xmm0, A; divp{s} xmm0, B; movaps Z, xmm0    | {t} | packed
{t}_sqrt           | sqrts{s}         | LOAD; sqrts{s} xmm0, xmm0; STORE                   | {t} |
{t}_sqrt           | sqrtp{s}         | sqrtp{s} xmm0, A; movaps Z, xmm0                   | {t} | packed
{t}_roundToInt     | rounds{s} 4      | LOAD; rounds{s} xmm0, xmm0, 4; STORE               | {t} | -exact
{t}_roundToInt     | rounds{s} 12     | LOAD; rounds{s} xmm0, xmm0, 12; STORE              | {t} |
{t}_roundToInt     | roundp{s} 4      | roundp{s} xmm0, A, 4; movaps Z, xmm0               | {t} | -exact packed
{t}_to_{o}         | cvts{s}2s{so}    | cvts{s}2s{so} xmm0, {p} A; movs{so} {po} Z, xmm0   | {o} |
{t}_eq             | ucomis{s}        | LOAD; ucomis{s} xmm0, xmm1; FLAGS e                | bool | one
{t}_lt_quiet       | ucomis{s}        | LOAD; ucomis{s} xmm0, xmm1; FLAGS b                | bool | one
{t}_le_quiet       | ucomis{s}        | LOAD; ucomis{s} xmm0, xmm1; FLAGS be               | bool | one
{t}_eq_signaling   | comis{s}         | LOAD; comis{s} xmm0, xmm1; FLAGS e                 | bool | one
{t}_lt             | comis{s}         | LOAD; comis{s} xmm0, xmm1; FLAGS b                 | bool | one
{t}_le             | comis{s}         | LOAD; comis{s} xmm0, xmm1; FLAGS be                | bool | one
{t}_eq             | cmpeqs{s}        | LOAD; cmpeqs{s} xmm0, xmm1; MASK                   | bool | one
{t}_lt             | cmplts{s}        | LOAD; cmplts{s} xmm0, xmm1; MASK                   | bool | one
{t}_le             | cmples{s}        | LOAD; cmples{s} xmm0, xmm1; MASK                   | bool | one
"""
SSE_INTEGER = """
{i}_to_{t}         | cvtsi2s{s} {r}   | cvtsi2s{s} xmm0, {pi} A; STORE                     | {t} |
{t}_to_{i}         | cvts{s}2si {r}   | LOAD; cvts{s}2si {r}, xmm0; mov Z, {r}             | {i} | -exact
{t}_to_{i}         | cvtts{s}2si {r}  | LOAD; cvtts{s}2si {r}, xmm0; mov Z, {r}            | {i} | -exact -rminMag
"""
X87 = """
extF80_add         | faddp            | fld TB A; fld TB B; faddp st(1), st; ST      | extF80 | pc
extF80_sub         | fsubp            | fld TB A; fld TB B; fsubp st(1), st; ST      | extF80 | pc
extF80_sub         | fsub             | fld TB B; fld TB A; fsub st, st(1); ST; POP  | extF80 | pc
extF80_sub         | fsubr            | fld TB A; fld TB B; fsubr st, st(1); ST; POP | extF80 | pc
extF80_mul         | fmulp            | fld TB A; fld TB B; fmulp st(1), st; ST      | extF80 | pc
extF80_div         | fdivp            | fld TB A; fld TB B; fdivp st(1), st; ST      | extF80 | pc
extF80_div         | fdivr            | fld TB A; fld TB B; fdivr st, st(1); ST; POP | extF80 | pc
extF80_sqrt        | fsqrt            | fld TB A; fsqrt; ST                             | extF80 | pc
extF80_rem         | fprem1           | fld TB B; fld TB A; REM; ST; POP             | extF80 | one
extF80_roundToInt  | frndint          | fld TB A; frndint; ST                           | extF80 | -exact
extF80_eq          | fucomip          | fld TB B; fld TB A; fucomip st, st(1); POP; FLAGS e  | bool | one
extF80_lt_quiet    | fucomip          | fld TB B; fld TB A; fucomip st, st(1); POP; FLAGS b  | bool | one
extF80_le_quiet    | fucomip          | fld TB B; fld TB A; fucomip st, st(1); POP; FLAGS be | bool | one
extF80_eq_signaling | fcomip          | fld TB B; fld TB A; fcomip st, st(1); POP; FLAGS e   | bool | one
extF80_lt          | fcomip           | fld TB B; fld TB A; fcomip st, st(1); POP; FLAGS b   | bool | one
extF80_le          | fcomip           | fld TB B; fld TB A; fcomip st, st(1); POP; FLAGS be  | bool | one
"""
X87_MEMORY = """
extF80_to_{t}      | fstp {p}     | fld TB A; fstp {p} Z                            | {t} |
{t}_to_extF80      | fld {p}      | fld {p} A; ST                                      | extF80 | one
{i}_to_extF80      | fild {pi}    | fild {pi} A; ST                                    | extF80 | one
extF80_to_{i}      | fistp {pi}   | fld TB A; fistp {pi} Z                          | {i} | -exact
extF80_to_{i}      | fisttp {pi}  | fld TB A; fisttp {pi} Z                         | {i} | -exact -rminMag
"""
MACROS = {"LOAD": "movs{s} xmm0, {p} A; movs{s} xmm1, {p} B", "STORE": "movs{s} {p} Z, xmm0", "ST": "fstp TB Z", "POP": "fstp st",
          "MASK": "movd eax, xmm0; and al, 1; mov Z, al", "REM": "2: fprem1; fnstsw ax; test ah, 4; jnz 2b",
          "FLAGS (b?e?)": r"setnp al; set\1 bl; and al, bl; mov Z, al",
          "TB": "tbyte ptr", "A": "[rsi]", "B": "[rsi+16]", "Z": "[rsi+32]"}


@dataclass(frozen=True)
class Case:
    """An instruction (or a few) for one of TestFloat's functions."""
    function: str
    name: str
    code: str
    result: str
    attributes: tuple[str, ...]

    @property
    def x87(self) -> bool:
        return "extF80" in self.function

    @property
    def packed(self) -> bool:
        return "packed" in self.attributes

    @property
    def options(self) -> list[str]:
        return [a for a in self.attributes if a.startswith("-")]

    @property
    def modes(self) -> list[str]:
        if "-rminMag" in self.attributes:
            return ["minMag"]
        return ["near_even"] if "one" in self.attributes else list(ROUNDING)

    @property
    def precisions(self) -> list[str]:
        return list(PRECISION) if "pc" in self.attributes else ["80"]


def _cases(table: str, **names: str) -> list[Case]:
    out = []
    for line in table.strip().splitlines():
        function, name, code, result, attributes = (c.strip() for c in line.split("|"))
        for macro, text in MACROS.items():
            code = re.sub(rf"\b{macro}(?=$|[ ,;])", text, code)
        out.append(Case(*(c.format(**names) for c in (function, name, code, result)), tuple(attributes.split())))
    return out


FLOATS = [{"t": "f32", "s": "s", "p": "dword ptr", "o": "f64", "so": "d", "po": "qword ptr"},
          {"t": "f64", "s": "d", "p": "qword ptr", "o": "f32", "so": "s", "po": "dword ptr"}]
INTEGERS = [{"i": "i32", "r": "eax", "pi": "dword ptr"}, {"i": "i64", "r": "rax", "pi": "qword ptr"}]


def _all() -> list[Case]:
    out = []
    for f in FLOATS:
        out += _cases(SSE, **f)
        for n in INTEGERS:
            out += _cases(SSE_INTEGER, **f, **n)
    out += _cases(X87)
    for f, n in zip(FLOATS, INTEGERS, strict=True):
        out += _cases(X87_MEMORY, **f, **n)
    return out


CASES = _all()


def _assemble(case: Case, rounding: str, precision: str) -> bytes:
    rc = ROUNDING[rounding]
    if case.x87:
        control, body = 0x3F | PRECISION[precision] << 8 | rc << 10, f"fnclex; {case.code}; fnstsw [rsi+48]"
    else:
        control, body = 0x1F80 | rc << 13, f"ldmxcsr [rdx]; {case.code}; stmxcsr [rsi+48]"
    setup = f"mov edx, {TABLES}; mov dword ptr [rdx], {control}; fninit; fldcw [rdx]"
    src = f".intel_syntax noprefix\n{setup}\n1: {body}\nadd rsi, {RECORD}\ndec ecx\njnz 1b\nhlt\n"
    with tempfile.TemporaryDirectory() as d:
        s, o, b = Path(d, "t.s"), Path(d, "t.o"), Path(d, "t.bin")
        s.write_text(src)
        subprocess.run(["as", "--64", "-o", str(o), str(s)], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(o), str(b)], check=True)
        return b.read_bytes()


class Guest:
    """A processor in 64-bit mode, memory mapped one to one."""

    def __init__(self, model: str = "max") -> None:
        from pcemu._core import cpumodel
        from pcemu._core.engine import Clock, CpuCore, IoSpace, Memory
        self.memory = Memory()
        block = self.memory.alloc("ram", RAM)
        self.memory.set_map([(0, RAM, "ram", block, 0)])
        self.cpu: Any = CpuCore(self.memory, IoSpace(), Clock(0), cpumodel.parse_cpu(model))
        self.view = np.frombuffer(self.memory.block_view(block, RAM), dtype=np.uint8)
        for at, entry in ((0x1000, 0x2003), (0x2000, 0x3003), *((0x3000 + 8 * i, i << 21 | 0x83) for i in range(RAM >> 21))):
            self.memory.write(at, entry.to_bytes(8, "little"))

    def run(self, code: bytes, count: int) -> None:
        c = self.cpu
        c.reset()
        for s in ("cs", "ds", "es", "ss"):
            c.set(s + "_base", 0)
            c.set(s + "_limit", 0xFFFFFFFF)
            c.set(s + "_attr", 0xAF9B00 if s == "cs" else 0xCF9300)
        for name, value in (("cr3", 0x1000), ("cr4", 0x6A0), ("efer", 0x500), ("cr0", 0x80000033), ("idt_limit", 0),
                            ("rsp", CODE), ("rsi", DATA), ("rcx", count), ("rip", CODE), ("eflags", 2)):
            c.set(name, value)
        self.memory.write(CODE, code)
        why = c.run(count * 400)
        if why != "halted":
            raise RuntimeError(f"the guest ended by {why} at {c.get('rip'):#x}, {c.get('rcx')} vectors left")


@lru_cache(maxsize=1)
def guest() -> Guest:
    return Guest()


@dataclass
class Vectors:
    """Operands (as many rows as vectors, little-endian bytes), results and flags."""
    operands: list[np.ndarray[Any, Any]]
    result: np.ndarray[Any, Any]
    flags: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.flags)


def parse(text: bytes) -> Vectors:
    """testfloat_gen's lines: hexadecimal columns of fixed width."""
    width = text.index(b"\n") + 1
    rows = np.frombuffer(text, dtype=np.uint8).reshape(-1, width)
    columns, start = [], 0
    for word in text[:width].split():
        end = start + len(word)
        raw = rows[:, start:end]
        if len(word) % 2:
            raw = np.concatenate([np.full((len(rows), 1), ord("0"), dtype=np.uint8), raw], axis=1)
        data = np.frombuffer(bytes.fromhex(raw.tobytes().decode("ascii")), dtype=np.uint8)
        columns.append(data.reshape(len(rows), -1)[:, ::-1])
        start = end + 1
    return Vectors(columns[:-2], columns[-2], columns[-1][:, 0])


# TestFloat's flags from bit 0: inexact, underflow, overflow, infinite, invalid; where PE UE OE ZE IE are in MXCSR
PLACES = (5, 4, 3, 2, 0)
FLAGS = np.array([sum((f >> i & 1) << to for i, to in enumerate(PLACES)) for f in range(32)], dtype=np.uint8)


def run_case(case: Case, generator: Path, rounding: str, precision: str = "80", level: int = 1, keep: int = 3,
             text: bytes | None = None) -> tuple[int, int, list[str]]:
    """(vectors, failures, some of these in words)."""
    if text is None:
        options = [f"-r{rounding}", "-tininessafter", "-level", str(level), *case.options]
        if case.x87:
            options.append(f"-precision{precision}")
        text = subprocess.run([str(generator), *options, case.function], check=True, capture_output=True).stdout
    v = parse(text)
    done = [_run_vectors(case, _part(v, i, i + MOST), rounding, precision, keep) for i in range(0, len(v), MOST)]
    return len(v), sum(d[0] for d in done), [t for d in done for t in d[1]][:keep]


def _part(v: Vectors, first: int, end: int) -> Vectors:
    return Vectors([o[first:end] for o in v.operands], v.result[first:end], v.flags[first:end])


def _run_vectors(case: Case, v: Vectors, rounding: str, precision: str, keep: int) -> tuple[int, list[str]]:
    g = guest()
    records = g.view[DATA:DATA + RECORD * len(v)].reshape(len(v), RECORD)
    records[:] = 0
    for i, operand in enumerate(v.operands):
        lanes = 16 // operand.shape[1] if operand.shape[1] in (4, 8) else 1      # packed forms: the same in every lane
        records[:, 16 * i:16 * i + lanes * operand.shape[1]] = np.tile(operand, lanes)
    g.run(_assemble(case, rounding, precision), len(v))
    size = SIZE[case.result]
    want = v.result[:, :size]
    if case.packed:
        size, want = 16, np.tile(want, 16 // size)
    got, flags = records[:, 32:32 + size], records[:, 48]
    # bit 6 is the x87's stack fault, which may never be set
    bad = (got != want).any(axis=1) | ((flags & 0x7D if case.x87 else flags & 0x3D) != FLAGS[v.flags])
    where = np.flatnonzero(bad)

    def word(a: np.ndarray[Any, Any]) -> str:
        return a[::-1].tobytes().hex()

    told = [f"{case.name} ({case.function}, {rounding}" + (f", precision {precision}" if case.x87 else "") + "): "
            + " ".join(word(o[i]) for o in v.operands) + f" -> {word(got[i])} flags {flags[i] & 0x7D:#04x}, "
            f"TestFloat {word(want[i])} flags {FLAGS[v.flags[i]]:#04x}" for i in where[:keep].tolist()]
    return len(where), told
