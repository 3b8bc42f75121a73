"""Opening a qcow2 image with its chain of backing files."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import BlockError, printable
from ..file import FileNode
from ..node import Node
from .header import Header, read_header
from .image import Qcow2Node
from .metadata import L2_CACHE, REFCOUNT_CACHE

if TYPE_CHECKING:
    from ..graph import Graph, Options

# Options of QEMU's that choose among things that are all the same here.
_NO_EFFECT = ("overlap-check", "cache-clean-interval", "l2-cache-entry-size", "pass-discard-request", "pass-discard-snapshot",
              "pass-discard-other", "discard-no-unref")  # fmt: skip


def open_image(graph: Graph, o: Options) -> Qcow2Node:
    for key in _NO_EFFECT:
        if o.take(key) is not None:
            graph.warn(f"qcow2: {key} has no effect")
    lazy = o.flag("lazy-refcounts") if "lazy-refcounts" in o.values else None
    o.known.add("lazy-refcounts")
    both = o.maybe_number("cache-size", size=True)
    l2_cache = o.number("l2-cache-size", both or L2_CACHE, size=True)
    refcount_cache = o.number("refcount-cache-size", REFCOUNT_CACHE, size=True)
    if max(l2_cache, refcount_cache) > 1 << 34:
        raise BlockError("qcow2: L2 cache size too big")
    repair = not o.flag("no-repair")
    no_backing = "backing" in o.values and o.values["backing"] is None
    wanted = o.take("backing")
    file = graph.child(o, "file")
    backing: Node | None = None
    try:
        h = read_header(file)
        if wanted is not None and not no_backing:
            backing = _open_wanted(graph, o, file, h, wanted)
        elif h.backing_file and not no_backing:
            backing = _open_backing(graph, o, file, h)
        return Qcow2Node(file, backing, read_only=o.common.read_only, node_name=o.node_name, lazy_refcounts=lazy,
                         l2_cache=l2_cache, refcount_cache=refcount_cache, header=h, repair=repair,
                         unmap=o.common.unmap)  # fmt: skip
    except BaseException:
        file.close()
        if backing is not None:
            backing.close()
        raise


def _below(o: Options, file: Node, from_image: bool) -> dict[str, object]:
    """What a backing file inherits: it is read only, and not one of the images above."""
    seen = o.common.seen | identity(file)
    return {"read_only": True, "depth": o.common.depth + 1, "from_image": from_image, "seen": seen, "unmap": False}


def identity(file: Node) -> frozenset[tuple[int, int]]:
    if not isinstance(file, FileNode):
        return frozenset()
    stat = os.fstat(file.fd)
    return frozenset({(stat.st_dev, stat.st_ino)})


def _open_wanted(graph: Graph, o: Options, file: Node, h: Header, wanted: object) -> Node:
    """backing= on the command line: a node, or options on top of what the header says."""
    if isinstance(wanted, str):
        from ..graph import Options as NodeOptions

        return graph.child(NodeOptions("qcow2", {"file": wanted}), "file")
    if not isinstance(wanted, dict):
        raise BlockError("qcow2: backing: a node or null is expected")
    spec = dict(wanted)
    if "driver" not in spec and "file" not in spec and h.backing_file:
        return _open_backing(graph, o, file, h, spec)
    from ..options import with_format

    return graph.open(with_format(graph, spec), replace(o.common, **_below(o, file, False)))  # type: ignore[arg-type]


def _open_backing(graph: Graph, o: Options, file: Node, h: Header, extra: dict[str, object] | None = None) -> Node:
    """The backing file that the header names: a regular file, or an NBD export; never a device, a pipe or a directory."""
    from ..graph import filename_spec
    from ..options import with_format

    below = replace(o.common, **_below(o, file, True))  # type: ignore[arg-type]
    name = resolve(file, h.backing_file)
    if _is_above(name, below.seen):
        raise BlockError(f"Could not open backing file: '{printable(name)}' is its own backing file")
    try:
        spec = {"file": filename_spec(name), **(extra or {})}
        if "driver" in spec["file"] and spec["file"]["driver"] not in ("file", "nbd"):  # type: ignore[operator, index]
            raise BlockError(f"'{name}': only files and NBD exports are opened because an image names them")
        if h.backing_format:
            spec = {"driver": h.backing_format, **spec}
        spec = with_format(graph, spec, quiet=True, inherited=below)
        return graph.open(spec, below)
    except BlockError as error:
        raise BlockError(f"Could not open backing file: {printable(str(error))}") from None


def _is_above(name: str, seen: frozenset[tuple[int, int]]) -> bool:
    try:
        stat = os.stat(name.removeprefix("file:"))
    except (OSError, ValueError):
        return False
    return (stat.st_dev, stat.st_ino) in seen


def resolve(file: Node, name: str) -> str:
    """A relative name is relative to the image that holds it."""
    from ..graph import protocol_of

    if name.startswith("/") or protocol_of(name):
        return name
    return os.path.join(os.path.dirname(file.filename), name)
