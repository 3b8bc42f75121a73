"""A machine for device tests: no guest, no compiled core, a clock that moves when the test says so.

    from pcemu.testing.harness import TestMachine

    m = TestMachine()                          # 1 MiB of RAM at 0, an ISA bus, a fake CPU; TestMachine(ram=..., isa=False)
    dev = m.add(IsaSerial, index=0)            # build, realize and reset a device (class or type name)
    m.outb(0x3F8, 0x41); m.inb(0x3FD)          # ports: inb inw inl / outb outw outl (port, value)
    m.mmio_read(addr, size)                    # memory accesses through the region tree, as a guest's
    m.mmio_write(addr, size, value)
    m.memory.ld / st / read / write            # the same as a device doing DMA
    m.clock.now(); m.clock.advance(ns)         # run every timer that comes due on the way, each at its exact time
    m.clock.advance_to(ns); m.clock.pending()  # deadlines of armed timers, sorted
    irq = m.watch(dev.irq)                     # record a wire: irq.level, irq.edges == [1, 0, ...],
                                               # irq.rises (count), irq.times == [(ns, level), ...], irq.clear()
    m.isa_irq[4]                               # the same for an ISA interrupt line, already watched
    m.reset()                                  # reset all devices
    m.requests                                 # [("reset", cause, 0), ("shutdown", cause, status), ("powerdown", "", 0)]
    m.log.messages                             # what log_guest_error / log_unimp wrote
    m.events                                   # trace events: [(type_name, event, {fields})]; all are on
    m.cpu                                      # FakeCpu: .intr .nmis .a20 .resets .inits .sipis
    m.isa                                      # the IsaBus; m.memory_root, m.io_root: the region trees
    TestMachine(memory=engine.Memory())        # the core's memory instead of the fake one (virtqueues need it)
    m.add_chardev("c0")                        # FakeChardev: .sent (bytes the device wrote), .feed(b"...") as far as
                                               # the device takes it, .params, .event("opened")

Access-size rules, priorities and wires are the real ones: only the CPU, RAM and the clock are fakes.
"""

from __future__ import annotations

from typing import Any

from pcemu.debug.log import Log
from pcemu.debug.trace import Tracer
from pcemu.hw.isa.bus import IsaBus
from pcemu.machine.base import MachineBase
from pcemu.machine.clock import MachineClock
from pcemu.machine.config import MachineConfig
from pcemu.qom import Device, IrqLine, IrqOut, MemoryRegion, lookup

from .fakes import FakeClock, FakeCpu, FakeIoSpace, FakeMemory

__all__ = ["FakeChardev", "SteppedClock", "TestMachine", "WireWatch"]


class SteppedClock(MachineClock):
    """Stands still; `advance` runs timers one by one, each with now() at its deadline."""

    def __init__(self, start_ns: int = 0) -> None:
        super().__init__(FakeClock(start_ns))

    def advance(self, ns: int) -> None:
        self.advance_to(self.now() + ns)

    def advance_to(self, ns: int) -> None:
        while (deadline := self.heap.next_deadline()) <= ns:
            self.core.advance_to(deadline)
            self.run_due()
        self.core.advance_to(ns)

    def pending(self) -> list[int]:
        return sorted(t.deadline for _, serial, t in self.heap.entries if t._serial == serial and t.deadline is not None)


class WireWatch:
    """What happened on a wire."""

    def __init__(self, clock: MachineClock, wire: IrqOut | IrqLine) -> None:
        self._clock = clock
        self.level = 0
        self.times: list[tuple[int, int]] = []
        wire.connect(self._changed)

    def _changed(self, level: int) -> None:
        self.level = level
        self.times.append((self._clock.now(), level))

    @property
    def edges(self) -> list[int]:
        return [level for _, level in self.times]

    @property
    def rises(self) -> int:
        return sum(self.edges)

    def clear(self) -> None:
        self.times.clear()


