"""ib700 and pvpanic: ports, and what the machine makes of them by -action."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pcemu.machine.config import DeviceConfig, MachineConfig
from pcemu.machine.machine import Machine
from pcemu.testing.fakes import FakeCore
from pcemu.testing.harness import TestMachine

SECOND = 1_000_000_000


class Watched(TestMachine):
    def __init__(self) -> None:
        super().__init__()
        self.expired: list[int] = []

    def watchdog_expired(self) -> None:
        self.expired.append(self.clock.now())


def test_ib700() -> None:
    m = Watched()
    m.add("ib700")
    m.outb(0x443, 0xC)                      # (15 - 12) * 2 seconds
    m.clock.advance(5 * SECOND)
    m.outb(0x443, 0xC)                      # served in time
    m.clock.advance(5 * SECOND)
    assert m.expired == []
    m.clock.advance(2 * SECOND)
    assert m.expired == [11 * SECOND]
    m.outb(0x443, 0)
    m.outb(0x441, 0)                        # stopped
    m.clock.advance(100 * SECOND)
    m.outb(0x443, 0)
    m.reset()
    m.clock.advance(100 * SECOND)
    assert m.expired == [11 * SECOND]
    assert m.inb(0x443) == 0xFF


def test_state() -> None:
    m, other = Watched(), Watched()
    device, twin = m.add("ib700"), other.add("ib700")
    m.outb(0x443, 0xE)
    twin.set_state(device.get_state())
    other.clock.advance(3 * SECOND)
    assert other.expired == [2 * SECOND]


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine(MachineConfig(ram_size=1 << 20, devices=[DeviceConfig("pvpanic", {}), DeviceConfig("ib700", {})]),
                   core=FakeCore()).build()  # fmt: skip
    made.cont()
    yield made
    made.close()


def heard(machine: Machine) -> list[tuple[str, dict[str, Any]]]:
    events: list[tuple[str, dict[str, Any]]] = []
    machine.listeners.append(lambda name, data: events.append((name, data)))
    return events


@pytest.mark.parametrize(
    ("action", "shutdown", "said", "status", "asked"),
    [
        ("shutdown", "poweroff", "poweroff", "guest-panicked", [("shutdown", "guest-panic", 0)]),
        ("shutdown", "pause", "pause", "guest-panicked", []),
        ("pause", "poweroff", "pause", "guest-panicked", []),
        ("exit-failure", "poweroff", "poweroff", "guest-panicked", [("quit", "guest-panic", 1)]),
        ("none", "poweroff", "run", "running", []),
    ],
)
def test_panic(machine: Machine, action: str, shutdown: str, said: str, status: str, asked: list[Any]) -> None:
    machine.config.action_panic, machine.config.action_shutdown = action, shutdown
    events = heard(machine)
    device: Any = machine.find("pvpanic")
    assert device.io_read(0, 1) == 3
    device.io_write(0, 1, 1)
    assert events[0] == ("GUEST_PANICKED", {"action": said})
    assert (machine.status, machine._requests) == (status, asked)
    device.io_write(0, 2, 1)
    assert events[-1] == ("GUEST_CRASHLOADED", {"action": "run"})


@pytest.mark.parametrize(
    ("action", "status", "asked"),
    [
        ("reset", "running", [("reset", "guest-reset", 0)]),
        ("poweroff", "running", [("quit", "guest-shutdown", 0)]),
        ("pause", "watchdog", []),
        ("none", "running", []),
        ("inject-nmi", "running", []),
        ("debug", "running", []),
        ("shutdown", "running", []),
    ],
)
def test_watchdog_actions(machine: Machine, action: str, status: str, asked: list[Any]) -> None:
    machine.config.action_watchdog = action
    events = heard(machine)
    machine.watchdog_expired()
    assert events[0] == ("WATCHDOG", {"action": action})
    assert (machine.status, machine._requests) == (status, asked)
    assert (("POWERDOWN", {}) in events) == (action == "shutdown")
    assert machine.cpu.nmis == (1 if action == "inject-nmi" else 0)
