"""What a PC's firmware does to PCI before it starts an operating system, for boots without a firmware.

Everything goes through configuration accesses, as firmware's would: BARs are sized by writing ones, put into the
windows largest first, the PIIX3's steering is set up, and the interrupt line registers tell what came of it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from .bridge import (
    HEADER_BRIDGE,
    MEM_BASE,
    PREF_BASE,
    PREF_BASE_HIGH,
    PREF_LIMIT_HIGH,
    PRIMARY,
    SECONDARY,
    SUBORDINATE,
)
from .bridge import (
    IO_BASE as BRIDGE_IO_BASE,
)
from .config import (
    BAR0,
    BAR_64BIT,
    BAR_IO,
    BAR_PREFETCH,
    CLASS,
    COMMAND,
    COMMAND_IO,
    COMMAND_MASTER,
    COMMAND_MEMORY,
    COMMAND_SERR,
    DEVICE_ID,
    HEADER_TYPE,
    INTERRUPT_LINE,
    INTERRUPT_PIN,
    MULTIFUNCTION,
    ROM_BAR,
    ROM_ENABLE,
    VENDOR_ID,
)
from .host import I440fxPciHost

IO_BASE, IO_END = 0xC000, 0x10000
MEM_END = 0xFEC00000
FOUR_GIB = 1 << 32
PAGE = 0x1000

# Windows of a bridge: base register, granularity.
WINDOWS = {"io": (BRIDGE_IO_BASE, 0x1000), "mem": (MEM_BASE, 1 << 20), "pref": (PREF_BASE, 1 << 20)}

PIRQ_IRQS = (10, 10, 11, 11)
ELCR_PORTS = (0x4D0, 0x4D1)
SCI_IRQ = 9
PM_BASE, SMBUS_BASE = 0x600, 0x700

IDE_CLASS, HOST_CLASS = 0x0101, 0x0600
INTEL_440FX, INTEL_PIIX3, INTEL_PIIX4_PM = (0x8086, 0x1237), (0x8086, 0x7000), (0x8086, 0x7113)


@dataclass(eq=False)
class _Region:
    """A BAR as sizing finds it, or a bridge's window with what goes into it."""

    where: int  # bus << 8 | slot << 3 | function
    offset: int
    size: int
    kind: str  # io, mem, pref
    bits64: bool
    align: int
    behind: list[_Region] | None = None  # of a window; `offset` is then that of its base register


