"""Which rows of the instruction table the assembly ring exercises: ``python -m tests.asm.coverage [text]`` lists what is missing.

For every row: a case that runs to its end in each legal mode, operand size and form (register or memory), and the faults that
the row's attributes call for. Independent of whether the cases pass; that is what running them is for.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pcemu._core.decode import row_of

from pcemu._core.isa import gen

from . import runner
from .case import Instance
from .layout import COUNTED, MODES

MISSING = Path(__file__).parent / "missing.txt"

# operand size matters although no operand shows it
SIZED = set("""PUSHA POPA PUSHF POPF RET RETF IRET ENTER LEAVE MOVSV CMPSV STOSV LODSV SCASV INSV OUTSV CBW CWD SYSRET SYSEXIT
    PUSH_ES PUSH_CS PUSH_SS PUSH_DS PUSH_FS PUSH_GS POP_ES POP_SS POP_DS POP_FS POP_GS""".split())
# operand size means nothing although an operand has one
UNSIZED = set("""NOPE UD0 UD1 NOP90 FENCE INVPCID""".split())
# the memory operand is only an address: it cannot fault
NO_ACCESS = set("LEA NOPE INVLPG PREFETCHNTA PREFETCHT0 PREFETCHT1 PREFETCHT2 PREFETCHW UD0 UD1".split())
# rows that cannot run to an end: a case that faults as they must is what covers them
ALWAYS_FAULT = set("UD0 UD1 UD2".split())
# without its feature the prefix is ignored and another instruction runs, or nothing does (SDM vol. 2: PREFETCH are hints)
NO_FEATURE_FAULT = set("TZCNT LZCNT WBINVD FENCE CLFLUSH".split())
# a byte in memory though the operand's register has more
BYTE_MEMORY = set("PEXTRB PINSRB".split())
PREFIXES = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3}
# opcodes that are another instruction, or a prefix, where the row is not legal
REUSED = set("ARPL MOVSXD INC DEC LES LDS BOUND SAHF LAHF".split())


@lru_cache(maxsize=1)
def rows() -> list[gen.Row]:
    return gen.read_rows()


def label(row: gen.Row) -> str:
    return f"{row.text.split('|')[0].strip()} {row.name}"


def is_memory(code: bytes, bits: int, row: gen.Row) -> bool:
    """Has this instruction a memory operand in its ModRM byte?"""
    if not gen.has_modrm(row) or "force_reg" in row.attrs:
        return False
    i = 0
    while code[i] in PREFIXES or (bits == 64 and code[i] & 0xF0 == 0x40):
        i += 1
    if row.vex:
        i += 2 if code[i] == 0xC5 else 3
    else:
        i += (0, 1, 2, 2)[row.map]
    return code[i + 1] < 0xC0


def vector_length(code: bytes) -> int:
    """VEX.L."""
    i = next(k for k, b in enumerate(code) if b in (0xC4, 0xC5))
    return code[i + 1 + (code[i] == 0xC4)] >> 2 & 1


def sizes(row: gen.Row, mode: str) -> tuple[int, ...]:
    """log2 of the operand sizes in bytes that the row distinguishes in a mode; empty: none in particular."""
    rule = gen.size_rule(row)
    if rule < 4:
        return (rule,)
    if rule == gen.BY_LENGTH:
        return (4, 5)
    long = MODES[mode].bits == 64
    if rule == 5:
        return (2, 3) if long else (2,)
    if row.mnemonic in UNSIZED or "avx" in row.attrs or "sse" in row.attrs or "mmx" in row.attrs or "fpu" in row.attrs or "xsave" in row.text.lower():
        return ()
    shown = any((o[0] in "JAI" and o not in ("Ib", "Ibs", "Iw")) or (len(o) > 1 and o[1] in "vzyap") or o in ("rAX", "eAX")
                for o in row.operands if o not in ("AL", "CL", "DX"))
    if not shown and row.mnemonic not in SIZED:
        return ()
    usual = 1 if MODES[mode].bits == 16 else 2
    if row.prefix == 0 and not row.vex:             # NP: no 66, so that only REX.W changes the size
        return (usual, 3) if long else (usual,)
    if row.prefix == 1 and not row.vex:
        return (3 - usual,)
    if not long:
        return (1, 2)
    if "f64" in row.attrs:
        return (3,)
    return (1, 3) if "d64" in row.attrs else (1, 2, 3)


def one_byte(row: gen.Row, mode: str) -> bool:
    """Its memory operand cannot cross a limit."""
    return sizes(row, mode) == (0,) or row.mnemonic in BYTE_MEMORY or "Eb" in row.operands


@lru_cache(maxsize=1)
def without_prefix() -> set[int]:
    """Rows whose mandatory prefix a processor without the feature ignores: another instruction runs, not #UD."""
    plain = {(r.map, r.opcode, r.reg): r.feat for r in rows() if not r.prefix and not r.vex}
    return {r.id for r in rows() if r.prefix and not r.vex and plain.get((r.map, r.opcode, r.reg), r.feat) != r.feat}


