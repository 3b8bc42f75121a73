"""From what stands after -netdev to a network client."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

from pcemu.qom import Property
from pcemu.qom.errors import suggestion
from pcemu.qom.property import PropertyDecl

from . import NetClient, NetError


def _keys(*names: str, kind: type | str = str) -> dict[str, PropertyDecl]:
    return {name: Property(kind, name=name) for name in names}


def _address(prefix: str) -> dict[str, PropertyDecl]:
    """The dotted keys of a SocketAddress."""
    flags = ("numeric", "ipv4", "ipv6", "abstract", "tight", *(["keep-alive"] if prefix == "addr" else []))
    return {
        **_keys(*(f"{prefix}.{key}" for key in ("type", "host", "port", "path", "str"))),
        **_keys(*(f"{prefix}.{key}" for key in flags), kind=bool),
    }


# type -> (module, which has create(machine, name, options), keys, keys that may be given several times)
BACKENDS: dict[str, tuple[str, dict[str, PropertyDecl], tuple[str, ...]]] = {
    "user": (
        "pcemu.net.user",
        {
            **_keys("ipv4", "ipv6", "restrict", kind=bool),
            **_keys("net", "host", "ipv6-net", "ipv6-prefix", "ipv6-host", "dhcpstart", "dns", "ipv6-dns", "dnssearch",
                    "domainname", "hostname", "tftp", "tftp-server-name", "bootfile", "smb", "smbserver", "hostfwd",
                    "guestfwd"),
            **_keys("ipv6-prefixlen", kind="s64"),
        },
        ("dnssearch", "hostfwd", "guestfwd"),
    ),
    "tap": (
        "pcemu.net.tap",
        {
            **_keys("fd", "fds", "ifname", "script", "downscript", "br", "helper", "vhostfd", "vhostfds"),
            **_keys("vnet_hdr", "vhost", "vhostforce", kind=bool),
            **_keys("queues", "poll-us", kind="u32"),
            **_keys("sndbuf", kind="size"),
        },
        (),
    ),
    "socket": ("pcemu.net.socket", _keys("fd", "listen", "connect", "mcast", "localaddr", "udp"), ()),
    "stream": ("pcemu.net.stream", {**_keys("server", kind=bool), **_address("addr")}, ()),
    "dgram": ("pcemu.net.dgram", {**_address("local"), **_address("remote")}, ()),
    "hubport": ("pcemu.net.hub", {**_keys("hubid", kind="s32"), **_keys("netdev")}, ()),
}
# Refused by name, not as unknown.
PLANNED = ("l2tpv3", "vde", "bridge", "vhost-user", "vhost-vdpa")


# Keys that mean "on" alone and "off" with "no" in front.
SWITCHES = ("ipv4", "ipv6", "restrict", "server", "vnet_hdr", "vhost", "vhostforce")


def pairs(text: str) -> list[tuple[str, str]]:
    """``user,id=n,hostfwd=...,hostfwd=...`` -> keys and values in their order; ',,' is a comma."""
    result = []
    for index, item in enumerate(text.replace(",,", "\0").split(",")):
        key, equals, value = item.replace("\0", ",").partition("=")
        if equals:
            result.append((key, value))
        elif index == 0:
            result.append(("type", key))
        elif key.startswith("no") and key[2:] in SWITCHES:
            result.append((key[2:], "off"))
        elif key:
            result.append((key, "on"))
    return result


def flatten(given: dict[str, Any]) -> list[tuple[str, str]]:
    """The same from a JSON object: members of objects get dotted keys, those of lists a key each."""
    result: list[tuple[str, str]] = []

    def walk(prefix: str, value: object, depth: int) -> None:
        if depth > 8:
            raise NetError(f"'{prefix}' is nested too deeply")
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner, depth + 1)
        elif isinstance(value, list):
            for inner in value:
                # The elements of hostfwd and its like are objects with one member.
                walk(prefix, inner["str"] if isinstance(inner, dict) and set(inner) == {"str"} else inner, depth + 1)
        elif isinstance(value, bool):
            result.append((prefix, "on" if value else "off"))
        elif isinstance(value, str | int | float):
            result.append((prefix, str(value)))
        else:
            raise NetError(f"Invalid parameter type for '{prefix[:80]}', expected: a string, a number or a boolean")

    walk("", given, 0)
    return result


def help_text() -> str:
    """What `-netdev help` prints."""
    return "\n".join(["Available netdev backend types:", *BACKENDS])


def create(machine: Any, pairs: Sequence[tuple[str, str]], name: str = "") -> NetClient:
    """Make the client that ``-netdev type=T,id=ID,...`` describes and enter it in machine.netdevs.

    `pairs` are the option's keys and values in their order, some of them repeated; `name` is for clients that have no
    id (-nic). Raises NetError; nothing is left behind then.
    """
    kind = dict(pairs).get("type", "")
    if kind not in BACKENDS:
        if kind in PLANNED:
            raise NetError(f"{kind}: not implemented yet")
        raise NetError(f"Parameter 'type' does not accept value '{kind}'{suggestion(kind, BACKENDS)}")
    module, keys, repeated = BACKENDS[kind]
    options: dict[str, Any] = {}
    for key, text in pairs:
        if key == "type":
            continue
        if key == "id":
            name = text
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-._]*", text):
                raise NetError("Parameter 'id' expects an identifier")
            continue
        decl = keys.get(key)
        if decl is None:
            raise NetError(f"Invalid parameter '{key}'{suggestion(key, keys)}")
        try:
            value = decl._convert(text)
        except (ValueError, TypeError):
            raise NetError(f"Parameter '{key}' expects {decl.allowed()}") from None
        if key in repeated:
            options.setdefault(key, []).append(value)
        else:
            options[key] = value
    if not name:
        raise NetError("Parameter 'id' is missing")
    if name in machine.netdevs:
        raise NetError(f"Duplicate ID '{name}' for netdev")
    client: NetClient = importlib.import_module(module).create(machine, name, options)
    machine.netdevs[name] = client
    return client


def remove(machine: Any, name: str) -> None:
    """netdev_del: the card stays, without a cable."""
    client = machine.netdevs.get(name)
    if client is None:
        raise NetError(f"Device '{name}' not found")
    for found in list(client.filters):
        machine.objects.pop(found.id, None)
        found.close()
    del machine.netdevs[name]
    for queue in client.queues:
        queue.close()
