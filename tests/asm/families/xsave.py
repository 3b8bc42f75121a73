"""FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XSAVEC, XRSTOR, XGETBV, XSETBV (SDM vol. 1, 10.5 and chapter 13)."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..case import ALL, Case, Fault
from ..layout import MODES, le
from ..machine import baseline

LONG = tuple(m for m in ALL if MODES[m].bits == 64)
SHORT = tuple(m for m in ALL if MODES[m].bits != 64)
FILL = bytes((5 * i + 3) & 0xFF for i in range(576))
X87: dict[str, int] = {"fcw": 0x272, "fsw": 0x6920, "ftw": 0x5A, "fop": 0x123, "fip": 0x12345678, "fdp": 0x9ABCDEF0,
                       "fcs": 0x1B, "fds": 0x23, "mxcsr": 0x5FA1}
MXCSR_MASK = 0x2FFFF
COMPACT = 1 << 63
INIT = {"fcw": 0x37F, "fsw": 0, "ftw": 0, "fop": 0, "fip": 0, "fdp": 0, "fcs": 0, "fds": 0}


def registers() -> dict[str, int]:
    """x87 and vector registers as every snippet finds them."""
    names = [f"{k}{i}" for k, n in (("xmm", 16), ("fpr", 8)) for i in range(n)]
    state = baseline(names, dict.fromkeys(names, 0), MODES["long64"], 3)
    return {n: state[n] for n in names}


REGS = registers()


def image(s: dict[str, int], wide: bool, parts: str, n_xmm: int) -> bytes:
    """FILL with the legacy region's parts in it: f x87, m MXCSR, x vector registers."""
    out = bytearray(FILL)

    def put(at: int, data: bytes) -> None:
        out[at:at + len(data)] = data

    if "f" in parts:
        put(0, le(s["fcw"], 2) + le(s["fsw"], 2) + bytes([s["ftw"], 0]) + le(s["fop"], 2))
        put(8, le(s["fip"], 8) + le(s["fdp"], 8) if wide
            else le(s["fip"], 4) + le(s["fcs"], 4) + le(s["fdp"], 4) + le(s["fds"], 4))
        for i in range(8):
            put(32 + 16 * i, le(s[f"fpr{((s['fsw'] >> 11) + i) & 7}"], 16))
    if "m" in parts:
        put(24, le(s["mxcsr"], 4) + le(MXCSR_MASK, 4))
    if "x" in parts:
        for i in range(n_xmm):
            put(160 + 16 * i, le(s[f"xmm{i}"], 16))
    return bytes(out)


def header(data: bytes, *words: int) -> bytes:
    return data[:512] + b"".join(le(w, 8) for w in words) + data[512 + 8 * len(words):]


def number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def both(name: str) -> Iterator[tuple[str, bool, int, tuple[str, ...]]]:
    """The instruction's two widths, in modes of 8 and of 16 vector registers."""
    yield name, False, 8, SHORT
    yield name, False, 16, LONG
    yield name + "64", True, 16, LONG


def saves() -> Iterator[Case]:
    state = REGS | X87
    for code, wide, n, modes in both("fxsave"):
        yield Case(code, f"{code} %m", modes, msize=512, regs=dict(X87), m=number(FILL[:512]),
                   om=number(image(state, wide, "fmx", n)[:512]), access="w", align=16, unit="x87", feat="fxsr", undef="")
    # what is asked for, XSTATE_BV in the area before, parts written, XSTATE_BV after
    table = [("xsave", 3, 4, "fmx", 7), ("xsave", 1, 2, "f", 3), ("xsave", 2, 0, "mx", 2), ("xsave", 0, 0xFF, "", 0xFF),
             ("xsaveopt", 3, 4, "fmx", 7)]
    for name, asked, before, parts, after in table:
        for code, wide, n, modes in both(name):
            yield Case(f"{code} {asked}", f"{code} %m", modes, msize=576, regs=X87 | {"eax": asked, "edx": 0},
                       m=number(header(FILL, before)), om=number(header(image(state, wide, parts, n), after)),
                       access="w", align=64, feat=name)
    for code, wide, n, modes in both("xsavec"):
        yield Case(code, f"{code} %m", modes, msize=576, regs=X87 | {"eax": 3, "edx": 0}, m=number(FILL),
                   om=number(header(image(state, wide, "fmx", n), 3, 3 | COMPACT)), access="w", align=64, feat="xsavec")
    # nothing in use: the optimised forms write header and MXCSR, or the header alone
    clear = INIT | dict.fromkeys(REGS, 0) | {"mxcsr": 0x1F80, "eax": 3, "edx": 0}
    for name, parts, words in (("xsaveopt", "m", (0,)), ("xsavec", "", (0, 3 | COMPACT))):
        yield Case(f"{name} unused", f"{name} %m", msize=576, regs=clear, m=number(header(FILL, 0)),
                   om=number(header(header(image(state | {"mxcsr": 0x1F80}, False, parts, 0), 0), *words)), access="w", align=64)


