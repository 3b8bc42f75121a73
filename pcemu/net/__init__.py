"""Networks: clients that hand Ethernet frames to each other, two by two.

A *client* is one end of a cable. A network card makes one for each of its queue pairs, `-netdev` makes the other end;
`connect()` joins them. A frame is sent by calling `send()` of one's own client, which ends in `receive()` of the peer.

    class Nic(NetClient):                          # a network card's end
        def receive(self, frame, offload=None):    # from the peer: True when taken (or of no use), False when full
        def on_room(self):                         # send() said False before: try again
        def link_changed(self):                    # set_link: self.link_up is news

    nic = Nic(machine, "net0", "virtio-net-pci", mac=b"...")
    connect(nic, self.netdev)                      # self.netdev: Property("netdev")
    nic.takes = TSO4 | TSO6 | CSUM                 # as soon as its driver has said so
    nic.send(frame, offload)                       # False: keep the frame, and wait for on_room()
    nic.flush_queued()                             # receive() said False before: there is room now

The rules:

- Everything happens in the machine's thread. `receive()` of a client never runs inside that client's own `send()`: an
  answer that comes at once is held back until right after the current instruction.
- A frame may be a view of memory that changes after the call: who keeps it copies it.
- What a frame still lacks is said by an `Offload`, the header of virtio-net (virtio 1.2, 5.1.6): a checksum to fill
  in, a TCP segment to cut up. `takes` says what of that `receive()` accepts; the rest is done in software on the way
  (`pcemu.net.offload`), so that any two clients fit. A card offers its guest what `peer.takes` says when the driver asks
  (not earlier: on a hub it depends on who else is there), and the card's own `takes` is what the driver accepted.
- A guest that is stopped gets no frames: `send()` to a card is False until it goes on.
- Frames have no FCS and are not padded. The longest is `MAX_FRAME`; longer ones are dropped.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from pcemu.qom.errors import PcemuError
from pcemu.qom.property import format_mac

if TYPE_CHECKING:
    from .filter import NetFilter

Frame = bytes | bytearray | memoryview

MAX_FRAME = 65536 + 64  # the longest GSO frame (64 KiB of IP) with its Ethernet header and VLAN tags

# What receive() can take unfinished (bits of `takes`).
CSUM = 1  # a checksum that is to be filled in (and TCP or UDP frames whose checksum nobody looked at)
TSO4 = 2  # TCP over IPv4 longer than the MTU
TSO6 = 4  # TCP over IPv6
ECN = 8  # ... with the CWR bit of ECN set
UFO = 16  # UDP to be fragmented
UNKNOWN = 1 << 30  # nobody takes segments of a kind that is not defined

# Offload.flags and .gso_type.
NEEDS_CSUM = 1
DATA_VALID = 2
GSO_NONE = 0
GSO_TCPV4 = 1
GSO_UDP = 3
GSO_TCPV6 = 4
GSO_ECN = 0x80

_OFFLOAD = Struct("<BBHHHH")
OFFLOAD_SIZE = 10


class NetError(PcemuError):
    """A network back end that cannot be made as asked; the text is fit for the user."""


class Offload(NamedTuple):
    """What is left to do for a frame: `struct virtio_net_hdr`, without num_buffers."""

    flags: int = 0  # NEEDS_CSUM: fill in the checksum; DATA_VALID: it was checked
    gso_type: int = GSO_NONE
    hdr_len: int = 0  # a hint: bytes of Ethernet, IP and TCP headers
    gso_size: int = 0  # bytes of payload in each segment
    csum_start: int = 0  # the sum goes from here to the end ...
    csum_offset: int = 0  # ... and this far behind csum_start

    def pack(self) -> bytes:
        """Ten bytes, little-endian."""
        return _OFFLOAD.pack(*self)

    @classmethod
    def unpack(cls, data: Frame, offset: int = 0) -> Offload:
        return cls(*_OFFLOAD.unpack_from(data, offset))

    def needs(self) -> int:
        """The bits of `takes` a receiver must have."""
        bits = CSUM if self.flags & NEEDS_CSUM else 0
        if self.gso_type:
            bits |= _GSO_BITS.get(self.gso_type & ~GSO_ECN, UNKNOWN)
            if self.gso_type & GSO_ECN:
                bits |= ECN
        return bits


_GSO_BITS = {GSO_TCPV4: TSO4, GSO_TCPV6: TSO6, GSO_UDP: UFO}


class NetClient:
    """One end of a cable. By itself it swallows every frame."""

    kind: str = ""  # "nic", or the type of -netdev
    takes: int = 0  # what receive() accepts unfinished: CSUM | TSO4 ...

    def __init__(self, machine: Any, name: str, model: str = "", mac: bytes = b"") -> None:
        """`name` is the user's id for it; `model` and `mac` (six bytes) are those of a card."""
        self.machine = machine
        self.name = name
        self.model = model or self.kind
        self.mac = mac
        self.peer: NetClient | None = None
        self.link_down = False
        self.queues: list[NetClient] = [self]  # of a -netdev with several queue pairs: all of them; its own first
        self.filters: list[NetFilter] = []
        self.lost = 0  # frames that could not be sent: no peer, link down, malformed
        self._waiting: deque[tuple[Frame, Offload | None]] = deque()  # accepted, not yet taken by the peer
        self._sending = False
        self._room_timer: Any = None
        machine.net_clients.append(self)

    # -- for subclasses -------------------------------------------------------------------------------------

    def receive(self, frame: Frame, offload: Offload | None = None) -> bool:
        """A frame from the peer. False: no room, it will be offered again after `flush_queued()`."""
        return True

    def on_room(self) -> None:
        """`send()` said False before; there may be room now."""

    def link_changed(self) -> None:
        """The link went up or down."""

    def describe(self) -> str:
        """What `info network` shows behind the type."""
        return ""

    # -- services -------------------------------------------------------------------------------------------

    @property
    def link_up(self) -> bool:
        """Is there a cable, and is it plugged in at both ends?"""
        return not self.link_down

    def send(self, frame: Frame, offload: Offload | None = None) -> bool:
        """Hand a frame to the peer. False: the peer is full, keep the frame until `on_room()`."""
        peer = self.peer
        if peer is None or self.link_down or peer.link_down or len(frame) > MAX_FRAME:
            self.lost += 1
            return True
        if self._waiting and not self._flush():
            return False
        if peer.kind == "nic" and not self.machine.guest_runs:
            return False  # Machine.cont() tells
        if peer._sending:
            # The peer is in the middle of a send(): it gets the answer when it is out of it.
            self._try_later()
            return False
        if self.filters or peer.filters:
            from .filter import run_filters

            if not run_filters(self, peer, frame, offload):
                return True
        return self.deliver(frame, offload)

    def deliver(self, frame: Frame, offload: Offload | None = None) -> bool:
        """`send()` behind the filters."""
        peer = self.peer
        if peer is None:
            return True
        if offload is not None and offload.needs() & ~peer.takes:
            from .offload import finish

            frames = finish(frame, offload, peer.takes)
            if not frames:
                self.lost += 1
                return True
            for index, (part, left) in enumerate(frames):
                if not self._hand_over(part, left):
                    if index == 0:
                        return False
                    self._waiting.extend(frames[index:])
                    break
            return True
        return self._hand_over(frame, offload)

    def deliver_later(self, frame: Frame, offload: Offload | None = None) -> None:
        """A filter lets go of a frame it kept: deliver it when the peer has room."""
        if self._waiting or (self.peer is not None and self.peer._sending) or not self.deliver(frame, offload):
            self._waiting.append((frame, offload))
            self._try_later()

    def _hand_over(self, frame: Frame, offload: Offload | None) -> bool:
        peer = self.peer
        assert peer is not None
        outer, self._sending = self._sending, True
        try:
            return peer.receive(frame, offload)
        finally:
            self._sending = outer

    def _flush(self) -> bool:
        """Hand over what waits; True when nothing waits any more."""
        waiting = self._waiting
        while waiting:
            if self.peer is None or self.peer._sending or not self.deliver(*waiting[0]):
                return self.peer is None
            waiting.popleft()
        return True

    def flush_queued(self) -> None:
        """`receive()` said False before, and there is room now: let the peer go on, after the current instruction."""
        if self.peer is not None:
            self.peer._try_later()

    def _try_later(self) -> None:
        """Go on with sending right after the current instruction."""
        if self._room_timer is None:
            self._room_timer = self.machine.clock.timer(self._room)
        if not self._room_timer.pending:
            self._room_timer.arm(0)

    def _room(self) -> None:
        if self._flush():
            self.on_room()

    def set_link(self, up: bool) -> None:
        """Plug the cable in or pull it (`set_link`); a network card at the other end sees it too."""
        for client in self.queues:
            client.link_down = not up
            if client.peer is not None and client.peer.kind == "nic":
                client.peer.link_down = not up
        self.link_changed()
        if self.peer is not None:
            self.peer.link_changed()

    def disconnect(self) -> None:
        """Pull the cable for good; the peer lives on."""
        peer, self.peer = self.peer, None
        self._waiting.clear()
        if peer is not None:
            peer.peer = None
            peer._waiting.clear()
            peer.peer_gone()

    def peer_came(self) -> None:
        """connect() was called."""

    def peer_gone(self) -> None:
        """The other end was closed."""

    def close(self) -> None:
        """Give everything back. Idempotent."""
        self.disconnect()
        if self._room_timer is not None:
            self._room_timer.cancel()
        if self in self.machine.net_clients:
            self.machine.net_clients.remove(self)


class NicClient(NetClient):
    """Base for the ends that network cards make."""

    kind = "nic"

    def describe(self) -> str:
        return f"model={self.model},macaddr={format_mac(self.mac)}"


def connect(nic: NetClient, other: NetClient) -> None:
    """Put a cable between a card and a back end; raises NetError when one of them has a peer already."""
    for client in (other, nic):
        if client.peer is not None:
            raise NetError(f"network client '{client.name}' is in use")
    nic.peer, other.peer = other, nic
    other.peer_came()
    nic.peer_came()


def default_mac(machine: Any) -> bytes:
    """The next of QEMU's default addresses: 52:54:00:12:34:56 and up."""
    used = {client.mac for client in machine.net_clients if client.mac}
    for last in range(0x56, 0x100):
        mac = bytes((0x52, 0x54, 0x00, 0x12, 0x34, last))
        if mac not in used:
            return mac
    raise NetError("no default MAC address is left: give mac=")
