"""The small machine that random programs run on: RAM with holes, aliases, ROM, a device that does unexpected things.

Nothing here depends on the host: the device answers by a counter of its own, time is counted in instructions, and every access
is noted with the time at which it happened, so that two runs of one program can be compared to the last detail.
"""

from __future__ import annotations

import struct
from random import Random
from typing import Any
from zlib import crc32

from pcemu._core.state_regs import NAMES

from pcemu._core import cpumodel
from pcemu._core.engine import Clock, CpuCore, IoSpace, Memory

RAM = 0x80000  # below 1 MiB; the end of the block is the end of mapped memory there
HIGH = 0x100000  # 64 KiB above 1 MiB, for the A20 gate
MMIO = 0x40000  # a page of device memory
HOLE = 0x45100  # 16 bytes of device memory inside a page of RAM
ALIAS = 0x50000  # the first 64 KiB of RAM again
ROM = 0x60000
NOTHING = 0x68000  # 32 KiB without anything
TOP_MMIO = 0xFEE00000
FAR = 0x1_0000_0000  # RAM above 4 GiB

TABLES = 0x10000  # page tables
CODE = 0x18000  # the program
HANDLERS = 0x1C000  # exception handlers
DATA = 0x20000
STACK = 0x30000
GDT = 0x8000
IDT = 0x9000
TSS = 0xA000
TSS2 = 0xA400
TSS16 = 0xA800
LDT = 0xAC00

EVENT_VECTORS = (0x20, 0x21, 0x28, 0x2F, 0x70, 0xFF, 8, 13)


