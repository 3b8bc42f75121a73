"""Declarations of devices: properties, state, registers, wires, the registry."""

from __future__ import annotations

import pytest

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import (
    Device,
    IrqIn,
    IrqOut,
    MmioWindow,
    PcemuError,
    PortWindow,
    Property,
    PropertyError,
    Register,
    State,
    SysBusDevice,
    UnknownTypeError,
    lookup,
)
from pcemu.qom.units import format_size, parse_bool, parse_int, parse_size
from pcemu.testing.harness import TestMachine


class Widget(IsaDevice):
    """A device with one of everything."""

    type_name = "test-widget"
    trace_events = ("widget_write",)
    iobase = Property(int, default=0x300, fmt="hex", max=0xFFFF, help="first port")
    irq_number = Property(int, name="irq", default=5, min=0, max=15)
    fast = Property(bool, default=True)
    lost_tick_policy = Property(default="slew", choices=("discard", "slew"), name="lost_tick_policy")
    limit = Property("size", default=2 << 30)
    x_slots = Property("u8", default=3)
    addr = Property("devfn")
    chardev = Property("chardev", hidden=True)
    latch = State("u8[4]")
    count = State("u16[3]", reset=7)
    total = State("u32", reset=1)
    battery = State("u8[2]", reset=b"\x01\x02", kept=True)
    irq = IrqOut(hidden=True)
    lines = IrqOut(2)
    a20 = IrqOut(name="a20")
    pins = IrqIn(4, handler="on_pin")
    ports = PortWindow(base="iobase", size=4, read="io_read", write="io_write", access=(1, 1), name="widget")

    def realize(self) -> None:
        self.connect_irq(self.irq, self.irq_number)
        self.seen: list[tuple[int, int]] = []

    def io_read(self, offset: int, size: int) -> int:
        assert size == 1
        return self.latch[offset]

    def io_write(self, offset: int, value: int, size: int) -> None:
        assert size == 1
        self.trace("widget_write", offset=offset, value=value)
        self.latch[offset] = value

    def on_pin(self, pin: int, level: int) -> None:
        self.seen.append((pin, level))


class Block(SysBusDevice):
    """A memory-mapped device made of registers."""

    type_name = "test-block"
    status = Register(0, reset=0x0F, w1c=0x0F)
    control = Register(4, writable=0xFF, on_write="control_written")
    ident = Register(8, writable=0, on_read="read_ident")
    mmio = MmioWindow(size=0x100, read="reg_read", write="reg_write", access=(4, 4))

    def realize(self) -> None:
        self.changes: list[tuple[int, int]] = []

    def control_written(self, old: int, new: int) -> None:
        self.changes.append((old, new))

    def read_ident(self) -> int:
        return 0x1234


@pytest.fixture
def m() -> TestMachine:
    return TestMachine()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("iobase", "0x3f8", 0x3F8),
        ("irq", "010", 8),
        ("fast", "off", False),
        ("fast", "yes", True),
        ("lost_tick_policy", "discard", "discard"),
        ("limit", "1.5G", 3 << 29),
        ("limit", "64k", 65536),
        ("x-slots", "255", 255),
        ("addr", "0x1.0x2", 0x0A),
        ("addr", "1e", 0xF0),
    ],
)
def test_property_text(m: TestMachine, name: str, text: str, value: object) -> None:
    assert Widget(m, **{name: text}).get_property(name) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("irq", "16", "test-widget.irq: '16' is not an integer from 0 to 15"),
        ("irq", "x", "test-widget.irq: 'x' is not an integer from 0 to 15"),
        ("iobase", "65536", "test-widget.iobase: '65536' is not an integer from 0x0 to 0xffff"),
        ("fast", "maybe", "test-widget.fast: 'maybe' is not 'on' or 'off'"),
        ("lost_tick_policy", "drop", "test-widget.lost_tick_policy: 'drop' is not one of discard, slew"),
        ("limit", "big", "test-widget.limit: 'big' is not a size such as 64K, 512M or 2G"),
        ("addr", "20", "test-widget.addr: '20' is not SLOT or SLOT.FUNCTION, in hexadecimal"),
        ("x-slots", "256", "test-widget.x-slots: '256' is not an integer from 0 to 255"),
    ],
)
def test_property_errors_name_everything(m: TestMachine, name: str, text: str, message: str) -> None:
    with pytest.raises(PropertyError) as error:
        Widget(m, **{name: text})
    assert str(error.value) == message