class _Enumerator:
    def __init__(self, host: I440fxPciHost) -> None:
        self.host = host
        self.machine: Any = host.machine
        self.last_bus = 0
        self.bridge_of: dict[int, int] = {}  # by bus number

    # -- configuration space --------------------------------------------------------------------------------

    def read(self, where: int, offset: int, size: int) -> int:
        return self.host.config_read(where >> 8, where & 0xFF, offset, size)

    def write(self, where: int, offset: int, size: int, value: int) -> None:
        self.host.config_write(where >> 8, where & 0xFF, offset, value, size)

    def ident(self, where: int) -> tuple[int, int]:
        return self.read(where, VENDOR_ID, 2), self.read(where, DEVICE_ID, 2)

    def is_bridge(self, where: int) -> bool:
        return self.read(where, HEADER_TYPE, 1) & ~MULTIFUNCTION == HEADER_BRIDGE

    def functions(self, bus: int = 0) -> list[int]:
        found = []
        for slot in range(32):
            for fn in range(8):
                where = bus << 8 | slot << 3 | fn
                if self.read(where, VENDOR_ID, 2) not in (0xFFFF, 0):
                    found.append(where)
                if not fn and not self.read(where, HEADER_TYPE, 1) & MULTIFUNCTION:
                    break
        return found

    def number_buses(self, bus: int = 0) -> list[int]:
        """Give the buses behind bridges their numbers; returns all functions there are."""
        found = []
        for where in self.functions(bus):
            found.append(where)
            if self.is_bridge(where) and self.last_bus < 255:
                self.last_bus += 1
                number = self.last_bus
                self.bridge_of[number] = where
                for register, value in ((PRIMARY, bus), (SECONDARY, number), (SUBORDINATE, 0xFF)):
                    self.write(where, register, 1, value)
                found += self.number_buses(number)
                self.write(where, SUBORDINATE, 1, self.last_bus)
        return found

    # -- BARs -----------------------------------------------------------------------------------------------

    def size_bars(self, where: int) -> list[_Region]:
        """Write ones, read back which address bits there are (6.2.5.1)."""
        found = []
        index = 0
        bars, rom = (2, 0x38) if self.is_bridge(where) else (6, ROM_BAR)
        while index <= bars:
            offset = rom if index == bars else BAR0 + 4 * index
            index += 1
            old = self.read(where, offset, 4)
            self.write(where, offset, 4, 0xFFFFFFFF & ~(ROM_ENABLE if offset == rom else 0))
            mask = self.read(where, offset, 4)
            self.write(where, offset, 4, old)
            if not mask or mask == 0xFFFFFFFF:
                continue
            if offset != rom and mask & BAR_IO:
                size = -(mask & ~3) & 0xFFFF
                if size:
                    found.append(_Region(where, offset, size, "io", False, size))
                continue
            bits64 = offset != rom and mask & 6 == BAR_64BIT
            kind = "pref" if offset != rom and mask & BAR_PREFETCH else "mem"
            address = mask & (~0x7FF if offset == rom else ~0xF) | 0xFFFFFFFF << 32
            if bits64:
                self.write(where, offset + 4, 4, 0xFFFFFFFF)
                address = address & 0xFFFFFFFF | self.read(where, offset + 4, 4) << 32
                self.write(where, offset + 4, 4, 0)
                index += 1
            size = max(-address & 0xFFFFFFFFFFFFFFFF, PAGE)
            found.append(_Region(where, offset, size, kind, bits64, size))
        return found

    def collect(self, bus: int, functions: list[int]) -> list[_Region]:
        """The BARs on a bus, and the windows of its bridges."""
        regions = []
        for where in functions:
            if where >> 8 != bus:
                continue
            regions += self.size_bars(where)
            for number, bridge in self.bridge_of.items():
                if bridge == where:
                    inside = self.collect(number, functions)
                    regions += [_window(where, inside, kind, *window) for kind, window in WINDOWS.items()]
        # Largest first packs without holes; equal ones stay in the order of the bus.
        regions.sort(key=lambda region: -region.align)
        return regions

    def place(self, region: _Region, addr: int) -> None:
        """A BAR to an address, or a window with everything in it."""
        if region.behind is None:
            self.write(region.where, region.offset, 4, addr & 0xFFFFFFFF)
            if region.bits64:
                self.write(region.where, region.offset + 4, 4, addr >> 32)
            return
        size, shift = (1, 8) if region.kind == "io" else (2, 16)
        last = addr + region.size - 1
        self.write(region.where, region.offset, size, addr >> shift & (1 << 8 * size) - 1)
        self.write(region.where, region.offset + size, size, last >> shift & (1 << 8 * size) - 1)
        if region.kind == "pref":
            self.write(region.where, PREF_BASE_HIGH, 4, addr >> 32)
            self.write(region.where, PREF_LIMIT_HIGH, 4, last >> 32)
        for inside in region.behind:
            addr = -(-addr // inside.align) * inside.align
            self.place(inside, addr)
            addr += inside.size

    def assign_bars(self, functions: list[int]) -> None:
        regions = self.collect(0, functions)
        addr = IO_BASE
        for region in regions:
            if region.kind == "io":
                at = -(-addr // region.align) * region.align
                if at + region.size <= IO_END:
                    self.place(region, at)
                    addr = at + region.size
        mem = [region for region in regions if region.kind == "mem"]
        pref = [region for region in regions if region.kind == "pref"]
        if not self._fits_below_4g(mem, pref):
            above = [region for region in mem + pref if region.bits64]
            mem = [region for region in mem if not region.bits64]
            pref = [region for region in pref if not region.bits64]
            self._assign_above_4g(above)
            while not self._fits_below_4g(mem, pref):
                # Leave out the largest: a machine with a device missing is better than none.
                largest = max(mem + pref, key=lambda region: region.size)
                (mem if largest in mem else pref).remove(largest)
        for window, base in self._windows(mem, pref):
            addr = base
            for region in window:
                addr = -(-addr // region.align) * region.align
                self.place(region, addr)
                addr += region.size

    @property
    def mem_start(self) -> int:
        """Below this there may be RAM."""
        size = self.machine.ram_size
        return 0x80000000 if size <= 0x80000000 else 0xC0000000 if size <= 0xC0000000 else 0xE0000000

    def _windows(self, mem: list[_Region], pref: list[_Region]) -> list[tuple[list[_Region], int]]:
        """Two windows below the I/O APIC, the one with the stricter alignment at the bottom."""
        last, first = (pref, mem) if _align(mem) >= _align(pref) else (mem, pref)
        last_base = _down(MEM_END - _sum(last), _align(last))
        first_base = _down(last_base - _sum(first), _align(first))
        return [(first, first_base), (last, last_base)]

    def _fits_below_4g(self, mem: list[_Region], pref: list[_Region]) -> bool:
        return self._windows(mem, pref)[0][1] >= self.mem_start

    def _assign_above_4g(self, regions: list[_Region]) -> None:
        addr = max(FOUR_GIB, self._top_of_ram())
        for region in regions:
            addr = -(-addr // region.align) * region.align
            self.place(region, addr)
            addr += region.size

    def _top_of_ram(self) -> int:
        return max((item.end for item in self.machine.memory_space.flat if item.region.kind == "ram"), default=0)

    # -- the rest -------------------------------------------------------------------------------------------

    def out(self, port: int, value: int) -> None:
        """OUT of a byte, through the map of I/O ports."""
        flat = self.machine.io_space.flat
        index = bisect_right(flat, port, key=lambda item: item.start)
        if index and port < flat[index - 1].end:
            start, _, region, offset = flat[index - 1]
            region.handler.write(offset + port - start, 1, value)

    def route_interrupts(self, bridge: int) -> None:
        """PIRQA-D to IRQ 10 and 11, which become level-triggered."""
        elcr = 0
        for pirq, irq in enumerate(PIRQ_IRQS):
            self.write(bridge, 0x60 + pirq, 1, irq)
            elcr |= 1 << irq
        for half, port in enumerate(ELCR_PORTS):
            self.out(port, elcr >> 8 * half & 0xFF)

    def init_device(self, devfn: int) -> None:
        pin = self.read(devfn, INTERRUPT_PIN, 1)
        if pin:
            pin, at = pin - 1, devfn
            while at >> 8:  # rotated by every bridge on the way
                pin, at = pin + (at >> 3 & 31) & 3, self.bridge_of[at >> 8]
            self.write(devfn, INTERRUPT_LINE, 1, PIRQ_IRQS[(pin + (at >> 3) - 1) & 3])
        command = self.read(devfn, COMMAND, 2)
        command |= COMMAND_MASTER if self.is_bridge(devfn) else 0
        self.write(devfn, COMMAND, 2, command | COMMAND_IO | COMMAND_MEMORY | COMMAND_SERR)
        ident = self.ident(devfn)
        if ident == INTEL_PIIX3:
            self.route_interrupts(devfn)
        elif ident == INTEL_PIIX4_PM:
            self.init_pm(devfn)
        elif self.read(devfn, CLASS, 2) == IDE_CLASS:
            self.write(devfn, 0x40, 2, 0x8000)  # both channels decode
            self.write(devfn, 0x42, 2, 0x8000)

    def init_pm(self, devfn: int) -> None:
        self.write(devfn, INTERRUPT_LINE, 1, SCI_IRQ)
        self.write(devfn, 0x40, 4, PM_BASE | 1)
        self.write(devfn, 0x80, 1, 1)
        self.write(devfn, 0x90, 4, SMBUS_BASE | 1)
        self.write(devfn, 0xD2, 1, 0x09)

    def set_pam(self, values: tuple[int, ...]) -> None:
        for devfn in self.functions():
            if self.ident(devfn) == INTEL_440FX:
                for index, value in enumerate(values):
                    self.write(devfn, 0x59 + index, 1, value)


def _window(where: int, inside: list[_Region], kind: str, offset: int, granule: int) -> _Region:
    """A bridge's window for what is of one kind behind it; at least a granule, for what may be plugged in later."""
    fitting = [region for region in inside if region.kind == kind]
    size = 0
    for region in fitting:
        size = -(-size // region.align) * region.align + region.size
    size = max(-(-size // granule) * granule, granule)
    return _Region(where, offset, size, kind, False, max(granule, _align(fitting)), fitting)


def _align(regions: list[_Region]) -> int:
    return max((region.align for region in regions), default=1)


def _sum(regions: list[_Region]) -> int:
    """Bytes they take one behind the other; largest alignment first, as they are."""
    total = 0
    for region in regions:
        total = -(-total // region.align) * region.align + region.size
    return total


def _down(value: int, align: int) -> int:
    return value // align * align


def assign_resources(host: I440fxPciHost) -> None:
    """BARs, interrupt lines and steering, power management ports; C0000h-FFFFFh becomes writable RAM."""
    enumerator = _Enumerator(host)
    with host.machine.memory_space, host.machine.io_space:
        functions = enumerator.number_buses()
        enumerator.assign_bars(functions)
    for devfn in functions:
        enumerator.init_device(devfn)
    enumerator.set_pam((0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33))


def write_protect_shadow(host: I440fxPciHost) -> None:
    """Once tables are in place: C0000h-E7FFFh and F0000h-FFFFFh become read-only, as firmware leaves them."""
    _Enumerator(host).set_pam((0x10, 0x11, 0x11, 0x11, 0x11, 0x11, 0x33))
