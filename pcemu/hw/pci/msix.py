"""MSI-X (PCI Local Bus Specification 3.0, 6.8.2): a table of messages and pending bits, in a BAR of the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcemu.qom import MemoryRegion
from pcemu.qom.region import WindowHandler, adapt_read, adapt_write

if TYPE_CHECKING:
    from .device import PciDevice

CAP_MSIX = 0x11
ENABLE, FUNCTION_MASK = 0x80, 0x40  # in the high byte of message control
ENTRY_SIZE = 16
MASKED = 1  # in an entry's last dword
MAX_VECTORS = 2048
PAGE = 4096


class Msix:
    """The capability, with table and pending bits filling the BAR `bar` by themselves."""

    def __init__(self, device: PciDevice, vectors: int, bar: int, offset: int = 0) -> None:
        if not 1 <= vectors <= MAX_VECTORS:
            raise device.fail(f"MSI-X: from 1 to {MAX_VECTORS} vectors, not {vectors}")
        self.device = device
        self.vectors = vectors
        self.table = bytearray()
        self.pending = 0
        table_size, pba_size = vectors * ENTRY_SIZE, -(-vectors // 64) * 8
        pba = max(PAGE // 2, table_size)
        size = max(PAGE, 1 << (pba + pba_size - 1).bit_length())
        self.offset = at = device.add_capability(CAP_MSIX, 12, offset)
        layout = device.layout
        layout.set_reset(at + 2, 2, vectors - 1)
        layout.set_reset(at + 4, 4, bar)
        layout.set_reset(at + 8, 4, pba | bar)
        layout.set_writable(at + 3, 1, ENABLE | FUNCTION_MASK)
        layout.hook(at + 3, at + 4, self._control_written)
        device.config[:] = layout.reset

        region = MemoryRegion(f"{device.type_name}-msix", size, owner=device)
        table_region = self._region("msix-table", table_size, self._table_read, self._table_write)
        region.add(table_region, 0)
        region.add(self._region("msix-pba", pba_size, self._pba_read, self._pba_write), pba)
        device.register_bar(bar, region)
        self.reset()

    def _region(self, name: str, size: int, read: Any, write: Any) -> MemoryRegion:
        handler = WindowHandler(name, self.device, adapt_read(read, 4, 4, size), adapt_write(write, read, 4, 4, size))
        return MemoryRegion.mmio(name, size, handler, owner=self.device)

    def reset(self) -> None:
        """Every vector masked (6.8.2.9)."""
        self.table[:] = (bytes(12) + MASKED.to_bytes(4, "little")) * self.vectors
        self.pending = 0

    # -- the device's side --------------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        return bool(self.device.config[self.offset + 3] & ENABLE)

    def notify(self, vector: int) -> None:
        """Send the message of `vector`, or note that it is pending while it is masked."""
        control = self.device.config[self.offset + 3]
        if not control & ENABLE or vector >= self.vectors:
            return
        at = vector * ENTRY_SIZE
        table = self.table
        if control & FUNCTION_MASK or table[at + 12] & MASKED:
            self.pending |= 1 << vector
            return
        self.device.send_message(
            int.from_bytes(table[at : at + 8], "little"), int.from_bytes(table[at + 8 : at + 12], "little")
        )

    # -- registers ----------------------------------------------------------------------------------------------

    def _control_written(self, old: int, new: int) -> None:
        self.device.intx.update()
        self._send_pending(range(self.vectors))

    def _send_pending(self, vectors: range) -> None:
        if not self.pending:
            return
        for vector in vectors:
            if self.pending >> vector & 1:
                self.pending &= ~(1 << vector)
                self.notify(vector)  # pending again when it is masked still

    def _table_read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.table[offset : offset + size], "little")

    def _table_write(self, offset: int, value: int, size: int) -> None:
        if offset & 12 == 12:
            value &= MASKED
        self.table[offset : offset + size] = value.to_bytes(size, "little")
        vector = offset // ENTRY_SIZE
        self._send_pending(range(vector, vector + 1))

    def _pba_read(self, offset: int, size: int) -> int:
        return self.pending >> 8 * offset & (1 << 8 * size) - 1

    def _pba_write(self, offset: int, value: int, size: int) -> None:
        """Read-only."""

    def state(self) -> dict[str, Any]:
        return {"table": bytes(self.table), "pending": self.pending}

    def load(self, values: dict[str, Any]) -> None:
        if len(values["table"]) != len(self.table):
            raise ValueError(f"MSI-X table of {len(values['table'])} bytes instead of {len(self.table)}")
        self.table[:] = values["table"]
        self.pending = values["pending"]
