"""What every PCI device has: configuration space, BARs, an interrupt pin, bus mastering (PCI 2.1)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pcemu.qom import Device, MemoryRegion, MmioWindow, PcemuError, PortWindow, Property, State

from .bar import ROM_INDEX, Bar, BarDecl
from .bus import PciBus, devfn_name
from .config import (
    BAR0,
    CACHE_LINE,
    CAPABILITIES,
    CLASS,
    COMMAND,
    COMMAND_INTX_OFF,
    COMMAND_IO,
    COMMAND_MASTER,
    COMMAND_MEMORY,
    COMMAND_WRITABLE,
    DEVICE_ID,
    HEADER_TYPE,
    INTERRUPT_LINE,
    INTERRUPT_PIN,
    MULTIFUNCTION,
    PROG_IF,
    REVISION,
    ROM_BAR,
    SIZE,
    STATUS,
    STATUS_CAPABILITIES,
    STATUS_INTX,
    STATUS_W1C,
    SUBSYSTEM_ID,
    SUBSYSTEM_VENDOR_ID,
    VENDOR_ID,
    ConfigLayout,
    ConfigReg,
)
from .ids import CLASS_NAMES

if TYPE_CHECKING:
    from .msi import Msi
    from .msix import Msix

NO_ROM_SIZE = 0xFFFFFFFF
MAX_ROM_SIZE = 16 << 20
ROM_PATH = ("/usr/share/qemu", "/usr/lib/ipxe/qemu", "/usr/share/seabios")
CAP_PM, CAP_VENDOR = 0x01, 0x09
PM_NO_SOFT_RESET = 1 << 3


class IntxPin:
    """A device's interrupt pin: ``self.intx.set(level)``."""

    __slots__ = ("_driven", "device", "level")

    def __init__(self, device: PciDevice) -> None:
        self.device = device
        self.level = 0  # what the device wants
        self._driven = 0  # what the bus sees

    def set(self, level: int) -> None:
        level = 1 if level else 0
        if level != self.level:
            self.level = level
            config = self.device.config
            config[STATUS] = config[STATUS] & ~STATUS_INTX | (STATUS_INTX if level else 0)
            self.update()

    def pulse(self) -> None:
        self.set(1)
        self.set(0)

    def update(self) -> None:
        """Drive the bus, unless the command register's interrupt disable bit is set or messages are used instead."""
        device = self.device
        level = self.level if not (device.command & COMMAND_INTX_OFF or device.message_signalled) else 0
        if level != self._driven and device.interrupt_pin:
            self._driven = level
            device.bus.intx_changed(device.addr, device.interrupt_pin - 1, level)


