"""Drivers that lie: rings that are nearly right, registers in any order, at any time, on old and new drivers' registers by turns.

A seed is a virtio device, some of whose queues run, and a few hundred steps: requests of which a field may be changed, rings
and registers that change under way, resets, what the world outside does, time. It fails when the device raises, when it does
not work after a reset, or when it writes where no descriptor let it.
"""

from __future__ import annotations

import functools
import struct
from random import Random
from typing import Any

from device.test_virtio_blk import Disk
from device.virtio_driver import AVAIL, COMMON, CONFIG, LEGACY_BAR, MODERN_BAR, MSIX_BAR, NEXT, NOTIFY, USED, WRITE, Rig

from pcemu._core import engine
from pcemu.net import Frame, NetClient, Offload
from pcemu.qom.memory import MemoryRegion
from pcemu.testing.harness import TestMachine

RAM = 4 << 20
STEPS = 150
FIRST, HEAP, FENCE = 0x10000, 0x100000, 0x300000  # of memory: rings, buffers, what nobody may touch
PACKED, EVENT_IDX, INDIRECT, VERSION_1 = 34, 29, 28, 32
DEVICES: dict[str, dict[str, Any]] = {
    "virtio-blk-pci": {"drive": "d0", "num-queues": 2},
    "virtio-net-pci": {"netdev": "n0", "mac": "52:54:00:12:34:56"},
    "virtio-serial-pci": {"max_ports": 3},
    "virtio-balloon-pci": {"free-page-reporting": True},
    "virtio-rng-pci": {},
}
ADDRESSES = (
    0,
    0x10,
    0xFFF,
    FIRST,
    HEAP,
    RAM - 1,
    RAM - 16,
    RAM - 4096,
    RAM,
    MODERN_BAR,
    LEGACY_BAR,
    1 << 32,
    (1 << 64) - 1,
    (1 << 64) - 16,
)
SIZES = (0, 1, 2, 3, 8, 12, 15, 16, 17, 31, 512, 513, 4095, 4096, 65536, RAM, 0x7FFFFFFF, 0xFFFFFFFF)


class Nothing:
    """Device memory in place of RAM."""

    def read(self, offset: int, size: int) -> int:
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        pass


class Cable(NetClient):
    """The other end of a network card, which has no room now and then."""

    full = False

    def receive(self, frame: Frame, offload: Offload | None = None) -> bool:
        len(bytes(frame))
        return not self.full


