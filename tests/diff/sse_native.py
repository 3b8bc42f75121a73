"""The same machine code on the host and in the emulated CPU: one instruction between FXRSTOR and FXSAVE, over many states.

A snippet becomes a loop over an array of states, in 64-bit or in compatibility mode. The very same bytes run natively through
ctypes and as ring 0 code in a machine of RAM and CPU only. Exceptions are caught in both: the vector goes into the state.
"""
from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcemu._core.cpumodel import parse_cpu
from pcemu._core.engine import Clock, CpuCore, IoSpace, Memory

STATE = np.dtype({
    "names": ["fcw", "fsw", "ftw", "mxcsr", "st", "xmm", "out_fcw", "out_fsw", "out_ftw", "out_mxcsr", "out_st", "out_xmm",
              "gpr", "flags", "out_gpr", "out_flags", "fault", "mem", "area", "image", "out_image", "ymmh", "out_ymmh"],
    "formats": ["u2", "u2", "u1", "u4", ("u1", (8, 16)), ("u1", (16, 16)), "u2", "u2", "u1", "u4", ("u1", (8, 16)),
                ("u1", (16, 16)), ("u8", 4), "u8", ("u8", 4), "u8", "u8", ("u1", 64), ("u1", 1024), ("u1", 512),
                ("u1", 512), ("u1", (16, 16)), ("u1", (16, 16))],
    "offsets": [0, 2, 4, 24, 32, 160, 512, 514, 516, 536, 544, 672, 1024, 1056, 1088, 1120, 1128, 1152, 1280, 0, 512, 2304, 2560],
    "itemsize": 2816,
})
OUTPUTS = ("out_fcw", "out_fsw", "out_ftw", "out_mxcsr", "out_xmm", "out_ymmh", "out_gpr", "fault", "mem", "area")
ARITH = 0x8D5
CODE, STATES, STACK = 0x100000, 0x200000, 0x90000
RAM = 0x2000000
HOST_STATES = 0x1000000

# rdi: states, rsi: their number, rdx: top of a stack below 4 GiB, rcx and r8: selectors of 32-bit and 64-bit code.
# The state in work is at r15 (64-bit) or rbp (compatibility mode), where to go on after a fault in r13.
PROLOGUE = """
    push rbx; push rbp; push r12; push r13; push r14; push r15
    mov r15, rdi
    mov r14, rsi
    lea r13, [rip + 2f]
1:  fxrstor64 [r15]
{load}
    mov rax, [r15 + 1024]; mov rcx, [r15 + 1032]; mov rdx, [r15 + 1040]; mov rbx, [r15 + 1048]
    lea rsi, [r15 + 1152]; lea rdi, [r15 + 1152]
    push qword ptr [r15 + 1056]
    popfq
"""
EPILOGUE = """
2:  pushfq
    pop qword ptr [r15 + 1120]
    mov [r15 + 1088], rax; mov [r15 + 1096], rcx; mov [r15 + 1104], rdx; mov [r15 + 1112], rbx
    cld
    fxsave64 [r15 + 512]
{store}
    add r15, 2816
    dec r14
    jnz 1b
    pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx
    ret
"""
PROLOGUE32 = """
    push rbx; push rbp; push r12; push r13; push r14; push r15
    lea r13, [rip + 2f]
    mov r12, rsp
    mov eax, ss; mov ds, eax; mov es, eax
    mov ebp, edi
    mov rsp, rdx
    push r8; push rsi; push rcx
    lea rax, [rip + 1f]
    push rax
    retfq
.code32
1:  fxrstor [ebp]
{load}
    mov eax, [ebp + 1024]; mov ecx, [ebp + 1032]; mov edx, [ebp + 1040]; mov ebx, [ebp + 1048]
    lea esi, [ebp + 1152]; lea edi, [ebp + 1152]
    push dword ptr [ebp + 1056]
    popfd
"""
EPILOGUE32 = """
2:  pushfd
    pop dword ptr [ebp + 1120]
    mov [ebp + 1088], eax; mov [ebp + 1096], ecx; mov [ebp + 1104], edx; mov [ebp + 1112], ebx
    cld
    fxsave [ebp + 512]
{store}
    add ebp, 2816
    dec dword ptr [esp]
    jnz 1b
    push dword ptr [esp + 8]
    call 3f
3:  add dword ptr [esp], offset 4f - 3b
    retf
.code64
4:  mov rsp, r12
    pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx
    ret
"""


def host_flags() -> set[str]:
    """What Linux says the host's processor has."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((set(line.split()[2:]) for line in lines if line.startswith("flags")), set())


@dataclass
class Snippet:
    """One assembled loop: its source line and where it lies in the batch's code."""
    text: str
    offset: int


