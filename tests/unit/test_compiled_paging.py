"""Compiled code and translated addresses: pages that are remapped, shared, taken away or written by a device.

Each guest is 32-bit code with paging, run by the interpreter and as compiled code; both must end with the same registers and
after the same number of instructions.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pcemu._core import engine
from pcemu._core.cpumodel import parse_cpu

RAM = 4 << 20
GDT, IDT, CODE, STACK, TABLES = 0x100, 0x200, 0x10000, 0x9000, 0x100000
FLAT_CODE, FLAT_DATA = 0x00CF9B000000FFFF, 0x00CF93000000FFFF
PRESENT, WRITABLE, LARGE = 1, 2, 0x80


class Door:
    """Port 0xE0: a write has the device do `action(value)` to memory, as a bus master would."""

    def __init__(self) -> None:
        self.action: Callable[[int], None] = lambda value: None

    def read(self, offset: int, size: int) -> int:
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        self.action(value)


class Guest:
    """32-bit protected mode with paging of one kind; linear addresses up to 16 MiB, the first 4 of them identical."""

    def __init__(self, directory: Path, text: str, kind: str, heat: int) -> None:
        self.kind = kind
        self.memory, io, clock = engine.Memory(), engine.IoSpace(), engine.Clock(icount_shift=0)
        block = self.memory.alloc("ram", RAM)
        self.memory.set_map([(0, RAM, "ram", block, 0)])
        self.door = Door()
        io.set_map([(0xE0, 4, self.door, 0)])
        self.memory.write(GDT, b"".join(d.to_bytes(8, "little") for d in (0, FLAT_CODE, FLAT_DATA)))
        self.memory.write(CODE, assemble(directory, text))
        self.cpu = cpu = engine.Cpu(self.memory, io, clock, parse_cpu("max"))
        for name, selector, descriptor in (("cs", 8, FLAT_CODE), *((s, 16, FLAT_DATA) for s in ("ds", "es", "ss"))):
            cpu.set(name, selector)
            cpu.set(f"{name}_base", 0)
            cpu.set(f"{name}_limit", 0xFFFFFFFF)
            cpu.set(f"{name}_attr", descriptor >> 32 & 0xF0FF00)
        self.tables()
        cr4 = {"4k": 0, "4m": 0x10, "pae": 0x20}[kind]
        values = {"gdt_base": GDT, "gdt_limit": 23, "idt_base": IDT, "idt_limit": 255, "cr3": TABLES, "cr4": 0x600 | cr4}
        for name, value in (values | {"cr0": 0x80010011, "rip": CODE, "esp": STACK}).items():
            cpu.set(name, value)
        if heat and not cpu.enable_jit(size=4 << 20, heat=heat):
            pytest.skip("no compiled code on this host")

    def tables(self) -> None:
        """The first 4 MiB where they are; the rest not present. In 4 MiB pages all of the first one is one entry."""
        if self.kind == "pae":
            for i in range(4):
                self.memory.st(TABLES + 8 * i, 8, TABLES + 0x1000 * (i + 1) | PRESENT)
            for i in range(8):
                self.memory.st(TABLES + 0x1000 + 8 * i, 8, TABLES + 0x8000 + 0x1000 * i | PRESENT | WRITABLE)
        else:
            for i in range(4):
                self.memory.st(TABLES + 4 * i, 4, TABLES + 0x8000 + 0x1000 * i | PRESENT | WRITABLE)
        for page in range(RAM >> 12):
            self.map(page << 12, page << 12)
        if self.kind == "4m":
            self.memory.st(TABLES, 4, PRESENT | WRITABLE | LARGE)

    def entry(self, linear: int) -> int:
        """Where the page's entry is."""
        return TABLES + 0x8000 + (linear >> 12) * (8 if self.kind == "pae" else 4)

    def map(self, linear: int, physical: int) -> None:
        self.memory.st(self.entry(linear), 8 if self.kind == "pae" else 4, physical | PRESENT | WRITABLE)

    def gate(self, vector: int, offset: int) -> None:
        self.memory.st(IDT + 8 * vector, 8, (offset & 0xFFFF0000) << 32 | 0x00008E0000080000 | offset & 0xFFFF)

    def run(self) -> dict[str, int]:
        assert self.cpu.run(3_000_000) == "halted"
        names = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags")
        return {name: self.cpu.get(name) for name in names} | {"icount": self.cpu.icount}


