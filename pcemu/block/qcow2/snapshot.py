"""Internal snapshots: whole states of the disk that share clusters with the present one."""

from __future__ import annotations

import errno
import struct
import time
from array import array
from dataclasses import dataclass

from ..errors import BlockError
from . import header as hdr
from .cache import pack64, unpack64
from .create import pack_snapshot_pointer
from .entry import COMPRESSED, COPIED, OFFSET, compressed_area
from .image import Qcow2Node

_HEAD = struct.Struct(">QIHHIIQII")
MAX_EXTRA = 1024
MAX_TABLE = 64 << 20


@dataclass
class Snapshot:
    """A row of the snapshot table. Sizes in bytes, times in ns."""

    l1_offset: int
    l1_size: int  # entries
    id: str
    name: str
    date_ns: int
    vm_clock_ns: int = 0
    vm_state_size: int = 0
    disk_size: int = 0
    icount: int = -1
    more: bytes = b""  # extra data of a later version

    def pack(self) -> bytes:
        extra = struct.pack(">QQq", self.vm_state_size, self.disk_size, self.icount) + self.more
        ident, name = self.id.encode(errors="surrogateescape"), self.name.encode(errors="surrogateescape")
        small = self.vm_state_size if self.vm_state_size < 1 << 32 else 0
        data = _HEAD.pack(self.l1_offset, self.l1_size, len(ident), len(name), self.date_ns // 10**9, self.date_ns % 10**9,
                          self.vm_clock_ns, small, len(extra)) + extra + ident + name  # fmt: skip
        return data + bytes(-len(data) % 8)


