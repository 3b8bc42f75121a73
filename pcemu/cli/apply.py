"""What each option does to the configuration. The names are those in the table's third column."""

from __future__ import annotations

import re
from collections.abc import Callable

from pcemu.machine.config import BootConfig, DeviceConfig, FwCfgEntry
from pcemu.qom.errors import PcemuError, suggestion
from pcemu.qom.units import parse_size

from . import optstr
from .apply_block import BLOCK_OPTIONS
from .apply_host import HOST_OPTIONS
from .apply_net import NET_OPTIONS
from .apply_service import SERVICE_OPTIONS
from .context import Context, key
from .errors import UsageError, at, not_yet

Apply = Callable[[Context], None]


def help(c: Context) -> None:
    from .help import help_text

    c.show(help_text())


def version(c: Context) -> None:
    from pcemu import __version__

    c.show(f"pcemu emulator version {__version__}")


def no_op(c: Context) -> None:
    """What it asks for is so anyway."""


# Options that ask for what is not there to be had, and do no harm: a warning with the reason.
_NO_EFFECT = {
    "no-kvm-pit": "there is no KVM", "no-kvm-pit-reinjection": "there is no KVM", "tdf": "there is no KVM",
    "singlestep": "code that is compiled or interpreted behaves the same; -accel tcg,jit=off compiles none",
}  # fmt: skip


def no_effect(c: Context) -> None:
    c.warn(f"-{c.option} has no effect: {_NO_EFFECT[c.option]}")


def mem_path(c: Context) -> None:
    c.mem_path = c.value


def mem_prealloc(c: Context) -> None:
    c.mem_prealloc = True


def default_memory(c: Context) -> None:
    """After all options: -mem-path and -mem-prealloc stand for a memory backend."""
    if not c.mem_path and not c.mem_prealloc:
        return
    where = f"-mem-path {c.mem_path}" if c.mem_path else "-mem-prealloc"
    if {"memory-backend", "memory_backend"} & c.config.machine_options.keys():
        raise UsageError(f"{where}: '-mem-path' and '-mem-prealloc' can't be used together with -machine memory-backend=")
    props = {"qom-type": "memory-backend-ram", "id": "pc.ram", "size": str(c.config.ram_size)}
    if c.mem_path:
        props |= {"qom-type": "memory-backend-file", "mem-path": c.mem_path}
    if c.mem_prealloc:
        props["prealloc"] = "on"
    c.config.objects.append((props, where))
    c.config.machine_options["memory-backend"] = "pc.ram"


def no_fd_bootchk(c: Context) -> None:
    c.config.machine_options["fd-bootchk"] = "off"


# -- the machine ----------------------------------------------------------------------------------------------

# Options of -machine that are handled here rather than by the board.
_MACHINE_FILES = ("kernel", "initrd", "append")


def machine(c: Context) -> None:
    from pcemu.machine import types

    pairs = optstr.parse(c.value, "type")
    name = pairs.pop("type", None)
    if name in optstr.HELP_WORDS:
        c.show("Supported machines are:\n" + "\n".join(f"{row[0]:<20} {row[1]}" for row in types.listing()))
    if name is not None:
        types.board_key(name)
        c.config.machine = name
    if "help" in pairs or "?" in pairs:
        c.show(types.options_help(c.config.machine))
    for option, value in pairs.items():
        if option == "accel":
            c.accels += [(accel, f"-{c.option} accel={value}") for accel in value.split(":")]
        elif option in _MACHINE_FILES:
            setattr(c.config, option, value)
        elif option == "firmware":
            c.config.bios = value
        elif option.startswith("boot.") or option.startswith("smp."):
            raise at(c.option, c.value, f"{option}: use -{option.partition('.')[0]}")
        else:
            c.config.machine_options[option] = value


ACCEL_OPTIONS = ("jit", "tb-size", "lockstep", "thread", "split-wx", "one-insn-per-tb", "kernel-irqchip", "igd-passthru",
                 "kvm-shadow-mem", "dirty-ring-size", "notify-vmexit", "notify-window")  # fmt: skip
OUR_ACCELS = ("tcg", "qtest")
OTHER_ACCELS = ("kvm", "xen", "hax", "hvf", "nvmm", "whpx")


