"""INT, INTO, BOUND, UD, IRET and the delivery behind them: gates, stacks, levels, frames, pushed flags (SDM vol. 3, chapter 6)."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import ALL, LEGACY, Case, Fault, Value, regname
from ..layout import CODE_SEG, IST, KSTACK, MODES, SELECTORS, gate, gate64, le
from ..sysdefs import LONG, absent, found, loaded, null

CF, PF, AF, ZF, SF, TF, IF, DF, OF, NT, RF, VM, AC, VIF, VIP, ID = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 0x4000, 0x10000,
                                                                    0x20000, 0x40000,
                                                                   0x80000, 0x100000, 0x200000)


def simple() -> Iterator[Case]:
    """Every software interrupt into the handlers of the small machine."""
    for mode in ALL:
        m = MODES[mode]
        if mode != "vm86":
            for code, v in (("int 0x20", 0x20), ("int 0x30", 0x30), ("int 0x2e", 0x2E), ("int3", 3)):
                yield Case(code, code, (mode,), fault=Fault(v, ip="end"), twin="runs")
        else:
            yield Case("int n below IOPL 3 with IOPL 3", "int 0x20", (mode,), regs={"eflags": 0x23202},
                       fault=Fault(0x20, ip="end"), twin="runs")
            yield Case("int n below IOPL 3", "int 0x20", (mode,), regs={"eflags": 0x20202}, fault=Fault(13))
            yield Case("int3 does not ask for IOPL", "int3", (mode,), regs={"eflags": 0x20202}, fault=Fault(3, ip="end"),
                       twin="runs")
        yield Case("int1", ".byte 0xF1", (mode,), fault=Fault(1, ip="end"), twin="runs")
        if m.bits != 64:
            yield Case("into", "into", (mode,), flags="O", fault=Fault(4, ip="end"))
            yield Case("into, OF clear", "into", (mode,), flags="o")
        if not (m.real or m.vm) and (m.cpl == 3):
            yield Case("int n, a gate of DPL 0", "int 0x10", (mode,), fault=Fault(13, 8 * 0x10 + 2))
            yield Case("int n, an absent gate", "int 0x2f", (mode,), fault=Fault(11, 8 * 0x2F + 2))
            yield Case("int 1 asks for the gate's DPL", "int 1", (mode,), fault=Fault(13, 8 + 2))
        for code in ("int 0x20", "int3", ".byte 0xF1"):
            yield Case("lock", f".byte 0xF0\n{code}", (mode,), fault=Fault(6), twin="lock-ud")
        for op in ("ud2", ".byte 0x0F,0xFF,0xC1", ".byte 0x0F,0xFF,0x07", ".byte 0x0F,0xB9,0xC1", ".byte 0x0F,0xB9,0x07"):
            yield Case(op, op, (mode,), fault=Fault(6))
            yield Case(op, f".byte 0xF0\n{op}", (mode,), fault=Fault(6), twin="lock-ud")
    for mode in LEGACY:
        for n in (16, 32):
            w = n // 8
            for v, lo, hi, fine in ((5, 0, 10, True), (-3, -3, -3, True), (11, 0, 10, False), (-1, 0, 10, False)):
                image = {"data + 0x40": le(lo, w) + le(hi, w)}
                yield Case("bound", "= 62 /2m", (mode,), n, msize=2 * w, mem=dict(image), omem=dict(image),
                           regs={regname("d", n): v & (1 << n) - 1},
                           access="r" if fine else "", fault=None if fine else Fault(5), twins=fine)
    yield from absent("= - CE", LONG)


def gates() -> Iterator[Case]:
    """What the handler finds: flags, stack and selectors, by kind of gate and level."""
    u = found("pm32")
    k = KSTACK

    def frame(top: Value, *values: Value, w: int = 4) -> dict[str, tuple[Value, int]]:
        return {f"{top} - {w * (i + 1)}": (v, w) for i, v in enumerate(values)}

    for access, kind, iflag in ((0xEE, "interrupt gate", "i"), (0xEF, "trap gate", "")):
        g = {"idt + 8 * 0x40": gate(SELECTORS["kcode32"], 0x20402, access)}
        image = (0x202 | TF | NT | AC | ID | DF) & ~TF
        yield Case(f"{kind} to level 0", "int 0x40", ("pm32",), regs={"eflags": image}, mem=dict(g), tables=True,
                   omem=g | frame(k, u["ss"], "stack", image, u["cs"], "code + 2"), oflags=iflag + "n",
                   out={"cpl": 0, "cs": "kcode32", "rsp": k - 20, **loaded("ss", "kdata")})
        g = {"idt + 8 * 0x40": gate(SELECTORS["ucode32"], 0x20402, access)}
        yield Case(f"{kind}, same level", "int 0x40", ("pm32",), regs={"eflags": image}, mem=dict(g), tables=True,
                   omem=g | frame("stack", image, u["cs"], "code + 2"), oflags=iflag + "n", out={"rsp": "stack - 12"})
        g = {"idt + 8 * 0x40": gate(SELECTORS["conform"], 0x20402, access)}
        yield Case(f"{kind} to conforming code", "int 0x40", ("pm32",), regs={"eflags": image}, mem=dict(g), tables=True,
                   omem=g | frame("stack", image, u["cs"], "code + 2"), oflags=iflag + "n", out={"rsp": "stack - 12",
                                                                                                 "cs": "conform | 3"})
        g = {"idt + 8 * 0x40": gate(SELECTORS["kcode16"], 0x402, access & ~8)}
        yield Case(f"16-bit {kind} to level 0", "int 0x40", ("pm32",), regs={"eflags": image}, mem=dict(g), tables=True,
                   omem=g | frame(k, u["ss"], "stack", image, u["cs"], "code + 2", w=2), oflags=iflag + "n",
                   out={"cpl": 0, "cs": "kcode16", "rip": 0x402, "rsp": k - 10, **loaded("ss", "kdata")})
        v = found("vm86")
        for eflags in (VM | 0x3202, VM | 0x3202 | AC):
            g = {"idt + 8 * 0x40": gate(SELECTORS["kcode32"], 0x20402, access)}
            yield Case(f"{kind} out of virtual-8086 mode", "int 0x40", ("vm86",), regs={"eflags": eflags}, mem=dict(g),
                       tables=True,
                       omem=g | frame(k, v["gs"], v["fs"], v["ds"], v["es"], v["ss"], "stack", eflags, v["cs"], "code + 2"),
                       out={"cpl": 0, "cs": "kcode32", "rip": 0x20402, "rsp": k - 36, **loaded("ss", "kdata"), **null("es"),
                            **null("ds"), **null("fs"), **null("gs")}, loose="eflags",
                       check=lambda st, want=eflags & ~(VM | (IF if iflag else 0)): None if (st["eflags"] ^ want) & ~0x8D5 == 0
                       else f"flags {st['eflags']:#x}, expected {want:#x}")
        for mode in ("compat", "long64"):
            s = found(mode)
            g64 = {"idt64 + 16 * 0x40": gate64(SELECTORS["kcode64"], 0x20402, access)}
            yield Case(f"{kind} to level 0", "int 0x40", (mode,), regs={"eflags": image}, mem=dict(g64), tables=True,
                       omem=g64 | frame(k, s["ss"], "stack", image, s["cs"], "code + 2", w=8), oflags=iflag + "n",
                       out={"cpl": 0, "cs": "kcode64", "rsp": k - 40, **null("ss")})
            g64 = {"idt64 + 16 * 0x40": gate64(SELECTORS["kcode64"], 0x20402, access, 1)}
            yield Case(f"{kind} with an interrupt stack", "int 0x40", (mode,), regs={"eflags": image}, mem=dict(g64), tables=True,
                       omem=g64 | frame(IST, s["ss"], "stack", image, s["cs"], "code + 2", w=8), oflags=iflag + "n",
                       out={"cpl": 0, "cs": "kcode64", "rsp": IST - 40, **null("ss")})
            g64 = {"idt64 + 16 * 0x40": gate64(SELECTORS["ucode64"], 0x20402, access)}
            yield Case(f"{kind}, same level: the stack is aligned", "int 0x40", (mode,),
                       regs={"eflags": image, "rsp": "stack - 3"}, mem=dict(g64),
                       tables=True, omem=g64 | frame("stack - 16", s["ss"], "stack - 3", image, s["cs"], "code + 2",
                                                     w=8), oflags=iflag + "n",
                       out={"cs": "ucode64", "rsp": "stack - 56"})
    r = found("real")
    yield Case("real mode", "int 0x40", ("real",), twins=False, regs={"eflags": 0x202 | DF | AC | ID | NT},
               mem={"0x100": le(0x402, 2) + le(CODE_SEG >> 4, 2)},
               tables=True, omem={"0x100": le(0x402, 2) + le(CODE_SEG >> 4, 2),
                                  **frame("stack", 0x202 | DF | NT, r["cs"], "code + 2", w=2)},
               oflags="ix", out={"rsp": "stack - 6", "rip": 0x402})
    yield Case("real mode, beyond the table's limit", "int 0x40", ("real",), regs={"idt_limit": 0x102}, fault=Fault(13))


def refusals() -> Iterator[Case]:
    """Errors of the gate and behind it; the error code says IDT, and EXT for what the program did not ask for."""
    for mode in ("pm32", "compat", "long64"):
        wide = MODES[mode].long
        step, table = (16, "idt64") if wide else (8, "idt")
        ok = SELECTORS["kcode64" if wide else "kcode32"]

        def g(sel: int, access: int, wide: bool = wide) -> bytes:
            return gate64(sel, 0, access) if wide else gate(sel, 0, access)

        where = f"{table} + {step} * 0x40"
        idt = 8 * 0x40 + 2
        bad = [("type 0", g(ok, 0xE0), Fault(13, idt)), ("a call gate", g(ok, 0xEC), Fault(13, idt)),
               ("absent", g(ok, 0x6E), Fault(11, idt)),
               ("DPL 0", g(ok, 0x8E), Fault(13, idt)), ("null code", g(0, 0xEE), Fault(13, 0)), ("data",
                                                                                                 g(SELECTORS["udata"], 0xEE),
                                                                                                 Fault(13, "udata & ~3")),
               ("beyond the GDT", g(0x208, 0xEE), Fault(13, 0x208)),
               ("absent code", g(SELECTORS["absentcode"], 0xEE), Fault(13 if wide else 11, "absentcode & ~3"))]
        if wide:
            bad += [("a task gate", g(SELECTORS["tssb"], 0xE5), Fault(13, idt)),
                    ("32-bit code", g(SELECTORS["kcode32"], 0xEE), Fault(13, "kcode32")),
                    ("a 16-bit gate", g(ok, 0xE6), Fault(13, idt)), ("not canonical", gate64(ok, 1 << 47, 0xEE), Fault(13, 0))]
        for what, data, fault in bad:
            yield Case(f"int n: {what}", "int 0x40", (mode,), mem={where: data}, omem={where: data}, fault=fault, tables=True)
        # a fault instead of INT n: EXT is set
        div = f"{table} + 0"
        image = {div: g(ok, 0x0E)}
        yield Case("#DE through an absent gate: double fault", "xor edx, edx\nxor ecx, ecx\ndiv ecx", (mode,), mem=dict(image),
                   omem=image,
                   fault=Fault(8, 0, ip="code + 4"), tables=True, out={"edx": 0, "ecx": 0}, oflags="osZPc", undef="a")
        for what, data, fault in (("absent", g(ok, 0x0E), Fault(11, 8 * 6 + 3)),
                                  ("data", g(SELECTORS["udata"], 0x8E), Fault(13, "(udata & ~3) + 1"))):
            yield Case(f"#UD through a gate that is {what}", "ud2", (mode,), mem={f"{table} + {6 * step}": data},
                       omem={f"{table} + {6 * step}": data},
                       fault=fault, tables=True)
        if not wide:
            yield Case("beyond the IDT", "int 0x40", (mode,), regs={"idt_limit": 0x206}, fault=Fault(13, idt))
        else:
            yield Case("beyond the IDT", "int 0x40", (mode,), regs={"idt_limit": 0x40E}, fault=Fault(13, idt))
    # contributory and page faults (SDM vol. 3, table 6-5)
    for mode in ("pm32", "compat", "long64"):
        step, table = (16, "idt64") if MODES[mode].long else (8, "idt")
        none = bytes(8)
        for first, code, second, kind in ((13, "hlt", 13, 8), (14, "mov eax, [%DI]", 14, 8), (11, "mov es, eax", 11, 8)):
            image = {f"{table} + {step * second}": none}
            regs: dict[str, Value] = {"rdi": "hole"} if first == 14 else {"rax": "absent"} if first == 11 else {}
            yield Case(f"a fault in delivering {first}: double fault", code, (mode,), regs=regs, mem=dict(image),
                       omem=dict(image), tables=True,
                       fault=Fault(kind, 0, "hole + database" if first == 14 else None))


def returns() -> Iterator[Case]:
    for mode in ("real", "vm86"):
        for n in (16, 32):
            w = n // 8
            size = 1 + (n == 32)
            old = 0x202 if mode == "real" else 0x23202
            image = 0x46D5 if n == 16 else 0x46D5 | AC | ID
            keep = VM | 0x3000 if mode == "vm86" else 0
            new = image & ~keep | keep | 2
            frame = {"stack": (f"code + {size} - 0x100", w), f"stack + {w}": ((CODE_SEG >> 4) + 0x10, w),
                     f"stack + {2 * w}": (image, w)}
            yield Case("iret", "= CF", (mode,), n, mem=dict(frame), omem=dict(frame), regs={"eflags": old},
                       out={"cs": (CODE_SEG >> 4) + 0x10, "cs_base": CODE_SEG + 0x100, "rip": f"code + {size} - 0x100",
                            "rsp": f"stack + {3 * w}"},
                       check=lambda s, new=new: None if s["eflags"] == new else f"flags {s['eflags']:#x}, expected {new:#x}", loose="eflags")
    yield Case("iret in virtual-8086 mode below IOPL 3", "= CF", ("vm86",), 16, regs={"eflags": 0x20202}, fault=Fault(13))
    for mode in ("pm16", "pm32", "pm32s", "compat"):
        for n in (16, 32):
            if n == 16 and mode in ("pm32s",):
                continue
            w = n // 8
            size = 1 + (n != min(MODES[mode].bits, 32))
            s = found(mode)
            cs, shift = s["cs"], 0
            if n == 16 and mode in ("pm32", "compat"):
                cs, shift = SELECTORS["ucodeseg"], CODE_SEG
            image = CF | ZF | DF | OF | IF | 2
            frame = {"stack": (f"code + {size} - {shift}", w), f"stack + {w}": (cs, w),
                     f"stack + {2 * w}": (image | (0x3000 if n == 32 else 0), w)}
            out: dict[str, Value] = {"rsp": f"stack + {3 * w}", "rip": f"code + {size} - {shift}"}
            if shift:
                out["cs"] = "ucodeseg"
            want = image | (0x3000 if n == 32 and s["cpl"] == 0 else 0)
            yield Case("iret, same level", "= CF", (mode,), n, mem=dict(frame), omem=dict(frame), out=out, loose="eflags",
                       check=lambda st, want=want: None if st["eflags"] == want else f"flags {st['eflags']:#x}, expected {want:#x}")
    # to level 3: which flags come along
    for mode, n in (("pm32", 32), ("compat", 32), ("long64", 64), ("long64", 32)):
        w = n // 8
        size = 1 + (n == 64)
        long = mode == "long64"
        name = "ucode64" if long else "ucode32"
        every = 0x202 | CF | PF | AF | ZF | SF | DF | OF | 0x3000 | AC | ID | VIF | VIP
        frame = {"stack": (f"code + {size}", w), f"stack + {w}": (name, w), f"stack + {2 * w}": (every, w),
                 f"stack + {3 * w}": ("stack - 0x40", w),
                 f"stack + {4 * w}": ("udata", w)}
        yield Case("iret to level 3", "= CF", (mode,), n, mem=dict(frame), omem=dict(frame), cpl=0, twins=False, loose="eflags",
                   out={"cpl": 3, "cs": name, "ss": "udata", "rsp": "stack - 0x40", "ds": 0, "es": 0, "rip": f"code + {size}"},
                   check=lambda st: None if st["eflags"] == every else f"flags {st['eflags']:#x}, expected {every:#x}")
        bad: list[tuple[str, Value, Value, Fault]] = [
            ("CS null", 0, "udata", Fault(13, 0)), ("CS data", "udata", "udata", Fault(13, "udata & ~3")),
            ("CS absent", "absentcode", "udata", Fault(11, "absentcode & ~3")),
            ("SS another DPL", name, "kdata | 3", Fault(13, "kdata")), ("SS absent", name, "absentss",
                                                                        Fault(12, "absentss & ~3")),
            ("SS null", name, 3, Fault(13, 0)),
        ]
        for what, cs_, ss, fault in bad:
            f = frame | {f"stack + {w}": (cs_, w), f"stack + {4 * w}": (ss, w)}
            yield Case(f"iret to level 3: {what}", "= CF", (mode,), n, mem=dict(f), omem=dict(f), cpl=0, fault=fault, twins=False)
    # 64-bit: the stack is always popped; level 3 may not touch IF and IOPL
    image = 0x302 & ~TF | ID | 0x3000
    frame64 = {"stack": ("code + 2", 8), "stack + 8": ("ucode64", 8), "stack + 16": (image & ~IF, 8),
               "stack + 24": ("stack - 0x20", 8),
               "stack + 32": ("udata2", 8)}
    yield Case("iretq at level 3", "= CF", LONG, 64, mem=dict(frame64), omem=dict(frame64), loose="eflags",
               out={"rsp": "stack - 0x20", "ss": "udata2", "rip": "code + 2"},
               check=lambda st: None if st["eflags"] == 0x202 | ID else f"flags {st['eflags']:#x}")
    frame16 = {"stack": (0x402, 2), "stack + 2": ("ucode16", 2), "stack + 4": (0x3203, 2), "stack + 6": (0x17F0, 2),
               "stack + 8": ("ustack16", 2)}
    yield Case("iretw in 64-bit mode", "= CF", LONG, 16, mem=dict(frame16), omem=dict(frame16), oflags="oszapC",
               out={"rsp": 0x417F0, "ss": "ustack16", "cs": "ucode16", "rip": 0x402})
    odd = frame64 | {"stack": (1 << 47, 8)}
    yield Case("iretq, not canonical", "= CF", LONG, 64, mem=dict(odd), omem=dict(odd), fault=Fault(13, 0))
    kernel = {"stack": ("code + 2", 8), "stack + 8": ("kcode64", 8), "stack + 16": (0x202, 8),
              "stack + 24": ("stack - 0x20", 8), "stack + 32": (0, 8)}
    yield Case("iretq to a null SS at level 0", "= CF", LONG, 64, mem=dict(kernel), omem=dict(kernel), cpl=0, twins=False,
               out={"rsp": "stack - 0x20", "rip": "code + 2", **null("ss")}, oflags="oszapc")
    compat = frame64 | {"stack + 8": ("ucode32", 8), "stack + 24": (0x1_0004_1700, 8)}
    yield Case("iretq to compatibility mode", "= CF", LONG, 64, mem=dict(compat), omem=dict(compat), loose="eflags",
               out={"rsp": 0x41700, "ss": "udata2", "cs": "ucode32", "rip": "code + 2"})
    yield Case("iret with NT in long mode", "= CF", ("compat", "long64"), 32, flags="N", fault=Fault(13, 0))
    # into virtual-8086 mode
    vm = {"stack": (0x201, 4), "stack + 4": (0x2020, 4), "stack + 8": (0x23202 | AC, 4), "stack + 12": (0x1234, 4),
          "stack + 16": (0x4000, 4),
          "stack + 20": (0x3001, 4), "stack + 24": (0x3002, 4), "stack + 28": (0x3003, 4), "stack + 32": (0x3004, 4)}
    yield Case("iret to virtual-8086 mode", "= CF", ("pm32",), 32, mem=dict(vm), omem=dict(vm), cpl=0, twins=False,
               loose="eflags",
               out={"cpl": 3, "cs": 0x2020, "rip": 0x201, "rsp": 0x1234, "ss": 0x4000, "es": 0x3001, "ds": 0x3002, "fs": 0x3003,
                    "gs": 0x3004},
               check=lambda s: None if s["eflags"] == 0x23202 | AC else f"flags {s['eflags']:#x}")
    yield Case("the VM bit does not count above level 0", "= CF", ("pm32",), 32,
               mem={"stack": ("code + 1", 4), "stack + 4": ("ucode32", 4), "stack + 8": (0x20202, 4)},
               omem={"stack": ("code + 1", 4), "stack + 4": ("ucode32", 4),
                     "stack + 8": (0x20202, 4)}, out={"rsp": "stack + 12"}, oflags="oszapc")


def virtual_8086() -> Iterator[Case]:
    """CR4.VME: INT n goes to the program's own handler where the TSS's redirection bit is clear (SDM vol. 3, 20.3)."""
    io = "tssaddr + 0x88 - 32"
    clear = {f"{io} + {0x40 >> 3}": b"\0", "0x100": le(0x402, 2) + le(CODE_SEG >> 4, 2)}
    set_ = {f"{io} + {0x40 >> 3}": b"\xff"}
    v = found("vm86")
    for eflags, pushed, after in ((0x23202, 0x3202, 0x23002), (0x20202 | VIF, 0x3202, 0x20202), (0x20002, 0x3002, 0x20002)):
        yield Case("int n, redirected", "int 0x40", ("vm86",), regs={"cr4": "cr4 | 1", "eflags": eflags}, mem=dict(clear),
                   tables=True,
                   omem=clear | {"stack - 2": (pushed, 2), "stack - 4": (v["cs"], 2), "stack - 6": ("code + 2", 2)},
                   out={"rsp": "stack - 6", "rip": 0x402}, loose="eflags",
                   check=lambda s, after=after: None if s["eflags"] == after else f"flags {s['eflags']:#x}, expected {after:#x}")
    yield Case("int n, not redirected, below IOPL 3", "int 0x40", ("vm86",), regs={"cr4": "cr4 | 1", "eflags": 0x20202},
               mem=dict(set_),
               omem=dict(set_), fault=Fault(13), tables=True)
    frame = {"stack": ("code + 1", 2), "stack + 2": (CODE_SEG >> 4, 2), "stack + 4": (0x3202 | CF, 2)}
    for eflags, image, after in ((0x20202, 0x203, 0x20203 | VIF), (0x20202 | VIF, 0x003, 0x20203)):
        f = frame | {"stack + 4": (image, 2)}
        yield Case("iret on the virtual interrupt flag", "= CF", ("vm86",), 16, regs={"cr4": "cr4 | 1", "eflags": eflags},
                   mem=dict(f), omem=dict(f),
                   out={"rsp": "stack + 6", "rip": "code + 1"}, loose="eflags",
                   check=lambda s, after=after: None if s["eflags"] == after else f"flags {s['eflags']:#x}, expected {after:#x}")
    f = frame | {"stack + 4": (0x203, 2)}
    yield Case("iret, VIP", "= CF", ("vm86",), 16, regs={"cr4": "cr4 | 1", "eflags": 0x20202 | VIP}, mem=dict(f), omem=dict(f),
               fault=Fault(13))


def cases() -> Iterator[Case]:
    yield from simple()
    yield from gates()
    yield from refusals()
    yield from returns()
    yield from virtual_8086()

