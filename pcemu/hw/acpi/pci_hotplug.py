"""PCI hot-plug through ACPI, as QEMU's firmware interface has it (its docs/specs/acpi_pci_hotplug).

General-purpose event 1 says that something happened. The method that handles it (loader/acpi/dsdt.py) selects a bus and
reads which slots have a new device and which are to be emptied; ejecting is a write of the slot's bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pcemu.qom import PcemuError

if TYPE_CHECKING:
    from pcemu.hw.pci.bus import PciBus
    from pcemu.hw.pci.device import PciDevice

PORT, SIZE = 0xAE00, 0x18
UP, DOWN, EJECT, REMOVABLE, BUS_SELECT, INDEX = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14
GPE = 1
MOST_BUSES = 256


class PciHotplug:
    """The registers, for all buses; `raise_gpe` tells the guest to look."""

    def __init__(self, raise_gpe: Callable[[int], None]) -> None:
        self.raise_gpe = raise_gpe
        self.bridges = True  # also behind bridges that are there when the machine is built
        self.buses: list[PciBus] = []  # by the number that is written to BUS_SELECT
        self.up: list[int] = []
        self.down: list[int] = []
        self.selected = 0
        self.index_slot = 0

    def add_bus(self, bus: PciBus) -> int:
        """Devices on `bus` may come and go; returns its number."""
        if len(self.buses) == MOST_BUSES:
            raise PcemuError("too many PCI buses for hot-plug")
        self.buses.append(bus)
        self.up.append(0)
        self.down.append(0)
        bus.hotplug = self
        return len(self.buses) - 1

    def remove_bus(self, bus: PciBus) -> None:
        """The bridge in front of it goes; numbers of the others stay."""
        bsel = self.buses.index(bus)
        self.up[bsel] = self.down[bsel] = 0

    # -- the machine's side -------------------------------------------------------------------------------------

    def plugged(self, device: PciDevice) -> None:
        """A device has come."""
        bsel = self.buses.index(device.bus)
        self.up[bsel] |= 1 << (device.addr >> 3)
        self.raise_gpe(GPE)

    def request_unplug(self, device: PciDevice) -> None:
        """Ask the guest to let go of the device's slot."""
        if not device.user_creatable:
            raise PcemuError(f"Device '{device.id or device.type_name}' does not support hotplugging")
        bsel = self.buses.index(device.bus)
        self.down[bsel] |= 1 << (device.addr >> 3)
        self.raise_gpe(GPE)

    def reset(self) -> None:
        """What the guest was asked to let go of is gone after a reset."""
        for bsel in range(len(self.buses)):
            for slot in range(32):
                if self.down[bsel] >> slot & 1:
                    self.eject(bsel, slot)
            self.up[bsel] = self.down[bsel] = 0
        self.selected = self.index_slot = 0

    # -- the guest's side ---------------------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        if self.selected >= len(self.buses):
            return 0
        if offset == UP:
            value, self.up[self.selected] = self.up[self.selected], 0
            return value
        if offset == DOWN:
            return self.down[self.selected]
        if offset == REMOVABLE:
            return self.removable(self.buses[self.selected])
        if offset == BUS_SELECT:
            return self.selected
        if offset == INDEX:
            device = self.buses[self.selected].devices.get(self.index_slot << 3)
            return device.acpi_index if device is not None else 0
        return 0

    def write(self, offset: int, value: int) -> None:
        if offset == BUS_SELECT:
            self.selected = value
        elif offset == INDEX:
            self.index_slot = value.bit_length() - 1 if value else 0
        elif offset == EJECT and self.selected < len(self.buses) and value:
            self.eject(self.selected, (value & -value).bit_length() - 1)

    def eject(self, bsel: int, slot: int) -> None:
        """Empty a slot, all its functions."""
        bus = self.buses[bsel]
        self.up[bsel] &= ~(1 << slot)
        self.down[bsel] &= ~(1 << slot)
        for function in range(8):
            device = bus.devices.get(slot << 3 | function)
            if device is not None and device.user_creatable:
                bus.machine.device_let_go(device)

    @staticmethod
    def removable(bus: PciBus) -> int:
        """Slots that are empty or hold what may go."""
        fixed = 0
        for devfn, device in bus.devices.items():
            if not device.user_creatable:
                fixed |= 1 << (devfn >> 3)
        return 0xFFFFFFFF & ~fixed

    # -- state --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {"up": list(self.up), "down": list(self.down), "selected": self.selected}

    def load(self, values: dict[str, Any]) -> None:
        self.up, self.down, self.selected = list(values["up"]), list(values["down"]), values["selected"]
