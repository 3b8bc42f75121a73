"""The DSDT: the devices of the board that an operating system cannot find by looking, in AML."""

from __future__ import annotations

from ..platform import FOUR_GIB, PCI_HOLE_END, Platform
from . import aml, hotplug

_LINKS = ("LNKA", "LNKB", "LNKC", "LNKD")
_ROUTES = ("PRQA", "PRQB", "PRQC", "PRQD")
_LINK_IRQS = (5, 10, 11)  # what PIRQ lines may be routed to: free on a PC, and level-triggered in the MADT
_GIB = 1 << 30
_STA_PRESENT = 0x0F
_STA_HIDDEN = 0x0B  # present and working, not shown to users
_STA_OFF = 0x09  # present, decoding nothing


def definition_block(platform: Platform) -> bytes:
    """The AML of the DSDT, without the table header."""
    in_sb = [_cpus(platform)]
    if platform.pci:
        in_sb += [_pci_root(platform), *_link_devices(platform)]
    if platform.hpet_base is not None:
        in_sb.append(_hpet(platform.hpet_base))
    terms = [aml.scope("\\_SB", *in_sb)]
    if platform.pm_base is not None:
        # SLP_TYP 0 is soft-off in the PIIX4 (82371AB, section 7.1.3, PMCNTRL). No other sleep state is offered.
        terms.append(aml.name("\\_S5", aml.package([aml.ZERO] * 4)))
    if platform.hotplug is not None and platform.gpe0 is not None:
        terms.append(hotplug.event_method())
    return b"".join(terms)


# -- PCI -----------------------------------------------------------------------------------------------------


def _pci_root(platform: Platform) -> bytes:
    devices = [_isa_bridge(platform)]
    if platform.fw_cfg:
        devices.append(_fw_cfg())
    if platform.gpe0 is not None:
        devices.append(_reserved_ports("GPE0", "GPE0 resources", *platform.gpe0))
    slots = []
    if platform.hotplug is not None and platform.gpe0 is not None:
        devices.append(_reserved_ports("PHPR", "PCI Hotplug resources", platform.hotplug.port, hotplug.REGISTERS))
        slots = hotplug.root_terms(platform.hotplug)
    return aml.device(
        "PCI0",
        aml.name("_HID", aml.eisaid("PNP0A03")),
        aml.name("_UID", aml.ZERO),
        aml.name("_CRS", _pci_windows(platform)),
        aml.name("_PRT", _routing_table()),
        *devices,
        *slots,
    )


def _pci_windows(platform: Platform) -> bytes:
    """What the host bridge passes on to PCI: everything that is not RAM or a chip of its own."""
    windows = [
        aml.word_bus_number(0, 0xFF),
        aml.io(0xCF8, 8),
        aml.word_io(0x0000, 0x0CF7),
        aml.word_io(0x0D00, 0xFFFF),
        aml.dword_memory(0xA0000, 0xBFFFF, cacheable=True),
        aml.dword_memory(platform.low_ram, PCI_HOLE_END),
    ]
    if platform.long_mode:
        start = (FOUR_GIB + platform.high_ram + _GIB - 1) // _GIB * _GIB
        windows.append(aml.qword_memory(start, start + 2 * _GIB - 1))
    return aml.resource_template(*windows)


def _routing_table() -> bytes:
    """Pin P of slot S is wired to PIRQ (S + P - 1) mod 4, as on QEMU's board (PIIX3, section 2.3.3).

    The PIIX4's own pin A is its SCI, which does not go through the router.
    """
    rows = []
    for slot in range(32):
        for pin in range(4):
            link = "LNKS" if (slot, pin) == (1, 0) else _LINKS[(slot + pin - 1) & 3]
            address = slot << 16 | 0xFFFF
            rows.append(aml.package([aml.integer(address), aml.integer(pin), aml.path(link), aml.ZERO]))
    return aml.package(rows)


def _link_devices(platform: Platform) -> list[bytes]:
    devices = [
        _link(number, name, f"\\_SB.PCI0.ISA.{route}")
        for number, (name, route) in enumerate(zip(_LINKS, _ROUTES, strict=True))
    ]
    devices.append(_fixed_link(len(devices), "LNKS", platform.sci_irq))
    return devices


