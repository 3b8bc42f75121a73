"""The object tree: everything in the machine under a path, with typed properties (qom-list, qom-get, qom-set).

    /machine                          the board: its options are its properties
      /peripheral/ID                  devices the user added and gave an id
      /peripheral-anon/device[N]      ... and gave none
      /unattached/device[N]           processors, then what the board made; /sysbus
      /NAME                           what the board gives a name of its own (Device.board_name)
    /objects/ID                       -object
    /chardevs/ID                      -chardev

Nothing is stored here: nodes are made from the machine when somebody asks, so the tree cannot differ from it.
Below a device are its buses, and below a bus links to what is plugged in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pcemu.qom import Bus, Device
from pcemu.qom.entry import Entry
from pcemu.qom.errors import PcemuError
from pcemu.qom.property import PropertyDecl

from . import types


class PathError(PcemuError, LookupError):
    """No object has that path."""

    error_class = "DeviceNotFound"


class Node:
    """One object. `children` are nodes below it, by name."""

    def __init__(self, tree: Tree, path: str, type_name: str) -> None:
        self.tree = tree
        self.path = path
        self.type_name = type_name

    def own_entries(self) -> Iterator[Entry]:
        """Properties that are not children."""
        return iter(())

    def children(self) -> dict[str, Node]:
        return {}

    def entries(self) -> list[Entry]:
        """All properties: `type` first, children last."""
        found = [Entry("type", "string", lambda: self.type_name), *self.own_entries()]
        for name, child in self.children().items():
            found.append(Entry(name, f"child<{child.type_name}>", partial(str, child.path)))
        return found

    def entry(self, name: str) -> Entry:
        for found in self.entries():
            if found.name == name:
                return found
        raise PcemuError(f"Property '{self.type_name}.{name}' not found")

    def below(self, name: str) -> str:
        return ("" if self.path == "/" else self.path) + "/" + name


class Container(Node):
    """A directory."""

    def __init__(self, tree: Tree, path: str, fill: Callable[[Node], dict[str, Node]]) -> None:
        super().__init__(tree, path, "container")
        self._fill = fill

    def children(self) -> dict[str, Node]:
        return self._fill(self)


class MachineNode(Node):
    """The board."""

    def __init__(self, tree: Tree, path: str) -> None:
        super().__init__(tree, path, f"{types.full_name(tree.machine.config.machine)}-machine")

    def own_entries(self) -> Iterator[Entry]:
        machine = self.tree.machine
        config = machine.config
        for name, value in (("kernel", config.kernel), ("initrd", config.initrd), ("append", config.append),
                            ("firmware", config.bios)):  # fmt: skip
            yield Entry(name, "string", partial(str, value or ""))
        yield Entry("smp", "SMPConfiguration", lambda: topology(len(machine.cpus) or 1))
        yield Entry("memory", "MemorySizeConfiguration", lambda: {"size": machine.ram_size, "max-size": machine.ram_size,
                                                                  "slots": 0})  # fmt: skip
        for decl in machine.board.options.values():
            yield Entry(decl.name, decl.type_label(), partial(getattr, machine.board, decl.attr), help=decl.help)
        rtc = machine.find("mc146818rtc")
        if rtc is not None and hasattr(rtc, "calendar"):
            yield Entry("rtc-time", "struct tm", rtc.calendar)

    def children(self) -> dict[str, Node]:
        tree = self.tree
        found: dict[str, Node] = {}
        for device in tree.machine.devices:
            if device.board_name:
                found[device.board_name] = DeviceNode(tree, self.below(device.board_name), device)
        for name in ("unattached", "peripheral", "peripheral-anon"):
            found[name] = Container(tree, self.below(name), partial(tree.devices_in, name))
        return found


class DeviceNode(Node):
    def __init__(self, tree: Tree, path: str, device: Device) -> None:
        super().__init__(tree, path, device.type_name)
        self.device = device

    def own_entries(self) -> Iterator[Entry]:
        device, tree = self.device, self.tree
        bus = device.parent_bus
        if bus is not None:
            yield Entry("parent_bus", "link<bus>", lambda: tree.path_of(bus))
        yield Entry("realized", "bool", lambda: device.realized)
        yield Entry("hotplugged", "bool", lambda: device.hotplugged)
        yield Entry("hotpluggable", "bool", lambda: bus is not None and bus.hotpluggable)
        for decl in device.user_properties().values():
            yield Entry(decl.name, decl.type_label(), partial(tree.value, device, decl), partial(self._set, decl), decl.help)
        yield from device.live_entries()

    def _set(self, decl: PropertyDecl, value: Any) -> None:
        device = self.device
        if device.realized:
            raise PcemuError(f"Attempt to set property '{decl.name}' on device '{device.id}' (type '{device.type_name}') "
                             "after it was realized")  # fmt: skip
        device.set_property(decl.name, value)

    def children(self) -> dict[str, Node]:
        found: dict[str, Node] = {bus.name: BusNode(self.tree, self.below(bus.name), bus) for bus in self.device.buses}
        for name, part in self.device.parts.items():
            found[name] = DeviceNode(self.tree, self.below(name), part)
        return found


class BusNode(Node):
    def __init__(self, tree: Tree, path: str, bus: Bus) -> None:
        super().__init__(tree, path, bus.type_name)
        self.bus = bus

    def own_entries(self) -> Iterator[Entry]:
        yield Entry("realized", "bool", lambda: True)
        for index, device in enumerate(self.bus.children):
            yield Entry(f"child[{index}]", f"link<{device.type_name}>", partial(self.tree.path_of, device))


class CpuNode(Node):
    """A processor: its model's numbers and features."""

    def __init__(self, tree: Tree, path: str, index: int) -> None:
        self.index = index
        self.model = tree.machine.cpu_models[index]
        super().__init__(tree, path, cpu_type_name(tree.machine, index))

    def own_entries(self) -> Iterator[Entry]:
        yield Entry("realized", "bool", lambda: True)
        yield Entry("hotplugged", "bool", lambda: False)
        yield Entry("hotpluggable", "bool", lambda: False)
        for name, kind, value in cpu_properties(self.model):
            yield Entry(name, kind, partial(_same, value))
        yield Entry("apic-id", "uint32", lambda: self.index)
        for name, value in (("socket-id", self.index), ("core-id", 0), ("thread-id", 0)):
            yield Entry(name, "int32", partial(_same, value))


