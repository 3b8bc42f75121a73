"""Control and debug registers, machine status word (SDM vol. 3, 2.5 and 17.2)."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import ALL, Case, Fault, regname
from ..layout import MODES
from ..sysdefs import LONG, found, privileged

MODES0 = ("real", "pm16", "pm32", "compat", "long64")
PROT0 = ("pm16", "pm32", "compat", "long64")
PE, MP, EM, TS, ET, NE, WP, NW, CD, PG = 1, 2, 4, 8, 16, 32, 1 << 16, 1 << 29, 1 << 30, 1 << 31
TSD, DE, PAE, PGE, PCIDE, SMEP, SMAP, UMIP, VMXE = 4, 8, 32, 128, 1 << 17, 1 << 20, 1 << 21, 1 << 11, 1 << 13


def cpl0(mode: str) -> int | None:
    return None if mode == "real" else 0


def sizes(mode: str) -> tuple[int, ...]:
    """REX.W changes nothing: the registers are as wide as the mode."""
    return (32, 64) if MODES[mode].bits == 64 else (32,)


def pre(n: int, mode: str) -> str:
    """No operand-size prefix: it means nothing here."""
    return "= " if MODES[mode].bits > 16 else "= - "


def control() -> Iterator[Case]:
    for mode in MODES0:
        cpl = cpl0(mode)
        old = found(mode, cpl)
        old |= {"cr2": 0, "cr3": old.get("cr3", 0)}
        wide = 64 if MODES[mode].bits == 64 else 32
        for n in sizes(mode):
            for cr in (0, 2, 3, 4):
                yield Case(f"mov r, cr{cr}", f"{pre(n, mode)}0F 20 /{cr}d", (mode,), n,
                           out={regname("d", wide): old[f"cr{cr}"]}, cpl=cpl,
                           priv=True)
            yield Case("mov cr0, r", f"{pre(n, mode)}0F 22 /0d", (mode,), n, regs={"rdx": old["cr0"] | TS | MP}, cpl=cpl,
                       out={"cr0": old["cr0"] | TS | MP}, priv=True)
            yield Case("mov cr2, r", f"{pre(n, mode)}0F 22 /2d", (mode,), n, regs={"rdx": 0x87654321}, out={"cr2": 0x87654321},
                       cpl=cpl)
            yield Case("mov cr3, r", f"{pre(n, mode)}0F 22 /3d", (mode,), n, regs={"rdx": old["cr3"] | 0x18},
                       out={"cr3": old["cr3"] | 0x18},
                       cpl=cpl)
            yield Case("mov cr4, r", f"{pre(n, mode)}0F 22 /4d", (mode,), n, regs={"rdx": old["cr4"] | TSD | PGE}, cpl=cpl,
                       out={"cr4": old["cr4"] | TSD | PGE})
        for cr in (1, 5, 6, 7):
            yield Case(f"mov r, cr{cr}", f"= - 0F 20 /{cr}d", (mode,), 32, fault=Fault(6), cpl=cpl)
            yield Case(f"mov cr{cr}, r", f"= - 0F 22 /{cr}d", (mode,), 32, fault=Fault(6), cpl=cpl)
        # the two bits of ModRM.mod do not matter (SDM vol. 2, MOV)
        yield Case("mov r, cr0, memory form", ".byte 0x0F,0x20,0x02", (mode,), out={regname("d", wide): old["cr0"]}, cpl=cpl)
        yield Case("mov cr2, r, memory form", ".byte 0x0F,0x22,0x52", (mode,), regs={"rdx": 0x1234}, out={"cr2": 0x1234}, cpl=cpl)
        yield Case("ET stays set, unknown bits are dropped", "= - 0F 22 /0d", (mode,), 32,
                   regs={"rdx": old["cr0"] & ~ET | 0xFF00 | 1 << 17}, cpl=cpl)
        bad = [("PG without PE", PG), ("NW without CD", old["cr0"] | NW)]
        if MODES[mode].bits == 64:
            bad += [("clearing PG in 64-bit mode", old["cr0"] & ~PG), ("clearing PE", old["cr0"] & ~PE),
                    ("bit 32", old["cr0"] | 1 << 32)]
        for what, v in bad:
            yield Case(f"mov cr0: {what}", "= - 0F 22 /0d", (mode,), 32, regs={"rdx": v}, fault=Fault(13), cpl=cpl)
        bad4 = [("VMXE", old["cr4"] | VMXE), ("bit 12", old["cr4"] | 1 << 12), ("bit 31", old["cr4"] | 1 << 31)]
        if MODES[mode].long:
            bad4 += [("clearing PAE in long mode", old["cr4"] & ~PAE)]
        else:
            bad4 += [("PCIDE outside long mode", old["cr4"] | PCIDE)]
        for what, v in bad4:
            yield Case(f"mov cr4: {what}", "= - 0F 22 /4d", (mode,), 32, regs={"rdx": v}, fault=Fault(13), cpl=cpl)
        for feature, bit in (("smep", SMEP), ("smap", SMAP), ("umip", UMIP), ("de", DE), ("pge", PGE)):
            yield Case(f"mov cr4: without {feature}", "= - 0F 22 /4d", (mode,), 32, regs={"rdx": old["cr4"] | bit},
                       fault=Fault(13), cpl=cpl,
                       without=feature)
    yield from privileged("= - 0F 20 /0d", size=32)
    yield from privileged("= - 0F 22 /0d", size=32)
    for code in ("0F 20 /0d", "0F 22 /0d"):
        yield Case("lock", f".byte 0xF0\n= - {code}", ("vm86",), 32, fault=Fault(6), twin="lock-ud")
    cr3 = found("long64", 0)["cr3"]
    yield Case("mov r8, cr3", "mov r9, cr3", LONG, out={"r9": cr3}, cpl=0)
    yield Case("mov cr3, bit 63 without PCIDE", "mov cr3, rdx", LONG, regs={"rdx": 1 << 63 | cr3}, fault=Fault(13), cpl=0)
    yield Case("mov cr3, beyond the physical width", "mov cr3, rdx", LONG, regs={"rdx": 1 << 40 | cr3}, fault=Fault(13), cpl=0)
    cr4 = found("long64", 0)["cr4"]
    yield Case("PCIDE with a PCID already there", "mov cr4, rdx", LONG, regs={"rdx": cr4 | PCIDE, "cr3": f"{cr3} | 1"},
               fault=Fault(13), cpl=0)
    yield Case("PCIDE, then CR3 bit 63", "mov cr4, rdx\nmov cr3, rax", LONG, regs={"rdx": cr4 | PCIDE, "rax": 1 << 63 | cr3 | 5},
               out={"cr4": cr4 | PCIDE, "cr3": cr3 | 5}, cpl=0)
    yield Case("mov cr8, r", "mov cr8, rdx", LONG, regs={"rdx": 9}, out={"cr8": 9}, cpl=0)
    yield Case("mov r, cr8", "mov rax, cr8", LONG, regs={"cr8": 5}, out={"rax": 5}, cpl=0)
    yield Case("mov cr8, 16", "mov cr8, rdx", LONG, regs={"rdx": 16}, fault=Fault(13), cpl=0)
    yield Case("no cr9", ".byte 0x44,0x0F,0x20,0xC8", LONG, fault=Fault(6), cpl=0)


def transitions() -> Iterator[Case]:
    """Turning protection and paging on and off."""
    old = found("real")["cr0"]
    yield Case("real to protected mode: descriptors stay as they are", "mov cr0, edx\nmov eax, [di]", ("real",),
               regs={"rdx": old | PE},
               mem={"data+0x40": b"\x78\x56\x34\x12"}, omem={"data+0x40": b"\x78\x56\x34\x12"}, out={"cr0": old | PE,
                                                                                                     "eax": 0x12345678})
    p = found("pm16", 0)["cr0"]
    yield Case("protected to real mode", "mov cr0, edx\nmov eax, [di]", ("pm16",), regs={"rdx": p & ~PE}, cpl=0,
               mem={"data+0x40": b"\x78\x56\x34\x12"}, omem={"data+0x40": b"\x78\x56\x34\x12"}, out={"cr0": p & ~PE,
                                                                                                     "eax": 0x12345678})
    yield Case("a 4 GiB limit survives in real mode", "mov cr0, edx\nmov eax, [ebx]", ("pm16",), cpl=0,
               regs={"rdx": p & ~PE, "ds": "kdata", "ds_base": 0, "ds_limit": 0xFFFFFFFF, "ds_flags": 0xC09300, "rbx": 0x31000},
               mem={"data": b"\x11\x22\x33\x44"}, omem={"data": b"\x11\x22\x33\x44"}, out={"cr0": p & ~PE, "eax": 0x44332211})
    q = found("pm32", 0)["cr0"]
    yield Case("paging off", "mov cr0, edx\nmov eax, [edi]", ("pm32",), regs={"rdx": q & ~PG, "rdi": "hole"}, cpl=0,
               mem={"hole": b"\x01\x02\x03\x04"}, omem={"hole": b"\x01\x02\x03\x04"}, out={"cr0": q & ~PG, "eax": 0x04030201})
    yield Case("paging on", "mov cr3, eax\nmov cr0, edx\nmov eax, [edi]", ("pm32s",),
               regs={"rax": "pd", "rdx": p | PG, "rdi": "hole"}, out={"cr0": p | PG, "cr3": "pd", "cr2": "hole + database"},
               fault=Fault(14, 0, ip="code + 6"))
    lm = {"cr4": found("pm32", 0)["cr4"] | PAE, "efer": 0x100}
    yield Case("long mode on", "mov cr3, eax\nmov cr0, edx", ("pm32s",), regs={"rax": "pml4", "rdx": p | PG, **lm},
               out={"cr0": p | PG, "cr3": "pml4", "efer": 0x500})
    yield Case("long mode without PAE", "mov cr0, edx", ("pm32s",), regs={"rdx": p | PG, "efer": 0x100}, fault=Fault(13))
    yield Case("WP off: supervisor writes to read-only pages", "mov cr0, edx\nmov [edi], eax", ("pm32",), cpl=0,
               regs={"rdx": q & ~WP, "rdi": "ro", "rax": 0x55AA55AA}, out={"cr0": q & ~WP}, omem={"ro": b"\xaa\x55\xaa\x55"})
    yield Case("WP on", "mov cr0, edx\nmov [edi], eax", ("pm32",), cpl=0, regs={"rdx": q, "cr0": q & ~WP, "rdi": "ro"},
               out={"cr0": q},
               fault=Fault(14, 3, "ro", ip="code + 3"))
    cr4 = found("pm32", 0)["cr4"]
    # user pages under SMAP and SMEP
    for mode in ("pm32", "long64"):
        v = found(mode, 0)["cr4"]
        own = {"rsp": "kstack"}         # the usual stack is on a user page
        fixed = own | {"rdx": v | SMAP, "rdi": "sup"}
        text = "mov cr4, %{0}\nmov eax, [%DI]".replace("%{0}", "rdx" if mode == "long64" else "edx")
        yield Case("SMAP: supervisor page", text, (mode,), regs=dict(fixed), mem={"sup": b"\x0a\x0b\x0c\x0d"},
                   omem={"sup": b"\x0a\x0b\x0c\x0d"}, out={"cr4": v | SMAP, "eax": 0x0D0C0B0A}, cpl=0)
        yield Case("SMAP: user page", text, (mode,), regs=fixed | {"rdi": "data"}, out={"cr4": v | SMAP},
                   fault=Fault(14, 1, "data", ip="code + 3"), cpl=0)
        yield Case("SMAP: user page with AC", text, (mode,), regs=fixed | {"rdi": "data"}, flags="X",
                   mem={"data": b"\x01\x00\x00\x00"},
                   omem={"data": b"\x01\x00\x00\x00"}, out={"cr4": v | SMAP, "eax": 1}, cpl=0)
        yield Case("STAC", "stac\nmov eax, [%DI]", (mode,), regs=own | {"cr4": f"cr4 | {SMAP}", "rdi": "data"}, oflags="X", cpl=0,
                   mem={"data": b"\x02\x00\x00\x00"}, omem={"data": b"\x02\x00\x00\x00"}, out={"eax": 2})
        yield Case("CLAC", "clac\nmov eax, [%DI]", (mode,), regs=own | {"cr4": f"cr4 | {SMAP}", "rdi": "data"}, flags="X",
                   oflags="x", cpl=0,
                   fault=Fault(14, 1, "data", ip="code + 3"))
        yield Case("SMEP: code on a user page", text.split("\n")[0] + "\nnop", (mode,), regs={"rdx": v | SMEP},
                   out={"cr4": v | SMEP},
                   fault=Fault(14, 17, "code", ip="code + 3"), cpl=0, loose="cr2")
    assert cr4


def status_word() -> Iterator[Case]:
    for mode in ALL:
        cr0 = found(mode)["cr0"]
        for n in (16, 32, 64) if MODES[mode].bits == 64 else (16, 32):
            yield Case("smsw r", "= 0F 01 /4d", (mode,), n, out={regname("d", n): cr0 & (1 << n) - 1})
            yield Case("smsw m", "= 0F 01 /4m", (mode,), n, msize=2, m=0, om=cr0 & 0xFFFF, access="w")
    for mode in MODES0:
        cpl = cpl0(mode)
        cr0 = found(mode, cpl)["cr0"]
        common = {"modes": (mode,), "cpl": cpl, "priv": True}
        yield Case("lmsw r", "= 0F 01 /6d", regs={"rdx": cr0 & 0xFFF0 | cr0 & 1 | TS | EM | MP}, out={"cr0": cr0 | TS | EM | MP},
                   **common)
        yield Case("lmsw m", "= 0F 01 /6m", msize=2, m=cr0 & 1 | TS, out={"cr0": cr0 & ~(MP | EM) | TS}, access="r",
                   **common)
        if mode != "real":
            yield Case("lmsw does not clear PE", "= 0F 01 /6d", regs={"rdx": 0}, out={"cr0": cr0 & ~(MP | EM | TS)},
                       **common)
        yield Case("clts", "clts", regs={"cr0": f"cr0 | {TS}"}, out={"cr0": cr0}, **common)
    yield Case("lmsw sets PE", "= 0F 01 /6d", ("real",), regs={"rdx": found("real")["cr0"] | 1},
               out={"cr0": found("real")["cr0"] | 1})
    yield from privileged("= 0F 01 /6d")
    yield from privileged("clts")
    yield Case("clts, lock", ".byte 0xF0\nclts", ("vm86",), fault=Fault(6), twin="lock-ud")
    yield Case("lmsw, lock", ".byte 0xF0\n= 0F 01 /6d", ("vm86",), fault=Fault(6), twin="lock-ud")
    for mode in ("vm86", "pm16", "pm32", "compat", "long64"):
        for code in ("= 0F 01 /4d", "= 0F 01 /4m", "= 0F 01 /0m", "= 0F 01 /1m"):
            yield Case("UMIP", code, (mode,), 32, regs={"cr4": f"cr4 | {UMIP}"}, fault=Fault(13),
                       cpl=None if mode == "vm86" else 3)


def debug() -> Iterator[Case]:
    for mode in MODES0:
        cpl = cpl0(mode)
        wide = 64 if MODES[mode].bits == 64 else 32
        v = 0x1234567890ABCDEF & (1 << wide) - 1
        for n in sizes(mode):
            for i in range(4):
                yield Case(f"mov dr{i}, r", f"{pre(n, mode)}0F 23 /{i}d", (mode,), n, regs={"rdx": v}, out={f"dr{i}": v},
                           cpl=cpl, priv=True)
                yield Case(f"mov r, dr{i}", f"{pre(n, mode)}0F 21 /{i}d", (mode,), n, regs={f"dr{i}": v},
                           out={regname("d", wide): v}, cpl=cpl,
                           priv=True)
        common = {"modes": (mode,), "size": 32, "cpl": cpl}
        for n_, alias in ((6, 4), (7, 5)):
            got = 0xFFFF0FF0 | 0x4001 if n_ == 6 else 0x400 | 0x155
            put = 0x4001 if n_ == 6 else 0x155
            for k in (n_, alias):
                yield Case(f"mov dr{k}, r", f"= - 0F 23 /{k}d", regs={"rdx": put, "dr6": 0xFFFF0FF0}, out={f"dr{n_}": got},
                           **common)
                yield Case(f"mov r, dr{k}", f"= - 0F 21 /{k}d", regs={f"dr{n_}": got}, out={"edx": got},
                           **common)
            yield Case(f"mov dr{alias}, CR4.DE", f"= - 0F 23 /{alias}d", regs={"cr4": f"cr4 | {DE}"}, fault=Fault(6),
                       **common)
        yield Case("DR6: what can be written", "= - 0F 23 /6d", regs={"rdx": 0xFFFFFFFF}, out={"dr6": 0xFFFFEFFF},
                   **common)
        yield Case("DR7: what can be written", "= - 0F 23 /7d", regs={"rdx": 0xFFFFDFFF & ~0xFF}, out={"dr7": 0xFFFF0700},
                   **common)
        if wide == 64:
            for k in (6, 7):
                yield Case(f"DR{k}: upper half", f"= - 0F 23 /{k}d", regs={"rdx": 1 << 32}, fault=Fault(13),
                           **common)
        for code in ("21 /0d", "23 /3d"):
            yield Case("general detect", f"= - 0F {code}", regs={"dr7": 0x2400, "dr6": 0xFFFF0FF0},
                       out={"dr7": 0x400, "dr6": 0xFFFF2FF0},
                       fault=Fault(1), **common)
    for code in ("= - 0F 21 /0d", "= - 0F 23 /0d"):
        yield from privileged(code, size=32)
        yield Case("lock", ".byte 0xF0\n" + code, ("vm86",), 32, fault=Fault(6), twin="lock-ud")
    yield Case("no dr8", ".byte 0x44,0x0F,0x21,0xC0", LONG, fault=Fault(6), cpl=0)


def cases() -> Iterator[Case]:
    yield from control()
    yield from transitions()
    yield from status_word()
    yield from debug()


assert PROT0 and CD
