"""virtio-rng: the entropy device (virtio 1.2, 5.4). One queue, no configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pcemu.qom import Property

from .device import VirtioDevice
from .pci import UNSPECIFIED, VirtioPci, transports
from .queue import Virtqueue

MOST_AT_ONCE = 1 << 16  # bytes a request is answered with at most


class VirtioRng(VirtioDevice):
    """Fills the driver's buffers with random bytes, at most `max-bytes` every `period` milliseconds."""

    type_name = "virtio-rng-device"
    device_number = 4
    trace_events = ("virtio_rng_pushed",)

    max_bytes = Property("u64", default=(1 << 63) - 1)
    period = Property("u32", default=1 << 16)
    rng = Property("object", label="link<rng-backend>", hidden=True)

    def realize(self) -> None:
        if not self.period:
            raise self.fail("'period' parameter expects a positive integer")
        if self.max_bytes > (1 << 63) - 1:
            raise self.fail("'max-bytes' parameter must be non-negative, and less than 2^63")
        backend: Any = self.rng
        if backend is not None and not hasattr(backend, "request"):
            raise self.fail(f"rng: '{backend.id}' is not a source of random numbers")
        self.read = backend.request if backend is not None else self._built_in
        self.requests = self.add_queue(8, self.serve)
        self.timer = self.machine.clock.timer(self._next_period)
        self.quota = self.max_bytes
        self.waiting = 0  # bytes asked of the source

    def device_reset(self) -> None:
        self.timer.cancel()
        self.quota = self.max_bytes

    def serve(self, queue: Virtqueue) -> None:
        """Ask the source for what the next buffer has room for."""
        if self.waiting or not queue.pending:
            return
        if self.quota <= 0:
            return
        chain = queue.pop()
        if chain is None:
            return
        size = min(chain.in_size, self.quota, MOST_AT_ONCE)
        if not size:
            queue.finish(chain)  # no room for anything: the driver gets what it asked for
            return
        queue.rewind(chain)
        if not self.timer.pending:
            self.timer.arm_in(self.period * 1_000_000)
        self.waiting = size
        self.read(size, self._arrived)

    def _arrived(self, data: bytes) -> None:
        """Random bytes from the source: into one buffer or, when they are many, several."""
        self.waiting = 0
        if self.running:
            self.guard(self._fill, data)

    def _fill(self, data: bytes) -> None:
        queue = self.requests
        done = 0
        while done < len(data):
            chain = queue.pop()
            if chain is None:
                break
            count = chain.write(0, data[done:])
            queue.push(chain, count)
            if self.tracing:
                self.trace("virtio_rng_pushed", len=count)
            done += count
        self.quota -= done
        queue.notify()
        self.serve(queue)

    def _built_in(self, size: int, done: Callable[[bytes], None]) -> None:
        """Without rng=: as from rng-builtin."""
        done(self.machine.random(size))

    def _next_period(self) -> None:
        self.quota = self.max_bytes
        if self.running:
            self.guard(self.serve, self.requests)


class VirtioRngPci(VirtioPci):
    """virtio-rng on PCI."""

    category = "misc"
    device_class = VirtioRng
    default_vectors = 2
    class_id = 0x00FF

    ioeventfd = Property(bool, default=True, help="on/off", inert="the guest's processor calls the device", so=False)
    vectors = Property("u32", default=UNSPECIFIED)


transports(VirtioRngPci, "virtio-rng-pci", "virtio-rng")
