"""Back ends without a host side: null and the ring buffer."""

from __future__ import annotations

from typing import Any

from .base import Chardev, ChardevError


class NullChardev(Chardev):
    """Swallows output, never has input."""

    backend = "null"

    def write(self, data: bytes) -> bool:
        if self._log_fd is not None:
            return super().write(data)
        return True

    def write_byte(self, value: int) -> bool:
        if self._log_fd is not None:
            return super().write_byte(value)
        return True


class RingbufChardev(Chardev):
    """Keeps the last `size` bytes written to it, by its front end or ringbuf_write, for ringbuf_read."""

    backend = "ringbuf"
    options = {"size": "size"}

    def __init__(self, machine: Any, id: str = "", **opts: Any) -> None:
        super().__init__(machine, id, **opts)
        self.size: int = opts.get("size", 65536)
        if self.size <= 0 or self.size & (self.size - 1):
            raise ChardevError(f"chardev '{id}': size of a ringbuf must be a power of two, not {self.size}")
        self.ring = bytearray()

    def _send(self, data: bytes) -> int:
        ring = self.ring
        ring += data
        if len(ring) > self.size:
            del ring[:len(ring) - self.size]
        return len(data)

    def read_ring(self, count: int) -> bytes:
        """Take up to `count` of the oldest bytes out of the buffer."""
        self.flush()
        data = bytes(self.ring[:count])
        del self.ring[:len(data)]
        return data

    def feed(self, data: bytes) -> None:
        """Input for the front end."""
        self._receive(data)
