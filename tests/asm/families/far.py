"""Far JMP, CALL and RET: real mode, segments, conforming code, call gates, levels (SDM vol. 3, 5.8; vol. 2 for each)."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import ALL, Case, Fault, Value
from ..layout import CODE_SEG, FLAT, KSTACK, MODES, SELECTORS, descriptor, gate, gate64, le
from ..sysdefs import LONG, absent, cpl_of, found, loaded, null

REAL = ("real", "vm86")
SHIFT = 0x10            # paragraphs between the code segment and the one jumped to
# a code segment of the mode's level that is not the one running
OTHER = {"pm16": "kcseg32", "pm32": "ucodeseg", "pm32s": "kcode32", "compat": "ucodeseg"}
BASE = {"kcseg32": CODE_SEG, "ucodeseg": CODE_SEG, "kcode32": 0, "ucode32": 0, "ucode64": 0, "conform": 0, "ucode16": CODE_SEG}


def sizes(mode: str) -> tuple[int, ...]:
    return (16, 32, 64) if MODES[mode].bits == 64 else (16, 32)


def length(mode: str, n: int) -> int:
    """Of a direct far transfer."""
    return 1 + n // 8 + 2 + (n != min(MODES[mode].bits, 32))


def goes(mode: str, n: int, name: str, size: str) -> tuple[Value, dict[str, Value]]:
    """Offset of the snippet's end (`size` bytes behind its begin) in another segment, and the registers there."""
    at = f"code + {size} + codebase - {BASE[name]}"
    return at, {"cs": SELECTORS[name] & ~3 | cpl_of(mode), "rip": at, **{k: v for k,
                                                                         v in loaded("cs", name).items() if k != "cs"}}


def direct() -> Iterator[Case]:
    for mode in ALL:
        if MODES[mode].bits == 64:
            yield from absent("= 9A 00 00 00 00 00 00", LONG)
            yield from absent("= EA 00 00 00 00 00 00", LONG)
            continue
        for n in sizes(mode):
            w = n // 8
            size = length(mode, n)
            back = {f"stack - {w}": (found(mode)["cs"], w), f"stack - {2 * w}": (f"code + {size} & mask", w)}
            if mode in REAL:
                sel: Value = (CODE_SEG >> 4) + SHIFT
                off = f"code + {size} - {16 * SHIFT}"
                out: dict[str, Value] = {"cs": sel, "cs_base": CODE_SEG + 16 * SHIFT, "rip": off}
                yield Case("jmp far", f"= EA iz:{off.replace(' ', '')} iw:{sel}", (mode,), n, out=dict(out))
                yield Case("call far", f"= 9A iz:{off.replace(' ', '')} iw:{sel}", (mode,), n,
                           out=out | {"rsp": f"stack - {2 * w}"}, omem=back)
                if n == 32:
                    for op in ("EA", "9A"):
                        yield Case("beyond the limit", f"= {op} iz:0x10000 iw:{sel}", (mode,), n, fault=Fault(13))
                continue
            name = OTHER[mode]
            if mode == "pm32s" and n == 16:
                continue                        # a 16-bit offset does not reach the snippet
            at, out = goes(mode, n, name, str(size))
            where = f"= %s iz:{str(at).replace(' ', '')} iw:{SELECTORS[name]}"
            yield Case(f"jmp far {name}", where % "EA", (mode,), n, out=dict(out))
            yield Case(f"call far {name}", where % "9A", (mode,), n, out=out | {"rsp": f"stack - {2 * w}"}, omem=back)
            for op in ("EA", "9A"):
                yield Case("a null selector", f"= {op} iz:0x2000 iw:0", (mode,), n, fault=Fault(13))
                if name != "kcode32":
                    yield Case("beyond the limit", f"= {op} iz:0x2000 iw:{SELECTORS[name]}", (mode,), n, fault=Fault(13))
        # conforming code keeps the level; the LDT
        if mode in ("pm32", "compat"):
            for name, sel_ in (("conform", SELECTORS["conform"]), ("ucode32", 0x17)):
                at, out = goes(mode, 32, name, "7")
                where = f"= %s iz:{str(at).replace(' ', '')} iw:{sel_}"
                out = out | {"cs": sel_ | 3}
                yield Case(f"jmp far {name}", where % "EA", (mode,), 32, out=dict(out))
                yield Case(f"call far {name}", where % "9A", (mode,), 32, out=out | {"rsp": "stack - 8"},
                           omem={"stack - 4": (found(mode)["cs"], 4), "stack - 8": ("code + 7", 4)})
        for w in (2, 4):
            low = {"vm86": "guard", "pm32": "guard", "compat": "guard"}.get(mode)
            if low and mode not in REAL:
                at, _ = goes(mode, 8 * w, OTHER[mode], str(length(mode, 8 * w)))
                yield Case("call far, no stack", f"= 9A iz:{str(at).replace(' ', '')} iw:{SELECTORS[OTHER[mode]]}", (mode,),
                           8 * w,
                           regs={"rsp": low}, fault=Fault(14, 6, f"guard - {2 * w} + stackbase"))


