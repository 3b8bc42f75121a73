"""The boards as built: what is where, and who interrupts whom. No guest, no compiled core."""

from __future__ import annotations

from typing import Any

import pytest

from pcemu.machine import builder
from pcemu.machine.config import DeviceConfig, IcountConfig, MachineConfig
from pcemu.machine.machine import Machine
from pcemu.qom import PcemuError
from pcemu.testing.fakes import FakeCore


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(builder, "_load_images", lambda machine: None)
    machines: list[Machine] = []

    def make(name: str = "pc", **options: Any) -> Machine:
        options.setdefault("ram_size", 4 << 20)
        options.setdefault("serials", ["null"])
        config = MachineConfig(machine=name, icount=IcountConfig(0, False), **options)
        machine = Machine(config, core=FakeCore())
        machines.append(machine)
        return machine.build()

    yield make
    for machine in machines:
        machine.close()


def ports(machine: Machine) -> dict[int, tuple[str, int]]:
    return {r.start: (r.region.name, r.size) for r in machine.io_space.flat}


def unmask(machine: Machine, vector: int = 0x20) -> None:
    """Both 8259s initialised, everything enabled."""
    for port, base in ((0x20, vector), (0xA0, vector + 8)):
        machine.io.write(port, 1, 0x11)
        for value in (base, 4 if port == 0x20 else 2, 1, 0):
            machine.io.write(port + 1, 1, value)


PC_PORTS = {
    0x00: ("dma-chan", 8), 0x20: ("pic", 2), 0x40: ("pit", 4), 0x60: ("i8042-data", 1), 0x61: ("pcspk", 1),
    0x64: ("i8042-cmd", 1), 0x70: ("rtc", 2), 0x80: ("ioport80", 1), 0x92: ("port92", 1), 0xA0: ("pic", 2),
    0xB2: ("apm-io", 2), 0xC0: ("dma-chan", 16), 0x3F8: ("serial", 8), 0x4D0: ("elcr", 1), 0x4D1: ("elcr", 1),
    0x510: ("fwcfg", 2), 0x514: ("fwcfg.dma", 8), 0xCF8: ("pci-conf-idx", 4), 0xCFC: ("pci-conf-data", 4),
}  # fmt: skip


def test_pc_map(make: Any) -> None:
    machine = make()
    found = ports(machine)
    assert {port: found.get(port) for port in PC_PORTS} == PC_PORTS
    memory = {r.start: (r.region.name, r.size) for r in machine.memory_space.flat}
    assert memory[0] == ("pc.ram", 4 << 20)
    assert memory[0xFEC00000] == ("ioapic", 0x1000)
    assert memory[0xFED00000] == ("hpet", 0x400)
    assert memory[0xFEE00000] == ("apic-msi", 0x100000)


def test_pci_functions(make: Any) -> None:
    machine = make()
    ids = {}
    for devfn in range(16):
        machine.io.write(0xCF8, 4, 0x80000000 | devfn << 8)
        value = machine.io.read(0xCFC, 4)
        if value != 0xFFFFFFFF:
            ids[devfn] = value
    assert ids == {0x00: 0x12378086, 0x08: 0x70008086, 0x0B: 0x71138086}


def test_options_leave_chips_out(make: Any) -> None:
    assert make(no_hpet=True).find("hpet") is None
    assert make(machine_options={"hpet": "off"}).find("hpet") is None
    assert make(no_acpi=True).find("PIIX4_PM") is None
    assert make(machine_options={"acpi": "off"}).find("PIIX4_PM") is None
    assert make(machine_options={"i8042": "off"}).find("i8042") is None
    assert make(serials=[]).find("isa-serial") is None


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [("usb", "on", "-machine usb=on: not implemented yet"), ("hpett", "on", "Property 'hpett' not found"),
     ("memory-encryption", "x", "not implemented yet"), ("hpet", "maybe", "pc.hpet: 'maybe' is not 'on' or 'off'")],
)  # fmt: skip
def test_board_options_are_checked(make: Any, option: str, value: str, text: str) -> None:
    with pytest.raises(PcemuError, match=text):
        make(machine_options={option: value})


@pytest.mark.parametrize("hpet", [True, False])
@pytest.mark.parametrize("name", ["pc", "isapc"])
def test_timer_interrupt_reaches_the_cpu(make: Any, name: str, hpet: bool) -> None:
    machine = make(name, no_hpet=not hpet)
    unmask(machine)
    if name == "pc":  # LINT0 as firmware leaves it: the 8259 comes through
        machine.memory.st(0xFEE000F0, 4, 0x1FF)
        machine.memory.st(0xFEE00350, 4, 0x700)
    machine.io.write(0x43, 1, 0x34)
    machine.io.write(0x40, 1, 100)
    machine.io.write(0x40, 1, 0)
    core = machine.clock.core
    for _ in range(4):
        core.advance_to(max(core.now(), machine.clock.next_deadline()))
        machine.clock.run_due()
    assert machine.cpu.intr == 1
    assert machine.cpu.intack() == 0x20


def test_rtc_is_irq_8_and_goes_to_both_controllers(make: Any) -> None:
    machine = make()
    isa = machine.find_bus("ISA")
    levels: list[int] = []
    isa.irq_lines[8].connect(levels.append)
    machine.find("mc146818rtc").irq.set(1)
    assert levels == [1]
    assert machine.find("ioapic").lines & 1 << 8


