"""The host side of PCI on an i440FX board: configuration mechanism #1 (82441FX datasheet 290549-001, 3.1)."""

from __future__ import annotations

from typing import Any

from pcemu.qom import MemoryRegion, PortWindow, Property, State, SysBusDevice

from .bridge import find_segment
from .bus import PciBus
from .device import PciDevice

ENABLE = 1 << 31
PCI_PRIORITY = -1  # what is not RAM is on PCI


class I440fxPciHost(SysBusDevice):
    """Ports CF8h (address) and CFCh (data), and the bus behind them.

    The address register is only there for dword accesses: others go to PCI as ordinary I/O cycles, and that is how
    the south bridge's reset control register can be at CF9h. `reset_control` is that device.
    """

    type_name = "i440FX-pcihost"
    board_name = "i440fx"
    desc = "PCI host bridge"
    trace_events = ("pci_cfg_read", "pci_cfg_write")

    pci_hole64_size = Property("size", default=2 << 30, help="64-bit window for BARs above RAM",
                               inert="a 64-bit BAR may be anywhere above RAM")  # fmt: skip
    short_root_bus = Property("u32", name="short_root_bus", inert="the root bus is number 0")
    x_pci_hole64_fix = Property(bool, default=True, inert="there is no such window")
    x_config_reg_migration_enabled = Property(bool, default=True, inert="there are no saved states")
    bypass_iommu = Property(bool, inert="there is no IOMMU")

    address = State("u32", help="CONFADD")

    conf_idx = PortWindow(0xCF8, 4, "index_read", "index_write", access=(1, 4), name="pci-conf-idx")
    conf_data = PortWindow(0xCFC, 4, "data_read", "data_write", access=(1, 4), name="pci-conf-data")

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        super().__init__(machine, bus, id, **props)
        self.reset_control: Any = None  # has rcr_read(size) and rcr_write(value)
        self.pci_memory = MemoryRegion("pci", 2**64)
        self.pci = PciBus("pci.0", self, self.pci_memory, machine.io_root)

    def realize(self) -> None:
        self.machine.memory_root.add(self.pci_memory, 0, priority=PCI_PRIORITY)

    # -- ports ----------------------------------------------------------------------------------------------

    def index_read(self, offset: int, size: int) -> int:
        if size == 4:
            return self.address
        if offset == 1 and size == 1 and self.reset_control is not None:
            value: int = self.reset_control.rcr_read()
            return value
        return (1 << (size << 3)) - 1

    def index_write(self, offset: int, value: int, size: int) -> None:
        if size == 4:
            self.address = value & 0x80FFFFFC
        elif offset == 1 and size == 1 and self.reset_control is not None:
            self.reset_control.rcr_write(value)

    def data_read(self, offset: int, size: int) -> int:
        address = self.address
        if not address & ENABLE:
            return (1 << (size << 3)) - 1
        register = address & 0xFC | offset
        value = self.config_read(address >> 16 & 0xFF, address >> 8 & 0xFF, register, size)
        if self.tracing:
            self.trace("pci_cfg_read", bdf=address >> 8 & 0xFFFF, offs=register, val=value)
        return value

    def data_write(self, offset: int, value: int, size: int) -> None:
        address = self.address
        if not address & ENABLE:
            return
        register = address & 0xFC | offset
        if self.tracing:
            self.trace("pci_cfg_write", bdf=address >> 8 & 0xFFFF, offs=register, val=value)
        self.config_write(address >> 16 & 0xFF, address >> 8 & 0xFF, register, value, size)

    # -- configuration cycles -------------------------------------------------------------------------------

    def config_read(self, bus: int, devfn: int, offset: int, size: int) -> int:
        """As the CPU reads it: one aligned access in a dword."""
        segment = self.pci if bus == self.pci.number else find_segment(self.pci, bus)
        if segment is None:
            return (1 << (size << 3)) - 1  # nobody there: master abort
        return segment.config_read(devfn, offset, size)

    def config_write(self, bus: int, devfn: int, offset: int, value: int, size: int) -> None:
        segment = self.pci if bus == self.pci.number else find_segment(self.pci, bus)
        if segment is not None:
            segment.config_write(devfn, offset, value, size)

    def devices(self) -> list[PciDevice]:
        """Everything on the bus, by slot and function."""
        return self.pci.in_order()
