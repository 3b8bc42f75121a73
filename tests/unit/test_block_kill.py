"""Real processes, killed while they write: what they said was flushed is there. `make soak` does it a thousand times."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from blocktools import make, needs_qemu_img, open_qcow2

from pcemu.block.qcow2.header import DIRTY

ROOT = Path(__file__).resolve().parents[2]
SIZE = 1 << 20
SECTORS = SIZE // 512

# Writes sectors with a running number, many requests in flight; tells what it begins and what a flush has covered.
WRITER = """
import random, sys
from pcemu.block import BlockBackend
from pcemu.block.graph import Graph
image, seed = sys.argv[1:]
node = Graph().open({"driver": "qcow2", "file": {"driver": "file", "filename": image}, "discard": "unmap"})
backend = BlockBackend("d", node, lambda call: None, discard=True)
rng = random.Random(int(seed))
number = 0
while True:
    for sector in rng.sample(range(2048), rng.randrange(1, 30)):
        number += 1
        print("w", number, sector, flush=True)
        backend.pwritev(sector * 512, [memoryview(b"%08d" % number * 64)], lambda error: None)
    backend.drain()
    backend.flush(lambda error: print("f", error, flush=True))
    backend.drain()
"""


def once(directory: Path, seed: int, **shape: Any) -> None:
    rng = random.Random(seed)
    image = make(directory / "a.qcow2", SIZE, **shape)
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(image), str(seed)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(rng.randrange(5, 400))]
    child.kill()
    lines += child.stdout.readlines()
    child.wait()
    child.stdout.close()
    allowed: dict[int, list[int]] = {}  # sector -> numbers that may be there
    for line in lines:
        words = line.split()
        if not line.endswith("\n") or not words:
            continue
        if words[0] == "w":
            allowed.setdefault(int(words[2]), [0]).append(int(words[1]))
        else:
            assert words[1] == "0"
            for found in allowed.values():  # what was before is stable
                del found[:-1]
    done = subprocess.run(["qemu-img", "check", str(image)], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        with open_qcow2(image, **{"read-only": True}) as node:
            assert node.header.incompatible & DIRTY, done.stderr
    with open_qcow2(image) as node:
        contents = node.get(0, SIZE)
    for sector in range(SECTORS):
        data = contents[sector * 512 : sector * 512 + 512]
        numbers = {int(data[at : at + 8]) if any(data[at : at + 8]) else 0 for at in range(0, 512, 8)}
        assert len(numbers) == 1 and numbers <= set(allowed.get(sector, [0])), (sector, numbers, allowed.get(sector))
    done = subprocess.run(["qemu-img", "check", str(image)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr


@needs_qemu_img
@pytest.mark.parametrize("shape", [{}, {"cluster_size": 512}, {"lazy_refcounts": True, "cluster_size": 4096}])
def test_killed_writer(tmp_path: Path, shape: dict[str, Any]) -> None:
    once(tmp_path, 1, **shape)


@needs_qemu_img
@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_a_thousand_killed_writers(tmp_path: Path, part: int) -> None:
    for seed in range(part * 100, part * 100 + 100):
        once(tmp_path, seed, **({}, {"cluster_size": 512}, {"lazy_refcounts": True}, {"extended_l2": True})[seed % 4])
