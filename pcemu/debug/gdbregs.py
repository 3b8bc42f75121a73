"""The registers gdb sees: one table, from which the target description, `g`, `G`, `p` and `P` follow.

The names of features and registers are gdb's (gdb manual, appendix G.5.5 'i386 features'); what gdb has no feature for is in
one of our own. The order is that of gdb's default numbering, so that a gdb without XML understands as much of it as it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

CR0_PE = 1
VM86 = 1 << 17
CS_LONG = 1 << 21
EFER_LMA = 1 << 10
MASK32 = (1 << 32) - 1

# type: (bytes, {bit: name}), SDM vol. 1, 3.4.3; vol. 3, 2.2.1 and 2.5; vol. 1, 11.6.4 (MXCSR)
FLAGS: dict[str, dict[int, str]] = {
    "x86_eflags": {0: "CF", 1: "", 2: "PF", 4: "AF", 6: "ZF", 7: "SF", 8: "TF", 9: "IF", 10: "DF", 11: "OF", 14: "NT", 16: "RF",
                   17: "VM", 18: "AC", 19: "VIF", 20: "VIP", 21: "ID"},
    "x86_cr0": {0: "PE", 1: "MP", 2: "EM", 3: "TS", 4: "ET", 5: "NE", 16: "WP", 18: "AM", 29: "NW", 30: "CD", 31: "PG"},
    "x86_cr4": {0: "VME", 1: "PVI", 2: "TSD", 3: "DE", 4: "PSE", 5: "PAE", 6: "MCE", 7: "PGE", 8: "PCE", 9: "OSFXSR",
                10: "OSXMMEXCPT", 11: "UMIP", 12: "LA57", 13: "VMXE", 14: "SMXE", 16: "FSGSBASE", 17: "PCIDE", 18: "OSXSAVE",
                20: "SMEP", 21: "SMAP", 22: "PKE"},
    "x86_efer": {0: "SCE", 8: "LME", 10: "LMA", 11: "NXE", 12: "SVME", 14: "FFXSR"},
    "x86_mxcsr": {0: "IE", 1: "DE", 2: "ZE", 3: "OE", 4: "UE", 5: "PE", 6: "DAZ", 7: "IM", 8: "DM", 9: "ZM", 10: "OM", 11: "UM",
                  12: "PM", 15: "FZ"},
}  # fmt: skip

VECTOR_TYPES = """\
<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>
<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>
<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>
<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/><field name="v16_int8" type="v16i8"/>
<field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/>
<field name="uint128" type="uint128"/></union>
"""

Getter = Callable[[Any], int]
Setter = Callable[[Any, int], None]


@dataclass(frozen=True)
class Reg:
    """One register; values are unsigned integers of `bits` bits."""

    name: str
    bits: int
    type: str
    feature: str
    get: Getter
    set: Setter
    group: str = ""

    def xml(self) -> str:
        group = f' group="{self.group}"' if self.group else ""
        return f'<reg name="{self.name}" bitsize="{self.bits}" type="{self.type}"{group}/>'


def in_long_code(cpu: Any) -> bool:
    """Does 64-bit code run now?"""
    return bool(cpu.get("efer") & EFER_LMA and cpu.get("cs_attr") & CS_LONG)


# ---- how each kind is read and written --------------------------------------------------------------------------------


def _plain(name: str) -> tuple[Getter, Setter]:
    return (lambda cpu: int(cpu.get(name))), (lambda cpu, value: cpu.set(name, value))


def _general(name: str, high: bool = False) -> tuple[Getter, Setter]:
    """Outside 64-bit code the upper halves, and R8 to R15, read as 0 and are not written."""

    def get(cpu: Any) -> int:
        value: int = cpu.get(name)
        return value if in_long_code(cpu) else 0 if high else value & MASK32

    def set_(cpu: Any, value: int) -> None:
        if in_long_code(cpu):
            cpu.set(name, value)
        elif not high:
            cpu.set(name, cpu.get(name) & ~MASK32 | value & MASK32)

    return get, set_


def _pc() -> tuple[Getter, Setter]:
    def get(cpu: Any) -> int:
        value: int = cpu.get("rip")
        return value if in_long_code(cpu) else value & MASK32

    return get, (lambda cpu, value: cpu.set("rip", value if in_long_code(cpu) else value & MASK32))


def _segment(name: str) -> tuple[Getter, Setter]:
    """A selector; writing it loads the segment as the guest would, without its checks."""

    def set_(cpu: Any, value: int) -> None:
        if value == cpu.get(name):
            return
        if not cpu.get("cr0") & CR0_PE or cpu.get("eflags") & VM86:
            base, limit, attr = (value & 0xFFFF) << 4, 0xFFFF, 0xF300 if cpu.get("eflags") & VM86 else 0x9300
        elif value & ~3:
            found = _descriptor(cpu, value)
            if found is None:
                return
            base, limit, attr = found
        else:
            base = limit = attr = 0
        cpu.set(name, value)
        cpu.set(f"{name}_base", base)
        cpu.set(f"{name}_limit", limit)
        cpu.set(f"{name}_attr", attr)
        if name == "cs":
            cpu.set("cpl", attr >> 13 & 3)

    return (lambda cpu: int(cpu.get(name))), set_


def _descriptor(cpu: Any, selector: int) -> tuple[int, int, int] | None:
    """Base, limit and attributes of a selector's descriptor (SDM vol. 3, 3.4.5), None where there is none."""
    table = "ldt" if selector & 4 else "gdt"
    if (selector | 7) > cpu.get(f"{table}_limit"):
        return None
    try:
        low = int.from_bytes(cpu.read_virt(cpu.get(f"{table}_base") + (selector & 0xFFF8), 8), "little")
    except ValueError:
        return None
    high = low >> 32
    limit = low & 0xFFFF | high & 0xF0000
    if high & 1 << 23:
        limit = limit << 12 | 0xFFF
    return low >> 16 & 0xFFFFFF | high & 0xFF000000, limit, high & 0xF0FF00


