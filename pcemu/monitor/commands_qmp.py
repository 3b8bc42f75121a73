"""QMP's own commands: negotiation, lists of what there is, and the human monitor through QMP."""

from __future__ import annotations

from typing import Any

from .errors import CommandError
from .table import QMP, Context, declare_types, qmp_command

declare_types("""
enum    QMPCapability     oob
struct  CommandInfo       name: str
struct  VersionTriple     major: int, minor: int, micro: int
struct  VersionInfo       qemu: VersionTriple, package: str

enum    SchemaMetaType    builtin enum array object alternate command event
enum    JSONType          string number int boolean null object array value
union   SchemaInfo        [meta-type] name: str, meta-type: SchemaMetaType, features?: [str] | \\
                          builtin: SchemaInfoBuiltin, enum: SchemaInfoEnum, array: SchemaInfoArray, \\
                          object: SchemaInfoObject, alternate: SchemaInfoAlternate, command: SchemaInfoCommand, \\
                          event: SchemaInfoEvent
struct  SchemaInfoBuiltin       json-type: JSONType
struct  SchemaInfoEnum          members: [SchemaInfoEnumMember], values: [str]
struct  SchemaInfoEnumMember    name: str, features?: [str]
struct  SchemaInfoArray         element-type: str
struct  SchemaInfoObject        members: [SchemaInfoObjectMember], tag?: str, variants?: [SchemaInfoObjectVariant]
struct  SchemaInfoObjectMember  name: str, type: str, default?: any, features?: [str]
struct  SchemaInfoObjectVariant case: str, type: str
struct  SchemaInfoAlternate     members: [SchemaInfoAlternateMember]
struct  SchemaInfoAlternateMember type: str
struct  SchemaInfoCommand       arg-type: str, ret-type: str, allow-oob?: bool
struct  SchemaInfoEvent         arg-type: str
""")


@qmp_command("qmp_capabilities", "enable?: [QMPCapability]", help="end the negotiation; every other command comes after it")
def qmp_capabilities(ctx: Context, enable: list[str] | None = None) -> None:
    raise CommandError("Capabilities negotiation is already complete, command ignored")


@qmp_command("query-commands", returns="[CommandInfo]", help="the names of all commands")
def query_commands(ctx: Context) -> list[dict[str, str]]:
    return [{"name": name} for name in sorted(QMP)]


@qmp_command("query-qmp-schema", returns="[SchemaInfo]", help="commands, events and their types, as data")
def query_qmp_schema(ctx: Context) -> list[dict[str, Any]]:
    from .introspect import schema

    return schema().listing()


@qmp_command("human-monitor-command", "command-line: str, cpu-index?: int", returns="str",
             help="what the human monitor prints for a line")
def human_monitor_command(ctx: Context, command_line: str, cpu_index: int | None = None) -> str:
    from .shell import Shell

    shell = Shell(ctx.machine)
    if cpu_index is not None:
        if not 0 <= cpu_index < len(ctx.machine.cpus):
            raise CommandError("Parameter 'cpu-index' expects a CPU number")
        shell.ctx.cpu_index = cpu_index
    shell.ctx.monitor = ctx.monitor
    return shell.run(command_line).replace("\n", "\r\n")
