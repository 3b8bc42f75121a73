"""Commands that run, stop and end the machine, help, logs and keys."""

from __future__ import annotations

from typing import Any

from pcemu.debug import log as debug_log
from pcemu.debug.trace import states as trace_states
from pcemu.qom.errors import PcemuError

from . import keys as keyboard_keys
from .errors import CommandError
from .keys import send as send_keys
from .table import COMMANDS, INFO, Context, command, declare_types, entries, qmp_command

declare_types("""
enum    KeyValueKind  number qcode
struct  KeyValue      type: KeyValueKind, data: any
enum    TraceEventState  unavailable disabled enabled
struct  TraceEventInfo   name: str, state: TraceEventState, vcpu: bool
""")

MOST_HOLD_MS = 60_000


@command("help|?", "name:S?", params="[cmd]", help="show the help")
def help_(ctx: Context, name: str | None) -> str:
    if name is None:
        return "".join(entry.help_line() for entry in entries(COMMANDS))
    words = name.split()
    if words[0] == "info":
        return info(ctx, words[1] if len(words) > 1 else None)
    if words[0] == "log":
        return debug_log.help_text() + "\n"
    entry = COMMANDS.get(words[0])
    return entry.help_line() if entry is not None else f"unknown command: '{words[0]}'\n"


@command("info", "item:s?", params="[subcommand]", help="show various information about the system state")
def info(ctx: Context, item: str | None) -> str:
    listed = [entry for entry in entries(INFO) if item is None or item in entry.names]
    return "".join(entry.help_line("info ") for entry in listed) or f"unknown command: 'info {item}'\n"


@command("stop|s", help="stop emulation", qmp="stop")
def stop(ctx: Context) -> None:
    ctx.machine.stop()


@command("cont|c", help="resume emulation", qmp="cont")
def cont(ctx: Context) -> None:
    machine = ctx.machine
    if machine.status in ("shutdown", "internal-error"):
        raise CommandError("Resetting the Virtual Machine is required")
    machine.cont()


@command("system_reset", help="reset the system", qmp="system_reset")
def system_reset(ctx: Context) -> None:
    ctx.machine.request_reset("host-qmp-system-reset")


@command("system_powerdown", help="send system power down event", qmp="system_powerdown")
def system_powerdown(ctx: Context) -> None:
    ctx.machine.request_powerdown()


@command("quit|q", help="quit the emulator", qmp="quit")
def quit_(ctx: Context) -> None:
    ctx.ended = True
    ctx.machine.quit(0)


@command("gdbserver", "device:s?", params="[device]",
         help="start gdbserver on given device (default 'tcp::1234'), stop with 'none'")
def gdbserver(ctx: Context, device: str | None) -> str:
    from pcemu.machine.builder import open_gdb

    device = device or "tcp::1234"
    try:
        open_gdb(ctx.machine, device)
    except PcemuError as error:
        return f"Could not open gdbserver on device '{device}': {error}\n"
    return "Disabled gdbserver\n" if device == "none" else f"Waiting for gdb connection on device '{device}'\n"


@command("cpu", "index:i", params="index", help="set the default CPU")
def cpu(ctx: Context, index: int) -> str:
    if not 0 <= index < len(ctx.machine.cpus):
        return "invalid CPU index\n"
    ctx.cpu_index = index
    return ""


@command("sendkey", "names:s,hold:i?", params="keys [hold_ms]",
         help="send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)")
def sendkey(ctx: Context, names: str, hold: int | None) -> str:
    try:
        pressed = keyboard_keys.parse(names)
    except keyboard_keys.KeyNameError as error:
        return f"{error}\n"
    send_keys(ctx.machine, pressed, 100 if hold is None else min(hold, MOST_HOLD_MS))
    return ""


