"""qcow2: random requests against a model, and QEMU's tools both ways."""

from __future__ import annotations

import random
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from blocktools import clean, make, needs_qemu_img, open_qcow2, qemu_img, qemu_io, same, write

from pcemu.block.errors import BlockError
from pcemu.block.node import Node, Status
from pcemu.block.qcow2 import header as hdr
from pcemu.block.qcow2 import snapshot
from pcemu.block.qcow2.check import check
from pcemu.block.qcow2.compress import compress
from pcemu.block.qcow2.image import Qcow2Node

SHAPES: dict[str, dict[str, Any]] = {
    "default": {},
    "512": {"cluster_size": 512},
    "4K-refcount2": {"cluster_size": 4096, "refcount_bits": 2},
    "2M": {"cluster_size": 2 << 20},
    "v2": {"version": 2},
    "subclusters": {"extended_l2": True},
    "subclusters-16K": {"extended_l2": True, "cluster_size": 16384},
    "lazy": {"lazy_refcounts": True},
    "512-refcount1": {"cluster_size": 512, "refcount_bits": 1},
    "512-refcount64": {"cluster_size": 512, "refcount_bits": 64},
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def discard_in_model(node: Qcow2Node, model: bytearray, below: bytes, offset: int, length: int) -> None:
    """Whole clusters become zeroes; a version 2 image with a backing file leaves them alone."""
    if node.header.version < 3 and node.backing is not None:
        return
    size = node.cluster_size
    first, last = -(-offset // size) * size, (offset + length) // size * size
    if offset + length == len(model):
        last = len(model)
    if first < last:
        model[first:last] = bytes(last - first)


def act(node: Node, model: bytearray, rng: random.Random, below: bytes = b"") -> None:
    """One random request, done to both."""
    size = len(model)
    offset = rng.randrange(size // 512) * 512
    length = min(size - offset, rng.choice((512, 4096, 65536, 299520)))
    what = rng.random()
    if what < 0.5:
        data = rng.randbytes(length)
        write(node, offset, data)
        model[offset : offset + length] = data
    elif what < 0.65:
        node.write_zeroes(offset, length, unmap=rng.random() < 0.5)
        model[offset : offset + length] = bytes(length)
    elif what < 0.7:
        node.flush()
    elif what < 0.8:
        assert isinstance(node, Qcow2Node)
        node.discard(offset, length)
        discard_in_model(node, model, below, offset, length)
    else:
        assert node.get(offset, length) == model[offset : offset + length], (offset, length)


@needs_qemu_img
@shapes
@pytest.mark.parametrize("seed", range(2))
def test_random_requests(tmp_path: Path, shape: dict[str, Any], seed: int) -> None:
    rng = random.Random(seed)
    size = rng.choice((1 << 20, (3 << 20) + 512, 6 << 20))
    path = make(tmp_path / "a.qcow2", size, **shape)
    model = bytearray(size)
    node = open_qcow2(path)
    for turn in range(100):
        act(node, model, rng)
        if turn % 40 == 39:
            node.close()
            node = open_qcow2(path)
    node.close()
    clean(path)
    same(path, model)
    with open_qcow2(path) as again:
        assert isinstance(again, Qcow2Node)
        found = check(again)
        assert (found.corruptions, found.leaks, found.check_errors) == (0, 0, 0)


@needs_qemu_img
@shapes
def test_overlay(tmp_path: Path, shape: dict[str, Any]) -> None:
    """Copy on write from a backing file that is shorter, partial clusters, and zeroes over data below."""
    rng = random.Random(7)
    base = tmp_path / "base.raw"
    below = rng.randbytes(700 * 1024 + 512)
    base.write_bytes(below)
    size = 1 << 20
    path = make(tmp_path / "top.qcow2", size, backing_file="base.raw", backing_format="raw", **shape)
    model = bytearray(below.ljust(size, b"\0"))
    with open_qcow2(path) as node:
        assert node.get(0, size) == model
        for _ in range(60):
            act(node, model, rng, below)
        assert node.get(0, size) == model
    clean(path)
    same(path, model)
    assert base.read_bytes() == below


@needs_qemu_img
@pytest.mark.parametrize("options", [
    "cluster_size=512", "cluster_size=2M", "compat=0.10", "extended_l2=on", "lazy_refcounts=on", "refcount_bits=1",
    "refcount_bits=64,cluster_size=4096", "preallocation=metadata", "preallocation=metadata,extended_l2=on",
])  # fmt: skip
def test_images_of_qemu(tmp_path: Path, options: str) -> None:
    """Made and written by QEMU, read and written by us, checked by QEMU."""
    path = tmp_path / "a.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, path, "4M")
    zero = [] if "0.10" in options else ["write -z 192k 128k", "write -z -u 2M 100k"]
    qemu_io(path, "write -P 1 0 70000", "write -P 2 1M 512", *zero, "write -P 3 1048064 513")
    model = bytearray(4 << 20)
    model[0:70000] = b"\1" * 70000
    model[1 << 20 : (1 << 20) + 512] = b"\2" * 512
    model[1048064 : 1048064 + 513] = b"\3" * 513
    rng = random.Random(options)
    with open_qcow2(path) as node:
        assert node.get(0, 4 << 20) == model
        for _ in range(40):
            act(node, model, rng)
    clean(path)
    same(path, model)


@needs_qemu_img
@pytest.mark.parametrize("kind", ["zlib", "zstd"])
def test_compressed_clusters(tmp_path: Path, kind: str) -> None:
    if kind == "zstd":
        pytest.importorskip("zstandard")
    raw, path, ours = tmp_path / "a.raw", tmp_path / "a.qcow2", tmp_path / "b.qcow2"
    rng = random.Random(3)
    data = bytearray(b"".join(bytes([rng.randrange(256)]) * 5000 + rng.randbytes(300) for _ in range(400)))[: 1 << 20]
    raw.write_bytes(data)
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", f"compression_type={kind}", raw, path)
    with open_qcow2(path) as node:
        assert node.status(0, 65536).compressed
        assert node.get(0, len(data)) == data
        for _ in range(30):
            act(node, data, rng)
    clean(path)
    same(path, data)
    make(ours, len(data), compression_type=kind)
    with open_qcow2(ours) as node:
        assert isinstance(node, Qcow2Node)
        for at in range(0, len(data), 65536):
            node.write_compressed(at, data[at : at + 65536])
    clean(ours)
    same(ours, data)


def test_what_does_not_shrink_is_not_compressed() -> None:
    assert compress(0, random.Random(1).randbytes(65536)) is None
    packed = compress(0, bytes(65536))
    assert packed is not None and len(packed) < 200


@needs_qemu_img
@pytest.mark.parametrize("shape", [SHAPES["default"], SHAPES["512"], SHAPES["subclusters"], SHAPES["v2"]])
def test_snapshots(tmp_path: Path, shape: dict[str, Any]) -> None:
    """Create, go on, go back, delete: ours; QEMU agrees at each step, and about its own."""
    size = 1 << 20
    path = make(tmp_path / "a.qcow2", size, **shape)
    rng = random.Random(11)
    model = bytearray(size)
    states = {}
    with open_qcow2(path) as node:
        assert isinstance(node, Qcow2Node)
        for name in ("one", "two"):
            for _ in range(15):
                act(node, model, rng)
            snapshot.create(node, name)
            states[name] = bytes(model)
        for _ in range(10):
            act(node, model, rng)
    clean(path)
    same(path, model)
    for name, contents in states.items():
        raw = tmp_path / "s.raw"
        qemu_img("convert", "-l", f"snapshot.name={name}", "-O", "raw", path, raw)
        assert raw.read_bytes() == contents
        with open_qcow2(path, **{"read-only": True}) as node:
            assert isinstance(node, Qcow2Node)
            snapshot.open_at(node, name)
            assert node.get(0, size) == contents
    with open_qcow2(path) as node:
        assert isinstance(node, Qcow2Node)
        snapshot.apply(node, "one")
        assert node.get(0, size) == states["one"]
        write(node, 4096, b"x" * 512)
        snapshot.delete(node, "1")
    clean(path)
    same(path, states["one"][:4096] + b"x" * 512 + states["one"][4608:])
    qemu_img("snapshot", "-a", "two", path)
    qemu_img("snapshot", "-c", "three", path)
    with open_qcow2(path) as node:
        assert isinstance(node, Qcow2Node)
        assert node.get(0, size) == states["two"]
        assert [shot.name for shot in snapshot.read_snapshots(node)[0]] == ["two", "three"]
        snapshot.delete(node, "two")
        snapshot.delete(node, "three")
        with pytest.raises(BlockError, match="snapshot 'two' not found"):
            snapshot.apply(node, "two")
    clean(path)
    same(path, states["two"])


@needs_qemu_img
@pytest.mark.parametrize("shape", [SHAPES["default"], SHAPES["512"], SHAPES["subclusters"]])
def test_many_threads(tmp_path: Path, shape: dict[str, Any]) -> None:
    """Writers of their own sectors, next to each other in the same clusters, with flushes and discards in between."""
    size, threads = 1 << 20, 8
    path = make(tmp_path / "a.qcow2", size, **shape)
    model = bytearray(size)
    failures: list[BaseException] = []
    with open_qcow2(path) as node:

        def work(number: int) -> None:
            try:
                rng = random.Random(number)
                for turn in range(60):
                    sector = rng.randrange(size // 512 // threads) * threads + number
                    data = rng.randbytes(512)
                    write(node, sector * 512, data)
                    model[sector * 512 : sector * 512 + 512] = data
                    assert node.get(sector * 512, 512) == data
                    if turn % 20 == number:
                        node.flush()
                    if number == 0 and turn % 10 == 0:
                        node.write_zeroes(sector * 512, 512, unmap=True)
                        model[sector * 512 : sector * 512 + 512] = bytes(512)
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not failures
    clean(path)
    same(path, model)


@needs_qemu_img
def test_resize(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(b"B" * (3 << 20))
    path = make(tmp_path / "a.qcow2", 1 << 20, cluster_size=4096, backing_file="base.raw", backing_format="raw")
    with open_qcow2(path) as node:
        write(node, (1 << 20) - 512, b"e" * 512)
        node.truncate(200 << 20)  # needs a longer L1 table
        assert node.get((1 << 20) - 512, 1024) == b"e" * 512 + bytes(512)
        write(node, (200 << 20) - 512, b"f" * 512)
        node.truncate((1 << 20) + 512)
    clean(path)
    same(path, b"B" * ((1 << 20) - 512) + b"e" * 512 + bytes(512))


@needs_qemu_img
def test_a_dirty_image_is_repaired_and_a_corrupt_one_is_not_written(tmp_path: Path) -> None:
    path = make(tmp_path / "a.qcow2", 1 << 20, lazy_refcounts=True)
    node = open_qcow2(path)
    write(node, 0, b"a" * 65536)
    node.flush()
    assert node.header.incompatible & hdr.DIRTY
    copy = tmp_path / "crashed.qcow2"
    copy.write_bytes(path.read_bytes())
    node.close()
    clean(path)
    assert "leak" not in qemu_img("check", path)
    with open_qcow2(copy, **{"read-only": True}) as again:
        assert again.get(0, 4) == b"aaaa"
    with open_qcow2(copy) as again:
        assert again.get(0, 4) == b"aaaa"
        assert not again.header.incompatible & hdr.DIRTY
    clean(copy)
    # An L2 entry that points into the middle of a cluster: found when it is used, marked, refused from then on.
    with open_qcow2(copy) as again:
        assert isinstance(again, Qcow2Node)
        l2_at = again.l1[0] & 0x00FFFFFFFFFFFE00
        again.file.put(l2_at + 8, (0x8000000000000200 | 0x50000).to_bytes(8, "big"))
        with pytest.raises(OSError, match="Image is corrupt: Cluster allocation offset 0x50200 unaligned"):
            again.get(65536, 512)
        with pytest.raises(OSError, match="Read-only"):
            write(again, 0, b"x" * 512)
        with pytest.raises(OSError, match="nothing is written any more"):
            again.flush()  # it must not promise anything
    with pytest.raises(BlockError, match="Image is corrupt; cannot be opened read/write"):
        open_qcow2(copy)
    with open_qcow2(copy, **{"read-only": True}) as again:
        assert again.get(0, 4) == b"aaaa"


@needs_qemu_img
def test_check_finds_and_repairs_what_qemu_does(tmp_path: Path) -> None:
    path = make(tmp_path / "a.qcow2", 1 << 20)
    with open_qcow2(path) as node:
        assert isinstance(node, Qcow2Node)
        write(node, 0, b"a" * (5 * 65536))
        node.flush_all()
        host = node.l2_entry(0)[0] & 0x00FFFFFFFFFFFE00
        with node.lock:
            node.refcounts.set(host >> 16, 0)  # in use, but not counted
            node.refcounts.set((host >> 16) + 1, 2)  # counted twice
            node.refcounts.set(9, 3)  # leaked
            node.claim(10)
    done = subprocess.run(["qemu-img", "check", path], capture_output=True, text=True, check=False)
    theirs = [line for line in done.stderr.splitlines() if line]
    lines: list[str] = []
    with open_qcow2(path, **{"no-repair": True}) as node:
        assert isinstance(node, Qcow2Node)
        found = check(node, say=lines.append)
        assert lines == theirs
        errors = sum(line.startswith("ERROR") for line in lines)
        assert (found.corruptions, found.leaks) == (errors, len(lines) - errors)
        assert f"\n{errors} errors were found" in done.stdout and errors >= 3
        fixed = check(node, fix="all")
        assert (fixed.corruptions, fixed.leaks) == (0, 0)
    clean(path)
    same(path, b"a" * (5 * 65536) + bytes((1 << 20) - 5 * 65536))


@needs_qemu_img
def test_rebuilding_the_reference_counts(tmp_path: Path) -> None:
    path = make(tmp_path / "a.qcow2", 1 << 20, cluster_size=4096)
    with open_qcow2(path) as node:
        assert isinstance(node, Qcow2Node)
        write(node, 0, b"a" * 100_352)
        node.flush_all()
        node.file.put(node.header.reftable_offset, (0x1234567).to_bytes(8, "big"))  # a block that is nowhere
        node.read_only = True
    with open_qcow2(path, **{"no-repair": True}) as node:
        assert isinstance(node, Qcow2Node)
        assert check(node).corruptions
        fixed = check(node, fix="all")
        assert (fixed.corruptions, fixed.leaks) == (0, 0)
        write(node, 200_704, b"b" * 4096)
    clean(path)
    same(path, b"a" * 100_352 + bytes(100_352) + b"b" * 4096 + bytes((1 << 20) - 204_800))


def test_status(tmp_path: Path) -> None:
    path = make(tmp_path / "a.qcow2", 1 << 20)
    with open_qcow2(path) as node:
        write(node, 65536, b"x" * 65536)
        node.write_zeroes(131072, 65536)
        runs, at = [], 0
        while at < node.size:
            extent = node.status(at, node.size - at)
            runs.append((extent.status, at, extent.length))
            at += extent.length
    assert runs == [(Status.HOLE, 0, 65536), (Status.DATA, 65536, 65536), (Status.HOLE, 131072, (1 << 20) - 131072)]


def test_loops_of_backing_files_end(tmp_path: Path) -> None:
    for name, below in (("a", "b"), ("b", "a"), ("c", "c")):
        make(tmp_path / f"{name}.qcow2", 1 << 20, backing_file=f"{below}.qcow2", backing_format="qcow2")
    for name in "abc":
        with pytest.raises(BlockError, match="its own backing file"):
            open_qcow2(tmp_path / f"{name}.qcow2")


def test_an_image_may_not_name_devices(tmp_path: Path) -> None:
    path = make(tmp_path / "a.qcow2", 1 << 20, backing_file="/dev/tty", backing_format="raw")
    with pytest.raises(BlockError, match="not a regular file"):
        open_qcow2(path)
    path = make(tmp_path / "b.qcow2", 1 << 20, backing_file='json:{"driver":"file","filename":"/dev/zero"}', backing_format="raw")
    with pytest.raises(BlockError, match="not a regular file"):
        open_qcow2(path)
