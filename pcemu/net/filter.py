"""Filters: objects on a -netdev that see, keep, change or drop what passes.

    -object filter-TYPE,id=ID,netdev=ID[,queue=all|rx|tx][,status=on|off][,position=head|tail|id=ID[,insert=behind|before]]

`queue` is seen from the back end: `rx` are frames on the way to it (sent by the guest), `tx` those that it sent.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pcemu.qom import Property
from pcemu.qom.errors import PcemuError
from pcemu.qom.object import UserObject

from . import Frame, NetClient, Offload


class NetFilter(UserObject):
    """Base of the filters; `seen()` is theirs to write."""

    late: ClassVar[bool] = True
    required: ClassVar[tuple[str, ...]] = ("netdev",)

    position = Property(str, default="tail", help="head, tail or id=ID: where among the filters of this -netdev")
    status = Property(bool, default=True, help="off: everything passes unseen")
    insert = Property("enum", choices=("behind", "before"), default="behind", help="on which side of position=id=ID")
    netdev: Any = Property("netdev", help="the -netdev whose traffic it sees")
    queue = Property("enum", choices=("all", "rx", "tx"), default="all", help="rx: from the guest; tx: to the guest")

    def complete(self) -> None:
        self.prepare()
        filters = self.netdev.filters
        place = self.position
        if place == "head":
            index = 0
        elif place == "tail":
            index = len(filters)
        elif place.startswith("id="):
            other = self.machine.objects.get(place[3:])
            if other not in filters:
                raise PcemuError(f"filter '{place[3:]}' not found on netdev '{self.netdev.name}'")
            index = filters.index(other) + (self.insert == "behind")
        else:
            raise PcemuError("position must be 'head', 'tail' or 'id=ID'")
        filters.insert(index, self)

    def prepare(self) -> None:
        """For subclasses: properties are set; open files here."""

    def seen(self, sender: NetClient, frame: Frame, offload: Offload | None) -> bool:
        """True: it may pass. False: it is dropped, or kept (as a copy) until `release()`."""
        return True

    def release(self, sender: NetClient, frame: Frame, offload: Offload | None) -> None:
        """Let a frame go that `seen()` kept: the filters behind this one see it, then the receiver gets it."""
        peer = sender.peer
        if peer is None or sender.link_down or peer.link_down:
            return
        if run_filters(sender, peer, frame, offload, behind=self):
            sender.deliver_later(frame, offload)

    def close(self) -> None:
        if self in self.netdev.filters:
            self.netdev.filters.remove(self)


def run_filters(sender: NetClient, receiver: NetClient, frame: Frame, offload: Offload | None,
                behind: NetFilter | None = None) -> bool:  # fmt: skip
    """Show a frame to the filters on its way (of the sender, then of the receiver); False when one took it.

    Filters see what leaves a back end in their order, and what arrives at it in the reverse.
    """
    way = [f for f in sender.filters if f.queue != "rx"] + [f for f in reversed(receiver.filters) if f.queue != "tx"]
    if behind is not None:
        way = way[way.index(behind) + 1 :] if behind in way else []
    return all(not f.status or f.seen(sender, frame, offload) for f in way)
