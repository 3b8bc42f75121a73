"""Segment registers: MOV, PUSH, POP, LDS.., with the checks of protected mode (SDM vol. 3, 5.4 to 5.6; vol. 2, MOV)."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import ALL, Case, Fault, Value, regname
from ..layout import MODES, SELECTORS, le
from ..sysdefs import LONG, UNREAL, USER, absent, cpl_of, found, loaded, null, real

ORDER = ["es", "cs", "ss", "ds", "fs", "gs"]
PUSH = {"es": "06", "cs": "0E", "ss": "16", "ds": "1E", "fs": "0F A0", "gs": "0F A8"}
POP = {"es": "07", "ss": "17", "ds": "1F", "fs": "0F A1", "gs": "0F A9"}
FAR = {"es": "C4", "ds": "C5", "ss": "0F B2", "fs": "0F B4", "gs": "0F B5"}
# a data and a stack segment to load in each mode, of its usual level
DATA = {"pm16": "udata16", "pm32": "udata2", "pm32s": "kdata", "compat": "udata2", "long64": "udata2"}
STACK = {"pm16": "kdata16", "pm32": "udata2", "pm32s": "kdata", "compat": "udata2", "long64": "udata2"}
REAL_SEL = 0x3456


def sizes(mode: str) -> tuple[int, ...]:
    return (16, 32, 64) if MODES[mode].bits == 64 else (16, 32)


def target(mode: str, seg: str) -> tuple[int, dict[str, Value]]:
    """A selector that loads, and the register after it."""
    if mode in ("real", "vm86"):
        return REAL_SEL, dict(real(seg, REAL_SEL, mode))
    name = (STACK if seg == "ss" else DATA)[mode]
    return SELECTORS[name], dict(loaded(seg, name))


def moves() -> Iterator[Case]:
    for mode in ALL:
        for i, seg in enumerate(ORDER):
            old = found(mode)[seg]
            for n in sizes(mode):
                yield Case(f"mov r, {seg}", f"= 8C /{i}d", (mode,), n, out={regname("d", n): old})
                yield Case(f"mov m, {seg}", f"= 8C /{i}m", (mode,), n, msize=2, m=0x5555, om=old, access="w")
            if seg == "cs":
                continue
            sel, out = target(mode, seg)
            yield Case(f"mov {seg}, r", f"= 8E /{i}d", (mode,), regs={"edx": 0xFFFF0000 | sel}, out=out)
            yield Case(f"mov {seg}, m", f"= 8E /{i}m", (mode,), msize=2, m=sel, out=out, access="r")
    yield Case("mov cs, r", "= 8E /1a", ALL, regs={"rax": 0x20}, fault=Fault(6))
    for i in (6, 7):
        yield Case("mov, no such segment", f"= 8E /{i}a", ALL, regs={"rax": 0x20}, fault=Fault(6))
        yield Case("mov, no such segment", f"= 8C /{i}a", ALL, fault=Fault(6))
    yield Case("mov ds, 66 prefix", ".byte 0x66,0x8E,0xD8", ("real", "vm86"), regs={"rax": REAL_SEL},
               out=dict(real("ds", REAL_SEL, "real")))


def pushes() -> Iterator[Case]:
    for mode in ALL:
        long = MODES[mode].bits == 64
        for seg in ORDER:
            if long and seg not in ("fs", "gs"):
                yield from absent("= " + PUSH[seg], LONG)
                if seg != "cs":
                    yield from absent("= " + POP[seg], LONG)
                continue
            old = found(mode)[seg]
            for n in (16, 64) if long else (16, 32):
                w = n // 8
                dash = "- " if n == 64 else ""
                at = f"stack - {w}"
                yield Case(f"push {seg}", f"= {dash}{PUSH[seg]}", (mode,), n, out={"rsp": at}, omem={at: le(old, w)})
                if n == 32:
                    # Intel's store 16 bits and leave the rest of the slot (SDM vol. 2, PUSH)
                    yield Case(f"push {seg}, Intel", f"= {PUSH[seg]}", (mode,), n, cpu="Haswell", mem={at: le(0xAAAAAAAA, 4)},
                               out={"rsp": at},
                               omem={at: le(0xAAAA0000 | old, 4)})
                if mode in ("pm32", "compat", "long64"):
                    yield Case(f"push {seg} below the stack", f"= {dash}{PUSH[seg]}", (mode,), n, regs={"rsp": "guard"},
                               fault=Fault(14, 6, f"guard - {w} + stackbase"))
                if seg == "cs":
                    continue
                sel, out = target(mode, seg)
                top = {"stack": le(0xDEAD0000 | sel, w)}
                yield Case(f"pop {seg}", f"= {dash}{POP[seg]}", (mode,), n, mem=dict(top), omem=dict(top),
                           out=out | {"rsp": f"stack + {w}"})
                if mode in ("pm32", "compat", "long64"):
                    bad = {"stack": le(SELECTORS["kcode32"], w)}
                    yield Case(f"pop {seg}, #GP", f"= {dash}{POP[seg]}", (mode,), n, mem=dict(bad), omem=dict(bad),
                               fault=Fault(13, "kcode32"))


def far_pointers() -> Iterator[Case]:
    for mode in ALL:
        for seg, code in FAR.items():
            if MODES[mode].bits == 64 and seg in ("es", "ds"):
                continue
            sel, out = target(mode, seg)
            for n in sizes(mode):
                w = n // 8
                off = 0x8765432112345678 & (1 << n) - 1
                image = le(off, w) + le(sel, 2)
                reg = regname("d", n)
                yield Case(f"l{seg}", f"= {code} /2m", (mode,), n, msize=w + 2, mem={"data+0x40": image},
                           omem={"data+0x40": image},
                           out=out | {reg: off}, access="r")
                if seg not in ("es", "ds") or mode in ("real", "vm86"):      # elsewhere C4 and C5 are VEX prefixes then
                    yield Case(f"l{seg}, register form", f"= {code} /2d", (mode,), n, fault=Fault(6))
    for seg in ("es", "ds"):
        yield from absent(f".byte 0x{FAR[seg]},0x07", LONG)
    # neither register changes when the selector is refused
    for mode in ("pm32", "compat", "long64"):
        image = le(0x1234, 4) + le(SELECTORS["kdata"], 2)
        yield Case("lfs, #GP", "= 0F B4 /2m", (mode,), 32, msize=6, mem={"data+0x40": image}, omem={"data+0x40": image},
                   fault=Fault(13, "kdata"))


def refusals() -> Iterator[Case]:
    """What a data segment register and SS refuse, with which error code."""
    beyond = 0x208
    for mode in UNREAL:
        for cpl in (0, 3):
            if (cpl == 3 and mode not in USER) or (cpl == 0 and mode == "pm32s" and cpl_of(mode) != 0):
                continue
            wide = MODES[mode].bits == 64
            data: list[tuple[str, Value, Fault]] = [
                ("beyond the GDT", beyond, Fault(13, beyond)),
                ("beyond the GDT, RPL 3", beyond | 3, Fault(13, beyond)),
                ("a system segment", "ldtsel", Fault(13, "ldtsel")),
                ("execute-only", "xonly", Fault(13, "xonly & ~3")),
                ("not present", "absent", Fault(11, "absent & ~3")),
                ("beyond the LDT", 0x104, Fault(13, 0x104)),
            ]
            if cpl == 3:
                data += [("DPL 0", "kdata", Fault(13, "kdata")), ("DPL 0, RPL 3", "kdata | 3", Fault(13, "kdata"))]
            else:
                data += [("RPL 3, DPL 0", "kdata | 3", Fault(13, "kdata"))]
            for what, sel, fault in data:
                yield Case(f"mov es: {what}", "= 8E /0a", (mode,), regs={"rax": sel}, fault=fault, cpl=cpl)
            good: list[tuple[str, Value, str]] = [("readable code", "ucode32", "ucode32"), ("read-only data", "rodata", "rodata"),
                                                  ("conforming code of DPL 0", "conform", "conform"), ("from the LDT", 0x0F,
                                                                                                       "udata")]
            for what, sel, name in good:
                out = dict(loaded("es", name)) | {"es": sel}
                yield Case(f"mov es: {what}", "= 8E /0a", (mode,), regs={"rax": sel}, out=out, cpl=cpl)
            for seg, i in (("es", 0), ("ds", 3), ("fs", 4), ("gs", 5)):
                for sel_ in (0, 3):
                    yield Case(f"mov {seg}: null {sel_}", f"= 8E /{i}a", (mode,), regs={"rax": sel_}, out=dict(null(seg, sel_)),
                               cpl=cpl)
            # ---- SS
            rpl = cpl
            stack: list[tuple[str, Value, Fault]] = [
                ("code", "ucode32", Fault(13, "ucode32 & ~3")), ("read-only", f"rodata & ~3 | {rpl}", Fault(13, "rodata & ~3")),
                ("beyond the GDT", beyond | rpl, Fault(13, beyond)),
                ("not present", "absentss" if cpl else "kabsentss", Fault(12, "absentss & ~3" if cpl else "kabsentss")),
                ("another RPL", "udata & ~3 | 1" if cpl else "kdata | 1", Fault(13, "udata & ~3" if cpl else "kdata")),
                ("another DPL", f"kdata | {rpl}" if cpl else "udata & ~3", Fault(13, "kdata" if cpl else "udata & ~3")),
            ]
            if not (wide and cpl == 0):
                stack += [("null", 0, Fault(13, 0)), ("null, RPL 3", 3, Fault(13, 0))]
            else:
                stack += [("null with another RPL", 3, Fault(13, 0))]
                yield Case("mov ss: null", "= 8E /2a", (mode,), regs={"rax": 0}, out=dict(null("ss")), cpl=0)
            for what, sel, fault in stack:
                yield Case(f"mov ss: {what}", "= 8E /2a", (mode,), regs={"rax": sel}, fault=fault, cpl=cpl)


def accessed() -> Iterator[Case]:
    """A load sets the descriptor's accessed bit; a refused one does not."""
    plain = {"gdt + slot0": bytes.fromhex("ffff000000f2cf00")}
    after = {"gdt + slot0": bytes.fromhex("ffff000000f3cf00")}
    out: dict[str, Value] = dict(loaded("es", "udata2")) | {"es": "slot0 | 3"}
    for mode in ("pm32", "compat", "long64", "pm16"):
        yield Case("accessed bit", "= 8E /0a", (mode,), regs={"rax": "slot0 | 3"}, mem=dict(plain), omem=dict(after), out=out,
                   tables=True)
    hidden = {"gdt + slot0": bytes.fromhex("ffff00000092cf00")}
    yield Case("accessed bit, refused", "= 8E /0a", ("pm32", "compat", "long64"), regs={"rax": "slot0 | 3"}, mem=dict(hidden),
               omem=dict(hidden),
               fault=Fault(13, "slot0"), tables=True)