class Probe:
    """A device in memory and in the I/O space whose registers reach into the machine."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.state = seed & 0xFFFFFFFF
        self.count = 0
        self.digest = 0
        self.recent: list[tuple[str, int, int, int, int]] = []

    def roll(self) -> int:
        self.state = (self.state * 1664525 + 1013904223) & 0xFFFFFFFF
        return self.state >> 8

    def note(self, what: str, offset: int, size: int, value: int) -> None:
        entry = (what, self.rig.clock.now(), offset, size, value)
        self.digest = crc32(repr(entry).encode(), self.digest)
        self.count += 1
        self.recent.append(entry)
        if len(self.recent) > 200:
            del self.recent[:100]

    def read(self, offset: int, size: int) -> int:
        value = self.roll() * 0x100000001 & (1 << 8 * size) - 1
        self.note("r", offset, size, value)
        if self.rig.wild and value & 0x70 == 0x70:
            self.act(self.roll())
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        self.note("w", offset, size, value)
        if self.rig.wild:
            self.act(value ^ self.roll())

    def act(self, how: int) -> None:
        rig = self.rig
        what = how & 15
        if what == 1:
            rig.cpu.set_intr(True)
        elif what == 2:
            rig.cpu.set_nmi()
        elif what == 3:
            rig.cpu.set_a20(not rig.cpu.a20)
        elif what == 4:
            rig.cpu.request_exit()
        elif what == 5:
            rig.memory.write(CODE + (how >> 4 & 0xFFF), struct.pack("<I", how & 0xFFFFFFFF))
        elif what == 6:
            rig.remap(how >> 4 & 3)
        elif what == 7:
            rig.plan(rig.clock.now() + (how >> 4 & 0x3FF), how >> 14 & 3)
        elif what == 8:
            rig.cpu.set_intr(False)
        elif what == 9:
            rig.memory.write(HOLE & ~0xFFF, struct.pack("<I", how & 0xFFFFFFFF))
        elif what == 10:
            rig.memory.write(TABLES + (how >> 4 & 0x1FF8), struct.pack("<I", (how & 0x7F000) | 0x67))
        elif what == 11 and rig.switches:
            rig.cpu.jit = not rig.cpu.jit


class Rig:
    """One CPU, its memory and the device."""

    def __init__(self, seed: int, *, model: str = "max", tb_size: int = 1 << 22, wild: bool = True) -> None:
        self.wild = wild
        self.switches = False   # the device switches compiled code off and on
        self.memory = Memory(reserve=1 << 22, tb_size=tb_size)
        self.low = self.memory.alloc("ram", RAM)
        self.high = self.memory.alloc("high", 0x10000)
        self.rom = self.memory.alloc("rom", 0x8000)
        self.io = IoSpace()
        self.clock = Clock(0)
        self.probe = Probe(self, seed)
        self.io.set_map([(0x80, 8, self.probe, 0), (0x3F0, 16, self.probe, 0x100), (0xFFFC, 4, self.probe, 0x200)])
        self.variant = 0
        self.remap(0)
        self.cpu: Any = CpuCore(self.memory, self.io, self.clock, cpumodel.parse_cpu(model, warn=lambda text: None), seed=seed)
        self.cpu.intack = self.intack
        self.events: list[tuple[int, int]] = []  # (when, what), sorted
        self.acknowledged = 0

    def remap(self, variant: int) -> None:
        """Four physical maps: what moves is what code, data and tables may lie in."""
        self.variant = variant
        low, high, rom, probe = self.low, self.high, self.rom, self.probe
        m: list[tuple[int, int, str, Any, int]] = []
        m.append((0, MMIO, "ram", low, 0))
        if variant == 1:
            m.append((MMIO, 0x1000, "ram", low, MMIO))
        else:
            m.append((MMIO, 0x1000, "mmio", probe, 0))
        m.append((MMIO + 0x1000, HOLE - MMIO - 0x1000, "ram", low, MMIO + 0x1000))
        m.append((HOLE, 16, "mmio", probe, 0x1000))
        m.append((HOLE + 16, ALIAS - HOLE - 16, "ram", low, HOLE + 16))
        m.append((ALIAS, 0x10000, "ram", low, 0x10000 if variant == 2 else 0))
        m.append((ROM, 0x8000, "rom", rom, 0))
        m.append((0x70000, RAM - 0x70000, "ram", low, 0x70000))
        if variant == 3:
            m.append((0xF0000, 0x8000, "ram", low, 0x18000))
        m.append((HIGH, 0x10000, "ram", high, 0))
        m.append((TOP_MMIO, 0x1000, "mmio", probe, 0x2000))
        m.append((0xFFFF8000, 0x8000, "rom", rom, 0))
        m.append((FAR, 0x10000, "ram", low, 0x70000))
        self.memory.set_map(m)

    def plan(self, when: int, what: int) -> None:
        """Something from outside at a virtual time."""
        self.events.append((when, what))
        self.events.sort()
        if len(self.events) > 64:
            del self.events[32:]
        self.clock.deadline = self.events[0][0]

    def due(self) -> None:
        now = self.clock.now()
        while self.events and self.events[0][0] <= now:
            _when, what = self.events.pop(0)
            if what == 0:
                self.cpu.set_nmi()
            elif what == 1:
                self.cpu.set_intr(False)
            else:
                self.cpu.set_intr(True)
        self.clock.deadline = self.events[0][0] if self.events else (1 << 63) - 1

    def intack(self) -> int:
        self.acknowledged += 1
        roll = self.probe.roll()
        if roll & 3:
            self.cpu.set_intr(False)
        if not roll & 0x1F00:
            self.cpu.set_intr(False)
            return -1
        return EVENT_VECTORS[roll >> 2 & 7]

    # -- what is compared -----------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything the guest could ever see, as one dictionary."""
        cpu = self.cpu
        found: dict[str, Any] = {name: cpu.get(name) for name in NAMES}
        # what holds at one instruction count only: whether it still holds
        if found["rf_icount"] != cpu.icount:
            found["rf_icount"] = None
        found["interrupt_shadow"] = None
        found["eflags"] = cpu.get("eflags")
        for i in range(16):
            found[f"ymm{i}"] = cpu.get(f"ymm{i}")
        for i in range(8):
            found[f"fpr{i}"] = cpu.get(f"fpr{i}")
        found["icount"] = cpu.icount
        found["halted"] = cpu.halted
        found["intr"] = cpu.intr
        found["device"] = (self.probe.count, self.probe.digest, self.acknowledged, self.variant)
        found["ram"] = crc32(self.memory.block_view(self.low, RAM))
        found["high"] = crc32(self.memory.block_view(self.high, 0x10000))
        return found


