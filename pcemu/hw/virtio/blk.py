"""virtio-blk: the block device (virtio 1.2, 5.2).

A request's data goes between guest memory and the image without a copy: the ring's views of guest RAM are what the
block layer reads into and writes from.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from struct import Struct, pack
from typing import TYPE_CHECKING, Any, ClassVar

from pcemu.qom import Property

from .device import MAX_QUEUE_SIZE, VirtioDevice
from .pci import UNSPECIFIED, VirtioPci, transports
from .queue import Virtqueue

if TYPE_CHECKING:
    from pcemu._core.ring import Chain

SECTOR = 512
HEADER = Struct("<IIQ")  # type, reserved, sector
SEGMENT = Struct("<QII")  # of discard and write zeroes: sector, number of sectors, flags
UNMAP = 1

# Request types and status bytes (5.2.6).
T_IN, T_OUT, T_FLUSH, T_GET_ID, T_DISCARD, T_WRITE_ZEROES = 0, 1, 4, 8, 11, 13
T_BARRIER = 0x80000000  # a bit of legacy drivers
S_OK, S_IOERR, S_UNSUPP = 0, 1, 2
ID_BYTES = 20

F_SEG_MAX, F_GEOMETRY, F_RO, F_BLK_SIZE, F_FLUSH, F_TOPOLOGY, F_CONFIG_WCE, F_MQ, F_DISCARD, F_WRITE_ZEROES = (
    2, 4, 5, 6, 9, 10, 11, 12, 13, 14)  # fmt: skip
CONFIG = Struct("<QIIHBBIBBHIBBHIIIIIB3x")
WCE_AT = 32

GRANULARITY_AUTO = 0xFFFFFFFF
QUEUES_AUTO = 0xFFFF
ON_ERROR = ("report", "ignore", "enospc", "stop", "auto")
ON_OFF_AUTO = ("on", "off", "auto")


class VirtioBlk(VirtioDevice):
    """A disk. `drive` is a pcemu.block.BlockBackend."""

    type_name = "virtio-blk-device"
    device_number = 2
    config_size = CONFIG.size
    trace_events = ("virtio_blk_handle_read", "virtio_blk_handle_write", "virtio_blk_req_complete")

    drive = Property("drive", help="Node name or ID of a block device to use as a backend")
    backend_defaults = Property(name="backend_defaults", default="auto", choices=ON_OFF_AUTO, help="on/off/auto",
                                inert="back ends have no block sizes of their own")  # fmt: skip
    logical_block_size = Property("size", default=0, name="logical_block_size", help="A power of two between 512 B and 2 MiB")
    physical_block_size = Property("size", default=0, name="physical_block_size", help="A power of two between 512 B and 2 MiB")
    min_io_size = Property("size", default=0, name="min_io_size")
    opt_io_size = Property("size", default=0, name="opt_io_size")
    discard_granularity = Property("size", name="discard_granularity", default=GRANULARITY_AUTO)
    write_cache = Property(default="auto", choices=ON_OFF_AUTO, help="on/off/auto")
    share_rw = Property(bool, inert="a drive has one device, and its file is locked")
    account_invalid = Property(default="auto", choices=ON_OFF_AUTO, help="on/off/auto")
    account_failed = Property(default="auto", choices=ON_OFF_AUTO, help="on/off/auto")
    rerror = Property(default="auto", choices=ON_ERROR, label="BlockdevOnError",
                      help="Error handling policy, report/ignore/enospc/stop/auto")  # fmt: skip
    werror = Property(default="auto", choices=ON_ERROR, label="BlockdevOnError",
                      help="Error handling policy, report/ignore/enospc/stop/auto")  # fmt: skip
    cyls = Property("u32")
    heads = Property("u32")
    secs = Property("u32")
    lcyls = Property("u32", inert="firmware is told no geometry")
    lheads = Property("u32", inert="firmware is told no geometry")
    lsecs = Property("u32", inert="firmware is told no geometry")
    serial = Property(str)
    config_wce = Property(bool, default=True, help="on/off")
    scsi = Property(bool, help="on/off")
    request_merging = Property(bool, default=True, help="on/off",
                               inert="requests go to the image as the guest made them", so=False)  # fmt: skip
    num_queues = Property("u16", default=QUEUES_AUTO)
    queue_size = Property("u16", default=256)
    seg_max_adjust = Property(bool, default=True)
    discard = Property(bool, default=True, help="on/off")
    report_discard_granularity = Property(bool, default=True)
    write_zeroes = Property(bool, default=True, help="on/off")
    max_discard_sectors = Property("u32", default=0x3FFFFF)
    max_write_zeroes_sectors = Property("u32", default=0x3FFFFF)
    x_enable_wce_if_config_wce = Property(bool, default=True)
    bootindex = Property("s32", default=-1, hidden=True, label="int32")
    iothread = Property(str, hidden=True, label="link<iothread>")

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        self._attached = False
        self._batch = False  # completions wait for the end of the handler before the driver is told
        self._stalled: list[Callable[[], None]] = []  # requests that failed and are tried again when the machine goes on
        super().__init__(machine, bus, id, **props)

    # -- building -----------------------------------------------------------------------------------------------

    def realize(self) -> None:
        backend: Any = self.drive
        if backend is None:
            raise self.fail("drive property not set")
        if self.iothread:
            raise self.fail("iothread: there are no I/O threads; requests run on a pool of their own without one")
        if self.scsi:
            raise self.fail("scsi=on: SCSI commands through virtio-blk are not implemented")
        self._check_sizes()
        if self.num_queues == QUEUES_AUTO:
            self.num_queues = max(1, len(self.machine.cpus))
        if not self.num_queues:
            raise self.fail("num-queues property must be larger than 0")
        if self.num_queues > MAX_QUEUE_SIZE:
            raise self.fail(f"num-queues property must be at most {MAX_QUEUE_SIZE}, not {self.num_queues}")
        if self.queue_size <= 2 or self.queue_size & (self.queue_size - 1) or self.queue_size > MAX_QUEUE_SIZE:
            raise self.fail(f"invalid queue-size property ({self.queue_size}), must be a power of 2 (max {MAX_QUEUE_SIZE})")
        for name in ("discard", "write_zeroes"):
            limit = getattr(self, f"max_{name}_sectors")
            if getattr(self, name) and not 0 < limit <= 0x3FFFFF:
                raise self.fail(f"invalid max-{name.replace('_', '-')}-sectors property ({limit}),"
                                " must be between 1 and 4194303")  # fmt: skip
        self._guess_geometry()
        self.on_read_error = "report" if self.rerror == "auto" else self.rerror
        self.on_write_error = "enospc" if self.werror == "auto" else self.werror
        if self.on_read_error == "enospc":
            raise self.fail("rerror=enospc: only for werror")
        backend.attach(self.parent_bus.parent.path() if self.parent_bus is not None and self.parent_bus.parent else self.path())
        self._attached = True
        backend.stats.account_invalid = self.account_invalid != "off"
        backend.stats.account_failed = self.account_failed != "off"
        backend.may_finish_early = True
        backend.on_resize = self.config_changed
        if self.write_cache != "auto":
            backend.write_cache = self.write_cache == "on"
        self._cached = backend.write_cache
        if not self.serial and backend.options.get("serial"):
            self.serial = backend.options["serial"]
        for _ in range(self.num_queues):
            self.add_queue(self.queue_size, self.serve)
        listeners = getattr(self.machine, "listeners", None)
        if listeners is not None:
            listeners.append(self._machine_event)
        self._commands: dict[int, Callable[[Virtqueue, Chain, int], None]] = {
            T_IN: self._read, T_OUT: self._write, T_FLUSH: self._flush, T_GET_ID: self._get_id, T_DISCARD: self._discard,
            T_WRITE_ZEROES: self._write_zeroes,
        }  # fmt: skip

    def _check_sizes(self) -> None:
        for name in ("logical_block_size", "physical_block_size"):
            size = getattr(self, name)
            if not size:
                setattr(self, name, SECTOR)
            elif size & (size - 1) or not SECTOR <= size <= 2 << 20:
                raise self.fail(f"parameter '{name}' must be a power of two between 512 B and 2 MiB, not {size}")
        if self.logical_block_size > self.physical_block_size:
            raise self.fail("logical_block_size > physical_block_size not supported")
        for name, size in (("min_io_size", self.min_io_size), ("opt_io_size", self.opt_io_size)):
            if size % self.logical_block_size:
                raise self.fail(f"{name} must be a multiple of logical_block_size")
        if self.min_io_size // self.logical_block_size > 0xFFFF:
            raise self.fail("min_io_size must not exceed 65535 logical blocks")
        granularity = self.discard_granularity
        if granularity != GRANULARITY_AUTO and granularity % self.logical_block_size:
            raise self.fail("discard_granularity must be a multiple of logical_block_size")

    def _guess_geometry(self) -> None:
        """Cylinders, heads and sectors that old partition tables are fond of."""
        if self.cyls or self.heads or self.secs:
            if not (0 < self.cyls <= 65535 and 0 < self.heads <= 255 and 0 < self.secs <= 255):
                raise self.fail("cyls must be between 1 and 65535, heads and secs between 1 and 255")
            return
        self.heads, self.secs = 16, 63
        self.cyls = min(max(self.drive.sectors // (16 * 63), 2), 16383)

    def unplug(self) -> None:
        if self._attached:
            self.drive.on_resize = None
            self.drive.detach()
        listeners = getattr(self.machine, "listeners", None)
        if listeners is not None and self._machine_event in listeners:
            listeners.remove(self._machine_event)
        super().unplug()

    # -- features and configuration -----------------------------------------------------------------------------

    feature_bits: ClassVar[tuple[tuple[int, str | None], ...]] = (
        (F_SEG_MAX, None), (F_GEOMETRY, None), (F_BLK_SIZE, None), (F_TOPOLOGY, None), (F_CONFIG_WCE, "config-wce"),
        (F_DISCARD, "discard"), (F_WRITE_ZEROES, "write-zeroes"),
    )  # fmt: skip

    def extra_features(self) -> int:
        bits = 1 << F_RO if self.drive.read_only else 0
        if self.num_queues > 1:
            bits |= 1 << F_MQ
        if self._cached or (self.x_enable_wce_if_config_wce and self.config_wce):
            bits |= 1 << F_FLUSH
        return bits

    def config(self) -> bytes:
        block = self.logical_block_size
        granularity = self.discard_granularity
        if granularity == GRANULARITY_AUTO or not self.report_discard_granularity:
            granularity = block
        return CONFIG.pack(
            self.drive.sectors,
            0,
            self.queue_size - 2 if self.seg_max_adjust else 126,
            self.cyls, self.heads, self.secs,
            block,
            (self.physical_block_size // block).bit_length() - 1, 0, self.min_io_size // block, self.opt_io_size // block,
            self.drive.write_cache, 0,
            self.num_queues,
            self.max_discard_sectors, 1, granularity // SECTOR,
            self.max_write_zeroes_sectors, 1, 1,
        )  # fmt: skip

    def config_written(self, offset: int, data: bytes) -> None:
        if self.has(F_CONFIG_WCE) and offset <= WCE_AT < offset + len(data):
            self.drive.write_cache = bool(data[WCE_AT - offset])

    def driver_ready(self) -> None:
        # A driver that does not know of the write cache gets none (5.2.5.1).
        if not self.has(F_CONFIG_WCE):
            self.drive.write_cache = self.has(F_FLUSH)

    def device_reset(self) -> None:
        """Requests in flight still belong to the guest's memory: they end before the reset does."""
        self._stalled.clear()
        if self._attached:
            self.drive.drain()
            self.drive.write_cache = self._cached

    # -- requests -----------------------------------------------------------------------------------------------

    def serve(self, queue: Virtqueue) -> None:
        header = HEADER
        commands = self._commands
        self._batch = True
        try:
            while (chain := queue.pop()) is not None:
                if chain.out_size < 16 or chain.in_size < 1:
                    self.broken("a block request without header or status")
                    return
                kind, _, sector = header.unpack(chain.read(0, 16))
                command = commands.get(kind & ~T_BARRIER)
                if command is None:
                    self._answer(queue, chain, S_UNSUPP)
                else:
                    command(queue, chain, sector)
        finally:
            self._batch = False
            queue.notify()

    def _answer(self, queue: Virtqueue, chain: Chain, status: int, written: int = 0) -> None:
        """The status is the last byte of all."""
        last = chain.in_size - 1
        chain.write(last, pack("B", status))
        if self.tracing:
            self.trace("virtio_blk_req_complete", status=status)
        # What is between the data and the status was not written: the length then ends before it.
        queue.push(chain, last + 1 if written == last else written or 1)
        if not self._batch:
            queue.notify()

    def _in_range(self, sector: int, size: int) -> bool:
        return not size % self.logical_block_size and not sector * SECTOR % self.logical_block_size and \
            sector * SECTOR + size <= self.drive.sectors * SECTOR  # fmt: skip

    def _start(self, queue: Virtqueue, chain: Chain, written: int, policy: str,
               submit: Callable[[Callable[[int], None]], None], operation: str = "write") -> None:  # fmt: skip
        """Run `submit(done)`, and answer when it is done."""

        def done(error: int) -> None:
            if error and self._failed(error, policy, attempt, operation):
                return
            # The guest may have moved the memory away that the ring was in.
            self.guard(self._answer, queue, chain, S_IOERR if error and policy != "ignore" else S_OK, written)

        def attempt() -> None:
            submit(done)

        attempt()

    def _failed(self, error: int, policy: str, again: Callable[[], None], operation: str) -> bool:
        """Does the machine stop because of an error, to try again when it goes on?"""
        stops = policy == "stop" or (policy == "enospc" and error == errno.ENOSPC)
        drive = self.drive
        named = {"node-name": drive.node_name} if drive.node_name else {}
        self.machine.emit_event("BLOCK_IO_ERROR", {
            "device": drive.id, **named, "operation": operation, "nospace": error == errno.ENOSPC,
            "action": "stop" if stops else "ignore" if policy == "ignore" else "report", "reason": os.strerror(error)})
        if not stops:
            return False
        drive.io_status = "nospace" if error == errno.ENOSPC else "failed"
        self._stalled.append(again)
        self.machine.stop("io-error")
        return True

    def _machine_event(self, name: str, data: dict[str, Any]) -> None:
        if name == "RESUME" and self._stalled:
            self.drive.io_status = "ok"
            stalled, self._stalled = self._stalled, []
            for again in stalled:
                again()

    def _read(self, queue: Virtqueue, chain: Chain, sector: int) -> None:
        size = chain.in_size - 1
        if self.tracing:
            self.trace("virtio_blk_handle_read", sector=sector, nsectors=size // SECTOR)
        if not self._in_range(sector, size):
            self._answer(queue, chain, S_IOERR)
            return
        views = chain.in_views(0, size)
        self._start(queue, chain, size, self.on_read_error, lambda done: self.drive.preadv(sector * SECTOR, views, done),
                    "read")  # fmt: skip

    def _write(self, queue: Virtqueue, chain: Chain, sector: int) -> None:
        size = chain.out_size - 16
        if self.tracing:
            self.trace("virtio_blk_handle_write", sector=sector, nsectors=size // SECTOR)
        if not self._in_range(sector, size) or self.drive.read_only:
            self._answer(queue, chain, S_IOERR)
            return
        views = chain.out_views(16)
        self._start(queue, chain, 0, self.on_write_error, lambda done: self.drive.pwritev(sector * SECTOR, views, done))

    def _flush(self, queue: Virtqueue, chain: Chain, sector: int) -> None:
        self._start(queue, chain, 0, self.on_write_error, lambda done: self.drive.flush(done))

    def _get_id(self, queue: Virtqueue, chain: Chain, sector: int) -> None:
        serial = (self.serial or "").encode()[:ID_BYTES].ljust(ID_BYTES, b"\0")
        size = min(len(serial), chain.in_size - 1)
        chain.write(0, serial[:size])
        self._answer(queue, chain, S_OK, size)

    def _segment(self, queue: Virtqueue, chain: Chain, limit: int, flags_allowed: int) -> tuple[int, int, int] | None:
        """Offset, length and flags of a discard or write zeroes request; answered already when there is none."""
        if chain.out_size - 16 != SEGMENT.size:  # the configuration says: one segment
            self._answer(queue, chain, S_UNSUPP)
            return None
        sector, count, flags = SEGMENT.unpack(chain.read(16, SEGMENT.size))
        if flags & ~flags_allowed:
            self._answer(queue, chain, S_UNSUPP)
        elif count > limit or self.drive.read_only or not self._in_range(sector, count * SECTOR):
            self._answer(queue, chain, S_IOERR)
        else:
            return sector * SECTOR, count * SECTOR, flags
        return None

    def _discard(self, queue: Virtqueue, chain: Chain, sector: int) -> None:
        if not self.discard:
            self._answer(queue, chain, S_UNSUPP)
            return
        if found := self._segment(queue, chain, self.max_discard_sectors, 0):
            at, size, _ = found
            self._start(queue, chain, 0, self.on_write_error, lambda done: self.drive.discard(at, size, done))

    def _write_zeroes(self, queue: Virtqueue, chain: Chain, sector: int) -> None:
        if not self.write_zeroes:
            self._answer(queue, chain, S_UNSUPP)
            return
        if found := self._segment(queue, chain, self.max_write_zeroes_sectors, UNMAP):
            at, size, flags = found
            self._start(queue, chain, 0, self.on_write_error,
                        lambda done: self.drive.write_zeroes(at, size, done, unmap=bool(flags & UNMAP)))  # fmt: skip

    # -- state --------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        self.drive.drain()
        return super().get_state()


class VirtioBlkPci(VirtioPci):
    """virtio-blk on PCI."""

    category = "storage"
    device_class = VirtioBlk
    class_id = 0x0100

    class_code = Property("u32", name="class")
    ioeventfd = Property(bool, default=True, help="on/off", inert="the guest's processor calls the device", so=False)
    vectors = Property("u32", default=UNSPECIFIED)

    def wanted_vectors(self) -> int:
        return int(self.vdev.num_queues) + 1  # type: ignore[attr-defined]


transports(VirtioBlkPci, "virtio-blk-pci", "virtio-blk")
