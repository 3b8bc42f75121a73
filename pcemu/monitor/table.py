"""The one table of commands, and of events. The human monitor is a face of it, QMP another.

A command is a function that takes the context and its arguments and returns *data*: text, or for commands that
QMP knows too, the value QMP sends. `render` turns that into what the human monitor prints.

    @command("info status", help="show whether the guest runs", qmp="query-status", returns="StatusInfo",
             render=show_status)
    def query_status(ctx: Context) -> dict[str, object]: ...

`takes` and `returns` are QMP's types, in the notation of schema.py; without `takes` they are those of the human
monitor's arguments. `@qmp_command` is for commands that only programs have, `declare_types` for the types.

The human monitor's arguments are one string, `name:type` separated by commas, parsed from the line in that order:

    /   a format, /4xw and the like         s   a word, or a quoted string       S   the rest of the line
    l   an expression                       i   one that fits 32 bits            f   the same as s, a file name
    o   a size, in MiB if it has no suffix
    b   on or off                           -x  a flag, True or False
    ?   behind a type: the argument may be absent (None)       .   absent unless a '.' comes first
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pcemu.qom.units import parse_size

from .errors import ArgumentError, CommandError
from .expr import Expression
from .registers import read as read_register

if TYPE_CHECKING:
    from .hmp import HmpMonitor
    from .qmp import QmpMonitor


_DIGITS = frozenset("0123456789")
MOST_ITEMS = 1 << 16        # of x and xp at once


@dataclass(frozen=True)
class Format:
    """/4xw: count, one of o d u x i c, bytes (-1: not said)."""

    count: int
    kind: str
    size: int


@dataclass
class Context:
    """What a command works on, and what a session remembers between commands."""

    machine: Any
    monitor: HmpMonitor | QmpMonitor | None = None
    cpu_index: int = 0
    format_kind: str = "x"
    format_size: int = 4
    history: list[str] = field(default_factory=list)
    ended: bool = False                     # quit was said: no more prompts

    @property
    def cpu(self) -> Any:
        if not self.machine.cpus:
            raise CommandError("No CPU available")
        return self.machine.cpus[self.cpu_index]


@dataclass(frozen=True)
class Arg:
    name: str
    type: str
    optional: bool = False
    dotted: bool = False


@dataclass(frozen=True)
class Command:
    names: tuple[str, ...]                  # the first is the name, the others abbreviations
    fn: Callable[..., Any]
    args: tuple[Arg, ...]
    params: str                             # as help shows them
    help: str
    qmp: str = ""                           # QMP's name, for commands it has too
    render: Callable[[Any], str] | None = None

    @property
    def name(self) -> str:
        return "|".join(self.names)

    def help_line(self, prefix: str = "") -> str:
        return f"{prefix}{self.name} {self.params} -- {self.help}\n"

    def run(self, ctx: Context, values: dict[str, Any]) -> str:
        """Run it for the human monitor."""
        result = self.fn(ctx, **values)
        if self.render is not None:
            result = self.render(result)
        return "" if result is None else str(result)


@dataclass(frozen=True)
class QmpCommand:
    """QMP's face of a command."""

    name: str
    fn: Callable[..., Any]
    takes: str                              # see Types.arguments()
    returns: str                            # a type; "" is an empty object
    help: str
    params: tuple[str, ...] = ()            # arguments that `fn` wants even where QMP leaves them out
    coming: bool = False                    # answers before capabilities are negotiated


@dataclass(frozen=True)
class Event:
    """What QMP monitors are told without having asked."""

    name: str
    data: str
    help: str
    interval: float = 0.0                   # seconds between two of them at least; the last one counts


COMMANDS: dict[str, Command] = {}
INFO: dict[str, Command] = {}               # `info X`
QMP: dict[str, QmpCommand] = {}             # by QMP's name
EVENTS: dict[str, Event] = {}
TYPES: list[str] = []                       # declarations, read when QMP is first used

_F = TypeVar("_F", bound=Callable[..., Any])


def command(names: str, args: str = "", *, params: str = "", help: str, qmp: str = "", takes: str | None = None,
            returns: str = "", render: Callable[[Any], str] | None = None) -> Callable[[_F], _F]:
    """Put a function into the table. `names` is `name|abbreviation`, or `info name`."""

    def enter(fn: _F) -> _F:
        table, rest = (INFO, names[5:]) if names.startswith("info ") else (COMMANDS, names)
        entry = Command(tuple(rest.split("|")), fn, tuple(_declared(args)), params, help, qmp, render)
        for name in entry.names:
            table[name] = entry
        if qmp:
            wanted = _qmp_members(entry.args) if takes is None else takes
            QMP[qmp] = QmpCommand(qmp, fn, wanted, returns, help, tuple(arg.name for arg in entry.args))
        return fn

    return enter


def qmp_command(name: str, takes: str = "", *, returns: str = "", help: str, coming: bool = False) -> Callable[[_F], _F]:
    """A command for programs only. QMP's `some-name` is the parameter `some_name`; absent ones are not passed."""

    def enter(fn: _F) -> _F:
        QMP[name] = QmpCommand(name, fn, takes, returns, help, coming=coming)
        return fn

    return enter


def event(name: str, data: str = "", *, help: str, interval: float = 0.0) -> None:
    """Declare an event (Machine.emit_event)."""
    EVENTS[name] = Event(name, data, help, interval)


