"""-icount auto: the time an instruction takes is adapted, so that the guest's clock keeps pace with the host's."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any

MAX_SHIFT = 10
PERIOD_NS = 100_000_000
SLACK_NS = 10_000_000  # apart by less, the clocks are left alone


class AutoShift:
    """Compares the two clocks every PERIOD_NS of host time, and changes the shift by one where they go further apart."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock  # the core's
        self._origin = 0  # host time at which virtual time was 0, had both always gone alike
        self._ahead = 0
        self._next = 0

    def start(self) -> None:
        """The machine runs (again): from now on both clocks should."""
        now = monotonic_ns()
        self._origin = now - self.clock.now()
        self._ahead = 0
        self._next = now + PERIOD_NS

    def look(self) -> None:
        """Between two slices of the guest."""
        host = monotonic_ns()
        if host < self._next:
            return
        self._next = host + PERIOD_NS
        ahead = self.clock.now() - (host - self._origin)
        before, self._ahead = self._ahead, ahead
        shift = self.clock.shift
        if ahead > SLACK_NS and ahead >= before and shift > 0:
            self.clock.shift = shift - 1
        elif ahead < -SLACK_NS and ahead <= before and shift < MAX_SHIFT:
            self.clock.shift = shift + 1
