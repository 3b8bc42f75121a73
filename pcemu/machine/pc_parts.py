"""What the PC boards have in common: the ISA chips, the A20 gate, and how RAM lies around the hole below 4 GiB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcemu.hw.char.serial_isa import IsaSerial
from pcemu.hw.dma.i8257 import I8257
from pcemu.hw.input.pckbd import I8042
from pcemu.hw.intc.i8259 import I8259
from pcemu.hw.isa.bus import IsaBus
from pcemu.hw.misc.ioportf0 import FerrLatch
from pcemu.hw.misc.pcspk import PcSpeaker
from pcemu.hw.misc.port80 import Port80
from pcemu.hw.misc.port92 import Port92
from pcemu.hw.timer.i8254 import I8254
from pcemu.hw.timer.mc146818rtc import Mc146818Rtc
from pcemu.qom import IrqOut, MemoryRegion, PcemuError

from .board import Board
from .ram import make_ram

if TYPE_CHECKING:
    from .machine import Machine

FOUR_GIB = 1 << 32
FERR_IRQ = 13


@dataclass
class IsaChips:
    """The chips every PC has, by what they are for."""

    pic: I8259
    pic2: I8259
    rtc: Mc146818Rtc
    pit: I8254
    speaker: PcSpeaker
    port92: Port92
    kbd: I8042 | None


def add_isa_chips(board: Board, isa: IsaBus, keyboard: bool = True) -> IsaChips:
    """Place the chips. Who gets the interrupts of timer and clock is the board's to say."""
    chip = board.chip
    chip(I8257, isa, base=0x00, page_base=0x80, pageh_base=-1, dshift=0)
    chip(I8257, isa, base=0xC0, page_base=0x88, pageh_base=-1, dshift=1)
    pic = chip(I8259, isa, iobase=0x20, elcr_addr=0x4D0, elcr_mask=0xF8, master=True)
    pic2 = chip(I8259, isa, iobase=0xA0, elcr_addr=0x4D1, elcr_mask=0xDE, master=False)
    pic.cascade(pic2)
    rtc = chip(Mc146818Rtc, isa, base_year=2000)
    pit = chip(I8254, isa, iobase=0x40)
    speaker = chip(PcSpeaker, isa)
    chip(Port80, isa)
    ferr = chip(FerrLatch, isa)
    ferr.irq.connect(isa.irq_input(FERR_IRQ))
    for cpu in board.machine.cpus:
        cpu.ferr_hook = ferr.ferr[0].set
    for index, backend in enumerate(board.machine.serial_backends):
        if backend is not None:
            chip(IsaSerial, isa, index=index, chardev=backend)
    kbd = chip(I8042, isa) if keyboard else None
    port92 = chip(Port92, isa)
    gate = A20Gate(board.machine)
    gate.attach(port92.a20)
    if kbd is not None:
        gate.attach(kbd.a20)
    return IsaChips(pic, pic2, rtc, pit, speaker, port92, kbd)


class A20Gate:
    """Several chips hold the gate's line, and it is as the last one that touched it wants."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.wires: list[Any] = []
        machine.on_reset(self.reset)

    def attach(self, wire: IrqOut) -> None:
        self.wires.append(wire.lines[0])
        wire.connect(self.changed)

    def changed(self, level: int) -> None:
        for cpu in self.machine.cpus:
            cpu.set_a20(bool(level))
        # The others follow, so that the next write to any of them is seen as a change.
        for wire in self.wires:
            wire.level = level

    def reset(self) -> None:
        """Open at power-on: the processor starts at the top of its address space."""
        self.changed(1)


def place_ram(machine: Machine, largest_low: int = 0) -> None:
    """RAM from 0 up to the PCI hole, and what is left from 4 GiB."""
    ram = make_ram(machine)
    size = machine.ram_size
    low = 0xE0000000 if size < 0xE0000000 else 0xC0000000
    if largest_low:
        if largest_low > 0xE0000000:
            raise PcemuError("-machine max-ram-below-4g: at most 0xe0000000 (3.5G)")
        low = min(low, largest_low)
    low = min(size, low)
    machine.ram_below_4g, machine.ram_above_4g = low, size - low
    machine.memory_root.add(MemoryRegion.alias("ram-below-4g", ram, 0, low), 0)
    if size > low:
        machine.memory_root.add(MemoryRegion.alias("ram-above-4g", ram, low, size - low), FOUR_GIB)
