"""virtio-balloon: the memory balloon (virtio 1.2, 5.5). Pages in it go back to the host."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, pack
from typing import TYPE_CHECKING, Any, ClassVar

from pcemu.qom import Property, State
from pcemu.qom.errors import PcemuError

from .device import VirtioDevice
from .pci import VirtioPci, transports
from .queue import Virtqueue

if TYPE_CHECKING:
    from pcemu._core.ring import Chain

F_MUST_TELL_HOST, F_STATS_VQ, F_DEFLATE_ON_OOM, F_FREE_PAGE_HINT, F_PAGE_POISON, F_REPORTING = range(6)
ACTUAL_AT, POISON_AT = 4, 12
PAGE_SHIFT = 12
MOST_FRAMES = 1 << 16  # bytes of page numbers looked at at once
LONGEST = 4 << 20  # ... and in one request: drivers send a KiB or so

STAT = Struct("<HQ")
STATS = ("stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults", "stat-free-memory", "stat-total-memory",
         "stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc", "stat-htlb-pgfail")  # fmt: skip
UNKNOWN = 0xFFFFFFFFFFFFFFFF
SECOND = 1_000_000_000
LONGEST_INTERVAL = 0xFFFFFFFF  # seconds


class VirtioBalloon(VirtioDevice):
    """The guest puts as many pages into it as `set_target()` asks for."""

    type_name = "virtio-balloon-device"
    device_number = 5
    trace_events = ("virtio_balloon_to_target", "virtio_balloon_set_config", "virtio_balloon_handle_output")

    deflate_on_oom = Property(bool, help="on/off")
    free_page_hint = Property(bool, help="on/off")
    page_poison = Property(bool, default=True, help="on/off")
    free_page_reporting = Property(bool, help="on/off")
    qemu_4_0_config_size = Property(bool)
    iothread = Property(str, hidden=True, label="link<iothread>")

    num_pages = State("u32", kept=True, help="how many 4 KiB pages shall be in the balloon")
    actual = State("u32", help="how many are, as the driver says")
    poison = State("u32", help="what the guest fills free pages with")

    feature_bits: ClassVar[tuple[tuple[int, str | None], ...]] = (
        (F_STATS_VQ, None), (F_DEFLATE_ON_OOM, "deflate-on-oom"), (F_PAGE_POISON, "page-poison"),
        (F_REPORTING, "free-page-reporting"),
    )  # fmt: skip

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        self.stats: dict[str, int] = dict.fromkeys(STATS, UNKNOWN)
        self.stats_updated = 0  # seconds of virtual time
        self.polling_interval = 0  # seconds; 0: nobody asks for statistics
        self._stats_chain: Chain | None = None
        super().__init__(machine, bus, id, **props)

    def realize(self) -> None:
        if self.free_page_hint:
            raise self.fail("free-page-hint=on: it is of use for migration only, and not implemented")
        if self.iothread:
            raise self.fail("iothread: there are no I/O threads")
        others = [d for d in self.machine.devices if isinstance(d, VirtioBalloon) and d is not self and d.realized]
        if others:
            raise self.fail("Only one balloon device is supported")
        self.config_size = 16 if self.page_poison or self.qemu_4_0_config_size else 8
        self.add_queue(128, self.inflate)
        self.add_queue(128, self.deflate)
        self.stats_queue = self.add_queue(128, self.receive_stats)
        if self.free_page_reporting:
            self.add_queue(32, self.report)
        self.timer = self.machine.clock.timer(self._poll)

    def unplug(self) -> None:
        self.timer.cancel()
        super().unplug()

    def config(self) -> bytes:
        return pack("<IIII", self.num_pages, self.actual, 0, self.poison)[: self.config_size]

    def config_written(self, offset: int, data: bytes) -> None:
        config = bytearray(self.config())
        config[offset : offset + len(data)] = data
        old = self.actual
        self.actual = int.from_bytes(config[ACTUAL_AT : ACTUAL_AT + 4], "little")
        if self.has(F_PAGE_POISON):
            self.poison = int.from_bytes(config[POISON_AT : POISON_AT + 4], "little")
        if self.tracing:
            self.trace("virtio_balloon_set_config", actual=self.actual, oldactual=old)
        if self.actual != old:
            event = getattr(self.machine, "emit_event", None)
            if event is not None:
                event("BALLOON_CHANGE", {"actual": self.guest_memory()})

    def device_reset(self) -> None:
        self._stats_chain = None
        self.actual = self.poison = 0

    # -- for monitors -------------------------------------------------------------------------------------------

    def guest_memory(self) -> int:
        """Bytes the guest has: its RAM less the balloon."""
        return max(int(self.machine.ram_size) - (self.actual << PAGE_SHIFT), 0)

    def set_target(self, size: int) -> None:
        """Leave the guest `size` bytes of RAM, or all it has when that is less; the driver takes its time."""
        size = min(size, self.machine.ram_size)
        self.num_pages = (self.machine.ram_size - size) >> PAGE_SHIFT
        if self.tracing:
            self.trace("virtio_balloon_to_target", target=size, num_pages=self.num_pages)
        self.config_changed()

    def guest_stats(self) -> dict[str, Any]:
        """As QMP's guest-stats property."""
        return {"stats": dict(self.stats), "last-update": self.stats_updated}

    def set_polling_interval(self, seconds: int) -> None:
        """Ask the driver for statistics that often; 0: no more."""
        if isinstance(seconds, bool) or not isinstance(seconds, int):
            raise PcemuError("Invalid parameter type for 'guest-stats-polling-interval', expected: integer")
        if seconds < 0:
            raise PcemuError("timer value must be greater than zero")
        if seconds > LONGEST_INTERVAL:
            raise PcemuError("timer value is too big")
        self.polling_interval = seconds
        if seconds:
            self.timer.arm_in(0)
        else:
            self.timer.cancel()

    def live_entries(self) -> Iterator[Any]:
        from pcemu.qom.entry import Entry

        yield Entry("guest-stats", "guest statistics", self.guest_stats, help="what the guest says of its memory")
        yield Entry("guest-stats-polling-interval", "int", lambda: self.polling_interval, self.set_polling_interval,
                    "ask the guest every so many seconds; 0: never")  # fmt: skip

    # -- queues -------------------------------------------------------------------------------------------------

    def inflate(self, queue: Virtqueue) -> None:
        """Pages that the guest does not touch until it has taken them out again."""
        memory, discard = self.machine.memory, self.machine.rings.discard_pages
        while (chain := queue.pop()) is not None:
            if chain.out_size > LONGEST:
                self.broken(f"{chain.out_size} bytes of page numbers in one request")
                return
            for at in range(0, chain.out_size, MOST_FRAMES):
                frames = chain.read(at, MOST_FRAMES)
                if not self.poison:  # else the guest expects to find in them what it left
                    found = discard(memory, frames)
                    if self.tracing:
                        self.trace("virtio_balloon_handle_output", pages=found)
            queue.push(chain)
        queue.notify()

    def deflate(self, queue: Virtqueue) -> None:
        """Pages the guest takes back: the host gives memory when they are touched."""
        for chain in queue.pop_all():
            queue.push(chain)
        queue.notify()

    def report(self, queue: Virtqueue) -> None:
        """Free pages, which the guest takes back without a word when it needs them."""
        for chain in queue.pop_all():
            if not self.poison:
                chain.discard()
            queue.push(chain)
        queue.notify()

    def receive_stats(self, queue: Virtqueue) -> None:
        """The driver's answer; its buffer is kept until the next question (5.5.6.3)."""
        while (chain := queue.pop()) is not None:
            if self._stats_chain is not None:
                queue.push(self._stats_chain)
                queue.notify()
            self._stats_chain = chain
            self.stats = dict.fromkeys(STATS, UNKNOWN)
            data = chain.read(0, STAT.size * 64)
            for tag, value in STAT.iter_unpack(data[: len(data) // STAT.size * STAT.size]):
                if tag < len(STATS):
                    self.stats[STATS[tag]] = value
            self.stats_updated = self.machine.rtc_ns() // SECOND
        if self.polling_interval:
            self.timer.arm_in(self.polling_interval * SECOND)

    def _poll(self) -> None:
        chain, self._stats_chain = self._stats_chain, None
        if chain is not None and self.running and self.has(F_STATS_VQ):
            self.guard(self.stats_queue.finish, chain)
        else:
            self._stats_chain = chain
            self.timer.arm_in(self.polling_interval * SECOND)


class VirtioBalloonPci(VirtioPci):
    """virtio-balloon on PCI."""

    category = "misc"
    device_class = VirtioBalloon
    class_id = 0x00FF


transports(VirtioBalloonPci, "virtio-balloon-pci", "virtio-balloon")
