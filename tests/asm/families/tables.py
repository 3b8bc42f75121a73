"""Descriptor tables, and what may be learnt about a selector (SDM vol. 2, LGDT to LTR, LAR, LSL, VERR, ARPL)."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import ALL, Case, Fault, Value, regname
from ..layout import DESCRIPTORS, MODES, SELECTORS, descriptor, le
from ..sysdefs import LONG, UNREAL, absent, cpl_of, found, loaded, null, privileged

MODES0 = ("real", "pm16", "pm32", "compat", "long64")
VIRTUAL = ("real", "vm86")


def cpl0(mode: str) -> int | None:
    return None if mode == "real" else 0


def tables() -> Iterator[Case]:
    for name, digit, load in (("gdt", 0, 2), ("idt", 1, 3)):
        for mode in ALL:
            s = found(mode)
            long = MODES[mode].bits == 64
            w = 10 if long else 6
            image = le(s[f"{name}_limit"], 2) + le(s[f"{name}_base"], w - 2)
            for n in (32, 64) if long else (16, 32):
                yield Case(f"s{name}", f"= 0F 01 /{digit}m", (mode,), n, msize=w, mem={"data+0x40": bytes(w)},
                           omem={"data+0x40": image},
                           access="w")
        for mode in MODES0:
            long = MODES[mode].bits == 64
            w = 10 if long else 6
            for n in (32, 64) if long else (16, 32):
                base = 0x123456789A if long else 0x12345678
                image = le(0x3456, 2) + le(base, w - 2)
                got = base & 0xFFFFFF if n == 16 else base
                yield Case(f"l{name}", f"= 0F 01 /{load}m", (mode,), n, msize=w, mem={"data+0x40": image},
                           omem={"data+0x40": image},
                           out={f"{name}_base": got, f"{name}_limit": 0x3456}, access="r", priv=True, cpl=cpl0(mode),
                           **({"twins": mode == "real"}))
            # the faults need tables that still work: the derived cases are written out
            if mode == "real":
                continue
            yield from privileged(f"= 0F 01 /{load}m", modes=(mode,))
            yield Case("lock", f".byte 0xF0\n= 0F 01 /{load}m", (mode,), fault=Fault(6), twin="lock-ud", cpl=0)
            if MODES[mode].paging:
                yield Case("page fault", f"= 0F 01 /{load}m", (mode,), regs={"rdi": "hole"},
                           fault=Fault(14, 0, "hole + database"),
                           twin="pf", cpl=0)
                yield Case("page fault behind the limit", f"= 0F 01 /{load}m", (mode,), regs={"rdi": "hole - 4"},
                           fault=Fault(14, 0, "hole + database"), twin="pf", cpl=0)
            else:
                yield Case("limit", f"= 0F 01 /{load}m", (mode,), regs={"rdi": f"0x6000 - {w} + 1"}, fault=Fault(13),
                           twin="limit", cpl=0)
        yield from privileged(f"= 0F 01 /{load}m", modes=("vm86",))
        yield Case("lock", f".byte 0xF0\n= 0F 01 /{load}m", ("vm86",), fault=Fault(6), twin="lock-ud")
        image = le(0x3456, 2) + le(1 << 47, 8)
        yield Case("a non-canonical base", f"= 0F 01 /{load}m", LONG, mem={"data+0x40": image}, omem={"data+0x40": image},
                   fault=Fault(13), cpl=0)


def system_segments() -> Iterator[Case]:
    for mode in UNREAL:
        for cpl in {cpl_of(mode), 0 if mode != "pm32s" else cpl_of(mode)}:
            for reg, digit in (("ldt", 0), ("tr", 1)):
                old = found(mode, cpl)[reg]
                name = {"ldt": "sldt", "tr": "str"}[reg]
                for n in (16, 32, 64) if MODES[mode].bits == 64 else (16, 32):
                    yield Case(f"{name} r", f"= 0F 00 /{digit}d", (mode,), n, out={regname("d", n): old}, cpl=cpl)
                    yield Case(f"{name} m", f"= 0F 00 /{digit}m", (mode,), n, msize=2, m=0, om=old, access="w", cpl=cpl)
        if mode == "pm32s":
            continue
        long = MODES[mode].long
        # a second LDT, and TSSs, in the free slots (16 bytes each in long mode)
        second = descriptor(0x8900, 0x7F, 0x82, 0)
        ldt = {"gdt + slot0": second + bytes(8)}
        out: dict[str, Value] = {"ldt": "slot0", "ldt_base": 0x8900, "ldt_limit": 0x7F, "ldt_flags": 0x8200}
        busy = {"gdt + slot1": descriptor(0xE000, 0x67, 0x8B, 0) + bytes(8)}
        free = {"gdt + slot1": descriptor(0xE000, 0x67, 0x89, 0) + bytes(8)}
        tr: dict[str, Value] = {"tr": "slot1", "tr_base": 0xE000, "tr_limit": 0x67, "tr_flags": 0x8B00}
        common = {"modes": (mode,), "cpl": 0, "priv": True, "tables": True}
        yield Case("lldt r", "= 0F 00 /2d", regs={"rdx": "slot0"}, mem=dict(ldt), omem=dict(ldt), out=dict(out),
                   **common)
        yield Case("lldt m", "= 0F 00 /2m", msize=2, m=SELECTORS["slot0"], mem=dict(ldt), omem=dict(ldt), out=dict(out),
                   access="r",
                   **common)
        yield Case("lldt null", "= 0F 00 /2d", regs={"rdx": 0}, out=dict(null("ldt")), **common)
        yield Case("ltr r", "= 0F 00 /3d", regs={"rdx": "slot1"}, mem=dict(free), omem=dict(busy), out=dict(tr),
                   **common)
        yield Case("ltr m", "= 0F 00 /3m", msize=2, m=SELECTORS["slot1"], mem=dict(free), omem=dict(busy), out=dict(tr),
                   access="r",
                   **common)
        gone = {"gdt + slot0": descriptor(0x8900, 0x7F, 0x02, 0) + bytes(8),
                "gdt + slot1": descriptor(0xE000, 0x67, 0x09, 0) + bytes(8)}
        refused: list[tuple[int, Value, Fault]] = [
            (2, "udata", Fault(13, "udata & ~3")), (2, "tssb", Fault(13, "tssb")), (2, 0x0C, Fault(13, 0x0C)), (2, 0x210,
                                                                                                                Fault(13, 0x210)),
            (2, "slot0", Fault(11, "slot0")),
            (3, 0, Fault(13, 0)), (3, "tss", Fault(13, "tss")), (3, "ldtsel", Fault(13, "ldtsel")), (3, 0x0C, Fault(13, 0x0C)),
            (3, 0x210, Fault(13, 0x210)), (3, "slot1", Fault(11, "slot1")),
        ]
        for digit, sel, fault in refused:
            yield Case(f"{'lldt' if digit == 2 else 'ltr'} {sel}", f"= 0F 00 /{digit}d", regs={"rdx": sel}, mem=dict(gone),
                       omem=dict(gone),
                       fault=fault, twins=False, **common)
        if long:
            for word, why in ((8, "an upper type that is not 0"), (4, "a base that is not canonical")):
                up = bytes(5) + b"\x1f" + bytes(2) if word == 8 else b"\0\0\1\0" + bytes(4)
                for digit, sel_, d in ((2, "slot0", descriptor(0x8900, 0x7F, 0x82, 0)),
                                       (3, "slot1", descriptor(0xE000, 0x67, 0x89, 0))):
                    bad = {f"gdt + {sel_}": d + up}
                    yield Case(f"{'lldt' if digit == 2 else 'ltr'}: {why}", f"= 0F 00 /{digit}d", regs={"rdx": sel_},
                               mem=dict(bad),
                               omem=dict(bad), fault=Fault(13, sel_), twins=False, **common)
            yield Case("ltr, a 16-bit TSS", "= 0F 00 /3d", regs={"rdx": "tss16"}, fault=Fault(13, "tss16"), twins=False,
                       **common)
        else:
            sixteen = dict(loaded("tr", "tss16")) | {"tr_flags": 0x8300}
            yield Case("ltr, a 16-bit TSS", "= 0F 00 /3d", regs={"rdx": "tss16"}, out=sixteen, twins=False,
                       **common)
    for digit in range(6):
        yield from absent(f"= 0F 00 /{digit}d", VIRTUAL)


# selector, descriptor looked at, can LAR see it at CPL 3 / 0, LSL, VERR, VERW (at CPL 3 and 0 the same but for DPL)
SEEN: list[tuple[str, bool, bool, bool, bool]] = [
    # name      LAR   LSL   VERR  VERW
    ("udata", True, True, True, True), ("ucode32", True, True, True, False), ("rodata", True, True, True, False),
    ("xonly", True, True, False, False), ("conform", True, True, True, False), ("expdown", True, True, True, True),
    ("absent", True, True, True, True),
]


def looks(op: str, seen: bool, mode: str, name: str, sel: Value, cpl: int | None) -> Iterator[Case]:
    base, limit, access, flags = DESCRIPTORS[name][1:]
    limit = limit << 12 | 0xFFF if flags & 8 else limit
    v = {"lar": access << 8 | flags << 20, "lsl": limit}.get(op, 0)
    code = {"lar": "02", "lsl": "03"}.get(op)
    assert base >= 0
    if code:
        for n in (16, 32, 64) if MODES[mode].bits == 64 else (16, 32):
            out: dict[str, Value] = {regname("d", n): v & (1 << n) - 1} if seen else {}
            yield Case(f"{op} r, {name}", f"= 0F {code} /2a", (mode,), n, regs={"rax": sel}, out=dict(out),
                       oflags="Z" if seen else "z",
                       cpl=cpl)
            if name == "udata" and isinstance(sel, str) and sel == name:
                yield Case(f"{op} r, m", f"= 0F {code} /2m", (mode,), n, msize=2, m=SELECTORS[name], out=dict(out),
                           oflags="Z" if seen else "z", access="r", cpl=cpl)
    else:
        digit = 4 if op == "verr" else 5
        yield Case(f"{op} {name}", f"= 0F 00 /{digit}a", (mode,), regs={"rax": sel}, oflags="Z" if seen else "z", cpl=cpl)
        if name == "udata":
            yield Case(f"{op} m", f"= 0F 00 /{digit}m", (mode,), msize=2, m=SELECTORS[name], oflags="Z" if seen else "z",
                       access="r", cpl=cpl)


def inspection() -> Iterator[Case]:
    for mode in UNREAL:
        cpl = cpl_of(mode)
        for name, *answers in SEEN:
            for op, seen in zip(("lar", "lsl", "verr", "verw"), answers, strict=True):
                yield from looks(op, seen, mode, name, name, None)
        for op in ("lar", "lsl", "verr", "verw"):
            if cpl == 3:
                yield from looks(op, False, mode, "kdata", "kdata", None)
            yield from looks(op, False, mode, "kdata", "kdata | 3", None)       # the RPL counts as well
            if mode != "pm32s":
                yield from looks(op, True, mode, "kdata", "kdata", 0)
            code = {"lar": "= 0F 02 /2a", "lsl": "= 0F 03 /2a", "verr": "= 0F 00 /4a", "verw": "= 0F 00 /5a"}[op]
            for sel in (0, 3, 0x210, 0x104):
                yield Case(f"{op} {sel}: none", code, (mode,), 32, regs={"rax": sel}, oflags="z")
        long = MODES[mode].long
        if mode != "pm32s":
            # system segments: the type decides (SDM vol. 2, tables 3-52 and 3-56)
            for t in range(16):
                d = {"gdt + slot0": descriptor(0x1000, 0x123, 0x80 | t, 0) + bytes(8)}
                lar = t in ((2, 9, 11, 12) if long else (1, 2, 3, 4, 5, 9, 11, 12))
                lsl = t in ((2, 9, 11) if long else (1, 2, 3, 9, 11))
                for op, seen, code, v in (("lar", lar, "02", (0x80 | t) << 8), ("lsl", lsl, "03", 0x123)):
                    yield Case(f"{op}, type {t}", f"= 0F {code} /2a", (mode,), 32, regs={"rax": "slot0"}, mem=dict(d),
                               omem=dict(d), tables=True,
                               out={"edx": v} if seen else {}, oflags="Z" if seen else "z", cpl=0, twins=False)
                for op, digit in (("verr", 4), ("verw", 5)):
                    yield Case(f"{op}, type {t}", f"= 0F 00 /{digit}a", (mode,), 32, regs={"rax": "slot0"}, mem=dict(d),
                               omem=dict(d),
                               tables=True, oflags="z", cpl=0, twins=False)
    for code in ("= 0F 02 /2a", "= 0F 03 /2a"):
        yield from absent(code, VIRTUAL)


def arpl() -> Iterator[Case]:
    for mode in UNREAL:
        if MODES[mode].bits == 64:
            continue
        for a, b in ((0x1230, 3), (0x1231, 2), (0x1233, 1), (0xFFF2, 2), (0, 0)):
            r = a & 0xFFFC | max(a & 3, b & 3)
            z = "Z" if (a & 3) < b else "z"
            yield Case("arpl r, r", "= - 63 /2a", (mode,), 16, regs={"ax": a, "dx": b}, out={"ax": r}, oflags=z)
            yield Case("arpl m, r", "= - 63 /2m", (mode,), 16, m=a, om=r, regs={"dx": b}, oflags=z,
                       access="r")      # read first, then written if it changes
        if mode in ("pm16", "pm32s"):
            yield Case("arpl, nothing to change in a read-only segment", "mov ds, eax\n= - 63 /2m", (mode,), 16, m=0x1233, om=0x1233,
                       regs={"rax": "rodata", "dx": 1}, out=dict(loaded("ds", "rodata")), oflags="z", twins=False)
        else:
            yield Case("arpl, a read-only page", "= - 63 /2m", (mode,), 16, regs={"rdi": "ro", "dx": 3}, mem={"ro": b"\x30\x12"},
                       omem={"ro": b"\x30\x12"}, fault=Fault(14, 7, "ro + database"), twins=False)
    yield from absent("= - 63 /2a", VIRTUAL)


def cases() -> Iterator[Case]:
    yield from tables()
    yield from system_segments()
    yield from inspection()
    yield from arpl()
