"""Turn the instruction table into what the compiled decoder reads: ``gen/tables.h`` and one ``gen/<family>_reg.pxi`` a module.

Run by setup.py before anything is compiled; ``python -m pcemu._core.isa.gen --missing`` lists rows that have no handler.
"""
from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

ISA = Path(__file__).resolve().parent
CORE = ISA.parent
GEN = CORE / "gen"

MAPS = {(): 0, ("0F",): 1, ("0F", "38"): 2, ("0F", "3A"): 3}      # VEX: + 4 (0F is map 5), with VEX.W: + 8
N_MAPS = 12
PREFIX = {"NP": 0, "66": 1, "F3": 2, "F2": 3}

# attribute bits, mirrored as A_* in decode.pyx through tables.h
ATTRS = ["modrm", "end", "lock", "priv", "time", "d64", "f64", "pe", "fpu", "mmx", "sse", "wait", "avx", "force_reg",
         "vex_l0", "vex_l1", "avx2_l1", "vsib", "np"]
NOT_BITS = {"i64", "o64", "vex_w0", "vex_w1", "lig", "legacy"}      # attributes that only the generator looks at
IMM = ["none", "Ib", "Ibs", "Iw", "Iz", "Iv", "Jb", "Jz", "O", "A", "IwIb", "one", "L", "IbL"]
SIZES = {"b": 0, "w": 1, "d": 2, "q": 3, "v": 4, "z": 4, "y": 5}
BY_LENGTH = 6                       # size rule: the vector length decides, 128 or 256 bits
FLAG_BITS = {"c": 1, "p": 2, "a": 4, "z": 8, "s": 16, "o": 32, "d": 64}

OPERAND_LETTERS = {
    "G": "r", "Z": "r", "B": "r", "V": "r", "P": "q", "U": "r", "N": "q", "R": "r", "H": "r", "I": "i", "J": "j", "O": "o",
    "A": "p", "S": "s", "C": "x", "D": "d", "M": "m", "L": "r", "X": "", "Y": "",
}
FIXED = {"AL": ("r", 0), "rAX": ("r", 0), "eAX": ("r", 0), "CL": ("c", 1), "DX": ("d", 2), "1": ("i", 0), "ST": ("t", 0)}
# where a register operand's number comes from
SRC_NONE, SRC_REG, SRC_RM, SRC_OPC, SRC_FIXED0, SRC_VVVV = range(6)
KIND_PLAIN, KIND_BYTE, KIND_LOW3 = range(3)


