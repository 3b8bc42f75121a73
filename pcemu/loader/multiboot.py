"""Multiboot 1 kernels (Multiboot specification 0.6.96): ELF files, and others by the address fields ("a.out kludge")."""

from __future__ import annotations

import struct
from typing import NamedTuple

from . import elf
from .cpustate import enter_flat32, flat_gdt
from .errors import LoaderError
from .images import read_image
from .layout import PAGE, NoRoomError
from .plan import CMDLINE_ADDR, CMDLINE_ROOM, GDT_ADDR, INFO_ADDR, INITRD, KERNEL, BootPlan, BootRequest, Contents

HEADER_MAGIC = 0x1BADB002
BOOT_MAGIC = 0x2BADB002
_SEARCH = 8192
_HAS_ADDRESSES = 1 << 16
_UNDERSTOOD = 0x7  # page-aligned modules, memory map, video (which a loader may leave out)
_MUST_UNDERSTAND = 0xFFFF

# What the information structure says it holds (3.3).
_INFO_MEM = 1 << 0
_INFO_CMDLINE = 1 << 2
_INFO_MODS = 1 << 3
_INFO_MMAP = 1 << 6
_INFO_LOADER_NAME = 1 << 9
_INFO_SIZE = 88
_INFO_ROOM = 2 * PAGE  # with the memory map and the module list
_MAX_MODULES = 256
_LOADER_NAME = b"pcemu\x00"


class Header(NamedTuple):
    offset: int
    flags: int
    header_addr: int = 0
    load_addr: int = 0
    load_end: int = 0
    bss_end: int = 0
    entry: int = 0


class _Image(NamedTuple):
    entry: int
    pieces: list[tuple[int, Contents, int]]  # address, contents, size in memory


def find_header(data: bytes) -> Header | None:
    """The header, in the first 8 KiB at a multiple of four (3.1)."""
    window = data[:_SEARCH]
    magic = struct.pack("<I", HEADER_MAGIC)
    at = window.find(magic)
    while at >= 0:
        if at % 4 == 0 and at + 12 <= len(window):
            _, flags, checksum = struct.unpack_from("<III", window, at)
            if (HEADER_MAGIC + flags + checksum) & 0xFFFFFFFF == 0:
                if not flags & _HAS_ADDRESSES:
                    return Header(at, flags)
                if at + 32 <= len(data):
                    return Header(at, flags, *struct.unpack_from("<5I", data, at + 12))
        at = window.find(magic, at + 1)
    return None


def plan(request: BootRequest, header: Header) -> BootPlan:
    name = request.kernel_name
    unknown = header.flags & _MUST_UNDERSTAND & ~_UNDERSTOOD
    if unknown:
        raise LoaderError(KERNEL, name, f"the Multiboot header requires features {unknown:#x}, which are unknown")
    image = _addressed(name, request.kernel, header) if header.flags & _HAS_ADDRESSES else _elf(name, request.kernel)
    layout = request.layout
    writes: list[tuple[int, Contents]] = []
    zeros: list[tuple[int, int]] = []
    try:
        for number, (address, contents, size) in enumerate(image.pieces):
            layout.take(address, size, f"part {number} of the kernel")
            writes.append((address, contents))
            zeros.append((address + len(contents), size - len(contents)))
        info_at = layout.bottom(_INFO_ROOM, "the Multiboot information", INFO_ADDR)
        gdt_at = layout.take(GDT_ADDR, PAGE, "the segment table")
        strings = _Strings(layout.bottom(CMDLINE_ROOM, "command lines", CMDLINE_ADDR), KERNEL, name)
    except NoRoomError as error:
        raise LoaderError(KERNEL, name, str(error)) from None
    modules, contents_of_modules = _modules(request, image, strings)
    writes += contents_of_modules
    command = request.kernel_name.encode("utf-8", "surrogateescape")
    cmdline = strings.add(command + b" " + request.cmdline if request.cmdline else command)
    loader_name = strings.add(_LOADER_NAME[:-1])
    writes.append((gdt_at, flat_gdt(False)))
    writes.append((info_at, _information(request, info_at, cmdline, loader_name, modules)))
    writes.append((strings.start, bytes(strings.data)))
    return BootPlan("Multiboot", lambda cpu: enter_flat32(cpu, image.entry, rax=BOOT_MAGIC, rbx=info_at), writes, zeros)


