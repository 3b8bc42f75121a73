"""What every virtio device has, whatever bus it is on: status, features, queues, configuration (virtio 1.2, chapter 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from pcemu.qom import Bus, Device, Property

from .queue import NO_VECTOR, Virtqueue

# Device status (2.1).
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 0x40, 0x80
STATUS_BITS = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED

MAX_QUEUE_SIZE = 1024
CONFIG_CHANGED = -1  # in place of a queue


class Transport(Protocol):
    """What a virtio device needs of the bus it is on."""

    def queue_interrupt(self, queue: Virtqueue) -> None: ...
    def config_interrupt(self) -> None: ...


class VirtioBus(Bus):
    """Between a transport and its device; there is one device on it."""

    type_name = "virtio-pci-bus"


class VirtioDevice(Device):
    """Base of the devices. A subclass declares its number, its properties and `feature_bits`, makes its queues in
    `realize()`, and fills in `config()`; queue handlers may raise RingError.
    """

    bus_type = "virtio-pci-bus"
    user_creatable = False

    device_number: ClassVar[int] = 0  # virtio 1.2, chapter 5
    config_size: int = 0
    # Bits that are offered when the property of that name is on, or always (None).
    feature_bits: ClassVar[tuple[tuple[int, str | None], ...]] = ()

    F_NOTIFY_ON_EMPTY: ClassVar[int] = 24
    F_ANY_LAYOUT: ClassVar[int] = 27
    F_INDIRECT_DESC: ClassVar[int] = 28
    F_EVENT_IDX: ClassVar[int] = 29
    F_VERSION_1: ClassVar[int] = 32
    F_ACCESS_PLATFORM: ClassVar[int] = 33
    F_PACKED: ClassVar[int] = 34
    F_RING_RESET: ClassVar[int] = 40
    _common_bits: ClassVar[tuple[tuple[int, str | None], ...]] = (
        (F_NOTIFY_ON_EMPTY, "notify_on_empty"), (F_ANY_LAYOUT, "any_layout"), (F_INDIRECT_DESC, "indirect_desc"),
        (F_EVENT_IDX, "event_idx"), (F_ACCESS_PLATFORM, "iommu_platform"), (F_PACKED, "packed"),
        (F_RING_RESET, "queue_reset"),
    )  # fmt: skip
    MODERN_ONLY: ClassVar[int] = 1 << F_VERSION_1 | 1 << F_ACCESS_PLATFORM | 1 << F_PACKED | 1 << F_RING_RESET
    LEGACY_ONLY: ClassVar[int] = 1 << F_NOTIFY_ON_EMPTY | 1 << F_ANY_LAYOUT

    indirect_desc = Property(bool, name="indirect_desc", default=True, help="on/off")
    event_idx = Property(bool, name="event_idx", default=True, help="on/off")
    notify_on_empty = Property(bool, name="notify_on_empty", default=True, help="on/off")
    any_layout = Property(bool, name="any_layout", default=True, help="on/off")
    iommu_platform = Property(bool, name="iommu_platform", help="on/off")
    packed = Property(bool, help="on/off")
    queue_reset = Property(bool, name="queue_reset", default=True, help="on/off")
    use_started = Property(bool, default=True, inert="there are no saved states")
    use_disabled_flag = Property(bool, default=True, inert="there are no saved states")
    x_disable_legacy_check = Property(bool, inert="nothing is checked for it")

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        self.transport: Transport = None  # type: ignore[assignment]
        self.queues: list[Virtqueue] = []
        self.status = 0
        self.features = 0  # what the driver took
        self.config_generation = 0
        self._masked = False  # the bus does not let the device reach memory
        super().__init__(machine, bus, id, **props)

    # -- for subclasses -----------------------------------------------------------------------------------------

    def add_queue(self, size: int, handler: Callable[[Virtqueue], None], name: str = "") -> Virtqueue:
        queue = Virtqueue(self, len(self.queues), size, handler, name or handler.__name__)
        self.queues.append(queue)
        return queue

    def config(self) -> bytes:
        """The configuration space as it is now, `config_size` bytes."""
        return bytes(self.config_size)

    def config_written(self, offset: int, data: bytes) -> None:
        """The driver wrote to configuration space."""
        self.log_guest_error("write of %d bytes to read-only configuration at %#x", len(data), offset)

    def device_reset(self) -> None:
        """The driver (or the machine) reset the device; queues are gone already."""

    def queue_was_reset(self, queue: Virtqueue) -> None:
        """The driver reset one queue; what was taken from it is nobody's."""

    def driver_ready(self) -> None:
        """The driver set DRIVER_OK; features are final."""

    def features_accepted(self) -> None:
        """The driver has chosen (again) what features it wants."""

    def extra_features(self) -> int:
        """Bits that depend on more than one property."""
        return 0

    # -- features -----------------------------------------------------------------------------------------------

    def offered(self) -> int:
        """Feature bits of the device, but for those of the transport."""
        bits = self.extra_features()
        for bit, name in (*self._common_bits, *self.feature_bits):
            if name is None or getattr(self, self._properties[name].attr):
                bits |= 1 << bit
        return bits

    def has(self, bit: int) -> bool:
        """Was the feature negotiated?"""
        return bool(self.features >> bit & 1)

    @property
    def modern(self) -> bool:
        return bool(self.features >> self.F_VERSION_1 & 1)

    def set_features(self, wanted: int, allowed: int) -> bool:
        """The driver's choice; False when it wants what is not on offer."""
        self.features = wanted & allowed
        self.features_accepted()
        return not wanted & ~allowed

    # -- life ---------------------------------------------------------------------------------------------------

    def set_status(self, value: int) -> None:
        """A write to the status register, not 0 (2.1)."""
        old = self.status
        self.status = value & STATUS_BITS | old & NEEDS_RESET
        if value & DRIVER_OK and not old & DRIVER_OK:
            self.driver_ready()
            for queue in self.queues:  # buffers that were there before
                if queue.running:
                    self.kick(queue)

    def virtio_reset(self) -> None:
        """Status 0 was written, or the machine is reset: at any moment, with requests in flight (2.4)."""
        self.status = 0
        self.features = 0
        for queue in self.queues:
            queue.clear()
            queue.vector = NO_VECTOR
        self.features_accepted()
        self.device_reset()

    def reset(self) -> None:
        super().reset()
        self.virtio_reset()

    @property
    def running(self) -> bool:
        """May the device use its queues?"""
        return bool(self.status & DRIVER_OK) and not self.status & NEEDS_RESET and not self._masked

    def mask(self, on: bool) -> None:
        """Bus mastering was taken away (or given back)."""
        if on == self._masked:
            return
        self._masked = on
        if not on and self.running:
            for queue in self.queues:
                if queue.running:
                    self.kick(queue)

    # -- queues -------------------------------------------------------------------------------------------------

    def kick(self, queue: Virtqueue) -> None:
        """The driver says there are buffers in `queue`."""
        # Legacy drivers use their queues before they set DRIVER_OK.
        if queue.ring is None or self.status & NEEDS_RESET or self._masked:
            return
        if self.modern and not self.status & DRIVER_OK:
            return
        self.guard(queue.handler, queue)

    def guard(self, call: Callable[..., object], *args: object) -> None:
        """Run something that looks at rings; nonsense in them stops the device until it is reset."""
        try:
            call(*args)
        except self.machine.rings.RingError as error:
            self.broken(str(error))

    def start_queue(self, queue: Virtqueue) -> None:
        self.guard(queue.start)

    def broken(self, why: str) -> None:
        """The driver did what it must not: nothing more happens until it resets the device (2.1.2)."""
        if self.status & NEEDS_RESET:
            return
        self.log_guest_error("%s; the device needs a reset", why)
        self.status |= NEEDS_RESET
        if self.modern and self.status & DRIVER_OK:
            self.transport.config_interrupt()

    def config_changed(self) -> None:
        """Tell the driver that configuration space has changed."""
        self.config_generation = (self.config_generation + 1) & 0xFF
        if self.status & DRIVER_OK:
            self.transport.config_interrupt()

    # -- state --------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "status": self.status, "features": self.features,
                "queues": [queue.state() for queue in self.queues]}  # fmt: skip

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        if "queues" in values:
            self.status, self.features = values["status"], values["features"]
            self.features_accepted()
            for queue, state in zip(self.queues, values["queues"], strict=True):
                queue.load(state)
