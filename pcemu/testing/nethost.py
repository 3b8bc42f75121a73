"""A stand-in for the machine, as far as networks need one: clock, loop and the tables of clients.

    host = NetHost()                     # the clock stands still: host.advance(ns) moves it and runs its timers
    host = NetHost(real=True)            # the clock is the host's
    host.turn()                          # what the loop has to do now, and timers that are due
    host.until(lambda: ...)              # turn, waiting for files, until something is so
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any

from pcemu.machine.clock import MachineClock
from pcemu.qom.timer import NEVER

from .fakes import FakeClock
from .loophost import PATIENCE, LoopHost


class HostClock(FakeClock):
    """Follows the host's clock."""

    def now(self) -> int:
        return time.monotonic_ns()


class NetHost(LoopHost):
    def __init__(self, real: bool = False) -> None:
        super().__init__()
        self.loop.close()
        self.selector = selectors.DefaultSelector()
        self.loop = asyncio.SelectorEventLoop(self.selector)
        self.real = real
        self.clock: Any = MachineClock(HostClock() if real else FakeClock())
        self.netdevs: dict[str, Any] = {}
        self.net_clients: list[Any] = []
        self.guest_runs = True
        self.objects: dict[str, Any] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []

    def complain(self, text: str) -> None:
        """Nobody sets what has no effect here."""

    def emit_event(self, name: str, data: dict[str, Any] | None = None) -> None:
        self.events.append((name, data or {}))

    def rtc_ns(self) -> int:
        return 1_700_000_000_000_000_000 + int(self.clock.now())

    def turn(self, times: int = 3) -> None:
        for _ in range(times):
            self.clock.run_due()
            super().turn(1)
        self.clock.run_due()

    def advance(self, ns: int) -> None:
        """Move the standing clock on; every timer sees its own time."""
        target = self.clock.now() + ns
        while (deadline := self.clock.next_deadline()) <= target:
            self.clock.core.advance_to(max(deadline, self.clock.now()))
            self.turn(1)
        self.clock.core.advance_to(target)
        self.turn(1)

    def until(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("nothing happened")
            self.clock.run_due()
            wait = 0.01
            deadline = self.clock.next_deadline()
            if self.real and deadline != NEVER:
                wait = min(wait, max(0.0, (deadline - self.clock.now()) / 1e9))
            self.selector.select(wait)
            super().turn(1)
        self.clock.run_due()

    def close(self) -> None:
        for thing in [*self.objects.values(), *list(self.net_clients)]:
            thing.close()
        super().close()
