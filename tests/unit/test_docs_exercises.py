"""The exercises of docs/architecture.md that need a build: done in a copy of the tree, as the page says. Minutes long."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import transcripts  # noqa: E402 - found by the path above

PAGE = (ROOT / "docs" / "architecture.md").read_text()
MAKE_CPU = ("from pcemu._core import engine, cpumodel; cpu = engine.Cpu(engine.Memory(), engine.IoSpace(), engine.Clock(), "
            "cpumodel.parse_cpu('max'))")  # fmt: skip
LEFT_BEHIND = shutil.ignore_patterns(".*", "build", "*.so", "__pycache__", "_build", "reference", "gen")


def blocks(number: int, kind: str) -> list[str]:
    section = PAGE[PAGE.index(f"## Exercise {number}:"):]
    section = section[:section.index("\n## ", 1)]
    return re.findall(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def insert(path: Path, before: str, text: str) -> None:
    old = path.read_text()
    assert old.count(before) == 1, f"{path.name}: {before}"
    path.write_text(old.replace(before, text + before))


def changing(lines: list[str]) -> list[str]:
    """Without what is different in every run, or as the suite grows."""
    return [re.sub(r"\d+\.\d+ s|of \d+$|^bits: \d+", "#", line) for line in lines]


def check(tree: Path, text: str) -> None:
    """Run a transcript in the tree, but for the builds."""
    tools = tree / "bin"
    if not tools.exists():
        tools.mkdir()
        (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (tools / "python").chmod(0o755)
    env = {**os.environ, "PYTHONPATH": str(tree), "PATH": f"{tools}:{os.environ['PATH']}"}
    for step in transcripts.steps("console", text):
        if "setup.py" in step.source:
            continue
        done = subprocess.run(["bash", "-c", step.source], cwd=tree, env=env, text=True, capture_output=True, check=False)
        real = [line for line in [*done.stdout.splitlines(), *done.stderr.splitlines()] if not line.startswith("Error: ")]
        assert transcripts.agrees(changing(step.output), changing(real)), f"$ {step.source}\n{done.stdout}{done.stderr}"


@pytest.mark.soak
def test_exercises(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=LEFT_BEHIND)
    core = tree / "pcemu" / "_core"

    row, missing, built, uncovered, covered = blocks(1, "text")
    insert(core / "isa" / "rows_int.py", "NP 0F 38 F0 m | MOVBE", row)
    check(tree, missing)
    insert(core / "x_bits.pyx", 'include "gen/features.pxi"\n', blocks(1, "cython")[0] + "\n\n")
    insert(core / "isa" / "features.py", "umip rdpid fsrm", "movdiri ")

    lines, used, typed = blocks(2, "text")
    anchors = {"state.pxd": "    u64 vm_hsave\n", "isa/state_table.py": '    ("hwcr", "hwcr", 64, 0),',
               "x_msr.pyx": "        (0x1D9, B_FIELD,"}  # fmt: skip
    for line in lines.splitlines():
        code, _, file = line.partition("#")
        insert(core / file.strip(), anchors[file.strip()], f"    {code.strip()}\n")

    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace", "-j2"], cwd=tree, check=True, capture_output=True)
    check(tree, built)
    check(tree, uncovered)
    insert(tree / "tests" / "asm" / "families" / "bits.py", "\n    def crc(", blocks(1, "python")[0])
    check(tree, covered)
    check(tree, used)
    steps = list(transcripts.steps("pycon", typed))
    chunks = [MAKE_CPU, *(step.source for step in steps)]
    done = subprocess.run([sys.executable, "-c", transcripts.INTERPRETER], cwd=tree,
                          input="".join(json.dumps(f"{chunk}\n") + "\n" for chunk in chunks),
                          env={**os.environ, "PYTHONPATH": str(tree)}, text=True, stdout=subprocess.PIPE, check=True)
    assert [json.loads(line).splitlines() for line in done.stdout.splitlines()] == [[], *(step.output for step in steps)]
