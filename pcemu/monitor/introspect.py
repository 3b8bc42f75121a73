"""`query-qmp-schema` from the table: every command, every event, and the types they use, no more."""

from __future__ import annotations

from functools import cache
from typing import Any

from . import table
from .schema import EMPTY, Object, Type, Types


class Schema:
    """The table's QMP face with its types resolved."""

    def __init__(self) -> None:
        self.types = Types()
        for text in table.TYPES:
            self.types.add(text)
        self.arguments: dict[str, Object] = {}
        self.results: dict[str, Type] = {}
        self.events: dict[str, Object] = {}
        for name, command in table.QMP.items():
            self.arguments[name] = self.types.arguments(name, command.takes)
            self.results[name] = self.types.get(command.returns)
        for name, event in table.EVENTS.items():
            self.events[name] = self.types.arguments(name, event.data)

    def used_types(self) -> list[Type]:
        """Every type a command or event refers to, directly or not, in the order they are met."""
        found: dict[str, Type] = {}
        waiting: list[Type] = [EMPTY]
        for name in table.QMP:
            waiting += (self.arguments[name], self.results[name])
        waiting += self.events.values()
        waiting.reverse()
        while waiting:
            met = waiting.pop()
            if met.name not in found:
                found[met.name] = met
                waiting.extend(met.parts())
        return list(found.values())

    def listing(self) -> list[dict[str, Any]]:
        """What query-qmp-schema returns."""
        entries: list[dict[str, Any]] = []
        for name in table.QMP:
            entries.append({"name": name, "meta-type": "command", "arg-type": self.arguments[name].name,
                            "ret-type": self.results[name].name})
        for name in table.EVENTS:
            entries.append({"name": name, "meta-type": "event", "arg-type": self.events[name].name})
        entries += [type.entry() for type in self.used_types()]
        return entries


@cache
def schema() -> Schema:
    """The whole table's; made when first asked for."""
    from .shell import load_commands

    load_commands()
    return Schema()
