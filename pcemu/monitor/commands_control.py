"""Commands that run, stop and end the machine, help, logs and keys."""

from __future__ import annotations

from pcemu.debug import log as debug_log
from pcemu.qom.errors import PcemuError

from . import keys
from .errors import CommandError
from .table import COMMANDS, INFO, Context, command, entries


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


@command("nmi", help="inject an NMI", qmp="inject-nmi")
def nmi(ctx: Context) -> None:
    for cpu in ctx.machine.cpus:
        cpu.set_nmi()


@command("cpu", "index:i", params="index", help="set the default CPU")
def cpu(ctx: Context, index: int) -> str:
    if not 0 <= index < len(ctx.machine.cpus):
        return "invalid CPU index\n"
    ctx.cpu_index = index
    return ""


@command("sendkey", "names:s,hold:i?", params="keys [hold_ms]",
         help="send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)", qmp="send-key")
def sendkey(ctx: Context, names: str, hold: int | None) -> str:
    try:
        pressed = keys.parse(names)
    except keys.KeyNameError as error:
        return f"{error}\n"
    keys.send(ctx.machine, pressed, 100 if hold is None else hold)
    return ""


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
    for item in chosen:
        if item.startswith("trace:"):
            _switch(ctx, item[len("trace:"):], True)
    return "".join(text + "\n" for text in said)


@command("logfile", "filename:f", params="filename", help="output logs to 'filename'")
def logfile(ctx: Context, filename: str) -> None:
    logger = ctx.machine.log
    logger.close()
    logger.open_file(filename)


@command("trace-event", "name:s,state:b", params="name on|off",
         help="changes status of a specific trace event (a pattern with * is possible)", qmp="trace-event-set-state")
def trace_event(ctx: Context, name: str, state: bool) -> str:
    return "" if _switch(ctx, name, state) else f"unknown event \"{name}\"\n"


@command("info trace-events", "name:s?", params="[name]", help="show available trace-events & their state (name: "
         "event name pattern)")  # fmt: skip
def trace_events(ctx: Context, name: str | None) -> str:
    from fnmatch import fnmatchcase

    states = {event: int(event in device._tracing) for device in ctx.machine.devices for event in device.trace_events}
    found = sorted(event for event in states if name is None or fnmatchcase(event, name))
    if not found and name is not None:
        return f"unknown event \"{name}\"\n"
    return "".join(f"{event} : state {states[event]}\n" for event in found)


def _switch(ctx: Context, pattern: str, on: bool) -> bool:
    """Turn the trace events that match on or off in every device; False when there are none."""
    from fnmatch import fnmatchcase

    machine = ctx.machine
    found = False
    for device in machine.devices:
        matching = frozenset(event for event in device.trace_events if fnmatchcase(event, pattern))
        if matching:
            found = True
            device._tracing = device._tracing | matching if on else device._tracing - matching
    if found and on and machine.tracer._write is None:
        machine.tracer._write = machine.log.write
    return found