def indirect() -> Iterator[Case]:
    for mode in ALL:
        for n in sizes(mode):
            w = n // 8
            long = MODES[mode].bits == 64
            size = 2 + (n != min(MODES[mode].bits, 32) if n < 64 else 1)
            if mode in REAL:
                sel: Value = (CODE_SEG >> 4) + SHIFT
                off = f"code + {size} - {16 * SHIFT}"
                out: dict[str, Value] = {"cs": sel, "cs_base": CODE_SEG + 16 * SHIFT, "rip": off}
            elif long:
                if n == 16:
                    sel, off = SELECTORS["ucode16"], f"code + {size} - {CODE_SEG}"
                    out = {"cs": sel, "rip": off} | {k: v for k, v in loaded("cs", "ucode16").items() if k != "cs"}
                else:
                    sel, off = SELECTORS["ucode64"], f"code + {size}"
                    out = {"cs": sel, "rip": off}
            else:
                if mode == "pm32s" and n == 16:
                    continue
                at, out = goes(mode, n, OTHER[mode], str(size))
                sel, off = SELECTORS[OTHER[mode]], str(at)
            image = {"data + 0x40": (off, w), f"data + 0x40 + {w}": (sel, 2)}
            back = {f"stack - {w}": (found(mode)["cs"], w), f"stack - {2 * w}": (f"code + {size} & mask", w)}
            more = {"mem": image, "msize": w + 2, "access": "r"}
            yield Case("jmp far m", "= FF /5m", (mode,), n, omem=dict(image), out=dict(out),
                       **more)
            yield Case("call far m", "= FF /3m", (mode,), n, omem=image | back, out=out | {"rsp": f"stack - {2 * w}"},
                       **more)
            yield Case("jmp far, register form", "= FF /5d", (mode,), n, fault=Fault(6))
            yield Case("call far, register form", "= FF /3d", (mode,), n, fault=Fault(6))


def to(sel: Value, mode: str, off: Value = "code + 2") -> dict[str, tuple[Value, int]]:
    """The m16:32 operand."""
    return {"data + 0x40": (off, 4), "data + 0x44": (sel, 2)}


