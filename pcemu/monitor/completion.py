"""What a tab completes: names of commands, and for arguments what the machine has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pcemu.debug import log as debug_log
from pcemu.hw.input.scancodes import KEYS
from pcemu.qom.catalog import MODULES, OBJECTS

from . import table


def _chardevs(machine: Any, typed: str) -> Iterable[str]:
    return machine.chardevs


def _ringbufs(machine: Any, typed: str) -> Iterable[str]:
    return [name for name, found in machine.chardevs.items() if found.backend == "ringbuf"]


def _backends(machine: Any, typed: str) -> Iterable[str]:
    from pcemu.chardev import backend_names

    return backend_names()


def _netdev_types(machine: Any, typed: str) -> Iterable[str]:
    from pcemu.net.options import BACKENDS

    return BACKENDS


def _cards(machine: Any, typed: str) -> Iterable[str]:
    return [client.name for client in machine.net_clients if client.kind == "nic"]


def _devices(machine: Any, typed: str) -> Iterable[str]:
    return machine.by_id


def _objects(machine: Any, typed: str) -> Iterable[str]:
    return machine.objects


def _net_clients(machine: Any, typed: str) -> Iterable[str]:
    return [client.name for client in machine.net_clients]


def _drives(machine: Any, typed: str) -> Iterable[str]:
    return machine.drives


def _virtio(machine: Any, typed: str) -> Iterable[str]:
    return [machine.path_of(device) for device in machine.devices if hasattr(device, "device_number")]


def _events(machine: Any, typed: str) -> Iterable[str]:
    return {event for device in machine.devices for event in device.trace_events}


def _paths(machine: Any, typed: str) -> Iterable[str]:
    """The next step of a path."""
    from pcemu.machine.tree import PathError, Tree

    parent = typed.rpartition("/")[0] or "/"
    try:
        node = Tree(machine).find(parent)
    except PathError:
        return ()
    return [child.path for child in node.children().values()]


def _properties(machine: Any, typed: str, path: str) -> Iterable[str]:
    from pcemu.machine.tree import Tree
    from pcemu.qom.errors import PcemuError

    try:
        return [entry.name for entry in Tree(machine).find(path).own_entries()]
    except PcemuError:
        return ()


def _keys(machine: Any, typed: str) -> Iterable[str]:
    before, dash, _ = typed.rpartition("-")
    return [before + dash + key for key in KEYS]


_ON_OFF = ("on", "off")
_ACTIONS = ("reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi")
_Words = Callable[[Any, str], Iterable[str]]
# command -> for each of its words what they may be
WORDS: dict[str, tuple[_Words | tuple[str, ...], ...]] = {
    "chardev-add": (_backends,), "chardev-remove": (_chardevs,), "chardev-change": (_chardevs, _backends),
    "chardev-send-break": (_chardevs,),
    "ringbuf_read": (_ringbufs,), "ringbuf_write": (_ringbufs,), "device_del": (_devices,), "object_del": (_objects,),
    "device_add": (lambda machine, typed: MODULES,), "object_add": (lambda machine, typed: OBJECTS,),
    "netdev_add": (_netdev_types,), "announce_self": (_cards,), "drive_del": (_drives,),
    "netdev_del": (lambda machine, typed: machine.netdevs,), "set_link": (_net_clients, _ON_OFF), "block_resize": (_drives,),
    "info block": (_drives,), "qom-list": (_paths,), "qom-get": (_paths,), "qom-set": (_paths,), "info qom-tree": (_paths,),
    "info virtio-status": (_virtio,), "info virtio-queue-status": (_virtio,), "info virtio-queue-element": (_virtio,),
    "sendkey": (_keys,), "log": (lambda machine, typed: debug_log.ITEMS,), "watchdog_action": (_ACTIONS,),
    "trace-event": (_events, _ON_OFF), "info trace-events": (_events,), "closefd": (lambda machine, typed: machine.fds.named,),
}  # fmt: skip


def candidates(machine: Any, line: str) -> list[str]:
    """What the last word of `line` may become."""
    words = line.lstrip().split(" ")
    typed = words[-1]
    if len(words) == 1:
        found: Iterable[str] = table.COMMANDS
    elif words[0] in ("help", "?"):
        found = table.INFO if words[1:2] == ["info"] and len(words) == 3 else table.COMMANDS if len(words) == 2 else ()
    elif words[0] == "info" and len(words) == 2:
        found = table.INFO
    else:
        found = _argument(machine, words, typed)
    return sorted({word for word in found if word.startswith(typed)})


def _argument(machine: Any, words: list[str], typed: str) -> Iterable[str]:
    command, position = (words[0], 1) if words[0] != "info" else (f"info {words[1]}", 2)
    entry = (table.INFO if words[0] == "info" else table.COMMANDS).get(command.removeprefix("info "))
    if entry is None:
        return ()
    full = ("info " if words[0] == "info" else "") + entry.names[0]
    given = [word for word in words[position:-1] if not word.startswith("-")]
    if full in ("qom-get", "qom-set") and len(given) == 1:
        return _properties(machine, typed, given[0])
    choices = WORDS.get(full, ())
    if len(given) >= len(choices):
        return ()
    found = choices[len(given)]
    return found if isinstance(found, tuple) else found(machine, typed)
