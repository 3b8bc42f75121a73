"""Shows which functions a byte goes through on its way out of a guest, and on its way in.

    printf k | python docs/examples/follow.py echo.elf

The guest is echo.S. What is printed are call trees of the ways between the compiled core and the host, one line a
function and the module it is in.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from pcemu.cli.parser import parse
from pcemu.hw.intc.apic import LocalApic
from pcemu.machine.machine import Machine

# The functions a tree starts at.
STARTS = {
    "Serial._written": "the UART hears what the guest has written",
    "Chardev.flush": "the loop hands the output to the host",
    "FdChardev._readable": "the host has input",
    "LocalApic.intack": "the CPU acknowledges the interrupt",
    "Serial.io_read": "the guest reads a port of the UART",
}


class Follower:
    """A profile function: every call and return of a Python function comes here."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0  # 0: not in a tree
        self.left = dict(STARTS)

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_qualname
        if not module.startswith("pcemu.") or event not in ("call", "return"):
            return
        if event == "return":
            self.depth = max(0, self.depth - 1)
            return
        if not self.depth:
            if name not in self.left:
                return
            self.lines += ["", f"# {self.left.pop(name)}"]
        self.say(name, module)
        self.depth += 1

    def say(self, name: str, module: str) -> None:
        self.lines.append(f"{'  ' * self.depth}{name}".ljust(56) + module)


class Pin:
    """Between the local APIC and the CPU: a profile function does not see calls of compiled methods."""

    def __init__(self, cpu: Any, follower: Follower) -> None:
        self.cpu = cpu
        self.follower = follower

    def set_intr(self, level: int) -> None:
        self.follower.say(f"CpuCore.set_intr({level})", "pcemu._core.engine")
        self.cpu.set_intr(level)


def main(kernel: str) -> None:
    follower = Follower()
    options = ["-nodefaults", "-serial", "stdio", "-icount", "shift=2", "-kernel", kernel]
    with Machine(parse(options)).build() as machine:
        for apic in machine.find_all(LocalApic):
            apic.cpu = Pin(machine.cpu, follower)
        sys.setprofile(follower)
        reason = machine.run()
        sys.setprofile(None)
    print("", *follower.lines, "", reason, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
