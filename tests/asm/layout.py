"""The small machine the snippets run on: what lies where in its megabyte, descriptors, page tables, and the modes.

Linear addresses are physical ones below 1 MiB; in 64-bit mode data is addressed through a second mapping, at HIGH. In the
16-bit modes code, data and stack have segments of their own, so that an offset is never its linear address.
"""
from __future__ import annotations

from dataclasses import dataclass, field

IVT_HANDLERS = 0x6000       # one HLT a vector: 0600:vv in real and virtual-8086 mode
HANDLERS = 0x7000           # ... and behind the gates of protected and long mode
GDT, LDT, IDT, IDT64 = 0x8000, 0x8800, 0x9000, 0xA000
TSS, TSS64, TSS_B, TSS16 = 0xB000, 0xE000, 0xE400, 0xE600
PD, PT, PDPT, PAE_PD, PAE_PT, PML4, PDPT64, PD64 = (0x10000 + 0x1000 * i for i in range(8))
KSTACK, IST = 0x19000, 0x1B000          # tops
CODE_SEG, CODE = 0x20000, 0x20400       # base of the code segment in 16-bit modes; where a snippet begins
CODE_END = 0x22000
DATA_SEG, DATA, HOLE, READONLY, SUPERVISOR = 0x30000, 0x31000, 0x33000, 0x34000, 0x35000
DATA_LIMIT = 0x5FFF
FS_SEG, GS_SEG = 0x38000, 0x39000
STACK_SEG, STACK = 0x40000, 0x41800     # 0x40000 and 0x42000 are not present
MMIO = 0xD0000
RAM_SIZE = 0x100000
HIGH = 0xFE << 39
IO_MAP = 0x88               # in the 32-bit TSS, after the interrupt redirection bitmap
PORTS = 0xE0                # 16 ports a device answers on; the I/O permission bitmap admits the first 8

# what a snippet may change only if it says so
WATCHED = [(CODE_SEG, CODE_END), (DATA, HOLE), (READONLY, SUPERVISOR + 0x1000), (FS_SEG, FS_SEG + 0x2000),
           (STACK_SEG + 0x1000, STACK_SEG + 0x2000)]
TABLES = (0, 0x20000)

# name -> (selector, base, limit, access byte, flags: G=8 B=4 L=2)
FLAT = 0xFFFFF
DESCRIPTORS: dict[str, tuple[int, int, int, int, int]] = {
    "kcode32": (0x08, 0, FLAT, 0x9B, 0xC), "kdata": (0x10, 0, FLAT, 0x93, 0xC),
    "ucode32": (0x18, 0, FLAT, 0xFB, 0xC), "udata": (0x20, 0, FLAT, 0xF3, 0xC),
    "ucode64": (0x28, 0, FLAT, 0xFB, 0xA), "udata2": (0x30, 0, FLAT, 0xF3, 0xC),
    "kcode64": (0x38, 0, FLAT, 0x9B, 0xA), "kdata2": (0x40, 0, FLAT, 0x93, 0xC),
    "kcode16": (0x48, CODE_SEG, 0xFFFF, 0x9B, 0), "kdata16": (0x50, DATA_SEG, DATA_LIMIT, 0x93, 0),
    "kstack16": (0x58, STACK_SEG, 0xFFFF, 0x93, 0), "ucode16": (0x60, CODE_SEG, 0xFFFF, 0xFB, 0),
    "udata16": (0x68, DATA_SEG, DATA_LIMIT, 0xF3, 0), "ustack16": (0x70, STACK_SEG, 0xFFFF, 0xF3, 0),
    "ldtsel": (0x78, LDT, 0xFF, 0x82, 0), "tss": (0x80, TSS, IO_MAP + 0x2000, 0x8B, 0),
    "tssb": (0x90, TSS_B, 0x67, 0x89, 0), "tss16": (0x98, TSS16, 0x2B, 0x81, 0),
    "ufs": (0xA0, FS_SEG, 0xFFF, 0xF3, 0), "ugs": (0xA8, GS_SEG, 0xFFF, 0xF3, 0),
    "absent": (0xB0, DATA_SEG, 0xFFFF, 0x73, 4), "rodata": (0xB8, DATA_SEG, DATA_LIMIT, 0xF1, 4),
    "xonly": (0xC0, CODE_SEG, 0xFFFF, 0xF9, 4), "conform": (0xC8, 0, FLAT, 0x9F, 0xC),
    "expdown": (0xD0, DATA_SEG, 0x0FFF, 0xF7, 4), "kseg32": (0xD8, DATA_SEG, DATA_LIMIT, 0x93, 4),
    "kcseg32": (0xE0, CODE_SEG, 0x1FFF, 0x9B, 4), "ksseg32": (0xE8, STACK_SEG, 0x1FFF, 0x93, 4),
    "absentcode": (0xF0, 0, FLAT, 0x7B, 0xC), "conform64": (0xF8, 0, FLAT, 0x9F, 0xA),
    "code0": (0x100, CODE_SEG, 0x00FF, 0x9B, 4), "absentss": (0x108, STACK_SEG, 0xFFFF, 0x73, 4),
    "kabsentss": (0x110, STACK_SEG, 0xFFFF, 0x13, 4), "ucodeseg": (0x118, CODE_SEG, 0x1FFF, 0xFB, 4),
}
# free slots for gates a case builds itself
SLOTS = {"slot0": 0x140, "slot1": 0x150, "slot2": 0x160, "slot3": 0x170}
SELECTORS = {n: d[0] | d[3] >> 5 & 3 for n, d in DESCRIPTORS.items()} | SLOTS
GDT_LIMIT = 0x1FF


