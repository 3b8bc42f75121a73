"""-netdev socket: the older spelling of stream and dgram."""

from __future__ import annotations

import socket
from typing import Any

from . import NetClient, NetError
from .address import given_fd, host_port, show
from .dgram import DgramNet, bound, multicast
from .stream import StreamNet


class SocketNet(StreamNet):
    kind = "socket"
    prefix = "socket: "
    tells = False


def create(machine: Any, name: str, options: dict[str, Any]) -> NetClient:
    """-netdev socket,id=ID,listen=|connect=|mcast=|udp=|fd=[,localaddr=]."""
    ways = [key for key in ("fd", "listen", "connect", "mcast", "udp") if key in options]
    if "fd" not in options and len(ways) != 1:
        raise NetError("exactly one of listen=, connect=, mcast= or udp= is required")
    local = options.get("localaddr")
    if local is not None and not {"mcast", "udp"} & set(ways):
        raise NetError("localaddr= is only valid with mcast= or udp=")
    if "fd" in options:
        return _given(machine, name, options)
    if "mcast" in options:
        _, target = host_port(options["mcast"], kind=socket.SOCK_DGRAM)
        sock = multicast(target, local)
        return DgramNet(machine, name, sock, target, f"socket: mcast={show(target)}", "socket")
    if "udp" in options:
        if local is None:
            raise NetError("localaddr= is mandatory with udp=")
        _, target = host_port(options["udp"], kind=socket.SOCK_DGRAM)
        sock = bound(host_port(local, True, socket.SOCK_DGRAM))
        return DgramNet(machine, name, sock, target, f"socket: udp={show(target)}", "socket")
    client = SocketNet(machine, name)
    try:
        if "listen" in options:
            client.listen(host_port(options["listen"], passive=True))
        else:
            client.connect_to(host_port(options["connect"]))
    except NetError:
        client.close()
        raise
    return client


def _given(machine: Any, name: str, options: dict[str, Any]) -> NetClient:
    """A socket that was passed in: connected, or with mcast= one that has joined."""
    sock = given_fd(machine, name, options["fd"])
    kind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    if kind == socket.SOCK_DGRAM:
        target = host_port(options["mcast"], kind=socket.SOCK_DGRAM)[1] if "mcast" in options else None
        return DgramNet(machine, name, sock, target, f"socket: fd={options['fd']}", "socket")
    client = SocketNet(machine, name)
    client.text = f"socket: fd={options['fd']}"
    client.connected(sock)
    return client
