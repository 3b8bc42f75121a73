"""pvpanic: a port by which a guest says that it has crashed (QEMU's docs/specs/pvpanic).

A read tells which events are known, a write which one happened: bit 0 a panic, bit 1 that a crash kernel was loaded and
goes on. What a panic does is -action panic's to say.
"""

from __future__ import annotations

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import PortWindow, Property

PANICKED, CRASH_LOADED = 1, 2


class PvPanic(IsaDevice):
    """Paravirtual panic notifier."""

    type_name = "pvpanic"
    category = "misc"

    ioport = Property("u16", default=0x505, fmt="hex", help="I/O port")
    events = Property("u8", default=PANICKED | CRASH_LOADED, help="events the guest may report: 1 panic, 2 crash kernel loaded")

    port = PortWindow("ioport", 1, "io_read", "io_write", access=(1, 1), name="pvpanic")

    def io_read(self, offset: int, size: int) -> int:
        events: int = self.events
        return events

    def io_write(self, offset: int, value: int, size: int) -> None:
        if value & ~(PANICKED | CRASH_LOADED):
            self.log_guest_error("unknown event %#x", value)
        if value & PANICKED & self.events:
            self.machine.guest_panicked()
        elif value & CRASH_LOADED & self.events:
            self.machine.guest_crash_loaded()
