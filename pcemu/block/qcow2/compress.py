"""Compressed clusters: deflate without a header, or zstd."""

from __future__ import annotations

import errno
import zlib
from typing import Any

from ..errors import BlockError
from .header import COMPRESSION_TYPES


def _zstd() -> Any:
    try:
        import zstandard
    except ImportError:
        raise BlockError("qcow2: compression_type=zstd needs the package 'zstandard' (pip install 'pcemu[zstd]')") from None
    return zstandard


def check_available(kind: int) -> None:
    """BlockError if clusters of this type could not be read."""
    if COMPRESSION_TYPES[kind] == "zstd":
        _zstd()


def decompress(kind: int, data: bytes | bytearray, size: int) -> bytes:
    """One cluster; never more than `size` bytes are produced. OSError EIO if it is not a cluster."""
    try:
        if COMPRESSION_TYPES[kind] == "zstd":
            zstandard = _zstd()
            limits = {"max_window_size": 1 << 27}
            with zstandard.ZstdDecompressor(**limits).stream_reader(bytes(data), read_across_frames=True) as reader:
                result = bytearray()
                while len(result) < size and (piece := reader.read(size - len(result))):
                    result += piece
                whole = bytes(result)
        else:
            whole = zlib.decompressobj(-15).decompress(data, size)
    except Exception as error:
        raise OSError(errno.EIO, f"compressed cluster: {error}") from None
    if len(whole) != size:
        raise OSError(errno.EIO, f"compressed cluster: {len(whole)} bytes instead of {size}")
    return whole


def compress(kind: int, data: bytes | bytearray | memoryview) -> bytes | None:
    """None if that does not make it smaller."""
    if COMPRESSION_TYPES[kind] == "zstd":
        packed: bytes = _zstd().ZstdCompressor(level=3).compress(bytes(data))
    else:
        deflate = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -12)
        packed = deflate.compress(data) + deflate.flush()
    return packed if len(packed) < len(data) else None