def test_isa_lines_and_io_apic_pins(make: Any) -> None:
    machine = make()
    isa, ioapic = machine.find_bus("ISA"), machine.find("ioapic")
    pic, pic2 = machine.find_all(type(machine.find("isa-i8259")))
    for irq in (0, 1, 3, 9, 14):
        isa.irq_lines[irq].set(0)
        before = ioapic.lines
        isa.irq_lines[irq].set(1)
        assert ioapic.lines ^ before == 1 << (2 if irq == 0 else irq)
        assert (pic if irq < 8 else pic2).lines >> (irq & 7) & 1
        isa.irq_lines[irq].set(0)


def test_pci_interrupt_is_routed_by_the_south_bridge(make: Any) -> None:
    machine = make()
    machine.io.write(0xCF8, 4, 0x80000860)
    machine.io.write(0xCFC, 4, 0x0B0A0B0A)
    machine.find("PIIX3").on_pirq(1, 1)
    assert machine.find("ioapic").lines & ~(1 << 2) == 1 << 11  # the timer's line idles high


def test_a20_is_as_the_last_writer_wants(make: Any) -> None:
    machine = make()
    cpu = machine.cpu
    assert cpu.a20
    machine.io.write(0x92, 1, 0)
    assert not cpu.a20
    machine.find("i8042").a20.set(1)
    assert cpu.a20
    machine.io.write(0x92, 1, 0)
    assert not cpu.a20
    machine.io.write(0x92, 1, 2)
    assert cpu.a20
    machine.find("i8042").a20.set(0)
    assert not cpu.a20
    machine.reset_all()
    assert cpu.a20


def test_apic_less_processor_gets_the_8259_directly(make: Any) -> None:
    machine = make(cpu="486")
    assert machine.find("apic") is None
    unmask(machine)
    machine.find_bus("ISA").irq_lines[4].set(1)
    assert (machine.cpu.intr, machine.cpu.intack()) == (1, 0x24)


def test_isapc_has_no_pci(make: Any) -> None:
    machine = make("isapc")
    assert machine.find("PIIX3") is None
    found = ports(machine)
    assert 0xCF8 not in found and 0x3F8 in found
    assert machine.cpu_models[0].name.startswith("486")


def test_ram_around_the_hole(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pcemu.testing import fakes

    monkeypatch.setattr(fakes.FakeMemory, "alloc", lambda self, name, size: 0)
    machine = make(ram_size=6 << 30)
    spans = [(r.start, r.end, r.offset) for r in machine.memory_space.flat if r.region.name == "pc.ram"]
    assert spans == [(0, 0xC0000000, 0), (1 << 32, (1 << 32) + (3 << 30), 0xC0000000)]
    assert (machine.ram_below_4g, machine.ram_above_4g) == (0xC0000000, 3 << 30)
    assert make(ram_size=3 << 30).ram_below_4g == 3 << 30
    assert make(ram_size=2 << 30, machine_options={"max-ram-below-4g": "1G"}).ram_below_4g == 1 << 30


def test_user_devices(make: Any) -> None:
    machine = make(
        serials=[],
        chardevs=[{"backend": "null", "id": "c0"}],
        devices=[
            DeviceConfig("isa-serial", {"chardev": "c0", "id": "s0", "bus": "isa.0"}, "-device isa-serial"),
            DeviceConfig("isa-debug-exit", {"iobase": "0xf4", "iosize": "4"}),
        ],
    )
    assert machine.by_id["s0"].iobase == 0x3F8
    assert ports(machine)[0xF4] == ("isa-debug-exit", 4)


@pytest.mark.parametrize(
    ("driver", "props", "text"),
    [
        ("isa-serial", {"chardev": "c9"}, r"-device: Property 'isa-serial.chardev' can't find value 'c9'"),
        ("isa-serial", {"bus": "pci.0"}, r"-device: 'isa-serial' can't go on PCI bus"),
        ("isa-serial", {"bus": "isa.1"}, r"-device: Bus 'isa.1' not found \(did you mean 'isa.0'\?\)"),
        ("isa-pit", {}, r"-device: 'isa-pit' is part of the board and cannot be added"),
        ("isa-debug-exit", {"iobase": "0x20"}, r"-device: isa-debug-exit at 0x20-0x21 overlaps isa-i8259 \(pic\) at 0x20-0x21"),
    ],
)
def test_user_device_errors(make: Any, driver: str, props: dict[str, str], text: str) -> None:
    with pytest.raises(PcemuError, match=text):
        make(devices=[DeviceConfig(driver, props)])


def test_global_properties(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    machine = make(globals=[("mc146818rtc", "lost_tick_policy", "slew"), ("nonsense", "a", "b"),
                            ("kvm-pit", "lost_tick_policy", "discard")])  # fmt: skip
    assert machine.find("mc146818rtc").lost_tick_policy == "slew"
    assert capsys.readouterr().err == "pcemu: warning: global nonsense.a has invalid class name\n"
    with pytest.raises(PcemuError, match=r"can't apply global mc146818rtc.foo: Property 'mc146818rtc.foo' not found"):
        make(globals=[("mc146818rtc", "foo", "1")])


def test_reset_builds_nothing_twice(make: Any) -> None:
    machine = make()
    before = (ports(machine), [str(r) for r in machine.memory_space.flat])
    machine.reset_all()
    assert (ports(machine), [str(r) for r in machine.memory_space.flat]) == before
