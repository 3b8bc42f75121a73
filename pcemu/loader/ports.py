"""Port accesses as firmware would make them, for setting up chips before the guest runs."""

from __future__ import annotations

from typing import Any


class Ports:
    """``ports.outb(0x21, 0xff)``: goes to the device that is mapped there, like the guest's own access."""

    def __init__(self, machine: Any) -> None:
        self._space = machine.io_space

    def _find(self, port: int) -> tuple[Any, int] | None:
        for start, size, region, offset in self._space.flat:
            if start <= port < start + size:
                return region.handler, offset + port - start
        return None

    def read(self, port: int, size: int) -> int:
        found = self._find(port)
        if found is None:
            return (1 << (size << 3)) - 1
        handler, offset = found
        return int(handler.read(offset, size))

    def write(self, port: int, size: int, value: int) -> None:
        found = self._find(port)
        if found is not None:
            handler, offset = found
            handler.write(offset, size, value)

    def inb(self, port: int) -> int:
        return self.read(port, 1)

    def outb(self, port: int, value: int) -> None:
        self.write(port, 1, value)
