"""Consistency of a qcow2 image: count all references and compare. Repairs what `fix` allows."""

from __future__ import annotations

import heapq
import struct
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import BlockError
from . import bitmaps
from . import header as hdr
from .cache import pack64, unpack64
from .entry import COMPRESSED, COPIED, OFFSET, ZERO, compressed_area, invalid_bitmap
from .image import Qcow2Node
from .refcount import TYPECODES, pack_counts
from .snapshot import fix_copied, read_snapshots

CHUNK = 1024
MOST_CHUNKS = 1 << 18  # a GiB of counts: images that spread their references wider are not checked
MOST_MESSAGES = 10_000
MOST_DIFFERENCES = 1_000_000


@dataclass
class CheckResult:
    corruptions: int = 0
    leaks: int = 0
    check_errors: int = 0
    corruptions_fixed: int = 0
    leaks_fixed: int = 0
    image_end_offset: int = 0
    total_clusters: int = 0
    allocated_clusters: int = 0
    fragmented_clusters: int = 0
    compressed_clusters: int = 0


class Counts:
    """References by cluster; memory only where there are some."""

    def __init__(self) -> None:
        self.chunks: dict[int, array[int]] = {}

    def add(self, first: int, count: int, weight: int = 1) -> None:
        for cluster in range(first, first + count):
            number, at = divmod(cluster, CHUNK)
            chunk = self.chunks.get(number)
            if chunk is None:
                if len(self.chunks) >= MOST_CHUNKS:
                    raise BlockError("the image's references are spread too widely to be checked")
                chunk = self.chunks[number] = array("I", bytes(4 * CHUNK))
            chunk[at] = min(chunk[at] + weight, 0xFFFFFFFF)

    def get(self, cluster: int) -> int:
        chunk = self.chunks.get(cluster // CHUNK)
        return chunk[cluster % CHUNK] if chunk is not None else 0

    def part(self, first: int, count: int) -> list[int]:
        """`count` counts from `first` on; they lie in one chunk."""
        chunk = self.chunks.get(first // CHUNK)
        return [0] * count if chunk is None else chunk[first % CHUNK : first % CHUNK + count].tolist()

    def set(self, cluster: int, count: int) -> None:
        self.add(cluster, 1, 0)
        self.chunks[cluster // CHUNK][cluster % CHUNK] = count

    def used(self) -> Iterator[tuple[int, int]]:
        """(cluster, references), sorted."""
        for number in sorted(self.chunks):
            for at, count in enumerate(self.chunks[number], number * CHUNK):
                if count:
                    yield at, count


class Checker:
    def __init__(self, image: Qcow2Node, fix: str, say: Callable[[str], object], progress: Callable[[float], object]) -> None:
        self.image = image
        self.h = image.header
        self.fix = fix
        self._say = say
        self._said = 0
        self.progress = progress
        self.counts = Counts()
        self.result = CheckResult()
        self.rebuild = False
        self._wrong: list[tuple[int, int]] = []  # clusters to get another count
        self.file_size = image.file.size

    def say(self, text: str) -> None:
        self._said += 1
        if self._said <= MOST_MESSAGES:
            self._say(text)
        elif self._said == MOST_MESSAGES + 1:
            self._say("(more of this is not shown)")

    def error(self, text: str) -> None:
        self.say(f"ERROR {text}")
        self.result.corruptions += 1

    # -- counting ---------------------------------------------------------------------------------------------

    def refer(self, what: str, offset: int, length: int, weight: int = 1) -> None:
        """`length` bytes of the file are in use."""
        bits = self.h.cluster_bits
        if length == 0:
            return
        if offset + length > self.file_size + self.h.cluster_size - 1:
            self.error(f"{what}: counting reference for region exceeding the end of the file by one cluster or more: "
                       f"offset {offset:#x} size {length:#x}")  # fmt: skip
            return
        self.counts.add(offset >> bits, ((offset + length - 1) >> bits) - (offset >> bits) + 1, weight)

    def run(self) -> CheckResult:
        h, result = self.h, self.result
        result.total_clusters = -(-h.size // h.cluster_size)
        self.refer("header", 0, h.cluster_size)
        self.table(self.image.l1, h.l1_offset, 1, active=True)
        self.snapshots()
        self.bitmaps()
        self.refer("refcount table", h.reftable_offset, h.reftable_clusters << h.cluster_bits)
        self.blocks()
        self.compare()
        self.copied_flags()
        if self.fix:
            self.repair()
        self.progress(1.0)
        return result

    def table(self, l1: array[int], offset: int, weight: int, active: bool = False) -> None:
        """An L1 table and what is below it."""
        size = self.h.cluster_size
        self.refer("L1 table", offset, len(l1) * 8, weight)
        tables: Counter[int] = Counter()
        for index, entry in enumerate(l1):
            if not entry:
                continue
            if entry & ~(COPIED | OFFSET):
                self.error(f"found L1 entry with reserved bits set: {entry:x} (index {index})")
            tables[entry & OFFSET] += weight
        expected = 0
        for number, (at, times) in enumerate(tables.items()):
            self.progress(number / len(tables) * (0.8 if active else 0.1))
            if at == 0:
                continue
            if at & (size - 1):
                self.error(f"l2_offset={at:x}: Table is not cluster aligned; L1 entry corrupted")
                continue
            self.refer("L2 table", at, size, times)
            if at + size <= self.file_size:
                expected = self.l2(unpack64(self.image.file.get(at, size)), times, active, expected)

    def l2(self, entries: array[int], weight: int, active: bool, expected: int) -> int:
        h, result = self.h, self.result
        size, bits = h.cluster_size, h.cluster_bits
        step = 2 if h.extended_l2 else 1
        for index in range(0, len(entries), step):
            entry = entries[index]
            if entry == 0 and step == 1:
                continue
            if entry & COMPRESSED:
                if entry & COPIED:
                    self.error(f"coffset={entry & OFFSET:#x}: copied flag must never be set for compressed clusters")
                at, length = compressed_area(entry, bits)
                self.refer("compressed cluster", at, length, weight)
                if active:
                    result.compressed_clusters += 1
                    result.allocated_clusters += 1
                    result.fragmented_clusters += 1
                continue
            if step == 2 and invalid_bitmap(entry, entries[index + 1]):
                self.error(f"offset={entry & OFFSET:x}: Invalid subcluster bitmap {entries[index + 1]:#x}")
            offset = entry & OFFSET
            if not offset:
                continue
            if step == 1 and entry & ZERO and h.version < 3:
                self.error(f"offset={offset:x}: zero cluster in an image of version 2")
            if offset & (size - 1):
                self.error(f"offset={offset:x}: Cluster is not properly aligned; L2 entry corrupted.")
                continue
            if active:
                result.allocated_clusters += 1
                if expected and offset != expected:
                    result.fragmented_clusters += 1
                expected = offset + size
            self.refer("cluster", offset, size, weight)
        return expected

    def snapshots(self) -> None:
        try:
            shots, size = read_snapshots(self.image)
        except BlockError as failure:
            self.error(str(failure))
            return
        self.refer("snapshot table", self.h.snapshot_offset, size)
        tables = Counter((shot.l1_offset, shot.l1_size) for shot in shots)
        if sum(8 * entries for _, entries in tables) > self.file_size + self.h.cluster_size * len(tables):
            self.error("the L1 tables of snapshots overlap")  # and reading them all may take for ever
            return
        for (offset, entries), times in tables.items():
            if entries and offset + entries * 8 <= self.file_size + self.h.cluster_size:
                self.table(unpack64(self.image.file.get(offset, entries * 8)), offset, times)

    def bitmaps(self) -> None:
        """Dirty bitmaps, which we neither use nor keep up, but must not take for leaks."""
        for directory in bitmaps.directories(self.image):
            if directory is None:
                self.error("bitmap directory is invalid")
                return
            self.refer("bitmap directory", directory.offset, directory.size)
            for bitmap in bitmaps.read(self.image, directory):
                if bitmap.entries * 8 > hdr.MAX_L1_BYTES or bitmap.table + bitmap.entries * 8 > self.file_size:
                    self.error("bitmap table is invalid")
                    continue
                self.refer("bitmap table", bitmap.table, bitmap.entries * 8)
                for entry in unpack64(self.image.file.get(bitmap.table, bitmap.entries * 8)):
                    if entry & OFFSET:
                        self.refer("bitmap", entry & OFFSET, self.h.cluster_size)

    def blocks(self) -> None:
        """Refcount blocks: where they are."""
        size, bits = self.h.cluster_size, self.h.cluster_bits
        seen: set[int] = set()
        for index, offset in enumerate(self.image.refcounts.table):
            if offset == 0:
                continue
            if offset & (size - 1):
                self.error(f"refcount block {index} is not cluster aligned; refcount table entry corrupted")
                self.rebuild = True
            elif offset + size > self.file_size + size - 1:
                self.error(f"refcount block {index} is outside image")
                self.rebuild = True
            else:
                self.counts.add(offset >> bits, 1)
                if offset in seen or self.counts.get(offset >> bits) != 1:
                    self.error(f"refcount block {index} refcount={self.counts.get(offset >> bits)}")
                    self.rebuild = True
                seen.add(offset)
        self._blocks_ok = not self.rebuild

    # -- comparing --------------------------------------------------------------------------------------------

    def compare(self) -> None:
        result, refcounts = self.result, self.image.refcounts
        if not self._blocks_ok:
            return
        end = -(-self.file_size // self.h.cluster_size)  # counts of what is not there are nobody's
        self._highest = 0

        def counted() -> Iterator[tuple[int, int, int]]:
            for index, offset in enumerate(refcounts.table):
                block = refcounts.block(index) if offset else None
                if block is None or block.data.count(0) == len(block.data):
                    continue
                first = index * refcounts.entries
                step = min(CHUNK, refcounts.entries)
                for at in range(0, min(refcounts.entries, end - first), step):
                    here = block.data[at : at + step].tolist()
                    wanted = self.counts.part(first + at, step)
                    if any(here):
                        self._highest = first + at + max(i for i, have in enumerate(here) if have)
                    if here != wanted:
                        for cluster, (have, want) in enumerate(zip(here, wanted, strict=True), first + at):
                            if have and want != have and cluster < end:
                                yield cluster, have, want

        def forgotten() -> Iterator[tuple[int, int, int]]:
            for cluster, want in self.counts.used():
                if refcounts.get(cluster) == 0:
                    # A new block would go into a cluster that it should count as free.
                    self.rebuild = self.rebuild or refcounts.block(cluster // refcounts.entries) is None
                    yield cluster, 0, want

        with self.image.lock:
            for cluster, have, want in heapq.merge(counted(), forgotten()):
                self.differ(cluster, have, want)
                if result.leaks + result.corruptions > MOST_DIFFERENCES:
                    self.say("(so many counts are wrong that the rest is not looked at)")
                    self.rebuild = True
                    break
        self._highest = min(self._highest, max(end - 1, 0))
        result.image_end_offset = (self._highest + 1) * self.h.cluster_size

    def differ(self, cluster: int, have: int, want: int) -> None:
        if have > want:
            self.say(f"Leaked cluster {cluster} refcount={have} reference={want}")
            self.result.leaks += 1
        else:
            self.error(f"cluster {cluster} refcount={have} reference={want}")
        if len(self._wrong) < 1 << 18:
            self._wrong.append((cluster, want))
        else:
            self.rebuild = True

    def copied_flags(self) -> None:
        """A cluster with one counted reference has the flag, others have not (in the active tables)."""
        h, image = self.h, self.image
        if not self._blocks_ok:
            return
        bits, size = h.cluster_bits, h.cluster_size
        step = 2 if h.extended_l2 else 1
        count = image.refcounts.get
        seen: set[int] = set()
        for index, l1_entry in enumerate(image.l1):
            at = l1_entry & OFFSET
            if not at or at & (size - 1) or at + size > self.file_size:
                continue
            if (count(at >> bits) == 1) != bool(l1_entry & COPIED):
                self.error(f"OFLAG_COPIED L2 cluster: l1_index={index} l1_entry={l1_entry:x} refcount={count(at >> bits)}")
            if at in seen:
                continue
            seen.add(at)
            for entry in unpack64(image.file.get(at, size))[::step]:
                if entry & COMPRESSED or not entry & OFFSET or entry & OFFSET & (size - 1):
                    continue
                if (count((entry & OFFSET) >> bits) == 1) != bool(entry & COPIED):
                    self.error(f"OFLAG_COPIED data cluster: l2_entry={entry:x} refcount={count((entry & OFFSET) >> bits)}")

    # -- repairing --------------------------------------------------------------------------------------------

    def repair(self) -> None:
        result, image = self.result, self.image
        if result.corruptions and self.fix != "all":
            return
        if not (result.corruptions or result.leaks):
            self._clear_bits()
            return
        if self.rebuild:
            rebuild(image, self.counts)
        else:
            with image.lock:
                for cluster, want in self._wrong:
                    image.refcounts.set(cluster, min(want, image.refcounts.most))
        if self.fix == "all":
            fix_copied(image)
        image.flush_all()
        after = Checker(image, "", lambda text: None, lambda part: None).run()
        result.corruptions_fixed = max(0, result.corruptions - after.corruptions)
        result.leaks_fixed = max(0, result.leaks - after.leaks)
        result.corruptions, result.leaks = after.corruptions, after.leaks
        result.image_end_offset = after.image_end_offset
        self._clear_bits()

    def _clear_bits(self) -> None:
        if self.result.corruptions or self.fix != "all":
            return
        self.image.mark_clean()
        if self.h.incompatible & hdr.CORRUPT:
            self.image._set_incompatible(hdr.CORRUPT, False)


def rebuild(image: Qcow2Node, counts: Counts) -> None:
    """Forget the refcount table and its blocks; write new ones behind everything that is in use."""
    h = image.header
    old = image.refcounts
    bits, size = h.cluster_bits, h.cluster_size
    for first, number in [(h.reftable_offset >> bits, h.reftable_clusters), *((o >> bits, 1) for o in old.table if o)]:
        for cluster in range(first, first + number):
            if have := counts.get(cluster):
                counts.set(cluster, have - 1)
    entries = old.entries
    start = -(-image.file.size // size)
    needed: set[int] = set()
    for cluster, _ in counts.used():
        start = max(start, cluster + 1)
        needed.add(cluster // entries)
    tables = 1
    while True:
        total = tables + len(needed)
        more = {cluster // entries for cluster in range(start, start + total)} | needed
        want_tables = -(-(max(more) + 1) * 8 // size)
        if more == needed and want_tables <= tables:
            break
        needed, tables = more, max(tables, want_tables)
    if tables * size > hdr.MAX_REFTABLE_BYTES:
        raise BlockError("the references are too far apart to rebuild the reference counts")
    for cluster in range(start, start + tables + len(needed)):
        counts.set(cluster, 1)
    table = array("Q", bytes(tables * size))
    image.file.truncate(max(image.file.size, (start + tables + len(needed)) * size))
    for index, number in enumerate(sorted(needed)):
        table[number] = (start + tables + index) * size
        block = array(TYPECODES[h.refcount_order], bytes(entries << max(0, h.refcount_order - 3)))
        for first in range(number * entries // CHUNK, -(-(number + 1) * entries // CHUNK)):
            for cluster, count in enumerate(counts.chunks.get(first, ()), first * CHUNK):
                if count and cluster // entries == number:
                    block[cluster % entries] = min(count, old.most)
        image.file.put(table[number], pack_counts(block, h.refcount_order))
    image.file.put(start * size, pack64(table))
    image.file.flush()
    h.reftable_offset, h.reftable_clusters = start * size, tables
    image.file.put(48, struct.pack(">QI", h.reftable_offset, h.reftable_clusters))
    image.file.flush()
    with image.lock:
        image.file_end = image.file.size
        old.table, old.table_offset = table, start * size
        old.dirty_entries.clear()
        old.moved = False
        old.cache.clear()
        old.hint = 0


def check(image: Qcow2Node, fix: str = "", say: Callable[[str], object] = lambda text: None,
          progress: Callable[[float], object] = lambda part: None) -> CheckResult:  # fmt: skip
    """Check an open image that nobody writes. `fix`: "", "leaks" or "all"; `say` gets a line for each finding."""
    return Checker(image, fix, say, progress).run()