def declare_types(text: str) -> None:
    """Types of commands' arguments and results, in the notation of schema.py."""
    TYPES.append(text)


_QMP_TYPES = {"l": "int", "i": "int", "b": "bool"}


def _qmp_members(args: Iterable[Arg]) -> str:
    """The human monitor's arguments as QMP's members."""
    return ", ".join(f"{arg.name.replace('_', '-')}{'?' if arg.optional or arg.type.startswith('-') else ''}: "
                     f"{'bool' if arg.type.startswith('-') else _QMP_TYPES.get(arg.type, 'str')}" for arg in args)


def entries(table: dict[str, Command]) -> list[Command]:
    """Each command once, by name."""
    return sorted({id(entry): entry for entry in table.values()}.values(), key=lambda entry: entry.names[0])


def _declared(args: str) -> Iterable[Arg]:
    for item in filter(None, args.split(",")):
        name, _, kind = item.partition(":")
        base = kind.rstrip("?.")
        yield Arg(name, base, optional=kind != base, dotted=kind.endswith("."))


class ArgumentParser:
    """Parses one command line's arguments."""

    def __init__(self, ctx: Context, entry: Command, text: str) -> None:
        self.ctx = ctx
        self.entry = entry
        self.text = text
        self.position = 0

    def parse(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for arg in self.entry.args:
            self._skip()
            values[arg.name] = self._parse(arg)
        self._skip()
        if self.position < len(self.text):
            raise ArgumentError(f"{self.entry.name}: extraneous characters at the end of line")
        return values

    def _skip(self) -> None:
        while self._peek().isspace():
            self.position += 1

    def _peek(self) -> str:
        return self.text[self.position:self.position + 1]

    def _parse(self, arg: Arg) -> Any:
        if arg.type.startswith("-"):
            return self._flag(arg.type[1:])
        if arg.type == "/":
            return self._format()
        if arg.dotted:
            if self._peek() != ".":
                return None
            self.position += 1
            self._skip()
        elif arg.optional and not self._peek():
            return None
        match arg.type:
            case "l" | "i":
                return self._integer(arg.type)
            case "S":
                rest, self.position = self.text[self.position:].rstrip(), len(self.text)
                if not rest:
                    raise ArgumentError(f"{self.entry.name}: string expected")
                return rest
            case "b":
                return self._bool()
            case "o":
                return self._size()
        return self._word("filename" if arg.type == "f" else "string")

    def _integer(self, kind: str) -> int:
        expression = Expression(self.text, self.position, lambda name: read_register(self.ctx.cpu, name))
        value = expression.value()
        self.position = expression.position
        if kind == "i" and not -(1 << 31) <= value < 1 << 32:
            raise ArgumentError(f"'{self.entry.names[0]}' has failed: integer is for 32-bit values")
        return value

    def _size(self) -> int:
        word = self._word("size")
        try:
            return parse_size(word + "M" if word[-1:].isdigit() else word)
        except ValueError:
            raise ArgumentError(f"{self.entry.name}: invalid size '{word[:80]}'") from None

    def _flag(self, letter: str) -> bool:
        text = self.text[self.position:]
        if not text.startswith("-"):
            return False
        if text[1:2] != letter:
            # Perhaps one of the flags that are still to come.
            letters = [arg.type[1:] for arg in self.entry.args if arg.type.startswith("-")]
            if text[1:2] not in letters:
                raise ArgumentError(f"{self.entry.name}: unsupported option -{text[1:2]}")
            return False
        self.position += 2
        return True

    def _bool(self) -> bool:
        word = self._word("string")
        if word not in ("on", "off"):
            raise ArgumentError("Expected 'on' or 'off'")
        return word == "on"

    def _word(self, what: str) -> str:
        char = self._peek()
        if not char:
            raise ArgumentError(f"{self.entry.name}: {what} expected")
        start = self.position
        if char != '"':
            while self._peek() and not self._peek().isspace():
                self.position += 1
            return self.text[start:self.position]
        self.position += 1
        word = []
        while (char := self._peek()) != '"':
            if not char:
                raise ArgumentError(f"{self.entry.name}: unterminated string")
            if char == "\\":
                self.position += 1
                char = {"n": "\n", "r": "\r"}.get(self._peek(), self._peek())
            word.append(char)
            self.position += 1
        self.position += 1
        return "".join(word)

    def _format(self) -> Format:
        """What is not said is as the last time; a kind of 'i' has no size of its own."""
        ctx = self.ctx
        count, kind, size = 1, "", -1
        if self._peek() == "/":
            self.position += 1
            start = self.position
            while self._peek() in _DIGITS:
                self.position += 1
            if self.position > start:
                count = int(self.text[start:self.position][:10])
                if count > MOST_ITEMS:
                    raise ArgumentError(f"invalid count in format: at most {MOST_ITEMS}")
            while (char := self._peek()) and char in "oduxicbhwgL":
                if char in "oduxic":
                    kind = char
                else:
                    size = {"b": 1, "h": 2, "w": 4}.get(char, 8)
                self.position += 1
            if (char := self._peek()) and not char.isspace():
                raise ArgumentError(f"invalid char in format: '{char}'")
        kind = kind or ctx.format_kind
        if kind != "i":
            size = size if size > 0 else ctx.format_size
            ctx.format_size = size
        ctx.format_kind = kind
        return Format(count, kind, size)
