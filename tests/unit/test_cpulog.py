"""-d in_asm and int: every instruction is reported, the first ones of handlers too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from loader_images import elf32, multiboot_header

from pcemu._core.cpumodel import parse_cpu
from pcemu._core.engine import Clock, Cpu, IoSpace, Memory
from pcemu.debug.log import Log
from pcemu.machine.config import MachineConfig
from pcemu.machine.cpulog import CpuLog
from pcemu.machine.machine import Machine
from pcemu.monitor import Shell

pytest.importorskip("capstone")

CODE, HANDLER = 0x1000, 0x2000


def real_mode(code: bytes) -> tuple[Memory, Any]:
    memory = Memory()
    ram = memory.alloc("ram", 0x10000)
    memory.set_map([(0, 0x10000, "ram", ram, 0)])
    for vector in range(256):
        memory.st(4 * vector, 4, HANDLER)
    memory.write(CODE, code)
    memory.write(HANDLER, b"\x40\xf4")  # INC AX; HLT
    cpu = Cpu(memory, IoSpace(), Clock(icount_shift=0), parse_cpu("max"))
    for name in ("cs", "ds", "es", "ss"):
        cpu.set(name, 0)
        cpu.set(f"{name}_base", 0)
    cpu.set("rip", CODE)
    cpu.set("rsp", 0x8000)
    return memory, cpu


def logged(cpu: Any, items: str) -> str:
    lines: list[str] = []
    log = CpuLog(cpu, Log(frozenset(items.split(",")), lines.append))
    for _ in range(20):
        if log.run(100) == "halted":
            return "".join(lines)
    raise AssertionError("the guest did not halt")


def addresses(text: str) -> list[int]:
    return [int(line, 16) for line in re.findall(r"^0x([0-9a-f]+): ", text, re.MULTILINE)]


@pytest.mark.parametrize("code", ["90 0f0b", "90 cd30", "90 f6f4", "b80101 50 9d 90"],
                         ids=["fault", "software interrupt", "divide error", "single step"])  # fmt: skip
def test_the_first_instruction_of_a_handler(code: str) -> None:
    _memory, cpu = real_mode(bytes.fromhex(code))
    cpu.set("rax", 0)
    text = logged(cpu, "in_asm,exec,int")
    assert addresses(text)[-2:] == [HANDLER, HANDLER + 1]
    assert text.count("exception") == 1
    # every instruction that retired is there once, and the one that faulted
    faulted = code in ("90 0f0b", "90 f6f4")
    assert len(re.findall("^Trace ", text, re.MULTILINE)) == cpu.icount + faulted


def test_an_interrupt_s_handler() -> None:
    _memory, cpu = real_mode(b"\xfb\x90\x90\xf4")  # STI; NOP; NOP; HLT

    def intack() -> int:
        cpu.set_intr(False)
        return 0x20

    cpu.intack = intack
    cpu.set_intr(True)
    text = logged(cpu, "in_asm,int")
    assert addresses(text)[-2:] == [HANDLER, HANDLER + 1]
    assert text.count("interrupt, on to 0000:0000000000002000") == 1
    assert cpu.icount == 4
    assert len(addresses(text)) == 4  # the instruction that was interrupted is not among them


@pytest.mark.parametrize(("items", "seen"), [
    ("in_asm", r"^0x0010002[0-9a-f]: .* incl? +%eax$"), ("exec", "^Trace "), ("cpu", "^EAX="), ("op,in_asm", "inc")])  # fmt: skip
def test_items_switched_in_the_monitor(tmp_path: Path, items: str, seen: str) -> None:
    kernel, log = tmp_path / "kernel.elf", tmp_path / "log"
    code = multiboot_header(0).ljust(32, b"\0") + bytes.fromhex("40 40 40 40 ebfa")
    kernel.write_bytes(elf32([(0x100000, code, 0x1000)], 0x100020))
    with Machine(MachineConfig(ram_size=8 << 20, kernel=str(kernel), nodefaults=True, log_file=str(log))).build() as machine:
        shell = Shell(machine)
        machine.step(2)
        assert log.read_text() == ""
        assert shell.run(f"log {items}") == ""
        machine.step(8)
        text = log.read_text()
        assert re.search(seen, text, re.MULTILINE), text
        shell.run("log none")
        machine.step(8)
        assert log.read_text() == text


def test_faults_without_end_come_back() -> None:
    memory, cpu = real_mode(b"\x0f\x0b")
    memory.write(HANDLER, b"\x0f\x0b")
    log = CpuLog(cpu, Log(frozenset({"int"}), lambda text: None))
    assert log.run(10**6) == "budget"
    assert cpu.icount == 0
