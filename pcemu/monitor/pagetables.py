"""Walks a guest's page tables: 32-bit, PAE and 4-level (Intel SDM volume 3, chapter 4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

P, RW, US, PWT, PCD, A, D, PS, G = (1 << bit for bit in range(9))
NX = 1 << 63
ADDR_MASK = 0x000FFFFFFFFFF000
CR0_PG, CR4_PSE, CR4_PAE, EFER_LMA = 1 << 31, 1 << 4, 1 << 5, 1 << 10


class Mapping(NamedTuple):
    """One present leaf entry."""

    virtual: int        # not sign-extended
    size: int
    physical: int
    entry: int
    rights: int         # P, RW, US that all levels grant


@dataclass(frozen=True)
class Level:
    shift: int          # address bits below this level's index
    count: int
    large: int          # the bit that makes an entry a leaf, 0: never
    grants: bool        # has RW and US bits (PAE's directory pointers have not)


LEVELS_32 = (Level(22, 1024, PS, True), Level(12, 1024, 0, True))
LEVELS_PAE = (Level(30, 4, 0, False), Level(21, 512, PS, True), Level(12, 512, 0, True))
LEVELS_64 = (Level(39, 512, 0, True), Level(30, 512, PS, True), Level(21, 512, PS, True), Level(12, 512, 0, True))


def paging_on(cpu: Any) -> bool:
    return bool(cpu.get("cr0") & CR0_PG)


def canonical(cpu: Any, virtual: int) -> int:
    """The address as a pointer has it: sign-extended in long mode."""
    if cpu.get("efer") & EFER_LMA and virtual >> 47 & 1:
        return virtual | 0xFFFF << 48
    return virtual


def walk(cpu: Any, memory: Any) -> Iterator[Mapping]:
    """Every present mapping, by ascending address."""
    if not paging_on(cpu):
        return
    cr3, cr4 = cpu.get("cr3"), cpu.get("cr4")
    if cpu.get("efer") & EFER_LMA:
        yield from _walk(memory, LEVELS_64, cr3 & ADDR_MASK, 8, 0, P | RW | US)
    elif cr4 & CR4_PAE:
        yield from _walk(memory, LEVELS_PAE, cr3 & 0xFFFFFFE0, 8, 0, P | RW | US)
    else:
        levels = LEVELS_32 if cr4 & CR4_PSE else (replace(LEVELS_32[0], large=0), LEVELS_32[1])
        yield from _walk(memory, levels, cr3 & 0xFFFFF000, 4, 0, P | RW | US)


def _walk(memory: Any, levels: tuple[Level, ...], table: int, width: int, virtual: int, rights: int) -> Iterator[Mapping]:
    level, below = levels[0], levels[1:]
    data = memory.read(table, level.count * width)
    for index, entry in enumerate(struct.unpack(f"<{level.count}{'Q' if width == 8 else 'I'}", data)):
        if not entry & P:
            continue
        at = virtual | index << level.shift
        granted = rights & entry if level.grants else rights
        if not below or entry & level.large:
            yield Mapping(at, 1 << level.shift, _frame(entry, level, width), entry, granted)
        else:
            yield from _walk(memory, below, entry & (ADDR_MASK if width == 8 else 0xFFFFF000), width, at, granted)


def _frame(entry: int, level: Level, width: int) -> int:
    size = 1 << level.shift
    if width == 8:
        return entry & ADDR_MASK & -size
    if level.shift == 22:               # PSE-36: bits 20-13 hold physical bits 39-32
        return entry & 0xFFC00000 | (entry >> 13 & 0xFF) << 32
    return entry & 0xFFFFF000