class Batch:
    """Snippets assembled together, ready to run on both sides."""
    host_states = 0

    def __init__(self, texts: list[str], tmp: Path, cpu: str = "max", bits: int = 64, avx: bool = False) -> None:
        self.bits = bits
        before, after = (PROLOGUE, EPILOGUE) if bits == 64 else (PROLOGUE32, EPILOGUE32)
        here, n = ("r15", 16) if bits == 64 else ("ebp", 8)
        load = [f"vinsertf128 ymm{i}, ymm{i}, [{here} + {2304 + 16 * i}], 1" for i in range(n)] if avx else []
        store = [f"vextractf128 [{here} + {2560 + 16 * i}], ymm{i}, 1" for i in range(n)] + ["vzeroupper"] if avx else []
        before, after = before.format(load="\n".join(load)), after.format(store="\n".join(store))
        source = [".intel_syntax noprefix", ".text"]
        for i, text in enumerate(texts):
            source += [f".balign 16\nsnippet_{i}:", before, text, after]
        vectors = []
        for v in range(32):
            has_err = v in (8, 10, 11, 12, 13, 14, 17)
            vectors.append(f".balign 32\nvector_{v}: mov qword ptr [{'r15' if bits == 64 else 'rbp'} + 1128], {v}\n"
                           f"lea rsp, [rsp + {8 if has_err else 0}]\nmov [rsp], r13\niretq")
        source += vectors
        path = tmp / "batch.s"
        path.write_text("\n".join(source) + "\n")
        obj, binary = tmp / "batch.o", tmp / "batch.bin"
        subprocess.run(["as", "--64", "-o", obj, path], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", obj, binary], check=True)
        self.code = binary.read_bytes()
        names = subprocess.run(["nm", obj], check=True, capture_output=True, text=True).stdout
        symbols = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines()}
        self.snippets = [Snippet(t, symbols[f"snippet_{i}"]) for i, t in enumerate(texts)]
        self.vectors = [symbols[f"vector_{v}"] for v in range(32)]
        path = tmp / "native.so"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", path, Path(__file__).with_name("native.c")], check=True)
        lib = ctypes.CDLL(str(path))
        self.run_native = lib.run_native
        self.run_native.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_uint64] * 2
        lib.low_memory.restype = ctypes.c_void_p
        lib.low_memory.argtypes = [ctypes.c_size_t]
        self.base = self._low_memory(lib, len(self.code))
        ctypes.memmove(self.base, self.code, len(self.code))
        if not Batch.host_states:               # one for all: there is a gigabyte of such memory, and nobody gives it back
            Batch.host_states = self._low_memory(lib, HOST_STATES)
        self.boot(cpu)
        if avx:
            self.cpu.set("xcr0", 7)

    @staticmethod
    def _low_memory(lib: ctypes.CDLL, size: int) -> int:
        place: int | None = lib.low_memory(size)
        if place is None:
            raise MemoryError(f"no {size} bytes below 4 GiB")
        return place

    def boot(self, cpu: str) -> None:
        """A 64-bit machine of RAM and CPU: identity-mapped, the code, an IDT whose handlers store their vector."""
        self.memory = Memory()
        self.ram = self.memory.alloc("ram", RAM)
        self.memory.set_map([(0, RAM, "ram", self.ram, 0)])
        self.cpu: Any = CpuCore(self.memory, IoSpace(), Clock(), parse_cpu(cpu))
        write, c = self.memory.write, self.cpu
        write(0x3000, (0x4003).to_bytes(8, "little"))
        write(0x4000, (0x5003).to_bytes(8, "little"))
        for i in range(RAM >> 21):
            write(0x5000 + 8 * i, ((i << 21) | 0x83).to_bytes(8, "little"))
        for i, d in enumerate((0, 0x00209B0000000000, 0x00CF93000000FFFF, 0x00CF9B000000FFFF)):
            write(0x1000 + 8 * i, d.to_bytes(8, "little"))
        for v, at in enumerate(self.vectors):
            addr = CODE + at
            gate = (addr & 0xFFFF) | 8 << 16 | 0x8F00 << 32 | (addr >> 16 & 0xFFFF) << 48 | (addr >> 32) << 64
            write(0x2000 + 16 * v, gate.to_bytes(16, "little"))
        write(CODE, self.code)
        write(0x8000, b"\xf4")
        for name, value in (("gdt_base", 0x1000), ("gdt_limit", 31), ("idt_base", 0x2000), ("idt_limit", 511), ("cr3", 0x3000),
                            ("cr4", 0x40620), ("efer", 0x500), ("cr0", 0x80000033)):
            c.set(name, value)
        for seg in ("cs", "ss", "ds", "es"):
            c.set(seg, 8 if seg == "cs" else 16)
            c.set(f"{seg}_base", 0)
            c.set(f"{seg}_limit", 0xFFFFFFFF)
            c.set(f"{seg}_attr", 0xA09B00 if seg == "cs" else 0xC09300)

    def host(self, snippet: Snippet, states: NDArray[Any]) -> NDArray[Any]:
        assert states.nbytes <= HOST_STATES
        ctypes.memmove(self.host_states, states.tobytes(), states.nbytes)
        self.run_native(self.base + snippet.offset, self.host_states, len(states), self.bits)
        return np.frombuffer(ctypes.string_at(self.host_states, states.nbytes), STATE).copy()

    def guest(self, snippet: Snippet, states: NDArray[Any]) -> NDArray[Any]:
        c = self.cpu
        assert STATES + states.nbytes <= RAM
        self.memory.write(STATES, states.tobytes())
        self.memory.write(STACK - 8, (0x8000).to_bytes(8, "little"))
        for name, value in (("rsp", STACK - 8), ("rdi", STATES), ("rsi", len(states)), ("rdx", STACK - 4096), ("rcx", 0x18),
                            ("r8", 8), ("rip", CODE + snippet.offset), ("eflags", 2)):
            c.set(name, value)
        c.halted = False
        why = c.run(250 * len(states) + 1000)
        assert why == "halted", (snippet.text, why, hex(c.get("rip")))
        return np.frombuffer(self.memory.read(STATES, states.nbytes), STATE).copy()

    def differences(self, snippet: Snippet, states: NDArray[Any], flags: int = ARITH, skip: tuple[str, ...] = ()) -> list[str]:
        """What differs between the two runs, a line each (the first few)."""
        a, b = self.host(snippet, states), self.guest(snippet, states)
        bad = np.zeros(len(states), bool)
        for name in OUTPUTS:
            if name not in skip:
                d = a[name] != b[name]
                bad |= d.reshape(len(states), -1).any(axis=1)
        bad |= (a["out_st"][:, :, :10] != b["out_st"][:, :, :10]).any(axis=(1, 2))
        ok = (a["fault"] == 0) & (b["fault"] == 0)
        bad |= ok & ((a["out_flags"] & flags) != (b["out_flags"] & flags))
        return [describe(snippet.text, states[i], a[i], b[i], flags) for i in np.nonzero(bad)[0][:3]]


