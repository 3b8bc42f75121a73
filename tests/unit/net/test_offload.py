"""Checksums and segmentation in software, beside sums made word by word."""

from __future__ import annotations

import random

import pytest

from pcemu.net import CSUM, GSO_ECN, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, TSO4, TSO6, Offload
from pcemu.net.offload import checksum, fill_checksum, finish, ones_sum, pseudo_sum

from . import guest


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0", b"\xff\xff", b"\xff\xff" * 9, b"\x01", b"\xff\xfe\0\1", bytes(1499)])
def test_checksum_of_corner_cases(data: bytes) -> None:
    assert checksum(data) == guest.checksum(data)


def test_checksum_of_random_data() -> None:
    rng = random.Random(1)
    for _ in range(300):
        data = rng.randbytes(rng.randrange(200))
        assert checksum(data) == guest.checksum(data)
        rest = rng.randbytes(2 * rng.randrange(50))
        assert checksum(data, ones_sum(rest)) == guest.checksum(rest + data)


def pseudo_frame(six: bool, payload: bytes, flags: int = guest.ACK | guest.PSH | guest.FIN) -> tuple[bytes, int]:
    """A TCP frame whose checksum field holds the sum of the pseudo header, as a driver leaves it."""
    source, target = (bytes(15) + b"\1", bytes(15) + b"\2") if six else (guest.GUEST, guest.HOST)
    frame = bytearray(guest.tcp(1, 2, 0xFFFFF000, 7, flags, payload, source=source, target=target))
    at = 54 if six else 34
    frame[at + 16 : at + 18] = pseudo_sum(source, target, 6, len(frame) - at).to_bytes(2, "big")
    return bytes(frame), at


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1447, 1448, 1449, 5000, 60000])
def test_segments(six: bool, size: int) -> None:
    payload = random.Random(size).randbytes(size)
    frame, at = pseudo_frame(six, payload)
    offload = Offload(NEEDS_CSUM, GSO_TCPV6 if six else GSO_TCPV4, at + 20, 1448, at, 16)
    parts = finish(frame, offload, 0)
    assert all(left is None for _, left in parts)
    packets = [guest.read(bytes(part)) for part, _ in parts]  # looks at lengths and checksums
    assert b"".join(p.data for p in packets) == payload
    seq = 0xFFFFF000
    for index, packet in enumerate(packets):
        assert packet.seq == seq & 0xFFFFFFFF
        assert bool(packet.flags & guest.FIN) == bool(packet.flags & guest.PSH) == (index == len(packets) - 1)
        assert len(packet.data) <= 1448
        seq += len(packet.data)


def test_congestion_window_reduced_is_said_once() -> None:
    frame, at = pseudo_frame(False, bytes(4000), guest.ACK | 0x80)
    parts = finish(frame, Offload(NEEDS_CSUM, GSO_TCPV4 | GSO_ECN, 54, 1000, at, 16), CSUM | TSO4)
    assert [guest.read(bytes(p), left).flags & 0x80 for p, left in parts] == [0x80, 0, 0, 0]
    assert all(left == Offload(NEEDS_CSUM, csum_start=34, csum_offset=16) for _, left in parts)


def test_what_the_receiver_takes_is_left_alone() -> None:
    frame, at = pseudo_frame(False, bytes(4000))
    offload = Offload(NEEDS_CSUM, GSO_TCPV4, 54, 1000, at, 16)
    assert finish(frame, offload, CSUM | TSO4 | TSO6) == [(frame, offload)]


@pytest.mark.parametrize(
    "offload",
    [
        Offload(NEEDS_CSUM, csum_start=60000, csum_offset=16),
        Offload(NEEDS_CSUM, csum_start=65535, csum_offset=65535),
        Offload(NEEDS_CSUM, GSO_TCPV4, 54, 0, 34, 16),
        Offload(NEEDS_CSUM, GSO_TCPV4, 54, 1000, 0, 16),
        Offload(NEEDS_CSUM, GSO_TCPV4, 54, 1000, 65535, 16),
        Offload(NEEDS_CSUM, GSO_TCPV6, 54, 1000, 34, 16),
        Offload(NEEDS_CSUM, 3, 54, 1000, 34, 6),
        Offload(NEEDS_CSUM, 0x7F, 54, 1000, 34, 6),
    ],
)
def test_nonsense_is_dropped(offload: Offload) -> None:
    frame, _ = pseudo_frame(False, bytes(3000))
    assert finish(frame, offload, 0) == []
    for length in range(0, 80):
        finish(frame[:length], offload, 0)


def test_sum_of_zero_is_written_as_ones() -> None:
    frame = bytearray(4)
    frame[2:4] = b"\xff\xff"
    assert fill_checksum(frame, 0, 0)
    assert frame[:2] == b"\xff\xff"
