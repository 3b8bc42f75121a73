"""What to build and how to run it: the command line, parsed and checked, in plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

NS_PER_SECOND = 1_000_000_000


@dataclass
class RtcConfig:
    """-rtc."""

    base: str = "utc"  # "utc", "localtime" or a date, "2024-02-29T12:00:00"
    clock: str = "host"  # "host", "rt" or "vm"
    driftfix: str = "none"  # "none" or "slew"

    def start_ns(self) -> int:
        """What the RTC shows at power-on, as nanoseconds since 1970 in its own time zone."""
        import calendar
        import time

        if self.base == "utc":
            return time.time_ns()
        if self.base == "localtime":
            now = time.time_ns()
            local = time.localtime(now // NS_PER_SECOND)
            return calendar.timegm(local) * NS_PER_SECOND + now % NS_PER_SECOND
        for pattern in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"):
            try:
                return calendar.timegm(time.strptime(self.base, pattern)) * NS_PER_SECOND
            except ValueError:
                continue
        raise ValueError(f"invalid datetime '{self.base}', valid are 2006-06-17T16:01:21 and 2006-06-17")


AUTO_SHIFT = 3  # what -icount auto begins with: 125 million instructions a second of virtual time


@dataclass
class IcountConfig:
    """-icount."""

    shift: int | None = None  # None: auto, see machine/icount.py
    sleep: bool = True
    align: bool = False


@dataclass
class DeviceConfig:
    """-device: properties in the order they were given (id and bus among them)."""

    driver: str
    props: dict[str, str] = field(default_factory=dict)
    where: str = "-device"  # the option, for messages


@dataclass
class NetdevConfig:
    """-netdev, and the back end of -nic and -net: keys may be repeated."""

    pairs: list[tuple[str, str]]  # "type", "id" and the back end's options
    where: str = "-netdev"  # the option, for messages
    name: str = ""  # of one that has no id


@dataclass
class MonitorConfig:
    """-mon and -monitor."""

    spec: str  # as after -monitor; "chardev:ID" for -mon
    mode: str = "readline"  # or "control"
    id: str = ""
    pretty: bool = False


@dataclass
class BootConfig:
    """-boot."""

    order: str = "cad"
    once: str = ""
    menu: bool = False
    strict: bool = False
    splash: str = ""
    splash_time: int = -1
    reboot_timeout: int = -1


@dataclass
class FwCfgEntry:
    """-fw_cfg."""

    name: str
    file: str | None = None
    string: str | None = None


@dataclass
class MachineConfig:
    """Everything the command line says. The defaults are those of an empty command line."""

    machine: str = "pc"
    machine_options: dict[str, Any] = field(default_factory=dict)
    accel: str = "tcg"
    jit: bool = True  # compile hot blocks where the host can
    tb_size: int = 0  # MiB for them; 0: the usual
    lockstep: bool = False  # compare compiled code with the interpreter as it runs
    cpu: str = ""  # model and features, as given; "": the board's default
    smp: int = 1
    ram_size: int = 128 << 20
    ram_given: bool = False  # -m

    kernel: str | None = None
    initrd: str | None = None
    append: str = ""
    bios: str | None = None
    data_dirs: list[str] = field(default_factory=list)  # -L: where firmware files are looked for

    devices: list[DeviceConfig] = field(default_factory=list)
    objects: list[tuple[dict[str, str], str]] = field(default_factory=list)  # -object: "qom-type", "id" ...; where
    netdevs: list[NetdevConfig] = field(default_factory=list)
    nics: list[DeviceConfig] = field(default_factory=list)  # of -nic and -net nic: plugged in before `devices`
    globals: list[tuple[str, str, str]] = field(default_factory=list)
    chardevs: list[dict[str, str]] = field(default_factory=list)  # "backend", "id" and the back end's options
    drives: list[dict[str, str]] = field(default_factory=list)  # -drive
    blockdevs: list[dict[str, Any]] = field(default_factory=list)  # -blockdev: nested as in JSON
    snapshot: bool = False  # -snapshot: every drive, as with snapshot=on
    serials: list[str] = field(default_factory=list)  # as after -serial: "stdio", "mon:stdio", "chardev:ID"
    parallels: list[str] = field(default_factory=list)
    monitors: list[MonitorConfig] = field(default_factory=list)
    debugcon: str | None = None
    qtest: str | None = None  # -qtest: as after -monitor
    qtest_log: str | None = None  # a file, "none", or None: standard error
    gdb: str | None = None  # -gdb: where a debugger may connect
    escape_char: int = 1  # of multiplexed consoles: Ctrl-A
    smbios: list[dict[str, str]] = field(default_factory=list)
    fw_cfg: list[FwCfgEntry] = field(default_factory=list)
    boot: BootConfig = field(default_factory=BootConfig)
    vga: str = "none"
    rtc: RtcConfig = field(default_factory=RtcConfig)
    icount: IcountConfig | None = None
    seed: int = 0

    daemonize: bool = False
    pid_file: str | None = None
    run_as: str | None = None
    chroot: str | None = None
    sandbox: dict[str, str] | None = None  # -sandbox on: what its other keys say
    msg_timestamp: bool = False
    msg_guest_name: bool = False
    fdsets: list[tuple[int, int, str | None]] = field(default_factory=list)  # -add-fd: (fd, set, opaque)

    name: str | None = None
    process_name: str | None = None
    debug_threads: bool = False  # the host is told the names of threads
    uuid: str | None = None

    no_reboot: bool = False
    no_shutdown: bool = False
    paused: bool = False  # -S
    no_hpet: bool = False
    no_acpi: bool = False
    nodefaults: bool = False
    action_panic: str = "shutdown"
    action_reboot: str = "reset"  # or "shutdown" (-no-reboot)
    action_shutdown: str = "poweroff"  # or "pause" (-no-shutdown)
    action_watchdog: str = "reset"

    log_items: frozenset[str] = frozenset()
    log_file: str | None = None
    log_ranges: tuple[tuple[int, int], ...] = ()  # -dfilter: first and last addresses
    trace_events: list[str] = field(default_factory=list)
    trace_file: str | None = None
    trace_format: str = "text"  # of that file; or "binary"
    describe_options: Callable[[], list[dict[str, Any]]] | None = None  # for query-command-line-options
    traceback: bool = False  # -d anything: a device's failure is shown whole
