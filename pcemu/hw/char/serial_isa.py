"""The serial ports of a PC: a PC16550D on the ISA bus at COM1 to COM4's places."""

from __future__ import annotations

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import Property

from .serial import Serial

UNSET = 0xFFFFFFFF
IOBASES = (0x3F8, 0x2F8, 0x3E8, 0x2E8)      # by index
IRQS = (4, 3, 4, 3)


class IsaSerial(Serial, IsaDevice):
    """ISA serial port (16550A; COM1 to COM4 by `index`, or anywhere by `iobase` and `irq`)."""

    type_name = "isa-serial"
    category = "input"
    bus_type = "ISA"

    index = Property("u32", default=UNSET, help="0 to 3: COM1 to COM4; by default the next one")
    iobase = Property("u32", default=UNSET, fmt="hex", help="first I/O port; by default that of the index")
    irq_number = Property("u32", name="irq", default=UNSET, help="ISA interrupt; by default that of the index")

    def realize(self) -> None:
        others = [port for port in self.machine.find_all(IsaSerial) if port.realized]
        if self.index == UNSET:
            self.index = len(others)
        if self.index >= len(IOBASES):
            raise self.fail(f"at most {len(IOBASES)} ISA serial ports are supported (index {self.index})")
        if self.iobase == UNSET:
            self.iobase = IOBASES[self.index]
        if self.irq_number == UNSET:
            self.irq_number = IRQS[self.index]
        super().realize()
        self.connect_irq(self.irq, self.irq_number)
        self.ports.map(self.iobase)