def loaded(wide: bool, n: int, parts: str) -> dict[str, int]:
    """State after a restore: of `changed()` where parts says so, initial values for capitals."""
    new = changed()
    out: dict[str, int] = {}
    if "f" in parts:
        out |= {k: new[k] for k in ("fcw", "fsw", "ftw")} | {f"fpr{i}": new[f"fpr{i}"] for i in range(8)}
    if "F" in parts:
        out |= {k: INIT[k] for k in ("fcw", "fsw", "ftw")} | {f"fpr{i}": 0 for i in range(8)}
    if "m" in parts:
        out["mxcsr"] = new["mxcsr"]
    if "M" in parts:
        out["mxcsr"] = 0x1F80
    if "x" in parts.lower():
        out |= {f"xmm{i}": new[f"xmm{i}"] if "x" in parts else 0 for i in range(n)}
    return out


def changed() -> dict[str, int]:
    return {k: v ^ 0x5A5A5A5A5A5A5A5A5A5A for k, v in REGS.items()} | X87


def restores() -> Iterator[Case]:
    new = changed()
    for code, wide, n, modes in both("fxrstor"):
        area = image(new, wide, "fmx", n)[:512]
        yield Case(code, f"{code} %m", modes, msize=512, m=number(area), out=dict(loaded(wide, n, "fmx")), access="r", align=16,
                   unit="x87", feat="fxsr")
        bad = area[:24] + le(1 << 20, 4) + area[28:]
        yield Case(f"{code}, MXCSR", f"{code} %m", modes, msize=512, m=number(bad), fault=Fault(13), access="r")
    # asked for, header, what changes
    table: list[tuple[int, tuple[int, ...], str]] = [
        (3, (3,), "fmx"), (3, (1,), "fmX"), (3, (0,), "FmX"), (1, (3,), "f"), (2, (3,), "mx"), (0, (3,), ""),
        (3, (3, 3 | COMPACT), "fmx"), (3, (1, 3 | COMPACT), "fMX"), (1, (3, 3 | COMPACT), "f"), (3, (0, COMPACT), "FMX")]
    for asked, words, parts in table:
        for code, wide, n, modes in both("xrstor"):
            area = header(image(new, wide, "fmx", n), *(words + (0,) * 8)[:8])
            yield Case(f"{code} {asked} {words}", f"{code} %m", modes, msize=576, m=number(area), regs={"eax": asked, "edx": 0},
                       out=dict(loaded(wide, n, parts)), access="r", align=64, feat="xsave", twins=parts == "fmx")
    for words in ((4,), (3, 1), (3, 0, 1), (3, 1 | COMPACT), (0, 4 | COMPACT), (3, 3 | COMPACT, 1), (1 << 63, 3 | COMPACT)):
        area = header(image(new, False, "fmx", 8), *(words + (0,) * 8)[:8])
        yield Case(f"xrstor {words}", "xrstor %m", msize=576, m=number(area), regs={"eax": 3, "edx": 0}, fault=Fault(13),
                   access="r")


