"""What firmware finds in fw_cfg: sizes, the memory map, ACPI and SMBIOS tables, boot options, a kernel, users' entries."""

from __future__ import annotations

import struct
from typing import Any

from pcemu.hw.nvram import fw_cfg as keys
from pcemu.qom.errors import PcemuError

from . import acpi, e820
from .bootorder import boot_order
from .errors import LoaderError
from .images import read_image
from .platform import Platform

OPTION = "-fw_cfg"
_MAX_ENTRY = 64 << 20
_NOT_PRESENT = 0xFF
_HPETS = 8


def fill(machine: Any, device: Any, platform: Platform, uuid: bytes) -> None:
    """Everything that does not depend on what is booted."""
    config = machine.config
    device.add_bytes(keys.UUID, uuid)
    device.add_i64(keys.RAM_SIZE, machine.ram_size)
    device.add_i16(keys.NOGRAPHIC, 0 if getattr(machine.board, "graphics", True) else 1)
    device.add_i16(keys.NB_CPUS, len(platform.apic_ids))
    device.add_i16(keys.MAX_CPUS, len(platform.apic_ids))
    device.add_bytes(keys.NUMA, bytes(8 * (1 + len(platform.apic_ids))))
    device.add_i16(keys.BOOT_MENU, int(config.boot.menu))
    device.add_i32(keys.IRQ0_OVERRIDE, 1)
    device.add_bytes(keys.HPET_CONFIG, _hpets(platform))
    device.add_file("etc/e820", e820.encode(e820.installed_memory(platform)))
    device.add_file("etc/boot-fail-wait", struct.pack("<i", config.boot.reboot_timeout))
    if config.boot.menu and config.boot.splash_time >= 0:
        device.add_file("etc/boot-menu-wait", struct.pack("<H", min(config.boot.splash_time, 0xFFFF)))
    device.add_file("bootorder", boot_order(machine))
    # Bit 7: the state exists; low bits: its SLP_TYP. S0 and S5 only.
    device.add_file("etc/system-states", bytes([0x80, 0, 0, 1, 2, 0x80]))
    if platform.acpi:
        linked = acpi.build(platform)
        for name, data in linked.files.items():
            device.add_file(name, bytes(data))
        device.add_file("etc/table-loader", linked.script())


def _hpets(platform: Platform) -> bytes:
    """struct hpet_fw_config: how many, then id, address, minimum tick and page protection of each."""
    if platform.hpet_base is None:
        return bytes([_NOT_PRESENT]).ljust(1 + 15 * _HPETS, b"\x00")
    entry = struct.pack("<BIQHB", 1, platform.hpet_id, platform.hpet_base, 100, 0)
    return entry.ljust(1 + 15 * _HPETS, b"\x00")


def add_smbios(device: Any, tables: bytes, anchor: bytes) -> None:
    device.add_file("etc/smbios/smbios-tables", tables)
    device.add_file("etc/smbios/smbios-anchor", anchor)


def add_user_entries(machine: Any, device: Any) -> None:
    """-fw_cfg name=NAME,file=FILE|string=TEXT."""
    for entry in machine.config.fw_cfg:
        if entry.name in device.files:
            raise LoaderError(OPTION, f"name={entry.name}", "there is such a file already")
        if (entry.file is None) == (entry.string is None):
            raise LoaderError(OPTION, f"name={entry.name}", "one of file=FILE and string=TEXT is needed")
        if entry.file is not None:
            data = read_image(f"{OPTION} name={entry.name},file", entry.file, _MAX_ENTRY)
        else:
            data = (entry.string or "").encode("utf-8", "surrogateescape")
        try:
            device.add_file(entry.name, data)
        except PcemuError as error:
            raise LoaderError(OPTION, f"name={entry.name}", str(error)) from None
