"""Message-signalled interrupts: the MSI capability (PCI Local Bus Specification 3.0, 6.8.1).

An interrupt is a memory write by the device, so it needs bus mastering, and no wire is pulled while it is enabled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .device import PciDevice

CAP_MSI = 0x05
ENABLE = 1
CAN_64BIT, CAN_MASK = 1 << 7, 1 << 8
MAX_VECTORS = 32


class Msi:
    """The capability of one device, 64 bits of address, with a mask for each vector where `maskable`."""

    def __init__(self, device: PciDevice, vectors: int = 1, offset: int = 0, maskable: bool = False) -> None:
        if vectors & (vectors - 1) or not 1 <= vectors <= MAX_VECTORS:
            raise ValueError(f"MSI: {vectors} is not 1, 2, 4, 8, 16 or 32 vectors")
        self.device = device
        self.vectors = vectors
        self.maskable = maskable
        self.offset = at = device.add_capability(CAP_MSI, 24 if maskable else 14, offset)
        layout = device.layout
        capable = vectors.bit_length() - 1
        layout.set_reset(at + 2, 2, capable << 1 | CAN_64BIT | (CAN_MASK if maskable else 0))
        layout.set_writable(at + 2, 2, ENABLE | (0x70 if vectors > 1 else 0))
        layout.set_writable(at + 4, 4, 0xFFFFFFFC)
        layout.set_writable(at + 8, 4, 0xFFFFFFFF)
        layout.set_writable(at + 12, 2, 0xFFFF)
        if maskable:
            layout.set_writable(at + 16, 4, (1 << vectors) - 1)
        layout.hook(at + 2, at + (20 if maskable else 4), self._written)
        device.config[:] = layout.reset

    @property
    def enabled(self) -> bool:
        return bool(self.device.config[self.offset + 2] & ENABLE)

    @property
    def allowed(self) -> int:
        """How many vectors software gave the device."""
        return min(1 << (self.device.config[self.offset + 2] >> 4 & 7), self.vectors)

    def notify(self, vector: int) -> None:
        """Send the message of `vector`; those beyond what was allocated share the last one."""
        device, at = self.device, self.offset
        if not self.enabled:
            return
        allowed = self.allowed
        vector = min(vector, allowed - 1)
        if self.maskable and device.get(at + 16) >> vector & 1:
            device.put(at + 20, 4, device.get(at + 20) | 1 << vector)
            return
        # The device changes as many low bits of the data as the number of vectors needs (6.8.1.6).
        device.send_message(device.get(at + 4, 8), device.get(at + 12, 2) & -allowed | vector)

    def _written(self, old: int, new: int) -> None:
        device, at = self.device, self.offset
        device.intx.update()
        if not self.maskable or not self.enabled:
            return
        ready = device.get(at + 20) & ~device.get(at + 16)
        for vector in range(self.vectors):
            if ready >> vector & 1:
                device.put(at + 20, 4, device.get(at + 20) & ~(1 << vector))
                self.notify(vector)

    def state(self) -> Any:
        """Nothing beyond configuration space."""
        return None
