"""x87: every row, on operands whose results are exact, and the state images (SDM vol. 1, chapter 8).

Rounding, special operands and masked exceptions are the differential tests' business; here: the right registers, tags,
condition codes, memory formats, faults and modes.
"""
from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction

from ..case import ALL, Case, Fault, Value
from ..layout import MODES, le

C0, C1, C2, C3 = 0x100, 0x200, 0x400, 0x4000
A, B, C = Fraction(9, 4), Fraction(3, 2), Fraction(-5)      # ST(0), ST(1), ST(2)
HALF = Fraction(1, 2)
# what the load-constant instructions load, rounded to nearest (SDM vol. 2, FLD1)
CONSTANTS = {0xE8: 0x3FFF8000000000000000, 0xE9: 0x4000D49A784BCD1B8AFE, 0xEA: 0x3FFFB8AA3B295C17F0BC, 0xEB: 0x4000C90FDAA22168C235,
             0xEC: 0x3FFD9A209A84FBCFF799, 0xED: 0x3FFEB17217F7D1CF79AC, 0xEE: 0}


def ext(x: Fraction | int) -> int:
    """The 80-bit form of a number it can hold."""
    x = Fraction(x)
    if not x:
        return 0
    sign, m = x < 0, abs(x)
    e = m.numerator.bit_length() - m.denominator.bit_length()
    if m < Fraction(2) ** e:
        e -= 1
    significand = m / Fraction(2) ** e * (1 << 63)
    assert significand.denominator == 1
    return (sign << 15 | e + 16383) << 64 | int(significand)


def stack(values: list[int], top: int, fsw: int = 0) -> dict[str, Value]:
    """Registers that hold these, ST(0) first, and no others."""
    out: dict[str, Value] = {f"fpr{top + i & 7}": v for i, v in enumerate(values)}
    return out | {"fsw": top << 11 | fsw, "ftw": sum(1 << (top + i & 7) for i in range(len(values)))}


def op(name: str, code: str, sets: dict[int, int], move: int = 0, cc: int = 0, free: tuple[int, ...] = (), before: list[Fraction] | None = None,
       **more: object) -> Case:
    """An instruction on a stack of three: `sets` by the old numbering, then `move` (+1: popped once)."""
    values = [ext(v) for v in (before or [A, B, C])]
    top = 5
    valid = {top + i & 7 for i in range(len(values))} | {top + i & 7 for i in sets}
    out: dict[str, Value] = {f"fpr{top + i & 7}": v for i, v in sets.items()}
    for i in [*range(max(move, 0)), *free]:
        valid.discard(top + i & 7)
    out |= {"fsw": (top + move & 7) << 11 | cc, "ftw": sum(1 << r for r in valid)}
    regs = stack(values, top) | more.pop("regs", {})
    return Case(name, f"= {code}", regs=regs, out=out | more.pop("out", {}), unit="x87", feat=str(more.pop("feat", "fpu")), **more)


ARITH = [("fadd", lambda a, b: a + b), ("fmul", lambda a, b: a * b), ("fcom", None), ("fcomp", None), ("fsub", lambda a, b: a - b),
         ("fsubr", lambda a, b: b - a), ("fdiv", lambda a, b: a / b), ("fdivr", lambda a, b: b / a)]


def order(a: Fraction, b: Fraction) -> int:
    return C3 if a == b else C0 if a < b else 0


def arithmetic() -> Iterator[Case]:
    m, a = Fraction(-4), Fraction(2)
    for digit, (name, f) in enumerate(ARITH):
        pops = int(name == "fcomp")
        for code, size, data in (("D8", 4, struct.pack("<f", m)), ("DC", 8, struct.pack("<d", m)), ("DA", 4, le(int(m), 4)), ("DE", 2, le(int(m), 2))):
            integer = code in ("DA", "DE")
            title = name.replace("f", "fi", 1) if integer else name
            yield op(f"{title} m{8 * size}", f"{code} /{digit}m", {0: ext(f(a, m))} if f else {}, pops, 0 if f else order(a, m), before=[a, B, C],
                     m=int.from_bytes(data, "little"), msize=size, access="r")
        b = Fraction(8)
        three = [a, B, b]
        yield op(f"{name} st, st(2)", f"D8 {0xC2 + 8 * digit:02X}", {0: ext(f(a, b))} if f else {}, pops, 0 if f else order(a, b), before=three)
        if not f:
            continue
        # with ST(i) as destination the encodings of the reversed forms change places
        swapped = digit ^ (digit >= 4)
        r = f(b, a)                         # the destination is ST(2)
        yield op(f"{name} st(2), st", f"DC {0xC2 + 8 * swapped:02X}", {2: ext(r)}, before=three)
        yield op(f"{name}p st(2), st", f"DE {0xC2 + 8 * swapped:02X}", {2: ext(r)}, 1, before=three)


