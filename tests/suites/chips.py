"""Where the chips behind the vectors differ from the processors this core models, or are undefined: each line with its reason.

The core follows the SDM, and where that says 'undefined' the processors of today. A mask is as narrow as it can be: what is
undefined but agrees anyway (AF after AND, OF after rotates by more than one) is compared.
"""
from __future__ import annotations

import re
from collections.abc import Callable

from .moo import Vector

FLAG = {"c": 0x001, "p": 0x004, "a": 0x010, "z": 0x040, "s": 0x080, "o": 0x800, "iopl": 0x3000, "nt": 0x4000}
PREFIXES = {False: bytes([0x26, 0x2E, 0x36, 0x3E, 0xF0, 0xF2, 0xF3]),
            True: bytes([0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3])}
LOCKABLE = re.compile(r"(0[0189]|1[0189]|2[0189]|3[01]|8[67]|8[0-3]\.[0-6]|F[67]\.[23]|F[EF]\.[01]|0F(AB|B3|BB)|0FBA\.[567])")

# What LOADALL put into the flags and real mode keeps: on the 80286 the IOPL and NT bits stay clear.
FLAGS_LOADED = {False: 0x0FD5, True: 0x7FD5}

# chip (286, 386 or both), opcodes (file names; with '!' when they fault), flags not compared, reason
FLAGS: list[tuple[str, str, str, str]] = [
    ("both", "27|2F", "o", "DAA and DAS leave OF undefined"),
    ("both", "37|3F", "o s z p", "AAA and AAS leave OF, SF, ZF and PF undefined"),
    ("both", "D4|D5", "o a c", "AAM and AAD leave OF, AF and CF undefined"),
    ("both", "D4!", "s z p", "a divide error of AAM comes after the flags were set"),
    ("both", "69|6B|F[67].[45]|0FAF", "s z a p", "MUL and IMUL leave SF, ZF, AF and PF undefined"),
    ("both", "F[67].[67]", "o s z a p c", "DIV and IDIV leave all flags undefined"),
    ("both", "(C[01]|D[0-3]).[4-7]", "a", "shifts leave AF undefined; both chips set it"),
    ("386", "0FBC|0FBD", "o s a p c", "BSF and BSR leave all flags but ZF undefined"),
    ("386", r"0F(A3|AB|B3|BB)|0FBA\.[4-7]", "o s a p", "BT and its kin leave OF, SF, AF and PF undefined"),
    ("386", "0F(A[45]|A[CD])", "o a", "SHLD and SHRD leave AF, and OF when the count is not one, undefined"),
    ("286", "9D|CF", "iopl nt", "POPF and IRET cannot set IOPL and NT in an 80286's real mode"),
]

# chip, opcodes, registers not compared when the instruction faulted, reason
REGISTERS: list[tuple[str, str, str, str]] = [
    ("286", "6[C-F]|A[4-7A-F]", "ecx esi edi", "a faulting string instruction does not restore SI, DI and CX on the 80286"),
]


def _prefix(wide: bool, v: Vector) -> bytes:
    return v.code[:len(v.code) - len(v.code.lstrip(PREFIXES[wide]))]


