"""Lists of device types, their properties and their trace events."""

from __future__ import annotations

from pcemu.qom import Device, all_types, lookup

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


def device_help() -> str:
    """What -device help prints: types a user may add, by category."""
    types = [cls for cls in all_types() if cls.user_creatable]
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
    return text + (f', desc "{cls.desc}"' if cls.desc else "")


def type_help(name: str) -> str:
    """What -device T,help prints: its properties, with types, help and defaults."""
    cls = lookup(name)
    lines = [f"{cls.type_name} options:"]
    for decl in sorted(cls.user_properties().values(), key=lambda decl: decl.name):
        default = decl.format_default()
        line = f"  {decl.name}=<{decl.type_label()}>"
        if decl.help or default is not None:
            line = f"{line:<24} - {decl.help}"
        if default is not None:
            line += f" (default: {default})"
        lines.append(line)
    if len(lines) == 1:
        return f"There are no options for {cls.type_name}."
    return "\n".join(lines)


def trace_help() -> str:
    """Every trace event there is, by device type."""
    names = {event for cls in all_types() for event in cls.trace_events}
    return "\n".join(sorted(names))
