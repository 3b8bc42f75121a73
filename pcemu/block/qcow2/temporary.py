"""snapshot=on: writes go to a file that nobody else sees and that is gone in the end."""

from __future__ import annotations

import os
import tempfile

from ..file import FileNode
from ..node import Node
from .create import format_file, new_header
from .image import Qcow2Node


def temporary_overlay(backing: Node) -> Qcow2Node:
    """An empty image on top of `backing`, in $TMPDIR or /var/tmp, without a name."""
    directory = os.environ.get("TMPDIR") or "/var/tmp"
    handle, path = tempfile.mkstemp(prefix="pcemu-", suffix=".qcow2", dir=directory)
    os.close(handle)
    try:
        file = FileNode(path, no_flush=True, locking="off")
    finally:
        os.unlink(path)
    file.unmap = True
    size = -(-backing.size // 512) * 512
    format_file(file, new_header(size))
    node = Qcow2Node(file, backing, unmap=True)
    node.options = backing.options
    node.node_name = backing.node_name
    return node
