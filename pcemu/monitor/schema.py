"""The types that QMP's commands and events are made of: notation, checks, and introspection.

Types are written in one line each, and looked up by name:

    enum       RunState    running paused ...
    struct     StatusInfo  status: RunState, running: bool
    union      Address     [type] type: AddressType | inet: InetAddress, unix: UnixAddress
    alternate  KeyOrCode   str, int

`name?: T` may be absent, `[T]` is a list. A union has the members before the bar, and those of the struct that the
value of its tag selects. An alternate is one of several types with different JSON types. `any` is any JSON value.
Names are QAPI's, because `query-qmp-schema` shows them; only what commands or events use is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import CommandError

JSON_NAMES = {"str": "string", "int": "integer", "bool": "boolean", "number": "number", "null": "null"}
INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1


class InvalidType(CommandError):
    """A value that is not what the schema says; also the error a client is told."""


def wrong(where: str, expected: str) -> InvalidType:
    return InvalidType(f"Invalid parameter type for '{where}', expected: {expected}")


@dataclass(frozen=True)
class Type:
    name: str

    def check(self, value: Any, where: str) -> Any:
        """The value, checked; raises InvalidType naming the place."""
        raise NotImplementedError

    def parts(self) -> Iterable[Type]:
        """The types it refers to."""
        return ()

    def entry(self) -> dict[str, Any]:
        """What query-qmp-schema says of it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Builtin(Type):
    json_type: str = ""

    def check(self, value: Any, where: str) -> Any:
        kind = self.name
        if kind == "any":
            return value
        if kind == "int":
            if isinstance(value, bool) or not isinstance(value, int) or not INT_MIN <= value <= INT_MAX:
                raise wrong(where, "integer")
        elif kind == "number":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise wrong(where, "number")
        elif kind == "null":
            if value is not None:
                raise wrong(where, "null")
        elif not isinstance(value, {"str": str, "bool": bool}[kind]):
            raise wrong(where, JSON_NAMES[kind])
        return value

    def entry(self) -> dict[str, Any]:
        return {"name": self.name, "meta-type": "builtin", "json-type": self.json_type}


BUILTINS = {name: Builtin(name, json) for name, json in (
    ("str", "string"), ("int", "int"), ("number", "number"), ("bool", "boolean"), ("null", "null"), ("any", "value"))}


@dataclass(frozen=True)
class Enum(Type):
    values: tuple[str, ...] = ()

    def check(self, value: Any, where: str) -> Any:
        if not isinstance(value, str):
            raise wrong(where, "string")
        if value not in self.values:
            raise InvalidType(f"Parameter '{where}' does not accept value '{value[:80]}'")
        return value

    def entry(self) -> dict[str, Any]:
        members = [{"name": value} for value in self.values]
        return {"name": self.name, "meta-type": "enum", "members": members, "values": list(self.values)}