def moves() -> Iterator[Case]:
    a, c = ext(A), ext(C)
    yield op("fld st(2)", "D9 C2", {-1: c}, -1)
    for code in ("D9", "DD", "DF"):
        yield op("fxch st(2)", f"{code} CA", {0: c, 2: a})
    yield op("fstpnce st(2)", "D9 DA", {2: a}, 1)
    yield op("fst st(2)", "DD D2", {2: a})
    for code in ("DD DA", "DF D2", "DF DA"):
        yield op("fstp st(2)", code, {2: a}, 1)
    yield op("ffree st(2)", "DD C2", {}, free=(2,))
    yield op("ffreep st(2)", "DF C2", {}, 1, free=(2,))
    for code in ("D8 D2", "DC D2", "DD E2"):
        yield op("fcom st(2)", code, {}, cc=0)
        yield op("fcom, less", code, {}, cc=C0, before=[C, B, A])
        yield op("fcom, equal", code, {}, cc=C3, before=[C, B, C])
    for code in ("D8 DA", "DC DA", "DE D2", "DD EA"):
        yield op("fcomp st(2)", code, {}, 1, cc=C0, before=[C, B, A])
    for code in ("DE D9", "DA E9"):
        yield op("fcompp", code, {}, 2, cc=0)
    for code, pops in (("DB EA", 0), ("DB F2", 0), ("DF EA", 1), ("DF F2", 1)):
        yield op("fcomi, greater", code, {}, pops, oflags="oszapc")
        yield op("fcomi, less", code, {}, pops, oflags="oszapC", before=[C, B, A])
        yield op("fcomi, equal", code, {}, pops, oflags="osZapc", before=[C, B, C])
    yield op("ftst", "D9 E4", {})
    yield op("ftst, negative", "D9 E4", {}, cc=C0, before=[C, B])
    yield op("fxam, normal", "D9 E5", {}, cc=C2)
    yield op("fxam, negative", "D9 E5", {}, cc=C2 | C1, before=[C])
    yield op("fxam, zero", "D9 E5", {}, cc=C3, before=[Fraction(0)])
    yield Case("fxam, empty", "= D9 E5", regs=stack([], 3), out={"fsw": 3 << 11 | C3 | C0}, unit="x87", feat="fpu", loose="fsw", count=False,
               check=lambda s: None if s["fsw"] & (C3 | C2 | C0) == C3 | C0 else f"fsw {s['fsw']:#x}")
    for low, (yes, no) in enumerate((("C", "c"), ("Z", "z"), ("Cz", "cz"), ("P", "p"))):
        for code, true in (("DA", True), ("DB", False)):
            for flags, met in ((yes, True), (no, False)):
                yield op(f"fcmov{'' if true else 'n'} {flags}", f"{code} {0xC2 + 8 * low:02X}", {0: c} if met == true else {}, flags=flags, feat="cmov")


