"""Commands on character devices."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from pcemu import chardev as chardevs
from pcemu.chardev.null import RingbufChardev
from pcemu.chardev.socket import SocketChardev

from .commands_qom import option_pairs
from .errors import CommandError
from .table import Context, command, declare_types, qmp_command

declare_types("""
enum    DataFormat          utf8 base64
struct  ChardevInfo         label: str, filename: str, frontend-open: bool
struct  ChardevBackendInfo  name: str
struct  ChardevReturn       pty?: str

enum    ChardevBackendKind  file pipe socket pty null mux stdio ringbuf memory
union   ChardevBackend      [type] type: ChardevBackendKind | file: ChardevFileWrapper, pipe: ChardevHostdevWrapper, \\
                            socket: ChardevSocketWrapper, pty: ChardevCommonWrapper, null: ChardevCommonWrapper, \\
                            mux: ChardevMuxWrapper, stdio: ChardevStdioWrapper, ringbuf: ChardevRingbufWrapper, \\
                            memory: ChardevRingbufWrapper
struct  ChardevFileWrapper     data: ChardevFile
struct  ChardevFile            logfile?: str, logappend?: bool, out: str, append?: bool
struct  ChardevHostdevWrapper  data: ChardevHostdev
struct  ChardevHostdev         logfile?: str, logappend?: bool, device: str
struct  ChardevSocketWrapper   data: ChardevSocket
struct  ChardevSocket          logfile?: str, logappend?: bool, addr: SocketAddressLegacy, server?: bool, wait?: bool, \\
                               nodelay?: bool, telnet?: bool, reconnect?: int
struct  ChardevCommonWrapper   data: ChardevCommon
struct  ChardevCommon          logfile?: str, logappend?: bool
struct  ChardevMuxWrapper      data: ChardevMux
struct  ChardevMux             chardev: str
struct  ChardevStdioWrapper    data: ChardevStdio
struct  ChardevStdio           logfile?: str, logappend?: bool, signal?: bool
struct  ChardevRingbufWrapper  data: ChardevRingbuf
struct  ChardevRingbuf         logfile?: str, logappend?: bool, size?: int

enum    SocketAddressType       inet unix fd
union   SocketAddressLegacy     [type] type: SocketAddressType | inet: InetSocketAddressWrapper, \\
                                unix: UnixSocketAddressWrapper, fd: StringWrapper
struct  InetSocketAddressWrapper  data: InetSocketAddress
struct  InetSocketAddress       host: str, port: str, to?: int, ipv4?: bool, ipv6?: bool
struct  UnixSocketAddressWrapper  data: UnixSocketAddress
struct  UnixSocketAddress       path: str, abstract?: bool, tight?: bool
struct  StringWrapper           data: String
struct  String                  str: str
""")


def _show_chardevs(listed: list[dict[str, Any]]) -> str:
    return "".join(f"{item['label']}: filename={item['filename']}\n" for item in listed)


@command("info chardev", help="show the character devices", qmp="query-chardev",
         returns="[ChardevInfo]", render=_show_chardevs)
def query_chardev(ctx: Context) -> list[dict[str, Any]]:
    # Newest first, as QEMU's lists are.
    return [{"label": name, "filename": dev.describe(), "frontend-open": bool(dev.owner)}
            for name, dev in reversed(ctx.machine.chardevs.items())]


def _find(ctx: Context, name: str) -> Any:
    try:
        return ctx.machine.chardevs[name]
    except KeyError:
        raise CommandError(f"Chardev '{name}' not found") from None


def _ringbuf(ctx: Context, name: str) -> RingbufChardev:
    found = _find(ctx, name)
    found = getattr(found, "chardev", found)        # below a multiplexer
    if not isinstance(found, RingbufChardev):
        raise CommandError(f"{name} is not a ringbuf device")
    return found


@command("ringbuf_write", "device:s,data:S", params="device data", help="Write to a ring buffer character device",
         qmp="ringbuf-write", takes="device: str, data: str, format?: DataFormat")
def ringbuf_write(ctx: Context, device: str, data: str, format: str | None = None) -> None:
    content = data.encode("utf-8", "surrogatepass")
    if format == "base64":
        try:
            content = base64.b64decode(data, validate=True)
        except ValueError:
            raise CommandError("Invalid base64 data") from None
    _ringbuf(ctx, device).write(content)


def _show_ring(data: str) -> str:
    shown = []
    for char in data:
        if char == "\\":
            shown.append("\\\\")
        elif (char < " " and char not in "\n\t") or char == "\x7f":
            shown.append(f"\\u{ord(char):04X}")
        else:
            shown.append(char)
    return "".join(shown) + "\n"


@command("ringbuf_read", "device:s,size:i", params="device size", help="Read from a ring buffer character device",
         qmp="ringbuf-read", takes="device: str, size: int, format?: DataFormat", returns="str", render=_show_ring)
def ringbuf_read(ctx: Context, device: str, size: int, format: str | None = None) -> str:
    if size <= 0:
        raise CommandError("size must be greater than zero")
    data = _ringbuf(ctx, device).read_ring(size)
    return base64.b64encode(data).decode() if format == "base64" else data.decode("utf-8", "replace")


@command("chardev-send-break", "id:s", params="id", help="send a break on chardev", qmp="chardev-send-break")
def chardev_send_break(ctx: Context, id: str) -> None:
    _find(ctx, id)._event("break")


@qmp_command("query-chardev-backends", returns="[ChardevBackendInfo]", help="what -chardev takes")
def query_chardev_backends(ctx: Context) -> list[dict[str, str]]:
    return [{"name": name} for name in chardevs.backend_names()]


def _from_backend(backend: dict[str, Any]) -> dict[str, Any]:
    """QMP's description of a back end -> the options of -chardev."""
    options: dict[str, Any] = {"backend": backend["type"], **backend["data"]}
    for theirs, ours in (("out", "path"), ("device", "path")):
        if theirs in options:
            options[ours] = options.pop(theirs)
    address = options.pop("addr", None)
    if address is not None:
        data = address["data"]
        options |= {"fd": data["str"]} if address["type"] == "fd" else data
        if options.get("server", True):
            options.setdefault("wait", False)       # a client that waits would be this very machine
            options["server"] = True
            if options["wait"]:
                raise CommandError("wait=true would stop the machine until somebody connects")
    return options