def refusals() -> Iterator[Case]:
    gates = {"a gate of DPL 0": (0x8C, Fault(13, "slot0")), "an absent gate": (0x6C, Fault(11, "slot0")),
             "a trap gate": (0xEF, Fault(13, "slot0")), "an interrupt gate": (0xEE, Fault(13, "slot0")), "type 0": (0xE0,
                                                                                                                    Fault(13,
                                                                                                                          "slot0"))}
    for mode in ("pm32", "compat", "long64"):
        wide = MODES[mode].long
        bad: list[tuple[str, Value, Fault]] = [
            ("null", 0, Fault(13, 0)), ("null 3", 3, Fault(13, 0)), ("beyond the GDT", 0x20B, Fault(13, 0x208)),
            ("beyond the LDT", 0x104, Fault(13, 0x104)), ("data", "udata", Fault(13, "udata & ~3")),
            ("DPL 0", "kcode32", Fault(13, "kcode32")), ("DPL 0, RPL 3", "kcode32 | 3", Fault(13, "kcode32")),
            ("absent", "absentcode", Fault(11, "absentcode & ~3")), ("the LDT's descriptor", "ldtsel", Fault(13, "ldtsel")),
        ]
        if wide:
            bad += [("a TSS", "tssb", Fault(13, "tssb"))]
        for op, digit in (("jmp", 5), ("call", 3)):
            for what, sel, fault in bad:
                image = to(sel, mode)
                yield Case(f"{op} far: {what}", f"= FF /{digit}m", (mode,), 32, mem=dict(image), omem=dict(image), fault=fault)
            for what, (access, fault) in gates.items():
                g = gate64(SELECTORS["kcode64"], 0, access) if wide else gate(SELECTORS["ucode32"], 0, access)
                image = to("slot0 | 3", mode)
                yield Case(f"{op} far: {what}", f"= FF /{digit}m", (mode,), 32, mem=image | {"gdt + slot0": g},
                           omem=image | {"gdt + slot0": g},
                           fault=fault, tables=True)
            inner = {"null": (0, Fault(13, 0)), "data": (SELECTORS["udata"], Fault(13, "udata & ~3")),
                     "beyond": (0x208, Fault(13, 0x208)),
                     "absent": (SELECTORS["absentcode"], Fault(13 if wide else 11, "absentcode & ~3"))}
            if wide:
                inner["32-bit code"] = (SELECTORS["kcode32"], Fault(13, "kcode32"))
            elif op == "jmp":
                inner["more privileged code"] = (SELECTORS["kcode32"], Fault(13, "kcode32"))
            for what, (sel_, fault) in inner.items():
                g = gate64(sel_, 0, 0xEC) if wide else gate(sel_, 0, 0xEC)
                image = to("slot0 | 3", mode)
                yield Case(f"{op} far: a gate to {what}", f"= FF /{digit}m", (mode,), 32, mem=image | {"gdt + slot0": g},
                           omem=image | {"gdt + slot0": g}, fault=fault, tables=True)
            if wide:
                g = gate64(SELECTORS["kcode64"], 0, 0xEC)
                image = to("slot0 | 3", mode)
                upper = g[:13] + b"\x01" + g[14:]
                yield Case(f"{op} far: type bits in a gate's upper half", f"= FF /{digit}m", (mode,), 32,
                           mem=image | {"gdt + slot0": upper},
                           omem=image | {"gdt + slot0": upper}, fault=Fault(13, "slot0"), tables=True)
                g16 = gate64(SELECTORS["kcode64"], 0, 0xE4)
                yield Case(f"{op} far: a 16-bit gate", f"= FF /{digit}m", (mode,), 32, mem=image | {"gdt + slot0": g16},
                           omem=image | {"gdt + slot0": g16}, fault=Fault(13, "slot0"), tables=True)
        # beyond the limit of the segment
        if not wide:
            image = to("ucodeseg", mode, 0x2000)
            yield Case("jmp far: beyond the limit", "= FF /5m", (mode,), 32, mem=dict(image), omem=dict(image),
                       fault=Fault(13, 0))
    canonical = {"data + 0x40": (1 << 47, 8), "data + 0x48": ("ucode64", 2)}
    for digit in (3, 5):
        yield Case("far, not canonical", f"= FF /{digit}m", LONG, 64, mem=dict(canonical), omem=dict(canonical),
                   fault=Fault(13, 0))
    both = {"gdt + slot0": bytes.fromhex("ffff000000fbef00")}      # L and D
    image = to("slot0 | 3", "long64")
    yield Case("jmp far: L and D", "= FF /5m", LONG, 32, mem=image | both, omem=image | both, fault=Fault(13, "slot0"),
               tables=True)


