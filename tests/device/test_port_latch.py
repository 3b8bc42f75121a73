"""Port latches: what the core does in a device's place makes no difference that a guest, the wires or the host side could see."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from pcemu._core import engine
from pcemu._core.cpumodel import parse_cpu
from pcemu.debug.log import Log
from pcemu.debug.trace import Tracer
from pcemu.hw.char.serial_isa import IsaSerial
from pcemu.hw.isa.bus import IsaBus, IsaDevice
from pcemu.machine.base import MachineBase
from pcemu.machine.clock import MachineClock
from pcemu.qom import PortWindow
from pcemu.qom.region import PortLatch
from pcemu.testing.harness import FakeChardev

PORT = 0x3F8
THR, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR = 0, 1, 2, 2, 3, 4, 5, 6, 7
CODE, RESULTS = 0x10000, 0x20000


class CoreMachine(MachineBase):
    """A processor in real mode, 1 MiB of RAM, an ISA bus, and time by the count of instructions."""

    def __init__(self, shift: int) -> None:
        super().__init__(engine.Memory(), engine.IoSpace(), MachineClock(engine.Clock(shift)), ram_size=1 << 20, seed=1,
                         log=Log(), tracer=Tracer())  # fmt: skip
        ram, rom = self.memory.alloc("ram", 1 << 20), self.memory.alloc("rom", 0x10000)
        self.memory.set_map([(0, 1 << 20, "ram", ram, 0), (0xFFFF0000, 0x10000, "rom", rom, 0)])
        self.memory.block_view(rom, 0x10000)[0xFFF0:0xFFF5] = b"\xea\x00\x00\x00\x10"  # jmp 1000:0000
        self.isa = IsaBus("isa", machine=self)
        self.cpus.append(engine.Cpu(self.memory, self.io, self.clock.core, parse_cpu("core2duo")))

    def run(self, code: bytes, budget: Callable[[], int]) -> bytes:
        """Run `code` until it halts, `budget()` instructions at a time; returns what its `stosb`s have stored."""
        assert len(code) < 0xFF00
        start = b"\xb8\x00\x20\x8e\xc0\x31\xff\xfc"  # es = 2000, di = 0
        self.memory.write(CODE, start + code + b"\xf4")
        reason = ""
        while reason != "halted":
            self.clock.sync()
            reason = self.cpu.run(budget())
            assert reason in ("budget", "deadline", "halted")
            self.clock.run_due()
        return self.memory.read(RESULTS, self.cpu.get("rdi") & 0xFFFF)


def out(port: int, *values: int) -> bytes:
    return b"\xba" + port.to_bytes(2, "little") + b"".join(bytes((0xB0, value, 0xEE)) for value in values)


def inb(port: int, count: int = 1) -> bytes:
    return b"\xba" + port.to_bytes(2, "little") + b"\xec\xaa" * count


def delay(turns: int) -> bytes:
    return b"\xb9" + turns.to_bytes(2, "little") + b"\xe2\xfe"


class Host(FakeChardev):
    """Takes some bytes and is blocked until they have gone; gives what the device has room for, now and then."""

    LIMIT = 100

    def __init__(self, machine: MachineBase, rng: Random) -> None:
        super().__init__("c0")
        self.machine = machine
        self.rng = rng
        self.queued = 0
        self.timer = machine.clock.timer(self.turn)
        self.timer.arm(rng.randrange(1, 50_000))

    def room(self) -> int:
        return max(1, self.LIMIT - self.queued)

    def write(self, data: bytes) -> bool:
        self.sent += data
        self.queued += len(data)
        self.blocked = self.queued >= self.LIMIT
        return not self.blocked

    def write_byte(self, value: int) -> bool:
        return self.write(bytes((value,)))

    def accept_input(self) -> None:
        """Not at once: the machine's loop does it."""

    def turn(self) -> None:
        rng = self.rng
        if rng.random() < 0.7:
            self.queued, self.blocked = 0, False
            self.on_writable()
        if rng.random() < 0.7 and (room := self.can_receive()) > 0:
            self.on_input(rng.randbytes(rng.randint(1, room)))
        if rng.random() < 0.02:
            self.on_event("break")
        self.timer.arm(self.machine.clock.now() + rng.randrange(1, 120_000))


