"""The x87 arithmetic that other hosts run (host_x87_generic.h) against this host's own: bit for bit, flags included.

The transcendentals are the exception: they agree to a few units in the last place.
"""
from __future__ import annotations

import ctypes
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from .rig import needs_x86_64
from .test_x87 import CW_MODES, decimal, number, operand, related

pytestmark = needs_x86_64

CORE = Path(__file__).resolve().parents[2] / "pcemu" / "_core"
N = int(os.environ.get("PCEMU_DIFF_STATES", "150")) * 40
ARITH = [n + s for n in ("add", "mul", "sub", "subr", "div", "divr", "com") for s in ("", "_m32", "_m64", "_i16", "_i32")]
EXACT = [*ARITH, "ucom", "sqrt", "rndint", "scale", "prem", "prem1", "xtract", "ld32", "ld64", "ldbcd", "st32", "st64", "ist16", "ist32",
         "ist64", "stbcd"]
CODES = {"com": 0x4700, "ucom": 0x4700, "prem": 0x4700, "prem1": 0x4700}
NAN = 0x7FFF


class Functions:
    """One build of x87_functions.c."""

    def __init__(self, folder: Path, name: str, *flags: str) -> None:
        lib = folder / f"{name}.so"
        source = Path(__file__).with_name("x87_functions.c")
        subprocess.run(["cc", "-O2", "-fwrapv", "-fno-strict-aliasing", "-ffp-contract=off", "-shared", "-fPIC", f"-I{CORE}", *flags,
                        str(source), "-lm", "-o", str(lib)], check=True)
        self.lib = ctypes.CDLL(str(lib))

    def run(self, name: str, records: list[bytes]) -> list[tuple[bytes, int]]:
        out = ctypes.create_string_buffer(48 * len(records))
        assert self.lib.run(name.encode(), len(records), b"".join(records), out)
        raw = out.raw
        return [(raw[48 * i:48 * i + 32], struct.unpack_from("<I", raw, 48 * i + 32)[0]) for i in range(len(records))]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Functions, Functions]:
    folder = tmp_path_factory.mktemp("x87")
    host, portable = Functions(folder, "host"), Functions(folder, "portable", "-DPCEMU_PORTABLE")
    assert host.lib.host_has_x87() and not portable.lib.host_has_x87()
    return host, portable


def record(rng: random.Random, name: str) -> bytes:
    a = number(rng)
    if name == "ldbcd":
        first = decimal(rng)
    elif name in ("ld32", "ld64"):
        first = operand(rng, a)
    else:
        first = a.to_bytes(10, "little")
    second = operand(rng, a) if "_" in name else related(rng, a).to_bytes(10, "little")
    return first.ljust(16, b"\0") + second.ljust(16, b"\0") + struct.pack("<4I", rng.choice(CW_MODES), 0, 0, 0)


@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str, builds: tuple[Functions, Functions]) -> None:
    rng = random.Random(name)
    records = [record(rng, name) for _ in range(N)]
    host, portable = (f.run(name, records) for f in builds)
    codes = CODES.get(name.split("_")[0], 0x200)
    for r, (d, sw), (d2, sw2) in zip(records, host, portable, strict=True):
        mask = 0x3F | codes
        if "prem" in name and d[8] | (d[9] & 0x7F) << 8 == NAN:
            mask = 0x23F | 0x400
        what = f"a={r[:10][::-1].hex()} b={r[16:26][::-1].hex()} cw={struct.unpack_from('<I', r, 32)[0]:x}"
        assert (d.hex(), hex(sw & mask)) == (d2.hex(), hex(sw2 & mask)), what


def ordinary(rng: random.Random, low: int, high: int, sign: bool = True) -> int:
    return (rng.getrandbits(1) << 79 if sign else 0) | (16383 + rng.randrange(low, high)) << 64 | 1 << 63 | rng.getrandbits(63)


# name: exponents of ST(0), of ST(1), may ST(0) be negative
DOMAINS = {"2xm1": ((-70, 0), (0, 1), True), "yl2x": ((-2000, 2000), (-60, 60), False), "yl2xp1": ((-70, -2), (-60, 60), True),
           "patan": ((-60, 60), (-60, 60), True), "ptan": ((-60, 0), (0, 1), True), "sin": ((-60, 0), (0, 1), True),
           "cos": ((-60, 0), (0, 1), True), "sincos": ((-60, 0), (0, 1), True)}
UNITS = 4


def units(x: bytes, y: bytes) -> int:
    """The distance of two 80-bit values in units of the last place."""
    a, b = (int.from_bytes(v[:10], "little") for v in (x, y))
    return abs((a & (1 << 63) - 1 | (a >> 64) << 63) - (b & (1 << 63) - 1 | (b >> 64) << 63))


@pytest.mark.parametrize("name", DOMAINS)
def test_transcendental(name: str, builds: tuple[Functions, Functions]) -> None:
    rng = random.Random(name)
    first, second, sign = DOMAINS[name]
    records = [ordinary(rng, *first, sign=sign).to_bytes(16, "little") + ordinary(rng, *second).to_bytes(16, "little")
               + struct.pack("<4I", 0x37F, 0, 0, 0) for _ in range(N // 4)]
    host, portable = (f.run(name, records) for f in builds)
    for r, (d, sw), (d2, sw2) in zip(records, host, portable, strict=True):
        what = f"a={r[:10][::-1].hex()} b={r[16:26][::-1].hex()}: {d[9::-1].hex()} {d2[9::-1].hex()}"
        assert sw & 0x3F == sw2 & 0x3F, what
        assert units(d, d2) <= UNITS and units(d[16:], d2[16:]) <= UNITS, what


@pytest.mark.parametrize("name", DOMAINS)
def test_transcendental_specials(name: str, builds: tuple[Functions, Functions]) -> None:
    """Zeros, infinities, NaNs: class and sign of the result, and the flags that are found before it."""
    rng = random.Random(name)
    special = [0, 0x8000 << 64, 0x7FFF << 64 | 1 << 63, 0xFFFF << 64 | 1 << 63, 0x7FFF << 64 | 3 << 62, 0x7FFF << 64 | 1 << 63 | 9,
               0x3FFF << 64 | 1 << 63, 0xBFFF << 64 | 1 << 63, 0x4000 << 64, 0x3FFE << 64 | 1 << 63]
    records = [a.to_bytes(16, "little") + b.to_bytes(16, "little") + struct.pack("<4I", rng.choice(CW_MODES), 0, 0, 0)
               for a in special for b in special]
    host, portable = (f.run(name, records) for f in builds)
    for r, (d, sw), (d2, sw2) in zip(records, host, portable, strict=True):
        if name == "yl2xp1" and r[8:10] == b"\xff\xbf":
            continue                        # log2(1 - 1): outside the instruction's domain
        what = f"a={r[:10][::-1].hex()} b={r[16:26][::-1].hex()}: {d[9::-1].hex()} {d2[9::-1].hex()}"
        assert sw & 7 == sw2 & 7, what
        assert units(d, d2) <= UNITS and units(d[16:], d2[16:]) <= UNITS, what
