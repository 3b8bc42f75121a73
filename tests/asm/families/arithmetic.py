"""ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT: every opcode of the eight, every form and size."""
from __future__ import annotations

from collections.abc import Iterator

from .. import flags
from ..case import ALL, Case, regname
from ..layout import MODES

OPS = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"]
SIZES = (8, 16, 32, 64)


def modes(size: int) -> tuple[str, ...]:
    return tuple(m for m in ALL if size != 64 or MODES[m].bits == 64)


def result(op: str, a: int, b: int, n: int, carry: int) -> tuple[int, str, str]:
    """(result, flags, undefined flags)"""
    if op in ("add", "adc"):
        return *flags.add(a, b, n, carry if op == "adc" else 0), ""
    if op in ("sub", "cmp", "sbb"):
        return *flags.sub(a, b, n, carry if op == "sbb" else 0), ""
    r = {"and": a & b, "or": a | b, "xor": a ^ b, "test": a & b}[op]
    return *flags.logic(r, n), "a"


def operands(n: int) -> list[tuple[int, int, int]]:
    """a, b, carry: ordinary, both carries, overflow, zero, the borrow of a borrow."""
    top, mask = 1 << (n - 1), (1 << n) - 1
    return [(0x5A & mask, 0x33, 0), (mask, 1, 0), (top - 1, top - 1, 1), (top, top, 0), (0, mask, 1), (0x0F, 0x01, 0),
            (0x1234567890ABCDEF & mask, 0x0FEDCBA987654321 & mask, 1), (0x80, 0x80, 1)]


def binary(op: str, n: int) -> Iterator[Case]:
    """r,r both ways round; r,m; m,r; r,imm; m,imm; accumulator,imm."""
    writes = op not in ("cmp", "test")
    lock = writes
    acc = {"access": "rw" if writes else "r"}
    for i, (a, b, carry) in enumerate(operands(n)):
        r, f, und = result(op, a, b, n, carry)
        name = f"{op} {a:#x}, {b:#x}"
        common = {"modes": modes(n), "size": n, "flags": "C" if carry else "c", "oflags": f, "undef": und, "twins": i == 0}
        dst = {regname("d", n): r} if writes else {}
        ab = {regname("d", n): a, regname("b", n): b}
        yield Case(name, f"{op} %d, %b", regs=ab, out=dst, **common)
        if op != "test":
            yield Case(name, f"{{load}} {op} %d, %b", regs=ab, out=dst, **common)
            yield Case(name, f"{op} %d, %m", regs={regname("d", n): a}, m=b, out=dst, access="r", **common)
        yield Case(name, f"{op} %m, %b", regs={regname("b", n): b}, m=a, om=r if writes else None, lock=lock, **acc, **common)
        # immediates: 8 bits, sign-extended 8, and 16 or 32 sign-extended
        wide = min(n, 32)
        imm = b & (1 << wide) - 1
        r, f, und = result(op, a, flags.signed(imm, wide), n, carry)
        common |= {"oflags": f, "undef": und}
        code = {"test": 0xF6, **dict.fromkeys(OPS, 0x80)}[op]
        digit = OPS.index(op) if op in OPS else 0
        for d in (0, 1) if op == "test" else (digit,):
            raw = f"= {code + (n > 8):02X} /{d}%s i{'b' if n == 8 else 'z'}:{imm}"
            yield Case(name + " imm", raw % "d", regs=ab, out={regname("d", n): r} if writes else {}, **common)
            yield Case(name + " imm", raw % "m", m=a, om=r if writes else None, lock=lock, **acc, **common)
        if n == 8 and op != "test":
            legacy = common | {"modes": [m for m in modes(n) if m != "long64"]}
            raw = f"= 82 /{digit}%s ib:{imm}"
            yield Case(name + " imm", raw % "d", regs=ab, out={regname("d", n): r} if writes else {}, **legacy)
            yield Case(name + " imm", raw % "m", m=a, om=r if writes else None, lock=lock, **acc, **legacy)
        acc_op = 0xA8 if op == "test" else 8 * digit + 4
        yield Case(name + " acc", f"= {acc_op + (n > 8):02X} i{'b' if n == 8 else 'z'}:{imm}", regs={regname("a", n): a},
                   out={regname("a", n): r} if writes else {}, **common)
        if n > 8 and op != "test":
            small = flags.signed(b, 8)
            r, f, und = result(op, a, small, n, carry)
            common |= {"oflags": f, "undef": und}
            yield Case(name + " imm8", f"= 83 /{digit}d ib:{small}", regs=ab, out={regname("d", n): r} if writes else {}, **common)
            yield Case(name + " imm8", f"= 83 /{digit}m ib:{small}", m=a, om=r if writes else None, lock=lock, **acc, **common)


