"""The PC of 1996: Intel 440FX (82441FX) north bridge, PIIX3 (82371SB) south bridge, I/O APIC and HPET.

    CPU --- local APIC <---- LINT0 ---- 8259 INT             (virtual wire)
     |          ^----- messages ----- I/O APIC <-- GSI 0-23
    i440FX 00:00.0 --- PCI --- PIIX3 00:01.0 --- ISA: 8259s 8254 RTC DMA 8042 16550s ports 61h 80h 92h
                        |      PIIX4 PM 00:01.3 --- SCI = IRQ 9
                        PCI INTx --> PIRQA-D --> ISA IRQs (PIIX3 registers 60h-63h)
"""

from __future__ import annotations

from pcemu.hw.acpi.piix4_pm import Piix4Pm
from pcemu.hw.acpi.smbus_eeprom import SmbusEeprom
from pcemu.hw.intc.apic import LocalApic
from pcemu.hw.intc.ioapic import IoApic
from pcemu.hw.isa.bus import ISA_IRQS, IsaBus
from pcemu.hw.isa.piix3 import Piix3
from pcemu.hw.nvram.fw_cfg import FwCfgIo
from pcemu.hw.pci.host import I440fxPciHost
from pcemu.hw.pci.i440fx import I440FX
from pcemu.hw.timer.hpet import Hpet
from pcemu.qom import PcemuError, Property

from .board import Board
from .cpu import add_cpu
from .pc_parts import IsaChips, add_isa_chips, place_ram

IOAPIC_BASE = 0xFEC00000
HPET_BASE = 0xFED00000
HPET_LINES = 1 << 2  # the I/O APIC's pin 2 is all that no ISA device uses
IOAPIC_PINS = 24
TIMER_IRQ, CASCADE_IRQ, RTC_IRQ, SCI_IRQ = 0, 2, 8, 9
SMBUS_BASE = 0xB100
MODULE_EEPROMS = range(0x50, 0x58)  # descriptions of memory modules; blank, as in QEMU


class PcI440fx(Board):
    """-machine pc."""

    desc = "Standard PC (i440FX + PIIX, 1996)"

    acpi = Property(default="auto", choices=("on", "off", "auto"), help="ACPI tables and power management")
    hpet = Property(bool, default=True, help="build a high precision event timer")
    i8042 = Property(bool, default=True, help="build a keyboard controller")
    pic = Property(default="auto", choices=("on", "off", "auto"), help="8259 interrupt controllers (always there)")
    pit = Property(default="auto", choices=("on", "off", "auto"), help="8254 timer (always there)")
    smm = Property(default="auto", choices=("on", "off", "auto"), help="system management mode (there is none)")
    vmport = Property(default="auto", choices=("on", "off", "auto"), help="VMware's port (there is none)")
    smbus = Property(bool, default=True, help="system management bus", inert="the bus is always there")
    sata = Property(bool, default=True, help="serial ATA", inert="there is no SATA on this board")
    fd_bootchk = Property(bool, default=True, help="firmware checks floppies' boot signatures")
    nvdimm = Property(bool, help="non-volatile memory modules; off for now")
    kernel_irqchip = Property(default="off", choices=("on", "off", "split"), inert="there is no KVM", so="off")
    max_ram_below_4g = Property("size", default=0, help="RAM below 4 GiB at most")
    max_fw_size = Property("size", default=8 << 20, help="firmware at most", inert="firmware may have any size")
    smbios_entry_point_type = Property(default="32", choices=("32", "64"), label="str", help="SMBIOS entry point")
    x_oem_id = Property(str, default="BOCHS ", help="OEM id of ACPI tables, up to 6 bytes")
    x_oem_table_id = Property(str, default="BXPC    ", help="OEM table id of ACPI tables, up to 8 bytes")
    default_bus_bypass_iommu = Property(bool, name="default-bus-bypass-iommu", inert="there is no IOMMU")
    bus_lock_ratelimit = Property("u64", inert="there is no KVM")

    def build(self) -> None:
        machine, chip, config = self.machine, self.chip, self.config
        self.refuse_what_is_missing()

        # Processor and its local APIC.
        cpu = add_cpu(machine, self.default_cpu)
        place_ram(machine, self.max_ram_below_4g)
        chip(FwCfgIo)

        # PCI: north bridge, south bridge, power management.
        host = chip(I440fxPciHost)
        chip(I440FX, host.pci, addr="00.0")
        piix3 = chip(Piix3, host.pci, addr="01.0", multifunction=True)
        isa = piix3.isa

        # ISA, and who interrupts whom.
        ioapic = chip(IoApic)
        host.add_part("ioapic", ioapic)
        ioapic.mmio.map(IOAPIC_BASE)
        chips = self.isa_chips(isa, ioapic)
        if cpu_has_apic(machine):
            lapic = chip(LocalApic)
            lapic.attach(cpu)
            lapic.map()
            lapic.extint_ack = ioapic.extint_ack = chips.pic.intack
            chips.pic.irq.connect(lapic.irq_in[0])
        else:
            cpu.intack = chips.pic.intack
            chips.pic.irq.connect(cpu.set_intr)

        if self.acpi != "off" and not config.no_acpi:
            pm = chip(Piix4Pm, host.pci, addr="01.3", smb_io_base=SMBUS_BASE)
            pm.irq.connect(isa.irq_input(SCI_IRQ))
            for address in MODULE_EEPROMS:
                chip(SmbusEeprom, pm.smbus, address=address)

    def isa_chips(self, isa: IsaBus, ioapic: IoApic) -> IsaChips:
        """The ISA side: each interrupt line goes to an 8259 and to the I/O APIC, IRQ 0 there to pin 2."""
        chips = add_isa_chips(self, isa, keyboard=self.i8042)
        for irq in range(ISA_IRQS):
            line = isa.irq_lines[irq]
            if irq != CASCADE_IRQ:
                line.connect(chips.pic.irq_in[irq] if irq < 8 else chips.pic2.irq_in[irq - 8])
            line.connect(ioapic.irq_in[2 if irq == TIMER_IRQ else irq])
        if self.hpet and not self.config.no_hpet:
            # Timer and clock go through the HPET, which can take their lines over.
            hpet = self.chip(Hpet, hpet_intcap=HPET_LINES)
            hpet.mmio.map(HPET_BASE)
            chips.pit.irq.connect(hpet.irq_in[0])
            chips.rtc.irq.connect(hpet.irq_in[1])
            hpet.pit_enabled.connect(chips.pit.irq_control[0])
            for gsi in range(IOAPIC_PINS):
                hpet.irqs[gsi].connect(isa.irq_input(gsi) if gsi < ISA_IRQS else ioapic.irq_in[gsi])
        else:
            chips.pit.irq.connect(isa.irq_input(TIMER_IRQ))
            chips.rtc.irq.connect(isa.irq_input(RTC_IRQ))
        return chips

    def refuse_what_is_missing(self) -> None:
        for option, wanted in (("usb", self.usb), ("nvdimm", self.nvdimm), ("vmport", self.vmport == "on"),
                               ("smm", self.smm == "on")):  # fmt: skip
            if wanted:
                raise PcemuError(f"-machine {option}=on: not implemented yet")
        for option, chosen in (("pic", self.pic), ("pit", self.pit)):
            if chosen == "off":
                raise PcemuError(f"-machine {option}=off: not implemented yet")


def cpu_has_apic(machine: object) -> bool:
    """Does the processor have a local APIC on its chip?"""
    models = getattr(machine, "cpu_models", [])
    return not models or bool(models[0].has("apic"))
