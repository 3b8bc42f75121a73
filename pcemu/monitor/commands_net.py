"""Commands on networks."""

from __future__ import annotations

from typing import Any

from pcemu.net import NetClient, NetError, options
from pcemu.net.hub import HubPort

from .errors import CommandError, DeviceNotFound
from .table import Context, command, declare_types, qmp_command

MOST_ANNOUNCED = 100_000     # milliseconds, or rounds


def _client(client: NetClient) -> str:
    """A client's line, and those of its filters."""
    index = client.queues.index(client) if client in client.queues else 0
    lines = [f"{client.name}: index={index},type={client.kind},{client.describe()}\n"]
    if client.filters:
        lines.append("filters:\n")
    for found in client.filters:
        shown = [f"type={found.type_name}"]
        for decl in found._properties.values():
            value = getattr(found, decl.attr)
            value = {True: "on", False: "off"}[value] if isinstance(value, bool) else getattr(value, "name", value)
            shown.append(f"{decl.name}={value}")
        lines.append(f"  - {found.id}: {','.join(shown)}\n")
    return "".join(lines)


@command("info network", help="show the network state")
def info_network(ctx: Context) -> str:
    clients: list[NetClient] = ctx.machine.net_clients
    text = []
    hubs = {client.hub.number: client.hub for client in clients if isinstance(client, HubPort)}
    for number in reversed(hubs):
        text.append(f"hub {number}\n")
        for port in reversed(hubs[number].ports):
            text.append(f" \\ {port.name}" + (f": {_client(port.peer)}" if port.peer is not None else "\n"))
    for client in clients:
        if isinstance(client, HubPort) or isinstance(client.peer, HubPort):
            continue
        if client.peer is None or client.kind == "nic":
            text.append(_client(client))
        if client.peer is not None and client.kind == "nic":
            text.append(f" \\ {_client(client.peer)}")
    return "".join(text)


def _user_nets(ctx: Context) -> list[Any]:
    return [client for client in ctx.machine.netdevs.values() if client.kind == "user"]


@command("info usernet", help="show user network stack connection states")
def info_usernet(ctx: Context) -> str:
    text = []
    for net in _user_nets(ctx):
        hub = net.peer.hub.number if isinstance(net.peer, HubPort) else -1
        text.append(f"Hub {hub} ({net.name}):\n")
        text.append("  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n")
        for state, fd, source, sport, target, dport, to_host, to_guest in [*net.tcp.describe(), *net.udp.describe()]:
            text.append(f"  {state:<17} {fd:3} {source:>15} {sport:5} {target:>15} {dport:5} {to_host:5} {to_guest:5}\n")
    return "".join(text)


@command("set_link", "name:s,up:b", params="name on|off", help="change the link status of a network adapter",
         qmp="set_link", takes="name: str, up: bool")
def set_link(ctx: Context, name: str, up: bool) -> None:
    found = [client for client in ctx.machine.net_clients if client.name == name]
    if not found:
        raise DeviceNotFound(f"Device '{name[:80]}' not found")
    for client in found:
        client.set_link(up)


def _forwarder(ctx: Context, first: str, rule: str | None) -> tuple[Any, str]:
    """The network and the rule of hostfwd_add and hostfwd_remove, whose first argument may be missing."""
    nets = _user_nets(ctx)
    if rule is None:
        if not nets:
            raise CommandError("user mode network stack not in use")
        return nets[0], first
    for net in nets:
        if net.name == first:
            return net, rule
    raise CommandError(f"unrecognized netdev id '{first}'")


@command("hostfwd_add", "arg1:s,arg2:s?", params="[netdev_id] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
         help="redirect TCP or UDP connections from host to guest (requires -net user)")
def hostfwd_add(ctx: Context, arg1: str, arg2: str | None) -> None:
    from pcemu.net.user import add_forward

    net, rule = _forwarder(ctx, arg1, arg2)
    add_forward(net, rule)


@command("hostfwd_remove", "arg1:s,arg2:s?", params="[netdev_id] [tcp|udp]:[hostaddr]:hostport",
         help="remove host-to-guest TCP or UDP redirection")
def hostfwd_remove(ctx: Context, arg1: str, arg2: str | None) -> str:
    from pcemu.net.user import remove_forward

    net, rule = _forwarder(ctx, arg1, arg2)
    return f"host forwarding rule for {rule} {'removed' if remove_forward(net, rule) else 'not found'}\n"


declare_types("""
enum    RxState       normal none all
struct  RxFilterInfo  name: str, promiscuous: bool, multicast: RxState, unicast: RxState, vlan: RxState, \\
                      broadcast-allowed: bool, multicast-overflow: bool, unicast-overflow: bool, main-mac: str, \\
                      vlan-table: [int], unicast-table: [str], multicast-table: [str]
""")


@qmp_command("query-rx-filter", "name?: str", returns="[RxFilterInfo]", help="which frames drivers of network cards want")
def query_rx_filter(ctx: Context, name: str | None = None) -> list[dict[str, Any]]:
    cards = [device for device in ctx.machine.devices if hasattr(device, "rx_filter") and device.pairs]
    if name is None:
        return [card.rx_filter() for card in cards]
    for card in cards:
        if card.pairs[0].client.name == name:
            return [card.rx_filter()]
    if any(client.name == name for client in ctx.machine.net_clients):
        raise CommandError(f"net client({name[:80]}) isn't a NIC")
    raise CommandError(f"invalid net client name: {name[:80]}")


@qmp_command("announce-self", "initial: int, max: int, rounds: int, step: int, interfaces?: [str], id?: str",
             help="tell the network where the guest's cards are: times in milliseconds")
def announce_self(ctx: Context, initial: int, max: int, rounds: int, step: int, interfaces: list[str] | None = None,
                  id: str = "") -> None:  # fmt: skip
    from pcemu.net.announce import Announcement

    for name, value in (("initial", initial), ("max", max), ("rounds", rounds), ("step", step)):
        if not 0 <= value <= MOST_ANNOUNCED:
            raise CommandError(f"Parameter '{name}' expects a number from 0 to {MOST_ANNOUNCED}")
    Announcement(ctx.machine, interfaces, id, initial=initial, longest=max, rounds=rounds, step=step)


@command("announce_self", "interfaces:s?,id:s?", params="[interfaces] [id]", help="Trigger GARP/RARP announcements")
def announce_self_text(ctx: Context, interfaces: str | None, id: str | None) -> None:
    from pcemu.net.announce import Announcement

    Announcement(ctx.machine, interfaces.split(",") if interfaces else None, id or "")


@qmp_command("netdev_add", "type: str, id: str, ...", help="add a network back end, as -netdev does")
def netdev_add(ctx: Context, rest: dict[str, Any], type: str, id: str) -> None:
    options.create(ctx.machine, options.flatten({"type": type, "id": id, **rest}))


@command("netdev_add", "netdev:S", params="[user|tap|socket|stream|dgram|hubport],id=str[,prop=value][,...]",
         help="add host network device")
def netdev_add_text(ctx: Context, netdev: str) -> None:
    if netdev.startswith("{"):
        raise NetError("a list of key=value is expected")
    options.create(ctx.machine, options.pairs(netdev))


@command("netdev_del", "id:s", params="id", help="remove host network device", qmp="netdev_del")
def netdev_del(ctx: Context, id: str) -> None:
    if id not in ctx.machine.netdevs:
        raise DeviceNotFound(f"Device '{id[:80]}' not found")
    options.remove(ctx.machine, id)
