"""The event loop of a machine: an asyncio loop whose selector runs the CPU before it looks at the host.

Every turn of an asyncio loop asks its selector which files are ready. Ours first lets the machine run a slice.
If the guest had something to do, the files are only polled; if it is halted, the selector sleeps until a file is
ready, a call of the loop is due, or the guest's next timer. So whatever runs in the loop (a socket's reader, a
monitor, a call_later) may touch devices, and the CPU sees the effect in the same turn, with nobody having to wake it.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Mapping
from time import monotonic_ns
from typing import Any, Protocol

LINGER = 20e-6          # seconds that a monitor's client has for its next request, before the guest goes on
MOST_NS = 500_000       # ... as long as the guest has not stood still for longer than this


class Runner(Protocol):
    """What the selector needs of the machine."""

    def run_slice(self) -> bool:
        """Run guest code for a moment; False when there was nothing to run."""

    def idle_seconds(self) -> float | None:
        """How long a halted machine may sleep (None: until something happens)."""

    def woke_up(self) -> None:
        """The host may have slept since: bring virtual time up."""


class MachineSelector(selectors.BaseSelector):
    """Files of the host, and the guest between looking at them."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._inner = selectors.DefaultSelector()
        # An epoll descriptor can itself be waited for, with finer timeouts than epoll's milliseconds.
        fileno = getattr(self._inner, "fileno", None)
        self._fd: int = fileno() if fileno is not None else -1
        self.active = False  # inside Machine.run()
        self.lingers = False  # a monitor has answered since the guest ran
        self._busy = False  # the last slice did not end because the guest had nothing to do
        self._slice_end = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not self.active:
            return self._inner.select(timeout)
        if self.lingers and (events := self._linger()):
            return events
        self._busy = self._runner.run_slice()
        if self._busy:
            self._slice_end = monotonic_ns()
            return self._inner.select(0)
        idle = self._runner.idle_seconds()
        if timeout is None or (idle is not None and idle < timeout):
            timeout = idle
        if timeout is None or timeout > 0:
            if self._fd >= 0 and self._fd < 1024 and timeout is not None:
                select.select((self._fd,), (), (), timeout)
                timeout = 0
            events = self._inner.select(timeout)
            self._runner.woke_up()
            return events
        return self._inner.select(0)

    def _linger(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Sleep for a moment. A client on our processor reads its answer now, and not when the host's scheduler thinks that we
        have computed for long enough (4 to 8 ms); and a client that asks one thing after another has the next answer at once."""
        self.lingers = False
        if not self._busy or not 0 <= self._fd < 1024 or monotonic_ns() - self._slice_end > MOST_NS:
            return []
        if not select.select((self._fd,), (), (), LINGER)[0]:
            return []
        return self._inner.select(0)

    # -- everything else is the ordinary selector's -------------------------------------------------------------

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class MachineLoop(asyncio.SelectorEventLoop):
    """A private loop; `run_active()` runs it with the guest, also where another loop runs already (Jupyter)."""

    def __init__(self, runner: Runner) -> None:
        self.machine_selector = MachineSelector(runner)
        super().__init__(self.machine_selector)

    def answered(self) -> None:
        """A monitor has given its client something to read."""
        self.machine_selector.lingers = True

    def run_active(self) -> None:
        """Run until stop()."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        self.machine_selector.active = True
        try:
            self.run_forever()
        finally:
            self.machine_selector.active = False
            asyncio._set_running_loop(outer)
