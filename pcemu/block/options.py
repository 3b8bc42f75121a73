"""-drive and -blockdev: from their options to block back ends, entered in machine.drives."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pcemu.qom.errors import PcemuError, suggestion
from pcemu.qom.units import parse_bool, parse_int

from .backend import BlockBackend
from .errors import BlockError
from .graph import CACHE_MODES, Graph, Inherited, Spec, filename_spec, nested, probe, protocol_of
from .node import Node
from .pool import ThreadPool

INTERFACES = ("ide", "scsi", "floppy", "pflash", "mtd", "sd", "virtio", "xen", "none")
# Options of -drive that are about the device or the queue, not about a node.
_LEGACY = ("if", "index", "bus", "unit", "media", "id", "werror", "rerror", "cache", "snapshot", "readonly", "format",
           "file", "aio", "copy-on-read")  # fmt: skip
_ERROR_ACTIONS = ("ignore", "enospc", "report", "stop", "auto")

SETTLE_PATIENCE = 5.0  # seconds without any answer

NewDevice = tuple[str, dict[str, str], str]


def build(machine: Any, blockdevs: Sequence[Mapping[str, Any]], drives: Sequence[Mapping[str, str]],
          snapshot: bool = False) -> list[NewDevice]:  # fmt: skip
    """Open everything; returns the devices that if=virtio asks for. Errors name the option."""
    graph_of(machine)
    devices: list[NewDevice] = []
    for index, options in enumerate(blockdevs):
        where = f"-blockdev {options.get('node-name', index)}"
        try:
            add_blockdev(machine, nested(options))
        except PcemuError as error:
            raise BlockError(f"{where}: {error}") from None
    counts: dict[str, int] = {}
    for options in drives:
        where = "-drive " + ",".join(f"{key}={value}" for key, value in options.items())
        try:
            device = add_drive(machine, dict(options), counts, snapshot)
        except PcemuError as error:
            raise BlockError(f"{where}: {error}") from None
        if device is not None:
            devices.append((*device, where))
    return devices


def graph_of(machine: Any) -> Graph:
    """The machine's graph of nodes and its threads, made when the first disk comes."""
    if machine.block_graph is None:
        machine.block_graph, machine.block_pool = Graph(), ThreadPool()
    graph: Graph = machine.block_graph
    return graph


def settle(machine: Any) -> None:
    """Finish what is in flight and make it stable: the machine stands still, and may be killed now."""
    backends = {id(backend): backend for backend in machine.drives.values()}.values()
    for backend in backends:
        if backend.drain(SETTLE_PATIENCE):
            backend.flush(lambda error: None)


def close(machine: Any) -> None:
    """Flush and close every drive, after the guest has ended."""
    drives, machine.drives = dict(machine.drives), {}
    # Nodes that others stand on are closed by these.
    users = machine.block_graph.users
    for backend in sorted({id(b): b for b in drives.values()}.values(), key=lambda backend: backend.node_name in users):
        try:
            backend.close()
        except OSError as error:
            print(f"pcemu: drive '{backend.id or backend.node_name}': {error.strerror or error}", file=sys.stderr)
    machine.block_pool.close()
    machine.block_graph = machine.block_pool = None


# -- -blockdev --------------------------------------------------------------------------------------------------


def add_blockdev(machine: Any, spec: Spec) -> None:
    """Open a node; it and the named nodes below can be used by devices."""
    if "driver" not in spec:
        raise BlockError("Parameter 'driver' is missing")
    if not spec.get("node-name"):
        raise BlockError("'node-name' must be specified for the root node")
    graph: Graph = machine.block_graph
    known = set(graph.nodes)
    root = graph.open(spec)
    for name in graph.nodes.keys() - known:
        node = graph.nodes[name]
        common = node.options.common
        machine.drives[name] = _Shared(machine, "", node, discard=common.unmap, detect_zeroes=node.options.detect_zeroes)
    for node in _all(root):
        for child in node.children():
            if child.node_name:
                graph.users.setdefault(child.node_name, f"node '{node.node_name}'")


