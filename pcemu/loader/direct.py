"""-kernel without firmware: find the protocol, lay out memory, and start the guest at every reset."""

from __future__ import annotations

from typing import Any

from . import acpi, bzimage, e820, firmware, smbios
from .bios import map_rom
from .e820 import E820Entry
from .errors import LoaderError
from .images import read_kernel
from .layout import PAGE, Layout, NoRoomError
from .plan import KERNEL, BootPlan, BootRequest
from .platform import FOUR_GIB, Platform
from .stub import BASE as ROM_BASE
from .stub import SIZE as ROM_SIZE
from .stub import StubRom

_SMALLEST = 1 << 20
_ZERO_CHUNK = 1 << 20

# First bytes of files that people give by mistake.
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4",
               b"\x5d\x00\x00": "lzma"}  # fmt: skip


class Tables:
    """ACPI and SMBIOS tables at the addresses they get in a machine without firmware."""

    def __init__(self, platform: Platform, layout: Layout, rom: StubRom, smbios_files: tuple[bytes, bytes]) -> None:
        self.rsdp = 0
        self.writes: list[tuple[int, bytes]] = []
        self.regions: list[E820Entry] = []
        self._layout, self._rom = layout, rom
        if platform.acpi:
            for address, data in acpi.build(platform).link(self._place):
                self._put(address, data)
        tables, anchor = smbios_files
        at = rom.reserve(len(tables))
        if at is None:
            at = self._top(len(tables))
        self._put(at, tables)
        rom.place(smbios.place_anchor(anchor, at))

    def _place(self, name: str, size: int, align: int, zone: int) -> int:
        if zone == acpi.ZONE_HIGH:
            return self._top(size)
        address = self._rom.reserve(size, align)
        assert address is not None  # 36 bytes, and the ROM is empty
        if name == acpi.RSDP_FILE:
            self.rsdp = address
        return address

    def _top(self, size: int) -> int:
        whole = (size + PAGE - 1) & -PAGE
        address = self._layout.top(whole, "tables")
        self.regions.append(E820Entry(address, whole, e820.ACPI))
        return address

    def _put(self, address: int, data: bytes) -> None:
        if address >= self._layout.ram_end or e820.BIOS_START <= address < e820.HIGH_START:
            self._rom.write(address, data)
        else:
            self.writes.append((address, data))


def load(machine: Any, platform: Platform, smbios_files: tuple[bytes, bytes]) -> BootPlan:
    """Read the images, decide where everything goes, and register what puts it there."""
    config = machine.config
    name: str = config.kernel
    if platform.low_ram < _SMALLEST:
        raise LoaderError(KERNEL, name, "a machine with less than 1 MiB of RAM cannot start a kernel")
    kernel = read_kernel(KERNEL, name, platform.low_ram)
    layout = Layout(platform.low_ram)
    layout.take(0, PAGE, "the interrupt table")
    layout.take(e820.EBDA, e820.CONVENTIONAL_END - e820.EBDA, "the BIOS data")
    rom = StubRom()
    try:
        tables = Tables(platform, layout, rom, smbios_files)
    except NoRoomError as error:
        raise LoaderError(KERNEL, name, str(error)) from None
    reserved = [*tables.regions, E820Entry(FOUR_GIB - ROM_SIZE, ROM_SIZE, e820.RESERVED)]
    request = BootRequest(
        kernel_name=name,
        kernel=kernel,
        initrd_name=config.initrd,
        cmdline=config.append.encode("utf-8", "surrogateescape"),
        platform=platform,
        layout=layout,
        memory_map=e820.memory_map(platform, reserved),
        rsdp=tables.rsdp,
    )
    plan = choose(request)
    plan.writes[:0] = [*firmware.low_memory(platform), *tables.writes]
    plan.writes.append((ROM_BASE, bytes(rom.image)))  # into the RAM that takes the ROM's place, as firmware copies itself
    map_rom(machine, bytes(rom.image))
    machine.on_reset(lambda: start(machine, platform, plan))
    return plan


def choose(request: BootRequest) -> BootPlan:
    """The protocol by what is in the file: Linux first, then Multiboot, then PVH."""
    data, name = request.kernel, request.kernel_name
    if bzimage.is_bzimage(data):
        return bzimage.plan(request)
    from . import elf, multiboot, pvh  # only now: most kernels are bzImages

    header = multiboot.find_header(data)
    if header is not None:
        return multiboot.plan(request, header)
    if data[:4] == elf.MAGIC:
        try:
            file = elf.parse(data)
        except elf.ElfError as error:
            raise LoaderError(KERNEL, name, str(error)) from None
        entry = pvh.find_entry(file)
        if entry is None:
            raise LoaderError(KERNEL, name, "an ELF file with neither a Multiboot header nor a PVH entry note")
        return pvh.plan(request, file, entry)
    for magic, kind in _COMPRESSED.items():
        if data.startswith(magic):
            raise LoaderError(KERNEL, name, f"{kind}-compressed data, not a kernel; unpack it first")
    raise LoaderError(KERNEL, name, "not a kernel: no Linux, Multiboot or PVH header found")


def start(machine: Any, platform: Platform, plan: BootPlan) -> None:
    """Chips as firmware leaves them, images in memory, the processor at the entry."""
    firmware.set_up(machine, platform)
    memory = machine.memory
    for address, size in plan.zeros:
        for offset in range(0, size, _ZERO_CHUNK):
            memory.write(address + offset, bytes(min(_ZERO_CHUNK, size - offset)))
    for address, data in plan.writes:
        memory.write(address, data)
    firmware.protect_shadow(machine, platform)
    plan.start(machine.cpu)
