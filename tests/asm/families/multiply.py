"""MUL IMUL DIV IDIV and their #DE; the decimal instructions DAA DAS AAA AAS AAM AAD (SDM vol. 2, operation sections)."""
from __future__ import annotations

from collections.abc import Iterator

from .. import flags
from ..case import LEGACY, Case, Fault, regname
from .arithmetic import modes

SIZES = (8, 16, 32, 64)


def pair(n: int, high: int, low: int) -> dict[str, int | str]:
    """The double-width accumulator."""
    if n == 8:
        return {"ax": high << 8 | low}
    return {regname("d", n): high, regname("a", n): low}


def multiply(n: int) -> Iterator[Case]:
    mask = (1 << n) - 1
    w = n > 8
    for i, (a, b) in enumerate(((3, 5), (mask, mask), (1 << (n - 1), 2), (0x7654321089ABCDEF & mask, 0x1F3D5B79 & mask), (mask - 6, 9))):
        u, s = a * b, flags.signed(a, n) * flags.signed(b, n)
        for op, digit, product, over in (("mul", 4, u, u > mask), ("imul", 5, s, s != flags.signed(s, n))):
            out = pair(n, product >> n & mask, product & mask)
            common = {"modes": modes(n), "size": n, "oflags": flags.word(o=over, c=over), "undef": "szap", "twins": i == 0}
            yield Case(f"{op} {a:#x} * {b:#x}", f"= {0xF6 + w:02X} /{digit}b", regs={regname("a", n): a, regname("b", n): b}, out=out, **common)
            yield Case(f"{op} {a:#x} * {b:#x}", f"= {0xF6 + w:02X} /{digit}m", regs={regname("a", n): a}, m=b, out=out, access="r", **common)
        if not w:
            continue
        over = s != flags.signed(s, n)
        common = {"modes": modes(n), "size": n, "oflags": flags.word(o=over, c=over), "undef": "szap", "twins": i == 0,
                  "out": {regname("d", n): s & mask}}
        yield Case(f"imul {a:#x}, {b:#x}", "imul %d, %b", regs={regname("d", n): a, regname("b", n): b}, **common)
        yield Case(f"imul {a:#x}, {b:#x}", "imul %d, %m", regs={regname("d", n): a}, m=b, access="r", **common)
        for imm, code, kind in ((-100, "6B", "ib"), (0x1234, "69", "iz")):
            s = flags.signed(a, n) * imm
            over = s != flags.signed(s, n)
            common |= {"oflags": flags.word(o=over, c=over), "out": {regname("d", n): s & mask}}
            yield Case(f"imul {a:#x}, {imm}", f"= {code} /2b {kind}:{imm}", regs={regname("b", n): a}, **common)
            yield Case(f"imul {a:#x}, {imm}", f"= {code} /2m {kind}:{imm}", m=a, access="r", **common)


def divide(n: int) -> Iterator[Case]:
    mask = (1 << n) - 1
    w = n > 8
    top = 1 << (n - 1)
    table: list[tuple[int, int]] = [(100, 7), ((5 << n) + 9, 6), (mask << n | mask - 99, 7), ((1 << 2 * n) - (top << 1) + 1, 2), (5, 0),
                                    (1 << n, 1), (top << n, mask), (top, 1), ((1 << 2 * n) - top, 1), ((1 << 2 * n) - top - 1, 1)]
    for i, (dividend, divisor) in enumerate(table):
        for op, digit in (("div", 6), ("idiv", 7)):
            fault = None
            q = r = 0
            if divisor == 0:
                fault = Fault(0)
            elif op == "div":
                q, r = divmod(dividend, divisor)
                if q > mask:
                    fault = Fault(0)
            else:
                x, y = flags.signed(dividend, 2 * n), flags.signed(divisor, n)
                q = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
                r = x - q * y
                if not -top <= q < top:
                    fault = Fault(0)
            out = {} if fault else pair(n, r & mask, q & mask)
            common = {"modes": modes(n), "size": n, "undef": "" if fault else "oszapc", "fault": fault, "twins": i == 0,
                      "twin": "de" if fault else "", "out": out}
            acc = pair(n, dividend >> n & mask, dividend & mask)
            yield Case(f"{op} {dividend:#x} / {divisor:#x}", f"= {0xF6 + w:02X} /{digit}b", regs=acc | {regname("b", n): divisor}, **common)
            yield Case(f"{op} {dividend:#x} / {divisor:#x}", f"= {0xF6 + w:02X} /{digit}m", regs=acc, m=divisor, access="r", **common)


def daa(al: int, carry: int, aux: int, sub: bool) -> tuple[int, str]:
    old, old_carry, c = al, carry, 0
    if (al & 15) > 9 or aux:
        c = old_carry | int(al < 6 if sub else al > 0xF9)
        al = (al - 6 if sub else al + 6) & 0xFF
        aux = 1
    else:
        aux = 0
    if old > 0x99 or old_carry:
        al = (al - 0x60 if sub else al + 0x60) & 0xFF
        c = 1
    return al, flags.szp(al, 8) + flags.word(a=aux, c=c)


def decimal() -> Iterator[Case]:
    for al in (0x00, 0x09, 0x0A, 0x35, 0x79, 0x9A, 0xAE, 0xFF, 0x05, 0x66):
        for carry in (0, 1):
            for aux in (0, 1):
                before = flags.word(c=carry, a=aux)
                for op, sub in (("daa", False), ("das", True)):
                    r, f = daa(al, carry, aux, sub)
                    yield Case(f"{op} {al:#x} {before}", op, LEGACY, regs={"al": al}, flags=before, out={"al": r}, oflags=f, undef="o")
                ax = 0x0200 | al
                for op in ("aaa", "aas"):
                    adjust = (al & 15) > 9 or aux
                    r = ax
                    if adjust:
                        r = ax + 0x106 if op == "aaa" else ax - 6 - 0x100
                    r = r & 0xFF0F
                    yield Case(f"{op} {al:#x} {before}", op, LEGACY, regs={"ax": ax}, flags=before, out={"ax": r},
                               oflags=flags.word(a=bool(adjust), c=bool(adjust)), undef="oszp")
        for base in (10, 16, 7):
            q, r = divmod(al, base)
            yield Case(f"aam {al:#x} by {base}", f".byte 0xD4,{base}", LEGACY, regs={"al": al}, out={"ax": q << 8 | r}, oflags=flags.szp(r, 8),
                       undef="oac")
            r = al + 3 * base & 0xFF
            yield Case(f"aad {al:#x} by {base}", f".byte 0xD5,{base}", LEGACY, regs={"ax": 0x300 | al}, out={"ax": r}, oflags=flags.szp(r, 8),
                       undef="oac")
    yield Case("aam by 0", ".byte 0xD4,0", LEGACY, regs={"al": 5}, fault=Fault(0))


def cases() -> Iterator[Case]:
    for n in SIZES:
        yield from multiply(n)
        yield from divide(n)
    yield from decimal()
