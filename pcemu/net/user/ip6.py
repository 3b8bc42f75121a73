"""IPv6 (RFC 8200) of -netdev user: neighbour discovery and router advertisements (RFC 4861), ICMPv6, DHCPv6 for what
addresses are not (RFC 8415, stateless)."""

from __future__ import annotations

import socket
from struct import pack, unpack_from
from typing import TYPE_CHECKING

from .. import Offload
from . import wire
from .config import in_prefix
from .dhcp import domain_name
from .wire import ETH, IP6, IP6_SIZE

if TYPE_CHECKING:
    from .stack import UserNet

SECOND = 1_000_000_000
ROUTER_LIFETIME, REFRESH_NS = 1800, 600 * SECOND
FOREVER = 0xFFFFFFFF
MOST_EXTENSIONS = 8

HOP_BY_HOP, ROUTING, FRAGMENT, NOTHING_MORE, DESTINATION = 0, 43, 44, 59, 60
ECHO, ECHO_REPLY = 128, 129
ROUTER_SOLICIT, ROUTER_ADVERT, SOLICIT, ADVERT = 133, 134, 135, 136
SOURCE_MAC, TARGET_MAC, PREFIX, MTU_OPTION, RDNSS, DNSSL = 1, 2, 3, 5, 25, 31

UNSPECIFIED = bytes(16)


def _address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


ROUTER = _address("fe80::2")
ALL_NODES = _address("ff02::1")
ALL_ROUTERS = _address("ff02::2")
DHCP_SERVERS = _address("ff02::1:2")
SOLICITED = _address("ff02::1:ff00:0")[:13]


