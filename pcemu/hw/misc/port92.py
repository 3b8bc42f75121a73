"""Port 0x92: fast A20 gate and fast reset (system control port A of the PS/2, kept by every PC since).

Register description: Intel 82371SB (PIIX3) datasheet, section 2.4.3 (PORT92).
"""

from __future__ import annotations

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import IrqOut, PortWindow, State

INIT = 0x01
A20 = 0x02


class Port92(IsaDevice):
    """System control port A: bit 0 resets the processor when it goes from 0 to 1, bit 1 is the A20 gate."""

    type_name = "port92"
    desc = "fast A20 gate and reset"
    user_creatable = False
    trace_events = ("port92_read", "port92_write")

    outport = State("u8", help="what was written last")

    a20 = IrqOut(name="a20")
    port = PortWindow(0x92, 1, "io_read", "io_write", access=(1, 1), name="port92")

    def io_read(self, offset: int, size: int) -> int:
        if self.tracing:
            self.trace("port92_read", value=self.outport)
        return self.outport

    def io_write(self, offset: int, value: int, size: int) -> None:
        if self.tracing:
            self.trace("port92_write", value=value)
        old, self.outport = self.outport, value
        self.a20.set(value & A20)
        if value & ~old & INIT:
            self.machine.request_reset("guest-reset")
