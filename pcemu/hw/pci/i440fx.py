"""Intel 82441FX (PMC), the i440FX's memory controller and PCI bridge, as function 00:00.0 (290549-001).

What software sees of it are the PAM registers, by which the segments from C0000h to FFFFFh are ROM (on PCI) or RAM,
separately for reads and writes, and the SMRAM register, which shows or hides the RAM behind the VGA window.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, ClassVar

from pcemu.qom import AddressSpace, MemoryRegion

from .config import ConfigReg
from .device import PciDevice

PAM0, PAM_COUNT, SMRAM, COREBOOT_RAM = 0x59, 7, 0x72, 0x57
# Table 5 of the datasheet: the attribute fields in order; PAM0 has one segment, the others two.
SEGMENTS: tuple[tuple[int, int], ...] = ((0xF0000, 0x10000), *((0xC0000 + 0x4000 * i, 0x4000) for i in range(12)))
READ_RAM, WRITE_RAM = 1, 2
PAM_NAMES = ("pam-pci", "pam-rom", "pam-write", "pam-ram")

SMRAM_OPEN, SMRAM_CLOSED, SMRAM_LOCKED, SMRAM_ENABLED, SMRAM_BASE = 0x40, 0x20, 0x10, 0x08, 0x02
VGA_WINDOW, VGA_SIZE = 0xA0000, 0x20000

BANK = 8 << 20


class WriteThrough:
    """A segment that is read from PCI and written to RAM, as firmware wants it while it copies itself."""

    def __init__(self, owner: I440FX, base: int, size: int, ram: MemoryRegion) -> None:
        self.owner = owner
        self.base = base
        self.size = size
        self.ram = ram

    def read(self, offset: int, size: int) -> int:
        return self.owner.pci_read(self.base + offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        view = self.owner.machine.memory.block_view(self.ram.block + self.base + offset, size)
        view[:] = (value & ((1 << (size << 3)) - 1)).to_bytes(size, "little")


class I440FX(PciDevice):
    """82441FX PCI and memory controller (8086:1237)."""

    type_name = "i440FX"
    desc = "Host bridge"
    category = "bridge"
    user_creatable = False

    vendor_id = 0x8086
    device_id = 0x1237
    revision = 0x02
    class_id = 0x0600

    config_registers: ClassVar[tuple[ConfigReg, ...]] = (
        ConfigReg("PMCCFG", 0x50, 2, writable=0xCFFF),
        ConfigReg("DETURBO", 0x52, writable=0xFF),
        ConfigReg("DBC", 0x53, writable=0xFF),
        ConfigReg("AXC", 0x54, writable=0xFF),
        ConfigReg("DRT", 0x55, 2, writable=0xFFFF),
        # What emulated firmware reads the size of RAM from, in 8 MiB: see realize().
        ConfigReg("DRAMC", COREBOOT_RAM, writable=0xFF),
        ConfigReg("DRAMT", 0x58, writable=0xFF),
        ConfigReg("PAM0", PAM0, writable=0x30, on_write="pam_written"),
        *(ConfigReg(f"PAM{i}", PAM0 + i, writable=0x33, on_write="pam_written") for i in range(1, PAM_COUNT)),
        *(ConfigReg(f"DRB{i}", 0x60 + i, writable=0xFF) for i in range(8)),
        ConfigReg("FDHC", 0x68, writable=0xC0),
        ConfigReg("MTT", 0x70, writable=0xF8),
        ConfigReg("CLT", 0x71, writable=0xF8),
        ConfigReg("SMRAM", SMRAM, reset=SMRAM_BASE, writable=0x78, on_write="smram_written"),
        ConfigReg("ERRCMD", 0x90, writable=0xFF),
        ConfigReg("ERRSTS", 0x91, w1c=0x11),
        ConfigReg("TRC", 0x93, writable=0x0E, on_write="trc_written"),
    )

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        super().__init__(machine, bus, id, **props)
        self.ram: MemoryRegion | None = getattr(machine, "ram", None)  # guest RAM from address 0
        self._pam: list[list[MemoryRegion]] = []
        self._state: list[int] = []
        self._smram_window: MemoryRegion | None = None
        self._pci_space: AddressSpace | None = None

    def realize(self) -> None:
        super().realize()
        self.layout.set_reset(COREBOOT_RAM, 1, min(self.machine.ram_size // BANK, 0xFF))
        self.config[:] = self.layout.reset
        if self.ram is None:
            raise self.fail("the board gave it no RAM")
        root, pci = self.machine.memory_root, self.bus.memory
        window = MemoryRegion.alias("smram-region", pci, VGA_WINDOW, VGA_SIZE, owner=self)
        root.add(window, VGA_WINDOW, priority=1)
        self._smram_window = window
        with self.machine.memory_space:
            for base, size in SEGMENTS:
                handler = WriteThrough(self, base, size, self.ram)
                regions = [
                    MemoryRegion.alias(PAM_NAMES[0], pci, base, size, owner=self),
                    MemoryRegion.alias(PAM_NAMES[1], self.ram, base, size, readonly=True, owner=self),
                    MemoryRegion.mmio(PAM_NAMES[2], size, handler, owner=self),
                    MemoryRegion.alias(PAM_NAMES[3], self.ram, base, size, owner=self),
                ]
                for state, region in enumerate(regions):
                    region.enabled = state == 0
                    root.add(region, base, priority=1)
                self._pam.append(regions)
        self._state = [0] * len(SEGMENTS)

    def reset(self) -> None:
        super().reset()
        self._update_pam()
        self._update_smram()

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        self._update_pam()
        self._update_smram()

    # -- PAM ------------------------------------------------------------------------------------------------

    def attribute(self, segment: int) -> int:
        """A segment's read and write enable bits."""
        field = segment + 1  # PAM0's low half is reserved
        return self.config[PAM0 + (field >> 1)] >> 4 * (field & 1) & 3

    def pam_written(self, old: int, new: int) -> None:
        self._update_pam()

    def _update_pam(self) -> None:
        states = [self.attribute(segment) for segment in range(len(SEGMENTS))]
        if states == self._state:
            return
        with self.machine.memory_space:
            for regions, old, new in zip(self._pam, self._state, states, strict=True):
                if old != new:
                    regions[old].enabled = False
                    regions[new].enabled = True
        self._state = states

    def pci_read(self, addr: int, size: int) -> int:
        """What is on PCI at an address, whether RAM lies over it or not."""
        if self._pci_space is None:
            self._pci_space = AddressSpace("pci", self.bus.memory, None)
            self._pci_space.update()
        flat = self._pci_space.flat
        index = bisect_right(flat, addr, key=lambda item: item.start)
        if not index or addr + size > flat[index - 1].end:
            return (1 << (size << 3)) - 1
        start, _, region, offset = flat[index - 1]
        offset += addr - start
        if region.kind == "mmio":
            value: int = region.handler.read(offset, size)
            return value
        return int.from_bytes(self.machine.memory.block_view(region.block + offset, size), "little")

    # -- SMRAM ----------------------------------------------------------------------------------------------

    def smram_written(self, old: int, new: int) -> None:
        """D_LCK freezes the register, but for D_CLS, until the next reset (3.2.19)."""
        if old & SMRAM_LOCKED:
            new = old & ~SMRAM_CLOSED | new & SMRAM_CLOSED
        if new & SMRAM_LOCKED:
            new &= ~SMRAM_OPEN
        self.config[SMRAM] = new
        self._update_smram()

    def _update_smram(self) -> None:
        """RAM shows through at A0000h while SMRAM is open; else the VGA window is PCI."""
        smram = self.config[SMRAM]
        is_open = smram & SMRAM_OPEN and smram & SMRAM_ENABLED and not smram & SMRAM_CLOSED
        if self._smram_window is not None:
            self._smram_window.enabled = not is_open

    # -- reset ----------------------------------------------------------------------------------------------

    def trc_written(self, old: int, new: int) -> None:
        """Turbo reset control: bit 2 rising resets, the CPU alone or (bit 1) everything."""
        if new & 4 and not old & 4:
            self.machine.request_reset("guest-reset")
