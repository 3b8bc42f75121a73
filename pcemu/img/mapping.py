"""map: which parts of the disk are where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pcemu.block.node import Node, Status
from pcemu.block.qcow2.image import Qcow2Node
from pcemu.block.raw import RawNode
from pcemu.qom.units import parse_size

from .common import Arguments, ImgError, open_image


@dataclass
class Run:
    """Bytes of the disk that are alike. `depth` counts backing files down from the image."""

    start: int
    length: int
    depth: int
    present: bool
    zero: bool
    data: bool
    offset: int | None
    filename: str


def run_at(node: Node, offset: int, length: int, whole: int) -> Run:
    """What is at `offset` of the image: looks down the chain, and into the file for holes."""
    depth = 0
    while True:
        extent = node.status(offset, length)
        length = extent.length
        if extent.status is not Status.HOLE or node.backing is None:
            break
        if offset >= node.backing.size:
            return Run(offset, length, depth, False, True, False, None, "")
        depth += 1
        node = node.backing
        length = min(length, node.size - offset)
    file = _file_of(node)
    if isinstance(node, RawNode):
        zero = extent.status is Status.ZERO
        return Run(offset, length, depth, True, zero, not zero, extent.at, file.filename)
    if extent.status is not Status.DATA:
        return Run(offset, length, depth, extent.status is Status.ZERO, True, False, None, "")
    zero = False
    if extent.at is not None and (not isinstance(node, Qcow2Node) or node.has_holes()):
        below = file.status(extent.at, length)
        length, zero = below.length, below.status is Status.ZERO
    return Run(offset, length, depth, True, zero, True, extent.at, file.filename)


def _file_of(node: Node) -> Node:
    while node.file is not None:
        node = node.file
    return node


def runs(node: Node, start: int = 0, end: int | None = None) -> Iterator[Run]:
    """The whole disk; neighbours that are alike are one."""
    end = node.size if end is None else min(end, node.size)
    last: Run | None = None
    while start < end:
        now = run_at(node, start, end - start, node.size)
        start += now.length
        if last is not None and _joins(last, now):
            last.length += now.length
            continue
        if last is not None:
            yield last
        last = now
    if last is not None:
        yield last


def _joins(a: Run, b: Run) -> bool:
    if (a.depth, a.present, a.zero, a.data, a.filename) != (b.depth, b.present, b.zero, b.data, b.filename):
        return False
    return b.offset == (None if a.offset is None else a.offset + a.length)


def run(args: Arguments) -> int:
    filename = args.filename()
    as_json = args.json()
    try:
        start = parse_size(args.get("start-offset") or args.get("s") or "0")
        length = args.get("max-length") or args.get("l")
        end = None if length is None else start + parse_size(length)
    except ValueError:
        raise ImgError("Invalid start offset or maximum length specified.") from None
    with open_image(filename, args.get("f"), image_opts=args.has("image-opts"), share=args.has("U")) as node:
        if as_json:
            separator = "["
            for found in runs(node, start, end):
                print(separator + _json(found), end="")
                separator = ",\n"
            print("]" if separator != "[" else "[]")
            return 0
        print(f"{'Offset':<16}{'Length':<16}{'Mapped to':<16}File")
        for found in runs(node, start, end):
            if not found.data or found.zero:
                continue
            if found.offset is None:
                raise ImgError("File contains external, encrypted or compressed clusters.")
            print(f"{_hex(found.start):<16}{_hex(found.length):<16}{_hex(found.offset):<16}{found.filename}")
    return 0


def _hex(value: int) -> str:
    return f"{value:#x}" if value else "0"


def _json(found: Run) -> str:
    pairs = {"start": found.start, "length": found.length, "depth": found.depth, "present": found.present, "zero": found.zero,
             "data": found.data}  # fmt: skip
    if found.offset is not None:
        pairs["offset"] = found.offset
    text = ", ".join(f'"{key}": {json.dumps(value)}' for key, value in pairs.items())
    return f"{{ {text}}}"
