"""qtest on a character device: ports, memory, clock and interrupt lines for tests of devices (-qtest, -accel qtest).

A line is a command, and is answered by `OK`, perhaps with a value, or `FAIL` with a reason; between answers come
`IRQ raise N` and `IRQ lower N` of a device whose lines were intercepted. The words are QEMU 7.2's
(tests of its device models run against it), but what makes QEMU abort is a FAIL here.

`Door` is the commands alone, on anything that has a device tree: device tests may use it without a process.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, Any

from pcemu.machine.clock import NEVER
from pcemu.machine.tree import Tree
from pcemu.qom.errors import PcemuError
from pcemu.qom.wire import IrqIn, IrqLine, IrqOut, IrqPin

MOST_BYTES = 64 << 20           # of memory that one command reads or writes
MOST_SET = 1 << 30              # ... that memset does
MOST_LINE = 2 * MOST_BYTES + 100
PIECE = 1 << 20
CHUNK = 1 << 16                 # bytes of input taken at once
TURN_TIMERS = 1000              # timers that fire before the machine's loop turns
UNNAMED = "unnamed-gpio-in"
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")


class Refused(PcemuError):
    """The text behind FAIL."""


def number(text: str, bits: int = 64) -> int:
    """As C reads it: 0x1f, 037 or 31."""
    if not _NUMBER.fullmatch(text):
        raise Refused(f"'{text[:40]}' is not a number")
    octal = len(text) > 1 and text[0] == "0" and text[1] not in "xX"
    try:
        value = int(text, 8 if octal else 0) if len(text) <= 24 else 1 << 64
    except ValueError:
        raise Refused(f"'{text[:40]}' is not a number") from None
    if value >> bits:
        raise Refused(f"'{text[:40]}' does not fit {bits} bits")
    return value


def _size(text: str, most: int = MOST_BYTES) -> int:
    size = number(text)
    if not 0 < size <= most:
        raise Refused(f"size must be 1 to {most}")
    return size


Answer = str | Iterator[str | None]         # what takes long yields None in between, and its answer at the end


class Door:
    """The commands on one machine. `stepped`: its virtual clock moves when we say so. `tell` is called with each
    message about an interrupt line."""

    def __init__(self, machine: Any, stepped: bool, tell: Callable[[str], object]) -> None:
        self.machine = machine
        self.stepped = stepped
        self.tell = tell
        self.intercepted: Any = None        # the device whose lines are reported
        self._levels: dict[int, int] = {}

    def run(self, line: str) -> Answer:
        """The answer to one line. Never raises for what the line says."""
        words = line.split(" ")
        entry = COMMANDS.get(words[0])
        if entry is None or (words[0].startswith("clock_") and not self.stepped):
            return f"FAIL Unknown command '{words[0][:80]}'"
        function, least = entry
        if len(words) <= least:
            return f"FAIL {words[0]}: {least} arguments are expected"
        try:
            return function(self, *words)
        except PcemuError as error:
            return f"FAIL {error}"

    # -- ports and memory -------------------------------------------------------------------------------------------

    def port_out(self, name: str, port: str, value: str, *_: str) -> str:
        size = _PORT_SIZES[name[3]]
        self.machine.io.outp(number(port, 16), size, number(value) & (1 << 8 * size) - 1)
        return "OK"

    def port_in(self, name: str, port: str, *_: str) -> str:
        return f"OK {self.machine.io.inp(number(port, 16), _PORT_SIZES[name[2]]):#06x}"

    def store(self, name: str, addr: str, value: str, *_: str) -> str:
        size = _MEMORY_SIZES[name[5]]
        self.machine.memory.st(number(addr), size, number(value) & (1 << 8 * size) - 1)
        return "OK"

    def load(self, name: str, addr: str, *_: str) -> str:
        return f"OK {self.machine.memory.ld(number(addr), _MEMORY_SIZES[name[4]]):#018x}"

    def read(self, name: str, addr: str, size: str, *_: str) -> str:
        data = bytes(self.machine.memory.read(number(addr), _size(size)))
        return "OK " + (base64.b64encode(data).decode() if name == "b64read" else "0x" + data.hex())

    def write(self, name: str, addr: str, size: str, text: str, *_: str) -> str:
        count = _size(size)
        try:
            if name == "b64write":
                data = base64.b64decode(text, validate=True)[:count]
            elif text.startswith("0x") and len(text) > 2:
                digits = text[2 : 2 + 2 * count]
                data = bytes.fromhex(digits[: len(digits) & ~1]).ljust(count, b"\0")
            else:
                raise ValueError
        except (ValueError, binascii.Error):
            raise Refused(f"{name}: the data is not {'base64' if name == 'b64write' else '0x and hexadecimal digits'}") from None
        self.machine.memory.write(number(addr), data)
        return "OK"

    def memset(self, name: str, addr: str, size: str, value: str, *_: str) -> str:
        at, left, byte = number(addr), number(size), number(value) & 0xFF
        if left > MOST_SET:
            raise Refused(f"size must be at most {MOST_SET}")
        piece = bytes((byte,)) * min(left, PIECE)
        while left:
            count = min(left, PIECE)
            self.machine.memory.write(at, piece[:count])
            at, left = at + count, left - count
        return "OK"

    def endianness(self, name: str, *_: str) -> str:
        return "OK little"

    def module_load(self, name: str, *_: str) -> str:
        return "FAIL"               # nothing of ours is in modules

    # -- time -------------------------------------------------------------------------------------------------------

    def clock_step(self, name: str, ns: str = "", *_: str) -> Answer:
        """By so many ns, or to the next timer."""
        clock = self.machine.clock
        if ns:
            return self._go_to(clock.now() + number(ns, 63))
        deadline = clock.next_deadline()
        return self._go_to(clock.now() if deadline == NEVER else deadline)

    def clock_set(self, name: str, ns: str, *_: str) -> Answer:
        return self._go_to(number(ns, 63))

    def _go_to(self, ns: int) -> Iterator[str | None]:
        """Every timer on the way fires at its time; never backward. Stopped machines have no timers."""
        clock = self.machine.clock
        ns = min(ns, NEVER - 1)
        turns = 0
        while self.machine.guest_runs and (deadline := clock.next_deadline()) <= ns:
            clock.advance_to(deadline)
            clock.run_due()
            turns += 1
            if turns % TURN_TIMERS == 0:
                yield None
        clock.advance_to(ns)
        yield f"OK {clock.now()}"

    # -- interrupt lines --------------------------------------------------------------------------------------------

    def _device(self, path: str) -> Any:
        try:
            node = Tree(self.machine).find(path)
        except PcemuError:
            raise Refused("Unknown device") from None
        device = getattr(node, "device", None)
        if device is None:
            raise Refused("Unknown device")
        return device

    def intercept(self, name: str, path: str, *_: str) -> str:
        """Lines without a name, from now on. They go on to where they went."""
        device = self._device(path)
        if self.intercepted is not None:
            return "OK" if device is self.intercepted else "FAIL IRQ intercept already enabled"
        self.intercepted = device
        for n, end in enumerate(_ends(device, IrqOut if name.endswith("out") else IrqIn)):
            end.observe(lambda level, n=n: self._changed(n, level))
        return "OK"

    def _changed(self, n: int, level: int) -> None:
        if self._levels.get(n, 0) != level:
            self._levels[n] = level
            self.tell(f"IRQ {'raise' if level else 'lower'} {n}")

    def set_irq_in(self, name: str, path: str, gpio: str, pin: str, level: str, *_: str) -> str:
        pins = _ends(self._device(path), IrqIn, "" if gpio == UNNAMED else gpio)
        n = number(pin, 31)
        if n >= len(pins):
            raise Refused(f"there is no pin {n} of '{gpio[:80]}'")
        pins[n].set(1 if number(level.removeprefix("-"), 31) else 0)
        return "OK"


def _ends(device: Any, kind: type[IrqIn] | type[IrqOut], name: str = "") -> list[Any]:
    """The pins or wires of that name."""
    found: list[IrqPin | IrqLine] = []
    for end in device._ins if kind is IrqIn else device._outs:
        if end.gpio_name == name and not end.hidden:
            bound = getattr(device, end.attr)
            found += bound.pins if kind is IrqIn else bound.lines
    return found


_PORT_SIZES = {"b": 1, "w": 2, "l": 4}
_MEMORY_SIZES = {"b": 1, "w": 2, "l": 4, "q": 8}
# name -> what does it, and how many arguments it has at least
COMMANDS: dict[str, tuple[Callable[..., Answer], int]] = {
    **{f"out{c}": (Door.port_out, 2) for c in _PORT_SIZES},
    **{f"in{c}": (Door.port_in, 1) for c in _PORT_SIZES},
    **{f"write{c}": (Door.store, 2) for c in _MEMORY_SIZES},
    **{f"read{c}": (Door.load, 1) for c in _MEMORY_SIZES},
    "read": (Door.read, 2), "b64read": (Door.read, 2), "write": (Door.write, 3), "b64write": (Door.write, 3),
    "memset": (Door.memset, 3), "endianness": (Door.endianness, 0), "module_load": (Door.module_load, 2),
    "clock_step": (Door.clock_step, 0), "clock_set": (Door.clock_set, 1),
    "irq_intercept_in": (Door.intercept, 1), "irq_intercept_out": (Door.intercept, 1), "set_irq_in": (Door.set_irq_in, 4),
}  # fmt: skip


class QtestServer:
    """The protocol on a character device, one client at a time. `log`: a file name, "none", or None for standard error."""

    def __init__(self, machine: Any, chardev: Any, log: str | None = None) -> None:
        self.machine = machine
        self._log: IO[str] | None = None
        if log is None:
            self._log = sys.stderr
        elif log != "none":
            try:
                self._log = open(log, "w", encoding="utf-8", buffering=1)      # noqa: SIM115 - until the process ends
            except OSError as error:
                raise PcemuError(f"-qtest-log {log}: {error.strerror}") from None
        self._lines: deque[str] = deque()
        self._rest = bytearray()
        self._too_long = False
        self._job: Iterator[str | None] | None = None       # a command that takes several turns of the loop
        self._opened = time.monotonic()
        self.chardev = chardev.attach("qtest", focus=False)
        self.chardev.can_receive = self._room
        self.chardev.on_event = self._chardev_event
        self.chardev.on_writable = self._go_on
        self.door = self._new_door()
        if self.chardev.connected:
            self._note("I", "OPENED")
        self.chardev.on_input = self._input

    def _new_door(self) -> Door:
        return Door(self.machine, self.machine.config.accel == "qtest", self._send)

    def _note(self, kind: str, text: str) -> None:
        if self._log is not None:
            self._log.write(f"[{kind} {time.monotonic() - self._opened:+.6f}] {text}\n")

    def _chardev_event(self, event: str) -> None:
        if event == "opened":
            self._opened = time.monotonic()
            # The next test begins anew, but for the lines that are intercepted: they stay so.
            self._lines.clear()
            self._rest.clear()
            self._too_long, self._job = False, None
            self._note("I", "OPENED")
        elif event == "closed":
            self._note("I", "CLOSED")
            self._lines.clear()
            self._job = None

    def _room(self) -> int:
        return 0 if self._lines or self._job is not None or self.chardev.blocked else CHUNK

    def _input(self, data: bytes) -> None:
        self._rest += data
        if b"\n" not in data:
            if len(self._rest) > MOST_LINE:
                self._rest.clear()
                self._too_long = True
            return
        *lines, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        self._lines.extend(line.decode(errors="replace") for line in lines)
        self._work()

    def _go_on(self) -> None:
        if self._lines and self._job is None:
            self.machine.loop.call_soon(self._work)
        self.chardev.accept_input()

    def _work(self) -> None:
        """Answer what is queued. A job comes back here by way of the loop."""
        while not self.chardev.blocked:
            if self._job is None:
                if not self._lines:
                    break
                line = self._lines.popleft()
                self._note("R", line[:200])
                if self._too_long:
                    self._too_long = False
                    answer: Answer = f"FAIL a line has at most {MOST_LINE} characters"
                else:
                    answer = self.door.run(line)
                if isinstance(answer, str):
                    self._send(answer)
                    continue
                self._job = answer
            result = next(self._job, None)
            if result is None:
                self.machine.loop.call_soon(self._work)
                return
            self._job = None
            self._send(result)
        self.chardev.flush()
        self.chardev.accept_input()

    def _send(self, text: str) -> None:
        self._note("S", text[:200])
        self.chardev.write(text.encode() + b"\n")
