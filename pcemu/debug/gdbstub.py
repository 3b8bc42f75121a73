"""The gdb stub: gdb's remote serial protocol on a character device (gdb manual, appendix E).

It stands beside the machine, in its loop, between slices of guest time. Breakpoints and watches are the core's
(Cpu.set_breakpoints, set_watches), not the guest's debug registers; a packet that sets one only notes it, and all go to the core
when the guest is about to run. What the packets `qqemu.*` do is as QEMU documents it
(docs/system/gdb).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from pcemu.qom.errors import PcemuError

from .gdbpackets import MOST, Wire, escape, from_hex, number, unescape
from .gdbregs import RegisterFile, in_long_code, registers_of

SIGINT, SIGQUIT, SIGTRAP, SIGABRT, SIGALRM, SIGSTOP, UNKNOWN = 2, 3, 5, 6, 14, 17, 143      # gdb's numbers
# Why the machine stands still, as a signal; QEMU's table
SIGNALS = {"debug": SIGTRAP, "paused": SIGINT, "shutdown": SIGQUIT, "io-error": SIGSTOP, "watchdog": SIGALRM,
           "internal-error": SIGABRT}  # fmt: skip
STEP_ENABLE, STEP_NOIRQ, STEP_NOTIMER = 1, 2, 4
STEP_ALL = STEP_ENABLE | STEP_NOIRQ | STEP_NOTIMER
WATCHES = {2: ("w", "watch"), 3: ("r", "rwatch"), 4: ("rw", "awatch")}      # Z2, Z3, Z4
MOST_POINTS = 4096
PAGE = 4096
ROOM = 1024                 # bytes taken at once, from a client that reads its answers

OK, UNSUPPORTED = b"OK", b""
E_FAULT, E_INVALID, E_FULL = b"E14", b"E22", b"E28"


class GdbStub:
    """One gdb at a time. `monitor` runs a line for `monitor CMD`."""

    def __init__(self, machine: Any, chardev: Any, monitor: Callable[[str], str]) -> None:
        self.machine = machine
        self.monitor = monitor
        self.chardev = chardev.attach("gdb")
        self.wire = Wire(self.chardev.write, self._packet, self._interrupt)
        self.attached = False
        self._stopping: set[int] = set()                        # what the core knows of `stops` and `watches`
        self._watched: list[tuple[int, int, int]] = []
        self._forget_client()
        machine.listeners.append(self._event)
        self.chardev.refuse_others = True
        self.chardev.can_receive = lambda: 0 if self.chardev.blocked else ROOM
        self.chardev.on_writable = self.chardev.accept_input
        self.chardev.on_event = self._chardev_event
        self.chardev.on_input = self._input

    def close(self) -> None:
        """gdbserver none: as if gdb had gone, for good."""
        self._drop_client()
        self.machine.listeners.remove(self._event)
        self.chardev.refuse_others = False
        self.chardev.detach()

    # ---- clients come and go ----------------------------------------------------------------------------------------------

    def _forget_client(self) -> None:
        self.cpu_index = 0              # Hg: of registers and memory
        self.waiting = False            # gdb has let the machine run and waits for it to stop
        self.physical = False           # Qqemu.PhyMemMode
        self.step_flags = STEP_ALL
        self.says_why = False           # gdb knows swbreak and hwbreak
        self.stops: dict[tuple[int, int], int] = {}             # (kind Z0 or Z1, address): how often set
        self.watches: list[tuple[int, int, int]] = []           # (kind, address, bytes)
        self._hit: tuple[int, int, int] | None = None

    def _chardev_event(self, event: str) -> None:
        if event == "opened":
            self._drop_client()
            self._attach()
        elif event == "closed":
            self._drop_client()

    def _attach(self) -> None:
        """A client: the machine stops for it."""
        self.attached = True
        self.wire.reset()
        self.machine.stop("paused")

    def _drop_client(self) -> None:
        """Without a client nothing stops the machine; whether it runs stays as it is."""
        self.attached = False
        self._forget_client()
        self.machine.cancel_step()
        self._set_points()

    def _input(self, data: bytes) -> None:
        if not self.attached:
            self._attach()              # a stream that has no connections, like stdio
        self.wire.feed(data)

    # ---- the machine stops and ends ------------------------------------------------------------------------------------

    def _event(self, name: str, data: dict[str, Any]) -> None:
        if name == "STOP" and self.attached:
            self._note_hit()
            if self.waiting:
                self.waiting = False
                self.wire.send(self._stop_reply())

    def ended(self, status: int) -> None:
        """The machine has ended, and the process will."""
        if self.attached and self.waiting:
            self.waiting = False
            self.wire.send(b"W%02x" % (status & 255))

    def _note_hit(self) -> None:
        self._hit = None
        for cpu in self.machine.cpus:
            index = cpu.take_watch()
            if index is not None:
                self._hit = self._watched[index]

    def _stop_reply(self) -> bytes:
        machine = self.machine
        reply = b"T%02xthread:%02x;" % (SIGNALS.get(machine.status, UNKNOWN), self.cpu_index + 1)
        if machine.status == "debug":
            if self._hit is not None:
                kind, addr, _ = self._hit
                reply += b"%s:%x;" % (WATCHES[kind][1].encode(), addr)
            elif self.says_why:
                here = self._linear_pc()
                for kind, why in ((0, b"swbreak:;"), (1, b"hwbreak:;")):
                    if (kind, here) in self.stops:
                        return reply + why
        return reply

    def _linear_pc(self) -> int:
        cpu = self.cpu
        pc: int = cpu.get("rip")
        return pc if in_long_code(cpu) else cpu.get("cs_base") + pc & 0xFFFFFFFF

    def _interrupt(self) -> None:
        self.machine.stop("paused")

    @property
    def cpu(self) -> Any:
        return self.machine.cpus[self.cpu_index]

    @property
    def file(self) -> RegisterFile:
        return registers_of(self.machine.cpu_models[self.cpu_index])

    # ---- packets ----------------------------------------------------------------------------------------------------------

    def _packet(self, packet: bytes) -> None:
        reply: bytes | None
        try:
            if not self.machine.cpus:
                reply = b"E01"
            else:
                reply = self._answer(packet)
        except (ValueError, IndexError, PcemuError):
            reply = E_INVALID
        except Exception as error:      # a device's, or ours: gdb's user sees an error, and the machine goes on
            shown = packet[:20].decode("ascii", "replace")
            print(f"pcemu: gdb: packet '{shown}': {type(error).__name__}: {error}", file=sys.stderr)
            reply = b"E01"
        if reply is not None:
            self.wire.send(reply)

    def _answer(self, packet: bytes) -> bytes | None:
        """The reply; None when there is none now."""
        handler = _LETTERS.get(packet[:1])
        if handler is not None:
            return handler(self, packet[1:])
        word = packet
        for separator in b":;,=":
            word = word.partition(b"%c" % separator)[0]
        named = _NAMED.get(word)
        return UNSUPPORTED if named is None else named(self, packet[len(word) + 1:])

    # -- running

    def _why(self, rest: bytes) -> bytes:
        """?: the first question of a new client. Whatever an earlier one left is gone."""
        self.stops.clear()
        self.watches.clear()
        return b"T%02xthread:%02x;" % (SIGTRAP, self.cpu_index + 1)

    def _continue(self, rest: bytes) -> bytes | None:
        self._set_pc(rest)
        return self._run(0)

    def _continue_signal(self, rest: bytes) -> bytes | None:
        """C sig[;addr]: there are no signals here."""
        return self._continue(rest.partition(b";")[2])

    def _step(self, rest: bytes) -> bytes | None:
        self._set_pc(rest)
        return self._run(self.step_flags)

    def _step_signal(self, rest: bytes) -> bytes | None:
        return self._step(rest.partition(b";")[2])

    def _set_pc(self, rest: bytes) -> None:
        if rest:
            self.cpu.set("rip", number(rest))

    def _vcont(self, rest: bytes) -> bytes | None:
        """vCont;action[:thread]...: for each thread the first action that fits it."""
        chosen: dict[int, bytes] = {}
        for item in rest.split(b";"):
            action, _, thread = item.partition(b":")
            if action[:1] not in (b"c", b"C", b"s", b"S"):
                return E_INVALID
            for index in self._threads(thread):
                chosen.setdefault(index, action[:1].lower())
        if not chosen:
            return E_INVALID
        stepped = [index for index, action in chosen.items() if action == b"s"]
        if stepped:
            self.cpu_index = stepped[0]
        return self._run(self.step_flags if stepped else 0)

    def _run(self, step: int) -> bytes | None:
        machine = self.machine
        if machine.status in ("shutdown", "internal-error") or machine.exit_reason is not None:
            return self._stop_reply()           # it does not run again before a reset
        self._set_points()
        self._hit = None
        self.waiting = True
        if not step and self._linear_pc() != self.cpu.get("rip") and self._linear_pc() in self._stop_addresses():
            # Outside flat code gdb, to which EIP is the address, does not know that it stands at a breakpoint.
            machine.debug_step(STEP_ALL, go_on=True)
        elif step & STEP_ENABLE:
            machine.debug_step(step)
        else:
            machine.cont()
        return None

    def _detach(self, rest: bytes) -> None:
        self.wire.send(OK)
        self._forget_client()
        self._set_points()
        if self.machine.status not in ("shutdown", "internal-error"):
            self.machine.cont()

    def _kill(self, rest: bytes) -> None:
        self.machine.quit(0, "host-signal")

    def _vkill(self, rest: bytes) -> bytes:
        self.machine.quit(0, "host-signal")
        return OK

    # -- breakpoints

    def _insert(self, rest: bytes) -> bytes:
        kind, addr, size = self._point(rest)
        if len(self.stops) + len(self.watches) >= MOST_POINTS:
            return E_FULL
        if kind in (0, 1):
            self.stops[kind, addr] = self.stops.get((kind, addr), 0) + 1
        elif kind in WATCHES and 0 < size <= 1 << 20:
            self.watches.append((kind, addr, size))
        else:
            return UNSUPPORTED if kind > 4 else E_INVALID
        return OK

    def _remove(self, rest: bytes) -> bytes:
        kind, addr, size = self._point(rest)
        if kind in (0, 1):
            left = self.stops.pop((kind, addr), 0) - 1
            if left > 0:
                self.stops[kind, addr] = left
            return OK if left >= 0 else E_INVALID
        if kind not in WATCHES:
            return UNSUPPORTED
        self.watches.remove((kind, addr, size))
        return OK

    def _point(self, rest: bytes) -> tuple[int, int, int]:
        kind, addr, size = rest.partition(b";")[0].split(b",")
        return number(kind, 8), number(addr), number(size)

    def _stop_addresses(self) -> set[int]:
        return {addr for _, addr in self.stops}

    def _set_points(self) -> None:
        """Into the core; only what changed costs anything there."""
        stops = self._stop_addresses()
        for cpu in self.machine.cpus:
            if self._stopping or stops:
                cpu.set_breakpoints(stops)        # (a step may have taken them away)
            if self._watched != self.watches:
                cpu.set_watches([(addr, size, WATCHES[kind][0]) for kind, addr, size in self.watches])
        self._stopping = stops
        self._watched = list(self.watches)

    # -- registers and memory

    def _read_registers(self, rest: bytes) -> bytes:
        return self.file.read_all(self.cpu).hex().encode()

    def _write_registers(self, rest: bytes) -> bytes:
        self.file.write_all(self.cpu, from_hex(rest))
        return OK

    def _read_register(self, rest: bytes) -> bytes:
        return self.file.read(self.cpu, number(rest, 16)).hex().encode()

    def _write_register(self, rest: bytes) -> bytes:
        which, _, value = rest.partition(b"=")
        self.file.write(self.cpu, number(which, 16), from_hex(value))
        return OK

    def _read_memory(self, rest: bytes) -> bytes:
        where, _, size = rest.partition(b",")
        addr, count = number(where), number(size, 32)
        if count > MOST // 2:
            return E_INVALID
        data = self._read(addr, count)
        return data.hex().encode() if data or not count else E_FAULT

    def _write_memory(self, rest: bytes) -> bytes:
        return self._store(rest, from_hex)

    def _write_binary(self, rest: bytes) -> bytes:
        return self._store(rest, unescape)

    def _store(self, rest: bytes, decode: Callable[[bytes], bytes]) -> bytes:
        head, _, coded = rest.partition(b":")
        where, _, size = head.partition(b",")
        addr, count, data = number(where), number(size, 32), decode(coded)
        if count != len(data):
            return E_INVALID
        pieces = list(self._pieces(addr, count))
        if any(physical is None for physical, _, _ in pieces):
            return E_FAULT
        for physical, start, end in pieces:
            self.machine.memory.write(physical, data[start:end], debug=True)
        return OK

    def _read(self, addr: int, count: int) -> bytes:
        """As much as is mapped, from the first byte on."""
        data = b""
        for physical, start, end in self._pieces(addr, count):
            if physical is None:
                break
            data += self.machine.memory.read(physical, end - start)
        return data

    def _pieces(self, addr: int, count: int) -> list[tuple[int | None, int, int]]:
        """(physical address or None, first, end) of the parts of [addr, addr + count) that lie in one page each."""
        found: list[tuple[int | None, int, int]] = []
        done = 0
        while done < count:
            here = addr + done & (1 << 64) - 1
            step = min(count - done, PAGE - here % PAGE)
            found.append((here if self.physical else self.cpu.translate(here), done, done + step))
            done += step
        return found

    # -- threads: one a CPU, numbered from 1

    def _threads(self, text: bytes) -> list[int]:
        """CPUs that a thread id means: nothing, -1 and 0 are all of them."""
        every = range(len(self.machine.cpus))
        if text in (b"", b"-1"):
            return list(every)
        which = number(text, 32)
        return list(every) if which == 0 else [which - 1] if which - 1 in every else []

    def _choose_thread(self, rest: bytes) -> bytes:
        found = self._threads(rest[1:])
        if rest[:1] not in (b"g", b"c") or not found:
            return E_INVALID
        if rest[1:] not in (b"", b"-1", b"0"):
            self.cpu_index = found[0]
        return OK

    def _is_alive(self, rest: bytes) -> bytes:
        return OK if self._threads(rest) else E_INVALID

    def _current_thread(self, rest: bytes) -> bytes:
        return b"QC%x" % (self.cpu_index + 1)

    def _first_threads(self, rest: bytes) -> bytes:
        return b"m" + b",".join(b"%x" % (index + 1) for index in range(len(self.machine.cpus)))

    def _thread_info(self, rest: bytes) -> bytes:
        found = self._threads(rest)
        if not found:
            return E_INVALID
        state = "halted " if self.machine.cpus[found[0]].halted else "running"
        return f"CPU#{found[0]} [{state}]".encode().hex().encode()

    # -- questions and settings

    def _supported(self, rest: bytes) -> bytes:
        self.says_why = b"swbreak+" in rest.split(b";")
        reply = b"PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+" % MOST
        return reply + (b";swbreak+;hwbreak+" if self.says_why else b"")

    def _no_acks(self, rest: bytes) -> None:
        self.wire.send(OK)
        self.wire.acks = False

    def _transfer(self, rest: bytes) -> bytes:
        """qXfer:features:read:target.xml:offset,length."""
        parts = rest.split(b":")
        if parts[:2] != [b"features", b"read"] or len(parts) != 4:
            return UNSUPPORTED
        if parts[2] != b"target.xml":
            return b"E00"
        offset, _, length = parts[3].partition(b",")
        text = self.file.description()
        start, size = number(offset, 32), min(number(length, 32), MOST // 2)
        if start > len(text):
            return b"E00"
        return (b"l" if start + size >= len(text) else b"m") + escape(text[start:start + size])

    def _command(self, rest: bytes) -> bytes:
        """qRcmd: a line for the human monitor."""
        said = self.monitor(from_hex(rest).decode("utf-8", "replace")).encode("utf-8", "replace")
        for start in range(0, len(said), MOST // 4):
            self.wire.send(b"O" + said[start:start + MOST // 4].hex().encode())
        return OK

    def _read_step(self, rest: bytes) -> bytes:
        return b"0x%x" % self.step_flags

    def _set_step(self, rest: bytes) -> bytes:
        """Qqemu.sstep=0xN."""
        flags = number(rest.removeprefix(b"0x"), 8)
        if flags & ~STEP_ALL:
            return E_INVALID
        self.step_flags = flags
        return OK

    def _read_physical(self, rest: bytes) -> bytes:
        return b"1" if self.physical else b"0"

    def _set_physical(self, rest: bytes) -> bytes:
        if rest not in (b"0", b"1"):
            return E_INVALID
        self.physical = rest == b"1"
        return OK


def _always(reply: bytes) -> Callable[[GdbStub, bytes], bytes]:
    return lambda stub, rest: reply


_Handler = Callable[[GdbStub, bytes], bytes | None]

_LETTERS: dict[bytes, _Handler] = {
    b"?": GdbStub._why, b"c": GdbStub._continue, b"C": GdbStub._continue_signal, b"s": GdbStub._step, b"S": GdbStub._step_signal,
    b"D": GdbStub._detach, b"k": GdbStub._kill, b"g": GdbStub._read_registers, b"G": GdbStub._write_registers,
    b"p": GdbStub._read_register, b"P": GdbStub._write_register, b"m": GdbStub._read_memory, b"M": GdbStub._write_memory,
    b"X": GdbStub._write_binary, b"Z": GdbStub._insert, b"z": GdbStub._remove, b"H": GdbStub._choose_thread,
    b"T": GdbStub._is_alive,
}  # fmt: skip

_NAMED: dict[bytes, _Handler] = {
    b"qSupported": GdbStub._supported, b"QStartNoAckMode": GdbStub._no_acks, b"qXfer": GdbStub._transfer,
    b"vCont?": _always(b"vCont;c;C;s;S"), b"vCont": GdbStub._vcont, b"vKill": GdbStub._vkill, b"qAttached": _always(b"1"),
    b"qC": GdbStub._current_thread, b"qfThreadInfo": GdbStub._first_threads, b"qsThreadInfo": _always(b"l"),
    b"qThreadExtraInfo": GdbStub._thread_info, b"qRcmd": GdbStub._command,
    b"qqemu.sstepbits": _always(b"ENABLE=1,NOIRQ=2,NOTIMER=4"), b"qqemu.sstep": GdbStub._read_step,
    b"Qqemu.sstep": GdbStub._set_step, b"qqemu.PhyMemMode": GdbStub._read_physical,
    b"Qqemu.PhyMemMode": GdbStub._set_physical, b"qqemu.Supported": _always(b"sstepbits;sstep;PhyMemMode"),
}  # fmt: skip