def with_ymm() -> Iterator[Case]:
    """The AVX component: behind the header, in the compacted form too."""
    fill = FILL + bytes((11 * i + 1) & 0xFF for i in range(256))
    upper = {f"ymm{i}h": ((0x1020304050607080 * (i + 3)) & (1 << 64) - 1) << 60 | i for i in range(16)}
    on: dict[str, Any] = X87 | upper | {"xcr0": 7, "edx": 0}
    nothing = dict.fromkeys(upper, 0)

    def area(values: dict[str, int], n: int, words: tuple[int, ...], parts: str, wide: bool) -> int:
        out = bytearray(header(image(REGS | X87, wide, parts, n), *words) + fill[576:])
        for i in range(n):
            out[576 + 16 * i:592 + 16 * i] = le(values[f"ymm{i}h"], 16)
        return number(bytes(out))

    for name in ("xsave", "xsaveopt", "xsavec"):
        for code, wide, n, modes in both(name):
            before = number(header(fill, 0))
            words = (7, 7 | COMPACT) if name == "xsavec" else (7,)
            yield Case(f"{code} 7", f"{code} %m", modes, msize=832, regs=on | {"eax": 7}, m=before, om=area(upper, n, words, "fmx", wide),
                       access="w", align=64, feat=name)
            # nothing in use: only the plain form writes it
            words = (3, 7 | COMPACT) if name == "xsavec" else (3,)
            kept = {f"ymm{i}h": number(fill[576 + 16 * i:592 + 16 * i]) for i in range(16)}
            yield Case(f"{code} 7, unused", f"{code} %m", modes, msize=832, regs=on | nothing | {"eax": 7}, m=before,
                       om=area(nothing if name == "xsave" else kept, n, words, "fmx", wide), access="w", align=64)
    for code, wide, n, modes in both("xrstor"):
        for asked, words, values in ((7, (7,), upper), (7, (3,), nothing), (4, (7,), upper), (7, (7, 7 | COMPACT), upper), (6, (3, 7 | COMPACT), nothing)):
            out: dict[str, Any] = {k: v for k, v in values.items() if int(k[3:-1]) < n}
            if asked & 1:
                out |= {k: X87[k] for k in ("fcw", "fsw", "ftw")}
            if len(words) == 1 or asked & 2:
                out["mxcsr"] = X87["mxcsr"]
            first = {f"ymm{i}h": 0x55 + i for i in range(16)}
            yield Case(f"{code} {asked} {words}", f"{code} %m", modes, msize=832, regs={"xcr0": 7, "edx": 0, "eax": asked} | first,
                       m=area(upper, n, (words + (0,) * 8)[:8], "fmx", wide), out=out, access="r", align=64, twins=asked == 7 and values is upper,
                       feat="xsave")
    yield Case("xgetbv, AVX", "xgetbv", regs=on | {"ecx": 0}, out={"eax": 7, "edx": 0})
    yield Case("xgetbv 1, AVX in use", "xgetbv", regs=on | {"ecx": 1}, out={"eax": 7, "edx": 0})
    yield Case("xgetbv 1, AVX not in use", "xgetbv", regs=on | nothing | {"ecx": 1}, out={"eax": 3, "edx": 0})


def extended_control() -> Iterator[Case]:
    yield Case("xgetbv", "xgetbv", regs={"ecx": 0}, out={"eax": 3, "edx": 0}, feat="xsave")
    yield Case("xgetbv 1", "xgetbv", regs={"ecx": 1}, out={"eax": 3, "edx": 0})
    yield Case("xgetbv 2", "xgetbv", regs={"ecx": 2}, fault=Fault(13))
    values: list[tuple[int, int, bool]] = [(1, 0, True), (3, 0, True), (0, 0, False), (2, 0, False), (5, 0, False), (7, 0, True),
                                           (0xF, 0, False), (3, 1, False)]
    for eax, edx, good in values:
        regs: dict[str, Any] = {"ecx": 0, "eax": eax, "edx": edx}
        ok: dict[str, Any] = {"out": {"xcr0": eax}} if good else {"fault": Fault(13)}
        for modes, cpl in ((("real", "pm16", "pm32s"), None), (("pm32", "compat", "long64"), 0)):
            yield Case(f"xsetbv {edx}:{eax}", "xsetbv", modes, cpl=cpl, regs=regs, feat="xsave" if good else "", **ok)
    yield Case("xsetbv 7 without AVX", "xsetbv", ("real",), regs={"ecx": 0, "eax": 7, "edx": 0}, fault=Fault(13), without="avx")
    yield Case("xsetbv 1", "xsetbv", ("real",), regs={"ecx": 1, "eax": 3, "edx": 0}, fault=Fault(13))
    user: dict[str, int | str] = {"ecx": 0, "eax": 3, "edx": 0}
    yield Case("xsetbv, user", "xsetbv", ("vm86", "pm32", "compat", "long64"), regs=user, fault=Fault(13), twin="runs")
    yield Case("xsetbv, lock", ".byte 0xF0; xsetbv", ("vm86",), regs=user, fault=Fault(6), twin="lock-ud")
    yield Case("xsetbv, feature", "xsetbv", ("vm86",), regs=user, fault=Fault(6), twin="feat", without="xsave")


def disabled() -> Iterator[Case]:
    """#UD without CR4.OSXSAVE, #NM with CR0.TS, but not for CR0.EM."""
    for code in ("xsave %m", "xsaveopt %m", "xsavec %m", "xrstor %m", "xgetbv"):
        yield Case(f"{code}, OSXSAVE", code, msize=576, regs={"cr4": "cr4 & ~0x40000", "ecx": 0}, fault=Fault(6))
        if "%m" in code:
            yield Case(f"{code}, TS", code, msize=576, regs={"cr0": "cr0 | 8"}, fault=Fault(7))
    yield Case("fxsave without OSFXSR", "fxsave %m", msize=512, regs=X87 | {"cr4": "cr4 & ~0x200"}, m=number(FILL[:512]),
               om=number(image(REGS | X87, False, "f", 0)[:512]))


def cases() -> Iterator[Case]:
    yield from saves()
    yield from restores()
    yield from extended_control()
    yield from with_ymm()
    yield from disabled()