def test_unknown_property_suggests(m: TestMachine) -> None:
    with pytest.raises(PropertyError, match=r"Property 'test-widget.iobas' not found \(did you mean 'iobase'\?\)"):
        Widget(m, iobas="1")


def test_globals_come_before_explicit_properties(m: TestMachine) -> None:
    m.globals.append(("test-widget", "irq", "9"))
    assert Widget(m).irq_number == 9
    assert Widget(m, irq=3).irq_number == 3


def test_realized_properties_are_fixed(m: TestMachine) -> None:
    dev = m.add(Widget)
    with pytest.raises(PropertyError, match="cannot change"):
        dev.set_property("irq", 3)


def test_chardev_property_resolves(m: TestMachine) -> None:
    backend = m.add_chardev("serial0")
    assert m.add(Widget, chardev="serial0").chardev is backend
    with pytest.raises(PropertyError, match=r"Property 'test-widget.chardev' can't find value 'serial1' .*'serial0'"):
        m.add(Widget, chardev="serial1", iobase=0x310)


def test_state_resets_and_is_not_shared(m: TestMachine) -> None:
    one, two = m.add(Widget), m.add(Widget, iobase=0x310)
    one.latch[0], one.count[1], one.total, one.battery[0] = 5, 9, 77, 9
    assert (two.latch[0], two.count, two.total) == (0, [7, 7, 7], 1)
    one.reset()
    assert (one.latch, one.count, one.total) == (bytearray(4), [7, 7, 7], 1)
    assert one.battery == b"\x09\x02"


def test_state_round_trip_and_limits(m: TestMachine) -> None:
    dev = m.add(Widget)
    dev.count[2] = 65535
    saved = dev.get_state()
    other = m.add(Widget, iobase=0x310)
    other.set_state(saved)
    assert other.count == [7, 7, 65535]
    assert isinstance(other.latch, bytearray)
    dev.count[2] = 65536
    with pytest.raises(ValueError, match="65536 does not fit u16"):
        dev.get_state()


def test_registers(m: TestMachine) -> None:
    dev = m.add(Block)
    dev.mmio.map(0x10_0000_0000)
    base = 0x10_0000_0000
    m.mmio_write(base, 4, 0x05)
    assert m.mmio_read(base, 4) == 0x0A
    m.mmio_write(base + 4, 4, 0x1FF)
    assert (m.mmio_read(base + 4, 4), dev.changes) == (0xFF, [(0, 0xFF)])
    m.mmio_write(base + 8, 4, 0)
    assert m.mmio_read(base + 8, 4) == 0x1234
    m.mmio_read(base + 12, 4)
    assert m.log.messages == ["test-block: read of unknown register 0xc\n"]
    dev.reset()
    assert dev.status == 0x0F


def test_narrow_and_wide_accesses(m: TestMachine) -> None:
    dev = m.add(Block)
    dev.mmio.map(0xFED00000)
    m.mmio_write(0xFED00004, 4, 0x12)
    assert m.mmio_read(0xFED00008, 1) == 0x34
    assert m.mmio_read(0xFED00009, 1) == 0x12
    assert m.mmio_read(0xFED00004, 8) == 0x1234_0000_0012
    assert m.mmio_read(0xFED00006, 4) == 0x1234_0000
    m.mmio_write(0xFED00004, 1, 0x56)
    assert dev.control == 0x56
    m.outl(0x300, 0)
    widget = m.add(Widget)
    m.outl(0x300, 0x04030201)
    assert widget.latch == bytes((1, 2, 3, 4))
    assert m.inw(0x301) == 0x0302


def test_port_accesses_beyond_a_window(m: TestMachine) -> None:
    m.add(Widget)
    m.outb(0x303, 0xAB)
    assert m.inl(0x303) == 0xFFFFFFAB
    assert m.inl(0x400) == 0xFFFFFFFF


