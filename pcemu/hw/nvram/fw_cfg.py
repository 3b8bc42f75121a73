"""The firmware configuration device (fw_cfg) of QEMU's PC machines, read-only to the guest.

Interface: docs/specs/fw_cfg of the QEMU project. Port 0x510 selects an item by its 16-bit key, port 0x511 gives its
bytes one after the other; the DMA interface at 0x514-0x51b copies a piece of an item to memory at once. Firmware and
kernels find the device by the signature "QEMU", so that is what it says.
"""

from __future__ import annotations

import struct
from typing import Any

from pcemu.qom import PcemuError, PortWindow, Property, State, SysBusDevice

# Keys of fixed items ("All-architecture items" and those of i386).
SIGNATURE = 0x00
ID = 0x01
UUID = 0x02
RAM_SIZE = 0x03
NOGRAPHIC = 0x04
NB_CPUS = 0x05
MACHINE_ID = 0x06
KERNEL_ADDR = 0x07
KERNEL_SIZE = 0x08
KERNEL_CMDLINE = 0x09
INITRD_ADDR = 0x0A
INITRD_SIZE = 0x0B
BOOT_DEVICE = 0x0C
NUMA = 0x0D
BOOT_MENU = 0x0E
MAX_CPUS = 0x0F
KERNEL_ENTRY = 0x10
KERNEL_DATA = 0x11
INITRD_DATA = 0x12
CMDLINE_ADDR = 0x13
CMDLINE_SIZE = 0x14
CMDLINE_DATA = 0x15
SETUP_ADDR = 0x16
SETUP_SIZE = 0x17
SETUP_DATA = 0x18
FILE_DIR = 0x19
FILE_FIRST = 0x20
ARCH_LOCAL = 0x8000
IRQ0_OVERRIDE = 0x8002
HPET_CONFIG = 0x8004

_KEY_MASK = 0xBFFF  # without the obsolete "write channel" bit
_INVALID = 0xFFFF
_NAME_SIZE = 56

# DMA control bits and the address register's answer ("Guest-side DMA Interface").
DMA_ERROR = 0x01
DMA_READ = 0x02
DMA_SKIP = 0x04
DMA_SELECT = 0x08
DMA_WRITE = 0x10
DMA_SIGNATURE = b"QEMU CFG"
ROM_DIRECTORIES = ("genroms/", "vgaroms/")
_ID_TRADITIONAL = 0x01
_ID_DMA = 0x02
_FILL_CHUNK = 1 << 20


