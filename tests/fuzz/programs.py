"""Random programs: bytes, plausible encodings, and short idioms that reach into the machine."""

from __future__ import annotations

import struct
from random import Random

from .guest import (
    ALIAS,
    CODE,
    DATA,
    FAR,
    GDT,
    HIGH,
    HOLE,
    IDT,
    MMIO,
    NOTHING,
    RAM,
    ROM,
    SELECTORS,
    STACK,
    TABLES,
    TOP_MMIO,
    TSS,
)

ADDRESSES = (
    0,
    0xFFF,
    MMIO,
    MMIO + 0xFFD,
    HOLE - 3,
    HOLE,
    HOLE + 9,
    ALIAS,
    ALIAS + CODE,
    CODE,
    CODE + 0x40,
    CODE + 0xFF9,
    DATA,
    DATA + 0xFFC,
    DATA + 0x7F9,
    STACK,
    RAM - 1,
    RAM - 4,
    RAM - 16,
    ROM,
    ROM - 2,
    ROM + 0x7FFE,
    NOTHING,
    NOTHING - 3,
    HIGH,
    HIGH + 0xFFFC,
    TABLES,
    TABLES + 0x2000,
    TABLES + 0x3000,
    GDT,
    IDT,
    TSS,
    TOP_MMIO,
    TOP_MMIO + 0xFFD,
    0xFFFFFFFE,
    0xFFFFFFF0,
    0xFFFF8000,
    0x8000,
)
WIDE = (
    FAR,
    FAR + 0xFFFD,
    1 << 47,
    (1 << 47) - 4,
    (1 << 64) - (1 << 47),
    (1 << 64) - 1,
    (1 << 64) - 0x1000,
    1 << 63,
    0x8000_0000_0000_1000,
)
MSRS = (
    0x10,
    0x1B,
    0x3B,
    0x48,
    0x174,
    0x175,
    0x176,
    0x1A0,
    0x1D9,
    0x277,
    0x2FF,
    0x6E0,
    0xC0000080,
    0xC0000081,
    0xC0000082,
    0xC0000083,
    0xC0000084,
    0xC0000100,
    0xC0000101,
    0xC0000102,
    0xC0000103,
    0xC0010015,
    0x200,
    0x250,
    0x400,
    0x12345678,
)
CR0S = (0x10, 0x11, 0x60000011, 0x80000011, 0x80010011, 0x8001003B, 0x19, 0x1F, 0x80050033, 0x60000010, 0x20000011, 0xFFFFFFFF)
CR4S = (0, 0x10, 0x20, 0x30, 0x6B0, 0x6A0, 0x406B0, 0x3406F8, 0x200A0, 0x80, 0xFF, 0x1, 0x100020, 0x200020, 0xFFFFFFFF)
EFERS = (0, 1, 0x100, 0x101, 0x500, 0xD01, 0x801, 0x900, 0xFFFFFFFF)
DR7S = (0, 0x400, 0x401, 0x403, 0xD0402, 0x1FF, 0x2000, 0xFFFF03FF, 0x30001, 0x200010, 0x90002)
PORTS = (0x80, 0x82, 0x86, 0x3F0, 0x3FE, 0xFFFC, 0xFFFF, 0x60, 0x87)
FLAG_SETS = (0x2, 0x202, 0x102, 0x302, 0x3202, 0x4002, 0x20002, 0x23202, 0x40002, 0x402, 0x10002, 0x180002, 0x3FFFFF, 0x200202)

LEGACY = (0x66, 0x67, 0xF2, 0xF3, 0xF0, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65)


def value(rng: Random, bits: int) -> int:
    """Something a register may hold."""
    r = rng.random()
    if r < 0.45:
        v = rng.choice(ADDRESSES) + rng.choice((0, 0, 0, 1, -1, 8, -8, 0x10))
    elif r < 0.55:
        v = rng.choice(WIDE)
    elif r < 0.75:
        v = rng.choice(
            (
                0,
                1,
                2,
                7,
                8,
                0x7F,
                0x80,
                0xFF,
                0x7FFF,
                0x8000,
                0xFFFF,
                0x7FFFFFFF,
                0x80000000,
                0xFFFFFFFF,
                -1,
                -2,
                1 << 63,
                (1 << 63) - 1,
            )
        )
    elif r < 0.85:
        v = rng.choice(SELECTORS)
    else:
        v = rng.getrandbits(rng.choice((4, 8, 12, 16, 20, 32, 64)))
    return v & (1 << 64) - 1


def immediate(rng: Random, size: int) -> bytes:
    return (value(rng, 64) & (1 << 8 * size) - 1).to_bytes(size, "little")


