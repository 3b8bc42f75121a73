"""x2APIC mode: the local APIC's registers as MSRs 800h-83Fh (Intel SDM volume 3, 11.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .apic_regs import LVT_REMOTE_IRR, LVT_WRITABLE, SVR_ENABLE

if TYPE_CHECKING:
    from .apic import LocalApic

LVT_DELIVERY_STATUS = 1 << 12
# Registers that can be written, and with which bits; others raise #GP (11.12.1.2, 11.12.1.3). EOI and ESR take 0 only.
WRITABLE: dict[int, int] = {
    0x08: 0xFF, 0x0B: 0, 0x0F: SVR_ENABLE | 0xFF, 0x28: 0, 0x30: 0xFFFFFFFF_000CCFFF, 0x38: 0xFFFFFFFF, 0x3E: 0xB, 0x3F: 0xFF,
    **{0x32 + i: bits | LVT_DELIVERY_STATUS | LVT_REMOTE_IRR for i, bits in enumerate(LVT_WRITABLE)},
}  # fmt: skip


def read_msr(apic: LocalApic, msr: int) -> int | None:
    """RDMSR 800h-83Fh in x2APIC mode; None: #GP (11.12.1.2)."""
    index = msr & 0xFF
    if index > 0x3F or index in (0x09, 0x0B, 0x0E, 0x31, 0x3F):
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
    index = msr & 0xFF
    if index > 0x3F:
        return False
    if value & ~WRITABLE.get(index, 0):
        return False
    if index == 0x30:
        apic.icr_low, apic.icr_high = value & 0xFFFFFFFF, value >> 32
        apic.send_ipi(apic.icr_low, apic.icr_high, 0xFFFFFFFF)
        return True
    if index == 0x0B:
        apic.eoi()
        return True
    if index == 0x3F:
        apic.send_ipi(1 << 18 | value, 0, 0xFFFFFFFF)
        return True
    writer = apic.writers[index]
    if writer is None or index not in WRITABLE:
        return False
    writer(value)
    return True
