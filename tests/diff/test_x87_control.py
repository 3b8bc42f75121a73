"""What of the x87 the host cannot be asked: pending exceptions, the images in every mode, faults of memory operands, IRQ 13."""
from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tests.asm import layout
from tests.asm.assembler import assemble
from tests.asm.layout import MODES
from tests.asm.machine import AsmMachine, Outcome, machine, physical

PHYSICAL = physical()
ALL = ["real", "vm86", "pm16", "pm32", "compat", "long64"]
NE = 0x20
UNMASK_ZE = "mov word ptr [{DI}], 0x37b; fldcw [{DI}]; "
DIVIDE = "fld1; fldz; "
FAULTY = "fdivp st(1), st"
WAITING = ["fwait", "fld1", "fadd st, st(1)", "fld st(1)", "fxch st(1)", "fnop", "fcom st(1)", "fcomi st, st(1)", "fldcw [{DI}]",
           "fldenv [{DI}]", "frstor [{DI}]", "fld dword ptr [{DI}]", "fstp qword ptr [{DI}]", "fild word ptr [{DI}]",
           "fistp dword ptr [{DI}]", "fmul qword ptr [{DI}]", "fsqrt", "fsin", "fprem", "fxtract", "fyl2x", "fchs", "fxam", "ftst",
           "ffree st(0)", "fincstp", "fcmove st, st(1)", "fbld tbyte ptr [{DI}]", "fbstp tbyte ptr [{DI}]", "fpatan",
           "fstp tbyte ptr [{DI}]", "fst st(2)", "fiadd dword ptr [{DI}]", "fcom dword ptr [{DI}]", ".byte 0xd9, 0xd9",
           ".byte 0xdf, 0xc1"]
NOT_WAITING = ["fninit", "fnclex", "fnstcw [{DI}]", "fnstsw [{DI}]", "fnstsw ax", "fnstenv [{DI}]", "fnsave [{DI}]", ".byte 0xdb, 0xe0",
               ".byte 0xdb, 0xe1", ".byte 0xdb, 0xe4"]


