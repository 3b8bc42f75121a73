"""The Bochs-style debug console: bytes written to one port are printed (port 0xe9; SeaBIOS uses 0x402)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import PortWindow, Property

if TYPE_CHECKING:
    from pcemu.chardev import Chardev


class IsaDebugcon(IsaDevice):
    """Debug console port. Reads give `readback`, by which a guest knows the port is there."""

    type_name = "isa-debugcon"
    category = "misc"

    iobase = Property("u32", default=0xE9, fmt="hex", help="the I/O port")
    chardev = Property("chardev", help="ID of a chardev to use as a backend")
    readback = Property("u32", default=0xE9, help="what reading the port gives")

    # A stated priority: the port may lie inside another device's range (pc-testdev's 0xe8-0xeb).
    ports = PortWindow("iobase", size=1, read="io_read", write="io_write", access=(1, 1), priority=0)

    trace_events = ("debugcon_write",)

    _chr: Chardev | None = None

    def realize(self) -> None:
        backend: Any = self.chardev
        if backend is None:
            raise self.fail("a chardev is needed (chardev=ID)")
        self._chr = backend.attach(self.path())

    def unplug(self) -> None:
        if self._chr is not None:
            self._chr.detach()
        super().unplug()

    def io_read(self, offset: int, size: int) -> int:
        return self.readback

    def io_write(self, offset: int, value: int, size: int) -> None:
        if self.tracing:
            self.trace("debugcon_write", value=value)
        assert self._chr is not None
        self._chr.write_byte(value)
