"""Disk images from strangers: see images.py. Millions of them: make soak, or python -m fuzz.soak --family images."""

from __future__ import annotations

import pytest

from fuzz.worker import findings


def test_mutated_images() -> None:
    found = list(findings("images", 0, 4000, timeout=3600))
    assert not found, "\n".join(text for _seed, text in found)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(50))
def test_a_million_mutated_images(part: int) -> None:
    found = list(findings("images", 1_000_000 + part * 20_000, 20_000, timeout=7200))
    assert not found, "\n".join(text for _seed, text in found)
