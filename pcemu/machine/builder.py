"""Building a machine: character devices, board, user devices, monitors, images, and the first reset."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pcemu.qom import Bus, Device, PcemuError, lookup
from pcemu.qom.catalog import KVM_ONLY, PLANNED
from pcemu.qom.errors import UnknownTypeError, suggestion

from . import types
from .config import DeviceConfig

if TYPE_CHECKING:
    from pcemu.chardev import Chardev

    from .machine import Machine


def build(machine: Machine) -> None:
    """Everything between a MachineConfig and a machine that can run."""
    config = machine.config
    for fd, number, opaque in config.fdsets:
        machine.fds.add(fd, number, opaque)
    board = types.load_board(config.machine)(machine, config.machine_options)
    machine.board = board
    _check_globals(machine)
    _build_objects(machine, late=False)
    if config.chardevs or config.serials or config.monitors or config.debugcon is not None:
        _build_consoles(machine)
    _build_netdevs(machine)
    _build_objects(machine, late=True)
    if config.drives or config.blockdevs:
        _build_drives(machine)
    board.build()
    for device in [*config.nics, *config.devices]:
        add_user_device(machine, device)
    _warn_of_loose_cables(machine)
    _build_monitors(machine)
    if config.qtest is not None:
        _build_qtest(machine, config.qtest)
    if config.gdb is not None:
        open_gdb(machine, config.gdb)
    _check_traces(machine)
    _load_images(machine)
    machine.reset_all()


def _build_consoles(machine: Machine) -> None:
    from pcemu import chardev

    config = machine.config
    for options in config.chardevs:
        chardev.create(machine, options)
    for index, spec in enumerate(config.serials):
        machine.serial_backends.append(_stream(machine, spec, f"serial{index}", "serial"))
    if config.debugcon is not None and _stream(machine, config.debugcon, "debugcon", "debugcon"):
        props = {"iobase": "0xe9", "chardev": "debugcon"}
        config.devices.insert(0, DeviceConfig("isa-debugcon", props, f"-debugcon {config.debugcon}"))


def _stream(machine: Machine, spec: str, ident: str, device: str) -> Chardev | None:
    """What `-serial SPEC` and the like name; `mon:` forms get a monitor too."""
    from pcemu import chardev

    def add_monitor(machine: Machine, made: Chardev) -> None:
        from pcemu import monitor

        monitor.create(machine, made)

    return chardev.from_spec(machine, spec, ident, device=device, monitor=add_monitor)


def _build_objects(machine: Machine, late: bool) -> None:
    """-object: those that stand alone first, those that name chardevs and netdevs behind these."""
    if not machine.config.objects:
        return
    from pcemu.qom.object import add_object, lookup_object

    for options, where in machine.config.objects:
        try:
            if lookup_object(options.get("qom-type", "")).late == late:
                add_object(machine, options)
        except PcemuError as error:
            raise PcemuError(f"{where}: {error}") from None


def _build_netdevs(machine: Machine) -> None:
    if not machine.config.netdevs:
        return
    from pcemu.net import options

    for wanted in machine.config.netdevs:
        try:
            options.create(machine, wanted.pairs, wanted.name)
        except PcemuError as error:
            raise PcemuError(f"{wanted.where}: {error}") from None


def _warn_of_loose_cables(machine: Machine) -> None:
    for client in machine.net_clients:
        if client.peer is None:
            word = "nic" if client.kind == "nic" else "netdev"
            print(f"pcemu: warning: {word} {client.name} has no peer", file=sys.stderr)
    hubs = {client.hub for client in machine.net_clients if client.kind == "hubport"}  # type: ignore[attr-defined]
    for hub in sorted(hubs, key=lambda hub: hub.number):
        peers = [port.peer.kind == "nic" for port in hub.ports if port.peer is not None]
        if True in peers and False not in peers:
            print(f"pcemu: warning: hub {hub.number} is not connected to host network", file=sys.stderr)
        elif False in peers and True not in peers:
            print(f"pcemu: warning: hub {hub.number} with no nics", file=sys.stderr)


def _build_drives(machine: Machine) -> None:
    from pcemu.block import options

    config = machine.config
    for driver, props, where in options.build(machine, config.blockdevs, config.drives, config.snapshot):
        config.devices.append(DeviceConfig(driver, props, where))


def _build_monitors(machine: Machine) -> None:
    if not machine.config.monitors:
        return
    from pcemu import monitor

    for index, wanted in enumerate(machine.config.monitors):
        backend = _stream(machine, wanted.spec, f"compat_monitor{index}", "monitor")
        if backend is not None:
            monitor.create(machine, backend, wanted.mode, wanted.pretty)


def _build_qtest(machine: Machine, spec: str) -> None:
    from pcemu.monitor.qtest import QtestServer

    backend = _stream(machine, spec, "qtest", "qtest")
    if backend is not None:
        machine.qtest = QtestServer(machine, backend, machine.config.qtest_log)


def open_gdb(machine: Machine, spec: str) -> None:
    """-gdb DEV, gdbserver DEV: let a debugger connect there, and nowhere else; 'none' for nowhere."""
    from pcemu import chardev
    from pcemu.debug.gdbstub import GdbStub
    from pcemu.monitor import Shell

    if machine.debugger is not None:
        old, machine.debugger = machine.debugger, None
        old.close()
        if old.chardev.id == "gdb":
            old.chardev.close()
            machine.chardevs.pop("gdb", None)
    if spec.startswith("tcp:"):
        spec += ",server=on,wait=off,nodelay=on"
    backend = chardev.from_spec(machine, spec, "gdb", device="gdb")
    if backend is not None:
        machine.debugger = GdbStub(machine, backend, Shell(machine).run)


def add_user_device(machine: Machine, wanted: DeviceConfig) -> Device:
    """-device: find the type and the bus, set the properties, plug in."""
    props = dict(wanted.props)
    try:
        cls = lookup(wanted.driver)
        if not cls.user_creatable:
            raise PcemuError(f"'{wanted.driver}' is part of the board and cannot be added")
        bus = find_bus(machine, cls, props.pop("bus", None))
        return make_device(machine, cls, bus, props)
    except PcemuError as error:
        raise PcemuError(f"{wanted.where}: {error}") from None


def make_device(machine: Machine, cls: type[Device], bus: Bus | None, props: dict[str, str], hotplugged: bool = False) -> Device:
    """Make and realize a device for the user; nothing of it stays when that fails."""
    if not cls.user_creatable:
        raise PcemuError(f"'{cls.type_name}' is part of the board and cannot be added")
    values = dict(props)
    ident = values.pop("id", None)
    values = {cls.property_decl(name).name: value for name, value in values.items()}
    for name, value in values.items():
        machine.complain(cls.property_decl(name).complaint(cls.type_name, value))
    before = len(machine.devices)
    machine.adding_for_user = True
    try:
        device = cls(machine, bus, ident, **values)
        device.hotplugged = hotplugged
        device.realize_now()
    except PcemuError:
        for made in reversed(machine.devices[before:]):
            if made.realized:
                made.unplug()
            else:
                Device.unplug(made)  # what its own class undoes was not done yet
        raise
    finally:
        machine.adding_for_user = False
    if hotplugged:
        device.reset()
    return device


def find_bus(machine: Machine, cls: type[Device], name: str | None) -> Bus | None:
    if name is None:
        if cls.bus_type is None:
            return None
        bus = machine.find_bus(cls.bus_type)
        if bus is None:
            raise PcemuError(f"No '{cls.bus_type}' bus found for device '{cls.type_name}'")
        return bus
    known = {bus.name: bus for bus in machine.buses()}
    # Older command lines say "pci" for the first PCI bus.
    found = known.get(name) or known.get(f"{name}.0")
    if found is None:
        raise PcemuError(f"Bus '{name}' not found{suggestion(name, known)}")
    if cls.bus_type is not None and found.type_name != cls.bus_type:
        raise PcemuError(f"'{cls.type_name}' can't go on {found.type_name} bus")
    return found


def _check_globals(machine: Machine) -> None:
    """-global for a type that exists must name a property it has; other types are only warned about."""
    for driver, name, value in machine.globals:
        if driver in KVM_ONLY:
            continue
        try:
            cls = lookup(driver)
        except UnknownTypeError:
            what = "is not implemented yet" if driver in PLANNED else "has invalid class name"
            print(f"pcemu: warning: global {driver}.{name} {what}", file=sys.stderr)
            continue
        try:
            machine.complain(cls.property_decl(name).complaint(driver, value))
        except PcemuError as error:
            raise PcemuError(f"can't apply global {driver}.{name}: {error}") from None


def _check_traces(machine: Machine) -> None:
    """A trace event that is named in full and that no device has."""
    known = {event for device in machine.devices for event in device.trace_events}
    for name in machine.config.trace_events:
        name = name.removeprefix("-")
        if name not in known and not any(char in name for char in "*?["):
            hint = suggestion(name, known)
            print(f"pcemu: warning: trace event '{name}' does not exist in this machine{hint}", file=sys.stderr)


def _load_images(machine: Machine) -> None:
    from pcemu import loader

    loader.load(machine)
