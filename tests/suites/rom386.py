"""test386 (https://github.com/barotto/test386.asm) as the machine's BIOS.

The ROM is expected to use port 0x80 for POST codes and port 0xe9 for text, and to leave undefined behaviour alone (it knows the
80386's only). It writes a code to the POST port before each group of tests and halts in the
group that fails; 0xff is the end. Group 0xee prints the results of some 60,000 arithmetic instructions, which are compared
with the suite's reference text.
"""
from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

DONE = 0xFF
CHUNK = 50_000
LIMIT = 400_000_000


@dataclass
class Result:
    """The last POST code, and what was printed."""
    code: int
    output: bytes
    instructions: int

    def wrong_lines(self, reference: bytes) -> int:
        """How many lines differ from the reference (missing and additional ones count)."""
        got, want = self.output.splitlines(), reference.splitlines()
        return sum(a != b for a, b in zip(got, want, strict=False)) + abs(len(got) - len(want))


def run(rom: Path, cpu: str = "486") -> Result:
    """Run the ROM on an ISA machine until it halts for good."""
    from pcemu.cli.parser import parse
    from pcemu.machine.machine import Machine

    with tempfile.TemporaryDirectory() as directory:
        text = Path(directory, "out")
        config = parse(["-machine", "isapc", "-cpu", cpu, "-m", "16", "-bios", str(rom), "-nodefaults", "-display", "none",
                        "-icount", "shift=0,sleep=off", "-chardev", f"file,id=out,path={text}",
                        "-device", "isa-debugcon,iobase=0xe9,chardev=out"])
        with Machine(config) as machine:
            machine.build()
            post = machine.find("ioport80")
            while machine.cpu.icount < LIMIT:
                machine.clock.run_due()
                if machine.cpu.run(CHUNK) in ("halted", "shutdown"):
                    break
            code, count = post.code, machine.cpu.icount
        return Result(code, text.read_bytes(), count)
