"""Differential rig: the same bytes run natively on this x86-64 host and by the core's handlers, from the same state.

Code sits at CODE and data at DATA, the same linear addresses for both. The native side is a small trampoline that loads every
general register, the flags and the FXSAVE image, runs the snippet and stores them again.
"""
from __future__ import annotations

import ctypes
import mmap
import platform
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pytest

CODE = 0x2000_0000
DATA = 0x2100_0000
STATE = 0x2200_0000
SIZE = 0x10000
SLOT = 64

GPR = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"]
FLAG = {"c": 1, "p": 4, "a": 16, "z": 64, "s": 128, "o": 2048}
ALL_FLAGS = 0x8D5

needs_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the oracle is the host's own processor")


def assemble(lines: list[str], bits: int = 64) -> list[bytes]:
    """Machine code of each line (a line may hold several instructions separated by ';')."""
    src = f".code{bits}\n.intel_syntax noprefix\n" + "".join(f".balign {SLOT}, 0xCC\n{ln}\n.byte 0xF1,0xF1\n" for ln in lines)
    with tempfile.TemporaryDirectory() as d:
        s, o, b = Path(d, "t.s"), Path(d, "t.o"), Path(d, "t.bin")
        s.write_text(src)
        subprocess.run(["as", "--64", "-o", str(o), str(s)], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(o), str(b)], check=True)
        blob = b.read_bytes()
    out = []
    pos = 0
    for _ in lines:
        end = blob.index(b"\xf1\xf1", pos)
        out.append(blob[pos:end])
        pos = (end + 2 + SLOT - 1) // SLOT * SLOT
    return out


@dataclass
class Machine:
    """Registers, flags, FXSAVE image and the data page, before or after."""
    gpr: list[int] = field(default_factory=lambda: [0] * 16)
    flags: int = 2
    fx: bytes = b""
    data: bytes = b""


def _map(addr: int, prot: int) -> ctypes.Array[ctypes.c_char]:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    got = libc.mmap(addr, SIZE, prot, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10, -1, 0)
    assert got == addr, "the rig's fixed addresses are taken"
    return (ctypes.c_char * SIZE).from_address(addr)


class Native:
    """Run snippets on the host."""
    FX = 0x200
    SNIP = 0x1000

    def __init__(self) -> None:
        self.code = _map(CODE, 7)
        self.data = _map(DATA, 3)
        self.state = _map(STATE, 3)
        s = STATE
        load = "".join(f"mov {r}, [{s + 8 * i}]\n" for i, r in enumerate(GPR) if r != "rsp")
        store = "".join(f"mov [{s + 8 * i}], {r}\n" for i, r in enumerate(GPR))
        # the snippet is entered by a jump and returns by a jump appended to it
        src = (f"push rbx; push rbp; push r12; push r13; push r14; push r15; mov [{s + 0x100}], rsp\n"
               f"fxsave64 [{s + 0x800}]\nfxrstor64 [{s + self.FX}]\npush [{s + 0x80}]\npopfq\n{load}mov rsp, [{s + 8 * 4}]\n"
               f"jmp [{s + 0x108}]\n")
        back = (f"{store}mov rsp, [{s + 0x100}]\npushfq\npop [{s + 0x80}]\ncld\nfxsave64 [{s + self.FX}]\nfninit\nfxrstor64 [{s + 0x800}]\n"
                "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx\nret\n")
        a, b = self._asm(src), self._asm(back)
        self.code[0:len(a)] = a
        self.back = CODE + 0x800
        self.code[0x800:0x800 + len(b)] = b
        jmp = self._asm(f"jmp [{s + 0x110}]")
        self.jmp = jmp
        self.entry = ctypes.CFUNCTYPE(None)(CODE)

    @staticmethod
    def _asm(src: str) -> bytes:
        with tempfile.TemporaryDirectory() as d:
            s, o, b = Path(d, "t.s"), Path(d, "t.o"), Path(d, "t.bin")
            s.write_text(".intel_syntax noprefix\n" + src + "\n")
            subprocess.run(["as", "--64", "-o", str(o), str(s)], check=True)
            subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(o), str(b)], check=True)
            return b.read_bytes()

    def run(self, code: bytes, m: Machine) -> Machine:
        w = self.state
        for i, v in enumerate(m.gpr):
            w[8 * i:8 * i + 8] = v.to_bytes(8, "little")
        w[0x80:0x88] = (m.flags | 0x202).to_bytes(8, "little")
        w[self.FX:self.FX + 512] = m.fx
        snip = CODE + self.SNIP
        w[0x108:0x110] = snip.to_bytes(8, "little")
        w[0x110:0x118] = self.back.to_bytes(8, "little")
        full = code + self.jmp
        self.code[self.SNIP:self.SNIP + len(full)] = full
        self.data[0:len(m.data)] = m.data
        self.entry()
        out = Machine([int.from_bytes(w[8 * i:8 * i + 8], "little") for i in range(16)],
                      int.from_bytes(w[0x80:0x88], "little"), bytes(w[self.FX:self.FX + 512]), bytes(self.data[0:len(m.data)]))
        return out


