"""The small machine: sets a processor up in one of the modes, runs a snippet, and says what state it left.

A snippet ends at a HLT. At CPL 0 the processor halts there; elsewhere the HLT is a #GP(0) whose saved eip points at it. An
exception runs into the handler of its vector, which is a HLT too; what the snippet's level looked like is then taken from the
frame the exception pushed, so that one comparison serves both ends.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from . import layout as lay
from .layout import MODES, SELECTORS, Mode

GPR = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"]
SEGS = ["es", "cs", "ss", "ds", "fs", "gs"]
HAS_ERROR_CODE = {8, 10, 11, 12, 13, 14, 17}
ARITH = 0x8D5
LIMIT = 4096                # instructions a snippet may take

# what is neither part of a snippet's result nor to be put back
NOT_STATE = {"rf_icount", "a20_mask", "tsc_offset", "tsc_adjust", "interrupt_shadow", "is_halted", "dr6_pending"}
NOT_COMPARED = {"fop", "fip", "fdp", "fcs", "fds", "nmi_blocked"}


class Device:
    """On the ports at layout.PORTS and in memory at layout.MMIO: reads as 0xA0 + offset for every byte, keeps a log."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int, int, int]] = []

    def read(self, offset: int, size: int) -> int:
        v = int.from_bytes(bytes((0xA0 + offset + i) & 0xFF for i in range(size)), "little")
        self.log.append(("r", offset, size, v))
        return v

    def write(self, offset: int, size: int, value: int) -> None:
        self.log.append(("w", offset, size, value))


@dataclass
class Outcome:
    """Where a snippet ended ('done', 'fault', or why the run stopped otherwise) and the state there."""
    how: str
    state: dict[str, int]
    vector: int = -1
    error: int | None = None
    loose: set[str] = field(default_factory=set)        # not known after an exception


def _attr(access: int, flags: int) -> int:
    return access << 8 | flags << 20


def _limit(limit: int, flags: int) -> int:
    return limit << 12 | 0xFFF if flags & 8 else limit


def segment(state: dict[str, int], name: str, sel: int, base: int, limit: int, flags: int) -> None:
    state[name] = sel
    state[name + "_base"] = base
    state[name + "_limit"] = limit
    state[name + "_flags"] = flags


def from_gdt(state: dict[str, int], name: str, entry: str) -> None:
    _sel, base, limit, access, flags = lay.DESCRIPTORS[entry]
    segment(state, name, SELECTORS[entry], base, _limit(limit, flags), _attr(access, flags))


