"""A stand-in for the machine, as far as character devices and monitors need one."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pcemu.machine.fds import Descriptors

PATIENCE = 120.0            # seconds until() waits: only there to end a test that hangs


class StoppedClock:
    ns = 0

    def now(self) -> int:
        return self.ns


class LoopHost:
    """An event loop that a test turns by hand, and the table of chardevs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = StoppedClock()
        self.chardevs: dict[str, Any] = {}
        self.monitors: list[Any] = []
        self.listeners: list[Any] = []
        self.fds = Descriptors()
        self.quits: list[int] = []

    def add_reader(self, fd: int, callback: Any) -> None:
        self.loop.add_reader(fd, callback)

    def remove_reader(self, fd: int) -> None:
        self.loop.remove_reader(fd)

    def quit(self, status: int = 0) -> None:
        self.quits.append(status)

    def turn(self, times: int = 3) -> None:
        """What happens between slices."""
        for _ in range(times):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def until(self, condition: Any) -> None:
        """Turn the loop until something has happened on the other side of a pipe or socket."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("nothing happened")
            self.loop.call_later(0.005, self.loop.stop)
            self.loop.run_forever()

    def close(self) -> None:
        for device in reversed(list(self.chardevs.values())):
            device.close()
        self.fds.close()
        self.loop.close()