def remove_blockdev(machine: Any, name: str) -> None:
    """Close a node that was added by name, if nobody uses it."""
    graph: Graph = machine.block_graph
    backend = machine.drives[name]
    if backend.owner or backend.id:
        raise BlockError(f"Node {name} is in use")
    if name in graph.users:
        raise BlockError(f"Node '{name}' is busy: node is used as {graph.users[name]}")
    below = [node for node in _all(backend.root) if node.node_name]
    for node in below:
        if node is not backend.root and machine.drives[node.node_name].owner:
            raise BlockError(f"Node '{name}' is busy: '{node.node_name}' below it is in use")
    for node in below:
        del machine.drives[node.node_name], graph.nodes[node.node_name]
        graph.users.pop(node.node_name, None)
    try:
        backend.close()
    except OSError as error:
        raise BlockError(f"Node '{name}': {error.strerror or error}") from None


def remove_drive(machine: Any, backend: BlockBackend) -> None:
    """Close what -drive opened. A device that has it stays, without a medium: its requests fail."""
    for node in _all(backend.root):
        if node.node_name:
            machine.drives.pop(node.node_name, None)
            machine.block_graph.nodes.pop(node.node_name, None)
            machine.block_graph.users.pop(node.node_name, None)
    del machine.drives[backend.id]
    name, backend.id = backend.id, ""
    backend.gone = True
    try:
        backend.close()
    except OSError as error:
        raise BlockError(f"Drive '{name}': {error.strerror or error}") from None


def _all(node: Node) -> list[Node]:
    return [node, *(below for child in node.children() for below in _all(child))]


class _Shared(BlockBackend):
    """A back end on the machine's thread pool."""

    def __init__(self, machine: Any, ident: str, root: Node, **options: Any) -> None:
        super().__init__(ident, root, machine.post, machine.block_pool, **options)
        self._graph: Graph = machine.block_graph

    def attach(self, owner: str) -> None:
        user = self._graph.users.get(self.node_name) if self.node_name else None
        if user:
            raise BlockError(f"Block node '{self.node_name}' is already in use by {user}")
        super().attach(owner)


# -- -drive -----------------------------------------------------------------------------------------------------


def add_drive(machine: Any, given: dict[str, str], counts: dict[str, int],
              snapshot: bool = False) -> tuple[str, dict[str, str]] | None:  # fmt: skip
    """Open what -drive describes. Returns (driver, properties) of the device that goes with it, None for if=none."""
    legacy = {key: given.pop(key) for key in _LEGACY if key in given}
    interface = _one_of(legacy, "if", INTERFACES, "ide")
    if interface not in ("virtio", "none"):
        said = "" if "if" in legacy else " (the default)"
        raise BlockError(f"if={interface}{said}: not implemented yet; use if=virtio, or if=none and a -device")
    for key in ("bus", "unit"):
        if key in legacy:
            raise BlockError(f"Parameter '{key}' has no meaning with if={interface}")
    if _one_of(legacy, "media", ("disk", "cdrom"), "disk") == "cdrom":
        raise BlockError("media=cdrom: not implemented yet")
    if _flag(legacy, "copy-on-read"):
        raise BlockError("copy-on-read=on: not implemented yet")
    index = _index(legacy, interface, counts)
    ident = legacy.get("id", f"{interface}{index}")
    if ident in machine.drives:
        raise BlockError(f"Duplicate ID '{ident}' for drive")
    write_cache, spec = _drive_spec(legacy, given)
    detect_zeroes = str(spec.get("detect-zeroes", "off"))
    root = open_image(machine.block_graph, spec, _flag(legacy, "snapshot") or snapshot)
    backend = _Shared(machine, ident, root, discard=root.options.common.unmap, detect_zeroes=detect_zeroes,
                      write_cache=write_cache)  # fmt: skip
    backend.options = {key: legacy[key] for key in ("werror", "rerror") if key in legacy}
    for key in backend.options:
        _one_of(legacy, key, _ERROR_ACTIONS, "auto")
    machine.drives[ident] = backend
    if root.node_name:
        machine.drives[root.node_name] = backend
    return ("virtio-blk-pci", {"drive": ident, **backend.options}) if interface == "virtio" else None


