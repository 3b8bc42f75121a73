"""New qcow2 images."""

from __future__ import annotations

import struct
from array import array

from ..errors import BlockError
from ..node import Node
from . import header as hdr
from .cache import pack64
from .compress import check_available
from .header import Header
from .image import Qcow2Node
from .refcount import TYPECODES, pack_counts


def new_header(size: int, *, version: int = 3, cluster_size: int = 65536, backing_file: str = "", backing_format: str = "",
               lazy_refcounts: bool = False, refcount_bits: int = 16, extended_l2: bool = False,
               compression_type: str = "zlib") -> Header:  # fmt: skip
    """Check the options of an image to be made. Sizes in bytes."""
    if cluster_size < 512 or cluster_size > 2 << 20 or cluster_size & (cluster_size - 1):
        raise BlockError("Cluster size must be a power of two between 512 and 2048k")
    if refcount_bits not in (1, 2, 4, 8, 16, 32, 64):
        raise BlockError("Refcount width must be a power of two and may not exceed 64 bits")
    if version < 3:
        for bad, text in (
            (refcount_bits != 16, "Different refcount widths than 16 bits require compatibility level 1.1 or above"),
            (lazy_refcounts, "Lazy refcounts only supported with compatibility level 1.1 and above"),
            (extended_l2, "Extended L2 entries are only supported with compatibility level 1.1 and above"),
            (compression_type != "zlib", "Non-zlib compression type is only supported with compatibility level 1.1 and above"),
        ):
            if bad:
                raise BlockError(text)
    if extended_l2 and cluster_size < 16384:
        raise BlockError("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes")
    if compression_type not in hdr.COMPRESSION_TYPES:
        raise BlockError(f"Unknown compression type '{compression_type}' (one of {', '.join(hdr.COMPRESSION_TYPES)})")
    h = Header(version=version, backing_file=backing_file, backing_format=backing_format,
               cluster_bits=cluster_size.bit_length() - 1, size=size)  # fmt: skip
    h.refcount_order = refcount_bits.bit_length() - 1
    h.compression = hdr.COMPRESSION_TYPES.index(compression_type)
    check_available(h.compression)
    h.incompatible = (hdr.EXTENDED_L2 if extended_l2 else 0) | (hdr.COMPRESSION if h.compression else 0)
    h.compatible = hdr.LAZY_REFCOUNTS if lazy_refcounts else 0
    h.length = hdr.V2_LENGTH if version == 2 else hdr.LONGEST
    h.l1_size = h.l1_entries_for(size)
    if h.l1_size * 8 > hdr.MAX_L1_BYTES or size >= 1 << 63:
        raise BlockError(f"The image size is too large (try using a larger cluster size): at most "
                         f"{(hdr.MAX_L1_BYTES // 8) * h.l2_entries * h.cluster_size} bytes")  # fmt: skip
    return h


def format_file(file: Node, h: Header) -> None:
    """Write an empty image into an empty file: header, refcount table and a block, L1 table."""
    size = h.cluster_size
    l1_clusters = -(-h.l1_size * 8 // size)
    entries = (size * 8) >> h.refcount_order
    # Blocks (and the table of blocks) to count the clusters there are, these among them.
    blocks = tables = 1
    while True:
        used = 1 + tables + blocks + l1_clusters
        need_blocks = -(-used // entries)
        need_tables = -(-need_blocks * 8 // size)
        if (need_blocks, need_tables) == (blocks, tables):
            break
        blocks, tables = max(blocks, need_blocks), max(tables, need_tables)
    h.reftable_offset, h.reftable_clusters = size, tables
    first_block = 1 + tables
    h.l1_offset = (first_block + blocks) * size if h.l1_size else 0
    counts = array(TYPECODES[h.refcount_order], [1]) * used
    counts.extend(array(TYPECODES[h.refcount_order], [0]) * (blocks * entries - used))
    file.truncate(0)
    file.truncate(used * size)
    file.put(first_block * size, pack_counts(counts, h.refcount_order))
    table = array("Q", [(first_block + i) * size for i in range(blocks)])
    file.put(size, pack64(table))
    file.flush()
    file.put(0, h.pack())
    file.flush()


def preallocate(node: Qcow2Node, mode: str, start: int = 0) -> None:
    """Give every cluster from byte `start` on its place: mode "metadata" only that, "falloc" and "full" the file's blocks too.

    With a start other than 0 they are zeroes, in new clusters as in those that were used before.
    """
    offset = -(-start // node.cluster_size) * node.cluster_size
    with node.lock:
        while offset < node.size:
            cluster = offset // node.cluster_size
            count = min(-(-(node.size - offset) // node.cluster_size), max(1, (8 << 20) // node.cluster_size))
            end = node.file_end
            host = node.refcounts.alloc(count)
            if host < end:
                node.file.write_zeroes(host, count * node.cluster_size)
            for index in range(count):
                node.link_preallocated(cluster + index, host + index * node.cluster_size, zero=start > 0)
            if mode == "full":
                node.file.write_zeroes(host, count * node.cluster_size)
            elif mode == "falloc":
                allocate_blocks(node.file, host, count * node.cluster_size)
            offset += count * node.cluster_size
    node.flush_all()


def allocate_blocks(file: Node, offset: int, length: int) -> None:
    from ..file import FileNode, fallocate

    if isinstance(file, FileNode):
        fallocate(file.fd, 0, offset, length)


def pack_snapshot_pointer(count: int, offset: int) -> bytes:
    """Bytes 60 to 71 of the header."""
    return struct.pack(">IQ", count, offset)
