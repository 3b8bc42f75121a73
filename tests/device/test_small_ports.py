"""Ports 0x61, 0x80, 0x92 (and 0xed, where nothing is)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pcemu.hw.misc.pcspk import PcSpeaker
from pcemu.hw.misc.port80 import Port80
from pcemu.hw.misc.port92 import Port92
from pcemu.hw.timer.i8254 import FREQUENCY, I8254
from pcemu.qom import PcemuError
from pcemu.testing.harness import TestMachine

NS = 10**9


def pulse_ns(pulses: int) -> int:
    return -(-pulses * NS // FREQUENCY)


@pytest.fixture
def m() -> TestMachine:
    machine = TestMachine()
    machine.add(I8254, iobase=0x40)
    machine.add(PcSpeaker)
    machine.add(Port80)
    machine.add(Port92)
    return machine


# -- port 0x61 -------------------------------------------------------------------------------------------------


def test_port_61_needs_a_timer() -> None:
    with pytest.raises(PcemuError, match="isa-pcspk"):
        TestMachine().add(PcSpeaker)


def test_port_61_bits(m: TestMachine) -> None:
    assert m.inb(0x61) & ~0x30 == 0
    for value in range(256):
        m.outb(0x61, value)
        assert m.inb(0x61) & 0xCF == value & 0x0F


def test_port_61_gates_counter_2(m: TestMachine) -> None:
    m.outb(0x43, 0xB0)
    m.outb(0x42, 100)
    m.outb(0x42, 0)
    m.clock.advance(pulse_ns(1000))
    assert not m.inb(0x61) & 0x20, "the gate is low"
    m.outb(0x61, 1)
    m.clock.advance(pulse_ns(99))
    assert not m.inb(0x61) & 0x20
    m.clock.advance(pulse_ns(2))
    assert m.inb(0x61) & 0x20


def test_port_61_as_kernels_calibrate(m: TestMachine) -> None:
    """Linux: gate on, speaker off, 50 ms in mode 0, wait for OUT."""
    m.outb(0x61, m.inb(0x61) & ~0x02 | 0x01)
    m.outb(0x43, 0xB0)
    count = FREQUENCY // 20
    m.outb(0x42, count & 0xFF)
    m.outb(0x42, count >> 8)
    start = m.clock.now()
    polls = 0
    while not m.inb(0x61) & 0x20:
        m.clock.advance(1000)
        polls += 1
    assert abs(m.clock.now() - start - 50_000_000) < 3000 and polls > 49_000


def test_refresh_toggle(m: TestMachine) -> None:
    """Bit 4 changes every 18 pulses: 15.086 us."""
    changes = []
    last = m.inb(0x61) & 0x10
    for _ in range(2000):
        m.clock.advance(100)
        bit = m.inb(0x61) & 0x10
        if bit != last:
            changes.append(m.clock.now())
        last = bit
    gaps = [b - a for a, b in pairwise(changes)]
    assert len(changes) == 13 and all(15000 <= gap <= 15200 for gap in gaps)


def test_port_61_reset(m: TestMachine) -> None:
    m.outb(0x61, 0x0F)
    m.reset()
    assert m.inb(0x61) & 0x0F == 0
    pit = m.find("isa-pit")
    assert isinstance(pit, I8254) and pit.counters[2].gate == 0


def test_port_61_properties(m: TestMachine) -> None:
    speaker = m.find("isa-pcspk")
    assert speaker is not None
    assert speaker.qtree_lines() == ['audiodev = ""', "iobase = 97 (0x61)", "migrate = true"]


# -- port 0x80 and 0xed ----------------------------------------------------------------------------------------


def test_port_80(m: TestMachine) -> None:
    m.outb(0x80, 0xA5)
    post = m.find("ioport80")
    assert isinstance(post, Port80) and post.code == 0xA5
    assert ("ioport80", "port80_write", {"value": 0xA5}) in m.events
    assert m.inb(0x80) == 0xFF
    m.reset()
    assert post.code == 0


def test_port_ed_has_nothing(m: TestMachine) -> None:
    m.outb(0xED, 0x12)
    assert m.inb(0xED) == 0xFF


# -- port 0x92 -------------------------------------------------------------------------------------------------


def test_port_92_a20(m: TestMachine) -> None:
    port = m.find("port92")
    assert isinstance(port, Port92)
    a20 = m.watch(port.a20)
    assert m.inb(0x92) == 0
    m.outb(0x92, 0x02)
    assert a20.level == 1 and m.inb(0x92) == 0x02
    m.outb(0x92, 0x00)
    assert a20.level == 0
    assert m.requests == []


def test_port_92_reset(m: TestMachine) -> None:
    """A change of bit 0 from 0 to 1 resets."""
    m.outb(0x92, 0x03)
    assert m.requests == [("reset", "guest-reset", 0)]
    m.outb(0x92, 0x03)
    assert len(m.requests) == 1
    m.outb(0x92, 0x02)
    m.outb(0x92, 0x03)
    assert len(m.requests) == 2
    m.reset()
    assert m.inb(0x92) == 0


def test_port_92_qtree(m: TestMachine) -> None:
    port = m.find("port92")
    assert port is not None and port.qtree_lines() == ['gpio-out "a20" 1']
