"""create: a new image. Also the options of formats (-o), for convert."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from pcemu.block.errors import BlockError
from pcemu.block.file import FileNode, HostDeviceNode, open_host_file
from pcemu.block.graph import filename_spec, protocol_of
from pcemu.block.node import Node
from pcemu.block.qcow2.create import allocate_blocks, format_file, new_header, preallocate
from pcemu.block.qcow2.image import Qcow2Node
from pcemu.block.qcow2.open import resolve
from pcemu.cli import optstr
from pcemu.qom.errors import PcemuError, suggestion
from pcemu.qom.units import parse_bool, parse_size

from .common import Arguments, ImgError, UsageError, open_image, size_argument

# name -> (type in help, help)
OPTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "qcow2": {
        "backing_file": ("str", "File name of a base image"),
        "backing_fmt": ("str", "Image format of the base image"),
        "cluster_size": ("size", "qcow2 cluster size"),
        "compat": ("str", "Compatibility level (v2 [0.10] or v3 [1.1])"),
        "compression_type": ("str", "Compression method used for image cluster compression"),
        "extended_l2": ("bool (on/off)", "Extended L2 tables"),
        "lazy_refcounts": ("bool (on/off)", "Postpone refcount updates"),
        "preallocation": ("str", "Preallocation mode (allowed values: off, metadata, falloc, full)"),
        "refcount_bits": ("num", "Width of a reference count entry in bits"),
        "size": ("size", "Virtual disk size"),
    },
    "raw": {
        "preallocation": ("str", "Preallocation mode (allowed values: off, falloc, full)"),
        "size": ("size", "Virtual disk size"),
    },
}
LATER = {"qcow2": ("data_file", "data_file_raw", "encryption", "encrypt.format", "encrypt.key-secret"), "raw": ("nocow",)}
COMPAT = {"0.10": 2, "v2": 2, "1.1": 3, "v3": 3}
# In the order in which they are reported.
_REPORT = ("cluster_size", "extended_l2", "preallocation", "compression_type", "size", "compat", "backing_file", "backing_fmt",
           "lazy_refcounts", "refcount_bits")  # fmt: skip
_DEFAULTS = {"cluster_size": 65536, "extended_l2": False, "compression_type": "zlib", "lazy_refcounts": False,
             "refcount_bits": 16}  # fmt: skip


@dataclass
class Wanted:
    """An image to be made."""

    filename: str
    fmt: str
    options: dict[str, Any]  # typed, of OPTIONS

    @property
    def size(self) -> int:
        return int(self.options["size"])


def options_help(fmt: str) -> str:
    rows = [f"  {f'{name}=<{kind}>':<22} - {text}" for name, (kind, text) in OPTIONS[fmt].items()]
    return "\n".join([f"Supported {fmt} options:", *rows])


def parse_options(filename: str, fmt: str, texts: list[str]) -> dict[str, Any]:
    """-o, checked and typed."""
    if fmt not in OPTIONS:
        raise ImgError(f"{filename}: Unknown file format '{fmt}'{suggestion(fmt, OPTIONS)}")
    given = optstr.parse(",".join(texts))
    typed: dict[str, Any] = {}
    for name, value in given.items():
        if name in LATER[fmt]:
            raise ImgError(f"{filename}: option '{name}': not implemented yet")
        if name not in OPTIONS[fmt]:
            raise ImgError(f"{filename}: Invalid parameter '{name}'{suggestion(name, OPTIONS[fmt])}")
        kind = OPTIONS[fmt][name][0]
        try:
            if kind == "size":
                typed[name] = parse_size(value)
            elif kind == "num":
                typed[name] = int(value, 0)
            else:
                typed[name] = parse_bool(value) if kind.startswith("bool") else value
        except ValueError:
            raise ImgError(f"{filename}: Parameter '{name}' expects {kind}, not '{value}'") from None
    if typed.get("compat", "1.1") not in COMPAT:
        raise ImgError(f"{filename}: Invalid compatibility level '{typed['compat']}' (0.10 or 1.1)")
    modes = ("off", "metadata", "falloc", "full") if fmt == "qcow2" else ("off", "falloc", "full")
    if typed.get("preallocation", "off") not in modes:
        raise ImgError(f"{filename}: preallocation: '{typed['preallocation']}' is not one of {', '.join(modes)}")
    return typed


def run(args: Arguments) -> int:
    fmt = args.get("f") or "raw"
    texts = args.all("o")
    if any(optstr.wants_help(text) for text in texts):
        if fmt not in OPTIONS:
            raise ImgError(f"Unknown file format '{fmt}'{suggestion(fmt, OPTIONS)}")
        print(options_help(fmt))
        return 0
    if not args.words:
        raise UsageError("Expecting image file name")
    if len(args.words) > 2:
        raise UsageError(f"Unexpected argument: {args.words[2]}")
    filename = args.words[0]
    options = parse_options(filename, fmt, texts)
    if len(args.words) > 1:
        options["size"] = size_argument(args.words[1])
    for letter, name in (("b", "backing_file"), ("F", "backing_fmt")):
        value = args.get(letter)
        if value is not None:
            if name not in OPTIONS[fmt]:
                raise ImgError(f"{filename}: Backing file not supported for file format '{fmt}'")
            options[name] = value
    wanted = Wanted(filename, fmt, options)
    look_at_backing(wanted, unsafe=args.has("u"))
    if "size" not in options:
        raise ImgError(f"{filename}: Image creation needs a size parameter")
    if not args.has("q"):
        print(describe(wanted))
    create(wanted)
    return 0


def look_at_backing(wanted: Wanted, unsafe: bool = False) -> None:
    """The backing file must be there (its size is the default), unless `unsafe`."""
    options = wanted.options
    name = options.get("backing_file")
    if not name or (unsafe and "size" in options):
        return
    if "backing_fmt" not in options:
        raise ImgError(f"{wanted.filename}: Backing file specified without backing format")
    here = Node()
    here.filename = wanted.filename
    path = resolve(here, name)
    if os.path.exists(wanted.filename) and os.path.exists(path) and os.path.samefile(path, wanted.filename):
        raise ImgError(f"{wanted.filename}: Error: Trying to create an image with the same filename as the backing file")
    try:
        with open_image(path, options["backing_fmt"], share=True) as node:
            options.setdefault("size", node.size)
    except PcemuError as error:
        text = str(error).removeprefix(f"Could not open '{path}': ")
        raise ImgError(f"{wanted.filename}: {text}\nCould not open backing image.") from None


def describe(wanted: Wanted) -> str:
    """``Formatting 'a.qcow2', fmt=qcow2 ...``."""
    shown = ({**_DEFAULTS, **wanted.options}) if wanted.fmt == "qcow2" else wanted.options
    order = _REPORT if wanted.fmt == "qcow2" else ("size", "preallocation")
    pairs = [f"{name}={_show(shown[name])}" for name in order if name in shown]
    return f"Formatting '{wanted.filename}', fmt={wanted.fmt} {' '.join(pairs)}"


def _show(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value).replace(",", ",,")


def create(wanted: Wanted) -> None:
    """Make the image. What is there is overwritten, unless somebody uses it."""
    options = wanted.options
    size = -(-wanted.size // 512) * 512
    mode = options.get("preallocation", "off")
    try:
        if wanted.fmt == "raw":
            with open_new(wanted.filename, wanted.size) as file:
                _reserve(file, wanted.size, mode)
            return
        h = new_header(size, version=COMPAT[options.get("compat", "1.1")], cluster_size=options.get("cluster_size", 65536),
                       backing_file=options.get("backing_file", ""), backing_format=options.get("backing_fmt", ""),
                       lazy_refcounts=options.get("lazy_refcounts", False), refcount_bits=options.get("refcount_bits", 16),
                       extended_l2=options.get("extended_l2", False),
                       compression_type=options.get("compression_type", "zlib"))  # fmt: skip
        if mode != "off" and h.backing_file and not h.extended_l2:
            raise BlockError("Backing file and preallocation can only be used at the same time if extended_l2 is enabled")
        h.pack()
        with open_new(wanted.filename) as file:
            format_file(file, h)
            if mode != "off":
                with Qcow2Node(file) as node:
                    preallocate(node, mode)
    except PcemuError as error:
        raise ImgError(f"{wanted.filename}: {error}") from None
    except OSError as error:
        raise ImgError(f"{wanted.filename}: Could not create image: {error.strerror}") from None


def open_new(filename: str, size: int = 0) -> Node:
    """An empty file of that name, locked; a device is taken as it is."""
    spec = filename_spec(filename)
    if spec["driver"] not in ("file", "host_device"):
        raise BlockError(f"images cannot be made on '{protocol_of(filename)}'")
    path = spec["filename"]
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644))
    except (OSError, ValueError) as error:
        raise BlockError(f"Could not create '{path}': {getattr(error, 'strerror', None) or error}") from None
    file = open_host_file(path)
    if isinstance(file, HostDeviceNode):
        if size > file.size:
            file.close()
            raise BlockError(f"'{path}' is too small: {file.size} bytes")
    else:
        file.truncate(0)
    return file


def _reserve(file: Node, size: int, mode: str) -> None:
    if not isinstance(file, FileNode) or isinstance(file, HostDeviceNode):
        return
    file.truncate(size)
    if mode == "falloc" and size:
        allocate_blocks(file, 0, size)
    elif mode == "full":
        Node.write_zeroes(file, 0, size)
        file.flush()
