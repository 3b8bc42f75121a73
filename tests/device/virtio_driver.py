"""The driver's side of virtio over PCI, in the test's process: a board with one device, and queues it can put anything into."""

from __future__ import annotations

import struct
from typing import Any

from pcemu._core import engine
from pcemu.hw.pci.host import I440fxPciHost
from pcemu.testing.harness import TestMachine

MODERN_BAR, MSIX_BAR, LEGACY_BAR = 0xE0000000, 0xE1000000, 0xC000
COMMON, ISR, CONFIG, NOTIFY = (MODERN_BAR + at for at in (0, 0x1000, 0x2000, 0x3000))
MESSAGES = 0x100  # where MSI-X messages land, 4 bytes a vector
QUEUES = 0x10000  # rings, 64 KiB a queue
HEAP = 0x100000
NEXT, WRITE, INDIRECT = 1, 2, 4
AVAIL, USED = 0x80, 0x8000
VERSION_1, PACKED, EVENT_IDX, INDIRECT_DESC, RING_RESET = 1 << 32, 1 << 34, 1 << 29, 1 << 28, 1 << 40
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 0x40


class Queue:
    """A ring as a driver keeps it; `desc`, `driver` and `device` are where its areas are."""

    def __init__(self, rig: Rig, index: int, size: int, packed: bool, legacy: bool) -> None:
        self.rig, self.index, self.size, self.packed = rig, index, size, packed
        base = QUEUES + index * 0x10000
        self.desc = base
        self.driver = base + 16 * size
        used = self.driver + 6 + 2 * size
        self.device = -(-used // 4096) * 4096
        self.avail = 0  # split: index; packed: place
        self.wrap = self.used_wrap = 1
        self.seen = 0
        self.free = list(range(size))
        self.chains: dict[int, tuple[list[int], list[tuple[int, int]]]] = {}
        rig.m.memory.write(base, bytes(0x10000))

    def add(self, out: list[bytes], into: list[int], indirect: bool = False) -> int:
        """Make a chain available; returns its id."""
        rig = self.rig
        segments = [(rig.store(data), len(data), 0) for data in out]
        segments += [(rig.alloc(size), size, WRITE) for size in into]
        return self.add_raw(segments, indirect)

    def add_raw(self, segments: list[tuple[int, int, int]], indirect: bool = False) -> int:
        """The same with any addresses, lengths and flags."""
        writable = [(addr, size) for addr, size, flags in segments if flags & WRITE]
        table = [(addr, size, flags, i) for i, (addr, size, flags) in enumerate(segments)]
        if indirect:
            if self.packed:
                data = b"".join(struct.pack("<QIHH", a, n, 0, f) for a, n, f, _ in table)
            else:
                data = b"".join(struct.pack("<QIHH", a, n, f | (NEXT if i + 1 < len(table) else 0), i + 1)
                                for a, n, f, i in table)  # fmt: skip
            table = [(self.rig.store(data), len(data), INDIRECT, 0)]
        head = self.free[0]
        if self.packed:
            self._add_packed(head, table)
            slots = [self.free.pop(0) for _ in range(len(table))]
        else:
            slots = [self.free.pop(0) for _ in table]
            for i, (addr, size, flags, _) in enumerate(table):
                more = NEXT if i + 1 < len(table) else 0
                self.put_desc(slots[i], addr, size, flags | more, slots[i + 1] if more else 0)
            self.publish(head)
        self.chains[head] = (slots, writable)
        return head

    def put_desc(self, slot: int, addr: int, size: int, flags: int, next: int) -> None:
        self.rig.m.memory.write(self.desc + 16 * slot, struct.pack("<QIHH", addr, size, flags, next))

    def publish(self, head: int) -> None:
        """Put a descriptor's number into the available ring."""
        memory = self.rig.m.memory
        memory.st(self.driver + 4 + 2 * (self.avail % self.size), 2, head)
        self.avail = (self.avail + 1) & 0xFFFF
        memory.st(self.driver + 2, 2, self.avail)

    def _add_packed(self, ident: int, table: list[tuple[int, int, int, int]]) -> None:
        memory = self.rig.m.memory
        first = None
        for i, (addr, size, flags, _) in enumerate(table):
            flags |= (AVAIL if self.wrap else USED) | (NEXT if i + 1 < len(table) else 0)
            entry = struct.pack("<QIHH", addr, size, ident, flags)
            if first is None:
                first = self.desc + 16 * self.avail, entry
            else:
                memory.write(self.desc + 16 * self.avail, entry)
            self.avail += 1
            if self.avail == self.size:
                self.avail, self.wrap = 0, self.wrap ^ 1
        assert first is not None
        memory.write(*first)

    def kick(self) -> None:
        self.rig.m.memory.st(NOTIFY + 4 * self.index, 2, self.index)

    def used(self) -> list[tuple[int, int, bytes]]:
        """What came back since: id, length, and the bytes of the writable part up to that."""
        found = []
        memory = self.rig.m.memory
        while True:
            if self.packed:
                _, length, ident, flags = struct.unpack("<QIHH", memory.read(self.desc + 16 * self.seen, 16))
                if bool(flags & AVAIL) != bool(self.used_wrap) or bool(flags & USED) != bool(self.used_wrap):
                    return found
            else:
                if memory.ld(self.device + 2, 2) == self.seen & 0xFFFF:
                    return found
                ident, length = struct.unpack("<II", memory.read(self.device + 4 + 8 * (self.seen % self.size), 8))
            slots, writable = self.chains.pop(ident)
            data = b"".join(memory.read(addr, size) for addr, size in writable)
            found.append((ident, length, data[:length]))
            self.free += slots
            if self.packed:
                self.seen += len(slots)
                if self.seen >= self.size:
                    self.seen, self.used_wrap = self.seen - self.size, self.used_wrap ^ 1
            else:
                self.seen += 1

    def transfer(self, out: list[bytes], into: list[int], indirect: bool = False) -> tuple[int, bytes]:
        """One request there and back: the length the device says, and what it wrote."""
        head = self.add(out, into, indirect)
        self.kick()
        self.rig.settle()
        ((ident, length, data),) = self.used()
        assert ident == head
        return length, data


class Rig:
    """A board with the device `type_name` and the driver of it."""

    def __init__(self, type_name: str, machine: TestMachine | None = None, **props: Any) -> None:
        self.m = machine or TestMachine(ram=16 << 20, isa=False, memory=engine.Memory())
        self.host: I440fxPciHost = self.m.add(I440fxPciHost)
        self.pci = self.m.add(type_name, self.host.pci, addr="05.0", **props)
        self.dev = self.pci.vdev
        self.heap = HEAP
        self.queues: list[Queue] = []
        self.place()

    def place(self) -> None:
        for offset, addr in ((0x10, LEGACY_BAR), (0x14, MSIX_BAR), (0x20, MODERN_BAR), (0x24, 0)):
            self.pci.config_write(offset, addr, 4)
        self.pci.config_write(4, 7, 2)

    def settle(self) -> None:
        """For devices that answer later: let them."""

    # -- memory -------------------------------------------------------------------------------------------------

    def alloc(self, size: int) -> int:
        at = self.heap
        self.heap += (size + 15) & ~15
        self.m.memory.write(at, bytes(size))
        return at

    def store(self, data: bytes) -> int:
        at = self.alloc(len(data))
        self.m.memory.write(at, data)
        return at

    # -- registers ----------------------------------------------------------------------------------------------

    def get(self, offset: int, size: int) -> int:
        return self.m.mmio_read(COMMON + offset, size)

    def put(self, offset: int, size: int, value: int) -> None:
        self.m.mmio_write(COMMON + offset, size, value)

    @property
    def status(self) -> int:
        return self.get(0x14, 1)

    def offered(self) -> int:
        bits = 0
        for half in (0, 1):
            self.put(0, 4, half)
            bits |= self.get(4, 4) << 32 * half
        return bits

    def config(self, offset: int, size: int) -> int:
        return self.m.mmio_read(CONFIG + offset, size)

    def start(self, features: int = 0, queues: int | None = None, size: int = 0, msix: bool = True) -> None:
        """Reset, negotiate (VERSION_1 besides `features`), set the queues up, and go."""
        self.put(0x14, 1, 0)
        assert self.status == 0
        self.put(0x14, 1, ACKNOWLEDGE)
        self.put(0x14, 1, ACKNOWLEDGE | DRIVER)
        features |= VERSION_1
        for half in (0, 1):
            self.put(8, 4, half)
            self.put(0xC, 4, features >> 32 * half & 0xFFFFFFFF)
        self.put(0x14, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK)
        assert self.status & FEATURES_OK
        if msix:
            self.enable_msix()
        self.queues = []
        for index in range(self.get(0x12, 2) if queues is None else queues):
            self.put(0x16, 2, index)
            if size:
                self.put(0x18, 2, size)
            queue = Queue(self, index, self.get(0x18, 2), bool(features & PACKED), False)
            self.queues.append(queue)
            for at, addr in ((0x20, queue.desc), (0x28, queue.driver), (0x30, queue.device)):
                self.put(at, 4, addr & 0xFFFFFFFF)
                self.put(at + 4, 4, addr >> 32)
            if msix:
                self.put(0x1A, 2, min(index + 1, self.pci.msix.vectors - 1))
            self.put(0x1C, 2, 1)
        self.put(0x14, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

    def enable_msix(self) -> None:
        for vector in range(self.pci.msix.vectors):
            at = MSIX_BAR + 16 * vector
            for offset, value in ((0, MESSAGES + 4 * vector), (4, 0), (8, 0xB0 + vector), (12, 0)):
                self.m.mmio_write(at + offset, 4, value)
        self.pci.config_write(self.pci.msix.offset + 3, 0x80, 1)
        self.put(0x10, 2, 0)

    def interrupts(self, vector: int) -> bool:
        """Was there a message of this vector since the last look?"""
        at = MESSAGES + 4 * vector
        came = self.m.memory.ld(at, 4) == 0xB0 + vector
        self.m.memory.st(at, 4, 0)
        return came
