"""-netdev user: a network for the guest without rights on the host. See stack.py."""

from __future__ import annotations

from typing import Any

from .. import NetError
from . import config as config_module
from . import forward
from .config import HostForward, UserConfig
from .stack import UserNet

__all__ = ["UserNet", "add_forward", "create", "remove_forward"]


def create(machine: Any, name: str, options: dict[str, Any]) -> UserNet:
    """Make it from typed options (pcemu.net.options); raises NetError."""
    config: UserConfig = config_module.read(options)
    net = UserNet(machine, name, config)
    try:
        for rule in config.host_forwards:
            _listen(net, rule)
        for guest_rule in config.guest_forwards:
            forward.make(net, guest_rule)
    except NetError:
        net.close()
        raise
    return net


def _listen(net: UserNet, rule: HostForward) -> None:
    try:
        (net.tcp if rule.protocol == "tcp" else net.udp).listen(rule)
    except OSError:
        raise NetError(f"Could not set up host forwarding rule '{rule.rule}'") from None


def add_forward(net: UserNet, rule: str) -> None:
    """hostfwd_add."""
    _listen(net, config_module.read_host_forward(rule, net.config))


def remove_forward(net: UserNet, rule: str) -> bool:
    """hostfwd_remove ``[tcp|udp]:[hostaddr]:hostport``; False when there is none such."""
    protocol, _, rest = rule.partition(":")
    host, _, port = rest.rpartition(":")
    if protocol not in ("", "tcp", "udp") or not port.isdigit() or int(port) > 65535:
        raise NetError("invalid format")
    return (net.udp if protocol == "udp" else net.tcp).unlisten(host, int(port))
