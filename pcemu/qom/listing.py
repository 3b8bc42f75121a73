"""Lists of device types, as -device help and `info qdm` print them."""

from __future__ import annotations

from .device import Device
from .registry import all_types

CATEGORIES = {
    "bridge": "Controller/Bridge/Hub devices",
    "usb": "USB devices",
    "storage": "Storage devices",
    "network": "Network devices",
    "input": "Input devices",
    "display": "Display devices",
    "sound": "Sound devices",
    "misc": "Misc devices",
    "cpu": "CPU devices",
    "watchdog": "Watchdog devices",
}


def device_help(whole: bool = False) -> str:
    """What -device help prints: types a user may add, by category; `whole`: those of the board too (`info qdm`)."""
    types = [cls for cls in all_types() if whole or cls.user_creatable]
    blocks = []
    for category, title in CATEGORIES.items():
        rows = [_row(cls) for cls in types if (cls.category if cls.category in CATEGORIES else "misc") == category]
        if rows:
            blocks.append("\n".join([f"{title}:", *rows]))
    return "\n\n".join(blocks)


def _row(cls: type[Device]) -> str:
    text = f'name "{cls.type_name}"'
    if cls.bus_type:
        text += f", bus {cls.bus_type}"
    for alias in cls.__dict__.get("aliases", ()):
        text += f', alias "{alias}"'
    if cls.desc:
        text += f', desc "{cls.desc}"'
    return text if cls.user_creatable else text + ", no-user"
