"""Guest memory as an ELF core file (dump-guest-memory), which gdb and crash open.

One PT_NOTE with an NT_PRSTATUS for each processor (the registers, as Linux lays them out) and QEMU's note with the
control registers; one PT_LOAD for each piece of RAM, or with paging for each run of mapped pages that lies in one.
Layouts: System V ABI (ELF), Linux's elfcore.h and user_64.h, and QEMU's note as the crash utility reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import pack
from typing import Any

from pcemu.qom.errors import PcemuError

EM_386, EM_X86_64 = 3, 62
ET_CORE, PT_LOAD, PT_NOTE, NT_PRSTATUS = 4, 1, 4, 1
PN_XNUM = 0xFFFF
EFER_LMA = 1 << 10
PIECE = 1 << 20
REGS_64 = ("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "", "rip",
           "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs")
REGS_32 = ("rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rax", "ds", "es", "fs", "gs", "", "rip", "cs", "eflags", "rsp", "ss")
NOTE_REGS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", *(f"r{n}" for n in range(8, 16)), "rip", "eflags")
NOTE_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt")


@dataclass
class Load:
    """One PT_LOAD."""

    virtual: int
    physical: int
    size: int
    offset: int = 0         # in the file


def ram_ranges(machine: Any) -> list[tuple[int, int]]:
    """(start, size) of what is RAM in the memory map, neighbours merged."""
    found: list[tuple[int, int]] = []
    for start, size, region, _ in machine.memory_space.flat:
        if getattr(region, "region", region).kind != "ram":
            continue
        if found and sum(found[-1]) == start:
            found[-1] = (found[-1][0], found[-1][1] + size)
        else:
            found.append((start, size))
    return found


class MemoryDump:
    """Call `step()` until it says True. The guest stands still meanwhile."""

    def __init__(self, machine: Any, fd: int, *, mappings: Iterable[tuple[int, int, int]] | None = None,
                 begin: int | None = None, length: int | None = None) -> None:  # fmt: skip
        """`mappings` are (virtual, physical, size) of mapped pages; None: the file has physical addresses only."""
        self.machine = machine
        self.fd = fd
        self.long_mode = bool(machine.cpus) and bool(machine.cpu.get("efer") & EFER_LMA)
        ranges = ram_ranges(machine)
        if begin is not None and length is not None:
            clipped = ((max(start, begin), min(start + size, begin + length)) for start, size in ranges)
            ranges = [(start, end - start) for start, end in clipped if start < end]
            if not ranges:
                raise PcemuError("Parameter 'begin' expects an address that is in RAM")
        self.ranges = ranges
        self.total = sum(size for _, size in ranges)
        self.completed = 0
        notes = self._notes()
        loads = self._loads(mappings)
        self._header = self._layout(notes, loads)
        self._pieces = self._data()

    # -- ELF ----------------------------------------------------------------------------------------------------

    @property
    def wide(self) -> bool:
        """ELF64? A 32-bit guest may have memory beyond 4 GiB."""
        return self.long_mode or any(start + size > 1 << 32 for start, size in self.ranges)

    def _loads(self, mappings: Iterable[tuple[int, int, int]] | None) -> list[Load]:
        loads: list[Load] = []
        for virtual, physical, size in mappings or ():
            for start, count in self.ranges:
                first, last = max(physical, start), min(physical + size, start + count)
                if first < last:
                    at = virtual + first - physical
                    if loads and loads[-1].virtual + loads[-1].size == at and loads[-1].physical + loads[-1].size == first:
                        loads[-1].size += last - first
                    else:
                        loads.append(Load(at, first, last - first))
        # What is not mapped is there too, with its physical address.
        covered = sorted((load.physical, load.physical + load.size) for load in loads)
        for start, size in self.ranges:
            at, end = start, start + size
            for first, last in covered:
                if first >= end:
                    break
                if last > at:
                    if first > at:
                        loads.append(Load(at if mappings is None else 0, at, first - at))
                    at = last
            if at < end:
                loads.append(Load(at if mappings is None else 0, at, end - at))
        return loads

    def _layout(self, notes: bytes, loads: list[Load]) -> bytes:
        wide = self.wide
        ehdr, phdr, shdr = (64, 56, 64) if wide else (52, 32, 40)
        count = len(loads) + 1
        many = count >= PN_XNUM
        tables = ehdr + phdr * count + (shdr if many else 0)
        data = (tables + len(notes) + 4095) & ~4095
        offsets: dict[int, int] = {}
        at = data
        for start, size in self.ranges:
            offsets[start] = at
            at += size
        for load in loads:
            start = next(s for s, n in self.ranges if s <= load.physical < s + n)
            load.offset = offsets[start] + load.physical - start
        word = "Q" if wide else "I"
        ident = b"\x7fELF" + bytes((2 if wide else 1, 1, 1)) + bytes(9)
        out = ident + pack(f"<HHI{word}{word}{word}IHHHHHH", ET_CORE, EM_X86_64 if self.long_mode else EM_386, 1, 0, ehdr,
                           ehdr + phdr * count if many else 0, 0, ehdr, phdr, PN_XNUM if many else count,
                           shdr if many else 0, 1 if many else 0, 0)
        out += self._program_header(PT_NOTE, tables, 0, 0, len(notes))
        out += b"".join(self._program_header(PT_LOAD, load.offset, load.virtual, load.physical, load.size) for load in loads)
        if many:            # the count does not fit the header: it is in the first section header (gABI, e_phnum)
            out += pack(f"<II{word}{word}{word}{word}II{word}{word}", 0, 0, 0, 0, 0, 0, 0, count, 0, 0)
        return (out + notes).ljust(data, b"\0")

    def _program_header(self, kind: int, offset: int, virtual: int, physical: int, size: int) -> bytes:
        if self.wide:
            return pack("<IIQQQQQQ", kind, 0, offset, virtual & (1 << 64) - 1, physical, size, size, 0)
        return pack("<IIIIIIII", kind, offset, virtual & 0xFFFFFFFF, physical, size, size, 0, 0)

    # -- notes --------------------------------------------------------------------------------------------------

    def _notes(self) -> bytes:
        states = b"".join(_note(b"CORE", NT_PRSTATUS, self._prstatus(cpu, index + 1))
                          for index, cpu in enumerate(self.machine.cpus))
        return states + b"".join(_note(b"QEMU", 0, _qemu_state(cpu)) for cpu in self.machine.cpus)

    def _prstatus(self, cpu: Any, pid: int) -> bytes:
        """struct elf_prstatus: only the process id and the registers mean anything."""
        names, digits, before, after = (REGS_64, 8, (32, 76), 8) if self.long_mode else (REGS_32, 4, (24, 44), 4)
        mask = (1 << 8 * digits) - 1
        regs = b"".join((cpu.get(name) & mask if name else mask).to_bytes(digits, "little") for name in names)
        return bytes(before[0]) + pack("<I", pid) + bytes(before[1]) + regs + bytes(after)

    # -- data ---------------------------------------------------------------------------------------------------

    def _data(self) -> Iterator[bytes]:
        yield self._header
        for start, size in self.ranges:
            for at in range(start, start + size, PIECE):
                data = bytes(self.machine.memory.read(at, min(PIECE, start + size - at)))
                self.completed += len(data)
                yield data

    def step(self) -> bool:
        """Write the next piece; True when all is written. Raises OSError."""
        piece = next(self._pieces, None)
        while piece:
            piece = piece[os.write(self.fd, piece):]
        return piece is None


def _note(name: bytes, kind: int, data: bytes) -> bytes:
    padded = name + bytes(4 - len(name) % 4)
    return pack("<III", len(name) + 1, len(data), kind) + padded + data + bytes(-len(data) % 4)


def _qemu_state(cpu: Any) -> bytes:
    body = b"".join(pack("<Q", cpu.get(name)) for name in NOTE_REGS)
    for name in NOTE_SEGMENTS:
        table = name in ("gdt", "idt")
        body += pack("<IIIIQ", 0 if table else cpu.get(name), cpu.get(name + "_limit"), 0 if table else cpu.get(name + "_attr"),
                     0, cpu.get(name + "_base"))
    body += pack("<QQQQQQ", cpu.get("cr0"), 0, cpu.get("cr2"), cpu.get("cr3"), cpu.get("cr4"), cpu.get("kernel_gs_base"))
    return pack("<II", 1, len(body) + 8) + body