class Small:
    """A snippet at a time on the small machine of the assembly ring."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.bits = MODES[mode].bits
        self.m: AsmMachine = machine()
        self.code = b""

    def run(self, text: str, state: dict[str, int] | None = None, memory: dict[int, bytes] | None = None) -> Outcome:
        m = self.m
        m.restore_all()
        self.code = assemble([(self.bits, text.format(DI="di" if self.bits == 16 else "edi" if self.bits == 32 else "rdi"))])[0]
        s = dict(m.base(self.mode))
        s["fop"] = s["fip"] = s["fdp"] = s["fcs"] = s["fds"] = 0
        s |= state or {}
        m.mem.write(layout.CODE, self.code + b"\xf4")
        for a, d in (memory or {}).items():
            m.mem.write(a, d)
        m.load(s)
        return m.execute(self.mode)

    def at(self, text: str) -> int:
        """Length of a part of the snippet."""
        di = "di" if self.bits == 16 else "edi" if self.bits == 32 else "rdi"
        return len(assemble([(self.bits, text.format(DI=di))])[0])

    @property
    def start(self) -> int:
        return self.m.base(self.mode)["rip"]

    def data(self, n: int, offset: int = 0x40) -> bytes:
        return bytes(self.m.mem.read(layout.DATA + offset, n))


@pytest.fixture(params=ALL)
def small(request: pytest.FixtureRequest) -> Iterator[Small]:
    yield Small(request.param)


# ------------------------------------------------------------------------------------------- pending exceptions


@pytest.mark.parametrize("instruction", WAITING)
def test_waiting_instructions_raise_mf(instruction: str) -> None:
    s = Small("pm32")
    before = UNMASK_ZE + DIVIDE + FAULTY + "; "
    base = s.m.base("pm32")["cr0"]
    out = s.run(before + instruction, {"cr0": base | NE})
    assert (out.how, out.vector) == ("fault", 16)
    assert out.state["rip"] == s.start + s.at(before), "the fault belongs to the waiting instruction"
    assert out.state["fsw"] == 0xB084 and out.state["ftw"] == 0xC0, "the division left its operands alone"
    assert out.state["fip"] == s.start + s.at(UNMASK_ZE + DIVIDE), "the pointers are the division's"
    assert out.state["fop"] == 0x6F9


@pytest.mark.parametrize("instruction", NOT_WAITING)
def test_control_instructions_do_not_wait(instruction: str) -> None:
    s = Small("pm32")
    out = s.run(UNMASK_ZE + DIVIDE + FAULTY + "; " + instruction, {"cr0": s.m.base("pm32")["cr0"] | NE})
    assert out.how == "done"
    cleared = instruction.startswith(("fninit", "fnclex", "fnsave"))
    assert bool(out.state["fsw"] & 0x8080) == (not cleared and "fnstenv" not in instruction)


def test_mask_written_over_a_flag() -> None:
    """FLDCW makes a flagged exception pending by unmasking it; masks in FLDENV and FRSTOR count the same."""
    s = Small("pm32")
    ne = {"cr0": s.m.base("pm32")["cr0"] | NE}
    out = s.run(DIVIDE + FAULTY + "; " + UNMASK_ZE, ne)
    assert out.how == "done" and out.state["fsw"] & 0x8084 == 0x8084
    out = s.run(DIVIDE + FAULTY + "; " + UNMASK_ZE + "fwait", ne)
    assert out.vector == 16
    out = s.run(DIVIDE + FAULTY + "; fnstenv [{DI}]; and dword ptr [{DI}], 0xfffffffb; fldenv [{DI}]", ne)
    assert out.how == "done" and out.state["fsw"] & 0x8084 == 0x8084
    out = s.run("fnstenv [{DI}]; mov dword ptr [{DI} + 4], 0x8080; fldenv [{DI}]; fwait", ne)
    assert out.how == "done" and out.state["fsw"] == 0, "ES alone is no exception"


def test_emulation_bits(small: Small) -> None:
    """CR0.EM and CR0.TS: #NM for x87 instructions; WAIT looks at MP and TS (SDM vol. 3, table 2-2)."""
    cr0 = small.m.base(small.mode)["cr0"] & ~0xE
    for bits in range(8):
        mp, em, ts = bits & 1, bits >> 1 & 1, bits >> 2
        state = {"cr0": cr0 | mp << 1 | em << 2 | ts << 3}
        out = small.run("fnstsw ax", state)
        assert (out.how == "fault" and out.vector == 7) == bool(em or ts)
        out = small.run("fwait", state)
        assert (out.how == "fault" and out.vector == 7) == bool(mp and ts)


class Line:
    """The board's part in reporting errors by IRQ 13: FERR# sets an interrupt."""

    def __init__(self, cpu: Any) -> None:
        self.cpu = cpu
        self.levels: list[bool] = []

    def ferr(self, level: bool) -> None:
        self.levels.append(level)
        self.cpu.set_intr(level)

    def intack(self) -> int:
        self.cpu.set_intr(False)
        return 0x75


@pytest.mark.parametrize("mode", ["real", "pm32"])
@pytest.mark.parametrize("enabled", [True, False])
def test_irq13(mode: str, enabled: bool) -> None:
    s = Small(mode)
    cpu = s.m.cpu
    line = Line(cpu)
    cpu.ferr_hook, cpu.intack = line.ferr, line.intack
    before = UNMASK_ZE + DIVIDE + FAULTY + "; "
    try:
        out = s.run(before + "fld1", {"cr0": s.m.base(mode)["cr0"] & ~NE, "eflags": 0x202 if enabled else 2})
        if enabled:
            assert (out.how, out.vector) == ("fault", 0x75)
            assert out.state["rip"] == s.start + s.at(before), "the waiting instruction runs again after the handler"
            assert out.state["ftw"] == 0xC0 and line.levels == [True]
        else:
            assert out.how == "done" and out.state["ftw"] == 0xE0
        line.levels.clear()
        out = s.run(before + "fnclex", {"cr0": s.m.base(mode)["cr0"] & ~NE, "eflags": 2})
        assert out.how == "done" and line.levels == [False]
    finally:
        cpu.set_intr(False)
        cpu.ferr_hook = cpu.intack = None


