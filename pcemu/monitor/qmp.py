"""QMP on a character device: JSON requests in, responses and events out.

A request waits in a queue that takes a few; while it is full, and while the client does not take our output, nothing
more is read. Requests of a turn of the machine's loop share TURN_NS, so that a client that never stops asking slows
the guest down a little and cannot stop it.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from typing import Any

import pcemu
from pcemu.chardev import Chardev
from pcemu.qom.errors import PcemuError

from . import table
from .errors import CommandError, CommandNotFound
from .introspect import schema
from .jsonstream import ParseError, Splitter, parse
from .shell import TURN_NS, client_first

MOST_QUEUED = 8                 # requests that wait; then no more is read
CHUNK = 4096                    # bytes taken at once
MOST_UNSENT = 1 << 20           # bytes of output: a client that lets more come together loses events
INTERFACE = (7, 2, 0)
KNOWN_KEYS = ("execute", "arguments", "id")


def version_info() -> dict[str, Any]:
    """The version of QEMU whose interface this is (managers decide by it what they may ask), and ours."""
    return {"qemu": dict(zip(("major", "minor", "micro"), INTERFACE, strict=True)), "package": f"pcemu {pcemu.__version__}"}


class Later:
    """A command's result that is not there yet: return one, and call `done()` or `fail()` when it is."""

    def __init__(self) -> None:
        self._answer: tuple[Any, Exception | None] | None = None
        self._waiting: Any = None

    def done(self, value: Any = None) -> None:
        self._settle(value, None)

    def fail(self, error: Exception) -> None:
        self._settle(None, error)

    def _settle(self, value: Any, error: Exception | None) -> None:
        if self._answer is None:
            self._answer = (value, error)
            if self._waiting is not None:
                self._waiting(value, error)

    def when_settled(self, callback: Any) -> None:
        self._waiting = callback
        if self._answer is not None:
            callback(*self._answer)


