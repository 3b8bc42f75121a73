"""The test device of kvm-unit-tests: a scratch register, interrupt lines on command, a page of memory.

    0xe0-0xe3, 0xe8-0xeb   one 32-bit scratch register, with byte, word and dword accesses at any offset
    0xe4-0xe7              (address) drop what is cached of a page's translation; nothing to do here
    0x2000-0x2017          (byte) level of ISA interrupt line port - 0x2000
    0xff000000             64 KiB of memory reached as device registers
"""

from __future__ import annotations

from pcemu.hw.isa.bus import ISA_IRQS, IsaDevice
from pcemu.qom import IrqOut, MmioWindow, PortWindow, State

IRQ_PORTS = 24
IOMEM_SIZE = 0x10000


class PcTestdev(IsaDevice):
    """Test device for kvm-unit-tests."""

    type_name = "pc-testdev"
    category = "misc"

    scratch = State("u32")
    iomem = State(f"u8[{IOMEM_SIZE}]")

    irqs = IrqOut(ISA_IRQS, hidden=True)

    # A stated priority: isa-debugcon at 0xe9 lies over the second window.
    ioport = PortWindow(0xE0, 4, "scratch_read", "scratch_write", (1, 4), name="pc-testdev-ioport", priority=0)
    flush = PortWindow(0xE4, 4, "flush_read", "flush_write", (1, 4), name="pc-testdev-flush-page", priority=0)
    ioport_byte = PortWindow(0xE8, 4, "scratch_read", "scratch_write", (1, 1), name="pc-testdev-ioport-byte",
                             priority=0)
    irq_line = PortWindow(0x2000, IRQ_PORTS, "irq_read", "irq_write", (1, 1), name="pc-testdev-irq-line", priority=0)
    mem = MmioWindow(0xFF000000, IOMEM_SIZE, "mem_read", "mem_write", (1, 4), name="pc-testdev-iomem")

    def realize(self) -> None:
        for number in range(ISA_IRQS):
            self.connect_irq(self.irqs[number], number)

    def scratch_read(self, offset: int, size: int) -> int:
        return self.scratch >> 8 * offset

    def scratch_write(self, offset: int, value: int, size: int) -> None:
        mask = (1 << 8 * size) - 1 << 8 * offset
        self.scratch = (self.scratch & ~mask | value << 8 * offset & mask) & 0xFFFFFFFF

    def flush_read(self, offset: int, size: int) -> int:
        return 0

    def flush_write(self, offset: int, value: int, size: int) -> None:
        """Meant for hypervisors that cache host mappings; ours has none that this could hit."""

    def irq_read(self, offset: int, size: int) -> int:
        return 0

    def irq_write(self, offset: int, value: int, size: int) -> None:
        if offset < ISA_IRQS:
            self.irqs[offset].set(1 if value else 0)
        else:
            self.log_guest_error("no ISA interrupt line %d", offset)

    def mem_read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.iomem[offset:offset + size], "little")

    def mem_write(self, offset: int, value: int, size: int) -> None:
        self.iomem[offset:offset + size] = value.to_bytes(size, "little")