def assemble(directory: Path, text: str, origin: int = CODE) -> bytes:
    source, obj, binary = (directory / name for name in ("a.s", "a.o", "a.bin"))
    source.write_text(f".code32\n.intel_syntax noprefix\n{text}\nhlt\n")
    subprocess.run(["as", "--32", "-o", obj, source], check=True)
    link = ["ld", "-m", "elf_i386", "-e", "0", f"-Ttext={origin:#x}", "--oformat", "binary", "-o", str(binary), str(obj)]
    subprocess.run(link, check=True)
    return binary.read_bytes()


def both(directory: Path, text: str, kind: str, prepare: Callable[[Guest], None] = lambda guest: None) -> dict[str, int]:
    """The end of the interpreter's run, which is also that of compiled ones."""
    ends = []
    for heat in (0, 1, 12):
        guest = Guest(directory, text, kind, heat)
        prepare(guest)
        ends.append(guest.run())
        if heat:
            assert guest.cpu.stats()["compiled"]
    assert ends[1] == ends[0]
    assert ends[2] == ends[0]
    return ends[0]


KINDS = pytest.mark.parametrize("kind", ["4k", "pae"])
FUNCTION = "mov eax, {n}; ret"


@KINDS
def test_a_code_page_that_is_remapped(tmp_path: Path, kind: str) -> None:
    """A function at one linear address, called from a loop in another page: each half of the calls finds another page there."""
    def prepare(guest: Guest) -> None:
        for n, page in ((3, 0x30000), (50, 0x31000)):
            guest.memory.write(page, assemble(tmp_path, FUNCTION.format(n=n), 0x800000))
        guest.map(0x800000, 0x30000)
        guest.door.action = lambda value: guest.map(0x800000, value)

    text = """
        mov edi, 4
    2:  mov ecx, 100
    1:  mov edx, 0x800000; call edx; add ebx, eax; dec ecx; jnz 1b
        mov edx, 0xe0; mov eax, 0x31000; test edi, 1; jz 3f; mov eax, 0x30000
    3:  out dx, eax; invlpg [0x800000]
        dec edi; jnz 2b"""
    assert both(tmp_path, text, kind, prepare)["ebx"] == 200 * 3 + 200 * 50


@KINDS
def test_one_page_at_two_addresses(tmp_path: Path, kind: str) -> None:
    """Code runs at one address of its page and is patched at another: the constant that it adds counts up."""
    def prepare(guest: Guest) -> None:
        guest.memory.write(0x30000, assemble(tmp_path, FUNCTION.format(n=0), 0x800000))
        guest.map(0x800000, 0x30000)
        guest.map(0x900000, 0x30000)

    text = """
        mov ecx, 200; mov edx, 0x800000
    1:  call edx; add ebx, eax; call edx; add ebx, eax
        inc dword ptr [0x900001]
        dec ecx; jnz 1b"""
    assert both(tmp_path, text, kind, prepare)["ebx"] == 200 * 199


@KINDS
def test_a_function_at_two_addresses(tmp_path: Path, kind: str) -> None:
    """The same code, at two addresses in turn: it knows where it runs."""
    def prepare(guest: Guest) -> None:
        guest.memory.write(0x30000, assemble(tmp_path, "call 1f; 1: pop eax; shr eax, 20; ret", 0x800000))
        guest.map(0x800000, 0x30000)
        guest.map(0x900000, 0x30000)

    text = """
        mov ecx, 100
    1:  mov edx, 0x800000; call edx; add ebx, eax; mov edx, 0x900000; call edx; add ebx, eax
        dec ecx; jnz 1b"""
    assert both(tmp_path, text, kind, prepare)["ebx"] == 100 * (8 + 9)


