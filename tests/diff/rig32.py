"""The differential rig for 32-bit code: compatibility mode on the host, and a 32-bit code segment in the emulated CPU."""
from __future__ import annotations

import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from .rig import CODE, DATA, STATE, Emulated, Machine, Native, native

GPR32 = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"]
MASK = 0xFFFFFFFF
USER32_CS, USER_DS = 0x23, 0x2B        # Linux' selectors on x86-64
ENTRY, LOAD, BACK, RETURN = CODE + 0x4000, CODE + 0x4800, CODE + 0x5000, CODE + 0x5800
SNIP = CODE + 0x6000


def assemble32(lines: list[str]) -> list[bytes]:
    """Machine code of each line as 32-bit code."""
    src = ".code32\n.intel_syntax noprefix\n" + "".join(f".balign 64, 0xCC\n{ln}\n.byte 0xF1,0xF1\n" for ln in lines)
    return _split(_assemble(src, 32), len(lines))


def _split(blob: bytes, n: int) -> list[bytes]:
    out, pos = [], 0
    for _ in range(n):
        end = blob.index(b"\xf1\xf1", pos)
        out.append(blob[pos:end])
        pos = (end + 2 + 63) // 64 * 64
    return out


def _assemble(src: str, bits: int) -> bytes:
    with tempfile.TemporaryDirectory() as d:
        s, o, b = Path(d, "t.s"), Path(d, "t.o"), Path(d, "t.bin")
        s.write_text(src)
        subprocess.run(["as", f"--{bits}", "-o", str(o), str(s)], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(o), str(b)], check=True)
        return b.read_bytes()


class Native32:
    """Far transfer into a 32-bit code segment, the snippet, and back."""

    def __init__(self) -> None:
        self.host: Native = native()
        s = STATE
        intel = ".intel_syntax noprefix\n"
        enter = (f"push rbx; push rbp; push r12; push r13; push r14; push r15; mov [{s + 0x100}], rsp\nfxsave64 [{s + 0x800}]\n"
                 f"mov eax, ds; push rax; mov eax, es; push rax; mov [{s + 0x100}], rsp\n"
                 f"mov eax, {USER_DS}; mov ds, eax; mov es, eax\n"
                 f"mov rsp, {DATA + 0x8000}\nmov eax, {USER32_CS}; push rax; mov eax, {LOAD:#x}; push rax\nretfq\n")
        load = (f"fxrstor [{s + Native.FX}]\nmov esp, {DATA + 0x8000}\npush dword ptr [{s + 0x80}]\npopfd\n"
                + "".join(f"mov {r}, [{s + 8 * i}]\n" for i, r in enumerate(GPR32)) + f"jmp [{s + 0x108}]\n")
        store = ("".join(f"mov [{s + 8 * i}], {r}\n" for i, r in enumerate(GPR32))
                 + f"mov esp, {DATA + 0x8000}\npushfd\npop dword ptr [{s + 0x80}]\ncld\nfxsave [{s + Native.FX}]\n"
                 f".byte 0xea\n.long {RETURN:#x}\n.word 0x33\n")
        back = (f"mov rsp, [{s + 0x100}]\nfninit\nfxrstor64 [{s + 0x800}]\npop rax; mov es, eax; pop rax; mov ds, eax\n"
                "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx\nret\n")
        for at, text, bits in ((ENTRY, enter, 64), (LOAD, load, 32), (BACK, store, 32), (RETURN, back, 64)):
            code = _assemble(intel + text, bits)
            self.host.code[at - CODE:at - CODE + len(code)] = code
        self.jump = _assemble(f"{intel}jmp [{s + 0x110}]\n", 32)
        from ctypes import CFUNCTYPE
        self.entry = CFUNCTYPE(None)(ENTRY)

    def run(self, code: bytes, m: Machine) -> Machine:
        w, data = self.host.state, self.host.data
        for i, v in enumerate(m.gpr[:8]):
            w[8 * i:8 * i + 8] = (v & MASK).to_bytes(8, "little")
        w[0x80:0x88] = (m.flags | 0x202).to_bytes(8, "little")
        w[Native.FX:Native.FX + 512] = m.fx
        w[0x108:0x110] = SNIP.to_bytes(8, "little")
        w[0x110:0x118] = BACK.to_bytes(8, "little")
        full = code + self.jump
        self.host.code[SNIP - CODE:SNIP - CODE + len(full)] = full
        data[0:len(m.data)] = m.data
        self.entry()
        return Machine([int.from_bytes(w[8 * i:8 * i + 4], "little") for i in range(8)] + [0] * 8,
                       int.from_bytes(w[0x80:0x88], "little"), bytes(w[Native.FX:Native.FX + 512]), bytes(data[0:len(m.data)]))


class Emulated32(Emulated):
    """The same state in a 32-bit code segment of a long-mode CPU: compatibility mode."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu.set("cs_attr", 0xCF9B00)

    def run(self, code: bytes, m: Machine, count: int = 1, want: str = "budget") -> Machine | None:
        m.gpr = [v & MASK for v in m.gpr[:8]] + [0] * 8
        out = super().run(code, m, count, want)
        if out is not None:
            out.gpr = [v & MASK for v in out.gpr[:8]] + [0] * 8
        return out


@lru_cache(maxsize=1)
def native32() -> Native32:
    return Native32()


@lru_cache(maxsize=1)
def emulated32() -> Emulated32:
    return Emulated32()