def _make(ctx: Context, options: dict[str, Any]) -> dict[str, Any]:
    made: Any = chardevs.create(ctx.machine, options, say=lambda text: None)     # the answer has it
    return {"pty": made.name} if options["backend"] == "pty" else {}


@qmp_command("chardev-add", "id: str, backend: ChardevBackend", returns="ChardevReturn",
             help="add a character device, as -chardev does")
def chardev_add(ctx: Context, id: str, backend: dict[str, Any]) -> dict[str, Any]:
    if backend["type"] == "mux":
        if id in ctx.machine.chardevs:
            raise CommandError(f"Chardev '{id}' already exists")
        ctx.machine.chardevs[id] = chardevs.MuxChardev(ctx.machine, id, _find(ctx, backend["data"]["chardev"]))
        return {}
    return _make(ctx, {"id": id, **_from_backend(backend)})


@command("chardev-add", "args:s", params="args", help="add chardev")
def chardev_add_text(ctx: Context, args: str) -> str:
    return _made(ctx, option_pairs(args, "backend"))


def _made(ctx: Context, options: dict[str, Any]) -> str:
    """Make it for somebody at the human monitor, and say where it is."""
    said: list[str] = []
    chardevs.create(ctx.machine, options, say=said.append)
    return "".join(said)


def _change(ctx: Context, id: str, options: dict[str, Any], make: Callable[[Context, dict[str, Any]], Any] = _make) -> Any:
    """A new back end for a front end that stays."""
    machine, old = ctx.machine, _find(ctx, id)
    devices = [device for device in machine.devices if getattr(device, "chardev", None) is old]
    if old.owner and not (devices and hasattr(devices[0], "chardev_changed")):
        raise CommandError(f"Chardev user does not support chardev hotswap: '{id}' is used by {old.owner}")
    del machine.chardevs[id]
    try:
        result = make(ctx, {**options, "id": id})
    except Exception:
        machine.chardevs[id] = old
        raise
    for device in devices:
        device.chardev_changed(machine.chardevs[id])
    old.close()
    return result


@qmp_command("chardev-change", "id: str, backend: ChardevBackend", returns="ChardevReturn",
             help="another back end for a character device that is in use")
def chardev_change(ctx: Context, id: str, backend: dict[str, Any]) -> dict[str, Any]:
    if backend["type"] == "mux":
        raise CommandError("For mux device hotswap wasn't supported yet")
    changed: dict[str, Any] = _change(ctx, id, _from_backend(backend))
    return changed


@command("chardev-change", "id:s,args:s", params="id args", help="change chardev")
def chardev_change_text(ctx: Context, id: str, args: str) -> str:
    return str(_change(ctx, id, dict(option_pairs(args, "backend")), _made))


@qmp_command("add_client", "protocol: str, fdname: str, skipauth?: bool, tls?: bool",
             help="hand a connection (getfd) to a socket's character device; `protocol` is its id")
def add_client(ctx: Context, protocol: str, fdname: str, skipauth: bool = False, tls: bool = False) -> None:
    import os
    import socket
    import stat

    machine = ctx.machine
    if fdname not in machine.fds.named:
        raise CommandError(f"File descriptor named '{fdname[:80]}' has not been found")
    fd = machine.fds.use(fdname)
    found = machine.chardevs.get(protocol)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise CommandError("parameter @fdname must name a socket")
        if found is None:
            raise CommandError(f"protocol '{protocol[:80]}' is invalid")
        found = getattr(found, "chardev", found)        # below a multiplexer
        if not isinstance(found, SocketChardev) or found.busy:
            raise CommandError("failed to add client")
    except CommandError:
        os.close(fd)
        raise
    found.add_client(socket.socket(fileno=fd))


@command("chardev-remove", "id:s", params="id", help="remove chardev", qmp="chardev-remove")
def chardev_remove(ctx: Context, id: str) -> None:
    found = _find(ctx, id)
    if found.owner or getattr(found, "ports", None):
        raise CommandError(f"Chardev '{id}' is busy")
    found.close()
    del ctx.machine.chardevs[id]