class FakeChardev:
    """The back-end side of a character device, in memory."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.sent = bytearray()
        self.params: list[Any] = []
        self.waiting = bytearray()
        self.on_input: Any = None
        self.can_receive: Any = None
        self.on_event: Any = None
        self.on_writable: Any = None
        self.owner = ""
        self.blocked = False

    def attach(self, owner: str = "", focus: bool = True) -> FakeChardev:
        self.owner = owner
        return self

    def detach(self) -> None:
        self.owner = ""
        self.on_input = self.can_receive = self.on_event = self.on_writable = None

    def write(self, data: bytes) -> bool:
        self.sent += data
        return not self.blocked

    def room(self) -> int:
        return 4096

    def write_byte(self, value: int) -> bool:
        self.sent.append(value)
        return not self.blocked

    def set_break(self, on: bool) -> None:
        self.params.append(("break", on))

    def set_params(self, *args: Any, **kwargs: Any) -> None:
        self.params.append((args, kwargs))

    def feed(self, data: bytes) -> None:
        """Input from outside; what the device has no room for waits for accept_input()."""
        self.waiting += data
        self.accept_input()

    def accept_input(self) -> None:
        while self.waiting and self.on_input is not None:
            room = self.can_receive() if self.can_receive is not None else len(self.waiting)
            if room <= 0:
                return
            chunk = bytes(self.waiting[:room])
            del self.waiting[:room]
            self.on_input(chunk)

    def event(self, event: str) -> None:
        if self.on_event is not None:
            self.on_event(event)


class ListLog(Log):
    """Keeps every message."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        super().__init__(frozenset(("guest_errors", "unimp")), self.messages.append)


class EventList:
    """A sink of trace events: a list of (type, event, fields)."""

    def __init__(self, events: list[tuple[str, str, dict[str, object]]]) -> None:
        self.events = events

    def event(self, device: Any, event: str, fields: dict[str, object]) -> None:
        self.events.append((device.type_name, event, fields))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class TestMachine(MachineBase):
    """See the top of the file."""

    __test__ = False  # not a test case, whatever its name

    clock: SteppedClock

    def __init__(self, ram: int = 1 << 20, *, isa: bool = True, start_ns: int = 0, seed: int = 0,
                 memory: Any = None) -> None:  # fmt: skip
        self.events: list[tuple[str, str, dict[str, object]]] = []
        tracer = Tracer(["*"], EventList(self.events))
        super().__init__(memory or FakeMemory(), FakeIoSpace(), SteppedClock(start_ns), ram_size=ram, seed=seed,
                         log=ListLog(), tracer=tracer)  # fmt: skip
        self.rtc_config.base = "2024-02-29T12:00:00"
        self.rtc_config.clock = "vm"
        self.cpus.append(FakeCpu())
        self.config = MachineConfig(machine="none", accel="qtest")  # for those who look at the object tree
        self.cpu_models: list[Any] = []
        self.requests: list[tuple[str, str, int]] = []
        if ram:
            self.ram = MemoryRegion.ram("pc.ram", ram, self.memory.alloc("pc.ram", ram))
            self.memory_root.add(self.ram, 0, priority=0)
        self._isa: IsaBus | None = None
        self.isa_irq: list[WireWatch] = []
        if isa:
            self._isa = IsaBus("isa.0", machine=self)
            self.board_buses.append(self._isa)
            self.isa_irq = [WireWatch(self.clock, line) for line in self._isa.irq_lines]

    @property
    def isa(self) -> IsaBus:
        assert self._isa is not None
        return self._isa

    def add(self, cls: type[Device] | str, bus: Any = None, id: str | None = None, **props: Any) -> Any:
        """Build, realize and reset a device."""
        if isinstance(cls, str):
            cls = lookup(cls)
        device = cls(self, bus, id, **props)
        device.realize_now()
        device.reset()
        return device

    def add_chardev(self, id: str) -> FakeChardev:
        self.chardevs[id] = chardev = FakeChardev(id)
        return chardev

    def watch(self, wire: IrqOut | IrqLine) -> WireWatch:
        return WireWatch(self.clock, wire)

    def reset(self) -> None:
        self.reset_all()

    # -- accesses as a guest's ------------------------------------------------------------------------------

    def inb(self, port: int) -> int:
        value: int = self.io.read(port, 1)
        return value

    def inw(self, port: int) -> int:
        value: int = self.io.read(port, 2)
        return value

    def inl(self, port: int) -> int:
        value: int = self.io.read(port, 4)
        return value

    def outb(self, port: int, value: int) -> None:
        self.io.write(port, 1, value)

    def outw(self, port: int, value: int) -> None:
        self.io.write(port, 2, value)

    def outl(self, port: int, value: int) -> None:
        self.io.write(port, 4, value)

    def mmio_read(self, addr: int, size: int = 4) -> int:
        value: int = self.memory.ld(addr, size)
        return value

    def mmio_write(self, addr: int, size: int, value: int) -> None:
        self.memory.st(addr, size, value)

    # -- what devices ask for -------------------------------------------------------------------------------

    def request_reset(self, cause: str = "guest-reset") -> None:
        self.requests.append(("reset", cause, 0))

    def request_shutdown(self, cause: str = "guest-shutdown", status: int = 0) -> None:
        self.requests.append(("shutdown", cause, status))

    def request_powerdown(self) -> None:
        self.requests.append(("powerdown", "", 0))
