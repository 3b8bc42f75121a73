"""Dirty bitmaps in an image (qcow2.txt, "Bitmaps extension"): which there are.

They are neither used nor kept up. Opening the image for writing clears the autoclear bit that says they are right, and from
then on they count for nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import header as hdr

if TYPE_CHECKING:
    from .image import Qcow2Node

MOST = 65535  # bitmaps
LONGEST = 1024  # bytes of a directory entry
ENTRY = struct.Struct(">QIIBBHI")  # table offset, its entries, flags, type, granularity bits, length of name and of extra data
FLAGS = ("in-use", "auto")


@dataclass(frozen=True)
class Directory:
    """Where the list of bitmaps is."""

    offset: int
    size: int


@dataclass(frozen=True)
class Bitmap:
    """One of the list."""

    name: str
    granularity: int  # bytes of the disk for a bit
    flags: tuple[str, ...]
    table: int
    entries: int


def directories(image: Qcow2Node) -> Iterator[Directory | None]:
    """At most one in a sane image; None for one that cannot be."""
    if not image.header.autoclear & hdr.BITMAPS:
        return
    for kind, data in image.header.other_extensions:
        if kind == hdr.EXT_BITMAPS and len(data) >= 24:
            count, _, size, at = struct.unpack_from(">IIQQ", data)
            sane = count <= MOST and size <= MOST * LONGEST and at + size <= image.file.size
            yield Directory(at, size) if sane else None


def read(image: Qcow2Node, directory: Directory) -> Iterator[Bitmap]:
    """The bitmaps of a directory, as far as they make sense."""
    data = bytes(image.file.get(directory.offset, directory.size))
    at = 0
    while at + ENTRY.size <= len(data):
        table, entries, flags, _, bits, length, extra = ENTRY.unpack_from(data, at)
        start = at + ENTRY.size + extra
        name = data[start : start + length].decode(errors="replace")
        names = tuple(flag for bit, flag in enumerate(FLAGS) if flags >> bit & 1)
        yield Bitmap(name, 1 << min(bits, 63), names, table, entries)
        at += -(-(ENTRY.size + length + extra) // 8) * 8
