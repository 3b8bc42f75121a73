"""The options of -netdev user, checked: addresses, forwarding rules, what DHCP tells."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import Any

from .. import NetError

V4_BITS = 0xFFFFFFFF

# The mask of a net= without one: (mask and value of its first bits, mask).
_CLASSES = (
    (0x80000000, 0x00000000, 0xFF000000),
    (0xFFF00000, 0xAC100000, 0xFFF00000),
    (0xC0000000, 0x80000000, 0xFFFF0000),
    (0xFFFF0000, 0xC0A80000, 0xFFFF0000),
    (0xFFFF0000, 0xC6120000, 0xFFFE0000),
    (0xE0000000, 0xC0000000, 0xFFFFFF00),
    (0xE0000000, 0xE0000000, 0xFFFFFF00),
)


@dataclass
class HostForward:
    """hostfwd=: a port of the host that leads to one of the guest."""

    protocol: str  # "tcp" or "udp"
    host: str  # "" is any address
    host_port: int
    guest: int  # IPv4 address
    guest_port: int
    rule: str  # as given


@dataclass
class GuestForward:
    """guestfwd=: an address and port in the guest's network that leads to a command or a character device."""

    address: int
    port: int
    target: str  # "cmd:..." or what a -serial takes
    rule: str


@dataclass
class UserConfig:
    """Everything -netdev user was told. IPv4 addresses are numbers, IPv6 addresses 16 bytes."""

    ipv4: bool = True
    ipv6: bool = True
    network: int = 0x0A000200
    mask: int = 0xFFFFFF00
    host: int = 0x0A000202
    dns: int = 0x0A000203
    dhcp_start: int = 0x0A00020F
    prefix6: bytes = socket.inet_pton(socket.AF_INET6, "fec0::")
    prefix_length: int = 64
    host6: bytes = socket.inet_pton(socket.AF_INET6, "fec0::2")
    dns6: bytes = socket.inet_pton(socket.AF_INET6, "fec0::3")
    restrict: bool = False
    hostname: str = ""
    domain_name: str = ""
    dns_search: list[str] = field(default_factory=list)
    tftp: str = ""
    tftp_server_name: str = ""
    bootfile: str = ""
    host_forwards: list[HostForward] = field(default_factory=list)
    guest_forwards: list[GuestForward] = field(default_factory=list)

    @property
    def broadcast(self) -> int:
        return self.network | (~self.mask & V4_BITS)


def _ip4(text: str, error: str) -> int:
    try:
        return int.from_bytes(socket.inet_aton(text), "big")
    except OSError:
        raise NetError(error) from None


