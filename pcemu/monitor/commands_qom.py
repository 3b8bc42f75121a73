"""Commands on the object tree, on types, and on what can be added and removed: devices and objects."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from pcemu.qom import Device, all_types, lookup
from pcemu.qom.errors import PcemuError, UnknownTypeError
from pcemu.qom.property import PropertyDecl

from .errors import CommandError, DeviceNotFound
from .table import Context, command, declare_types, qmp_command

declare_types("""
struct  ObjectPropertyInfo  name: str, type: str, description?: str, default-value?: any
struct  ObjectTypeInfo      name: str, abstract?: bool, parent?: str
""")


def _tree(ctx: Context) -> Any:
    from pcemu.machine.tree import Tree

    return Tree(ctx.machine)


# ---- paths ------------------------------------------------------------------------------------------------------------


def _show_properties(listed: list[dict[str, Any]]) -> str:
    return "".join(f"{item['name']} ({item['type']})\n" for item in listed)


@command("qom-list", "path:s?", params="path", help="list the properties of an object")
def qom_list_text(ctx: Context, path: str | None) -> str:
    return "/\n" if path is None else _show_properties(qom_list(ctx, path))


@qmp_command("qom-list", "path: str", returns="[ObjectPropertyInfo]", help="list the properties of an object")
def qom_list(ctx: Context, path: str) -> list[dict[str, Any]]:
    return [{"name": entry.name, "type": entry.type} | ({"description": entry.help} if entry.help else {})
            for entry in _tree(ctx).find(path).entries()]


@command("qom-get", "path:s,property:s", params="path property", help="show a property's value", qmp="qom-get", returns="any",
         render=lambda value: json.dumps(value, indent=4) + "\n")
def qom_get(ctx: Context, path: str, property: str) -> Any:
    return _tree(ctx).find(path).entry(property).get()


def set_property(ctx: Context, path: str, name: str, value: Any) -> None:
    entry = _tree(ctx).find(path).entry(name)
    if entry.set is None:
        raise CommandError(f"Property '{_tree(ctx).find(path).type_name}.{name}' is not writable")
    entry.set(value)


@qmp_command("qom-set", "path: str, property: str, value: any", help="set a property")
def qom_set(ctx: Context, path: str, property: str, value: Any) -> None:
    set_property(ctx, path, property, value)


@command("qom-set", "json:-j,path:s,property:s,value:S", params="[-j] path property value",
         help="set a property (-j: the value is JSON)")
def qom_set_text(ctx: Context, json: bool, path: str, property: str, value: str) -> None:
    from .jsonstream import ParseError, parse

    typed: Any = value
    if json:
        try:
            typed = parse(value.encode())
        except ParseError as error:
            raise CommandError(str(error)) from None
    set_property(ctx, path, property, typed)


@command("info qom-tree", "path:s?", params="[path]", help="show the object tree")
def info_qom_tree(ctx: Context, path: str | None) -> str:
    from pcemu.machine.tree import sort_key

    lines: list[str] = []

    def show(node: Any, name: str, level: int) -> None:
        lines.append(f"{'  ' * level}/{name} ({node.type_name})")
        for child in sorted(node.children().items(), key=lambda item: sort_key(item[0])):
            show(child[1], child[0], level + 1)

    node = _tree(ctx).find(path or "/machine")
    show(node, node.path.rpartition("/")[2], 0)
    return "".join(line + "\n" for line in lines)


# ---- types ------------------------------------------------------------------------------------------------------------

# Types above those that classes stand for.
_ROOTS: dict[str, str] = {"device": "object", "bus": "object", "machine": "object", "cpu": "device", "x86_64-cpu": "x86-cpu",
                          "x86-cpu": "cpu", "chardev": "object", "sys-bus-device": "device",
                          "isa-device": "device", "pci-device": "device", "generic-pc-machine": "x86-machine",
                          "x86-machine": "machine", "container": "object", "accel": "object", "tcg-accel": "accel",
                          "qtest-accel": "accel", "memory-backend": "object"}  # fmt: skip
_ABSTRACT = {"device", "bus", "machine", "cpu", "chardev", "x86-cpu", "sys-bus-device", "isa-device", "pci-device",
             "generic-pc-machine", "x86-machine", "x86_64-cpu", "accel", "memory-backend"}  # fmt: skip
_OF_DEVICES: list[dict[str, Any]] = [{"name": "parent_bus", "type": "link<bus>"}, {"name": "realized", "type": "bool"},
                                     {"name": "hotplugged", "type": "bool"}, {"name": "hotpluggable", "type": "bool"}]
_BUS_PARENTS = {"System": "sys-bus-device", "ISA": "isa-device", "PCI": "pci-device"}


def type_parents() -> dict[str, str]:
    """Every type there is -> the one it is a kind of."""
    from pcemu.chardev.options import BACKENDS
    from pcemu.machine import types
    from pcemu.machine.cpu import models
    from pcemu.qom.bus import Bus
    from pcemu.qom.object import lookup_object, object_names

    found = {"object": "", **_ROOTS}
    for cls in all_types():
        base = next((k.__dict__["type_name"] for k in cls.__mro__[1:] if k.__dict__.get("type_name")), "")
        found[cls.type_name] = base or _BUS_PARENTS.get(cls.bus_type or "", "device")
    for bus in _subclasses(Bus):
        found[bus.type_name] = "bus"
    for name, _ in types.listing():
        parent = "generic-pc-machine" if types.board_key(name) != "none" else "machine"
        found[f"{types.full_name(name)}-machine"] = parent
    for name, _ in models().list_models():
        found[f"{name}-x86_64-cpu"] = "x86_64-cpu"
    for name in (*BACKENDS, "mux"):
        found[f"chardev-{name}"] = "chardev"
    for name in object_names():
        base = next((k.__dict__["type_name"] for k in lookup_object(name).__mro__[1:] if k.__dict__.get("type_name")), "")
        found[name] = base or ("memory-backend" if name.startswith("memory-backend-") else "object")
    return found


def _subclasses(cls: type) -> list[Any]:
    found: list[Any] = [cls]
    below: type
    for below in cls.__subclasses__():
        found += _subclasses(below)
    return found


@qmp_command("qom-list-types", "implements?: str, abstract?: bool", returns="[ObjectTypeInfo]",
             help="the types there are: of devices, buses, processors, machines, objects, character devices")
def qom_list_types(ctx: Context, implements: str | None = None, abstract: bool = False) -> list[dict[str, Any]]:
    parents = type_parents()
    if implements is not None and implements not in parents:
        return []

    def is_a(name: str) -> bool:
        while name and name != implements:
            name = parents.get(name, "")
        return bool(name)

    listed = []
    for name, parent in sorted(parents.items()):
        if name in _ABSTRACT and not abstract:
            continue
        if implements is None or is_a(name):
            entry: dict[str, Any] = {"name": name}
            if parent:
                entry["parent"] = parent
            if name in _ABSTRACT:
                entry["abstract"] = True
            listed.append(entry)
    return listed


def _declared(decls: Any) -> list[dict[str, Any]]:
    listed = []
    for decl in decls:
        entry: dict[str, Any] = {"name": decl.name, "type": decl.type_label()}
        if decl.help:
            entry["description"] = decl.help
        default = _default(decl)
        if default is not None:
            entry["default-value"] = default
        listed.append(entry)
    return listed


def _default(decl: PropertyDecl) -> Any:
    return decl.default if isinstance(decl.default, bool | int | str) and decl.format_default() is not None else None


@qmp_command("device-list-properties", "typename: str", returns="[ObjectPropertyInfo]", help="what -device TYPE takes")
def device_list_properties(ctx: Context, typename: str) -> list[dict[str, Any]]:
    if typename.endswith("-x86_64-cpu"):
        return _cpu_listing(typename)
    try:
        return _declared(lookup(typename).user_properties().values())
    except UnknownTypeError:
        raise DeviceNotFound(f"Device '{typename[:200]}' not found") from None


def _cpu_listing(typename: str) -> list[dict[str, Any]]:
    from pcemu.machine.tree import cpu_properties

    return [{"name": name, "type": kind} for name, kind, _ in cpu_properties(_cpu_model(typename))]


def _cpu_model(typename: str) -> Any:
    from pcemu.machine.cpu import models

    name = typename.removesuffix("-x86_64-cpu")
    try:
        return models().parse_cpu(name)
    except ValueError:
        raise DeviceNotFound(f"Class '{typename[:200]}' not found") from None


@qmp_command("qom-list-properties", "typename: str", returns="[ObjectPropertyInfo]", help="the properties of a type's objects")
def qom_list_properties(ctx: Context, typename: str) -> list[dict[str, Any]]:
    from pcemu.machine import types
    from pcemu.qom.object import lookup_object

    head = [{"name": "type", "type": "string"}]
    if typename.endswith("-x86_64-cpu"):
        return head + _cpu_listing(typename)
    if typename.endswith("-machine"):
        try:
            board = types.load_board(typename.removesuffix("-machine"))
        except PcemuError:
            raise DeviceNotFound(f"Class '{typename[:200]}' not found") from None
        return head + _declared(board.options.values())
    with contextlib.suppress(PcemuError):
        return head + _OF_DEVICES + _declared(lookup(typename)._properties.values())
    with contextlib.suppress(PcemuError):
        return head + _declared(lookup_object(typename)._properties.values())
    if typename in type_parents():
        return head
    raise DeviceNotFound(f"Class '{typename[:200]}' not found")


@command("info qdm", help="show qdev device model list")
def info_qdm(ctx: Context) -> str:
    from pcemu.qom.listing import device_help

    return device_help(whole=True) + "\n"


# ---- objects ----------------------------------------------------------------------------------------------------------


def plain(value: Any, name: str) -> str:
    """A JSON value as option text, which is what properties parse."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str | int | float):
        return str(value)
    raise CommandError(f"Invalid parameter type for '{name[:80]}', expected: a string, a number or a boolean")


