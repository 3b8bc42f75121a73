"""Assembler text for every MMX and SSE row of the instruction table: register and memory forms, a choice of immediates."""
from __future__ import annotations

from dataclasses import dataclass

from pcemu._core.isa.gen import Row, read_rows

# rows whose handlers serve several instructions of the assembler
SPELLING = {"MOVDR": ("movd", "movq"), "MOVD": ("movd", "movq"), "PEXTRDQ": ("pextrd", "pextrq"),
            "PINSRDQ": ("pinsrd", "pinsrq")}
# memory operands that the assembler wants a size for, in bytes, by the general register's width
SIZED = {"CVTSI2SS", "CVTSI2SD", "PEXTRDQ", "PINSRDQ", "MOVD", "MOVDR"}
UNTESTED = {"LDMXCSR"}
APPROXIMATE = {"RCPPS", "RCPSS", "RSQRTPS", "RSQRTSS"}
GPR = {32: ("eax", "ecx", "edx"), 64: ("rax", "rcx", "rdx")}
IMMEDIATES = {"CMP": range(8), "ROUND": range(16), "DPP": (0xFF, 0xF1, 0x71, 0x3F, 0x55, 0, 0x9A, 0x62),
              "PCMPESTR": (), "PCMPISTR": ()}


@dataclass(frozen=True)
class Case:
    """One instruction to test. kind: what its operands hold; align: the memory operand must be on 16 bytes."""
    text: str
    row: Row
    memory: bool

    @property
    def kind(self) -> str:
        name = self.row.mnemonic
        if name.startswith(("CVTSI", "CVTPI", "CVTDQ")):
            return "int"
        if name.startswith(("CVTPS", "CVTTPS", "CVTSS", "CVTTSS")) or name.endswith(("PS", "SS")):
            return "ps"
        if name.startswith(("CVTPD", "CVTTPD", "CVTSD", "CVTTSD")) or (name.endswith(("PD", "SD")) and not name.startswith("P")):
            return "pd"
        return "int"


def immediates(row: Row) -> list[int]:
    for prefix, values in IMMEDIATES.items():
        if row.mnemonic.startswith(prefix):
            return list(values)
    return [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 0x1B, 0x4E, 0x93, 0xA5, 0xFF]


def operand(o: str, width: int, order: int, memory: bool) -> str:
    """Vector and MMX operands by their order: xmm0, xmm1; general registers: ecx or rcx."""
    letter = o[0]
    if letter == "I":
        return "{imm}"
    if letter == "M" or (memory and letter in "EWQ"):
        return "{mem}"
    if letter in "EGRB":
        return GPR[width][order + 1]
    return f"{'mm' if letter in 'PQN' else 'xmm'}{order}"


def cases() -> list[Case]:
    out = []
    for row in read_rows():
        if row.mnemonic in UNTESTED or not ({"mmx", "sse"} & row.attrs or row.mnemonic == "MOVNTI") or row.vex:
            continue
        wide = any(o[0] in "EGMR" and o[1:2] == "y" for o in row.operands)
        mem_only = any(o[0] == "M" for o in row.operands) or row.mod == "m"
        has_mem = mem_only or (row.mod != "r" and any(o[0] in "EWQ" for o in row.operands))
        for width in (32, 64) if wide else (32,):
            for memory in (False, True):
                if (memory and not has_mem) or (not memory and mem_only):
                    continue
                ops = [operand(o, width, i, memory) for i, o in enumerate(row.operands)]
                name = row.mnemonic.lower()
                if row.mnemonic in SPELLING:
                    name = SPELLING[row.mnemonic][width == 64]
                mem = "[rsi]"
                if row.mnemonic in SIZED:
                    mem = f"{'dword' if width == 32 else 'qword'} ptr [rsi]"
                for imm in immediates(row) if "{imm}" in ops else [0]:
                    text = f"{name} {', '.join(ops)}".format(imm=imm, mem=mem)
                    out.append(Case(text.strip(), row, memory))
    return out