class FwCfgIo(SysBusDevice):
    """Firmware configuration items behind I/O ports 0x510-0x511 and DMA at 0x514."""

    type_name = "fw_cfg_io"
    board_name = "fw_cfg"
    aliases = ("fw_cfg",)
    desc = "firmware configuration items"
    trace_events = ("fw_cfg_select", "fw_cfg_dma", "fw_cfg_add_file")

    dma_enabled = Property(bool, name="dma_enabled", default=True, help="offer the DMA interface")
    file_slots = Property("u16", name="x-file-slots", default=0x20, min=0x10, max=0x3FE0, help="files that fit")
    acpi_mr_restore = Property(bool, name="acpi-mr-restore", default=True, help="the size of tables is in a saved state",
                               inert="there are no saved states")  # fmt: skip

    key = State("u16", help="selected item")
    offset = State("u32", help="next byte of it")
    dma_addr = State("u64", help="address register of the DMA interface")

    ports = PortWindow(0x510, 2, "io_read", "io_write", access=(1, 2), name="fwcfg")
    dma = PortWindow(None, 8, "dma_read", "dma_write", access=(1, 4), name="fwcfg.dma")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.items: dict[int, bytes] = {}
        self.files: dict[str, bytes] = {}
        self._data = b""
        super().__init__(*args, **kwargs)

    def realize(self) -> None:
        self.add_bytes(SIGNATURE, DMA_SIGNATURE[:4])
        self.add_i32(ID, _ID_TRADITIONAL | (_ID_DMA if self.dma_enabled else 0))
        self._number_files()
        if self.dma_enabled:
            self.dma.map(0x514)

    def reset(self) -> None:
        super().reset()
        self._select(SIGNATURE)

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        self._data = self.items.get(self.key, b"")

    # -- what the board and the loader put in ---------------------------------------------------------------

    def add_bytes(self, key: int, data: bytes) -> None:
        """Set (or replace) an item with a fixed key."""
        self.items[key] = bytes(data)
        if key == self.key:
            self._data = self.items[key]

    def add_i16(self, key: int, value: int) -> None:
        self.add_bytes(key, struct.pack("<H", value & 0xFFFF))

    def add_i32(self, key: int, value: int) -> None:
        self.add_bytes(key, struct.pack("<I", value & 0xFFFFFFFF))

    def add_i64(self, key: int, value: int) -> None:
        self.add_bytes(key, struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF))

    def add_string(self, key: int, text: bytes) -> None:
        self.add_bytes(key, text + b"\x00")

    def add_file(self, name: str, data: bytes) -> None:
        """Add (or replace) a named file. Keys are given out in the order of the names."""
        encoded = name.encode("utf-8")
        if not encoded or len(encoded) >= _NAME_SIZE or b"\x00" in encoded:
            raise PcemuError(f"fw_cfg: '{name}' is not a file name of 1 to {_NAME_SIZE - 1} bytes")
        if name not in self.files and len(self.files) >= self.file_slots:
            raise PcemuError(f"fw_cfg: no room for '{name}': {self.file_slots} files are there already")
        self.files[name] = bytes(data)
        if self.tracing:
            self.trace("fw_cfg_add_file", name=name, size=len(data))
        self._number_files()

    def file_key(self, name: str) -> int:
        """The key a guest selects to read a file."""
        return FILE_FIRST + sorted(self.files).index(name)

    def rom_files(self) -> list[tuple[str, int]]:
        """Option ROMs among the files, and their sizes: for `info roms`."""
        return [(name, len(data)) for name, data in sorted(self.files.items()) if name.startswith(ROM_DIRECTORIES)]

    def _number_files(self) -> None:
        directory = [struct.pack(">I", len(self.files))]
        for index, name in enumerate(sorted(self.files)):
            key = FILE_FIRST + index
            data = self.files[name]
            self.items[key] = data
            directory.append(struct.pack(f">IHH{_NAME_SIZE}s", len(data), key, 0, name.encode("utf-8")))
        # Readers take the whole directory at once: its size does not depend on how many files there are.
        full = 4 + self.file_slots * (8 + _NAME_SIZE)
        self.items[FILE_DIR] = b"".join(directory).ljust(full, b"\x00")
        self._data = self.items.get(self.key, b"")

    # -- ports ----------------------------------------------------------------------------------------------

    def _select(self, key: int) -> bool:
        self.offset = 0
        self.key = key & _KEY_MASK
        found = self.items.get(self.key)
        self._data = found or b""
        if found is None:
            self.key = _INVALID
        if self.tracing:
            self.trace("fw_cfg_select", key=key, found=found is not None)
        return found is not None

    def io_read(self, offset: int, size: int) -> int:
        value = 0
        for shift in range(0, size << 3, 8):  # past the end zeros follow
            if self.offset < len(self._data):
                value |= self._data[self.offset] << shift
                self.offset += 1
        return value

    def io_read_bulk(self, count: int) -> bytes:
        """The next `count` bytes at once, for string input from port 0x511."""
        piece = self._data[self.offset : self.offset + count]
        self.offset += len(piece)
        return piece.ljust(count, b"\x00")

    def io_write(self, offset: int, value: int, size: int) -> None:
        if size == 2:
            self._select(value)
        else:
            self.log_guest_error("write of %#x to the data port: items are read-only", value)

    # -- DMA ------------------------------------------------------------------------------------------------

    def dma_read(self, offset: int, size: int) -> int:
        return int.from_bytes(DMA_SIGNATURE[offset : offset + size], "little")

    def dma_write(self, offset: int, value: int, size: int) -> None:
        if size != 4:
            self.log_guest_error("write of %d bytes to the DMA address register", size)
            return
        value = int.from_bytes(value.to_bytes(4, "little"), "big")  # the register is big-endian
        if offset == 0:
            self.dma_addr = value << 32
            return
        address = self.dma_addr & 0xFFFFFFFF00000000 | value
        self.dma_addr = 0
        self._transfer(address)

    def _transfer(self, descriptor: int) -> None:
        """Do what the descriptor at that address says, and write the outcome over its control word."""
        memory = self.machine.memory
        control, length, address = struct.unpack(">IIQ", memory.read(descriptor, 16))
        if self.tracing:
            self.trace("fw_cfg_dma", control=control, length=length, address=address)
        if control & DMA_SELECT:
            self._select(control >> 16)
        outcome = 0
        if control & DMA_READ:
            # No transfer is longer than RAM: a wild length must not keep the machine busy for ever.
            if length > max(self.machine.ram_size, _FILL_CHUNK) or address + length > 1 << 64:
                self.log_guest_error("DMA of %#x bytes to %#x", length, address)
                outcome = DMA_ERROR
            else:
                self._copy(address, length)
        elif control & DMA_WRITE:
            outcome = DMA_ERROR if length else 0
            self.log_guest_error("DMA write to item %#x: items are read-only", self.key)
        elif control & DMA_SKIP:
            self.offset = min(self.offset + length, len(self._data))
        memory.write(descriptor, struct.pack(">I", outcome))

    def _copy(self, address: int, length: int) -> None:
        memory = self.machine.memory
        piece = self._data[self.offset : self.offset + length]
        self.offset += len(piece)
        if piece:
            memory.write(address, piece)
        done = len(piece)
        while done < length:
            step = min(_FILL_CHUNK, length - done)
            memory.write(address + done, bytes(step))
            done += step