def accesses(rng: Random, count: int) -> bytes:
    """What drivers do, mostly, and now and then something else."""
    code = out(PORT + FCR, 0x81) + out(PORT + IER, 0x03)
    for _ in range(count):
        what = rng.random()
        if what < 0.35:
            code += inb(PORT + IIR) + out(PORT + THR, *rng.randbytes(rng.choice((1, 2, 5, 15, 16, 16, 16, 17, 40))))
        elif what < 0.6:
            code += inb(PORT + LSR) + inb(PORT, rng.randint(1, 16)) + inb(PORT + LSR)
        elif what < 0.75:
            code += inb(PORT + rng.randrange(8))
        elif what < 0.95:
            code += delay(rng.choice((1, 10, 100, 2000, 20_000)))
        elif what < 0.97:
            code += out(PORT + IER, rng.choice((0, 1, 2, 3, 3, 3, 15)))
        else:
            register = rng.choice((FCR, FCR, LCR, MCR, SCR))
            value = {FCR: rng.choice((0, 1, 7, 0x41, 0xC1)), LCR: rng.choice((3, 0x83, 0x43)), MCR: rng.choice((0x0B, 0x1B))}
            code += out(PORT + register, value.get(register, 0x55))
            if register in (LCR, MCR):
                code += out(PORT, 1) + inb(PORT) + out(PORT + LCR, 3) + out(PORT + MCR, 0x0B)
    return code


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shift", [6, 8])
def test_a_uart_with_a_latch_is_the_same_uart(monkeypatch: pytest.MonkeyPatch, seed: int, shift: int) -> None:
    """Random accesses, input, back pressure; slices of any length. Without the latch the device is called for each access."""
    code = accesses(Random(seed), 1200)

    def observe(latched: bool) -> tuple[Any, ...]:
        calls = 0

        def count(self: IsaSerial, offset: int, *args: int) -> Any:
            nonlocal calls
            calls += 1
            return methods[len(args)](self, offset, *args)

        machine = CoreMachine(shift)
        methods = {1: IsaSerial.io_read, 2: IsaSerial.io_write}
        with monkeypatch.context() as patch:
            patch.setattr(IsaSerial, "io_read", lambda self, offset, size: count(self, offset, size))
            patch.setattr(IsaSerial, "io_write", lambda self, offset, value, size: count(self, offset, value, size))
            if not latched:
                patch.setattr(PortWindow, "use_latch", lambda window: machine.io.latch())
            host = Host(machine, Random(seed + 100))
            machine.chardevs["c0"] = host
            serial = IsaSerial(machine, chardev=host)
            serial.realize()
            serial.reset()
            edges: list[tuple[int, int]] = []
            serial.irq.connect(lambda level: edges.append((machine.clock.now(), level)))
            rng = Random(seed + 1000 * latched)
            read = machine.run(code, lambda: rng.choice((7, 100, 5_000, 100_000)))
        return calls, (read, edges, bytes(host.sent), machine.clock.now(), serial.get_state())

    calls, plain = observe(False)
    fewer, latched = observe(True)
    assert latched == plain
    assert fewer < 0.7 * calls
    assert len(plain[2]) > 1000 and len(plain[1]) > 100