def _drive_spec(legacy: dict[str, str], given: dict[str, str]) -> tuple[bool, Spec]:
    """The node's options out of the flat ones."""
    write_cache = _flag(given, "cache.writeback", default=True)
    given.pop("cache.writeback", None)
    if "cache" in legacy:
        mode = legacy["cache"]
        if mode not in CACHE_MODES:
            raise BlockError(f"invalid cache option '{mode}'{suggestion(mode, CACHE_MODES)}")
        write_cache, direct, no_flush = CACHE_MODES[mode]
        given.setdefault("cache.direct", "on" if direct else "off")
        given.setdefault("cache.no-flush", "on" if no_flush else "off")
    if "readonly" in legacy:
        given.setdefault("read-only", legacy["readonly"])
    if "format" in legacy:
        if "driver" in given and given["driver"] != legacy["format"]:
            raise BlockError("Cannot specify both 'driver' and 'format'")
        given["driver"] = legacy["format"]
    spec = nested(given)
    if "file" in legacy:
        if not legacy["file"]:
            raise BlockError("file= names no file")
        below = spec.setdefault("file", {})
        if not isinstance(below, dict):
            raise BlockError("file= and file.* are both given")
        spec["file"] = {**filename_spec(legacy["file"]), **below}
    if "file" not in spec and "driver" not in spec:
        raise BlockError("Must specify either driver or file")
    if "aio" in legacy and isinstance(spec.get("file"), dict):
        spec["file"].setdefault("aio", legacy["aio"])
    return write_cache, spec


def open_image(graph: Graph, spec: Spec, snapshot: bool = False) -> Node:
    """Open a format node, finding its format out if none is given; `snapshot`: changes go to a file that is dropped."""
    spec = with_format(graph, spec)
    if snapshot:
        from .qcow2.temporary import temporary_overlay

        base = graph.open(with_format(graph, {**spec, "read-only": True}))
        return temporary_overlay(base)
    return graph.open(spec)


def with_format(graph: Graph, spec: Spec, quiet: bool = False, inherited: Inherited | None = None) -> Spec:
    """The same with a driver: what the file's first bytes say."""
    if "driver" in spec:
        return spec
    below = spec.get("file")
    if isinstance(below, str):
        driver = probe(graph.nodes[below]) if below in graph.nodes else "raw"
    else:
        look: Spec = {"driver": "file", **(below or {}), "read-only": True}
        look.pop("node-name", None)
        with graph.open(look, replace(inherited or Inherited(), read_only=True, locking="off")) as file:
            driver = probe(file)
            name = file.filename
        if driver == "raw" and not quiet:
            graph.warn(f"Image format was not specified for '{name}' and probing guessed raw.\n"
                       "         Automatically detecting the format is dangerous for raw images, write operations on block 0 "
                       "will be restricted.\n"
                       "         Specify the 'raw' format explicitly to remove the restrictions.")  # fmt: skip
            return {**spec, "driver": "raw", "probed": True}
    return {**spec, "driver": driver}


def _one_of(options: Mapping[str, str], key: str, choices: tuple[str, ...], default: str) -> str:
    value = options.get(key, default)
    if value not in choices:
        raise BlockError(f"{key}: '{value}' is not one of {', '.join(choices)}{suggestion(value, choices)}")
    return value


def _flag(options: Mapping[str, str], key: str, default: bool = False) -> bool:
    try:
        return parse_bool(options[key]) if key in options else default
    except ValueError:
        raise BlockError(f"Parameter '{key}' expects 'on' or 'off', not '{options[key]}'") from None


def _index(options: Mapping[str, str], interface: str, counts: dict[str, int]) -> int:
    """The number of the drive on its interface: the next, or index=."""
    index = counts.get(interface, 0)
    if "index" in options:
        try:
            index = parse_int(options["index"])
        except ValueError:
            index = -1
        if not 0 <= index < 1 << 16:
            raise BlockError(f"index: a number from 0 to 65535 is expected, not '{options['index']}'")
    counts[interface] = max(counts.get(interface, 0), index + 1)
    return index


__all__ = ["add_blockdev", "add_drive", "build", "close", "nested", "open_image", "protocol_of", "remove_drive", "with_format"]
