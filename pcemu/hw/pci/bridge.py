"""pci-bridge: a PCI-to-PCI bridge (PCI-to-PCI Bridge Architecture Specification 1.2, chapter 3).

What of the address spaces lies behind it is said by three windows: I/O, memory, prefetchable memory. Each is an alias
into the secondary bus's space. Interrupt pins go through, rotated by the slot (9.1).
"""

from __future__ import annotations

from typing import Any, ClassVar

from pcemu.qom import MemoryRegion, Property

from .bar import BAR_PRIORITY
from .bus import PciBus
from .config import COMMAND_IO, COMMAND_MEMORY, ConfigReg
from .device import PciDevice

PRIMARY, SECONDARY, SUBORDINATE = 0x18, 0x19, 0x1A
IO_BASE, IO_LIMIT, MEM_BASE, MEM_LIMIT, PREF_BASE, PREF_LIMIT, PREF_BASE_HIGH, PREF_LIMIT_HIGH, CONTROL = (
    0x1C, 0x1D, 0x20, 0x22, 0x24, 0x26, 0x28, 0x2C, 0x3E)  # fmt: skip
SECONDARY_RESET = 1 << 6
HEADER_BRIDGE = 1
PREF_64BIT = 1
MSI_CHOICES = ("on", "off", "auto")
NO_RESERVE = (1 << 64) - 1


