"""Device types by name. Modules are imported when a type is first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, TypeVar

from .catalog import MODULES, PLANNED
from .errors import PcemuError, UnknownTypeError, suggestion

if TYPE_CHECKING:
    from .device import Device

ENTRY_POINT_GROUP = "pcemu.devices"
_T = TypeVar("_T", bound="type[Device]")
_types: dict[str, type[Device]] = {}


def register_type(cls: _T) -> _T:
    """Done by itself for every Device subclass with a type_name; usable as a decorator as well."""
    _types[cls.type_name] = cls
    for alias in cls.__dict__.get("aliases", ()):
        _types[alias] = cls
    return cls


def lookup(name: str) -> type[Device]:
    """The class of a device type, or UnknownTypeError naming it (and a close one)."""
    cls = _types.get(name)
    if cls is not None:
        return cls
    module = MODULES.get(name)
    if module is not None:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise UnknownTypeError(f"device '{name}' is not implemented yet") from None
        if name not in _types:
            raise UnknownTypeError(f"device '{name}' is not implemented yet")
        return _types[name]
    if _load_entry_point(name):
        return _types[name]
    if name in PLANNED:
        raise UnknownTypeError(f"device '{name}' is not implemented yet")
    known = [*MODULES, *_types, *PLANNED]
    raise UnknownTypeError(f"'{name}' is not a valid device model name{suggestion(name, known)}")


def _load_entry_point(name: str) -> bool:
    """Types of other people's packages: an entry point's name is the type's, its value the class."""
    from importlib.metadata import entry_points  # slow to import, and hardly ever needed

    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        try:
            loaded = point.load()
        except Exception as error:
            raise PcemuError(f"device '{name}': {point.value} cannot be loaded: {error}") from error
        _types.setdefault(name, loaded)
    return name in _types


def all_types() -> list[type[Device]]:
    """Every type there is, importing all modules (for `-device help`)."""
    from importlib.metadata import entry_points

    for name in MODULES:
        try:
            lookup(name)
        except UnknownTypeError:
            continue
    for point in entry_points(group=ENTRY_POINT_GROUP):
        _load_entry_point(point.name)
    return sorted(set(_types.values()), key=lambda cls: cls.type_name)
