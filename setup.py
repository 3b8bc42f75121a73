"""Lists and cythonizes the compiled core; everything else is in pyproject.toml."""
import os
import platform
import runpy
import sys
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).parent
CORE = ROOT / "pcemu" / "_core"

CFLAGS = ["-O2", "-fwrapv", "-fno-strict-aliasing", "-ffp-contract=off", "-fno-semantic-interposition", "-Wno-unused-function",
          "-fno-stack-protector", "-fno-tree-slp-vectorize", "-fomit-frame-pointer"]
if platform.machine() in ("x86_64", "AMD64"):
    CFLAGS += ["-fcf-protection=none"]
CFLAGS += os.environ.get("PCEMU_CFLAGS", "").split()
LDFLAGS = os.environ.get("PCEMU_LDFLAGS", "").split()
# who includes which generated tables
EMITTING = ("emit", "flags", "operands", "thunks", "stubs", "units", "jit", *(pyx.stem for pyx in CORE.glob("e_*.pyx")))
GENERATED = {"decode": [CORE / "gen" / "tables.h"]} | {stem: [CORE / "gen" / "emit.h"] for stem in EMITTING}


def extensions() -> list[Extension]:
    from Cython.Build import cythonize
    runpy.run_path(str(CORE / "isa" / "gen.py"))["generate"]()
    exts = [
        Extension(f"pcemu._core.{pyx.stem}", [str(pyx.relative_to(ROOT))],
                  include_dirs=[str(CORE.relative_to(ROOT)), str((CORE / "gen").relative_to(ROOT))],
                  extra_compile_args=CFLAGS, extra_link_args=LDFLAGS,
                  depends=[str(p) for p in (*sorted(CORE.glob("*.h")), *GENERATED.get(pyx.stem, ()))])
        for pyx in sorted(CORE.glob("*.pyx"))
    ]
    only = os.environ.get("PCEMU_ONLY")             # build some modules only: PCEMU_ONLY=x_sse,mmu
    if only:
        exts = [e for e in exts if e.name.rpartition(".")[2] in only.split(",")]
    return list(cythonize(exts, nthreads=0 if only else 2, language_level=3, build_dir="build/cython",
                          compiler_directives={"boundscheck": False, "wraparound": False, "cdivision": True,
                                               "initializedcheck": False, "embedsignature": True,
                                               "legacy_implicit_noexcept": False}))


def tour() -> None:
    """The built-in guest, pcemu/data/tour.elf. Without it the package works, but for -kernel builtin:tour."""
    if runpy.run_path(str(ROOT / "firmware" / "build.py"))["main"]([]):
        print("warning: built without builtin:tour", file=sys.stderr)


building = any(a.startswith(("build", "bdist", "install", "develop", "editable")) for a in sys.argv[1:])
if building:
    tour()
setup(ext_modules=extensions() if building else [])
