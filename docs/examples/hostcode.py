"""Runs a loop in 32-bit protected mode and shows it three times: guest bytes, decoded ops, host code.

    python docs/examples/hostcode.py "mov ecx, 100; 1: add eax, [ebx]; dec ecx; jnz 1b"

Needs capstone and an x86-64 host. The loop begins at label 1. In the host's code, what lies in the Cpu structure has its name.
"""

from __future__ import annotations

import re
import sys

import capstone
import snippet

# Cpu fields by their displacement from r14, which points to the structure's byte 128 (emit.pxd)
FIELDS = {0x10: "cc_res", 0x18: "cc_src", 0x20: "cc_kind", 0x28: "budget", 0x30: "tlb_r", 0x38: "tlb_w", 0x50: "jckey",
          0x60: "pgpc", 0x70: "group0", 0x78: "group1"}  # fmt: skip


def named(operands: str) -> str:
    return re.sub(r"\[r14 \+ (0x[0-9a-f]+)\]", lambda m: f"[{FIELDS.get(int(m[1], 16), m[1])}]", operands)


def main(text: str) -> None:
    code = snippet.assemble(text)
    memory, cpu = snippet.make(code, "max")
    if not cpu.enable_jit(heat=4):
        raise SystemExit("hostcode: no compiled code on this host")
    cpu.run(10_000)
    start = snippet.CODE + len(snippet.assemble(text.partition("1:")[0])) - 1
    guest = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)
    print("guest:")
    for pc, length, handler in cpu.block_ops(start):
        insn = next(guest.disasm(memory.read(pc, length), pc))
        print(f"  {pc:#x}  {insn.bytes.hex(' '):18} {insn.mnemonic + ' ' + insn.op_str:24} {handler}")
    _, host_code = cpu.compiled_code()
    print("host:")
    for insn in capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64).disasm(host_code, 0):
        target = insn.op_str if not insn.op_str.startswith("0x") else f"{int(insn.op_str, 16) & 0xFFFFFFFF:#x}"
        print(f"  {insn.address:4x}  {insn.mnemonic} {named(target)}")
        if insn.mnemonic == "jmp" and insn.address:
            break


if __name__ == "__main__":
    main(sys.argv[1])
