"""The ISA bus: I/O ports, and sixteen interrupt lines that the board connects to its controllers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcemu.qom import Bus, Device, IrqLine, IrqOut, PcemuError
from pcemu.qom.wire import Sink

if TYPE_CHECKING:
    from pcemu.qom import IrqPin

ISA_IRQS = 16


class IsaBus(Bus):
    """One line an interrupt number: devices drive it, the board says where it goes."""

    type_name = "ISA"

    def __init__(self, name: str, parent: Device | None = None, machine: Any = None) -> None:
        super().__init__(name, parent, machine)
        self._levels = [0] * ISA_IRQS
        self._inputs = [_SharedLine(self, number) for number in range(ISA_IRQS)]
        self.irq_lines = [IrqLine(self, "irq", number) for number in range(ISA_IRQS)]

    def irq_input(self, number: int) -> _SharedLine:
        """What a device's wire is connected to."""
        if not 0 <= number < ISA_IRQS:
            raise PcemuError(f"{self.name}: no such IRQ: {number} (0 to {ISA_IRQS - 1})")
        return self._inputs[number]

    def connect_irqs(self, targets: list[IrqPin | IrqLine | Sink]) -> None:
        """Board: where interrupt lines 0, 1, ... go."""
        for line, target in zip(self.irq_lines, targets, strict=False):
            line.connect(target)


class _SharedLine:
    """Several devices on one interrupt number: high while any of them is."""

    __slots__ = ("_asserted", "_bus", "_number")

    def __init__(self, bus: IsaBus, number: int) -> None:
        self._bus = bus
        self._number = number
        self._asserted = 0

    def __call__(self, level: int) -> None:
        self._asserted += 1 if level else -1
        self._bus.irq_lines[self._number].set(self._asserted > 0)

    def __repr__(self) -> str:
        return f"<{self._bus.name} irq {self._number}>"


class IsaDevice(Device):
    """A device on the ISA bus (or a chip of the south bridge that answers like one).

    Ports are declared as `PortWindow`s. ``connect_irq(self.irq, number)`` in realize() puts a wire on an
    interrupt line of the bus.
    """

    bus_type = "ISA"

    @property
    def isa_bus(self) -> IsaBus:
        bus = self.parent_bus
        if not isinstance(bus, IsaBus):
            raise PcemuError(f"{self.type_name}: no ISA bus to plug it into")
        return bus

    def connect_irq(self, wire: IrqOut | IrqLine, number: int) -> None:
        """Put `wire` on interrupt line `number` of the bus."""
        if self.parent_bus is None:  # a test without a bus: the wire stays free
            return
        try:
            target = self.isa_bus.irq_input(number)
        except PcemuError as error:
            raise PcemuError(f"{self.type_name}: {error}") from None
        wire.connect(target)
