"""The guest's end of the cable, by hand: frames are made and read here, with nothing of pcemu.net.user."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pcemu.net import CSUM, NicClient, Offload, connect, options
from pcemu.testing.nethost import NetHost

MAC = b"\x52\x54\x00\x12\x34\x56"
GUEST, HOST, DNS = bytes((10, 0, 2, 15)), bytes((10, 0, 2, 2)), bytes((10, 0, 2, 3))
ROUTER_MAC = b"\x52\x55" + HOST
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data: bytes) -> int:
    """RFC 1071, word by word."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(source: bytes, target: bytes, protocol: int, length: int) -> bytes:
    if len(source) == 4:
        return source + target + struct.pack(">BBH", 0, protocol, length)
    return source + target + struct.pack(">II", length, protocol)


def ether(kind: int, payload: bytes, target: bytes = ROUTER_MAC, source: bytes = MAC) -> bytes:
    return target + source + struct.pack(">H", kind) + payload


def ip(protocol: int, payload: bytes, source: bytes = GUEST, target: bytes = HOST, ttl: int = 64, ident: int = 1,
       fragment: int = 0) -> bytes:  # fmt: skip
    if len(source) == 16:
        head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, ttl) + source + target
        return ether(0x86DD, head + payload)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), ident, fragment, ttl, protocol, 0) + source + target
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return ether(0x0800, head + payload)


def udp(sport: int, dport: int, payload: bytes, source: bytes = GUEST, target: bytes = HOST) -> bytes:
    length = 8 + len(payload)
    value = checksum(pseudo(source, target, 17, length) + struct.pack(">HHHH", sport, dport, length, 0) + payload) or 0xFFFF
    return ip(17, struct.pack(">HHHH", sport, dport, length, value) + payload, source, target)


