"""The header of a qcow2 image and its extensions."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import BlockError
from ..node import Node

MAGIC = b"QFI\xfb"
V2_LENGTH, V3_LENGTH, LONGEST = 72, 104, 112

# Incompatible features: who does not know one must not touch the image.
DIRTY, CORRUPT, DATA_FILE, COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16
LAZY_REFCOUNTS = 1  # compatible
BITMAPS = 1  # autoclear

EXT_END, EXT_BACKING_FORMAT, EXT_FEATURES, EXT_LUKS, EXT_BITMAPS, EXT_DATA_FILE = (
    0, 0xE2792ACA, 0x6803F857, 0x0537BE77, 0x23852875, 0x44415441)  # fmt: skip

# What a header may ask us to keep in memory.
MAX_L1_BYTES = 32 << 20
MAX_REFTABLE_BYTES = 8 << 20
MAX_SNAPSHOTS = 65536
MAX_EXTENSIONS = 128
MAX_OFFSET = 1 << 56

FEATURE_NAMES = (
    (0, 0, "dirty bit"), (0, 1, "corrupt bit"), (0, 2, "external data file"), (0, 3, "compression type"),
    (0, 4, "extended L2 entries"), (1, 0, "lazy refcounts"), (2, 0, "bitmaps"), (2, 1, "raw external data"),
)  # fmt: skip
COMPRESSION_TYPES = ("zlib", "zstd")

_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")


@dataclass
class Header:
    """Offsets and sizes in bytes, unless the name says otherwise."""

    version: int = 3
    backing_file: str = ""
    backing_format: str = ""
    cluster_bits: int = 16
    size: int = 0
    l1_size: int = 0  # entries
    l1_offset: int = 0
    reftable_offset: int = 0
    reftable_clusters: int = 0
    snapshot_count: int = 0
    snapshot_offset: int = 0
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    length: int = V3_LENGTH
    compression: int = 0
    features: dict[tuple[int, int], str] = field(default_factory=dict)  # names that the image gives to bits
    other_extensions: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits

    @property
    def extended_l2(self) -> bool:
        return bool(self.incompatible & EXTENDED_L2)

    @property
    def l2_entry_size(self) -> int:
        return 16 if self.extended_l2 else 8

    @property
    def l2_entries(self) -> int:
        return self.cluster_size // self.l2_entry_size

    def l1_entries_for(self, size: int) -> int:
        """Entries of an L1 table for a disk of that size."""
        covered = self.l2_entries * self.cluster_size
        return (size + covered - 1) // covered

    def pack(self) -> bytes:
        """The bytes at the start of the image: header, extensions, name of the backing file."""
        extensions = b""
        if self.backing_format:
            extensions += _extension(EXT_BACKING_FORMAT, self.backing_format.encode())
        for kind, data in self.other_extensions:
            extensions += _extension(kind, data)
        if self.version >= 3:
            names = b"".join(struct.pack(">BB46s", *row[:2], row[2].encode()) for row in FEATURE_NAMES)
            room = self.cluster_size - LONGEST - len(extensions) - len(self.backing_file.encode()) - 16
            extensions += _extension(EXT_FEATURES, names) if len(names) <= room else b""  # they are for error messages only
        extensions += _extension(EXT_END, b"")
        length = V2_LENGTH if self.version == 2 else LONGEST
        name = self.backing_file.encode()
        name_at = length + len(extensions) if name else 0
        data = _V2.pack(MAGIC, self.version, name_at, len(name), self.cluster_bits, self.size, 0, self.l1_size, self.l1_offset,
                        self.reftable_offset, self.reftable_clusters, self.snapshot_count, self.snapshot_offset)  # fmt: skip
        if self.version >= 3:
            data += _V3.pack(self.incompatible, self.compatible, self.autoclear, self.refcount_order, length)
            data += bytes((self.compression,)) + bytes(7)
        data += extensions + name
        if len(data) > self.cluster_size:
            raise BlockError("qcow2: the header with the name of the backing file does not fit into a cluster")
        return data


def _extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)


def read_header(file: Node) -> Header:
    """Read and check; BlockError says what is wrong with it."""

    def bad(text: str) -> BlockError:
        return BlockError(f"'{file.filename}': {text}")

    if file.size < V2_LENGTH:
        raise bad("the file is too short for a qcow2 header")
    raw = bytes(file.get(0, LONGEST))
    (magic, version, name_at, name_length, bits, size, crypt, l1_size, l1_at, reftable_at, reftable_clusters, snapshots,
     snapshots_at) = _V2.unpack_from(raw)  # fmt: skip
    if magic != MAGIC:
        raise bad("Image is not in qcow2 format")
    if version not in (2, 3):
        raise bad(f"Unsupported qcow2 version {version}")
    if not 9 <= bits <= 21:
        raise bad(f"Unsupported cluster size: 2^{bits}")
    h = Header(version, "", "", bits, size, l1_size, l1_at, reftable_at, reftable_clusters, snapshots, snapshots_at)
    h.length = V2_LENGTH
    if version >= 3:
        h.incompatible, h.compatible, h.autoclear, h.refcount_order, h.length = _V3.unpack_from(raw, V2_LENGTH)
        if h.length < V3_LENGTH:
            raise bad("qcow2 header too short")
        if h.length > V3_LENGTH:
            h.compression = raw[104]
    if h.length > h.cluster_size:
        raise bad("qcow2 header exceeds cluster size")
    if name_at > h.cluster_size:
        raise bad("Invalid backing file offset")
    _read_extensions(file, h, min(name_at, h.cluster_size) if name_at else h.cluster_size, bad)
    unknown = h.incompatible & ~(DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2)
    if unknown:
        bits_set = [bit for bit in range(64) if unknown >> bit & 1]
        names = [h.features.get((0, bit), f"Unknown incompatible feature: {1 << bit:x}") for bit in bits_set]
        raise bad(f"Unsupported qcow2 feature(s): {', '.join(names)}")
    if h.incompatible & DATA_FILE:
        raise bad("Unsupported qcow2 feature(s): external data file")
    if crypt:
        raise bad("encrypted images are not supported")
    if h.refcount_order > 6:
        raise bad("Reference count entry width too large; may not exceed 64 bits")
    if (h.compression != 0) != bool(h.incompatible & COMPRESSION):
        raise bad("Compression type incompatible feature bit and the compression type disagree")
    if h.compression >= len(COMPRESSION_TYPES):
        raise bad(f"Unknown compression type: {h.compression}")
    if h.extended_l2 and bits < 14:
        raise bad("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes")
    if name_length:
        if name_length > min(1023, h.cluster_size - name_at) or name_at == 0:
            raise bad("Backing file name too long")
        name = bytes(file.get(name_at, name_length))
        if b"\0" in name:
            raise bad("Invalid backing file name")
        h.backing_file = name.decode(errors="surrogateescape")
    _check_tables(h, bad)
    return h


def _read_extensions(file: Node, h: Header, end: int, bad: Callable[[str], BlockError]) -> None:
    """Types and data up to the end marker."""
    at = h.length
    for _ in range(MAX_EXTENSIONS):
        if at + 8 > end:
            return
        kind, length = struct.unpack(">II", file.get(at, 8))
        at += 8
        if kind == EXT_END:
            return
        if length > end - at:
            raise bad("Header extension too large")
        data = bytes(file.get(at, length))
        at += (length + 7) & ~7
        if kind == EXT_BACKING_FORMAT:
            h.backing_format = data[:64].decode(errors="replace")
        elif kind == EXT_FEATURES:
            for row in range(0, length - 47, 48):
                text = data[row + 2 : row + 48].split(b"\0")[0].decode(errors="replace")
                h.features[data[row], data[row + 1]] = "".join(c if c.isprintable() else "?" for c in text)
        elif kind == EXT_LUKS:
            raise bad("encrypted images are not supported")
        elif kind != EXT_DATA_FILE:
            h.other_extensions.append((kind, data))
    raise bad("too many header extensions")


def _check_tables(h: Header, bad: Callable[[str], BlockError]) -> None:
    """Where the tables are and how large."""
    mask = h.cluster_size - 1
    if h.size > 1 << 63:
        raise bad("Image is too large")
    if h.l1_size * 8 > MAX_L1_BYTES:
        raise bad("Active L1 table too large")
    if h.l1_size < h.l1_entries_for(h.size):
        raise bad("L1 table is too small")
    if h.l1_offset & mask or h.l1_offset + h.l1_size * 8 > MAX_OFFSET or (h.l1_size and not h.l1_offset):
        raise bad("Invalid L1 table offset")
    if h.reftable_clusters == 0:
        raise bad("Image does not contain a reference count table")
    if h.reftable_clusters << h.cluster_bits > MAX_REFTABLE_BYTES:
        raise bad("Image contains a reference count table that is too large")
    if h.reftable_offset & mask or not 0 < h.reftable_offset < MAX_OFFSET:
        raise bad("Invalid reference count table offset")
    if h.snapshot_count > MAX_SNAPSHOTS:
        raise bad("Snapshot table too large")
    if h.snapshot_count and (h.snapshot_offset & mask or h.snapshot_offset >= MAX_OFFSET):
        raise bad("Invalid snapshot table offset")