class Lamp(IsaDevice):
    """A device that keeps a log of what it hears, and when."""

    type_name = "test-lamp"
    ports = PortWindow(0x300, 4, read="io_read", write="io_write", access=(1, 1), name="lamp")
    latch: PortLatch

    def realize(self) -> None:
        self.latch = self.ports.use_latch()
        self.heard: list[tuple[Any, ...]] = []
        self.ports.map_default()

    def io_read(self, offset: int, size: int) -> int:
        self.heard.append(("read", offset))
        return 0x77

    def io_write(self, offset: int, value: int, size: int) -> None:
        self.heard.append(("write", offset, value))

    def on_written(self, data: bytes, first: int) -> None:
        self.heard.append(("written", data, first, self.machine.clock.now()))

    def on_read(self, count: int, last: int) -> None:
        self.heard.append(("taken", count, last))


@pytest.fixture
def lamp() -> Lamp:
    device = Lamp(CoreMachine(0))
    device.realize()
    return device


def whole(count: int = 1 << 20) -> Callable[[], int]:
    return lambda: count


def test_answers(lamp: Lamp) -> None:
    lamp.latch.answer(1, 0x12)
    lamp.latch.answer(2, 0x34)
    lamp.latch.answer(2, -1)
    assert lamp.machine.run(inb(0x301) + inb(0x302), whole()) == b"\x12\x77"
    assert lamp.heard == [("read", 2)]
    assert lamp.machine.io.inp(0x301, 1) == 0x77  # others than the guest always ask the device
    for wrong in ((8, 1), (0, 256)):
        with pytest.raises(ValueError):
            lamp.latch.answer(*wrong)


def test_a_wider_read_asks_the_device(lamp: Lamp) -> None:
    lamp.latch.answer(0, 0x12)
    lamp.latch.answer(1, 0x12)
    lamp.machine.run(b"\xba\x00\x03\xed", whole())  # in ax, dx
    assert lamp.heard == [("read", 0), ("read", 1)]


def test_writes_are_kept_until_there_are_enough(lamp: Lamp) -> None:
    lamp.latch.collect(3, 3, lamp.on_written)
    lamp.machine.run(out(0x303, 1, 2, 3, 4), whole())
    assert [entry[:2] for entry in lamp.heard] == [("written", b"\1\2\3"), ("write", 3)]
    assert lamp.heard[0][3] == 11  # the instruction that wrote the third; five come before


def test_no_access_finds_kept_writes(lamp: Lamp) -> None:
    """The device, and every other, is called with nothing waiting; and so is who runs the processor."""
    lamp.latch.collect(3, 100, lamp.on_written)
    lamp.machine.run(out(0x303, 1, 2) + inb(0x300) + out(0x303, 3), whole())
    assert [entry[:2] for entry in lamp.heard] == [("written", b"\1\2"), ("read", 0), ("write", 3)]
    lamp.heard.clear()
    lamp.latch.collect(3, 100, lamp.on_written)
    lamp.machine.cpu.reset()
    lamp.machine.run(out(0x303, 1, 2), whole(9))
    assert b"".join(entry[1] for entry in lamp.heard if entry[0] == "written") + bytes(
        entry[2] for entry in lamp.heard if entry[0] == "write") == b"\1\2"


def test_the_device_hears_of_writes_in_time(lamp: Lamp) -> None:
    lamp.latch.collect(0, 100, lamp.on_written, 50)
    lamp.machine.run(out(0x300, 1, 2) + delay(1000), whole())
    (what, data, first, now), = lamp.heard
    assert (what, data, now - first) == ("written", b"\1\2", 50)


def test_reads_are_supplied(lamp: Lamp) -> None:
    lamp.latch.supply(0, b"ab", lamp.on_read)
    assert lamp.machine.run(inb(0x300, 3), whole()) == b"ab\x77"
    assert [entry[:2] for entry in lamp.heard] == [("taken", 2), ("read", 0)]


def test_a_failing_device_ends_the_run(lamp: Lamp) -> None:
    def fail(data: bytes, first: int) -> None:
        raise ZeroDivisionError

    lamp.latch.collect(0, 2, fail)
    with pytest.raises(ZeroDivisionError):
        lamp.machine.run(out(0x300, 1, 2, 3), whole())