def test_wires(m: TestMachine) -> None:
    one, two = m.add(Widget), m.add(Widget, iobase=0x310)
    one.lines[0].connect(two.pins[2])
    one.a20.connect(two.pins[2])
    one.lines[0].set(1)
    one.lines[0].set(1)
    one.a20.set(1)
    one.lines[0].set(0)
    assert two.seen == [(2, 1)]  # wired OR: still held by the other
    one.a20.set(0)
    assert two.seen == [(2, 1), (2, 0)]
    one.lines[1].connect(two.pins[0])
    one.lines[1].pulse()
    assert two.seen[2:] == [(0, 1), (0, 0)]


def test_reset_lowers_wires(m: TestMachine) -> None:
    dev = m.add(Widget)
    dev.irq.set(1)
    assert m.isa_irq[5].edges == [1]
    dev.reset()
    assert m.isa_irq[5].edges == [1, 0]


def test_shared_isa_line(m: TestMachine) -> None:
    one, two = m.add(Widget), m.add(Widget, iobase=0x310)
    one.irq.set(1)
    two.irq.set(1)
    one.irq.set(0)
    assert m.isa_irq[5].edges == [1]
    two.unplug()
    assert m.isa_irq[5].edges == [1, 0]
    assert m.inb(0x310) == 0xFF


def test_isa_irq_number_is_checked(m: TestMachine) -> None:
    dev = m.add(Widget)
    with pytest.raises(PcemuError, match=r"test-widget: isa.0: no such IRQ: 16"):
        dev.connect_irq(dev.irq, 16)


def test_port_overlap_names_both(m: TestMachine) -> None:
    m.add(Widget)
    with pytest.raises(PcemuError, match=r"widget.* at 0x302-0x305 overlaps .*widget.* at 0x300-0x303 in io"):
        m.add(Widget, iobase=0x302)


def test_qtree_lines(m: TestMachine) -> None:
    m.add_chardev("c0")
    assert m.add(Widget, addr="2.1", chardev="c0").qtree_lines() == [
        'gpio-in "" 4',
        'gpio-out "" 2',
        'gpio-out "a20" 1',
        "iobase = 768 (0x300)",
        "irq = 5 (0x5)",
        "fast = true",
        'lost_tick_policy = "slew"',
        "limit = 2147483648 (2 GiB)",
        "x-slots = 3 (0x3)",
        "addr = 02.1",
    ]
    block = m.add(Block)
    block.mmio.map(0xFEC00000)
    assert block.qtree_lines() == ["mmio 00000000fec00000/0000000000000100"]


def test_trace_and_logs(m: TestMachine) -> None:
    m.add(Widget)
    m.outb(0x301, 9)
    assert m.events == [("test-widget", "widget_write", {"offset": 1, "value": 9})]


def test_registry() -> None:
    assert lookup("test-widget") is Widget
    with pytest.raises(UnknownTypeError, match=r"'isa-seriel' is not a valid device model name \(did you mean 'isa-serial'"):
        lookup("isa-seriel")
    with pytest.raises(UnknownTypeError, match="'e1000' is not implemented yet"):
        lookup("e1000")


def test_duplicate_id(m: TestMachine) -> None:
    m.add(Widget, id="w")
    with pytest.raises(PcemuError, match="Duplicate ID 'w' for device"):
        m.add(Widget, id="w", iobase=0x310)
    assert isinstance(m.by_id["w"], Device)


def test_units() -> None:
    assert (parse_int("-1"), parse_int("0x1F"), parse_int("0"), parse_int("017")) == (-1, 31, 0, 15)
    assert (parse_size("512"), parse_size("2", "m"), parse_size("1T")) == (512, 2 << 20, 1 << 40)
    assert parse_size("0x10") == 16
    assert parse_bool("true") and not parse_bool("n")
    for bad in ("", "1.2", "0xg", "08"):
        with pytest.raises(ValueError):
            parse_int(bad)
    for bad in ("", "5Q", "-1", "k"):
        with pytest.raises(ValueError):
            parse_size(bad)
    assert [format_size(n) for n in (0, 512, 65536, 2 << 30, 4294967295)] == ["0 B", "512 B", "64 KiB", "2 GiB", "4 GiB"]
