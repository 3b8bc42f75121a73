"""Commands on character devices."""

from __future__ import annotations

from typing import Any

from pcemu import chardev as chardevs
from pcemu.chardev.null import RingbufChardev

from .errors import CommandError
from .table import Context, command


def _show_chardevs(listed: list[dict[str, Any]]) -> str:
    return "".join(f"{item['label']}: filename={item['filename']}\n" for item in listed)


@command("info chardev", help="show the character devices", qmp="query-chardev", render=_show_chardevs)
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
         qmp="ringbuf-write")
def ringbuf_write(ctx: Context, device: str, data: str) -> None:
    _ringbuf(ctx, device).feed(data.encode())


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
         qmp="ringbuf-read", render=_show_ring)
def ringbuf_read(ctx: Context, device: str, size: int) -> str:
    return _ringbuf(ctx, device).read_ring(size).decode("utf-8", "replace")


@command("chardev-send-break", "id:s", params="id", help="send a break on chardev", qmp="chardev-send-break")
def chardev_send_break(ctx: Context, id: str) -> None:
    _find(ctx, id)._event("break")


@command("chardev-add", "args:s", params="args", help="add chardev")
def chardev_add(ctx: Context, args: str) -> None:
    backend, _, rest = args.partition(",")
    opts: dict[str, Any] = {"backend": backend.removeprefix("backend=")}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        opts[key] = value if equals else "on"
    chardevs.create(ctx.machine, opts)


@command("chardev-remove", "id:s", params="id", help="remove chardev", qmp="chardev-remove")
def chardev_remove(ctx: Context, id: str) -> None:
    found = _find(ctx, id)
    if found.owner or getattr(found, "ports", None):
        raise CommandError(f"Chardev '{id}' is busy")
    found.close()
    del ctx.machine.chardevs[id]
