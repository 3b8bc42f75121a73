"""ACPI PCI hot-plug: the registers as the method of the DSDT uses them, without a guest."""

from __future__ import annotations

from typing import Any

import pytest

from pcemu._core import engine
from pcemu.hw.acpi.piix4_pm import Piix4Pm
from pcemu.hw.pci.host import I440fxPciHost
from pcemu.machine.hotplug import add_device, remove_device
from pcemu.qom import PcemuError
from pcemu.testing.harness import TestMachine

PORT, GPE = 0xAE00, 0xAFE0
UP, DOWN, EJECT, REMOVABLE, BUS, INDEX = (PORT + at for at in (0, 4, 8, 12, 16, 20))


@pytest.fixture
def m() -> TestMachine:
    m = TestMachine(isa=False, memory=engine.Memory())
    host = m.add(I440fxPciHost)
    pm = m.add(Piix4Pm, host.pci, addr="01.3")
    m.outw(GPE + 2, 2)  # enable the event
    pm.control = 1
    m.sci = m.watch(pm.irq)
    m.outl(BUS, 0)
    return m


def plug(m: TestMachine, **props: str) -> Any:
    return add_device(m, "virtio-rng-pci", props)


def test_a_device_comes(m: Any) -> None:
    device = plug(m, id="a", addr="5")
    assert m.sci.level == 1 and m.inw(GPE) & 2
    assert device.hotplugged and device.realized
    assert m.inl(UP) == 1 << 5 and m.inl(UP) == 0 and m.inl(DOWN) == 0
    m.outw(GPE, 2)
    assert m.sci.level == 0
    assert m.find_bus("PCI").config_read(5 << 3, 0, 4) == 0x10051AF4


def test_a_device_goes_when_the_guest_lets_it(m: Any) -> None:
    device = plug(m, id="a")
    slot = device.addr >> 3
    m.inl(UP)
    m.outw(GPE, 2)
    remove_device(m, device)
    assert m.sci.level == 1 and m.inl(DOWN) == 1 << slot
    assert "a" in m.by_id and device.realized
    m.outl(EJECT, 1 << slot)
    assert "a" not in m.by_id and m.inl(DOWN) == 0
    assert m.find_bus("PCI").config_read(slot << 3, 0, 4) == 0xFFFFFFFF
    assert not [d for d in m.devices if d.type_name.startswith("virtio")]
    plug(m, id="a", addr=f"{slot:x}")  # name and slot are free again


def test_reset_ends_what_was_asked(m: Any) -> None:
    device = plug(m, id="a")
    remove_device(m, device)
    plug(m, id="b")
    m.reset()
    assert "a" not in m.by_id and "b" in m.by_id
    m.outl(BUS, 0)
    assert (m.inl(UP), m.inl(DOWN)) == (0, 0)


def test_what_may_go(m: Any) -> None:
    assert m.inl(REMOVABLE) == 0xFFFFFFFF & ~(1 << 1)
    m.outl(EJECT, 1 << 1)  # the guest ejects its own power management
    m.outl(EJECT, 0)
    assert m.find("PIIX4_PM") is not None
    with pytest.raises(PcemuError, match="does not support hotplugging"):
        remove_device(m, m.find("PIIX4_PM"))


def test_other_registers(m: Any) -> None:
    plug(m, addr="7", **{"acpi-index": "33"})
    m.outl(INDEX, 1 << 7)
    assert m.inl(INDEX) == 33
    m.outl(BUS, 9)  # no such bus
    assert [m.inl(port) for port in (UP, DOWN, REMOVABLE, INDEX)] == [0] * 4
    m.outl(EJECT, 0xFFFFFFFF)
    m.outl(BUS, 0)
    assert m.inl(BUS) == 0 and m.inl(UP) == 1 << 7


def test_many_come_and_go(m: Any) -> None:
    for i in range(40):
        device = plug(m, id=f"d{i}")
        remove_device(m, device)
        m.outl(EJECT, 1 << (device.addr >> 3))
    assert len([d for d in m.devices if "virtio" in d.type_name]) == 0


def test_failure_leaves_nothing(m: Any) -> None:
    before = list(m.devices)
    for props in ({"addr": "1.3"}, {"period": "0"}, {"vectors": "5000"}, {"disable-legacy": "on", "disable-modern": "on"}):
        with pytest.raises(PcemuError):
            plug(m, **props)
    assert m.devices == before and m.inl(UP) == 0


def test_full_bus(m: Any) -> None:
    for _ in range(31):
        plug(m)
    with pytest.raises(PcemuError, match="no slot/function available"):
        plug(m)
