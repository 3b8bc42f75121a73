"""A few hundred random programs. Hours of them: python -m fuzz.soak."""

from __future__ import annotations

import pytest

from fuzz.worker import findings


@pytest.mark.parametrize("first", range(0, 600, 100))
def test_random_programs(first: int) -> None:
    found = list(findings("core", first, 100, timeout=3600))
    assert not found, "\n".join(text for _seed, text in found)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1000, 21000, 2000))
def test_more_random_programs(first: int) -> None:
    found = list(findings("core", first, 2000, timeout=3600))
    assert not found, "\n".join(text for _seed, text in found)