def gates() -> Iterator[Case]:
    """Call gates that are taken."""
    old = found("pm32")
    user = {"stack - 4": (old["cs"], 4), "stack - 8": ("code + 2", 4)}
    image = to("slot0 | 3", "pm32", 0xDEADBEEF)
    same = {"gdt + slot0": gate(SELECTORS["ucode32"], 0x20402, 0xEC)}
    yield Case("jmp through a gate", "= FF /5m", ("pm32",), 32, mem=image | same, omem=image | same, tables=True)
    yield Case("call through a gate", "= FF /3m", ("pm32",), 32, mem=image | same, omem=image | same | user,
               out={"rsp": "stack - 8"}, tables=True)
    same16 = {"gdt + slot0": gate(SELECTORS["ucodeseg"], 0x402, 0xE4)}
    yield Case("call through a 16-bit gate", "= FF /3m", ("pm32",), 32, mem=image | same16,
               omem=image | same16 | {"stack - 2": (old["cs"], 2), "stack - 4": (0x402, 2)},
               out={"rsp": "stack - 4", "cs": "ucodeseg", "rip": 0x402}, tables=True)
    top = KSTACK
    level0: dict[str, Value] = {"cpl": 0, "cs": "kcode32", "ss": "kdata"}
    for params in (0, 1, 4):
        g = {"gdt + slot0": gate(SELECTORS["kcode32"], 0x20402, 0xEC, params)}
        args = {f"stack + {4 * i}": (0x1000 + i, 4) for i in range(params)}
        frame = {f"{top} - 4": (old["ss"], 4), f"{top} - 8": ("stack", 4)}
        frame |= {f"{top} - 8 - {4 * (params - i)}": (0x1000 + i, 4) for i in range(params)}
        frame |= {f"{top} - {12 + 4 * params}": (old["cs"], 4), f"{top} - {16 + 4 * params}": ("code + 2", 4)}
        yield Case(f"call to level 0, {params} parameters", "= FF /3m", ("pm32",), 32, mem=image | g | args,
                   omem=image | g | args | frame,
                   out=level0 | {"rsp": f"{top} - {16 + 4 * params}"}, tables=True)
        g = {"gdt + slot0": gate(SELECTORS["kcode16"], 0x402, 0xE4, params)}
        args = {f"stack + {2 * i}": (0x1000 + i, 2) for i in range(params)}
        frame = {f"{top} - 2": (old["ss"], 2), f"{top} - 4": ("stack", 2)}
        frame |= {f"{top} - 4 - {2 * (params - i)}": (0x1000 + i, 2) for i in range(params)}
        frame |= {f"{top} - {6 + 2 * params}": (old["cs"], 2), f"{top} - {8 + 2 * params}": ("code + 2", 2)}
        yield Case(f"call to level 0 through a 16-bit gate, {params} parameters", "= FF /3m", ("pm32",), 32, mem=image | g | args,
                   omem=image | g | args | frame, out=level0 | {"cs": "kcode16", "rip": 0x402,
                                                                "rsp": f"{top} - {8 + 2 * params}"}, tables=True)
    # to level 1, whose stack segment the TSS names: #TS
    code1 = {"gdt + slot1": descriptor(0, FLAT, 0xBB, 0xC), "gdt + slot2": descriptor(0, FLAT, 0xB3, 0xC),
             "gdt + slot0": gate(SELECTORS["slot1"], 0x20402, 0xEC)}
    at1 = KSTACK - 0x100
    tss = code1 | {"tssaddr + 0xC": le(at1, 4), "tssaddr + 0x10": le(SELECTORS["slot2"] | 1, 2)}
    frame1 = {f"{at1} - 4": (old["ss"], 4), f"{at1} - 8": ("stack", 4), f"{at1} - 12": (old["cs"], 4),
              f"{at1} - 16": ("code + 2", 4)}
    yield Case("call to level 1", "= FF /3m", ("pm32",), 32, mem=image | tss, omem=image | tss | frame1, tables=True,
               out={"cpl": 1, "cs": "slot1 | 1", "ss": "slot2 | 1", "rsp": at1 - 16})
    for what, ss, fault in (("null", 0, Fault(10, 0)), ("another RPL", SELECTORS["slot2"], Fault(10, "slot2")),
                            ("another DPL", SELECTORS["kdata"] | 1, Fault(10, "kdata")), ("beyond the GDT", 0x209,
                                                                                          Fault(10, 0x208)),
                            ("code", SELECTORS["slot1"] | 1, Fault(10, "slot1")), ("absent", SELECTORS["slot3"] | 1,
                                                                                   Fault(12, "slot3"))):
        bad = code1 | {"tssaddr + 0x10": le(ss, 2), "gdt + slot3": descriptor(0, FLAT, 0x33, 0xC)}
        yield Case(f"call to level 1: SS1 {what}", "= FF /3m", ("pm32",), 32, mem=image | bad, omem=image | bad, fault=fault,
                   tables=True)
    bad = code1 | {"tssaddr + 0xC": le(0x33004, 4), "tssaddr + 0x10": le(SELECTORS["slot2"] | 1, 2)}
    yield Case("call to level 1: no page for its stack", "= FF /3m", ("pm32",), 32, mem=image | bad, omem=image | bad,
               fault=Fault(14, 2, 0x33000), tables=True)
    for what, off, fault in (("the limit of the code", 0x300, Fault(13, 0)),):
        small = code1 | tss | {"gdt + slot1": descriptor(0x20000, 0x2FF, 0xBB, 4),
                               "gdt + slot0": gate(SELECTORS["slot1"], off, 0xEC)}
        yield Case(f"call to level 1: {what}", "= FF /3m", ("pm32",), 32, mem=image | small, omem=image | small, fault=fault,
                   tables=True)
    for mode, n, size in (("compat", 32, 2), ("long64", 32, 2), ("long64", 64, 3), ("compat", 16, 3)):
        old = found(mode)
        g = {"gdt + slot0": gate64(SELECTORS["kcode64"], 0x20400 + size, 0xEC)}
        w = n // 8
        image_ = {"data + 0x40": (0x1234, w), f"data + 0x40 + {w}": ("slot0 | 3", 2)}
        frame = {f"{top} - 8": (old["ss"], 8), f"{top} - 16": ("stack", 8), f"{top} - 24": (old["cs"], 8),
                 f"{top} - 32": (f"code + {size}", 8)}
        yield Case("call through a 64-bit gate", "= FF /3m", (mode,), n, mem=image_ | g, omem=image_ | g | frame, tables=True,
                   out={"cpl": 0, "cs": "kcode64", "rsp": f"{top} - 32", "rip": f"code + {size}", **null("ss")})
        user_gate = {"gdt + slot0": gate64(SELECTORS["ucode64"], 0x20400 + size, 0xEC)}
        yield Case("jmp through a 64-bit gate", "= FF /5m", (mode,), n, mem=image_ | user_gate, omem=image_ | user_gate,
                   tables=True,
                   out={"cs": "ucode64", "rip": f"code + {size}"})
        yield Case("call through a 64-bit gate, same level", "= FF /3m", (mode,), n, mem=image_ | user_gate, tables=True,
                   omem=image_ | user_gate | {"stack - 8": (old["cs"], 8), "stack - 16": (f"code + {size}", 8)},
                   out={"cs": "ucode64", "rip": f"code + {size}", "rsp": "stack - 16"})


