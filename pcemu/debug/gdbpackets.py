"""gdb's remote serial protocol, the bytes (gdb manual, appendix E.1): from a stream to packets, and back.

The peer is not trusted: whatever comes is a packet, an interrupt, or dropped, and no more is kept than one packet.
"""

from __future__ import annotations

from collections.abc import Callable

MOST = 1 << 16              # bytes of one packet between $ and #; PacketSize
INTERRUPT = 3
_SPECIAL = b"}$#*"
_HEX = frozenset(b"0123456789abcdefABCDEF")


def checksum(data: bytes) -> bytes:
    return b"%02x" % (sum(data) & 255)


def escape(data: bytes) -> bytes:
    """Binary data as it is sent: what the protocol uses itself becomes '}' and the byte with bit 5 flipped."""
    if not any(char in data for char in _SPECIAL):
        return data
    return b"".join(b"}%c" % (byte ^ 0x20) if byte in _SPECIAL else b"%c" % byte for byte in data)


def unescape(data: bytes) -> bytes:
    parts = data.split(b"}")
    # A byte behind '}' may be '}' itself only in its flipped form, so that splitting is right.
    return parts[0] + b"".join(bytes([part[0] ^ 0x20]) + part[1:] for part in parts[1:] if part)


def number(text: bytes, bits: int = 64) -> int:
    """An unsigned hexadecimal number; ValueError for anything else."""
    if not text or len(text) > 16 or not _HEX.issuperset(text):
        raise ValueError(f"hexadecimal number expected, not {text[:20]!r}")
    value = int(text, 16)
    if value >> bits:
        raise ValueError(f"{text!r}: more than {bits} bits")
    return value


def from_hex(text: bytes) -> bytes:
    """Bytes from pairs of digits; ValueError for anything else."""
    if not _HEX.issuperset(text):
        raise ValueError("hexadecimal bytes expected")
    return bytes.fromhex(text.decode("ascii"))


class Wire:
    """One connection: feed() it what arrives; it calls `packet` and `interrupt`, and `write` for what goes out."""

    def __init__(self, write: Callable[[bytes], None], packet: Callable[[bytes], None], interrupt: Callable[[], None]) -> None:
        self._write = write
        self._packet = packet
        self._interrupt = interrupt
        self.reset()

    def reset(self) -> None:
        """A new client."""
        self._in = bytearray()
        self._last = b""            # what was sent last, until it is acknowledged
        self._overlong = False      # inside a packet that is longer than MOST
        self.acks = True

    def send(self, data: bytes) -> None:
        framed = b"$" + data + b"#" + checksum(data)
        self._last = framed if self.acks else b""
        self._write(framed)

    def feed(self, data: bytes) -> None:
        self._in += data
        while self._in and self._take():
            pass

    def _take(self) -> bool:
        """Consume one thing; False when more has to arrive first."""
        buffer = self._in
        if self._overlong or buffer[0] == ord("$"):
            return self._take_packet()
        first = buffer[0]
        del buffer[0]
        if first == INTERRUPT:
            self._interrupt()
        elif first == ord("-") and self._last:
            self._write(self._last)
        elif first == ord("+"):
            self._last = b""
        return True

    def _take_packet(self) -> bool:
        buffer = self._in
        end = buffer.find(b"#")
        if end < 0 or len(buffer) < end + 3:
            if end < 0 and len(buffer) > MOST + 1:
                self._overlong = True
                buffer.clear()
            return False
        whole = bytes(buffer[:end + 3])
        body, sent = whole[1:end], whole[end + 1:]
        del buffer[:end + 3]
        if self.acks and buffer.startswith(whole):
            return True         # sent again, because we were slow to start: one answer is expected
        if self._overlong or len(body) > MOST:
            self._overlong = False
            if self.acks:
                self._write(b"+")
            self.send(b"E22")
            return True
        # In no-ack mode a checksum is there still, and of no interest: the line is said to be reliable.
        if self.acks and checksum(body) != sent.lower():
            self._write(b"-")
            return True
        if self.acks:
            self._write(b"+")
        self._packet(body)
        return True
