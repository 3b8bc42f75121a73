"""Intel 82371SB (PIIX3), the south bridge's PCI-to-ISA function 00:01.0 (datasheet 290550-002)."""

from __future__ import annotations

from typing import Any, ClassVar

from pcemu.hw.pci.config import ConfigReg
from pcemu.hw.pci.device import PciDevice
from pcemu.hw.pci.host import I440fxPciHost
from pcemu.qom import IrqOut, MemoryRegion, State

from .bus import ISA_IRQS, IsaBus

PIRQS = 4
PIRQ_ROUTE = 0x60
ROUTE_OFF = 0x80
# IRQs that cannot be PCI interrupts: timer, keyboard, cascade, clock, coprocessor (table 8).
RESERVED_IRQS = frozenset((0, 1, 2, 8, 13))

RESET_PORT = 0xCF9
RCR_SYSTEM, RCR_CPU = 2, 4


class Piix3(PciDevice):
    """PIIX3: steers PCI interrupts onto ISA ones, carries the ISA bus, and resets the machine."""

    type_name = "PIIX3"
    desc = "ISA bridge"
    category = "bridge"
    user_creatable = False

    vendor_id = 0x8086
    device_id = 0x7000
    class_id = 0x0601
    status_reset = 0x0200

    config_registers: ClassVar[tuple[ConfigReg, ...]] = (
        ConfigReg("IORT", 0x4C, reset=0x4D, writable=0x7F),
        ConfigReg("XBCS", 0x4E, 2, reset=0x0003, writable=0x01FF),
        *(
            ConfigReg(f"PIRQRC{'ABCD'[i]}", PIRQ_ROUTE + i, reset=ROUTE_OFF, writable=0x8F, on_write="route_written")
            for i in range(PIRQS)
        ),
        ConfigReg("TOM", 0x69, reset=0x02, writable=0xFE),
        ConfigReg("MSTAT", 0x6A, 2, writable=0x7FF7, w1c=0x8000),
        ConfigReg("MBIRQ0", 0x70, reset=0x80, writable=0xEF),
        ConfigReg("MBDMA0", 0x76, reset=0x0C, writable=0x8F),
        ConfigReg("MBDMA1", 0x77, reset=0x0C, writable=0x8F),
        ConfigReg("PCSC", 0x78, 2, reset=0x0002, writable=0xFFFF),
        ConfigReg("APICBASE", 0x80, writable=0x7F),
        ConfigReg("DLC", 0x82, writable=0x0F),
        ConfigReg("SMICNTL", 0xA0, reset=0x08, writable=0x1F),
        ConfigReg("SMIEN", 0xA2, 2, writable=0x01FF),
        ConfigReg("SEE", 0xA4, 4, writable=0xE000FFFB),
        ConfigReg("FTMR", 0xA8, reset=0x0F, writable=0xFF),
        ConfigReg("SMIREQ", 0xAA, 2, writable=0x01FF),
        ConfigReg("CTLTMR", 0xAC, writable=0xFF),
        ConfigReg("CTHTMR", 0xAE, writable=0xFF),
    )

    rcr = State("u8", help="reset control register, port CF9h")

    isa_irq = IrqOut(ISA_IRQS, hidden=True)

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        super().__init__(machine, bus, id, **props)
        self.pirq_levels = [0] * PIRQS
        self.isa = IsaBus("isa.0", self)

    def realize(self) -> None:
        super().realize()
        for number in range(ISA_IRQS):
            self.isa_irq[number].connect(self.isa.irq_input(number))
        self.bus.route_irqs(self.pirq_of, self.on_pirq)
        host = self.bus.parent
        if isinstance(host, I440fxPciHost):
            host.reset_control = self
            # In the middle of the host's address register, which answers to dwords only: see I440fxPciHost.
            region = MemoryRegion("piix3-reset-control", 1, owner=self)
            self.machine.io_root.add(region, RESET_PORT, priority=1)

    def reset(self) -> None:
        super().reset()
        self._update()

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        self._update()

    # -- PCI interrupts -------------------------------------------------------------------------------------

    @staticmethod
    def pirq_of(devfn: int, pin: int) -> int:
        """Which PIRQ a pin is wired to: the slots rotate, so that INTA# of neighbours does not share."""
        return (pin + (devfn >> 3) - 1) & 3

    def on_pirq(self, pirq: int, level: int) -> None:
        self.pirq_levels[pirq] = level
        self._update()

    def route(self, pirq: int) -> int | None:
        """The ISA IRQ a PIRQ is steered to, None: nowhere."""
        value = self.config[PIRQ_ROUTE + pirq]
        irq = value & 0xF
        return None if value & ROUTE_OFF or irq in RESERVED_IRQS else irq

    def route_written(self, old: int, new: int) -> None:
        self._update()

    def _update(self) -> None:
        """Drive the ISA lines: each is high while any PIRQ steered to it is."""
        levels = [0] * ISA_IRQS
        for pirq, level in enumerate(self.pirq_levels):
            if level:
                irq = self.route(pirq)
                if irq is not None:
                    levels[irq] = 1
        for number, level in enumerate(levels):
            self.isa_irq[number].set(level)

    # -- reset control (2.5.1) ------------------------------------------------------------------------------

    def rcr_read(self) -> int:
        return self.rcr

    def rcr_write(self, value: int) -> None:
        if value & RCR_CPU:
            self.machine.request_reset("guest-reset")
        self.rcr = value & RCR_SYSTEM
