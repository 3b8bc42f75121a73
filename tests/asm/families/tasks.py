"""Task switches: JMP, CALL, INT, exceptions and IRET through 32- and 16-bit TSSs and task gates (SDM vol. 3, chapter 7)."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import Bytes, Case, Fault, Value
from ..layout import KSTACK, PD, SELECTORS, descriptor, gate, le
from ..sysdefs import found, loaded, null

GPR = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"]
ORDER = ["es", "cs", "ss", "ds", "fs", "gs"]
TS, NT, BT = 8, 0x4000, 0x8000
AT = 0x20402                            # behind the two bytes of a far JMP or CALL, or of INT
NEW = {r: 0x51000000 + 0x101 * i for i, r in enumerate(GPR)} | {"rsp": KSTACK - 0x200}


def tss32(eip: int = AT, eflags: int = 0x202, link: int = 0, trap: int = 0, cr3: int = PD, ldt: int = 0, **segs: int) -> bytes:
    """SDM vol. 3, figure 7-2."""
    sel = {"es": 0x10, "cs": 8, "ss": 0x10, "ds": 0x10, "fs": 0, "gs": 0} | segs
    out = le(link, 4) + le(KSTACK - 0x400, 4) + le(0x10, 4) + bytes(16) + le(cr3, 4) + le(eip, 4) + le(eflags, 4)
    out += b"".join(le(NEW[r], 4) for r in GPR) + b"".join(le(sel[s], 4) for s in ORDER)
    return out + le(ldt, 4) + le(trap, 2) + le(0x68, 2)


def tss16(ip: int = 0x402, flags: int = 0x202, **segs: int) -> bytes:
    """SDM vol. 3, figure 7-10."""
    sel = {"es": 0x10, "cs": SELECTORS["kcode16"], "ss": 0x10, "ds": 0x10} | segs
    out = bytes(2) + le(KSTACK & 0xFFFF, 2) + le(0x10, 2) + bytes(8) + le(ip, 2) + le(flags, 2)
    out += b"".join(le(NEW[r], 2) for r in GPR) + b"".join(le(sel[s], 2) for s in ("es", "cs", "ss", "ds"))
    return out + le(0, 2)


def entered(cpl: int = 0, **segs: str) -> dict[str, Value]:
    """Registers in the new task; a segment given by its descriptor's name, '' for null."""
    out: dict[str, Value] = {**NEW, "tr": "tssb", "tr_base": 0xE400, "tr_limit": 0x67, "tr_flags": 0x8B00, "cpl": cpl,
                             **null("ldt")}
    for s in ORDER:
        name = segs.get(s, {"cs": "kcode32", "fs": "", "gs": ""}.get(s, "kdata"))
        out |= loaded(s, name) if name else null(s)
    return out


def saved(cpl: int, eip: int, eflags: int) -> dict[str, Bytes]:
    """The old task's TSS after the switch."""
    old = found("pm32", cpl)
    out: dict[str, Bytes] = {"tssaddr + 0x20": le(eip, 4), "tssaddr + 0x24": le(eflags, 4)}
    out |= {f"tssaddr + {0x28 + 4 * i}": le(old[r], 4) for i, r in enumerate(GPR)}
    out |= {f"tssaddr + {0x48 + 4 * i}": le(old[s], 2) for i, s in enumerate(ORDER)}
    return out


def busy(name: str, yes: bool) -> dict[str, Bytes]:
    return {f"gdt + {SELECTORS[name] & ~7} + 5": bytes([(0x8B if yes else 0x89) if name != "tss16" else 0x83 if yes else 0x81])}


def pointer(sel: int) -> dict[str, Bytes]:
    return {"data + 0x40": le(0xDEAD, 4) + le(sel, 2)}