class ObjectNode(Node):
    """-object."""

    def __init__(self, tree: Tree, path: str, made: Any) -> None:
        super().__init__(tree, path, made.type_name)
        self.made = made

    def own_entries(self) -> Iterator[Entry]:
        made = self.made
        for decl in made._properties.values():
            yield Entry(decl.name, decl.type_label(), partial(self.tree.value, made, decl), partial(self._set, decl), decl.help)

    def _set(self, decl: PropertyDecl, value: Any) -> None:
        change = getattr(self.made, "change", None)
        if change is None:
            raise PcemuError(f"{self.type_name}.{decl.name} cannot change")
        change(decl, decl.convert(self.type_name, value))


class Tree:
    """The tree of one machine."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine

    @property
    def root(self) -> Node:
        def fill(root: Node) -> dict[str, Node]:
            machine = self.machine
            return {
                "machine": MachineNode(self, "/machine"),
                "objects": Container(self, "/objects", lambda node: {
                    name: ObjectNode(self, node.below(name), made) for name, made in machine.objects.items()}),
                "chardevs": Container(self, "/chardevs", lambda node: {
                    name: Node(self, node.below(name), f"chardev-{made.backend}")
                    for name, made in machine.chardevs.items()}),
            }  # fmt: skip

        return Container(self, "/", fill)

    def devices_in(self, name: str, node: Node) -> dict[str, Node]:
        machine = self.machine
        found: dict[str, Node] = {}
        if name == "unattached":
            for index in range(len(machine.cpu_models)):
                found[f"device[{index}]"] = CpuNode(self, node.below(f"device[{index}]"), index)
            found["sysbus"] = BusNode(self, node.below("sysbus"), machine.main_bus)
            for bus in machine.board_buses:
                found[bus.name] = BusNode(self, node.below(bus.name), bus)
        for device in machine.devices:
            if self._container(device) == name:
                child = self._name(device)
                found[child] = DeviceNode(self, node.below(child), device)
        return found

    def _container(self, device: Device) -> str:
        if device.board_name or device.part_of is not None:
            return ""
        if not device.user_made:
            return "unattached"
        return "peripheral" if device.id else "peripheral-anon"

    def _name(self, device: Device) -> str:
        if device.user_made and device.id:
            return device.id
        first = 0 if device.user_made else len(self.machine.cpus)
        return f"device[{first + device.number}]"

    def path_of(self, thing: Any) -> str:
        """The path of a device, a bus, a CPU, an object or a character device."""
        machine = self.machine
        if isinstance(thing, Device):
            if thing.part_of is not None:
                whole = thing.part_of
                return f"{self.path_of(whole)}/{next(name for name, part in whole.parts.items() if part is thing)}"
            if thing.board_name:
                return f"/machine/{thing.board_name}"
            return f"/machine/{self._container(thing)}/{self._name(thing)}"
        if isinstance(thing, Bus):
            if thing is machine.main_bus:
                return "/machine/unattached/sysbus"
            return f"/machine/unattached/{thing.name}" if thing.parent is None else f"{self.path_of(thing.parent)}/{thing.name}"
        for place, table in (("objects", machine.objects), ("chardevs", machine.chardevs)):
            for name, found in table.items():
                if found is thing:
                    return f"/{place}/{name}"
        for index, cpu in enumerate(machine.cpus):
            if cpu is thing:
                return f"/machine/unattached/device[{index}]"
        return ""

    def find(self, path: str) -> Node:
        """The node at an absolute path; at a partial one (an id, say) if there is exactly one such."""
        if path.startswith("/"):
            node = self.root
            for part in filter(None, path.split("/")):
                below = node.children().get(part)
                if below is None:
                    raise PathError(f"Device '{path[:200]}' not found")
                node = below
            return node
        matches = [node for node in self.walk() if node.path.endswith("/" + path)] if path else []
        if len(matches) > 1:
            raise PcemuError(f"Path '{path[:200]}' is ambiguous")
        if not matches:
            raise PathError(f"Device '{path[:200]}' not found")
        return matches[0]

    def walk(self) -> Iterator[Node]:
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children().values())

    def value(self, owner: Any, decl: PropertyDecl) -> Any:
        """A property's value as JSON: links are paths, ids of back ends are names."""
        value = owner.get_property(decl.name) if isinstance(owner, Device) else getattr(owner, decl.attr)
        if value is None:
            return ""
        if decl.kind == "link" or decl.kind == "object":
            return value if isinstance(value, str) else self.path_of(value)
        if isinstance(value, bool | int | str | float | list | dict):
            return value
        return str(getattr(value, "id", None) or getattr(value, "name", None) or decl.format(value).strip('"'))


