"""Named registers with reset values and write masks, for devices that are mostly a table of them.

    class Example(SysBusDevice):
        status  = Register(0x00, reset=1, w1c=0x0F, help="interrupt causes; write 1 to clear")
        control = Register(0x04, writable=0xFF, on_write="control_written")
        mmio    = MmioWindow(size=0x100, read="reg_read", write="reg_write", access=(4, 4))

At run time ``self.status`` is an int. ``on_read() -> int`` supplies a value that is computed;
``on_write(old, new)`` is called after a write took effect.
"""

from __future__ import annotations

from typing import Any, ClassVar


class RegisterDecl:
    """One register of a device class."""

    __slots__ = ("attr", "help", "offset", "on_read", "on_write", "reset", "size", "w1c", "writable")

    def __init__(self, offset: int, size: int, reset: int, writable: int | None, w1c: int,
                 on_read: str, on_write: str, help: str) -> None:  # fmt: skip
        self.attr = ""
        self.offset = offset
        self.size = size
        self.reset = reset
        full = (1 << (8 * size)) - 1
        self.w1c = w1c
        self.writable = (0 if w1c else full) if writable is None else writable
        self.on_read = on_read
        self.on_write = on_write
        self.help = help

    def __set_name__(self, owner: type, attr: str) -> None:
        self.attr = attr


def Register(
    offset: int,
    *,
    size: int = 4,
    reset: int = 0,
    writable: int | None = None,
    w1c: int = 0,
    on_read: str = "",
    on_write: str = "",
    help: str = "",
) -> Any:
    """Declare a register at `offset`; `writable` and `w1c` are masks of bits that are written and cleared by 1."""
    return RegisterDecl(offset, size, reset, writable, w1c, on_read, on_write, help)


class RegisterAccess:
    """The window handlers that go with `Register` declarations (a base of Device)."""

    _registers: ClassVar[dict[int, RegisterDecl]]
    type_name: ClassVar[str]

    def log_guest_error(self, text: str, *args: object) -> None:
        raise NotImplementedError

    def reg_read(self, offset: int, size: int) -> int:
        decl = self._registers.get(offset)
        if decl is None:
            self.log_guest_error("read of unknown register %#x", offset)
            return 0
        if decl.on_read:
            value: int = getattr(self, decl.on_read)()
            return value
        value = getattr(self, decl.attr)
        return value

    def reg_write(self, offset: int, value: int, size: int) -> None:
        decl = self._registers.get(offset)
        if decl is None:
            self.log_guest_error("write of %#x to unknown register %#x", value, offset)
            return
        old: int = getattr(self, decl.attr)
        new = (old & ~decl.writable) | (value & decl.writable)
        new &= ~(value & decl.w1c)
        setattr(self, decl.attr, new)
        if decl.on_write:
            getattr(self, decl.on_write)(old, new)
