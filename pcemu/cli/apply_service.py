"""Options about the process as a service, about options in files, and the description of all options for managers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from pcemu.qom.property import PropertyDecl

from . import apply_host
from .context import Context, key
from .errors import UsageError, at
from .table import BY_NAME

# -- the process ----------------------------------------------------------------------------------------------


def daemonize(c: Context) -> None:
    c.config.daemonize = True


def pid_file(c: Context) -> None:
    c.config.pid_file = c.value


def run_as(c: Context) -> None:
    c.config.run_as = c.value


def chroot(c: Context) -> None:
    c.config.chroot = c.value


_MSG_KEYS = (key("timestamp", bool), key("guest-name", bool))


def msg(c: Context) -> None:
    pairs = c.keys(_MSG_KEYS)
    c.config.msg_timestamp = bool(pairs.get("timestamp", c.config.msg_timestamp))
    c.config.msg_guest_name = bool(pairs.get("guest-name", c.config.msg_guest_name))


_ALLOW_DENY = ("allow", "deny")
_SANDBOX_KEYS = (key("enable", bool), key("obsolete", choices=_ALLOW_DENY),
                 key("elevateprivileges", choices=(*_ALLOW_DENY, "children")), key("spawn", choices=_ALLOW_DENY),
                 key("resourcecontrol", choices=_ALLOW_DENY))  # fmt: skip


def sandbox(c: Context) -> None:
    pairs = c.keys(_SANDBOX_KEYS, "enable")
    if not pairs.pop("enable", False):
        if pairs:
            raise at(c.option, c.value, "only sandbox=on has other keys")
        c.config.sandbox = None
        return
    # Children never get more rights: the filter needs no_new_privs anyway.
    c.config.sandbox = {name: str(value) for name, value in pairs.items()}


_ADD_FD_KEYS = (key("fd", int), key("set", int), key("opaque"))


def add_fd(c: Context) -> None:
    pairs: dict[str, Any] = c.keys(_ADD_FD_KEYS)
    for name in ("fd", "set"):
        if name not in pairs:
            raise at(c.option, c.value, f"{name} is missing")
    if pairs["fd"] < 3:
        raise at(c.option, c.value, "fd: 0, 1 and 2 are the standard files")
    try:
        os.fstat(pairs["fd"])
    except OSError as error:
        raise at(c.option, c.value, f"fd: {error.strerror}") from None
    c.config.fdsets.append((pairs["fd"], pairs["set"], pairs.get("opaque")))


# -- options in files, and options changed --------------------------------------------------------------------

# The names of groups in a file, where they are not the option's.
GROUPS = {"memory": "m", "smp-opts": "smp", "boot-opts": "boot"}


def readconfig(c: Context) -> None:
    """[group] or [group "id"], and lines of key = "value"; '#' begins a comment."""
    from .apply import apply

    path = c.value
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise at("readconfig", path, str(getattr(error, "strerror", None) or error)) from None
    sections: list[tuple[int, str, list[tuple[str, str]]]] = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if head := re.fullmatch(r'\[\s*([\w-]+)\s*(?:"([^"]*)"\s*)?\]', line):
            sections.append((number, head[1], [("id", head[2])] if head[2] is not None else []))
        elif (pair := re.fullmatch(r'([^=\s]+)\s*=\s*"([^"]*)"', line)) and sections:
            sections[-1][2].append((pair[1], pair[2]))
        else:
            raise UsageError(f"-readconfig {path}:{number}: [group] or key = \"value\" is expected")
    for number, group, pairs in sections:
        name = GROUPS.get(group, group)
        option = BY_NAME.get(name)
        if option is None or not option.arg or name in ("readconfig", "set"):
            raise UsageError(f"-readconfig {path}:{number}: there is no group '{group}'")
        if not option.implemented:
            raise UsageError(f"-readconfig {path}:{number}: {group}: not implemented yet")
        c.option, c.value = name, ",".join(f"{key}={value.replace(',', ',,')}" for key, value in pairs)
        try:
            apply(c, option.do)
        except UsageError as error:
            raise UsageError(f"-readconfig {path}:{number}: {error}") from None
    c.option, c.value = "readconfig", path


def set_(c: Context) -> None:
    """-set device.disk0.serial=X"""
    matched = re.fullmatch(r"([^.=]+)\.([^=]+?)\.([^.=]+)=(.*)", c.value, re.DOTALL)
    if matched is None:
        raise at(c.option, c.value, "GROUP.ID.ARG=VALUE is expected")
    group, ident, name, value = matched.groups()
    config = c.config
    found: dict[str, Any] | None = None
    if group == "netdev":
        for net in config.netdevs:
            if ("id", ident) in net.pairs:
                net.pairs[:] = [pair for pair in net.pairs if pair[0] != name] + [(name, value)]
                return
    elif group == "device":
        found = next((device.props for device in config.devices if device.props.get("id") == ident), None)
    else:
        places: dict[str, Iterable[dict[str, Any]]] = {
            "chardev": config.chardevs, "drive": config.drives, "object": [pairs for pairs, _ in config.objects]}
        if group not in places:
            raise at(c.option, c.value, f"there is no group '{group}'; one of device, {', '.join(places)}, netdev")
        found = next((each for each in places[group] if each.get("id") == ident), None)
    if found is None:
        raise at(c.option, c.value, f"there is no {group} \"{ident}\" defined")
    found[name] = value


# -- for query-command-line-options ---------------------------------------------------------------------------

_TYPES = {"bool": "boolean", "size": "size", "str": "string", "enum": "string"}


def _parameters(keys: Iterable[PropertyDecl]) -> list[dict[str, Any]]:
    listed = []
    for decl in keys:
        entry: dict[str, Any] = {"name": decl.name, "type": _TYPES.get(decl.kind, "number")}
        if decl.help:
            entry["help"] = decl.help
        listed.append(entry)
    return listed


def describe() -> list[dict[str, Any]]:
    """Every option that takes key=value pairs, by the name of its group, and its keys as far as they are fixed."""
    from pcemu.chardev.options import BACKENDS, COMMON
    from pcemu.machine import types

    from . import apply

    chardev: dict[str, str] = dict(COMMON)
    for backend in BACKENDS.values():
        chardev |= backend.options
    kinds = {"bool": "boolean", "int": "number", "size": "size"}
    listed: dict[str, list[dict[str, Any]]] = {
        "chardev": [{"name": "backend", "type": "string"}]
                   + [{"name": name, "type": kinds.get(kind.rstrip("!"), "string")} for name, kind in chardev.items()],
        "machine": [{"name": "type", "type": "string"}, {"name": "accel", "type": "string"}]
                   + _parameters(types.load_board("pc").options.values()),
    }
    groups: tuple[tuple[str, Iterable[PropertyDecl]], ...] = (
        ("smp-opts", apply._SMP_KEYS), ("memory", apply._MEMORY_KEYS), ("boot-opts", apply._BOOT_KEYS),
        ("name", apply._NAME_KEYS), ("fw_cfg", apply._FW_CFG_KEYS), ("rtc", apply_host._RTC_KEYS),
        ("icount", apply_host._ICOUNT_KEYS), ("mon", apply_host._MON_KEYS), ("trace", apply_host._TRACE_KEYS),
        ("action", apply_host._ACTION_KEYS), ("overcommit", apply._OVERCOMMIT_KEYS), ("msg", _MSG_KEYS),
        ("sandbox", _SANDBOX_KEYS), ("add-fd", _ADD_FD_KEYS),
    )  # fmt: skip
    for group, keys in groups:
        listed[group] = _parameters(keys)
    for group in ("device", "object", "netdev", "nic", "net", "drive", "blockdev", "global", "accel"):
        option = BY_NAME.get(group)
        if option is not None and option.implemented:       # what they take depends on the type
            listed[group] = []
    return [{"option": group, "parameters": parameters} for group, parameters in sorted(listed.items())]


SERVICE_OPTIONS: dict[str, Callable[[Context], None]] = {
    f.__name__: f for f in (daemonize, pid_file, run_as, chroot, msg, sandbox, add_fd, readconfig, set_)
}


def check(c: Context) -> None:
    """After all options."""
    if c.config.daemonize and c.nographic and (c.default_serial or c.default_monitor):
        raise UsageError("-nographic cannot be used with -daemonize")
    c.config.describe_options = describe

