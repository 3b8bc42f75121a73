"""-d in_asm, exec, cpu and int: the guest runs instruction by instruction, and each is reported.

Slow, and exact: what is logged does not change what happens, nor at which instruction count.
"""

from __future__ import annotations

from typing import Any

from pcemu.debug.log import Log

from .cpudump import dump_cpu

CHUNK = 2000  # instructions between two looks at timers and the host


class CpuLog:
    """Stands between the machine's loop and the CPU while such an item is on."""

    def __init__(self, cpu: Any, log: Log) -> None:
        self.cpu = cpu
        self.log = log
        self._asm = "in_asm" in log.items
        self._exec = "exec" in log.items
        self._state = "cpu" in log.items
        self._int = "int" in log.items
        self._seen: set[tuple[int, int]] = set()
        self._events = self._count_events()
        self._logged = -1

    def run(self, budget: int, events: bool = False, held: bool = False) -> str:
        """As Cpu.run(); that an event was delivered shows in the count only."""
        cpu = self.cpu
        for _ in range(min(budget, CHUNK)):
            if not cpu.halted and not cpu.event_due and cpu.icount != self._logged:
                self._logged = cpu.icount  # run() may come back for a timer before it ran anything
                self._before()
            reason: str = cpu.run(1, True, held)
            if self._int:
                self._after()
            if reason == "event":
                self._logged = -1  # nothing retired, and another instruction is next: the handler's first
            elif reason != "budget":
                return reason
        return "budget"

    def _before(self) -> None:
        cpu = self.cpu
        cs_base, rip = cpu.get("cs_base"), cpu.get("rip")
        pc = cs_base + rip
        if self.log.ranges and not self.log.covers(pc):
            return
        if self._asm:
            bits = self._bits()
            if (pc, bits) not in self._seen:
                self._seen.add((pc, bits))
                self.log.write(self._disassemble(pc, bits))
        if self._exec:
            self.log.write(f"Trace {cpu.icount}: [{cs_base:016x}/{rip:016x}]\n")
        if self._state:
            self.log.write(dump_cpu(cpu, vectors=False) + "\n")

    def _after(self) -> None:
        events = self._count_events()
        if events != self._events:
            what = "interrupt" if events[0] != self._events[0] else "exception"
            self._events = events
            cpu = self.cpu
            self.log.write(f"{cpu.icount}: {what}, on to {cpu.get('cs'):04x}:{cpu.get('rip'):016x}"
                           f" SP={cpu.get('ss'):04x}:{cpu.get('rsp'):016x}\n")  # fmt: skip
            self.log.write(dump_cpu(cpu, vectors=False) + "\n")

    def _count_events(self) -> tuple[int, int]:
        stats = self.cpu.stats()
        return stats.get("interrupts", 0), stats.get("exceptions", 0)

    def _bits(self) -> int:
        attr = self.cpu.get("cs_attr")
        if attr & 1 << 21 and self.cpu.get("efer") & 1 << 10:
            return 64
        return 32 if attr & 1 << 22 else 16

    def _disassemble(self, pc: int, bits: int) -> str:
        from pcemu.debug.disasm import disassemble

        return disassemble(self._read, pc, 1, bits)

    def _read(self, addr: int, count: int) -> bytes | None:
        try:
            data: bytes = self.cpu.read_virt(addr, count)
        except ValueError:
            return None
        return data
