"""ACPI tables from a Platform: RSDP, RSDT, XSDT, FADT, FACS, DSDT, MADT, HPET and WAET.

ACPI specification 6.3, chapter 5; the HPET table is in the IA-PC HPET specification 1.0a, section 3.2.4; WAET in
Microsoft's "Windows ACPI Emulated Devices Table".
"""

from __future__ import annotations

import struct

from ..platform import LAPIC_BASE, Platform
from .dsdt import definition_block
from .linker import ZONE_FSEG, ZONE_HIGH, LinkedFiles

TABLES_FILE = "etc/acpi/tables"
RSDP_FILE = "etc/acpi/rsdp"

CREATOR = b"PCEM"
_HEADER = 36
_CHECKSUM = 9  # of the checksum byte in a table header

_GAS_IO = 1

# FADT, 5.2.9: fixed feature flags and boot architecture flags.
_WBINVD = 1 << 0
_PROC_C1 = 1 << 2
_SLP_BUTTON = 1 << 5  # no fixed sleep button
_RESET_REG_SUP = 1 << 10
_USE_PLATFORM_CLOCK = 1 << 15
_IAPC_LEGACY_DEVICES = 1 << 0
_IAPC_8042 = 1 << 1
_IAPC_NO_VGA = 1 << 2
_IAPC_NO_CMOS_RTC = 1 << 5

SMI_COMMAND_PORT = 0xB2
ACPI_ENABLE = 0xF1
ACPI_DISABLE = 0xF0
RESET_PORT = 0xCF9
RESET_VALUE = 0x06  # reset the processor and the whole system (PIIX3, section 2.5.8)


def build(platform: Platform) -> LinkedFiles:
    """All tables, not yet at an address."""
    linked = LinkedFiles()
    rsdp = linked.add(RSDP_FILE, 16, ZONE_FSEG)
    blob = linked.add(TABLES_FILE, 64, ZONE_HIGH)
    blob += _facs()  # first, because it must lie at a multiple of 64
    dsdt = _append(linked, _table(platform, b"DSDT", 2, definition_block(platform)))
    tables = []
    if platform.pm_base is not None:
        fadt = _append(linked, _fadt(platform))
        linked.point(TABLES_FILE, fadt + 36, 4, TABLES_FILE, 0)
        linked.point(TABLES_FILE, fadt + 40, 4, TABLES_FILE, dsdt)
        linked.point(TABLES_FILE, fadt + 140, 8, TABLES_FILE, dsdt)
        tables.append(fadt)
    if platform.apic and platform.ioapic_base is not None:
        tables.append(_append(linked, _madt(platform)))
    if platform.hpet_base is not None:
        tables.append(_append(linked, _hpet(platform)))
    tables.append(_append(linked, _waet(platform)))

    rsdt = _append(linked, _table(platform, b"RSDT", 1, bytes(4 * len(tables))))
    xsdt = _append(linked, _table(platform, b"XSDT", 1, bytes(8 * len(tables))))
    for index, table in enumerate(tables):
        linked.point(TABLES_FILE, rsdt + _HEADER + 4 * index, 4, TABLES_FILE, table)
        linked.point(TABLES_FILE, xsdt + _HEADER + 8 * index, 8, TABLES_FILE, table)

    rsdp += struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, platform.oem_id.encode(), 2, 0, 36, 0, 0)
    linked.point(RSDP_FILE, 16, 4, TABLES_FILE, rsdt)
    linked.point(RSDP_FILE, 24, 8, TABLES_FILE, xsdt)
    for start in [dsdt, *tables, rsdt, xsdt]:
        (length,) = struct.unpack_from("<I", blob, start + 4)
        linked.checksum(TABLES_FILE, start + _CHECKSUM, start, length)
    linked.checksum(RSDP_FILE, 8, 0, 20)
    linked.checksum(RSDP_FILE, 32, 0, 36)
    return linked


def _append(linked: LinkedFiles, table: bytes) -> int:
    """Put a table behind the others, at a multiple of 16; its offset."""
    blob = linked.files[TABLES_FILE]
    blob += bytes(-len(blob) % 16)
    start = len(blob)
    blob += table
    return start


