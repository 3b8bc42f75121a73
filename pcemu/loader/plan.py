"""What a boot protocol works with and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .e820 import E820Entry
from .layout import Layout
from .platform import Platform

KERNEL = "-kernel"
INITRD = "-initrd"
APPEND = "-append"

# Low memory that every protocol uses the same way. Page 0 holds the interrupt table and the BIOS data area.
GDT_ADDR = 0x6000
INFO_ADDR = 0x7000  # boot_params, Multiboot information, hvm_start_info
PAGE_TABLES_ADDR = 0x8000  # six pages
CMDLINE_ADDR = 0x20000
CMDLINE_ROOM = 0x10000


Contents = bytes | memoryview  # a view of an image spares a copy of it


class BootPlan(NamedTuple):
    """A guest ready to be put into memory, at every reset anew."""

    name: str  # the protocol
    start: Callable[[Any], None]  # sets the CPU's registers
    writes: list[tuple[int, Contents]]  # where, what
    zeros: Sequence[tuple[int, int]] = ()  # start, size


class BootRequest(NamedTuple):
    """What the user gave, and the machine it is for."""

    kernel_name: str
    kernel: bytes
    initrd_name: str | None
    cmdline: bytes
    platform: Platform
    layout: Layout
    memory_map: list[E820Entry]
    rsdp: int  # 0: no ACPI

    @property
    def image_limit(self) -> int:
        """No file larger than the RAM it has to go to can be of use."""
        return max(self.platform.low_ram, 1 << 20)
