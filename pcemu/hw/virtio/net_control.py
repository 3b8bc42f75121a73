"""What a virtio-net driver sets through the control queue: receive filters, offloads, queue pairs (virtio 1.2, 5.1.6.5)."""

from __future__ import annotations

from struct import unpack_from

OK, ERROR = 0, 1

# Classes and commands.
RX, MAC, VLAN, ANNOUNCE, MQ, GUEST_OFFLOADS = range(6)
MAC_TABLE_SET, MAC_ADDR_SET = 0, 1
VLAN_ADD, VLAN_DEL = 0, 1
# Commands of RX, as the attributes of ReceiveFilter they set.
RX_MODES = ("promisc", "allmulti", "alluni", "nomulti", "nouni", "nobcast")
RX_EXTRA = 2  # from this one on F_CTRL_RX_EXTRA is needed

MAC_TABLE = 64  # entries; with more of a kind, all of that kind are received
VLAN_TAG = 0x8100
BROADCAST = b"\xff" * 6


class ReceiveFilter:
    """Which frames the driver wants. Until it says so: all."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.promisc = True
        self.allmulti = self.alluni = self.nomulti = self.nouni = self.nobcast = False
        self.unicast: frozenset[bytes] = frozenset()
        self.multicast: frozenset[bytes] = frozenset()
        self.unicast_overflow = self.multicast_overflow = False
        self.vlans: set[int] | None = None  # None: any

    def wants(self, frame: bytes | bytearray | memoryview, mac: bytes) -> bool:
        if self.promisc:
            return True
        to = bytes(frame[:6])
        if self.vlans is not None and len(frame) >= 16 and frame[12] << 8 | frame[13] == VLAN_TAG \
                and (frame[14] << 8 | frame[15]) & 0xFFF not in self.vlans:  # fmt: skip
            return False
        if to[:1] and to[0] & 1:
            if to == BROADCAST:
                return not self.nobcast
            return not self.nomulti and (self.allmulti or self.multicast_overflow or to in self.multicast)
        return not self.nouni and (self.alluni or self.unicast_overflow or to == mac or to in self.unicast)

    # -- commands -----------------------------------------------------------------------------------------------

    def set_mode(self, command: int, data: bytes, extra: bool) -> int:
        if command >= len(RX_MODES) or not data or (command >= RX_EXTRA and not extra):
            return ERROR
        setattr(self, RX_MODES[command], bool(data[0]))
        return OK

    def set_table(self, data: bytes) -> int:
        """Two lists of addresses, each behind its length: unicast, multicast."""
        lists = []
        at = 0
        for _ in range(2):
            if len(data) < at + 4:
                return ERROR
            (count,) = unpack_from("<I", data, at)
            at += 4
            if len(data) < at + 6 * count:
                return ERROR
            lists.append(frozenset(data[at + 6 * i : at + 6 * i + 6] for i in range(count)))
            at += 6 * count
        if at != len(data):
            return ERROR
        self.unicast_overflow = len(lists[0]) > MAC_TABLE
        self.multicast_overflow = len(lists[1]) > MAC_TABLE
        self.unicast = frozenset() if self.unicast_overflow else lists[0]
        self.multicast = frozenset() if self.multicast_overflow else lists[1]
        return OK

    def set_vlan(self, command: int, data: bytes) -> int:
        if len(data) != 2 or self.vlans is None:
            return ERROR
        vid = data[0] | data[1] << 8
        if vid >= 4096:
            return ERROR
        if command == VLAN_ADD:
            self.vlans.add(vid)
        elif command == VLAN_DEL:
            self.vlans.discard(vid)
        else:
            return ERROR
        return OK

    def describe(self) -> dict[str, object]:
        """As query-rx-filter shows it."""
        def state(none: bool, every: bool) -> str:
            return "none" if none else "all" if every else "normal"

        return {
            "promiscuous": self.promisc, "broadcast-allowed": not self.nobcast,
            "multicast": state(self.nomulti, self.allmulti or self.multicast_overflow),
            "unicast": state(self.nouni, self.alluni or self.unicast_overflow),
            "vlan": "all" if self.vlans is None else "normal" if self.vlans else "none",
            "multicast-overflow": self.multicast_overflow, "unicast-overflow": self.unicast_overflow,
            "multicast-table": [address.hex(":") for address in sorted(self.multicast)],
            "unicast-table": [address.hex(":") for address in sorted(self.unicast)],
            "vlan-table": sorted(self.vlans or ()),
        }  # fmt: skip

    # -- state --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        return dict(vars(self))

    def load(self, values: dict[str, object]) -> None:
        vars(self).update(values)
