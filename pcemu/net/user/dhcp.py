"""DHCP (RFC 2131, options RFC 2132) and BOOTP (RFC 951): an address for each MAC address, for as long as we run."""

from __future__ import annotations

from struct import Struct, pack
from typing import TYPE_CHECKING

from . import wire

if TYPE_CHECKING:
    from .stack import UserNet

# op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, magic
_MESSAGE = Struct(">BBBBIHH4s4s4s4s16s64s128s4s")
MAGIC = b"\x63\x82\x53\x63"
LEASES = 64
LEASE_SECONDS = 24 * 3600

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
NOTHING = bytes(4)


def receive(net: UserNet, payload: memoryview, mac: bytes) -> None:
    """A message to the server's port."""
    if len(payload) < _MESSAGE.size:
        return
    op, htype, hlen, _, xid, _, flags, ciaddr, _, _, _, chaddr, _, _, magic = _MESSAGE.unpack_from(payload)
    if (op, htype, hlen) != (1, 1, 6):
        return
    client = chaddr[:6]
    options = _options(payload[_MESSAGE.size :]) if magic == MAGIC else {}
    kind = options.get(53, b"\0")[0] if options.get(53) else 0
    server = options.get(54)
    wanted = options.get(50, ciaddr if ciaddr != NOTHING else b"")
    if kind in (DECLINE, RELEASE):
        net.leases.pop(client, None)
        return
    if kind not in (0, DISCOVER, REQUEST, INFORM) or (kind == REQUEST and server not in (None, net.host4)):
        return
    if kind == INFORM:
        _reply(net, ACK, xid, flags, client, NOTHING, ciaddr, bytes(chaddr))
        return
    address = _lease(net, client, wanted)
    if address is None:
        return
    if kind == REQUEST and wanted != address:
        _reply(net, NAK, xid, flags, client, NOTHING, NOTHING, bytes(chaddr))
        return
    net.learn(address, client)
    answer = {0: 0, DISCOVER: OFFER, REQUEST: ACK}[kind]
    _reply(net, answer, xid, flags, client, address, ciaddr if kind == REQUEST else NOTHING, bytes(chaddr))


def _options(data: memoryview) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at, end = 0, len(data)
    while at < end and data[at] != 255:
        code = data[at]
        if code == 0:
            at += 1
            continue
        if at + 2 > end or at + 2 + data[at + 1] > end:
            break
        found[code] = bytes(data[at + 2 : at + 2 + data[at + 1]])
        at += 2 + data[at + 1]
    return found


def _lease(net: UserNet, client: bytes, wanted: bytes) -> bytes | None:
    """The address of a client: the one it has, the one it wants if that is free, the first free one; None: all taken."""
    config, leases = net.config, net.leases
    if client not in leases:
        first = config.dhcp_start
        last = min(first + LEASES, config.broadcast)
        taken = {*leases.values(), config.host, config.dns, *(int.from_bytes(a, "big") for a, _ in net.guest_forwards)}
        free = [address for address in range(first, last) if address not in taken]
        if not free:
            return None
        asked = int.from_bytes(wanted, "big")
        leases[client] = asked if asked in free else free[0]
    return leases[client].to_bytes(4, "big")


def _reply(net: UserNet, kind: int, xid: int, flags: int, client: bytes, address: bytes, ciaddr: bytes, chaddr: bytes) -> None:
    config = net.config
    options = [MAGIC]

    def add(code: int, value: bytes) -> None:
        options.append(bytes((code, len(value))) + value)

    if kind:
        add(53, bytes((kind,)))
    add(54, net.host4)
    if kind != NAK:
        add(1, config.mask.to_bytes(4, "big"))
        if not config.restrict:
            add(3, net.host4)
            add(6, net.dns4)
        if address != NOTHING and kind:
            add(51, pack(">I", LEASE_SECONDS))
        if config.hostname:
            add(12, config.hostname.encode())
        if config.domain_name:
            add(15, config.domain_name.encode())
        if config.tftp_server_name:
            add(66, config.tftp_server_name.encode())
        if config.bootfile:
            add(67, config.bootfile.encode())
        search = _search_list(config.dns_search)
        for at in range(0, len(search), 255):  # a long option comes in several parts (RFC 3396)
            add(119, search[at : at + 255])
    options.append(b"\xff")
    bootfile = config.bootfile.encode() if kind != NAK else b""
    message = _MESSAGE.pack(2, 1, 6, 0, xid, 0, flags, ciaddr if kind != NAK else NOTHING, address, net.host4, NOTHING, chaddr,
                            b"", bootfile, b"")[:-4] + b"".join(options)  # fmt: skip
    message = message.ljust(300, b"\0")  # the least a BOOTP message may have
    source = net.host4
    if ciaddr != NOTHING and kind == ACK:
        target, mac = ciaddr, client
    elif flags & 0x8000 or address == NOTHING:
        target, mac = b"\xff\xff\xff\xff", wire.BROADCAST_MAC
    else:
        target, mac = address, client
    packet = wire.udp(source, 67, target, 68, message)
    net.ident = (net.ident + 1) & 0xFFFF
    for frame in wire.ip4_frames(mac, net.mac4, source, target, wire.UDP, packet, net.ident):
        net.emit(frame)


def _search_list(domains: list[str]) -> bytes:
    """RFC 3397, without compression."""
    return b"".join(domain_name(domain) for domain in domains)


def domain_name(domain: str) -> bytes:
    """A name as labels (RFC 1035, 3.1)."""
    labels = [label.encode() for label in domain.strip(".").split(".")]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
