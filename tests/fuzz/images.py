"""Mutated disk images: whatever is in them, opening, reading, writing and checking ends soon, in little memory, with a
result or a one-line error, and nothing but the named files is opened.

A seed is a small qcow2 image with everything in it, and a few changes: fields of the header and its extensions, entries of
tables, bytes. Most images are of small clusters, so that tables are short and a seed takes a millisecond or two.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import resource
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pcemu.block import blkdebug, nbd, null
from pcemu.block.file import FileNode
from pcemu.block.graph import Graph
from pcemu.block.node import Node
from pcemu.block.options import with_format
from pcemu.block.qcow2 import bitmaps, snapshot
from pcemu.block.qcow2.check import check as check_image
from pcemu.block.qcow2.create import format_file, new_header
from pcemu.block.qcow2.header import BITMAPS, EXT_BITMAPS, Header
from pcemu.block.qcow2.image import Qcow2Node
from pcemu.img import mapping
from pcemu.img.info import facts, human
from pcemu.qom.errors import PcemuError

MEMORY = 3 << 30
LATE = (blkdebug, nbd, null, "".encode("unicode_escape"))  # not imported while opens are watched

# Weight, size of the disk, and what the image is made with. The large ones are rare: their tables take long to go through.
SHAPES: tuple[tuple[int, int, dict[str, Any]], ...] = (
    (200, 98304, {"cluster_size": 512}),
    (100, 98304, {"cluster_size": 512, "backing": True}),
    (100, 65536 + 512, {"cluster_size": 512, "refcount_bits": 8, "backing": True}),
    (60, 98304, {"cluster_size": 512, "refcount_bits": 1}),
    (60, 98304, {"cluster_size": 512, "refcount_bits": 2}),
    (60, 98304, {"cluster_size": 512, "refcount_bits": 64, "lazy_refcounts": True}),
    (100, 98304, {"version": 2, "cluster_size": 512}),
    (60, 98304, {"version": 2, "cluster_size": 1024, "backing": True}),
    (40, 1 << 19, {"cluster_size": 4096, "refcount_bits": 32}),
    (40, 1 << 19, {"cluster_size": 4096, "lazy_refcounts": True, "backing": True}),
    (40, 1 << 20, {"extended_l2": True, "cluster_size": 16384}),
    (40, 1 << 20, {"extended_l2": True, "cluster_size": 16384, "backing": True}),
    (20, 1 << 19, {"cluster_size": 4096, "compression_type": "zstd"}),
    (4, 1 << 20, {}),
    (1, 1 << 22, {"cluster_size": 2 << 20}),
)
# What a backing file may be called.
NAMES = (b"/dev/zero", b"other.raw", b"mutant.qcow2", b"./mutant.qcow2", b"file:mutant.qcow2", b"../", b"", b"nbd+unix:///x?socket=none",
         b'json:{"driver":"qcow2","file":"mutant.qcow2"}', b'json:{"driver":"file","filename":"other.raw","locking":"off"}',
         b"json:{", b"host_device:/dev/null", b"null-co://", b"fd:3", b"base.raw\0x", b"\x1b[2J\n", b"x" * 300)  # fmt: skip
FORMATS = (b"raw", b"qcow2", b"vmdk", b"file", b"null-co", b"host_device", b"nbd", b"blkdebug", b"\n", b"")
INTERESTING = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x200, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 56) - 512,
               1 << 56, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 63) | 0x10000, (1 << 62) | 0x10001)  # fmt: skip
# Offset and width of the header's fields.
FIELDS = ((4, 4), (8, 8), (16, 4), (20, 4), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 4), (60, 4), (64, 8), (72, 8),
          (80, 8), (88, 8), (96, 4), (100, 4), (104, 1), (112, 4), (116, 4))  # fmt: skip


def corpus(directory: Path) -> list[bytes]:
    """Small images with everything in them: a backing file, snapshots, compressed clusters, zeroes, bitmaps."""
    (directory / "base.raw").write_bytes(b"base" * 16384)
    (directory / "other.raw").write_bytes(b"other" * 1000)
    images = []
    for index, (_, size, shape) in enumerate(SHAPES):
        path = directory / "seed.qcow2"
        path.write_bytes(b"")
        shape = dict(shape)
        backing = {"backing_file": "base.raw", "backing_format": "raw"} if shape.pop("backing", False) else {}
        with FileNode(str(path)) as file:
            format_file(file, new_header(size, **shape, **backing))
        rng = random.Random(index)
        node = open_image(path)
        assert isinstance(node, Qcow2Node)
        for _ in range(6):
            node.pwrite(rng.randrange(size // 512 - 10) * 512, [memoryview(rng.randbytes(5120))])
        if shape.get("refcount_bits") != 1:
            snapshot.create(node, "one")
            node.pwrite(0, [memoryview(rng.randbytes(7_000))])
            snapshot.create(node, "two")
        node.write_zeroes(size // 4, size // 8)
        last = (size - 1) // node.cluster_size
        for cluster in (last, last - 1):
            node.discard(cluster * node.cluster_size, min(node.cluster_size, size - cluster * node.cluster_size))
            node.flush()
            if not node.l2_entry(cluster)[0]:
                node.write_compressed(cluster * node.cluster_size, b"z" * min(512, node.cluster_size))
        h = node.header
        node.close()
        data = path.read_bytes()
        images.append(data if h.version == 2 else with_bitmaps(data, h))
    path.unlink()
    return images


def with_bitmaps(data: bytes, h: Header) -> bytes:
    """Two bitmaps behind everything else; reference counts do not know of them."""
    at = -(-len(data) // h.cluster_size) * h.cluster_size
    directory = b""
    for index, name in enumerate((b"one", b"another")):
        entry = bitmaps.ENTRY.pack(at + 512 + 64 * index, 2, 1 + index, 1, 16, len(name), 0) + name
        directory += entry + bytes(-len(entry) % 8)
    h.other_extensions = [(EXT_BITMAPS, struct.pack(">IIQQ", 2, 0, len(directory), at))]
    h.autoclear = BITMAPS
    start = h.pack()
    tables = struct.pack(">QQ", at, 1).ljust(64, b"\0") * 2
    return start + data[len(start) : at].ljust(at - len(start), b"\0") + directory.ljust(512, b"\0") + tables


def mutant(images: list[bytes], rng: random.Random) -> bytes:
    (data,) = rng.choices(images, [weight for weight, _, _ in SHAPES])
    data = bytearray(data)
    tables = interesting_places(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        what = rng.random()
        if what < 0.03:
            name_backing(data, rng)
        elif what < 0.35:
            at, width = rng.choice(FIELDS)
            put(data, at, width, value(rng, data, at, width))
        elif what < 0.85:
            first, end = rng.choice(tables)
            at = rng.randrange(first, max(first + 8, min(end, first + 2048)), 8)
            put(data, at, 8, value(rng, data, at, 8))
        elif what < 0.93:
            at = rng.randrange(len(data))
            data[at] = rng.randrange(256)
        elif what < 0.97:
            del data[rng.randrange(len(data)) :]
        else:
            data += bytes(rng.choice((1, 512, 70_000)))
        if len(data) < 128:
            data += bytes(128)
    return bytes(data)


def name_backing(data: bytearray, rng: random.Random) -> None:
    """Another name for the backing file, and at times another format."""
    (at,) = struct.unpack_from(">Q", data, 8)
    if not 72 <= at < 4096:
        at = 400
    name = rng.choice(NAMES)
    if rng.random() < 0.3:
        start = 112 if data[7] == 3 else 72
        format_ = rng.choice(FORMATS)
        extension = struct.pack(">II", 0xE2792ACA, len(format_)) + format_.ljust(-(-len(format_) // 8) * 8, b"\0") + bytes(8)
        data[start : start + len(extension)] = extension
    data[at : at + len(name)] = name
    struct.pack_into(">QI", data, 8, at, len(name))


def value(rng: random.Random, data: bytearray, at: int, width: int) -> int:
    old = int.from_bytes(data[at : at + width], "big")
    cluster = 1 << min(max(data[23], 9), 21)
    return rng.choice((
        rng.choice(INTERESTING),
        old ^ 1 << rng.randrange(8 * width),
        old + rng.choice((-1, 1, 8, -8, cluster, -cluster, 1 << 32)),
        rng.randrange(0, max(1, len(data)), cluster) | rng.choice((0, 1 << 63)),
        rng.randrange(0, 1 << 48, cluster),
        rng.getrandbits(8 * width),
    ))  # fmt: skip


def put(data: bytearray, at: int, width: int, number: int) -> None:
    if at + width <= len(data):
        data[at : at + width] = (number & (1 << 8 * width) - 1).to_bytes(width, "big")


def interesting_places(data: bytes | bytearray) -> list[tuple[int, int]]:
    """Extensions, tables, and what the tables point to."""
    size = len(data)
    cluster = 1 << data[23] if 9 <= data[23] <= 21 else 512
    l1, reftable, snapshots = (struct.unpack_from(">Q", data, at)[0] for at in (40, 48, 64))
    places = [(104, 400), (l1, l1 + 64), (reftable, reftable + 64), (snapshots, snapshots + 256), (size - 640, size)]
    for table in (l1, reftable):
        for index in range(4):
            if table + 8 * index + 8 <= size:
                entry = struct.unpack_from(">Q", data, table + 8 * index)[0] & 0x00FFFFFFFFFFFE00
                places.append((entry, entry + cluster))
    return [(first, end) for first, end in places if 0 < first < size - 8]


# -- what is done with a mutant -----------------------------------------------------------------------------------


def open_image(path: Path, **options: Any) -> Node:
    graph = Graph(warn=lambda text: None)
    spec = {"file": {"driver": "file", "filename": str(path)}, "discard": "unmap", "cache": {"no-flush": True}, **options}
    return graph.open(with_format(graph, spec, quiet=True))


def uses(node: Node, rng: random.Random) -> list[Callable[[], Any]]:
    """What info, map, check and a guest that reads do."""
    first, last = rng.randrange(0, max(1, min(node.size, 1 << 20)), 512), max(0, node.size - 65536)
    calls: list[Callable[[], Any]] = [
        lambda: node.get(first, min(70_000, max(0, node.size - first))),
        lambda: node.get(last, min(70_000, max(0, node.size - last))),
        lambda: node.try_pread(first, [memoryview(bytearray(4096))]),
        lambda: human(facts(node, "x"), node),
        lambda: [run for run, _ in zip(mapping.runs(node), range(500), strict=False)],
        lambda: check_image(node),
        lambda: node.has_holes(),
        lambda: snapshot.open_at(node, "1"),
    ]
    return calls if isinstance(node, Qcow2Node) else calls[:5]


def changes(node: Node, rng: random.Random) -> list[Callable[[], Any]]:
    """What a guest that writes does, and the commands."""
    at = rng.randrange(0, max(1, min(node.size, 1 << 20)), 512)
    length = min(rng.choice((512, 6656, 66_048)), max(0, node.size - at))
    data = memoryview(bytes((7,)) * length)
    calls: list[Callable[[], Any]] = [
        lambda: node.pwrite(at, [data]),
        lambda: node.discard(at, length),
        lambda: node.write_zeroes(at, length, rng.random() < 0.5),
        node.flush,
        lambda: node.pwrite(0, [data[: node.size]], fua=True),
        lambda: node.truncate(rng.choice((512, 60_416, 2 << 20))),
        lambda: snapshot.create(node, "new"),
        lambda: snapshot.apply(node, rng.choice(("one", "2"))),
        lambda: snapshot.delete(node, rng.choice(("1", "two"))),
        lambda: check_image(node, fix=rng.choice(("leaks", "all"))),
    ]
    return calls if isinstance(node, Qcow2Node) else calls[:6]


def attempt(what: Callable[[], Any]) -> None:
    with contextlib.suppress(OSError, PcemuError):
        what()


# How an image is opened, and what is done with it then: each seed has one of them.
WAYS: tuple[tuple[int, dict[str, Any], Any], ...] = (
    (5, {"read-only": True}, uses),
    (1, {"read-only": True, "backing": None}, uses),
    (8, {}, changes),
    (3, {"no-repair": True}, changes),
    (3, {"l2-cache-size": 1024, "refcount-cache-size": 1024}, changes),
)


def exercise(path: Path, options: dict[str, Any], use: Any, rng: random.Random) -> None:
    try:
        node = open_image(path, **options)
    except PcemuError as error:
        assert "\n" not in str(error), error
        return
    try:
        for _ in range(5):
            attempt(rng.choice(use(node, rng)))
    finally:
        attempt(node.close)


class Bench:
    """A directory with the image, and a watch on what is opened."""

    def __init__(self) -> None:
        self.scratch = tempfile.TemporaryDirectory(prefix="pcemu-images-")
        directory = Path(self.scratch.name)
        self.path = directory / "mutant.qcow2"
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        self.images = corpus(directory)
        self.backing = {str(directory / "base.raw"): b"base.raw", str(directory / "other.raw"): b"other.raw"}
        self.allowed: set[str] | None = None  # names that may be opened now; None: all
        for way in range(20):
            self.try_one(self.images[0], random.Random(way))  # imports what is imported late
        sys.addaudithook(self.audit)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and self.allowed is not None and isinstance(arguments[0], str) and arguments[0] not in self.allowed:
            raise AssertionError(f"{arguments[0]!r} was opened")

    def try_one(self, data: bytes, rng: random.Random, watch: bool = False) -> None:
        os.pwrite(self.fd, data, 0)
        os.ftruncate(self.fd, len(data))
        ((_, options, use),) = rng.choices(WAYS, [way[0] for way in WAYS])
        if data[:8] in (b"QFI\xfb\0\0\0\2", b"QFI\xfb\0\0\0\3"):
            options = {**options, "driver": "qcow2"}
        else:
            options = {}
        if watch:  # besides the image what it names as its backing file, if that is wanted
            named = {path for path, name in self.backing.items() if name in data and "backing" not in options}
            self.allowed = {str(self.path), *named}
        try:
            exercise(self.path, options, use, rng)
        finally:
            self.allowed = None


@functools.cache
def bench() -> Bench:
    return Bench()


def check(seed: int) -> None:
    """One mutant; AssertionError, or whatever the code raised, if it is not survived."""
    b = bench()
    rng = random.Random(seed)
    data = mutant(b.images, rng)
    b.try_one(data, rng, watch=True)