def operand(rng: Random, bits: int, reg: int | None = None) -> bytes:
    """ModRM, SIB and displacement."""
    mod = rng.choice((0, 0, 1, 2, 3))
    reg = rng.randrange(8) if reg is None else reg
    rm = rng.randrange(8)
    out = bytes((mod << 6 | reg << 3 | rm,))
    if mod == 3:
        return out
    if bits == 16:
        if mod == 0 and rm == 6:
            return out + immediate(rng, 2)
        return out + (b"" if mod == 0 else rng.randbytes(1) if mod == 1 else immediate(rng, 2))
    disp = 0 if mod == 0 else 1 if mod == 1 else 4
    if rm == 4:
        sib = rng.randrange(256)
        out += bytes((sib,))
        if mod == 0 and sib & 7 == 5:
            disp = 4
    elif rm == 5 and mod == 0:
        # absolute, or relative to the instruction: then near
        return out + (
            struct.pack("<i", rng.randrange(-0x2000, 0x2000)) if bits == 64 and rng.random() < 0.7 else immediate(rng, 4)
        )
    if disp == 4 and rng.random() < 0.6:
        return out + struct.pack("<i", rng.randrange(-64, 64))
    return out + (b"" if disp == 0 else rng.randbytes(1) if disp == 1 else immediate(rng, 4))


def encoding(rng: Random, bits: int) -> bytes:
    """Prefixes, an opcode of any map, an operand and an immediate: whatever they mean together."""
    out = b""
    while rng.random() < 0.3 and len(out) < 5:
        out += bytes((rng.choice(LEGACY),))
    if bits == 64 and rng.random() < 0.5:
        out += bytes((0x40 | rng.randrange(16),))
    r = rng.random()
    if r < 0.45:
        out += bytes((rng.randrange(256),))
    elif r < 0.8:
        out += bytes((0x0F, rng.randrange(256)))
    elif r < 0.9:
        out += bytes((0x0F, rng.choice((0x38, 0x3A)), rng.randrange(256)))
    elif r < 0.95:
        out += bytes((0xD8 | rng.randrange(8),))
    else:
        out += bytes((rng.choice((0xC4, 0xC5)), 0xE1 ^ rng.randrange(4), rng.randrange(256)))
    return out + operand(rng, bits) + (immediate(rng, rng.choice((1, 2, 4))) if rng.random() < 0.4 else b"")


def load(rng: Random, bits: int, reg: int, v: int) -> bytes:
    """MOV reg, v at the natural size."""
    if bits == 64 and (v >> 32 or rng.random() < 0.1):
        return bytes((0x48, 0xB8 | reg)) + (v & (1 << 64) - 1).to_bytes(8, "little")
    if bits == 16 and v >> 16:
        return bytes((0x66, 0xB8 | reg)) + (v & 0xFFFFFFFF).to_bytes(4, "little")
    size = 2 if bits == 16 else 4
    return bytes((0xB8 | reg,)) + (v & (1 << 8 * size) - 1).to_bytes(size, "little")


def string(rng: Random, bits: int) -> bytes:
    """A string instruction, often repeated, from and to places of interest."""

    def where() -> int:
        return (rng.choice(ADDRESSES) + rng.choice((0, 0, 0, -1, -4, 3))) & 0xFFFFFFFF

    out = load(rng, bits, 6, where()) + load(rng, bits, 7, where())
    out += load(rng, bits, 1, rng.choice((0, 1, 2, 5, 16, 100, 1000, 5000, 0xFFFF, 0xFFFFFFFF, 1 << 62)))
    if rng.random() < 0.2:
        out += bytes((rng.choice((0xFC, 0xFD)),))
    out += rng.choice((b"", b"\xf3", b"\xf3", b"\xf2")) + rng.choice((b"", b"", b"\x66", b"\x67"))
    if bits == 64 and rng.random() < 0.4:
        out += b"\x48"
    return out + bytes(
        (
            rng.choice(
                (0xA4, 0xA5, 0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF, 0x6C, 0x6D, 0x6E, 0x6F)
            ),
        )
    )


def modify(rng: Random, bits: int) -> bytes:
    """Store into code: near this instruction, or through the alias."""
    if bits == 64:
        return bytes((0xC7, 0x05)) + struct.pack(
            "<iI", rng.randrange(-40, 60), rng.choice((0x90909090, 0xCC9090F4, rng.getrandbits(32)))
        )
    base = CODE if bits == 32 and rng.random() < 0.6 else ALIAS + CODE & 0xFFFF if bits == 16 else ALIAS + (CODE & 0xFFFF)
    if bits == 16:
        return bytes((0x2E, 0xC7, 0x06)) + struct.pack("<HH", rng.randrange(0x200), rng.getrandbits(16))
    return bytes((0xC7, 0x05)) + struct.pack("<II", base + rng.randrange(0x200), rng.choice((0x90909090, rng.getrandbits(32))))


