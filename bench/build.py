"""Build the benchmark guest: one static program without a C library, into .cache/bench."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from bench.workloads import c_table

GUEST = Path(__file__).resolve().parent / "guest"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "bench"
FLAGS = [
    "-std=gnu11", "-O2", "-Wall", "-Wextra", "-ffreestanding", "-static", "-nostdlib", "-fno-pic", "-no-pie",
    "-fno-stack-protector", "-fno-tree-vectorize", "-fno-asynchronous-unwind-tables", "-fcf-protection=none",
    "-fno-tree-loop-distribute-patterns", "-fno-optimize-sibling-calls", "-ffp-contract=off", "-fno-math-errno",
    "-Wl,--build-id=none",
]  # fmt: skip
SOURCES = [GUEST / f"{name}.c" for name in ("bench", "blocks", "branchy", "calls", "clock", "code", "float", "integer", "kernel",
                                            "stream")]  # fmt: skip
MODES = {64: ["-m64", "-march=x86-64"], 32: ["-m32", "-march=pentium4", "-mfpmath=sse", "-mno-stv"]}


def build(bits: int = 64) -> Path:
    """The program for one mode; the same bytes on all emulators and on the host. Its name has a digest of what it was
    made of: trees that share a cache do not share a program by mistake."""
    table = c_table(bits)
    digest = hashlib.sha256(repr((MODES[bits], FLAGS, table)).encode())
    for path in (GUEST / "sys.h", *SOURCES):
        digest.update(path.name.encode() + path.read_bytes())
    program = CACHE / f"bench{bits}-{digest.hexdigest()[:12]}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = program.with_suffix(f".{os.getpid()}")
        with tempfile.TemporaryDirectory() as made:
            (Path(made) / "table.h").write_text(table)
            subprocess.run(["gcc", *MODES[bits], *FLAGS, "-I", made, "-o", partial, *SOURCES], check=True)
        partial.replace(program)
    return program


if __name__ == "__main__":
    for mode in MODES:
        print(build(mode))