def _load(path: Path) -> ModuleType:
    """Load a rows module by file: the build must not import the package it is building."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Row:
    """One line of the table."""
    text: str
    vex: bool
    prefix: int | None
    map: int
    opcode: int
    plus_r: bool
    reg: int | None
    literal: int | None
    literal_i: bool
    mod: str                      # '', 'm' or 'r'
    mnemonic: str
    operands: list[str]
    attrs: set[str]
    feat: str | None
    flags: tuple[str, str, str]
    id: int = 0
    handlers: list[list[str | None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.mnemonic} {','.join(self.operands)}".strip()


def parse_row(line: str) -> Row:
    """Parse ``opcode | MNEMONIC operands | attributes``."""
    cols = [c.strip() for c in line.split("|")]
    if len(cols) == 2:
        cols.append("")
    toks = cols[0].split()
    vex = toks[0] == "VEX"
    if vex:
        toks.pop(0)
    prefix = None
    if toks[0] in PREFIX and len(toks) > 1 and not toks[1].startswith(("/", "@")) and toks[1] not in ("m", "r"):
        prefix = PREFIX[toks.pop(0)]
    escape: tuple[str, ...] = ()
    if toks[0] == "0F" and len(toks) > 1 and re.fullmatch(r"[0-9A-F]{2}(\+r)?", toks[1]):
        toks.pop(0)
        escape = ("0F",)
        if toks[0] in ("38", "3A") and len(toks) > 1 and re.fullmatch(r"[0-9A-F]{2}(\+r)?", toks[1]):
            escape += (toks.pop(0),)
    op = toks.pop(0)
    plus_r = op.endswith("+r")
    reg = literal = None
    literal_i = False
    mod = ""
    for t in toks:
        if re.fullmatch(r"/[0-7]", t):
            reg = int(t[1])
        elif t == "/r":
            pass
        elif t.startswith("@"):
            literal_i = t.endswith("+i")
            literal = int(t[1:3], 16)
        elif t in ("m", "r"):
            mod = t
        else:
            raise SystemExit(f"isa: bad opcode token {t!r} in {line!r}")
    mnemonic, _, rest = cols[1].partition(" ")
    operands = [o.strip() for o in rest.split(",")] if rest.strip() else []
    attrs: set[str] = set()
    feat = None
    flags = ("", "", "")
    for a in cols[2].split():
        if a.startswith("feat="):
            feat = a[5:]
        elif a.startswith("f="):
            parts = (a[2:] + "::").split(":")
            flags = (parts[0], parts[1], parts[2])
        else:
            attrs.add(a)
    return Row(line, vex, prefix, MAPS[escape] + (4 if vex else 0), int(op[:2], 16), plus_r, reg, literal, literal_i, mod,
               mnemonic, operands, attrs, feat, flags)


def read_rows() -> list[Row]:
    rows = []
    for path in sorted(ISA.glob("rows_*.py")):
        for line in _load(path).ROWS.splitlines():
            line = line.split("#")[0].strip()
            if line:
                try:
                    rows.append(parse_row(line))
                except (ValueError, KeyError, IndexError) as e:
                    raise SystemExit(f"isa: {path.name}: cannot parse {line!r}: {e}") from e
    for i, r in enumerate(rows, 1):
        r.id = i
    return rows


HANDLER = re.compile(r"^cdef Op\* (op_\w+)\(Cpu\* *\w*, Op\* *\w*\) noexcept nogil", re.M)


def families() -> dict[str, list[str]]:
    """Handler names by module: the module's source and every included .pxi, templates expanded."""
    found: dict[str, list[str]] = {}
    for pyx in sorted(CORE.glob("x_*.pyx")):
        text = pyx.read_text()
        for inc in re.findall(r'^include "([^"]+)"', text, re.M):
            if not inc.endswith("_reg.pxi") and (CORE / inc).exists():
                text += "\n" + (CORE / inc).read_text()
        found[pyx.stem] = HANDLER.findall(text)
    return found


