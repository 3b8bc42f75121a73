"""How long another Python thread of the process may keep a device waiting.

A device needs Python's lock (GIL) for each access. A thread that computes in Python gives it up when it is asked to, and that is
after the interpreter's *switch interval*: 5 ms unless somebody sets it, and meanwhile the guest stands still. While a
machine runs the interval is shorter. It costs nothing as long as no thread waits.
"""

from __future__ import annotations

import sys
import threading

INTERVAL = 10e-6  # seconds


class Turns:
    """`with TURNS:` around the running of a machine; several machines may run, each in its thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._before = 0.0

    def __enter__(self) -> None:
        with self._lock:
            self._running += 1
            if self._running == 1:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before, INTERVAL))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                sys.setswitchinterval(self._before)


TURNS = Turns()