def descriptor(base: int, limit: int, access: int, flags: int) -> bytes:
    """SDM vol. 3, figure 3-8."""
    v = limit & 0xFFFF | (base & 0xFFFFFF) << 16 | access << 40 | (limit >> 16 & 15) << 48 | flags << 52 | (base >> 24) << 56
    return v.to_bytes(8, "little")


def gate(selector: int, offset: int, access: int, param: int = 0) -> bytes:
    """Call, interrupt, trap or task gate (SDM vol. 3, figures 5-8 and 6-2)."""
    v = offset & 0xFFFF | selector << 16 | param << 32 | access << 40 | (offset >> 16 & 0xFFFF) << 48
    return v.to_bytes(8, "little")


def gate64(selector: int, offset: int, access: int, ist: int = 0) -> bytes:
    return gate(selector, offset & 0xFFFFFFFF, access, ist) + (offset >> 32).to_bytes(8, "little")


def gate_access(vector: int) -> int:
    """Interrupt gates; #BP, #OF and 20-2F for CPL 3, 30-3F trap gates for CPL 3, 2F not present."""
    if vector == 0x2F:
        return 0x6E
    if 0x30 <= vector < 0x40:
        return 0xEF
    return 0xEE if vector in (3, 4) or 0x20 <= vector < 0x30 else 0x8E


def le(v: int, n: int) -> bytes:
    return (v & (1 << 8 * n) - 1).to_bytes(n, "little")


def ptes(size: int) -> bytes:
    """Page-table entries of the first megabyte."""
    out = []
    for page in range(RAM_SIZE >> 12):
        lin = page << 12
        present = lin < CODE_END or DATA_SEG <= lin < HOLE or lin in (READONLY, SUPERVISOR, FS_SEG, GS_SEG, STACK & ~4095, MMIO)
        user = lin < HANDLERS or (lin >= CODE_SEG and lin != SUPERVISOR)
        out.append(le(lin | (lin != READONLY) << 1 | user << 2 | present, size))
    return b"".join(out)