def effects() -> Iterator[Case]:
    """What a loaded segment does to accesses after it."""
    yield Case("a new ds base", "mov ds, eax\nmov ebx, [ecx]", ("pm32", "pm32s"), regs={"rax": "ufs", "rcx": 0x10},
               mem={"fsdata + 0x10": le(0x13572468, 4)}, omem={"fsdata + 0x10": le(0x13572468, 4)},
               out=dict(loaded("ds", "ufs")) | {"ebx": 0x13572468})
    yield Case("a new ds limit", "mov ds, eax\nmov ebx, [ecx]", ("pm32", "pm32s", "compat"), regs={"rax": "ufs", "rcx": 0xFFD},
               out=dict(loaded("ds", "ufs")), fault=Fault(13, 0, ip="code + 2"))
    yield Case("null ds", "mov ds, eax\nmov ebx, [ecx]", ("pm32", "pm32s", "compat"), regs={"rax": 0, "rcx": "data"},
               out=dict(null("ds")), fault=Fault(13, 0, ip="code + 2"))
    yield Case("null ds does not matter", "mov ds, eax\nmov ebx, [rcx]", LONG, regs={"rax": 0, "rcx": "data"},
               mem={"data": le(0x2468ACE0, 4)},
               omem={"data": le(0x2468ACE0, 4)}, out=dict(null("ds")) | {"ebx": 0x2468ACE0})
    yield Case("a write to read-only data", "mov ds, eax\nmov [ecx], ebx", ("pm32", "pm32s", "compat"),
               regs={"rax": "rodata", "rcx": 0x10},
               out=dict(loaded("ds", "rodata")), fault=Fault(13, 0, ip="code + 2"))
    yield Case("below an expand-down limit", "mov ds, eax\nmov ebx, [ecx]", ("pm32", "pm32s", "compat"),
               regs={"rax": "expdown", "rcx": 0xFFF},
               out=dict(loaded("ds", "expdown")), fault=Fault(13, 0, ip="code + 2"))
    yield Case("above an expand-down limit", "mov ds, eax\nmov ebx, [ecx]", ("pm32", "pm32s", "compat"),
               regs={"rax": "expdown", "rcx": 0x1000},
               mem={"data": le(0x11223344, 4)}, omem={"data": le(0x11223344, 4)}, out=dict(loaded("ds",
                                                                                                  "expdown")) | {"ebx": 0x11223344})
    yield Case("an fs base in 64-bit mode", "mov fs, eax\nmov ebx, fs:[0x20]", LONG, regs={"rax": "ufs"},
               mem={"fsdata + 0x20": le(0x55AA, 4)},
               omem={"fsdata + 0x20": le(0x55AA, 4)}, out=dict(loaded("fs", "ufs")) | {"ebx": 0x55AA})
    yield Case("mov ss, then esp", "mov ss, eax\nmov esp, ebx", ("pm32", "compat"),
               regs={"rax": "udata2", "rbx": "stack - 8"}, out=dict(loaded("ss", "udata2")) | {"rsp": "stack - 8"})


def cases() -> Iterator[Case]:
    yield from moves()
    yield from pushes()
    yield from far_pointers()
    yield from refusals()
    yield from accessed()
    yield from effects()

