from zlib import crc32

from pcemu.hw.pci.bar import BarDecl
from pcemu.hw.pci.device import PciDevice
from pcemu.hw.pci.msi import Msi
from pcemu.qom import Property, Register

START, INTERRUPT = 1, 2  # bits of CONTROL
DONE, FAILED, BUSY = 1, 2, 1 << 31  # bits of STATUS
LONGEST = 16 << 20


class Checksummer(PciDevice):
    """Computes the CRC-32 of a piece of memory by itself."""

    type_name = "checksummer"
    desc = "CRC-32 of memory, by DMA"
    trace_events = ("checksummer_start", "checksummer_done")

    vendor_id, device_id = 0x1234, 0xCC32
    class_id = 0x1200  # a processing accelerator
    interrupt_pin = 1

    speed = Property("u32", default=1000, min=1, help="bytes in a microsecond")

    magic = Register(0x00, reset=0x32335243, writable=0, help="the letters CR32")
    control = Register(0x04, writable=INTERRUPT, on_write="control_written", help="1: start, 2: interrupt when done")
    status = Register(0x08, w1c=DONE | FAILED, on_write="status_written", help="done, failed, and in bit 31 busy")
    source = Register(0x10, help="where the bytes are: bits 31-0")
    source_high = Register(0x14, help="... and 63-32")
    length = Register(0x18, help="how many there are, 16 MiB at most")
    result = Register(0x1C, writable=0, help="their CRC-32")

    bar_decls = (BarDecl(0, 0x1000, read="reg_read", write="reg_write", access=(4, 4), name="checksummer"),)

    def realize(self) -> None:
        super().realize()
        self.msi = Msi(self)
        self.timer = self.machine.clock.timer(self.finish)

    def reset(self) -> None:
        super().reset()
        self.timer.cancel()

    def unplug(self) -> None:
        self.timer.cancel()
        super().unplug()

    def reg_write(self, offset: int, value: int, size: int) -> None:
        super().reg_write(offset, value, size)
        if offset == 0x04 and value & START:
            self.start()

    def start(self) -> None:
        if self.status & BUSY:
            self.log_guest_error("started while it is busy")
            return
        self.trace("checksummer_start", source=self.address, length=self.length)
        self.status = BUSY
        self.timer.arm_in(self.length * 1000 // self.speed)

    @property
    def address(self) -> int:
        return self.source_high << 32 | self.source

    def finish(self) -> None:
        if self.length > LONGEST or not self.is_master:
            self.status = DONE | FAILED
        else:
            self.result = crc32(self.dma_read(self.address, self.length))
            self.status = DONE
        self.trace("checksummer_done", status=self.status, result=self.result)
        self.update()

    def control_written(self, old: int, new: int) -> None:
        self.update()

    def status_written(self, old: int, new: int) -> None:
        self.update()

    def update(self) -> None:
        self.interrupt(1 if self.status & DONE and self.control & INTERRUPT else 0)
