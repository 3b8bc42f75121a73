"""-object filter-impair: a bad line. Frames are dropped, doubled, delayed and overtake each other, by chance.

QEMU has nothing like it; it is here to try networks and guests' drivers on. The chances come from `seed`, so that a run
with instruction-count time repeats.
"""

from __future__ import annotations

from random import Random
from typing import Any

from pcemu.qom import Property
from pcemu.qom.errors import PcemuError

from . import Frame, NetClient, Offload
from .filter import NetFilter

MOST_KEPT = 4096  # frames; beyond it they are dropped


class FilterImpair(NetFilter):
    """Per cent may have a fraction: drop=0.5."""

    type_name = "filter-impair"

    drop = Property(str, default="0", help="per cent of the frames that are lost")
    duplicate = Property(str, default="0", help="per cent of the frames that come twice")
    reorder = Property(str, default="0", help="per cent of the frames that are held back until `gap` later ones have passed")
    gap = Property("u32", default=3, min=1, max=1000, help="how many frames overtake one that is held back")
    delay = Property("u32", default=0, help="how long every frame is on its way, in microseconds")
    jitter = Property("u32", default=0, help="up to this much more, in microseconds")
    seed = Property("u64", default=1, help="of the chances")

    def prepare(self) -> None:
        self._chances = [self._percent("drop"), self._percent("duplicate"), self._percent("reorder")]
        self._random = Random(self.seed)
        self._late: list[tuple[int, NetClient, Frame, Offload | None]] = []  # by time, for frames with a delay
        self._held: list[list[Any]] = []  # [frames still to pass, sender, frame, offload]
        self._timer = self.machine.clock.timer(self._due)
        self.dropped = 0

    def _percent(self, name: str) -> float:
        text = getattr(self, name)
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 100:
            raise PcemuError(f"filter-impair.{name}: '{text}' is not a number from 0 to 100")
        return value / 100

    def seen(self, sender: NetClient, frame: Frame, offload: Offload | None) -> bool:
        drop, duplicate, reorder = self._chances
        chance = self._random.random
        if drop and chance() < drop:
            self.dropped += 1
            return False
        twice = bool(duplicate) and chance() < duplicate
        if reorder and chance() < reorder and len(self._held) < MOST_KEPT:
            self._held.append([self.gap, sender, bytes(frame), offload])
            if not self._timer.pending:
                self._timer.arm_in(1_000_000)  # the last frame of a burst has nobody to overtake it
            if not twice:
                return False
        self._overtaken()
        if not self.delay and not self.jitter:
            if twice:
                self.release(sender, bytes(frame), offload)
            return True
        for _ in range(1 + twice):
            if len(self._late) >= MOST_KEPT:
                self.dropped += 1
                break
            wait = self.delay + (self._random.randrange(self.jitter + 1) if self.jitter else 0)
            at = self.machine.clock.now() + wait * 1000
            index = len(self._late)
            while index and self._late[index - 1][0] > at:
                index -= 1
            self._late.insert(index, (at, sender, bytes(frame), offload))
        if self._late:
            self._timer.arm(self._late[0][0])
        return False

    def _overtaken(self) -> None:
        """A frame passes: those that waited for the last one may go."""
        if not self._held:
            return
        for entry in self._held:
            entry[0] -= 1
        ready = [entry for entry in self._held if entry[0] <= 0]
        self._held = [entry for entry in self._held if entry[0] > 0]
        for entry in ready:
            self.release(*entry[1:])

    def _due(self) -> None:
        now = self.machine.clock.now()
        while self._late and self._late[0][0] <= now:
            _, sender, frame, offload = self._late.pop(0)
            self.release(sender, frame, offload)
        held, self._held = self._held, []
        for entry in held:
            self.release(*entry[1:])
        if self._late:
            self._timer.arm(self._late[0][0])

    def close(self) -> None:
        super().close()
        self._timer.cancel()
        self._late.clear()
        self._held.clear()
