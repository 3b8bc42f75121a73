"""What is particular about a qcow2 image, as QMP's ImageInfoSpecific and as lines of text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import printable
from . import bitmaps
from .header import COMPRESSION_TYPES, CORRUPT, LAZY_REFCOUNTS
from .image import Qcow2Node


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
