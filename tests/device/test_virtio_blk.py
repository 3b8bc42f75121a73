"""virtio-blk against a disk in memory: requests of every kind, in any pieces, and what goes wrong."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from device.virtio_driver import DRIVER_OK, NEEDS_RESET, PACKED, VERSION_1, Rig

from pcemu._core import engine
from pcemu.block.backend import Statistics
from pcemu.qom import PcemuError
from pcemu.testing.harness import TestMachine

FLUSH, CONFIG_WCE = 1 << 9, 1 << 11
SECTORS = 64


class Disk:
    """A BlockBackend whose requests end at once, or when `finish()` is called."""

    def __init__(self, ident: str = "d0", read_only: bool = False) -> None:
        self.node_name = ""
        self.id = ident
        self.data = bytearray(Random(1).randbytes(SECTORS * 512))
        self.sectors = SECTORS
        self.read_only = read_only
        self.write_cache = True
        self.may_finish_early = False
        self.options: dict[str, str] = {}
        self.stats = Statistics()
        self.on_resize: Any = None
        self.slow = False
        self.error = 0
        self.log: list[Any] = []
        self.waiting: list[Callable[[], None]] = []

    def attach(self, owner: str) -> None:
        self.log.append(("attach", owner))

    def detach(self) -> None:
        self.log.append("detach")

    def _run(self, work: Callable[[], object], done: Callable[[int], None]) -> None:
        def run() -> None:
            if not self.error:
                work()
            done(self.error)

        if self.slow:
            self.waiting.append(run)
        else:
            run()

    def preadv(self, offset: int, views: list[memoryview], done: Any) -> None:
        def work() -> None:
            at = offset
            for view in views:
                view[:] = self.data[at : at + len(view)]
                at += len(view)

        self._run(work, done)

    def pwritev(self, offset: int, views: list[memoryview], done: Any, fua: bool = False) -> None:
        def work() -> None:
            data = b"".join(views)
            self.data[offset : offset + len(data)] = data

        self._run(work, done)

    def flush(self, done: Any) -> None:
        self._run(lambda: self.log.append("flush"), done)

    def discard(self, offset: int, length: int, done: Any) -> None:
        self._run(lambda: self.log.append(("discard", offset, length)), done)

    def write_zeroes(self, offset: int, length: int, done: Any, unmap: bool = False) -> None:
        self._run(lambda: self.log.append(("zero", offset, length, unmap)), done)

    def finish(self) -> None:
        waiting, self.waiting = self.waiting, []
        for run in waiting:
            run()

    drain = finish


class BlkRig(Rig):
    def __init__(self, disk: Disk | None = None, **props: Any) -> None:
        self.disk = disk or Disk()
        machine = TestMachine(ram=16 << 20, isa=False, memory=engine.Memory())
        machine.drives["d0"] = self.disk
        super().__init__("virtio-blk-pci", machine, drive="d0", **props)

    def request(self, kind: int, sector: int, out: list[bytes] | None = None, into: list[int] | None = None,
                indirect: bool = False) -> tuple[int, bytes]:  # fmt: skip
        """Status and data of one request."""
        header = struct.pack("<IIQ", kind, 0, sector)
        length, data = self.queues[0].transfer([header, *(out or [])], [*(into or []), 1], indirect)
        assert length in (1, sum(into or []) + 1)
        return (data[-1] if length > 1 or not into else self.last_status()), data[:-1]

    def last_status(self) -> int:
        return int(self.m.memory.ld(self.heap - 16, 1))


@pytest.fixture
def rig() -> BlkRig:
    rig = BlkRig()
    rig.start(FLUSH | CONFIG_WCE)
    return rig


@pytest.mark.parametrize("features", [0, PACKED])
def test_reads_and_writes_in_pieces(features: int) -> None:
    rig = BlkRig(packed=True)
    rig.start(features | FLUSH)
    random = Random(3)
    mirror = bytearray(rig.disk.data)
    for _ in range(200):
        rig.heap = 0x100000
        sector, count = random.randrange(SECTORS - 8), random.randrange(1, 9)
        cut = random.randrange(1, count * 512)
        if random.random() < 0.5:
            status, data = rig.request(0, sector, into=[cut, count * 512 - cut])
            assert (status, data) == (0, bytes(mirror[sector * 512 : (sector + count) * 512]))
        else:
            data = random.randbytes(count * 512)
            assert rig.request(1, sector, [data[:cut], data[cut:]])[0] == 0
            mirror[sector * 512 : (sector + count) * 512] = data
    assert rig.disk.data == mirror


def test_header_and_data_in_one_buffer(rig: BlkRig) -> None:
    data = bytes(range(256)) * 2
    length, back = rig.queues[0].transfer([struct.pack("<IIQ", 1, 0, 3) + data], [1])
    assert (length, back) == (1, b"\0") and rig.disk.data[3 * 512 : 4 * 512] == data
    length, back = rig.queues[0].transfer([struct.pack("<IIQ", 0, 0, 3)], [513])
    assert (length, back) == (513, data + b"\0")


@pytest.mark.parametrize(
    "kind,sector,out,into,status",
    [
        (0, SECTORS, None, [512], 1),  # behind the end
        (0, SECTORS - 1, None, [1024], 1),
        (0, 2**55, None, [512], 1),  # whose byte offset does not fit 64 bits
        (0, 2**64 - 1, None, [512], 1),
        (0, 0, None, [100], 1),  # not whole sectors
        (1, 0, [bytes(100)], None, 1),
        (1, SECTORS, [bytes(512)], None, 1),
        (99, 0, None, None, 2),
        (11, 0, [struct.pack("<QII", SECTORS, 1, 0)], None, 1),
        (11, 0, [struct.pack("<QII", 0, 1, 1)], None, 2),  # discard has no flags
        (11, 0, [struct.pack("<QII", 0, 1, 0) * 2], None, 2),  # more segments than there may be
        (11, 0, [b"short"], None, 2),
        (13, 0, [struct.pack("<QII", 0, 1, 2)], None, 2),
        (13, 0, [struct.pack("<QII", 0, 0xFFFFFFFF, 0)], None, 1),
    ],
)
def test_what_cannot_be(rig: BlkRig, kind: int, sector: int, out: Any, into: Any, status: int) -> None:
    before = bytes(rig.disk.data)
    assert rig.request(kind, sector, out, into)[0] == status
    assert rig.disk.data == before and rig.status & DRIVER_OK and not rig.status & NEEDS_RESET


def test_requests_without_header_or_status(rig: BlkRig) -> None:
    for out, into in (([bytes(15)], [1]), ([bytes(16)], []), ([], [1])):
        rig.start()
        rig.queues[0].add(out, into)
        rig.queues[0].kick()
        assert rig.status & NEEDS_RESET


def test_other_commands(rig: BlkRig) -> None:
    assert rig.request(4, 0)[0] == 0
    assert rig.request(11, 0, [struct.pack("<QII", 2, 3, 0)])[0] == 0
    assert rig.request(13, 0, [struct.pack("<QII", 5, 6, 1)])[0] == 0
    assert rig.disk.log[1:] == ["flush", ("discard", 1024, 1536), ("zero", 2560, 3072, True)]


def test_serial_number() -> None:
    rig = BlkRig(serial="a serial number that is too long")
    rig.start()
    assert rig.request(8, 0, into=[20]) == (0, b"a serial number that")
    rig = BlkRig(serial="S1")
    rig.start()
    assert rig.request(8, 0, into=[20])[1] == b"S1".ljust(20, b"\0")


def test_read_only() -> None:
    rig = BlkRig(Disk(read_only=True))
    assert rig.offered() >> 5 & 1
    rig.start()
    assert rig.request(1, 0, [bytes(512)])[0] == 1
    assert rig.request(0, 0, into=[512])[0] == 0


def test_errors_of_the_host(rig: BlkRig) -> None:
    rig.disk.error = errno.EIO
    assert rig.request(0, 0, into=[512])[0] == 1
    assert rig.request(1, 0, [bytes(512)])[0] == 1
    assert rig.request(4, 0)[0] == 1


def test_werror_stop_tries_again() -> None:
    rig = BlkRig(werror="stop")
    stops: list[str] = []
    rig.m.stop = stops.append
    rig.start()
    rig.disk.error = errno.EIO
    data = b"\x55" * 512
    rig.queues[0].add([struct.pack("<IIQ", 1, 0, 1), data], [1])
    rig.queues[0].kick()
    assert stops == ["io-error"] and rig.queues[0].used() == []
    rig.disk.error = 0
    rig.dev._machine_event("RESUME", {})
    assert rig.queues[0].used()[0][1:] == (1, b"\0") and rig.disk.data[512:1024] == data


def test_many_in_flight_finish_in_any_order(rig: BlkRig) -> None:
    rig.disk.slow = True
    sent = {rig.queues[0].add([struct.pack("<IIQ", 0, 0, i)], [512, 1]): i for i in range(40)}
    rig.queues[0].kick()
    assert rig.queues[0].used() == []
    Random(2).shuffle(rig.disk.waiting)
    rig.disk.finish()
    found = rig.queues[0].used()
    assert len(found) == 40
    for ident, length, data in found:
        at = sent[ident] * 512
        assert length == 513 and data == bytes(rig.disk.data[at : at + 512]) + b"\0"


def test_reset_waits_for_what_is_in_flight(rig: BlkRig) -> None:
    rig.disk.slow = True
    rig.queues[0].add([struct.pack("<IIQ", 1, 0, 0), b"\x77" * 512], [1])
    rig.queues[0].kick()
    rig.put(0x14, 1, 0)
    assert rig.disk.waiting == [] and rig.disk.data[:512] == b"\x77" * 512
    rig.disk.slow = False
    rig.start()
    assert rig.queues[0].used() == []


def test_write_cache(rig: BlkRig) -> None:
    assert rig.config(32, 1) == 1
    rig.m.mmio_write(0xE0002020, 1, 0)
    assert rig.disk.write_cache is False and rig.config(32, 1) == 0
    rig.start(VERSION_1)  # a driver that knows nothing of caches
    assert rig.disk.write_cache is False
    rig.start(FLUSH)
    assert rig.disk.write_cache is True


def test_configuration() -> None:
    rig = BlkRig(logical_block_size="4k", physical_block_size="8k", num_queues=3, queue_size=128)
    assert (rig.config(0, 4), rig.config(12, 4), rig.config(20, 4)) == (SECTORS, 126, 4096)
    assert (rig.config(24, 1), rig.config(34, 2)) == (1, 3)
    assert rig.get(0x12, 2) == 3 and rig.pci.msix.vectors == 4
    rig.disk.sectors *= 2
    rig.start()
    generation = rig.get(0x15, 1)
    rig.disk.on_resize()
    assert rig.config(0, 4) == 2 * SECTORS and rig.interrupts(0) and rig.get(0x15, 1) != generation
    assert rig.request(0, 1, into=[512])[0] == 1  # not a whole block


@pytest.mark.parametrize(
    "props,text",
    [
        ({"logical_block_size": 1000}, "power of two"),
        ({"logical_block_size": 4096}, "physical_block_size"),
        ({"num_queues": 0}, "num-queues"),
        ({"queue_size": 100}, "power of 2"),
        ({"max_discard_sectors": 0}, "max-discard-sectors"),
        ({"scsi": True}, "scsi"),
        ({"num_queues": 2000}, "at most 1024"),
        ({"iommu_platform": True}, "neither legacy nor transitional"),
        ({"disable_legacy": "on", "disable_modern": True}, "neither modern nor legacy"),
        ({"cyls": 70000, "heads": 1, "secs": 1}, "cyls"),
    ],
)
def test_properties_that_cannot_be(props: dict[str, Any], text: str) -> None:
    with pytest.raises(PcemuError, match=text):
        BlkRig(**props)


def test_memory_that_is_gone_when_a_request_ends(rig: BlkRig) -> None:
    """A guest can take the RAM away that its ring is in (chipsets map ROM over some of it): its mistake, and no more."""
    rig.disk.slow = True
    rig.queues[0].add([struct.pack("<IIQ", 0, 0, 0)], [512, 1])
    rig.queues[0].kick()
    for region in rig.m.memory_root.ordered():
        if region.name == "pc.ram":
            region.enabled = False
    rig.disk.finish()
    assert rig.status & NEEDS_RESET
    assert any("not in RAM" in line for line in rig.m.log.messages)
