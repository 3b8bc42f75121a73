"""How often each cluster of the file is used: reference counts, and finding free clusters.

All methods are called with the image's lock held. What changes stays in memory until Metadata.flush() writes it.
"""

from __future__ import annotations

import errno
import os
from array import array
from typing import TYPE_CHECKING

from .cache import SWAP, Table, TableCache, unpack64
from .header import MAX_OFFSET, MAX_REFTABLE_BYTES

if TYPE_CHECKING:
    from .metadata import Metadata

TYPECODES = {0: "B", 1: "B", 2: "B", 3: "B", 4: "H", 5: "I", 6: "Q"}


def unpack_counts(data: bytes | bytearray, order: int) -> array[int]:
    """A refcount block as numbers, one an element; widths below 8 bits are packed from the lowest bit on."""
    if order < 3:
        bits = 1 << order
        mask = (1 << bits) - 1
        spread = [bytes(byte >> shift & mask for shift in range(0, 8, bits)) for byte in range(256)]
        return array("B", b"".join([spread[byte] for byte in data]))
    counts = array(TYPECODES[order], bytes(data))
    if SWAP and order > 3:
        counts.byteswap()
    return counts


def pack_counts(counts: array[int], order: int) -> bytes:
    if order < 3:
        bits = 1 << order
        per_byte = 8 >> order
        packed = 0  # one long number: every value stays inside its byte
        for index in range(per_byte):
            packed |= int.from_bytes(counts[index::per_byte].tobytes(), "little") << (index * bits)
        return packed.to_bytes(len(counts) // per_byte, "little")
    if SWAP and order > 3:
        counts = counts[:]
        counts.byteswap()
    return counts.tobytes()


class Refcounts:
    """`table` is the refcount table: offsets of blocks, 0 where there is none."""

    def __init__(self, image: Metadata, cache_bytes: int) -> None:
        h = image.header
        self.image = image
        self.order = h.refcount_order
        self.most = (1 << (1 << self.order)) - 1
        self.entries = (h.cluster_size * 8) >> self.order  # counts in a block
        self.table = unpack64(image.file.get(h.reftable_offset, h.reftable_clusters << h.cluster_bits))
        self.table_offset = h.reftable_offset
        self.dirty_entries: set[int] = set()
        self.moved = False  # the table has a new place that the header does not know yet
        self.cache = TableCache(cache_bytes // h.cluster_size)
        self.hint = 0  # no free cluster below it

    # -- blocks -----------------------------------------------------------------------------------------------

    def block(self, index: int) -> Table | None:
        """Refcount block `index`, None if all its counts are 0."""
        if index >= len(self.table):
            return None
        offset = self.table[index]
        if offset == 0:
            return None
        table = self.cache.get(offset)
        if table is None:
            size = self.image.header.cluster_size
            if offset & (size - 1) or offset >= MAX_OFFSET:
                self.image.corrupt(f"Refblock offset {offset:#x} unaligned (reftable index: {index:#x})")
            table = Table(offset, unpack_counts(self.image.file.get(offset, size), self.order))
            self.cache.add(table)
        return table

    def _new_block(self, index: int, cluster: int) -> Table:
        """A block whose counts are 0, to be kept in `cluster`; the caller counts that cluster."""
        offset = cluster * self.image.header.cluster_size
        table = Table(offset, array(TYPECODES[self.order], bytes(self.entries << max(0, self.order - 3))))
        table.touch(0, self.entries - 1)
        self.cache.add(table)
        self.table[index] = offset
        self.dirty_entries.add(index)
        self.image.claim(cluster + 1)
        return table

    def _grow_table(self, entries: int) -> None:
        """Room for more blocks; the table moves to a new place."""
        h = self.image.header
        per_cluster = h.cluster_size // 8
        clusters = (max(entries, len(self.table) * 3 // 2) + per_cluster - 1) // per_cluster
        if clusters * h.cluster_size > MAX_REFTABLE_BYTES:
            raise OSError(errno.EFBIG, f"{self.image.filename}: {os.strerror(errno.EFBIG)} (reference count table)")
        old = (self.table_offset, (len(self.table) * 8) // h.cluster_size)
        self.table.extend(array("Q", bytes(clusters * h.cluster_size - len(self.table) * 8)))
        self.table_offset = self.alloc(clusters)
        self.moved = True
        self.image.free_later(*old)

    # -- counts -----------------------------------------------------------------------------------------------

    def get(self, cluster: int) -> int:
        block = self.block(cluster // self.entries)
        return 0 if block is None else block.data[cluster % self.entries]

    def set(self, cluster: int, value: int) -> None:
        index, at = divmod(cluster, self.entries)
        block = self.block(index)
        if block is None:
            if value == 0:
                return
            block = self._block_for(index)
        block.data[at] = value
        block.touch(at, at)
        if value == 0 and cluster < self.hint:
            self.hint = cluster

    def _block_for(self, index: int) -> Table:
        """Make a missing block; it lives in the first cluster it counts (free, as all of them)."""
        if index >= len(self.table):
            self._grow_table(index + 1)
            made = self.block(index)  # the table itself may have needed it
            if made is not None:
                return made
        self._check_free(index * self.entries, 1)
        block = self._new_block(index, index * self.entries)
        block.data[0] = 1
        return block

    def change(self, first: int, count: int, by: int) -> None:
        """Add `by` to the counts of `count` clusters. Counts that would leave their range mean a corrupt image."""
        for cluster in range(first, first + count):
            value = self.get(cluster) + by
            if value < 0:
                self.image.corrupt(f"cluster {cluster:#x} is freed, but has no references")
            if value > self.most:
                raise OSError(errno.EINVAL, f"{self.image.filename}: a reference count does not fit into {1 << self.order} bits")
            self.set(cluster, value)

    # -- free clusters ----------------------------------------------------------------------------------------

    def alloc(self, count: int) -> int:
        """Offset of `count` clusters in a row, with references now."""
        if count > self.entries // 2:
            first = self._find_large(count)
        else:
            first = self._find(count)
        shift = self.image.header.cluster_bits
        if (first + count) << shift > min(MAX_OFFSET, self.image.max_offset):
            raise OSError(errno.EFBIG, f"{self.image.filename}: {os.strerror(errno.EFBIG)}")
        self._check_free(first, count)
        self.image.claim(first + count)
        at = first
        while at < first + count:  # a block's worth at a time
            index, low = divmod(at, self.entries)
            high = min(self.entries, low + first + count - at)
            block = self.block(index)
            assert block is not None
            block.data[low:high] = array(block.data.typecode, [1]) * (high - low)
            block.touch(low, high - 1)
            at += high - low
        self.hint = first + count
        return first << shift

    def _check_free(self, first: int, count: int) -> None:
        """Counts may be wrong: what is known to be metadata is never handed out."""
        shift = self.image.header.cluster_bits
        if first << shift < self.image.file_end:
            self.image.check_overlap(first << shift, count << shift)

    def _find(self, count: int) -> int:
        at = first = self.hint
        while at - first < count:
            index, low = divmod(at, self.entries)
            block = self.block(index)
            if block is None:
                if (index + 1) * self.entries << self.image.header.cluster_bits > MAX_OFFSET:
                    raise OSError(errno.EFBIG, f"{self.image.filename}: {os.strerror(errno.EFBIG)}")
                block = self._block_for(index)
                at = first = index * self.entries + 1
                continue
            data = block.data
            if data[low]:
                try:
                    low = data.index(0, low)
                except ValueError:
                    low = self.entries
                at = first = index * self.entries + low
                continue
            high = min(self.entries, low + count - (at - first))
            while low < high and not data[low]:
                low += 1
            at = index * self.entries + low
            if low < high:
                first = at  # in use: the next turn looks behind it
        return first

    def _find_large(self, count: int) -> int:
        """More than a block counts: behind everything there is, with the blocks it takes before it."""
        blocks = 1
        while blocks * self.entries < blocks + count:
            blocks += 1
        while True:
            last = len(self.table)
            while last and not self.table[last - 1]:
                last -= 1
            if last + blocks <= len(self.table):
                break
            self._grow_table(last + blocks)
        first = last * self.entries
        made = [self._new_block(last + i, first + i) for i in range(blocks)]
        for i in range(blocks):
            owner = made[i // self.entries]
            owner.data[i % self.entries] = 1
        return first + blocks

    # -- writing ----------------------------------------------------------------------------------------------

    def take_dirty(self) -> list[tuple[int, bytes, Table]]:
        """What has changed in blocks: offset in the file and bytes. The tables count as being written."""
        found = []
        per_byte = max(1, 8 >> self.order)
        width = max(1, (1 << self.order) // 8)
        for table in self.cache.dirty():
            low = table.low // per_byte * per_byte
            high = -(-table.high // per_byte) * per_byte
            data = pack_counts(table.data[low:high], self.order)
            found.append((table.offset + low * width // per_byte, data, table))
            table.low = table.high = 0
            table.writing += 1
        return found
