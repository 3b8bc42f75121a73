"""Keys by the names of `sendkey`, pressed on the machine's keyboard."""

from __future__ import annotations

from typing import Any

from pcemu.hw.input.scancodes import CODES, KEYS
from pcemu.qom.errors import PcemuError, suggestion

_SHORT = {"<": "less", "-": "minus"}
_BY_CODE = {code: name for name, code in CODES[1].items() if name != "asterisk"}


class KeyNameError(PcemuError):
    """No such key."""


def parse(text: str) -> list[str]:
    """`ctrl-alt-f1`, or scan codes of set 1 in hexadecimal -> key names, in the order they are pressed."""
    names = text.split("-")
    if text == "-" or text.endswith("--"):      # `shift--`
        names[-2:] = ["minus"]
    return [key_name(_SHORT.get(name, name)) for name in names]


def key_name(name: str) -> str:
    """A key by name or scan code."""
    if name in KEYS:
        return name
    if name.startswith("0x"):
        try:
            value = int(name, 16)
        except ValueError:
            value = -1
        code = 0xE000 | value & 0x7F if 0x80 < value < 0x100 else value     # bit 7: a key with the prefix byte
        if code in _BY_CODE:
            return _BY_CODE[code]
    raise KeyNameError(f"invalid parameter: {name}{suggestion(name, KEYS)}")


def send(machine: Any, names: list[str], hold_ms: int) -> None:
    """Press the keys one after the other, release them in reverse order after `hold_ms` of the machine's time."""
    keyboard = machine.find("ps2-kbd")
    if keyboard is None:
        raise PcemuError("there is no keyboard")
    for name in names:
        keyboard.key_event(name, True)

    def release() -> None:
        for name in reversed(names):
            keyboard.key_event(name, False)

    machine.clock.timer(release).arm_in(hold_ms * 1_000_000)
