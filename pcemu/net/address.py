"""Socket addresses as -netdev socket (``host:port``) and stream and dgram (``addr.type=inet,addr.host=...``) take them."""

from __future__ import annotations

import socket
from typing import Any

from . import NetError

UNIX_PATH = 108  # bytes of sun_path

Address = tuple[int, Any]  # family, and what bind() and connect() take


def resolve(host: str, port: str, passive: bool = False, kind: int = socket.SOCK_STREAM, family: int = 0,
            numeric: bool = False) -> Address:  # fmt: skip
    """Look a name up; raises NetError."""
    if not port.isdigit() or int(port) > 65535:
        try:
            socket.getservbyname(port)
        except OSError:
            raise NetError(f"port '{port}' is invalid") from None
    try:
        flags = (socket.AI_PASSIVE if passive else 0) | (socket.AI_NUMERICHOST if numeric else 0)
        found = socket.getaddrinfo(host or None, port, family, kind, 0, flags)
    except OSError as error:
        raise NetError(f"address resolution failed for {host}:{port}: {error.strerror}") from None
    return found[0][0], found[0][4]


def host_port(text: str, passive: bool = False, kind: int = socket.SOCK_STREAM) -> Address:
    """``[host]:port`` of -netdev socket: IPv4."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise NetError(f"host address '{text}' doesn't contain ':' separating host from port")
    if host == "" and not passive:
        host = "0.0.0.0"
    if not port.isdigit() or int(port) > 65535:
        raise NetError(f"port number '{port}' is invalid")
    try:
        return resolve(host, port, passive, kind, socket.AF_INET)
    except NetError:
        raise NetError(f"host address '{host}' is not a valid IPv4 address") from None


def from_keys(options: dict[str, Any], prefix: str, passive: bool, kind: int) -> Address | str:
    """``PREFIX.type=inet|unix|fd`` and its keys; text is the number or name of a file descriptor."""

    def get(key: str) -> Any:
        value = options.get(f"{prefix}.{key}")
        if value is None:
            raise NetError(f"Parameter '{prefix}.{key}' is missing")
        return value

    what = options.get(f"{prefix}.type")
    if what is None:
        raise NetError(f"Parameter '{prefix}.type' is missing")
    if what == "inet":
        want4, want6 = options.get(f"{prefix}.ipv4"), options.get(f"{prefix}.ipv6")
        family = 0
        if want6 is False or (want4 and want6 is None):
            family = socket.AF_INET
        elif want4 is False or (want6 and want4 is None):
            family = socket.AF_INET6
        return resolve(get("host"), get("port"), passive, kind, family, options.get(f"{prefix}.numeric", False))
    if what == "unix":
        path = get("path")
        if len(path.encode()) > UNIX_PATH - 1:
            raise NetError(f"UNIX socket path '{path}' is too long")
        if options.get(f"{prefix}.abstract"):
            path = "\0" + path
            if not options.get(f"{prefix}.tight", True):
                path = path.ljust(UNIX_PATH, "\0")  # the whole of sun_path is the name
        return socket.AF_UNIX, path
    if what == "fd":
        return str(get("str"))
    raise NetError(f"Parameter 'type' does not accept value '{what}'")


def given_fd(machine: Any, name: str, text: str) -> socket.socket:
    """A socket that was passed in, by its number or the name getfd gave it."""
    fd = machine.fds.use(text)
    try:
        return socket.socket(fileno=fd)
    except OSError as error:
        raise NetError(f"{name}: Can't use file descriptor {fd}: {error.strerror}") from None


def show(address: Any) -> str:
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"
    text = address.decode() if isinstance(address, bytes) else str(address)
    return "unix:" + text.replace("\0", "@")
