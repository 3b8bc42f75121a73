"""`info` commands: the machine as it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pcemu.machine.cpudump import dump_cpu

from . import mtree, qtree
from .errors import CommandError
from .table import Context, command, declare_types, qmp_command

declare_types("""
enum    RunState     debug inmigrate internal-error io-error paused postmigrate prelaunch finish-migrate restore-vm running \\
                     save-vm shutdown suspended watchdog guest-panicked colo
struct  StatusInfo   running: bool, singlestep: bool, status: RunState
struct  NameInfo     name?: str
struct  UuidInfo     UUID: str
struct  PciInfo          bus: int, devices: [PciDeviceInfo]
struct  PciDeviceInfo    bus: int, slot: int, function: int, class_info: PciDeviceClass, id: PciDeviceId, irq?: int, \\
                         irq_pin: int, qdev_id: str, regions: [PciMemoryRegion]
struct  PciDeviceClass   desc?: str, class: int
struct  PciDeviceId      device: int, vendor: int, subsystem?: int, subsystem-vendor?: int
struct  PciMemoryRegion  bar: int, type: str, address: int, size: int, prefetch?: bool, mem_type_64?: bool
struct  KvmInfo      enabled: bool, present: bool
""")


def _show_status(status: dict[str, Any]) -> str:
    text = f"VM status: {'running' if status['running'] else 'paused'}"
    if not status["running"] and status["status"] != "paused":
        text += f" ({status['status']})"
    return text + "\n"


@command("info status", help="show the current VM status (running|paused)", qmp="query-status",
         returns="StatusInfo", render=_show_status)
def query_status(ctx: Context) -> dict[str, Any]:
    status = ctx.machine.status
    return {"status": status, "singlestep": False, "running": status == "running"}


@command("info version", help="show the version of pcemu", qmp="query-version", returns="VersionInfo",
         render=lambda version: f"{version['package']}\n")
def query_version(ctx: Context) -> dict[str, Any]:
    from .qmp import version_info

    return version_info()


@command("info name", help="show the current VM name", qmp="query-name", returns="NameInfo",
         render=lambda found: f"{found['name']}\n" if "name" in found else "")
def query_name(ctx: Context) -> dict[str, str]:
    name = ctx.machine.config.name
    return {"name": name} if name else {}


@command("info uuid", help="show the current VM UUID", qmp="query-uuid", returns="UuidInfo",
         render=lambda found: f"{found['UUID']}\n")
def query_uuid(ctx: Context) -> dict[str, str]:
    return {"UUID": ctx.machine.config.uuid or "00000000-0000-0000-0000-000000000000"}


@command("info kvm", help="show KVM information", qmp="query-kvm", returns="KvmInfo",
         render=lambda _: "kvm support: disabled\n")
def query_kvm(ctx: Context) -> dict[str, bool]:
    return {"enabled": False, "present": False}


@command("info history", help="show the command line history")
def info_history(ctx: Context) -> str:
    return "".join(f"{number}: '{line}'\n" for number, line in enumerate(ctx.history))


@command("info jit", help="show dynamic compiler info")
def info_jit(ctx: Context) -> str:
    stats = ctx.cpu.stats()
    calls = ctx.cpu.handler_calls()
    ratios = {"jit": "on" if ctx.cpu.jit else "off"}
    if stats.get("compiled_instructions"):
        ratios["bytes_an_instruction"] = f"{stats['compiled_bytes'] / stats['compiled_instructions']:.1f}"
        ratios["compile_ns_an_instruction"] = f"{stats['compile_ns'] / stats['compiled_instructions']:.0f}"
    if stats.get("translated_instructions"):
        ratios["translate_ns_an_instruction"] = f"{stats['translate_ns'] / stats['translated_instructions']:.0f}"
    if stats.get("lockstep_instructions"):
        ratios["lockstep_share"] = f"{100 * stats['lockstep_compared'] / stats['lockstep_instructions']:.3f} %"
    return "".join(f"{name:<27} {value}\n" for name, value in (*ratios.items(), *stats.items(), *calls.items()))


@command("info registers", "all:-a,vcpu:i?", params="[-a|vcpu]", help="show the cpu registers (-a: show register info "
         "for all cpus; vcpu: specific vCPU to query; show the current CPU's registers if no argument is specified)")  # fmt: skip
def info_registers(ctx: Context, all: bool, vcpu: int | None) -> str:
    cpus = ctx.machine.cpus
    if vcpu is not None and not 0 <= vcpu < len(cpus):
        return f"CPU#{vcpu} not available\n"
    chosen = range(len(cpus)) if all else [ctx.cpu_index if vcpu is None else vcpu]
    if not cpus:
        raise CommandError("No CPU available")
    return "".join(f"\n{dump_cpu(cpus[index], index)}\n" for index in chosen)


@command("info qtree", help="show device tree")
def info_qtree(ctx: Context) -> str:
    return qtree.show(ctx.machine)


@command("info mtree", "flat:-f,dispatch:-d,owner:-o,disabled:-D", params="[-f][-d][-o][-D]",
         help="show memory tree (-f: dump flat view for address spaces; -o: dump region owners; -D: dump disabled "
         "regions)")  # fmt: skip
def info_mtree(ctx: Context, flat: bool, dispatch: bool, owner: bool, disabled: bool) -> str:
    if dispatch:
        raise CommandError("there is no dispatch tree: the core looks addresses up in the flat view (-f)")
    return mtree.show_flat(ctx.machine, owner) if flat else mtree.show_tree(ctx.machine, owner, disabled)


@command("info pci", help="show PCI info")
def info_pci(ctx: Context) -> str:
    bus = ctx.machine.find_bus("PCI")
    if bus is None:
        return ""
    from pcemu.hw.pci.info import info_pci as lines

    return "".join(line + "\n" for line in lines(bus))


@qmp_command("query-pci", returns="[PciInfo]", help="the devices on the PCI bus")
def query_pci(ctx: Context) -> list[dict[str, Any]]:
    bus = ctx.machine.find_bus("PCI")
    if bus is None:
        return []
    from pcemu.hw.pci import info

    return info.query_pci(bus)


# ---- interrupt controllers --------------------------------------------------------------------------------------------


@command("info pic", help="show PIC state")
def info_pic(ctx: Context) -> str:
    lines: list[str] = []
    for ioapic in _all(ctx, "ioapic"):
        lines += ioapic.info_lines()
    pics = _all(ctx, "isa-i8259")
    lines += [pic.info_pic() for pic in sorted(pics, key=lambda pic: bool(pic.master))]     # the slave first
    return "".join(line + "\n" for line in lines)


@command("info irq", help="show the interrupts statistics (if available)")
def info_irq(ctx: Context) -> str:
    counts: list[tuple[str, list[int]]] = []
    for ioapic in _all(ctx, "ioapic"):
        pins = list(ioapic.irq_count)
        pins[0], pins[2] = pins[0] + pins[2], 0     # by interrupt number: the board puts 0 on pin 2
        counts.append(("ioapic", pins))
    pics = sorted(_all(ctx, "isa-i8259"), key=lambda pic: not pic.master)
    if pics:
        both = [count for pic in pics for count in pic.irq_count]
        both[2] = 0                     # the cascade is a wire, not an interrupt
        counts.append(("isa-i8259", both))
    text = ""
    for name, numbers in counts:
        text += f"IRQ statistics for {name}:\n"
        text += "".join(f"{number:2}: {count}\n" for number, count in enumerate(numbers) if count)
    return text


@command("info lapic", "apic_id:i?", params="[apic-id]",
         help="show local apic state (apic-id: local apic to read, default is which of current CPU)")
def info_lapic(ctx: Context, apic_id: int | None) -> str:
    apics = _all(ctx, "apic")
    if apic_id is None:
        chosen = apics[ctx.cpu_index:ctx.cpu_index + 1]
    else:
        chosen = [apic for apic in apics if apic.apic_id == apic_id]
    if not chosen:
        return "No local APIC\n" if apic_id is None else "No CPU available\n"
    from pcemu.hw.intc.apic_info import info_lapic as lines

    return "".join(line + "\n" for line in lines(chosen[0]))


def _all(ctx: Context, type_name: str) -> list[Any]:
    return [device for device in ctx.machine.devices if device.type_name == type_name]


# ---- texts for programs -----------------------------------------------------------------------------------------------


def _text_command(name: str, show: Callable[[Context], str]) -> None:
    def command(ctx: Context) -> dict[str, str]:
        return {"human-readable-text": show(ctx)}

    qmp_command(f"x-query-{name}", returns="HumanReadableText", help=f"what `info {name}` prints")(command)


_text_command("irq", info_irq)
_text_command("jit", info_jit)


# ---- images -----------------------------------------------------------------------------------------------------------


@command("info roms", help="show roms")
def info_roms(ctx: Context) -> str:
    machine = ctx.machine
    lines = []
    seen: set[int] = set()
    for start, _, region, _ in machine.memory_space.flat:
        whole = getattr(region, "region", region)
        if whole.kind == "rom" and id(whole) not in seen:
            seen.add(id(whole))
            # The address shown is where the whole of it lies: the last place, below 4 GiB for a BIOS.
            places = [s for s, n, r, at in machine.memory_space.flat if getattr(r, "region", r) is whole and at == 0]
            start = places[-1] if places else start
            lines.append(f'addr={start:016x} size=0x{whole.size:06x} mem=rom name="{_image_name(machine, whole.name)}"')
    fw_cfg = machine.find("fw_cfg_io")
    files = fw_cfg.files if fw_cfg is not None else {}
    for name in sorted(files):
        if name.startswith(("genroms/", "vgaroms/")):
            lines.append(f'fw={name} size=0x{len(files[name]):06x} name="{name.rpartition("/")[2]}"')
    for name in files:
        if name.startswith(("etc/acpi/", "etc/table-loader")):
            lines.append(f'/rom@{name} size=0x{len(files[name]):06x} name="{name}"')
    return "".join(line + "\n" for line in lines)


def _image_name(machine: Any, region: str) -> str:
    """The file an image came from, where the region's name says less."""
    bios = machine.config.bios
    return os.path.basename(bios) if region == "pc.bios" and bios else region


_text_command("roms", info_roms)