def _cr8() -> tuple[Getter, Setter]:
    """The task priority, which is in the local APIC where there is one."""

    def get(cpu: Any) -> int:
        hook = cpu.cr8_hook
        return int(hook(None) if hook is not None else cpu.get("cr8"))

    def set_(cpu: Any, value: int) -> None:
        hook = cpu.cr8_hook
        if hook is not None:
            hook(value & 15)
        else:
            cpu.set("cr8", value & 15)

    return get, set_


def _tags() -> tuple[Getter, Setter]:
    """FTW as FSTENV stores it, two bits a register; only empty or not is kept (SDM vol. 1, 8.1.7)."""

    def get(cpu: Any) -> int:
        full: int = cpu.get("ftw")
        value = 0
        for i in range(8):
            value |= (_tag(cpu.get(f"fpr{i}")) if full >> i & 1 else 3) << 2 * i
        return value

    return get, (lambda cpu, value: cpu.set("ftw", sum((value >> 2 * i & 3 != 3) << i for i in range(8))))


def _tag(value: int) -> int:
    """Valid, zero or special."""
    exponent, significand = value >> 64 & 0x7FFF, value & (1 << 64) - 1
    if exponent == 0:
        return 2 if significand else 1
    return 2 if exponent == 0x7FFF or not significand >> 63 else 0


def _x87_part(name: str, bits: int) -> tuple[Getter, Setter]:
    return (lambda cpu: int(cpu.get(name)) & (1 << bits) - 1), (lambda cpu, value: cpu.set(name, value & (1 << bits) - 1))


# ---- the table --------------------------------------------------------------------------------------------------------

CORE = "org.gnu.gdb.i386.core"
SSE = "org.gnu.gdb.i386.sse"
AVX = "org.gnu.gdb.i386.avx"
SEGMENTS = "org.gnu.gdb.i386.segments"
SYSTEM = "pcemu.x86.system"
GPR_64 = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")
GPR_32 = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
# gdb's name: (ours, bits that are kept). gdb has them all 32 bits wide
X87_CONTROL = {"fctrl": ("fcw", 16), "fstat": ("fsw", 16), "ftag": ("", 16), "fiseg": ("fcs", 16), "fioff": ("fip", 32),
               "foseg": ("fds", 16), "fooff": ("fdp", 32), "fop": ("fop", 11)}  # fmt: skip


def _registers(wide: bool, sse: bool, avx: bool) -> Iterator[Reg]:
    size = 64 if wide else 32
    whole = f"int{size}"
    for name in GPR_64 if wide else GPR_32:
        kind = "data_ptr" if name[1:] in ("bp", "sp") else whole
        yield Reg(name, size, kind, CORE, *_general("r" + name[1:]))
    for n in range(8, 16) if wide else ():
        yield Reg(f"r{n}", 64, "int64", CORE, *_general(f"r{n}", high=True))
    yield Reg("rip" if wide else "eip", size, "code_ptr", CORE, *_pc())
    yield Reg("eflags", 32, "x86_eflags", CORE, *_plain("eflags"))
    for name in ("cs", "ss", "ds", "es", "fs", "gs"):
        yield Reg(name, 32, "int32", CORE, *_segment(name))
    for n in range(8):
        yield Reg(f"st{n}", 80, "i387_ext", CORE, *_plain(f"st{n}"))
    for name, (ours, bits) in X87_CONTROL.items():
        yield Reg(name, 32, "int", CORE, *(_x87_part(ours, bits) if ours else _tags()), "float")
    for n in range(16 if wide else 8) if sse else ():
        yield Reg(f"xmm{n}", 128, "vec128", SSE, *_plain(f"xmm{n}"))
    if sse:
        yield Reg("mxcsr", 32, "x86_mxcsr", SSE, *_plain("mxcsr"), "vector")
    for name in ("fs_base", "gs_base") if wide else ():
        yield Reg(name, 64, "int64", SEGMENTS, *_plain(name))
    for n in range(16 if wide else 8) if avx else ():
        yield Reg(f"ymm{n}h", 128, "uint128", AVX, *_plain(f"ymm{n}h"))
    yield from _system(wide, size, whole)


