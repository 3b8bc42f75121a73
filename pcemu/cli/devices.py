"""Lists of device types, their properties and their trace events."""

from __future__ import annotations

from pcemu.qom import all_types, lookup


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