def pointers(mode: Mode) -> dict[str, int]:
    """Offsets, as the mode's registers hold them, of the places snippets use; and addresses of tables."""
    high = lay.HIGH if mode.bits == 64 else 0
    out = {"data": lay.DATA - mode.data + high, "hole": lay.HOLE - mode.data + high, "ro": lay.READONLY - mode.data + high,
           "sup": lay.SUPERVISOR - mode.data + high, "stack": lay.STACK - mode.stack, "code": lay.CODE - mode.code,
           "guard": lay.STACK_SEG + 0x1000 - mode.stack, "high": high, "mmio": lay.MMIO - mode.data,
           "database": mode.data, "codebase": mode.code, "stackbase": mode.stack,
           "fsdata": 0, "gsdata": 0, "W": mode.bits // 8, "bits": mode.bits}
    return out | COMMON


def physical() -> dict[str, int]:
    """The same places as physical addresses."""
    out = {"data": lay.DATA, "hole": lay.HOLE, "ro": lay.READONLY, "sup": lay.SUPERVISOR, "stack": lay.STACK, "code": lay.CODE,
           "guard": lay.STACK_SEG + 0x1000, "mmio": lay.MMIO, "fsdata": lay.FS_SEG, "gsdata": lay.GS_SEG}
    return out | COMMON


COMMON = SELECTORS | {
    "gdt": lay.GDT, "ldt": lay.LDT, "idt": lay.IDT, "idt64": lay.IDT64, "tssaddr": lay.TSS, "tss64addr": lay.TSS64,
    "tssbaddr": lay.TSS_B, "tss16addr": lay.TSS16, "pd": lay.PD, "pt": lay.PT, "pdpt": lay.PDPT, "paepd": lay.PAE_PD,
    "paept": lay.PAE_PT, "pml4": lay.PML4, "pdpt64": lay.PDPT64, "pd64": lay.PD64, "kstack": lay.KSTACK, "ist": lay.IST,
    "handlers": lay.HANDLERS, "entry": lay.HANDLERS + 0x140, "ivthandlers": lay.IVT_HANDLERS, "port": lay.PORTS, "realstackseg": lay.STACK_SEG >> 4,
    "realdataseg": lay.DATA_SEG >> 4, "realcodeseg": lay.CODE_SEG >> 4}


def baseline(names: list[str], reset: dict[str, int], mode: Mode, cpl: int) -> dict[str, int]:
    """Every register as a snippet of this mode and level finds it."""
    s = dict(reset)
    at = pointers(mode)
    pattern = (1 << mode.bits if mode.bits == 64 else 1 << 32) - 1
    for i, r in enumerate(GPR):
        s[r] = 0x1122334455667788 * (2 * i + 3) & pattern if i < 8 or mode.bits == 64 else 0
    s |= {"rsp": at["stack"], "rbp": at["stack"] + 0x100, "rsi": at["data"] + 0x80, "rdi": at["data"] + 0x40, "rip": at["code"]}
    for i in range(16):
        s[f"xmm{i}"] = int.from_bytes(bytes((37 * i + 11 * k + 5) & 0xFF for k in range(16)), "little")
        s[f"ymm{i}h"] = int.from_bytes(bytes((53 * i + 7 * k + 3) & 0xFF for k in range(16)), "little")
    s |= {"fcw": 0x37F, "fsw": 0, "ftw": 0, "mxcsr": 0x1F80, "xcr0": 3, "cpl": cpl, "dr7": 0x400,
          "gdt_base": lay.GDT, "gdt_limit": lay.GDT_LIMIT, "apic_base": 0xFEE00900}
    for i in range(8):
        s[f"fpr{i}"] = (0x4000 + i) << 64 | 1 << 63 | 0x0123456789ABCD * (i + 1)
    s["eflags"] = 0x202 | (0x23000 if mode.vm else 0)
    s["cr0"] = 0x32
    s["cr4"] = 0x40600
    s["efer"] = 0
    from_gdt(s, "ldt", "ldtsel")
    if mode.long:
        segment(s, "tr", SELECTORS["tss"], lay.TSS64, 0x168, 0x8B00)
        s["idt_base"], s["idt_limit"] = lay.IDT64, 0xFFF
    elif mode.real:
        s["idt_base"], s["idt_limit"] = 0, 0x3FF
        segment(s, "ldt", 0, 0, 0xFFFF, 0x8200)
        segment(s, "tr", 0, 0, 0xFFFF, 0x8B00)
    else:
        from_gdt(s, "tr", "tss")
        s["idt_base"], s["idt_limit"] = lay.IDT, 0x7FF
    if mode.real or mode.vm:
        for n, base in (("cs", mode.code), ("ss", mode.stack), ("ds", mode.data), ("es", mode.data), ("fs", lay.FS_SEG), ("gs", lay.GS_SEG)):
            segment(s, n, base >> 4, base, 0xFFFF, 0xF300 if mode.vm else 0x9B00 if n == "cs" else 0x9300)
    else:
        which = "uk"[cpl == 0]
        code, stack, data = (which + n for n in mode.segments)
        if cpl == 3 and mode.name == "pm32s":
            raise ValueError("pm32s runs at CPL 0")
        for n, entry in (("cs", code), ("ss", stack), ("ds", data), ("es", data), ("fs", "ufs"), ("gs", "ugs")):
            from_gdt(s, n, entry)
        if mode.bits == 64:
            segment(s, "fs", 0, lay.FS_SEG + lay.HIGH, 0, 0)
            segment(s, "gs", 0, lay.GS_SEG + lay.HIGH, 0, 0)
    if not mode.real:
        s["cr0"] |= 1
    if mode.paging:
        s["cr0"] |= 0x80010000
        s["cr3"] = {"32": lay.PD, "pae": lay.PDPT, "long": lay.PML4}[mode.paging]
        if mode.paging == "long":
            s["efer"] = 0xD00
        if mode.paging != "32":
            s["cr4"] |= 0x20
        if mode.paging == "pae":
            s["pdpte0"] = lay.PAE_PD | 1
            s["efer"] = 0x800
    return s


class AsmMachine:
    """One processor of the given model in its megabyte."""

    def __init__(self, spec: str = "max", without: str = "") -> None:
        from pcemu._core import cpumodel
        from pcemu._core.engine import Clock, CpuCore, IoSpace, Memory
        model = cpumodel.parse_cpu(spec)
        if without:
            model = dataclasses.replace(model, features=model.features - {without})
        self.mem: Any = Memory(1 << 32, 16 << 20)
        off = self.mem.alloc("ram", lay.RAM_SIZE)
        self.device = Device()
        self.mem.set_map([(0, lay.MMIO, "ram", off, 0), (lay.MMIO, 0x1000, "mmio", self.device, 0),
                          (lay.MMIO + 0x1000, lay.RAM_SIZE - lay.MMIO - 0x1000, "ram", off, lay.MMIO + 0x1000)])
        io = IoSpace()
        io.set_map([(lay.PORTS, 16, self.device, 0)])
        self.cpu: Any = CpuCore(self.mem, io, Clock(0), model)
        self.image = lay.image()
        self.names = [n for n in state_names() if n not in NOT_STATE]
        self.reset_state = {n: self.cpu.get(n) for n in self.names}
        self.known: dict[str, int] = dict(self.reset_state)
        self._base: dict[tuple[str, int], dict[str, int]] = {}
        self.restore_all()

    def restore_all(self) -> None:
        """Everything in memory as new, for a start or after a snippet went astray."""
        self.mem.write(0, self.image[:lay.MMIO])

    def base(self, mode: str, cpl: int | None = None) -> dict[str, int]:
        m = MODES[mode]
        key = (mode, m.cpl if cpl is None else cpl)
        if key not in self._base:
            self._base[key] = baseline(self.names, self.reset_state, m, key[1])
        return self._base[key]

    # ---------------------------------------------------------------------------------------------- running

    def load(self, state: dict[str, int]) -> None:
        """Bring the processor into this state; only what differs is touched."""
        cpu, known = self.cpu, self.known
        cpu.halted = False
        flush = False
        for n, v in state.items():
            if known[n] != v:
                cpu.set(n, v)
                known[n] = v
                flush = flush or n.startswith("pdpte")
        cpu.set("interrupt_shadow", 0)
        cpu.set("dr6_pending", 0)
        cpu.set("eflags", state["eflags"])
        if flush:
            cpu.set("pdpte0", state["pdpte0"])

    def flush(self) -> None:
        """Forget translations: the page tables were written from outside."""
        self.cpu.set("cr3", self.known["cr3"])

    def read_state(self) -> dict[str, int]:
        get = self.cpu.get
        self.known = {n: get(n) for n in self.names}
        return self.known

    def execute(self, mode: str, single: bool = False) -> Outcome:
        """Run from the state loaded until the snippet ends."""
        cpu = self.cpu
        self.device.log.clear()
        if single:
            why = "budget"
            for _ in range(LIMIT):
                why = cpu.run(1)
                if why != "budget":
                    break
        else:
            why = cpu.run(LIMIT)
        state = dict(self.read_state())
        if why != "halted":
            return Outcome(why, state)
        if state["cr0"] & 1 == 0:
            return self._real_end(state)
        return self._protected_end(state)

    def _real_end(self, state: dict[str, int]) -> Outcome:
        if state["cs"] != lay.IVT_HANDLERS >> 4 or state["rip"] - 1 > 0xFF:
            state["rip"] -= 1
            return Outcome("done", state)
        sp = state["rsp"] & 0xFFFF
        f = [self.mem.ld(state["ss_base"] + (sp + 2 * i & 0xFFFF), 2) for i in range(3)]
        vector = state["rip"] - 1
        self._unwind(state, f[0], f[1], state["eflags"] & ~0xFFFF | f[2])
        state["rsp"] = state["rsp"] & ~0xFFFF | sp + 6 & 0xFFFF
        return Outcome("fault", state, vector, None, {"cs_base"})

    @staticmethod
    def _unwind(state: dict[str, int], rip: int, cs: int, eflags: int) -> None:
        state["rip"], state["cs"], state["eflags"] = rip, cs, eflags

    def _protected_end(self, state: dict[str, int]) -> Outcome:
        if not lay.HANDLERS < state["rip"] <= lay.HANDLERS + 0x100 or state["cpl"]:
            state["rip"] -= 1
            return Outcome("done", state)
        vector = state["rip"] - 1 - lay.HANDLERS
        wide = 8 if state["efer"] & 0x400 else 4
        sp = state["rsp"]
        error = None
        base = 0 if wide == 8 else state["ss_base"]

        def pop() -> int:
            nonlocal sp
            v = self.mem.ld(base + sp, wide)
            sp += wide
            return int(v)

        if vector in HAS_ERROR_CODE:
            error = pop()
        rip, cs, flags = pop(), pop() & 0xFFFF, pop()
        self._unwind(state, rip, cs, flags)
        loose = {"cs_base", "cs_limit", "cs_flags"}
        if wide == 8 or cs & 3 or flags & 0x20000:
            state["rsp"] = pop()
            state["ss"] = pop() & 0xFFFF
            loose |= {"ss_base", "ss_limit", "ss_flags"}
            if flags & 0x20000:
                for n in ("es", "ds", "fs", "gs"):
                    state[n] = pop() & 0xFFFF
                    loose |= {n + "_base", n + "_limit", n + "_flags"}
        else:
            state["rsp"] = sp
        state["cpl"] = 3 if flags & 0x20000 else cs & 3
        out = Outcome("fault", state, vector, error, loose)
        if vector == 13 and error == 0 and state["cpl"] and self._is_hlt(state):
            out.how = "done"
            state["eflags"] &= ~0x10000             # RF: the HLT's own
        return out

    def _is_hlt(self, state: dict[str, int]) -> bool:
        """Does the saved eip point at a HLT?"""
        rip = state["rip"]
        if state["eflags"] & 0x20000:
            rip += state["cs"] << 4
        elif state["cs"] & ~3 in (SELECTORS["kcode16"], SELECTORS["ucode16"] & ~3):
            rip += lay.CODE_SEG
        return rip < lay.RAM_SIZE and self.mem.read(rip, 1) == b"\xf4"


@lru_cache(maxsize=1)
def state_names() -> list[str]:
    from pcemu._core.isa.state_table import STATE
    skip = {"fsw_raw", "ftop", "ftag"}
    return ([n for n, *_ in STATE if n not in skip] + ["eflags", "fsw", "ftw"] + [f"xmm{i}" for i in range(16)]
            + [f"ymm{i}h" for i in range(16)] + [f"fpr{i}" for i in range(8)])


@lru_cache(maxsize=64)
def machine(spec: str = "max", without: str = "") -> AsmMachine:
    return AsmMachine(spec, without)
