"""A metronome: write a period in microseconds to its port, and it interrupts at that pace. Reading says how often."""

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import IrqOut, PortWindow, Property, State


class Metronome(IsaDevice):
    """An interrupt every so many microseconds."""

    type_name = "metronome"
    desc = "interrupts at the pace the guest sets"
    trace_events = ("metronome_tick",)

    iobase = Property("u32", default=0x300, fmt="hex", help="its I/O port, 32 bits wide")
    irq_number = Property("u32", name="irq", default=5, max=15, help="ISA interrupt")
    period = State("u32", help="microseconds between ticks; 0: it is silent")
    ticks = State("u32", help="since the period was set")
    irq = IrqOut(hidden=True)
    port = PortWindow("iobase", 4, "port_read", "port_write", access=(4, 4))

    def realize(self) -> None:
        self.timer = self.machine.clock.timer(self.tick)
        self.connect_irq(self.irq, self.irq_number)

    def reset(self) -> None:
        super().reset()
        self.timer.cancel()

    def port_read(self, offset: int, size: int) -> int:
        self.irq.set(0)
        return self.ticks

    def port_write(self, offset: int, value: int, size: int) -> None:
        self.reset()
        self.period = value
        if value:
            self.timer.arm_in(value * 1000)

    def tick(self) -> None:
        self.ticks += 1
        self.trace("metronome_tick", ticks=self.ticks)
        self.irq.set(1)
        self.timer.arm_in(self.period * 1000)
