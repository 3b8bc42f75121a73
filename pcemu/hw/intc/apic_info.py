"""The local APIC as people look at it: `info lapic`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .apic_msg import DM_NMI

if TYPE_CHECKING:
    from .apic import LocalApic

MODES = ("Fixed", "LowPri", "SMI", "...", "NMI", "INIT", "SIPI", "ExtINT")
SHORTHANDS = ("no-shorthand", "self", "all-self", "all")
TIMER_MODES = ("one-shot", "periodic", "tsc-deadline", "reserved")
# In the order they are listed: name, index of the entry.
ENTRIES = (("LVT0", 3), ("LVT1", 4), ("LVTPC", 2), ("LVTERR", 5), ("LVTTHMR", 1), ("LVTT", 0))


def _entry(name: str, value: int, timer: bool) -> str:
    mode = value >> 8 & 7
    text = (
        f"{name}\t 0x{value:08x} {'active-lo' if value >> 13 & 1 else 'active-hi'}"
        f" {'level' if value >> 15 & 1 else 'edge':<5} {'masked' if value >> 16 & 1 else '':<6}"
        f" {'pending' if value >> 12 & 1 else '':<7}"
        f" {TIMER_MODES[value >> 17 & 3] if timer else '':<12} {MODES[mode]:<6}"
    )
    return text if mode == DM_NMI else f"{text} (vec {value & 0xFF})"


def _vectors(name: str, bits: int, tmr: int) -> str:
    found = [f"{v}{'(level)' if tmr >> v & 1 else ''}" for v in range(256) if bits >> v & 1]
    return f"{name}\t {' '.join(found) if found else '(none)'}"


def _destination(apic: LocalApic) -> str:
    """What follows ICR2 when the destination is spelled out."""
    icr = apic.icr_low
    if icr >> 18 & 3:
        return ""
    kind = "X2APIC ID" if apic.x2apic else "APIC ID"
    dest = apic.icr_high if apic.x2apic else apic.icr_high >> 24
    if not icr >> 11 & 1:
        return f" cpu {dest} ({kind})"
    if apic.x2apic:
        return f" cluster {dest >> 16} mask {dest & 0xFFFF:016b} ({kind})"
    if apic.dfr == 0xF:
        return f" mask {dest:08b} ({kind})"
    return f" cluster {dest >> 4} mask {dest & 0xF:04b} ({kind})"


def info_lapic(apic: LocalApic) -> list[str]:
    """The lines of `info lapic`."""
    lines = [f"dumping local APIC state for CPU {apic.apic_id} ", ""]
    lines += [_entry(name, apic.lvt[index], name == "LVTT") for name, index in ENTRIES]
    svr, icr = apic.svr, apic.icr_low
    lines += [
        f"Timer\t DCR=0x{apic.divide:x} (divide by {1 << apic.shift})"
        f" initial_count = {apic.initial_count} current_count = {apic.current_count()}",
        f"SPIV\t 0x{svr:08x} APIC {'enabled' if svr >> 8 & 1 else 'disabled'},"
        f" focus={'on' if svr >> 9 & 1 else 'off'}, spurious vec {svr & 0xFF}",
        f"ICR\t 0x{icr:08x} {'logical' if icr >> 11 & 1 else 'physical'}"
        f" {'level' if icr >> 15 & 1 else 'edge'} {'assert' if icr >> 14 & 1 else 'de-assert'}"
        f" {SHORTHANDS[icr >> 18 & 3]}",
        f"ICR2\t 0x{apic.icr_high:08x}{_destination(apic)}",
        f"ESR\t 0x{apic.esr:08x}",
        _vectors("ISR", apic.isr, apic.tmr),
        _vectors("IRR", apic.irr, apic.tmr),
        "",
        f"APR 0x00 TPR 0x{apic.tpr:02x} DFR 0x{apic.dfr:02x} LDR 0x{apic.ldr:02x} PPR 0x{apic.ppr:02x}",
    ]
    return lines
