"""AVX on hosts without it: the operations of host_avx.h and host_fma.h as other hosts run them, against this host's instructions.

The headers are built three times: as they are, for the oldest x86-64 host, and in portable C.
"""
from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from . import sse_native as native
from .vex import halves

CORE = Path(__file__).parent.parent.parent / "pcemu" / "_core"
N = int(os.environ.get("PCEMU_DIFF_STATES", "300"))
OTHERS = {"sse2": "-DPCEMU_SSE2_ONLY", "portable": "-DPCEMU_PORTABLE"}
IMMEDIATES = (0, 1, 2, 4, 7, 8, 15, 17, 0x1B, 0x31, 0x4E, 0x93, 0xA8, 0xFF)

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64" or not {"avx2", "fma", "f16c"} <= native.host_flags(),
                                reason="compares with the host's instructions")


def generated(name: str) -> tuple[str, list[str]]:
    """What a family's template gives the compiler: C definitions, names of functions."""
    text = (CORE / "gen" / f"{name}.pxi").read_text()
    c = "\n".join(re.findall(r'cdef extern from \* nogil:\n    """\n(.*?)"""', text, re.S))
    return c, re.findall(r"^    void (\w+)\(", text, re.M)


def build(folder: Path, name: str, option: str) -> ctypes.CDLL:
    integers, int_names = generated("x_avx_int")
    moves = generated("x_avx")[1]
    floats, fp_names = generated("x_avx_fp")
    fma, fma_names = generated("x_avx_fma")
    simple = [n for n in int_names + moves if "blendv" not in n]
    fp = [n for n in fp_names + fma_names + ["f_vcvtph2ps", "f_vcvtps2ph"] if n.startswith("f_")]
    source = ['#include "host_crypto.h"', '#include "host_fma.h"', integers, floats, fma,
              "typedef void (*simple_fn)(AVX_ARGS);", "static const struct { const char *name; simple_fn f; } simple[] = {",
              *(f'{{"{n}", {n}}},' for n in simple), "{0, 0}};",
              "static const struct { const char *name; pcemu_fpfn f; } fp[] = {", *(f'{{"{n}", {n}}},' for n in fp), "{0, 0}};", """
const char *simple_name(int i) { return simple[i].name; }
const char *fp_name(int i) { return fp[i].name; }
void run_simple(int i, int n, uint8_t *d, const uint8_t *a, const uint8_t *b, uint32_t imm)
{
    for (int k = 0; k < n; k++)
        simple[i].f(d + 32 * k, a + 32 * k, b + 32 * k, imm);
}
void run_fp(int i, int n, uint8_t *d, const uint8_t *s, uint32_t imm, uint32_t *mx)
{
    for (int k = 0; k < n; k++)
        mx[k] = pcemu_fp_run(fp[i].f, d + 16 * k, s + 32 * k, imm, &mx[k]);
}
void begin(void) { pcemu_rsqrt_init(); }
"""]
    path = folder / f"{name}.c"
    path.write_text("\n".join(source))
    library = folder / f"{name}.so"
    subprocess.run(["gcc", "-O1", "-fwrapv", "-fno-strict-aliasing", "-ffp-contract=off", "-w", *([option] if option else []), "-shared",
                    "-fPIC", f"-I{CORE}", f"-I{CORE / 'gen'}", "-o", library, path, "-lm"], check=True)
    lib = ctypes.CDLL(str(library))
    lib.simple_name.restype = lib.fp_name.restype = ctypes.c_char_p
    lib.begin()
    return lib


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    folder = Path(tmp_path_factory.mktemp("avx"))
    return {name: build(folder, name, option) for name, option in {"host": "", **OTHERS}.items()}


def names(f: Any) -> list[str]:
    out: list[str] = []
    while (n := f(len(out))) is not None:
        out.append(n.decode())
    return out


def at(v: NDArray[Any]) -> int:
    return int(v.ctypes.data)


@pytest.mark.parametrize("other", OTHERS)
def test_integer_operations(libraries: dict[str, ctypes.CDLL], other: str) -> None:
    rng = np.random.default_rng(1)
    a, b, d = (np.ascontiguousarray(np.concatenate([native.integers(rng, N), native.integers(rng, N)], axis=1)) for _ in range(3))
    b[::3, :16] = b[::3, :16] & 0x0F
    bad = []
    for i, name in enumerate(names(libraries["host"].simple_name)):
        shift = re.search(r"ps[lr][la][wdq]$", name)
        b_used = b.copy()
        if shift:
            b_used[::2, 1:8] = 0
            b_used[::2, 0] &= 0x3F
        for imm in IMMEDIATES:
            got = {}
            for which in ("host", other):
                out = d.copy()
                libraries[which].run_simple(i, N, *map(ctypes.c_void_p, (at(out), at(a), at(b_used))), imm)
                got[which] = out
            if (got["host"] != got[other]).any():
                k = int(np.nonzero((got["host"] != got[other]).any(axis=1))[0][0])
                bad.append(f"{name} {imm:#x}: a {a[k][::-1].tobytes().hex()} b {b_used[k][::-1].tobytes().hex()} host "
                           f"{got['host'][k][::-1].tobytes().hex()} {other} {got[other][k][::-1].tobytes().hex()}")
                break
    assert not bad, "\n".join(bad[:20])


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("kind", ["ps", "pd", "half"])
def test_floating_point_operations(libraries: dict[str, ctypes.CDLL], other: str, kind: str) -> None:
    """Results and flags, in every rounding mode, with and without FTZ and DAZ."""
    rng = np.random.default_rng(2)

    def vectors(n: int) -> NDArray[Any]:
        return halves(rng, n) if kind == "half" else native.floats(rng, n, 32 if kind == "ps" else 64)
    d = np.ascontiguousarray(vectors(N))
    s = np.ascontiguousarray(np.concatenate([vectors(N), vectors(N)], axis=1))
    mx = (0x1F80 | rng.integers(0, 4, N) << 13 | rng.integers(0, 2, N) << 15 | rng.integers(0, 2, N) << 6).astype("u4")
    bad = []
    for i, name in enumerate(names(libraries["host"].fp_name)):
        if kind == "half" and "ph" not in name:
            continue
        wide = "sd" in name or "pd" in name
        if wide != (kind == "pd") and "cvt" not in name:
            continue
        imms = range(32) if "vcmp" in name else range(16) if "round" in name or "ps2ph" in name else (0xFF, 0x71, 0x3F) if "dp" in name else (0,)
        for imm in imms:
            got = {}
            for which in ("host", other):
                out, flags = d.copy(), mx.copy()
                libraries[which].run_fp(i, N, ctypes.c_void_p(at(out)), ctypes.c_void_p(at(s)), imm, ctypes.c_void_p(at(flags)))
                got[which] = np.concatenate([out, flags.view("u1").reshape(N, 4)], axis=1)
            wrong = np.nonzero((got["host"] != got[other]).any(axis=1))[0]
            if len(wrong):
                k = int(wrong[0])
                bad.append(f"{name} {imm:#x} mxcsr {mx[k]:x}: {len(wrong)} wrong, d {d[k][::-1].tobytes().hex()} s "
                           f"{s[k][15::-1].tobytes().hex()} {s[k][:15:-1].tobytes().hex()} host {got['host'][k][::-1].tobytes().hex()} "
                           f"{other} {got[other][k][::-1].tobytes().hex()}")
    assert not bad, f"{len(bad)}\n" + "\n".join(bad[:20])