def system(rng: Random, bits: int) -> bytes:
    """Control and debug registers, MSRs, tables, selectors, flags, interrupts, ports."""
    kind = rng.randrange(18)
    rexed = b"\x44" if bits == 64 and rng.random() < 0.1 else b""
    if kind == 0:
        spaces = (TABLES, TABLES | 0x18, TABLES | 1 << 63, TABLES | 0x18 | 1 << 63) if bits == 64 else (TABLES, TABLES | 0x18)
        n, values = rng.choice(((0, CR0S), (3, (*spaces, rng.choice(ADDRESSES))), (4, CR4S)))
        return load(rng, bits, 0, rng.choice(values)) + rexed + bytes((0x0F, 0x22, 0xC0 | n << 3))
    if kind == 1:
        return rexed + bytes((0x0F, rng.choice((0x20, 0x21)), 0xC0 | rng.randrange(64)))
    if kind == 2:
        return load(rng, bits, 0, rng.choice(DR7S)) + bytes((0x0F, 0x23, 0xF8))
    if kind == 3:
        return load(rng, bits, 0, rng.choice(ADDRESSES)) + bytes((0x0F, 0x23, 0xC0 | rng.randrange(4) << 3))
    if kind == 4:
        msr = rng.choice(MSRS)
        v = (
            rng.choice(EFERS)
            if msr == 0xC0000080
            else rng.choice((0, rng.choice(ADDRESSES), rng.getrandbits(32), CODE, 0x0008_0008))
        )
        return (
            load(rng, bits, 1, msr)
            + load(rng, bits, 0, v)
            + load(rng, bits, 2, rng.choice((0, 0, 0x0010_0008, 0xFFFFFFFF, 1)))
            + b"\x0f\x30"
        )
    if kind == 5:
        return load(rng, bits, 1, rng.choice(MSRS)) + b"\x0f\x32"
    if kind == 6:
        return bytes((0x0F, 0x01)) + operand(rng, bits)
    if kind == 7:
        return load(rng, bits, 0, rng.choice(SELECTORS)) + rng.choice(
            (
                b"\x8e" + bytes((0xC0 | rng.randrange(6) << 3,)),
                b"\x0f\x00" + bytes((0xC0 | rng.randrange(8) << 3,)),
                b"\x0f\x02\xc8",
                b"\x0f\x03\xc8",
            )
        )
    if kind == 8:
        return load(rng, bits, 0, rng.choice(FLAG_SETS)) + b"\x50\x9d"
    if kind == 9:
        return (
            bytes((0xCD, rng.choice((0, 1, 3, 4, 6, 8, 0x0D, 0x0E, 0x20, 0x80, 0xFF))))
            if rng.random() < 0.6
            else rng.choice((b"\xcc", b"\xf1", b"\xce", b"\x0f\x0b"))
        )
    if kind == 10:
        return rng.choice(
            (
                b"\xfa",
                b"\xfb",
                b"\xf4",
                b"\xfb\xf4",
                b"\x0f\x05",
                b"\x0f\x07",
                b"\x48\x0f\x07",
                b"\x0f\x34",
                b"\x0f\x35",
                b"\x0f\x01\xf8",
                b"\x0f\xa2",
                b"\x0f\x31",
                b"\x0f\x01\xf9",
                b"\x0f\x09",
                b"\x0f\x06",
                b"\x0f\x01\xca",
                b"\x0f\x01\xcb",
                b"\x0f\x01\xc8",
                b"\x0f\x01\xc9",
                b"\x0f\xaa",
                b"\x0f\xc7\xf0",
                b"\x0f\x01\xd0",
                b"\x0f\x01\xd1",
                b"\xf3\x90",
            )
        )
    if kind == 11:
        return load(rng, bits, 2, rng.choice(PORTS)) + rng.choice(
            (b"\xec", b"\xed", b"\xee", b"\xef", b"\x66\xed", b"\x66\xef")
        )
    if kind == 12:  # IRET, RETF with a made-up frame
        sel = rng.choice(SELECTORS)
        back = rng.choice((CODE + rng.randrange(0x400), 0x40))
        pushes = b""
        for v in (rng.choice(SELECTORS), STACK, rng.choice(FLAG_SETS), sel, back):
            pushes += load(rng, bits, 0, v) + b"\x50"
        return pushes + rng.choice((b"\xcf", b"\x48\xcf", b"\xcb", b"\x66\xcf", b"\xca\x04\x00"))
    if kind == 13 and bits != 64:
        return (
            rng.choice((b"\x9a", b"\xea")) + immediate(rng, 2 if bits == 16 else 4) + struct.pack("<H", rng.choice(SELECTORS))
        )
    if kind == 14:
        return rng.choice((b"\xff", b"\x48\xff" if bits == 64 else b"\xff")) + operand(rng, bits, rng.choice((3, 5)))
    if kind == 15:
        return bytes((0x0F, 0x01)) + operand(rng, bits, 7)
    if kind == 16:
        return b"\x66\x0f\x38\x82" + operand(rng, bits)
    return bytes((0x0F, 0xAE)) + operand(rng, bits)