def tcp(sport: int, dport: int, seq: int, ack: int, flags: int, payload: bytes = b"", options: bytes = b"",
        window: int = 65535, source: bytes = GUEST, target: bytes = HOST) -> bytes:  # fmt: skip
    offset = (20 + len(options)) // 4
    head = struct.pack(">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, offset << 4, flags, window, 0, 0)
    body = head + options + payload
    value = checksum(pseudo(source, target, 6, len(body)) + body)
    return ip(6, body[:16] + struct.pack(">H", value) + body[18:], source, target)


@dataclass
class Packet:
    """A frame that came from the router, taken apart; checksums have been looked at."""

    frame: bytes
    offload: Offload | None
    kind: int
    source: bytes = b""
    target: bytes = b""
    protocol: int = 0
    fragment: int = 0
    body: bytes = b""  # behind the IP header
    sport: int = 0
    dport: int = 0
    seq: int = 0
    ack: int = 0
    flags: int = 0
    window: int = 0
    options: bytes = b""
    data: bytes = b""  # behind the transport header


def read(frame: bytes, offload: Offload | None = None) -> Packet:
    kind = int.from_bytes(frame[12:14], "big")
    packet = Packet(frame, offload, kind)
    rest = frame[14:]
    if kind == 0x0800:
        assert rest[0] == 0x45 and checksum(rest[:20]) == 0
        length, packet.fragment = struct.unpack(">2xH2xH", rest[:8])
        assert length == len(rest) or (length < len(rest) and len(frame) == 60)  # others pad short frames
        rest = rest[:length]
        packet.protocol, packet.source, packet.target, packet.body = rest[9], rest[12:16], rest[16:20], rest[20:]
    elif kind == 0x86DD:
        assert rest[0] >> 4 == 6 and int.from_bytes(rest[4:6], "big") == len(rest) - 40
        packet.protocol, packet.source, packet.target, packet.body = rest[6], rest[8:24], rest[24:40], rest[40:]
    else:
        return packet
    body = packet.body
    if packet.fragment & 0x3FFF:
        return packet
    if packet.protocol in (6, 17, 58):
        total = checksum(pseudo(packet.source, packet.target, packet.protocol, len(body)) + body)
        if offload is None:
            assert total == 0
        else:  # the sum of the pseudo header waits in the field for the rest
            at = offload.csum_start + offload.csum_offset
            assert frame[at : at + 2] == struct.pack(
                ">H", ~checksum(pseudo(packet.source, packet.target, packet.protocol, len(body))) & 0xFFFF)  # fmt: skip
    elif packet.protocol == 1:
        assert checksum(body) == 0
    if packet.protocol == 6:
        packet.sport, packet.dport, packet.seq, packet.ack = struct.unpack(">HHII", body[:12])
        offset, packet.flags, packet.window = struct.unpack(">BBH", body[12:16])
        packet.options, packet.data = body[20 : (offset >> 4) * 4], body[(offset >> 4) * 4 :]
    elif packet.protocol == 17:
        packet.sport, packet.dport, length = struct.unpack(">HHH", body[:6])
        assert length == len(body)
        packet.data = body[8:]
    return packet


class Guest(NicClient):
    """A card whose driver is the test. What it receives is in `packets`."""

    def __init__(self, host: NetHost, takes: int = 0) -> None:
        super().__init__(host, "card", "test", MAC)
        self.host = host
        self.takes = takes
        self.packets: list[Packet] = []
        self.full = False
        self.wish: Callable[[Packet], bool] = lambda packet: True  # False: the frame is lost on the way

    def receive(self, frame: Any, offload: Offload | None = None) -> bool:
        if self.full:
            return False
        packet = read(bytes(frame), offload)
        if self.wish(packet):
            self.packets.append(packet)
        return True

    def take(self) -> list[Packet]:
        """What has come, once everything that is due has happened."""
        self.host.turn()
        found, self.packets = self.packets, []
        return found

    def ask(self, frame: bytes) -> list[Packet]:
        """Send a frame and wait for an answer."""
        self.send(frame)
        self.host.until(lambda: self.packets)
        return self.take()

    def wait(self, condition: Callable[[], Any]) -> list[Packet]:
        self.host.until(condition)
        return self.take()


def user(host: NetHost, takes: int = 0, **given: Any) -> tuple[Guest, Any]:
    """A card on a -netdev user; keys with '_' for '-', lists for keys that repeat."""
    pairs = [("type", "user"), ("id", "n0")]
    for key, value in given.items():
        for text in value if isinstance(value, list) else [value]:
            pairs.append((key.replace("_", "-"), str(text)))
    net = options.create(host, pairs)
    guest = Guest(host, takes)
    connect(guest, net)
    return guest, net


class TcpPeer:
    """A TCP connection of the guest: in order, no retransmission unless the test does it."""

    def __init__(self, guest: Guest, port: int, sport: int = 40000, source: bytes = GUEST, target: bytes = HOST,
                 options: bytes = b"", window: int = 65535) -> None:  # fmt: skip
        self.guest, self.port, self.sport, self.source, self.target = guest, port, sport, source, target
        self.options, self.window = options, window
        self.seq = 1000
        self.ack = 0
        self.data = bytearray()
        self.fin = self.reset = False
        self.sent_window = 0
        self.scale = 0

    def out(self, flags: int, payload: bytes = b"", seq: int | None = None, options: bytes = b"",
            window: int | None = None) -> None:  # fmt: skip
        self.guest.send(tcp(self.sport, self.port, self.seq if seq is None else seq, self.ack, flags, payload, options,
                            self.window if window is None else window, self.source, self.target))  # fmt: skip

    def connect(self) -> Packet:
        self.out(SYN, options=self.options)
        self.guest.host.until(lambda: self.guest.packets)
        (answer,) = self.guest.take()
        self.seq += 1
        if answer.flags & SYN:
            self.ack = answer.seq + 1
            self.out(ACK)
            self.guest.host.turn()
        return answer

    def send(self, data: bytes) -> None:
        self.out(ACK | PSH, data)
        self.seq += len(data)

    def handle(self, acknowledge: bool = True) -> list[Packet]:
        """Take what came, keep data in order, acknowledge it."""
        packets = self.guest.take()
        for packet in packets:
            if packet.flags & RST:
                self.reset = True
            if packet.seq == self.ack & 0xFFFFFFFF and not packet.flags & SYN:
                self.data += packet.data
                self.ack += len(packet.data)
                if packet.flags & FIN:
                    self.fin = True
                    self.ack += 1
        if acknowledge and any(p.data or p.flags & FIN for p in packets):
            self.out(ACK)
        return packets

    def read(self, count: int) -> bytes:
        """Wait for `count` bytes (or the end)."""

        def enough() -> bool:
            self.handle()
            return len(self.data) >= count or self.fin or self.reset

        self.guest.host.until(enough)
        return bytes(self.data)


__all__ = ["CSUM", "NetHost"]
