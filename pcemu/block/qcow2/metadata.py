"""Where everything is: the tables of an open image in memory, looked up, changed, and written in the right order.

`lock` guards all of it. A cluster that is given up (`free_later`) keeps its reference until the metadata that no longer
mentions it is on disk and no request that may still use it is in flight.
"""

from __future__ import annotations

import errno
import struct
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator

from ..errors import BlockError
from ..node import Node
from . import header as hdr
from .cache import Table, TableCache, pack64, unpack64
from .compress import check_available
from .entry import (
    COMPRESSED,
    COPIED,
    OFFSET,
    SUBCLUSTERS,
    ZERO,
    Kind,
    compressed_area,
    invalid_bitmap,
    subcluster_kind,
)
from .header import Header, read_header
from .refcount import Refcounts

L2_CACHE = 32 << 20  # bytes of L2 tables in memory
REFCOUNT_CACHE = 16 << 20
MOST_FREES = 4096  # given-up clusters that may wait for a flush

# The piece of a request that is in one place: (kind, bytes, offset in the file or L2 entry).
Piece = tuple[Kind, int, int]


class Metadata(Node):
    """The part of an open image that knows where everything is."""

    def __init__(self, file: Node, backing: Node | None = None, *, read_only: bool = False, node_name: str = "",
                 lazy_refcounts: bool | None = None, l2_cache: int = L2_CACHE, refcount_cache: int = REFCOUNT_CACHE,
                 header: Header | None = None, repair: bool = True, unmap: bool = False) -> None:  # fmt: skip
        super().__init__(node_name, read_only or file.read_only)
        self.file: Node = file
        self.backing = backing
        self.filename = file.filename
        self.unmap = unmap
        self.writes_in_turn = file.writes_in_turn and backing is None  # what is read from there may take its time
        self.header = h = header or read_header(file)
        self.size = h.size
        self.cluster_size = h.cluster_size
        self._bits = h.cluster_bits
        self._mask = h.cluster_size - 1
        self._extended = h.extended_l2
        self._unit = h.cluster_size // SUBCLUSTERS if h.extended_l2 else h.cluster_size
        self._l2_bits = h.l2_entries.bit_length() - 1
        self.max_offset = 1 << min(62 - (h.cluster_bits - 8), 56)  # compressed entries hold no more
        self.mutex = threading.Lock()
        self.lock = threading.Condition(self.mutex)  # the same, for who waits or tells; entering and leaving it takes longer
        self._flushing = threading.Lock()
        self._flushes_started = self._flushes_done = 0
        self._busy: set[int] = set()  # disk clusters that are being allocated
        self._requests: dict[int, int] = {}  # requests that use file offsets: thread -> number
        self._request_number = 0
        self._frees: list[tuple[int, int, int]] = []  # (request number, offset, clusters)
        self._unpacked: OrderedDict[int, bytes] = OrderedDict()
        self.broken = False  # found corrupt while it was written
        self._holes: bool | None = None
        self._pack_at = 0  # where the next compressed cluster may begin, 0: in a new cluster
        self.file_end = file.size
        if not self.read_only and h.incompatible & hdr.CORRUPT and repair:
            raise BlockError(f"'{self.filename}': qcow2: Image is corrupt; cannot be opened read/write")
        if h.compression:
            check_available(h.compression)
        self.l1 = unpack64(file.get(h.l1_offset, h.l1_size * 8)) if h.l1_size else array("Q")
        self._dirty_l1: set[int] = set()
        self.l2_cache = TableCache(l2_cache // h.cluster_size)
        self.refcounts = Refcounts(self, refcount_cache)
        self.lazy = bool(h.compatible & hdr.LAZY_REFCOUNTS) if lazy_refcounts is None else lazy_refcounts
        if self.lazy and h.version < 3:
            raise BlockError("Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level")
        if not self.read_only:
            self._become_writer(repair)

    def _become_writer(self, repair: bool) -> None:
        """Before anything is written: repair, give up what we do not keep."""
        raise NotImplementedError

    # -- what is wrong ----------------------------------------------------------------------------------------

    def corrupt(self, text: str) -> None:
        """The image contradicts itself: mark it, so that nobody writes it before it is repaired. Raises."""
        if not self.read_only and not self.header.incompatible & hdr.CORRUPT:
            self.read_only = self.broken = True
            if self.header.version >= 3:
                self._set_incompatible(hdr.CORRUPT, True)
        raise OSError(errno.EIO, f"'{self.filename}': qcow2: Image is corrupt: {text}")

    def _set_incompatible(self, bit: int, on: bool) -> None:
        h = self.header
        h.incompatible = h.incompatible | bit if on else h.incompatible & ~bit
        self.file.put(72, struct.pack(">Q", h.incompatible))
        self.file.flush()

    def mark_dirty(self) -> None:
        """Reference counts in the file are not right from now on (version 3)."""
        if self.header.version >= 3 and not self.header.incompatible & hdr.DIRTY:
            self._set_incompatible(hdr.DIRTY, True)

    def mark_clean(self) -> None:
        if self.header.incompatible & hdr.DIRTY:
            self._set_incompatible(hdr.DIRTY, False)

    # -- tables -----------------------------------------------------------------------------------------------

    def _l2(self, l1_index: int) -> Table | None:
        """The L2 table under an L1 entry, None if there is none."""
        if l1_index >= len(self.l1):
            return None
        offset = self.l1[l1_index] & OFFSET
        if not offset:
            return None
        table = self.l2_cache.get(offset)
        if table is None:
            if offset & self._mask:
                self.corrupt(f"L2 table offset {offset:#x} unaligned (L1 index: {l1_index:#x})")
            table = Table(offset, unpack64(self.file.get(offset, self.cluster_size)))
            self.l2_cache.add(table)
        return table

    def _l2_for_write(self, l1_index: int) -> Table:
        """The same, made or copied if need be, so that it may be changed."""
        entry = self.l1[l1_index]
        table = self._l2(l1_index)
        if table is not None and entry & COPIED:
            return table
        offset = self.refcounts.alloc(1)
        data = array("Q", bytes(self.cluster_size)) if table is None else table.data[:]
        fresh = Table(offset, data)
        fresh.new = True
        fresh.touch(0, len(data) - 1)
        self.l2_cache.drop(offset)
        self.l2_cache.add(fresh)
        if table is not None:
            self.free_later(entry & OFFSET, 1)
        self.l1[l1_index] = offset | COPIED
        self._dirty_l1.add(l1_index)
        return fresh

    def l2_entry(self, cluster: int) -> tuple[int, int]:
        """L2 entry and subcluster bitmap (0 without subclusters) of a cluster of the disk."""
        table = self._l2(cluster >> self._l2_bits)
        if table is None:
            return 0, 0
        index = cluster & ((1 << self._l2_bits) - 1)
        if self._extended:
            return table.data[2 * index], table.data[2 * index + 1]
        return table.data[index], 0

    def _entries(self, first: int, last: int) -> array[int]:
        """L2 entries of the clusters `first` to `last`, which one table covers."""
        table = self._l2(first >> self._l2_bits)
        assert table is not None
        index = first & ((1 << self._l2_bits) - 1)
        end = index + last - first + 1
        return table.data[2 * index : 2 * end : 2] if self._extended else table.data[index:end]

    def set_l2_entry(self, cluster: int, entry: int, bitmap: int = 0) -> None:
        table = self._l2_for_write(cluster >> self._l2_bits)
        index = cluster & ((1 << self._l2_bits) - 1)
        if self._extended:
            table.data[2 * index] = entry
            table.data[2 * index + 1] = bitmap
            table.touch(2 * index, 2 * index + 1)
        else:
            table.data[index] = entry
            table.touch(index, index)

    def _kind(self, cluster: int, entry: int, bitmap: int, index: int) -> Kind:
        """Of a cluster, or its subcluster `index`."""
        if entry & COMPRESSED:
            return Kind.COMPRESSED
        if self._extended:
            if invalid_bitmap(entry, bitmap):
                self.corrupt(f"Invalid subcluster bitmap {bitmap:#x} (cluster {cluster:#x})")
            kind = subcluster_kind(entry, bitmap, index)
        elif entry & ZERO:
            if self.header.version < 3:
                self.corrupt(f"Zero cluster entry found in pre-v3 image (cluster {cluster:#x})")
            kind = Kind.ZERO
        else:
            kind = Kind.DATA if entry & OFFSET else Kind.UNALLOCATED
        if entry & OFFSET & self._mask:
            self.corrupt(f"Cluster allocation offset {entry & OFFSET:#x} unaligned (cluster {cluster:#x})")
        return kind

    def _find(self, offset: int, length: int) -> Piece:
        """What is at `offset` of the disk, and how far it goes on like that (within one L2 table)."""
        cluster = offset >> self._bits
        table = self._l2(cluster >> self._l2_bits)
        left = (((cluster >> self._l2_bits) + 1) << (self._l2_bits + self._bits)) - offset
        if table is None:
            index = (cluster >> self._l2_bits) + 1  # over all that are not there
            while left < length and index < len(self.l1) and not self.l1[index] & OFFSET:
                index += 1
                left += 1 << (self._l2_bits + self._bits)
            return Kind.UNALLOCATED, min(length, left), 0
        length = min(length, left)
        within = offset & self._mask
        if self._extended:
            return self._find_subclusters(cluster, within, length)
        data = table.data
        index = cluster & ((1 << self._l2_bits) - 1)
        entry = data[index]
        kind = self._kind(cluster, entry, 0, 0)
        run = self.cluster_size - within
        if kind is Kind.COMPRESSED:
            return kind, min(length, run), entry
        at = entry & OFFSET
        count = (within + length - 1 >> self._bits) + 1
        if kind is Kind.DATA and data[index : index + count] == self._consecutive(entry, count):
            return kind, length, at + within
        want = entry
        step = self.cluster_size if kind is Kind.DATA else 0
        while run < length:
            index += 1
            cluster += 1
            entry = data[index]
            want += step
            if entry != want:
                if entry & COMPRESSED or self._kind(cluster, entry, 0, 0) is not kind:
                    break
                if step and (entry ^ want) & OFFSET:
                    break
                want = entry
            run += self.cluster_size
        return kind, min(run, length), at + within if kind is Kind.DATA else 0

    def _consecutive(self, entry: int, count: int) -> array[int]:
        """L2 entries for `count` clusters that follow each other in the file too."""
        return array("Q", range(entry, entry + (count << self._bits), self.cluster_size))

    def _find_subclusters(self, cluster: int, within: int, length: int) -> Piece:
        run = 0
        first: Kind | None = None
        at = 0
        while run < length:
            entry, bitmap = self.l2_entry(cluster)
            if entry & COMPRESSED:
                if first is None:
                    return Kind.COMPRESSED, min(length, self.cluster_size - within), entry
                break
            host = entry & OFFSET
            while within < self.cluster_size and run < length:
                kind = self._kind(cluster, entry, bitmap, within // self._unit)
                if first is None:
                    first, at = kind, host + within
                elif kind is not first or (kind is Kind.DATA and host + within != at + run):
                    return first, min(run, length), at if first is Kind.DATA else 0
                step = self._unit - within % self._unit
                run += step
                within += step
            cluster += 1
            within = 0
        assert first is not None
        return first, min(run, length), at if first is Kind.DATA else 0

    # -- clusters of the file -------------------------------------------------------------------------------------

    def claim(self, clusters: int) -> None:
        """The file must reach over its first `clusters` clusters: what is handed out lies inside it. New space is zero."""
        end = clusters << self._bits
        if end > self.file_end:
            self.file.truncate(end)
            self.file_end = end

    def _crowded(self) -> bool:
        """Is it time to write tables, though nobody asked?"""
        with self.mutex:
            return len(self._frees) > MOST_FREES or self.l2_cache.crowded or self.refcounts.cache.crowded

    def check_overlap(self, at: int, length: int) -> None:
        """Data of the guest must not go over metadata, whatever the image says. Looks at the tables in memory."""
        h, counts = self.header, self.refcounts
        clusters = range(at & ~self._mask, at + length, self.cluster_size)
        first, end = clusters.start, clusters[-1] + self.cluster_size
        if (
            first == 0
            or not self.l2_cache.tables.keys().isdisjoint(clusters)
            or not counts.cache.tables.keys().isdisjoint(clusters)
            or (first < h.l1_offset + h.l1_size * 8 and h.l1_offset < end)
            or (first < counts.table_offset + len(counts.table) * 8 and counts.table_offset < end)
            or (h.snapshot_count and h.snapshot_offset in clusters)
        ):
            self.corrupt(f"clusters that are to be written overlap with metadata between {first:#x} and {end:#x}")

    def _give_up(self, entry: int) -> None:
        """An L2 entry is gone: what it pointed to has a reference less."""
        if entry & COMPRESSED:
            at, length = compressed_area(entry, self._bits)
            first = at & ~self._mask
            self.free_later(first, ((at + length - 1) >> self._bits) - (first >> self._bits) + 1)
        elif entry & OFFSET:
            self.free_later(entry & OFFSET, 1)

    def free_later(self, offset: int, clusters: int) -> None:
        """Drop a reference once that is safe."""
        self._frees.append((self._request_number, offset, clusters))

    # -- flush ------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Make everything written so far stable, in an order that is right at every moment:

        1. data, refcounts, L2 tables that nothing points to yet      - sync -
        2. the refcount table, then the header if that table moved    - sync -
        3. L2 entries and L1 entries                                  - sync -
        4. in memory: references that are gone. They are written with the next flush; until then clusters are leaked.
        """
        with self.lock:
            self._flushes_started += 1
            ticket = self._flushes_started
        with self._flushing:
            if self._flushes_done >= ticket:
                return  # one that began after us has done it
            with self.lock:
                covers = self._flushes_started
            self._flush()
            self._flushes_done = covers

    def _flush(self, everything: bool = False) -> None:
        if self.broken:
            raise OSError(errno.EIO, f"'{self.filename}': qcow2: Image is corrupt, nothing is written any more")
        if self.read_only:
            return
        with self.lock:
            lazy = self.lazy and not everything
            l2 = self._take_l2()
            l1 = {index: self.l1[index] for index in self._dirty_l1}
            self._dirty_l1.clear()
            if lazy and (l2 or l1):
                self.mark_dirty()
            counts = [] if lazy and not self.refcounts.cache.crowded else self.refcounts.take_dirty()
            entries = {} if lazy and not counts else {i: self.refcounts.table[i] for i in self.refcounts.dirty_entries}
            moved = self.refcounts.moved and not (lazy and not counts)
            if entries or moved:
                self.refcounts.dirty_entries.clear()
                self.refcounts.moved = False
            table = pack64(self.refcounts.table) if moved else b""
            table_at = self.refcounts.table_offset
            frees, self._frees = self._frees, []
        try:
            self._write_stages(counts, entries, table, table_at, l2, l1)
        except BaseException:
            with self.lock:  # it is still to be written
                for _, _, counted in counts:
                    counted.touch(0, len(counted.data) - 1)
                for changed, _, _ in l2:
                    changed.touch(0, len(changed.data) - 1)
                self._dirty_l1.update(l1)
                self.refcounts.dirty_entries.update(entries)
                self.refcounts.moved = self.refcounts.moved or moved
                self._frees = frees + self._frees
            raise
        finally:
            with self.lock:
                for _, _, counted in counts:
                    counted.writing -= 1
                for changed, _, _ in l2:
                    changed.writing -= 1
        for changed, _, _ in l2:
            changed.new = False
        self._apply_frees(frees)

    def _take_l2(self) -> list[tuple[Table, int, bytes]]:
        found = []
        for table in self.l2_cache.dirty():
            low, high = (0, len(table.data)) if table.new else (table.low, table.high)
            found.append((table, low, pack64(table.data[low:high])))
            table.low = table.high = 0
            table.writing += 1
        return found

    def _write_stages(self, counts: list[tuple[int, bytes, Table]], entries: dict[int, int], table: bytes, table_at: int,
                      l2: list[tuple[Table, int, bytes]], l1: dict[int, int]) -> None:  # fmt: skip
        file = self.file
        for at, data, _ in counts:
            file.put(at, data)
        for changed, _, data in l2:
            if changed.new:
                file.put(changed.offset, data)
        if entries or table:
            file.flush()
            if table:
                file.put(table_at, table)
                file.flush()
                h = self.header
                h.reftable_offset, h.reftable_clusters = table_at, len(table) >> self._bits
                file.put(48, struct.pack(">QI", h.reftable_offset, h.reftable_clusters))
            else:
                for first, numbers in _runs(entries):
                    file.put(table_at + first * 8, pack64(numbers))
            file.flush()
        elif l2 or l1:
            file.flush()
        for changed, low, data in l2:
            if not changed.new:
                file.put(changed.offset + low * 8, data)
        for first, numbers in _runs(l1):
            file.put(self.header.l1_offset + first * 8, pack64(numbers))
        file.flush()

    def _apply_frees(self, frees: list[tuple[int, int, int]]) -> None:
        """Nothing on disk mentions them any more: give the clusters back, unless a request may still use them."""
        if not frees:
            return
        with self.lock:
            oldest = min(self._requests.values(), default=self._request_number + 1)
            ready = [(at, clusters) for number, at, clusters in frees if number < oldest]
            self._frees += [free for free in frees if free[0] >= oldest]
            self._unpacked.clear()
            punch = []
            for at, clusters in ready:
                first = at >> self._bits
                for cluster in range(first, first + clusters):
                    if self.unmap and self.refcounts.get(cluster) == 1:
                        punch.append(cluster << self._bits)
                    else:
                        self._drop_reference(cluster)
        for at in punch:  # before anybody can have it again
            self.file.discard(at, self.cluster_size)
        with self.lock:
            for at in punch:
                self._drop_reference(at >> self._bits)

    def _drop_reference(self, cluster: int) -> None:
        self.refcounts.change(cluster, 1, -1)
        offset = cluster << self._bits
        if self.refcounts.get(cluster) == 0:
            self.l2_cache.drop(offset)
            self.refcounts.cache.drop(offset)

    def flush_all(self) -> None:
        """Flush, with given-up clusters and lazy refcounts: the image is as if nobody had it open."""
        with self._flushing:
            self._flush(everything=True)
            while self._frees:
                before = len(self._frees)
                self._flush(everything=True)
                if len(self._frees) >= before:
                    break
            self._flush(everything=True)

    def _close(self) -> None:
        if self.read_only:
            return
        self.flush_all()
        self.mark_clean()


def _runs(entries: dict[int, int]) -> Iterator[tuple[int, array[int]]]:
    """Entries by index -> those that follow each other: first index, entries."""
    numbers = array("Q")
    first = -1
    for index in sorted(entries):
        if index != first + len(numbers):
            if numbers:
                yield first, numbers
            first, numbers = index, array("Q")
        numbers.append(entries[index])
    if numbers:
        yield first, numbers
