"""What tests of disks share: images, and qemu-img as the judge."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pcemu.block.file import FileNode
from pcemu.block.graph import Graph
from pcemu.block.node import Node
from pcemu.block.qcow2.create import format_file, new_header
from pcemu.block.qcow2.image import Qcow2Node

QEMU_IMG = shutil.which("qemu-img")
QEMU_IO = shutil.which("qemu-io")
needs_qemu_img = pytest.mark.skipif(QEMU_IMG is None or QEMU_IO is None, reason="no qemu-img (qemu-utils)")


def qemu_img(*arguments: object, status: int = 0) -> str:
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, timeout=600)
    assert done.returncode == status, f"qemu-img {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def qemu_io(path: Path, *commands: str, fmt: str = "qcow2") -> str:
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(["qemu-io", "-f", fmt, *words, str(path)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean(path: Path) -> None:
    """qemu-img check finds nothing, not even leaks."""
    qemu_img("check", "-q", "-f", "qcow2", path)


def same(path: Path, contents: bytes | bytearray, fmt: str = "qcow2") -> None:
    raw = path.with_suffix(".expected")
    raw.write_bytes(contents)
    qemu_img("compare", "-q", "-f", fmt, "-F", "raw", path, raw)


def make(path: Path, size: int, **options: Any) -> Path:
    path.write_bytes(b"")
    with FileNode(str(path)) as file:
        format_file(file, new_header(size, **options))
    return path


def open_node(path: Path, driver: str = "qcow2", **options: Any) -> Node:
    spec: dict[str, Any] = {"driver": driver, "file": {"driver": "file", "filename": str(path)}, "discard": "unmap", **options}
    return Graph().open(spec)


def open_qcow2(path: Path, **options: Any) -> Qcow2Node:
    node = open_node(path, **options)
    assert isinstance(node, Qcow2Node)
    return node


def write(node: Node, offset: int, data: bytes) -> None:
    node.pwrite(offset, [memoryview(data)])
