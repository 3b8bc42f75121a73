"""What is known while the command line is read: the configuration so far, and what decides the defaults at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from pcemu.machine.config import MachineConfig
from pcemu.qom.property import PropertyDecl

from . import optstr
from .errors import Done, at


class Context:
    """Handed to every function that applies an option."""

    def __init__(self, option: str = "", value: str = "") -> None:
        self.config = MachineConfig()
        self.option = option  # as the user spelled it
        self.value = value
        self.nographic = False
        self.display = ""
        self.default_serial = True
        self.default_monitor = True
        self.accels: list[tuple[str, str]] = []  # (name, where it was asked for)
        self.mem_path = ""
        self.mem_prealloc = False
        self.lists: list[Callable[[], None]] = []  # what `help` arguments print

    def json_object(self) -> dict[str, Any]:
        """The argument, which begins with a brace."""
        import json

        try:
            given = json.loads(self.value)
        except ValueError as error:
            raise at(self.option, self.value, f"JSON parse error: {error}") from None
        if not isinstance(given, dict):
            raise at(self.option, self.value, "a JSON object is expected")
        return given

    def keys(self, declared: Iterable[PropertyDecl], implied: str | None = None,
             ignored: tuple[str, ...] = ()) -> dict[str, object]:  # fmt: skip
        """The argument as typed values of declared keys."""
        given = optstr.parse(self.value, implied)
        return optstr.typed(self.option, self.value, given, declared, ignored)

    def show(self, text: str) -> NoReturn:
        """A list that was asked for."""
        print(text)
        raise Done

    def warn(self, text: str) -> None:
        print(f"pcemu: warning: {text}", file=sys.stderr)


def key(name: str, kind: str | type = str, choices: tuple[str, ...] = ()) -> PropertyDecl:
    """A key of an option's argument."""
    from pcemu.qom.property import Property

    decl: PropertyDecl = Property(kind, name=name, choices=choices)
    return decl
