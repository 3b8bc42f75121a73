"""Interrupt messages between APICs: who takes one, and what it may be (Intel SDM volume 3, 11.6 and 11.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

# Delivery modes, as in the ICR, the LVTs, I/O APIC entries and MSI data.
DM_FIXED, DM_LOWEST, DM_SMI, _RESERVED, DM_NMI, DM_INIT, DM_STARTUP, DM_EXTINT = range(8)
DM_NAMES = ("fixed", "lowest", "SMI", "...", "NMI", "INIT", "SIPI", "extINT")

BROADCAST = 0xFFFFFFFF


class EoiTarget:
    """Something that wants to hear of the end of level-triggered interrupts: an I/O APIC."""

    def eoi(self, vector: int) -> None:
        raise NotImplementedError


class CpuPort(Protocol):
    """What the local APIC needs of its CPU."""

    intack: Callable[[], int]
    cr8_hook: Callable[[int | None], int] | None
    apicbase_hook: Callable[[int], None] | None
    msr_hook: Callable[[int, int | None], int | None] | None
    tsc_deadline_hook: Callable[[int | None], int] | None
    apicbase: int

    def set_intr(self, level: int) -> None: ...
    def set_nmi(self) -> None: ...
    def set_init(self) -> None: ...
    def set_sipi(self, vector: int) -> None: ...


class Receiver(Protocol):
    """A local APIC, as a message sees it."""

    id_reg: int
    ldr: int
    dfr: int
    ppr: int
    irr: int
    isr: int
    enabled: bool

    @property
    def x2apic(self) -> bool: ...
    def accept(self, vector: int, level: int) -> None: ...
    def deliver(self, mode: int, vector: int, level: int) -> None: ...


def select(apic: Receiver, dest: int, logical: int) -> bool:
    """Does `apic` take messages for `dest`? (11.6.2)"""
    if not logical:
        return apic.id_reg == dest
    if apic.x2apic:
        return apic.ldr >> 16 == dest >> 16 and bool(apic.ldr & dest & 0xFFFF)
    if apic.dfr == 0xF:
        return bool(apic.ldr & dest)
    # Cluster model: the high half names the cluster, the low half members of it.
    return (apic.ldr >> 4 == dest >> 4 or dest >> 4 == 0xF) and bool(apic.ldr & dest & 0xF)


def deliver(apics: Sequence[Receiver], dest: int, logical: int, mode: int, vector: int, level: int) -> bool:
    """Send a message; False when nobody took it. An 8-bit destination of FFh means everybody."""
    if len(apics) == 1:
        apic = apics[0]
        if dest not in (0xFF, BROADCAST) and not select(apic, dest, logical):
            return False
        if mode <= DM_LOWEST:
            apic.accept(vector, level)
        else:
            apic.deliver(mode, vector, level)
        return True
    if dest in (0xFF, BROADCAST):
        targets = list(apics)
    else:
        targets = [apic for apic in apics if select(apic, dest, logical)]
    if not targets:
        return False
    if mode == DM_LOWEST:
        arbitrate(targets, vector).accept(vector, level)
    else:
        for apic in targets:
            apic.deliver(mode, vector, level)
    return True


def arbitrate(targets: Sequence[Receiver], vector: int) -> Receiver:
    """Lowest priority delivery (11.6.2.4): a CPU that has the vector already, else the least busy."""
    able = [apic for apic in targets if apic.enabled] or list(targets)
    for apic in able:
        if (apic.irr | apic.isr) >> vector & 1:
            return apic
    return min(able, key=lambda apic: apic.ppr)