def accel(c: Context) -> None:
    pairs = optstr.parse(c.value, "accel")
    name = pairs.pop("accel", "")
    if name in optstr.HELP_WORDS or optstr.wants_help(c.value):
        c.show("\n".join(("Accelerators supported by pcemu:", *OUR_ACCELS)))
    for option in pairs:
        if option not in ACCEL_OPTIONS:
            raise at(c.option, c.value, f"Property '{option}' not found{suggestion(option, ACCEL_OPTIONS)}")
    if "jit" in pairs:
        if pairs["jit"] not in ("on", "off"):
            raise at(c.option, c.value, "Property 'jit': 'on' or 'off' is expected")
        c.config.jit = pairs["jit"] == "on"
    if "tb-size" in pairs:
        if not pairs["tb-size"].isdigit() or not 1 <= int(pairs["tb-size"]) <= 1024:
            raise at(c.option, c.value, "Property 'tb-size': MiB for translated code, 1 to 1024, are expected")
        c.config.tb_size = int(pairs["tb-size"])
    if "lockstep" in pairs:
        if pairs["lockstep"] not in ("on", "off"):
            raise at(c.option, c.value, "Property 'lockstep': 'on' or 'off' is expected")
        c.config.lockstep = pairs["lockstep"] == "on"
    if c.config.lockstep and not c.config.jit:
        raise at(c.option, c.value, "Property 'lockstep': there is nothing to compare with jit=off")
    for option in pairs:
        if option not in ("jit", "tb-size", "lockstep"):
            c.warn(f"-{c.option} {c.value}: {option} has no effect here")
    c.accels += [(part, f"-{c.option} {c.value}") for part in name.split(":")]


def enable_kvm(c: Context) -> None:
    c.accels.append(("kvm", f"-{c.option}"))


def no_kvm(c: Context) -> None:
    c.accels.append(("tcg", f"-{c.option}"))


def choose_accel(c: Context) -> None:
    """After all options: the first accelerator that exists."""
    for name, where in c.accels:
        if name not in OUR_ACCELS and name not in OTHER_ACCELS:
            raise UsageError(f"{where}: invalid accelerator '{name}'{suggestion(name, (*OUR_ACCELS, *OTHER_ACCELS))}")
    chosen = next((name for name, _ in c.accels if name in OUR_ACCELS), None if c.accels else "tcg")
    if chosen is not None:
        if c.accels and c.accels[0][0] != chosen:
            name, where = c.accels[0]
            c.warn(f"{where}: pcemu has no {name.upper()}, falling back to {chosen}")
        c.config.accel = chosen
        if chosen == "qtest" and c.config.icount is not None:
            raise UsageError("-icount: only with -accel tcg")
        return
    name, where = c.accels[0]
    raise UsageError(f"{where}: pcemu has no {name.upper()}; use -accel tcg, or -machine accel={name}:tcg for both")


def cpu(c: Context) -> None:
    if c.value in optstr.HELP_WORDS:
        from pcemu._core import cpumodel

        from .help import wrap

        lines = ["Available CPUs:", *(f"x86 {name:<20}  {text}".rstrip() for name, text in cpumodel.list_models())]
        lines += ["", "Recognized CPUID flags:", *("  " + line for line in wrap(cpumodel.list_flags(), 74))]
        c.show("\n".join(lines))
    c.config.cpu = c.value


_SMP_KEYS = tuple(key(name, int) for name in ("cpus", "sockets", "dies", "clusters", "cores", "threads", "maxcpus"))


def smp(c: Context) -> None:
    counts = c.keys(_SMP_KEYS, "cpus")
    for name, count in counts.items():
        if count == 0:
            raise at(c.option, c.value, f"{name} must be at least 1")
        if count != 1:
            raise at(c.option, c.value, f"more than one processor ({name}={count}): not implemented yet")
    c.config.smp = 1


MOST_RAM = 255 << 30  # what the core reserves addresses for, less ROMs
_MEMORY_KEYS = (key("size"), key("slots", int), key("maxmem", "size"))