@qmp_command("object-add", "qom-type: str, id: str, ...", help="add an object, as -object does")
def object_add(ctx: Context, rest: dict[str, Any], qom_type: str, id: str) -> None:
    from pcemu.qom.object import add_object

    props = {name: plain(value, name) for name, value in rest.items()}
    add_object(ctx.machine, {"qom-type": qom_type, "id": id, **props})


@command("object_add", "object:S", params="[qom-type=]type,id=str[,prop=value][,...]", help="create QOM object")
def object_add_text(ctx: Context, object: str) -> None:
    from pcemu.qom.object import add_object

    add_object(ctx.machine, option_pairs(object, "qom-type"))


def object_del_now(ctx: Context, id: str) -> None:
    from pcemu.qom.object import remove_object

    made = ctx.machine.objects.get(id)
    if made is None:
        raise CommandError(f"object '{id}' not found")
    for user in _users_of(ctx.machine, made):
        raise CommandError(f"object '{id}' is in use, can not be deleted ({user})")
    remove_object(ctx.machine, id)


@command("object_del", "id:s", params="id", help="destroy QOM object", qmp="object-del")
def object_del(ctx: Context, id: str) -> None:
    object_del_now(ctx, id)


def _users_of(machine: Any, made: Any) -> list[str]:
    """Who has a link to an object."""
    return [thing.id or thing.type_name for thing in (*machine.devices, *machine.objects.values())
            if any(getattr(thing, decl.attr) is made for decl in thing._properties.values())]