def returns() -> Iterator[Case]:
    for mode in ALL:
        for n in sizes(mode):
            w = n // 8
            for imm in (None, 8):
                code = "= CB" if imm is None else "= CA iw:8"
                size = (1 if imm is None else 3) + (n != min(MODES[mode].bits, 32) if n < 64 else 1)
                if mode in REAL:
                    sel: Value = (CODE_SEG >> 4) + SHIFT
                    off: Value = f"code + {size} - {16 * SHIFT}"
                    out: dict[str, Value] = {"cs": sel, "cs_base": CODE_SEG + 16 * SHIFT, "rip": off}
                elif MODES[mode].bits == 64:
                    name = "ucode16" if n == 16 else "ucode64"
                    sel, off = SELECTORS[name], f"code + {size} - {BASE[name]}"
                    out = {"cs": sel, "rip": off} | {k: v for k, v in loaded("cs", name).items() if k != "cs"}
                else:
                    if mode == "pm32s" and n == 16:
                        continue
                    off, out = goes(mode, n, OTHER[mode], str(size))
                    sel = SELECTORS[OTHER[mode]]
                frame = {"stack": (off, w), f"stack + {w}": (sel, w)}
                yield Case(f"retf {imm or ''}", code, (mode,), n, mem=dict(frame), omem=dict(frame),
                           out=out | {"rsp": f"stack + {2 * w + (imm or 0)}"})
                if mode in ("pm32", "compat", "long64"):
                    yield Case("retf, no stack", code, (mode,), n, regs={"rsp": "guard + 0x1000"},
                               fault=Fault(14, 4, "guard + 0x1000 + stackbase"))
    # to the outer level
    for mode, n in (("pm32", 32), ("compat", 32), ("long64", 64), ("long64", 32)):
        w = n // 8
        code64 = mode == "long64"
        size = 1 + (n == 64)
        name = "ucode64" if code64 else "ucode32"
        frame = {"stack": (f"code + {size}", w), f"stack + {w}": (name, w), f"stack + {2 * w}": ("stack - 0x40", w),
                 f"stack + {3 * w}": ("udata", w)}
        yield Case("retf to level 3", "= CB", (mode,), n, mem=dict(frame), omem=dict(frame), cpl=0, twins=False,
                   out={"cpl": 3, "cs": name, "ss": "udata", "rsp": "stack - 0x40", "ds": 0, "es": 0})
        shifted = {"stack": (f"code + {size + 2}", w), f"stack + {w}": (name, w), f"stack + {2 * w + 8}": ("stack - 0x40", w),
                   f"stack + {3 * w + 8}": ("udata", w)}
        yield Case("retf 8 to level 3", "= CA iw:8", (mode,), n, mem=dict(shifted), omem=dict(shifted), cpl=0, twins=False,
                   out={"cpl": 3, "cs": name, "ss": "udata", "rsp": "stack - 0x40 + 8", "ds": 0, "es": 0})
        bad: list[tuple[str, Value, Value, Fault]] = [
            ("CS null", 0, "udata", Fault(13, 0)), ("CS beyond", 0x20B, "udata", Fault(13, 0x208)),
            ("CS data", "udata", "udata", Fault(13, "udata & ~3")),
            ("CS DPL", "kcode32 | 3", "udata", Fault(13, "kcode32")), ("CS absent", "absentcode", "udata",
                                                                       Fault(11, "absentcode & ~3")),
            ("SS another RPL", name, "udata & ~3", Fault(13, "udata & ~3")), ("SS another DPL", name, "kdata | 3",
                                                                              Fault(13, "kdata")),
            ("SS read-only", name, "rodata", Fault(13, "rodata & ~3")), ("SS absent", name, "absentss",
                                                                         Fault(12, "absentss & ~3")),
            ("SS null", name, 0, Fault(13, 0)), ("SS null, RPL 3", name, 3, Fault(13, 0)),
        ]
        for what, cs, ss, fault in bad:
            frame = {"stack": (f"code + {size}", w), f"stack + {w}": (cs, w), f"stack + {2 * w}": ("stack - 0x40", w),
                     f"stack + {3 * w}": (ss, w)}
            yield Case(f"retf to level 3: {what}", "= CB", (mode,), n, mem=dict(frame), omem=dict(frame), cpl=0, fault=fault,
                       twins=False)
        inner = {"stack": (f"code + {size}", w), f"stack + {w}": ("kcode32", w)}
        yield Case("retf to an inner level", "= CB", (mode,), n, mem=dict(inner), omem=dict(inner), fault=Fault(13, "kcode32"),
                   cpl=3, twins=False)
    odd = {"stack": (1 << 47, 8), "stack + 8": ("ucode64", 8)}
    yield Case("retf, not canonical", "= CB", LONG, 64, mem=dict(odd), omem=dict(odd), fault=Fault(13, 0))


def cases() -> Iterator[Case]:
    yield from direct()
    yield from indirect()
    yield from refusals()
    yield from gates()
    yield from returns()
