"""Entries of L1 and L2 tables: where a cluster of the disk is in the file."""

from __future__ import annotations

from enum import IntEnum

COPIED = 1 << 63  # the only reference: may be written in place
COMPRESSED = 1 << 62
ZERO = 1  # reads as zeroes, whatever it points to (version 3, without subclusters)
OFFSET = 0x00FFFFFFFFFFFE00
SUBCLUSTERS = 32
ALL_ALLOCATED = (1 << SUBCLUSTERS) - 1


class Kind(IntEnum):
    """What a cluster or subcluster is."""

    UNALLOCATED = 0  # the backing file's
    ZERO = 1
    DATA = 2
    COMPRESSED = 3


def compressed_area(entry: int, cluster_bits: int) -> tuple[int, int]:
    """Offset and length of compressed data: it begins at any byte and is counted in sectors of 512."""
    shift = 62 - (cluster_bits - 8)
    offset = entry & ((1 << shift) - 1)
    sectors = ((entry & ~(COPIED | COMPRESSED)) >> shift) + 1
    return offset, sectors * 512 - (offset & 511)


def compressed_entry(offset: int, length: int, cluster_bits: int) -> int:
    shift = 62 - (cluster_bits - 8)
    sectors = ((offset + length - 1) >> 9) - (offset >> 9)
    return COMPRESSED | sectors << shift | offset


def subcluster_kind(entry: int, bitmap: int, index: int) -> Kind:
    """Of subcluster `index`, of an entry that is not compressed. Both bits set make no sense: see invalid()."""
    if bitmap >> (32 + index) & 1:
        return Kind.ZERO
    if bitmap >> index & 1:
        return Kind.DATA
    return Kind.UNALLOCATED


def invalid_bitmap(entry: int, bitmap: int) -> bool:
    """Allocated and zero at once, or allocated without a cluster."""
    allocated = bitmap & ALL_ALLOCATED
    return bool(allocated & bitmap >> 32) or (bool(allocated) and not entry & OFFSET)