# ------------------------------------------------------------------------------------------------ tables and modes


def descriptor(base: int, limit: int, access: int, flags: int) -> int:
    """A segment descriptor: access byte (P DPL S type), flags nibble (G D L AVL)."""
    return (
        limit & 0xFFFF
        | (base & 0xFFFFFF) << 16
        | access << 40
        | (limit >> 16 & 15) << 48
        | flags << 52
        | (base >> 24 & 0xFF) << 56
    )


def gate(sel: int, offset: int, access: int, count: int = 0) -> int:
    return offset & 0xFFFF | sel << 16 | count << 32 | access << 40 | (offset >> 16 & 0xFFFF) << 48


CS32, DS32, CS32_3, DS32_3, CS16, DS16, CS64, DS64, CS64_3 = 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48
TSS_SEL, LDT_SEL, CALL_SEL, TSS16_SEL, TSS2_SEL, TASK_SEL = 0x50, 0x60, 0x70, 0x80, 0x88, 0x90
SELECTORS = tuple(range(0, 0x100, 8)) + (0x1B, 0x23, 0x4B, 0x0C, 0x14, 0x0F, 0x17, 0x100, 0xFFF8, 0x09, 0x12)


def write_gdt(rig: Rig, rng: Random, long_mode: bool) -> None:
    call = gate(CS64 if long_mode else CS32, HANDLERS, 0xEC, rng.randrange(32))
    rows = [
        0,
        descriptor(0, 0xFFFFF, 0x9B, 0xC),
        descriptor(0, 0xFFFFF, 0x93, 0xC),
        descriptor(0, 0xFFFFF, 0xFB, 0xC),
        descriptor(0, 0xFFFFF, 0xF3, 0xC),
        descriptor(0, 0xFFFF, 0x9B, 0),
        descriptor(0, 0xFFFF, 0x93, 0),
        descriptor(0, 0xFFFFF, 0x9B, 0xA),
        descriptor(0, 0xFFFFF, 0x93, 0xC),
        descriptor(0, 0xFFFFF, 0xFB, 0xA),
        descriptor(TSS, 0xFFF if rng.random() < 0.5 else 0x67, 0x89, 0),
        0,
        descriptor(LDT, 0xFF, 0x82, 0),
        0,
        call,
        0,
        descriptor(TSS16, 0x2B, 0x81, 0),
        descriptor(TSS2, 0x67, 0x89, 0),
        gate(TSS2_SEL, 0, 0xE5),
        descriptor(0, 0xFFFFF, 0x9F, 0xC),
        descriptor(0, 0x3FFFF, 0x97, 0x4),
        descriptor(0, 0xFFFFF, 0x91, 0xC),
        descriptor(0, 0xFFFFF, 0x99, 0xC),
        descriptor(0, 0xFFFFF, 0xBB, 0xC),
        descriptor(0, 0xFFFFF, 0xB3, 0xC),
        descriptor(DATA, 0x1FF, 0xF3, 0x4),
        descriptor(0xFFFFF000, 0x1FFF, 0xF3, 0x4),
    ]
    while len(rows) < 32:
        rows.append(rng.getrandbits(64) | (1 << 47 if rng.random() < 0.7 else 0))
    rig.memory.write(GDT, b"".join(r.to_bytes(8, "little") for r in rows))
    rig.memory.write(LDT, b"".join(rng.choice(rows).to_bytes(8, "little") for _ in range(32)))


def write_idt(rig: Rig, rng: Random, kind: str) -> None:
    """kind: real, pm (8-byte gates), long. Most gates lead to a handler of their own."""
    out = bytearray()
    for vector in range(256):
        at = HANDLERS + 16 * (vector & 0x3F)
        if rng.random() < 0.02:
            at = rng.choice((CODE + rng.randrange(0x1000), MMIO, NOTHING, rng.getrandbits(32), ALIAS + CODE))
        if kind == "real":
            out += struct.pack("<HH", at & 15, (at >> 4) & 0xFFFF)
            continue
        access = rng.choice((0x8E, 0xEE, 0x8F, 0xEF))
        r = rng.random()
        if kind == "pm":
            row = gate(rng.choice((CS32,) * 8 + (0x98, 0xB9)), at, access)
            if r < 0.02:
                row = gate(rng.choice((TSS2_SEL, TSS16_SEL, TSS_SEL)), 0, 0xE5)
            elif r < 0.04:
                row = gate(CS16, at & 0xFFFF, access & 0xF7)
        else:
            row = gate(CS64, at, access) | (rng.randrange(8) << 32 if rng.random() < 0.1 else 0)
        if r > 0.98:
            row = rng.getrandbits(64)
        out += row.to_bytes(8, "little")
        if kind == "long":
            out += (rng.choice((0, 0xFFFF8000)) if rng.random() < 0.05 else 0).to_bytes(8, "little")
    rig.memory.write(0 if kind == "real" else IDT, bytes(out))


