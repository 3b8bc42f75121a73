"""What the commands share: their options, opening images, sizes and progress."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pcemu.block.graph import CACHE_MODES, Graph, Inherited, filename_spec, nested
from pcemu.block.node import Node
from pcemu.block.options import with_format
from pcemu.cli import optstr
from pcemu.qom.errors import PcemuError, suggestion
from pcemu.qom.units import parse_size

MAX_SIZE = (1 << 63) - 512


class ImgError(PcemuError):
    """What was asked for cannot be done."""


class UsageError(ImgError):
    """The command line is wrong."""


class Arguments:
    """Options by their letter or long name, and the words behind them."""

    def __init__(self, options: Sequence[tuple[str, str]], words: Sequence[str]) -> None:
        self._options = [(name.lstrip("-"), value) for name, value in options]
        self.words = list(words)

    def has(self, name: str) -> bool:
        return any(option == name for option, _ in self._options)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The last value."""
        for option, value in reversed(self._options):
            if option == name:
                return value
        return default

    def all(self, name: str) -> list[str]:
        return [value for option, value in self._options if option == name]

    def filename(self) -> str:
        if len(self.words) != 1:
            raise UsageError("Expecting one image file name")
        return self.words[0]

    def json(self) -> bool:
        output = self.get("output", "human")
        if output not in ("human", "json"):
            raise ImgError("--output must be used with human or json as argument.")
        return output == "json"


def warn(text: str) -> None:
    print(f"WARNING: {text}", file=sys.stderr)


def open_image(filename: str, fmt: str | None = None, *, image_opts: bool = False, writable: bool = False,
               cache: str = "writeback", share: bool = False, backing: bool = True, repair: bool = True) -> Node:  # fmt: skip
    """Open an image as the commands do. `share`: others may write it meanwhile (-U)."""
    if cache not in CACHE_MODES:
        raise ImgError(f"Invalid cache option: {cache}{suggestion(cache, CACHE_MODES)}")
    _, direct, no_flush = CACHE_MODES[cache]
    if not writable and direct and no_flush:
        raise ImgError(f"Invalid source cache option: {cache}")
    graph = Graph(warn=warn)
    if image_opts:
        if fmt:
            raise ImgError("--image-opts and --format are mutually exclusive")
        spec = nested(optstr.parse(filename, "driver"))
        if "driver" not in spec and "filename" in spec:
            spec = {"file": filename_spec(spec.pop("filename")), **spec}
    else:
        spec = {"file": filename_spec(filename)}
        if fmt:
            spec["driver"] = fmt
    inherited = Inherited(read_only=not writable, direct=direct, no_flush=no_flush, unmap=True, locking="off" if share else "")
    try:
        quiet = not writable
        spec = with_format(graph, spec, quiet=quiet, inherited=inherited)
        if spec["driver"] == "qcow2":
            if not backing:
                spec["backing"] = None
            if not repair:
                spec["no-repair"] = True
        return graph.open(spec, inherited)
    except PcemuError as error:
        raise ImgError(f"Could not open '{filename}': {error}") from None


def size_argument(text: str) -> int:
    """An image size as users write it."""
    try:
        size = parse_size(text)
    except ValueError:
        raise ImgError("Invalid image size specified. You may use k, M, G, T, P or E suffixes for "
                       "kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.") from None  # fmt: skip
    if size > MAX_SIZE:
        raise ImgError("Image size must be less than 8 EiB!")
    return size


class Progress:
    """-p: how far it is. On a terminal a bar; elsewhere QEMU's figures."""

    WIDTH = 40

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self._bar = wanted and sys.stdout.isatty()
        self._shown = ""

    def show(self, part: float) -> None:
        """`part` from 0 to 1."""
        if not self.wanted:
            return
        text = f"    ({part * 100:.2f}/100%)\r"
        if self._bar:
            done = int(part * self.WIDTH)
            text = f"    [{'#' * done}{'.' * (self.WIDTH - done)}] {part * 100:6.2f}%\r"
        elif text[:-4] == self._shown[:-4]:
            return
        if text != self._shown:
            self._shown = text
            print(text, end="", flush=True)

    def end(self) -> None:
        if self.wanted:
            self.show(1.0)
            print()


def need_qcow2(node: Node, what: str) -> Any:
    """The qcow2 image that `what` is for."""
    from pcemu.block.qcow2.image import Qcow2Node

    if not isinstance(node, Qcow2Node):
        node.close()
        raise ImgError(what)
    return node
