"""Puts guests into machines: kernels and firmware, and the tables that tell them about the machine."""

from __future__ import annotations

from functools import partial
from typing import Any

from . import bios, direct, firmware, fwcfg, smbios, uuids
from .errors import LoaderError
from .platform import Platform, cpu_model
from .stub import NOTHING_TO_BOOT, StubRom

__all__ = ["LoaderError", "load"]

_BOOT_CODES = {"a": 1, "b": 1, "c": 2, "d": 3, "n": 4}


def load(machine: Any) -> None:
    """Called once, when all devices are there. What has to be done at each reset is registered with the machine."""
    config = machine.config
    if config.kernel is None:
        for option, value in (("-initrd", config.initrd), ("-append", config.append)):
            if value:
                raise LoaderError(option, "", "only makes sense with -kernel")
    device = machine.find("fw_cfg_io")
    rtc = machine.find("mc146818rtc")
    if device is None and rtc is None:  # the empty machine
        for option, value in (("-kernel", config.kernel), ("-bios", config.bios)):
            if value is not None:
                raise LoaderError(option, value, f"machine '{config.machine}' has nothing to boot it with")
        return
    platform = Platform.of(machine)
    if rtc is not None:
        firmware.fill_cmos(rtc, platform)
        machine.boot_setter = partial(_set_boot_order, rtc, getattr(machine.board, "fd_bootchk", True))
        machine.boot_setter(config.boot.once or config.boot.order)
    if getattr(machine.board, "smbios_entry_point_type", "32") != "32":
        raise LoaderError("-machine smbios-entry-point-type=64", "", "not implemented yet")
    smbios_config = smbios.parse_options(config.smbios)
    identity = _identity(machine, platform)
    direct_boot = config.kernel is not None and config.bios is None
    tables = smbios.build(platform, identity, smbios_config, _version() if direct_boot else "")
    if device is not None:
        fwcfg.fill(machine, device, platform, identity.uuid)
        fwcfg.add_smbios(device, *tables)
    if direct_boot:
        direct.load(machine, platform, tables)
    elif config.bios is not None:
        bios.load(machine, config.bios)
        if config.kernel is not None:
            bios.hand_over_kernel(machine, device, platform)
    else:
        bios.map_rom(machine, bytes(StubRom(NOTHING_TO_BOOT).image))
    if device is not None:
        fwcfg.add_user_entries(machine, device)
    elif config.fw_cfg:
        raise LoaderError("-fw_cfg", f"name={config.fw_cfg[0].name}", "this machine has no fw_cfg device")


def _version() -> str:
    from pcemu import __version__

    return __version__


def _identity(machine: Any, platform: Platform) -> smbios.Identity:
    from pcemu.machine.types import PC_DESC, full_name

    text = machine.config.uuid
    try:
        uuid = uuids.parse(text) if text else uuids.NIL
    except ValueError:
        raise LoaderError("-uuid", text, "not a UUID") from None
    model = cpu_model(machine)
    features = 0
    if model is not None:
        features = next((row[5] for row in model.cpuid_table() if row[0] == 1), 0)
    return smbios.Identity(
        manufacturer="pcemu",
        product=PC_DESC if platform.pci else "ISA-only PC",
        version=full_name(machine.config.machine),
        uuid=uuid,
        cpu_signature=getattr(model, "signature", 0),
        cpu_features=features,
        cpus=len(platform.apic_ids),
    )


def _set_boot_order(rtc: Any, check_floppies: bool, order: str) -> None:
    """The first three boot devices, a nibble each, where firmware for QEMU looks."""
    codes = [_BOOT_CODES[letter] for letter in order if letter in _BOOT_CODES][:3]
    codes += [0] * (3 - len(codes))
    rtc.set_cmos(0x3D, codes[1] << 4 | codes[0])
    rtc.set_cmos(0x38, codes[2] << 4 | (0 if check_floppies else 1))
