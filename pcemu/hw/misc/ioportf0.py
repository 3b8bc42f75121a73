"""Port 0xF0: the numeric coprocessor's interrupt, as the PC/AT wires it.

With CR0.NE clear the processor reports an unmasked x87 exception on its FERR# pin (SDM vol. 3, 18.23.6.1). The board
latches the pin into IRQ 13; a write to port 0xF0 takes the request back, and asserts IGNNE# until the processor's
error is cleared, so that the handler can look at the FPU.
"""

from __future__ import annotations

from typing import Any

from pcemu.qom import Device, IrqIn, IrqOut, PortWindow, State


class FerrLatch(Device):
    """FERR# latch of the PC/AT (IRQ 13)."""

    type_name = "ioportF0"
    desc = "coprocessor error latch"
    user_creatable = False

    ignne = State("bool", help="IGNNE#: x87 errors are ignored until they are cleared")

    ferr = IrqIn(1, "on_ferr")
    irq = IrqOut()
    port = PortWindow(0xF0, 1, None, "io_write", access=(1, 1), name="ioportF0")

    def __init__(self, machine: Any, bus: object = None, id: str | None = None, **props: Any) -> None:
        super().__init__(machine, None, id, **props)

    def on_ferr(self, pin: int, level: int) -> None:
        if not level:
            self.ignne = False
        elif not self.ignne:
            self.irq.set(1)

    def io_write(self, offset: int, value: int, size: int) -> None:
        self.irq.set(0)
        self.ignne = True
