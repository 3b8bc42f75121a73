"""The public suites, when their checkouts are there, and the harnesses themselves on a few vectors of our own.

PCEMU_SUITES names a directory with any of test386.bin (and test386-EE-reference.txt), 80286/, 80386/ and testfloat_gen.
"""
from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from . import chips, moo, rom386, run, sst, testfloat

SUITES = os.environ.get("PCEMU_SUITES", "")
Regs = dict[str, int]

BASE16 = {"eax": 0x1234, "ebx": 0x0100, "ecx": 3, "edx": 0, "cs": 0x1000, "ss": 0x2000, "ds": 0x3000, "es": 0x4000, "esp": 0x0800,
          "ebp": 0, "esi": 0x0010, "edi": 0x0020, "eip": 0x0200, "eflags": 0x0002}
BASE32 = {**BASE16, "cr0": 0x7FFEFFF0, "cr3": 0, "fs": 0, "gs": 0, "dr6": 0xFFFF0FF0, "dr7": 0, "eax": 0x89ABCDEF}


def chunk(tag: str, payload: bytes) -> bytes:
    return tag.encode() + struct.pack("<I", len(payload)) + payload


def counted(payload: bytes, count: int | None = None) -> bytes:
    return struct.pack("<I", len(payload) if count is None else count) + payload


def registers(regs: Regs, wide: bool) -> bytes:
    names, size = (moo.REGS32, 4) if wide else (moo.REGS16, 2)
    present = [(i, regs[moo.WIDE.get(n, n)]) for i, n in enumerate(names) if moo.WIDE.get(n, n) in regs]
    mask = sum(1 << i for i, _ in present)
    values = b"".join(v.to_bytes(size, "little") for _, v in present)
    return chunk("RG32" if wide else "REGS", mask.to_bytes(size, "little") + values)


def memory(cells: dict[int, int]) -> bytes:
    return chunk("RAM ", counted(b"".join(struct.pack("<IB", a, b) for a, b in cells.items()), len(cells)))


def vector(index: int, code: str, change: Regs, after: Regs, ram: dict[int, int] | None = None,
           ram_after: dict[int, int] | None = None, exception: tuple[int, int] | None = None, wide: bool = False) -> bytes:
    """A TEST chunk: `code` (with its HLT) at cs:ip, and what it changes."""
    before = {**(BASE32 if wide else BASE16), **change}
    raw = bytes.fromhex(code)
    at = before["cs"] * 16 + before["eip"]
    cells = {**{at + i: b for i, b in enumerate(raw)}, **(ram or {})}
    body = struct.pack("<I", index) + chunk("NAME", counted(b"own vector")) + chunk("BYTS", counted(raw))
    body += chunk("INIT", registers(before, wide) + memory(cells))
    body += chunk("FINA", registers(after, wide) + memory(ram_after or {})) + chunk("CYCL", bytes(4))
    if exception:
        body += chunk("EXCP", struct.pack("<BI", *exception))
    return chunk("TEST", body + chunk("HASH", bytes([index]) * 20))


def file(path: Path, vectors: list[bytes], wide: bool = False) -> Path:
    head = struct.pack("<BBxxI4s", 1, 1, len(vectors), b"386E" if wide else b"C286")
    path.write_bytes(chunk("MOO ", head) + b"".join(vectors))
    return path


IVT6 = {0x18: 0x00, 0x19: 0x03, 0x1A: 0x00, 0x1B: 0x10, 0x10300: 0xF4}
IVT13 = {0x34: 0x00, 0x35: 0x03, 0x36: 0x00, 0x37: 0x10, 0x10300: 0xF4}
FRAME = {0x207FA: 0x00, 0x207FB: 0x02, 0x207FC: 0x00, 0x207FD: 0x10, 0x207FE: 0x02, 0x207FF: 0x00}

