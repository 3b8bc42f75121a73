"""Jcc SETcc CMOVcc on every condition, taken and not; LOOP, LOOPE, LOOPNE, JCXZ (SDM vol. 1, appendix B)."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import ALL, Case, Fault, regname
from ..layout import MODES
from .arithmetic import modes

# name, flags that make it true, flags that do not
CC = [("o", "O", "o"), ("no", "o", "O"), ("b", "C", "c"), ("ae", "c", "C"), ("e", "Z", "z"), ("ne", "z", "Z"), ("be", "Cz", "cz"),
      ("a", "cz", "cZ"), ("s", "S", "s"), ("ns", "s", "S"), ("p", "P", "p"), ("np", "p", "P"), ("l", "So", "SO"), ("ge", "SO", "sO"),
      ("le", "Zso", "zso"), ("g", "zSO", "ZSO")]
MORE_TRUE = {"be": "cZ", "l": "sO", "le": "zSo", "ge": "so", "g": "zso"}
MORE_FALSE = {"a": "Cz", "l": "so", "le": "zSO", "ge": "sO", "g": "zsO"}


def outcomes(i: int) -> list[tuple[str, bool]]:
    name, yes, no = CC[i]
    out = [(yes, True), (no, False)]
    if name in MORE_TRUE:
        out.append((MORE_TRUE[name], True))
    if name in MORE_FALSE:
        out.append((MORE_FALSE[name], False))
    return out


def taken(n: int) -> str:
    """Behind the HLT; a 16-bit branch cuts eip to 16 bits, which in flat code leads to a HLT far below."""
    return "end & 0xFFFF" if n == 16 else "end"


def cases() -> Iterator[Case]:
    for i, (name, _yes, _no) in enumerate(CC):
        for k, (before, true) in enumerate(outcomes(i)):
            first = k == 0
            # short and near, forward over a HLT; the 16-bit form exists outside 64-bit mode only
            for n in (16, 32, 64):
                where = [m for m in ALL if (MODES[m].bits == 64) == (n == 64)]
                end = taken(n) if true else "end - 1"
                for code in (f"{0x70 + i:02X} ib:1", f"0F {0x80 + i:02X} {'id' if n == 64 else 'iz'}:1"):
                    yield Case(f"j{name} {before}", f"= {'- ' if n == 64 else ''}{code}\nhlt", where, 0 if n == 64 else n, flags=before, end=end,
                               twins=first)
            yield Case(f"set{name} {before}", f"set{name} dl", ALL, 8, flags=before, out={"dl": int(true)}, twins=first)
            yield Case(f"set{name} {before}", f"set{name} %m", ALL, 8, flags=before, om=int(true), access="w", twins=first)
            for n in (16, 32, 64):
                mask = (1 << n) - 1
                a, b = 0xF1E2D3C4B5A69788 & mask, 0x0123456789ABCDEF & mask
                common = {"modes": modes(n), "size": n, "flags": before, "feat": "cmov", "twins": first,
                          "out": {regname("d", n): b if true else a}}
                yield Case(f"cmov{name} {before}", f"cmov{name} %d, %b", regs={regname("d", n): a, regname("b", n): b}, **common)
                # the memory operand is read whatever the condition says
                yield Case(f"cmov{name} {before}", f"cmov{name} %d, %m", regs={regname("d", n): a}, m=b, access="r", **common)
    yield from loops()
    yield from limits()


def loops() -> Iterator[Case]:
    """The counter is CX, ECX or RCX by the address size; a 67 prefix changes it."""
    for n in (16, 32, 64):
        for op, code in (("loopne", 0xE0), ("loope", 0xE1), ("loop", 0xE2), ("jcxz", 0xE3)):
            for mode in ALL:
                bits = MODES[mode].bits
                if (bits == 64) != (n == 64):
                    continue
                other = {16: 32, 32: 16, 64: 32}[bits]
                for asize in (bits, other):
                    reg = regname("c", asize)
                    top = (1 << asize) - 1
                    for count, flag in ((2, "z"), (2, "Z"), (1, "z"), (1, "Z"), (0, "Z"), (0, "z")):
                        left = count if op == "jcxz" else count - 1 & top
                        jump = left == 0 if op == "jcxz" else left != 0 and (op == "loop" or (flag == "Z") == (op == "loope"))
                        regs: dict[str, int | str] = {"rcx": 0xABCDEF0123450000 if bits == 64 else 0x98760000} if asize == 16 or bits == 64 else {}
                        if asize == 32 and bits == 64:
                            regs = {"rcx": 0xABCDEF0100000000 | count}
                        elif asize == 64:
                            regs = {"rcx": count}
                        else:
                            regs |= {reg: count}
                        prefix = "67 " if asize != bits else ""
                        yield Case(f"{op} {reg}={count} {flag}", f"= {prefix}{'- ' if n == 64 else ''}{code:02X} ib:1\nhlt", (mode,), 0 if n == 64 else n,
                                   regs=regs, flags=flag, out={} if op == "jcxz" else {reg: left}, end=taken(n) if jump else "end - 1",
                                   twins=count == 2 and asize == bits)


def limits() -> Iterator[Case]:
    """A branch beyond the limit of the code segment faults at the branch; operand size 16 cuts the target to 16 bits."""
    for code, flag in (("0F 84 iz:0x7000", "Z"), ("E9 iz:0x7000", "")):
        yield Case("branch beyond the limit", f"= {code}", ("pm32s",), 32, flags=flag, fault=Fault(13), count=False)
    yield Case("jz not taken is not checked", "= 0F 84 iz:0x7000", ("pm32s",), 32, flags="z", count=False)
    yield Case("jmp rel16 in 32-bit code wraps at 64K", "= E9 iw:-0x404 ", ("pm32s",), 16, mem={"code-0x400": b"\xf4"}, end=0, count=False)
    yield Case("ip wraps at 64K", "= EB ib:-0x10", ("real",), 0, org="0x10 - code - 8", mem={"code-0x400+0xFFFA": b"\xf4"}, end=0xFFFA, count=False)
