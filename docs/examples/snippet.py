"""Runs instructions in 32-bit protected mode, on nothing but the compiled core, and shows what they changed.

    python docs/examples/snippet.py "mov eax, -1; add eax, 2"
    python docs/examples/snippet.py -cpu 486 "cmovc eax, ebx"

GNU as, Intel syntax. Code is at 0x1000, the stack ends at 0x3000, ebx points to 64 bytes of zeros at 0x2000. Ports and
memory above 64 KiB are a device that answers 0x42 and says at which instruction it was asked.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pcemu._core import engine
from pcemu._core.cpumodel import parse_cpu

GDT, IDT, STUBS, CODE, DATA, STACK, SIZE = 0x100, 0x200, 0x400, 0x1000, 0x2000, 0x3000, 0x10000
FLAT_CODE, FLAT_DATA = 0x00CF9B000000FFFF, 0x00CF93000000FFFF
REGISTERS = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
FLAGS = {0: "CF", 2: "PF", 4: "AF", 6: "ZF", 7: "SF", 10: "DF", 11: "OF"}


class Echo:
    """A device: what the core calls has these two methods."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cpu: Any = None  # set when there is one

    def read(self, offset: int, size: int) -> int:
        print(f"{self.name}: read {size} at {offset:#x}, instructions before: {self.cpu.icount}")
        return 0x42

    def write(self, offset: int, size: int, value: int) -> None:
        print(f"{self.name}: write {size} at {offset:#x}: {value:#x}, instructions before: {self.cpu.icount}")


def assemble(text: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        source, obj, binary = (Path(directory, name) for name in ("a.s", "a.o", "a.bin"))
        source.write_text(f".code32\n.intel_syntax noprefix\n{text}\nhlt\n")
        subprocess.run(["as", "--32", "-o", obj, source], check=True)
        link = ["ld", "-m", "elf_i386", "-e", "0", f"-Ttext={CODE:#x}", "--oformat", "binary", "-o", str(binary), str(obj)]
        subprocess.run(link, check=True)
        return binary.read_bytes()


def make(code: bytes, model: str) -> tuple[engine.Memory, engine.Cpu]:
    """A CPU in flat 32-bit mode at the first byte of `code`; each exception ends in a HLT of its own."""
    memory, io, clock = engine.Memory(), engine.IoSpace(), engine.Clock(icount_shift=0)
    ram = memory.alloc("ram", SIZE)
    mmio, ports = Echo("memory"), Echo("ports")
    memory.set_map([(0, SIZE, "ram", ram, 0), (SIZE, SIZE, "mmio", mmio, 0)])
    io.set_map([(0, 0x10000, ports, 0)])
    memory.write(GDT, b"".join(d.to_bytes(8, "little") for d in (0, FLAT_CODE, FLAT_DATA)))
    for vector in range(32):
        memory.st(IDT + 8 * vector, 8, 0x00008E0000080000 | STUBS + vector)
        memory.st(STUBS + vector, 1, 0xF4)
    memory.write(CODE, code)
    cpu = mmio.cpu = ports.cpu = engine.Cpu(memory, io, clock, parse_cpu(model))
    for name, selector, descriptor in (("cs", 8, FLAT_CODE), *((s, 16, FLAT_DATA) for s in ("ds", "es", "ss"))):
        cpu.set(name, selector)
        cpu.set(f"{name}_base", 0)
        cpu.set(f"{name}_limit", 0xFFFFFFFF)
        cpu.set(f"{name}_attr", descriptor >> 32 & 0xF0FF00)
    values = {"gdt_base": GDT, "gdt_limit": 23, "idt_base": IDT, "idt_limit": 255, "cr0": 0x11, "cr4": 0x600}
    for name, value in (values | {"rip": CODE, "esp": STACK, "ebx": DATA}).items():
        cpu.set(name, value)
    return memory, cpu


def main(arguments: list[str]) -> None:
    model = "max"
    if arguments[0] == "-cpu":
        model, arguments = arguments[1], arguments[2:]
    memory, cpu = make(assemble(arguments[0]), model)
    before = {name: cpu.get(name) for name in REGISTERS}
    reason, eip = cpu.run(10_000), cpu.get("rip") - 1
    if STUBS <= eip < STUBS + 32:
        lines = [f"exception {eip - STUBS}"]
    else:
        lines = [f"{reason} after {cpu.icount} instructions"]
    lines += [f"{name} = {cpu.get(name):#x}" for name, old in before.items() if cpu.get(name) != old]
    lines.append("flags: " + (" ".join(name for bit, name in FLAGS.items() if cpu.get("eflags") >> bit & 1) or "none set"))
    data = memory.read(DATA, 64)
    if any(data):
        lines.append(f"data: {data.rstrip(bytes(1)).hex(' ')}")
    stats = cpu.stats() | memory.stats()
    lines.append(", ".join(f"{name} {stats[name]}" for name in ("blocks", "invalidated", "single")))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