@dataclass(frozen=True)
class Array(Type):
    of: Type = BUILTINS["any"]

    def check(self, value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise wrong(where, "array")
        return [self.of.check(item, f"{where}[{index}]") for index, item in enumerate(value)]

    def parts(self) -> Iterable[Type]:
        return (self.of,)

    def entry(self) -> dict[str, Any]:
        return {"name": self.name, "meta-type": "array", "element-type": self.of.name}


@dataclass(frozen=True)
class Member:
    name: str
    type: Type
    optional: bool = False

    def entry(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": self.name, "type": self.type.name}
        if self.optional:
            shown["default"] = None
        return shown


@dataclass(eq=False, frozen=True)
class Object(Type):
    """A struct or union. Members are filled in after construction, because types may refer to each other."""

    members: list[Member] = field(default_factory=list)
    tag: str = ""
    variants: dict[str, Type] = field(default_factory=dict)
    open: bool = False                      # other members are passed on unchecked (device_add's properties)

    def check(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong(where, "object")
        return self.check_members(value, where + "." if where else "")

    def check_members(self, value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        members = self.members
        if self.tag and isinstance(value.get(self.tag), str):
            variant = self.variants.get(value[self.tag])
            if isinstance(variant, Object):
                members = members + variant.members
        result: dict[str, Any] = {}
        for member in members:
            if member.name in value:
                result[member.name] = member.type.check(value[member.name], prefix + member.name)
            elif not member.optional:
                raise InvalidType(f"Parameter '{prefix}{member.name}' is missing")
        for name in value:
            if name not in result:
                if not self.open:
                    raise InvalidType(f"Parameter '{prefix}{name[:80]}' is unexpected")
                result[name] = value[name]
        return result

    def parts(self) -> Iterable[Type]:
        yield from (member.type for member in self.members)
        yield from self.variants.values()

    def entry(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": self.name, "meta-type": "object",
                                 "members": [member.entry() for member in self.members]}
        if self.tag:
            shown["tag"] = self.tag
            shown["variants"] = [{"case": case, "type": type.name} for case, type in self.variants.items()]
        return shown


@dataclass(frozen=True)
class Alternate(Type):
    choices: list[Type] = field(default_factory=list)

    def check(self, value: Any, where: str) -> Any:
        for choice in self.choices:
            if _json_kind(choice) == _kind_of(value):
                return choice.check(value, where)
        raise wrong(where, "/".join(_json_kind(choice) for choice in self.choices))

    def parts(self) -> Iterable[Type]:
        return self.choices

    def entry(self) -> dict[str, Any]:
        return {"name": self.name, "meta-type": "alternate", "members": [{"type": choice.name} for choice in self.choices]}

    def __hash__(self) -> int:
        return hash(self.name)


def _json_kind(of: Type) -> str:
    if isinstance(of, Enum):
        return "string"
    if isinstance(of, Array):
        return "array"
    return JSON_NAMES.get(of.name, "object")


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}[type(value)]


EMPTY = Object("q_empty")


class Types:
    """Types by name, read from text in the notation above."""

    def __init__(self) -> None:
        self.named: dict[str, Type] = {**BUILTINS, EMPTY.name: EMPTY}

    def add(self, text: str) -> None:
        """Read declarations, a line each ('\\' at the end of a line goes on in the next)."""
        bodies: list[tuple[Type, str]] = []
        for line in text.replace("\\\n", " ").splitlines():
            words = line.split(None, 2)
            if not words or words[0].startswith("#"):
                continue
            kind, name = words[:2]
            body = words[2] if len(words) > 2 else ""
            if name in self.named:
                raise ValueError(f"type {name} is declared twice")
            made: Type
            if kind == "enum":
                made = Enum(name, tuple(body.split()))
            elif kind == "alternate":
                made = Alternate(name)
            elif kind in ("struct", "union"):
                tag = body[1:body.index("]")] if kind == "union" else ""
                body = body.partition("]")[2] if kind == "union" else body
                made = Object(name, tag=tag)
            else:
                raise ValueError(f"what is a '{kind}'?")
            self.named[name] = made
            bodies.append((made, body))
        for made, body in bodies:
            if isinstance(made, Alternate):
                made.choices.extend(self.get(part.strip()) for part in body.split(","))
            elif isinstance(made, Object):
                common, _, variants = body.partition("|")
                made.members.extend(self.members(common))
                made.variants.update((member.name, member.type) for member in self.members(variants))

    def get(self, text: str) -> Type:
        """The type written as `text`; no text is an empty object."""
        text = text.strip()
        if not text:
            return EMPTY
        found = self.named.get(text)
        if found is None and text.startswith("[") and text.endswith("]"):
            found = self.named[text] = Array(text, self.get(text[1:-1]))
        if found is None:
            raise ValueError(f"type '{text}' is not declared")
        return found

    def members(self, text: str) -> Iterator[Member]:
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, _, kind = item.partition(":")
            optional = name.endswith("?")
            yield Member(name.rstrip("?").strip(), self.get(kind), optional)

    def arguments(self, owner: str, text: str) -> Object:
        """The object a command takes: an own one of the members in `text` ('...' at the end: and any others)."""
        text = text.strip()
        if not text:
            return EMPTY
        if ":" not in text and text != "...":
            found = self.get(text)
            assert isinstance(found, Object)
            return found
        body = text.removesuffix("...")
        return Object(f"{owner}-arg", members=list(self.members(body)), open=body != text)
