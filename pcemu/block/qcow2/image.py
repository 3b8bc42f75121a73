"""The qcow2 node: reads and writes on any number of threads.

The lock of the metadata is held for lookups and updates only; data is read and written without it. A cluster that is
being allocated is in `_busy` until its data is in the file and its L2 entry is set; writers of the same cluster wait.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from array import array

from .. import iov
from ..errors import BlockError
from ..iov import Views
from ..node import Extent, Status
from . import header as hdr
from .cache import pack64
from .compress import compress, decompress
from .entry import (
    ALL_ALLOCATED,
    COMPRESSED,
    COPIED,
    OFFSET,
    ZERO,
    Kind,
    compressed_area,
    compressed_entry,
)
from .metadata import Metadata, Piece

UNPACKED = 8  # decompressed clusters in memory
RUN = 2 << 20  # bytes that are allocated at a time


class Qcow2Node(Metadata):
    """An open image. `backing` is opened by the caller and handed over."""

    driver = "qcow2"
    can_fast_zero = True

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

    # -- reading ----------------------------------------------------------------------------------------------

    def _begin(self) -> int:
        """Offsets that are looked up stay what they are until _end(). 0: this is part of a request that has begun."""
        me = threading.get_ident()
        with self.mutex:
            self._request_number += 1
            if me in self._requests:
                return 0
            self._requests[me] = self._request_number
        return me

    def _end(self, request: int) -> None:
        if request:
            with self.mutex:
                del self._requests[request]

    def pread(self, offset: int, views: Views) -> None:
        request = self._begin()
        try:
            self._read(offset, views)
        finally:
            self._end(request)

    def _read(self, offset: int, views: Views) -> None:
        total = iov.total(views)
        done = 0
        while done < total:
            with self.mutex:
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

    def pwrite(self, offset: int, views: Views, fua: bool = False) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, f"'{self.filename}': {os.strerror(errno.EROFS)}")
        total = iov.total(views)
        done = 0
        request = self._begin()
        try:
            while done < total:
                done += self._write_some(offset + done, iov.cut(views, done, total - done) if done else views, total - done)
        finally:
            self._end(request)
        if fua or self._crowded():
            self.flush()

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
        whole = length
        with self.mutex:
            while cluster in self._busy:
                self.lock.wait()
            last = (offset + length - 1) >> self._bits
            in_place, length, at = self._writable(offset, length)
            if in_place:
                if self._busy:
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
            self.file.pwrite(at, views if length == whole else iov.cut(views, 0, length))
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
        for cluster, entry in enumerate(self._entries(first, (offset + run - 1) >> self._bits), first):
            if not entry & COPIED:
                if cluster == first:
                    return False, length, 0
                return True, (cluster << self._bits) - offset, at
        return True, run, at

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

    def link_preallocated(self, cluster: int, host: int, zero: bool = False) -> None:
        """A place for a cluster whose contents are zeroes; or, unless `zero`, with a backing file what they were: subclusters
        say so."""
        self.set_l2_entry(cluster, host | COPIED, ALL_ALLOCATED if self._extended and (zero or self.backing is None) else 0)

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