class PciDevice(Device):
    """Base of PCI devices. Subclasses declare the identity, registers and BARs as class attributes;
    those that override `realize`, `reset` or `config_write` call the base's first.
    """

    bus_type = "PCI"

    vendor_id: ClassVar[int] = 0
    device_id: int = 0
    revision: int = 0
    class_id: int = 0  # base class and subclass
    prog_if: ClassVar[int] = 0
    subsystem_vendor_id: ClassVar[int] = 0x1AF4
    subsystem_id: int = 0x1100
    header_type: ClassVar[int] = 0  # 1: a bridge's
    bar_count: ClassVar[int] = 6
    rom_offset: ClassVar[int] = ROM_BAR
    interrupt_pin: int = 0  # 1 is INTA#, 0 none
    status_reset: ClassVar[int] = 0  # DEVSEL timing, fast back-to-back
    config_registers: ClassVar[tuple[ConfigReg, ...]] = ()
    bar_decls: ClassVar[tuple[BarDecl, ...]] = ()
    default_rom: ClassVar[tuple[str, int]] = ("", 0)  # file name, and the size of the socket

    addr = Property("devfn", help="Slot and optional function number, example: 06.0 or 06")
    romfile = Property(str)  # of the expansion ROM
    romsize = Property("u32", default=NO_ROM_SIZE)  # bytes of its BAR
    rombar = Property("u32", default=1)  # 0: there is none
    multifunction = Property(bool, help="on/off")
    x_pcie_lnksta_dllla = Property(bool, default=True, help="on/off", inert="there is no PCI Express")
    x_pcie_extcap_init = Property(bool, default=True, help="on/off", inert="there is no PCI Express")
    failover_pair_id = Property(str, name="failover_pair_id", inert="there are no saved states")
    acpi_index = Property("u32")

    config = State("u8[256]", help="configuration space")

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        self.layout = ConfigLayout()
        self.bars: dict[int, Bar] = {}
        self.intx = IntxPin(self)
        self.msi: Msi | None = None
        self.msix: Msix | None = None
        self._pm = 0  # where the power management capability is
        self._capability_bytes: set[int] = set()
        super().__init__(machine, bus, id, **props)

    @property
    def bus(self) -> PciBus:
        bus = self.parent_bus
        if not isinstance(bus, PciBus):
            raise PcemuError(f"{self.type_name}: no PCI bus to plug it into")
        return bus

    # -- building -------------------------------------------------------------------------------------------

    def realize(self) -> None:
        _ = self.bus  # complains when there is none
        self._build_header()
        for register in self.config_registers:
            self.layout.add(register)
        for decl in self.bar_decls:
            self.add_bar(decl)
        if self.romfile is None and self.default_rom[1]:
            self.romfile = self.default_rom[0]
        if self.romfile and self.rombar:
            self._add_rom()
        self.config[:] = self.layout.reset

    def _build_header(self) -> None:
        layout = self.layout
        for offset, size, value in (
            (VENDOR_ID, 2, self.vendor_id), (DEVICE_ID, 2, self.device_id), (STATUS, 2, self.status_reset),
            (REVISION, 1, self.revision), (PROG_IF, 1, self.prog_if), (CLASS, 2, self.class_id),
            (INTERRUPT_PIN, 1, self.interrupt_pin),
            (HEADER_TYPE, 1, self.header_type | (MULTIFUNCTION if self.multifunction else 0)),
        ):  # fmt: skip
            layout.set_reset(offset, size, value)
        if not self.header_type:
            layout.set_reset(SUBSYSTEM_VENDOR_ID, 2, self.subsystem_vendor_id)
            layout.set_reset(SUBSYSTEM_ID, 2, self.subsystem_id)
        layout.set_writable(COMMAND, 2, COMMAND_WRITABLE)
        layout.w1c[STATUS : STATUS + 2] = STATUS_W1C.to_bytes(2, "little")
        layout.set_writable(CACHE_LINE, 1, 0xFF)
        layout.set_writable(INTERRUPT_LINE, 1, 0xFF)

    def add_bar(self, decl: BarDecl) -> Bar:
        """A BAR with this device's methods behind it."""
        size = getattr(self, decl.size) if isinstance(decl.size, str) else decl.size
        window = (PortWindow if decl.kind == "io" else MmioWindow)(
            None, size, decl.read, decl.write, decl.access, name=decl.name
        )
        bound = window.bind(self)
        return self.register_bar(decl.index, bound.memory_region, decl.kind, decl.prefetch, decl.bits64)

    def register_bar(self, index: int, region: MemoryRegion, kind: str = "mem", prefetch: bool = False,
                     bits64: bool = False) -> Bar:  # fmt: skip
        """A BAR with any region behind it: RAM, a container, handled I/O."""
        bar = Bar(index, region, kind, prefetch, bits64)
        if index == ROM_INDEX:
            bar.offset = self.rom_offset
        self.bars[index] = bar
        self.layout.set_reset(bar.offset, bar.width, bar.flags)
        self.layout.set_writable(bar.offset, bar.width, bar.writable)
        return bar

    def _add_rom(self) -> None:
        """The expansion ROM; a default one that the host does not have is an empty socket of its size."""
        name = self.romfile
        default_name, size = self.default_rom
        data = b""
        path = self._find_rom(name)
        if path is not None or name != default_name:
            try:
                data = (path or Path(name)).read_bytes()
            except OSError as error:
                raise self.fail(f"romfile '{name}': {error.strerror}") from None
            size = max(2048, 1 << (len(data) - 1).bit_length()) if data else 0
        if self.romsize != NO_ROM_SIZE:
            size = self.romsize
        if (not data and name != default_name) or len(data) > size or size & (size - 1) or not 0 < size <= MAX_ROM_SIZE:
            raise self.fail(f"romfile '{name}': {len(data)} bytes do not fit a ROM BAR of {size} bytes")
        self.romsize = size
        roms = self.machine.rom_blocks
        block = roms.get((name, data, size))
        if block is None:
            # Devices with the same ROM share it, so that plugging and unplugging uses up nothing.
            block = roms[name, data, size] = self.machine.memory.alloc(f"{self.type_name}.rom", size)
            self.machine.memory.block_view(block, len(data))[:] = data
        self.register_bar(ROM_INDEX, MemoryRegion.rom(f"{self.type_name}.rom", size, block, owner=self))

    def _find_rom(self, name: str) -> Path | None:
        """A ROM by path, or by name where -L and distributions say."""
        folders = [] if "/" in name else [*getattr(getattr(self.machine, "config", None), "data_dirs", ()), *ROM_PATH]
        for path in (Path(name), *(Path(folder) / name for folder in folders)):
            if path.is_file():
                return path
        return None

    def add_capability(self, cap_id: int, size: int, offset: int = 0) -> int:
        """Put a capability into the list (6.7), and return where it is. Its bytes are read-only until said otherwise."""
        reset = self.layout.reset
        if not offset:
            taken = {at for r in self.config_registers for at in range(r.offset, r.offset + r.size)}
            taken |= self._capability_bytes
            fits = (at for at in range(0x40, SIZE - size + 1, 4) if taken.isdisjoint(range(at, at + size)))
            offset = next(fits, 0)
            if not offset:
                raise self.fail("no room for another capability")
        self._capability_bytes.update(range(offset, offset + size))
        reset[offset : offset + size] = bytes(size)
        reset[offset], reset[offset + 1] = cap_id, reset[CAPABILITIES]
        reset[CAPABILITIES] = offset
        reset[STATUS] |= STATUS_CAPABILITIES
        self.config[:] = reset
        return offset

    def add_vendor_capability(self, data: bytes, offset: int = 0) -> int:
        """A capability whose contents are the vendor's business: `data` follows id, next and length."""
        at = self.add_capability(CAP_VENDOR, 3 + len(data), offset)
        self.layout.reset[at + 2] = 3 + len(data)
        self.layout.reset[at + 3 : at + 3 + len(data)] = data
        self.config[:] = self.layout.reset
        return at

    def add_power_management(self, offset: int = 0) -> int:
        """Power states D0 and D3hot (PCI Power Management 1.2, 3.2). Registers keep their values in D3hot."""
        self._pm = at = self.add_capability(CAP_PM, 8, offset)
        self.layout.set_reset(at + 2, 2, 3)  # version 1.2, no wake-up
        self.layout.set_reset(at + 4, 2, PM_NO_SOFT_RESET)
        self.layout.set_writable(at + 4, 1, 3)
        self.layout.hook(at + 4, at + 5, self._power_written)
        self.config[:] = self.layout.reset
        return at

    def _power_written(self, old: int, new: int) -> None:
        if new & 3 in (1, 2):  # D1 and D2 are not there: the write has no effect
            self.config[self._pm + 4] = new & ~3 | old & 3
        self.intx.update()
        self._place_bars()

    @property
    def powered(self) -> bool:
        """In D0: it decodes its BARs and interrupts."""
        return not self._pm or not self.config[self._pm + 4] & 3

    def reset(self) -> None:
        super().reset()
        self.intx.set(0)
        self.config[:] = self.layout.reset
        if self.msix is not None:
            self.msix.reset()
        self.intx.update()
        self._place_bars()

    def unplug(self) -> None:
        self.intx.set(0)
        for bar in self.bars.values():
            bar.place(self._root(bar), None)
        super().unplug()

    def get_state(self) -> dict[str, Any]:
        values = super().get_state()
        if self.msix is not None:
            values["msix"] = self.msix.state()
        return values

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        if self.msix is not None and "msix" in values:
            self.msix.load(values["msix"])
        self._place_bars()

    # -- interrupts -----------------------------------------------------------------------------------------

    @property
    def message_signalled(self) -> bool:
        """Are interrupts messages, so that the pin is not used?"""
        return (self.msix is not None and self.msix.enabled) or (self.msi is not None and self.msi.enabled)

    def interrupt(self, level: int, vector: int = 0) -> None:
        """Assert or release the interrupt: by the pin, or as a message (of the former) where software chose that."""
        if level and self.msix is not None and self.msix.enabled:
            self.msix.notify(vector)
        elif level and self.msi is not None and self.msi.enabled:
            self.msi.notify(vector)
        self.intx.set(level)

    def send_message(self, address: int, data: int) -> None:
        """A message-signalled interrupt: a write by a bus master."""
        if self.is_master and self.powered:
            self.machine.memory.st(address, 4, data)

    # -- configuration space --------------------------------------------------------------------------------

    @property
    def command(self) -> int:
        return self.config[COMMAND] | self.config[COMMAND + 1] << 8

    def get(self, offset: int, size: int = 4) -> int:
        """A register as stored."""
        return int.from_bytes(self.config[offset : offset + size], "little")

    def put(self, offset: int, size: int, value: int) -> None:
        """Set a register, whatever is writable to software."""
        self.config[offset : offset + size] = value.to_bytes(size, "little")

    def config_read(self, offset: int, size: int) -> int:
        """A configuration read; the access lies in one dword."""
        return int.from_bytes(self.config[offset : offset + size], "little")

    def config_write(self, offset: int, value: int, size: int) -> None:
        """A configuration write: masks, then what the device does about it."""
        config = self.config
        end = offset + size
        before = bytes(config)
        self.layout.store(config, offset, value, size)
        if offset < COMMAND + 2 and end > COMMAND:
            self.intx.update()
            self.command_changed(int.from_bytes(before[COMMAND : COMMAND + 2], "little"), self.command)
            self._place_bars()
        elif BAR0 <= offset < BAR0 + 4 * self.bar_count or self.rom_offset <= offset < self.rom_offset + 4:
            self._place_bars()
        for start, stop, method in self.layout.hooks:
            if offset < stop and end > start:
                call = getattr(self, method) if isinstance(method, str) else method
                call(int.from_bytes(before[start:stop], "little"), int.from_bytes(config[start:stop], "little"))

    def command_changed(self, old: int, new: int) -> None:
        """For subclasses: the command register was written."""

    # -- BARs -----------------------------------------------------------------------------------------------

    def _root(self, bar: Bar) -> MemoryRegion:
        return self.bus.io if bar.kind == "io" else self.bus.memory

    def _place_bars(self) -> None:
        """Make the memory and I/O maps follow the registers."""
        command = self.command if self.powered else 0
        moves = []
        for bar in self.bars.values():
            enabled = command & (COMMAND_IO if bar.kind == "io" else COMMAND_MEMORY)
            addr = bar.target(self.get(bar.offset, bar.width)) if enabled else None
            if addr != bar.addr:
                moves.append((bar, addr))
        if moves:
            with self.machine.memory_space, self.machine.io_space:  # the maps change once
                for bar, addr in moves:
                    bar.place(self._root(bar), addr)

    # -- DMA ------------------------------------------------------------------------------------------------

    @property
    def is_master(self) -> bool:
        """May the device reach memory by itself?"""
        return bool(self.command & COMMAND_MASTER)

    def dma_read(self, addr: int, count: int) -> bytes:
        """Read memory as a bus master; all ones (a master abort) when that is disabled."""
        if not self.is_master:
            return b"\xff" * count
        data: bytes = self.machine.memory.read(addr, count)
        return data

    def dma_write(self, addr: int, data: bytes) -> None:
        if self.is_master:
            self.machine.memory.write(addr, data)

    # -- what people look at --------------------------------------------------------------------------------

    def info_lines(self) -> list[str]:
        """What `info pci` shows of this kind of device besides what all have."""
        return []

    @property
    def class_name(self) -> str | None:
        return CLASS_NAMES.get(self.class_id)

    def location(self) -> str:
        """``00:05.0``."""
        return f"{self.bus.number:02x}:{devfn_name(self.addr)}"

    def describe(self) -> list[str]:
        name = self.class_name or f"Class {self.class_id:04x}"
        lines = [
            f"class {name}, addr {self.location()},"
            f" pci id {self.get(VENDOR_ID, 2):04x}:{self.get(DEVICE_ID, 2):04x}"
            f" (sub {self.get(SUBSYSTEM_VENDOR_ID, 2) if not self.header_type else 0:04x}:"
            f"{self.get(SUBSYSTEM_ID, 2) if not self.header_type else 0:04x})"
        ]
        for index, bar in sorted(self.bars.items()):
            addr = 0xFFFFFFFFFFFFFFFF if bar.addr is None else bar.addr
            last = (addr + bar.size - 1) & 0xFFFFFFFFFFFFFFFF
            lines.append(f"bar {index}: {'i/o' if bar.kind == 'io' else 'mem'} at {addr:#x} [{last:#x}]")
        return lines
