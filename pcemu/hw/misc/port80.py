"""Port 0x80: where a BIOS puts its progress (POST) codes, and where kernels write to lose a microsecond.

The port belongs to the DMA page registers' range, and no channel uses it; a POST card in a slot latches what is
written there and shows it. Reads find nothing on the bus and give all ones. (Port 0xed, the other delay port of
Linux, has nothing behind it at all: writes are lost, reads give all ones, as everywhere on the bus.)
"""

from __future__ import annotations

from typing import Any

from pcemu.qom import Device, PortWindow, State


class Port80(Device):
    """POST code display: keeps the last code."""

    type_name = "ioport80"
    desc = "POST code latch"
    user_creatable = False
    trace_events = ("port80_write",)

    code = State("u8", help="the last code written")

    port = PortWindow(0x80, 1, None, "io_write", access=(1, 1), name="ioport80")

    def __init__(self, machine: Any, bus: object = None, id: str | None = None, **props: Any) -> None:
        # It listens on whatever bus there is, and `info qtree` does not show it, as QEMU's does not.
        super().__init__(machine, None, id, **props)

    def io_write(self, offset: int, value: int, size: int) -> None:
        self.code = value
        if self.tracing:
            self.trace("port80_write", value=value)
