"""National PC16550D universal asynchronous receiver/transmitter (datasheet TL/C/8652, June 1995).

What the shift registers would do in time happens at once, as in QEMU: a byte written to THR is on its way before the
next instruction, and THRE comes back up with it. Only the receive time-out interrupt (8.4.1) takes as long as the
programmed baud rate says. With FIFOs on, the THRE *interrupt* comes with the sixteenth byte or a moment after the last
write, so that there is one for a FIFO's worth of bytes, as on the chip, and not one for every byte. THRE stays down
while the host side of the character device does not keep up.

What a driver does most, the port's latch does: it reads IIR, LSR and MSR when that changes nothing, fills the transmitter's
FIFO but for the last byte, and empties the receiver's. `_publish` says how far that goes, `_written` and `_read` hear of it.

OUT2 does not gate the interrupt, which it does on a PC's serial card: guests written on emulators forget it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcemu.qom import Device, IrqOut, PortWindow, Property, State

if TYPE_CHECKING:
    from pcemu.chardev import Chardev

NS = 1_000_000_000
FIFO_SIZE = 16
THRE_DELAY = 20_000                         # ns from the last write to the THRE interrupt, if the FIFO was not filled
RBR = THR = 0
IIR, LSR, MSR, SCR = 2, 5, 6, 7
READING_CHANGES = (RBR, IIR, LSR, MSR)
TRIGGER_LEVELS = (1, 4, 8, 14)              # FCR bits 7-6

# IER (8.7)
IER_RX, IER_TX, IER_LINE, IER_MODEM = 1, 2, 4, 8
# IIR (8.6), bits 3-0, highest priority first
IIR_NONE, IIR_LINE, IIR_RX, IIR_TIMEOUT, IIR_TX, IIR_MODEM = 0x01, 0x06, 0x04, 0x0C, 0x02, 0x00
IIR_FIFO = 0xC0
# FCR (8.5)
FCR_ENABLE, FCR_CLEAR_RX, FCR_CLEAR_TX = 1, 2, 4
FCR_STORED = 0xC9
# LCR (8.1)
LCR_STOP, LCR_PARITY, LCR_BREAK, LCR_DLAB = 0x04, 0x08, 0x40, 0x80
# MCR (8.8)
MCR_DTR, MCR_RTS, MCR_OUT1, MCR_OUT2, MCR_LOOP = 0x01, 0x02, 0x04, 0x08, 0x10
# LSR (8.4)
LSR_DR, LSR_OE, LSR_PE, LSR_FE, LSR_BI, LSR_THRE, LSR_TEMT, LSR_FIFO_ERROR = 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80
LSR_ERRORS = LSR_OE | LSR_PE | LSR_FE | LSR_BI
LSR_OF_CHAR = LSR_PE | LSR_FE | LSR_BI      # belong to one received character
# MSR (8.9)
MSR_CTS, MSR_DSR, MSR_RI, MSR_DCD = 0x10, 0x20, 0x40, 0x80
MSR_TERI, MSR_DELTAS = 0x04, 0x0F
LOOP_LINES = ((MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (MCR_OUT1, MSR_RI), (MCR_OUT2, MSR_DCD))  # 8.8, bit 4


class Serial(Device):
    """The chip, on whatever bus: a subclass places it and connects `irq`."""

    baudbase = Property("u32", default=115200, hidden=True, help="bits per second at divisor 1")
    chardev = Property("chardev", hidden=True, label="str", help="ID of a chardev to use as a backend")
    wakeup = Property(bool, default=False, hidden=True, help="a received character wakes a sleeping machine",
                      inert="there is no sleep to wake from")  # fmt: skip

    ier = State("u8")
    iir = State("u8", reset=IIR_NONE)
    fcr = State("u8")
    lcr = State("u8")
    mcr = State("u8", reset=MCR_OUT2)       # as QEMU leaves it; the chip's own reset value is 0
    lsr = State("u8", reset=LSR_THRE | LSR_TEMT)
    msr = State("u8", reset=MSR_DCD | MSR_DSR | MSR_CTS)
    scr = State("u8")
    divisor = State("u16", reset=12)        # 9600 baud, what a BIOS leaves
    lines = State("u8", reset=MSR_DCD | MSR_DSR | MSR_CTS, help="modem inputs, at their MSR places")
    rx = State("any", reset=list, help="received characters, oldest first; bits 8-15: their LSR errors")
    rbr = State("u8", help="last character read")
    trigger = State("u8", reset=1)
    tx_pending = State("bool", help="THRE interrupt")
    timeout_pending = State("bool")
    tx_blocked = State("bool", help="the host side is behind: THRE stays down")
    timeout_at = State("any", reset=None, help="deadline of the receive time-out")
    thre_at = State("any", reset=None, help="when the THRE interrupt comes")
    sent = State("u8", help="characters written since it was armed")
    sent_before = State("u8", help="how many those were when its time was set")

    irq = IrqOut(hidden=True)
    ports = PortWindow(size=8, read="io_read", write="io_write", access=(1, 1), name="serial")

    trace_events = ("serial_read", "serial_write", "serial_update_parameters")

    _chr: Chardev | None = None

    # ---- life -----------------------------------------------------------------------------------------------------

    def realize(self) -> None:
        self._latch = self.ports.use_latch()
        self._timer = self.machine.clock.timer(self._on_timeout)
        self._thre_timer = self.machine.clock.timer(self._on_thre)
        self._readers = (self._read_rbr, self._read_ier, self._read_iir, self._read_lcr,
                         self._read_mcr, self._read_lsr, self._read_msr, self._read_scr)
        self._writers = (self._write_thr, self._write_ier, self._write_fcr, self._write_lcr,
                         self._write_mcr, self._write_lsr, self._write_msr, self._write_scr)
        backend: Any = self.chardev
        if backend is not None:
            self._connect(backend)

    def _connect(self, backend: Any) -> None:
        chr = self._chr = backend.attach(self.path())
        chr.can_receive = self._room
        chr.on_event = self._on_event
        chr.on_writable = self._on_writable
        chr.on_input = self._on_input

    def chardev_changed(self, backend: Any) -> None:
        """Another back end from now on (chardev-change)."""
        if self._chr is not None:
            self._chr.detach()
        self.chardev = backend
        self._connect(backend)
        self._update_parameters()
        self._on_writable()
        self._publish()

    def unplug(self) -> None:
        self._timer.cancel()
        self._thre_timer.cancel()
        if self._chr is not None:
            self._chr.detach()
        super().unplug()

    def reset(self) -> None:
        super().reset()
        self._timer.cancel()
        self._thre_timer.cancel()
        self._update_parameters()
        self._publish()
        if self._chr is not None:
            self._chr.accept_input()

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        self._update_parameters()
        if self.timeout_at is not None:
            self._timer.arm(self.timeout_at)
        if self.thre_at is not None:
            self._thre_timer.arm(self.thre_at)
        self._publish()

    def tracing_changed(self) -> None:
        self._publish()

    # ---- what the latch does ----------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """What the latch may do until the device is called again. To be called whenever something has changed."""
        latch = self._latch
        if self.tracing or self.lcr & LCR_DLAB or self.mcr & MCR_LOOP or self._chr is None:
            for offset in (IIR, LSR, MSR):
                latch.answer(offset, -1)
            latch.collect(THR, 0)
            latch.supply(RBR, b"")
            return
        lsr, msr, iir = self.lsr, self.msr, self.iir
        latch.answer(IIR, iir if iir & 0x0F != IIR_TX else -1)
        latch.answer(LSR, lsr if not lsr & (LSR_ERRORS | LSR_FIFO_ERROR) else -1)
        latch.answer(MSR, msr if not msr & MSR_DELTAS else -1)
        if self.tx_blocked or self.tx_pending:
            latch.collect(THR, 0)
        elif not self.ier & IER_TX:
            latch.collect(THR, self._chr.room(), self._written)
        elif self.thre_at is not None:
            latch.collect(THR, min(FIFO_SIZE - self.sent, self._chr.room()), self._written)
        elif self.fcr & FCR_ENABLE:
            latch.collect(THR, min(FIFO_SIZE, self._chr.room()), self._written, THRE_DELAY)
        else:
            latch.collect(THR, 0)
        latch.supply(RBR, self._readable() if self.rx else b"", self._read)

    def _readable(self) -> bytes:
        """The characters that can be read without an effect on anything but the time-out: the interrupt stays as it is."""
        rx = self.rx
        count = len(rx)
        count -= self.trigger if count >= self.trigger and self.ier & IER_RX else 1
        if count <= 0 or self.timeout_pending or not self.fcr & FCR_ENABLE or any(entry >> 8 for entry in rx):
            return b""
        return bytes(rx[:count])

    def _written(self, data: bytes, first: int) -> None:
        """These bytes were written to THR, the first of them at `first`, and nothing has come of it yet."""
        if not self._chr.write(data):           # type: ignore[union-attr]
            self._block()
        elif self.ier & IER_TX:
            self._fill_fifo(len(data), first)
        self._publish()

    def _read(self, count: int, last: int) -> None:
        """So many characters were read, the last at `last`."""
        self.rbr = self.rx[count - 1]
        del self.rx[:count]
        self._arm_timeout(last)
        self._chr.accept_input()                # type: ignore[union-attr]
        self._publish()

    # ---- registers ------------------------------------------------------------------------------------------------

    def io_read(self, offset: int, size: int) -> int:
        value = self._readers[offset]()
        if self.tracing:
            self.trace("serial_read", addr=offset, value=value)
        if offset in READING_CHANGES:
            self._publish()
        return value

    def io_write(self, offset: int, value: int, size: int) -> None:
        if self.tracing:
            self.trace("serial_write", addr=offset, value=value)
        self._writers[offset](value)
        if offset != SCR:
            self._publish()

    def _write_thr(self, value: int) -> None:
        if self.lcr & LCR_DLAB:
            self.divisor = self.divisor & 0xFF00 | value
            self._update_parameters()
            return
        if self.mcr & MCR_LOOP:
            self._receive(value)
        elif self._chr is not None and not self._chr.write_byte(value):
            self._block()
            return
        if self.ier & IER_TX and not self.tx_blocked:
            # The interrupt ends and comes again: an edge-triggered interrupt controller sees both.
            if self.tx_pending:
                self.tx_pending = False
                self._update_irq()
            if not self.fcr & FCR_ENABLE:
                self.tx_pending = True
                self._update_irq()
            else:
                self._fill_fifo(1, self.machine.clock.now())

    def _read_rbr(self) -> int:
        if self.lcr & LCR_DLAB:
            return self.divisor & 0xFF
        rx = self.rx
        if rx:
            self.rbr = rx.pop(0) & 0xFF
            if rx:
                self.lsr |= rx[0] >> 8      # errors show when their character is at the top (8.4)
                self._arm_timeout(self.machine.clock.now())
            else:
                self.lsr &= ~LSR_DR
                self._disarm_timeout()
        elif self.fcr & FCR_ENABLE:
            return 0
        if self.timeout_pending or self.ier:
            self.timeout_pending = False
            self._update_irq()
        if self._chr is not None and not self.mcr & MCR_LOOP:
            self._chr.accept_input()
        return self.rbr

    def _read_ier(self) -> int:
        return self.divisor >> 8 if self.lcr & LCR_DLAB else self.ier

    def _write_ier(self, value: int) -> None:
        if self.lcr & LCR_DLAB:
            self.divisor = self.divisor & 0xFF | value << 8
            self._update_parameters()
            return
        changed = self.ier ^ value
        self.ier = value & 0x0F             # bits 7-4 read as 0
        if changed & IER_TX:
            # Enabling the interrupt with the register empty raises it (8.7, bit 1).
            self._set_tx_pending(bool(value & IER_TX and self.lsr & LSR_THRE))
        self._update_irq()

    def _read_iir(self) -> int:
        value = self.iir
        if value & 0x0F == IIR_TX:          # reading it as the source ends a THRE interrupt (table 6)
            self.tx_pending = False
            self._update_irq()
        return value

    def _write_fcr(self, value: int) -> None:
        if (value ^ self.fcr) & FCR_ENABLE:
            value |= FCR_CLEAR_RX | FCR_CLEAR_TX    # switching between the modes clears both FIFOs (8.5, bit 0)
        if value & FCR_CLEAR_RX:
            self.rx.clear()
            self.lsr &= ~(LSR_DR | LSR_OF_CHAR | LSR_FIFO_ERROR)
            self.timeout_pending = False
            self._disarm_timeout()
        if value & FCR_CLEAR_TX and not self.tx_blocked:
            self._set_tx_pending(True)
        self.fcr = value & FCR_STORED if value & FCR_ENABLE else 0
        self.trigger = TRIGGER_LEVELS[value >> 6] if value & FCR_ENABLE else 1
        self._update_irq()
        if self._chr is not None:
            self._chr.accept_input()

    def _read_lcr(self) -> int:
        return self.lcr

    def _write_lcr(self, value: int) -> None:
        changed = self.lcr ^ value
        self.lcr = value
        if changed & ~(LCR_DLAB | LCR_BREAK):
            self._update_parameters()
        if changed & LCR_BREAK and self._chr is not None:
            self._chr.set_break(bool(value & LCR_BREAK))

    def _read_mcr(self) -> int:
        return self.mcr

    def _write_mcr(self, value: int) -> None:
        self.mcr = value & 0x1F             # bits 7-5 read as 0
        self._update_modem()

    def _read_lsr(self) -> int:
        value = self.lsr
        if value & (LSR_ERRORS | LSR_FIFO_ERROR):
            # Reading clears the indicators (8.4); those of characters still in the FIFO stay with them.
            self.lsr = value & ~(LSR_ERRORS | LSR_FIFO_ERROR)
            if self.rx:
                self.rx[0] &= 0xFF
                if self.fcr & FCR_ENABLE and any(entry >> 8 for entry in self.rx):
                    self.lsr |= LSR_FIFO_ERROR
            self._update_irq()
        return value

    def _write_lsr(self, value: int) -> None:
        """For factory testing only (8.4, note 1)."""

    def _read_msr(self) -> int:
        value = self.msr
        if value & MSR_DELTAS:
            self.msr = value & ~MSR_DELTAS
            self._update_irq()
        return value

    def _write_msr(self, value: int) -> None:
        """Read-only."""

    def _read_scr(self) -> int:
        return self.scr

    def _write_scr(self, value: int) -> None:
        self.scr = value

    # ---- interrupts -----------------------------------------------------------------------------------------------

    def _update_irq(self) -> None:
        """The highest-priority enabled source (table 6); the timeout shares the second level."""
        ier, lsr = self.ier, self.lsr
        if ier & IER_LINE and lsr & LSR_ERRORS:
            iir = IIR_LINE
        elif ier & IER_RX and self.timeout_pending:
            iir = IIR_TIMEOUT
        elif ier & IER_RX and lsr & LSR_DR and len(self.rx) >= self.trigger:
            iir = IIR_RX
        elif ier & IER_TX and self.tx_pending:
            iir = IIR_TX
        elif ier & IER_MODEM and self.msr & MSR_DELTAS:
            iir = IIR_MODEM
        else:
            iir = IIR_NONE
        self.iir = iir | IIR_FIFO if self.fcr & FCR_ENABLE else iir
        self.irq.set(iir != IIR_NONE)

    def _update_modem(self) -> None:
        """Modem inputs: the lines, or in loopback the outputs (8.8, bit 4); changes set the delta bits (8.9)."""
        levels = self.lines
        if self.mcr & MCR_LOOP:
            levels = 0
            for output, line in LOOP_LINES:
                if self.mcr & output:
                    levels |= line
        changed = self.msr & 0xF0 ^ levels
        if changed:
            deltas = changed >> 4
            if levels & MSR_RI:             # TERI: only the end of a ring counts
                deltas &= ~MSR_TERI
            self.msr = levels | self.msr & MSR_DELTAS | deltas
            self._update_irq()

    def set_modem_lines(self, levels: int) -> None:
        """CTS, DSR, RI, DCD as the other side drives them, at their MSR places."""
        self.lines = levels & 0xF0
        self._update_modem()
        self._publish()

    # ---- receiver -------------------------------------------------------------------------------------------------

    def _receive(self, value: int, errors: int = 0) -> None:
        """One character is complete in the receiver's shift register."""
        rx: list[int] = self.rx
        if self.fcr & FCR_ENABLE:
            if len(rx) < FIFO_SIZE:
                rx.append(value | errors << 8)
                if errors:
                    self.lsr |= LSR_FIFO_ERROR
            else:
                self.lsr |= LSR_OE          # the FIFO keeps what it has (8.4, bit 1)
            self._arm_timeout(self.machine.clock.now())
        else:
            if rx:
                self.lsr |= LSR_OE          # the old character is overwritten
            rx[:] = (value | errors << 8,)
        if len(rx) == 1:
            self.lsr |= errors
        self.lsr |= LSR_DR
        self._update_irq()

    def _room(self) -> int:
        """How many characters to accept now. In FIFO mode up to the trigger level, so that what the guest asked for
        as a pace is what it gets, and then one by one."""
        if self.mcr & MCR_LOOP:
            return 0                        # the receiver's input is disconnected
        count = len(self.rx)
        if not self.fcr & FCR_ENABLE:
            return 0 if count else 1
        if count >= FIFO_SIZE:
            return 0
        return self.trigger - count if count < self.trigger else 1

    def _on_input(self, data: bytes) -> None:
        rx = self.rx
        if self.fcr & FCR_ENABLE and len(rx) + len(data) <= FIFO_SIZE:
            rx += data[:-1]                 # all at one time: what the last of them does is all that can be seen
            self._receive(data[-1])
        else:
            for value in data:
                self._receive(value)
        self._publish()

    def _on_event(self, event: str) -> None:
        if event == "break" and not self.mcr & MCR_LOOP:
            self._receive(0, LSR_BI)
            self._publish()

    def _arm_timeout(self, now: int) -> None:
        """Four character times without a character arriving or being read (8.4.1)."""
        self.timeout_at = now + 4 * self._char_ns
        self._timer.arm(self.timeout_at)

    def _disarm_timeout(self) -> None:
        self.timeout_at = None
        self._timer.cancel()

    def _on_timeout(self) -> None:
        self.timeout_at = None
        if self.rx and self.fcr & FCR_ENABLE:
            self.timeout_pending = True
            self._update_irq()
        self._publish()

    # ---- transmitter ----------------------------------------------------------------------------------------------

    def _block(self) -> None:
        self.tx_blocked = True
        self._set_tx_pending(False)
        self.lsr &= ~(LSR_THRE | LSR_TEMT)
        self._update_irq()

    def _on_writable(self) -> None:
        if self.tx_blocked:
            self.tx_blocked = False
            self.lsr |= LSR_THRE | LSR_TEMT
            self._set_tx_pending(bool(self.ier & IER_TX))
            self._update_irq()
            self._publish()

    def _set_tx_pending(self, pending: bool) -> None:
        """Decide about the THRE interrupt now, whatever was on its way."""
        self.tx_pending = pending
        self.sent = 0
        if self.thre_at is not None:
            self.thre_at = None
            self._thre_timer.cancel()

    def _fill_fifo(self, count: int, first: int) -> None:
        """So many bytes more in the transmitter's FIFO, the first of them at `first`, with the THRE interrupt enabled."""
        self.sent += count
        if self.sent >= FIFO_SIZE:
            self._set_tx_pending(True)
            self._update_irq()
        elif self.thre_at is None:
            self._arm_thre(first, 1)

    def _arm_thre(self, now: int, sent: int) -> None:
        self.sent_before = sent
        self.thre_at = now + THRE_DELAY
        self._thre_timer.arm(self.thre_at)

    def _on_thre(self) -> None:
        if self.sent != self.sent_before:   # the guest is still writing
            self._arm_thre(self.machine.clock.now(), self.sent)
            return
        self._set_tx_pending(True)
        self._update_irq()
        self._publish()

    # ---- line parameters ------------------------------------------------------------------------------------------

    def _update_parameters(self) -> None:
        data_bits = 5 + (self.lcr & 3)
        parity = "N" if not self.lcr & LCR_PARITY else "EO"[~self.lcr >> 4 & 1]
        stop_bits = 1.0 if not self.lcr & LCR_STOP else 1.5 if data_bits == 5 else 2.0
        divisor = self.divisor or 0x10000
        frame_halves = 2 * (1 + data_bits + (parity != "N")) + int(2 * stop_bits)
        self._char_ns = NS * divisor * frame_halves // (2 * self.baudbase)
        speed = self.baudbase // divisor
        if self.tracing:
            self.trace("serial_update_parameters", baudrate=speed, parity=parity, data_bits=data_bits, stop_bits=stop_bits)
        if self._chr is not None:
            self._chr.set_params(speed, parity, data_bits, stop_bits)
