"""From a description of a block node (as -blockdev has it, nested) to the opened node."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pcemu.qom.errors import suggestion
from pcemu.qom.units import parse_bool, parse_int, parse_size

from .errors import BlockError
from .node import Node

Spec = dict[str, Any]

MAX_DEPTH = 200  # of backing files and of nesting
CACHE_MODES = {  # -> write cache, direct, no-flush
    "none": (True, True, False),
    "off": (True, True, False),
    "writeback": (True, False, False),
    "unsafe": (True, False, True),
    "writethrough": (False, False, False),
    "directsync": (False, True, False),
}
# What images say of themselves, where there is no driver for it.
OTHER_FORMATS = ((b"QFI\xfb\0\0\0\1", "qcow"), (b"KDMV", "vmdk"), (b"COWD", "vmdk"), (b"QED\0", "qed"), (b"vhdxfile", "vhdx"),
                 (b"conectix", "vpc"), (b"LUKS\xba\xbe", "luks"))  # fmt: skip
QCOW2_MAGIC = b"QFI\xfb"


@dataclass(frozen=True)
class Inherited:
    """What a node without options of its own takes over from the one above."""

    read_only: bool = False
    direct: bool = False
    no_flush: bool = False
    unmap: bool = False
    force_share: bool = False
    locking: str = ""  # overrides what the nodes say
    depth: int = 0
    from_image: bool = False  # the name stands in an image: it may name regular files only
    seen: frozenset[tuple[int, int]] = field(default=frozenset())  # images above, to find loops


@dataclass
class Graph:
    """Where named nodes are kept while the command line is worked through."""

    nodes: dict[str, Node] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)  # node name -> who has it
    numbered: int = 0  # nodes without a name that a monitor was told of
    warn: Callable[[str], None] = lambda text: print(f"pcemu: warning: {text}", file=sys.stderr)

    def open(self, spec: Spec | str, inherited: Inherited = Inherited()) -> Node:
        """Open what `spec` describes; a string is the name of a node that is open already."""
        if isinstance(spec, str):
            return self._reference(spec)
        if inherited.depth > MAX_DEPTH:
            raise BlockError(f"more than {MAX_DEPTH} block nodes on top of each other (a loop of backing files?)")
        spec = dict(spec)
        name = spec.pop("driver", None)
        if name is None:
            raise BlockError("Parameter 'driver' is missing")
        opener = _openers().get(str(name))
        if opener is None:
            raise BlockError(f"Unknown driver '{name}'{suggestion(str(name), _openers())}")
        options = Options(str(name), spec)
        options.common = _common(options, inherited)
        node_name = options.text("node-name")
        if node_name and not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-._]{0,30}", node_name):
            raise BlockError(f"Invalid node-name: '{node_name}'")
        if node_name in self.nodes:
            raise BlockError(f"Duplicate nodes with node-name='{node_name}'")
        options.node_name = node_name
        node = opener(self, options)
        try:
            options.finish()
        except BlockError:
            node.close()
            raise
        node.options = options
        if node_name:
            self.nodes[node_name] = node
        return node

    def _reference(self, name: str) -> Node:
        node = self.nodes.get(name)
        if node is None:
            raise BlockError(f"Cannot find device='{name}' nor node-name='{name}'{suggestion(name, self.nodes)}")
        if name in self.users:
            raise BlockError(f"Block node '{name}' is already in use by {self.users[name]}")
        return node

    def child(self, options: Options, key: str, inherited: Inherited | None = None) -> Node:
        """The node under `key` ("file", "image"): nested, named, or by filename."""
        spec = options.take(key)
        filename = options.take("filename") if spec is None else None
        if filename is not None:
            spec = filename_spec(str(filename))
        if spec is None:
            raise BlockError(f"{options.driver}: A block device must be specified for \"{key}\"")
        below = replace(inherited or options.common, depth=options.common.depth + 1)
        if isinstance(spec, dict) and "driver" not in spec:
            spec = {**filename_spec(str(spec.pop("filename", ""))), **spec} if "filename" in spec else {"driver": "file", **spec}
        node = self.open(spec, below)
        if isinstance(spec, str):
            self.users[spec] = f"node '{options.node_name}'"
        return node


class Options:
    """The options of one node, taken one by one; what is left at the end is an error."""

    def __init__(self, driver: str, values: Spec) -> None:
        self.driver = driver
        self.values = values
        self.common = Inherited()
        self.node_name = ""
        self.detect_zeroes = "off"
        self.known: set[str] = set()

    def take(self, key: str) -> Any:
        self.known.add(key)
        return self.values.pop(key, None)

    def text(self, key: str, default: str = "", choices: tuple[str, ...] = ()) -> str:
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, str) or (choices and value not in choices):
            allowed = f" (one of {', '.join(choices)})" if choices else ""
            raise BlockError(f"{self.driver}: Parameter '{key}' does not accept value '{value}'{allowed}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.take(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        try:
            return parse_bool(str(value))
        except ValueError:
            raise BlockError(f"{self.driver}: Parameter '{key}' expects 'on' or 'off', not '{value}'") from None

    def number(self, key: str, default: int = 0, size: bool = False) -> int:
        found = self.maybe_number(key, size)
        return default if found is None else found

    def maybe_number(self, key: str, size: bool = False) -> int | None:
        value = self.take(key)
        if value is None:
            return None
        try:
            if isinstance(value, bool):
                raise ValueError
            number = value if isinstance(value, int) else (parse_size if size else parse_int)(str(value))
            if not 0 <= number < 1 << 63:
                raise ValueError
        except ValueError:
            what = "size" if size else "number"
            raise BlockError(f"{self.driver}: Parameter '{key}' expects a {what}, not '{value}'") from None
        return number

    def finish(self) -> None:
        for key in self.values:
            raise BlockError(f"Block driver '{self.driver}' does not support the option '{key}'{suggestion(key, self.known)}")


def _common(options: Options, inherited: Inherited) -> Inherited:
    """Options that every driver has."""
    cache = options.take("cache") or {}
    if not isinstance(cache, dict):
        raise BlockError(f"{options.driver}: cache: 'cache.direct' and 'cache.no-flush' are expected")
    cache_options = Options(f"{options.driver}: cache", cache)
    read_only = options.flag("read-only", inherited.read_only)
    options.flag("auto-read-only")  # a hint: an image that cannot be written is an error all the same
    unmap = options.text("discard", "", ("ignore", "off", "unmap", "on"))
    options.detect_zeroes = options.text("detect-zeroes", "off", ("off", "on", "unmap"))
    common = replace(
        inherited,
        read_only=read_only,
        direct=cache_options.flag("direct", inherited.direct),
        no_flush=cache_options.flag("no-flush", inherited.no_flush),
        unmap=unmap in ("unmap", "on") if unmap else inherited.unmap,
        force_share=options.flag("force-share", inherited.force_share),
    )
    cache_options.finish()
    if options.detect_zeroes == "unmap" and not common.unmap:
        raise BlockError("setting detect-zeroes to unmap is not allowed without setting discard operation to unmap")
    if common.force_share and not read_only:
        raise BlockError("force-share=on can only be used with read-only images")
    return common


# -- names of files ---------------------------------------------------------------------------------------------


def protocol_of(filename: str) -> str:
    """``nbd`` of nbd://..., "" for a path."""
    match = re.match(r"([A-Za-z0-9_+\-]+):", filename)
    return match[1] if match and "/" not in match[1] else ""


