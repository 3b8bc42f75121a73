"""Options about the host's side: consoles, time, logs, and what happens at the end."""

from __future__ import annotations

from collections.abc import Callable

from pcemu.debug import log as log_module
from pcemu.machine.config import IcountConfig, MonitorConfig, RtcConfig
from pcemu.qom.errors import suggestion
from pcemu.qom.units import parse_int

from . import optstr
from .context import Context, key
from .errors import at, not_yet

# -- consoles -------------------------------------------------------------------------------------------------


def chardev(c: Context) -> None:
    if c.value in optstr.HELP_WORDS:
        from pcemu import chardev as chardevs

        c.show(chardevs.help_text().rstrip("\n"))
    c.config.chardevs.append(optstr.parse(c.value, "backend"))


def serial(c: Context) -> None:
    c.default_serial = False
    if c.value.startswith("mon:"):
        c.default_monitor = False
    if c.value != "none":
        c.config.serials.append(c.value)


def parallel(c: Context) -> None:
    if c.value != "none":
        raise not_yet(c.option, c.value)


def monitor(c: Context) -> None:
    c.default_monitor = False
    if c.value != "none":
        c.config.monitors.append(MonitorConfig(c.value))


_MON_KEYS = (key("chardev"), key("mode", choices=("readline", "control")), key("pretty", bool), key("id"))


def mon(c: Context) -> None:
    c.default_monitor = False
    pairs = c.keys(_MON_KEYS, "chardev")
    if "chardev" not in pairs:
        raise at(c.option, c.value, "chardev is missing")
    mode = str(pairs.get("mode", "readline"))
    if "pretty" in pairs and mode != "control":
        raise at(c.option, c.value, "pretty is for mode=control")
    c.config.monitors.append(MonitorConfig(f"chardev:{pairs['chardev']}", mode, str(pairs.get("id", "")),
                                           bool(pairs.get("pretty"))))  # fmt: skip


def qmp(c: Context) -> None:
    c.default_monitor = False
    if c.value != "none":
        c.config.monitors.append(MonitorConfig(c.value, "control"))


def qmp_pretty(c: Context) -> None:
    c.default_monitor = False
    if c.value != "none":
        c.config.monitors.append(MonitorConfig(c.value, "control", pretty=True))


def qtest(c: Context) -> None:
    if c.config.qtest is not None:
        raise at(c.option, c.value, "there is one qtest connection")
    c.config.qtest = c.value


def qtest_log(c: Context) -> None:
    c.config.qtest_log = c.value


def debugcon(c: Context) -> None:
    if c.config.debugcon is not None:
        raise at(c.option, c.value, "there is one debug console")
    c.config.debugcon = c.value


def gdb(c: Context) -> None:
    c.config.gdb = None if c.value == "none" else c.value


def gdb_default(c: Context) -> None:
    c.config.gdb = "tcp::1234"


def echr(c: Context) -> None:
    try:
        value = parse_int(c.value)
    except ValueError:
        raise at(c.option, c.value, "a character code is expected") from None
    if not 0 < value < 256:
        raise at(c.option, c.value, "a character code from 1 to 255 is expected")
    c.config.escape_char = value


def nographic(c: Context) -> None:
    c.nographic = True
    c.config.machine_options.setdefault("graphics", "off")  # firmware then uses the serial port


def console_defaults(c: Context) -> None:
    """After all options: what the serial port and the monitor are connected to if nobody said."""
    config = c.config
    if c.nographic:
        if c.default_serial and c.default_monitor:
            config.serials.append("mon:stdio")
        else:
            if c.default_serial:
                config.serials.append("stdio")
            if c.default_monitor:
                config.monitors.append(MonitorConfig("stdio"))
        return
    if not c.display and (c.default_serial or c.default_monitor):
        c.warn("no display is available: the serial port and the monitor are not shown (use -nographic)")
    if c.default_serial:
        config.serials.append("null")


# -- ends -----------------------------------------------------------------------------------------------------


def no_reboot(c: Context) -> None:
    c.config.no_reboot = True
    c.config.action_reboot = "shutdown"


def no_shutdown(c: Context) -> None:
    c.config.no_shutdown = True
    c.config.action_shutdown = "pause"


_ACTIONS = {
    "reboot": ("reset", "shutdown"),
    "shutdown": ("poweroff", "pause"),
    "panic": ("pause", "shutdown", "exit-failure", "none"),
    "watchdog": ("reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"),
}


_ACTION_KEYS = tuple(key(event, choices=choices) for event, choices in _ACTIONS.items())


def action(c: Context) -> None:
    pairs = c.keys(_ACTION_KEYS)
    for event, what in pairs.items():
        setattr(c.config, f"action_{event}", what)
    c.config.no_reboot = c.config.action_reboot == "shutdown"
    c.config.no_shutdown = c.config.action_shutdown == "pause"