class Emulated:
    """Run the same snippets by the handlers: 64-bit mode, CPL 0, identity-mapped."""

    def __init__(self, cpu: str = "max") -> None:
        from pcemu._core import cpumodel
        from pcemu._core.engine import Clock, CpuCore, IoSpace, Memory
        self.mem = Memory()
        off = self.mem.alloc("ram", 0x100000)
        self.mem.set_map([(0, 0x80000, "ram", off, 0), (CODE, SIZE, "ram", off, 0x80000), (DATA, SIZE, "ram", off, 0x90000)])
        self.cpu = c = CpuCore(self.mem, IoSpace(), Clock(0), cpumodel.parse_cpu(cpu))
        self.mem.write(0x10000, (0x11003).to_bytes(8, "little"))
        self.mem.write(0x11000, (0x12003).to_bytes(8, "little"))
        for i in range(512):
            self.mem.write(0x12000 + 8 * i, (i << 21 | 0x83).to_bytes(8, "little"))
        for s in ("cs", "ds", "es", "ss"):
            c.set(s + "_limit", 0xFFFFFFFF)
            c.set(s + "_base", 0)
            c.set(s + "_attr", 0xAF9B00 if s == "cs" else 0xCF9300)
        c.set("cr3", 0x10000)
        c.set("cr4", 0x6A0)
        c.set("efer", 0x500)
        c.set("cr0", 0x80000013)
        c.set("idt_limit", 0)
        self.mem.write(CODE, b"\xf4" * SIZE)

    def run_to_stop(self, code: bytes, m: Machine) -> Machine | None:
        """As run(), until a breakpoint set with cpu.set_breakpoints()."""
        return self.run(code, m, 1 << 20, "breakpoint")

    def run(self, code: bytes, m: Machine, count: int = 1, want: str = "budget") -> Machine | None:
        """The state after `count` instructions, or None when one faulted."""
        c = self.cpu
        at = CODE + Native.SNIP
        self.mem.write(at, code)
        self.mem.write(DATA, m.data)
        for r, v in zip(GPR, m.gpr, strict=True):
            c.set(r, v)
        c.set("eflags", m.flags | 0x202)
        if m.fx is not FRESH_FX:            # integer snippets leave it alone
            load_fx(c, m.fx)
        c.set("rip", at)
        why = c.run(count)
        if why != want:
            c.halted = False
            return None
        return Machine([c.get(r) for r in GPR], c.get("eflags"), dump_fx(c, m.fx) if m.fx is not FRESH_FX else m.fx,
                       self.mem.read(DATA, len(m.data)))


def load_fx(c: object, fx: bytes) -> None:
    """The registers of an FXSAVE image (SDM vol. 1, table 10-2) into the emulated CPU."""
    g = int.from_bytes
    c.set("fcw", g(fx[0:2], "little"))
    c.set("fsw", g(fx[2:4], "little"))
    c.set("ftw", fx[4])
    c.set("fop", g(fx[6:8], "little"))
    c.set("fip", g(fx[8:16], "little"))
    c.set("fdp", g(fx[16:24], "little"))
    c.set("mxcsr", g(fx[24:28], "little"))
    for i in range(8):
        c.set(f"st{i}", g(fx[32 + 16 * i:42 + 16 * i], "little"))
    for i in range(16):
        c.set(f"xmm{i}", g(fx[160 + 16 * i:176 + 16 * i], "little"))


def dump_fx(c: object, before: bytes) -> bytes:
    b = bytearray(before)
    b[0:2] = c.get("fcw").to_bytes(2, "little")
    b[2:4] = c.get("fsw").to_bytes(2, "little")
    b[4] = c.get("ftw")
    b[24:28] = c.get("mxcsr").to_bytes(4, "little")
    for i in range(8):
        b[32 + 16 * i:42 + 16 * i] = c.get(f"st{i}").to_bytes(10, "little")
    for i in range(16):
        b[160 + 16 * i:176 + 16 * i] = c.get(f"xmm{i}").to_bytes(16, "little")
    return bytes(b)


def fresh_fx() -> bytes:
    """FNINIT's state, the default MXCSR."""
    return FRESH_FX


FRESH_FX = (0x37F).to_bytes(2, "little") + bytes(22) + (0x1F80).to_bytes(4, "little") + bytes(484)


@lru_cache(maxsize=1)
def native() -> Native:
    return Native()


@lru_cache(maxsize=4)
def emulated(cpu: str = "max") -> Emulated:
    return Emulated(cpu)


def flag_mask(undefined: str) -> int:
    return ALL_FLAGS & ~sum(FLAG[f] for f in undefined)


def differences(text: str, before: Machine, a: Machine, b: Machine, undefined: str = "", fp: bool = False) -> str | None:
    """What differs between native (a) and emulated (b), or None."""
    out = [f"{r}: native {x:#x}, emulated {y:#x}" for r, x, y in zip(GPR, a.gpr, b.gpr, strict=True) if x != y]
    mask = flag_mask(undefined) | 0x400
    if (a.flags ^ b.flags) & mask:
        out.append(f"flags: native {a.flags & mask:#x}, emulated {b.flags & mask:#x}")
    if a.data != b.data:
        i = next(k for k in range(len(a.data)) if a.data[k] != b.data[k])
        out.append(f"data+{i:#x}: native {a.data[i:i + 16].hex()}, emulated {b.data[i:i + 16].hex()}")
    if fp:
        for lo, hi, name in [(0, 2, "fcw"), (2, 4, "fsw"), (4, 5, "ftw"), (24, 28, "mxcsr")] \
                + [(32 + 16 * i, 42 + 16 * i, f"st{i}") for i in range(8)] + [(160 + 16 * i, 176 + 16 * i, f"xmm{i}") for i in range(16)]:
            if a.fx[lo:hi] != b.fx[lo:hi]:
                out.append(f"{name}: native {a.fx[lo:hi][::-1].hex()}, emulated {b.fx[lo:hi][::-1].hex()}")
    if not out:
        return None
    regs = " ".join(f"{r}={v:#x}" for r, v in zip(GPR, before.gpr, strict=True) if v)
    return f"{text}\n  before: {regs} flags={before.flags:#x} data={before.data[:32].hex()}\n  " + "\n  ".join(out)