def read_snapshots(image: Qcow2Node) -> tuple[list[Snapshot], int]:
    """The table's rows, and its size in bytes. BlockError if it makes no sense."""
    h = image.header
    found: list[Snapshot] = []
    at = h.snapshot_offset
    for _ in range(h.snapshot_count):
        if at - h.snapshot_offset > MAX_TABLE or at > image.file.size:
            raise BlockError(f"'{image.filename}': Snapshot table is too large")
        (l1_at, l1_size, id_length, name_length, sec, nsec, clock, vm_size,
         extra_size) = _HEAD.unpack(image.file.get(at, _HEAD.size))  # fmt: skip
        at += _HEAD.size
        if extra_size > MAX_EXTRA:
            raise BlockError(f"'{image.filename}': Too much extra metadata in snapshot table entry {len(found)}")
        if l1_size * 8 > hdr.MAX_L1_BYTES:
            raise BlockError(f"'{image.filename}': Snapshot {len(found)}: L1 table too large")
        if l1_at & (h.cluster_size - 1) or l1_at >= hdr.MAX_OFFSET:
            raise BlockError(f"'{image.filename}': Snapshot {len(found)}: L1 table offset invalid")
        extra = bytes(image.file.get(at, extra_size))
        at += extra_size
        names = bytes(image.file.get(at, id_length + name_length))
        at += -(-(id_length + name_length + extra_size + _HEAD.size) // 8) * 8 - extra_size - _HEAD.size
        ident, name = (part.decode(errors="surrogateescape") for part in (names[:id_length], names[id_length:]))
        shot = Snapshot(l1_at, l1_size, ident, name, sec * 10**9 + nsec, clock, vm_size, h.size)
        if extra_size >= 8:
            (shot.vm_state_size,) = struct.unpack_from(">Q", extra)
        if extra_size >= 16:
            (shot.disk_size,) = struct.unpack_from(">Q", extra, 8)
        if extra_size >= 24:
            (shot.icount,) = struct.unpack_from(">q", extra, 16)
        shot.more = extra[24:]
        found.append(shot)
    return found, at - h.snapshot_offset


def find(image: Qcow2Node, key: str) -> Snapshot:
    """By id, else by name."""
    shots, _ = read_snapshots(image)
    for shot in shots:
        if shot.id == key:
            return shot
    for shot in shots:
        if shot.name == key:
            return shot
    raise BlockError(f"snapshot '{key}' not found")


def open_at(image: Qcow2Node, key: str) -> None:
    """Show the disk as it was in a snapshot (the image must be read-only)."""
    shot = find(image, key)
    if shot.l1_size < image.header.l1_entries_for(shot.disk_size):
        raise BlockError(f"snapshot '{key}': its L1 table is too small")
    with image.lock:
        image.l1 = _l1(image, shot)
        image.l2_cache.clear()
        image._unpacked.clear()
        image.size = shot.disk_size


def create(image: Qcow2Node, name: str) -> None:
    """Keep the present state under a name."""
    shots, _ = read_snapshots(image)
    if len(shots) >= hdr.MAX_SNAPSHOTS:
        raise BlockError("too many snapshots")
    image.flush_all()
    image.mark_dirty()
    numbers = [int(shot.id) for shot in shots if shot.id.isdigit()]
    ident = str(max(numbers, default=0) + 1)
    with image.lock:
        size = len(image.l1)
        offset = image.refcounts.alloc(max(1, -(-size * 8 // image.cluster_size))) if size else 0
        _change_references(image, image.l1, 1)
        _clear_copied(image)
        plain = array("Q", [entry & ~COPIED for entry in image.l1])
    if size:
        image.file.put(offset, pack64(plain))
    image.flush_all()
    shots.append(Snapshot(offset, size, ident, name, time.time_ns(), disk_size=image.size))
    _write_table(image, shots)
    image.mark_clean()


def apply(image: Qcow2Node, key: str) -> None:
    """Make a snapshot's state the present one."""
    shot = find(image, key)
    if shot.disk_size != image.size:
        if image.header.version < 3:
            raise BlockError("the snapshot has another disk size")
        image.truncate(shot.disk_size)
    image.flush_all()
    image.mark_dirty()
    then = _l1(image, shot)
    with image.lock:
        now = image.l1
        if len(then) > len(now):
            raise OSError(errno.EINVAL, "the snapshot's L1 table is larger than the image's")
        then.extend(array("Q", bytes((len(now) - len(then)) * 8)))
        _change_references(image, then, 1)
        _change_references(image, now, -1)
        image.l1 = array("Q", [entry & ~COPIED for entry in then])
        image._dirty_l1 = set(range(len(image.l1)))
        image.l2_cache.clear()
        image._unpacked.clear()
    image.flush_all()
    fix_copied(image)
    image.flush_all()
    image.mark_clean()


def delete(image: Qcow2Node, key: str) -> None:
    shot = find(image, key)
    shots, _ = read_snapshots(image)
    image.flush_all()
    image.mark_dirty()
    _write_table(image, [other for other in shots if (other.id, other.name) != (shot.id, shot.name)])
    with image.lock:
        _change_references(image, _l1(image, shot), -1)
        if shot.l1_size:
            image.free_later(shot.l1_offset, -(-shot.l1_size * 8 // image.cluster_size))
    image.flush_all()
    fix_copied(image)
    image.flush_all()
    image.mark_clean()


def _l1(image: Qcow2Node, shot: Snapshot) -> array[int]:
    return unpack64(image.file.get(shot.l1_offset, shot.l1_size * 8)) if shot.l1_size else array("Q")


def _l2_data(image: Qcow2Node, offset: int) -> array[int]:
    table = image.l2_cache.get(offset)
    if table is not None:
        return table.data
    if offset & (image.cluster_size - 1):
        image.corrupt(f"L2 table offset {offset:#x} unaligned")
    return unpack64(image.file.get(offset, image.cluster_size))


def _change_references(image: Qcow2Node, l1: array[int], by: int) -> None:
    """Everything that an L1 table reaches has a reference more or less."""
    step = 2 if image.header.extended_l2 else 1
    counts = image.refcounts
    bits = image.header.cluster_bits
    _plausible(image, l1)
    for l1_entry in l1:
        offset = l1_entry & OFFSET
        if not offset:
            continue
        for entry in _l2_data(image, offset)[::step]:
            if entry & COMPRESSED:
                at, length = compressed_area(entry, bits)
                counts.change(at >> bits, ((at + length - 1) >> bits) - (at >> bits) + 1, by)
            elif entry & OFFSET:
                counts.change((entry & OFFSET) >> bits, 1, by)
        counts.change(offset >> bits, 1, by)


def _plausible(image: Qcow2Node, l1: array[int]) -> None:
    """An L1 table with more L2 tables than the file has clusters names one twice, and going through it takes for ever."""
    if sum(1 for entry in l1 if entry & OFFSET) > image.file.size >> image.header.cluster_bits:
        image.corrupt("several L1 entries point to the same L2 table")


def _clear_copied(image: Qcow2Node) -> None:
    """Nothing is to be written in place any more."""
    step = 2 if image.header.extended_l2 else 1
    _plausible(image, image.l1)
    for index in range(len(image.l1)):
        table = image._l2(index)
        if table is None:
            continue
        for at in range(0, len(table.data), step):
            if table.data[at] & COPIED:
                table.data[at] &= ~COPIED
                table.touch(at, at)
        image.l1[index] &= ~COPIED
        image._dirty_l1.add(index)


def fix_copied(image: Qcow2Node) -> int:
    """Set the COPIED flags from the reference counts; returns how many were wrong."""
    step = 2 if image.header.extended_l2 else 1
    bits = image.header.cluster_bits
    wrong = 0
    with image.lock:
        _plausible(image, image.l1)
        for index in range(len(image.l1)):
            offset = image.l1[index] & OFFSET
            if not offset:
                continue
            table = image._l2(index)
            assert table is not None
            for at in range(0, len(table.data), step):
                entry = table.data[at]
                if entry & COMPRESSED or not entry & OFFSET:
                    continue
                right = entry | COPIED if image.refcounts.get((entry & OFFSET) >> bits) == 1 else entry & ~COPIED
                if right != entry:
                    table.data[at] = right
                    table.touch(at, at)
                    wrong += 1
            right = offset | COPIED if image.refcounts.get(offset >> bits) == 1 else offset
            if right != image.l1[index]:
                image.l1[index] = right
                image._dirty_l1.add(index)
                wrong += 1
    return wrong


def _write_table(image: Qcow2Node, shots: list[Snapshot]) -> None:
    """A new table in a new place, then the header points to it."""
    h = image.header
    _, old_size = read_snapshots(image)
    old = (h.snapshot_offset, -(-old_size // image.cluster_size)) if old_size else None
    data = b"".join(shot.pack() for shot in shots)
    offset = 0
    if data:
        with image.lock:
            offset = image.refcounts.alloc(-(-len(data) // image.cluster_size))
        image.file.put(offset, data)
    image.flush_all()
    image.file.put(60, pack_snapshot_pointer(len(shots), offset))
    image.file.flush()
    h.snapshot_count, h.snapshot_offset = len(shots), offset
    if old is not None:
        with image.lock:
            image.free_later(*old)
        image.flush_all()