class PciBridge(PciDevice):
    """A bridge with a bus of its own, which is called like the device's id."""

    type_name = "pci-bridge"
    desc = "Standard PCI Bridge"
    category = "bridge"

    vendor_id = 0x1B36
    device_id = 0x0001
    class_id = 0x0604
    subsystem_vendor_id = 0  # these are other registers in a bridge's header
    subsystem_id = 0
    header_type = HEADER_BRIDGE
    bar_count = 2
    rom_offset = 0x38
    status_reset = 0x00A0

    chassis_nr = Property("u8", name="chassis_nr")
    msi_ = Property(name="msi", default="auto", choices=MSI_CHOICES, help="on/off/auto")
    shpc = Property(bool, help="on/off")
    bus_reserve = Property("u32", default=0xFFFFFFFF)
    io_reserve = Property("size", default=NO_RESERVE)
    mem_reserve = Property("size", default=NO_RESERVE)
    pref32_reserve = Property("size", default=NO_RESERVE)
    pref64_reserve = Property("size", default=NO_RESERVE)

    config_registers: ClassVar[tuple[ConfigReg, ...]] = (
        ConfigReg("PRIMARY", PRIMARY, writable=0xFF),
        ConfigReg("SECONDARY", SECONDARY, writable=0xFF, on_write="numbers_written"),
        ConfigReg("SUBORDINATE", SUBORDINATE, writable=0xFF),
        ConfigReg("SECLAT", 0x1B, writable=0xF8),
        ConfigReg("IOBASE", IO_BASE, writable=0xF0, on_write="window_written"),
        ConfigReg("IOLIMIT", IO_LIMIT, writable=0xF0, on_write="window_written"),
        ConfigReg("SECSTATUS", 0x1E, 2, reset=0x00A0, w1c=0xF900),
        ConfigReg("MEMBASE", MEM_BASE, 2, writable=0xFFF0, on_write="window_written"),
        ConfigReg("MEMLIMIT", MEM_LIMIT, 2, writable=0xFFF0, on_write="window_written"),
        ConfigReg("PREFBASE", PREF_BASE, 2, reset=PREF_64BIT, writable=0xFFF0, on_write="window_written"),
        ConfigReg("PREFLIMIT", PREF_LIMIT, 2, reset=PREF_64BIT, writable=0xFFF0, on_write="window_written"),
        ConfigReg("PREFBASEHIGH", PREF_BASE_HIGH, 4, writable=0xFFFFFFFF, on_write="window_written"),
        ConfigReg("PREFLIMITHIGH", PREF_LIMIT_HIGH, 4, writable=0xFFFFFFFF, on_write="window_written"),
        ConfigReg("CONTROL", CONTROL, 2, writable=0x0FFF & ~0x0400, on_write="control_written"),
    )

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        super().__init__(machine, bus, id, **props)
        self.memory = MemoryRegion("pci_bridge_pci", 2**64, owner=self)
        self.ports = MemoryRegion("pci_bridge_io", 2**16, owner=self)
        name = self.id
        if not name:
            taken = {each.name for each in machine.buses()}
            name = next(f"pci.{i}" for i in range(1, len(taken) + 2) if f"pci.{i}" not in taken)
        self.secondary = PciBus(name, self, self.memory, self.ports)
        self.secondary.route_irqs(self.pin_behind, self.pin_changed)

    def realize(self) -> None:
        if self.shpc:
            raise self.fail("shpc=on: there is no hot-plug controller in the bridge; ACPI does it")
        for name in ("bus_reserve", "io_reserve", "mem_reserve", "pref32_reserve", "pref64_reserve"):
            if getattr(self, name) != self._properties[name.replace("_", "-")].default:
                raise self.fail(f"{name.replace('_', '-')}: not implemented")
        if self.msi_ == "on":
            raise self.fail("msi=on: without a hot-plug controller the bridge has no interrupts")
        self.msi_ = "off"
        super().realize()
        self.add_slot_numbering()
        parent = self.bus
        self.windows: list[tuple[MemoryRegion, MemoryRegion]] = []  # alias, and what it hangs in
        for name, root, target in (("pci_bridge_io", parent.io, self.ports), ("pci_bridge_mem", parent.memory, self.memory),
                                   ("pci_bridge_pref_mem", parent.memory, self.memory)):  # fmt: skip
            alias = MemoryRegion.alias(name, target, 0, 0x1000, owner=self)
            alias.enabled = False
            root.add(alias, 0, priority=BAR_PRIORITY)
            self.windows.append((alias, root))
        if parent.hotplug is not None and parent.hotplug.bridges and not self.hotplugged:
            parent.hotplug.add_bus(self.secondary)

    def add_slot_numbering(self) -> None:
        """Which chassis the slots behind are in (3.2.6)."""
        at = self.add_capability(0x04, 4)
        self.layout.reset[at + 3] = self.chassis_nr
        self.config[:] = self.layout.reset

    def reset(self) -> None:
        super().reset()
        self.secondary.number = 0
        self._place_windows()

    def unplug(self) -> None:
        for device in list(self.secondary.children):
            device.unplug()
        for alias, root in self.windows:
            root.remove(alias)
            if alias.target is not None:
                alias.target._aliases.remove(alias)
        hotplug = self.secondary.hotplug
        if hotplug is not None:
            hotplug.remove_bus(self.secondary)
        super().unplug()

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        self.secondary.number = self.config[SECONDARY]
        self._place_windows()

    # -- registers ----------------------------------------------------------------------------------------------

    def numbers_written(self, old: int, new: int) -> None:
        self.secondary.number = new

    def window_written(self, old: int, new: int) -> None:
        self._place_windows()

    def command_changed(self, old: int, new: int) -> None:
        self._place_windows()

    def control_written(self, old: int, new: int) -> None:
        if new & ~old & SECONDARY_RESET:
            for device in self.secondary.in_order():
                device.reset()

    def ranges(self) -> list[tuple[int, int]]:
        """First and last address of the I/O, memory and prefetchable windows; empty when the last is below the first."""
        io = self.config[IO_BASE] & 0xF0, self.config[IO_LIMIT] & 0xF0
        mem = self.get(MEM_BASE, 2) & 0xFFF0, self.get(MEM_LIMIT, 2) & 0xFFF0
        pref = self.get(PREF_BASE, 2) & 0xFFF0, self.get(PREF_LIMIT, 2) & 0xFFF0
        return [
            (io[0] << 8, io[1] << 8 | 0xFFF),
            (mem[0] << 16, mem[1] << 16 | 0xFFFFF),
            (pref[0] << 16 | self.get(PREF_BASE_HIGH, 4) << 32, pref[1] << 16 | 0xFFFFF | self.get(PREF_LIMIT_HIGH, 4) << 32),
        ]

    def _place_windows(self) -> None:
        command = self.command
        with self.machine.memory_space, self.machine.io_space:
            for kind, (alias, _), (first, last) in zip((COMMAND_IO, COMMAND_MEMORY, COMMAND_MEMORY), self.windows,
                                                       self.ranges(), strict=True):  # fmt: skip
                open_ = bool(command & kind) and first <= last
                if open_:
                    alias.resize(last - first + 1)
                    alias.retarget(first)
                    alias.move(first)
                alias.enabled = open_

    # -- interrupts ---------------------------------------------------------------------------------------------

    @staticmethod
    def pin_behind(devfn: int, pin: int) -> int:
        return (pin + (devfn >> 3)) & 3

    def pin_changed(self, pin: int, level: int) -> None:
        self.bus.intx_changed(self.addr, pin, level)

    # -- what people look at ------------------------------------------------------------------------------------

    def info_lines(self) -> list[str]:
        """This device's part of `info pci`."""
        io, mem, pref = self.ranges()
        return [
            f"      BUS {self.config[PRIMARY]}.",
            f"      secondary bus {self.config[SECONDARY]}.",
            f"      subordinate bus {self.config[SUBORDINATE]}.",
            f"      IO range [0x{io[0]:04x}, 0x{io[1]:04x}]",
            f"      memory range [0x{mem[0]:08x}, 0x{mem[1]:08x}]",
            f"      prefetchable memory range [0x{pref[0]:08x}, 0x{pref[1]:08x}]",
        ]


def find_segment(bus: PciBus, number: int) -> PciBus | None:
    """The bus of that number, at or behind `bus`, as configuration cycles find it (3.1.2)."""
    if number == bus.number:
        return bus
    for device in bus.devices.values():
        if isinstance(device, PciBridge) and device.config[SECONDARY] and \
                device.config[SECONDARY] <= number <= device.config[SUBORDINATE]:  # fmt: skip
            return find_segment(device.secondary, number)
    return None