def image() -> bytes:
    """The megabyte as every snippet finds it."""
    m = bytearray(RAM_SIZE)

    def put(addr: int, data: bytes) -> None:
        m[addr:addr + len(data)] = data

    put(IVT_HANDLERS, b"\xf4" * 256)
    put(HANDLERS, b"\xf4" * 512)         # the second half: where SYSCALL and SYSENTER go
    for v in range(256):
        put(4 * v, le(v, 2) + le(IVT_HANDLERS >> 4, 2))
        put(IDT + 8 * v, gate(0x08, HANDLERS + v, gate_access(v)))
        put(IDT64 + 16 * v, gate64(0x38, HANDLERS + v, gate_access(v), 1 if v == 8 else 0))
    for sel, base, limit, access, flags in DESCRIPTORS.values():
        put(GDT + sel, descriptor(base, limit, access, flags))
    for i, n in enumerate(("udata", "ucode32", "kdata", "rodata")):
        put(LDT + 8 * (i + 1), descriptor(*DESCRIPTORS[n][1:]))
    io_map = bytearray(b"\xff" * 0x2001)
    io_map[PORTS >> 3] = 0
    put(TSS, le(0, 4) + le(KSTACK, 4) + le(0x10, 4))
    put(TSS + 0x66, le(IO_MAP, 2))
    put(TSS + IO_MAP, bytes(io_map))
    put(TSS64 + 4, le(KSTACK, 8))
    put(TSS64 + 0x24, le(IST, 8))
    put(TSS64 + 0x66, le(0x68, 2) + bytes(io_map[:0x100]) + b"\xff")
    put(PD, le(PT | 7, 4))
    put(PT, ptes(4))
    put(PDPT, le(PAE_PD | 1, 8))
    put(PAE_PD, le(PAE_PT | 7, 8))
    put(PAE_PT, ptes(8))
    put(PML4, le(PDPT64 | 7, 8))
    put(PML4 + 8 * 0xFE, le(PDPT64 | 7, 8))
    put(PDPT64, le(PD64 | 7, 8))
    put(PD64, le(PAE_PT | 7, 8))
    put(CODE_SEG, b"\xf4" * (CODE_END - CODE_SEG))
    put(CODE & 0xFFFF, b"\xf4" * 64)               # where 16-bit branches from flat code end up
    for lo, hi in [(DATA, HOLE), (READONLY, SUPERVISOR + 0x1000), (FS_SEG, GS_SEG + 0x1000), (STACK_SEG + 0x1000, STACK_SEG + 0x2000)]:
        put(lo, bytes((a * 7 + (a >> 8) * 13 + 0x21) & 0xFF for a in range(lo, hi)))
    return bytes(m)


@dataclass(frozen=True)
class Mode:
    """One way to set the processor up: `bits` of the code segment, the level it runs at, where its segments begin."""
    name: str
    bits: int
    cpl: int
    code: int = 0           # segment bases
    data: int = 0
    stack: int = 0
    paging: str = ""        # "", "32", "pae", "long"
    vm: bool = False
    real: bool = False
    long: bool = False
    selectors: tuple[str, ...] = ()         # cs ss ds=es fs gs, by CPL 0 ... names without their u or k
    segments: tuple[str, ...] = field(default=("code32", "data", "data"))

    @property
    def segmented(self) -> bool:
        return self.data != 0

    def linear(self, offset: int) -> int:
        """Linear address of an offset in the data segment."""
        return offset + self.data


_SEG16 = {"code": CODE_SEG, "data": DATA_SEG, "stack": STACK_SEG}
MODES: dict[str, Mode] = {m.name: m for m in (
    Mode("real", 16, 0, real=True, **_SEG16),
    Mode("vm86", 16, 3, paging="32", vm=True, **_SEG16),
    Mode("pm16", 16, 0, segments=("code16", "stack16", "data16"), **_SEG16),
    Mode("pm32", 32, 3, paging="32"),
    Mode("pm32s", 32, 0, segments=("cseg32", "sseg32", "seg32"), **_SEG16),
    Mode("pae", 32, 0, paging="pae"),
    Mode("compat", 32, 3, paging="long", long=True),
    Mode("long64", 64, 3, paging="long", long=True, segments=("code64", "data", "data")),
)}
# modes the coverage counts; pm32s and pae are further ways to be in 32-bit protected mode
COUNTED = ("real", "vm86", "pm16", "pm32", "compat", "long64")