def _ip6(text: str, error: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        raise NetError(error) from None


def _network(text: str) -> tuple[int, int]:
    """``10.0.2.0``, ``10.0.2.0/24`` or ``10.0.2.0/255.255.255.0`` -> address, mask."""
    address_text, slash, mask_text = text.partition("/")
    address = _ip4(address_text, "Failed to parse netmask")
    if not slash:
        for bits, value, mask in _CLASSES:
            if address & bits == value:
                return address & mask, mask
    if mask_text.isdigit():
        length = int(mask_text)
        if not 4 <= length <= 32:
            raise NetError("Invalid netmask provided (must be in range 4-32)")
        mask = V4_BITS << (32 - length) & V4_BITS
    else:
        mask = _ip4(mask_text, "Failed to parse netmask (trailing chars)")
    return address & mask, mask


def read(options: dict[str, Any]) -> UserConfig:
    """Check typed options (see __init__.KEYS); raises NetError with QEMU's words."""
    config = UserConfig(ipv4=options.get("ipv4", True), ipv6=options.get("ipv6", True))
    # As on other options: ipv4=on alone means no IPv6, and the other way round.
    if "ipv6" not in options and options.get("ipv4"):
        config.ipv6 = False
    if "ipv4" not in options and options.get("ipv6"):
        config.ipv4 = False
    if not config.ipv4 and not config.ipv6:
        raise NetError("IPv4 and IPv6 disabled")
    if not config.ipv4 and any(name in options for name in ("net", "host", "dns")):
        raise NetError("IPv4 disabled but netmask/host/dns provided")
    if not config.ipv6 and any(name in options for name in ("ipv6-net", "ipv6-prefix", "ipv6-host", "ipv6-dns")):
        raise NetError("IPv6 disabled but prefix/host6/dns6 provided")
    for name in ("smb", "smbserver"):
        if name in options:
            raise NetError(f"{name}: not implemented yet")
    _read_v4(config, options)
    _read_v6(config, options)
    config.restrict = options.get("restrict", False)
    config.hostname = options.get("hostname", "")
    config.domain_name = options.get("domainname", "")
    config.dns_search = options.get("dnssearch", [])
    config.tftp = options.get("tftp", "")
    config.tftp_server_name = options.get("tftp-server-name", "")
    config.bootfile = options.get("bootfile", "")
    limits = ((config.hostname, 255, "hostname"), (config.domain_name, 255, "domain name"),
              (config.tftp_server_name, 255, "tftp-server-name"), (config.bootfile, 127, "bootfile"))  # fmt: skip
    for text, limit, name in limits:
        if len(text.encode()) > limit:
            raise NetError(f"'{name}' parameter cannot exceed {limit} bytes")
    for domain in config.dns_search:
        if any(not 0 < len(label.encode()) < 64 for label in domain.strip(".").split(".")) or len(domain) > 253:
            raise NetError(f"dnssearch: '{domain}' is not a domain name")
    if sum(len(domain) + 2 for domain in config.dns_search) > 1000:
        raise NetError("dnssearch: too many domains")
    config.host_forwards = [read_host_forward(rule, config) for rule in options.get("hostfwd", [])]
    for rule in options.get("guestfwd", []):
        forward = _guest_forward(rule, config)
        if any((other.address, other.port) == (forward.address, forward.port) for other in config.guest_forwards):
            raise NetError(f"Conflicting/invalid host:port in guest forwarding rule '{rule}'")
        config.guest_forwards.append(forward)
    return config


def _read_v4(config: UserConfig, options: dict[str, Any]) -> None:
    if "net" in options:
        config.network, config.mask = _network(options["net"])
    outside = ~config.mask & V4_BITS
    config.host = config.network | (0x0202 & outside)
    config.dhcp_start = config.network | (0x020F & outside)
    config.dns = config.network | (0x0203 & outside)
    if "host" in options:
        config.host = _ip4(options["host"], "Failed to parse host")
        if config.host & config.mask != config.network:
            raise NetError("Host doesn't belong to network")
    if "dns" in options:
        config.dns = _ip4(options["dns"], "Failed to parse DNS")
    if config.dns == config.host:
        raise NetError("DNS must be different from host")
    if "dhcpstart" in options:
        config.dhcp_start = _ip4(options["dhcpstart"], "Failed to parse DHCP start address")
        if config.dhcp_start & config.mask != config.network:
            raise NetError("DHCP doesn't belong to network")
    if config.dhcp_start in (config.host, config.dns):
        raise NetError("DHCP must be different from host and DNS")


def _read_v6(config: UserConfig, options: dict[str, Any]) -> None:
    if "ipv6-net" in options:
        prefix, slash, length = options["ipv6-net"].partition("/")
        options = {"ipv6-prefix": prefix, **options}
        if slash:
            if not length.isdigit():
                raise NetError("Failed to parse IPv6 prefix length")
            options = {"ipv6-prefixlen": int(length), **options}
    if "ipv6-prefix" in options:
        config.prefix6 = _ip6(options["ipv6-prefix"], "Failed to parse IPv6 prefix")
    config.prefix_length = options.get("ipv6-prefixlen", 64)
    if not 0 <= config.prefix_length <= 126:
        raise NetError("Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and 126)")
    base = int.from_bytes(config.prefix6, "big") & ~((1 << (128 - config.prefix_length)) - 1)
    config.prefix6 = base.to_bytes(16, "big")
    config.host6 = (base | 2).to_bytes(16, "big")
    config.dns6 = (base | 3).to_bytes(16, "big")
    if "ipv6-host" in options:
        config.host6 = _ip6(options["ipv6-host"], "Failed to parse IPv6 host")
        if not in_prefix(config, config.host6):
            raise NetError("IPv6 Host doesn't belong to network")
    if "ipv6-dns" in options:
        config.dns6 = _ip6(options["ipv6-dns"], "Failed to parse IPv6 DNS")
        if not in_prefix(config, config.dns6):
            raise NetError("IPv6 DNS doesn't belong to network")


def in_prefix(config: UserConfig, address: bytes) -> bool:
    shift = 128 - config.prefix_length
    return int.from_bytes(address, "big") >> shift == int.from_bytes(config.prefix6, "big") >> shift


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        return -1
    return int(text)


def read_host_forward(rule: str, config: UserConfig) -> HostForward:
    """``[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport``."""

    def bad(why: str) -> NetError:
        return NetError(f"Invalid host forwarding rule '{rule}' ({why})")

    protocol, colon, rest = rule.partition(":")
    if not colon:
        raise bad("No : separators")
    protocol = protocol or "tcp"
    if protocol not in ("tcp", "udp"):
        raise bad("Bad protocol name")
    host, colon, rest = rest.partition(":")
    if not colon:
        raise bad("Missing : separator")
    if host:
        _ip4(host, str(bad("Bad host address")))
    port_text, dash, rest = rest.partition("-")
    if not dash:
        raise bad("Bad host port separator")
    host_port = _port(port_text)
    if host_port < 0:
        raise bad("Bad host port")
    guest_text, colon, port_text = rest.partition(":")
    if not colon:
        raise bad("Missing guest address")
    guest = _ip4(guest_text, str(bad("Bad guest address"))) if guest_text else config.dhcp_start
    guest_port = _port(port_text)
    if guest_port < 1:
        raise bad("Bad guest port")
    return HostForward(protocol, host, host_port, guest, guest_port, rule)


def _guest_forward(rule: str, config: UserConfig) -> GuestForward:
    """``[tcp]:server:port-cmd:command`` or ``[tcp]:server:port-DEVICE``."""
    bad = f"Invalid guest forwarding rule '{rule}'"
    match = re.fullmatch(r"(?:tcp)?:([^:]*):([^:-]*)-(.*)", rule, re.DOTALL)
    if match is None:
        raise NetError(bad)
    server, port_text, target = match.groups()
    address = _ip4(server, bad) if server else config.network | (0x0204 & ~config.mask & V4_BITS)
    port = _port(port_text)
    if port < 1:
        raise NetError(bad)
    inside = address & config.mask == config.network
    if not inside or address in (config.host, config.dns, config.network, config.broadcast):
        raise NetError(f"Conflicting/invalid host:port in guest forwarding rule '{rule}'")
    return GuestForward(address, port, target, rule)