class _Strings:
    """Zero-terminated strings one after the other in a place of fixed size."""

    def __init__(self, start: int, option: str, name: str) -> None:
        self.start = start
        self.data = bytearray()
        self._where = option, name

    def add(self, text: bytes) -> int:
        at = self.start + len(self.data)
        self.data += text + b"\x00"
        if len(self.data) > CMDLINE_ROOM - PAGE:
            raise LoaderError(*self._where, f"the command lines are longer than {CMDLINE_ROOM - PAGE} bytes")
        return at


def _elf(name: str, data: bytes) -> _Image:
    try:
        file = elf.parse(data)
    except elf.ElfError as error:
        raise LoaderError(KERNEL, name, f"a Multiboot kernel, but {error}") from None
    if not file.loads:
        raise LoaderError(KERNEL, name, "the ELF file has nothing to load")
    return _Image(file.physical_entry, [(part.paddr, file.contents(part), part.mem_size) for part in file.loads])


def _addressed(name: str, data: bytes, header: Header) -> _Image:
    """An image of any format, by the address fields of its header (3.1.3)."""
    start = header.offset - (header.header_addr - header.load_addr)
    size = header.load_end - header.load_addr if header.load_end else len(data) - start
    if header.load_addr > header.header_addr or not 0 <= start < len(data):
        raise LoaderError(KERNEL, name, "the load addresses in the Multiboot header are wrong")
    if size <= 0 or start + size > len(data):
        raise LoaderError(KERNEL, name, "the file is shorter than its Multiboot header says")
    total = header.bss_end - header.load_addr if header.bss_end else size
    if total < size:
        raise LoaderError(KERNEL, name, "the Multiboot header's bss ends before its data")
    return _Image(header.entry, [(header.load_addr, memoryview(data)[start : start + size], total)])


def _modules(request: BootRequest, image: _Image, strings: _Strings) -> tuple[list[bytes], list[tuple[int, Contents]]]:
    """-initrd "file args,file args": each into memory behind the kernel, at a page's start."""
    entries: list[bytes] = []
    contents: list[tuple[int, Contents]] = []
    end = max((address + size for address, _, size in image.pieces), default=0)
    for line in split_modules(request.initrd_name or ""):
        if len(entries) >= _MAX_MODULES:
            raise LoaderError(INITRD, "", f"more than {_MAX_MODULES} modules")
        file = line.split(" ", 1)[0]
        data = read_image(INITRD, file, request.image_limit)
        try:
            address = request.layout.bottom(len(data), f"module {len(entries)}", max(end, 0x100000))
        except NoRoomError as error:
            raise LoaderError(INITRD, file, str(error)) from None
        contents.append((address, data))
        text = strings.add(line.encode("utf-8", "surrogateescape"))
        entries.append(struct.pack("<IIII", address, address + len(data), text, 0))
    return entries, contents


def split_modules(text: str) -> list[str]:
    """Split at commas; two commas are one that belongs to a name."""
    parts = [part.replace("\x00", ",").strip(" ") for part in text.replace(",,", "\x00").split(",")]
    return [part for part in parts if part]


def _information(request: BootRequest, at: int, cmdline: int, loader_name: int, modules: list[bytes]) -> bytes:
    """The information structure (3.3), followed by the memory map and the module list."""
    memory = request.memory_map
    mmap = b"".join(struct.pack("<IQQI", 20, entry.start, entry.size, entry.kind) for entry in memory)
    mmap_at = at + _INFO_SIZE
    mods_at = mmap_at + len(mmap)
    lower = next((entry.size for entry in memory if entry.start == 0), 0) >> 10
    upper = next((entry.size for entry in memory if entry.start == 0x100000), 0) >> 10
    flags = _INFO_MEM | _INFO_CMDLINE | _INFO_MODS | _INFO_MMAP | _INFO_LOADER_NAME
    info = struct.pack("<IIIIIII", flags, lower, upper, 0, cmdline, len(modules), mods_at)
    info += bytes(16) + struct.pack("<IIIIII", len(mmap), mmap_at, 0, 0, 0, loader_name)
    return info.ljust(_INFO_SIZE, b"\x00") + mmap + b"".join(modules)