WITH_ERROR = (8, 10, 11, 12, 13, 14, 17)


def write_handlers(rig: Rig, rng: Random, bits: int) -> None:
    """Sixteen bytes each: most skip a byte of what faulted and return; so a random program gets on."""
    for vector in range(64):
        skip = rng.randrange(1, 4)
        error = vector in WITH_ERROR
        if bits == 16:
            code = bytes((0x55, 0x89, 0xE5, 0x83, 0x46, 0x02, skip, 0x5D, 0xCF))
        elif bits == 32:
            code = (b"\x83\xc4\x04" if error else b"") + bytes((0x83, 0x04, 0x24, skip, 0xCF))
        else:
            code = (b"\x48\x83\xc4\x08" if error else b"") + bytes((0x48, 0x83, 0x04, 0x24, skip, 0x48, 0xCF))
        if rng.random() < 0.05:
            code = rng.randbytes(16)
        rig.memory.write(HANDLERS + 16 * vector, code.ljust(16, b"\xf4"))


def write_tss(rig: Rig, rng: Random, long_mode: bool) -> None:
    if long_mode:
        body = bytearray(0x68)
        for i in range(3):
            body[4 + 8 * i : 12 + 8 * i] = (STACK - 0x400 * i).to_bytes(8, "little")
        for i in range(7):
            at = STACK - 0x1000 - 0x200 * i if rng.random() < 0.8 else rng.getrandbits(64)
            body[0x24 + 8 * i : 0x2C + 8 * i] = at.to_bytes(8, "little")
        body[0x66:0x68] = struct.pack("<H", 0x68)
        rig.memory.write(TSS, bytes(body) + rng.randbytes(0x40))
        return
    for base in (TSS, TSS2):
        words = [0] * 26
        for i in range(3):
            words[1 + 2 * i] = STACK - 0x800 - 0x400 * i
            words[2 + 2 * i] = (DS32, 0xC1, DS32)[i]
        words[7] = TABLES if rng.random() < 0.8 else rng.getrandbits(20)
        words[8] = rng.choice((CODE, HANDLERS)) + rng.randrange(0x100)
        words[9] = rng.choice((2, 0x202, 0x102, 0x4002, 0x20002))
        for i in range(8):
            words[10 + i] = rng.choice((STACK - 0x1000, DATA, rng.getrandbits(32)))
        for i, sel in enumerate((DS32, CS32, DS32, DS32, DS32, 0)):
            words[18 + i] = sel if rng.random() < 0.9 else rng.choice(SELECTORS)
        words[24] = rng.choice((0, LDT_SEL))
        words[25] = 0x680000 | (rng.random() < 0.1)
        rig.memory.write(base, struct.pack("<26I", *words) + rng.randbytes(0x40))
    words = [rng.getrandbits(16) for _ in range(22)]
    words[7] = 0x100
    words[17:21] = [DS16, CS16, DS16, DS16]
    rig.memory.write(TSS16, struct.pack("<22H", *words))


def page_entry(rng: Random, address: int, extra: int = 0) -> int:
    """Mostly present, writable and user; sometimes anything."""
    entry = address | 0x07 | extra
    r = rng.random()
    if r < 0.02:
        entry &= ~1
    elif r < 0.05:
        entry &= ~2
    elif r < 0.08:
        entry &= ~4
    elif r < 0.10:
        entry |= 0x100
    elif r < 0.11:
        entry ^= 1 << rng.randrange(32)
    elif r < 0.30:
        entry |= 0x60
    return entry


