"""info: what an image says of itself."""

from __future__ import annotations

import json
from typing import Any

from pcemu.block.errors import printable
from pcemu.block.node import Node
from pcemu.block.qcow2.describe import lines as describe
from pcemu.block.qcow2.describe import specific
from pcemu.block.qcow2.header import DIRTY
from pcemu.block.qcow2.image import Qcow2Node
from pcemu.block.qcow2.open import identity, resolve
from pcemu.block.qcow2.snapshot import read_snapshots
from pcemu.qom.units import format_size

from .common import Arguments, ImgError, open_image
from .snapshot import table


def facts(node: Node, filename: str) -> dict[str, Any]:
    """As in QMP's ImageInfo."""
    found: dict[str, Any] = {"virtual-size": node.size, "filename": filename}
    if not isinstance(node, Qcow2Node):
        return found | {"format": node.driver, "actual-size": node.allocated(), "dirty-flag": False}
    h = node.header
    found |= {"cluster-size": h.cluster_size, "format": "qcow2", "actual-size": node.file.allocated()}
    found["format-specific"] = {"type": "qcow2", "data": specific(node)}
    if h.backing_file:
        found["backing-filename"] = h.backing_file
        found["full-backing-filename"] = resolve(node.file, h.backing_file)
        if h.backing_format:
            found["backing-filename-format"] = h.backing_format
    shots, _ = read_snapshots(node)
    if shots:
        found["snapshots"] = [
            {"id": shot.id, "name": shot.name, "vm-state-size": shot.vm_state_size, "date-sec": shot.date_ns // 10**9,
             "date-nsec": shot.date_ns % 10**9, "vm-clock-sec": shot.vm_clock_ns // 10**9,
             "vm-clock-nsec": shot.vm_clock_ns % 10**9, **({"icount": shot.icount} if shot.icount != -1 else {})}
            for shot in shots
        ]  # fmt: skip
    found["dirty-flag"] = bool(h.incompatible & DIRTY)
    return found


def human(found: dict[str, Any], node: Node) -> str:
    lines = [f"image: {found['filename']}", f"file format: {found['format']}",
             f"virtual size: {format_size(found['virtual-size'])} ({found['virtual-size']} bytes)",
             f"disk size: {format_size(found['actual-size'])}"]  # fmt: skip
    if "cluster-size" in found:
        lines.append(f"cluster_size: {found['cluster-size']}")
    if found["dirty-flag"]:
        lines.append("cleanly shut down: no")
    if "backing-filename" in found:
        name, full = found["backing-filename"], found["full-backing-filename"]
        lines.append(f"backing file: {printable(name)}" + (f" (actual path: {printable(full)})" if full != name else ""))
        if "backing-filename-format" in found:
            lines.append(f"backing file format: {printable(found['backing-filename-format'])}")
    if "snapshots" in found:
        assert isinstance(node, Qcow2Node)
        lines.append(table(read_snapshots(node)[0]))
    if "format-specific" in found:
        lines.append("Format specific information:")
        lines += describe(found["format-specific"]["data"].items(), "    ")
    return "\n".join(lines)




def _opened(args: Arguments, filename: str, fmt: str | None, first: bool) -> Node:
    """An image alone; what another image calls its backing file may have any name."""
    try:
        return open_image(filename, fmt, image_opts=args.has("image-opts") and first, share=args.has("U"), backing=False,
                          repair=False)  # fmt: skip
    except ImgError as error:
        raise error if first else ImgError(printable(str(error))) from None


def run(args: Arguments) -> int:
    filename = args.filename()
    as_json, chain = args.json(), args.has("backing-chain")
    fmt = args.get("f")
    found: list[dict[str, Any]] = []
    texts: list[str] = []
    seen: set[object] = set()
    while True:
        with _opened(args, filename, fmt, first=not found) as node:
            here = {filename, *(identity(node.file) if node.file is not None else ())}
            if here & seen:
                raise ImgError(f"Backing file '{printable(filename)}' creates an infinite loop.")
            seen |= here
            if args.has("image-opts") and not found:
                filename = node.filename
            found.append(facts(node, filename))
            texts.append(human(found[-1], node))
        if not chain or "full-backing-filename" not in found[-1]:
            break
        filename, fmt = found[-1]["full-backing-filename"], found[-1].get("backing-filename-format")
    if as_json:
        text = json.dumps(found if chain else found[0], ensure_ascii=False)
        # Bytes that are no UTF-8 have no place in JSON.
        print(json.dumps(json.loads(text.encode(errors="surrogateescape").decode(errors="replace")), indent=4))
    else:
        print("\n\n".join(texts))
    return 0
