"""Commands on networks: who is connected to whom, back ends that come and go, links up and down."""

from __future__ import annotations

from typing import Any

from pcemu.qom.errors import PcemuError

from .commands_qom import option_pairs
from .errors import CommandError, DeviceNotFound
from .table import Context, command, qmp_command


def _line(client: Any) -> str:
    kind, text = client.kind, client.describe()
    return f"{client.name}: index=0,type={kind}{',' + text if text else ''}\n"


@command("info network", help="show the network state")
def info_network(ctx: Context) -> str:
    text = ""
    clients = ctx.machine.net_clients
    cards = [client for client in clients if client.kind == "nic"]
    for card in cards:
        text += _line(card)
        if card.peer is not None:
            text += f" \\ {_line(card.peer)}"
    shown = {id(client) for card in cards for client in (card, card.peer)}
    return text + "".join(_line(client) for client in clients if id(client) not in shown)


def _add(ctx: Context, pairs: list[tuple[str, str]]) -> None:
    from pcemu.net import options

    options.create(ctx.machine, pairs)


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    """Members of JSON as an option's keys: {"a": {"b": 1}} is a.b=1, a list is its key several times."""
    if isinstance(value, dict):
        if set(value) == {"str"}:               # an element of hostfwd and its like
            return _flat(prefix, value["str"])
        return [pair for name, below in value.items() for pair in _flat(f"{prefix}.{name}" if prefix else name, below)]
    if isinstance(value, list):
        return [pair for below in value for pair in _flat(prefix, below)]
    if isinstance(value, bool):
        return [(prefix, "on" if value else "off")]
    if isinstance(value, str | int | float):
        return [(prefix, str(value))]
    raise CommandError(f"Invalid parameter type for '{prefix[:80]}', expected: a string, a number or a boolean")


@qmp_command("netdev_add", "type: str, id: str, ...", help="add a network back end, as -netdev does")
def netdev_add(ctx: Context, rest: dict[str, Any], type: str, id: str) -> None:
    _add(ctx, [("type", type), ("id", id), *_flat("", rest)])


@command("netdev_add", "netdev:S", params="[type=]type,id=str[,prop=value][,...]", help="add host network device")
def netdev_add_text(ctx: Context, netdev: str) -> None:
    _add(ctx, list(option_pairs(netdev, "type").items()))


@command("netdev_del", "id:s", params="id", help="remove host network device", qmp="netdev_del")
def netdev_del(ctx: Context, id: str) -> None:
    from pcemu.net import options

    if id not in ctx.machine.netdevs:
        raise DeviceNotFound(f"Device '{id[:80]}' not found")
    options.remove(ctx.machine, id)


@command("set_link", "name:s,up:b", params="name on|off", help="change the link status of a network adapter", qmp="set_link",
         takes="name: str, up: bool")
def set_link(ctx: Context, name: str, up: bool) -> None:
    found = next((client for client in ctx.machine.net_clients if client.name == name), None)
    if found is None:
        raise DeviceNotFound(f"Device '{name[:80]}' not found")
    try:
        found.set_link(up)
    except PcemuError as error:
        raise CommandError(str(error)) from None
