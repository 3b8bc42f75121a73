"""The ROM that is there when no firmware was given: 64 KiB of nearly nothing.

It has the few things that programs expect in a BIOS (the reset vector, do-nothing interrupt handlers, the model
byte), room for what is looked for between 0xf0000 and 0xfffff, and for a machine with nothing to boot a word to the user.
"""

from __future__ import annotations

import struct

SIZE = 0x10000
BASE = 0xF0000

IRET_OFFSET = 0xFF53  # where the IBM PC's BIOS had its dummy interrupt handler
IRQ_MASTER_OFFSET = 0xFF58
IRQ_SLAVE_OFFSET = 0xFF60
_START_OFFSET = 0xF000
_MESSAGE_OFFSET = 0xF100
_RESET_OFFSET = 0xFFF0
_TABLES_START = 0x1000
_TABLES_END = 0xF000

_IRET = b"\xcf"
_EOI_MASTER = bytes.fromhex("50 b0 20 e6 20 58 cf")  # push ax; mov al,20h; out 20h,al; pop ax; iret
_EOI_SLAVE = bytes.fromhex("50 b0 20 e6 a0 e6 20 58 cf")

# The message to the debug console (402h) and to COM1, whose transmitter is waited for; then a halt.
_TELL = bytes.fromhex(
    "fa fc"  # cli; cld
    "ba fb 03 b0 03 ee"  # mov dx, 3fbh; mov al, 3; out dx, al: eight bits a character
    "be 00 f1"  # mov si, message
    "2e ac"  # next: cs lodsb
    "84 c0 74 19"  # test al, al; jz done
    "ba 02 04 ee"  # mov dx, 402h; out dx, al
    "88 c4 b9 ff ff"  # mov ah, al; mov cx, 0ffffh
    "ba fd 03 ec"  # mov dx, 3fdh; wait: in al, dx
    "a8 20 e1 fb"  # test al, 20h; loopz wait
    "88 e0 ba f8 03 ee"  # mov al, ah; mov dx, 3f8h; out dx, al
    "eb e1"  # jmp next
    "f4 eb fd"  # done: hlt; jmp done
)
# cli; mov dx,0cf9h; mov al,6; out dx,al; then wait for it to happen.
_RESTART = bytes.fromhex("fa ba f9 0c b0 06 ee f4 eb fd")

NOTHING_TO_BOOT = "Nothing to boot: give a kernel (-kernel FILE) or firmware (-bios FILE).\r\n"


class StubRom:
    """The ROM's contents, and an allocator for what goes into it."""

    def __init__(self, message: str = "") -> None:
        """`message`: say it and stop at the reset vector; without one the reset vector resets the machine."""
        self.image = bytearray(SIZE)
        self._next = _TABLES_START
        self._put(IRET_OFFSET, _IRET)
        self._put(IRQ_MASTER_OFFSET, _EOI_MASTER)
        self._put(IRQ_SLAVE_OFFSET, _EOI_SLAVE)
        self._put(_START_OFFSET, _TELL if message else _RESTART)
        self._put(_MESSAGE_OFFSET, message.encode("ascii") + b"\x00")
        self._put(_RESET_OFFSET, struct.pack("<BHH", 0xEA, _START_OFFSET, 0xF000) + b"04/01/14\x00\xfc")

    def _put(self, offset: int, data: bytes) -> None:
        self.image[offset : offset + len(data)] = data

    def place(self, data: bytes, align: int = 16) -> int | None:
        """Put data where systems search for tables; its physical address, None when it is full."""
        start = (self._next + align - 1) & -align
        if start + len(data) > _TABLES_END:
            return None
        self._put(start, data)
        self._next = start + len(data)
        return BASE + start

    def reserve(self, size: int, align: int = 16) -> int | None:
        return self.place(bytes(size), align)

    def write(self, address: int, data: bytes) -> None:
        """Contents for a reserved place."""
        self._put(address - BASE, data)
