"""-netdev, and its shorter spellings -nic and -net."""

from __future__ import annotations

from collections.abc import Callable

from pcemu.machine.config import DeviceConfig, NetdevConfig
from pcemu.qom.catalog import MODULES, PLANNED

from . import optstr
from .context import Context
from .errors import UsageError, at

DEFAULT_NIC = "virtio-net-pci"
# What may stand after model=, and the device it is. The others QEMU has are named, not unknown.
NIC_MODELS = {"virtio": "virtio-net-pci", "virtio-net-pci": "virtio-net-pci"}
NIC_MODELS_PLANNED = ("e1000", "e1000-82544gc", "e1000-82545em", "e1000e", "i82550", "i82551", "i82557a", "i82557b", "i82557c",
                      "i82558a", "i82558b", "i82559a", "i82559b", "i82559c", "i82559er", "i82562", "i82801", "ne2k_pci",
                      "ne2k_isa", "pcnet", "rtl8139", "tulip", "vmxnet3", "igb")  # fmt: skip
_NIC_KEYS = {"model", "mac", "macaddr", "addr", "vectors"}


def _pairs(c: Context) -> list[tuple[str, str]]:
    """The argument in its order, repeated keys and all; or a JSON object."""
    from pcemu.net import options

    if not c.value.startswith("{"):
        return options.pairs(c.value)
    return options.flatten(c.json_object())


def netdev(c: Context) -> None:
    from pcemu.net import options

    if c.value in optstr.HELP_WORDS:
        c.show(options.help_text())
    pairs = _pairs(c)
    names = [value for key, value in pairs if key == "id"]
    if not names:
        raise at(c.option, c.value, "Parameter 'id' is missing")
    if any(("id", names[-1]) in other.pairs for other in c.config.netdevs):
        raise at(c.option, c.value, f"Duplicate ID '{names[-1]}' for netdev")
    c.config.netdevs.append(NetdevConfig(pairs, f"-{c.option} {c.value}"))


def _model(c: Context, name: str) -> str:
    if name in optstr.HELP_WORDS:
        c.show("Supported NIC models:\n" + "\n".join(sorted(set(NIC_MODELS.values()))))
    if name in NIC_MODELS:
        return NIC_MODELS[name]
    if name in MODULES and name not in PLANNED:
        return name
    if name in NIC_MODELS_PLANNED:
        raise at(c.option, c.value, f"NIC model '{name}' is not implemented yet")
    raise UsageError(f"-{c.option} {c.value}: Unsupported NIC model: {name}")


def _card(c: Context, given: dict[str, str], netdev_id: str) -> None:
    """A card of -nic or -net nic."""
    model = _model(c, given.get("model", DEFAULT_NIC))
    props = {"netdev": netdev_id}
    for key, name in (("mac", "mac"), ("macaddr", "mac"), ("addr", "addr"), ("vectors", "vectors")):
        if key in given:
            props[name] = given[key]
    c.config.nics.append(DeviceConfig(model, props, f"-{c.option} {c.value}"))


def _fresh(c: Context, stem: str) -> str:
    """A name for a client that the user gave none."""
    used = {other.name for other in c.config.netdevs} | {value for other in c.config.netdevs for _, value in other.pairs}
    return next(name for name in (f"{stem}{n}" for n in range(len(c.config.netdevs) + 1)) if name not in used)


def nic(c: Context) -> None:
    """-nic TYPE: a back end and a card on it."""
    pairs = _pairs(c)
    given = {key: value for key, value in pairs if key in _NIC_KEYS}
    rest = [(key, value) for key, value in pairs if key not in _NIC_KEYS]
    kind = dict(rest).get("type", "")
    if kind == "none":
        if len(pairs) > 1:
            raise at(c.option, c.value, "'none' stands alone")
        return
    if "model" in given:
        _model(c, given["model"])
    name = dict(rest).get("id", "") or _fresh(c, "#net")
    c.config.netdevs.append(NetdevConfig(rest, f"-{c.option} {c.value}", name))
    _card(c, given, name)


def net(c: Context) -> None:
    """-net nic and -net TYPE: everything without netdev= is plugged into hub 0."""
    pairs = _pairs(c)
    given = dict(pairs)
    kind = given.get("type", "")
    where = f"-{c.option} {c.value}"
    if kind == "none":
        return
    if kind == "nic":
        unknown = [key for key in given if key not in {*_NIC_KEYS, "type", "netdev", "name", "id"}]
        if unknown:
            raise at(c.option, c.value, f"Invalid parameter '{unknown[0]}'")
        target = given.get("netdev") or _hub_port(c, where)
        _card(c, given, target)
        return
    if kind == "hubport":
        raise at(c.option, c.value, "Parameter 'type' does not accept value 'hubport'")
    name = given.get("id") or given.get("name") or _fresh(c, f"{kind}.")
    rest = [(key, value) for key, value in pairs if key not in ("name", "id")]
    c.config.netdevs.append(NetdevConfig(rest, where, name))
    _hub_port(c, where, name)


def _hub_port(c: Context, where: str, netdev_id: str = "") -> str:
    name = _fresh(c, "hub0port")
    pairs = [("type", "hubport"), ("hubid", "0")] + ([("netdev", netdev_id)] if netdev_id else [])
    c.config.netdevs.append(NetdevConfig(pairs, where, name))
    return name


NET_OPTIONS: dict[str, Callable[[Context], None]] = {"netdev": netdev, "nic": nic, "net": net}