def watchdog_action(c: Context) -> None:
    if c.value not in _ACTIONS["watchdog"]:
        raise at(c.option, c.value, f"unknown action{suggestion(c.value, _ACTIONS['watchdog'])}")
    c.config.action_watchdog = c.value


def paused(c: Context) -> None:
    c.config.paused = True


def data_dir(c: Context) -> None:
    if c.value == "help":
        from pcemu.loader.images import FIRMWARE_PATH

        c.show("\n".join((*c.config.data_dirs, *FIRMWARE_PATH)))
    c.config.data_dirs.append(c.value)


# -- time and chance ------------------------------------------------------------------------------------------

_RTC_KEYS = (key("base"), key("clock", choices=("host", "rt", "vm")), key("driftfix", choices=("none", "slew")))


def rtc(c: Context) -> None:
    pairs = c.keys(_RTC_KEYS)
    for name, value in pairs.items():
        setattr(c.config.rtc, name, value)
    _check_date(c)


def _check_date(c: Context) -> None:
    if c.config.rtc.base not in ("utc", "localtime"):
        try:
            c.config.rtc.start_ns()
        except ValueError as error:
            raise at(c.option, c.value, str(error)) from None


def rtc_td_hack(c: Context) -> None:
    c.config.rtc.driftfix = "slew"


def localtime(c: Context) -> None:
    c.config.rtc.base = "localtime"


def startdate(c: Context) -> None:
    c.config.rtc = RtcConfig("utc" if c.value == "now" else c.value, c.config.rtc.clock, c.config.rtc.driftfix)
    _check_date(c)


_ICOUNT_KEYS = (key("shift"), key("sleep", bool), key("align", bool), key("rr"), key("rrfile"), key("rrsnapshot"))


def icount(c: Context) -> None:
    pairs = c.keys(_ICOUNT_KEYS, "shift")
    for name in ("rr", "rrfile", "rrsnapshot"):
        if name in pairs:
            raise at(c.option, c.value, f"{name}: not implemented yet")
    if pairs.get("align"):
        raise at(c.option, c.value, "align=on: not implemented yet")
    shift: int | None = None
    text = str(pairs.get("shift", "auto"))
    sleep = bool(pairs.get("sleep", True))
    if text == "auto":
        if not sleep:
            raise at(c.option, c.value, "shift=auto and sleep=off are incompatible")
    else:
        try:
            shift = parse_int(text)
        except ValueError:
            shift = -1
        if not 0 <= shift <= 10:
            raise at(c.option, c.value, f"shift: 'auto' or an integer from 0 to 10 is expected, not '{text}'")
    c.config.icount = IcountConfig(shift, sleep)


def seed(c: Context) -> None:
    try:
        c.config.seed = parse_int(c.value)
    except ValueError:
        c.config.seed = -1
    if not 0 <= c.config.seed < 1 << 64:
        raise at(c.option, c.value, "an integer from 0 to 18446744073709551615 is expected")


# -- logs -----------------------------------------------------------------------------------------------------


def log(c: Context) -> None:
    if c.value in optstr.HELP_WORDS:
        c.show(log_module.help_text())
    items = log_module.parse_items(c.value, c.warn)
    c.config.log_items |= {item for item in items if not item.startswith("trace:")}
    c.config.trace_events += [item[6:] for item in sorted(items) if item.startswith("trace:")]
    c.config.traceback = True


def log_file(c: Context) -> None:
    c.config.log_file = c.value


def dfilter(c: Context) -> None:
    c.config.log_ranges = log_module.parse_ranges(c.value)


_TRACE_KEYS = (key("enable"), key("events"), key("file"), key("format", choices=("text", "binary")))


def trace(c: Context) -> None:
    from .devices import trace_help

    if c.value in optstr.HELP_WORDS:
        c.show(trace_help())
    pairs = c.keys(_TRACE_KEYS, "enable")
    if "enable" in pairs:
        c.config.trace_events.append(str(pairs["enable"]))
    if "events" in pairs:
        try:
            with open(str(pairs["events"]), encoding="utf-8") as file:
                lines = [line.strip() for line in file]
        except OSError as error:
            raise at(c.option, c.value, f"{pairs['events']}: {error.strerror}") from None
        c.config.trace_events += [line for line in lines if line and not line.startswith("#")]
    if "file" in pairs:
        c.config.trace_file = str(pairs["file"])
    if "format" in pairs:
        if "file" not in pairs:
            raise at(c.option, c.value, "format is the file's: file=FILE is needed")
        c.config.trace_format = str(pairs["format"])


HOST_OPTIONS: dict[str, Callable[[Context], None]] = {
    f.__name__: f
    for f in (
        chardev, serial, parallel, monitor, mon, qmp, qmp_pretty, qtest, qtest_log, debugcon, gdb, gdb_default, echr,
        nographic, no_reboot, no_shutdown, action, watchdog_action, paused, data_dir, rtc, rtc_td_hack, localtime, startdate,
        icount, seed, log,
        log_file, dfilter, trace,
    )
}  # fmt: skip
