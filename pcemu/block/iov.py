"""Scattered buffers: lists of memoryviews of bytes, cut and filled as one run."""

from __future__ import annotations

from collections.abc import Sequence

Views = Sequence[memoryview]

_ZERO_BYTES = bytes(1 << 16)
_ZEROES = memoryview(_ZERO_BYTES)


def total(views: Views) -> int:
    """Bytes in all views together."""
    if len(views) == 1:
        return len(views[0])
    return sum(map(len, views))


def cut(views: Views, start: int, length: int) -> list[memoryview]:
    """The `length` bytes from `start` on, without copying."""
    if len(views) == 1:
        return [views[0][start : start + length]]
    found = []
    for view in views:
        size = len(view)
        if start >= size:
            start -= size
            continue
        piece = view[start : start + length]
        found.append(piece)
        length -= len(piece)
        if not length:
            break
        start = 0
    return found


def clear(views: Views) -> None:
    """Fill with zeroes."""
    for view in views:
        for at in range(0, len(view), len(_ZEROES)):
            piece = view[at : at + len(_ZEROES)]
            piece[:] = _ZEROES[: len(piece)]


def fill(views: Views, data: bytes | bytearray | memoryview) -> None:
    """Copy `data` into the views; both have the same size."""
    source = memoryview(data)
    at = 0
    for view in views:
        view[:] = source[at : at + len(view)]
        at += len(view)


def joined(views: Views) -> bytes:
    """One copy of everything."""
    return b"".join(views)


def is_zero(data: bytes | bytearray | memoryview) -> bool:
    """Are all bytes 0? Compares in pieces, so that a difference at the front is found at once."""
    view = memoryview(data)
    for at in range(0, len(view), len(_ZEROES)):
        piece = view[at : at + len(_ZEROES)]
        # A copy, because comparing views goes byte by byte.
        if piece[0] or piece[-1] or piece.tobytes() != _ZERO_BYTES[: len(piece)]:
            return False
    return True


def zero_views(length: int) -> list[memoryview]:
    """Views of `length` zero bytes to write from; they share one buffer."""
    whole, rest = divmod(length, len(_ZEROES))
    return [_ZEROES] * whole + ([_ZEROES[:rest]] if rest else [])