class Driver:
    """A driver of the device `name` that does not mean it well."""

    def __init__(self, name: str, rng: Random) -> None:
        self.name, self.rng = name, rng
        self.m = m = TestMachine(ram=RAM, isa=False, memory=engine.Memory())
        self.disk = Disk()
        m.drives["d0"] = self.disk
        self.net = Cable(m, "n0")
        self.net.takes = rng.choice((0, 0xFF))
        m.netdevs["n0"] = self.net
        self.chardev = m.add_chardev("c0")
        m.stop = lambda *_: None
        m.emit_event = lambda *_: None  # type: ignore[method-assign,assignment]
        props = dict(DEVICES[name])
        self.rig = Rig(name, m, packed=rng.random() < 0.7, **props)
        if name == "virtio-serial-pci":
            m.add("virtconsole", chardev="c0")
            m.add("virtserialport", name="p")
        self.cover: MemoryRegion | None = None
        self.heap = HEAP
        self.avail: dict[int, int] = {}
        self.wrap: dict[int, int] = {}
        self.size: dict[int, int] = {}
        self.base: dict[int, int] = {}
        self.packed = self.indirect = False
        m.memory.write(FENCE, b"\xa5" * 4096)

    # -- a queue as it should be ----------------------------------------------------------------------------------

    def begin(self, good: bool = False) -> None:
        """Set the device up, with some of the features, queues of any size, places that are mostly good."""
        rng, rig = self.rng, self.rig
        rig.place()
        rig.put(0x14, 1, 0)
        rig.put(0x14, 1, 1)
        rig.put(0x14, 1, 3)
        features = rig.offered() & (rng.getrandbits(64) | rng.choice((0, (1 << 64) - 1))) | 1 << VERSION_1
        if rng.random() < 0.5:
            features &= ~(1 << PACKED)
        for half in (0, 1):
            rig.put(8, 4, half)
            rig.put(0xC, 4, features >> 32 * half & 0xFFFFFFFF)
        rig.put(0x14, 1, 11)
        self.packed, self.indirect = bool(features >> PACKED & 1), bool(features >> INDIRECT & 1)
        if rng.random() < 0.7 and rig.pci.msix is not None:
            rig.enable_msix()
        self.avail.clear()
        odd = rng.randrange(8) if not good and rng.random() < 0.15 else -1  # at the very end of RAM
        for index in range(rig.get(0x12, 2)):
            if rng.random() < 0.1:
                continue
            rig.put(0x16, 2, index)
            size = rng.choice((1, 2, 4, 8, 16, 64, 256) if not self.packed else (1, 2, 3, 5, 8, 16, 100))
            rig.put(0x18, 2, size)
            self.size[index] = size = rig.get(0x18, 2) or 1
            base = FIRST + index * 0x4000 if index != odd else RAM - rng.choice((16, 16 * size, 16 * size + 8, 4096))
            self.base[index] = base
            for at, addr in ((0x20, base), (0x28, base + 0x1000), (0x30, base + 0x2000)):
                rig.put(at, 4, addr & 0xFFFFFFFF)
                rig.put(at + 4, 4, addr >> 32)
            rig.put(0x1A, 2, rng.choice((0, 1, index + 1, 0xFFFF)))
            self.m.memory.write(base, bytes(min(0x4000, RAM - base)))
            rig.put(0x1C, 2, 1)
            self.avail[index], self.wrap[index] = 0, 1
        rig.put(0x14, 1, 15)

    def store(self, data: bytes) -> tuple[int, int, int]:
        at = self.room(len(data))
        self.m.memory.write(at, data)
        return at, len(data), 0

    def room(self, size: int) -> int:
        if self.heap + size > FENCE:
            self.heap = HEAP
        at = self.heap
        self.heap += (size + 15) & ~15
        return at

    def space(self, size: int) -> tuple[int, int, int]:
        return self.room(size), size, WRITE

    def request(self, queue: int) -> list[tuple[int, int, int]]:
        """A chain that makes sense to the device."""
        rng, store, space = self.rng, self.store, self.space
        n = rng.choice((1, 4, 60, 512, 1514, 4096))
        match self.name:
            case "virtio-blk-pci":
                kind = rng.choice((0, 0, 1, 1, 4, 8, 11, 13, 2, 99))
                head = store(struct.pack("<IIQ", kind, 0, rng.choice((0, 1, 63, 64, 1 << 40))))
                if kind in (11, 13):
                    segments = b"".join(
                        struct.pack("<QII", rng.choice((0, 5, 1 << 60)), rng.choice((1, 8, 0xFFFFFFFF)), rng.randrange(4))
                        for _ in range(rng.choice((1, 1, 2, 300))))  # fmt: skip
                    return [head, store(segments), space(1)]
                data = [store(rng.randbytes(512 * rng.randrange(1, 5)))] if kind == 1 else [space(512 * rng.randrange(1, 5))]
                return [head, *(data if kind != 4 else []), space(1)]
            case "virtio-net-pci":
                last = max(self.avail, default=0)
                if queue == last and queue >= 2:
                    command = rng.choice(
                        (
                            (0, 0, b"\1"),
                            (0, 1, b"\0"),
                            (1, 1, bytes(6)),
                            (1, 0, struct.pack("<I", 1) + bytes(10)),
                            (2, 0, b"\1\0"),
                            (2, 1, b"\5\0"),
                            (4, 0, b"\1\0"),
                            (5, 0, bytes(8)),
                            (3, 0, b""),
                            (99, 9, b"x"),
                        )
                    )
                    return [store(bytes(command[:2])), store(command[2]) if command[2] else space(1), space(1)][::1]
                if queue % 2 == 0:
                    return [space(rng.choice((12, 100, 1526, 70_000)))]
                sizes = [rng.randrange(most) for most in (100, 3000, 100, 40, 4)]
                header = struct.pack("<BBHHHHH", rng.choice((0, 1, 3)), rng.choice((0, 1, 3, 4, 0x81)), *sizes)
                frame = bytes(12) + rng.choice((b"\x08\0E\0", b"\x86\xdd`\0", b"\x81\0\0\1")) + rng.randbytes(n)
                return [store(header), store(frame)] if rng.random() < 0.7 else [store(header + frame)]
            case "virtio-serial-pci":
                if queue % 2 == 0:
                    return [space(n)]
                if queue == 3:
                    return [store(struct.pack("<IHH", rng.choice((0, 1, 2, 99)), rng.randrange(10), rng.randrange(3)))]
                return [store(rng.randbytes(n))]
            case "virtio-balloon-pci":
                if queue == 2:
                    return [
                        store(
                            b"".join(struct.pack("<HQ", rng.randrange(12), rng.getrandbits(40)) for _ in range(rng.randrange(12)))
                            or b"x"
                        )
                    ]
                if queue >= 3:
                    return [(HEAP + 4096 * rng.randrange(100), 4096 * rng.randrange(1, 4), WRITE)]
                return [
                    store(
                        b"".join(
                            struct.pack("<I", rng.choice((HEAP >> 12, 0x180, RAM >> 12, 0xFFFFFFFF)))
                            for _ in range(rng.randrange(1, 20))
                        )
                    )
                ]
        return [space(n)]

    def damage(self, chain: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        """One thing is not as it should be."""
        rng = self.rng
        at = rng.randrange(len(chain))
        addr, size, flags = chain[at]
        match rng.randrange(8):
            case 0:
                addr = rng.choice(ADDRESSES)
            case 1:
                size = rng.choice(SIZES)
            case 2:
                flags ^= rng.choice((1, 2, 4, 0x8000, 0x80, 8))
            case 3:
                return [*chain, *chain]
            case 4:
                return chain[::-1]
            case 5:
                return chain[:at] + chain[at + 1 :] or [(0, 0, 0)]
            case 6:  # cut up
                cut = rng.randrange(1, max(2, size))
                return [*chain[:at], (addr, cut, flags), (addr + cut, max(size - cut, 0), flags), *chain[at + 1 :]]
            case 7:
                addr, size = RAM - rng.choice((1, 8, 100)), rng.choice((1, 8, 100, 4096))
        return [*chain[:at], (addr, size, flags), *chain[at + 1 :]]

    def offer(self, queue: int, chain: list[tuple[int, int, int]]) -> None:
        """Put a chain into the ring, which may be damaged too."""
        rng, memory = self.rng, self.m.memory
        base, size = self.base[queue], self.size[queue]
        wild = rng.random() < 0.1
        if (self.indirect or wild) and rng.random() < 0.4:
            if self.packed:
                table = b"".join(struct.pack("<QIHH", a & (1 << 64) - 1, n & 0xFFFFFFFF, 0, f & 0xFFFF) for a, n, f in chain)
            else:
                table = b"".join(struct.pack("<QIHH", a & (1 << 64) - 1, n & 0xFFFFFFFF, f | (NEXT if i + 1 < len(chain) else 0),
                                             i + 1 if rng.random() < 0.98 else rng.choice((0, i, 255, 0xFFFF)))
                                 for i, (a, n, f) in enumerate(chain))  # fmt: skip
            where, length, _ = self.store(table)
            if wild and rng.random() < 0.3:
                where, length = RAM - 24, rng.choice((length, 16, 1 << 20, 0xFFFFFFF0, 15))
            chain = [(where, length, 4)]
        at = self.avail[queue]
        for i, (addr, length, flags) in enumerate(chain[:size]):
            flags |= NEXT if i + 1 < len(chain) else 0
            slot = (at + i) % size
            following = (slot + 1) % size if rng.random() < 0.98 else rng.choice((slot, 0, size, 0xFFFF))
            if self.packed:
                wrap = self.wrap[queue] ^ (at + i >= size)
                flags |= AVAIL if wrap else USED
                tail = struct.pack("<HH", slot if not wild else rng.choice((0, size, 0xFFFF)), flags & 0xFFFF)
            else:
                tail = struct.pack("<HH", flags & 0xFFFF, following)
            data = struct.pack("<QI", addr & (1 << 64) - 1, length & 0xFFFFFFFF) + tail
            if base + 16 * slot + 16 <= RAM:
                memory.write(base + 16 * slot, data)
        used = min(len(chain), size)
        if self.packed:
            self.avail[queue] = (at + used) % size
            self.wrap[queue] ^= at + used >= size
            return
        ring = base + 0x1000
        if ring + 6 + 2 * size > RAM:
            return
        index = memory.ld(ring + 2, 2)
        memory.st(ring + 4 + 2 * (index % size), 2, at % size if not wild else rng.choice((0, size - 1, size, 0xFFFF)))
        memory.st(ring + 2, 2, index + (1 if rng.random() < 0.99 else rng.choice((2, size, size + 1, 0x8000))) & 0xFFFF)
        memory.st(ring, 2, rng.choice((0, 0, 1)))
        self.avail[queue] = (at + used) % size

    # -- one thing after the other --------------------------------------------------------------------------------

    def step(self) -> None:
        rng, rig, m = self.rng, self.rig, self.m
        what = rng.random()
        if what < 0.6 and self.avail:
            queue = rng.choice(list(self.avail))
            left = self.size[queue] if rng.random() < 0.98 else 1000
            for _ in range(rng.choice((1, 1, 1, 3, 20))):
                chain = self.request(queue)
                left -= len(chain)
                if left >= 0:
                    self.offer(queue, self.damage(chain) if rng.random() < 0.06 else chain)
            self.kick(queue)
        elif what < 0.7:
            self.outside()
        elif what < 0.72:
            self.registers()
        elif what < 0.74:
            self.legacy()
        elif what < 0.77 and self.avail:  # the ring changes while it runs
            queue = rng.choice(list(self.avail))
            rig.put(0x16, 2, queue)
            match rng.randrange(5):
                case 0:
                    rig.put(0x18, 2, rng.choice((0, 1, 3, 8, 1024, 0xFFFF)))
                case 1:
                    rig.put(rng.choice((0x20, 0x28, 0x30)), 4, rng.choice(ADDRESSES) & 0xFFFFFFFF)
                case 2:
                    rig.put(0x3A, 2, 1)
                case 3:
                    rig.put(0x1C, 2, rng.randrange(2))
                case 4:
                    m.memory.write(self.base[queue], rng.randbytes(min(64, RAM - self.base[queue])))
            self.kick(queue)
        elif what < 0.78:
            rig.pci.config_write(4, rng.choice((0, 2, 3, 6, 7, 7)), 2)
        elif what < 0.782:
            self.state()
        elif what < 0.79:
            self.move_memory()
        elif rig.status & 0x40 or what < 0.8:
            if self.cover is not None and rng.random() < 0.5:
                self.uncover()
            self.begin()
        else:
            m.clock.advance(rng.randrange(10 ** rng.randrange(10)))

    def kick(self, queue: int) -> None:
        self.m.mmio_write(NOTIFY + 4 * queue, 2, queue)
        if self.rng.random() < 0.05:
            self.m.outw(LEGACY_BAR + 16, self.rng.randrange(10))

    def outside(self) -> None:
        """The other side of the device."""
        rng, dev = self.rng, self.rig.dev
        match self.name:
            case "virtio-blk-pci":
                self.disk.slow = rng.random() < 0.5
                self.disk.error = rng.choice((0, 0, 0, 5, 28))
                self.disk.finish()
            case "virtio-net-pci":
                offload = Offload(1, rng.choice((0, 1, 4)), 54, 1448, 34, 16) if rng.random() < 0.3 else None
                self.net.send(rng.randbytes(rng.choice((14, 60, 1514, 9000, 65550))), offload)
                self.net.full = rng.random() < 0.3
                if not self.net.full:
                    self.net.flush_queued()
                if rng.random() < 0.1:
                    self.net.set_link(rng.random() < 0.7)
            case "virtio-serial-pci":
                self.chardev.feed(rng.randbytes(rng.randrange(1, 3000)))
                self.chardev.event(rng.choice(("opened", "closed")))
            case "virtio-balloon-pci":
                dev.set_target(rng.randrange(RAM))
                dev.set_polling_interval(rng.randrange(3))

    def registers(self) -> None:
        rng, m, rig = self.rng, self.m, self.rig
        for _ in range(rng.randrange(1, 6)):
            match rng.randrange(4):
                case 0:
                    m.mmio_write(COMMON + rng.randrange(0x40), rng.choice((1, 2, 4)), rng.getrandbits(32))
                    m.mmio_read(COMMON + rng.randrange(0x48), rng.choice((1, 2, 4, 8)))
                case 1:
                    m.mmio_write(CONFIG + rng.randrange(80), rng.choice((1, 2, 4)), rng.getrandbits(32))
                    m.mmio_read(CONFIG + rng.randrange(80), rng.choice((1, 2, 4)))
                case 2:
                    m.mmio_write(MSIX_BAR + rng.randrange(0x900), 4, rng.choice((0, 1, 0x1000, 0xFEE00000)))
                case 3:
                    rig.pci.config_write(rng.randrange(0x40, 0x100), rng.getrandbits(32), rng.choice((1, 2, 4)))
                    rig.pci.config_read(rng.randrange(0x100), rng.choice((1, 2, 4)))

    def legacy(self) -> None:
        """A driver of before 1.0 comes in between."""
        rng, m = self.rng, self.m
        page = rng.choice((0, FIRST >> 12, (RAM >> 12) - 1, RAM >> 12, 0xFFFFFFFF))
        status = rng.choice((0, 1, 3, 7, 0x80))
        writes = ((18, 1, status), (4, 4, rng.getrandbits(32)), (14, 2, rng.randrange(6)), (8, 4, page), (18, 1, 7),
                  (16, 2, rng.randrange(6)), (20, 2, rng.randrange(9)), (24 + rng.randrange(40), 1, 255))  # fmt: skip
        for offset, width, value in writes:
            if rng.random() < 0.5:
                {1: m.outb, 2: m.outw, 4: m.outl}[width](LEGACY_BAR + offset, value)
            m.inb(LEGACY_BAR + offset)

    def move_memory(self) -> None:
        """Rings or buffers are no longer in RAM, or are again."""
        if self.cover is None:
            self.cover = MemoryRegion.mmio("cover", 0x20000, Nothing())
            self.rig.m.memory_root.add(self.cover, self.rng.choice((FIRST, HEAP)), priority=10)
        else:
            self.uncover()
        self.kick(0)

    def uncover(self) -> None:
        if self.cover is not None:
            self.rig.m.memory_root.remove(self.cover)
            self.cover = None

    def state(self) -> None:
        """Saved and loaded again."""
        self.disk.finish()
        self.rig.dev.get_state()
        self.rig.pci.get_state()


@functools.cache
def names() -> list[str]:
    return sorted(DEVICES)


def check(seed: int) -> None:
    rng = Random(seed)
    driver = Driver(names()[seed % len(DEVICES)], rng)
    driver.begin()
    for _ in range(STEPS):
        driver.step()
    rig = driver.rig
    driver.disk.slow, driver.disk.error = False, 0
    driver.disk.finish()
    driver.uncover()
    rig.m.reset()
    rig.place()
    assert rig.m.memory.read(FENCE, 4096) == b"\xa5" * 4096, "memory that no descriptor named was written"
    driver.begin(good=True)
    assert rig.status == 15, f"status {rig.status:#x} after a reset"