def legal(row: gen.Row, mode: str) -> bool:
    m = MODES[mode]
    if ("i64" in row.attrs and m.bits == 64) or ("o64" in row.attrs and m.bits != 64):
        return False
    return not (("pe" in row.attrs or row.vex) and (m.real or m.vm))


def forms(row: gen.Row) -> list[str]:
    if row.mnemonic == "LEA":
        return ["m"]
    return [f for f, has in (("r", gen.has_regform(row)), ("m", gen.has_mem(row))) if has] or ["r"]


def required() -> Iterator[tuple[int, str, str]]:
    """(row, mode, what): 'r 32' or 'm 16' for cases that run, 'fault ...' for the others."""
    for row in rows():
        feature = row.feat if row.feat not in (None, "i186", "i286", "i386", "intel", "amd") else None
        for mode in COUNTED:
            m = MODES[mode]
            if not legal(row, mode):
                if row.mnemonic not in REUSED and not row.plus_r:
                    yield row.id, mode, "fault mode"
                continue
            if "priv" in row.attrs and m.vm:
                yield row.id, mode, "fault priv"
                continue
            for f in forms(row):
                for s in sizes(row, mode) or (-1,):
                    yield row.id, mode, f"{f} {8 << s}" if s >= 0 else f
            if "m" in forms(row) and row.mnemonic not in NO_ACCESS and not (m.real and one_byte(row, mode)):
                yield row.id, mode, "fault memory"
            if "priv" in row.attrs and not m.real:
                yield row.id, mode, "fault priv"
            if feature and row.mnemonic not in NO_FEATURE_FAULT and row.id not in without_prefix():
                yield row.id, mode, "fault feature"
            if "lock" in row.attrs:
                yield row.id, mode, "locked"
            if row.mnemonic not in ALWAYS_FAULT and not ("lock" in row.attrs and forms(row) == ["m"]):
                yield row.id, mode, "fault lock"
            if row.attrs & {"sse", "mmx", "fpu", "avx"}:
                yield row.id, mode, "fault unit"


KINDS = {"pf": "memory", "pf-cross": "memory", "pf-ro": "memory", "pf-user": "memory", "limit": "memory", "canonical": "memory",
         "align": "memory", "ac": "memory", "priv": "priv", "feat": "feature", "lock-ud": "lock", "ts": "unit", "em": "unit", "xcr0": "unit",
         "mode": "mode", "memory": "memory"}


def covers(inst: Instance) -> Iterator[tuple[int, str, str]]:
    c = inst.case
    mode = "pm32" if inst.mode in ("pm32s", "pae") else inst.mode
    m = MODES[mode]
    code, bits, protected = inst.code, m.bits, not (m.real or m.vm)
    if c.twin == "lock-ud":
        code = code[1:]
    if c.twin == "mode":
        protected = True
        bits = 32 if bits == 64 else 64 if row_of(code, 64)[0] and not row_of(code, bits)[0] else bits
    row_id, _length, size = row_of(code, bits, protected)
    if not row_id:
        return
    row = rows()[row_id - 1]
    if c.fault is None or row.mnemonic in ALWAYS_FAULT or c.twin == "runs":
        form = "m" if is_memory(code, bits, row) else "r"
        if gen.size_rule(row) == gen.BY_LENGTH:
            size = 4 + vector_length(code)
        yield row_id, mode, f"{form} {8 << size}" if sizes(row, mode) else form
        if c.twin == "lock":
            yield row_id, mode, "locked"
    if c.twin in KINDS:
        yield row_id, mode, "fault " + KINDS[c.twin]


def missing() -> list[str]:
    """One line for every row, mode and form that no case exercises."""
    have = {k for f in runner.family_names() for inst in runner.instances(f) if inst.case.count for k in covers(inst)}
    table = rows()
    out = []
    for row_id, mode, what in required():
        if (row_id, mode, what) not in have:
            out.append(f"{label(table[row_id - 1])} | {mode} {what}")
    return list(dict.fromkeys(out))


def listed() -> list[str]:
    """The checked-in list of what is still missing."""
    return [x for x in MISSING.read_text().splitlines() if x and x[0] != "#"] if MISSING.exists() else []


if __name__ == "__main__":
    lines = missing()
    if len(sys.argv) > 1 and sys.argv[1] == "--write":
        MISSING.write_text("# Rows of the instruction table without a case in the assembly ring. The list only shrinks.\n"
                           + "".join(x + "\n" for x in lines))
    else:
        lines = [x for x in lines if all(a in x for a in sys.argv[1:])]
        print("\n".join(lines))
    print(len(lines), "missing of", len(set(required())), file=sys.stderr)
