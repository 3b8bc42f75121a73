"""The qcow2 node: the map from disk to file in memory, reads and writes on any number of threads, and flush.

`lock` guards all metadata in memory and is held for lookups and updates only; data is read and written without it.
A cluster that is being allocated is in `_busy` until its data is in the file and its L2 entry is set; writers of the
same cluster wait. A cluster that is given up (`free_later`) keeps its reference until the metadata that no longer
mentions it is on disk and no request that may still use it is in flight.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from .. import iov
from ..errors import BlockError
from ..iov import Views
from ..node import Extent, Node, Status
from . import header as hdr
from .cache import Table, TableCache, pack64, unpack64
from .compress import check_available, compress, decompress
from .entry import (
    ALL_ALLOCATED,
    COMPRESSED,
    COPIED,
    OFFSET,
    SUBCLUSTERS,
    ZERO,
    Kind,
    compressed_area,
    compressed_entry,
    invalid_bitmap,
    subcluster_kind,
)
from .header import Header, read_header
from .refcount import Refcounts

L2_CACHE = 32 << 20  # bytes of L2 tables in memory
REFCOUNT_CACHE = 16 << 20
UNPACKED = 8  # decompressed clusters in memory
MOST_FREES = 4096  # given-up clusters that may wait for a flush
RUN = 2 << 20  # bytes that are allocated at a time

# The piece of a request that is in one place: (kind, bytes, offset in the file or L2 entry).
Piece = tuple[Kind, int, int]


class Qcow2Node(Node):
    """An open image. `backing` is opened by the caller and handed over."""

    driver = "qcow2"
    can_fast_zero = True
    supports_backing = True

    def __init__(self, file: Node, backing: Node | None = None, *, read_only: bool = False, node_name: str = "",
                 lazy_refcounts: bool | None = None, l2_cache: int = L2_CACHE, refcount_cache: int = REFCOUNT_CACHE,
                 header: Header | None = None, repair: bool = True, unmap: bool = False) -> None:  # fmt: skip
        super().__init__(node_name, read_only or file.read_only)
        self.file: Node = file
        self.backing = backing
        self.filename = file.filename
        self.unmap = unmap
        self.header = h = header or read_header(file)
        self.size = h.size
        self.cluster_size = h.cluster_size
        self._bits = h.cluster_bits
        self._mask = h.cluster_size - 1
        self._extended = h.extended_l2
        self._unit = h.cluster_size // SUBCLUSTERS if h.extended_l2 else h.cluster_size
        self._l2_bits = h.l2_entries.bit_length() - 1
        self.max_offset = 1 << min(62 - (h.cluster_bits - 8), 56)  # compressed entries hold no more
        self.lock = threading.Condition(threading.Lock())
        self._flushing = threading.Lock()
        self._flushes_started = self._flushes_done = 0
        self._busy: set[int] = set()  # disk clusters that are being allocated
        self._requests: dict[int, int] = {}  # requests that use file offsets: thread -> number
        self._request_number = 0
        self._frees: list[tuple[int, int, int]] = []  # (request number, offset, clusters)
        self._unpacked: OrderedDict[int, bytes] = OrderedDict()
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
        h = self.header
        if h.incompatible & hdr.DIRTY and repair:
            from .check import check

            result = check(self, fix="all")
            if result.corruptions or result.check_errors:
                raise BlockError(f"'{self.filename}': Could not repair dirty image")
        if h.autoclear:  # features that we do not keep up: their data is stale from now on
            h.autoclear = 0
            self.file.put(88, struct.pack(">Q", 0))
            self.file.flush()

    # -- what is wrong ----------------------------------------------------------------------------------------

    def corrupt(self, text: str) -> None:
        """The image contradicts itself: mark it, so that nobody writes it before it is repaired. Raises."""
        if not self.read_only and not self.header.incompatible & hdr.CORRUPT:
            self.read_only = True
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

    # -- reading ----------------------------------------------------------------------------------------------

    @contextmanager
    def _request(self) -> Iterator[None]:
        """Offsets that are looked up inside stay what they are until it ends."""
        me = threading.get_ident()
        with self.lock:
            self._request_number += 1
            nested = me in self._requests
            if not nested:
                self._requests[me] = self._request_number
        try:
            yield
        finally:
            if not nested:
                with self.lock:
                    del self._requests[me]

    def pread(self, offset: int, views: Views) -> None:
        with self._request():
            self._read(offset, views)

    def _read(self, offset: int, views: Views) -> None:
        total = iov.total(views)
        done = 0
        while done < total:
            with self.lock:
                kind, length, at = self._find(offset + done, total - done)
            part = views if length == total else iov.cut(views, done, length)
            self._read_piece(kind, at, offset + done, part, length)
            done += length

    def _read_piece(self, kind: Kind, at: int, offset: int, views: Views, length: int) -> None:
        if kind is Kind.DATA:
            self.file.pread(at, views)
        elif kind is Kind.COMPRESSED:
            within = offset & self._mask
            iov.fill(views, memoryview(self._unpack(at))[within : within + length])
        elif kind is Kind.UNALLOCATED and self.backing is not None:
            self._read_backing(offset, views, length)
        else:
            iov.clear(views)

    def _read_backing(self, offset: int, views: Views, length: int) -> None:
        """A backing file may be shorter: zeroes beyond its end."""
        assert self.backing is not None
        there = max(0, min(length, self.backing.size - offset))
        if there:
            self.backing.pread(offset, views if there == length else iov.cut(views, 0, there))
        if there < length:
            iov.clear(iov.cut(views, there, length - there))

    def _unpack(self, entry: int) -> bytes:
        """The contents of a compressed cluster."""
        cached = self._unpacked.get(entry)
        if cached is not None:
            return cached
        at, length = compressed_area(entry, self._bits)
        data = decompress(self.header.compression, self.file.get(at, length), self.cluster_size)
        with self.lock:
            self._unpacked[entry] = data
            if len(self._unpacked) > UNPACKED:
                self._unpacked.popitem(last=False)
        return data

    def try_pread(self, offset: int, views: Views) -> bool:
        if not self.lock.acquire(blocking=False):
            return False
        try:
            total = iov.total(views)
            done = 0
            while done < total:
                l1_index = (offset + done) >> (self._bits + self._l2_bits)
                if l1_index < len(self.l1) and (table := self.l1[l1_index] & OFFSET) and table not in self.l2_cache.tables:
                    return False
                kind, length, at = self._find(offset + done, total - done)
                part = views if length == total else iov.cut(views, done, length)
                if kind is Kind.DATA:
                    if not self.file.try_pread(at, part):
                        return False
                elif kind is Kind.COMPRESSED:
                    data = self._unpacked.get(at)
                    if data is None:
                        return False
                    within = (offset + done) & self._mask
                    iov.fill(part, memoryview(data)[within : within + length])
                elif kind is Kind.UNALLOCATED and self.backing is not None:
                    if offset + done + length > self.backing.size or not self.backing.try_pread(offset + done, part):
                        return False
                else:
                    iov.clear(part)
                done += length
            return True
        finally:
            self.lock.release()

    # -- writing ----------------------------------------------------------------------------------------------

    def claim(self, clusters: int) -> None:
        """The file must reach over its first `clusters` clusters: what is handed out lies inside it. New space is zero."""
        end = clusters << self._bits
        if end > self.file_end:
            self.file.truncate(end)
            self.file_end = end

    def pwrite(self, offset: int, views: Views, fua: bool = False) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, f"'{self.filename}': {os.strerror(errno.EROFS)}")
        total = iov.total(views)
        done = 0
        with self._request():
            while done < total:
                done += self._write_some(offset + done, iov.cut(views, done, total - done) if done else views, total - done)
        if fua or self._crowded():
            self.flush()

    def _crowded(self) -> bool:
        """Is it time to write tables, though nobody asked?"""
        with self.lock:
            return len(self._frees) > MOST_FREES or self.l2_cache.crowded or self.refcounts.cache.crowded

    def write_compressed(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """A whole cluster (the last may be shorter), compressed if that makes it smaller. For one thread, on a new image."""
        whole = bytes(data).ljust(self.cluster_size, b"\0")
        packed = compress(self.header.compression, whole)
        cluster = offset >> self._bits
        if packed is None or self.l2_entry(cluster)[0]:
            self.pwrite(offset, [memoryview(data)])
            return
        with self.lock:
            at = self._pack(len(packed))
            self.set_l2_entry(cluster, compressed_entry(at, len(packed), self._bits))
        self.file.put(at, packed)
        if self._crowded():
            self.flush()

    def _pack(self, length: int) -> int:
        """Room for compressed data, in one or two clusters that others may share."""
        at = self._pack_at
        first = at >> self._bits
        left = -at & self._mask
        shared = at and self.refcounts.get(first) < self.refcounts.most
        if not shared or length > left:
            fresh = self.refcounts.alloc(1)
            if shared and fresh == (first + 1) << self._bits:
                self.refcounts.change(first, 1, 1)  # over the border
            else:
                at = fresh
        else:
            self.refcounts.change(first, 1, 1)
        self._pack_at = at + length if (at + length) & self._mask else 0
        return at

    def _write_some(self, offset: int, views: Views, length: int) -> int:
        """Write the first part of a request; returns how much."""
        cluster = offset >> self._bits
        with self.lock:
            while cluster in self._busy:
                self.lock.wait()
            last = (offset + length - 1) >> self._bits
            in_place, length, at = self._writable(offset, length)
            if in_place:
                for other in range(cluster + 1, ((offset + length - 1) >> self._bits) + 1):
                    if other in self._busy:
                        length = (other << self._bits) - offset
                        break
                self.check_overlap(at, length)
            else:
                plan = self._plan(offset, length, last)
                self._busy.update(plan.clusters)
                length = plan.length
        if in_place:
            self.file.pwrite(at, views if length == iov.total(views) else iov.cut(views, 0, length))
            return length
        try:
            self._fill(plan, offset, iov.cut(views, 0, length))
            with self.lock:
                self._link(plan)
        except BaseException:
            with self.lock:
                if not plan.reused:
                    # Nothing points to it. The reference goes at the next flush.
                    self.free_later(plan.host, len(plan.clusters))
            raise
        finally:
            with self.lock:
                self._busy.difference_update(plan.clusters)
                self.lock.notify_all()
        return length

    def _writable(self, offset: int, length: int) -> tuple[bool, int, int]:
        """May `offset` be written where it is? How far, and where."""
        kind, run, at = self._find(offset, length)
        if kind is not Kind.DATA:
            return False, length, 0
        first = offset >> self._bits
        for cluster in range(first, ((offset + run - 1) >> self._bits) + 1):
            if not self.l2_entry(cluster)[0] & COPIED:
                if cluster == first:
                    return False, length, 0
                return True, (cluster << self._bits) - offset, at
        return True, run, at

    def check_overlap(self, at: int, length: int) -> None:
        """Data of the guest must not go over metadata, whatever the image says. Looks at the tables in memory."""
        h = self.header
        for cluster in range(at & ~self._mask, at + length, self.cluster_size):
            if (
                cluster == 0
                or cluster in self.l2_cache.tables
                or cluster in self.refcounts.cache.tables
                or h.l1_offset <= cluster < h.l1_offset + h.l1_size * 8
                or self.refcounts.table_offset <= cluster < self.refcounts.table_offset + len(self.refcounts.table) * 8
                or (h.snapshot_count and cluster == h.snapshot_offset)
            ):
                self.corrupt(f"a cluster that is to be written overlaps with metadata at {cluster:#x}")

    def _plan(self, offset: int, length: int, last: int) -> Plan:
        """Choose clusters for the first part of a write that needs new ones."""
        cluster = offset >> self._bits
        entry, bitmap = self.l2_entry(cluster)
        unit = self._unit
        start, end = offset & self._mask, min((offset & self._mask) + length, self.cluster_size)
        plan = Plan()
        owned = bool(entry & COPIED) and not entry & COMPRESSED and bool(entry & OFFSET)
        if owned or self._extended:
            # One cluster. Its own place if it has one (zeroes with a place, or subclusters that are not there yet).
            plan.clusters = range(cluster, cluster + 1)
            low, high = start // unit * unit, -(-end // unit) * unit
            if owned:
                plan.host, plan.reused = entry & OFFSET, True
                self.check_overlap(plan.host, self.cluster_size)
            else:
                if entry & (OFFSET | COMPRESSED):  # data elsewhere moves here
                    low, high = 0, self.cluster_size
                fresh_from = self.file_end
                plan.host = self.refcounts.alloc(1)
                plan.fresh = plan.host >= fresh_from
            plan.length = end - start
            plan.old = [(entry, bitmap)]
        else:
            # Whole clusters: as many that are not ours as follow each other.
            limit = min(last, cluster + max(1, RUN >> self._bits) - 1, cluster | ((1 << self._l2_bits) - 1))
            plan.old = [(entry, 0)]
            count = 1
            while cluster + count <= limit and (cluster + count) not in self._busy:
                entry = self.l2_entry(cluster + count)[0]
                if entry & COPIED and not entry & COMPRESSED:
                    break
                plan.old.append((entry, 0))
                count += 1
            fresh_from = self.file_end
            plan.host = self.refcounts.alloc(count)
            plan.fresh = plan.host >= fresh_from
            plan.clusters = range(cluster, cluster + count)
            plan.length = min(length, ((cluster + count) << self._bits) - offset)
            low, high = 0, count << self._bits
        plan.low, plan.high = low, high
        base = cluster << self._bits
        plan.head = self._pieces(base + low, start - low)
        plan.tail = self._pieces(base + start + plan.length, high - start - plan.length)
        return plan

    def _pieces(self, offset: int, length: int) -> list[Piece]:
        """What is there now, to be copied around a partial write; empty if it is nothing but zeroes."""
        pieces = []
        at, left = offset, length
        while left > 0:
            piece = self._find(at, left)
            pieces.append(piece)
            at += piece[1]
            left -= piece[1]
        if all(kind is Kind.ZERO or (kind is Kind.UNALLOCATED and self.backing is None) for kind, _, _ in pieces):
            return []
        return pieces

    def _fill(self, plan: Plan, offset: int, views: list[memoryview]) -> None:
        """Data, and around it what was there before, into the new clusters."""
        start = offset & self._mask
        head_size, tail_size = start - plan.low, plan.high - start - plan.length
        at = plan.host + plan.low
        out = views
        if head_size:
            if plan.head:
                out = [memoryview(self._gather(plan.head, offset - head_size)), *out]
            elif plan.fresh:
                at += head_size  # zero already
            else:
                out = [*iov.zero_views(head_size), *out]
        if tail_size:
            if plan.tail:
                out = [*out, memoryview(self._gather(plan.tail, offset + plan.length))]
            elif not plan.fresh:
                out = [*out, *iov.zero_views(tail_size)]
        self.file.pwrite(at, out)

    def _gather(self, pieces: list[Piece], offset: int) -> bytearray:
        data = bytearray(sum(length for _, length, _ in pieces))
        view = memoryview(data)
        done = 0
        for kind, length, at in pieces:
            self._read_piece(kind, at, offset + done, [view[done : done + length]], length)
            done += length
        return data

    def _link(self, plan: Plan) -> None:
        """The data is in the file: let the L2 table say so."""
        for index, (cluster, (entry, bitmap)) in enumerate(zip(plan.clusters, plan.old, strict=True)):
            host = plan.host + (index << self._bits)
            if self._extended:
                touched = self._bitmap(plan.low, plan.high)
                zeroes = bitmap >> 32 & ~touched if not entry & COMPRESSED else 0
                have = bitmap & ALL_ALLOCATED if plan.reused else 0
                self.set_l2_entry(cluster, host | COPIED, have | touched | zeroes << 32)
            else:
                self.set_l2_entry(cluster, host | COPIED)
            if not plan.reused:
                self._give_up(entry)

    def _bitmap(self, low: int, high: int) -> int:
        """Bits of the subclusters from byte `low` to `high` of a cluster."""
        first, end = low // self._unit, -(-high // self._unit)
        return ((1 << end) - 1) & ~((1 << first) - 1)

    def link_preallocated(self, cluster: int, host: int) -> None:
        """A place for a cluster whose contents are zeroes, or with a backing file what they were: subclusters say so."""
        self.set_l2_entry(cluster, host | COPIED, ALL_ALLOCATED if self._extended and self.backing is None else 0)

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

    # -- zeroes and discards ----------------------------------------------------------------------------------

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        end = offset + length
        unit = self._unit
        first, last = -(-offset // unit) * unit, end // unit * unit
        if end == self.size:
            last = -(-end // unit) * unit  # the rest of the last cluster is nobody's
        if first >= last:
            self._write_zero_bytes(offset, length)
            return
        self._write_zero_bytes(offset, first - offset)
        if last < end:
            self._write_zero_bytes(last, end - last)
        if self.header.version < 3 and self.backing is not None:
            self._write_zero_bytes(first, min(last, self.size) - first)
            return
        self._unmap(first, last, unmap, zero=True)

    def _write_zero_bytes(self, offset: int, length: int) -> None:
        """As data, unless zeroes are there."""
        while length > 0:
            with self.lock:
                kind, run, _ = self._find(offset, length)
            if kind is not Kind.ZERO and not (kind is Kind.UNALLOCATED and self.backing is None):
                super().write_zeroes(offset, run)
            offset += run
            length -= run

    def discard(self, offset: int, length: int) -> None:
        if self.header.version < 3 and self.backing is not None:
            return  # old data of the backing file would come up
        end = offset + length
        first = -(-offset // self.cluster_size) * self.cluster_size
        last = end & ~self._mask
        if end == self.size:
            last = -(-end // self.cluster_size) * self.cluster_size
        if first < last:
            self._unmap(first, last, True, zero=False)

    def _unmap(self, first: int, last: int, unmap: bool, zero: bool) -> None:
        """Units from `first` to `last` become zeroes (a discard without a backing file: unallocated)."""
        if self.read_only:
            raise OSError(errno.EROFS, f"'{self.filename}': {os.strerror(errno.EROFS)}")
        offset = first
        while offset < last:
            with self.lock:
                # As much as one L2 table covers, then others may have the lock.
                border = ((offset >> (self._bits + self._l2_bits)) + 1) << (self._bits + self._l2_bits)
                stop = min(last, border)
                if self.backing is None and not self.l1[offset >> (self._bits + self._l2_bits)] & OFFSET:
                    offset = stop
                    continue
                while offset < stop:
                    cluster = offset >> self._bits
                    while cluster in self._busy:
                        self.lock.wait()
                    high = min(stop, (cluster + 1) << self._bits)
                    self._unmap_cluster(cluster, offset & self._mask, high - (cluster << self._bits), unmap)
                    offset = high
            if self._crowded():
                self.flush()

    def _unmap_cluster(self, cluster: int, low: int, high: int, unmap: bool) -> None:
        entry, bitmap = self.l2_entry(cluster)
        if not self._extended:
            keep = not unmap and not entry & COMPRESSED
            if self.header.version < 3:
                new = 0
            elif keep:
                new = entry | ZERO
            else:
                new = ZERO if self.backing is not None else 0
            if not keep and self.backing is None and not entry & (OFFSET | COMPRESSED) and entry & ZERO:
                return
            if keep and self.backing is None and not entry:
                return
            if new != entry:
                self.set_l2_entry(cluster, new)
                if not new & OFFSET:
                    self._give_up(entry)
            return
        touched = self._bitmap(low, high)
        whole = touched == ALL_ALLOCATED
        if entry & COMPRESSED and not whole:
            # Subclusters of a compressed cluster cannot be zero one by one: it is unpacked first.
            entry, bitmap = self._unpack_in_place(cluster, entry)
        if whole and (unmap or entry & COMPRESSED):
            zeroes = ALL_ALLOCATED if self.backing is not None else 0
            if (entry, bitmap) != (0, zeroes << 32):
                self.set_l2_entry(cluster, 0, zeroes << 32)
                self._give_up(entry)
            return
        new = (bitmap & ~touched & ALL_ALLOCATED) | (bitmap >> 32 | touched) << 32
        if new != bitmap:
            self.set_l2_entry(cluster, entry, new)

    def _unpack_in_place(self, cluster: int, entry: int) -> tuple[int, int]:
        """A compressed cluster becomes an ordinary one. With the lock: this is rare."""
        at, length = compressed_area(entry, self._bits)
        data = decompress(self.header.compression, self.file.get(at, length), self.cluster_size)
        host = self.refcounts.alloc(1)
        self.file.put(host, data)
        self.set_l2_entry(cluster, host | COPIED, ALL_ALLOCATED)
        self._give_up(entry)
        return host | COPIED, ALL_ALLOCATED

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

    # -- size and status --------------------------------------------------------------------------------------

    def status(self, offset: int, length: int) -> Extent:
        with self.lock:
            kind, run, at = self._find(offset, length)
        if kind is Kind.DATA:
            return Extent(Status.DATA, run, at)
        if kind is Kind.COMPRESSED:
            return Extent(Status.DATA, run, None, compressed=True)
        if kind is Kind.ZERO:
            return Extent(Status.ZERO, run)
        return Extent(Status.HOLE, run)

    def has_holes(self) -> bool:
        """Does the file take clearly less room than its clusters (preallocated, for instance)?"""
        if self._holes is None:
            real = self.file.allocated() // self.cluster_size
            threshold = max(real * 10 // 9, real + 2)
            used = 0
            with self.lock:
                counts = self.refcounts
                for index in range(len(counts.table)):
                    block = counts.block(index)
                    used += len(block.data) - block.data.count(0) if block is not None else 0
                    if used >= threshold:
                        break
            self._holes = used >= threshold
        return self._holes

    def truncate(self, size: int) -> None:
        """Grow or shrink the disk."""
        if size % 512:
            raise OSError(errno.EINVAL, "qcow2: The new size must be a multiple of 512")
        h = self.header
        if h.snapshot_count and h.version < 3:
            raise OSError(errno.ENOTSUP, "qcow2: Can't resize a v2 image which has snapshots")
        wanted = h.l1_entries_for(size)
        if wanted * 8 > hdr.MAX_L1_BYTES:
            raise OSError(errno.EFBIG, "qcow2: an L1 table of that size is too large")
        if size < self.size:
            last = -(-self.size // self.cluster_size) * self.cluster_size
            first = -(-size // self.cluster_size) * self.cluster_size
            self._cut_off(first, last)
        old = self.size
        if size > old:
            # What lies behind the old end in its last cluster may be anything.
            self._write_zero_bytes(old, min(size, -(-old // self.cluster_size) * self.cluster_size) - old)
        self.flush_all()
        with self._flushing, self.lock:
            if wanted > len(self.l1):
                self._move_l1(wanted)
            self.size = h.size = size
            self.file.put(24, struct.pack(">Q", size))
            self.file.flush()
        if self.backing is not None and self.backing.size > old and size > old:
            self.write_zeroes(old, min(size, self.backing.size) - old)  # its contents do not come up
            self.flush()

    def _cut_off(self, first: int, last: int) -> None:
        """Clusters behind the new end are unallocated, whatever the backing file has there."""
        with self.lock:
            cluster, end = first >> self._bits, last >> self._bits
            while cluster < end:
                l1_index = cluster >> self._l2_bits
                border = min(end, (l1_index + 1) << self._l2_bits)
                if self.l1[l1_index] & OFFSET:
                    for index in range(cluster, border):
                        entry, bitmap = self.l2_entry(index)
                        if entry or bitmap:
                            self.set_l2_entry(index, 0, 0)
                            self._give_up(entry)
                cluster = border

    def _move_l1(self, entries: int) -> None:
        h = self.header
        old = (h.l1_offset, -(-h.l1_size * 8 // self.cluster_size))
        self.l1.extend(array("Q", bytes((entries - len(self.l1)) * 8)))
        offset = self.refcounts.alloc(-(-entries * 8 // self.cluster_size))
        self.lock.release()
        try:
            self._flush(everything=True)  # its reference
        finally:
            self.lock.acquire()
        self.file.put(offset, pack64(self.l1).ljust(-(-entries * 8 // self.cluster_size) * self.cluster_size, b"\0"))
        self.file.flush()
        h.l1_offset, h.l1_size = offset, entries
        self.file.put(36, struct.pack(">IQ", entries, offset))
        self.file.flush()
        if old[1]:
            self.free_later(*old)


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


class Plan:
    """A write into clusters that are not linked yet."""

    __slots__ = ("clusters", "fresh", "head", "high", "host", "length", "low", "old", "reused", "tail")

    def __init__(self) -> None:
        self.clusters = range(0)
        self.host = 0  # where they are in the file
        self.length = 0  # bytes of the request
        self.low = self.high = 0  # bytes of the clusters that are valid afterwards
        self.head: list[Piece] = []
        self.tail: list[Piece] = []
        self.old: list[tuple[int, int]] = []
        self.fresh = False  # behind the old end of the file: zero
        self.reused = False  # the place it has already
