"""The empty machine: RAM and a processor, nothing to boot from. For monitors and tests."""

from __future__ import annotations

from pcemu.qom import MemoryRegion

from .board import Board
from .cpu import add_cpu


class NoBoard(Board):
    """-machine none."""

    desc = "empty machine"

    def build(self) -> None:
        machine = self.machine
        cpu = add_cpu(machine, self.default_cpu)
        machine.on_reset(lambda: setattr(cpu, "halted", True))
        if machine.ram_size:
            machine.ram = MemoryRegion.ram("ram", machine.ram_size, machine.alloc("ram", machine.ram_size))
            machine.memory_root.add(machine.ram, 0)
