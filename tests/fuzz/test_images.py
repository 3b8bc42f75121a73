"""Disk images from strangers: see images.py. `make soak` tries millions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(directory: Path, first: int, count: int) -> None:
    command = [sys.executable, "-m", "tests.fuzz.images", str(directory), str(first), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_mutated_images(tmp_path: Path) -> None:
    run(tmp_path, 0, 250)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(100))
def test_millions_of_mutated_images(tmp_path: Path, part: int) -> None:
    run(tmp_path, 1_000_000 + part * 20_000, 20_000)
