"""Plain Python stand-ins for the compiled core: enough to test devices and boards, not to run a guest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from pcemu.qom.timer import NEVER

MemoryRange = tuple[int, int, str, Any, int]
IoRange = tuple[int, int, Any, int]


class FakeClock:
    """Time that stands still until somebody moves it."""

    def __init__(self, start_ns: int = 0) -> None:
        self.deadline = NEVER
        self.running = True
        self._now = start_ns

    def now(self) -> int:
        return self._now

    def advance_to(self, ns: int) -> None:
        self._now = max(self._now, ns)

    def hold_back(self, ns: int) -> None:
        self._now -= ns

    def stop(self) -> None:
        self.running = False

    def start(self) -> None:
        self.running = True


class FakeMemory:
    """Guest-physical memory in one bytearray, with the map the region tree commits."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.blocks: list[tuple[str, int, int]] = []
        self.ranges: list[MemoryRange] = []
        self.generation = 0

    def alloc(self, name: str, size: int) -> int:
        offset = len(self.data)
        self.data += bytes((size + 4095) & ~4095)
        self.blocks.append((name, offset, size))
        return offset

    def block_view(self, offset: int, size: int) -> memoryview:
        return memoryview(self.data)[offset : offset + size]

    def set_map(self, ranges: list[MemoryRange]) -> None:
        self.ranges = ranges
        self.generation += 1

    def read(self, paddr: int, n: int) -> bytes:
        out = bytearray()
        while n:
            entry, left = _find(self.ranges, paddr, n)
            if entry is None:
                out += b"\xff" * left
            elif entry[2] == "mmio":
                out += b"".join(
                    entry[3].read(entry[4] + paddr + i - entry[0], 1).to_bytes(1, "little") for i in range(left)
                )
            else:
                at = entry[3] + entry[4] + paddr - entry[0]
                out += self.data[at : at + left]
            paddr, n = paddr + left, n - left
        return bytes(out)

    def write(self, paddr: int, data: bytes, debug: bool = False) -> None:
        while data:
            entry, count = _find(self.ranges, paddr, len(data))
            if entry is None:
                pass
            elif entry[2] == "mmio":
                for i in range(count):
                    entry[3].write(entry[4] + paddr + i - entry[0], 1, data[i])
            elif entry[2] == "ram" or debug:
                at = entry[3] + entry[4] + paddr - entry[0]
                self.data[at : at + count] = data[:count]
            paddr, data = paddr + count, data[count:]

    def ld(self, paddr: int, size: int) -> int:
        entry, left = _find(self.ranges, paddr, size)
        if entry is not None and entry[2] == "mmio" and left == size:
            value: int = entry[3].read(entry[4] + paddr - entry[0], size)
            return value
        return int.from_bytes(self.read(paddr, size), "little")

    def st(self, paddr: int, size: int, value: int) -> None:
        entry, left = _find(self.ranges, paddr, size)
        value &= (1 << (8 * size)) - 1
        if entry is not None and entry[2] == "mmio" and left == size:
            entry[3].write(entry[4] + paddr - entry[0], size, value)
            return
        self.write(paddr, value.to_bytes(size, "little"))