def _system(wide: bool, size: int, whole: str) -> Iterator[Reg]:
    system = (SYSTEM, "system")
    for name in () if wide else ("fs_base", "gs_base"):
        yield Reg(name, size, whole, SYSTEM, *_plain(name), system[1])
    if wide:
        yield Reg("k_gs_base", 64, whole, SYSTEM, *_plain("kernel_gs_base"), "system")
    for name, kind in (("cr0", "x86_cr0"), ("cr2", whole), ("cr3", whole), ("cr4", "x86_cr4")):
        yield Reg(name, size, kind, SYSTEM, *_plain(name), "system")
    if wide:
        yield Reg("cr8", 64, whole, SYSTEM, *_cr8(), "system")
    yield Reg("efer", size, "x86_efer", SYSTEM, *_plain("efer"), "system")


class RegisterFile:
    """The registers of one target: 64 bits wide or 32, with or without SSE and AVX."""

    def __init__(self, wide: bool, sse: bool, avx: bool) -> None:
        self.wide = wide
        self.registers = tuple(_registers(wide, sse, avx))
        self.size = sum(reg.bits for reg in self.registers) // 8

    def read(self, cpu: Any, number: int) -> bytes:
        """Little-endian; IndexError where there is no such register."""
        reg = self.registers[number]
        return (reg.get(cpu) & (1 << reg.bits) - 1).to_bytes(reg.bits // 8, "little")

    def write(self, cpu: Any, number: int, data: bytes) -> None:
        """Set a register; ValueError where `data` is not its size, or it cannot be set."""
        reg = self.registers[number]
        if len(data) != reg.bits // 8:
            raise ValueError(f"{reg.name}: {reg.bits // 8} bytes expected")
        value = int.from_bytes(data, "little")
        if value != reg.get(cpu):
            reg.set(cpu, value)

    def read_all(self, cpu: Any) -> bytes:
        return b"".join(self.read(cpu, number) for number in range(len(self.registers)))

    def write_all(self, cpu: Any, data: bytes) -> None:
        """Control registers first: what segments and general registers mean depends on them."""
        if len(data) < self.size:
            raise ValueError(f"{self.size} bytes expected")
        places = {}
        position = 0
        for number, reg in enumerate(self.registers):
            places[number] = data[position:position + reg.bits // 8]
            position += reg.bits // 8
        for number in sorted(places, key=lambda n: self.registers[n].feature != SYSTEM):
            self.write(cpu, number, places[number])

    def description(self) -> bytes:
        """target.xml."""
        bits = 64 if self.wide else 32
        text = ['<?xml version="1.0"?>\n<!DOCTYPE target SYSTEM "gdb-target.dtd">\n<target version="1.0">\n'
                f"<architecture>{'i386:x86-64' if self.wide else 'i386'}</architecture>\n"]  # fmt: skip
        feature = ""
        for reg in self.registers:
            if reg.feature != feature:
                text.append(("</feature>\n" if feature else "") + f'<feature name="{reg.feature}">\n')
                feature = reg.feature
                used = {reg.type for reg in self.registers if reg.feature == feature}
                text += [_flags_type(name, bits) for name in FLAGS if name in used]
                if feature == SSE:
                    text.append(VECTOR_TYPES)
            text.append(reg.xml() + "\n")
        return "".join([*text, "</feature>\n</target>\n"]).encode()


def _flags_type(name: str, bits: int) -> str:
    size = 4 if name in ("x86_eflags", "x86_mxcsr") else bits // 8
    fields = "".join(f'<field name="{label}" start="{bit}" end="{bit}"/>' for bit, label in FLAGS[name].items())
    return f'<flags id="{name}" size="{size}">{fields}</flags>\n'


@cache
def register_file(wide: bool, sse: bool, avx: bool) -> RegisterFile:
    """Made once for each kind of CPU."""
    return RegisterFile(wide, sse, avx)


def registers_of(model: Any) -> RegisterFile:
    """What a CPU model has: 64-bit registers if it has long mode, whatever mode it is in."""
    return register_file(bool(model.has("lm")), bool(model.has("sse")), bool(model.has("avx")))
