"""The decoder meets every opcode and random bytes: its lengths are capstone's, it never reads beyond what it is given, and
whatever the processor is made to run, it neither crashes nor hangs."""
from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pcemu._core.decode import row_names, row_of

from pcemu._core.isa import gen

capstone = pytest.importorskip("capstone")

MODES = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}
NAMES = row_names()
LEGACY = (0x66, 0x67, 0xF2, 0xF3, 0xF0, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65)

# ---- where capstone and this decoder differ on the length of an instruction both know, and why this one is right

LENGTHS = {
    "UD0 Gv,Ev": "has a ModRM byte (SDM vol. 2, UD); capstone leaves it out",
    "UD1 Gv,Ev": "has a ModRM byte (SDM vol. 2, UD); capstone leaves it out",
}
LENGTHS64 = LENGTHS | {
    "JO Jz": "in 64-bit mode 66 is ignored (SDM vol. 2, Jcc); capstone knows that of the other fourteen conditions",
    "JNO Jz": "see JO",
    "RET Iw": "16 bits of immediate in every mode; capstone takes four bytes after 66 and REX",
}

# ---- what is an instruction here and not to capstone: row -> why

ONLY_HERE = {
    "NOPE Ev": "0F 18 to 0F 1E are NOPs that read nothing (SDM vol. 2, table A-3); capstone knows some of them",
    "PREFETCHW Mb": "every /reg of 0F 0D is a prefetch (APM vol. 3)",
    "MOV Ev,Sw": "segment registers 6 and 7: #UD when executed",
    "MOV Sw,Ew": "CS and segment registers 6 and 7: #UD when executed",
    "FENCE Rd": "ModRM.rm of the fences is ignored (SDM vol. 2, LFENCE)",
    "FCOM ST": "an x87 encoding that processors take for another", "FCOMP ST": "the same", "FXCH ST": "the same",
    "FSTP ST": "the same", "BSF Gv,Ev": "F2 is ignored", "BSR Gv,Ev": "F2 is ignored",
}

# ---- what capstone knows and this processor does not have: #UD

_NAMES = """
    clgi invlpga skinit stgi vmcall vmclear vmfunc vmlaunch vmload vmmcall vmptrld vmptrst vmread vmresume vmrun vmsave vmwrite
    vmxoff vmxon invept invvpid
    encls enclu enclv getsec rsm femms extrq insertq clzero monitorx mwaitx tpause umonitor umwait ptwrite pconfig
    gf2p8affineinvqb gf2p8affineqb gf2p8mulb sha1msg1 sha1msg2 sha1nexte sha1rnds4 sha256msg1 sha256msg2 sha256rnds2
    incsspd incsspq rstorssp setssbsy wrssd wrssq wrussd wrussq movdir64b movdiri rdpkru wrpkru xabort xend xtest
    xrstors xrstors64 xsaves xsaves64 montmul xcryptcbc xcryptcfb xcryptctr xcryptecb xcryptofb xsha1 xsha256 xstore
"""
NOT_HERE = set(_NAMES.split())

# rows that allow no prefix (NP: SDM vol. 2, 3.1.1.1)
NO_PREFIX = {r.id for r in gen.read_rows() if r.prefix == 0}


