"""The local APIC's register page: one 32-bit register every 16 bytes (Intel SDM volume 3, table 11-1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .apic import LocalApic


def _ignore(value: int) -> None:
    """Writes to read-only registers."""


def _word(apic: LocalApic, register: str, at: int) -> int:
    bits: int = getattr(apic, register)
    return bits >> at & 0xFFFFFFFF


def _lvt(apic: LocalApic, index: int) -> int:
    return apic.lvt[index]


def build_readers(apic: LocalApic) -> list[Callable[[], int] | None]:
    table: list[Callable[[], int] | None] = [None] * 64
    table[0x02] = lambda: apic.id_reg << 24 & 0xFFFFFFFF
    table[0x03] = lambda: apic.version | 5 << 16  # six LVT entries
    table[0x08] = lambda: apic.tpr
    table[0x09] = lambda: 0  # arbitration priority: none since the Pentium 4
    table[0x0A] = lambda: apic.ppr
    table[0x0B] = lambda: 0  # EOI is write-only
    table[0x0D] = lambda: apic.ldr << 24 & 0xFFFFFFFF
    table[0x0E] = lambda: apic.dfr << 28 | 0xFFFFFFF
    table[0x0F] = lambda: apic.svr
    for word in range(8):
        for at, register in ((0x10, "isr"), (0x18, "tmr"), (0x20, "irr")):
            table[at + word] = partial(_word, apic, register, 32 * word)
    table[0x28] = lambda: apic.esr
    table[0x30] = lambda: apic.icr_low
    table[0x31] = lambda: apic.icr_high
    for index in range(6):
        table[0x32 + index] = partial(_lvt, apic, index)
    table[0x38] = lambda: apic.initial_count
    table[0x39] = apic.current_count
    table[0x3E] = lambda: apic.divide
    return table


def build_writers(apic: LocalApic) -> list[Callable[[int], None] | None]:
    table: list[Callable[[int], None] | None] = [None] * 64
    table[0x02] = apic.write_id
    table[0x03] = _ignore
    table[0x08] = apic.write_tpr
    table[0x0A] = _ignore
    table[0x0D] = apic.write_ldr
    table[0x0E] = apic.write_dfr
    table[0x0F] = apic.write_svr
    table[0x28] = apic.write_esr
    table[0x30] = apic.write_icr
    table[0x31] = apic.write_icr_high
    for index in range(6):
        table[0x32 + index] = partial(apic.write_lvt, index)
    table[0x38] = apic.write_initial_count
    table[0x39] = _ignore
    table[0x3E] = apic.write_divide
    return table
