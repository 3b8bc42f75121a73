"""`info tlb` and `info mem`: the three forms of page tables."""

from __future__ import annotations

import struct

import pytest

from pcemu.monitor import Shell
from pcemu.testing.harness import TestMachine

CR0, PAE, PSE, LMA = 0x80000001, 0x20, 0x10, 0x500
P, RW, US, A, D, PS, G = 1, 2, 4, 0x20, 0x40, 0x80, 0x100
NX = 1 << 63


class Paged:
    def __init__(self, **regs: int) -> None:
        self.machine = TestMachine()
        self.machine.cpu.regs = regs
        self.shell = Shell(self.machine)

    def put32(self, table: int, index: int, entry: int) -> None:
        self.machine.memory.write(table + 4 * index, struct.pack("<I", entry))

    def put64(self, table: int, index: int, entry: int) -> None:
        self.machine.memory.write(table + 8 * index, struct.pack("<Q", entry))


def test_paging_off() -> None:
    paged = Paged(cr0=1)
    assert paged.shell.run("info tlb") == "PG disabled\n"
    assert paged.shell.run("info mem") == "PG disabled\n"


def test_32_bit() -> None:
    paged = Paged(cr0=CR0, cr3=0x1018, cr4=PSE)
    paged.put32(0x1000, 0, 0x2000 | P | RW | US)
    paged.put32(0x1000, 768, 0x00400000 | P | RW | PS | A | D | G)      # 4 MiB at 0xc0000000
    paged.put32(0x1000, 769, 0x00800000 | 1 << 13 | P | PS)             # PSE-36: above 4 GiB
    paged.put32(0x2000, 1, 0x5000 | P | US | A)
    paged.put32(0x2000, 2, 0x6000 | P | RW | US | PS)                   # bit 7 is PAT in a page's entry
    paged.put32(0x2000, 3, 0x7000 | P | RW | US)
    paged.put32(0x2000, 4, 0x8000 | RW | US)                            # not present
    assert paged.shell.run("info tlb") == """\
0000000000001000: 0000000000005000 ----A--U-
0000000000002000: 0000000000006000 -------UW
0000000000003000: 0000000000007000 -------UW
00000000c0000000: 0000000000400000 -GPDA---W
00000000c0400000: 0000000100800000 --P------
"""
    assert paged.shell.run("info mem") == """\
0000000000001000-0000000000002000 0000000000001000 ur-
0000000000002000-0000000000004000 0000000000002000 urw
00000000c0000000-00000000c0400000 0000000000400000 -rw
00000000c0400000-00000000c0800000 0000000000400000 -r-
"""


def test_32_bit_without_pse_has_no_large_pages() -> None:
    paged = Paged(cr0=CR0, cr3=0x1000)
    paged.put32(0x1000, 1, 0x2000 | P | RW | PS)
    paged.put32(0x2000, 0, 0x9000 | P | RW)
    assert paged.shell.run("info tlb") == "0000000000400000: 0000000000009000 --------W\n"


def test_rights_are_what_all_levels_grant() -> None:
    paged = Paged(cr0=CR0, cr3=0x1000)
    paged.put32(0x1000, 0, 0x2000 | P | US)
    paged.put32(0x2000, 0, 0x5000 | P | RW | US)
    assert paged.shell.run("info mem") == "0000000000000000-0000000000001000 0000000000001000 ur-\n"


def test_pae() -> None:
    paged = Paged(cr0=CR0, cr3=0x1020, cr4=PAE)
    paged.put64(0x1020, 0, 0x2000 | P)                                  # directory pointers have no RW and US
    paged.put64(0x1020, 3, 0x3000 | P)
    paged.put64(0x2000, 0, 0x4000 | P | RW | US)
    paged.put64(0x4000, 5, 0x123456000 | NX | P | RW | US)
    paged.put64(0x3000, 511, 0x200000 | P | RW | PS)
    assert paged.shell.run("info tlb") == """\
0000000000005000: 0000000123456000 X------UW
00000000ffe00000: 0000000000200000 --P-----W
"""
    assert paged.shell.run("info mem") == """\
0000000000005000-0000000000006000 0000000000001000 urw
00000000ffe00000-0000000100000000 0000000000200000 -rw
"""


def test_4_level() -> None:
    paged = Paged(cr0=CR0, cr3=0x1000, cr4=PAE, efer=LMA)
    paged.put64(0x1000, 0, 0x2000 | P | RW | US)
    paged.put64(0x1000, 511, 0x3000 | P | RW)
    paged.put64(0x2000, 1, 0x40000000 | P | RW | US | PS)               # 1 GiB
    paged.put64(0x2000, 2, 0x4000 | P | US)
    paged.put64(0x4000, 0, 0x600000 | P | RW | US | PS)                 # 2 MiB
    paged.put64(0x4000, 1, 0x5000 | P | RW | US)
    paged.put64(0x5000, 511, 0x7000 | P | RW | US | A | D)
    paged.put64(0x3000, 510, 0x6000 | P | RW)
    paged.put64(0x6000, 8, 0x1000000 | NX | P | RW | PS | A | D | G)
    assert paged.shell.run("info tlb") == """\
0000000040000000: 0000000040000000 --P----UW
0000000080000000: 0000000000600000 --P----UW
00000000803ff000: 0000000000007000 ---DA--UW
ffffffff81000000: 0000000001000000 XGPDA---W
"""
    assert paged.shell.run("info mem") == """\
0000000040000000-0000000080000000 0000000040000000 urw
0000000080000000-0000000080200000 0000000000200000 ur-
00000000803ff000-0000000080400000 0000000000001000 ur-
ffffffff81000000-ffffffff81200000 0000000000200000 -rw
"""


def test_adjacent_pages_with_the_same_rights_are_one_range() -> None:
    paged = Paged(cr0=CR0, cr3=0x1000)
    paged.put32(0x1000, 0, 0x2000 | P | RW | US)
    paged.put32(0x1000, 1, 0x3000 | P | RW | US)
    paged.put32(0x2000, 1023, 0x5000 | P)
    paged.put32(0x3000, 0, 0x9000 | P)
    assert paged.shell.run("info mem") == "00000000003ff000-0000000000401000 0000000000002000 -r-\n"


@pytest.mark.parametrize("efer", [0, LMA])
def test_tables_outside_memory(efer: int) -> None:
    """CR3 points where nothing is: reads give all ones, which must not be taken for endless tables of rights."""
    paged = Paged(cr0=CR0, cr3=0x40000000, cr4=PAE if efer else PSE, efer=efer)
    first = paged.shell.run("info mem").splitlines()
    assert len(first) <= 2
