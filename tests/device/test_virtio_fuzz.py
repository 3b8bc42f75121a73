"""Random registers, random rings, in random order: whatever a driver does, the device survives, and works after a reset."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

import pytest
from device.test_virtio_blk import Disk
from device.virtio_driver import COMMON, CONFIG, LEGACY_BAR, MODERN_BAR, MSIX_BAR, NOTIFY, Rig

from pcemu._core import engine
from pcemu.net import NetClient
from pcemu.testing.harness import TestMachine

RAM = 16 << 20
STEPS = 1000
SEED = 0
ADDRESSES = (0x10000, 0x10100, 0x11000, 0x12000, 0x20000, 0x30000, RAM - 64, RAM - 4, 0, 0x40000000, MODERN_BAR, 2**64 - 8)
SIZES = (0, 1, 4, 8, 12, 16, 17, 32, 100, 512, 513, 4096, 65536, RAM, 0xFFFFFFFF)
# The last two fields of a descriptor: flags and next in split rings, id and flags in packed ones.
FLAGS = (0, 1, 2, 3, 4, 5, 7, 0x80, 0x8082)
NEXTS = (0, 1, 2, 3, 15, 0x80, 0x81, 0x82, 0x84, 0xFFFF)
PROPERTIES: dict[str, dict[str, Any]] = {
    "virtio-blk-pci": {"drive": "d0", "num-queues": 2},
    "virtio-net-pci": {"netdev": "n0", "mac": "52:54:00:12:34:56"},
    "virtio-serial-pci": {"max_ports": 3},
    "virtio-balloon-pci": {"free-page-reporting": True},
    "virtio-rng-pci": {},
}


def make(name: str) -> Rig:
    m = TestMachine(ram=RAM, isa=False, memory=engine.Memory())
    m.drives["d0"] = Disk()
    m.netdevs["n0"] = NetClient(m, "n0")
    m.add_chardev("c0")
    m.emit_event = lambda *_: None
    rig = Rig(name, m, packed=True, **PROPERTIES.get(name, {}))
    if name == "virtio-serial-pci":
        m.add("virtconsole", chardev="c0")
        m.add("virtserialport", name="p")
    return rig


def garbage(random: Random, m: TestMachine) -> None:
    """Something that looks like rings and descriptors, at the places where queues are put."""
    for base in (0x10000, 0x11000, 0x12000, 0x20000, 0x30000):
        data = b"".join(
            struct.pack("<QIHH", random.choice(ADDRESSES), random.choice(SIZES), random.choice(FLAGS), random.choice(NEXTS))
            for _ in range(16))  # fmt: skip
        m.memory.write(base, data)
    m.memory.write(0x11000, struct.pack("<HH8H", 0, random.choice((1, 2, 8, 200)), *(random.randrange(10) for _ in range(8))))


def poke(random: Random, rig: Rig) -> None:
    m = rig.m
    match random.randrange(12):
        case 0:
            m.mmio_write(COMMON + random.randrange(0x40), random.choice((1, 2, 4)), random.getrandbits(32))
        case 1:
            m.mmio_read(COMMON + random.randrange(0x48), random.choice((1, 2, 4, 8)))
        case 2:
            m.mmio_write(CONFIG + random.randrange(80), random.choice((1, 2, 4)), random.getrandbits(32))
            m.mmio_read(CONFIG + random.randrange(80), 4)
        case 3:
            m.outl(LEGACY_BAR + random.randrange(64), random.choice((0, 1, 0x10, 0x20, random.getrandbits(32))))
            m.inb(LEGACY_BAR + random.randrange(64))
        case 4:
            m.mmio_write(MSIX_BAR + random.randrange(0x900), 4, random.choice((0, 1, 0x1000)))
        case 5:
            rig.pci.config_write(random.choice((0x04, 0x40, 0x84, 0x88, 0x8C, 0x90, 0x94, 0x98)), random.getrandbits(32), 4)
            rig.pci.config_read(random.choice((0x84, 0x90, 0x94)), 4)
            rig.place()
        case 6:
            rig.put(0x14, 1, random.choice((0, 1, 3, 11, 15, 0x80)))
        case 7:
            for half in (0, 1):
                rig.put(8, 4, half)
                rig.put(0xC, 4, random.choice((0, 0xFFFFFFFF, 1, 5, random.getrandbits(32), rig.offered() >> 32 * half)))
        case 8 | 9:  # a queue, in the way of drivers
            rig.put(0x16, 2, random.randrange(8))
            rig.put(0x18, 2, random.choice((4, 8, 16, 3, 0, 2000)))
            for at in (0x20, 0x28, 0x30):
                rig.put(at, 4, random.choice((0x10000, 0x11000, 0x12000, 0x10000, RAM - 16)))
                rig.put(at + 4, 4, random.choice((0, 0, 0, 0, 1)))
            rig.put(0x1C, 2, 1)
        case 10:
            garbage(random, m)
            for queue in range(5):
                m.mmio_write(NOTIFY + 4 * queue, 2, queue)
        case 11:
            rig.put(0x14, 1, 0)
            rig.start(random.choice((0, 1 << 34, 1 << 28 | 1 << 29, 1 << 34 | 1 << 28)) | random.getrandbits(24) & rig.offered(),
                      queues=random.randrange(4), size=16, msix=rig.pci.msix is not None)
            m.clock.advance(random.randrange(1_000_000))


@pytest.mark.parametrize("name", PROPERTIES)
def test_random_drivers(name: str) -> None:
    rig = make(name)
    random = Random(f"{name} {SEED}")
    for _ in range(STEPS):
        poke(random, rig)
        rig.heap = 0x100000
    rig.place()
    rig.m.reset()
    rig.place()
    rig.heap = 0x100000
    rig.start(msix=rig.pci.msix is not None)
    assert rig.status == 15
