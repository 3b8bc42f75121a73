"""ELF kernels with a PVH entry: an ELF note names a 32-bit entry point.

The "x86/HVM direct boot ABI" of Xen (docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h there).
"""

from __future__ import annotations

import struct

from . import elf
from .cpustate import enter_flat32, flat_gdt
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
    BootPlan,
    BootRequest,
    Contents,
)

_ELFNOTE_PHYS32_ENTRY = 18
_START_MAGIC = 0x336EC578
_START_SIZE = 56
_MODULE_SIZE = 32


def find_entry(file: elf.Elf) -> int | None:
    """The entry point in the note, 4 or 8 bytes."""
    for note in file.notes():
        if note.name == b"Xen" and note.kind == _ELFNOTE_PHYS32_ENTRY and len(note.value) in (4, 8):
            return int.from_bytes(note.value, "little")
    return None


def plan(request: BootRequest, file: elf.Elf, entry: int) -> BootPlan:
    name, layout = request.kernel_name, request.layout
    if entry >= 1 << 32 or not file.loads:
        raise LoaderError(KERNEL, name, "the ELF file has nothing to start below 4 GiB")
    writes: list[tuple[int, Contents]] = []
    zeros: list[tuple[int, int]] = []
    try:
        for number, segment in enumerate(file.loads):
            layout.take(segment.paddr, segment.mem_size, f"segment {number} of the kernel")
            contents = file.contents(segment)
            writes.append((segment.paddr, contents))
            zeros.append((segment.paddr + len(contents), segment.mem_size - len(contents)))
        layout.take(GDT_ADDR, PAGE, "the segment table")
        info_at = layout.bottom(PAGE, "the start information", INFO_ADDR)
        cmdline_at = layout.bottom(CMDLINE_ROOM, "the command line", CMDLINE_ADDR)
    except NoRoomError as error:
        raise LoaderError(KERNEL, name, str(error)) from None
    if len(request.cmdline) >= CMDLINE_ROOM:
        raise LoaderError(APPEND, "", f"{len(request.cmdline)} bytes; at most {CMDLINE_ROOM - 1} are possible")
    module = b""
    if request.initrd_name is not None:
        data = read_image(INITRD, request.initrd_name, request.image_limit)
        try:
            address = layout.top(len(data), "the initial ramdisk")
        except NoRoomError as error:
            raise LoaderError(INITRD, request.initrd_name, str(error)) from None
        writes.append((address, data))
        module = struct.pack("<QQQQ", address, len(data), 0, 0)
    writes.append((info_at, _start_info(request, info_at, cmdline_at, module)))
    writes.append((cmdline_at, request.cmdline + b"\x00"))
    writes.append((GDT_ADDR, flat_gdt(False)))
    return BootPlan("PVH", lambda cpu: enter_flat32(cpu, entry, rbx=info_at), writes, zeros)


def _start_info(request: BootRequest, at: int, cmdline: int, module: bytes) -> bytes:
    """struct hvm_start_info, version 1, with its module list and memory map behind it."""
    modules_at = at + _START_SIZE
    map_at = modules_at + len(module)
    memory = request.memory_map
    info = struct.pack("<IIIIQQQQII", _START_MAGIC, 1, 0, len(module) // _MODULE_SIZE, modules_at if module else 0,
                       cmdline, request.rsdp, map_at, len(memory), 0)  # fmt: skip
    table = b"".join(struct.pack("<QQII", entry.start, entry.size, entry.kind, 0) for entry in memory)
    return info + module + table
