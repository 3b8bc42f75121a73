"""Timers on a machine's virtual clock: a heap of deadlines in integer nanoseconds."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Protocol

NEVER = 2**63 - 1
MIN_LIMIT = 256  # entries before stale ones are looked for


class TimeSource(Protocol):
    """The part of the core's Clock that timers need."""

    deadline: int

    def now(self) -> int: ...


class Timer:
    """One-shot: `callback` runs once, in the machine's thread, when virtual time reaches the deadline."""

    __slots__ = ("_heap", "_serial", "callback", "deadline")

    def __init__(self, heap: TimerHeap, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.deadline: int | None = None
        self._heap = heap
        self._serial = 0

    def arm(self, deadline_ns: int) -> None:
        """Fire at `deadline_ns` (at once when that is past), instead of whenever it was set to before."""
        heap = self._heap
        self.deadline = deadline_ns
        heap.serial += 1
        self._serial = heap.serial
        heappush(heap.entries, (deadline_ns, heap.serial, self))
        if len(heap.entries) > heap.limit:
            heap.compact()
        # Lowering the core's deadline makes it leave after the instruction that is running. A later one is
        # found out when the earlier fires for nothing.
        source = heap.source
        if deadline_ns < source.deadline:
            source.deadline = deadline_ns

    def arm_in(self, ns: int) -> None:
        self.arm(self._heap.source.now() + ns)

    def cancel(self) -> None:
        self.deadline = None
        self._serial = 0

    @property
    def pending(self) -> bool:
        return self.deadline is not None

    def __lt__(self, other: Timer) -> bool:
        return self._serial < other._serial


class TimerHeap:
    """All timers of one machine. Timers with one deadline fire in the order they were armed."""

    def __init__(self, source: TimeSource) -> None:
        self.source = source
        self.entries: list[tuple[int, int, Timer]] = []
        self.serial = 0
        self.limit = MIN_LIMIT

    def compact(self) -> None:
        """Forget what was cancelled or moved: a guest that re-arms all day must not fill the host's memory."""
        self.entries[:] = [entry for entry in self.entries if entry[2]._serial == entry[1]]
        heapify(self.entries)
        self.limit = max(MIN_LIMIT, 2 * len(self.entries))

    def timer(self, callback: Callable[[], None]) -> Timer:
        return Timer(self, callback)

    def next_deadline(self) -> int:
        """The earliest deadline, NEVER if none; forgets cancelled and moved entries on the way."""
        entries = self.entries
        while entries and entries[0][2]._serial != entries[0][1]:
            heappop(entries)
        return entries[0][0] if entries else NEVER

    def sync(self) -> int:
        """Tell the core when to come back."""
        deadline = self.next_deadline()
        self.source.deadline = deadline
        return deadline

    def run_due(self) -> int:
        """Run what is due by now, earliest first; returns how many fired."""
        fired = 0
        now = self.source.now()
        while self.next_deadline() <= now:
            timer = heappop(self.entries)[2]
            timer.deadline = None
            timer._serial = 0
            fired += 1
            timer.callback()
        self.sync()
        return fired