def describe(text: str, s: Any, a: Any, b: Any, flags: int) -> str:
    def reg(v: Any) -> str:
        return bytes(v)[::-1].hex()
    out = [f"{text}: mxcsr {s['mxcsr']:x} xmm0 {reg(s['xmm'][0])} xmm1 {reg(s['xmm'][1])} xmm2 {reg(s['xmm'][2])} mm0 {reg(s['st'][0][:8])} "
           f"mm1 {reg(s['st'][1][:8])} mem {reg(s['mem'][:32])} gpr {[hex(v) for v in s['gpr']]} "
           f"fsw {s['fsw']:x} fcw {s['fcw']:x}"]
    for name in OUTPUTS:
        x, y = np.atleast_1d(a[name]), np.atleast_1d(b[name])
        for i in range(len(x)):
            if np.any(x[i] != y[i]):
                show = reg if x.ndim > 1 else hex
                out.append(f"    {name}[{i}] host {show(x[i])} guest {show(y[i])}")
    for i in range(8):
        if (a["out_st"][i][:10] != b["out_st"][i][:10]).any():
            out.append(f"    st{i} host {reg(a['out_st'][i][:10])} guest {reg(b['out_st'][i][:10])}")
    if (a["out_flags"] ^ b["out_flags"]) & flags:
        out.append(f"    flags host {a['out_flags'] & flags:x} guest {b['out_flags'] & flags:x}")
    return "\n".join(out)


# --------------------------------------------------------------------------------------------------- operands

F32 = [0, 0x80000000, 1, 0x80000001, 0x7FFFFF, 0x807FFFFF, 0x800000, 0x80800000, 0x800001, 0x3F800000, 0xBF800000, 0x3F800001,
       0x3F7FFFFF, 0x40000000, 0x3F000000, 0xBF000000, 0x3FC00000, 0x40200000, 0x4B000000, 0x4B000001, 0xCB000001, 0x4EFFFFFF,
       0x4F000000, 0xCF000000, 0xCF000001, 0x5F000000, 0xDF000000, 0x5EFFFFFF, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000,
       0x7FC00000, 0xFFC00000, 0x7FC12345, 0xFFC54321, 0x7F800001, 0xFF812345, 0x7FBFFFFF, 0x34000000, 0x33800000, 0x01000000,
       0x00400000, 0x1F800000, 0x20000000, 0x60000000]