def _same(value: Any) -> Any:
    return value


# -- processors -----------------------------------------------------------------------------------------------


def topology(count: int) -> dict[str, int]:
    return {"cpus": count, "sockets": count, "dies": 1, "cores": 1, "threads": 1, "maxcpus": count}


def cpu_type_name(machine: Any, index: int = 0) -> str:
    return f"{machine.cpu_models[index].name}-x86_64-cpu"


def cpu_properties(model: Any) -> list[tuple[str, str, Any]]:
    """(name, type, value) of what -cpu's options set, every feature flag among them."""
    from pcemu._core import cpumodel

    found: list[tuple[str, str, Any]] = [
        ("vendor", "string", model.vendor), ("family", "int", model.family), ("model", "int", model.model),
        ("stepping", "int", model.stepping), ("model-id", "string", model.model_id), ("tsc-frequency", "int", model.tsc_hz),
        ("level", "uint32", model.level), ("xlevel", "uint32", model.xlevel), ("phys-bits", "uint32", model.phys_bits),
        ("hypervisor", "bool", "hypervisor" in model.features),
    ]  # fmt: skip
    found += [(flag, "bool", flag in model.features) for flag in cpumodel.list_flags() if flag != "hypervisor"]
    return found


_NUMBERED = re.compile(r"(.*)\[(\d+)\]")


def sort_key(name: str) -> tuple[str, int]:
    """For lists that people read: device[2] before device[10]."""
    matched = _NUMBERED.fullmatch(name)
    return (matched[1], int(matched[2])) if matched else (name, -1)
