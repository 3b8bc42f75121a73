"""Intel 82093AA I/O APIC (datasheet 290566-001), with the EOI register of the later integrated ones (version 20h).

Twenty-four inputs; each has a redirection entry that says which vector goes to which local APICs.

The polarity bit is kept and shown but does not invert: a wire here carries "asserted" or not, whatever voltage
that was on the board, so both of the settings that firmware tables may describe for a line work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pcemu.qom import IrqIn, MmioWindow, Property, State, SysBusDevice

from .apic import LocalApic
from .apic_msg import DM_EXTINT, DM_FIXED, DM_LOWEST, DM_NAMES, EoiTarget, Receiver, deliver

PINS = 24
REG_ID, REG_VERSION, REG_ARBITRATION, REG_ENTRIES = 0x00, 0x01, 0x02, 0x10

MASKED, LEVEL, REMOTE_IRR, ACTIVE_LOW, SENDING, LOGICAL = 1 << 16, 1 << 15, 1 << 14, 1 << 13, 1 << 12, 1 << 11
READ_ONLY = REMOTE_IRR | SENDING
ENTRY_MASK = 0xFF00_0000_0001_FFFF


class IoApic(SysBusDevice, EoiTarget):
    """82093AA I/O APIC: 24 pins, index register at 0, window at 10h, EOI at 40h."""

    type_name = "ioapic"
    desc = "I/O interrupt controller"
    trace_events: ClassVar[tuple[str, ...]] = ("ioapic_set_irq", "ioapic_mem_read", "ioapic_mem_write", "ioapic_eoi")

    version = Property("u8", default=0x20, help="contents of the version register; 20h has the EOI register")

    apic_id = State("u8")
    index = State("u8", help="I/O register select")
    entries = State("u64[24]", reset=MASKED, help="redirection table")
    lines = State("u32", help="levels of the pins")
    edges = State("u32", help="edge requests on their way")

    irq_in = IrqIn(PINS, handler="on_pin")
    mmio = MmioWindow(None, 0x1000, "mmio_read", "mmio_write", access=(4, 4))

    def __init__(self, machine: Any, *args: Any, **props: Any) -> None:
        super().__init__(machine, *args, **props)
        self.irq_count = [0] * PINS  # for `info irq`
        self.apics: Sequence[Receiver] = ()
        self.extint_ack: Callable[[], int] | None = None  # the 8259's INTA cycle, for ExtINT entries

    def reset(self) -> None:
        super().reset()
        self.apics = list(self.machine.find_all(LocalApic))
        for pin in self.irq_in.pins:  # wires that are high stay high
            self.lines |= pin.level << pin.index

    # -- pins -----------------------------------------------------------------------------------------------

    def on_pin(self, pin: int, level: int) -> None:
        if self.tracing:
            self.trace("ioapic_set_irq", vector=pin, level=level)
        bit = 1 << pin
        if not level:
            self.lines &= ~bit
            return
        self.lines |= bit
        self.irq_count[pin] += 1
        entry = self.entries[pin]
        # An edge on a masked pin is lost (3.2.4, interrupt mask).
        if not entry & MASKED:
            self._send(pin, entry)

    def _send(self, pin: int, entry: int) -> None:
        """A pin that is not masked asks for its interrupt message."""
        mode = entry >> 8 & 7
        vector = entry & 0xFF
        level = 0
        if mode == DM_EXTINT:
            if self.extint_ack is None:
                return
            vector, mode = self.extint_ack() & 0xFF, DM_FIXED
        elif entry & LEVEL and mode in (DM_FIXED, DM_LOWEST):
            if entry & REMOTE_IRR:
                return  # one is being served; the EOI looks again
            level = 1
        taken = deliver(self.apics, entry >> 56, entry >> 11 & 1, mode, vector, level)
        if level and taken:
            self.entries[pin] = entry | REMOTE_IRR

    def eoi(self, vector: int) -> None:
        """A local APIC has finished with a level-triggered vector; pins that are still asserted go again."""
        if self.tracing:
            self.trace("ioapic_eoi", vector=vector)
        entries = self.entries
        for pin in range(PINS):
            entry = entries[pin]
            if entry & REMOTE_IRR and entry & 0xFF == vector:
                entry &= ~REMOTE_IRR
                entries[pin] = entry
                if self.lines >> pin & 1 and not entry & MASKED:
                    self._send(pin, entry)

    @property
    def irr(self) -> int:
        """Pins with a level-triggered request (edge requests are sent at once)."""
        return sum(1 << pin for pin in range(PINS) if self.lines >> pin & 1 and self.entries[pin] & LEVEL)

    # -- registers ------------------------------------------------------------------------------------------

    def mmio_read(self, offset: int, size: int) -> int:
        value = 0
        if offset == 0x00:
            value = self.index
        elif offset == 0x10:
            value = self._read(self.index)
        else:
            self.log_guest_error("read at %#x", offset)
        if self.tracing:
            self.trace("ioapic_mem_read", addr=offset, regsel=self.index, val=value)
        return value

    def mmio_write(self, offset: int, value: int, size: int) -> None:
        if self.tracing:
            self.trace("ioapic_mem_write", addr=offset, regsel=self.index, val=value)
        if offset == 0x00:
            self.index = value & 0xFF
        elif offset == 0x10:
            self._write(self.index, value)
        elif offset == 0x40 and self.version >= 0x20:
            self.eoi(value & 0xFF)
        else:
            self.log_guest_error("write of %#x at %#x", value, offset)

    def _read(self, index: int) -> int:
        if index >= REG_ENTRIES:
            pin = (index - REG_ENTRIES) >> 1
            return self.entries[pin] >> (32 * (index & 1)) & 0xFFFFFFFF if pin < PINS else 0
        if index == REG_VERSION:
            return self.version | (PINS - 1) << 16
        if index in (REG_ID, REG_ARBITRATION):
            return self.apic_id << 24
        return 0

    def _write(self, index: int, value: int) -> None:
        if index == REG_ID:
            self.apic_id = value >> 24 & 0xF
            return
        pin = (index - REG_ENTRIES) >> 1
        if not 0 <= pin < PINS:
            self.log_guest_error("write of %#x to register %#x", value, index)
            return
        old = self.entries[pin]
        if index & 1:
            new = old & 0xFFFFFFFF | value << 32
        else:
            new = old & ~0xFFFFFFFF | value & ~READ_ONLY | old & READ_ONLY
        new &= ENTRY_MASK
        if not new & LEVEL:
            new &= ~REMOTE_IRR  # firmware without the EOI register clears remote IRR by a trip through edge mode
        self.entries[pin] = new
        if self.lines >> pin & 1 and new & LEVEL and not new & MASKED:
            self._send(pin, new)

    # -- what people look at --------------------------------------------------------------------------------

    def info_lines(self) -> list[str]:
        """This chip's part of `info pic`."""
        select = f" (redir[{(self.index - REG_ENTRIES) >> 1}])" if self.index >= REG_ENTRIES else ""
        lines = [f"ioapic0: ver=0x{self.version:x} id=0x{self.apic_id:02x} sel=0x{self.index:02x}{select}"]
        for pin, entry in enumerate(self.entries):
            lines.append(
                f"  pin {pin:<2} 0x{entry:016x} dest={entry >> 56:x} vec={entry & 0xFF:<3}"
                f" active-{'lo' if entry & ACTIVE_LOW else 'hi'} {'level' if entry & LEVEL else 'edge':<5}"
                f" {'masked' if entry & MASKED else '':<6} {DM_NAMES[entry >> 8 & 7]:<6}"
                f" {'logical' if entry & LOGICAL else 'physical'}"
            )
        remote = sum(1 << pin for pin in range(PINS) if self.entries[pin] & REMOTE_IRR)
        lines.append(f"{'  IRR':<10} {_pins(self.irr)}")
        lines.append(f"{'  Remote IRR':<10} {_pins(remote)}")
        return lines


def _pins(bits: int) -> str:
    return " ".join(str(pin) for pin in range(PINS) if bits >> pin & 1) or "(none)"
