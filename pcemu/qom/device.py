"""Device: a class that says everything about a chip once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from . import registry
from .errors import PcemuError, PropertyError, suggestion
from .property import LINK_KINDS, PropertyDecl
from .region import MmioWindow, Region
from .register import RegisterAccess, RegisterDecl
from .state import StateDecl
from .wire import IrqIn, IrqOut

if TYPE_CHECKING:
    from .bus import Bus


class Device(RegisterAccess):
    """Base of all devices; see the class attributes for what a device declares.

    Life: constructed (properties set), `realize_now()` (links resolved, `realize()`, windows mapped),
    `reset()` any number of times, `unplug()`.
    """

    type_name: ClassVar[str] = ""  # QEMU's name
    aliases: ClassVar[tuple[str, ...]] = ()
    desc: ClassVar[str] = ""  # one line for `-device help`
    category: ClassVar[str] = "misc"  # heading in `-device help`
    bus_type: ClassVar[str | None] = None  # type of the bus it plugs into
    user_creatable: ClassVar[bool] = True  # False: made by the board only
    trace_events: ClassVar[tuple[str, ...]] = ()
    property_defaults: ClassVar[dict[str, Any]] = {}  # other ones for properties that a base class declares
    board_name: ClassVar[str] = ""  # /machine/NAME in the object tree, for the few that have a place of their own there

    # Filled from the declarations by __init_subclass__.
    _properties: ClassVar[dict[str, PropertyDecl]] = {}
    _states: ClassVar[tuple[StateDecl, ...]] = ()
    _registers: ClassVar[dict[int, RegisterDecl]] = {}
    _outs: ClassVar[tuple[IrqOut, ...]] = ()
    _ins: ClassVar[tuple[IrqIn, ...]] = ()
    _windows: ClassVar[tuple[Region, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        members: dict[str, Any] = {}
        # Own declarations first, then the base's: the order of QEMU's listings.
        for klass in cls.__mro__:
            for attr, value in vars(klass).items():
                members.setdefault(attr, value)
        found = members.values()
        cls._properties = {p.name: p for p in found if isinstance(p, PropertyDecl)}
        cls._states = tuple(s for s in found if isinstance(s, StateDecl))
        cls._registers = {r.offset: r for r in found if isinstance(r, RegisterDecl)}
        cls._outs = tuple(o for o in found if isinstance(o, IrqOut))
        cls._ins = tuple(i for i in found if isinstance(i, IrqIn))
        cls._windows = tuple(w for w in found if isinstance(w, Region))
        if cls.__dict__.get("type_name"):
            registry.register_type(cls)

    def __init__(self, machine: Any, bus: Bus | None = None, id: str | None = None, **props: Any) -> None:
        self.machine = machine
        self.id = id or ""
        self.realized = False
        self.hotplugged = False  # added to a machine that was built (device_add)
        self.user_made: bool = machine.adding_for_user  # by -device or device_add, not by the board
        self.number = 0  # among those of its kind that have no id; set by the machine
        self.part_of: Device | None = None  # the device this one is an inner part of ...
        self.parts: dict[str, Device] = {}  # ... by its name there
        self.buses: list[Bus] = []
        self.parent_bus: Bus | None = None
        for decl in self._properties.values():
            setattr(self, decl.attr, decl.default)
        for name, value in self.property_defaults.items():
            self.set_property(name, value)
        for driver, name, value in machine.globals:
            if any(driver in (k.__dict__.get("type_name"), *k.__dict__.get("aliases", ())) for k in type(self).__mro__):
                self.set_property(name, value)
        for name, value in props.items():
            self.set_property(name, value)
        for state in self._states:
            setattr(self, state.attr, state.initial())
        for register in self._registers.values():
            setattr(self, register.attr, register.reset)
        tracing = machine.tracer.enabled_events(self.trace_events)
        self.tracing: frozenset[str] = tracing
        for pins in self._ins:
            setattr(self, pins.attr, pins.bind(self))
        for wires in self._outs:
            setattr(self, wires.attr, wires.bind(self))
        for window in self._windows:
            setattr(self, window.attr, window.bind(self))
        if bus is None:
            bus = self.default_bus()
        if bus is not None:
            self.parent_bus = bus
            bus.attach(self)
        machine.add_device(self)

    def default_bus(self) -> Bus | None:
        """The bus to plug into when none is named: the first of the right type."""
        return self.machine.find_bus(self.bus_type) if self.bus_type else None

    # -- properties -----------------------------------------------------------------------------------------

    @classmethod
    def user_properties(cls) -> dict[str, PropertyDecl]:
        """What -device takes, by QEMU's names."""
        return cls._properties

    @classmethod
    def property_decl(cls, name: str) -> PropertyDecl:
        decl = cls._properties.get(name)
        if decl is None:
            for candidate in cls._properties.values():
                if candidate.attr == name or candidate.name == name.replace("_", "-"):
                    return candidate
            hint = suggestion(name, cls._properties)
            raise PropertyError(f"Property '{cls.type_name}.{name}' not found{hint}")
        return decl

    def set_property(self, name: str, value: Any) -> None:
        """Set by QEMU's name or by the attribute's; text is parsed, and everything is checked."""
        decl = self.property_decl(name)
        if self.realized:
            raise PropertyError(f"{self.type_name}.{decl.name} cannot change after the device is realized")
        setattr(self, decl.attr, decl.convert(self.type_name, value))

    def get_property(self, name: str) -> Any:
        return getattr(self, self.property_decl(name).attr)

    # -- life -----------------------------------------------------------------------------------------------

    def realize_now(self) -> None:
        """Make the device ready to run. Called by the board, the bus or -device."""
        if self.realized:
            return
        for decl in self._properties.values():
            if decl.kind in LINK_KINDS:
                self._resolve(decl)
        self.realize()
        self.realized = True
        for window in self._windows:
            bound: Region = getattr(self, window.attr)
            if isinstance(window.size, str):
                bound.memory_region.resize(getattr(self, window.size))
            bound.map_default()

    def _resolve(self, decl: PropertyDecl) -> None:
        value = getattr(self, decl.attr)
        if isinstance(value, str):
            table = getattr(self.machine, LINK_KINDS[decl.kind])
            if value not in table:
                raise PropertyError(
                    f"Property '{self.type_name}.{decl.name}' can't find value '{value}'{suggestion(value, table)}"
                )
            found = table[value]
            if decl.kind == "netdev" and found.peer is not None:
                raise PropertyError(
                    f"Property '{self.type_name}.{decl.name}' can't take value '{value}', it's in use"
                )
            setattr(self, decl.attr, found)

    def realize(self) -> None:
        """For subclasses: once, after the properties are set."""

    def reset(self) -> None:
        """Power-on values. Subclasses that override it call super().reset() first."""
        for state in self._states:
            if not state.kept:
                setattr(self, state.attr, state.initial())
        for register in self._registers.values():
            setattr(self, register.attr, register.reset)
        for wires in self._outs:
            getattr(self, wires.attr).lower()

    def unplug(self) -> None:
        """Take the device out of the machine."""
        for window in self._windows:
            getattr(self, window.attr).unmap()
        for wires in self._outs:
            for line in getattr(self, wires.attr).lines:
                line.disconnect()
        if self.parent_bus is not None:
            self.parent_bus.detach(self)
        self.machine.remove_device(self)
        self.realized = False

    # -- state ----------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """The declared state by attribute name, checked against its kinds."""
        values: dict[str, Any] = {}
        for state in self._states:
            value = getattr(self, state.attr)
            state.check(value)
            values[state.attr] = bytes(value) if isinstance(value, bytearray) else value
        for register in self._registers.values():
            values[register.attr] = getattr(self, register.attr)
        return values

    def set_state(self, values: dict[str, Any]) -> None:
        for state in self._states:
            if state.attr in values:
                value = values[state.attr]
                state.check(value)
                setattr(self, state.attr, bytearray(value) if isinstance(value, bytes) else value)
        for register in self._registers.values():
            if register.attr in values:
                setattr(self, register.attr, values[register.attr])

    # -- what people look at --------------------------------------------------------------------------------

    def gpio_lines(self) -> list[str]:
        """``gpio-in "name" n``, ``gpio-out "name" n``: one line a name."""
        lines = []
        for word, ends in (("gpio-in", self._ins), ("gpio-out", self._outs)):
            counts: dict[str, int] = {}
            for end in ends:
                if not end.hidden:
                    bound = getattr(self, end.attr)
                    counts[end.gpio_name] = counts.get(end.gpio_name, 0) + len(bound)
            lines += [f'{word} "{name}" {count}' for name, count in counts.items()]
        return lines

    def property_lines(self) -> list[str]:
        return [
            f"{decl.name} = {decl.format(getattr(self, decl.attr))}"
            for decl in self._properties.values()
            if not decl.hidden
        ]

    def describe(self) -> list[str]:
        """Lines behind the properties in `info qtree`: addresses, class, irq."""
        return []

    def qtree_lines(self) -> list[str]:
        """Everything `info qtree` shows below the device's name, but for its buses."""
        return self.gpio_lines() + self.property_lines() + self.describe()

    def path(self) -> str:
        return self.id or self.type_name

    def add_part(self, name: str, part: Device) -> None:
        """Show `part` below this device in the object tree (the virtio device behind a PCI card, say)."""
        part.part_of = self
        self.parts[name] = part
        self.machine.unnumber(part)

    def live_entries(self) -> Iterator[Any]:
        """Properties that are no declarations: computed, or changing while the machine runs (qom.entry.Entry)."""
        return iter(())

    # -- logs and traces ------------------------------------------------------------------------------------

    def log_guest_error(self, text: str, *args: object) -> None:
        """The guest did something the hardware does not define (-d guest_errors)."""
        log = self.machine.log
        if log.guest_errors:
            log.write(f"{self.type_name}: {text % args if args else text}\n")

    def log_unimp(self, text: str, *args: object) -> None:
        """The guest used something that is not implemented (-d unimp)."""
        log = self.machine.log
        if log.unimp:
            log.write(f"{self.type_name}: {text % args if args else text}\n")

    def trace(self, event: str, **fields: object) -> None:
        """Report a trace event (-trace); nearly free when it is off."""
        if self.tracing and event in self.tracing:
            self.machine.tracer.emit(self, event, fields)

    def tracing_changed(self) -> None:
        """Trace events were switched on or off. Override if calls are left out while nobody wants to see them."""

    def fail(self, text: str) -> PcemuError:
        """An error that names the device: ``raise self.fail("...")`` in realize()."""
        return PcemuError(f"{self.type_name}: {text}")

    def __repr__(self) -> str:
        return f"<{self.type_name}{' ' + self.id if self.id else ''}>"


class SysBusDevice(Device):
    """A device on the system bus: memory-mapped, placed by the board."""

    bus_type = "System"
    user_creatable = False

    def describe(self) -> list[str]:
        lines = []
        for window in self._windows:
            bound = getattr(self, window.attr)
            if isinstance(bound, MmioWindow):
                addr = 0xFFFFFFFFFFFFFFFF if bound.addr is None else bound.addr
                lines.append(f"mmio {addr:016x}/{bound.memory_region.size:016x}")
        return lines