F64 = [0, 1 << 63, 1, 1 << 63 | 1, (1 << 52) - 1, 1 << 52, 1 << 63 | 1 << 52, (1 << 52) + 1, 0x3FF0000000000000,
       0xBFF0000000000000, 0x3FF0000000000001, 0x3FEFFFFFFFFFFFFF, 0x4000000000000000, 0x3FE0000000000000, 0xBFE0000000000000,
       0x3FF8000000000000, 0x4004000000000000, 0x41DFFFFFFFC00000, 0x41DFFFFFFFE00000, 0x41E0000000000000, 0xC1E0000000000000,
       0xC1E0000000100000, 0xC1E0000000200000, 0x43E0000000000000, 0xC3E0000000000000, 0x43DFFFFFFFFFFFFF, 0x7FEFFFFFFFFFFFFF,
       0xFFEFFFFFFFFFFFFF, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8123456789ABC,
       0x7FF0000000000001, 0xFFF4000000000000, 0x3810000000000000, 0x380FFFFFFFFFFFFF, 0x36A0000000000000, 0x3690000000000000,
       0x380FFFFFF0000000, 0x47EFFFFFE0000000, 0x47EFFFFFF0000000, 0x3FF0000010000000, 0x0008000000000000, 0x4330000000000001]


def floats(rng: np.random.Generator, n: int, width: int) -> NDArray[Any]:
    """n vectors of 16 bytes of special, near-special and random floats."""
    per = 128 // width
    special = np.array(F32 if width == 32 else F64, f"u{width // 8}")
    v = special[rng.integers(0, len(special), (n, per))]
    kind = rng.integers(0, 8, (n, per))
    rand = rng.integers(0, 1 << 63, (n, per), dtype="u8").astype(v.dtype) * v.dtype.type(2)
    rand += rng.integers(0, 2, (n, per)).astype(v.dtype)
    v = np.where(kind < 2, rand, v)
    # numbers of like size, so that sums cancel and quotients round
    mant = 23 if width == 32 else 52
    one = v.dtype.type((127 if width == 32 else 1023) << mant)
    near = one + (rand & v.dtype.type((4 << mant) - 1)) - v.dtype.type(2 << mant) | rand & v.dtype.type(1 << (width - 1))
    v = np.where(kind == 2, near, v)
    tiny = (rand & v.dtype.type((1 << mant + 1) - 1)) | rand & v.dtype.type(1 << (width - 1))
    return np.where(kind == 3, tiny, v).view("u1").reshape(n, 16)


def integers(rng: np.random.Generator, n: int) -> NDArray[Any]:
    """n vectors of bytes: random, with runs of extremes and equal elements."""
    v = rng.integers(0, 256, (n, 16), dtype="u1")
    edge = np.array([0, 1, 0x7F, 0x80, 0x81, 0xFE, 0xFF], "u1")
    return np.where(rng.integers(0, 3, (n, 16)) == 0, edge[rng.integers(0, len(edge), (n, 16))], v)


def states(rng: np.random.Generator, n: int, kind: str) -> NDArray[Any]:
    """n random states; kind: 'int', 'ps', 'pd' fills the vector, MMX and memory operands."""
    def vec() -> NDArray[Any]:
        return integers(rng, n) if kind == "int" else floats(rng, n, 32 if kind == "ps" else 64)
    s = np.zeros(n, STATE)
    s["fcw"] = 0x37F
    s["mxcsr"] = 0x1F80
    for i in range(16):
        s["xmm"][:, i] = vec()
        s["ymmh"][:, i] = vec()
    same = rng.integers(0, 8, n) == 0
    s["xmm"][same, 1] = s["xmm"][same, 0]
    for i in range(8):
        s["st"][:, i, :8] = vec()[:, :8]
        s["st"][:, i, 8:10] = rng.integers(0, 256, (n, 2))
    s["ftw"] = rng.integers(0, 256, n)
    s["fsw"] = rng.integers(0, 8, n) << 11
    for i in range(4):
        s["mem"][:, 16 * i:16 * i + 16] = vec()
    s["gpr"] = rng.integers(0, 1 << 63, (n, 4), dtype="u8") * np.uint64(2)
    small = rng.integers(0, 4, (n, 4)) == 0
    s["gpr"][small] = rng.integers(0, 20, small.sum())
    s["flags"] = 0x202 | rng.integers(0, 1 << 12, n) & ARITH
    return s
