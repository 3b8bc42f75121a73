"""-object: things that are no devices (sources of randomness, network filters, ...), declared as devices are.

    class RngRandom(UserObject):
        type_name = "rng-random"
        filename = Property(str, default="/dev/random", help="where the bytes come from")

        def complete(self) -> None: ...            # all properties are set: open files; raise PcemuError
        def close(self) -> None: ...

A line in `catalog.OBJECTS` says where a type is. A device that uses one has a `Property("object")`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from .catalog import OBJECTS, OBJECTS_PLANNED
from .errors import PcemuError, PropertyError, suggestion
from .property import LINK_KINDS, PropertyDecl

_types: dict[str, type[UserObject]] = {}


class UserObject:
    """Base of all objects a user makes with -object."""

    type_name: ClassVar[str] = ""
    late: ClassVar[bool] = False  # made after character devices and network back ends, which it names
    required: ClassVar[tuple[str, ...]] = ()  # properties that must be given
    _properties: ClassVar[dict[str, PropertyDecl]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        members: dict[str, Any] = {}
        for klass in cls.__mro__:
            for attr, value in vars(klass).items():
                members.setdefault(attr, value)
        cls._properties = {p.name: p for p in members.values() if isinstance(p, PropertyDecl)}
        if cls.__dict__.get("type_name"):
            _types[cls.type_name] = cls

    def __init__(self, machine: Any, id: str, **props: Any) -> None:
        self.machine = machine
        self.id = id
        for decl in self._properties.values():
            setattr(self, decl.attr, decl.default)
        for name, value in props.items():
            decl = self.property_decl(name)
            setattr(self, decl.attr, decl.convert(self.type_name, value))
        for name in self.required:
            if getattr(self, self._properties[name].attr) is None:
                raise PropertyError(f"Parameter '{name}' is missing")
        for decl in self._properties.values():
            value = getattr(self, decl.attr)
            if decl.kind in LINK_KINDS and isinstance(value, str):
                table = getattr(machine, LINK_KINDS[decl.kind])
                if value not in table:
                    raise PropertyError(f"Parameter '{decl.name}' expects {decl.allowed()}: there is no '{value}'"
                                        f"{suggestion(value, table)}")  # fmt: skip
                setattr(self, decl.attr, table[value])
        self.complete()

    @classmethod
    def property_decl(cls, name: str) -> PropertyDecl:
        decl = cls._properties.get(name)
        if decl is None:
            raise PropertyError(f"Invalid parameter '{name}'{suggestion(name, cls._properties)}")
        return decl

    def complete(self) -> None:
        """For subclasses: once, after the properties are set."""

    def close(self) -> None:
        """Give back what the object has of the host. Idempotent."""


def lookup_object(name: str) -> type[UserObject]:
    """The class of an object type, or PcemuError naming it."""
    if name not in _types and name in OBJECTS:
        importlib.import_module(OBJECTS[name])
    if name in _types:
        return _types[name]
    if name in OBJECTS_PLANNED:
        raise PcemuError(f"object type '{name}' is not implemented yet")
    raise PcemuError(f"Parameter 'qom-type' does not accept value '{name}'{suggestion(name, OBJECTS)}")


def object_names() -> list[str]:
    """What `-object help` lists."""
    return sorted(OBJECTS)


def check_identifier(ident: str) -> None:
    """What users may call things: a letter, then letters, digits, '-', '.' and '_'."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-._]*", ident):
        raise PcemuError(f"Parameter 'id' expects an identifier, not '{ident[:80]}'")


def add_object(machine: Any, options: Mapping[str, str]) -> UserObject:
    """Make what ``-object qom-type=T,id=ID,...`` asks for and enter it in machine.objects."""
    props = dict(options)
    cls = lookup_object(props.pop("qom-type", ""))
    ident = props.pop("id", "")
    if not ident:
        raise PcemuError("Parameter 'id' is missing")
    check_identifier(ident)
    if ident in machine.objects:
        raise PcemuError(f"Duplicate ID '{ident}' for object")
    machine.objects[ident] = made = cls(machine, ident, **props)
    for name, value in props.items():
        machine.complain(cls.property_decl(name).complaint(cls.type_name, value))
    return made


def remove_object(machine: Any, ident: str) -> None:
    """object_del."""
    if ident not in machine.objects:
        raise PcemuError(f"object '{ident}' not found")
    machine.objects.pop(ident).close()