def _table(platform: Platform, signature: bytes, revision: int, body: bytes) -> bytes:
    header = struct.pack("<4sIBB6s8sI4sI", signature, _HEADER + len(body), revision, 0,
                         platform.oem_id.encode(), platform.oem_table_id.encode(), 1, CREATOR, 1)  # fmt: skip
    return header + body


def _gas_io(port: int, length: int, access: int = 0) -> bytes:
    """A generic address structure for `length` bytes of ports; none for port 0."""
    return struct.pack("<BBBBQ", _GAS_IO, 8 * length, 0, access, port) if port else bytes(12)


def _facs() -> bytes:
    return struct.pack("<4sI", b"FACS", 64).ljust(32, b"\x00") + b"\x02" + bytes(31)


def _fadt(platform: Platform) -> bytes:
    assert platform.pm_base is not None
    pm1_event, pm1_control, timer = platform.pm_base, platform.pm_base + 4, platform.pm_base + 8
    gpe0, gpe0_length = platform.gpe0 or (0, 0)
    boot = _IAPC_LEGACY_DEVICES
    boot |= _IAPC_8042 if platform.keyboard else 0
    boot |= 0 if platform.vga else _IAPC_NO_VGA
    boot |= 0 if platform.rtc else _IAPC_NO_CMOS_RTC
    flags = _WBINVD | _PROC_C1 | _SLP_BUTTON | _USE_PLATFORM_CLOCK
    reset = bytes(12), 0
    if platform.reset_register:
        flags |= _RESET_REG_SUP
        reset = _gas_io(RESET_PORT, 1, 1), RESET_VALUE
    body = struct.pack("<IIBBHI4B", 0, 0, 0, 0, platform.sci_irq, SMI_COMMAND_PORT, ACPI_ENABLE, ACPI_DISABLE, 0, 0)
    body += struct.pack("<8I", pm1_event, 0, pm1_control, 0, 0, timer, gpe0, 0)
    body += struct.pack("<8B", 4, 2, 0, 4, gpe0_length, 0, 0, 0)
    # C2 and C3 latencies beyond 100 and 1000 us mean "there is no such state".
    body += struct.pack("<4H5BHBI", 0xFFF, 0xFFF, 0, 0, 0, 0, 0, 0, 0x32 if platform.rtc else 0, boot, 0, flags)
    body += reset[0] + struct.pack("<BHB", reset[1], 0, 0)
    body += struct.pack("<QQ", 0, 0)
    body += _gas_io(pm1_event, 4) + bytes(12) + _gas_io(pm1_control, 2) + bytes(12) + bytes(12)
    body += _gas_io(timer, 4) + _gas_io(gpe0, gpe0_length) + bytes(12)
    return _table(platform, b"FACP", 4, body)


def _madt(platform: Platform) -> bytes:
    assert platform.ioapic_base is not None
    body = struct.pack("<II", LAPIC_BASE, 1)  # there is a pair of 8259s as well
    for number, apic_id in enumerate(platform.apic_ids):
        body += struct.pack("<BBBBI", 0, 8, number, apic_id, 1)
    body += struct.pack("<BBBBII", 1, 12, platform.ioapic_id, 0, platform.ioapic_base, 0)
    body += struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0)  # the timer's interrupt is on pin 2
    for irq in sorted({5, 10, 11, platform.sci_irq}):  # PCI interrupts and the SCI: active high, level-triggered
        body += struct.pack("<BBBBIH", 2, 10, 0, irq, irq, 0b1101)
    body += struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1)  # NMI is on LINT1 of every processor
    return _table(platform, b"APIC", 3, body)


def _hpet(platform: Platform) -> bytes:
    assert platform.hpet_base is not None
    body = struct.pack("<IBBBBQBHB", platform.hpet_id, 0, 64, 0, 0, platform.hpet_base, 0, 100, 0)
    return _table(platform, b"HPET", 1, body)


def _waet(platform: Platform) -> bytes:
    return _table(platform, b"WAET", 1, struct.pack("<I", 2))  # the PM timer reads right the first time
