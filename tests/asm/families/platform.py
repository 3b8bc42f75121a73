"""Ports, caches and TLB, counters, random numbers, CPUID and model-specific registers (SDM vol. 2; MSRs: vol. 4)."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import ALL, Case, Fault, Value, regname
from ..layout import MODES, PORTS, le
from ..sysdefs import LONG, found, privileged

MODES0 = ("real", "pm16", "pm32", "compat", "long64")
USER = ("vm86", "pm16", "pm32", "compat", "long64")


def cpl0(mode: str) -> int | None:
    return None if mode == "real" else 0


def everywhere(name: str, code: str, **more: object) -> Iterator[Case]:
    yield Case(name, code, ALL, **more)


def ports() -> Iterator[Case]:
    """The device reads as A0 + offset for every byte; a bitmap in the TSS admits its first 8 ports to level 3."""
    for mode in ALL:
        for n in (8, 16, 32):
            w = n // 8
            wide = n > 8
            size = n if n > 8 else 0
            v = int.from_bytes(bytes(0xA2 + i for i in range(w)), "little")
            a = regname("a", n)
            full = {"modes": (mode,), "size": size}
            common = full | {"regs": {"rdx": PORTS + 2}}
            out = found(mode)["rax"] & (1 << n) - 1
            for imm in (True, False):
                op_in, op_out = (0xE4 + wide, 0xE6 + wide) if imm else (0xEC + wide, 0xEE + wide)
                tail = f" ib:{PORTS + 2}" if imm else ""
                yield Case("in", f"= {op_in:02X}{tail}", out={a: v}, io=(("r", 2, w, v),),
                           **common)
                yield Case("out", f"= {op_out:02X}{tail}", io=(("w", 2, w, out),),
                           **common)
            if n == 32 and MODES[mode].bits == 64:      # REX.W changes nothing
                yield Case("in, REX.W", ".byte 0x48,0xED", (mode,), regs={"rdx": PORTS + 2}, out={"eax": v},
                           io=(("r", 2, 4, v),), size=64)
                yield Case("in, REX.W", f".byte 0x48,0xE5,{PORTS + 2}", (mode,), out={"eax": v}, io=(("r", 2, 4, v),), size=64)
                yield Case("out, REX.W", ".byte 0x48,0xEF", (mode,), regs={"rdx": PORTS + 2}, io=(("w", 2, 4, out),), size=64)
                yield Case("out, REX.W", f".byte 0x48,0xE7,{PORTS + 2}", (mode,), io=(("w", 2, 4, out),), size=64)
            if mode in ("vm86", "pm32", "compat", "long64"):
                refused: list[tuple[str, int]] = [("not admitted", PORTS + 8), ("beyond the bitmap", 0xFFFF)]
                if w > 1:
                    refused += [("half admitted", PORTS + 7)]
                for what, port in refused:
                    for op in (0xEC + wide, 0xEE + wide):
                        yield Case(f"port {what}", f"= {op:02X}", regs={"rdx": port}, fault=Fault(13), io=(),
                                   **full)
                if mode != "vm86":
                    yield Case("IOPL 3", f"= {0xEC + wide:02X}", regs={"rdx": PORTS + 8, "eflags": 0x3202},
                               out={a: int.from_bytes(bytes(0xA8 + i for i in range(w)),
                                                      "little")}, **full)
    yield Case("a TSS too short for a bitmap", "in al, dx", ("pm32",), regs={"rdx": PORTS, "tr_limit": 0x67}, fault=Fault(13),
               io=())
    yield Case("the port's number has 16 bits", "in al, dx", ("real",), regs={"rdx": 0xFFFF0000 | PORTS}, out={"al": 0xA0},
               io=(("r", 0, 1, 0xA0),))


def caches() -> Iterator[Case]:
    for mode in MODES0:
        cpl = cpl0(mode)
        for name, code, feat in (("invd", "invd", "i486"), ("wbinvd", "wbinvd", "i486"),
                                 ("wbnoinvd", ".byte 0xF3,0x0F,0x09", "")):
            yield Case(name, code, (mode,), cpl=cpl, priv=True, feat=feat)
        yield Case("invlpg", "= 0F 01 /7m", (mode,), cpl=cpl, priv=True, feat="i486", regs={"rdi": "hole"})
        yield Case("invpcid", "= 66 - 0F 38 82 /2m", (mode,), 32, msize=16, cpl=cpl, priv=mode != "real", feat="invpcid",
                   access="r",
                   regs={"rdx": 2}, mem={"data + 0x40": bytes(16)}, omem={"data + 0x40": bytes(16)})
        if mode == "long64":
            yield Case("invpcid, REX.W", ".byte 0x66,0x48,0x0F,0x38,0x82,0x17", (mode,), 64, msize=16, cpl=cpl, regs={"rdx": 0},
                       mem={"data + 0x40": bytes(16)}, omem={"data + 0x40": bytes(16)})
        for what, kind, data in (("type 4", 4, bytes(16)), ("reserved bits", 1, le(0x1000, 16)),
                                 ("a PCID without CR4.PCIDE", 1, le(5, 16))):
            yield Case(f"invpcid: {what}", "= 66 - 0F 38 82 /2m", (mode,), 32, msize=16, cpl=cpl, regs={"rdx": kind},
                       fault=Fault(13),
                       mem={"data + 0x40": data}, omem={"data + 0x40": data})
    yield Case("invpcid, not canonical", "= 66 - 0F 38 82 /2m", LONG, 32, cpl=0, regs={"rdx": 0}, fault=Fault(13),
               mem={"data + 0x40": bytes(8) + le(1 << 47, 8)}, omem={"data + 0x40": bytes(8) + le(1 << 47, 8)})
    for code in ("invd", "wbinvd", ".byte 0xF3,0x0F,0x09", "= 0F 01 /7m", "= 66 - 0F 38 82 /2m"):
        yield from privileged(code, size=32 if "38" in code else 0, modes=("vm86",))
        yield Case("lock", f".byte 0xF0\n{code}", ("vm86",), 32 if "38" in code else 0, fault=Fault(6), twin="lock-ud")
    for code in ("= 0F 01 /7m", "= 66 - 0F 38 82 /2m"):
        yield Case("feature", code, ("vm86",), 32 if "38" in code else 0, fault=Fault(6), twin="feat",
                   without="invpcid" if "38" in code else "i486")
    yield Case("invd, feature", "invd", ("vm86",), fault=Fault(6), twin="feat", without="i486")
    # a stale translation: the page table changes under it
    for mode, table, size in (("pm32", "pt", 4), ("compat", "paept", 8), ("long64", "paept", 8)):
        entry = f"{table} + {size} * (0x31000 >> 12)"
        yield Case("invlpg forgets a translation", f"mov eax, [%DI]\nmov ebx, %{{{entry}}}\nmov dword ptr [%BX], 0x32007\n"
                   "invlpg [%DI]\nmov eax, [%DI]", (mode,), cpl=0, regs={"rdi": "data"}, out={"eax": 0x5A5A5A5A,
                                                                                              "ebx": entry}, tables=True,
                   mem={"data + 0x1000": b"\x5a" * 4}, omem={"data + 0x1000": b"\x5a" * 4}, twins=False)
    yield from everywhere("lfence", "lfence", feat="sse2")
    yield from everywhere("mfence", "mfence", feat="sse2")
    yield from everywhere("sfence", "sfence", feat="sse")
    yield from everywhere("lfence, another ModRM", ".byte 0x0F,0xAE,0xEB")
    for name, code in (("clflush", "= 0F AE /7m"), ("clflushopt", "= 66 - 0F AE /7m"), ("clwb", "= 66 - 0F AE /6m")):
        yield from everywhere(name, code, size=0 if name == "clflush" else 32, msize=1, access="r")


def counters() -> Iterator[Case]:
    def counted(s: dict[str, int]) -> str | None:
        return None if s["rdx"] == 0 and 0 < s["rax"] < 1 << 32 else f"edx:eax {s['rdx']:#x}:{s['rax']:#x}"

    for mode in ALL:
        yield Case("rdtsc", "rdtsc", (mode,), loose="rax rdx", check=counted, feat="tsc")
        yield Case("rdtscp", "rdtscp", (mode,), loose="rax rdx", regs={"tsc_aux": 0x1234}, out={"ecx": 0x1234}, check=counted,
                   feat="rdtscp")
        for code in ("rdtsc", "rdtscp"):
            cpl = MODES[mode].cpl
            if cpl:
                yield Case(f"{code}, TSD", code, (mode,), regs={"cr4": "cr4 | 4"}, fault=Fault(13))
            else:
                yield Case(f"{code}, TSD at level 0", code, (mode,), regs={"cr4": "cr4 | 4"}, loose="rax rcx rdx")
        yield Case("rdpmc", "rdpmc", (mode,), fault=Fault(13), twin="runs")
        yield Case("rdpmc", ".byte 0xF0\nrdpmc", (mode,), fault=Fault(6), twin="lock-ud")
        yield Case("rdpmc", "rdpmc", (mode,), fault=Fault(6), twin="feat", without="i686")
        for n in (32, 64) if MODES[mode].bits == 64 else (32,):
            wide = n == 64 or MODES[mode].bits == 64
            yield Case("rdpid", f".byte 0xF3{',0x48' if n == 64 else ''},0x0F,0xC7,0xF9", (mode,), n,
                       regs={"tsc_aux": 0x87654321},
                       out={"rcx" if wide else "ecx": 0x87654321}, feat="rdpid")
        for n in (16, 32, 64) if MODES[mode].bits == 64 else (16, 32):
            for name, digit in (("rdrand", 6), ("rdseed", 7)):

                def random(s: dict[str, int], n: int = n) -> str | None:
                    return None if n == 16 or (s["rdx"] >> n == 0 and s["rdx"]) else f"rdx {s['rdx']:#x}"

                yield Case(name, f"= 0F C7 /{digit}d", (mode,), n, loose="rdx", oflags="oszapC", check=random, feat=name)


def identification() -> Iterator[Case]:
    from pcemu._core.cpumodel import parse_cpu
    for cpu in ("max", "Haswell"):
        model = parse_cpu(cpu)
        for leaf, sub in ((0, 0), (1, 0), (2, 0), (7, 0), (7, 1), (0xB, 0), (0xB, 3), (0xD, 0), (0xD, 1), (0x30, 0),
                          (0x40000000, 0),
                          (0x40000010, 0), (0x80000000, 0), (0x80000001, 0), (0x80000002, 0), (0x80000008, 0), (0x80001000, 0)):
            a, b, c, d = model.cpuid(leaf, sub)
            if leaf == 1:
                c |= 1 << 27                    # the small machine has CR4.OSXSAVE set
            for mode in ALL:
                d_ = d
                if leaf == 0x80000001 and cpu == "Haswell" and MODES[mode].bits != 64:
                    d_ &= ~(1 << 11)            # Intel shows SYSCALL in 64-bit mode only
                yield Case(f"cpuid {leaf:#x} {sub}", "cpuid", (mode,), regs={"eax": leaf, "ecx": sub}, cpu=cpu,
                           feat="i486" if leaf == 1 else "",
                           out={"eax": a, "ebx": b, "ecx": c, "edx": d_}, twins=leaf == 1 and cpu == "max")
    yield Case("cpuid without a local APIC", "cpuid", LONG, regs={"eax": 1, "ecx": 0, "apic_base": 0xFEE00100},
               loose="rax rbx rcx rdx",
               check=lambda s: "the APIC bit is set" if s["rdx"] >> 9 & 1 else None)
    for mode in ("real", "pm16"):
        yield Case("cpuid without OSXSAVE", "cpuid", (mode,), regs={"eax": 1, "ecx": 0, "cr4": "cr4 & ~0x40000"},
                   loose="rax rbx rcx rdx",
                   check=lambda s: "the OSXSAVE bit is set" if s["rcx"] >> 27 & 1 else None)


# number, field, a value that fits, values that do not
MSRS: list[tuple[int, str, int, tuple[int, ...]]] = [
    (0x174, "sysenter_cs", 0x10, (1 << 32,)), (0x175, "sysenter_esp", 0xFFFF888812345678, (1 << 47,)),
    (0x176, "sysenter_eip", 0xFFFF888812345678, (1 << 63,)),
    (0x277, "pat", 0x0007040600070406, (2, 3 << 8, 8 << 56)), (0x2FF, "mtrr_def", 0xC06, (1 << 12, 0x100)),
    (0x200, "mtrr_var0", 0xC0000006, (0x100, 1 << 40)), (0x201, "mtrr_var1", 0xFFC0000800, (0x400, 1 << 40)),
    (0x250, "mtrr_fix0", 0x0606060606060606, ()), (0x26F, "mtrr_fix10", 0x0505050505050505, ()),
    (0xC0000081, "star", 0x0023001012345678, ()), (0xC0000082, "lstar", 0xFFFFFFFF81000000, (1 << 47,)),
    (0xC0000083, "cstar", 0xFFFFFFFF81000000, (1 << 47,)), (0xC0000084, "sfmask", 0x47700, (1 << 32,)),
    (0xC0000102, "kernel_gs_base", 0xFFFF888812345678, (1 << 47,)), (0xC0000103, "tsc_aux", 0xABCD, (1 << 32,)),
    (0x48, "spec_ctrl", 1, (8,)), (0x1D9, "debugctl", 2, (1 << 20,)),
]


def msrs() -> Iterator[Case]:
    from pcemu._core.isa.state_table import STATE
    fields = {row[0] for row in STATE}
    for mode in MODES0:
        cpl = cpl0(mode)
        common = {"modes": (mode,), "cpl": cpl}
        first = True
        for number, field, v, bad in MSRS:
            if field not in fields:
                continue
            halves: dict[str, Value] = {"eax": v & 0xFFFFFFFF, "edx": v >> 32}
            yield Case(f"wrmsr {field}", "wrmsr", regs=halves | {"ecx": number}, out={field: v}, priv=first,
                       feat="msr" if first else "",
                       twins=first, **common)
            yield Case(f"rdmsr {field}", "rdmsr", regs={"ecx": number, field: v}, out=dict(halves), priv=first,
                       feat="msr" if first else "",
                       twins=first, **common)
            first = False
            for b in bad:
                yield Case(f"wrmsr {field}: {b:#x}", "wrmsr", regs={"eax": b & 0xFFFFFFFF, "edx": b >> 32, "ecx": number},
                           fault=Fault(13),
                           **common)
        for number in (0x99, 0xC0000080 - 1, 0xC0000104, 0xFFFFFFFF):
            for code in ("rdmsr", "wrmsr"):
                yield Case(f"{code} {number:#x}: none", code, regs={"ecx": number}, fault=Fault(13),
                           **common)
        for number in (0xFE, 0x10A, 0x179):
            yield Case("wrmsr: read-only", "wrmsr", regs={"ecx": number}, fault=Fault(13),
                       **common)
        yield Case("rdmsr MTRRCAP", "rdmsr", regs={"ecx": 0xFE}, out={"eax": 0x508, "edx": 0},
                   **common)
        # EFER
        old = found(mode, cpl)["efer"]
        yield Case("wrmsr EFER", "wrmsr", regs={"ecx": 0xC0000080, "eax": old ^ 1, "edx": 0}, out={"efer": old ^ 1},
                   **common)
        yield Case("LMA is read-only", "wrmsr", regs={"ecx": 0xC0000080, "eax": old ^ 0x400, "edx": 0}, out={"efer": old},
                   **common)
        yield Case("EFER: reserved", "wrmsr", regs={"ecx": 0xC0000080, "eax": old | 2, "edx": 0}, fault=Fault(13),
                   **common)
        if MODES[mode].paging:
            yield Case("LME while paging", "wrmsr", regs={"ecx": 0xC0000080, "eax": old ^ 0x100, "edx": 0}, fault=Fault(13),
                       **common)
    for code in ("rdmsr", "wrmsr"):
        yield from privileged(code, modes=("vm86",))
        yield Case(code, f".byte 0xF0\n{code}", ("vm86",), fault=Fault(6), twin="lock-ud")
        yield Case(code, code, ("vm86",), fault=Fault(6), twin="feat", without="msr")
    yield Case("wrmsr FS_BASE", "wrmsr", LONG, cpl=0, regs={"ecx": 0xC0000100, "eax": 0x12345678, "edx": 0x7FFF},
               out={"fs_base": 0x7FFF12345678})
    yield Case("rdmsr GS_BASE", "rdmsr", LONG, cpl=0, regs={"ecx": 0xC0000101, "gs_base": 0xFFFF800000001234},
               out={"eax": 0x1234, "edx": 0xFFFF8000})
    yield Case("a feature's MSR without it", "rdmsr", LONG, cpl=0, regs={"ecx": 0xC0000103}, fault=Fault(13), cpu="qemu64")


def waiting() -> Iterator[Case]:
    for mode in MODES0:
        cpl = cpl0(mode)
        yield Case("monitor", "monitor", (mode,), cpl=cpl, regs={"rax": "data + 0x40", "rcx": 0}, feat="monitor")
        yield Case("monitor, extensions", "monitor", (mode,), cpl=cpl, regs={"rax": "data + 0x40", "rcx": 1}, fault=Fault(13))
        yield Case("mwait without monitor goes on", "mwait", (mode,), cpl=cpl, regs={"rcx": 0}, feat="monitor")
        yield Case("mwait waits", "monitor\nmwait", (mode,), cpl=cpl, regs={"rax": "data + 0x40", "rcx": 0},
                   out={"rip": "end - 1"}, twins=False)
        yield Case("mwait: the line has changed", "monitor\nmov [%DI], cl\nmwait", (mode,), cpl=cpl,
                   regs={"rax": "data + 0x40", "rcx": 0},
                   m=0x55, om=0, msize=1, twins=False)
        yield Case("mwait, extensions", "mwait", (mode,), cpl=cpl, regs={"rcx": 2}, fault=Fault(13))
    for mode in USER:
        for code in ("monitor", "mwait"):
            yield Case(f"{code} at level 3", code, (mode,), cpl=None if mode == "vm86" else 3, fault=Fault(6), twin="runs")
            if mode == "vm86":
                yield Case(code, f".byte 0xF0\n{code}", (mode,), fault=Fault(6), twin="lock-ud")
                yield Case(code, code, (mode,), fault=Fault(6), twin="feat", without="monitor")


def cases() -> Iterator[Case]:
    yield from ports()
    yield from caches()
    yield from counters()
    yield from identification()
    yield from msrs()
    yield from waiting()
