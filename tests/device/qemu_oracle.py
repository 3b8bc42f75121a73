"""QEMU as a second opinion on chips: its boards poked through the qtest protocol, or by a little ROM of ours.

QEMU's processor halts at once (`Poked`) or runs the ROM (`scripted`), under -icount, so that its virtual time is exact.
"""

from __future__ import annotations

import json
import select
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

QEMU = shutil.which("qemu-system-x86_64")
needs_qemu = pytest.mark.skipif(QEMU is None, reason="no qemu-system-x86_64")
needs_as = pytest.mark.skipif(shutil.which("as") is None or shutil.which("objcopy") is None, reason="no binutils")

HALT_ROM = b"\xf4" * 0xFFF0 + b"\xfa\xf4\xeb\xfd".ljust(16, b"\xf4")  # cli; again: hlt; jmp again


class Poked:
    """A QEMU whose ports, interrupt inputs and keyboard the test works. `command`: another program with its accelerator."""

    def __init__(self, where: Path, *options: str, command: Sequence[str] = ()) -> None:
        rom = where / "halt.rom"
        rom.write_bytes(HALT_ROM)
        qmp_path = where / "qmp"
        assert QEMU is not None
        self.process = subprocess.Popen(
            [*(command or (QEMU, "-accel", "tcg")), "-M", "pc", "-nodefaults", "-display", "none", "-bios", str(rom),
             "-qtest", "stdio", "-qtest-log", "/dev/null", "-qmp", f"unix:{qmp_path},server=on,wait=on", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(300)
        while True:             # the socket appears before it listens
            assert self.process.poll() is None, "qemu did not start"
            try:
                self.socket.connect(str(qmp_path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                select.select((), (), (), 0.01)
        self.stream = self.socket.makefile("rw")
        self.stream.readline()
        self.qmp("qmp_capabilities")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.stream.close()
        self.socket.close()

    def __enter__(self) -> Poked:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def qmp(self, command: str, **arguments: Any) -> Any:
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            answer = json.loads(self.stream.readline())
            if "error" in answer:
                raise RuntimeError(answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]

    def say(self, line: str) -> list[str]:
        """What is said about interrupt lines, and the answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        said = []
        while not said or said[-1].startswith("IRQ"):
            said.append(self.process.stdout.readline().rstrip("\n"))
            assert said[-1], f"{line}: the program has ended"
        return said

    def qtest(self, line: str) -> list[str]:
        words = self.say(line)[-1].split()
        assert words[0] == "OK", f"{line}: {words}"
        return words[1:]

    def outb(self, port: int, value: int) -> None:
        self.qtest(f"outb {port:#x} {value:#x}")

    def inb(self, port: int) -> int:
        return int(self.qtest(f"inb {port:#x}")[0], 16)

    def set_irq(self, path: str, pin: int, level: int, name: str = "unnamed-gpio-in") -> None:
        self.qtest(f"set_irq_in {path} {name} {pin} {level}")

    def device(self, type_name: str, nth: int = 0) -> str:
        """The path of a device that the board made."""
        found = []
        for entry in self.qmp("qom-list", path="/machine/unattached"):
            if entry["type"] == f"child<{type_name}>":
                found.append(entry["name"])
        found.sort(key=lambda name: int(name.removeprefix("device[").rstrip("]")))
        return f"/machine/unattached/{found[nth]}"


# The ROM runs a table of 8-byte entries: operation, value, port (16 bits), pause (32 bits). Before each access it
# notes the time-stamp counter, which under -icount is virtual time, and writes it to port 0xe9 behind the value.
SCRIPT_ROM = r"""
        .code16
        .org 0
start:  cli
        mov     %cs, %ax
        mov     %ax, %ds
        mov     $script, %si
next:   mov     4(%si), %ecx
        jecxz   2f
1:      decl    %ecx
        jnz     1b
2:      mov     (%si), %bx              # bl: operation, bh: value
        mov     2(%si), %dx
        add     $8, %si
        mov     %bh, %al
        cmpb    $1, %bl
        ja      4f
        je      3f
        rdtsc
        mov     %eax, %edi
        mov     -6(%si), %dx
        mov     %bh, %al
        out     %al, %dx
        jmp     log
3:      rdtsc
        mov     %eax, %edi
        mov     -6(%si), %dx
        nop
        in      %dx, %al
        jmp     log
4:      mov     $0xf4, %dx
        out     %al, %dx
5:      hlt
        jmp     5b
log:    mov     $0xe9, %dx
        out     %al, %dx
        mov     %edi, %eax
        out     %al, %dx
        shr     $8, %eax
        out     %al, %dx
        shr     $8, %eax
        out     %al, %dx
        shr     $8, %eax
        out     %al, %dx
        jmp     next
        .balign 16
script:
"""
BEHIND_RDTSC = 4  # instructions from the time stamp to the access

OUT, IN, END = 0, 1, 2
Step = tuple[int, int, int, int]  # operation, port, value, pause (instructions, about, halved)


def scripted(where: Path, steps: list[Step], shift: int, *options: str) -> list[tuple[int, int]]:
    """Run the steps on QEMU's board: (virtual ns of the access, value) for each."""
    assert QEMU is not None
    (where / "rom.s").write_text(SCRIPT_ROM)
    subprocess.run(["as", "--32", "-o", where / "rom.o", where / "rom.s"], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", where / "rom.o", where / "rom.bin"], check=True)
    rom = bytearray((where / "rom.bin").read_bytes())
    for operation, port, value, pause in [*steps, (END, 0, 0, 0)]:
        rom += bytes((operation, value)) + port.to_bytes(2, "little") + pause.to_bytes(4, "little")
    assert len(rom) <= 0xFFF0, "script too long"
    rom = rom.ljust(0xFFF0, b"\xf4") + b"\xea\x00\x00\x00\xf0".ljust(16, b"\xf4")  # ljmp $0xf000, $0
    (where / "script.rom").write_bytes(rom)
    log = where / "log"
    subprocess.run(
        [QEMU, "-M", "pc", "-accel", "tcg", "-icount", f"shift={shift},sleep=off", "-nodefaults", "-display", "none",
         "-bios", str(where / "script.rom"), "-chardev", f"file,id=log,path={log}", "-device", "isa-debugcon,chardev=log",
         "-device", "isa-debug-exit,iobase=0xf4,iosize=1", *options],
        check=False, timeout=600, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    data = log.read_bytes()
    assert len(data) == 5 * len(steps), f"{len(data)} bytes for {len(steps)} steps"
    out, high, last = [], 0, 0
    for at in range(0, len(data), 5):
        low = int.from_bytes(data[at + 1 : at + 5], "little")
        high += (1 << 32) if low < last else 0
        last = low
        out.append((high + low + (BEHIND_RDTSC << shift), data[at]))
    return out


def replay(steps: list[Step], times: list[tuple[int, int]], advance_to: Callable[[int], None],
           outb: Callable[[int, int], None], inb: Callable[[int], int]) -> list[int]:  # fmt: skip
    """The same steps at the same times here; the values read (and written, for the others)."""
    values = []
    for (operation, port, value, _), (at, _) in zip(steps, times, strict=True):
        advance_to(at)
        if operation == OUT:
            outb(port, value)
        else:
            value = inb(port)
        values.append(value)
    return values
