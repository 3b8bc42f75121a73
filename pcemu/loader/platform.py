"""What firmware tells an operating system about the machine: facts read off the machine as it was built."""

from __future__ import annotations

from typing import Any, NamedTuple

from .errors import LoaderError

LAPIC_BASE = 0xFEE00000
IOAPIC_BASE = 0xFEC00000
FOUR_GIB = 1 << 32
IO_HOLE = 0xE0000000  # RAM up to here stays below 4 GiB ...
IO_HOLE_LARGE = 0xC0000000  # ... and with more than that, up to here, so that both parts are whole GiB
PCI_HOLE_END = 0xFEBFFFFF
OEM_ID, OEM_TABLE_ID = "PCEMU ", "PCEMUPC "
PM_BASE = 0x600  # where firmware puts the PIIX4's power management registers


class SerialPort(NamedTuple):
    number: int  # 1 is COM1
    iobase: int
    irq: int


class HotplugBus(NamedTuple):
    """A PCI bus whose devices come and go."""

    port: int  # of the registers
    number: int  # what selects the bus there
    slots: tuple[int, ...]
    bridges: tuple[tuple[int, HotplugBus], ...] = ()  # buses behind it, by slot


class Platform(NamedTuple):
    """A plain PC; the defaults are those of the i440FX board with everything on it."""

    low_ram: int
    high_ram: int = 0
    apic_ids: tuple[int, ...] = (0,)
    pci: bool = True
    pm_base: int | None = PM_BASE
    sci_irq: int = 9
    gpe0: tuple[int, int] | None = None  # port, length
    hotplug: HotplugBus | None = None  # the root bus
    apic: bool = True
    ioapic_id: int = 0
    ioapic_base: int | None = IOAPIC_BASE
    hpet_base: int | None = 0xFED00000
    hpet_id: int = 0x8086A201
    serial_ports: tuple[SerialPort, ...] = ()
    panic_port: int | None = None  # pvpanic
    keyboard: bool = True
    mouse: bool = True
    rtc: bool = True
    fw_cfg: bool = True
    reset_register: bool = True
    acpi: bool = True
    vga: bool = False
    long_mode: bool = True
    oem_id: str = OEM_ID
    oem_table_id: str = OEM_TABLE_ID

    @classmethod
    def of(cls, machine: Any) -> Platform:
        low, high = split_ram(machine.ram_size)
        low, high = getattr(machine, "ram_below_4g", low), getattr(machine, "ram_above_4g", high)
        pm = machine.find("PIIX4_PM")
        hpet = machine.find("hpet")
        kbd = machine.find("i8042")
        pci = machine.find("i440FX-pcihost") is not None
        model = cpu_model(machine)
        oem_id, oem_table_id = _oem(machine.board)
        return cls(
            low_ram=low,
            high_ram=high,
            apic_ids=tuple(range(len(machine.cpus))),
            pci=pci,
            pm_base=PM_BASE if pm is not None else None,
            gpe0=_gpe0(pm),
            hotplug=_hotplug(pm),
            apic=machine.find("apic") is not None,
            ioapic_base=IOAPIC_BASE if machine.find("ioapic") is not None else None,
            hpet_base=0xFED00000 if hpet is not None else None,
            hpet_id=machine.memory.ld(0xFED00000, 4) if hpet is not None else 0,
            serial_ports=_serial_ports(machine),
            panic_port=getattr(machine.find("pvpanic"), "ioport", None),
            keyboard=kbd is not None,
            mouse=kbd is not None,
            rtc=machine.find("mc146818rtc") is not None,
            fw_cfg=machine.find("fw_cfg_io") is not None,
            long_mode=model is None or model.has("lm"),
            reset_register=machine.find("PIIX3") is not None,
            oem_id=oem_id,
            oem_table_id=oem_table_id,
            acpi=pci and pm is not None and not machine.config.no_acpi,
        )


def _oem(board: Any) -> tuple[str, str]:
    """-machine x-oem-id, x-oem-table-id. The defaults that are listed are other emulators' names, not ours."""
    found = []
    for option, default, size in (("x-oem-id", OEM_ID, 6), ("x-oem-table-id", OEM_TABLE_ID, 8)):
        decl = getattr(type(board), "options", {}).get(option)
        value = default if decl is None else getattr(board, decl.attr)
        if decl is not None and value == decl.default:
            value = default
        if len(value) > size or not value.isascii():
            raise LoaderError(f"-machine {option}={value}", "", f"at most {size} ASCII characters")
        found.append(value.ljust(size))
    return found[0], found[1]


def split_ram(size: int) -> tuple[int, int]:
    """How much RAM is below and above 4 GiB: QEMU's rule for the i440FX board."""
    limit = IO_HOLE if size < IO_HOLE else IO_HOLE_LARGE
    return (size, 0) if size <= limit else (limit, size - limit)


def cpu_model(machine: Any) -> Any:
    """What the first processor is; None where a test has put in something else."""
    models = getattr(machine, "cpu_models", None)
    return models[0] if models else getattr(machine.cpu, "model", None)


def _gpe0(pm: Any) -> tuple[int, int] | None:
    base = getattr(pm, "gpe_base", None)
    return (base, 4) if isinstance(base, int) else None


def _hotplug(pm: Any) -> HotplugBus | None:
    """The root bus, if the power management chip has hot-plug registers that work."""
    controller = getattr(pm, "hotplug", None)
    if controller is None or not controller.buses:
        return None
    return _hotplug_bus(controller, pm.hotplug_port.addr, controller.buses[0])


def _hotplug_bus(controller: Any, port: int, bus: Any) -> HotplugBus:
    removable = controller.removable(bus)
    bridges = []
    for devfn, device in sorted(bus.devices.items()):
        for below in device.buses:
            if below in controller.buses and not devfn & 7:
                bridges.append((devfn >> 3, _hotplug_bus(controller, port, below)))
    slots = tuple(slot for slot in range(32) if removable >> slot & 1)
    return HotplugBus(port, controller.buses.index(bus), slots, tuple(bridges))


def _serial_ports(machine: Any) -> tuple[SerialPort, ...]:
    numbers = {0x3F8: 1, 0x2F8: 2, 0x3E8: 3, 0x2E8: 4}
    found = []
    for device in machine.devices:
        if device.type_name == "isa-serial" and device.iobase in numbers:
            found.append(SerialPort(numbers[device.iobase], device.iobase, device.irq_number))
    return tuple(sorted(found, key=lambda port: port.number))
