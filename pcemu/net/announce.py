"""Announcements: frames by which the switches of a network learn where a guest's cards are now."""

from __future__ import annotations

from struct import pack
from typing import Any

BROADCAST = b"\xff" * 6
RARP, REVERSE_REQUEST = 0x8035, 3
ETHERNET, IPV4 = 1, 0x0800
SHORTEST = 60  # bytes of a frame, without FCS

INITIAL, LONGEST, ROUNDS, STEP = 50, 550, 5, 100  # milliseconds, but for the rounds


def frame(mac: bytes) -> bytes:
    """A reverse ARP request (RFC 903) of a card for itself: it names no IP address and is for everybody."""
    arp = pack(">HHBBH", ETHERNET, IPV4, 6, 4, REVERSE_REQUEST) + 2 * (mac + bytes(4))
    return (BROADCAST + mac + pack(">H", RARP) + arp).ljust(SHORTEST, b"\0")


class Announcement:
    """Announces the machine's cards `rounds` times, the first time at once; waits grow by `step` up to `longest`.

    Guests whose driver can do it are asked to announce themselves, which tells their IP addresses too.
    """

    def __init__(self, machine: Any, interfaces: list[str] | None = None, ident: str = "", *, initial: int = INITIAL,
                 longest: int = LONGEST, rounds: int = ROUNDS, step: int = STEP) -> None:  # fmt: skip
        self.machine = machine
        self.interfaces = interfaces  # ids of cards; None: all of them
        self.initial, self.longest, self.step = initial, longest, step
        self.rounds = rounds
        self.done = 0
        self._timer: Any = None
        running: dict[str, Announcement] = machine.announcements
        older = running.pop(ident, None)
        if older is not None:
            older.cancel()
        running[ident] = self
        self._ident = ident
        self._next()

    def delay(self) -> int:
        """Milliseconds to the next round."""
        return min(self.initial + max(self.done - 1, 0) * self.step, self.longest)

    def _next(self) -> None:
        self._timer = None
        if self.done < self.rounds:
            self.announce()
            self.done += 1
        if self.done < self.rounds:
            self._timer = self.machine.loop.call_later(self.delay() / 1000, self._next)
        elif self.machine.announcements.get(self._ident) is self:
            del self.machine.announcements[self._ident]

    def announce(self) -> None:
        for device in list(self.machine.devices):
            if not hasattr(device, "announce") or not device.pairs:
                continue
            client = device.pairs[0].client
            if self.interfaces is None or client.name in self.interfaces:
                client.send(frame(device.current_mac))
                device.announce()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