def option_pairs(text: str, implied: str) -> dict[str, str]:
    """An option's argument, as on the command line: `first,key=value,flag` with ',,' for a comma."""
    pairs: dict[str, str] = {}
    items = text.replace(",,", "\0").split(",")
    for index, item in enumerate(items):
        item = item.replace("\0", ",")
        key, equals, value = item.partition("=")
        if equals:
            pairs[key] = value
        elif index == 0 and item:
            pairs[implied] = item
        elif item:
            pairs[item] = "on"
    return pairs


# ---- devices ----------------------------------------------------------------------------------------------------------


def _plug(ctx: Context, props: dict[str, str]) -> None:
    from pcemu.machine.hotplug import add_device

    driver = props.pop("driver", "")
    if not driver:
        raise CommandError("Parameter 'driver' is missing")
    add_device(ctx.machine, driver, props)


@qmp_command("device_add", "driver: str, bus?: str, id?: str, ...", help="add a device, as -device does")
def device_add(ctx: Context, rest: dict[str, Any], driver: str, bus: str | None = None, id: str | None = None) -> None:
    props = {name: plain(value, name) for name, value in rest.items()}
    props |= {name: value for name, value in (("bus", bus), ("id", id)) if value is not None}
    _plug(ctx, {"driver": driver, **props})


@command("device_add", "device:S", params="driver[,prop=value][,...]", help="add device, like -device on the command line")
def device_add_text(ctx: Context, device: str) -> None:
    _plug(ctx, option_pairs(device, "driver"))


@command("device_del", "id:s", params="device", help="remove device", qmp="device_del")
def device_del(ctx: Context, id: str) -> None:
    from pcemu.machine.hotplug import remove_device

    machine = ctx.machine
    device = machine.by_id.get(id)
    if device is None and id.startswith("/"):
        node = _tree(ctx).find(id)
        device = getattr(node, "device", None)
    if not isinstance(device, Device):
        raise DeviceNotFound(f"Device '{id[:200]}' not found")
    remove_device(machine, device)
