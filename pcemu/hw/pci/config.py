"""Configuration space: 256 bytes with write masks (PCI Local Bus Specification 2.1, chapter 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

SIZE = 256

# Header registers, by their names in the specification.
VENDOR_ID, DEVICE_ID, COMMAND, STATUS, REVISION, PROG_IF, CLASS, CACHE_LINE, LATENCY, HEADER_TYPE = (
    0x00, 0x02, 0x04, 0x06, 0x08, 0x09, 0x0A, 0x0C, 0x0D, 0x0E)  # fmt: skip
BAR0, SUBSYSTEM_VENDOR_ID, SUBSYSTEM_ID, ROM_BAR, CAPABILITIES, INTERRUPT_LINE, INTERRUPT_PIN = (
    0x10, 0x2C, 0x2E, 0x30, 0x34, 0x3C, 0x3D)  # fmt: skip

COMMAND_IO, COMMAND_MEMORY, COMMAND_MASTER, COMMAND_SERR, COMMAND_INTX_OFF = 1, 2, 4, 1 << 8, 1 << 10
COMMAND_PARITY = 1 << 6
COMMAND_WRITABLE = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_SERR | COMMAND_INTX_OFF
STATUS_INTX, STATUS_CAPABILITIES = 1 << 3, 1 << 4
STATUS_W1C = 0xF900  # errors seen
MULTIFUNCTION = 0x80

BAR_IO, BAR_64BIT, BAR_PREFETCH, ROM_ENABLE = 1, 4, 8, 1


class ConfigReg(NamedTuple):
    """A register of a device class's own.

    writable   bits that take what is written
    w1c        bits that a written one clears
    on_write   the device's method called as ``(old, new)`` after a write touched the register
    """

    name: str
    offset: int
    size: int = 1
    reset: int = 0
    writable: int = 0
    w1c: int = 0
    on_write: str = ""


Hook = Callable[[int, int], None]  # (old, new)


class ConfigLayout:
    """Reset values and masks of one device's configuration space."""

    __slots__ = ("hooks", "reset", "w1c", "writable")

    def __init__(self) -> None:
        self.reset = bytearray(SIZE)
        self.writable = bytearray(SIZE)
        self.w1c = bytearray(SIZE)
        self.hooks: list[tuple[int, int, str | Hook]] = []  # start, end, the device's method or a function

    def add(self, register: ConfigReg) -> None:
        name, offset, size, reset, writable, w1c, on_write = register
        end = offset + size
        if end > SIZE:
            raise ValueError(f"{name}: {offset:#x} is outside configuration space")
        self.reset[offset:end] = reset.to_bytes(size, "little")
        self.writable[offset:end] = writable.to_bytes(size, "little")
        self.w1c[offset:end] = w1c.to_bytes(size, "little")
        if on_write:
            self.hooks.append((offset, end, on_write))

    def hook(self, start: int, end: int, function: Hook) -> None:
        """Call `function` with the old and the new value after a write to bytes from `start` up to `end`."""
        self.hooks.append((start, end, function))

    def set_reset(self, offset: int, size: int, value: int) -> None:
        self.reset[offset : offset + size] = value.to_bytes(size, "little")

    def set_writable(self, offset: int, size: int, mask: int) -> None:
        self.writable[offset : offset + size] = mask.to_bytes(size, "little")

    def store(self, config: bytearray, offset: int, value: int, size: int) -> None:
        """What a write of `size` bytes does to the stored bytes."""
        for at in range(offset, min(offset + size, SIZE)):
            byte = value & 0xFF
            mask = self.writable[at]
            config[at] = (config[at] & ~mask | byte & mask) & ~(byte & self.w1c[at])
            value >>= 8