def write_if_changed(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def expand_templates() -> None:
    from Cython.Tempita import Template
    for src in sorted(CORE.glob("*.pxi.in")):
        text = Template(src.read_text(), name=src.name).substitute()
        write_if_changed(GEN / src.name[:-3], text.rstrip("\n") + "\n")


def size_rule(row: Row) -> int:
    """Index into SIZES of the operand that decides the size, or 4 (operand size) where none does, or BY_LENGTH."""
    if "avx" in row.attrs and not row.attrs & {"vex_l0", "vex_l1", "lig"}:
        return BY_LENGTH
    for o in row.operands:
        if o in ("AL", "CL", "DX", "1", "ST"):
            if o == "AL":
                return 0
            continue
        if o in ("rAX", "eAX"):
            return 4
        if o[0] in "EGZMRBOI" and len(o) > 1 and o[1] in SIZES and o not in ("Ib", "Ibs", "Iw"):
            return SIZES[o[1]]
    return 4


def operand_form(o: str, mem: bool) -> str:
    if o in FIXED:
        return FIXED[o][0]
    if o[0] in "EWQ":
        return "m" if mem else "q" if o[0] == "Q" else "r"
    return OPERAND_LETTERS[o[0]]


def has_mem(row: Row) -> bool:
    return row.mod != "r" and row.literal is None and any(o[0] in "EWQM" and o not in FIXED for o in row.operands)


def has_regform(row: Row) -> bool:
    return row.mod != "m" and not any(o[0] == "M" for o in row.operands)


def has_modrm(row: Row) -> bool:
    return (row.reg is not None or row.literal is not None or row.mod != "" or "modrm" in row.attrs
            or (any(o[0] in "EGMRVWUHPQNCDS" and o not in FIXED for o in row.operands if o[0] != "S" or row.plus_r is False)
            and not any(o.startswith("S_") for o in row.operands)))


def placement(row: Row, mem: bool) -> tuple[int, int, int, int, int]:
    """(reg source, reg kind, rm source, rm kind, vvvv used): destination first."""
    regs: list[tuple[int, int]] = []
    vvvv = 0
    for o in row.operands:
        if o in FIXED:
            if o in ("AL", "rAX", "eAX"):
                regs.append((SRC_FIXED0, KIND_BYTE if o == "AL" else KIND_PLAIN))
            elif o == "ST" and row.literal_i:
                regs.append((SRC_RM, KIND_LOW3))
            continue
        k = o[0]
        byte = KIND_BYTE if len(o) > 1 and o[1] == "b" and k in "EGZRB" else KIND_PLAIN
        if k == "G":
            regs.append((SRC_REG, byte))
        elif k in "VCD":
            regs.append((SRC_REG, KIND_PLAIN))
        elif k in "SP":
            regs.append((SRC_REG, KIND_LOW3))
        elif k in "ER":
            if not mem:
                regs.append((SRC_RM, byte))
        elif k in "WU":
            if not mem:
                regs.append((SRC_RM, KIND_PLAIN))
        elif k in "QN":
            if not mem:
                regs.append((SRC_RM, KIND_LOW3))
        elif k == "Z":
            regs.append((SRC_OPC, byte))
        elif k in "HB":
            vvvv = 1
    if row.literal_i and not any(o == "ST" for o in row.operands):
        regs.append((SRC_RM, KIND_LOW3))
    if row.operands and all(o == "ST" for o in row.operands):
        regs = [(SRC_NONE, 0), (SRC_RM, KIND_LOW3)]
    regs += [(SRC_NONE, 0)] * (2 - len(regs))
    return regs[0][0], regs[0][1], regs[1][0], regs[1][1], vvvv


def imm_kind(row: Row) -> str:
    kinds = [o for o in row.operands if o[0] in "IJOAL" and o not in FIXED]
    if "1" in row.operands:
        return "one"
    if not kinds:
        return "none"
    if len(kinds) == 2:
        return "IwIb" if kinds[0] == "Iw" else "IbL"
    k = kinds[0]
    if k[0] in "OAL":
        return k[0]
    return k


def resolve(row: Row, names: dict[str, int]) -> None:
    """Fill row.handlers[form][size index]."""
    rule = size_rule(row)
    base = f"op_{row.mnemonic.lower()}"
    if "legacy" in row.attrs:
        base = f"op_{row.mnemonic[1:].lower()}"
    row.handlers = [[None] * 4, [None] * 4]
    for form in (0, 1):
        if (form and not has_mem(row)) or (not form and not has_regform(row)):
            continue
        letters = "".join(operand_form(o, bool(form)) for o in row.operands)
        for s in range(4):
            if (rule < 4 and s != rule) or (rule == 5 and s < 2) or (rule == BY_LENGTH and s > 1):
                continue
            bits = 128 << s if rule == BY_LENGTH else 8 << s
            for cand in (f"{base}_{letters}_{bits}", f"{base}_{letters}", f"{base}_{bits}", base):
                if cand in names:
                    row.handlers[form][s] = cand
                    break


def missing(rows: list[Row]) -> list[str]:
    out = []
    for r in rows:
        for form in (0, 1):
            if (form and not has_mem(r)) or (not form and not has_regform(r)):
                continue
            if not any(r.handlers[form]) or (size_rule(r) == BY_LENGTH and not all(r.handlers[form][:2])):
                out.append(f"{r.text}   [{'memory' if form else 'register'} form]")
    return out


class Dispatch:
    """opcode -> row, through up to two sub-tables (prefix/mod/reg, then rm)."""

    def __init__(self) -> None:
        self.first = [[[0] * 256 for _ in range(N_MAPS)] for _ in range(2)]
        self.sub: list[list[int]] = []
        self.rm: list[list[int]] = []

    def _sub(self, x64: int, m: int, opc: int) -> list[int]:
        v = self.first[x64][m][opc]
        if not v & 0x8000:
            self.sub.append([v] * 64)
            v = self.first[x64][m][opc] = 0x8000 | (len(self.sub) - 1)
        return self.sub[v & 0x7FFF]

    def add(self, row: Row) -> None:
        modes = [0, 1]
        if "i64" in row.attrs:
            modes = [0]
        if "o64" in row.attrs:
            modes = [1]
        only_mem = row.mod == "m" or any(o[0] == "M" for o in row.operands)
        only_reg = row.mod == "r" or row.literal is not None or any(o[0] in "RUN" and o not in FIXED for o in row.operands)
        # MOV CR/DR: "R" operands ignore ModRM.mod (SDM: the two bits are ignored)
        if "force_reg" in row.attrs:
            only_reg = False
        maps = [row.map]
        if row.vex:
            maps = [row.map + 4] if "vex_w1" in row.attrs else maps if "vex_w0" in row.attrs else [row.map, row.map + 4]
        for x64, m in ((x, m) for x in modes for m in maps):
            for opc in range(row.opcode, row.opcode + (8 if row.plus_r else 1)):
                simple = row.prefix is None and row.reg is None and row.literal is None and not only_mem and not only_reg
                if simple and not self.first[x64][m][opc]:
                    self.first[x64][m][opc] = row.id
                    continue
                t = self._sub(x64, m, opc)
                for p in range(4) if row.prefix is None else (row.prefix,):
                    for mod in (0, 1):
                        if (only_mem and mod) or (only_reg and not mod):
                            continue
                        lit = row.literal
                        want_reg = row.reg if lit is None else (lit >> 3) & 7
                        for reg in range(8) if want_reg is None else (want_reg,):
                            i = p * 16 + mod * 8 + reg
                            if lit is None:
                                t[i] = row.id
                                continue
                            v = t[i]
                            if not v & 0x8000:
                                self.rm.append([v] * 8)
                                v = t[i] = 0x8000 | (len(self.rm) - 1)
                            for rm in range(8) if row.literal_i else (lit & 7,):
                                self.rm[v & 0x7FFF][rm] = row.id


def specificity(row: Row) -> tuple[int, int, int]:
    """General rows first, so that specific ones override them."""
    return (row.literal is not None, row.prefix is not None, (row.mod != "") + (row.reg is not None))


def features() -> dict[str, int]:
    path = ISA / "features.py"
    if not path.exists():
        return {}
    return dict(_load(path).FEATURE_NUMBER)


def flag_mask(s: str) -> int:
    return sum(FLAG_BITS[ch] for ch in s)


def generate() -> list[str]:
    """Write everything under gen/; return the rows without a handler."""
    GEN.mkdir(exist_ok=True)
    expand_templates()
    fams = families()
    names: dict[str, int] = {}
    for h in sorted({h for handlers in fams.values() for h in handlers}):
        names[h] = len(names) + 1
    for fam, handlers in fams.items():
        lines = ["", "cdef void register_handlers(AddFn add) noexcept nogil:"]
        lines += [f'    add("{h}", {h})' for h in dict.fromkeys(handlers)] or ["    pass"]
        write_if_changed(GEN / f"{fam}_reg.pxi", "\n".join(lines) + "\n")
    write_if_changed(GEN / "families.pxi", "".join(
        f"from pcemu._core.{fam} cimport register_handlers as _reg_{fam}\n" for fam in fams)
        + "\n\ncdef void register_all(AddFn add) noexcept nogil:\n" + "".join(f"    _reg_{fam}(add)\n" for fam in fams))
    rows = read_rows()
    write_if_changed(GEN / "emit.h", _load(ISA / "emit_table.py").generate(list(names), rows))
    feats = features()
    feats.setdefault("", 0)
    write_if_changed(GEN / "state_regs.pxi", _load(ISA / "state_table.py").generate())
    disp = Dispatch()
    for r in sorted(rows, key=specificity):
        disp.add(r)
    out = ["/* Generated by isa/gen.py from the instruction table. */", "#include <stdint.h>"]
    out += [f"#define A_{a.upper()} (1u << {i})" for i, a in enumerate(ATTRS)]
    out += [f"#define IMM_{a.upper()} {i}" for i, a in enumerate(IMM)]
    out.append(f"#define ISA_FEAT_AVX2 {feats.get('avx2', 0)}")
    out += [f"#define N_HANDLERS {len(names) + 1}", f"#define N_ROWS {len(rows) + 1}"]
    names_of = {n.upper().replace("-", "_").replace(".", "_"): i for n, i in feats.items() if n}
    write_if_changed(GEN / "features.pxi", "cdef enum:\n" + "".join(f"    FEAT_{n} = {i}\n" for n, i in names_of.items()))
    out.append("static const char *const isa_handlers[N_HANDLERS] = {\"\",\n" + ",\n".join(f'"{h}"' for h in names) + "};")
    out.append("typedef struct { uint16_t h[2][4]; uint32_t attr; uint16_t feat; uint8_t imm, size, place[2][5], fneed, fdef, "
               "fundef; const char *name; } IsaRow;")
    out.append("static const IsaRow isa_rows[N_ROWS] = {\n {{{0}}},")
    for r in rows:
        resolve(r, names)
        attr = sum(1 << ATTRS.index(a) for a in r.attrs if a in ATTRS)
        if has_modrm(r):
            attr |= 1
        if r.prefix == 0:
            attr |= 1 << ATTRS.index("np")
        unknown = {a for a in r.attrs if a not in ATTRS and a not in NOT_BITS}
        if unknown:
            raise SystemExit(f"isa: unknown attribute {sorted(unknown)} in {r.text!r}")
        if r.feat and feats and len(feats) > 1 and r.feat not in feats:
            raise SystemExit(f"isa: unknown feature {r.feat!r} in {r.text!r}")
        ids = [[names[x] if x else 0 for x in form] for form in r.handlers]
        feat = feats.get(r.feat, 0) + 1 if r.feat and r.feat in feats else 0
        place = [placement(r, False), placement(r, True)]
        fl = [flag_mask(x) for x in r.flags]

        def arr(x: object) -> str:
            return str(x).replace("[", "{").replace("]", "}").replace("(", "{").replace(")", "}")
        out.append(f" {{{arr(ids)}, {attr}u, {feat}, {IMM.index(imm_kind(r))}, {size_rule(r)}, {arr(place)}, "
                   f"{fl[0]}, {fl[1]}, {fl[2]}, \"{r.name}\"}},")
    out.append("};")
    out.append(f"static const uint16_t isa_first[2][{N_MAPS}][256] = {{")
    for tables in disp.first:
        out.append("{" + ",\n".join("{" + ",".join(map(str, m)) + "}" for m in tables) + "},")
    out.append("};")
    for nm, tabs, width in (("sub", disp.sub, 64), ("rm", disp.rm, 8)):
        out.append(f"static const uint16_t isa_{nm}[{max(1, len(tabs))}][{width}] = {{")
        out += ["{" + ",".join(map(str, t)) + "}," for t in tabs] or ["{0}"]
        out.append("};")
    write_if_changed(GEN / "tables.h", "\n".join(out) + "\n")
    return missing(rows)


if __name__ == "__main__":
    lack = generate()
    if "--missing" in sys.argv:
        print("\n".join(lack))
        sys.exit(bool(lack))