OWN_286 = [
    # add [bx+0x0e], al: a memory operand and six flags
    vector(0, "00470ef4", {}, {"eip": 0x204, "eflags": 0x0886}, {0x3010E: 0x62}, {0x3010E: 0x96}),
    # rep movsb
    vector(1, "f3a4f4", {}, {"ecx": 0, "esi": 0x13, "edi": 0x23, "eip": 0x203}, {0x30010: 1, 0x30011: 2, 0x30012: 3},
           {0x40020: 1, 0x40021: 2, 0x40022: 3}),
    # mov ax, [0xffff]: exception 13, whose frame goes to the stack
    vector(2, "a1fffff4", {}, {"esp": 0x7FA, "eip": 0x301}, IVT13, FRAME, (13, 0x207FE)),
    # pop ax with SP = 0xffff: 13 on the 80286 though the stack segment is meant
    vector(3, "58f4", {"esp": 0xFFFF}, {"esp": 0xFFF9, "eip": 0x301}, IVT13,
           {0x2FFF9: 0x00, 0x2FFFA: 0x02, 0x2FFFB: 0x00, 0x2FFFC: 0x10, 0x2FFFD: 0x02, 0x2FFFE: 0x00}, (13, 0x2FFFC)),
    # popf: IOPL and NT stay clear
    vector(4, "9df4", {}, {"esp": 0x802, "eip": 0x202, "eflags": 0x0003}, {0x20800: 0x03, 0x20801: 0x70}),
]
OWN_386 = [
    # add eax, [ebx+esi*4]
    vector(0, "67660304b3f4", {}, {"eax": 0x89ABCDF0, "eip": 0x206, "eflags": 0x0096},
           {0x30140: 1, 0x30141: 0, 0x30142: 0, 0x30143: 0}, wide=True),
    # mov [0x10000], al with 32-bit addressing: beyond the limit
    vector(1, "67a200000100f4", {}, {"esp": 0x7FA, "eip": 0x301}, IVT13, FRAME, (13, 0x207FE), wide=True),
]


def test_own_vectors_of_the_80286(tmp_path: Path) -> None:
    names = ["00", "A4", "A1", "58", "9D"]
    runner = sst.Runner(wide=False)
    for _round in range(2):                 # the second time over what the first left in memory
        for name, v in zip(names, OWN_286, strict=True):
            score = sst.run_file(runner, file(tmp_path / f"{name}.MOO", [v]))
            assert (score.name, score.passed, score.failures) == (name, 1, {})


def test_own_vectors_of_the_80386(tmp_path: Path) -> None:
    path = file(tmp_path / "676603.MOO", OWN_386, wide=True)
    assert sst.is_wide(path)
    score = sst.run_file(sst.Runner(wide=True), path)
    assert (score.passed, score.failures) == (2, {})


@pytest.mark.parametrize("after, cells, says", [
    ({"eip": 0x204, "eflags": 0x0082}, {0x3010E: 0x96}, "flags 0x884, chip 0x80 (differ 0x804)"),
    ({"eip": 0x204, "eflags": 0x0886, "edx": 1}, {0x3010E: 0x96}, "edx 0x0, chip 0x1"),
    ({"eip": 0x204, "eflags": 0x0886}, {}, "[0x3010e] 0x96, chip 0x62"),
    ({"eip": 0x204, "eflags": 0x0886}, {0x3010E: 0x96, 0x50000: 7}, "[0x50000] 0x00, chip 0x07"),
])
def test_a_wrong_result_is_a_failure(tmp_path: Path, after: Regs, cells: dict[int, int], says: str) -> None:
    path = file(tmp_path / "00.MOO", [vector(5, "00470ef4", {}, after, {0x3010E: 0x62}, cells)])
    score = sst.run_file(sst.Runner(wide=False), path)
    assert score.passed == 0
    assert says in score.failures[5]


def test_what_is_left_out_or_masked_is_what_the_table_says(tmp_path: Path) -> None:
    # lock push ax; mov with eleven bytes: neither is the later processors' affair
    push = vector(0, "f050f4", {}, {"esp": 0x7FE, "eip": 0x203}, {}, {0x207FE: 0x34, 0x207FF: 0x12})
    long = vector(1, "3e3e3e3e3ec7060001" + "3412f4", {}, {"esp": 0x7FA, "eip": 0x301}, IVT6, FRAME, (6, 0x207FE))
    assert not sst.run_file(sst.Runner(wide=False), file(tmp_path / "50.MOO", [push])).run
    assert not sst.run_file(sst.Runner(wide=False), file(tmp_path / "C7.MOO", [long])).run
    v = moo.Vector(exception=0, regs={"ss": 0x2000}, regs_after={"esp": 0x7FA})
    assert chips.flag_mask(False, "F7.6", v) == 0xFFFD & ~0x08D5
    assert chips.loose_bytes(v, 0xF728) == {0x207FE: 0xD7, 0x207FF: 0x08}
    assert chips.flag_mask(True, "6601", v) == 0xFFFD
    assert chips.bare("676680.7") == "80.7" and chips.bare("67") == "67" and chips.bare("66F7.6") == "F7.6"