def write_tables(rig: Rig, rng: Random, kind: str) -> None:
    """Page tables at TABLES: the first 2 or 4 MiB by small pages, identical but for a few; kind: 32, pae, long."""

    def put(at: int, index: int, size: int, value: int) -> None:
        rig.memory.write(at + index * size, value.to_bytes(size, "little"))

    targets = [i << 12 for i in range(1024)]
    for _ in range(rng.randrange(12)):
        targets[rng.randrange(0x200)] = rng.choice(
            (MMIO, NOTHING, DATA, CODE, ALIAS + CODE, ROM, HOLE & ~0xFFF, rng.getrandbits(20) << 12)
        )
    if kind == "32":
        for i in range(1024):
            put(TABLES + 0x1000, i, 4, page_entry(rng, targets[i]))
            put(TABLES, i, 4, page_entry(rng, i << 22, 0x80))
        put(TABLES, 0, 4, TABLES + 0x1007)
        put(TABLES, 0x300, 4, TABLES + 0x1007)
        return
    high = rng.random() < 0.2
    for i in range(512):
        entry = page_entry(rng, targets[i])
        if high and rng.random() < 0.02:
            entry |= 1 << rng.randrange(40, 64)
        put(TABLES + 0x3000, i, 8, entry)
        put(TABLES + 0x2000, i, 8, page_entry(rng, i << 21, 0x80))
    put(TABLES + 0x2000, 0, 8, TABLES + 0x3007)
    if kind == "pae":
        for i in range(4):
            put(TABLES, i, 8, TABLES + 0x2001)
        return
    for i in range(512):
        put(TABLES + 0x1000, i, 8, page_entry(rng, i << 30, 0x80))
    put(TABLES + 0x1000, 0, 8, TABLES + 0x2007)
    put(TABLES + 0x1000, 4, 8, FAR | 0x87)
    for i in (0, 1, 256, 511):
        put(TABLES, i, 8, TABLES + 0x1007)


MODES = (
    "real",
    "unreal",
    "pm16",
    "pm32",
    "pm32-user",
    "vm86",
    "paged",
    "pae",
    "pae-user",
    "long",
    "long-user",
    "compat",
    "compat16",
)