# ------------------------------------------------------------------------------------------------------- images

ST = [(0x4000 + i) << 64 | 1 << 63 | i for i in range(8)]
FIP, FDP, FOP, FCS, FDS = 0x1234, 0x5678, 0x345, 0x2008, 0x3010


def environment(small: Small, wide: bool, fcw: int, fsw: int, tags: int) -> bytes:
    """SDM vol. 1, figures 8-9 to 8-12."""
    if MODES[small.mode].real or MODES[small.mode].vm:
        ip, dp = FIP + (FCS << 4), FDP + (FDS << 4)
        words = [fcw, fsw, tags, ip & 0xFFFF, (ip >> 16) << 12 | FOP, dp & 0xFFFF, (dp >> 16) << 12]
        ones = [0, 1, 2, 3, 5]
    else:
        words = [fcw, fsw, tags, FIP, FCS | FOP << 16 if wide else FCS, FDP, FDS]
        ones = [0, 1, 2, 6]
    if not wide:
        return struct.pack("<7H", *words)
    return struct.pack("<7I", *(w | 0xFFFF0000 if i in ones else w for i, w in enumerate(words)))


def both_sizes(small: Small, name: str) -> Iterator[tuple[str, bool]]:
    yield name, small.bits != 16
    yield "data16 " + name if small.bits != 16 else "data32 " + name, small.bits == 16


STATE = {"fcw": 0x27F, "fsw": 0x6F21, "ftw": 0b11011011, "fip": FIP, "fdp": FDP, "fop": FOP, "fcs": FCS, "fds": FDS}
# by physical register: three of them zero, a NaN, a denormal, two empty
REGISTERS = {"fpr0": 0, "fpr1": 0x7FFF << 64 | 3 << 62, "fpr2": ST[2], "fpr3": 5, "fpr4": ST[4], "fpr5": ST[5], "fpr6": 1 << 79, "fpr7": 0x7FFF << 64}
TAGS = 0b10_01_11_00_10_11_10_01
IMAGE_TOP = 5


def test_store_environment(small: Small) -> None:
    for text, wide in both_sizes(small, "fnstenv [{DI}]"):
        out = small.run(text, STATE | REGISTERS)
        want = environment(small, wide, 0x27F, 0x6F21, TAGS)
        assert out.how == "done"
        assert small.data(len(want)) == want
        assert out.state["fcw"] == 0x27F and out.state["fip"] == FIP and out.state["ftw"] == STATE["ftw"]


def test_save_and_restore(small: Small) -> None:
    for text, wide in both_sizes(small, "fnsave [{DI}]"):
        out = small.run(text, STATE | REGISTERS)
        registers = b"".join(REGISTERS[f"fpr{(IMAGE_TOP + i) & 7}"].to_bytes(10, "little") for i in range(8))
        want = environment(small, wide, 0x27F, 0x6F21, TAGS) + registers
        assert out.how == "done"
        assert small.data(len(want)) == want
        assert [out.state[k] for k in ("fcw", "fsw", "ftw", "fip", "fop")] == [0x37F, 0, 0, 0, 0]
        out = small.run(text.replace("fnsave", "frstor"), memory={layout.DATA + 0x40: want})
        assert out.how == "done"
        linear = MODES[small.mode].real or MODES[small.mode].vm
        got = {k: out.state[k] for k in [*STATE, *REGISTERS]}
        pointers = {"fcs": 0, "fds": 0, "fip": FIP + (FCS << 4), "fdp": FDP + (FDS << 4)} if linear else {} if wide else {"fop": 0}
        assert got == STATE | REGISTERS | pointers


def test_pointers(small: Small) -> None:
    """Offsets, selectors and opcode of the last instruction that was not a control instruction."""
    out = small.run("nop; fld dword ptr [{DI}]; fnstsw [{DI} + 8]; fnstcw [{DI} + 8]")
    s = out.state
    assert s["fip"] == small.start + 1 and s["fcs"] == s["cs"]
    assert s["fdp"] == s["rdi"] and s["fds"] == s["ds"]
    assert s["fop"] == {16: 0x105, 32: 0x107, 64: 0x107}[small.bits]
    fop, dp = s["fop"], s["fdp"]
    out = small.run("fld dword ptr [{DI}]; fxch st(3); fldcw [{DI}]; fnclex")
    assert out.state["fop"] == 0x1CB and out.state["fdp"] == dp and out.state["fip"] == small.start + small.at("fld dword ptr [{DI}]")
    assert fop != 0x1CB