class QmpMonitor:
    """One connection at a time; a new client of a socket negotiates anew."""

    def __init__(self, machine: Any, chardev: Chardev, pretty: bool = False) -> None:
        self.machine = machine
        self.pretty = pretty
        self.schema = schema()
        self.ctx = table.Context(machine, self)
        self.ready = False              # capabilities were negotiated: commands and events from here on
        self._splitter = Splitter()
        self._queue: deque[bytes | ParseError] = deque()
        self._busy = False              # a command works on its result still
        self._scheduled = False
        self._session = 0
        self._lossy = False             # this client has lost events
        self._closing = False           # the client is gone, and some of its requests are not done yet
        self._held: dict[str, Any] = {}         # events that came too soon after the last of their kind
        self.chardev = chardev.attach("a QMP monitor", focus=False)
        self.chardev.can_receive = self._room
        self.chardev.on_event = self._chardev_event
        self.chardev.on_writable = self._go_on
        self.chardev.accept_descriptors = True
        machine.listeners.append(self.event)
        if self.chardev.connected:
            self._greet()
        self.chardev.on_input = self._input

    # ---- the stream -----------------------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message, indent=4 if self.pretty else None, allow_nan=False)
        self.chardev.write(text.encode() + b"\r\n")
        self.chardev.flush()            # now, and not after another slice of the guest's time
        client_first(self.machine)

    def _greet(self) -> None:
        self._send({"QMP": {"version": version_info(), "capabilities": []}})

    def _chardev_event(self, event: str) -> None:
        if event == "closed":
            self._closing = True
            if self._queue:             # what had come whole is done still: the end of a pipe is no reason not to quit
                self._schedule()
            else:
                self._end_session()
        elif event == "opened":
            self._end_session()
            self._greet()

    def _end_session(self) -> None:
        self.ready = self._busy = self._closing = self._lossy = False
        self._session += 1
        self._queue.clear()
        self._splitter = Splitter()
        self.machine.fds.drop_received(self.chardev)
        for timer in self._held.values():
            timer[0].cancel()
        self._held.clear()

    def _room(self) -> int:
        return CHUNK if len(self._queue) < MOST_QUEUED and not self.chardev.blocked else 0

    def _input(self, data: bytes) -> None:
        self._queue.extend(self._splitter.feed(data))
        self._work()

    def _go_on(self) -> None:
        self._schedule()
        self.chardev.accept_input()

    def _schedule(self) -> None:
        if self._queue and not self._scheduled:
            self._scheduled = True
            self.machine.loop.call_soon(self._scheduled_work)

    def _scheduled_work(self) -> None:
        self._scheduled = False
        self._work()

    def _work(self) -> None:
        """Answer what is queued, as much as fits a turn."""
        end = time.monotonic_ns() + TURN_NS
        while self._queue and not self._busy and not self.chardev.blocked:
            self._answer(self._queue.popleft())
            if self._queue and time.monotonic_ns() > end:
                self._schedule()
                return
        if not self._queue:
            if self._closing:
                self._end_session()
            self.chardev.accept_input()

    # ---- requests -------------------------------------------------------------------------------------------------

    def _answer(self, text: bytes | ParseError) -> None:
        extra: dict[str, Any] = {}
        try:
            if isinstance(text, ParseError):
                raise text
            request = parse(text)
            if isinstance(request, dict) and "id" in request:
                extra = {"id": request["id"]}
            result = self._execute(request)
        except ParseError as error:
            self._respond_error(extra, CommandError(str(error)))
        except Exception as error:
            self._respond_error(extra, error)
        else:
            if isinstance(result, Later):
                self._busy = True
                session = self._session
                result.when_settled(lambda value, error: self._settled(session, extra, value, error))
            else:
                self._respond(extra, result)

    def _settled(self, session: int, extra: dict[str, Any], value: Any, error: Exception | None) -> None:
        if session != self._session:
            return                      # the client that asked is gone
        self._busy = False
        if error is not None:
            self._respond_error(extra, error)
        else:
            self._respond(extra, value)
        self._schedule()

    def _respond(self, extra: dict[str, Any], value: Any) -> None:
        self._send({"return": {} if value is None else value, **extra})

    def _respond_error(self, extra: dict[str, Any], error: Exception) -> None:
        if isinstance(error, PcemuError):
            name, text = getattr(error, "error_class", "GenericError"), str(error)
        elif isinstance(error, OSError):
            name, text = "GenericError", f"{error.filename or 'host'}: {error.strerror}"
        else:
            # Our own fault. The guest and the other clients have nothing to do with it.
            from pcemu.machine.exit import describe_failure

            name, text = "GenericError", describe_failure(error)
            self.machine.log.write(f"pcemu: QMP: {text}\n")
        self._send({"error": {"class": name, "desc": text}, **extra})

    def _execute(self, request: Any) -> Any:
        if not isinstance(request, dict):
            raise CommandError("QMP input must be a JSON object")
        for key in request:
            if key not in KNOWN_KEYS:
                raise CommandError(f"QMP input member '{key[:80]}' is unexpected")
        if "execute" not in request:
            raise CommandError("QMP input lacks member 'execute'")
        name = request["execute"]
        if not isinstance(name, str):
            raise CommandError("QMP input member 'execute' must be a string")
        arguments = request.get("arguments", {})
        if not isinstance(arguments, dict):
            raise CommandError("QMP input member 'arguments' must be an object")
        command = table.QMP.get(name)
        if not self.ready:
            if name == "qmp_capabilities":
                assert command is not None
                self.schema.arguments[name].check_members(arguments)
                for capability in arguments.get("enable", []):
                    raise CommandError(f"Capability '{capability}' not available")
                self.ready = True
                return None
            if command is None or not command.coming:
                raise CommandNotFound("Expecting capabilities negotiation with 'qmp_capabilities'")
        if command is None:
            raise CommandNotFound(f"The command {name[:80]} has not been found")
        if name == "qmp_capabilities":
            raise CommandNotFound("Capabilities negotiation is already complete, command ignored")
        return execute(self.ctx, command, arguments)

    # ---- events ---------------------------------------------------------------------------------------------------

    def event(self, name: str, data: dict[str, Any]) -> None:
        """Machine.emit_event's listener."""
        if not self.ready:
            return
        if self.chardev.unsent > MOST_UNSENT:
            if not self._lossy:
                self._lossy = True
                print(f"pcemu: warning: chardev '{self.chardev.id}': events lost, the QMP client does not read", file=sys.stderr)
            return
        now = time.time_ns()
        stamp = {"seconds": now // 1_000_000_000, "microseconds": now // 1000 % 1_000_000}
        message = {"timestamp": stamp, "event": name, **({"data": data} if data else {})}
        declared = table.EVENTS.get(name)
        if declared is None or not declared.interval:
            self._send(message)
            return
        # Often asked for, and only the last one matters.
        key = name + str(data.get("id") or data.get("qom-path") or "")
        held = self._held.get(key)
        if held is None:
            self._send(message)
            timer = self.machine.loop.call_later(declared.interval, self._held_event, key)
            self._held[key] = [timer, None]
        else:
            held[1] = message

    def _held_event(self, key: str) -> None:
        held = self._held.pop(key)
        if held[1] is not None:
            interval = table.EVENTS[held[1]["event"]].interval
            self._send(held[1])
            self._held[key] = [self.machine.loop.call_later(interval, self._held_event, key), None]


def execute(ctx: table.Context, command: table.QmpCommand, arguments: dict[str, Any]) -> Any:
    """Run a command of QMP's with arguments as they came from a client."""
    checked = schema().arguments[command.name].check_members(arguments)
    takes = schema().arguments[command.name]
    if takes.open:
        declared = {member.name for member in takes.members}
        rest = {name: value for name, value in checked.items() if name not in declared}
        checked = {name: value for name, value in checked.items() if name in declared}
        return command.fn(ctx, rest, **_named(checked))
    values = dict.fromkeys(command.params) | _named(checked)
    return command.fn(ctx, **values)


def _named(values: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("-", "_"): value for name, value in values.items()}
