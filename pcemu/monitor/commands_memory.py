"""Commands that look at memory and ports: x xp print i o sum memsave pmemsave gva2gpa."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pcemu.debug.disasm import disassemble

from . import registers
from .errors import CommandError
from .expr import MASK, signed
from .table import Context, Format, command

PAGE = 4096
SAVE_PIECE = 1 << 20
MOST_SUMMED = 4 << 20


def read_physical(machine: Any, addr: int, count: int) -> bytes | None:
    """Memory as a device doing DMA sees it; None where there is nothing."""
    parts: list[bytes] = []
    for start, size, _, _ in machine.memory_space.flat:
        if not count:
            break
        if start + size > addr:
            if start > addr:
                return None
            here = min(count, start + size - addr)
            parts.append(bytes(machine.memory.read(addr, here)))
            addr, count = addr + here, count - here
    return None if count else b"".join(parts)


def read_virtual(ctx: Context, addr: int, count: int) -> bytes | None:
    """Memory through the CPU's page tables, without touching them."""
    cpu, machine = ctx.cpu, ctx.machine
    data = b""
    while count:
        physical = cpu.translate(addr)
        if physical is None:
            return None
        left = min(count, PAGE - (addr & PAGE - 1))
        part = read_physical(machine, physical, left)
        if part is None:
            return None
        data += part
        addr, count = (addr + left) & MASK, count - left
    return data


@command("x", "fmt:/,addr:l", params="/fmt addr", help="virtual memory dump starting at 'addr'")
def x(ctx: Context, fmt: Format, addr: int) -> str:
    return _dump(ctx, fmt, addr & MASK, lambda at, count: read_virtual(ctx, at & MASK, count))


@command("xp", "fmt:/,addr:l", params="/fmt addr", help="physical memory dump starting at 'addr'")
def xp(ctx: Context, fmt: Format, addr: int) -> str:
    return _dump(ctx, fmt, addr & MASK, lambda at, count: read_physical(ctx.machine, at & MASK, count))


def _dump(ctx: Context, fmt: Format, addr: int, read: Callable[[int, int], bytes | None]) -> str:
    if fmt.kind == "i":
        return disassemble(read, addr, fmt.count, registers.code_bits(ctx.cpu))
    size = fmt.size
    left = size * fmt.count
    line_size = 8 if size == 1 else 16
    item = 1 if fmt.kind == "c" else size
    lines = []
    while left > 0:
        part = min(left, line_size)
        data = read(addr, part)
        if data is None:
            lines.append(f"{addr:016x}: Cannot access memory")
            break
        cells = [_cell(fmt.kind, int.from_bytes(data[at:at + item], "little"), item) for at in range(0, part, item)]
        lines.append(f"{addr:016x}: {' '.join(cells)}")
        addr, left = (addr + part) & MASK, left - part
    return "".join(line + "\n" for line in lines)


def _cell(kind: str, value: int, size: int) -> str:
    bits = 8 * size
    match kind:
        case "o":
            return f"{_octal(value):>{-(-bits // 3)}}"
        case "u":
            return f"{value:>{-(-bits * 10 // 33)}}"
        case "d":
            return f"{signed(value):>{-(-bits * 10 // 33)}}"
        case "c":
            return character(value)
    return f"0x{value:0{bits // 4}x}"


def _octal(value: int) -> str:
    return f"0{value:o}" if value else "0"


def character(value: int) -> str:
    """One byte as a C character constant."""
    char = chr(value & 0xFF)
    text = {"'": "\\'", "\\": "\\\\", "\n": "\\n", "\r": "\\r"}.get(char)
    if text is None:
        text = char if 32 <= ord(char) <= 126 else f"\\x{value & (0xFF if value < 256 else MASK):02x}"
    return f"'{text}'"


@command("print|p", "fmt:/,value:l", params="/fmt expr",
         help="print expression value (use $reg for CPU register access)")
def print_(ctx: Context, fmt: Format, value: int) -> str:
    pattern = value & MASK
    match fmt.kind:
        case "o":
            return _octal(pattern) + "\n"
        case "x":
            return (f"{pattern:#x}" if pattern else "0") + "\n"
        case "u":
            return f"{pattern}\n"
        case "c":
            return character(pattern) + "\n"
    return f"{signed(pattern)}\n"


# ---- ports ------------------------------------------------------------------------------------------------------------


def _port(machine: Any, port: int, size: int) -> tuple[Any, int] | None:
    """The handler at a port, and the offset in it; None in a hole or across an edge."""
    for start, length, region, offset in machine.io_space.flat:
        if start <= port and port + size <= start + length:
            return region.handler, offset + port - start
    return None


def port_read(machine: Any, port: int, size: int) -> int:
    """As IN would."""
    found = _port(machine, port, size)
    if found is not None and found[0] is not None:
        value: int = found[0].read(found[1], size)
        return value
    if size == 1:
        return 0xFF
    return sum(port_read(machine, (port + at) & 0xFFFF, 1) << 8 * at for at in range(size))


def port_write(machine: Any, port: int, size: int, value: int) -> None:
    """As OUT would."""
    found = _port(machine, port, size)
    if found is not None and found[0] is not None:
        found[0].write(found[1], size, value)
    elif size > 1:
        for at in range(size):
            port_write(machine, (port + at) & 0xFFFF, 1, value >> 8 * at & 0xFF)