def functions() -> Iterator[Case]:
    one, zero = ext(1), 0
    for code, v in CONSTANTS.items():
        yield op("load constant", f"D9 {code:02X}", {-1: v}, -1)
    yield op("fnop", "D9 D0", {})
    yield op("fchs", "D9 E0", {0: ext(-A)})
    yield op("fabs", "D9 E1", {0: ext(5)}, before=[C, A])
    yield op("f2xm1", "D9 F0", {0: one}, before=[Fraction(1), B], loose="fsw")          # PE may be set
    yield op("fyl2x", "D9 F1", {1: ext(6)}, 1, loose="fsw", before=[Fraction(8), Fraction(2)])
    yield op("fptan", "D9 F2", {0: zero, -1: one}, -1, before=[Fraction(0), B])
    yield op("fpatan", "D9 F3", {1: zero}, 1, before=[Fraction(1), Fraction(0)])
    yield op("fxtract", "D9 F4", {0: ext(3), -1: ext(Fraction(5, 4))}, -1, before=[Fraction(10), B])
    yield op("fprem1", "D9 F5", {0: ext(-1)}, cc=C3, before=[Fraction(11), Fraction(6)])
    yield op("fprem", "D9 F8", {0: ext(5)}, cc=C1, before=[Fraction(11), Fraction(6)])
    yield op("fdecstp", "D9 F6", {}, -1)
    yield Case("fincstp", "= D9 F7", regs=stack([ext(A), ext(B)], 5), out={"fsw": 6 << 11}, unit="x87", feat="fpu")
    yield op("fyl2xp1", "D9 F9", {1: zero}, 1, before=[Fraction(0), Fraction(2)])
    yield op("fsqrt", "D9 FA", {0: ext(B)})
    yield op("fsincos", "D9 FB", {0: zero, -1: one}, -1, before=[Fraction(0), B])
    yield op("frndint", "D9 FC", {0: ext(C)}, before=[C])
    yield op("fscale", "D9 FD", {0: ext(C * 2)}, before=[C, Fraction(1)])
    yield op("fsin", "D9 FE", {0: zero}, before=[Fraction(0), B])
    yield op("fcos", "D9 FF", {0: one}, before=[Fraction(0), B])
    for code in ("DB E0", "DB E1", "DB E4"):
        yield op("8087 and 80287 control: nothing", code, {})
    yield op("fnclex", "DB E2", {}, regs={"fsw": 5 << 11 | 0x80BF | C0}, cc=C0)
    yield Case("fninit", "= DB E3", regs=stack([ext(A)], 5, C0) | {"fcw": 0x27F}, out={"fcw": 0x37F, "fsw": 0, "ftw": 0}, unit="x87", feat="fpu")
    yield op("fnstsw ax", "DF E0", {}, cc=C3, regs={"fsw": 5 << 11 | C3}, out={"ax": 5 << 11 | C3})
    yield Case("fwait", "= 9B", regs=stack([ext(A)], 5))
    yield Case("fwait, CR0.TS and MP", "= 9B", regs={"cr0": "cr0 | 8"}, fault=Fault(7))
    yield Case("fwait, CR0.TS without MP", "= 9B", regs={"cr0": "cr0 & ~2 | 8"}, count=False)
    # an unmasked exception is pending: CR0.NE is set
    pending = stack([ext(A), ext(B)], 5, 0x8081) | {"fcw": 0x37E}
    for code in ("9B", "D9 E8", "D8 C1", "DD /2m", "D9 /4m"):
        yield Case("a pending exception", f"= {code}", regs=pending, fault=Fault(16), count=False)
    for code, out in (("DF E0", {"ax": 5 << 11 | 0x8081}), ("DB E2", {"fsw": 5 << 11})):
        yield Case("control instructions do not wait", f"= {code}", regs=pending, out=out, count=False)


def memory() -> Iterator[Case]:
    a = A
    single, double = struct.unpack("<I", struct.pack("<f", a))[0], struct.unpack("<Q", struct.pack("<d", a))[0]
    for code, size, data in (("D9", 4, single), ("DD", 8, double)):
        yield op(f"fld m{8 * size}", f"{code} /0m", {-1: ext(a)}, -1, m=data, msize=size, access="r", before=[B, C])
        yield op(f"fst m{8 * size}", f"{code} /2m", {}, om=data, msize=size, access="w")
        yield op(f"fstp m{8 * size}", f"{code} /3m", {}, 1, om=data, msize=size, access="w")
    yield op("fld m80", "DB /5m", {-1: ext(a)}, -1, m=ext(a), msize=10, access="r", before=[B, C])
    yield op("fstp m80", "DB /7m", {}, 1, om=ext(a), msize=10, access="w")
    n = Fraction(-300)
    for code, size, load, st, stp in (("DF", 2, 0, 2, 3), ("DB", 4, 0, 2, 3), ("DF", 8, 5, None, 7)):
        v = int(n) & (1 << 8 * size) - 1
        yield op(f"fild m{8 * size}", f"{code} /{load}m", {-1: ext(n)}, -1, m=v, msize=size, access="r")
        if st is not None:
            yield op(f"fist m{8 * size}", f"{code} /{st}m", {}, om=v, msize=size, access="w", before=[n, B])
        yield op(f"fistp m{8 * size}", f"{code} /{stp}m", {}, 1, om=v, msize=size, access="w", before=[n, B])
    for code, size in (("DF", 2), ("DB", 4), ("DD", 8)):
        yield op(f"fisttp m{8 * size}", f"{code} /1m", {}, 1, om=int(n) & (1 << 8 * size) - 1, msize=size, access="w", before=[n, B], feat="pni")
    bcd = 0x80000000000000001234
    yield op("fbld", "DF /4m", {-1: ext(-1234)}, -1, m=bcd, msize=10, access="r")
    yield op("fbstp", "DF /6m", {}, 1, om=bcd, msize=10, access="w", before=[Fraction(-1234), B])
    yield op("fldcw", "D9 /5m", {}, m=0x27F, msize=2, access="r", out={"fcw": 0x27F})
    yield op("fnstcw", "D9 /7m", {}, om=0x37F, msize=2, access="w")
    yield op("fnstsw m16", "DD /7m", {}, om=5 << 11, msize=2, access="w")


