"""A port that ends the machine, for test kernels: writing v ends pcemu with status (v << 1) | 1."""

from __future__ import annotations

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import PortWindow, Property


class IsaDebugExit(IsaDevice):
    """Debug exit port. The status is odd, so that it is never taken for an ordinary end."""

    type_name = "isa-debug-exit"
    category = "misc"

    iobase = Property("u32", default=0x501, fmt="hex", help="first I/O port")
    iosize = Property("u32", default=2, help="number of ports")

    ports = PortWindow("iobase", size="iosize", read="io_read", write="io_write", access=(1, 4))

    def io_read(self, offset: int, size: int) -> int:
        return 0

    def io_write(self, offset: int, value: int, size: int) -> None:
        # A process's status is a byte; the shift drops bit 7 of the value just as exit() does.
        self.machine.request_shutdown("isa-debug-exit", (value << 1 | 1) & 0xFF)
