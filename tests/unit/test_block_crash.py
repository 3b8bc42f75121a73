"""What was flushed survives: the host's writes are replayed up to every point, and judged.

After a kill everything that was written is there; after a power cut only what a flush covered, and any part of the
rest. Each time the image must be consistent (leaked clusters are allowed; an image that is marked dirty is repaired
first), and each sector must hold what it held at the last flush of the guest, or something the guest wrote later.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blocktools import clean, make, needs_qemu_img, open_qcow2, write
from crashlog import Log, LoggedFile

from pcemu.block.qcow2 import snapshot
from pcemu.block.qcow2.check import check
from pcemu.block.qcow2.header import DIRTY
from pcemu.block.qcow2.image import Qcow2Node

SECTOR = 512


class Guest:
    """Writes sectors with a stamp, and remembers what each may hold from which point of the log on."""

    def __init__(self, node: Qcow2Node, log: Log) -> None:
        self.node = node
        self.log = log
        self.count = 0
        self.now = bytearray(node.get(0, node.size))
        # Per sector: (log position before the write, stamp). Per flush: (position after it, what was on the disk).
        self.history: dict[int, list[tuple[int, bytes]]] = {}
        self.flushed: list[tuple[int, bytes]] = [(0, bytes(self.now))]

    def _note(self, offset: int, data: bytes) -> None:
        for at in range(0, len(data), SECTOR):
            self.history.setdefault((offset + at) // SECTOR, []).append((len(self.log), data[at : at + SECTOR]))
        self.now[offset : offset + len(data)] = data

    def write(self, offset: int, length: int) -> None:
        self.count += 1
        data = b"".join(b"%08d%08d" % (self.count, at) * 32 for at in range(length // SECTOR))
        self._note(offset, data)
        write(self.node, offset, data)

    def zero(self, offset: int, length: int, unmap: bool) -> None:
        self._note(offset, bytes(length))
        self.node.write_zeroes(offset, length, unmap)

    def discard(self, offset: int, length: int) -> None:
        size = self.node.cluster_size
        first, last = -(-offset // size) * size, (offset + length) // size * size
        if first < last:
            self._note(first, bytes(last - first))
        self.node.discard(offset, length)

    def flush(self) -> None:
        state = bytes(self.now)
        self.node.flush()
        self.flushed.append((len(self.log), state))

    def work(self, rng: random.Random, turns: int) -> None:
        for _ in range(turns):
            offset = rng.randrange(self.node.size // SECTOR) * SECTOR
            length = min(self.node.size - offset, rng.choice((512, 1024, 4096, 12288)))
            what = rng.random()
            if what < 0.6:
                self.write(offset, length)
            elif what < 0.7:
                self.zero(offset, length, rng.random() < 0.5)
            elif what < 0.8:
                self.discard(offset, length)
            else:
                self.flush()

    def judge(self, contents: bytes | bytearray, end: int) -> None:
        """Is that a disk which the guest may find after the cut at `end`?"""
        state = [kept for position, kept in self.flushed if position <= end][-1]
        since = [position for position, _ in self.flushed if position <= end][-1]
        for at in range(0, len(state), SECTOR):
            found = contents[at : at + SECTOR]
            if found == state[at : at + SECTOR]:
                continue
            later = self.history.get(at // SECTOR, ())
            allowed = [data for position, data in later if position <= end and position >= since]
            assert found in allowed, f"sector {at // SECTOR} after {end} operations: {bytes(found[:24])!r}"


def image_is_good(path: Path, by_qemu: bool) -> None:
    """No errors; leaks do no harm. A dirty image is repaired, as it would be when it is opened."""
    if by_qemu:
        done = subprocess.run(["qemu-img", "check", str(path)], capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            with open_qcow2(path, **{"read-only": True}) as node:
                assert node.header.incompatible & DIRTY, done.stderr
            done = subprocess.run(["qemu-img", "check", "-r", "all", str(path)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return
    with open_qcow2(path, **{"read-only": True}) as node:
        said: list[str] = []
        found = check(node, say=said.append)
        assert found.corruptions == 0 or node.header.incompatible & DIRTY, said


def judge_all(tmp_path: Path, log: Log, judge: Callable[[bytes | bytearray, int], None], rng: random.Random, size: int,
              every: int = 5) -> None:  # fmt: skip
    path = tmp_path / "cut.qcow2"
    seen: dict[bytes, bytes] = {}
    for end in range(len(log) + 1):
        for state in (log.after(end), *log.cuts(end, rng)):
            key = hashlib.sha256(state).digest()
            if key not in seen:
                path.write_bytes(state)
                image_is_good(path, by_qemu=len(seen) % every == 0)
                with open_qcow2(path) as node:  # repairs, if need be
                    assert node.size == size
                    seen[key] = bytes(node.get(0, size))
            judge(seen[key], end)


SHAPES: dict[str, dict[str, Any]] = {
    "4K": {"cluster_size": 4096},
    "512": {"cluster_size": 512},
    "512-refcount64": {"cluster_size": 512, "refcount_bits": 64},
    "v2": {"cluster_size": 1024, "version": 2},
    "subclusters": {"cluster_size": 16384, "extended_l2": True},
    "lazy": {"cluster_size": 4096, "lazy_refcounts": True},
}


def start(tmp_path: Path, size: int, **shape: Any) -> tuple[Qcow2Node, LoggedFile]:
    path = make(tmp_path / "a.qcow2", size, **shape)
    file = LoggedFile(path)
    return Qcow2Node(file, unmap=True), file


@needs_qemu_img
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_point_of_a_workload(tmp_path: Path, shape: dict[str, Any], seed: int = 1, turns: int = 24) -> None:
    rng = random.Random(seed)
    size = 192 << 10
    node, file = start(tmp_path, size, **shape)
    guest = Guest(node, file.log)
    guest.work(rng, turns)
    node.close()
    guest.flushed.append((len(file.log), bytes(guest.now)))
    clean(tmp_path / "a.qcow2")
    judge_all(tmp_path, file.log, guest.judge, rng, size)


@needs_qemu_img
@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_many_workloads(tmp_path: Path, shape: dict[str, Any], seed: int) -> None:
    test_every_point_of_a_workload(tmp_path, shape, seed + 1000, 150)


@needs_qemu_img
@pytest.mark.parametrize("shape", [SHAPES["4K"], SHAPES["v2"]], ids=["4K", "v2"])
def test_clusters_of_a_snapshot(tmp_path: Path, shape: dict[str, Any]) -> None:
    """Copy on write of clusters and of L2 tables that a snapshot shares: it never changes."""
    rng = random.Random(2)
    size = 64 << 10
    path = make(tmp_path / "a.qcow2", size, **shape)
    with open_qcow2(path) as node:
        write(node, 0, rng.randbytes(size))
        snapshot.create(node, "kept")
        kept = bytes(node.get(0, size))
    file = LoggedFile(path)
    node = Qcow2Node(file, unmap=True)
    guest = Guest(node, file.log)
    guest.work(rng, 16)
    node.close()

    def judge(contents: bytes | bytearray, end: int) -> None:
        guest.judge(contents, end)
        with open_qcow2(tmp_path / "cut.qcow2", **{"read-only": True}) as cut:  # the last new state, at least
            snapshot.open_at(cut, "kept")
            assert cut.get(0, size) == kept

    judge_all(tmp_path, file.log, judge, rng, size)


@needs_qemu_img
@pytest.mark.parametrize("what", ["create", "apply", "delete"])
def test_a_cut_while_snapshots_change(tmp_path: Path, what: str) -> None:
    rng = random.Random(3)
    size = 64 << 10
    path = make(tmp_path / "a.qcow2", size, cluster_size=4096)
    with open_qcow2(path) as node:
        write(node, 0, rng.randbytes(size // 2))
        snapshot.create(node, "old")
        old = bytes(node.get(0, size))
        write(node, 8192, rng.randbytes(size // 2))
        new = bytes(node.get(0, size))
    file = LoggedFile(path)
    node = Qcow2Node(file)
    if what == "create":
        snapshot.create(node, "second")
    elif what == "apply":
        snapshot.apply(node, "old")
    else:
        snapshot.delete(node, "old")
    node.close()

    def judge(contents: bytes | bytearray, end: int) -> None:
        assert contents == new or (what == "apply" and contents == old)
        with open_qcow2(tmp_path / "cut.qcow2", **{"read-only": True}) as cut:
            for shot in snapshot.read_snapshots(cut)[0]:
                if shot.name == "old":
                    snapshot.open_at(cut, "old")
                    assert cut.get(0, size) == old

    judge_all(tmp_path, file.log, judge, rng, size, every=3)


@needs_qemu_img
def test_a_cut_while_the_disk_grows(tmp_path: Path) -> None:
    size = 64 << 10
    node, file = start(tmp_path, size, cluster_size=512)
    write(node, 0, b"x" * 4096)
    node.flush_all()
    begin = len(file.log)
    node.truncate(8 << 20)  # a new L1 table
    node.close()
    rng = random.Random(4)
    path = tmp_path / "cut.qcow2"
    for end in range(begin, len(file.log) + 1):
        path.write_bytes(file.log.after(end, rng))
        image_is_good(path, by_qemu=True)
        with open_qcow2(path) as cut:
            assert cut.size in (size, 8 << 20) and cut.get(0, 4096) == b"x" * 4096


@needs_qemu_img
def test_several_threads(tmp_path: Path) -> None:
    """Each has sectors of its own, all in the same clusters; flushes of one run beside writes of the others."""
    size, threads = 64 << 10, 4
    node, file = start(tmp_path, size, cluster_size=4096)
    log = file.log
    written: list[dict[int, list[tuple[int, bytes]]]] = [{} for _ in range(threads)]
    flushed: list[list[tuple[int, dict[int, bytes]]]] = [[(0, {})] for _ in range(threads)]

    def work(number: int) -> None:
        rng = random.Random(number)
        mine: dict[int, bytes] = {}
        for turn in range(12):
            sector = rng.randrange(size // SECTOR // threads) * threads + number
            data = b"%08d%08d" % (number, turn) * 32
            written[number].setdefault(sector, []).append((len(log), data))
            write(node, sector * SECTOR, data)
            mine[sector] = data
            if turn % 7 == number:
                state = dict(mine)
                node.flush()
                flushed[number].append((len(log), state))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    node.close()

    def judge(contents: bytes | bytearray, end: int) -> None:
        for number in range(threads):
            since, state = [entry for entry in flushed[number] if entry[0] <= end][-1]
            for sector in range(number, size // SECTOR, threads):
                found = contents[sector * SECTOR : (sector + 1) * SECTOR]
                later = [data for position, data in written[number].get(sector, ()) if position <= end]
                assert found == state.get(sector, bytes(SECTOR)) or found in later, (sector, end, since)

    judge_all(tmp_path, log, judge, random.Random(9), size)