class FakeLatch:
    """What the core's PortLatch does, but that the device hears of each access at once."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.known: dict[int, int] = {}
        self.sink = self.source = (-1, 0)
        self.stock = b""
        self.on_written: Any = None
        self.on_read: Any = None

    def answer(self, offset: int, value: int) -> None:
        self.known.pop(offset, None)
        if value >= 0:
            self.known[offset] = value

    def collect(self, offset: int, count: int, on_written: Any = None, within: int = -1) -> None:
        self.sink = (offset, count)
        self.on_written = on_written or self.on_written

    def supply(self, offset: int, data: bytes, on_read: Any = None) -> None:
        self.source = (offset, len(data))
        self.stock = data
        self.on_read = on_read or self.on_read

    def read(self, offset: int) -> int | None:
        """The answer, None if the device has to be called."""
        if offset in self.known or self.source != (offset, len(self.stock)) or not self.stock:
            return self.known.get(offset)
        value, self.source = self.stock[0], (-1, 0)
        self.on_read(1, self.now())
        return value

    def write(self, offset: int, value: int) -> bool:
        """False: the device has to be called."""
        if self.sink[0] != offset or not self.sink[1]:
            return False
        self.sink = (-1, 0)
        self.on_written(bytes((value,)), self.now())
        return True


class FakeIoSpace:
    """Ports, with the map the region tree commits."""

    def __init__(self) -> None:
        self.ranges: list[IoRange] = []
        self.now: Callable[[], int] = lambda: 0

    def latch(self) -> FakeLatch:
        return FakeLatch(lambda: self.now())

    def set_map(self, ranges: list[IoRange]) -> None:
        self.ranges = ranges

    def read(self, port: int, size: int) -> int:
        entry, left = _find(self.ranges, port, size)
        latch = getattr(entry[2], "latch", None) if entry is not None and size == 1 else None
        if latch is not None and (known := latch.read(entry[3] + port - entry[0])) is not None:
            return int(known)
        if entry is not None and left == size:
            value: int = entry[2].read(entry[3] + port - entry[0], size)
            return value
        if entry is None and left == size:
            return (1 << (8 * size)) - 1
        return sum(self.read(port + i, 1) << (8 * i) for i in range(size))

    def write(self, port: int, size: int, value: int) -> None:
        value &= (1 << (8 * size)) - 1
        entry, left = _find(self.ranges, port, size)
        latch = getattr(entry[2], "latch", None) if entry is not None and size == 1 else None
        if latch is not None and latch.write(entry[3] + port - entry[0], value):
            return
        if entry is not None and left == size:
            entry[2].write(entry[3] + port - entry[0], size, value)
        elif left != size:
            for i in range(size):
                self.write(port + i, 1, value >> (8 * i) & 0xFF)

    inp, outp = read, write  # the core's names of them


class FakeCpu:
    """Remembers what was done to its pins. `script` feeds run(): functions called in turn, returning a reason."""

    def __init__(self) -> None:
        self.intr = 0
        self.nmis = 0
        self.inits = 0
        self.sipis: list[int] = []
        self.a20 = True
        self.resets = 0
        self.exit_requested = False
        self.halted = False
        self.icount = 0
        self.apicbase = 0xFEE00900
        self.intack: Callable[[], int] | None = None
        self.cr8_hook: Any = None
        self.apicbase_hook: Any = None
        self.msr_hook: Any = None
        self.tsc_deadline_hook: Any = None
        self.regs: dict[str, int] = {}
        self.script: list[Callable[[], str]] = []
        self.on_intr: Callable[[int], None] | None = None
        self.io: Any = None
        self.memory: Any = None

    @property
    def runnable(self) -> bool:
        return bool(self.script) and not self.halted

    jit = False

    def enable_jit(self, size: int = 0, heat: int = 0) -> bool:
        return False

    def reset(self) -> None:
        self.resets += 1
        self.halted = False

    def run(self, max_insns: int = 2**62, events: bool = False, held: bool = False) -> str:
        if self.exit_requested:
            self.exit_requested = False
            return "exit_request"
        if self.script:
            self.icount += 1
            return self.script.pop(0)()
        self.halted = True
        return "halted"

    def request_exit(self) -> None:
        self.exit_requested = True

    def set_intr(self, level: int) -> None:
        self.intr = level
        if self.on_intr is not None:
            self.on_intr(level)

    def set_nmi(self) -> None:
        self.nmis += 1

    def set_init(self) -> None:
        self.inits += 1

    def set_sipi(self, vector: int) -> None:
        self.sipis.append(vector)

    def set_a20(self, on: bool) -> None:
        self.a20 = bool(on)

    def get(self, name: str) -> int:
        return self.regs.get(name, 0)

    def set(self, name: str, value: int) -> None:
        self.regs[name] = value

    def read_virt(self, addr: int, n: int) -> bytes:
        return bytes(n)

    def write_virt(self, addr: int, data: bytes) -> None:
        return

    def translate(self, addr: int) -> int | None:
        return addr

    def stats(self) -> dict[str, int]:
        return {}

    def handler_calls(self) -> dict[str, int]:
        return {}


def _find(ranges: list[Any], addr: int, size: int) -> tuple[Any, int]:
    """The range at `addr` (None in a hole), and how many of `size` bytes lie in it."""
    index = bisect_right(ranges, addr, key=lambda entry: entry[0])
    if index and addr < ranges[index - 1][0] + ranges[index - 1][1]:
        entry = ranges[index - 1]
        return entry, min(size, entry[0] + entry[1] - addr)
    end = ranges[index][0] if index < len(ranges) else addr + size
    return None, min(size, end - addr)


class FakeCore:
    """Stands in for the module pcemu._core.engine: ``Machine(config, core=FakeCore())``.

    `script` is what the guest does: each function gets the machine's FakeCpu and returns why run() came back
    ("budget", "halted", "shutdown", ...). When the script is over the guest is halted for good.
    """

    def __init__(self, *script: Callable[[FakeCpu], str]) -> None:
        self.script = list(script)
        self.cpus: list[FakeCpu] = []
        self.clock: FakeClock | None = None

    def Clock(self, icount_shift: int | None = None, sleep: bool = True) -> FakeClock:
        self.clock = FakeClock()
        return self.clock

    def Memory(self) -> FakeMemory:
        return FakeMemory()

    def IoSpace(self) -> FakeIoSpace:
        return FakeIoSpace()

    def Cpu(self, memory: FakeMemory, io: FakeIoSpace, clock: FakeClock, model: object, seed: int = 0) -> FakeCpu:
        cpu = FakeCpu()
        cpu.io, cpu.memory = io, memory
        cpu.script = [self._bound(step, cpu) for step in self.script]
        self.cpus.append(cpu)
        return cpu

    @staticmethod
    def _bound(step: Callable[[FakeCpu], str], cpu: FakeCpu) -> Callable[[], str]:
        return lambda: step(cpu)
