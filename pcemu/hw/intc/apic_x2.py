"""x2APIC mode: the local APIC's registers as MSRs 800h-83Fh (Intel SDM volume 3, 11.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .apic import LocalApic


def read_msr(apic: LocalApic, msr: int) -> int | None:
    """RDMSR 800h-83Fh in x2APIC mode; None: #GP (11.12.1.2)."""
    index = msr & 0x3F
    if not apic.x2apic or index in (0x09, 0x0B, 0x0E, 0x31, 0x3F):
        return None
    if index == 0x02:
        return apic.id_reg
    if index == 0x0D:
        return apic.ldr
    if index == 0x30:
        return apic.icr_high << 32 | apic.icr_low
    reader = apic.readers[index]
    return reader() if reader is not None else None


def write_msr(apic: LocalApic, msr: int, value: int) -> bool:
    """WRMSR 800h-83Fh in x2APIC mode; False: #GP."""
    index = msr & 0x3F
    if not apic.x2apic:
        return False
    if index == 0x0B:
        if value:
            return False
        apic.eoi()
        return True
    if index == 0x30:
        apic.icr_low, apic.icr_high = value & 0xCCFFF, value >> 32 & 0xFFFFFFFF
        apic.send_ipi(value & 0xFFFFFFFF, apic.icr_high, 0xFFFFFFFF)
        return True
    if index == 0x3F:
        if value >> 8:
            return False
        apic.send_ipi(1 << 18 | value, 0, 0xFFFFFFFF)
        return True
    writer = apic.writers[index]
    if writer is None or index in (0x02, 0x03, 0x0A, 0x0D, 0x0E, 0x31, 0x39) or value >> 32:
        return False
    if index == 0x28 and value:
        return False
    writer(value)
    return True
