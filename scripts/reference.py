"""Write the reference pages of the documentation from what the code declares: options, monitor commands, devices, instructions.

    python3 -m scripts.reference docs/reference

Nothing in these pages is written by hand; `make docs` makes them anew.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path

from pcemu._core.isa import gen
from pcemu.cli.table import OPTIONS, SECTIONS, Option
from pcemu.monitor.introspect import schema
from pcemu.monitor.schema import Alternate, Enum, Object
from pcemu.monitor.shell import load_commands
from pcemu.monitor.table import COMMANDS, EVENTS, INFO, QMP, entries
from pcemu.qom import Device, all_types


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _table(titles: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    titles = list(titles)
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return [*lines, ""]


def command_line() -> str:
    lines = ["# Command line", "", "The names and spellings are QEMU's. Generated from `pcemu/cli/table.py`.", ""]
    for section in SECTIONS:
        rows = [option for option in OPTIONS if option.section == section]
        lines += [f"## {section}", ""]
        lines += _table(("option", "argument", "what it does"), map(_option_row, rows))
    return "\n".join(lines)


def _option_row(option: Option) -> tuple[str, str, str]:
    names = ", ".join(f"`-{name}`" for name in option.names)
    later = "" if option.implemented else " *(not yet: refused by name)*"
    return names, f"`{option.arg}`" if option.arg else "", option.help + later


def _device(cls: type[Device]) -> list[str]:
    doc = inspect.cleandoc(cls.__doc__ or "")
    lines = [f"## {cls.type_name}", "", doc, ""]
    facts = [f"Source: `{cls.__module__.replace('.', '/')}.py`"]
    if cls.bus_type:
        facts.append(f"bus: {cls.bus_type}")
    facts.append("usable with `-device`" if cls.user_creatable else "made by the board")
    lines += [", ".join(facts) + ".", ""]
    properties = [p for p in cls.user_properties().values() if p.help or p.inert]
    if properties:
        lines += ["Properties:", ""]
        described = ((f"`{p.name}`", p.allowed(), p.default, _effect(p.help, p.inert)) for p in properties)
        lines += _table(("name", "value", "default", "meaning"), described)
    if cls._registers:
        lines += ["Registers:", ""]
        registers = sorted(cls._registers.values(), key=lambda r: r.offset)
        rows = ((f"{r.offset:#x}", f"`{r.attr}`", f"{r.reset:#x}", r.help) for r in registers)
        lines += _table(("offset", "name", "reset", "meaning"), rows)
    if cls._states:
        lines += ["State: " + ", ".join(f"`{s.attr}`" for s in cls._states) + ".", ""]
    if cls.trace_events:
        lines += ["Trace events: " + ", ".join(f"`{event}`" for event in cls.trace_events) + ".", ""]
    return lines


def devices() -> str:
    lines = ["# Devices", "", "Every device class of this version, from its own declarations.", ""]
    for cls in all_types():
        lines += _device(cls)
    return "\n".join(lines)


def monitor() -> str:
    lines = ["# Monitor commands", ""]
    lines += ["The human monitor: `-monitor stdio`, or Ctrl-A c with `-nographic`. Generated from `pcemu/monitor`.", ""]
    load_commands()
    for title, table, prefix in (("Commands", COMMANDS, ""), ("What info shows", INFO, "info ")):
        rows = ((f"`{prefix}{entry.name} {entry.params}`".replace(" `", "`"), entry.help, f"`{entry.qmp}`" if entry.qmp else "")
                for entry in entries(table))
        lines += [f"## {title}", "", *_table(("command", "what it does", "name in QMP"), rows)]
    lines += ["A format is `/`, a count, a kind (`x d u o c i`) and a size (`b h w g`): `x /4xw $esp`. A number may be",
              "an expression that has registers in it: `print $eip + 16 * 2`.", ""]
    return "\n".join(lines)


def qmp() -> str:
    """QMP: commands, events and types, as query-qmp-schema describes them."""
    described = schema()
    lines = ["# QMP", "", "The machine's protocol: `-qmp unix:PATH,server=on,wait=off`, JSON in QEMU's words (version 7.2).",
             "`query-qmp-schema` returns the same as data. `name?` may be absent; `[T]` is a list. Generated from",
             "`pcemu/monitor`.", "", "## Commands", ""]
    rows = [(f"`{name}`", _members(described.arguments[name]), f"`{described.results[name].name}`" if command.returns else "",
             command.help) for name, command in sorted(QMP.items())]
    lines += _table(("command", "takes", "returns", "what it does"), rows)
    lines += ["## Events", ""]
    events = [(f"`{name}`", _members(described.events[name]), event.help) for name, event in sorted(EVENTS.items())]
    lines += _table(("event", "data", "when"), events)
    lines += ["## Types", ""]
    types = sorted((used for used in described.used_types() if isinstance(used, Enum | Object | Alternate)), key=lambda t: t.name)
    bodies = [(f"`{used.name}`", _body(used)) for used in types if not used.name.endswith(("-arg", "_empty"))]
    lines += _table(("type", "is"), bodies)
    return "\n".join(lines)


def _effect(help: str, inert: str) -> str:
    """What a property does, or why it does nothing."""
    return "; ".join(filter(None, ("" if help == "on/off" and inert else help, f"no effect: {inert}" if inert else "")))


def _members(what: Object) -> str:
    shown = ", ".join(f"`{each.name}{'?' if each.optional else ''}: {each.type.name}`" for each in what.members)
    return shown + (", and properties of the type" if what.open else "")


def _body(what: Enum | Object | Alternate) -> str:
    if isinstance(what, Enum):
        return "one of " + ", ".join(f"`{value}`" for value in what.values)
    if isinstance(what, Alternate):
        return "one of " + ", ".join(f"`{choice.name}`" for choice in what.choices)
    variants = "; ".join(f"with {what.tag} `{case}` the members of `{of.name}`" for case, of in what.variants.items())
    return "; ".join(filter(None, (_members(what), variants)))


def instructions() -> str:
    lines = ["# Instructions", "", "The table that the decoder is made from. The notation is the manual's, and is explained in",
             "`pcemu/_core/isa/__init__.py`. An instruction with a feature is there if the processor model has it.", ""]
    rows = gen.read_rows()
    for path in sorted(gen.ISA.glob("rows_*.py")):
        module = gen._load(path)
        known = {line.split("#")[0].strip() for line in module.ROWS.splitlines()}
        lines += [f"## {path.stem.removeprefix('rows_')}", "", module.__doc__ or "", ""]
        titles = ("opcode", "instruction", "feature", "flags read:written:undefined")
        lines += _table(titles, (_row(row) for row in rows if row.text in known))
    return "\n".join(lines)


def _row(row: gen.Row) -> tuple[str, str, str, str]:
    opcode, flags = row.text.split("|")[0].strip(), ":".join(row.flags).rstrip(":")
    return f"`{opcode}`", f"`{row.name}`", row.feat or "", f"`{flags}`" if flags else ""


PAGES = {"command-line.md": command_line, "devices.md": devices, "monitor.md": monitor, "qmp.md": qmp,
         "instructions.md": instructions}


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        print("usage: reference DIRECTORY", file=sys.stderr)
        return 1
    directory = Path(arguments[0])
    directory.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (directory / name).write_text(page() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
