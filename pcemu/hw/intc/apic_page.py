"""The local APIC's register page: one 32-bit register every 16 bytes (Intel SDM volume 3, table 11-1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .apic import LocalApic


def _ignore(value: int) -> None:
    """Writes to read-only registers."""


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
        table[0x10 + word] = lambda at=word << 5: apic.isr >> at & 0xFFFFFFFF  # type: ignore[misc]
        table[0x18 + word] = lambda at=word << 5: apic.tmr >> at & 0xFFFFFFFF  # type: ignore[misc]
        table[0x20 + word] = lambda at=word << 5: apic.irr >> at & 0xFFFFFFFF  # type: ignore[misc]
    table[0x28] = lambda: apic.esr
    table[0x30] = lambda: apic.icr_low
    table[0x31] = lambda: apic.icr_high
    for index in range(6):
        table[0x32 + index] = lambda index=index: apic.lvt[index]  # type: ignore[misc]
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
        table[0x32 + index] = lambda value, index=index: apic.write_lvt(index, value)  # type: ignore[misc]
    table[0x38] = apic.write_initial_count
    table[0x39] = _ignore
    table[0x3E] = apic.write_divide
    return table
