"""Intel 8259A programmable interrupt controller, with the edge/level register (ELCR) of the PIIX.

Datasheet: Intel 8259A, order number 231468-003. ELCR: Intel 82371SB (PIIX3), section 2.5.

A PC has two of these devices: the master at 0x20, whose INT output goes to the processor, and the slave at 0xa0,
whose INT is the master's IR2. `cascade()` puts them together.
"""

from __future__ import annotations

from typing import Any

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import IrqIn, IrqOut, PortWindow, Property, State

CASCADE = 2  # the master's input that the slave is on
SPURIOUS = 7  # what is answered to INTA when no request is left ("default IR7")


def _rank_table(highest: int) -> tuple[int, ...]:
    """For each set of levels the rank of the most urgent one (0 is first, 8: none), `highest` being first."""
    table = []
    for levels in range(256):
        rotated = ((levels << 8 | levels) >> highest) & 0xFF
        table.append((rotated & -rotated).bit_length() - 1 if rotated else 8)
    return tuple(table)


RANK = tuple(_rank_table(highest) for highest in range(8))


class I8259(IsaDevice):
    """Intel 8259A interrupt controller (231468-003): eight inputs IR0-IR7, one output INT."""

    type_name = "isa-i8259"
    desc = "interrupt controller"
    user_creatable = False
    trace_events = ("pic_set_irq", "pic_interrupt", "pic_ioport_write", "pic_ioport_read")

    iobase = Property("u32", default=0xFFFFFFFF, fmt="hex", help="first of two I/O ports")
    elcr_addr = Property("u32", name="elcr_addr", default=0xFFFFFFFF, fmt="hex",
                         help="I/O port of the edge/level control register")  # fmt: skip
    elcr_mask = Property("u8", name="elcr_mask", default=0xFF, fmt="hex",
                         help="inputs that may be level-triggered")  # fmt: skip
    master = Property(bool, help="the controller that the processor's INTR comes from")

    lines = State("u8", help="levels of the inputs")
    latch = State("u8", help="edge sense latches: a rising edge came and was not acknowledged")
    pulsed = State("u8", help="requests whose line fell in the instant it rose")
    imr = State("u8", help="interrupt mask")
    isr = State("u8", help="in service")
    highest = State("u8", help="level of the highest priority (rotates)")
    irq_base = State("u8", help="vector of IR0 (ICW2)")
    icw3 = State("u8", help="master: inputs with a slave; slave: its identity")
    icw_left = State("u8", help="the next write to the odd port: 0 is OCW1, else ICW2 to ICW4")
    ready = State("bool", help="initialization (ICW1) has begun since power-on: before that INT stays low")
    icw4_needed = State("bool")
    single = State("bool", help="no cascade, no ICW3")
    ltim = State("bool", help="all inputs are level-triggered (ICW1)")
    elcr = State("u8", help="inputs that are level-triggered")
    auto_eoi = State("bool")
    rotate_on_aeoi = State("bool")
    fully_nested = State("bool", help="special fully nested mode")
    special_mask = State("bool")
    read_isr = State("bool", help="the even port reads ISR, not IRR")
    poll = State("bool", help="the next read is an acknowledge")

    irq = IrqOut()
    irq_in = IrqIn(8, "on_irq")
    ports = PortWindow("iobase", 2, "io_read", "io_write", access=(1, 1), name="pic")
    elcr_port = PortWindow("elcr_addr", 1, "elcr_read", "elcr_write", access=(1, 1), name="elcr")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.slave: I8259 | None = None
        self.irq_count = [0] * 8  # rising edges seen, for `info irq`
        self._rose_at = [-1] * 8
        super().__init__(*args, **kwargs)

    def cascade(self, slave: I8259) -> None:
        """Wire a slave's INT to IR2, and the cascade lines CAS0-2 to it."""
        self.slave = slave
        slave.irq.connect(self.irq_in[CASCADE])

    def realize(self) -> None:
        self._now = self.machine.clock.now

    def reset(self) -> None:
        super().reset()
        for pin in self.irq_in.pins:  # wires that are high stay high
            self.lines |= pin.level << pin.index

    # -- inputs and priority --------------------------------------------------------------------------------

    @property
    def irr(self) -> int:
        """Interrupt requests: an input that is high, and in edge mode has risen since it was served.

        A request that is withdrawn before the acknowledge is gone (datasheet, "Edge and Level Triggered Modes").
        Only a pulse of no width at all stays until it is served: it stands for one that is wide enough.
        """
        return self.lines & (0xFF if self.ltim else self.latch | self.elcr) | self.pulsed

    def on_irq(self, pin: int, level: int) -> None:
        bit = 1 << pin
        if level:
            self.lines |= bit
            self.latch |= bit
            self.pulsed &= ~bit
            self.irq_count[pin] += 1
            self._rose_at[pin] = self._now()
        else:
            if self.latch & bit and self._rose_at[pin] == self._now() and not bit & self._steady():
                self.pulsed |= bit
            self.lines &= ~bit
            self.latch &= ~bit
        if self.tracing:
            self.trace("pic_set_irq", master=self.master, irq=pin, level=level)
        self.update()

    def _steady(self) -> int:
        """Inputs on which a pulse is nothing: level-triggered ones, and a slave's."""
        return 0xFF if self.ltim else self.elcr | (1 << CASCADE if self.slave is not None else 0)

    def update(self) -> None:
        """Drive INT. A chip nobody has initialized yet does not operate (datasheet, "Initialization Command Words")."""
        if self.ready and (self.lines | self.pulsed) & ~self.imr:
            self.irq.set(self.pending() >= 0)
        else:
            self.irq.set(0)

    def pending(self) -> int:
        """The level to serve now, -1 when no request is more urgent than all that is in service."""
        requests = (self.lines & (0xFF if self.ltim else self.latch | self.elcr) | self.pulsed) & ~self.imr
        if not requests:
            return -1
        rank = RANK[self.highest]
        first = rank[requests]
        # In special mask mode a masked level in service holds back nobody.
        serving = rank[self.isr & ~self.imr if self.special_mask else self.isr]
        level = (first + self.highest) & 7
        if first < serving:
            return level
        if first == serving and self.fully_nested and self.master and self.icw3 >> level & 1:
            return level  # the slave is in service, and knows that this one is more urgent still
        return -1

    def _serve(self, level: int) -> None:
        """The acknowledge: into service, out of the edge latch."""
        bit = 1 << level
        self.latch &= ~bit
        self.pulsed &= ~bit
        if not self.auto_eoi:
            self.isr |= bit
        elif self.rotate_on_aeoi:
            self.highest = (level + 1) & 7

    def intack(self) -> int:
        """The processor's INTA cycles: the vector. The master asks its slave for one that comes from there."""
        level = self.pending()
        if level < 0:
            # Nothing is left to serve: IR7's vector, and no bit in ISR.
            return self.irq_base + SPURIOUS
        self._serve(level)
        slave = self.slave
        if level == CASCADE and slave is not None and self.icw3 & (1 << CASCADE) and not self.single:
            vector = slave.intack() if slave.icw3 & 7 == CASCADE else 0xFF  # no slave answers: the bus floats
        else:
            vector = self.irq_base + level
        # INT falls with every acknowledge, and rises again for what is left.
        self.irq.set(0)
        self.update()
        if self.tracing:
            self.trace("pic_interrupt", irq=level, vector=vector)
        return vector

    # -- registers ------------------------------------------------------------------------------------------

    def io_read(self, offset: int, size: int) -> int:
        if self.poll:
            value = self._poll()
        elif offset:
            value = self.imr
        else:
            value = self.isr if self.read_isr else self.irr
        if self.tracing:
            self.trace("pic_ioport_read", master=self.master, addr=offset, value=value)
        return value

    def _poll(self) -> int:
        """Poll command: the read is the acknowledge, and names the level instead of a vector."""
        self.poll = False
        level = self.pending()
        if level < 0:
            return 0
        self._serve(level)
        self.irq.set(0)
        self.update()
        return 0x80 | level

    def io_write(self, offset: int, value: int, size: int) -> None:
        if self.tracing:
            self.trace("pic_ioport_write", master=self.master, addr=offset, value=value)
        if offset:
            if self.icw_left:
                self._icw(value)
            else:
                self.imr = value  # OCW1
                self.update()
        elif value & 0x10:
            self._icw1(value)
        elif value & 0x08:
            self._ocw3(value)
        else:
            self._ocw2(value)

    def _icw1(self, value: int) -> None:
        """Initialization starts: edges seen are forgotten, nothing is masked, priorities as wired."""
        self.latch = self.pulsed = self.imr = self.isr = self.highest = 0
        self.special_mask = self.read_isr = self.poll = False
        self.auto_eoi = self.rotate_on_aeoi = self.fully_nested = False
        self.icw3 = 0 if self.master else 7
        self.icw4_needed = bool(value & 0x01)
        self.single = bool(value & 0x02)
        self.ltim = bool(value & 0x08)
        self.icw_left = 2
        self.ready = True
        if not value & 0x01:
            self.log_unimp("MCS-80 mode (ICW1 without ICW4): vectors are given as in 8086 mode")
        self.update()

    def _icw(self, value: int) -> None:
        step = self.icw_left
        if step == 2:
            self.irq_base = value & 0xF8
            self.icw_left = 3 if not self.single else 4 if self.icw4_needed else 0
        elif step == 3:
            self.icw3 = value
            self.icw_left = 4 if self.icw4_needed else 0
        else:
            self.auto_eoi = bool(value & 0x02)
            self.fully_nested = bool(value & 0x10)
            self.icw_left = 0
            self.update()

    def _ocw2(self, value: int) -> None:
        """End of interrupt and rotation: R, SL and EOI are bits 7, 6 and 5."""
        rotate, specific, eoi = value & 0x80, value & 0x40, value & 0x20
        if eoi:
            if specific:
                level = value & 7
            else:
                # The highest level in service; in special mask mode masked ones do not count.
                serving = self.isr & ~self.imr if self.special_mask else self.isr
                rank = RANK[self.highest][serving]
                if rank == 8:
                    return
                level = (rank + self.highest) & 7
            self.isr &= ~(1 << level)
            if rotate:
                self.highest = (level + 1) & 7
        elif specific:
            if rotate:
                self.highest = (value + 1) & 7  # set priority: the level named is the lowest from now on
        else:
            self.rotate_on_aeoi = bool(rotate)
        self.update()

    def _ocw3(self, value: int) -> None:
        if value & 0x04:
            self.poll = True
        if value & 0x02:
            self.read_isr = bool(value & 0x01)
        if value & 0x40:
            self.special_mask = bool(value & 0x20)
            self.update()

    def elcr_read(self, offset: int, size: int) -> int:
        return self.elcr

    def elcr_write(self, offset: int, value: int, size: int) -> None:
        self.elcr = value & self.elcr_mask
        self.update()

    # -- what people look at --------------------------------------------------------------------------------

    def info_pic(self) -> str:
        """One line of `info pic`."""
        return (
            f"pic{0 if self.master else 1}: irr={self.irr:02x} imr={self.imr:02x} isr={self.isr:02x}"
            f" hprio={self.highest} irq_base={self.irq_base:02x} rr_sel={int(self.read_isr)}"
            f" elcr={self.elcr:02x} fnm={int(self.fully_nested)}"
        )