# ---------------------------------------------------------------------------------------------- memory operands

PAGED = ["vm86", "pm32", "compat", "long64"]
EDGE = layout.HOLE - layout.DATA


@pytest.mark.parametrize("mode", PAGED)
@pytest.mark.parametrize("text", ["fstp dword ptr", "fstp qword ptr", "fstp tbyte ptr", "fistp word ptr", "fistp dword ptr", "fbstp tbyte ptr",
                                  "fisttp qword ptr", "fnstenv", "fnsave", "fnstcw", "fld qword ptr", "fld tbyte ptr", "fild dword ptr",
                                  "fadd qword ptr", "fidiv word ptr", "fcomp dword ptr", "fldenv", "frstor", "fbld tbyte ptr"])
def test_page_fault_changes_nothing(mode: str, text: str) -> None:
    """An operand that ends in a page that is not there: registers, status and the page before stay as they were."""
    s = Small(mode)
    base = s.m.base(mode)
    last = base["rdi"] - 0x40 + EDGE - 1
    state = STATE | REGISTERS | {"fsw": 0x2F00, "ftw": 0xDF, "rdi": last}
    out = s.run(text + " [{DI}]", state)
    assert (out.how, out.vector) == ("fault", 14)
    assert {k: out.state[k] for k in state} == state
    assert s.data(64, EDGE - 64) == s.m.image[layout.HOLE - 64:layout.HOLE]


@pytest.mark.parametrize("mode", PAGED)
def test_operands_across_pages(mode: str) -> None:
    s = Small(mode)
    base = s.m.base(mode)["rdi"] - 0x40 + 0x1000 - 3
    pi = 0x4000 << 64 | 0xC90FDAA22168C235
    for text, data, st0 in (("fld tbyte ptr [{DI}]", pi.to_bytes(10, "little"), pi),
                            ("fld qword ptr [{DI}]", struct.pack("<d", 1.5), 0x3FFF << 64 | 3 << 62),
                            ("fld dword ptr [{DI}]", struct.pack("<f", -2.0), 0xC000 << 64 | 1 << 63),
                            ("fild qword ptr [{DI}]", struct.pack("<q", -3), 0xC000 << 64 | 3 << 62)):
        out = s.run(text, {"ftw": 0, "rdi": base}, {layout.DATA + 0x1000 - 3: data})
        assert out.how == "done" and out.state["fpr7"] == st0
    out = s.run("fstp tbyte ptr [{DI}]", {"ftw": 1, "fpr0": pi, "rdi": base})
    assert out.how == "done" and s.data(10, 0x1000 - 3) == pi.to_bytes(10, "little")
    out = s.run("fstp qword ptr [{DI}]", {"ftw": 1, "fpr0": pi, "rdi": base})
    assert out.how == "done" and s.data(8, 0x1000 - 3) == struct.pack("<d", 3.141592653589793)


def test_device_operands() -> None:
    """A device sees one access of each; an FSTENV the words of the image in order."""
    s = Small("pm32")
    out = s.run("fild word ptr [{DI}]; fistp word ptr [{DI} + 8]", {"ftw": 0, "rdi": PHYSICAL["mmio"]})
    assert out.how == "done"
    assert s.m.device.log == [("r", 0, 2, 0xA1A0), ("w", 8, 2, 0xA1A0)]
    out = s.run("data16 fnstenv [{DI}]", {"ftw": 0, "rdi": PHYSICAL["mmio"]})
    assert out.how == "done"
    written = b"".join(v.to_bytes(n, "little") for kind, _o, n, v in s.m.device.log if kind == "w")
    assert written[:6] == struct.pack("<3H", 0x37F, 0, 0xFFFF)
