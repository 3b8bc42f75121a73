"""A 256-byte serial EEPROM on the SMBus (24C02), as memory modules carry for their description (SPD)."""

from __future__ import annotations

from pcemu.qom import State

from .smbus import SmbusDevice

SIZE = 256


class SmbusEeprom(SmbusDevice):
    """24C02-like EEPROM; empty unless the board fills `data`."""

    type_name = "smbus-eeprom"
    desc = "serial EEPROM"
    user_creatable = False

    data = State("u8[256]", kept=True)
    pointer = State("u8")

    def receive_byte(self) -> int:
        value: int = self.data[self.pointer]
        self.pointer = (self.pointer + 1) % SIZE
        return value

    def send_byte(self, value: int) -> None:
        self.pointer = value

    def read_data(self, command: int, count: int) -> bytes:
        self.pointer = command
        return bytes(self.receive_byte() for _ in range(count))

    def write_data(self, command: int, data: bytes) -> None:
        self.pointer = command
        for byte in data:
            self.data[self.pointer] = byte
            self.pointer = (self.pointer + 1) % SIZE

    def read_block(self, command: int) -> bytes:
        return self.read_data(command, 32)

    def write_block(self, command: int, data: bytes) -> None:
        self.write_data(command, data)
