"""The PC without PCI: ISA chips on a processor's bus, as in the machines before 1993."""

from __future__ import annotations

from pcemu.hw.isa.bus import ISA_IRQS, IsaBus
from pcemu.hw.nvram.fw_cfg import FwCfgIo
from pcemu.qom import PcemuError, Property

from .board import Board
from .cpu import add_cpu
from .pc_parts import add_isa_chips, place_ram

TIMER_IRQ, CASCADE_IRQ, RTC_IRQ = 0, 2, 8


class IsaPc(Board):
    """-machine isapc."""

    desc = "ISA-only PC"
    default_cpu = "486"

    acpi = Property(default="off", choices=("on", "off", "auto"), help="ACPI needs PCI: there is none")
    hpet = Property(bool, help="there is none")
    i8042 = Property(bool, default=True, help="build a keyboard controller")
    kernel_irqchip = Property(default="off", choices=("on", "off", "split"), inert="there is no KVM", so="off")
    fd_bootchk = Property(bool, default=True, help="firmware checks floppies' boot signatures")

    def build(self) -> None:
        machine = self.machine
        for option, wanted in (("acpi", self.acpi == "on"), ("hpet", self.hpet)):
            if wanted:
                raise PcemuError(f"-machine {option}=on: the ISA-only PC has none")
        if self.usb:
            raise PcemuError("-machine usb=on: the ISA-only PC has no USB")
        cpu = add_cpu(machine, self.default_cpu)
        place_ram(machine)
        self.chip(FwCfgIo)
        isa = IsaBus("isa.0", machine=machine)
        machine.board_buses.append(isa)
        chips = add_isa_chips(self, isa, keyboard=self.i8042)
        for irq in range(ISA_IRQS):
            if irq != CASCADE_IRQ:
                isa.irq_lines[irq].connect(chips.pic.irq_in[irq] if irq < 8 else chips.pic2.irq_in[irq - 8])
        chips.pit.irq.connect(isa.irq_input(TIMER_IRQ))
        chips.rtc.irq.connect(isa.irq_input(RTC_IRQ))
        cpu.intack = chips.pic.intack
        chips.pic.irq.connect(cpu.set_intr)
