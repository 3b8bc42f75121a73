"""A few hundred random programs. Hours of them: make soak."""

from __future__ import annotations

import pytest

from fuzz.worker import findings


@pytest.mark.parametrize("first", range(0, 600, 100))
def test_random_programs(first: int) -> None:
    found = list(findings("core", first, 100, timeout=300))
    assert not found, "\n".join(text for _seed, text in found)
