"""Random accesses to the chips of a board, as a guest could make them: whatever it writes, no device fails, hangs or grows.

A device that raises ends the machine with its name (and is a finding here); the guest's mistakes are for `-d guest_errors`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from pcemu.machine.config import DeviceConfig, IcountConfig, MachineConfig
from pcemu.machine.machine import Machine
from pcemu.monitor import Shell

VALUES = (0, 1, 2, 3, 4, 7, 8, 0x0F, 0x10, 0x1F, 0x20, 0x40, 0x60, 0x7F, 0x80, 0xC0, 0xFE, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF,
          0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip
COMMANDS = ("info qtree", "info mtree", "info mtree -f", "info pci", "info pic", "info irq", "info lapic", "info status",
            "info roms", "info chardev", "info block", "info network", "info registers", "info tlb", "info mem", "system_reset",
            "nmi")  # fmt: skip
OPTIONAL = ("isa-debugcon", "isa-debug-exit", "pc-testdev", "virtio-rng-pci", "virtio-net-pci", "virtio-rng-pci-non-transitional")


class Failed(AssertionError):
    """A device did not stand it."""


def build(rng: Random) -> Machine:
    """A machine of one of several shapes, reset and not running."""
    name = rng.choice(("pc", "pc", "pc", "isapc"))
    options: dict[str, Any] = {}
    if name == "pc":
        options["no_hpet"] = rng.random() < 0.1
        options["no_acpi"] = rng.random() < 0.1
    chardevs = [{"backend": "ringbuf", "id": f"ring{i}", "size": "4k"} for i in range(2)]
    config = MachineConfig(machine=name, ram_size=4 << 20, icount=IcountConfig(0, False), chardevs=chardevs,
                           serials=["chardev:ring0", "chardev:ring1"][: rng.randrange(3)], seed=1, **options)  # fmt: skip
    for driver in OPTIONAL:
        props = {"chardev": "ring1"} if driver == "isa-debugcon" else {}
        possible = not (driver.startswith("virtio") and name == "isapc") and not (props and len(config.serials) == 2)
        if rng.random() < 0.4 and possible:
            config.devices.append(DeviceConfig(driver, props, f"-device {driver}"))
    return Machine(config)


class Poker:
    """What a guest and the world around it may do, one thing at a time."""

    def __init__(self, machine: Machine, rng: Random) -> None:
        self.machine = machine
        self.rng = rng
        self.shell = Shell(machine)
        self.done: list[str] = []
        self.last: dict[str, int] = {}

    def value(self, size: int) -> int:
        rng = self.rng
        v = rng.choice(VALUES) if rng.random() < 0.6 else rng.getrandbits(8 * size)
        if rng.random() < 0.05:
            v = rng.randrange(4 << 20) & ~0xF  # an address in RAM
        return v & (1 << 8 * size) - 1

    def place(self, ranges: list[Any]) -> int:
        """Somewhere in what is mapped; mostly near where it was last."""
        rng = self.rng
        r = rng.choice(ranges)
        near = self.last.get(r.region.name, 0)
        offset = near + rng.randrange(-4, 5) if rng.random() < 0.5 else rng.randrange(min(r.size, 1 << rng.randrange(2, 24)))
        offset = min(max(offset, 0), r.size - 1)
        self.last[r.region.name] = offset
        return int(r.start + offset)

    def port(self) -> None:
        rng, io = self.rng, self.machine.io
        port = self.place(self.machine.io_space.flat) if rng.random() < 0.98 else rng.randrange(0x10000)
        self.access(f"port {port:#x}", port, rng.choice((1, 1, 1, 2, 4)), io.inp, io.outp, 0x10000)

    def mmio(self) -> None:
        rng, memory = self.rng, self.machine.memory
        ranges = [r for r in self.machine.memory_space.flat if r.region.kind == "mmio"]
        if ranges:
            address = self.place(ranges)
            self.access(f"memory {address:#x}", address, rng.choice((1, 2, 4, 4, 4, 8)), memory.ld, memory.st, 1 << 40)

    def access(self, what: str, address: int, size: int, read: Callable[..., Any], write: Callable[..., Any], end: int) -> None:
        address = min(address, end - size)
        if self.rng.random() < 0.45:
            self.done.append(f"read {size} at {what}")
            value = read(address, size)
            if not 0 <= value < 1 << 8 * size:
                raise Failed(f"{value:#x} read")
        else:
            value = self.value(size)
            self.done.append(f"write {size} at {what}: {value:#x}")
            write(address, size, value)

    def pci(self) -> None:
        rng, io = self.rng, self.machine.io
        size = rng.choice((1, 2, 4))
        register = rng.choice((4, 6, 0x0C, 0x10, 0x14, 0x18, 0x20, 0x30, 0x3C, 0x40, 0x59, 0x5F, 0x60, 0x80, rng.randrange(256)))
        slot = rng.choice((0, 8, 9, 10, 11, 16, 24, 32, rng.randrange(256)))
        self.done.append(f"pci {slot:#x}:{register:#x}")
        io.outp(0xCF8, 4, 0x80000000 | slot << 8 | register & 0xFC)
        self.access("its data", 0xCFC + (register & 3 & ~(size - 1)), size, io.inp, io.outp, 0x10000)

    def time(self) -> None:
        clock = self.machine.clock
        deadline = clock.next_deadline()
        ns = 1 << self.rng.randrange(36)
        self.done.append(f"{ns} ns pass")
        until = clock.now() + ns
        for _ in range(200):  # a guest may arm what fires very often
            deadline = clock.next_deadline()
            if deadline > until:
                break
            clock.advance_to(deadline)
            clock.run_due()
        clock.advance_to(min(until, clock.next_deadline()))
        clock.run_due()

    def interrupt(self) -> None:
        cpu = self.machine.cpu
        if cpu.intr and cpu.intack is not None:
            self.done.append("interrupt acknowledged")
            cpu.intack()

    def input(self) -> None:
        device = self.machine.chardevs[self.rng.choice(("ring0", "ring1"))]
        self.done.append(f"input on {device.id}")
        device.feed(self.rng.randbytes(self.rng.randrange(1, 40)))

    def command(self) -> None:
        text = self.rng.choice(COMMANDS)
        self.done.append(text)
        self.shell.run(text)

    def reset(self) -> None:
        self.done.append("reset")
        self.machine.reset_all()


def check(seed: int, count: int = 700) -> None:
    """All of a seed; raises Failed."""
    rng = Random(seed)
    machine = build(rng)
    try:
        machine.build()
        poker = Poker(machine, rng)
        steps = (poker.port, poker.mmio, poker.pci, poker.time, poker.interrupt, poker.input, poker.command, poker.reset)
        for _ in range(count):
            rng.choices(steps, (40, 25, 8, 8, 8, 2, 1, 0.3))[0]()
            machine._requests.clear()
    except Failed as error:
        raise Failed(f"{error}; " + "; ".join(poker.done[-12:])) from None
    except Exception as error:
        raise Failed(f"{type(error).__name__}: {error}; " + "; ".join(poker.done[-12:] if "poker" in locals() else [])) from error
    finally:
        machine.close()
