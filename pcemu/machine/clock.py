"""A machine's virtual clock: the core's Clock with a heap of timers on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pcemu.qom.timer import NEVER, Timer, TimerHeap

__all__ = ["NEVER", "MachineClock", "Timer"]


class MachineClock:
    """``now()`` and ``timer()`` are what devices use; the rest is for the machine's loop."""

    def __init__(self, core: Any) -> None:
        self.core = core
        self.heap = TimerHeap(core)
        self.now: Callable[[], int] = core.now  # virtual ns, exact inside a device callback
        core.deadline = NEVER

    def timer(self, callback: Callable[[], None]) -> Timer:
        """A one-shot timer, not armed yet."""
        return Timer(self.heap, callback)

    def next_deadline(self) -> int:
        return self.heap.next_deadline()

    def sync(self) -> int:
        return self.heap.sync()

    def run_due(self) -> int:
        return self.heap.run_due()

    def stop(self) -> None:
        self.core.stop()

    def start(self) -> None:
        self.core.start()

    def advance_to(self, ns: int) -> None:
        """Jump forward, to a deadline at most: nothing is skipped."""
        self.core.advance_to(ns)

    def hold_back(self, ns: int) -> None:
        """Take `ns` of host time out of virtual time: the guest does not see that it passed."""
        self.core.hold_back(ns)
