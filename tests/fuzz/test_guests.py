"""Guests that lie to virtio devices and to -netdev user. Hours of it: python -m fuzz.soak --family virtio --family network."""

from __future__ import annotations

import pytest

from fuzz.worker import findings


@pytest.mark.parametrize("first", [0, 500])
def test_virtio_drivers_that_lie(first: int) -> None:
    found = list(findings("virtio", first, 250, timeout=3600))
    assert not found, "\n".join(text for _seed, text in found)


@pytest.mark.soak
def test_more_virtio_drivers_that_lie() -> None:
    found = list(findings("virtio", 1000, 20_000, timeout=7200))
    assert not found, "\n".join(text for _seed, text in found)


@pytest.mark.soak
def test_more_packets() -> None:
    found = list(findings("network", 1000, 3000, timeout=7200))
    assert not found, "\n".join(text for _seed, text in found)