def sweep(bits: int) -> Iterator[bytes]:
    """Every opcode of the three maps with every mandatory prefix, /reg and form."""
    rng = random.Random(bits)
    for escape in (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a"):
        for opcode in range(256):
            if not escape and (opcode in (*LEGACY, 0x0F, 0xC4, 0xC5, 0x62) or (bits == 64 and opcode & 0xF0 == 0x40)):
                continue                    # prefixes, escapes, VEX and EVEX
            if escape == b"\x0f" and opcode in (0x38, 0x3A, 0x0F):
                continue
            for prefix in (b"", b"\x66", b"\xf2", b"\xf3"):
                if prefix in (b"\xf2", b"\xf3") and not escape:
                    continue
                for rex in (b"", b"\x48") if bits == 64 else (b"",):
                    for reg in range(8):
                        for mod in (rng.randrange(0, 3), 3):
                            modrm = mod << 6 | reg << 3 | rng.randrange(8)
                            yield (prefix + rex + escape + bytes([opcode, modrm]) + rng.randbytes(15))[:15]


def wild(bits: int, count: int) -> Iterator[bytes]:
    """Random bytes behind random prefixes, leaning towards the two- and three-byte opcodes and VEX."""
    rng = random.Random(bits)
    for _ in range(count):
        b = bytearray(rng.choices(LEGACY, k=rng.choice((0, 0, 0, 1, 1, 2, 3))))
        if bits == 64 and rng.random() < 0.4:
            b.append(0x40 | rng.randrange(16))
        r = rng.random()
        if r < 0.35:
            b.append(0x0F)
        elif r < 0.5:
            b += bytes([0x0F, rng.choice((0x38, 0x3A))])
        elif r < 0.55:
            b.append(rng.choice((0xC4, 0xC5)))
        yield bytes(b + rng.randbytes(15))[:15]


@pytest.mark.parametrize("bits", MODES)
def test_lengths_are_capstones(bits: int) -> None:
    md = capstone.Cs(capstone.CS_ARCH_X86, MODES[bits])
    listed = LENGTHS64 if bits == 64 else LENGTHS
    differ: dict[str, str] = {}
    agree = 0
    for code in [*sweep(bits), *wild(bits, 30_000)]:
        row, length, _size = row_of(code, bits)
        theirs = next(md.disasm_lite(code, 0, 1), None)
        if not row or theirs is None or length == theirs[1]:
            agree += bool(row and theirs)
        elif NAMES[row] not in listed:
            differ[NAMES[row]] = f"{code.hex(' ')}: {length}, capstone {theirs[1]} ({theirs[2]} {theirs[3]})"
    assert not differ, "\n".join(f"{k}: {v}" for k, v in differ.items())
    assert agree > 20_000


@pytest.mark.parametrize("bits", MODES)
def test_the_same_bytes_are_instructions(bits: int) -> None:
    """Over the sweep: nothing is an instruction here that is none to capstone, or the other way round, but for the lists."""
    md = capstone.Cs(capstone.CS_ARCH_X86, MODES[bits])
    only_here: dict[str, str] = {}
    not_here: dict[str, str] = {}
    for code in sweep(bits):
        row, length, _size = row_of(code, bits)
        theirs = next(md.disasm_lite(code, 0, 1), None)
        if row and theirs is None:
            # in 16-bit code capstone takes 66 for an operand size before it takes it for part of an SSE opcode
            if NAMES[row] not in ONLY_HERE and not (bits == 16 and code[0] == 0x66):
                only_here[NAMES[row]] = code[:length].hex(" ")
        elif theirs is not None and not row and theirs[2] not in NOT_HERE:
            plain = next(md.disasm_lite(code[1:], 0, 1), None)
            if code[0] in LEGACY and plain and row_of(code[1:], bits)[0] in NO_PREFIX \
                    and (code[0] != 0x66 or plain[2:] == theirs[2:] or theirs[2] in ("xsave", "xrstor", "movnti")):
                continue                    # the opcode allows no prefix, which capstone ignores
            not_here[theirs[2]] = code[:theirs[1]].hex(" ")
    assert not only_here, f"not to capstone: {only_here}"
    assert not not_here, f"only to capstone: {not_here}"


@pytest.mark.parametrize("bits", MODES)
def test_an_instruction_needs_its_bytes_and_no_more(bits: int) -> None:
    """With its last byte missing it is incomplete; with nothing behind it (the end of a page) it is what it was."""
    for code in [*wild(bits, 10_000), b"\x90", b"\xf3\x90", b"\x0f\x77", b"\x0f\x09"]:
        row, length, size = row_of(code, bits)
        if not row:
            continue
        assert row_of(code[:length], bits) == (row, length, size), code[:length].hex(" ")
        for n in range(length):
            assert row_of(code[:n], bits) == (0, 0, 0), code[:n].hex(" ")


def test_fifteen_bytes_are_the_limit() -> None:
    nop = b"\x66" * 14 + b"\x90"
    assert row_of(nop, 32)[1] == 15 and NAMES[row_of(nop, 32)[0]].startswith("NOP90")
    assert row_of(b"\x66" + nop, 32)[:2] == (0, 15)
    assert row_of(b"\x66" * 12 + b"\x81\xc0\0\0\0\0", 32)[0] == 0
    assert row_of(b"", 32) == (0, 0, 0)


FUZZ = """
import random, sys
from asm import layout, machine
mode, cpl, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
m = machine.machine()
rng = random.Random(seed)
ends = {}
for _ in range(60):
    m.restore_all()
    state = dict(m.base(mode, cpl))
    for r in machine.GPR:
        if rng.random() < 0.5:
            state[r] = rng.getrandbits(rng.choice((8, 16, 17, 32, 64)))
    state["eflags"] = state["eflags"] & ~0xCD5 | rng.getrandbits(12) & 0xCD5
    m.mem.write(layout.CODE_SEG, rng.randbytes(layout.CODE_END - layout.CODE_SEG))
    m.load(state)
    m.flush()
    for _ in range(40):
        before = m.cpu.icount
        why = m.cpu.run(200)
        assert m.cpu.icount - before <= 200, "more instructions than asked for"
        ends[why] = ends.get(why, 0) + 1
        if why == "shutdown":
            break
        if why == "halted":         # the handler of an exception: go on somewhere
            m.cpu.halted = False
            m.read_state()
            m.load(state | {"rip": state["rip"] + rng.randrange(0x1000)})
    m.read_state()
    m.cpu.reset()
    m.read_state()
assert set(ends) <= {"halted", "budget", "shutdown", "deadline", "exit_request", "init"}, ends
print(sum(ends.values()))
"""


@pytest.mark.parametrize("mode, cpl", [("real", 0), ("vm86", 3), ("pm16", 0), ("pm32", 0), ("pm32", 3), ("pae", 0), ("compat", 0),
                                       ("compat", 3), ("long64", 0), ("long64", 3)])
def test_random_code_neither_crashes_nor_hangs(mode: str, cpl: int) -> None:
    """In a process of its own, so that a crash is a failure and not the end of the tests."""
    script = "import sys; sys.path[:0] = " + repr([p for p in sys.path if p]) + "\n" + FUZZ
    r = subprocess.run([sys.executable, "-c", script, mode, str(cpl), "1"], capture_output=True, text=True, timeout=600)
    assert r.returncode == 0, r.stderr[-2000:]
    assert int(r.stdout) > 60
