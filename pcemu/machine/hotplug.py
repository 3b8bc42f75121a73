"""Devices that come and go while the machine exists (device_add, device_del)."""

from __future__ import annotations

from typing import Any

from pcemu.qom import Device, lookup
from pcemu.qom.errors import PcemuError
from pcemu.qom.object import check_identifier


def add_device(machine: Any, driver: str, props: dict[str, str]) -> Device:
    """Plug in what `driver,prop=value...` describes. The bus must allow it once the machine is built."""
    from .builder import find_bus, make_device

    cls = lookup(driver)
    if "id" in props:
        check_identifier(props["id"])
    bus = find_bus(machine, cls, props.get("bus"))
    if bus is None or not bus.hotpluggable:
        name = bus.name if bus is not None else "none"
        raise PcemuError(f"Bus '{name}' does not support hotplugging")
    device = make_device(machine, cls, bus, {name: value for name, value in props.items() if name != "bus"}, hotplugged=True)
    plugged = getattr(bus, "plugged", None)
    if plugged is not None:
        plugged(device)
    return device


def remove_device(machine: Any, device: Device) -> None:
    """Ask for a device's removal. Where the guest has a say, it is gone when the guest has let it go."""
    bus = device.parent_bus
    if bus is None or not bus.hotpluggable:
        name = bus.name if bus is not None else "none"
        raise PcemuError(f"Bus '{name}' does not support hotplugging")
    request = getattr(bus, "request_unplug", None)
    if request is not None:
        request(device)
    else:
        finish_removal(machine, device)


def finish_removal(machine: Any, device: Device) -> None:
    """The device leaves; monitors hear of it."""
    gone: dict[str, Any] = {"path": machine.path_of(device)}
    if device.id:
        gone = {"device": device.id, **gone}
    device.unplug()
    machine.emit_event("DEVICE_DELETED", gone)
