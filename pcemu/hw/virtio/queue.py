"""A virtqueue as its device sees it: addresses and size from the driver, and the compiled ring once it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcemu._core.ring import Chain, Ring

    from .device import VirtioDevice

NO_VECTOR = 0xFFFF
LEGACY_ALIGN = 4096
LEGACY_SHIFT = 12


class Virtqueue:
    """One queue. `handler` is called with it when the driver has made buffers available."""

    __slots__ = ("_owed", "_suppressed", "desc", "device", "device_area", "driver_area", "enabled", "handler", "index",
                 "max_size", "name", "ring", "size", "vector")  # fmt: skip

    def __init__(self, device: VirtioDevice, index: int, size: int, handler: Callable[[Virtqueue], None], name: str) -> None:
        self.device = device
        self.index = index
        self.max_size = size
        self.handler = handler
        self.name = name
        self.ring: Ring | None = None
        self.vector = NO_VECTOR
        self.clear()

    def clear(self) -> None:
        """As after reset."""
        self.stop()
        self.size = self.max_size
        self.desc = self.driver_area = self.device_area = 0
        self.enabled = False
        self._suppressed = False

    def stop(self) -> None:
        """Chains that are out are forgotten: giving them back has no effect."""
        if self.ring is not None:
            self.ring.drop()
            self.ring = None
        self._owed = False  # given back since the driver was told

    def start(self) -> None:
        """The driver has set the queue up; raises RingError when it does not lie in RAM."""
        device = self.device
        rings = device.machine.rings
        cls = rings.PackedRing if device.has(device.F_PACKED) else rings.SplitRing
        self.ring = cls(device.machine.memory, self.size, self.desc, self.driver_area, self.device_area,
                        device.has(device.F_EVENT_IDX), device.has(device.F_INDIRECT_DESC),
                        device.has(device.F_NOTIFY_ON_EMPTY))  # fmt: skip
        self._suppressed = False

    def place_legacy(self, page: int) -> None:
        """Where a legacy driver's queue is: all of it from one page on (2.7.2)."""
        self.desc = page << LEGACY_SHIFT
        self.driver_area = self.desc + 16 * self.size
        used = self.driver_area + 6 + 2 * self.size
        self.device_area = -(-used // LEGACY_ALIGN) * LEGACY_ALIGN
        self.enabled = page != 0

    # -- what devices use -------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self.ring is not None

    def pop(self) -> Chain | None:
        """The next chain, None when there is none; raises RingError for nonsense."""
        return self.ring.pop() if self.ring is not None else None

    def pop_all(self, limit: int = 0xFFFFFFFF) -> list[Chain]:
        return self.ring.pop_all(limit) if self.ring is not None else []

    def push(self, chain: Chain, written: int = 0) -> None:
        """Give a chain back; tell the driver with `notify()` when all that is ready is given back."""
        if self.ring is not None and self.ring.push(chain, written):
            self._owed = True

    def rewind(self, chain: Chain) -> None:
        """Undo the last pop()."""
        if self.ring is not None:
            self.ring.rewind(chain)

    @property
    def pending(self) -> bool:
        return self.ring is not None and self.ring.pending

    def suppress(self, on: bool) -> None:
        """Ask the driver not to notify of new buffers, or to do so again; look at `pending` after the latter."""
        if self.ring is not None and on != self._suppressed:
            self._suppressed = on
            self.ring.suppress(on)

    def notify(self) -> None:
        """Interrupt the driver if it wants to know of what was given back."""
        if self._owed and self.ring is not None:
            self._owed = False
            if self.ring.should_notify():
                self.device.transport.queue_interrupt(self)

    def finish(self, chain: Chain, written: int = 0) -> None:
        """push() and notify() in one."""
        self.push(chain, written)
        self.notify()

    # -- state ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        values: dict[str, Any] = {"size": self.size, "desc": self.desc, "driver": self.driver_area,
                                  "device": self.device_area, "enabled": self.enabled, "vector": self.vector}  # fmt: skip
        if self.ring is not None:
            values["position"] = self.ring.position()
        return values

    def load(self, values: dict[str, Any]) -> None:
        self.stop()
        self.size, self.desc = values["size"], values["desc"]
        self.driver_area, self.device_area = values["driver"], values["device"]
        self.enabled, self.vector = values["enabled"], values["vector"]
        if "position" in values:
            self.start()
            assert self.ring is not None
            self.ring.set_position(values["position"])
