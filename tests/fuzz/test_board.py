"""Random accesses to the boards' chips. Hours of them: python -m fuzz.soak."""

from __future__ import annotations

import pytest

from fuzz.worker import findings


@pytest.mark.parametrize("first", [0, 100])
def test_random_accesses(first: int) -> None:
    found = list(findings("board", first, 60, timeout=3600))
    assert not found, "\n".join(text for _seed, text in found)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1000, 9000, 1000))
def test_more_random_accesses(first: int) -> None:
    found = list(findings("board", first, 1000, timeout=3600))
    assert not found, "\n".join(text for _seed, text in found)
