"""Processor states at which boot protocols enter their guests (Intel SDM volume 3, chapters 2, 3 and 9)."""

from __future__ import annotations

import struct
from typing import Any

from .plan import GDT_ADDR, PAGE_TABLES_ADDR

# Selectors of the Linux boot protocol, __BOOT_CS and __BOOT_DS; the other protocols accept any.
BOOT_CS = 0x10
BOOT_DS = 0x18
BOOT_TSS = 0x20

# Bits 8-23 of a descriptor's second dword: type, S, DPL, P, AVL, L, D/B, G.
_CODE32 = 0x00C09B00
_CODE64 = 0x00A09B00
_DATA32 = 0x00C09300
_TSS32 = 0x00008B00
_LDT = 0x00008200

_CR0_PE = 1 << 0
_CR0_ET = 1 << 4
_CR0_PG = 1 << 31
_CR4_PAE = 1 << 5
_EFER_LME = 1 << 8
_EFER_LMA = 1 << 10
_PAGE_TABLE = 0x03  # present, writable
_PAGE_2M = 0x83
_IDENTITY_GIB = 4

_FLAT_LIMIT = 0xFFFFFFFF


def flat_gdt(long_mode: bool) -> bytes:
    """Null, unused, code, data, TSS: the segments below as a table a guest may reload them from."""
    code = _CODE64 if long_mode else _CODE32
    descriptors = [0, 0, _descriptor(0, 0xFFFFF, code), _descriptor(0, 0xFFFFF, _DATA32),
                   _descriptor(0, 0x67, _TSS32 & ~0x200)]  # fmt: skip
    return struct.pack("<5Q", *descriptors)


def _descriptor(base: int, limit: int, flags: int) -> int:
    low = (base & 0xFFFF) << 16 | limit & 0xFFFF
    high = base & 0xFF000000 | flags & 0x00F0FF00 | limit & 0xF0000 | base >> 16 & 0xFF
    return high << 32 | low


def identity_page_tables() -> bytes:
    """Four-level tables at PAGE_TABLES_ADDR that map the first 4 GiB onto themselves, in 2 MiB pages."""
    pml4, pdpt, directories = PAGE_TABLES_ADDR, PAGE_TABLES_ADDR + 0x1000, PAGE_TABLES_ADDR + 0x2000
    assert pml4 + 0x1000 == pdpt
    tables = struct.pack("<Q", pdpt | _PAGE_TABLE).ljust(4096, b"\x00")
    entries = [directories + 0x1000 * gib | _PAGE_TABLE for gib in range(_IDENTITY_GIB)]
    tables += struct.pack(f"<{_IDENTITY_GIB}Q", *entries).ljust(4096, b"\x00")
    return tables + b"".join(struct.pack("<Q", page << 21 | _PAGE_2M) for page in range(512 * _IDENTITY_GIB))


def enter_flat32(cpu: Any, entry: int, **registers: int) -> None:
    """32-bit protected mode, flat segments, paging and interrupts off."""
    cpu.set("cr0", _CR0_PE | _CR0_ET)
    _segments(cpu, _CODE32)
    _begin(cpu, entry, registers)


def enter_long64(cpu: Any, entry: int, **registers: int) -> None:
    """64-bit mode on the identity page tables, interrupts off."""
    cpu.set("cr3", PAGE_TABLES_ADDR)
    cpu.set("cr4", _CR4_PAE)
    cpu.set("efer", _EFER_LME | _EFER_LMA)
    cpu.set("cr0", _CR0_PE | _CR0_ET | _CR0_PG)
    _segments(cpu, _CODE64)
    _begin(cpu, entry, registers)


def _begin(cpu: Any, entry: int, registers: dict[str, int]) -> None:
    for name in ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"):
        cpu.set(name, registers.get(name, 0))
    cpu.set("eflags", 2)
    cpu.set("rip", entry)


def _segments(cpu: Any, code: int) -> None:
    cpu.set("gdt_base", GDT_ADDR)
    cpu.set("gdt_limit", len(flat_gdt(False)) - 1)
    cpu.set("idt_base", 0)
    cpu.set("idt_limit", 0)
    _load(cpu, "cs", BOOT_CS, _FLAT_LIMIT, code)
    for name in ("ds", "es", "ss", "fs", "gs"):
        _load(cpu, name, BOOT_DS, _FLAT_LIMIT, _DATA32)
    _load(cpu, "ldt", 0, 0, _LDT)
    _load(cpu, "tr", BOOT_TSS, 0x67, _TSS32)


def _load(cpu: Any, name: str, selector: int, limit: int, flags: int) -> None:
    cpu.set(name, selector)
    cpu.set(f"{name}_base", 0)
    cpu.set(f"{name}_limit", limit)
    cpu.set(f"{name}_attr", flags)


def set_memory_types(cpu: Any, low_ram: int, phys_bits: int) -> None:
    """MTRRs as firmware leaves them (SDM volume 3, 12.11): write-back, but for the VGA window and the PCI hole.

    Without this Linux finds memory uncached and says that firmware disabled the MTRRs.
    """
    hole = next(start for start in (0x80000000, 0xC0000000, 0xE0000000) if low_ram <= start)
    write_back, write_protect = 0x0606060606060606, 0x0505050505050505
    for index in range(2):  # 0-7ffff, 80000-9ffff
        cpu.set(f"mtrr_fix{index}", write_back)
    cpu.set("mtrr_fix2", 0)  # a0000-bffff
    for index in range(3, 11):  # c0000-fffff
        cpu.set(f"mtrr_fix{index}", write_protect)
    mask = (1 << phys_bits) - (0x100000000 - hole)
    cpu.set("mtrr_var0", hole)
    cpu.set("mtrr_var1", mask | 0x800)
    cpu.set("mtrr_def", 0xC06)