def images() -> Iterator[Case]:
    """FNSTENV, FLDENV, FNSAVE, FRSTOR: the four formats of SDM vol. 1, figures 8-9 to 8-12."""
    start: dict[str, Value] = stack([ext(A), ext(B), ext(C)], 5, C0) | {"fop": 0x123}
    words = [0x37F, 5 << 11 | C0, 0x03FF]                      # registers 0 to 4 empty: tag 11
    top = [ext(A), ext(B), ext(C)]
    rest = [(0x4000 + i) << 64 | 1 << 63 | 0x0123456789ABCD * (i + 1) for i in range(5)]
    data = b"".join(le(v, 10) for v in top + rest)
    for n in (16, 32):
        for mode in ALL:
            real = MODES[mode].real or MODES[mode].vm
            ip, dp = 0x23456, 0x3789A
            pointers: dict[str, Value] = {"fip": ip, "fdp": dp, "fcs": 0x1B, "fds": 0x23}
            if real:                        # saved as linear addresses
                pointers = {"fip": 0x3456, "fdp": 0x789A, "fcs": 0x2000, "fds": 0x3000}
            if n == 16:
                fields = words + ([ip & 0xFFFF, (ip >> 16) << 12 | 0x123, dp & 0xFFFF, (dp >> 16) << 12] if real else [ip & 0xFFFF, 0x1B, dp & 0xFFFF, 0x23])
                env = b"".join(le(v, 2) for v in fields)
            else:
                fields = [0xFFFF0000 | w for w in words]
                fields += [0xFFFF0000 | ip & 0xFFFF, (ip >> 16) << 12 | 0x123, 0xFFFF0000 | dp & 0xFFFF, (dp >> 16) << 12] if real \
                    else [ip, 0x1B | 0x123 << 16, dp, 0xFFFF0000 | 0x23]
                env = b"".join(le(v, 4) for v in fields)
            common = {"modes": (mode,), "size": n, "unit": "x87", "feat": "fpu"}
            at = "data + 0x40"
            regs = start | pointers
            # the instruction masks every exception, as its fault cases must find it
            yield Case("fnstenv", "= D9 /6m", regs=regs, omem={at: env}, msize=len(env), access="w", **common)
            yield Case("fnsave", "= DD /6m", regs=regs, omem={at: env + data}, msize=len(env) + 80, access="w",
                       out={"fcw": 0x37F, "fsw": 0, "ftw": 0}, **common)
            back = {"fcw": 0x37F, "fsw": 5 << 11 | C0, "ftw": 0xE0, "fip": ip if not (n == 16 and not real) else ip & 0xFFFF,
                    "fdp": dp if not (n == 16 and not real) else dp & 0xFFFF}
            yield Case("fldenv", "= D9 /4m", mem={at: env}, omem={at: env}, out=dict(back), msize=len(env), access="r", **common)
            yield Case("frstor", "= DD /4m", mem={at: env + data}, omem={at: env + data}, msize=len(env) + 80, access="r",
                       out=back | {f"fpr{5 + i & 7}": v for i, v in enumerate(top + rest)}, **common)


def cases() -> Iterator[Case]:
    yield from arithmetic()
    yield from moves()
    yield from functions()
    yield from memory()
    yield from images()
