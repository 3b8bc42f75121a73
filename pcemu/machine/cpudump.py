"""The CPU's state as text, for triple faults, -d cpu and the monitor's `info registers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Bit and letter of each flag, high to low, as they are shown between brackets.
FLAG_LETTERS = ((11, "O"), (10, "D"), (7, "S"), (6, "Z"), (4, "A"), (2, "P"), (0, "C"))
XCR0_AVX = 4
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
EFER_LMA = 1 << 10
CR0_PE = 1
DESC_P, DESC_L = 1 << 15, 1 << 21
GPRS_64 = (
    ("rax", "rbx", "rcx", "rdx"), ("rsi", "rdi", "rbp", "rsp"),
    ("r8", "r9", "r10", "r11"), ("r12", "r13", "r14", "r15"),
)  # fmt: skip
GPRS_32 = GPRS_64[:2]


def dump_cpu(cpu: Any, index: int = 0, vectors: bool = True) -> str:
    """General, segment, system and (with `vectors`) floating-point registers, in QEMU's layout.

    What runs decides the width of general registers and segments, the mode (long or not) that of tables and CR2/3.
    """
    get = cpu.get
    long_mode = bool(get("efer") & EFER_LMA)
    wide = long_mode and bool(get("cs_attr") & DESC_L)
    digits = 16 if wide else 8
    lines = [f"CPU#{index}"]
    for row in GPRS_64 if wide else GPRS_32:
        lines.append(" ".join(f"{_name(reg, wide):<3}={get(reg) & (1 << 4 * digits) - 1:0{digits}x}" for reg in row))
    flags = get("eflags")
    letters = "".join(letter if flags >> bit & 1 else "-" for bit, letter in FLAG_LETTERS)
    pc, fl = ("RIP", "RFL") if wide else ("EIP", "EFL")
    lines.append(
        f"{pc}={get('rip') & (1 << 4 * digits) - 1:0{digits}x} {fl}={flags:08x} [{letters}] CPL={get('cpl')}"
        f" II={int(bool(get('interrupt_shadow')))} A20={int(bool(cpu.a20))} SMM=0 HLT={int(bool(cpu.halted))}"
    )
    for name in (*SEGMENTS, "ldt", "tr"):
        lines.append(_segment(get, name, digits, long_mode))
    digits = 16 if long_mode else 8
    for name in ("gdt", "idt"):
        lines.append(f"{name.upper()}=     {get(name + '_base'):0{digits}x} {get(name + '_limit'):08x}")
    lines.append(
        f"CR0={get('cr0'):08x} CR2={get('cr2'):0{digits}x} CR3={get('cr3'):0{digits}x} CR4={get('cr4'):08x}"
    )
    # QEMU leaves a blank at the end of this line.
    lines.append("".join(f"DR{i}={get(f'dr{i}'):016x} " for i in range(4)))
    lines.append(f"DR6={get('dr6'):016x} DR7={get('dr7'):016x}")
    lines.append(f"EFER={get('efer'):016x}")
    if vectors:
        lines += _floating(get, wide)
    return "\n".join(lines)


def _floating(get: Any, wide: bool) -> list[str]:
    status = get("fsw")
    lines = [
        f"FCW={get('fcw'):04x} FSW={status:04x} [ST={status >> 11 & 7:x}] FTW={get('ftw'):02x} MXCSR={get('mxcsr'):08x}"
    ]
    values = [get(f"fpr{i}") for i in range(8)]
    lines += _pairs([f"FPR{i}={v & (1 << 64) - 1:016x} {v >> 64 & 0xFFFF:04x}" for i, v in enumerate(values)])
    n = 16 if wide else 8
    if get("xcr0") & XCR0_AVX:
        words = [[get(f"ymm{i}") >> shift & (1 << 64) - 1 for shift in (192, 128, 64, 0)] for i in range(n)]
        return lines + [f"YMM{i:02}=" + " ".join(f"{w:016x}" for w in four) for i, four in enumerate(words)]
    values = [get(f"xmm{i}") for i in range(n)]
    return lines + _pairs([f"XMM{i:02}={v >> 64:016x} {v & (1 << 64) - 1:016x}" for i, v in enumerate(values)])


def _pairs(cells: Sequence[str]) -> list[str]:
    return [" ".join(cells[i : i + 2]) for i in range(0, len(cells), 2)]


def _name(reg: str, wide: bool) -> str:
    return reg.upper() if wide else "E" + reg[1:].upper()


def _segment(get: Any, name: str, digits: int, long_mode: bool) -> str:
    attr = get(name + "_attr")
    base = get(name + "_base") & (1 << 4 * digits) - 1
    text = f"{name.upper():<3}={get(name):04x} {base:0{digits}x} {get(name + '_limit'):08x} {attr:08x}"
    # Real mode loads no descriptors, and an absent one has nothing to say.
    if not get("cr0") & CR0_PE or not attr & DESC_P:
        return text
    return f"{text} {describe_attr(attr, long_mode)}"


def describe_attr(attr: int, long_mode: bool) -> str:
    """``DPL=0 CS64 [-RA]``: the descriptor's second word read out (Intel SDM volume 3, figure 3-8)."""
    dpl = f"DPL={attr >> 13 & 3}"
    if not attr & 1 << 12:
        return f"{dpl} {_system_type(attr, long_mode)}"
    if attr & 1 << 11:
        kind = "CS64" if attr & DESC_L else "CS32" if attr & 1 << 22 else "CS16"
        rights = ("C" if attr & 1 << 10 else "-") + ("R" if attr & 1 << 9 else "-")
    else:
        kind = "DS  " if attr & 1 << 22 or long_mode else "DS16"
        rights = ("E" if attr & 1 << 10 else "-") + ("W" if attr & 1 << 9 else "-")
    return f"{dpl} {kind} [{rights}{'A' if attr & 1 << 8 else '-'}]"


_SYSTEM_TYPES_32 = ("Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
                    "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32",
                    "TrapGate32")  # fmt: skip
_SYSTEM_TYPES_64 = ("<hiword>", "Reserved", "LDT", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved",
                    "Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved", "IntGate64",
                    "TrapGate64")  # fmt: skip


def _system_type(attr: int, wide: bool) -> str:
    return (_SYSTEM_TYPES_64 if wide else _SYSTEM_TYPES_32)[attr >> 8 & 15]