@command("i", "fmt:/,addr:i,index:i.", params="/fmt addr", help="I/O port read")
def in_(ctx: Context, fmt: Format, addr: int, index: int | None) -> str:
    port = addr & 0xFFFF
    if index is not None:
        port_write(ctx.machine, port, 1, index & 0xFF)
        port = port + 1 & 0xFFFF
    size = fmt.size if fmt.size in (2, 4) else 1
    value = port_read(ctx.machine, port, size)
    digits = 2 * (fmt.size if fmt.size > 0 else 1)
    return f"port{' bw l'[size]}[0x{port:04x}] = 0x{value:0{digits}x}\n"


@command("o", "fmt:/,addr:i,val:i", params="/fmt addr value", help="I/O port write")
def out(ctx: Context, fmt: Format, addr: int, val: int) -> None:
    size = fmt.size if fmt.size in (2, 4) else 1
    port_write(ctx.machine, addr & 0xFFFF, size, val & (1 << 8 * size) - 1)


@command("gpa2hva", "addr:l", params="addr", help="print the host virtual address corresponding to a guest physical address")
def gpa2hva(ctx: Context, addr: int) -> str:
    import ctypes

    machine, addr = ctx.machine, addr & MASK
    for start, size, region, offset in machine.memory_space.flat:
        if start <= addr < start + size:
            if region.kind not in ("ram", "rom"):
                return f"Memory at address {addr:#x} is not RAM\n"
            view = machine.memory.block_view(region.block + offset + addr - start, 1)
            place = ctypes.addressof(ctypes.c_char.from_buffer(view))
            return f"Host virtual address for {addr:#x} ({region.name}) is {place:#x}\n"
    return f"No memory is mapped at address {addr:#x}\n"


@command("gpa2hpa", "addr:l", params="addr", help="print the host physical address corresponding to a guest physical address")
def gpa2hpa(ctx: Context, addr: int) -> str:
    """By /proc/self/pagemap (Linux, Documentation/admin-guide/mm/pagemap.rst): frame in bits 0 to 54, bit 63: present."""
    shown = gpa2hva(ctx, addr)
    where, found, place = shown.rpartition(" is 0x")
    if not found:
        return shown
    virtual, addr = int(place, 16), addr & MASK
    read_physical(ctx.machine, addr, 1)                 # a page that nobody has touched has no frame
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            pagemap.seek(virtual // page * 8)
            entry = int.from_bytes(pagemap.read(8), "little")
    except OSError as error:
        raise CommandError(f"Cannot open /proc/self/pagemap: {error.strerror}") from None
    if not entry >> 63:
        raise CommandError("Page not present")
    frame = entry & (1 << 55) - 1
    if not frame:
        raise CommandError("the host shows physical addresses to privileged processes only")
    return f"{where.replace('virtual', 'physical')} is {frame * page + virtual % page:#x}\n"


# ---- blocks of memory -------------------------------------------------------------------------------------------------


@command("sum", "start:i,size:i", params="addr size", help="compute the checksum of a memory region")
def sum_(ctx: Context, start: int, size: int) -> str:
    if not 0 <= size <= MOST_SUMMED:
        raise CommandError(f"size: at most {MOST_SUMMED} bytes")
    total = 0
    for byte in read_physical(ctx.machine, start, size) or b"":
        total = ((total >> 1 | total << 15 & 0xFFFF) + byte) & 0xFFFF
    return f"{total:05d}\n"


@command("memsave", "val:l,size:i,filename:s", params="addr size file",
         help="save to disk virtual memory dump starting at 'addr' of size 'size'", qmp="memsave",
         takes="val: int, size: int, filename: str, cpu-index?: int")
def memsave(ctx: Context, val: int, size: int, filename: str, cpu_index: int | None = None) -> None:
    if cpu_index is not None:
        if not 0 <= cpu_index < len(ctx.machine.cpus):
            raise CommandError("Parameter 'cpu-index' expects a CPU number")
        ctx = replace(ctx, cpu_index=cpu_index)
    _save(ctx, filename, val & MASK, size, lambda at, count: read_virtual(ctx, at & MASK, count))


@command("pmemsave", "val:l,size:i,filename:s", params="addr size file",
         help="save to disk physical memory dump starting at 'addr' of size 'size'", qmp="pmemsave")
def pmemsave(ctx: Context, val: int, size: int, filename: str) -> None:
    _save(ctx, filename, val & MASK, size, lambda at, count: read_physical(ctx.machine, at & MASK, count))


def _save(ctx: Context, filename: str, addr: int, size: int, read: Callable[[int, int], bytes | None]) -> None:
    """Piece by piece: a size that only a mistake can mean must not cost its memory."""
    if size < 0 or read(addr, 1) is None or (size and read((addr + size - 1) & MASK, 1) is None):
        raise CommandError(f"Invalid addr 0x{addr:016x}/size {size} specified")
    try:
        fd = ctx.machine.fds.open(filename, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with open(fd, "wb") as stream:
            for at in range(0, size, SAVE_PIECE):
                data = read(addr + at, min(SAVE_PIECE, size - at))
                if data is None:
                    raise CommandError(f"Invalid addr 0x{addr:016x}/size {size} specified")
                stream.write(data)
    except OSError as error:
        raise CommandError(f"Could not open '{filename}': {error.strerror}") from error


@command("gva2gpa", "addr:l", params="addr",
         help="print the guest physical address corresponding to a guest virtual address")
def gva2gpa(ctx: Context, addr: int) -> str:
    physical = ctx.cpu.translate(addr & MASK)
    return "Unmapped\n" if physical is None else f"gpa: {physical:#x}\n"