@qmp_command("send-key", "keys: [KeyValue], hold-time?: int", help="press keys together, release them after hold-time ms")
def send_key(ctx: Context, keys: list[dict[str, Any]], hold_time: int = 100) -> None:
    named = [key_of(key) for key in keys]
    if not 0 <= hold_time <= MOST_HOLD_MS:
        raise CommandError(f"Parameter 'hold-time' expects milliseconds from 0 to {MOST_HOLD_MS}")
    send_keys(ctx.machine, named, hold_time)


def key_of(key: dict[str, Any]) -> str:
    data = key["data"]
    if key["type"] == "number":
        if not isinstance(data, int) or isinstance(data, bool):
            raise CommandError("Invalid parameter type for 'keys.data', expected: integer")
        data = f"{data:#x}"
    elif not isinstance(data, str):
        raise CommandError("Invalid parameter type for 'keys.data', expected: string")
    return keyboard_keys.key_name(data)


# ---- logs and traces --------------------------------------------------------------------------------------------------


@command("log", "items:s", params="item1[,...]", help="activate logging of the specified items")
def log(ctx: Context, items: str) -> str:
    logger = ctx.machine.log
    said: list[str] = []
    try:
        chosen = frozenset() if items == "none" else debug_log.parse_items(items, said.append)
    except PcemuError:
        return debug_log.help_text() + "\n"
    logger.items = chosen
    logger.guest_errors = "guest_errors" in chosen
    logger.unimp = "unimp" in chosen
    ctx.machine.log_cpu()
    for item in chosen:
        if item.startswith("trace:"):
            _switch(ctx, item[len("trace:"):], True)
    return "".join(text + "\n" for text in said)


@command("logfile", "filename:f", params="filename", help="output logs to 'filename'")
def logfile(ctx: Context, filename: str) -> None:
    logger = ctx.machine.log
    logger.close()
    logger.open_file(filename)


@command("jit", "state:b", params="on|off", help="compile hot blocks for the host from now on, or interpret all")
def jit(ctx: Context, state: bool) -> None:
    from pcemu.machine.cpu import switch_jit

    for cpu in ctx.machine.cpus:
        if not state and ctx.machine.config.lockstep:
            raise CommandError("lockstep=on compares compiled code: it cannot be switched off")
        if not switch_jit(ctx.machine, cpu, state):
            raise CommandError("Nothing is compiled on this host")


@command("trace-event", "name:s,state:b", params="name on|off",
         help="changes status of a specific trace event (a pattern with * is possible)")
def trace_event(ctx: Context, name: str, state: bool) -> str:
    return "" if _switch(ctx, name, state) else f"unknown event \"{name}\"\n"


@command("info trace-events", "name:s?", params="[name]", help="show available trace-events & their state (name: "
         "event name pattern)")  # fmt: skip
def trace_events(ctx: Context, name: str | None) -> str:
    found = trace_states(ctx.machine.devices, name or "*")
    if not found and name is not None:
        return f"unknown event \"{name}\"\n"
    return "".join(f"{event} : state {int(on)}\n" for event, on in found.items())


@qmp_command("trace-event-set-state", "name: str, enable: bool, ignore-unavailable?: bool",
             help="switch trace events (name may be a pattern with *)")
def trace_event_set_state(ctx: Context, name: str, enable: bool, ignore_unavailable: bool = False) -> None:
    if not _switch(ctx, name, enable) and "*" not in name:
        raise CommandError(f'unknown event "{name[:80]}"')


@qmp_command("trace-event-get-state", "name: str", returns="[TraceEventInfo]", help="trace events and their states")
def trace_event_get_state(ctx: Context, name: str) -> list[dict[str, Any]]:
    found = trace_states(ctx.machine.devices, name)
    if not found and "*" not in name:
        raise CommandError(f'unknown event "{name[:80]}"')
    return [{"name": event, "state": "enabled" if on else "disabled", "vcpu": False} for event, on in found.items()]


def _switch(ctx: Context, pattern: str, on: bool) -> bool:
    """Turn the trace events that match on or off; False when there are none."""
    found: bool = ctx.machine.tracer.switch(pattern, on, ctx.machine.devices)
    return found