@pytest.mark.parametrize("kind", ["4k", "4m", "pae"])
def test_a_device_writes_into_a_loop(tmp_path: Path, kind: str) -> None:
    """DMA into the block that runs, and into one that waits: the next time round it is other code."""
    def prepare(guest: Guest) -> None:
        at = CODE + 0x40
        guest.door.action = lambda value: guest.memory.write(at + 1 + value // 256 * 16, bytes([value & 255]))

    text = """
        mov ecx, 150; mov edx, 0xe0; jmp 5f
        .balign 64
    1:  mov esi, 1
        .balign 16
        mov edi, 1
        add ebx, esi; add ebp, edi
    5:  mov eax, ecx; and eax, 0x17f; out dx, al
        mov eax, ecx; or eax, 0x100; out dx, ax
        dec ecx; jnz 1b"""
    end = both(tmp_path, text, kind, prepare)
    assert end["ebx"] > 149 and end["ebp"] > 149


def test_a_large_page_that_is_split(tmp_path: Path) -> None:
    """Code and data in one 4 MiB page; then its directory entry names a table, with another page for the data."""
    def prepare(guest: Guest) -> None:
        guest.memory.st(0x40000, 4, 5)
        guest.memory.st(0x41000, 4, 70)

        def split(value: int) -> None:
            guest.map(0x40000, 0x41000)
            guest.memory.st(TABLES, 4, TABLES + 0x8000 | PRESENT | WRITABLE if value else PRESENT | WRITABLE | LARGE)

        guest.door.action = split

    text = """
        mov edi, 6
    2:  mov ecx, 40
    1:  add ebx, [0x40000]; dec ecx; jnz 1b
        mov eax, edi; and eax, 1; xor eax, 1; mov edx, 0xe0; out dx, al
        mov eax, cr3; mov cr3, eax
        dec edi; jnz 2b"""
    assert both(tmp_path, text, "4m", prepare)["ebx"] == 40 * 3 * (5 + 70)


@KINDS
def test_more_pages_than_memory(tmp_path: Path, kind: str) -> None:
    """A pager in the guest: 64 pages of data share 8 page frames. What is not there is fetched by the page-fault handler, which
    throws out another page: its contents go to a store at 2 MiB."""
    size = 8 if kind == "pae" else 4
    entry = TABLES + 0x8000 + (0x800000 >> 12) * size
    frames = 0x40000
    text = f"""
        mov ebp, 5                          # rounds
    2:  mov edi, 0x800000
    1:  add dword ptr [edi], 3
        add ebx, [edi + 4]                  # its number
        add edi, 0x1000
        cmp edi, 0x840000
        jb 1b
        dec ebp; jnz 2b
        hlt
        .balign 256
    handler:
        pushad; cld
        mov eax, cr2; sub eax, 0x800000; shr eax, 12        # eax: the page that is wanted
        mov edx, [next]; inc dword ptr [next]; and edx, 7   # edx: the frame
        mov ebp, edx; shl ebp, 12; add ebp, {frames}
        mov ebx, [owner + 4 * edx]
        mov [owner + 4 * edx], eax
        cmp ebx, -1; je 3f
        mov dword ptr [{entry} + {size} * ebx], 0           # throw its page out
        mov ecx, ebx; shl ecx, 12; invlpg [ecx + 0x800000]
        mov esi, ebp; lea edi, [ecx + 0x200000]; mov ecx, 1024; rep movsd
    3:  mov esi, eax; shl esi, 12; add esi, 0x200000; mov edi, ebp; mov ecx, 1024; rep movsd
        or ebp, 3
        mov [{entry} + {size} * eax], ebp
        popad; add esp, 4; iretd
    next:   .long 0
    owner:  .long -1, -1, -1, -1, -1, -1, -1, -1"""

    def prepare(guest: Guest) -> None:
        guest.gate(14, CODE + 0x100)
        for page in range(64):
            guest.memory.st(0x200000 + 0x1000 * page + 4, 4, page)
            guest.memory.st(entry + size * page, size, 0)

    assert both(tmp_path, text, kind, prepare)["ebx"] == 5 * sum(range(64))


def test_more_pages_than_the_tlb_holds(tmp_path: Path) -> None:
    """Reads and writes 16 MiB apart fall into the same place of the TLB; so do code and data."""
    def prepare(guest: Guest) -> None:
        for i in range(4):
            guest.memory.st(TABLES + 16 * i, 4, TABLES + 0x8000 | PRESENT | WRITABLE)       # 0, 16, 32 and 48 MiB are the same
        guest.memory.st(0x40000, 4, 1)

    text = """
        mov ecx, 100
    1:  add ebx, [0x40000]; add ebx, [0x1040000]; add ebx, [0x2040000]
        inc dword ptr [0x3040000]; add ebx, [0x1010000]
        dec ecx; jnz 1b"""
    end = both(tmp_path, text, "4k", prepare)
    first = int.from_bytes(assemble(tmp_path, text)[:4], "little")
    assert end["ebx"] == (3 * sum(range(1, 101)) + 100 * first) & 0xFFFFFFFF


@pytest.mark.parametrize("kind", ["4k", "pae"])
def test_a_page_that_was_stored_to_may_be_read(kind: str, tmp_path: Path) -> None:
    """It is taken away without INVLPG, so it may be there or not; but not there for a load beside a store, where compiled
    code has one look-up for both, and gone for a load alone."""
    entry = TABLES + 0x8000 + (0x300000 >> 12) * (8 if kind == "pae" else 4)
    end = both(tmp_path, f"mov ebx, 0x300000; mov ecx, 40; 1: mov dword ptr [{entry:#x}], 0x300003; invlpg [ebx]; mov [ebx], ecx;"
               f"mov dword ptr [{entry:#x}], 0; jmp 2f; 2: mov edx, [ebx]; add esi, edx; mov [ebx+8], esi; dec ecx; jnz 1b", kind)
    assert end["esi"] == 40 * 41 // 2


def test_a_page_of_code_that_has_lost_its_slot_can_be_taken_away(tmp_path: Path) -> None:
    """Two pages that take turns in a slot of the execute TLB; INVLPG of the one that is not there is heard all the same."""
    one, other = 0x200000, 0x1201000                        # see tlb.tx_slot()
    entry = TABLES + 0x8000 + (one >> 12) * 4

    def prepare(guest: Guest) -> None:
        guest.memory.st(TABLES + 4 * (other >> 22), 4, TABLES + 0xC000 | PRESENT | WRITABLE)
        guest.memory.st(TABLES + 0xC000 + (other >> 12 & 1023) * 4, 4, 0x302000 | PRESENT | WRITABLE)
        guest.memory.st(entry, 4, 0x300000 | PRESENT | WRITABLE)
        for frame, code in ((0x300000, "83c601c3"), (0x301000, "83c664c3"), (0x302000, "83c701c3")):
            guest.memory.write(frame, bytes.fromhex(code))       # add esi, 1 or 100; add edi, 1; ret

    end = both(tmp_path, f"xor esi, esi; xor edi, edi; mov ebp, 60; 1: mov eax, {one:#x}; call eax; mov eax, {other:#x};"
               f"call eax; cmp ebp, 30; jne 2f; mov dword ptr [{entry:#x}], 0x301003; invlpg [{one:#x}]; 2: dec ebp; jnz 1b",
               "4k", prepare)
    assert end["esi"] == 31 + 29 * 100 and end["edi"] == 60
