"""Headers on the wire: layouts, numbers, and frames made from parts.

Addresses are bytes as in packets: 6 of Ethernet, 4 of IPv4 (RFC 791), 16 of IPv6 (RFC 8200).
"""

from __future__ import annotations

from struct import Struct

from .. import CSUM, NEEDS_CSUM, Frame, Offload
from ..offload import checksum, ones_sum, pseudo_sum

ETH_IP4, ETH_ARP, ETH_IP6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
BROADCAST_MAC = b"\xff" * 6
NO_MAC = bytes(6)
MTU = 1500

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))

ETH = Struct(">6s6sH")
ARP = Struct(">HHBBH6s4s6s4s")
IP4 = Struct(">BBHHHBBH4s4s")
IP6 = Struct(">IHBB16s16s")
UDP_HEADER = Struct(">HHHH")
TCP_HEADER = Struct(">HHIIBBHHH")
U16 = Struct(">H")
U32 = Struct(">I")

ETH_SIZE, IP4_SIZE, IP6_SIZE, UDP_SIZE, TCP_SIZE = 14, 20, 40, 8, 20

# Ethernet, IP and TCP header of a segment in one piece.
TCP4_FRAME = Struct(">6s6sH BBHHHBBH4s4s HHIIBBHHH")
TCP6_FRAME = Struct(">6s6sH IHBB16s16s HHIIBBHHH")

# What is wrong at the other end of a path: (ICMP type, code), (ICMPv6 type, code).
NO_ROUTE = ((3, 0), (1, 0))
NO_HOST = ((3, 1), (1, 3))
NO_PORT = ((3, 3), (1, 4))
FORBIDDEN = ((3, 13), (1, 1))


def fold(total: int) -> int:
    """A sum of 16-bit words, its carries added back in."""
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


def ip4_header(source: bytes, target: bytes, protocol: int, length: int, ident: int, fragment: int = 0, ttl: int = 64) -> bytes:
    """20 bytes with their checksum; `length` is that of the whole packet, `fragment` flags and offset in units of 8."""
    head = IP4.pack(0x45, 0, length, ident & 0xFFFF, fragment, ttl, protocol, 0, source, target)
    return head[:10] + U16.pack(checksum(head)) + head[12:]


def ip4_frames(mac: bytes, own_mac: bytes, source: bytes, target: bytes, protocol: int, payload: bytes,
               ident: int) -> list[bytes]:  # fmt: skip
    """A packet as Ethernet frames: several when it is longer than the MTU."""
    eth = ETH.pack(mac, own_mac, ETH_IP4)
    most = (MTU - IP4_SIZE) & ~7
    if len(payload) <= MTU - IP4_SIZE:
        return [eth + ip4_header(source, target, protocol, IP4_SIZE + len(payload), ident) + payload]
    frames = []
    for at in range(0, len(payload), most):
        piece = payload[at : at + most]
        more = 0x2000 if at + most < len(payload) else 0
        frames.append(eth + ip4_header(source, target, protocol, IP4_SIZE + len(piece), ident, more | at >> 3) + piece)
    return frames


def ip6_frames(mac: bytes, own_mac: bytes, source: bytes, target: bytes, protocol: int, payload: bytes, ident: int,
               hops: int = 64) -> list[bytes]:  # fmt: skip
    """The same with IPv6 (fragments: RFC 8200, 4.5)."""
    eth = ETH.pack(mac, own_mac, ETH_IP6)
    if len(payload) <= MTU - IP6_SIZE:
        return [eth + IP6.pack(0x60000000, len(payload), protocol, hops, source, target) + payload]
    frames = []
    most = (MTU - IP6_SIZE - 8) & ~7
    for at in range(0, len(payload), most):
        piece = payload[at : at + most]
        more = 1 if at + most < len(payload) else 0
        extension = bytes((protocol, 0)) + U16.pack(at | more) + U32.pack(ident & 0xFFFFFFFF)
        frames.append(eth + IP6.pack(0x60000000, 8 + len(piece), 44, hops, source, target) + extension + piece)
    return frames


def udp(source: bytes, sport: int, target: bytes, dport: int, payload: bytes) -> bytes:
    """Header, with checksum, and payload."""
    length = UDP_SIZE + len(payload)
    head = UDP_HEADER.pack(sport, dport, length, 0)
    value = checksum(payload, ones_sum(head) + pseudo_sum(source, target, UDP, length)) or 0xFFFF
    return head[:6] + U16.pack(value) + payload


def icmp(kind: int, code: int, rest: int, payload: bytes) -> bytes:
    """An ICMP message; `rest` are the four bytes behind its checksum."""
    message = bytes((kind, code, 0, 0)) + U32.pack(rest) + payload
    return message[:2] + U16.pack(checksum(message)) + message[4:]


def icmp6(source: bytes, target: bytes, kind: int, code: int, body: bytes) -> bytes:
    """An ICMPv6 message (RFC 4443, 2.3: the checksum covers a pseudo header)."""
    message = bytes((kind, code, 0, 0)) + body
    value = checksum(message, pseudo_sum(source, target, ICMP6, len(message)))
    return message[:2] + U16.pack(value) + message[4:]


def good_sum(source: bytes, target: bytes, protocol: int, payload: Frame, offload: Offload | None) -> bool:
    """Is the checksum of a transport packet right (or left to us by the sender)?"""
    if offload is not None and offload.needs() & CSUM and offload.flags & NEEDS_CSUM:
        return True
    return checksum(payload, pseudo_sum(source, target, protocol, len(payload))) == 0
