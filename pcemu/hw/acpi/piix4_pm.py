"""Intel 82371AB (PIIX4) power management and SMBus, function 3 (datasheet 290562-001, chapter 7).

ACPI's fixed hardware: PM1 event and control registers, the 3.579545 MHz timer, one general-purpose event block.
There is no system management mode: the bit by which firmware sees that SMM has been set up is preset.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pcemu.hw.pci.config import ConfigReg
from pcemu.hw.pci.device import PciDevice
from pcemu.qom import IrqOut, MemoryRegion, PortWindow, Property, State

from . import pci_hotplug
from .smbus import SmbusBus, SmbusHost

PM_FREQUENCY = 3_579_545
TIMER_BITS = 24
HALF = 1 << TIMER_BITS - 1  # the status bit is set each time the top bit changes
NS = 1_000_000_000

# PM1 status and enable (7.2.1, 7.2.2).
TIMER_STS, MASTER_STS, GLOBAL_STS, PWRBTN_STS, RTC_STS, WAKE_STS = 1, 1 << 4, 1 << 5, 1 << 8, 1 << 10, 1 << 15
STS_W1C = TIMER_STS | MASTER_STS | GLOBAL_STS | PWRBTN_STS | RTC_STS | WAKE_STS
EN_WRITABLE = TIMER_STS | GLOBAL_STS | PWRBTN_STS | RTC_STS
# PM1 control (7.2.3).
SCI_EN, CNT_WRITABLE, SLP_EN = 1, 0x1C03, 1 << 13

# The sleep type that the ACPI tables name to the guest.
S5_TYPE = 0

PMBASE, DEVACTB, DEVRESA, DEVRESB, DEVRESC, PMREGMISC, SMBBA, SMBHSTCFG = (
    0x40, 0x58, 0x5C, 0x60, 0x64, 0x80, 0x90, 0xD2)  # fmt: skip
APMC_EN = 1 << 25
GPE_BASE = 0xAFE0
SMBUS_SIZE = 0x40

# Bytes for the APM control port by which an operating system takes and gives back ACPI (in the FADT).
ACPI_ENABLE, ACPI_DISABLE = 0xF1, 0xF0


class Piix4Pm(PciDevice):
    """PIIX4 power management and SMBus host controller; SCI is the unnamed interrupt wire."""

    type_name = "PIIX4_PM"
    desc = "PM"
    category = "bridge"
    user_creatable = False
    trace_events = ("piix4_pm_sci", "piix4_pm_sleep")

    vendor_id = 0x8086
    device_id = 0x7113
    revision = 0x03
    class_id = 0x0680
    status_reset = 0x0280
    interrupt_pin = 1
    gpe_base: ClassVar[int] = GPE_BASE

    smb_io_base = Property("u32", name="smb_io_base", fmt="hex", help="SMBus I/O ports")
    disable_s3 = Property("u8", name="disable_s3", help="1: no suspend to RAM", inert="there is no suspend to RAM", so=1)
    disable_s4 = Property("u8", name="disable_s4", help="1: no suspend to disk")
    s4_val = Property("u8", name="s4_val", default=2, help="sleep type of suspend to disk")
    acpi_pci_hotplug_with_bridge_support = Property(bool, default=True)
    acpi_root_pci_hotplug = Property(bool, default=True)
    memory_hotplug_support = Property(bool, default=True, inert="there is no memory hotplug", so=False)
    smm_compat = Property(bool, inert="there is no system management mode")
    smm_enabled = Property(bool, inert="there is no system management mode", so=False)
    x_not_migrate_acpi_index = Property(bool, inert="there are no saved states")

    config_registers: ClassVar[tuple[ConfigReg, ...]] = (
        ConfigReg("PMBASE", PMBASE, 4, reset=1, writable=0xFFC0, on_write="base_written"),
        ConfigReg("CNTA", 0x44, 4, writable=0xFFFFFFFF),
        ConfigReg("CNTB", 0x48, 4, writable=0xFFFFFFFF),
        ConfigReg("GPICTL", 0x4C, 4, writable=0xFFFFFFFF),
        ConfigReg("DEVRESD", 0x50, 4, writable=0xFFFFFFFF),
        ConfigReg("DEVACTA", 0x54, 4, writable=0xFFFFFFFF),
        ConfigReg("DEVACTB", DEVACTB, 4, reset=APMC_EN, writable=0xFFFFFFFF),
        ConfigReg("DEVRESA", DEVRESA, 4, reset=0x10000000, writable=0xFFFFFFFF),
        ConfigReg("DEVRESB", DEVRESB, 4, reset=0x60000000, writable=0xFFFFFFFF),
        ConfigReg("DEVRESC", DEVRESC, 4, writable=0xFFFFFFFF),
        *(ConfigReg(f"DEVRES{c}", 0x68 + 4 * i, 4, writable=0xFFFFFFFF) for i, c in enumerate("EFGHIJ")),
        ConfigReg("PMREGMISC", PMREGMISC, writable=1, on_write="base_written"),
        ConfigReg("SMBBA", SMBBA, 4, reset=1, writable=0xFFC0, on_write="smbus_base_written"),
        ConfigReg("SMBHSTCFG", SMBHSTCFG, reset=0x09, writable=0x0F, on_write="smbus_base_written"),
        ConfigReg("SMBSLVC", 0xD3, writable=0xFF),
        ConfigReg("SMBSHDW1", 0xD4, writable=0xFF),
        ConfigReg("SMBSHDW2", 0xD5, writable=0xFF),
    )

    status = State("u16", help="PM1 status but for the timer's bit, which time sets")
    enable = State("u16", help="PM1 enable")
    control = State("u16", help="PM1 control")
    overflow = State("u64", help="timer count at which the timer's status bit is set")
    gpe_status = State("u16")
    gpe_enable = State("u16")
    apm_control = State("u8")
    apm_status = State("u8")

    smi_irq = IrqOut(name="smi-irq")
    irq = IrqOut()
    events = PortWindow(None, 4, "event_read", "event_write", access=(1, 4), name="acpi-evt")
    control_port = PortWindow(None, 2, "control_read", "control_write", access=(2, 2), name="acpi-cnt")
    timer_port = PortWindow(None, 4, "timer_read", None, access=(4, 4), name="acpi-tmr")
    gpe_port = PortWindow(GPE_BASE, 4, "gpe_read", "gpe_write", access=(1, 4), name="acpi-gpe0")
    apm_port = PortWindow(0xB2, 2, "apm_read", "apm_write", access=(1, 1), name="apm-io")
    hotplug_port = PortWindow(None, pci_hotplug.SIZE, "hotplug_read", "hotplug_write", access=(4, 4), name="acpi-pci-hotplug")
    smbus_port = PortWindow(None, SMBUS_SIZE, "smbus_read", "smbus_write", access=(1, 1), name="pm-smbus")

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        super().__init__(machine, bus, id, **props)
        self.smbus = SmbusBus("i2c", self)
        self.smbus_host = SmbusHost(self.smbus, self.update_sci)
        self.hotplug = pci_hotplug.PciHotplug(self.set_gpe)
        self.region = MemoryRegion("piix4-pm", 0x40, owner=self)
        self._now = machine.clock.now

    def realize(self) -> None:
        super().realize()
        self.timer = self.machine.clock.timer(self.update_sci)
        self.layout.set_reset(SMBBA, 4, self.smb_io_base & 0xFFC0 | 1)
        for window, offset in ((self.events, 0), (self.control_port, 4), (self.timer_port, 8)):
            window.map(offset, root=self.region)
        self.hotplug.bridges = self.acpi_pci_hotplug_with_bridge_support
        if self.acpi_root_pci_hotplug:
            self.hotplug.add_bus(self.bus)
            self.hotplug_port.map(pci_hotplug.PORT)
        handlers = getattr(self.machine, "powerdown_handlers", None)
        if handlers is not None:
            handlers.append(self.power_button)

    def reset(self) -> None:
        super().reset()
        self.smbus_host.reset()
        self.hotplug.reset()
        self._tell_ports()
        self._next_overflow()
        self.place()
        self.update_sci()

    def _tell_ports(self) -> None:
        """Which legacy ports there are, as firmware would have found out (7.1.16)."""
        ports = (d for d in self.machine.devices if d.type_name in ("isa-serial", "isa-parallel"))
        bases = {getattr(device, "iobase", None) for device in ports}
        self.config[DEVRESA + 3] = 0x10 | (0x80 if 0x378 in bases else 0)
        self.config[DEVRESC + 3] = (0x08 if 0x3F8 in bases else 0) | (0x90 if 0x2F8 in bases else 0)

    # -- where the ports are --------------------------------------------------------------------------------

    def base_written(self, old: int, new: int) -> None:
        self.place()

    def smbus_base_written(self, old: int, new: int) -> None:
        self.place()

    def place(self) -> None:
        """Put the register blocks where the configuration registers say."""
        io_root = self.machine.io_root
        base = self.get(PMBASE) & 0xFFC0
        smbus = self.get(SMBBA) & 0xFFC0
        self.smb_io_base = smbus
        with self.machine.io_space:
            for region, addr, enabled in (
                (self.region, base, self.config[PMREGMISC] & 1),
                (self.smbus_port.memory_region, smbus, self.config[SMBHSTCFG] & 1),
            ):
                if not addr or not enabled:
                    if region.parent is not None:
                        io_root.remove(region)
                elif region.parent is None:
                    io_root.add(region, addr, priority=0)
                else:
                    region.move(addr)

    # -- the timer ------------------------------------------------------------------------------------------

    def timer_read(self, offset: int, size: int) -> int:
        return self._now() * PM_FREQUENCY // NS & (1 << TIMER_BITS) - 1

    def _next_overflow(self) -> None:
        self.overflow = (self._now() * PM_FREQUENCY // NS + HALF) & -HALF

    # -- PM1 ------------------------------------------------------------------------------------------------

    def pm1_status(self) -> int:
        overflowed = self._now() * PM_FREQUENCY // NS >= self.overflow
        return self.status | (TIMER_STS if overflowed else 0)

    def event_read(self, offset: int, size: int) -> int:
        return (self.pm1_status() | self.enable << 16) >> (offset << 3) & ((1 << (size << 3)) - 1)

    def event_write(self, offset: int, value: int, size: int) -> None:
        """Status bits are cleared by ones; enable bits are stored."""
        shift = offset << 3
        mask = ((1 << (size << 3)) - 1) << shift
        value = value << shift & mask
        cleared = value & STS_W1C
        if cleared & TIMER_STS & self.pm1_status():
            self._next_overflow()
        self.status &= ~cleared
        self.enable = (self.enable & ~(mask >> 16) | value >> 16) & EN_WRITABLE
        self.update_sci()

    def control_read(self, offset: int, size: int) -> int:
        return self.control

    def control_write(self, offset: int, value: int, size: int) -> None:
        self.control = value & CNT_WRITABLE
        if value & SLP_EN:
            self._sleep(value >> 10 & 7)
        self.update_sci()

    def _sleep(self, kind: int) -> None:
        if self.tracing:
            self.trace("piix4_pm_sleep", type=kind)
        if kind == S5_TYPE or (kind == self.s4_val and not self.disable_s4):
            if kind != S5_TYPE:
                self.machine.emit_event("SUSPEND_DISK")
            self.machine.request_shutdown("guest-shutdown")
        else:
            # Nothing suspends; say that it has woken up, so that nobody waits for ever.
            self.log_unimp("sleep type %d", kind)
            self.status |= WAKE_STS

    def power_button(self) -> None:
        """Somebody pressed it."""
        self.status |= PWRBTN_STS
        self.update_sci()

    def set_gpe(self, bit: int) -> None:
        """A general-purpose event."""
        self.gpe_status |= 1 << bit
        self.update_sci()

    def update_sci(self) -> None:
        """Drive the system control interrupt, and come back when the timer may want it."""
        status = self.pm1_status()
        level = status & self.enable or self.gpe_status & self.gpe_enable
        level = level and self.control & SCI_EN  # without it these would be SMIs
        self.irq.set(1 if level or self.smbus_host.interrupt else 0)
        if self.enable & TIMER_STS and not status & TIMER_STS:
            self.timer.arm(-(-self.overflow * NS // PM_FREQUENCY))
        else:
            self.timer.cancel()

    # -- general-purpose events, APM, SMBus -----------------------------------------------------------------

    def gpe_read(self, offset: int, size: int) -> int:
        return (self.gpe_status | self.gpe_enable << 16) >> (offset << 3) & ((1 << (size << 3)) - 1)

    def gpe_write(self, offset: int, value: int, size: int) -> None:
        shift = offset << 3
        mask = ((1 << (size << 3)) - 1) << shift
        value = value << shift & mask
        self.gpe_status &= ~value & 0xFFFF
        self.gpe_enable = (self.gpe_enable & ~(mask >> 16) | value >> 16) & 0xFFFF
        self.update_sci()

    def apm_read(self, offset: int, size: int) -> int:
        return self.apm_status if offset else self.apm_control

    def apm_write(self, offset: int, value: int, size: int) -> None:
        """The control port raises an SMI; its handler would do what is done here."""
        if offset:
            self.apm_status = value
            return
        self.apm_control = value
        if value == ACPI_ENABLE:
            self.control |= SCI_EN
        elif value == ACPI_DISABLE:
            self.control &= ~SCI_EN
        if self.get(DEVACTB) & APMC_EN:
            self.smi_irq.pulse()
        self.update_sci()

    def hotplug_read(self, offset: int, size: int) -> int:
        return self.hotplug.read(offset)

    def hotplug_write(self, offset: int, value: int, size: int) -> None:
        self.hotplug.write(offset, value)

    def smbus_read(self, offset: int, size: int) -> int:
        return self.smbus_host.read(offset)

    def smbus_write(self, offset: int, value: int, size: int) -> None:
        self.smbus_host.write(offset, value)

    # -- state ----------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "smbus_host": self.smbus_host.state(),
                "hotplug": self.hotplug.state()}  # fmt: skip

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        if "smbus_host" in values:
            self.smbus_host.load(values["smbus_host"])
        if "hotplug" in values:
            self.hotplug.load(values["hotplug"])
        self.place()
        self.update_sci()
