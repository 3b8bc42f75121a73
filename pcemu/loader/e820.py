"""The physical memory map as firmware reports it (INT 15h, AX=E820h; ACPI specification, chapter 15)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from .platform import FOUR_GIB, Platform

RAM = 1
RESERVED = 2
ACPI = 3  # tables: RAM again once the system has read them
NVS = 4

EBDA = 0x9FC00  # the extended BIOS data area takes the last KiB of conventional memory
CONVENTIONAL_END = 0xA0000
BIOS_START = 0xF0000
HIGH_START = 0x100000


class E820Entry(NamedTuple):
    start: int
    size: int
    kind: int

    @property
    def end(self) -> int:
        return self.start + self.size

    def encode(self) -> bytes:
        return struct.pack("<QQI", self.start, self.size, self.kind)


def memory_map(platform: Platform, reserved: Iterable[E820Entry] = ()) -> list[E820Entry]:
    """What a booted system may use. `reserved` entries are cut out of RAM and listed with their own kind."""
    entries = [
        E820Entry(0, min(platform.low_ram, EBDA), RAM),
        E820Entry(EBDA, CONVENTIONAL_END - EBDA, RESERVED),
        E820Entry(BIOS_START, HIGH_START - BIOS_START, RESERVED),
    ]
    if platform.low_ram > HIGH_START:
        entries.append(E820Entry(HIGH_START, platform.low_ram - HIGH_START, RAM))
    if platform.high_ram:
        entries.append(E820Entry(FOUR_GIB, platform.high_ram, RAM))
    for hole in reserved:
        entries = [part for entry in entries for part in _without(entry, hole)] + [hole]
    return sorted(entry for entry in entries if entry.size > 0)


def installed_memory(platform: Platform) -> list[E820Entry]:
    """RAM as it is on the board, for firmware that makes the map itself (etc/e820)."""
    entries = [E820Entry(0, platform.low_ram, RAM)]
    if platform.high_ram:
        entries.append(E820Entry(FOUR_GIB, platform.high_ram, RAM))
    return entries


def encode(entries: Iterable[E820Entry]) -> bytes:
    return b"".join(entry.encode() for entry in entries)


def _without(entry: E820Entry, hole: E820Entry) -> list[E820Entry]:
    if hole.end <= entry.start or entry.end <= hole.start:
        return [entry]
    before = E820Entry(entry.start, hole.start - entry.start, entry.kind)
    after = E820Entry(hole.end, entry.end - hole.end, entry.kind)
    return [part for part in (before, after) if part.size > 0]
