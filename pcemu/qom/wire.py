"""Interrupt wires. A device raises an `IrqOut`; the board or the bus connects it to an `IrqIn` pin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .device import Device

Sink = Callable[[int], None]
_T = TypeVar("_T", bound="_Ends")


class IrqPin:
    """One input. Several wires may share it: the pin is high while any of them is (wired OR)."""

    __slots__ = ("_asserted", "_handler", "index", "level", "name", "owner")

    def __init__(self, owner: object, name: str, index: int, handler: Callable[[int, int], None]) -> None:
        self.owner = owner
        self.name = name
        self.index = index
        self.level = 0
        self._handler = handler
        self._asserted = 0

    def set(self, level: int) -> None:
        """Drive the pin itself, whatever wires are on it."""
        level = 1 if level else 0
        if level != self.level:
            self.level = level
            self._handler(self.index, level)

    def pulse(self) -> None:
        self.set(1)
        self.set(0)

    def observe(self, observer: Callable[[int], None]) -> None:
        """Tell somebody of every change, after the device (test protocols)."""
        handler = self._handler

        def both(index: int, level: int) -> None:
            handler(index, level)
            observer(level)

        self._handler = both

    def wire_changed(self, level: int) -> None:
        """One of the connected wires went up or down."""
        self._asserted += 1 if level else -1
        high = 1 if self._asserted > 0 else 0
        if high != self.level:
            self.level = high
            self._handler(self.index, high)

    def __repr__(self) -> str:
        return f"<pin {_owner_name(self.owner)}.{self.name}[{self.index}]>"


class IrqLine:
    """One output wire, to any number of pins or functions."""

    __slots__ = ("_sinks", "index", "level", "name", "owner", "targets")

    def __init__(self, owner: object = None, name: str = "irq", index: int = 0) -> None:
        self.owner = owner
        self.name = name
        self.index = index
        self.level = 0
        self.targets: list[object] = []  # what was connected, for people who draw the wiring
        self._sinks: tuple[Sink, ...] = ()

    def connect(self, target: IrqPin | IrqLine | IrqOut | Sink) -> None:
        """Attach a pin, another wire to pass the level on to, or a function of the level."""
        sink: Sink
        if isinstance(target, IrqPin):
            sink = target.wire_changed
        elif isinstance(target, (IrqLine, IrqOut)):
            sink = target.set
        else:
            sink = target
        self.targets.append(target)
        self._sinks += (sink,)
        if self.level:
            sink(1)

    def observe(self, observer: Callable[[int], None]) -> None:
        """Tell somebody of every change from now on (test protocols)."""
        self._sinks += (observer,)

    def disconnect(self) -> None:
        """Take the wire off everything it is on."""
        if self.level:
            for sink in self._sinks:
                sink(0)
        self.targets.clear()
        self._sinks = ()

    def set(self, level: int) -> None:
        level = 1 if level else 0
        if level != self.level:
            self.level = level
            for sink in self._sinks:
                sink(level)

    def pulse(self) -> None:
        self.set(1)
        self.set(0)

    def __repr__(self) -> str:
        return f"<wire {_owner_name(self.owner)}.{self.name}[{self.index}]>"


class _Ends:
    """Declared in a class, and cloned for every device made from it."""

    def __init__(self, count: int | str, name: str, hidden: bool) -> None:
        self.count = count  # a number, or the name of the property that holds it
        self.gpio_name = name
        self.hidden = hidden
        self.attr = ""
        self.owner: Any = None

    def __set_name__(self, owner: type, attr: str) -> None:
        self.attr = attr

    def resolved_count(self) -> int:
        if isinstance(self.count, str):
            return int(getattr(self.owner, self.count))
        return self.count

    def _bind(self: _T, owner: Device) -> _T:
        clone = object.__new__(type(self))
        clone.__dict__.update(self.__dict__)
        clone.owner = owner
        return clone


class IrqOut(_Ends):
    """`n` output wires of a device. With one: ``self.irq.set(level)``; with more: ``self.irq[i].set(level)``.

    name     the gpio's name in `info qtree` (most have none)
    hidden   not a gpio in `info qtree` (a line of the device's bus)
    """

    def __init__(self, count: int | str = 1, *, name: str = "", hidden: bool = False) -> None:
        super().__init__(count, name, hidden)
        self.lines: list[IrqLine] = []

    def bind(self, owner: Device) -> IrqOut:
        clone = self._bind(owner)
        clone.lines = [IrqLine(owner, self.attr or "irq", i) for i in range(clone.resolved_count())]
        if clone.lines:
            # The common case, one wire, skips a call.
            clone.set = clone.lines[0].set  # type: ignore[method-assign]
            clone.pulse = clone.lines[0].pulse  # type: ignore[method-assign]
        return clone

    @property
    def level(self) -> int:
        return self.lines[0].level

    def set(self, level: int) -> None:
        self.lines[0].set(level)

    def pulse(self) -> None:
        self.lines[0].pulse()

    def connect(self, target: IrqPin | IrqLine | IrqOut | Sink) -> None:
        self.lines[0].connect(target)

    def __getitem__(self, index: int) -> IrqLine:
        return self.lines[index]

    def __len__(self) -> int:
        return len(self.lines)

    def lower(self) -> None:
        for line in self.lines:
            line.set(0)


class IrqIn(_Ends):
    """`n` input pins of a device: ``pic.irq_in[3]`` is what a wire is connected to.

    handler   the device's method, called as ``handler(pin, level)`` when a level changes
    """

    def __init__(self, count: int | str = 1, handler: str = "on_irq", *, name: str = "",
                 hidden: bool = False) -> None:  # fmt: skip
        super().__init__(count, name, hidden)
        self.handler = handler
        self.pins: list[IrqPin] = []

    def bind(self, owner: Device) -> IrqIn:
        clone = self._bind(owner)
        handler = getattr(owner, self.handler)
        clone.pins = [IrqPin(owner, self.attr, i, handler) for i in range(clone.resolved_count())]
        return clone

    def __getitem__(self, index: int) -> IrqPin:
        return self.pins[index]

    def __len__(self) -> int:
        return len(self.pins)


def _owner_name(owner: object) -> str:
    return getattr(owner, "type_name", "") or type(owner).__name__