def filename_spec(filename: str) -> Spec:
    """The protocol node that a file name on the command line means."""
    protocol = protocol_of(filename)
    match protocol:
        case "json":
            return json_spec(filename[len("json:") :])
        case "":
            return {"driver": "file", "filename": filename}
        case "file" | "host_device":
            return {"driver": protocol, "filename": filename[len(protocol) + 1 :]}
        case "nbd" | "nbd+tcp" | "nbd+unix":
            from .nbd import parse_filename

            return parse_filename(filename)
        case "null-co":
            return {"driver": protocol}
    raise BlockError(f"Unknown protocol '{protocol}'{suggestion(protocol, ('file', 'host_device', 'nbd', 'json'))}")


def json_spec(text: str) -> Spec:
    """A JSON object; flat keys with dots are allowed."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BlockError(f"Could not parse the JSON options: {error}") from None
    if not isinstance(given, dict):
        raise BlockError("Invalid JSON object given")
    return nested(given)


def nested(flat: Mapping[str, Any]) -> Spec:
    """``{"file.driver": "file"}`` -> ``{"file": {"driver": "file"}}``; keys that count from 0 make a list."""
    result: Spec = {}
    for key, value in flat.items():
        parts = key.split(".")
        if len(parts) > MAX_DEPTH:
            raise BlockError(f"'{key[:40]}...' is nested too deeply")
        at = result
        for part in parts[:-1]:
            below = at.setdefault(part, {})
            if not isinstance(below, dict):
                raise BlockError(f"Parameter '{key}': '{part}' has a value and options")
            at = below
        if isinstance(at.get(parts[-1]), dict) and not isinstance(value, dict):
            raise BlockError(f"Parameter '{key}' has a value and options")
        at[parts[-1]] = nested(value) if isinstance(value, dict) else value
    return {key: _listed(value) for key, value in result.items()}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        value = {key: _listed(below) for key, below in value.items()}
        if value and all(key == str(i) for i, key in enumerate(sorted(value, key=lambda k: (len(k), k)))):
            return [value[str(i)] for i in range(len(value))]
    return value


# -- formats by their contents --------------------------------------------------------------------------------------


def probe(node: Node) -> str:
    """The format of an open protocol node: qcow2 or raw. Formats without a driver are refused by name."""
    head = bytes(node.get(0, 16))
    if head.startswith(QCOW2_MAGIC) and head[4:8] in (b"\0\0\0\2", b"\0\0\0\3"):
        return "qcow2"
    for magic, name in OTHER_FORMATS:
        if head.startswith(magic):
            raise BlockError(f"'{node.filename}': image format '{name}' is not supported")
    return "raw"


def looks_like_a_format(head: bytes) -> bool:
    return head.startswith((QCOW2_MAGIC, *(magic for magic, _ in OTHER_FORMATS)))


# -- drivers ----------------------------------------------------------------------------------------------------

Opener = Callable[[Graph, Options], Node]


def _open_file(graph: Graph, o: Options) -> Node:
    from . import file

    filename = o.text("filename")
    if not filename:
        raise BlockError(f"The '{o.driver}' block driver requires a file name")
    aio = o.text("aio", "threads", ("threads", "native", "io_uring"))
    if aio != "threads":
        graph.warn(f"'{filename}': aio={aio}: requests run on threads")
    locking = o.common.locking or o.text("locking", "auto", ("on", "off", "auto"))
    o.take("locking")
    cls = file.HostDeviceNode if o.driver == "host_device" else None
    make = cls or (file.FileNode if o.common.from_image else file.open_host_file)
    node = make(filename, read_only=o.common.read_only, direct=o.common.direct, no_flush=o.common.no_flush,
                locking=locking, share_write=o.common.force_share, node_name=o.node_name)  # fmt: skip
    node.unmap = o.common.unmap
    return node


def _open_null(graph: Graph, o: Options) -> Node:
    from .null import NullNode

    return NullNode(o.number("size", 1 << 30, size=True), o.flag("read-zeroes"), o.number("latency-ns"), o.node_name,
                    o.common.read_only)  # fmt: skip


def _open_raw(graph: Graph, o: Options) -> Node:
    from .raw import RawNode

    file = graph.child(o, "file")
    try:
        node = RawNode(file, o.number("offset", size=True), o.maybe_number("size", size=True), o.node_name, o.common.read_only,
                       o.flag("probed"))  # fmt: skip
    except BlockError:
        file.close()
        raise
    return node


def _open_qcow2(graph: Graph, o: Options) -> Node:
    from .qcow2.open import open_image

    return open_image(graph, o)


def _open_nbd(graph: Graph, o: Options) -> Node:
    from .nbd import NbdNode

    for key in ("tls-creds", "tls-hostname", "x-dirty-bitmap"):
        if o.take(key) is not None:
            raise BlockError(f"nbd: {key}: not implemented yet")
    for key in ("reconnect-delay", "open-timeout"):
        if o.number(key):
            graph.warn(f"nbd: {key} has no effect: a connection that is lost stays lost")
    server = o.take("server")
    path, host, port = o.take("path"), o.take("host"), o.take("port")
    if server is None:
        server = {"type": "unix", "path": path} if path else {"type": "inet", "host": host, "port": port or "10809"}
    if not isinstance(server, dict) or server.get("type") not in ("unix", "inet"):
        raise BlockError("nbd: server.type: 'inet' or 'unix' is expected")
    for key in ("path",) if server["type"] == "unix" else ("host", "port"):
        if not isinstance(server.get(key), str):
            raise BlockError(f"nbd: server.{key} is missing")
    unknown = server.keys() - {"type", "path", "host", "port"}
    if unknown:
        raise BlockError(f"nbd: server.{min(unknown)}: not implemented yet")
    return NbdNode(server, o.text("export"), node_name=o.node_name, read_only=o.common.read_only, unmap=o.common.unmap)


def _open_blkdebug(graph: Graph, o: Options) -> Node:
    from .blkdebug import BlkdebugNode, parse_rule

    rules = o.take("inject-error") or []
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise BlockError("blkdebug: inject-error: a list is expected (inject-error.0.event=...)")
    for key in ("config", "set-state", "align", "max-transfer", "opt-write-zero", "max-write-zero", "opt-discard", "max-discard"):
        if o.take(key) is not None:
            raise BlockError(f"blkdebug: {key}: not implemented yet")
    made = [parse_rule(rule) for rule in rules]
    return BlkdebugNode(graph.child(o, "image"), made, o.node_name)


def driver_names() -> list[str]:
    return sorted(_OPENERS)


def _openers() -> dict[str, Opener]:
    return _OPENERS


_OPENERS: dict[str, Opener] = {
    "file": _open_file, "host_device": _open_file, "null-co": _open_null, "raw": _open_raw,
    "qcow2": _open_qcow2, "nbd": _open_nbd, "blkdebug": _open_blkdebug,
}  # fmt: skip