def _link(number: int, name: str, route: str) -> bytes:
    """An interrupt link whose setting is a PIRQRC register: bit 7 off, bits 3-0 the IRQ (PIIX3, 2.3.3)."""
    register = aml.path(route)
    current = aml.path("IRQN")
    return aml.device(
        name,
        aml.name("_HID", aml.eisaid("PNP0C0F")),
        aml.name("_UID", aml.integer(number)),
        aml.name("_PRS", aml.resource_template(aml.interrupt(*_LINK_IRQS))),
        aml.method("_STA", 0,
                   aml.if_(aml.and_(register, aml.integer(0x80)), aml.return_(aml.integer(_STA_OFF))),
                   aml.return_(aml.integer(_STA_HIDDEN))),
        aml.method("_DIS", 0, aml.or_(register, aml.integer(0x80), register)),
        aml.name("BUF0", aml.resource_template(aml.interrupt(0))),
        aml.method("_CRS", 0,
                   aml.create_dword_field(aml.path("BUF0"), aml.INTERRUPT_NUMBER, "IRQN"),
                   aml.if_(aml.and_(register, aml.integer(0x80)), aml.store(aml.ZERO, current)),
                   aml.else_(aml.store(register, current)),
                   aml.return_(aml.path("BUF0")), serialized=True),
        aml.method("_SRS", 1,
                   aml.create_dword_field(aml.arg(0), aml.INTERRUPT_NUMBER, "IRQN"),
                   aml.store(current, register), serialized=True),
    )  # fmt: skip


def _fixed_link(number: int, name: str, irq: int) -> bytes:
    """A link that has one setting: the SCI."""
    resources = aml.resource_template(aml.interrupt(irq))
    return aml.device(
        name,
        aml.name("_HID", aml.eisaid("PNP0C0F")),
        aml.name("_UID", aml.integer(number)),
        aml.name("_PRS", resources),
        aml.name("_CRS", resources),
        aml.name("_STA", aml.integer(_STA_HIDDEN)),
        aml.method("_DIS", 0),
        aml.method("_SRS", 1),
    )


# -- ISA -----------------------------------------------------------------------------------------------------


def _isa_bridge(platform: Platform) -> bytes:
    devices: list[bytes] = []
    if platform.keyboard:
        devices.append(_isa_device("KBD", "PNP0303", aml.io(0x60, 1), aml.io(0x64, 1), aml.irq(1)))
    if platform.mouse:
        devices.append(_isa_device("MOU", "PNP0F13", aml.irq(12)))
    for port in platform.serial_ports:
        devices.append(_isa_device(f"COM{port.number}", "PNP0501", aml.io(port.iobase, 8), aml.irq(port.irq),
                                   uid=port.number))  # fmt: skip
    if platform.rtc:
        devices.append(_isa_device("RTC", "PNP0B00", aml.io(0x70, 2), aml.irq(8)))
    if platform.panic_port is not None:
        devices.append(_panic_device(platform.panic_port))
    return aml.device(
        "ISA",
        aml.name("_ADR", aml.integer(0x00010000)),
        aml.operation_region("PIRQ", aml.PCI_CONFIG, 0x60, 4),
        aml.field("PIRQ", aml.BYTE_ACC | aml.PRESERVE, *(aml.field_unit(route, 8) for route in _ROUTES)),
        *devices,
    )


def _isa_device(name: str, hid: str, *resources: bytes, uid: int | None = None) -> bytes:
    terms = [aml.name("_HID", aml.eisaid(hid))]
    if uid is not None:
        terms.append(aml.name("_UID", aml.integer(uid)))
    terms.append(aml.name("_STA", aml.integer(_STA_PRESENT)))
    terms.append(aml.name("_CRS", aml.resource_template(*resources)))
    return aml.device(name, *terms)


def _panic_device(port: int) -> bytes:
    return aml.device(
        "PEVT",
        aml.name("_HID", aml.string("QEMU0001")),  # the id that drivers for this device look for
        aml.name("_STA", aml.integer(_STA_PRESENT)),
        aml.name("_CRS", aml.resource_template(aml.io(port, 1))),
    )


# -- the rest ------------------------------------------------------------------------------------------------


def _fw_cfg() -> bytes:
    return aml.device(
        "FWCF",
        aml.name("_HID", aml.string("QEMU0002")),  # the id that drivers for this device look for
        aml.name("_STA", aml.integer(_STA_HIDDEN)),
        aml.name("_CRS", aml.resource_template(aml.io(0x510, 12))),
    )


def _reserved_ports(name: str, uid: str, base: int, length: int) -> bytes:
    return aml.device(
        name,
        aml.name("_HID", aml.eisaid("PNP0A06")),
        aml.name("_UID", aml.string(uid)),
        aml.name("_STA", aml.integer(_STA_HIDDEN)),
        aml.name("_CRS", aml.resource_template(aml.io(base, length))),
    )


def _hpet(base: int) -> bytes:
    return aml.device(
        "HPET",
        aml.name("_HID", aml.eisaid("PNP0103")),
        aml.name("_UID", aml.ZERO),
        aml.name("_STA", aml.integer(_STA_PRESENT)),
        aml.name("_CRS", aml.resource_template(aml.memory32_fixed(base, 0x400))),
    )


def _cpus(platform: Platform) -> bytes:
    """Processor devices; _UID is the processor UID of the MADT's entry."""
    return b"".join(
        aml.device(f"C{number:03X}", aml.name("_HID", aml.string("ACPI0007")), aml.name("_UID", aml.integer(number)))
        for number in range(len(platform.apic_ids))
    )