class Ip6:
    """The IPv6 half of the router."""

    def __init__(self, net: UserNet) -> None:
        self.net = net
        config = net.config
        self.own = {ROUTER, config.host6, config.dns6}
        self.groups = {ALL_NODES, ALL_ROUTERS, *(SOLICITED + address[13:] for address in self.own)}
        self._refresh = net.machine.clock.timer(self._advertise_again)

    def close(self) -> None:
        self._refresh.cancel()

    def is_host(self, address: bytes) -> bool:
        return address in (self.net.config.host6, ROUTER)

    def is_global(self, address: bytes) -> bool:
        """May a packet to it leave the host? Not: multicast, link-local, loopback, IPv4 in disguise, our own prefix."""
        return not (address[0] in (0, 0xFF) or (address[0] == 0xFE and address[1] & 0xC0 == 0x80)
                    or in_prefix(self.net.config, address))  # fmt: skip

    # -- from the guest ---------------------------------------------------------------------------------------

    def receive(self, mac: bytes, packet: memoryview, offload: Offload | None) -> None:
        if len(packet) < IP6_SIZE:
            return
        first, length, protocol, hops, source, target = IP6.unpack_from(packet)
        if first >> 28 != 6 or length > len(packet) - IP6_SIZE or source[0] == 0xFF or source in self.own:
            return
        payload = packet[IP6_SIZE : IP6_SIZE + length]
        for _ in range(MOST_EXTENSIONS):
            if protocol == FRAGMENT:
                if len(payload) < 8:
                    return
                following, place, ident = payload[0], int.from_bytes(payload[2:4], "big"), bytes(payload[4:8])
                if place & 0xFFF9:
                    # The first piece says what the whole is.
                    key = (source, target, ident)
                    whole = self.net._fragments.add(key, place & 0xFFF8, bool(place & 1), payload[8:])
                    if whole is None:
                        return
                    payload, offload = memoryview(whole), None
                else:
                    payload = payload[8:]
                protocol = following
            elif protocol in (HOP_BY_HOP, ROUTING, DESTINATION):
                if len(payload) < 8 or len(payload) < 8 + payload[1] * 8 or (protocol == ROUTING and payload[3]):
                    return
                protocol, payload = payload[0], payload[8 + payload[1] * 8 :]
            else:
                break
        net = self.net
        if source != UNSPECIFIED:
            net.learn(source, mac)
        if protocol == wire.ICMP6:
            self._receive_icmp(mac, source, target, hops, payload)
            return
        if source == UNSPECIFIED:
            return
        if hops <= 1 and self.is_global(target) and not net.config.restrict:
            self.send(source, 3, 0, bytes(4) + bytes(packet[:1232]))
            return
        if protocol == wire.TCP:
            net.tcp.receive(source, target, payload, offload)
        elif protocol == wire.UDP:
            if target == DHCP_SERVERS:
                self._receive_dhcp(source, payload)
            else:
                net.udp.receive(source, target, payload, offload, mac)

    def _receive_icmp(self, mac: bytes, source: bytes, target: bytes, hops: int, packet: memoryview) -> None:
        if len(packet) < 8 or wire.checksum(packet, wire.pseudo_sum(source, target, wire.ICMP6, len(packet))):
            return
        kind, code = packet[0], packet[1]
        if kind == ECHO:
            if source == UNSPECIFIED:
                return
            if target in self.own:
                self.send(source, ECHO_REPLY, 0, bytes(packet[4:]), target)
            elif target in (ALL_NODES, ALL_ROUTERS):
                self.send(source, ECHO_REPLY, 0, bytes(packet[4:]), ROUTER)
            elif not self.net.config.restrict and self.is_global(target):
                self.net.udp.ping(source, target, packet)
            return
        # RFC 4861, 6.1 and 7.1: neighbour discovery never comes from behind a router.
        if hops != 255 or code or (target not in self.own and target not in self.groups):
            return
        if kind == ROUTER_SOLICIT:
            self.advertise(None if source == UNSPECIFIED else source, mac)
        elif kind == SOLICIT and len(packet) >= 24:
            self._solicited(mac, source, bytes(packet[8:24]))
        elif kind == ADVERT and len(packet) >= 24:
            whose = bytes(packet[8:24])
            if whose not in self.own and whose[0] != 0xFF:
                self.net.learn(whose, _mac_option(packet[24:], TARGET_MAC) or mac)

    def _solicited(self, mac: bytes, source: bytes, wanted: bytes) -> None:
        if wanted not in self.own:
            return
        # Router, solicited, override; to a guest that has no address yet (it probes for ours) an answer to all.
        flags = 0xA0000000 if source == UNSPECIFIED else 0xE0000000
        body = pack(">I", flags) + wanted + bytes((TARGET_MAC, 1)) + self.net.mac6
        if source == UNSPECIFIED:
            self._discovery(ALL_NODES, _group_mac(ALL_NODES), ADVERT, body, wanted)
        else:
            self._discovery(source, mac, ADVERT, body, wanted)

    # -- to the guest -----------------------------------------------------------------------------------------

    def send(self, target: bytes, kind: int, code: int, body: bytes, source: bytes | None = None) -> None:
        """An ICMPv6 message; `body` is what follows the checksum."""
        if source is None:
            source = ROUTER if target[0] == 0xFE else self.net.config.host6
        self.net.send_ip(source, target, wire.ICMP6, wire.icmp6(source, target, kind, code, body))

    def _discovery(self, target: bytes, mac: bytes, kind: int, body: bytes, source: bytes = ROUTER) -> None:
        message = wire.icmp6(source, target, kind, 0, body)
        head = IP6.pack(0x60000000, len(message), wire.ICMP6, 255, source, target)
        self.net.emit(ETH.pack(mac, self.net.mac6, wire.ETH_IP6) + head + message)

    def solicit(self, address: bytes) -> None:
        """Who has `address`?"""
        group = SOLICITED + address[13:]
        body = bytes(4) + address + bytes((SOURCE_MAC, 1)) + self.net.mac6
        self._discovery(group, _group_mac(group), SOLICIT, body)

    def advertise(self, target: bytes | None, mac: bytes) -> None:
        """A router advertisement, to one or to all; and again before it grows old."""
        config = self.net.config
        lifetime = 0 if config.restrict else ROUTER_LIFETIME
        body = pack(">BBHII", 64, 0x40, lifetime, 0, 0)  # hop limit; O: DHCPv6 knows more
        body += bytes((SOURCE_MAC, 1)) + self.net.mac6
        flags = 0xC0 if config.prefix_length == 64 else 0x80  # on-link; addresses are made of prefixes of 64 only
        body += pack(">BBBBIII", PREFIX, 4, config.prefix_length, flags, FOREVER, FOREVER, 0) + config.prefix6
        body += pack(">BBHI", MTU_OPTION, 1, 0, wire.MTU)
        if not config.restrict:
            body += pack(">BBHI", RDNSS, 3, 0, ROUTER_LIFETIME) + config.dns6
        names = b"".join(domain_name(domain) for domain in config.dns_search)
        if names:
            names += bytes(-len(names) % 8)
            body += pack(">BBHI", DNSSL, 1 + len(names) // 8, 0, ROUTER_LIFETIME) + names
        if target is None:
            target, mac = ALL_NODES, _group_mac(ALL_NODES)
        self._discovery(target, mac, ROUTER_ADVERT, body)
        if not self._refresh.pending:
            self._refresh.arm_in(REFRESH_NS)

    def _advertise_again(self) -> None:
        self.advertise(None, b"")

    def _receive_dhcp(self, source: bytes, packet: memoryview) -> None:
        """An INFORMATION-REQUEST: name servers, domains, boot file."""
        if len(packet) < 12 or not wire.good_sum(source, DHCP_SERVERS, wire.UDP, packet, None):
            return
        sport, _, length = unpack_from(">HHH", packet)
        data = packet[8:length]
        if len(data) < 4 or data[0] != 11:
            return
        config = self.net.config
        reply = b"\x07" + bytes(data[1:4])
        server = pack(">HH", 3, 1) + self.net.mac6
        at = 4
        while at + 4 <= len(data):
            code, size = unpack_from(">HH", data, at)
            value = bytes(data[at + 4 : at + 4 + size])
            at += 4 + size
            if len(value) != size:
                return
            if code == 1 and size <= 130:
                reply += pack(">HH", 1, size) + value
            elif code == 2 and value != server:
                return
        reply += pack(">HH", 2, len(server)) + server
        if not config.restrict:
            reply += pack(">HH", 23, 16) + config.dns6
        names = b"".join(domain_name(domain) for domain in config.dns_search)
        if names:
            reply += pack(">HH", 24, len(names)) + names
        if config.bootfile:
            url = f"tftp://[{socket.inet_ntop(socket.AF_INET6, config.host6)}]/{config.bootfile}".encode()
            reply += pack(">HH", 59, len(url)) + url
        self.net.send_udp(ROUTER, 547, source, sport, reply)


def _group_mac(group: bytes) -> bytes:
    """RFC 2464, 7."""
    return b"\x33\x33" + group[12:]


def _mac_option(options: memoryview, kind: int) -> bytes | None:
    at = 0
    while at + 8 <= len(options) and options[at + 1]:
        if options[at] == kind:
            return bytes(options[at + 2 : at + 8])
        at += options[at + 1] * 8
    return None