# chip, reason, predicate: vectors that are not run
LEFT_OUT: list[tuple[str, str, Callable[[str, Vector, bytes], bool]]] = [
    ("286", "LOCK before an instruction that cannot be locked: ignored by the 80286, #UD later",
     lambda op, v, prefix: 0xF0 in prefix and not (LOCKABLE.fullmatch(bare(op)) and v.exception != 6 and _memory(op, v, prefix))),
    ("286", "more than 10 bytes long: too long for the 80286, 15 bytes are allowed later",
     lambda op, v, prefix: v.exception in (6, 13) and len(v.code) - 1 > 10),
    ("286", "two words at offset 0xfffe: the second is read from offset 0 on the 80286, beyond the limit later",
     lambda op, v, prefix: op in ("62", "C4", "C5", "FF.3", "FF.5") and _offset(v, prefix) == 0xFFFE),
    ("286", "POP to offset 0xffff: SP is not restored by the 80286's fault",
     lambda op, v, prefix: op == "8F" and _offset(v, prefix) == 0xFFFF),
    ("286", "an undefined form whose operands make it too long: exception 13 on the 80286, #UD later",
     lambda op, v, prefix: op == "C7" and v.exception == 13 and v.code[len(prefix) + 1] & 0x38 != 0),
    ("286", "a floating-point operand over the limit: nobody reads its second half without a coprocessor",
     lambda op, v, prefix: op == "D8" and v.exception is None and _offset(v, prefix) in (0xFFFD, 0xFFFE)),
    ("286", "MOV to or from segment register 4 or 5: #UD on the 80286, FS and GS later",
     lambda op, v, prefix: op in ("8C", "8E") and v.code[len(prefix) + 1] >> 3 & 7 in (4, 5)),
]


def _offset(v: Vector, prefix: bytes) -> int:
    """Effective address of a one-byte opcode's 16-bit ModRM operand."""
    modrm = v.code[len(prefix) + 1]
    after = v.code[len(prefix) + 2:]
    mod, rm = modrm >> 6, modrm & 7
    if mod == 3:
        return -1
    if mod == 0 and rm == 6:
        return int.from_bytes(after[:2], "little")
    bases = ("ebx esi", "ebx edi", "ebp esi", "ebp edi", "esi", "edi", "ebp", "ebx")[rm]
    disp = int.from_bytes(after[:mod], "little", signed=True)
    return sum(v.regs[r] for r in bases.split()) + disp & 0xFFFF


def _memory(op: str, v: Vector, prefix: bytes) -> bool:
    """Has the instruction's ModRM byte the memory form?"""
    n = len(prefix) + (2 if op.lstrip("67").startswith("0F") else 1)
    return n < len(v.code) and v.code[n] < 0xC0


def _for(wide: bool, chip: str) -> bool:
    return chip == "both" or (chip == "386") == wide


def bare(opcode: str) -> str:
    """An opcode's file name without its size prefixes."""
    m = re.fullmatch(r"(?:6[67]){1,2}([0-9A-F]{2}.*)", opcode)
    return m[1] if m else opcode


def flag_mask(wide: bool, opcode: str, v: Vector) -> int:
    """The flags to compare."""
    mask = 0xFFFF & ~0x0002
    ops = [bare(opcode), bare(opcode) + "!"] if v.exception is not None else [bare(opcode)]
    for chip, pattern, names, _ in FLAGS:
        if _for(wide, chip) and any(re.fullmatch(pattern, op) for op in ops):
            for name in names.split():
                mask &= ~FLAG[name]
    return mask


def register_mask(wide: bool, opcode: str, v: Vector, reg: str) -> int:
    """The bits of a register to compare. Past 0xffff an 80386's EIP goes on, an 80286's IP wraps: 16 bits."""
    if v.exception is not None:
        for chip, pattern, names, _ in REGISTERS:
            if _for(wide, chip) and re.fullmatch(pattern, bare(opcode)) and reg in names.split():
                return 0
    return 0xFFFFFFFF if reg != "eip" or wide else 0xFFFF


def loose_bytes(v: Vector, mask: int) -> dict[int, int]:
    """Bits of memory not compared: the undefined flags among those that an exception pushed."""
    if v.exception is None:
        return {}
    # flags_at is even, as the bus cycle was; the stack pointer says where the word really lies
    at = (v.regs_after.get("ss", v.regs["ss"]) << 4) + (v.regs_after["esp"] + 4 & 0xFFFF)
    return {at: ~mask & 0xFF, at + 1: ~mask >> 8 & 0xFF}


def left_out(wide: bool, opcode: str, v: Vector) -> str | None:
    """Why a vector is not run, or None."""
    prefix = _prefix(wide, v)
    for chip, reason, applies in LEFT_OUT:
        if _for(wide, chip) and applies(opcode, v, prefix):
            return reason
    return None
