"""System flags, fast system calls, segment bases and waiting: PUSHF to HLT, SYSCALL to SYSEXIT, SWAPGS (SDM vol. 2)."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import ALL, Case, Fault, Value, regname
from ..layout import MODES, le
from ..sysdefs import LONG, NOT_LONG, absent, found

TF, IF, DF, NT, VM, AC, VIF, VIP, ID = 0x100, 0x200, 0x400, 0x4000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000
MODES0 = ("real", "pm16", "pm32", "compat", "long64")
FLAT_CODE, FLAT_CODE64, FLAT_DATA = 0xC09B00, 0xA09B00, 0xC09300


def sizes(mode: str) -> tuple[int, ...]:
    return (16, 64) if MODES[mode].bits == 64 else (16, 32)


def same(want: int) -> dict[str, object]:
    """The flags after, all of them."""
    return {"loose": "eflags", "check": lambda s: None if s["eflags"] == want else f"flags {s['eflags']:#x}, expected {want:#x}"}


def flag_images() -> Iterator[Case]:
    for mode in ALL:
        base = found(mode)["eflags"]
        for n in sizes(mode):
            w = n // 8
            dash = "- " if n == 64 else ""
            at = f"stack - {w}"
            f = base | 0x8D5 | DF | ID | NT | (AC if mode != "real" else 0)
            yield Case("pushf", f"= {dash}9C", (mode,), n, regs={"eflags": f}, out={"rsp": at}, omem={at: le(f & 0xFCFFFF, w)})
            # POPF: everything the level may change
            cpl, iopl = found(mode)["cpl"], base >> 12 & 3
            image = (0x8D5 | DF | NT | AC | ID) & (0xFFFF if n == 16 else ~0)
            new = (image & ~IF | 2) | (base & ~0xFFFF if n == 16 else base & VM)
            if cpl > iopl or mode == "vm86":
                new |= base & 0x3000
            if cpl > iopl:
                new |= base & IF
            top = {"stack": le(image, w)}
            yield Case("popf", f"= {dash}9D", (mode,), n, mem=dict(top), omem=dict(top), out={"rsp": f"stack + {w}"},
                       **same(new))
            # reserved flags, VM and RF do not come along; IOPL does at CPL 0
            image = 0x3C7FD7 & ~(TF | IF) & ((1 << min(n, 32)) - 1) | 0x2A | 0xFFC00000 * (n > 16)
            new = (image & 0x244CD5 | 2) & ~IF | (0x3000 if cpl == 0 or mode == "vm86" else 0)
            new |= base & VM
            if cpl > iopl:
                new |= base & IF
            if n == 16:
                new = new & 0xFFFF | base & ~0xFFFF
            top = {"stack": le(image & (1 << n) - 1, w)}
            yield Case("popf, reserved bits", f"= {dash}9D", (mode,), n, mem=dict(top), omem=dict(top),
                       out={"rsp": f"stack + {w}"},
                       **same(new))
            if mode in ("pm32", "compat", "long64"):
                yield Case("popf, no stack", f"= {dash}9D", (mode,), n, regs={"rsp": "guard + 0x1000"},
                           fault=Fault(14, 4, "guard + 0x1000 + stackbase"))
                yield Case("pushf, no stack", f"= {dash}9C", (mode,), n, regs={"rsp": "guard"},
                           fault=Fault(14, 6, f"guard - {w} + stackbase"))
        if mode in ("pm16", "pm32", "compat", "long64"):
            yield Case("cli above IOPL", "cli", (mode,), cpl=3, fault=Fault(13))
            yield Case("sti above IOPL", "sti", (mode,), cpl=3, fault=Fault(13))
            for iopl3 in (0x3002, 0x3202):
                yield Case("cli with IOPL 3", "cli", (mode,), cpl=3, regs={"eflags": iopl3}, oflags="i")
                yield Case("sti with IOPL 3", "sti", (mode,), cpl=3, regs={"eflags": iopl3}, oflags="I")
        elif mode in ("real", "pm32s"):
            yield Case("cli", "cli", (mode,), oflags="i")
            yield Case("sti", "sti", (mode,), flags="i", oflags="I")
        else:
            yield Case("cli", "cli", (mode,), regs={"eflags": 0x23202}, oflags="i")
            yield Case("sti", "sti", (mode,), regs={"eflags": 0x23002}, oflags="I")
        # virtual interrupts for level 3: CR4.PVI
        if mode in ("pm16", "pm32", "compat", "long64"):
            pvi: dict[str, Value] = {"cr4": "cr4 | 2"}
            yield Case("cli, PVI", "cli", (mode,), cpl=3, regs=pvi | {"eflags": 0x202 | VIF},
                       **same(0x202))
            yield Case("sti, PVI", "sti", (mode,), cpl=3, regs=pvi | {"eflags": 0x202},
                       **same(0x202 | VIF))
            yield Case("sti, PVI with VIP", "sti", (mode,), cpl=3, regs=pvi | {"eflags": 0x202 | VIP}, fault=Fault(13))
    # virtual-8086 mode below IOPL 3
    for code, n in (("= 9C", 16), ("= 9C", 32), ("= 9D", 16), ("= 9D", 32), ("cli", 0), ("sti", 0)):
        yield Case("below IOPL 3", code, ("vm86",), n, regs={"eflags": 0x20202}, fault=Fault(13), twins=False)
    vme: dict[str, Value] = {"cr4": "cr4 | 1"}
    for code in ("= 9C", "= 9D"):
        yield Case("32 bits below IOPL 3, VME", code, ("vm86",), 32, regs=vme | {"eflags": 0x20202}, fault=Fault(13))
    for v, image in ((VIF, 0x3202), (0, 0x3002)):
        yield Case("pushf, VME", "= 9C", ("vm86",), 16, regs=vme | {"eflags": 0x20202 | v}, out={"rsp": "stack - 2"},
                   omem={"stack - 2": le(image, 2)})
    for image, after in ((0x201, 0x20203 | VIF), (0x4001, 0x24203)):
        top = {"stack": le(image, 2)}
        yield Case("popf, VME", "= 9D", ("vm86",), 16, regs=vme | {"eflags": 0x20202}, mem=dict(top), omem=dict(top),
                   out={"rsp": "stack + 2"},
                   **same(after))
    for eflags, image in ((0x20202 | VIP, 0x201), (0x20202, 0x101)):
        top = {"stack": le(image, 2)}
        yield Case("popf, VME: VIP or TF", "= 9D", ("vm86",), 16, regs=vme | {"eflags": eflags}, mem=dict(top), omem=dict(top),
                   fault=Fault(13))
    yield Case("cli, VME", "cli", ("vm86",), regs=vme | {"eflags": 0x20202 | VIF},
               **same(0x20202))
    yield Case("sti, VME", "sti", ("vm86",), regs=vme | {"eflags": 0x20202},
               **same(0x20202 | VIF))
    yield Case("sti, VME with VIP", "sti", ("vm86",), regs=vme | {"eflags": 0x20202 | VIP}, fault=Fault(13))


def steps() -> Iterator[Case]:
    """The trap flag: #DB after the instruction behind the one that sets it (SDM vol. 3, 17.3.1.4)."""
    dr6 = 0xFFFF0FF0
    for mode in ALL:
        n = {16: 16, 32: 32, 64: 64}[MODES[mode].bits]
        dash = "- " if n == 64 else ""
        base = found(mode)["eflags"]
        top = {"stack": le(base | TF, n // 8)}
        yield Case("a step after popf", f"= {dash}9D\nnop\nnop", (mode,), n, mem=dict(top), omem=dict(top), regs={"dr6": dr6},
                   out={"rsp": f"stack + {n // 8}", "dr6": dr6 | 0x4000}, fault=Fault(1,
                                                                                      ip="code + 2"), twins=False, oflags="T", undef="oszapc")


def halting() -> Iterator[Case]:
    for mode in MODES0:
        yield Case("hlt", "hlt", (mode,), cpl=None if mode == "real" else 0, out={"rip": "code"}, twins=False)
        yield Case("hlt, lock", ".byte 0xF0\nhlt", (mode,), cpl=None if mode == "real" else 0, fault=Fault(6), twin="lock-ud")
    for mode in ("vm86", "pm16", "pm32", "compat", "long64"):      # how every snippet above level 0 ends
        yield Case("hlt: privileged", "hlt", (mode,), cpl=None if mode == "vm86" else 3, out={"rip": "code"}, twin="priv",
                   twins=False)
    yield Case("hlt, lock", ".byte 0xF0\nhlt", ("vm86",), fault=Fault(6), twin="lock-ud")
    yield Case("pause", "pause", ALL)


def amd_calls() -> Iterator[Case]:
    """SYSCALL and SYSRET as AMD's have them: outside 64-bit mode too (APM vol. 3)."""
    star = 0x0023_0008_0000_0000 | 0x20402
    long: dict[str, Value] = {"efer": "efer | 1", "star": star, "lstar": "code + 2", "cstar": "code + 2", "sfmask": 0x44700}
    k64: dict[str, Value] = {"cpl": 0, "cs": 8, "cs_base": 0, "cs_limit": 0xFFFFFFFF, "cs_flags": FLAT_CODE64, "ss": 0x10,
                             "ss_base": 0,
                             "ss_limit": 0xFFFFFFFF, "ss_flags": FLAT_DATA}
    for mode in ("compat", "long64"):
        f = 0x202 | DF | AC | ID | 1
        yield Case("syscall", "syscall", (mode,), regs=long | {"eflags": f}, feat="syscall",
                   out=k64 | {"rcx": "code + 2", "r11": f,
                              "rip": "code + 2"}, **same(f & ~0x44700 | 2))
        yield Case("syscall without SCE", "syscall", (mode,), fault=Fault(6))
    legacy: dict[str, Value] = {"efer": "efer | 1", "star": star}
    yield Case("syscall", "syscall", ("pm32",), regs=dict(legacy), feat="syscall", oflags="i",
               out=k64 | {"cs_flags": FLAT_CODE, "ecx": "code + 2", "rip": "code + 2"})
    for mode in ("real", "vm86", "pm16"):
        yield Case("syscall", "syscall\nnop", (mode,), regs=dict(legacy), feat="syscall", loose="eflags",
                   cpl=3 if mode == "pm16" else None,
                   out=k64 | {"cs_flags": FLAT_CODE, "ecx": "code + 2", "rip": 0x20403})
    for mode in ("real", "vm86"):
        for n in (16, 32):
            yield Case("sysret", "= 0F 07", (mode,), n, regs={"efer": "efer | 1"}, fault=Fault(13), twin="runs")
        yield Case("sysret", ".byte 0xF0\nsysret", (mode,), fault=Fault(6), twin="lock-ud")
        yield Case("sysret", "sysret", (mode,), regs={"efer": "efer | 1"}, fault=Fault(6), twin="feat", without="syscall")
    for mode in ("pm16", "pm32", "compat", "long64"):
        wide = MODES[mode].bits == 64
        cpl = 0
        ret: dict[str, Value] = {"efer": "efer | 1", "star": 0x0010_0008_0000_0000, "r11": 0x3C7FD7 & ~TF & ~(1 << 17),
                                 "rcx": "code + 2"}
        u: dict[str, Value] = {"cpl": 3, "cs": 0x13, "cs_base": 0, "cs_limit": 0xFFFFFFFF, "cs_flags": FLAT_CODE | 0x6000,
                               "ss": 0x1B, "ss_base": 0,
                               "ss_limit": 0xFFFFFFFF, "ss_flags": FLAT_DATA | 0x6000, "rip": "code + 2"}
        flags = 0x3C7FD7 & ~TF & ~VM | 2
        common = {"modes": (mode,), "cpl": 0, "feat": "syscall", "twins": False}
        if wide:
            yield Case("sysret", "= 0F 07", size=32, regs=dict(ret), out=dict(u), **common,
                       **same(flags))
            yield Case("sysretq", "= 0F 07", size=64, regs=ret | {"rcx": "code + 3"}, **common, **same(flags),
                       out=u | {"cs": 0x23, "cs_flags": FLAT_CODE64 | 0x6000, "rip": "code + 3"})
        elif MODES[mode].long:
            yield Case("sysret", "= 0F 07", size=32, regs=ret | {"r11": 0x202}, out=dict(u), **common,
                       **same(0x202))
        else:
            del ret["r11"]
            yield Case("sysret", "= 0F 07", size=32, regs=ret, out=dict(u), flags="i", oflags="I",
                       **common)
        image = (ret | {"r11": 0x202}) if MODES[mode].long else ret
        keep = same(0x202) if MODES[mode].long else {"flags": "i", "oflags": "I"}
        yield Case("sysret, 66 prefix", "= 0F 07", size=16, regs=image | {"rcx": "code + 3"}, out=u | {"rip": "code + 3"},
                   **common, **keep)
        yield Case("sysret at level 3", "= 0F 07", (mode,), 32, regs={"efer": "efer | 1"}, fault=Fault(13), cpl=3)
        yield Case("sysret without SCE", "= 0F 07", (mode,), 32, fault=Fault(6), cpl=cpl)
        yield Case("sysret, lock", ".byte 0xF0\n= 0F 07", (mode,), 32, fault=Fault(6), twin="lock-ud", cpl=cpl)
        yield Case("sysret, feature", "= 0F 07", (mode,), 32, regs={"efer": "efer | 1"}, fault=Fault(6), twin="feat",
                   without="syscall", cpl=cpl)


def intel_calls() -> Iterator[Case]:
    """SYSENTER and SYSEXIT; AMD's do not have them in long mode. SYSCALL of Intel's exists in 64-bit mode only."""
    sys: dict[str, Value] = {"sysenter_cs": 8, "sysenter_esp": "kstack", "sysenter_eip": "0x20402"}
    k: dict[str, Value] = {"cpl": 0, "cs": 8, "cs_base": 0, "cs_limit": 0xFFFFFFFF, "cs_flags": FLAT_CODE, "ss": 0x10,
                           "ss_base": 0,
                           "ss_limit": 0xFFFFFFFF, "ss_flags": FLAT_DATA, "rsp": "kstack", "rip": 0x20402}
    for mode in ("pm16", "pm32", "vm86", "compat", "long64"):
        cpu = "Haswell" if MODES[mode].long else "max"
        out = k | ({"cs_flags": FLAT_CODE64} if MODES[mode].long else {})
        yield Case("sysenter", "sysenter", (mode,), regs=dict(sys), out=out, oflags="i", cpu=cpu, feat="sep",
                   loose="eflags" if mode == "vm86" else "", cpl=None if mode != "pm16" else 3)
        yield Case("sysenter, no selector", "sysenter", (mode,), regs=sys | {"sysenter_cs": 3}, fault=Fault(13), cpu=cpu)
    yield Case("sysenter", "sysenter", ("real",), regs=dict(sys), fault=Fault(13), feat="sep", twin="runs")
    yield Case("sysenter", ".byte 0xF0\nsysenter", ("real",), regs=dict(sys), fault=Fault(6), twin="lock-ud")
    yield Case("sysenter", "sysenter", ("real",), regs=dict(sys), fault=Fault(6), twin="feat", without="sep")
    for mode in ("compat", "long64"):
        yield Case("sysenter in long mode, AMD", "sysenter", (mode,), regs=dict(sys), fault=Fault(6))
        yield Case("sysexit in long mode, AMD", "= - 0F 35", (mode,), regs=dict(sys), cpl=0, fault=Fault(6))
    for mode in ("pm16", "pm32", "compat", "long64"):
        cpu = "Haswell" if MODES[mode].long else "max"
        wide = MODES[mode].bits == 64
        leave: dict[str, Value] = {"sysenter_cs": 0x10 - 8, "rdx": "0x20402", "rcx": "0x41700"}
        u: dict[str, Value] = {"cpl": 3, "cs": 0x1B, "cs_base": 0, "cs_limit": 0xFFFFFFFF, "cs_flags": FLAT_CODE | 0x6000,
                               "ss": 0x23, "ss_base": 0,
                               "ss_limit": 0xFFFFFFFF, "ss_flags": FLAT_DATA | 0x6000, "rsp": 0x41700, "rip": 0x20402}
        if mode == "pm16":
            leave["rdx"] = u["rip"] = 0x20403
        yield Case("sysexit", "= 0F 35", (mode,), 32, regs=dict(leave), out=dict(u), cpl=0, cpu=cpu, feat="sep", twins=False)
        if wide:
            yield Case("sysexitq", "= 0F 35", (mode,), 64, regs=leave | {"rdx": "0x20403"}, cpl=0, cpu=cpu, feat="sep",
                       twins=False,
                       out=u | {"cs": 0x2B, "ss": 0x33, "cs_flags": FLAT_CODE64 | 0x6000, "rip": 0x20403})
            for r in ("rcx", "rdx"):
                yield Case("sysexitq, not canonical", "= 0F 35", (mode,), 64, regs=leave | {r: 1 << 47}, cpl=0, cpu=cpu,
                           fault=Fault(13))
        yield Case("sysexit, 66 prefix", "= 0F 35", (mode,), 16, regs=leave | {"rdx": "0x20403"}, out=u | {"rip": 0x20403},
                   cpl=0, cpu=cpu,
                   twins=False)
        yield Case("sysexit, no selector", "= 0F 35", (mode,), 32, regs=leave | {"sysenter_cs": 0}, cpl=0, cpu=cpu,
                   fault=Fault(13))
        yield Case("sysexit at level 3", "= 0F 35", (mode,), 32, regs=dict(leave), cpl=3, cpu=cpu, fault=Fault(13))
        yield Case("sysexit, lock", ".byte 0xF0\n= 0F 35", (mode,), 32, cpl=0, cpu=cpu, fault=Fault(6), twin="lock-ud")
        yield Case("sysexit, feature", "= 0F 35", (mode,), 32, cpl=0, cpu=cpu, fault=Fault(6), twin="feat", without="sep")
    for mode in ("real", "vm86"):
        for n in (16, 32):
            yield Case("sysexit", "= 0F 35", (mode,), n, regs={"sysenter_cs": 8}, fault=Fault(13), twin="runs")
        yield Case("sysexit", ".byte 0xF0\n= 0F 35", (mode,), 32, fault=Fault(6), twin="lock-ud")
        yield Case("sysexit", "= 0F 35", (mode,), 32, fault=Fault(6), twin="feat", without="sep")
    for mode in ("compat", "pm32", "real"):
        yield Case("syscall, Intel", "syscall", (mode,), regs={"efer": "efer | 1"}, fault=Fault(6), cpu="Haswell")
    yield Case("sysretq, Intel: not canonical", "= 0F 07", LONG, 64, cpu="Haswell", cpl=0,
               regs={"efer": "efer | 1", "rcx": 1 << 47}, fault=Fault(13))


def bases() -> Iterator[Case]:
    g = 0x123456789ABC
    base = found("long64")["gs_base"]
    yield Case("swapgs", "swapgs", LONG, cpl=0, regs={"kernel_gs_base": g}, out={"gs_base": g, "kernel_gs_base": base}, priv=True)
    yield from absent("= - 0F 01 F8", NOT_LONG)
    on: dict[str, Value] = {"cr4": "cr4 | 0x10000"}
    for seg, d in (("fs", 0), ("gs", 1)):
        old = found("long64")[f"{seg}_base"]
        for n in (32, 64):
            v = (g if n == 64 else 0x89ABCDEF)
            yield Case(f"rd{seg}base", f"rd{seg}base {'eax' if n == 32 else 'rax'}", LONG, n, regs=dict(on),
                       out={regname("a", n): old & (1 << n) - 1}, feat="fsgsbase")
            yield Case(f"wr{seg}base", f"wr{seg}base {'eax' if n == 32 else 'rax'}", LONG, n, regs=on | {"rax": v},
                       out={f"{seg}_base": v},
                       feat="fsgsbase")
        yield Case(f"rd{seg}base, CR4", f"rd{seg}base rax", LONG, fault=Fault(6))
        yield Case(f"wr{seg}base, CR4", f"wr{seg}base rax", LONG, fault=Fault(6))
        yield Case(f"wr{seg}base, not canonical", f"wr{seg}base rax", LONG, regs=on | {"rax": 1 << 47}, fault=Fault(13))
        for k in (d, d + 2):
            yield from absent(f"= F3 - 0F AE /{k}a", NOT_LONG, 32)


def access_control() -> Iterator[Case]:
    for mode in MODES0:
        cpl = None if mode == "real" else 0
        yield Case("stac", "stac", (mode,), cpl=cpl, oflags="X", feat="smap")
        yield Case("clac", "clac", (mode,), cpl=cpl, flags="X", oflags="x", feat="smap", twins=mode != "real")
    for mode in ("vm86", "pm16", "pm32", "compat", "long64"):
        for code in ("stac", "clac"):
            yield Case(f"{code} at level 3", code, (mode,), cpl=None if mode == "vm86" else 3, fault=Fault(6), twin="runs")
    yield Case("clac", ".byte 0xF0\nclac", ("real",), fault=Fault(6), twin="lock-ud")
    yield Case("clac", "clac", ("real",), fault=Fault(6), twin="feat", without="smap")
    for code in ("stac", "clac"):
        yield Case(code, f".byte 0xF0\n{code}", ("vm86",), fault=Fault(6), twin="lock-ud")
        yield Case(code, code, ("vm86",), fault=Fault(6), twin="feat", without="smap")


def cases() -> Iterator[Case]:
    yield from flag_images()
    yield from steps()
    yield from halting()
    yield from amd_calls()
    yield from intel_calls()
    yield from bases()
    yield from access_control()
