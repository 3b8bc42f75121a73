"""ROL ROR RCL RCR SHL SHR SAR by one, by CL and by an immediate; SHLD and SHRD (SDM vol. 2)."""
from __future__ import annotations

from collections.abc import Iterator

from .. import flags
from ..case import Case, regname
from .arithmetic import modes

OPS = ["rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"]
SIZES = (8, 16, 32, 64)


def shift(op: str, a: int, count: int, n: int, carry: int) -> tuple[int, str, str]:
    """(result, flags, undefined flags); bit by bit, as the operation sections of the manual do it."""
    mask, top = (1 << n) - 1, n - 1
    count &= 63 if n == 64 else 31
    if not count:
        return a, "", ""
    r, c = a, carry
    steps = count % (n + 1) if op in ("rcl", "rcr") else count
    for _ in range(steps):
        msb, lsb = r >> top & 1, r & 1
        if op == "rol":
            r, c = (r << 1 | msb) & mask, msb
        elif op == "ror":
            r, c = r >> 1 | lsb << top, lsb
        elif op == "rcl":
            r, c = (r << 1 | c) & mask, msb
        elif op == "rcr":
            r, c = r >> 1 | c << top, lsb
        elif op in ("shl", "sal"):
            r, c = r << 1 & mask, msb
        elif op == "shr":
            r, c = r >> 1, lsb
        else:
            r, c = r >> 1 | msb << top, lsb
    f, und = flags.word(c=c), ""
    if op in ("shl", "sal", "shr", "sar"):
        f += flags.szp(r, n)
        und = "a"
        if op != "sar" and count >= n:
            und += "c"
    if count == 1:
        msb, next_ = r >> top, r >> (top - 1) & 1
        f += flags.word(o={"rol": msb ^ c, "ror": msb ^ next_, "rcl": msb ^ c, "rcr": msb ^ next_, "shl": msb ^ c, "sal": msb ^ c,
                           "shr": a >> top, "sar": 0}[op])
    else:
        und += "o"
    return r, f, und


def double(op: str, a: int, b: int, count: int, n: int) -> tuple[int, str, str] | None:
    """None: the result is undefined (count beyond the operand)."""
    mask = (1 << n) - 1
    count &= 63 if n == 64 else 31
    if not count:
        return a, "", ""
    if count > n:
        return None
    if op == "shld":
        r = (a << count | b >> (n - count)) & mask
        c = a >> (n - count) & 1
    else:
        r = (a >> count | b << (n - count)) & mask
        c = a >> (count - 1) & 1
    f = flags.szp(r, n) + flags.word(c=c)
    if count == 1:
        return r, f + flags.word(o=(a ^ r) >> (n - 1) & 1), "a"
    return r, f, "ao"


def cases() -> Iterator[Case]:
    for n in SIZES:
        values = [(0x8000000000000001 >> (64 - n) | 1, 0), (0x5A3C96E1F00FA57B >> (64 - n), 1), ((1 << n) - 2, 0)]
        wide = n > 8
        for digit, op in enumerate(OPS):
            for i, (a, carry) in enumerate(values):
                def make(name: str, code: str, count: int, **more: object) -> Iterator[Case]:
                    r, f, und = shift(op, a, count, n, carry)
                    common = {"modes": modes(n), "size": n, "flags": "C" if carry else "c", "oflags": f, "undef": und, "twins": i == 0}
                    regs = more.get("regs", {})
                    yield Case(name, code % f"{digit}d", regs={regname("d", n): a} | regs, out={regname("d", n): r}, **common)
                    yield Case(name, code % f"{digit}m", m=a, om=r, access="rw", regs=regs, **common)

                yield from make(f"{op} {a:#x}, 1", f"= {0xD0 + wide:02X} /%s", 1)
                for count in (1, 2, 7, n - 1, n, n + 1, 0x80 + 3, 32 if n < 64 else 64, 31):
                    yield from make(f"{op} {a:#x}, {count}", f"= {0xC0 + wide:02X} /%s ib:{count & 255}", count)
                    yield from make(f"{op} {a:#x}, cl={count}", f"= {0xD2 + wide:02X} /%s", count, regs={"cl": count})
        if n == 8:
            continue
        a, b = values[1][0], 0xC3D2E1F0A5B49687 >> (64 - n)
        for op in ("shld", "shrd"):
            for count in (1, 0, 4, n - 1, 31, 33, 63, n):
                got = double(op, a, b, count, n)
                if got is None:
                    continue
                r, f, und = got
                regs = {regname("b", n): b}
                common = {"modes": modes(n), "size": n, "oflags": f, "undef": und, "twins": count == 1}
                for by, more in ((str(count), {}), ("cl", {"cl": count})):
                    yield Case(f"{op} by {count}", f"{op} %d, %b, {by}", regs=regs | more | {regname("d", n): a},
                               out={regname("d", n): r}, **common)
                    yield Case(f"{op} by {count}", f"{op} %m, %b, {by}", regs=regs | more, m=a, om=r, access="rw", **common)
