"""Virtio over PCI (virtio 1.2, 4.1): legacy registers in an I/O BAR, modern structures in a memory BAR, MSI-X or INTx.

A `-device virtio-X-pci` is two devices: this function on the PCI bus and, behind it, the virtio device itself. The
user sees one, with the properties of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import pack
from typing import Any, ClassVar

from pcemu.hw.pci.config import COMMAND_MASTER
from pcemu.hw.pci.device import PciDevice
from pcemu.hw.pci.msix import Msix
from pcemu.qom import MemoryRegion, Property, State
from pcemu.qom.property import PropertyDecl
from pcemu.qom.region import WindowHandler, adapt_read, adapt_write

from .device import DRIVER_OK, FEATURES_OK, VirtioBus, VirtioDevice
from .queue import NO_VECTOR, Virtqueue

LEGACY_BAR, MSIX_BAR, NOTIFY_IO_BAR, MODERN_BAR = 0, 1, 2, 4
ISR_QUEUE, ISR_CONFIG = 1, 2
UNSPECIFIED = 0xFFFFFFFF

# Capability types (4.1.4), and where their structures are in the modern BAR.
CAP_COMMON, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI_CFG = 1, 2, 3, 4, 5
COMMON_AT, ISR_AT, DEVICE_AT, NOTIFY_AT, PART_SIZE = 0, 0x1000, 0x2000, 0x3000, 0x1000
MAX_QUEUES = 1024

# Legacy registers (4.1.4.10).
HOST_FEATURES, GUEST_FEATURES, QUEUE_PFN, QUEUE_SIZE, QUEUE_SELECT, QUEUE_NOTIFY, STATUS, ISR = 0, 4, 8, 12, 14, 16, 18, 19
CONFIG_VECTOR, QUEUE_VECTOR = 20, 22

TRANSITIONAL_IDS = {1: 0x1000, 2: 0x1001, 3: 0x1003, 4: 0x1005, 5: 0x1002}
MODERN_ID = 0x1040


class VirtioPci(PciDevice):
    """The PCI function; subclasses say what is behind it."""

    device_class: ClassVar[type[VirtioDevice]]
    default_vectors: ClassVar[int] = 0
    legacy_allowed: ClassVar[bool] = True
    modern_allowed: ClassVar[bool] = True
    trace_events = ("virtio_notify", "virtio_queue_notify", "virtio_set_status")

    vendor_id = 0x1AF4
    interrupt_pin = 1

    virtio_pci_bus_master_bug_migration = Property(bool, help="on/off", inert="there are no saved states")
    migrate_extra = Property(bool, default=True, help="on/off", inert="there are no saved states")
    modern_pio_notify = Property(bool, help="on/off")
    x_disable_pcie = Property(bool, help="on/off", inert="there is no PCI Express", so=True)
    page_per_vq = Property(bool, help="on/off")
    x_ignore_backend_features = Property(bool, inert="features are the device's own")
    ats = Property(bool, help="on/off")
    x_ats_page_aligned = Property(bool, default=True, help="on/off", inert="there is no PCI Express")
    x_pcie_deverr_init = Property(bool, default=True, help="on/off", inert="there is no PCI Express")
    x_pcie_lnkctl_init = Property(bool, default=True, help="on/off", inert="there is no PCI Express")
    x_pcie_pm_init = Property(bool, default=True, help="on/off", inert="there is no PCI Express")
    x_pcie_flr_init = Property(bool, default=True, help="on/off", inert="there is no PCI Express")
    aer = Property(bool, help="on/off")

    isr = State("u8", help="why the interrupt pin is asserted")
    config_vector = State("u16", reset=NO_VECTOR)
    queue_select = State("u16")
    device_feature_select = State("u32")
    driver_feature_select = State("u32")
    driver_features = State("u64", help="what the driver has written so far")

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        self._backend_props: dict[str, Any] = {}
        super().__init__(machine, bus, id, **props)
        self.vbus = VirtioBus("virtio-bus", self)
        self.vdev = self.device_class(machine, self.vbus, None, **self._backend_props)
        self.vdev.transport = self
        self.add_part("virtio-backend", self.vdev)
        self.config_cap = 0

    # -- properties of both -------------------------------------------------------------------------------------

    @classmethod
    def user_properties(cls) -> dict[str, PropertyDecl]:
        return {**cls.device_class._properties, **cls._properties}

    @classmethod
    def property_decl(cls, name: str) -> PropertyDecl:
        backend = cls.device_class._properties
        for spelling in (name, name.replace("_", "-"), name.replace("-", "_")):
            if spelling in cls._properties or spelling in backend:
                return cls._properties.get(spelling) or backend[spelling]
        return super().property_decl(name)

    def set_property(self, name: str, value: Any) -> None:
        decl = self.property_decl(name)
        if decl.name in self._properties:
            super().set_property(name, value)
        elif "vdev" in self.__dict__:
            self.vdev.set_property(decl.name, value)
        else:
            decl.convert(self.type_name, value)  # complain in the name that the user knows
            self._backend_props[decl.name] = value

    def get_property(self, name: str) -> Any:
        decl = self.property_decl(name)
        return super().get_property(name) if decl.name in self._properties else self.vdev.get_property(name)

    def live_entries(self) -> Iterator[Any]:
        return self.vdev.live_entries()

    # -- building -----------------------------------------------------------------------------------------------

    @property
    def legacy(self) -> bool:
        return self.legacy_allowed and getattr(self, "disable_legacy", "off") != "on"

    @property
    def has_modern(self) -> bool:
        return self.modern_allowed and not getattr(self, "disable_modern", False)

    def realize(self) -> None:
        if getattr(self, "disable_legacy", "") == "auto":
            self.disable_legacy = "off"  # on conventional PCI
        if not self.legacy and not self.has_modern:
            raise self.fail("device cannot work as neither modern nor legacy mode is enabled"
                            " (set either disable-modern or disable-legacy to off)")  # fmt: skip
        for name in ("ats", "aer"):
            if getattr(self, name):
                raise self.fail(f"{name}=on needs PCI Express, which this board does not have")
        vdev = self.vdev
        if vdev.iommu_platform and self.legacy:
            raise self.fail("VIRTIO_F_IOMMU_PLATFORM was supported by neither legacy nor transitional device")
        if vdev.packed and not self.has_modern:
            raise self.fail("packed=on needs a modern device (disable-modern=off)")
        number = vdev.device_number
        if self.legacy:
            self.device_id = TRANSITIONAL_IDS[number]
            self.subsystem_id = number
        else:
            self.device_id = MODERN_ID + number
            self.revision = 1
        if hasattr(self, "class_code") and self.class_code:
            self.class_id = self.class_code
        super().realize()
        vdev.realize_now()
        vectors = getattr(self, "vectors", 0)
        if vectors == UNSPECIFIED:
            self.vectors = vectors = self.wanted_vectors()
        if self.has_modern:
            self._add_modern()
        if vectors:
            self.msix = Msix(self, vectors, MSIX_BAR)
        if self.legacy:
            self._add_legacy(24 if vectors else 20)

    def wanted_vectors(self) -> int:
        """How many MSI-X vectors there are when nobody says."""
        return self.default_vectors

    def _region(self, name: str, size: int, read: Any, write: Any, access: tuple[int, int]) -> MemoryRegion:
        low, high = access
        handler = WindowHandler(name, self, adapt_read(read, low, high, size), adapt_write(write, read, low, high, size))
        return MemoryRegion.mmio(name, size, handler, owner=self)

    def _add_legacy(self, header: int) -> None:
        size = 1 << (header + self.vdev.config_size - 1).bit_length()
        self.register_bar(LEGACY_BAR, self._region("virtio-pci", size, self.legacy_read, self.legacy_write, (1, 4)), "io")

    def _add_modern(self) -> None:
        name = self.vdev.type_name.removesuffix("-device")
        self.notify_step = 0x1000 if self.page_per_vq else 4
        notify_size = self.notify_step * MAX_QUEUES
        size = 1 << (NOTIFY_AT + notify_size - 1).bit_length()
        bar = MemoryRegion("virtio-pci", size, owner=self)
        common = self._region(f"virtio-pci-common-{name}", PART_SIZE, self.common_read, self.common_write, (1, 4))
        isr = self._region(f"virtio-pci-isr-{name}", PART_SIZE, self.isr_read, self.isr_write, (1, 4))
        config = self._region(f"virtio-pci-device-{name}", PART_SIZE, self.config_space_read, self.config_space_write, (1, 4))
        # No adapting here: the offset says it all, and this is where every request begins.
        handler = WindowHandler(f"virtio-pci-notify-{name}", self, lambda offset, size: 0, self._notified)
        notify = MemoryRegion.mmio(handler.name, notify_size, handler, owner=self)
        for region, at, kind in ((common, COMMON_AT, CAP_COMMON), (isr, ISR_AT, CAP_ISR), (config, DEVICE_AT, CAP_DEVICE)):
            bar.add(region, at)
            self._add_structure(kind, MODERN_BAR, at, PART_SIZE)
        bar.add(notify, NOTIFY_AT)
        self._add_structure(CAP_NOTIFY, MODERN_BAR, NOTIFY_AT, notify_size, pack("<I", self.notify_step))
        if self.modern_pio_notify:
            port = WindowHandler(f"virtio-pci-notify-pio-{name}", self, lambda offset, size: 0, self._notified_by_port)
            self.register_bar(NOTIFY_IO_BAR, MemoryRegion.mmio(port.name, 4, port, owner=self), "io")
            self._add_structure(CAP_NOTIFY, NOTIFY_IO_BAR, 0, 4, pack("<I", 0))
        self.register_bar(MODERN_BAR, bar, prefetch=True, bits64=True)
        self.config_cap = at = self._add_structure(CAP_PCI_CFG, 0, 0, 0, bytes(4))
        self.layout.set_writable(at + 4, 1, 0xFF)
        self.layout.set_writable(at + 8, 8, (1 << 64) - 1)
        self.layout.set_writable(at + 16, 4, 0xFFFFFFFF)
        self.config[:] = self.layout.reset

    def _add_structure(self, kind: int, bar: int, offset: int, length: int, extra: bytes = b"") -> int:
        """A virtio_pci_cap (4.1.4)."""
        return self.add_vendor_capability(pack("<BBBxxII", kind, bar, 0, offset, length) + extra)

    # -- life ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        super().reset()
        self.vdev.mask(not self.is_master)

    def virtio_reset(self) -> None:
        """The driver wrote 0 to the status register."""
        for attr in ("isr", "queue_select", "device_feature_select", "driver_feature_select", "driver_features"):
            setattr(self, attr, 0)
        self.config_vector = NO_VECTOR
        self.intx.set(0)
        self.vdev.virtio_reset()

    def unplug(self) -> None:
        self.vdev.virtio_reset()
        self.vdev.unplug()
        super().unplug()

    def command_changed(self, old: int, new: int) -> None:
        self.vdev.mask(not new & COMMAND_MASTER)

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        self.intx.set(1 if self.isr else 0)

    # -- interrupts ---------------------------------------------------------------------------------------------

    def queue_interrupt(self, queue: Virtqueue) -> None:
        self._interrupt(ISR_QUEUE, queue.vector)

    def config_interrupt(self) -> None:
        self._interrupt(ISR_QUEUE | ISR_CONFIG, self.config_vector)

    def _interrupt(self, cause: int, vector: int) -> None:
        msix = self.msix
        if msix is not None and msix.enabled:
            if vector != NO_VECTOR:
                msix.notify(vector)
            return
        self.isr |= cause
        self.intx.set(1)

    def take_isr(self) -> int:
        """Reading the register clears it, and with it the pin."""
        isr, self.isr = self.isr, 0
        self.intx.set(0)
        return isr

    def _vector(self, value: int) -> int:
        """A vector the driver chose; NO_VECTOR is what it reads when there is no such one (4.1.5.1.2)."""
        return value if self.msix is not None and value < self.msix.vectors else NO_VECTOR

    # -- what both register sets do -----------------------------------------------------------------------------

    @property
    def queue(self) -> Virtqueue | None:
        """The selected queue."""
        queues = self.vdev.queues
        return queues[self.queue_select] if self.queue_select < len(queues) else None

    def offered(self) -> int:
        return self.vdev.offered() | (1 << self.vdev.F_VERSION_1 if self.has_modern else 0)

    def write_status(self, value: int) -> None:
        if self.tracing:
            self.trace("virtio_set_status", status=value)
        if not value:
            self.virtio_reset()
        else:
            self.vdev.set_status(value)

    def kick(self, index: int) -> None:
        queues = self.vdev.queues
        if index < len(queues):
            if self.tracing:
                self.trace("virtio_queue_notify", queue=index)
            self.vdev.kick(queues[index])

    def _notified(self, offset: int, size: int, value: int) -> None:
        self.kick(offset // self.notify_step)

    def _notified_by_port(self, offset: int, size: int, value: int) -> None:
        self.kick(value & 0xFFFF)

    # -- legacy registers (4.1.4.10) ----------------------------------------------------------------------------

    def legacy_read(self, offset: int, size: int) -> int:
        header = 24 if self.msix is not None and self.msix.enabled else 20
        if offset >= header:
            return self.config_space_read(offset - header, size)
        queue, vdev = self.queue, self.vdev
        if offset == HOST_FEATURES:
            return vdev.offered() & ~vdev.MODERN_ONLY & 0xFFFFFFFF
        if offset == GUEST_FEATURES:
            return vdev.features & 0xFFFFFFFF
        if offset == QUEUE_PFN:
            return queue.desc >> 12 if queue is not None else 0
        if offset == QUEUE_SIZE:
            return queue.size if queue is not None else 0
        if offset == QUEUE_SELECT:
            return self.queue_select
        if offset == STATUS:
            return vdev.status
        if offset == ISR:
            return self.take_isr()
        if offset == CONFIG_VECTOR:
            return self.config_vector
        if offset == QUEUE_VECTOR:
            return queue.vector if queue is not None else NO_VECTOR
        return (1 << 8 * size) - 1

    def legacy_write(self, offset: int, value: int, size: int) -> None:
        header = 24 if self.msix is not None and self.msix.enabled else 20
        if offset >= header:
            self.config_space_write(offset - header, value, size)
            return
        queue, vdev = self.queue, self.vdev
        if offset == QUEUE_NOTIFY:
            self.kick(value)
        elif offset == GUEST_FEATURES:
            vdev.set_features(value, vdev.offered() & ~vdev.MODERN_ONLY & 0xFFFFFFFF)
        elif offset == QUEUE_PFN:
            if value == 0:
                self.virtio_reset()  # the way of the oldest drivers
            elif queue is not None:
                queue.stop()
                queue.place_legacy(value)
                vdev.start_queue(queue)
        elif offset == QUEUE_SELECT:
            self.queue_select = value & 0xFFFF
        elif offset == STATUS:
            if value & DRIVER_OK and not self.is_master:
                # Linux before 2.6.34 forgets to make the device a bus master.
                self.config_write(4, self.command | COMMAND_MASTER, 2)
            self.write_status(value)
        elif offset == CONFIG_VECTOR:
            self.config_vector = self._vector(value)
        elif offset == QUEUE_VECTOR and queue is not None:
            queue.vector = self._vector(value)

    # -- the common configuration structure (4.1.4.3) -----------------------------------------------------------

    def common_read(self, offset: int, size: int) -> int:
        for start, length, read, _ in COMMON:
            if start <= offset < start + length:
                value = read(self) >> 8 * (offset - start)
                return value & (1 << 8 * min(size, start + length - offset)) - 1
        return 0

    def common_write(self, offset: int, value: int, size: int) -> None:
        for start, length, read, write in COMMON:
            if start <= offset < start + length:
                if write is None:
                    self.log_guest_error("write to read-only register %#x", offset)
                    return
                if size < length:  # half of a 64-bit address
                    shift = 8 * (offset - start)
                    mask = (1 << 8 * size) - 1 << shift
                    value = read(self) & ~mask | value << shift
                write(self, value)
                return

    def _read_device_feature(self) -> int:
        vdev = self.vdev
        if self.device_feature_select > 1:
            return 0
        return (self.offered() & ~vdev.LEGACY_ONLY) >> 32 * self.device_feature_select & 0xFFFFFFFF

    def _read_driver_feature(self) -> int:
        if self.driver_feature_select > 1:
            return 0
        return self.driver_features >> 32 * self.driver_feature_select & 0xFFFFFFFF

    def _write_driver_feature(self, value: int) -> None:
        if self.vdev.status & FEATURES_OK:
            self.log_guest_error("features written after FEATURES_OK")
            return
        if self.driver_feature_select > 1:
            return
        shift = 32 * self.driver_feature_select
        self.driver_features = self.driver_features & ~(0xFFFFFFFF << shift) | value << shift
        self.vdev.set_features(self.driver_features, self.offered() & ~self.vdev.LEGACY_ONLY)

    def _write_status(self, value: int) -> None:
        vdev = self.vdev
        if value & FEATURES_OK and not vdev.status & FEATURES_OK:
            offered = self.offered() & ~vdev.LEGACY_ONLY
            needed = 1 << vdev.F_VERSION_1 | (1 << vdev.F_ACCESS_PLATFORM if vdev.iommu_platform else 0)
            ok = vdev.set_features(self.driver_features, offered)
            if not ok or needed & ~self.driver_features:
                self.log_guest_error("features %#x are not possible", self.driver_features)
                value &= ~FEATURES_OK  # the driver finds out by reading it back (3.1.1)
        self.write_status(value)

    def _write_config_vector(self, value: int) -> None:
        self.config_vector = self._vector(value)

    def _of_queue(self, attr: str) -> int:
        queue = self.queue
        return int(getattr(queue, attr)) if queue is not None else 0

    def _write_queue_size(self, value: int) -> None:
        queue = self.queue
        if queue is None or queue.running:
            return
        if not 0 < value <= queue.max_size or (value & (value - 1) and not self.vdev.has(self.vdev.F_PACKED)):
            self.log_guest_error("queue size %d", value)
            return
        queue.size = value

    def _write_queue_vector(self, value: int) -> None:
        if self.queue is not None:
            self.queue.vector = self._vector(value)

    def _write_queue_enable(self, value: int) -> None:
        queue = self.queue
        if value != 1:
            self.log_guest_error("queue_enable: only 1 can be written, not %d", value)
        elif queue is not None and not queue.running:
            queue.enabled = True
            self.vdev.start_queue(queue)

    def _write_queue_reset(self, value: int) -> None:
        queue, vdev = self.queue, self.vdev
        if value == 1 and queue is not None and vdev.has(vdev.F_RING_RESET):
            vector = queue.vector
            queue.clear()
            queue.vector = vector
            vdev.queue_was_reset(queue)

    def _write_address(self, attr: str, value: int) -> None:
        queue = self.queue
        if queue is not None and not queue.running:
            setattr(queue, attr, value)

    # -- the other structures -----------------------------------------------------------------------------------

    def isr_read(self, offset: int, size: int) -> int:
        return self.take_isr() if not offset else 0

    def isr_write(self, offset: int, value: int, size: int) -> None:
        """Read-only."""

    def config_space_read(self, offset: int, size: int) -> int:
        part = self.vdev.config()[offset : offset + size]
        return int.from_bytes(part, "little") if len(part) == size else (1 << 8 * size) - 1

    def config_space_write(self, offset: int, value: int, size: int) -> None:
        if offset + size <= self.vdev.config_size:
            self.vdev.config_written(offset, value.to_bytes(size, "little"))

    # -- the window in configuration space (4.1.4.9) ------------------------------------------------------------

    def config_read(self, offset: int, size: int) -> int:
        at = self.config_cap
        if at and at + 16 <= offset < at + 20:
            found = self._window()
            if found is not None:
                region, where, length = found
                value = region.handler.read(where, length)
                self.config[at + 16 : at + 20] = value.to_bytes(4, "little")
        return super().config_read(offset, size)

    def config_write(self, offset: int, value: int, size: int) -> None:
        super().config_write(offset, value, size)
        at = self.config_cap
        if at and offset < at + 20 and offset + size > at + 16:
            found = self._window()
            if found is not None:
                region, where, length = found
                region.handler.write(where, length, self.get(at + 16, length))

    def _window(self) -> tuple[MemoryRegion, int, int] | None:
        """Region, offset in it and length that the driver put into the capability."""
        at = self.config_cap
        bar, where, length = self.config[at + 4], self.get(at + 8), self.get(at + 12)
        if bar != MODERN_BAR or length not in (1, 2, 4) or where % length:
            return None
        for region in self.bars[MODERN_BAR].region.children:
            if region.offset <= where < region.offset + region.size:
                return region, where - region.offset, length
        return None


def _queue_attr(attr: str) -> tuple[Callable[[VirtioPci], int], Callable[[VirtioPci, int], None]]:
    return (lambda device: device._of_queue(attr)), (lambda device, value: device._write_address(attr, value))


def _setter(attr: str) -> Callable[[VirtioPci, int], None]:
    return lambda device, value: setattr(device, attr, value)


# Offset, size, read, write of the common structure's registers.
COMMON: tuple[tuple[int, int, Callable[[VirtioPci], int], Callable[[VirtioPci, int], None] | None], ...] = (
    (0x00, 4, lambda d: d.device_feature_select, _setter("device_feature_select")),
    (0x04, 4, VirtioPci._read_device_feature, None),
    (0x08, 4, lambda d: d.driver_feature_select, _setter("driver_feature_select")),
    (0x0C, 4, VirtioPci._read_driver_feature, VirtioPci._write_driver_feature),
    (0x10, 2, lambda d: d.config_vector, VirtioPci._write_config_vector),
    (0x12, 2, lambda d: len(d.vdev.queues), None),
    (0x14, 1, lambda d: d.vdev.status, VirtioPci._write_status),
    (0x15, 1, lambda d: d.vdev.config_generation, None),
    (0x16, 2, lambda d: d.queue_select, _setter("queue_select")),
    (0x18, 2, lambda d: d._of_queue("size"), VirtioPci._write_queue_size),
    (0x1A, 2, lambda d: d._of_queue("vector") if d.queue else NO_VECTOR, VirtioPci._write_queue_vector),
    (0x1C, 2, lambda d: d._of_queue("enabled"), VirtioPci._write_queue_enable),
    (0x1E, 2, lambda d: d._of_queue("index"), None),
    (0x20, 8, *_queue_attr("desc")),
    (0x28, 8, *_queue_attr("driver_area")),
    (0x30, 8, *_queue_attr("device_area")),
    (0x38, 2, lambda d: d._of_queue("index"), None),
    (0x3A, 2, lambda d: 0, VirtioPci._write_queue_reset),
)


class EitherWay(VirtioPci):
    """The plain `virtio-X-pci`: the user may take legacy or modern away."""

    disable_legacy = Property(default="auto", choices=("on", "off", "auto"), help="on/off/auto")
    disable_modern = Property(bool)


def transports(base: type[VirtioPci], name: str, alias: str) -> None:
    """Make the three types there are of a device: plain, transitional, non-transitional."""
    common = {"__module__": base.__module__, "__doc__": base.__doc__}
    type(f"{base.__name__}Plain", (EitherWay, base), {**common, "type_name": name, "aliases": (alias,) if alias else ()})
    type(f"{base.__name__}Transitional", (base,), {**common, "type_name": f"{name}-transitional"})
    type(f"{base.__name__}NonTransitional", (base,), {**common, "type_name": f"{name}-non-transitional",
                                                      "legacy_allowed": False})  # fmt: skip
