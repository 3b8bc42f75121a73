"""From `-chardev` options and the short forms of -serial, -monitor and -debugcon to a character device."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from pcemu.qom.errors import suggestion
from pcemu.qom.units import parse_bool, parse_size

from .base import Chardev, ChardevError
from .file import FileChardev, PipeChardev
from .mux import MuxChardev
from .null import NullChardev, RingbufChardev
from .pty import PtyChardev
from .socket import SocketChardev
from .stdio import StdioChardev

BACKENDS: dict[str, type[Chardev]] = {
    cls.backend: cls
    for cls in (StdioChardev, RingbufChardev, PipeChardev, NullChardev, SocketChardev, FileChardev, PtyChardev)
}
# "memory" is an old name; a virtual console needs a display, of which there is none yet.
ALIASES = {"memory": "ringbuf"}
LATER = ("udp", "serial", "tty", "parallel", "parport", "braille", "msmouse", "wctablet", "testdev", "spicevmc",
         "spiceport", "qemu-vdagent", "dbus", "hub")

COMMON = {"mux": "bool", "logfile": "str", "logappend": "bool"}
VC_OPTIONS = {"width": "int", "height": "int", "cols": "int", "rows": "int"}


def backend_names() -> list[str]:
    """What `-chardev help` lists."""
    return [*BACKENDS, "mux", "vc", *ALIASES]


def help_text() -> str:
    return "Available chardev backend types: \n" + "".join(f"  {name}\n" for name in backend_names())


def _print(text: str) -> None:
    print(text, end="", flush=True)


def create(machine: Any, opts: Mapping[str, Any], say: Callable[[str], object] = _print) -> Chardev:
    """Make the character device `-chardev backend,id=...,...` describes and enter it in machine.chardevs.

    `opts` holds "backend", "id" and the other options as text or typed values; it is not changed. `say` gets what the
    user has to know: where a pty is.
    """
    given = dict(opts)
    name = given.pop("backend", None)
    ident = given.pop("id", None)
    if not name:
        raise ChardevError("chardev: \"backend\" is missing")
    if not ident:
        raise ChardevError(f"chardev: \"id\" is missing for backend '{name}'")
    if ident in machine.chardevs:
        raise ChardevError(f"Duplicate ID '{ident}' for chardev")
    cls = _backend(name)
    declared = COMMON | (VC_OPTIONS if name == "vc" else cls.options)
    typed = _typed(name, ident, given, declared)
    mux = typed.pop("mux", False)
    if name == "vc":
        print(f"pcemu: warning: chardev '{ident}': no display for a virtual console yet, its output is dropped",
              file=sys.stderr)
        typed = {key: value for key, value in typed.items() if key not in VC_OPTIONS}
    chardev = cls(machine, f"{ident}-base" if mux else ident, **typed)
    machine.chardevs[chardev.id] = chardev
    if chardev.notice:
        say(chardev.notice)
    if mux:
        chardev = MuxChardev(machine, ident, chardev)
        machine.chardevs[ident] = chardev
    return chardev


def from_spec(machine: Any, spec: str, ident: str, *, device: str = "serial",
              monitor: Callable[[Any, Chardev], object] | None = None) -> Chardev | None:
    """Make (or find) the character device a short form names: `-serial mon:stdio`, `-monitor unix:/path,server,nowait`.

    Returns None for `none`. `ident` is the id a new device gets; `device` is the option, for messages.
    `mon:` forms also get a monitor, on the same stream: `monitor(machine, chardev)` makes it.
    """
    if spec == "none":
        return None
    if spec.startswith("chardev:"):
        name = spec[len("chardev:"):]
        try:
            return machine.chardevs[name]
        except KeyError:
            raise ChardevError(f"chardev \"{name}\" not found{suggestion(name, machine.chardevs)}") from None
    shared = spec.startswith("mon:")
    if shared and monitor is None:
        raise ChardevError(f"-{device} {spec}: no monitor can share this stream")
    opts = parse_spec(spec[len("mon:"):] if shared else spec, device)
    if shared:
        opts["mux"] = "on"
        if opts["backend"] == "stdio":
            opts.setdefault("signal", "off")        # Ctrl-C is the guest's
    chardev = create(machine, {"id": ident, **opts})
    if shared and monitor is not None:
        monitor(machine, chardev)
    return chardev


def parse_spec(spec: str, device: str = "serial") -> dict[str, str]:
    """A short form -> the options of the long one."""
    kind, colon, rest = spec.partition(":")
    word, _, tail = spec.partition(",")
    if (not colon or "," in kind) and word in ("stdio", "null", "pty", "vc", "msmouse", "braille"):
        return {"backend": word, **_pairs(tail)}
    match kind if colon else "":
        case "vc":
            return {"backend": "vc"}
        case "file" | "pipe":
            path, _, tail = _first(rest)
            return {"backend": kind, "path": path, **_pairs(tail)}
        case "pty":
            return {"backend": "pty", "path": rest}
        case "unix":
            path, _, tail = _first(rest)
            return {"backend": "socket", "path": path, **_pairs(tail)}
        case "tcp" | "telnet":
            address, _, tail = _first(rest)
            host, _, port = address.rpartition(":")
            opts = {"backend": "socket", "host": host.strip("[]"), "port": port, **_pairs(tail)}
            if kind == "telnet":
                opts["telnet"] = "on"
            return opts
    if spec.startswith("/dev/"):
        raise ChardevError(f"-{device} {spec}: host serial and parallel ports are not supported yet")
    if kind in LATER:
        raise ChardevError(f"-{device} {spec}: chardev backend '{kind}' is not supported yet")
    names = [*BACKENDS, "none", "unix", "tcp", "telnet", "mon", "chardev", "vc"]
    raise ChardevError(f"-{device}: '{spec}' is not a valid char device{suggestion(kind, names)}")


def _first(text: str) -> tuple[str, str, str]:
    """Split at the first comma that is not doubled, and undouble."""
    index = 0
    while index < len(text):
        if text[index] == ",":
            if text[index:index + 2] != ",,":
                return text[:index].replace(",,", ","), ",", text[index + 1:]
            index += 1
        index += 1
    return text.replace(",,", ","), "", ""


def _pairs(text: str) -> dict[str, str]:
    """`server,wait=off,nodelay` -> options; a bare word is a boolean."""
    opts: dict[str, str] = {}
    while text:
        item, _, text = _first(text)
        key, equals, value = item.partition("=")
        opts[key] = value if equals else "on"
    return opts


def _backend(name: str) -> type[Chardev]:
    name = ALIASES.get(name, name)
    if name == "vc":
        return NullChardev
    if name in BACKENDS:
        return BACKENDS[name]
    if name in LATER:
        raise ChardevError(f"chardev: backend '{name}' is not supported yet")
    raise ChardevError(f"'{name}' is not a valid char driver name{suggestion(name, backend_names())}")


def _typed(backend: str, ident: str, given: dict[str, Any], declared: dict[str, str]) -> dict[str, Any]:
    typed: dict[str, Any] = {}
    for key, value in given.items():
        if value is None:
            continue
        if key not in declared and key.startswith("no") and declared.get(key[2:]) == "bool":
            key, value = key[2:], not _as_bool(ident, key, value)       # nowait
        if key == "delay" and "nodelay" in declared:
            key, value = "nodelay", not _as_bool(ident, key, value)
        kind = declared.get(key)
        if kind is None:
            raise ChardevError(
                f"chardev '{ident}': '{key}' is not an option of backend '{backend}'{suggestion(key, declared)}")
        typed[key] = _convert(ident, key, kind, value)
    for key, kind in declared.items():
        if kind.endswith("!") and not typed.get(key):
            raise ChardevError(f"chardev: {backend}: no {key} given (id '{ident}')")
    return typed


def _as_bool(ident: str, key: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return parse_bool(value)
    except ValueError:
        raise ChardevError(f"chardev '{ident}': {key} expects 'on' or 'off', not '{value}'") from None


def _convert(ident: str, key: str, kind: str, value: Any) -> Any:
    try:
        match kind.rstrip("!"):
            case "bool":
                return _as_bool(ident, key, value)
            case "int":
                return value if isinstance(value, int) else int(value, 0)
            case "size":
                return value if isinstance(value, int) else parse_size(value)
    except ValueError:
        raise ChardevError(f"chardev '{ident}': {key} expects a number, not '{value}'") from None
    return str(value)
