"""The SMBus: a bus of small two-wire devices, and the PIIX4's host controller for it (82371AB, 290562-001, 7.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pcemu.qom import Bus, Device, Property

# Host status (7.3.1).
BUSY, DONE, NO_DEVICE, COLLISION, FAILED = 1, 2, 4, 8, 16
STATUS_W1C = DONE | NO_DEVICE | COLLISION | FAILED
# Host control (7.3.3).
IRQ_ENABLE, KILL, START = 1, 2, 0x40
BLOCK_SIZE = 32
REGISTERS = 0x10


class SmbusDevice(Device):
    """A slave. Subclasses override what they understand; the rest reads as zero and takes anything."""

    bus_type = "i2c-bus"

    address = Property("u8", help="seven-bit address on the bus")

    def quick(self, read: bool) -> None:
        """A transfer of no data; the read/write bit is the message."""

    def receive_byte(self) -> int:
        return 0

    def send_byte(self, value: int) -> None:
        return

    def read_data(self, command: int, count: int) -> bytes:
        return bytes(count)

    def write_data(self, command: int, data: bytes) -> None:
        return

    def read_block(self, command: int) -> bytes:
        return b""

    def write_block(self, command: int, data: bytes) -> None:
        return


class SmbusBus(Bus):
    """Who answers at which address."""

    type_name = "i2c-bus"

    def device_at(self, address: int) -> SmbusDevice | None:
        for device in self.children:
            if isinstance(device, SmbusDevice) and device.address == address and device.realized:
                return device
        return None


class SmbusHost:
    """The controller's registers. A transfer is over by the time the start bit's write returns."""

    def __init__(self, bus: SmbusBus, changed: Callable[[], None]) -> None:
        self.bus = bus
        self.changed = changed  # the interrupt may be different now
        self.reset()

    def reset(self) -> None:
        self.status = self.control = self.command = self.target = self.data0 = self.data1 = 0
        self.block = bytearray(BLOCK_SIZE)
        self.index = 0
        self.spare = bytearray(REGISTERS)  # the slave half: kept, not acted on

    def state(self) -> list[Any]:
        return [self.status, self.control, self.command, self.target, self.data0, self.data1, bytes(self.block),
                self.index, bytes(self.spare)]  # fmt: skip

    def load(self, values: list[Any]) -> None:
        (self.status, self.control, self.command, self.target, self.data0, self.data1, block, self.index,
         spare) = values  # fmt: skip
        self.block, self.spare = bytearray(block), bytearray(spare)

    @property
    def interrupt(self) -> int:
        return 1 if self.control & IRQ_ENABLE and self.status & STATUS_W1C else 0

    def read(self, offset: int) -> int:
        if offset == 2:
            self.index = 0  # 7.3.3: reading the control register rewinds the block buffer
            return self.control
        if offset == 7:
            value = self.block[self.index]
            self.index = (self.index + 1) % BLOCK_SIZE
            return value
        names = {0: self.status, 3: self.command, 4: self.target, 5: self.data0, 6: self.data1}
        if offset in names:
            return names[offset]
        return self.spare[offset] if offset < REGISTERS else 0

    def write(self, offset: int, value: int) -> None:
        if offset == 0:
            self.status &= ~(value & STATUS_W1C)
            self.changed()
        elif offset == 2:
            self.control = value & ~START
            if value & KILL:
                self.status = self.status & ~BUSY | FAILED
            elif value & START:
                self._transfer(value >> 2 & 7)
            self.changed()
        elif offset == 3:
            self.command = value
        elif offset == 4:
            self.target = value
        elif offset == 5:
            self.data0 = value
        elif offset == 6:
            self.data1 = value
        elif offset == 7:
            self.block[self.index] = value
            self.index = (self.index + 1) % BLOCK_SIZE
        elif 8 <= offset < REGISTERS:
            self.spare[offset] = value

    def _transfer(self, protocol: int) -> None:
        device = self.bus.device_at(self.target >> 1)
        read = bool(self.target & 1)
        transfer = {0: self._quick, 1: self._byte, 2: self._byte_data, 3: self._word_data, 5: self._block}.get(protocol)
        if transfer is None:
            self.status |= FAILED
        elif device is None:
            self.status |= NO_DEVICE
        else:
            transfer(device, read)
            self.status |= DONE

    def _quick(self, device: SmbusDevice, read: bool) -> None:
        device.quick(read)

    def _byte(self, device: SmbusDevice, read: bool) -> None:
        if read:
            self.data0 = device.receive_byte() & 0xFF
        else:
            device.send_byte(self.command)

    def _byte_data(self, device: SmbusDevice, read: bool) -> None:
        if read:
            self.data0 = device.read_data(self.command, 1)[0]
        else:
            device.write_data(self.command, bytes((self.data0,)))

    def _word_data(self, device: SmbusDevice, read: bool) -> None:
        if read:
            self.data0, self.data1 = device.read_data(self.command, 2)[:2]
        else:
            device.write_data(self.command, bytes((self.data0, self.data1)))

    def _block(self, device: SmbusDevice, read: bool) -> None:
        if read:
            data = device.read_block(self.command)[:BLOCK_SIZE]
            self.data0 = len(data)
            self.block[: len(data)] = data
        else:
            device.write_block(self.command, bytes(self.block[: min(self.data0, BLOCK_SIZE)]))
        self.index = 0
