"""The block that guest RAM is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcemu.qom import MemoryRegion, PcemuError

if TYPE_CHECKING:
    from .machine import Machine


def make_ram(machine: Machine, name: str = "pc.ram") -> MemoryRegion:
    """All RAM, in the memory of -machine memory-backend= or in the machine's own; it is the board's to place it."""
    board = machine.board
    backend = None
    if board.memory_backend:
        from pcemu.backends.memory import backend_of

        backend = backend_of(machine)
        name = backend.id
    size = machine.ram_size
    offset = machine.alloc(name, size)
    if backend is not None:
        backend.dump = backend.dump and board.dump_guest_core
        backend.place(machine.memory.block_view(offset, size))
    elif not board.dump_guest_core:
        from pcemu.backends.memory import MADV_DONTDUMP, advise

        try:
            advise(machine.memory.block_view(offset, size), MADV_DONTDUMP)
        except OSError as error:
            raise PcemuError(f"-machine dump-guest-core=off: {error.strerror}") from None
    machine.ram = MemoryRegion.ram(name, size, offset)
    return machine.ram