def memory(c: Context) -> None:
    pairs = c.keys(_MEMORY_KEYS, "size")
    if "slots" in pairs or "maxmem" in pairs:
        raise at(c.option, c.value, "slots and maxmem (memory hotplug): not implemented yet")
    text = str(pairs.get("size", ""))
    try:
        size = parse_size(text, "m")
    except ValueError as error:
        raise at(c.option, c.value, f"'{text}' is not {error}") from None
    # As QEMU does: 0 means the default, and sizes are whole pages (of 8 KiB).
    size = (size + 8191) & ~8191 or c.config.ram_size
    if size > MOST_RAM:
        raise at(c.option, c.value, "at most 255G of RAM")
    c.config.ram_size = size
    c.config.ram_given = True


_OVERCOMMIT_KEYS = (key("mem-lock", bool), key("cpu-pm", bool))


def overcommit(c: Context) -> None:
    for name, value in c.keys(_OVERCOMMIT_KEYS).items():
        if value:
            raise at(c.option, c.value, f"{name}=on: not implemented yet")


def realtime(c: Context) -> None:
    if c.keys((key("mlock", bool),)).get("mlock"):
        raise at(c.option, c.value, "mlock=on: not implemented yet")


_BOOT_KEYS = (key("order"), key("once"), key("menu", bool), key("strict", bool), key("splash"),
              key("splash-time", "s32"), key("reboot-timeout", "s32"))  # fmt: skip


def boot(c: Context) -> None:
    pairs = c.keys(_BOOT_KEYS, "order")
    for name in ("order", "once"):
        letters = str(pairs.get(name, ""))
        for letter in letters:
            if not "a" <= letter <= "p":
                raise at(c.option, c.value, f"Invalid boot device '{letter}'")
        if len(set(letters)) != len(letters):
            raise at(c.option, c.value, f"Boot device given twice in '{letters}'")
    if pairs.get("splash"):
        c.warn(f"-{c.option} {c.value}: splash has no effect: there is no display")
    boot_config = c.config.boot
    for name, value in pairs.items():
        setattr(boot_config, name.replace("-", "_"), value)
    assert isinstance(boot_config, BootConfig)


_NAME_KEYS = (key("guest"), key("process"), key("debug-threads", bool))


def name(c: Context) -> None:
    pairs = c.keys(_NAME_KEYS, "guest")
    c.config.debug_threads = bool(pairs.get("debug-threads", c.config.debug_threads))
    c.config.name = str(pairs["guest"]) if "guest" in pairs else c.config.name
    c.config.process_name = str(pairs["process"]) if "process" in pairs else c.config.process_name


def uuid(c: Context) -> None:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", c.value):
        raise at(c.option, c.value, "not a UUID (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)")
    c.config.uuid = c.value.lower()


def smbios(c: Context) -> None:
    pairs = optstr.parse(c.value)
    if "file" not in pairs and "type" not in pairs:
        raise at(c.option, c.value, "type=N or file=PATH is needed")
    c.config.smbios.append(pairs)


def no_hpet(c: Context) -> None:
    c.config.no_hpet = True


def no_acpi(c: Context) -> None:
    c.config.no_acpi = True


def nodefaults(c: Context) -> None:
    c.config.nodefaults = True
    c.default_serial = c.default_monitor = False


def kernel(c: Context) -> None:
    c.config.kernel = c.value


def append(c: Context) -> None:
    c.config.append = c.value


def initrd(c: Context) -> None:
    c.config.initrd = c.value


def bios(c: Context) -> None:
    c.config.bios = c.value


# -- devices --------------------------------------------------------------------------------------------------


def device(c: Context) -> None:
    from pcemu.qom.listing import device_help

    from .devices import type_help

    if c.value in optstr.HELP_WORDS:
        c.show(device_help())
    if c.value.startswith("{"):
        pairs = _json_object(c)
    else:
        pairs = optstr.parse(c.value, "driver")
    driver = pairs.pop("driver", "")
    if not driver:
        raise at(c.option, c.value, "Parameter 'driver' is missing")
    if "help" in pairs or "?" in pairs:
        c.show(type_help(driver))
    if "id" in pairs and not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-._]*", pairs["id"]):
        raise at(c.option, c.value, f"Parameter 'id' expects an identifier, not '{pairs['id']}'")
    if driver == "isa-serial":
        c.default_serial = False
    c.config.devices.append(DeviceConfig(driver, pairs, f"-{c.option} {c.value}"))


def _json_object(c: Context) -> dict[str, str]:
    words = {True: "on", False: "off"}
    return {k: words[v] if isinstance(v, bool) else str(v) for k, v in c.json_object().items()}


