"""-netdev hubport: what arrives at one port of a hub goes out of all others."""

from __future__ import annotations

from typing import Any

from . import Frame, NetClient, NetError, Offload

QUEUED = 256  # frames a port keeps for a peer that is slow; beyond it they are lost, as on a wire


class Hub:
    """Ports that share their frames."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ports: list[HubPort] = []


def hub(machine: Any, number: int) -> Hub:
    """The hub of that number; made when first asked for."""
    for client in machine.net_clients:
        if isinstance(client, HubPort) and client.hub.number == number:
            return client.hub
    return Hub(number)


class HubPort(NetClient):
    """One port. A port that nobody takes frames from loses them; the others do not wait for it."""

    kind = "hubport"

    def __init__(self, machine: Any, name: str, hub: Hub) -> None:
        super().__init__(machine, name)
        self.hub = hub
        hub.ports.append(self)

    @property
    def takes(self) -> int:  # type: ignore[override]  # (a field of other clients)
        """What everybody else on the hub takes."""
        bits = -1
        for port in self.hub.ports:
            if port is not self and port.peer is not None:
                bits &= port.peer.takes
        return max(bits, 0)

    def receive(self, frame: Frame, offload: Offload | None = None) -> bool:
        for port in self.hub.ports:
            if port is not self and not port.send(frame, offload):
                if len(port._waiting) < QUEUED:
                    port._waiting.append((bytes(frame), offload))
                else:
                    port.lost += 1
        return True

    def describe(self) -> str:
        return f"hubid={self.hub.number}"

    def close(self) -> None:
        super().close()
        if self in self.hub.ports:
            self.hub.ports.remove(self)


def create(machine: Any, name: str, options: dict[str, Any]) -> NetClient:
    """-netdev hubport,id=ID,hubid=N[,netdev=ID]."""
    if "hubid" not in options:
        raise NetError("Parameter 'hubid' is missing")
    number, other = options["hubid"], options.get("netdev")
    peer = None
    if other is not None:
        peer = machine.netdevs.get(other)
        if peer is None:
            raise NetError(f"netdev '{other}' not found")
        if peer.peer is not None:
            raise NetError(f"netdev '{other}' is already in use")
    port = HubPort(machine, name, hub(machine, number))
    if peer is not None:
        from . import connect

        connect(port, peer)
    return port
