"""What a frame lacks, done in software: checksums filled in, TCP segments cut to the MTU.

Needed where one end of a cable leaves more to the other than that one takes (a card with TSO on a socket to another
emulator). Also the checksums of RFC 1071 and RFC 793 for everybody else.
"""

from __future__ import annotations

from struct import Struct

from . import CSUM, GSO_ECN, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, Frame, Offload

IPV4, IPV6 = 0x0800, 0x86DD
_VLANS = (0x8100, 0x88A8)
_U16 = Struct(">H")
_U32 = Struct(">I")
_IP4_TAIL = Struct(">HHH")  # total length, identification, flags and fragment offset

FIN, PSH, CWR = 0x01, 0x08, 0x80


def ones_sum(data: Frame) -> int:
    """The ones' complement sum of 16-bit words, 0 only for no data or all zeros (RFC 1071).

    A number in base 2**16 is congruent to the sum of its digits modulo 2**16 - 1: so one division sums all words.
    """
    number = int.from_bytes(data, "big")
    if len(data) & 1:
        number <<= 8
    return (number % 0xFFFF or 0xFFFF) if number else 0


def checksum(data: Frame, start: int = 0) -> int:
    """The Internet checksum of `data`; `start` is the sum of what else belongs to it (a pseudo header)."""
    total = ones_sum(data) + start
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo_sum(source: Frame, target: Frame, protocol: int, length: int) -> int:
    """The sum of the pseudo header of RFC 793 (addresses of 4 bytes) or RFC 8200, 8.1 (16 bytes), folded to 16 bits."""
    total = ones_sum(source) + ones_sum(target) + protocol + (length & 0xFFFF) + (length >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


def finish(frame: Frame, offload: Offload, takes: int) -> list[tuple[Frame, Offload | None]]:
    """The frame as one or several that a receiver with `takes` understands; nothing if it makes no sense."""
    if offload.gso_type and offload.needs() & ~takes & ~CSUM:
        return _segment(frame, offload, takes)
    if offload.flags & NEEDS_CSUM and not takes & CSUM:
        whole = bytearray(frame)
        if not fill_checksum(whole, offload.csum_start, offload.csum_offset):
            return []
        return [(whole, None)]
    return [(frame, offload)]


def fill_checksum(frame: bytearray, start: int, offset: int) -> bool:
    """Complete a checksum whose field holds the sum of the pseudo header; False when it lies outside the frame."""
    at = start + offset
    if at + 2 > len(frame):
        return False
    value = checksum(memoryview(frame)[start:])
    _U16.pack_into(frame, at, value or 0xFFFF)  # a sum of 0 means "none" in UDP, and is the same as 0xffff
    return True


def _segment(frame: Frame, offload: Offload, takes: int) -> list[tuple[Frame, Offload | None]]:
    """Cut a TCP segment up as a card does: lengths, identification, sequence numbers, flags, checksums."""
    kind, size = offload.gso_type & ~GSO_ECN, offload.gso_size
    if kind not in (GSO_TCPV4, GSO_TCPV6) or size < 8:
        return []
    view = memoryview(frame)
    ip = 12
    while len(view) >= ip + 6 and _U16.unpack_from(view, ip)[0] in _VLANS:
        ip += 4
    ip += 2
    tcp = offload.csum_start
    six = kind == GSO_TCPV6
    if tcp < ip + (40 if six else 20) or tcp + 20 > len(view) or _U16.unpack_from(view, ip - 2)[0] != (IPV6 if six else IPV4):
        return []
    data = tcp + (view[tcp + 12] >> 4) * 4
    if data < tcp + 20 or data > len(view):
        return []
    head = bytearray(view[:data])
    payload = view[data:]
    ident = 0 if six else _U16.unpack_from(head, ip + 4)[0]
    sequence = _U32.unpack_from(head, tcp + 4)[0]
    flags = head[tcp + 13]
    at, width = (ip + 8, 16) if six else (ip + 12, 4)
    source, target = head[at : at + width], head[at + width : at + 2 * width]
    parts: list[tuple[Frame, Offload | None]] = []
    last = max(0, len(payload) - 1) // size * size
    for at in range(0, last + 1, size):
        piece = payload[at : at + size]
        part = bytearray(head)
        part += piece
        length = len(part) - ip
        if six:
            _U16.pack_into(part, ip + 4, length - 40)
        else:
            _U16.pack_into(part, ip + 2, length)
            _U16.pack_into(part, ip + 4, (ident + at // size) & 0xFFFF)
            _U16.pack_into(part, ip + 10, 0)
            _U16.pack_into(part, ip + 10, checksum(part[ip : ip + (part[ip] & 15) * 4]))
        _U32.pack_into(part, tcp + 4, (sequence + at) & 0xFFFFFFFF)
        now = flags
        if at != last:
            now &= ~(FIN | PSH)  # these belong to the end of the data
        if at:
            now &= ~CWR  # and this to its beginning (RFC 3168, 6.1.2)
        part[tcp + 13] = now
        _U16.pack_into(part, tcp + 16, pseudo_sum(source, target, 6, len(part) - tcp))
        if takes & CSUM:
            parts.append((part, Offload(NEEDS_CSUM, csum_start=tcp, csum_offset=16)))
        else:
            fill_checksum(part, tcp, 16)
            parts.append((part, None))
    return parts