def switches() -> Iterator[Case]:
    cr0 = found("pm32", 0)["cr0"]
    cr0_: dict[str, Value] = {"cr0": cr0 | TS}
    before = 0xA02 | 0x41
    for cpl, sel in ((0, SELECTORS["tssb"]), (0, SELECTORS["slot0"]), (3, SELECTORS["slot0"] | 3)):
        task_gate = {"gdt + slot0": gate(SELECTORS["tssb"], 0, 0xE5)}
        image: dict[str, Bytes] = {"tssbaddr": tss32(), **pointer(sel), **task_gate}
        after = dict(image) | saved(cpl, AT, before)
        common = {"modes": ("pm32",), "size": 32, "cpl": cpl, "regs": {"eflags": before, "dr7": 0x755}, "tables": True,
                  "twins": False}
        what = "a gate" if sel & ~3 == SELECTORS["slot0"] else "a TSS"
        yield Case(f"jmp to {what} from level {cpl}", "= FF /5m", mem=dict(image),
                   omem=after | busy("tss", False) | busy("tssb", True),
                   out=entered() | cr0_ | {"dr7": 0x600}, oflags="oszapc",
                   **common)
        nested = tss32(link=SELECTORS["tss"])
        yield Case(f"call to {what} from level {cpl}", "= FF /3m", mem=dict(image),
                   omem=after | {"tssbaddr": nested} | busy("tssb", True),
                   out=entered() | cr0_ | {"dr7": 0x600}, oflags="oszapcN", **common)
    direct = {"tssbaddr": tss32(eip=AT + 5), "gdt + slot0": gate(SELECTORS["tssb"], 0, 0xE5)}
    for op, nest in (("EA", ""), ("9A", "N")):
        yield Case("far pointer to a TSS", f"= {op} 00 00 00 00 iw:{SELECTORS['tssb']}", ("pm32",), 32, cpl=0, mem=dict(direct),
                   tables=True,
                   omem=direct | saved(0, AT + 5, 0xA46) | busy("tssb", True) | (busy("tss", False) if not nest
                                                                                else {"tssbaddr": tss32(eip=AT + 5,
                                                                                                        link=SELECTORS["tss"])}),
                   regs={"eflags": 0xA46}, out=entered() | cr0_, oflags="oszapc" + nest, twins=False)
    # INT n and an exception with an error code, through a task gate in the IDT
    image = {"tssbaddr": tss32(), "idt + 8 * 0x40": gate(SELECTORS["tssb"], 0, 0xE5)}
    yield Case("int n to a task", "int 0x40", ("pm32",), cpl=3, regs={"eflags": before}, mem=dict(image), tables=True,
               omem=image | saved(3, AT, before) | {"tssbaddr": tss32(link=SELECTORS["tss"])} | busy("tssb",
                                                                                                     True), out=entered() | cr0_,
               oflags="oszapcN", twins=False)
    image = {"tssbaddr": tss32(eip=AT), "idt + 8 * 13": gate(SELECTORS["tssb"], 0, 0x85)}
    old = saved(3, 0x20400, before | 0x10000)
    old["tssaddr + 0x28"] = le(SELECTORS["kdata"], 4)
    yield Case("#GP to a task: the error code is on its stack", "mov es, eax", ("pm32",), cpl=3,
               regs={"rax": "kdata", "eflags": before},
               mem=dict(image), tables=True, twins=False,
               omem=image | old | {"tssbaddr": tss32(link=SELECTORS["tss"]),
                                   f"{NEW['rsp'] - 4}": le(SELECTORS["kdata"], 4)} | busy("tssb", True),
               out=entered() | cr0_ | {"rsp": NEW["rsp"] - 4}, oflags="oszapcN")
    # IRET with NT goes back along the link
    image = {"tssbaddr": tss32(eip=0x20401), **busy("tssb", True), "tssaddr": le(SELECTORS["tssb"], 2)}
    yield Case("iret to the task before", "= CF", ("pm32",), 32, cpl=0, regs={"eflags": before | NT}, mem=dict(image),
               tables=True, twins=False,
               omem=image | saved(0, 0x20401, before) | busy("tss", False), out=entered() | cr0_, oflags="oszapcn")
    # a task of level 3, and one in virtual-8086 mode
    user = {"tssbaddr": tss32(cs=SELECTORS["ucode32"], ss=SELECTORS["udata"], ds=SELECTORS["udata"], es=0, fs=SELECTORS["ufs"],
                              ldt=SELECTORS["ldtsel"]),
            **pointer(SELECTORS["tssb"])}
    yield Case("to level 3", "= FF /5m", ("pm32",), 32, cpl=0, regs={"eflags": before}, mem=dict(user), tables=True,
               twins=False, oflags="oszapc",
               omem=user | saved(0, AT, before) | busy("tss", False) | busy("tssb", True),
               out=entered(3, cs="ucode32", ss="udata", ds="udata", es="", fs="ufs") | cr0_ | dict(loaded("ldt", "ldtsel")))
    vm = {"tssbaddr": tss32(eip=0x202, eflags=0x23202, cs=0x2020, ss=0x4000, es=0x3001, ds=0x3002, fs=0x3003, gs=0x3004),
          **pointer(SELECTORS["tssb"])}
    yield Case("to virtual-8086 mode", "= FF /5m", ("pm32",), 32, cpl=0, mem=dict(vm), tables=True, twins=False, loose="eflags",
               regs={"eflags": before}, omem=vm | saved(0, AT, before) | busy("tss", False) | busy("tssb", True),
               out={**NEW, "tr": "tssb", "tr_base": 0xE400, "tr_limit": 0x67, "tr_flags": 0x8B00, **null("ldt"), "cpl": 3,
                    "cs": 0x2020, "rip": 0x202,
                    "ss": 0x4000, "es": 0x3001, "ds": 0x3002, "fs": 0x3003, "gs": 0x3004, **cr0_},
               check=lambda s: None if s["eflags"] == 0x23202 else f"flags {s['eflags']:#x}")
    # 16 bits: the upper halves are what the 80386 leaves
    small = {"tss16addr": tss16(), **pointer(SELECTORS["tss16"])}
    yield Case("to a 16-bit task", "= FF /5m", ("pm32",), 32, cpl=0, regs={"eflags": before}, mem=dict(small), tables=True,
               twins=False,
               omem=small | saved(0, AT, before) | busy("tss", False) | busy("tss16", True), oflags="oszapc",
               out={r: 0xFFFF0000 | NEW[r] & 0xFFFF for r in GPR} | {"tr": "tss16", "tr_base": 0xE600, "tr_limit": 0x2B,
                                                                     "tr_flags": 0x8300, "cpl": 0,
                    "rip": 0x402} | null("ldt") | loaded("cs", "kcode16") | loaded("ss", "kdata") | loaded("ds",
                                                                                                           "kdata") | loaded("es", "kdata")
               | null("fs") | null("gs") | cr0_)
    # the debug trap bit
    trap = {"tssbaddr": tss32(trap=1), **pointer(SELECTORS["tssb"])}
    yield Case("the T bit: #DB before the first instruction", "= FF /5m", ("pm32",), 32, cpl=0, mem=dict(trap), tables=True,
               twins=False,
               regs={"eflags": before, "dr6": 0xFFFF0FF0}, omem=trap | saved(0, AT, before) | busy("tss", False) | busy("tssb",
                                                                                                                        True),
               oflags="oszapc", out=entered() | cr0_ | {"dr6": 0xFFFF0FF0 | BT}, fault=Fault(1, ip=AT))


