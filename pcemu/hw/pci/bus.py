"""The PCI bus: who is where, configuration accesses, and the shared interrupt pins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pcemu.qom import Bus, Device, MemoryRegion, PcemuError

if TYPE_CHECKING:
    from pcemu.hw.acpi.pci_hotplug import PciHotplug

    from .device import PciDevice

SLOTS, FUNCTIONS = 32, 8


def devfn_name(devfn: int) -> str:
    return f"{devfn >> 3:02x}.{devfn & 7}"


class PciBus(Bus):
    """One bus segment. `memory` and `io` are the address spaces BARs are placed in."""

    type_name = "PCI"

    def __init__(self, name: str, parent: Device | None, memory: MemoryRegion, io: MemoryRegion,
                 number: int = 0, machine: Any = None) -> None:  # fmt: skip
        super().__init__(name, parent, machine)
        self.memory = memory
        self.io = io
        self.number = number
        self.devices: dict[int, PciDevice] = {}  # by devfn: slot << 3 | function
        self._map_pin: Callable[[int, int], int] = lambda devfn, pin: pin
        self._set_line: Callable[[int, int], None] = lambda line, level: None
        self._asserted: dict[int, int] = {}  # how many pins hold each interrupt line
        self._hotplug: PciHotplug | None = None

    # -- hot-plug -------------------------------------------------------------------------------------------

    @property
    def hotplug(self) -> PciHotplug | None:
        """Who tells the guest of devices that come and go."""
        return self._hotplug

    @hotplug.setter
    def hotplug(self, controller: PciHotplug) -> None:
        self._hotplug = controller
        self.hotpluggable = True

    def plugged(self, device: PciDevice) -> None:
        """device_add: the device is in its slot."""
        if self._hotplug is not None:
            self._hotplug.plugged(device)

    def request_unplug(self, device: PciDevice) -> None:
        """device_del: it goes when the guest has let it go."""
        if self._hotplug is not None:
            self._hotplug.request_unplug(device)

    # -- slots ----------------------------------------------------------------------------------------------

    def attach(self, device: Device) -> None:
        from .device import PciDevice

        if not isinstance(device, PciDevice):
            raise PcemuError(f"{device.type_name}: not a PCI device")
        device.addr = self._allocate(device)
        self.devices[device.addr] = device
        super().attach(device)

    def detach(self, device: Device) -> None:
        super().detach(device)
        self.devices = {devfn: other for devfn, other in self.devices.items() if other is not device}

    def _allocate(self, device: PciDevice) -> int:
        devfn = device.addr
        if devfn < 0:
            for devfn in range(0, SLOTS * FUNCTIONS, FUNCTIONS):
                if not any(devfn + fn in self.devices for fn in range(FUNCTIONS)):
                    return devfn
            raise PcemuError(f"PCI: no slot/function available for {device.type_name}, all in use or reserved")
        slot, function = devfn >> 3, devfn & 7
        other = self.devices.get(devfn)
        if other is not None:
            raise PcemuError(
                f"PCI: slot {slot} function {function} not available for {device.type_name},"
                f" in use by {other.type_name},id={other.id}"
            )
        # Software looks at functions 1 to 7 only when function 0 says there are some (6.2.1, header type).
        if function:
            first = self.devices.get(slot << 3)
            if first is not None and not first.multifunction:
                raise PcemuError(f"PCI: single function device can't be populated in function {slot:x}.{function:x}")
        elif not device.multifunction:
            for fn in range(1, FUNCTIONS):
                if devfn + fn in self.devices:
                    raise PcemuError(
                        f"PCI: {slot:x}.0 indicates single function, but {slot:x}.{fn:x} is already populated."
                    )
        return devfn

    def in_order(self) -> list[PciDevice]:
        """Devices by slot and function."""
        return [self.devices[devfn] for devfn in sorted(self.devices)]

    # -- configuration --------------------------------------------------------------------------------------

    def config_read(self, devfn: int, offset: int, size: int) -> int:
        """A configuration cycle on this bus; with nobody there it ends in a master abort, all ones."""
        device = self.devices.get(devfn)
        if device is None or not device.realized:
            return (1 << (size << 3)) - 1
        return device.config_read(offset, size)

    def config_write(self, devfn: int, offset: int, value: int, size: int) -> None:
        device = self.devices.get(devfn)
        if device is not None and device.realized:
            device.config_write(offset, value, size)

    # -- interrupts -----------------------------------------------------------------------------------------

    def route_irqs(self, map_pin: Callable[[int, int], int], set_line: Callable[[int, int], None]) -> None:
        """The bridge says which of its inputs a device's pin (0 is INTA#) is wired to, and takes their levels."""
        self._map_pin = map_pin
        self._set_line = set_line

    def intx_changed(self, devfn: int, pin: int, level: int) -> None:
        """A device asserts or releases its pin; lines are wired-or."""
        line = self._map_pin(devfn, pin)
        count = self._asserted.get(line, 0) + (1 if level else -1)
        self._asserted[line] = count
        if count == (1 if level else 0):
            self._set_line(line, level)
