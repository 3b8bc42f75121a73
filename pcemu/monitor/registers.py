"""Registers by the names the monitor's users know: $eax and $rax, $pc, $cs and $cs.base."""

from __future__ import annotations

from typing import Any

from .errors import ArgumentError

_LEGACY = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
_SEGMENTS = ("cs", "ds", "es", "ss", "fs", "gs", "ldt", "tr")

# The monitor's name -> the CPU's
_NAMES: dict[str, str] = {
    **{name: "r" + name for name in _LEGACY},
    **{"e" + name: "r" + name for name in _LEGACY},
    **{name: name for name in ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")},
    **{f"r{number}": f"r{number}" for number in range(8, 16)},
    **{f"cr{number}": f"cr{number}" for number in (0, 2, 3, 4, 8)},
    **{f"dr{number}": f"dr{number}" for number in (0, 1, 2, 3, 6, 7)},
    **{name: name for name in _SEGMENTS},
    **{f"{name}.base": f"{name}_base" for name in (*_SEGMENTS, "gdt", "idt")},
    **{f"{name}.limit": f"{name}_limit" for name in (*_SEGMENTS, "gdt", "idt")},
    "fp": "rbp", "eip": "rip", "rip": "rip", "ip": "rip", "eflags": "eflags", "rflags": "eflags", "efer": "efer",
}


def read(cpu: Any, name: str) -> int:
    """The value of `$name`. `$pc` is linear: an address to look at memory with."""
    if name == "pc":
        return linear_pc(cpu)
    core_name = _NAMES.get(name)
    if core_name is None:
        raise ArgumentError("unknown register")
    value: int = cpu.get(core_name)
    return value


def code_bits(cpu: Any) -> int:
    """16, 32 or 64: how the code at CS:RIP is decoded."""
    attr = cpu.get("cs_attr")
    if cpu.get("efer") & 1 << 10 and attr & 1 << 21:
        return 64
    return 32 if attr & 1 << 22 else 16


def linear_pc(cpu: Any) -> int:
    pc: int = cpu.get("rip")
    if code_bits(cpu) != 64:
        pc = (cpu.get("cs_base") + pc) & 0xFFFFFFFF
    return pc
