"""Commands on processors: those of the machine, and the models there are."""

from __future__ import annotations

import threading
from typing import Any

from pcemu.qom.errors import PcemuError

from .errors import CommandError
from .table import Context, command, declare_types, qmp_command

declare_types("""
enum    SysEmuTarget           i386 x86_64
struct  CpuInstanceProperties  node-id?: int, socket-id?: int, die-id?: int, cluster-id?: int, core-id?: int, thread-id?: int
struct  CpuInfoFast            cpu-index: int, qom-path: str, thread-id: int, props?: CpuInstanceProperties, target: SysEmuTarget
struct  HotpluggableCPU        type: str, vcpus-count: int, props: CpuInstanceProperties, qom-path?: str
struct  CpuDefinitionInfo      name: str, migration-safe?: bool, static: bool, unavailable-features?: [str], typename: str, \\
                               alias-of?: str, deprecated: bool
enum    CpuModelExpansionType  static full
struct  CpuModelInfo           name: str, props?: any
struct  CpuModelExpansionInfo  model: CpuModelInfo
struct  TargetInfo             arch: SysEmuTarget
""")


@qmp_command("query-target", returns="TargetInfo", help="the architecture of the machine's processors")
def query_target(ctx: Context) -> dict[str, str]:
    return {"arch": "x86_64"}


def _place(index: int) -> dict[str, int]:
    return {"core-id": 0, "thread-id": 0, "socket-id": index}


def _show_cpus(ctx: Context, cpus: list[dict[str, Any]]) -> str:
    return "".join(f"{'*' if cpu['cpu-index'] == ctx.cpu_index else ' '} CPU #{cpu['cpu-index']}: "
                   f"thread_id={cpu['thread-id']}\n" for cpu in cpus)


@qmp_command("query-cpus-fast", returns="[CpuInfoFast]", help="the machine's processors")
def query_cpus_fast(ctx: Context) -> list[dict[str, Any]]:
    return [{"cpu-index": index, "thread-id": threading.get_native_id(), "props": _place(index),
             "qom-path": f"/machine/unattached/device[{index}]", "target": "x86_64"}
            for index in range(len(ctx.machine.cpus))]


@command("info cpus", help="show infos for each CPU")
def info_cpus(ctx: Context) -> str:
    return _show_cpus(ctx, query_cpus_fast(ctx))


def _show_hotpluggable(cpus: list[dict[str, Any]]) -> str:
    text = "Hotpluggable CPUs:\n"
    for cpu in cpus:
        text += f'  type: "{cpu["type"]}"\n  vcpus_count: "{cpu["vcpus-count"]}"\n'
        if "qom-path" in cpu:
            text += f'  qom_path: "{cpu["qom-path"]}"\n'
        text += "  CPUInstance Properties:\n"
        text += "".join(f'    {name}: "{cpu["props"][name]}"\n' for name in ("socket-id", "core-id", "thread-id"))
    return text


@command("info hotpluggable-cpus", help="show information about hotpluggable CPUs", qmp="query-hotpluggable-cpus",
         returns="[HotpluggableCPU]", render=_show_hotpluggable)
def query_hotpluggable_cpus(ctx: Context) -> list[dict[str, Any]]:
    from pcemu.machine.tree import cpu_type_name

    if ctx.machine.config.machine == "none":
        raise CommandError("machine does not support hot-plugging CPUs")
    return [{"type": cpu_type_name(ctx.machine, index), "vcpus-count": 1, "props": _place(index),
             "qom-path": f"/machine/unattached/device[{index}]"} for index in range(len(ctx.machine.cpus))]


@qmp_command("query-cpu-definitions", returns="[CpuDefinitionInfo]", help="what -cpu takes")
def query_cpu_definitions(ctx: Context) -> list[dict[str, Any]]:
    from pcemu.machine.cpu import models

    cpumodel = models()
    names = {name for name, _ in cpumodel.list_models()}
    listed = []
    for name in sorted(names):
        entry: dict[str, Any] = {"name": name, "typename": f"{name}-x86_64-cpu", "static": name == "base",
                                 "migration-safe": name != "max", "deprecated": False,
                                 "unavailable-features": list(cpumodel.parse_cpu(name).missing)}
        alias = cpumodel.models.ALIASES.get(name) or (f"{name}-v1" if f"{name}-v1" in names else None)
        if alias:
            entry["alias-of"] = alias
        listed.append(entry)
    return listed


@qmp_command("query-cpu-model-expansion", "type: CpuModelExpansionType, model: CpuModelInfo", returns="CpuModelExpansionInfo",
             help="a -cpu argument spelled out: every feature on or off")
def query_cpu_model_expansion(ctx: Context, type: str, model: dict[str, Any]) -> dict[str, Any]:
    from pcemu.machine.cpu import models
    from pcemu.machine.tree import cpu_properties

    from .commands_qom import plain

    props = model.get("props", {})
    if not isinstance(props, dict):
        raise CommandError("Invalid parameter type for 'model.props', expected: object")
    options = [f"{name}={plain(value, name)}" for name, value in props.items()]
    if any("," in option for option in options):
        raise CommandError("a ',' in model.props is not possible")
    try:
        made = models().parse_cpu(",".join([model["name"], *options]))
    except ValueError as error:
        raise CommandError(str(error)) from None
    expanded = {name: value for name, _, value in cpu_properties(made)}
    if type == "static":
        # On top of `base`, which has nothing: only what is there has to be said.
        kept = {name: value for name, value in expanded.items() if value is not False}
        return {"model": {"name": "base", "props": kept}}
    return {"model": {"name": model["name"], "props": expanded}}


@command("nmi", help="inject an NMI", qmp="inject-nmi")
def nmi(ctx: Context) -> None:
    if not ctx.machine.cpus:
        raise PcemuError("No CPU available")
    for cpu in ctx.machine.cpus:
        cpu.set_nmi()
