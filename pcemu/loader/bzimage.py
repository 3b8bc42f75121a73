"""The Linux/x86 boot protocol (Documentation/arch/x86/boot.rst in the kernel's sources), versions 2.02 and later.

There is no BIOS to run the kernel's real-mode part on, so bzImages are entered at their 32- or 64-bit entry point, with
a struct boot_params (Documentation/arch/x86/zero-page.rst) that says what the real-mode part would have asked for.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .cpustate import enter_flat32, enter_long64, flat_gdt, identity_page_tables
from .e820 import E820Entry, encode
from .errors import LoaderError
from .images import read_image
from .layout import PAGE, NoRoomError
from .plan import (
    APPEND,
    CMDLINE_ADDR,
    CMDLINE_ROOM,
    GDT_ADDR,
    INFO_ADDR,
    INITRD,
    KERNEL,
    PAGE_TABLES_ADDR,
    BootPlan,  # fmt: skip
    BootRequest,
    Contents,
)

_MAGIC = b"HdrS"
_MAGIC_AT = 0x202
_HEADER_AT = 0x1F1
_SMALLEST = 1024  # the boot sector and one sector of setup code, with all of the header
_LOAD_ADDR = 0x100000
_LOADED_HIGH = 0x01
_XLF_KERNEL_64 = 0x01
_ENTRY_64 = 0x200
_OLD_INITRD_MAX = 0x37FFFFFF
_OLD_CMDLINE_MAX = 255
_UNKNOWN_LOADER = 0xFF

# struct boot_params
_ALT_MEM_K = 0x1E0
_E820_COUNT = 0x1E8
_E820_TABLE = 0x2D0
_E820_MAX = 128
_ACPI_RSDP_ADDR = 0x070


class SetupHeader(NamedTuple):
    """The fields of the setup header that a loader looks at."""

    version: int
    setup_sectors: int
    loadflags: int
    initrd_max: int
    alignment: int
    relocatable: bool
    xloadflags: int
    cmdline_size: int
    pref_address: int
    init_size: int
    raw: bytes  # from 0x1f1 to the header's end

    @property
    def setup_size(self) -> int:
        return (self.setup_sectors + 1) * 512

    @property
    def is_64bit(self) -> bool:
        return bool(self.xloadflags & _XLF_KERNEL_64)

    @property
    def run_address(self) -> int:
        """Where the kernel unpacks itself to."""
        if self.relocatable and self.pref_address <= _LOAD_ADDR:
            return (_LOAD_ADDR + self.alignment - 1) // self.alignment * self.alignment
        return self.pref_address


def is_bzimage(data: bytes) -> bool:
    return data[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC


def parse_header(name: str, data: bytes) -> SetupHeader:
    def bad(reason: str) -> LoaderError:
        return LoaderError(KERNEL, name, reason)

    def read(layout: str, offset: int, since: int, default: int = 0) -> int:
        # The header grew with the versions: what an old kernel has there is code.
        if version < since or offset + struct.calcsize(layout) > header_end:
            return default
        return int(struct.unpack_from(layout, data, offset)[0])

    if len(data) < _SMALLEST:
        raise bad("the Linux kernel image is cut off in its header")
    (version,) = struct.unpack_from("<H", data, 0x206)
    header_end = 0x202 + data[0x201]
    if version < 0x202:
        raise bad(f"Linux boot protocol {version >> 8}.{version & 0xFF:02d} is too old; 2.02 or later is needed")
    loadflags = data[0x211]
    if not loadflags & _LOADED_HIGH:
        raise bad("a zImage, loaded below 1 MiB; only bzImage kernels can be started")
    header = SetupHeader(
        version=version,
        setup_sectors=data[0x1F1] or 4,
        loadflags=loadflags,
        initrd_max=read("<I", 0x22C, 0x203, _OLD_INITRD_MAX),
        alignment=read("<I", 0x230, 0x205) or PAGE,
        relocatable=bool(read("<B", 0x234, 0x205)),
        xloadflags=read("<H", 0x236, 0x20C),
        cmdline_size=read("<I", 0x238, 0x206, _OLD_CMDLINE_MAX),
        pref_address=read("<Q", 0x258, 0x20A) or _LOAD_ADDR,
        init_size=read("<I", 0x260, 0x20A),
        raw=data[_HEADER_AT:header_end],
    )
    if header.setup_size >= len(data):
        raise bad("the Linux kernel image is cut off: there is nothing behind its setup part")
    (paragraphs,) = struct.unpack_from("<I", data, 0x1F4)
    # From 2.04 on syssize is what the rest of the file has at least, in units of 16 bytes.
    if version >= 0x204 and header.setup_size + (paragraphs - 1) * 16 > len(data):
        raise bad(f"the Linux kernel image is cut off: {len(data)} bytes of "
                  f"{header.setup_size + paragraphs * 16}")  # fmt: skip
    return header


def plan(request: BootRequest) -> BootPlan:
    """Place kernel, initial ramdisk, command line and boot_params."""
    header = parse_header(request.kernel_name, request.kernel)
    long_mode = request.platform.long_mode
    if header.is_64bit and not long_mode:
        raise LoaderError(KERNEL, request.kernel_name, "a 64-bit kernel, and the CPU model has no long mode")
    payload = memoryview(request.kernel)[header.setup_size :]
    layout = request.layout
    try:
        layout.take(GDT_ADDR, CMDLINE_ADDR + CMDLINE_ROOM - GDT_ADDR, "boot parameters")
        end = max(_LOAD_ADDR + len(payload), header.run_address + header.init_size)
        layout.take(_LOAD_ADDR, end - _LOAD_ADDR, "the kernel")
    except NoRoomError as error:
        raise LoaderError(KERNEL, request.kernel_name, str(error)) from None
    cmdline = _command_line(request, header)
    writes: list[tuple[int, Contents]] = [(_LOAD_ADDR, payload), (CMDLINE_ADDR, cmdline)]
    writes.append((GDT_ADDR, flat_gdt(header.is_64bit)))
    initrd = (0, 0)
    if request.initrd_name is not None:
        data = read_image(INITRD, request.initrd_name, request.image_limit)
        try:
            address = layout.top(len(data), "the initial ramdisk", header.initrd_max + 1)
        except NoRoomError as error:
            raise LoaderError(INITRD, request.initrd_name, str(error)) from None
        initrd = (address, len(data))
        writes.append((address, data))
    writes.append((INFO_ADDR, boot_params(header, request.memory_map, request.rsdp, initrd)))
    if not header.is_64bit:
        return BootPlan("Linux, 32-bit entry", lambda cpu: enter_flat32(cpu, _LOAD_ADDR, rsi=INFO_ADDR), writes)
    writes.append((PAGE_TABLES_ADDR, identity_page_tables()))
    entry = _LOAD_ADDR + _ENTRY_64
    return BootPlan("Linux, 64-bit entry", lambda cpu: enter_long64(cpu, entry, rsi=INFO_ADDR), writes)


def _command_line(request: BootRequest, header: SetupHeader) -> bytes:
    room = min(header.cmdline_size, CMDLINE_ROOM - 1)
    if len(request.cmdline) > room:
        raise LoaderError(APPEND, "", f"{len(request.cmdline)} bytes; the kernel takes at most {room}")
    return request.cmdline + b"\x00"


def boot_params(header: SetupHeader, memory_map: list[E820Entry], rsdp: int, initrd: tuple[int, int]) -> bytes:
    """The zero page."""
    page = bytearray(PAGE)
    page[_HEADER_AT : _HEADER_AT + len(header.raw)] = header.raw
    page[0x210] = _UNKNOWN_LOADER
    struct.pack_into("<I", page, 0x214, _LOAD_ADDR)  # code32_start
    struct.pack_into("<II", page, 0x218, *initrd)
    struct.pack_into("<I", page, 0x228, CMDLINE_ADDR)
    struct.pack_into("<Q", page, _ACPI_RSDP_ADDR, rsdp)  # read since 2.14, padding before
    entries = memory_map[:_E820_MAX]
    page[_E820_COUNT] = len(entries)
    table = encode(entries)
    page[_E820_TABLE : _E820_TABLE + len(table)] = table
    above = max((entry.end - 0x100000 for entry in entries if entry.start == 0x100000), default=0) >> 10
    struct.pack_into("<I", page, _ALT_MEM_K, above)
    struct.pack_into("<H", page, 0x02, min(above, 0xFFFF))
    return bytes(page)
