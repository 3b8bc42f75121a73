"""Firmware from a file (-bios), mapped where a PC has its ROM, and kernels that such firmware is to start."""

from __future__ import annotations

import struct
import sys
from typing import Any

from pcemu.hw.nvram import fw_cfg as keys
from pcemu.qom import MemoryRegion

from .bzimage import is_bzimage, parse_header
from .errors import LoaderError
from .images import find_firmware, read_image, read_kernel
from .plan import APPEND, INITRD, KERNEL
from .platform import FOUR_GIB, Platform

OPTION = "-bios"
_UNIT = 64 << 10
_LARGEST = 16 << 20  # more would reach down to the I/O APIC
_ISA_WINDOW = 128 << 10
_ISA_END = 0x100000

# Where Linux's real-mode part and command line go, and the option ROM of QEMU's that puts them there.
_SETUP_ADDR = 0x10000
_CMDLINE_ADDR = 0x20000
_KERNEL_ADDR = 0x100000
_LINUX_ROM = "linuxboot_dma.bin"
_LOADER_ID = 0xB0
_CAN_USE_HEAP = 0x80
_TABLES_ROOM = 128 << 10


def load(machine: Any, name: str) -> None:
    """-bios: read the image and map it."""
    path = find_firmware(name, machine.config.data_dirs)
    if path is None:
        raise LoaderError(OPTION, name, "no such file, nor one of that name in the firmware directories")
    data = read_image(OPTION, path, _LARGEST)
    if len(data) % _UNIT:
        raise LoaderError(OPTION, path, f"{len(data)} bytes; a PC firmware image is a multiple of 64 KiB")
    map_rom(machine, data)


def data_dirs(machine: Any) -> list[str]:
    """-L."""
    directories: list[str] = getattr(machine.config, "data_dirs", [])
    return directories


def map_rom(machine: Any, data: bytes) -> None:
    """At the top of 4 GiB, and its last 128 KiB again below 1 MiB as on the ISA bus."""
    host = machine.find("i440FX-pcihost")
    memory = machine.memory
    start, window = FOUR_GIB - len(data), min(len(data), _ISA_WINDOW)
    block = memory.alloc("pc.bios", len(data))
    memory.block_view(block, len(data))[:] = data
    if host is not None:
        # On PCI, where the host bridge's PAM registers decide who answers below 1 MiB.
        space, make = host.pci_memory, MemoryRegion.rom
    else:
        # Without a host bridge there is no RAM to shadow the ROM: firmware writes to its own image, as on QEMU's isapc.
        space, make = machine.memory_root, MemoryRegion.ram
        machine.on_reset(lambda: memory.write(start, data))
    rom = make("pc.bios", len(data), block)
    alias = MemoryRegion.alias("isa-bios", rom, len(data) - window, window, readonly=host is not None)
    with machine.memory_space:
        space.add(rom, start, priority=0)
        space.add(alias, _ISA_END - window, priority=1)


def hand_over_kernel(machine: Any, device: Any, platform: Platform) -> None:
    """-bios with -kernel: the kernel's parts as fw_cfg items, and the option ROM that boots them."""
    config = machine.config
    kernel = read_kernel(KERNEL, config.kernel, max(platform.low_ram, 1 << 20))
    if not is_bzimage(kernel):
        raise LoaderError(KERNEL, config.kernel, "with -bios only a Linux bzImage can be handed over")
    if device is None:
        raise LoaderError(KERNEL, config.kernel, "with -bios it needs fw_cfg, which this machine has not")
    header = parse_header(config.kernel, kernel)
    cmdline = config.append.encode("utf-8", "surrogateescape")
    if len(cmdline) > header.cmdline_size:
        raise LoaderError(APPEND, "", f"{len(cmdline)} bytes; the kernel takes at most {header.cmdline_size}")
    setup = bytearray(kernel[: header.setup_size])
    setup[0x210] = _LOADER_ID
    setup[0x211] |= _CAN_USE_HEAP
    struct.pack_into("<H", setup, 0x224, _CMDLINE_ADDR - _SETUP_ADDR - 0x200)
    struct.pack_into("<I", setup, 0x228, _CMDLINE_ADDR)
    if config.initrd is not None:
        initrd = read_image(INITRD, config.initrd, max(platform.low_ram, 1 << 20))
        end = min(header.initrd_max + 1, platform.low_ram - _TABLES_ROOM)
        address = (end - len(initrd)) & ~0xFFF
        if address < _KERNEL_ADDR + len(kernel):
            raise LoaderError(INITRD, config.initrd, f"{len(initrd)} bytes do not fit into RAM with the kernel")
        struct.pack_into("<II", setup, 0x218, address, len(initrd))
        device.add_i32(keys.INITRD_ADDR, address)
        device.add_i32(keys.INITRD_SIZE, len(initrd))
        device.add_bytes(keys.INITRD_DATA, initrd)
    payload = kernel[header.setup_size :]
    for key, value in ((keys.KERNEL_ADDR, _KERNEL_ADDR), (keys.KERNEL_SIZE, len(payload)),
                       (keys.SETUP_ADDR, _SETUP_ADDR), (keys.SETUP_SIZE, len(setup)),
                       (keys.CMDLINE_ADDR, _CMDLINE_ADDR), (keys.CMDLINE_SIZE, len(cmdline) + 1)):  # fmt: skip
        device.add_i32(key, value)
    device.add_bytes(keys.KERNEL_DATA, payload)
    device.add_bytes(keys.SETUP_DATA, bytes(setup))
    device.add_string(keys.CMDLINE_DATA, cmdline)
    _add_boot_rom(device, data_dirs(machine))


def _add_boot_rom(device: Any, directories: list[str]) -> None:
    """SeaBIOS does not know those items: an option ROM does. OVMF does without."""
    path = find_firmware(_LINUX_ROM, device.machine.config.data_dirs)
    if path is None:
        print(f"pcemu: warning: {_LINUX_ROM} not found: only firmware that reads kernels from fw_cfg itself will start "
              "the one given", file=sys.stderr)  # fmt: skip
        return
    device.add_file(f"genroms/{_LINUX_ROM}", read_image(KERNEL, path, _UNIT))
    # The kernel comes first, whatever has a bootindex.
    others = device.files.get("bootorder", b"")
    device.add_file("bootorder", f"/rom@genroms/{_LINUX_ROM}".encode() + (b"\n" + bytes(others) if others else b"\x00"))
