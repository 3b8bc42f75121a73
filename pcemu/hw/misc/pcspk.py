"""Port 0x61: PC speaker, GATE and OUT of the timer's counter 2, refresh toggle.

Register description: Intel 82371SB (PIIX3) datasheet, section 2.5.3.1 (NSC, NMI status and control register).
"""

from __future__ import annotations

from typing import Any

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import PortWindow, Property, State

GATE2 = 0x01
SPEAKER = 0x02
WRITABLE = 0x0F  # with the NMI enables of SERR# (bit 2) and IOCHK# (bit 3), neither of which is ever active here
REFRESH = 0x10
OUT2 = 0x20

# The toggle changes at every refresh request: every 18 pulses of the timer's clock, 15.086 us.
REFRESH_NS = 18 * 1_000_000_000
TIMER_HZ = 1193182


class PcSpeaker(IsaDevice):
    """Port 0x61 of the PC (system control port B)."""

    type_name = "isa-pcspk"
    desc = "PC speaker"
    user_creatable = False
    trace_events = ("pcspk_io_read", "pcspk_io_write")

    audiodev = Property(str, help="where the sound goes (nowhere yet)", inert="there is no sound")
    iobase = Property("u32", default=0x61, fmt="hex", help="I/O port")
    migrate = Property(bool, default=True, help="the state is in a snapshot", inert="there are no saved states")

    control = State("u8", help="bits 0 to 3 as written")

    port = PortWindow("iobase", 1, "io_read", "io_write", access=(1, 1), name="pcspk")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.pit: Any = None  # the timer whose counter 2 it is; set by the board, else found
        super().__init__(*args, **kwargs)

    def realize(self) -> None:
        if self.pit is None:
            self.pit = self.machine.find("isa-pit")
        if self.pit is None:
            raise self.fail("there is no timer (isa-pit)")
        self._now = self.machine.clock.now

    def reset(self) -> None:
        super().reset()
        self.pit.set_gate(2, 0)

    def io_read(self, offset: int, size: int) -> int:
        value: int = self.control
        if self.pit.out(2):
            value |= OUT2
        if self._now() * TIMER_HZ // REFRESH_NS & 1:
            value |= REFRESH
        if self.tracing:
            self.trace("pcspk_io_read", value=value)
        return value

    def io_write(self, offset: int, value: int, size: int) -> None:
        if self.tracing:
            self.trace("pcspk_io_write", value=value)
        self.control = value & WRITABLE
        self.pit.set_gate(2, value & GATE2)
