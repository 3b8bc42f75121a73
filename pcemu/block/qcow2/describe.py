"""What is particular about a qcow2 image, as QMP's ImageInfoSpecific and as lines of text."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from pcemu.qom.units import format_size

from ..errors import printable
from . import bitmaps
from .header import COMPRESSION_TYPES, CORRUPT, LAZY_REFCOUNTS
from .image import Qcow2Node
from .snapshot import Snapshot


def specific(node: Qcow2Node) -> dict[str, Any]:
    """ImageInfoSpecificQCow2."""
    h = node.header
    data: dict[str, Any] = {"compat": "0.10" if h.version == 2 else "1.1", "compression-type": COMPRESSION_TYPES[h.compression]}
    if h.version >= 3:
        data["lazy-refcounts"] = bool(h.compatible & LAZY_REFCOUNTS)
        found_bitmaps = [
            {"flags": list(bitmap.flags), "name": bitmap.name, "granularity": bitmap.granularity}
            for directory in bitmaps.directories(node) if directory is not None
            for bitmap in bitmaps.read(node, directory)
        ]  # fmt: skip
        if found_bitmaps:
            data["bitmaps"] = found_bitmaps
    data["refcount-bits"] = 1 << h.refcount_order
    if h.version >= 3:
        data["corrupt"] = bool(h.incompatible & CORRUPT)
        data["extended-l2"] = h.extended_l2
    return data


def lines(items: Iterable[tuple[str, Any]], indent: str) -> list[str]:
    """Names and values; what a value holds itself stands below it, further in."""
    found = []
    for key, value in items:
        name = key.replace("-", " ")
        if isinstance(value, (dict, list)):
            inner = value.items() if isinstance(value, dict) else ((f"[{index}]", one) for index, one in enumerate(value))
            found += [f"{indent}{name}:", *lines(inner, indent + "    ")]
        else:
            text = {True: "true", False: "false"}[value] if isinstance(value, bool) else printable(str(value))
            found.append(f"{indent}{name}: {text}")
    return found


SNAPSHOT_HEADER = f"{'ID':<10}{'TAG':<17}{'VM SIZE':>8}{'DATE':>20}{'VM CLOCK':>13}{'ICOUNT':>11}"


def snapshot_line(row: Snapshot, shown_id: str | None = None) -> str:
    """A snapshot's line below SNAPSHOT_HEADER; `shown_id` in place of its own id."""
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.date_ns // 10**9))
    seconds, ms = row.vm_clock_ns // 10**9, row.vm_clock_ns // 10**6 % 1000
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}"
    icount = "" if row.icount == -1 else row.icount
    ident, name = (printable(text) for text in (shown_id or row.id, row.name))
    return f"{ident:<9} {name:<16} {format_size(row.vm_state_size):>8}{date:>20}{clock:>13}{icount:>11}"