def enter_mode(rig: Rig, rng: Random, mode: str) -> int:
    """Tables, control and segment registers of a mode; returns the size of code in bits."""
    cpu = rig.cpu
    long_mode = mode.startswith(("long", "compat"))
    bits = 64 if mode.startswith("long") else 16 if mode in ("real", "unreal", "pm16", "vm86", "compat16") else 32
    user = mode.endswith("user") or mode == "vm86" or (mode.startswith("compat") and rng.random() < 0.5)
    write_gdt(rig, rng, long_mode)
    write_tss(rig, rng, long_mode)
    write_idt(rig, rng, "real" if mode in ("real", "unreal") else "long" if long_mode else "pm")
    if mode == "vm86":
        write_idt(rig, rng, "real")
    write_handlers(rig, rng, 16 if mode in ("real", "unreal") else 64 if long_mode else 32)
    paged = long_mode or mode in ("paged", "pae", "pae-user") or (mode in ("vm86", "pm32-user") and rng.random() < 0.5)
    pae = long_mode or mode.startswith("pae")
    if paged:
        write_tables(rig, rng, "long" if long_mode else "pae" if pae else "32")
    cr0 = 0x10 | sum(
        bit for bit, p in ((2, 0.3), (4, 0.03), (8, 0.03), (0x20, 0.7), (0x10000, 0.5), (0x40000, 0.4)) if rng.random() < p
    )
    if mode not in ("real", "unreal"):
        cr0 |= 1
    cr4 = sum(
        bit
        for bit, p in (
            (1, 0.3),
            (2, 0.3),
            (4, 0.1),
            (8, 0.3),
            (0x10, 0.8),
            (0x40, 0.1),
            (0x80, 0.5),
            (0x200, 0.9),
            (0x400, 0.8),
            (0x800, 0.1),
            (0x10000, 0.5),
            (0x40000, 0.7),
            (0x100000, 0.15),
            (0x200000, 0.15),
        )
        if rng.random() < p
    )
    efer = 1 | (0x800 if rng.random() < 0.5 else 0)
    if pae:
        cr4 |= 0x20
    if long_mode:
        efer |= 0x500
        cr4 |= 0x20000 if rng.random() < 0.2 else 0
    cpu.set("cr3", TABLES)
    cpu.set("efer", efer)
    cpu.set("cr4", cr4)
    cpu.set("cr0", cr0 | (0x80000000 if paged else 0))
    cpl = 3 if user else 0
    vm = mode == "vm86"
    code_sel = {16: CS16, 32: CS32, 64: CS64}[bits] if not user else CS64_3 if bits == 64 else CS32_3
    access = 0x9B | cpl << 5
    if mode in ("real", "unreal") or vm:
        segment = CODE >> 4
        segs = {
            "cs": (segment, CODE),
            "ds": (DATA >> 4, DATA),
            "es": (rng.choice((DATA, 0, 0xF8000)) >> 4,) * 2,
            "ss": (STACK - 0x10000 >> 4, STACK - 0x10000),
            "fs": (0, 0),
            "gs": (0xFFFF, 0xFFFF0),
        }
        segs["es"] = (segs["es"][0], segs["es"][0] << 4)
        for name, (sel, base) in segs.items():
            limit = 0xFFFFFFFF if mode == "unreal" and name != "cs" else 0xFFFF
            flags = (0x9B00 if name == "cs" and not vm else 0x9300) | (0x6000 if vm else 0)
            set_segment(cpu, name, sel, base, limit, flags)
    else:
        kind = {16: 0, 32: 0x400000, 64: 0x200000}[bits]
        base = CODE if mode in ("pm16", "compat16") else 0
        limit = 0xFFFF if mode in ("pm16", "compat16") else 0xFFFFFFFF
        set_segment(cpu, "cs", code_sel | cpl, base, limit, access << 8 | kind | (0x800000 if limit > 0xFFFF else 0))
        data_kind = 0x400000 if bits != 16 or rng.random() < 0.5 else 0
        for name in ("ss", "ds", "es", "fs", "gs"):
            base = 0
            limit = 0xFFFFFFFF
            sel = DS32_3 | 3 if user else DS32
            if name in ("fs", "gs") or rng.random() < 0.1:
                base = rng.choice((0, DATA, 0xFFFFFFF0, MMIO, rng.getrandbits(20)))
                limit = rng.choice((0xFFFFFFFF, 0xFFFF, 0xFFF, 0x1FFFFF, rng.getrandbits(18)))
            flags = (0x93 | cpl << 5) << 8 | data_kind | 0x800000
            if rng.random() < 0.05:
                flags ^= 1 << rng.choice((9, 10, 11, 15, 22))
            set_segment(cpu, name, sel, base, limit, flags)
    set_segment(cpu, "tr", TSS_SEL, TSS, 0xFFF, 0x8B00)
    set_segment(cpu, "ldt", LDT_SEL, LDT, 0xFF, 0x8200)
    cpu.set("gdt_base", GDT)
    cpu.set("gdt_limit", 0xFF)
    cpu.set("idt_base", 0 if mode in ("real", "unreal") else IDT)
    cpu.set("idt_limit", 0x3FF if mode in ("real", "unreal") else 0xFFF if long_mode else 0x7FF)
    flags = 2 | (0x200 if rng.random() < 0.5 else 0) | (0x20000 if vm else 0) | rng.choice((0, 0, 0, 0x3000))
    flags |= rng.getrandbits(12) & 0x8D5 | (0x400 if rng.random() < 0.2 else 0) | (0x100 if rng.random() < 0.05 else 0)
    flags |= 0x40000 if rng.random() < 0.1 else 0
    cpu.set("cpl", cpl)
    cpu.set("eflags", flags)
    return bits


def set_segment(cpu: Any, name: str, sel: int, base: int, limit: int, flags: int) -> None:
    cpu.set(name, sel)
    cpu.set(f"{name}_base", base)
    cpu.set(f"{name}_limit", limit)
    cpu.set(f"{name}_flags", flags)
