"""The empty machine: RAM and a processor, nothing to boot from. For monitors and tests."""

from __future__ import annotations

from .board import Board
from .cpu import add_cpu
from .ram import make_ram


class NoBoard(Board):
    """-machine none."""

    desc = "empty machine"

    def build(self) -> None:
        machine = self.machine
        cpu = add_cpu(machine, self.default_cpu)
        machine.on_reset(lambda: setattr(cpu, "halted", True))
        if machine.ram_size:
            machine.memory_root.add(make_ram(machine, "ram"), 0)