def object_(c: Context) -> None:
    from pcemu.qom.object import lookup_object, object_names

    if c.value in optstr.HELP_WORDS:
        c.show("List of user creatable objects:\n" + "\n".join(f"  {name}" for name in object_names()))
    pairs = _json_object(c) if c.value.startswith("{") else optstr.parse(c.value, "qom-type")
    if "qom-type" not in pairs:
        raise at(c.option, c.value, "Parameter 'qom-type' is missing")
    cls = lookup_object(pairs["qom-type"])
    if "help" in pairs or "?" in pairs:
        lines = [f"{cls.type_name} options:"]
        for decl in sorted(cls._properties.values(), key=lambda decl: decl.name):
            lines.append(f"  {decl.name}=<{decl.type_label()}>".ljust(24) + f" - {decl.help}")
        c.show("\n".join(lines))
    if "id" not in pairs:
        raise at(c.option, c.value, "Parameter 'id' is missing")
    c.config.objects.append((pairs, f"-{c.option} {c.value}"))


def global_(c: Context) -> None:
    match = re.fullmatch(r"([^.=,]+)\.([^=,]+)=(.*)", c.value)
    if match:
        driver, prop, value = match.groups()
        c.config.globals.append((driver, prop, value.replace(",,", ",")))
        return
    pairs = c.keys((key("driver"), key("property"), key("value")))
    if len(pairs) != 3:
        raise at(c.option, c.value, "TYPE.PROPERTY=VALUE is expected")
    c.config.globals.append((str(pairs["driver"]), str(pairs["property"]), str(pairs["value"])))


_FW_CFG_KEYS = (key("name"), key("file"), key("string"), key("gen_id"))


def fw_cfg(c: Context) -> None:
    pairs = {k: str(v) for k, v in c.keys(_FW_CFG_KEYS, "name").items()}
    if "gen_id" in pairs:
        raise at(c.option, c.value, "gen_id: not implemented yet")
    if not pairs.get("name"):
        raise at(c.option, c.value, "name is missing")
    if ("file" in pairs) == ("string" in pairs):
        raise at(c.option, c.value, "one of file and string is needed")
    if not pairs["name"].startswith("opt/"):
        c.warn(f"-{c.option} {c.value}: externally provided fw_cfg item names should be prefixed with \"opt/\"")
    c.config.fw_cfg.append(FwCfgEntry(pairs["name"], pairs.get("file"), pairs.get("string")))


def nothing_but_none(c: Context) -> None:
    """Displays: `none` is all there is."""
    if c.value in optstr.HELP_WORDS:
        c.show("none")
    if c.value.partition(",")[0] != "none":
        raise not_yet(c.option, c.value)


def audiodev(c: Context) -> None:
    """There is no sound, so its back end is `none`."""
    pairs = _json_object(c) if c.value.startswith("{") else optstr.parse(c.value, "driver")
    driver = pairs.get("driver", "")
    if driver in optstr.HELP_WORDS:
        c.show("Available audio drivers:\nnone")
    if "id" not in pairs:
        raise at(c.option, c.value, "Parameter 'id' is missing")
    if driver != "none":
        raise at(c.option, c.value, f"driver '{driver}': not implemented yet; none is")


def display(c: Context) -> None:
    nothing_but_none(c)
    c.display = "none"


def apply(c: Context, do: str) -> None:
    """Call the function of that name."""
    function: Apply = _FUNCTIONS[do]
    try:
        function(c)
    except PcemuError as error:
        if isinstance(error, UsageError):
            raise
        if str(error).startswith("-"):
            raise UsageError(str(error)) from None
        raise at(c.option, c.value, str(error)) from None


_FUNCTIONS: dict[str, Apply] = {
    **{f.__name__: f for f in (
        help, version, no_op, no_effect, mem_path, mem_prealloc, no_fd_bootchk, machine,
        accel, enable_kvm, no_kvm, cpu, smp, memory, overcommit, realtime, boot, name,
        uuid, smbios, no_hpet, no_acpi, nodefaults, kernel, append, initrd, bios, device, object_, global_, fw_cfg,
        audiodev, display,
    )},
    "vga": nothing_but_none,
    **HOST_OPTIONS,
    **BLOCK_OPTIONS,
    **NET_OPTIONS,
    **SERVICE_OPTIONS,
}  # fmt: skip
