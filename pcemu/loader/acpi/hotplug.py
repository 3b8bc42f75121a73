"""AML for PCI devices that come and go: a device object with _EJ0 for each slot, and what handles the event.

The registers are described in hw/acpi/pci_hotplug.py.
"""

from __future__ import annotations

from ..platform import HotplugBus
from . import aml

REGISTERS = 0x18
UP, EJECT, BUS_SELECT = 0x00, 0x08, 0x10
# Values of Notify (ACPI 6.3, 5.6.6).
DEVICE_CHECK, EJECT_REQUEST = aml.ONE, aml.integer(3)


def root_terms(bus: HotplugBus) -> list[bytes]:
    """What goes into PCI0: the registers, the method that ejects, and the slots."""
    flags = aml.DWORD_ACC | aml.WRITE_AS_ZEROS
    return [
        aml.operation_region("PCST", aml.SYSTEM_IO, bus.port + UP, 8),
        aml.field("PCST", flags, aml.field_unit("PCIU", 32), aml.field_unit("PCID", 32)),
        aml.operation_region("SEJ", aml.SYSTEM_IO, bus.port + EJECT, 4),
        aml.field("SEJ", flags, aml.field_unit("B0EJ", 32)),
        aml.operation_region("BNMR", aml.SYSTEM_IO, bus.port + BUS_SELECT, 4),
        aml.field("BNMR", flags, aml.field_unit("BNUM", 32)),
        aml.mutex("BLCK"),
        aml.method("PCEJ", 2,
                   aml.acquire("BLCK"),
                   aml.store(aml.arg(0), aml.path("BNUM")),
                   aml.store(aml.shift_left(aml.ONE, aml.arg(1)), aml.path("B0EJ")),
                   aml.release("BLCK"),
                   aml.return_(aml.ZERO)),
        *_bus_terms(bus),
    ]  # fmt: skip


def _slot_name(slot: int) -> str:
    return f"S{slot << 3:02X}"


def _bus_terms(bus: HotplugBus) -> list[bytes]:
    """The slots of one bus, and the method that tells of changes on it and behind its bridges."""
    behind = dict(bus.bridges)
    terms = [aml.name("BSEL", aml.integer(bus.number))]
    for slot in sorted({*bus.slots, *behind}):
        inside = [
            aml.name("_SUN", aml.integer(slot)),
            aml.name("_ADR", aml.integer(slot << 16)),
        ]
        if slot in behind:
            inside += _bus_terms(behind[slot])
        if slot in bus.slots and slot not in behind:
            inside.append(aml.method("_EJ0", 1, aml.call("\\_SB.PCI0.PCEJ", aml.path("BSEL"), aml.path("_SUN"))))
        terms.append(aml.device(_slot_name(slot), *inside))
    told = [slot for slot in bus.slots if slot not in behind]
    terms.append(aml.method("DVNT", 2, *(
        aml.if_(aml.and_(aml.arg(0), aml.integer(1 << slot)), aml.notify(aml.path(_slot_name(slot)), aml.arg(1)))
        for slot in told)))  # fmt: skip
    terms.append(aml.method("PCNT", 0,
                            aml.store(aml.path("BSEL"), aml.path("\\_SB.PCI0.BNUM")),
                            aml.call("DVNT", aml.path("\\_SB.PCI0.PCIU"), DEVICE_CHECK),
                            aml.call("DVNT", aml.path("\\_SB.PCI0.PCID"), EJECT_REQUEST),
                            *(aml.call(f"^{_slot_name(slot)}.PCNT") for slot in behind)))  # fmt: skip
    return terms


def event_method() -> bytes:
    """General-purpose event 1."""
    return aml.scope("\\_GPE", aml.method("_E01", 0,
                                          aml.acquire("\\_SB.PCI0.BLCK"),
                                          aml.call("\\_SB.PCI0.PCNT"),
                                          aml.release("\\_SB.PCI0.BLCK")))  # fmt: skip
