"""Sphinx configuration. `make docs` builds docs/_build/html."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import reference  # noqa: E402 - found by the path above

project = "pcemu"
author = "the pcemu authors"
copyright = "2026, the pcemu authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
exclude_patterns = ["_build", "examples", "requirements.txt"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# The reference pages are written from what the code declares.
reference.main([str(Path(__file__).resolve().parent / "reference")])
