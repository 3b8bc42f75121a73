"""A small ELF reader: what a boot loader needs of an executable, checked against the size of the file.

Tool Interface Standard ELF specification 1.2, and the System V ABI for 64-bit files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"\x7fELF"
EM_386 = 3
EM_X86_64 = 62
PT_LOAD = 1
PT_NOTE = 4
MAX_SEGMENTS = 128
_PN_XNUM = 0xFFFF


class ElfError(ValueError):
    """Not an ELF file one can load; the text says why."""


class Segment(NamedTuple):
    kind: int
    offset: int
    vaddr: int
    paddr: int
    file_size: int
    mem_size: int
    align: int


class Note(NamedTuple):
    name: bytes
    kind: int
    value: bytes


class Elf(NamedTuple):
    data: bytes
    bits: int
    machine: int
    entry: int
    segments: tuple[Segment, ...]

    @property
    def loads(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.kind == PT_LOAD and segment.mem_size]

    def contents(self, segment: Segment) -> memoryview:
        return memoryview(self.data)[segment.offset : segment.offset + segment.file_size]

    @property
    def physical_entry(self) -> int:
        """The entry point as a physical address: files say it in virtual ones."""
        for segment in self.loads:
            if segment.vaddr <= self.entry < segment.vaddr + segment.mem_size:
                return self.entry - segment.vaddr + segment.paddr
        return self.entry

    def notes(self) -> Iterator[Note]:
        """Every note in the PT_NOTE segments; a damaged one ends its segment."""
        for segment in self.segments:
            if segment.kind == PT_NOTE:
                yield from _notes(bytes(self.contents(segment)), 8 if segment.align == 8 else 4)


def parse(data: bytes) -> Elf:
    """Read the headers of an x86 executable."""
    if data[:4] != MAGIC:
        raise ElfError("not an ELF file")
    if len(data) < 52:
        raise ElfError("the ELF header is cut off")
    klass, encoding = data[4], data[5]
    if klass not in (1, 2) or encoding != 1:
        raise ElfError("not a little-endian 32- or 64-bit ELF file")
    bits = 32 if klass == 1 else 64
    layout = "<HHIIIIIHHH" if bits == 32 else "<HHIQQQIHHH"
    if len(data) < 16 + struct.calcsize(layout):
        raise ElfError("the ELF header is cut off")
    kind, machine, _, entry, phoff, _, _, _, phentsize, phnum = struct.unpack_from(layout, data, 16)
    if machine not in (EM_386, EM_X86_64):
        raise ElfError(f"an ELF file for machine {machine}, not for x86")
    if kind not in (2, 3):
        raise ElfError("an ELF file that is not an executable")
    if phnum == 0 or phnum == _PN_XNUM or phnum > MAX_SEGMENTS:
        raise ElfError(f"an ELF file with {phnum} program headers")
    size = 32 if bits == 32 else 56
    if phentsize < size or phoff + phnum * phentsize > len(data):
        raise ElfError("the ELF program headers are cut off")
    segments = tuple(_segment(data, phoff + index * phentsize, bits) for index in range(phnum))
    for segment in segments:
        if segment.kind in (PT_LOAD, PT_NOTE) and segment.offset + segment.file_size > len(data):
            raise ElfError("an ELF segment reaches beyond the end of the file")
        if segment.kind == PT_LOAD and segment.file_size > segment.mem_size:
            raise ElfError("an ELF segment is larger in the file than in memory")
    return Elf(data, bits, machine, entry, segments)


def _segment(data: bytes, at: int, bits: int) -> Segment:
    if bits == 32:
        kind, offset, vaddr, paddr, filesz, memsz, _, align = struct.unpack_from("<8I", data, at)
    else:
        kind, _, offset, vaddr, paddr, filesz, memsz, align = struct.unpack_from("<II6Q", data, at)
    return Segment(kind, offset, vaddr, paddr, filesz, memsz, align)


def _notes(data: bytes, align: int) -> Iterator[Note]:
    at = 0
    while at + 12 <= len(data):
        name_size, value_size, kind = struct.unpack_from("<III", data, at)
        name_at = at + 12
        value_at = -(-(name_at + name_size) // align) * align
        end = value_at + value_size
        if end > len(data):
            return
        yield Note(data[name_at : name_at + name_size].rstrip(b"\x00"), kind, data[value_at:end])
        at = -(-end // align) * align
