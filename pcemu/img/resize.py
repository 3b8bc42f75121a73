"""resize: another size for an image."""

from __future__ import annotations

import sys

from pcemu.block.file import FileNode, HostDeviceNode
from pcemu.block.node import Node
from pcemu.block.qcow2.create import allocate_blocks, preallocate
from pcemu.block.qcow2.image import Qcow2Node

from .common import MAX_SIZE, Arguments, ImgError, UsageError, open_image, size_argument


def run(args: Arguments) -> int:
    if len(args.words) < 2:
        raise UsageError("Not enough arguments")
    if len(args.words) > 2:
        raise UsageError("Expecting image file name and size")
    filename, text = args.words
    sign, text = (text[0], text[1:]) if text[:1] in "+-" else ("", text)
    number = size_argument(text)
    mode = args.get("preallocation", "off")
    if mode not in ("off", "metadata", "falloc", "full"):
        raise ImgError(f"Invalid preallocation mode '{mode}'")
    with open_image(filename, args.get("f"), image_opts=args.has("image-opts"), writable=True) as node:
        old = node.size
        size = {"+": old + number, "-": old - number}.get(sign, number)
        if size <= 0 or size > MAX_SIZE:
            raise ImgError("New image size must be positive")
        if size < old and not args.has("shrink"):
            print("pcemu-img: warning: Shrinking an image will delete all data beyond the shrunken image's end. "
                  "Before performing such an operation, make sure there is no important data there.",
                  file=sys.stderr)  # fmt: skip
            raise ImgError("Use the --shrink option to perform a shrink operation.")
        if mode == "metadata" and node.driver == "raw":
            raise ImgError("Unsupported preallocation mode: metadata")
        if size < old and mode != "off":
            raise ImgError("Preallocation can only be used for growing images")
        node.truncate(size)
        if isinstance(node, Qcow2Node):
            if size > old and mode != "off":
                preallocate(node, str(mode), old)
        elif size > old and mode != "off" and node.file is not None:
            _reserve(node.file, old, size - old, str(mode))
        node.flush()
    if not args.has("q"):
        print("Image resized.")
    return 0


def _reserve(file: Node, offset: int, length: int, mode: str) -> None:
    if isinstance(file, FileNode) and not isinstance(file, HostDeviceNode):
        if mode == "falloc":
            allocate_blocks(file, offset, length)
        else:
            Node.write_zeroes(file, offset, length)
