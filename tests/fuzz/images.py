"""Mutated disk images: whatever is in them, opening, reading, writing and checking ends soon, in little memory, with a
result or a one-line error, and nothing but the named files is opened.

    python -m tests.fuzz.images DIRECTORY FIRST COUNT        mutants FIRST to FIRST+COUNT-1; the first bad one ends it
"""

from __future__ import annotations

import contextlib
import random
import resource
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pcemu.block.file import FileNode
from pcemu.block.graph import Graph
from pcemu.block.node import Node
from pcemu.block.options import with_format
from pcemu.block.qcow2 import bitmaps, snapshot
from pcemu.block.qcow2.check import check
from pcemu.block.qcow2.create import format_file, new_header
from pcemu.block.qcow2.header import BITMAPS, EXT_BITMAPS, Header
from pcemu.block.qcow2.image import Qcow2Node
from pcemu.img import mapping
from pcemu.img.info import facts, human
from pcemu.qom.errors import PcemuError

SECONDS = 20  # of the processor's time, for one mutant
MEMORY = 3 << 30
SIZE = 1 << 20

SHAPES: tuple[dict[str, Any], ...] = (
    {},
    {"cluster_size": 512},
    {"cluster_size": 4096, "refcount_bits": 1},
    {"version": 2, "cluster_size": 1024},
    {"extended_l2": True, "cluster_size": 16384},
    {"lazy_refcounts": True, "cluster_size": 4096, "refcount_bits": 64},
    {"cluster_size": 2 << 20},
)
INTERESTING = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x200, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 56) - 512,
               1 << 56, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 63) | 0x10000, (1 << 62) | 0x10001)  # fmt: skip
# Offset and width of the header's fields.
FIELDS = ((4, 4), (8, 8), (16, 4), (20, 4), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 4), (60, 4), (64, 8), (72, 8),
          (80, 8), (88, 8), (96, 4), (100, 4), (104, 1), (112, 4), (116, 4))  # fmt: skip


def corpus(directory: Path) -> list[bytes]:
    """Small images with everything in them: a backing file, snapshots, compressed clusters, zeroes, bitmaps."""
    (directory / "base.raw").write_bytes(b"base" * 65536)
    images = []
    for index, shape in enumerate(SHAPES):
        path = directory / "seed.qcow2"
        path.write_bytes(b"")
        backing = {"backing_file": "base.raw", "backing_format": "raw"} if index % 2 else {}
        with FileNode(str(path)) as file:
            format_file(file, new_header(SIZE, **shape, **backing))
        rng = random.Random(index)
        node = open_image(path)
        assert isinstance(node, Qcow2Node)
        for _ in range(6):
            node.pwrite(rng.randrange(SIZE // 512 - 40) * 512, [memoryview(rng.randbytes(20480))])
        if shape.get("refcount_bits") != 1:
            snapshot.create(node, "one")
            node.pwrite(0, [memoryview(rng.randbytes(70_000))])
            snapshot.create(node, "two")
        node.write_zeroes(262_144, 131_072)
        if not node.l2_entry((SIZE - 1) // node.cluster_size)[0]:
            node.write_compressed((SIZE - 1) // node.cluster_size * node.cluster_size, b"z" * min(512, node.cluster_size))
        h = node.header
        node.close()
        data = path.read_bytes()
        images.append(data if h.version == 2 else with_bitmaps(data, h))
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
    data = bytearray(rng.choice(images))
    tables = interesting_places(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        what = rng.random()
        if what < 0.35:
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


def look(node: Node, rng: random.Random) -> None:
    """What info, map, check and a guest that reads do."""
    end = max(0, node.size - 65536)
    for at in (0, 4096, 65536 + 512, SIZE // 2, end, rng.randrange(max(1, node.size))):
        attempt(lambda at=at: node.get(at, min(200_000, max(0, node.size - at))))  # type: ignore[misc]
        attempt(lambda at=at: node.try_pread(at, [memoryview(bytearray(4096))]))  # type: ignore[misc]
    attempt(lambda: human(facts(node, "x"), node))
    attempt(lambda: [run for run, _ in zip(mapping.runs(node), range(2000), strict=False)])
    if isinstance(node, Qcow2Node):
        attempt(lambda: check(node))
        attempt(node.has_holes)


def change(node: Node, rng: random.Random) -> None:
    """What a guest that writes does, and the commands."""
    for _ in range(4):
        at = rng.randrange(0, max(1, min(node.size, 1 << 22)), 512)
        length = min(rng.choice((512, 66_048)), max(0, node.size - at))
        attempt(lambda at=at, n=length: node.pwrite(at, [memoryview(bytes([7]) * n)]))  # type: ignore[misc]
        attempt(lambda at=at, n=length: node.discard(at, n))  # type: ignore[misc]
        attempt(lambda at=at, n=length: node.write_zeroes(at, n, True))  # type: ignore[misc]
        attempt(node.flush)
    if isinstance(node, Qcow2Node):
        attempt(lambda: snapshot.create(node, "new"))
        attempt(lambda: snapshot.apply(node, "one"))
        attempt(lambda: snapshot.delete(node, "1"))
        attempt(lambda: node.truncate(2 << 20))
        attempt(lambda: check(node, fix="all"))


def attempt(what: Callable[[], Any]) -> None:
    with contextlib.suppress(OSError, PcemuError):
        what()


def exercise(path: Path, data: bytes, rng: random.Random) -> None:
    path.write_bytes(data)
    for options, use in (({"read-only": True}, look), ({"read-only": True, "backing": None}, look), ({}, change),
                         ({"no-repair": True}, change)):  # fmt: skip
        if "driver" not in options and data[:8] in (b"QFI\xfb\0\0\0\2", b"QFI\xfb\0\0\0\3"):
            options = {**options, "driver": "qcow2"}
        elif options:
            continue
        try:
            node = open_image(path, **options)
        except PcemuError as error:
            assert "\n" not in str(error), error
            continue
        try:
            use(node, rng)
        finally:
            attempt(node.close)


class Late(BaseException):
    """It took too long."""


def run(directory: Path, first: int, count: int) -> None:
    images = corpus(directory)
    allowed = {str(directory / name) for name in ("mutant.qcow2", "base.raw")}
    watching = False

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[0], str) and arguments[0] not in allowed:
            raise AssertionError(f"{arguments[0]!r} was opened")

    def alarm(number: int, frame: Any) -> None:
        raise Late

    sys.addaudithook(audit)
    signal.signal(signal.SIGPROF, alarm)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    path = directory / "mutant.qcow2"
    exercise(path, images[0], random.Random(0))  # imports what is imported late
    for number in range(first, first + count):
        rng = random.Random(number)
        data = mutant(images, rng)
        path.write_bytes(data)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        watching = True
        try:
            exercise(path, data, rng)
        except BaseException:
            watching = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            (directory / "bad.qcow2").write_bytes(data)
            print(f"mutant {number}:")
            traceback.print_exc(file=sys.stdout)
            sys.exit(1)
        watching = False
        signal.setitimer(signal.ITIMER_PROF, 0)


def numbers(first: int, count: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + count, step):
        yield start, min(step, first + count - start)


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