def refusals() -> Iterator[Case]:
    for op, digit in (("jmp", 5), ("call", 3)):
        bad: list[tuple[str, int, dict[str, Bytes], Fault, int]] = [
            ("a busy TSS", SELECTORS["tss"], {}, Fault(13, "tss"), 0),
            ("a TSS of DPL 0 at level 3", SELECTORS["tssb"], {}, Fault(13, "tssb"), 3),
            ("a TSS, RPL 3", SELECTORS["tssb"] | 3, {}, Fault(13, "tssb"), 0),
            ("an absent TSS", SELECTORS["slot0"], {"gdt + slot0": descriptor(0xE400, 0x67, 0x09, 0)}, Fault(11, "slot0"), 0),
            ("a TSS that is too short", SELECTORS["slot0"], {"gdt + slot0": descriptor(0xE400, 0x66, 0x89, 0)},
             Fault(10, "slot0"), 0),
            ("a 16-bit TSS that is too short", SELECTORS["slot0"], {"gdt + slot0": descriptor(0xE600, 0x2A, 0x81, 0)},
             Fault(10, "slot0"), 0),
            ("a task gate to the LDT", SELECTORS["slot0"], {"gdt + slot0": gate(0x0C, 0, 0xE5)}, Fault(13, 0x0C), 0),
            ("a task gate to data", SELECTORS["slot0"], {"gdt + slot0": gate(0x10, 0, 0xE5)}, Fault(13, 0x10), 0),
            ("a task gate to a busy TSS", SELECTORS["slot0"], {"gdt + slot0": gate(SELECTORS["tss"], 0, 0xE5)},
             Fault(13, "tss"), 0),
            ("an absent task gate", SELECTORS["slot0"], {"gdt + slot0": gate(SELECTORS["tssb"], 0, 0x65)}, Fault(11, "slot0"), 0),
            ("a task gate of DPL 0 at level 3", SELECTORS["slot0"], {"gdt + slot0": gate(SELECTORS["tssb"], 0, 0x85)},
             Fault(13, "slot0"), 3),
            ("no page under the TSS", SELECTORS["slot0"], {"gdt + slot0": descriptor(0x33FE0, 0x67, 0x89, 0)},
             Fault(14, 0, 0x33FFC), 0),
        ]
        for what, sel, mem, fault, cpl in bad:
            image = mem | pointer(sel)
            yield Case(f"{op}: {what}", f"= FF /{digit}m", ("pm32",), 32, cpl=cpl, mem=dict(image), omem=dict(image),
                       fault=fault, tables=True,
                       twins=False, loose="cr2")
    yield Case("iret: a link that is not busy", "= CF", ("pm32",), 32, cpl=0, flags="N", fault=Fault(10, "tssb"), tables=True,
               twins=False,
               mem={"tssaddr": le(SELECTORS["tssb"], 2)}, omem={"tssaddr": le(SELECTORS["tssb"], 2)})
    # what is wrong with the new task is the new task's fault
    cr0_: dict[str, Value] = {"cr0": found("pm32", 0)["cr0"] | TS}
    u = {"cs": SELECTORS["ucode32"], "ss": SELECTORS["udata"], "ds": 0, "es": 0}
    wrong: list[tuple[str, dict[str, int], Fault]] = [
        ("CS null", {"cs": 3}, Fault(10, 0, ip=AT)), ("CS data", {"cs": SELECTORS["udata"]}, Fault(10, "udata & ~3", ip=AT)),
        ("CS DPL", {"cs": 8 | 3}, Fault(10, 8, ip=AT)), ("CS absent", {"cs": SELECTORS["absentcode"]},
                                                         Fault(11, "absentcode & ~3", ip=AT)),
        ("CS beyond the GDT", {"cs": 0x20B}, Fault(10, 0x208, ip=AT)),
        ("SS null", {"ss": 3}, Fault(10, 0, ip=AT)), ("SS DPL", {"ss": 0x13}, Fault(10, 0x10, ip=AT)),
        ("SS absent", {"ss": SELECTORS["absentss"]}, Fault(12, "absentss & ~3", ip=AT)),
        ("DS DPL", {"ds": 0x10}, Fault(10, 0x10, ip=AT)), ("DS execute-only", {"ds": SELECTORS["xonly"]},
                                                           Fault(10, "xonly & ~3", ip=AT)),
        ("ES absent", {"es": SELECTORS["absent"]}, Fault(11, "absent & ~3", ip=AT)),
        ("LDT not an LDT", {"ldt": 0x10}, Fault(10, 0x10, ip=AT)), ("LDT in the LDT", {"ldt": 0x0C}, Fault(10, 0x0C, ip=AT)),
        ("EIP beyond the limit", {"cs": SELECTORS["ucodeseg"], "eip": 0x2000}, Fault(13, 0, ip=0x2000)),
    ]
    for what, change, fault in wrong:
        image = {"tssbaddr": tss32(**(u | change)), **pointer(SELECTORS["tssb"])}
        segs = {s: (u | {"fs": 0, "gs": 0} | change)[s] for s in ORDER}
        yield Case(f"the new task: {what}", "= FF /5m", ("pm32",), 32, cpl=0, regs={"eflags": 0x246}, mem=dict(image),
                   tables=True, twins=False,
                   omem=image | saved(0, AT, 0x246) | busy("tss", False) | busy("tssb", True), oflags="oszapc", fault=fault,
                   out={**NEW, **segs, "tr": "tssb", "tr_base": 0xE400, "tr_limit": 0x67, "tr_flags": 0x8B00,
                        "ldt": change.get("ldt", 0), "cpl": 3, **cr0_},
                   loose=" ".join(f"{s}_{k}" for s in ("es", "ds", "fs", "gs", "ldt") for k in ("base", "limit", "flags")))


def cases() -> Iterator[Case]:
    yield from switches()
    yield from refusals()
