"""Tables whose addresses are not known yet, and the two ways to give them some.

Firmware that reads fw_cfg is told by the file etc/table-loader what to put into memory, and which pointers and
checksums to fix then (the "linker/loader" commands that SeaBIOS and OVMF know). Without firmware `link()` does the
same steps itself. One description serves both.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

ZONE_HIGH = 1
ZONE_FSEG = 2

_ENTRY_SIZE = 128
_NAME = "56s"
_ALLOCATE, _ADD_POINTER, _ADD_CHECKSUM = 1, 2, 3


class Allocate(NamedTuple):
    """Put a file into memory, in one of two zones: anywhere below 4 GiB, or 0xf0000-0xfffff."""

    file: str
    align: int
    zone: int

    def encode(self) -> bytes:
        return struct.pack(f"<I{_NAME}IB", _ALLOCATE, self.file.encode(), self.align, self.zone)


class AddPointer(NamedTuple):
    """Add the address of `target` to the field at `offset` in `file`."""

    file: str
    target: str
    offset: int
    size: int

    def encode(self) -> bytes:
        return struct.pack(f"<I{_NAME}{_NAME}IB", _ADD_POINTER, self.file.encode(), self.target.encode(),
                           self.offset, self.size)  # fmt: skip


class AddChecksum(NamedTuple):
    """Make the bytes from `start` add up to 0, by the one at `offset`."""

    file: str
    offset: int
    start: int
    length: int

    def encode(self) -> bytes:
        return struct.pack(f"<I{_NAME}III", _ADD_CHECKSUM, self.file.encode(), self.offset, self.start, self.length)


Step = Allocate | AddPointer | AddChecksum


class LinkedFiles:
    """Files, and the steps that make them tables."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.steps: list[Step] = []

    def add(self, name: str, align: int, zone: int) -> bytearray:
        self.steps.append(Allocate(name, align, zone))
        return self.files.setdefault(name, bytearray())

    def point(self, file: str, offset: int, size: int, target: str, target_offset: int) -> None:
        """The field is to hold the address of `target_offset` in `target`."""
        self.files[file][offset : offset + size] = target_offset.to_bytes(size, "little")
        self.steps.append(AddPointer(file, target, offset, size))

    def checksum(self, file: str, offset: int, start: int, length: int) -> None:
        self.files[file][offset] = 0
        self.steps.append(AddChecksum(file, offset, start, length))

    def script(self) -> bytes:
        """The contents of etc/table-loader."""
        return b"".join(step.encode().ljust(_ENTRY_SIZE, b"\x00") for step in self.steps)

    def link(self, place: Callable[[str, int, int, int], int]) -> list[tuple[int, bytes]]:
        """Do the steps: `place(file, size, align, zone)` says where a file goes. Returns what to write where."""
        images = {name: bytearray(data) for name, data in self.files.items()}
        address: dict[str, int] = {}
        for step in self.steps:
            image = images[step.file]
            if isinstance(step, Allocate):
                address[step.file] = place(step.file, len(image), step.align, step.zone)
            elif isinstance(step, AddPointer):
                end = step.offset + step.size
                value = int.from_bytes(image[step.offset : end], "little") + address[step.target]
                image[step.offset : end] = value.to_bytes(step.size, "little")
            else:
                total = sum(image[step.start : step.start + step.length])
                image[step.offset] = (image[step.offset] - total) & 0xFF
        return [(address[name], bytes(image)) for name, image in images.items()]
