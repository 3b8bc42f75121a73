"""The watchdog of the iBASE IB700 single-board computer (its user's manual, appendix on the watchdog timer).

Two ports: a write to 0x443 starts the timer with (15 - value) * 2 seconds, and again with every write; a write to
0x441 stops it. When it runs out, -watchdog-action says what happens.
"""

from __future__ import annotations

from typing import Any

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import PortWindow, State

STOP, START = 0x441, 0x443
SECOND = 1_000_000_000


class Ib700(IsaDevice):
    """iBASE 700 watchdog."""

    type_name = "ib700"
    category = "watchdog"
    desc = "iBASE 700 watchdog timer"
    trace_events = ("ib700_start", "ib700_expired")

    expires_at = State("any", reset=None, help="when it runs out, in ns of the machine's clock")

    stop_port = PortWindow(STOP, 1, "io_read", "stop_write", access=(1, 1), name="wdt")
    start_port = PortWindow(START, 1, "io_read", "start_write", access=(1, 1), name="wdt")

    def realize(self) -> None:
        self._timer = self.machine.clock.timer(self._expired)

    def reset(self) -> None:
        super().reset()
        self._timer.cancel()

    def unplug(self) -> None:
        self._timer.cancel()
        super().unplug()

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        if self.expires_at is not None:
            self._timer.arm(self.expires_at)

    def io_read(self, offset: int, size: int) -> int:
        return 0xFF     # both ports are for writing

    def start_write(self, offset: int, value: int, size: int) -> None:
        seconds = (15 - (value & 15)) * 2
        if self.tracing:
            self.trace("ib700_start", seconds=seconds)
        self.expires_at = self.machine.clock.now() + seconds * SECOND
        self._timer.arm(self.expires_at)

    def stop_write(self, offset: int, value: int, size: int) -> None:
        self.expires_at = None
        self._timer.cancel()

    def _expired(self) -> None:
        if self.tracing:
            self.trace("ib700_expired")
        self.expires_at = None
        self.machine.watchdog_expired()