def unary(n: int) -> Iterator[Case]:
    top, mask = 1 << (n - 1), (1 << n) - 1
    raw = {"inc": ("FE", 0), "dec": ("FE", 1), "not": ("F6", 2), "neg": ("F6", 3)}
    for op, (code, digit) in raw.items():
        opcode = f"{int(code, 16) + (n > 8):02X} /{digit}"
        for i, a in enumerate((0x5A, 0, mask, top, top - 1, 0x10, 0x0F)):
            if op == "inc":
                r, f = flags.add(a, 1, n)
            elif op == "dec":
                r, f = flags.sub(a, 1, n)
            elif op == "neg":
                r, f = flags.sub(0, a, n)
            else:
                r, f = ~a & mask, ""
            if op in ("inc", "dec"):
                f = f.replace("c", "").replace("C", "")
            common = {"modes": modes(n), "size": n, "oflags": f, "twins": i == 0}
            yield Case(f"{op} {a:#x}", f"= {opcode}d", regs={regname("d", n): a}, out={regname("d", n): r}, **common)
            yield Case(f"{op} {a:#x}", f"= {opcode}m", m=a, om=r, access="rw", lock=True, **common)
            if op in ("inc", "dec") and n in (16, 32):
                legacy = common | {"modes": [m for m in modes(n) if m != "long64"]}
                yield Case(f"{op} {a:#x}", f"= {(0x40 if op == 'inc' else 0x48) + 2:02X}", regs={regname("d", n): a},
                           out={regname("d", n): r}, **legacy)


def high_bytes() -> Iterator[Case]:
    """AH CH DH BH are bits 8-15 of the first four registers; with REX the same numbers are SPL BPL SIL DIL."""
    yield Case("ah, ch", "add ah, ch", regs={"rax": 0x11FE22, "rcx": 0x0503}, out={"ah": 0x03}, oflags="oszAPC", size=8)
    yield Case("dh, bl", "xor dh, bl", regs={"rdx": 0x5500, "rbx": 0x55}, out={"dh": 0}, oflags="osZPc", undef="a", size=8)
    yield Case("spl, dil", "add sil, dil", ("long64",), regs={"rsi": 0x1FF, "rdi": 0x101}, out={"rsi": 0x100}, oflags="osZAPC", size=8)
    yield Case("r9b, r15b", "sub r9b, r15b", ("long64",), regs={"r9": 0x700, "r15": 1}, out={"r9": 0x7FF}, oflags="oSzAPC", size=8)
    yield Case("r8, r14", "add r8, r14", ("long64",), regs={"r8": (1 << 64) - 1, "r14": 2}, out={"r8": 1}, oflags="oszApC", size=64)
    yield Case("r8d clears the upper half", "add r8d, r14d", ("long64",), regs={"r8": (1 << 64) - 1, "r14": 2}, out={"r8": 1},
               oflags="oszApC", size=32)
    yield Case("r8w keeps the rest", "add r8w, r14w", ("long64",), regs={"r8": (1 << 64) - 1, "r14": 2},
               out={"r8": 0xFFFFFFFFFFFF0001}, oflags="oszApC", size=16)


def cases() -> Iterator[Case]:
    for n in SIZES:
        for op in OPS + ["test"]:
            yield from binary(op, n)
        yield from unary(n)
    yield from high_bytes()
