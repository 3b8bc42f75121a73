"""What several of these tests start from."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SNIPPET = Path(__file__).resolve().parents[2] / "docs" / "examples" / "snippet.py"


@pytest.fixture(scope="module")
def snippet() -> Any:
    """docs/examples/snippet.py: a processor with a page of code, of data and a stack."""
    spec = importlib.util.spec_from_file_location("snippet", SNIPPET)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
