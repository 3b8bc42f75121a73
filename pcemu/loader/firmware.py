"""A machine as firmware hands it over, for guests that are started without any.

Chips are set up through their ports and registers, as a BIOS does it: interrupt controllers, timers, keyboard controller, PCI
addresses and interrupt routing. Low memory gets what programs look for there.
"""

from __future__ import annotations

import struct
from typing import Any

from .cpustate import set_memory_types
from .e820 import EBDA
from .platform import LAPIC_BASE, Platform, SerialPort, cpu_model
from .ports import Ports
from .stub import IRET_OFFSET, IRQ_MASTER_OFFSET, IRQ_SLAVE_OFFSET

PCI_HOST = "i440FX-pcihost"
_ROM_SEGMENT = 0xF000


def set_up(machine: Any, platform: Platform) -> None:
    """Everything but memory; called at every reset."""
    ports = Ports(machine)
    ports.outb(0x92, 0x02)  # A20 on
    _interrupt_controllers(ports)
    _timer(ports)
    _clock(ports)
    if platform.keyboard:
        _keyboard_controller(ports)
    if platform.pci:
        _pci(machine)
    if platform.apic:
        _local_apic(machine)
    model = cpu_model(machine)
    if model is None or model.has("mtrr"):
        set_memory_types(machine.cpu, platform.low_ram, getattr(model, "phys_bits", 40))


def _interrupt_controllers(ports: Ports) -> None:
    """Vectors 8 and 0x70, cascade on IR2, everything masked (8259A, "Initialization Command Words")."""
    for base, vector, wiring in ((0x20, 0x08, 0x04), (0xA0, 0x70, 0x02)):
        ports.outb(base, 0x11)
        for word in (vector, wiring, 0x01, 0xFF):
            ports.outb(base + 1, word)
    ports.outb(0x4D0, 0)  # all edge-triggered; PCI sets its own
    ports.outb(0x4D1, 0)


def _timer(ports: Ports) -> None:
    """Channel 0: rate generator, 18.2 Hz. Channel 1, once the refresh timer: as the PC had it. (8254, "Control Word")"""
    for control, port, count in ((0x34, 0x40, 0), (0x54, 0x41, 0x12)):
        ports.outb(0x43, control)
        ports.outb(port, count & 0xFF)
        if (control & 0x30) == 0x30:
            ports.outb(port, count >> 8)


def _clock(ports: Ports) -> None:
    """24-hour BCD time, 32768 Hz divider, no interrupts (MC146818, registers A and B)."""
    for register, value in ((0x0A, 0x26), (0x0B, 0x02)):
        ports.outb(0x70, register)
        ports.outb(0x71, value)
    for register in (0x0C, 0x0D):  # reading C clears what is pending
        ports.outb(0x70, register)
        ports.inb(0x71)


def _keyboard_controller(ports: Ports) -> None:
    """Self-test passed, keyboard on with scan codes translated, mouse off."""
    ports.outb(0x64, 0xAA)
    for _ in range(16):
        if not ports.inb(0x64) & 1:
            break
        ports.inb(0x60)
    ports.outb(0x64, 0x60)
    ports.outb(0x60, 0x65)  # translation, mouse clock off, system flag, keyboard interrupt


def _pci(machine: Any) -> None:
    """Addresses, interrupt lines and routing, the PIIX4's register blocks; C0000h-FFFFFh becomes RAM."""
    from pcemu.hw.pci.enumerate import assign_resources

    assign_resources(machine.find(PCI_HOST))


def protect_shadow(machine: Any, platform: Platform) -> None:
    """The last step, when the ROM's copy is in place: the RAM below 1 MiB becomes read-only."""
    if platform.pci:
        from pcemu.hw.pci.enumerate import write_protect_shadow

        write_protect_shadow(machine.find(PCI_HOST))


def _local_apic(machine: Any) -> None:
    """Enabled, LINT0 passing on the 8259's interrupts, LINT1 for NMI (MultiProcessor Specification 1.4, 3.6.2.2)."""
    machine.memory.st(LAPIC_BASE + 0xF0, 4, 0x1FF)
    machine.memory.st(LAPIC_BASE + 0x350, 4, 0x8700)
    machine.memory.st(LAPIC_BASE + 0x360, 4, 0x8400)


# -- memory --------------------------------------------------------------------------------------------------


def interrupt_table() -> bytes:
    """256 vectors at 0: a plain return, and an end of interrupt first where the 8259s' vectors are."""
    vectors = [IRET_OFFSET] * 256
    vectors[0x08:0x10] = [IRQ_MASTER_OFFSET] * 8
    vectors[0x70:0x78] = [IRQ_SLAVE_OFFSET] * 8
    return b"".join(struct.pack("<HH", offset, _ROM_SEGMENT) for offset in vectors)


def bios_data(platform: Platform) -> bytes:
    """The BIOS data area, 0x400-0x4ff."""
    area = bytearray(256)
    for port in platform.serial_ports:
        struct.pack_into("<H", area, 2 * (port.number - 1), port.iobase)
    struct.pack_into("<H", area, 0x0E, EBDA >> 4)
    struct.pack_into("<H", area, 0x10, equipment(platform.serial_ports, platform.mouse))
    struct.pack_into("<H", area, 0x13, EBDA >> 10)
    struct.pack_into("<HH", area, 0x1A, 0x1E, 0x1E)  # the keyboard's buffer is empty
    struct.pack_into("<HH", area, 0x80, 0x1E, 0x3E)
    area[0x96] = 0x10  # an enhanced keyboard
    return bytes(area)


def equipment(serial_ports: tuple[SerialPort, ...], mouse: bool) -> int:
    """INT 11h's word: bit 1 a coprocessor, bit 2 a PS/2 mouse, bits 9-11 the number of serial ports."""
    return 0x02 | (0x04 if mouse else 0) | len(serial_ports) << 9


def low_memory(platform: Platform) -> list[tuple[int, bytes]]:
    return [(0, interrupt_table()), (0x400, bios_data(platform)), (EBDA, b"\x01".ljust(1024, b"\x00"))]


def fill_cmos(rtc: Any, platform: Platform) -> None:
    """What a PC's setup keeps in CMOS RAM, and where QEMU's firmware looks for memory sizes."""
    total_low, high = platform.low_ram, platform.high_ram
    extended = min(max(total_low - 0x100000, 0) >> 10, 0xFFFF)
    above_16m = min(max(total_low - 0x1000000, 0) >> 16, 0xFFFF)
    words = {0x15: 640, 0x17: extended, 0x30: extended, 0x34: above_16m, 0x5B: high >> 16 & 0xFFFF}
    for index, word in words.items():
        rtc.set_cmos(index, word & 0xFF)
        rtc.set_cmos(index + 1, word >> 8)
    rtc.set_cmos(0x5D, high >> 32 & 0xFF)
    rtc.set_cmos(0x5F, len(platform.apic_ids) - 1)
    rtc.set_cmos(0x14, equipment((), platform.mouse) & 0xFF)
    rtc.set_cmos(0x0F, 0)  # shutdown status