FLOATS = {
    ("addss", "near_even"): "3F800000 3F800000 40000000 00\nFF800000 7F800000 FFC00000 10\n7F7FFFFF 7F7FFFFF 7F800000 05\n"
                            "7FA00000 3F800000 7FE00000 10\n",
    ("addss", "minMag"): "7F7FFFFF 7F7FFFFF 7F7FFFFF 05\n",
    ("divpd", "near_even"): "3FF0000000000000 0000000000000000 7FF0000000000000 08\n"
                            "0010000000000000 4008000000000000 0005555555555555 03\n",
    ("cvttsd2si eax", "minMag"): "C1E0000000000000 80000000 00\n41E0000000000000 80000000 10\n3FF8000000000000 00000001 01\n",
    ("fsqrt", "near_even"): "40008000000000000000 3FFFB504F333F9DE6484 01\nBFFF8000000000000000 FFFFC000000000000000 10\n",
    ("fprem1", "near_even"): "40018000000000000000 4000C000000000000000 3FFF8000000000000000 00\n"
                             "43FF8000000000000000 4000C000000000000000 3FFF8000000000000000 00\n",
    ("fcomip", "near_even"): "3FFF8000000000000000 7FFFC000000000000000 0 10\n",
}


@pytest.mark.parametrize("name, rounding", list(FLOATS))
def test_own_floating_point_vectors(name: str, rounding: str) -> None:
    case = next(c for c in testfloat.CASES if c.name == name)
    text = FLOATS[name, rounding].encode()
    count, failed, told = testfloat.run_case(case, Path(), rounding, text=text)
    assert (count, failed, told) == (text.count(b"\n"), 0, [])


def test_a_wrong_float_is_a_failure() -> None:
    case = next(c for c in testfloat.CASES if c.name == "addss")
    text = b"3F800000 3F800000 40000001 00\n3F800000 3F800000 40000000 01\n"
    _, failed, told = testfloat.run_case(case, Path(), "near_even", text=text)
    assert failed == 2
    assert told[0] == "addss (f32_add, near_even): 3f800000 3f800000 -> 40000000 flags 0x00, TestFloat 40000001 flags 0x00"


ROM = """
.code16
start:  mov $1, %al
        out %al, $0x80
        mov $'o', %al
        out %al, $0xe9
        mov $'k', %al
        out %al, $0xe9
        mov $CODE, %al
        out %al, $0x80
        cli
        hlt
.org 0xfff0
        ljmp $0xf000, $start
.org 0x10000
"""


@pytest.mark.parametrize("code", [0xFF, 0x09])
def test_own_rom(tmp_path: Path, code: int) -> None:
    source, obj, rom = (tmp_path / n for n in ("t.s", "t.o", "t.bin"))
    source.write_text(ROM.replace("CODE", hex(code)))
    subprocess.run(["as", "--32", "-o", str(obj), str(source)], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(obj), str(rom)], check=True)
    result = rom386.run(rom)
    assert (result.code, result.output) == (code, b"ok")
    assert result.wrong_lines(b"ok\n") == 0 and result.wrong_lines(b"ok\nmore\n") == 1 and result.wrong_lines(b"no\n") == 1


def test_known_failures_can_be_read() -> None:
    assert all(i >= 0 for i in (n for _, n in run.known("sst286")))


def _suite(*names: str) -> list[str]:
    if not SUITES:
        pytest.skip("PCEMU_SUITES is not set")
    paths = [Path(SUITES, n) for n in names]
    if not paths[0].exists():
        pytest.skip(f"no {paths[0]}")
    return [str(p) for p in paths]


@pytest.mark.slow
@pytest.mark.fetch
@pytest.mark.parametrize("arguments", [["test386", "test386.bin"], ["sst", "80286"], ["sst", "80386"],
                                       ["testfloat", "testfloat_gen"]], ids=["test386", "80286", "80386", "testfloat"])
def test_public_suite(arguments: list[str], capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    suite, name = arguments
    options = {"sst": [] if request.config.getoption("--soak") else ["--limit", "200"], "testfloat": [], "test386": []}[suite]
    if suite == "test386" and Path(SUITES, "test386-EE-reference.txt").exists():
        options = ["--reference", str(Path(SUITES, "test386-EE-reference.txt"))]
    status = run.main([suite, *_suite(name), *options])
    assert status == 0, capsys.readouterr().out
