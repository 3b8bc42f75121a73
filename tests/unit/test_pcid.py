"""PCIDs: what the TLB has of an address space survives a MOV to CR3 with bit 63 set, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from pcemu._core.cpumodel import parse_cpu
from pcemu._core.engine import Clock, Cpu, IoSpace, Memory

CODE, GDT, TABLES, PAGES = 0x1000, 0x2000, 0x10000, 0x40000
WINDOW = 0x200000  # the virtual page that each address space maps to a page of its own
KEEP = 1 << 63
CR4 = 1 << 17 | 1 << 7 | 1 << 5  # PCIDE, PGE, PAE


class Spaces:
    """A CPU in 64-bit mode. Address space n has its tables at TABLES + n * 0x4000 and PCID n; low memory is mapped as it is."""

    def __init__(self) -> None:
        self.memory: Any = Memory()
        ram = self.memory.alloc("ram", 0x200000)
        self.memory.set_map([(0, 0x200000, "ram", ram, 0)])
        for n in range(1, 33):
            pml4 = TABLES + n * 0x4000
            self.memory.st(pml4, 8, pml4 + 0x1000 | 7)
            self.memory.st(pml4 + 0x1000, 8, pml4 + 0x2000 | 7)
            self.memory.st(pml4 + 0x2000, 8, 0x87)
            self.memory.st(pml4 + 0x2008, 8, pml4 + 0x3000 | 7)
            self.map(n, n)
        self.cpu: Any = Cpu(self.memory, IoSpace(), Clock(icount_shift=0), parse_cpu("max"))
        for name, attr in (("cs", 0xA09B00), ("ds", 0xC09300), ("es", 0xC09300), ("ss", 0xC09300)):
            self.cpu.set(name, 8 if name == "cs" else 16)
            self.cpu.set(f"{name}_base", 0)
            self.cpu.set(f"{name}_flags", attr)
        for name, value in (("cr4", CR4), ("cr3", TABLES + 0x4000 | 1), ("efer", 0x500), ("cr0", 0x80000011)):
            self.cpu.set(name, value)

    def map(self, space: int, page: int, flags: int = 7) -> None:
        """What WINDOW is in a space: physical page number `page` of PAGES, which holds its number."""
        self.memory.st(TABLES + space * 0x4000 + 0x3000, 8, PAGES + 0x80000 + page * 0x1000 | flags)
        self.memory.st(PAGES + 0x80000 + page * 0x1000, 8, page)

    def run(self, code: str, **regs: int) -> None:
        self.memory.write(CODE, bytes.fromhex(code) + b"\xf4")
        self.cpu.halted = False
        for name, value in ({"rip": CODE} | regs).items():
            self.cpu.set(name, value)
        assert self.cpu.run(100) == "halted"

    def switch(self, space: int, keep: int = KEEP) -> None:
        self.run("0f22d8", rax=TABLES + space * 0x4000 | space | keep)  # MOV CR3, RAX

    def read(self) -> int:
        self.run("488b03", rbx=WINDOW)  # MOV RAX, [RBX]
        value: int = self.cpu.get("rax")
        return value

    def invpcid(self, kind: int, pcid: int, address: int = WINDOW) -> None:
        self.memory.st(0x3000, 8, pcid)
        self.memory.st(0x3008, 8, address)
        self.run("660f388203", rax=kind, rbx=0x3000)  # INVPCID RAX, [RBX]


@pytest.fixture
def s() -> Spaces:
    return Spaces()


def away_and_changed(s: Spaces) -> None:
    """Space 1 was read and left for 2; its table has changed since."""
    s.switch(1)
    assert s.read() == 1
    s.switch(2)
    assert s.read() == 2
    s.map(1, 20)


def test_bit_63_flushes_nothing(s: Spaces) -> None:
    away_and_changed(s)
    s.switch(1)
    assert s.read() == 1
    s.map(2, 21)
    s.switch(2)
    assert s.read() == 2
    s.switch(1)
    assert s.read() == 1
    s.run("0f013b", rbx=WINDOW)  # INVLPG [RBX]
    assert s.read() == 20


def test_without_it_the_new_space_is_flushed_and_the_old_one_is_not(s: Spaces) -> None:
    away_and_changed(s)
    s.map(2, 21)
    s.switch(1, keep=0)
    assert s.read() == 20
    s.switch(2)
    assert s.read() == 2
    s.switch(2)  # to the same: nothing goes
    assert s.read() == 2
    s.switch(2, keep=0)
    assert s.read() == 21


@pytest.mark.parametrize("kind, pcid, expect", [(0, 1, 20), (1, 1, 20), (2, 0, 20), (3, 0, 20), (0, 3, 1), (1, 3, 1), (1, 2, 1)])
def test_invpcid(s: Spaces, kind: int, pcid: int, expect: int) -> None:
    away_and_changed(s)
    s.invpcid(kind, pcid)
    s.switch(1)
    assert s.read() == expect


def test_what_flushes_everything_flushes_this(s: Spaces) -> None:
    away_and_changed(s)
    s.run("0f22e00f22e1", rax=CR4 & ~0x80, rcx=CR4)  # PGE off and on
    s.switch(1)
    assert s.read() == 20
    s.map(1, 1)
    s.invpcid(2, 0)
    away_and_changed(s)
    s.cpu.set_a20(False)
    s.cpu.set_a20(True)
    s.switch(1)
    assert s.read() == 20


def test_global_pages_are_everybody_s(s: Spaces) -> None:
    s.map(1, 1, flags=0x107)
    s.switch(1)
    assert s.read() == 1
    s.switch(2)
    assert s.read() == 1  # as the manual warns who maps it global in one space only
    s.invpcid(3, 0)
    assert s.read() == 1
    s.invpcid(2, 0)
    assert s.read() == 2


def test_a_page_that_became_code_meanwhile(s: Spaces) -> None:
    """Space 1 has written to a page; the other runs code in it; what space 1 then stores there is run."""
    page = PAGES + 0x81000
    s.switch(1)
    s.run("488903", rbx=WINDOW, rax=0xF401B0)  # MOV [RBX], RAX: MOV AL, 1; HLT
    s.switch(2)
    for _ in range(2):
        s.cpu.halted = False
        s.cpu.set("rip", page)
        assert s.cpu.run(10) == "halted" and s.cpu.get("rax") & 0xFF == 1
    s.switch(1)
    s.run("c6430102", rbx=WINDOW)  # MOV BYTE [RBX+1], 2
    s.cpu.halted = False
    s.cpu.set("rip", page)
    assert s.cpu.run(10) == "halted" and s.cpu.get("rax") & 0xFF == 2


def test_more_spaces_than_are_kept(s: Spaces) -> None:
    for _ in range(3):
        for n in range(1, 33):
            s.switch(n)
            assert s.read() == n
            assert s.cpu.get("cr3") == TABLES + n * 0x4000 | n