def flow(rng: Random, bits: int) -> bytes:
    """Branches, calls, stack frames; LOOPs bring a program back."""
    kind = rng.randrange(8)
    near = struct.pack("<b", rng.randrange(-30, 40))
    if kind == 0:
        return bytes((0x70 | rng.randrange(16),)) + near
    if kind == 1:
        return (
            load(rng, bits, 1, rng.randrange(1, 200))
            + rng.choice((b"", b"\x48\xff\xc0" if bits == 64 else b"\x40"))
            + b"\xe2"
            + struct.pack("<b", rng.randrange(-20, -2))
        )
    if kind == 2:
        return b"\xe8" + (
            struct.pack("<h", rng.randrange(-64, 64)) if bits == 16 else struct.pack("<i", rng.randrange(-64, 64))
        )
    if kind == 3:
        return rng.choice((b"\xc3", b"\xc2\x08\x00", b"\xc9", b"\x60", b"\x61", b"\x90"))
    if kind == 4:
        return b"\xc8" + struct.pack("<HB", rng.choice((0, 8, 0x1000, 0xFFFF)), rng.randrange(34))
    if kind == 5:
        return bytes((0x0F, 0x80 | rng.randrange(16))) + (
            struct.pack("<h", rng.randrange(-64, 64))
            if bits == 16
            else struct.pack("<i", rng.choice((rng.randrange(-64, 64), 0xFD0, -0x18000)))
        )
    if kind == 6:
        return bytes((0xFF,)) + operand(rng, bits, rng.choice((2, 4, 6)))
    return b"\xeb" + near


def piece(rng: Random, bits: int) -> bytes:
    r = rng.random()
    if r < 0.40:
        return encoding(rng, bits)
    if r < 0.55:
        return load(rng, bits, rng.randrange(8), value(rng, bits))
    if r < 0.67:
        return string(rng, bits)
    if r < 0.80:
        return system(rng, bits)
    if r < 0.85:
        return modify(rng, bits)
    if r < 0.97:
        return flow(rng, bits)
    return rng.randbytes(rng.randrange(1, 12))


def x87(rng: Random, bits: int) -> bytes:
    """An x87 instruction; every other pushes, pops, or works on ST(0) to ST(3). Operands are mostly in one place."""
    r = rng.random()
    if r < 0.25:
        return bytes((0xD8 | rng.randrange(8),)) + operand(rng, bits)
    if r < 0.45:
        return rng.choice((b"\xd9\xe8", b"\xd9\xee", b"\xd9\xeb", bytes((0xD9, 0xC0 | rng.randrange(4)))))
    if r < 0.55:
        return bytes.fromhex(rng.choice(["dfe0", "9b", "dbe2", "d9e5", "dfe09e", "d9fb", "d9f2", "d9f8"]))
    if r < 0.8:
        return bytes((0xD8 | rng.randrange(8), 0xC0 | rng.randrange(8) << 3 | rng.randrange(4)))
    if r < 0.95:
        where = DATA + 8 * rng.randrange(16)
        modrm = bytes((rng.choice((0, 0, 2, 3, 3, 1, 4)) << 3 | (4 if bits == 64 else 5),)) + (b"\x25" if bits == 64 else b"")
        return bytes((rng.choice((0xD8, 0xDC, 0xD9, 0xDD, 0xDB, 0xDF)),)) + modrm + struct.pack("<I", where)
    return flow(rng, bits) if rng.random() < 0.5 else b"\xdb\xe3"


def x87_program(rng: Random, bits: int, size: int = 0x1200) -> bytes:
    """Mostly x87."""
    out = bytearray(rng.choice((b"", b"\xdb\xe3")))
    while len(out) < size:
        out += x87(rng, bits) if rng.random() < 0.85 else piece(rng, bits)
    return bytes(out[:size])


def program(rng: Random, bits: int, size: int = 0x1200) -> bytes:
    """A program of `size` bytes; a twentieth of them are noise from end to end."""
    if rng.random() < 0.05:
        return rng.randbytes(size)
    out = bytearray()
    while len(out) < size:
        out += piece(rng, bits)
    return bytes(out[:size])
