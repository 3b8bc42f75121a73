"""PC16550D (datasheet TL/C/8652): every register, FIFOs, loopback, modem lines and interrupt priorities."""

from __future__ import annotations

import pytest

from pcemu.hw.char.serial_isa import IsaSerial
from pcemu.qom import PcemuError
from pcemu.testing.harness import TestMachine

BASE = 0x3F8
DATA, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR = 0, 1, 2, 2, 3, 4, 5, 6, 7
NS = 1_000_000_000


class Port:
    """A serial port in a machine of its own, with registers by number."""

    def __init__(self, **props: object) -> None:
        self.machine = TestMachine()
        self.host = self.machine.add_chardev("c0")
        self.device = self.machine.add(IsaSerial, chardev="c0", **props)
        self.irq = self.machine.isa_irq[4]

    def __getitem__(self, reg: int) -> int:
        return self.machine.inb(BASE + reg)

    def __setitem__(self, reg: int, value: int) -> None:
        self.machine.outb(BASE + reg, value)

    def loop(self, extra: int = 0) -> None:
        """Loopback, with the modem bits in MCR given by `extra`; earlier deltas read away."""
        self[MCR] = 0x10 | extra
        _ = self[MSR]


@pytest.fixture
def port() -> Port:
    return Port()


# ---- reset values and plain registers -----------------------------------------------------------------------------


def test_reset_values(port: Port) -> None:
    assert port[IER] == 0
    assert port[IIR] == 0x01            # no interrupt, FIFOs off
    assert port[LCR] == 0
    assert port[LSR] == 0x60            # THRE and TEMT
    assert port[MSR] == 0xB0            # DCD, DSR, CTS up, no deltas
    assert port.irq.level == 0


def test_reset_restores_them(port: Port) -> None:
    port[LCR], port[MCR], port[IER], port[SCR], port[FCR] = 0x1F, 0x1B, 0x0F, 0x77, 0x81
    port[DATA] = 0x41
    port.machine.reset()
    assert [port[reg] for reg in (IER, IIR, LCR, LSR, MSR, SCR)] == [0, 1, 0, 0x60, 0xB0, 0]
    assert port.irq.level == 0


def test_scratch_and_line_control_hold_every_bit(port: Port) -> None:
    for value in (0x00, 0x55, 0xAA, 0xFF):
        port[SCR] = value
        port[LCR] = value
        assert (port[SCR], port[LCR]) == (value, value)
    port[LCR] = 0


def test_unused_bits_read_as_zero(port: Port) -> None:
    port[IER], port[MCR] = 0xFF, 0xFF
    assert port[IER] == 0x0F
    assert port[MCR] == 0x1F


def test_divisor_latch_is_behind_dlab(port: Port) -> None:
    port[IER] = 0x05
    port[LCR] = 0x83
    port[DATA], port[IER] = 0x34, 0x12
    assert (port[DATA], port[IER]) == (0x34, 0x12)
    assert port.host.sent == b""
    port[LCR] = 0x03
    assert port[IER] == 0x05
    assert port.device.divisor == 0x1234


def test_line_and_modem_status_ignore_writes(port: Port) -> None:
    port[LSR], port[MSR] = 0x00, 0xFF
    assert (port[LSR], port[MSR]) == (0x60, 0xB0)


def test_wide_accesses_are_bytes_side_by_side(port: Port) -> None:
    port[SCR] = 0x5A
    assert port.machine.inw(BASE + MSR) == 0x5AB0


@pytest.mark.parametrize(
    ("lcr", "params"),
    [(0x00, ("N", 5, 1.0)), (0x03, ("N", 8, 1.0)), (0x0B, ("O", 8, 1.0)), (0x1A, ("E", 7, 1.0)), (0x07, ("N", 8, 2.0)),
     (0x04, ("N", 5, 1.5))],
)
def test_line_parameters_reach_the_host(port: Port, lcr: int, params: tuple[str, int, float]) -> None:
    port[LCR] = 0x80 | lcr
    port[DATA], port[IER] = 0x0C, 0x00
    port[LCR] = lcr
    assert port.host.params[-1] == ((9600, *params), {})


def test_break_control_reaches_the_host(port: Port) -> None:
    port[LCR] = 0x43
    port[LCR] = 0x03
    assert [item for item in port.host.params if item[0] == "break"] == [("break", True), ("break", False)]


# ---- transmitter ----------------------------------------------------------------------------------------------------


def test_written_bytes_leave_in_order(port: Port) -> None:
    for byte in b"hello":
        assert port[LSR] == 0x60
        port[DATA] = byte
    assert port.host.sent == b"hello"


def test_enabling_thre_interrupt_with_an_empty_register_raises_it(port: Port) -> None:
    port[IER] = 0x02
    assert port.irq.level == 1
    assert port[IIR] == 0x02
    assert port.irq.level == 0          # reading IIR as the source ends it
    assert port[IIR] == 0x01
    port[IER] = 0x00
    port[IER] = 0x02                    # and enabling it again brings it back: Linux looks for this
    assert port[IIR] == 0x02


def test_writing_thr_ends_and_renews_the_interrupt(port: Port) -> None:
    port[IER] = 0x02
    port.irq.clear()
    port[DATA] = 0x41
    assert port.irq.edges == [0, 1]     # an edge-triggered controller sees a new request
    assert port[IIR] == 0x02


def test_with_fifos_the_interrupt_comes_once_for_many_bytes(port: Port) -> None:
    port[FCR] = 0x01
    port[IER] = 0x02
    assert port[IIR] == 0xC2
    port.irq.clear()
    for _ in range(3):
        for byte in range(15):
            port[DATA] = byte
            assert port[LSR] & 0x60 == 0x60     # the bytes are gone; only the interrupt takes a moment
        assert port[IIR] == 0xC1
        port.machine.clock.advance(50_000)
        assert port[IIR] == 0xC2
    assert port.irq.edges == [1, 0] * 3
    assert port.host.sent == bytes(range(15)) * 3


def test_a_write_ends_a_pending_thre_interrupt_with_fifos_too(port: Port) -> None:
    port[FCR] = 0x01
    port[IER] = 0x02
    assert port.irq.level == 1
    port[DATA] = 0x41                           # without reading IIR first
    assert port.irq.level == 0
    port.machine.clock.advance(50_000)
    assert port.irq.level == 1


def test_a_fifos_worth_of_characters_makes_one_thre_interrupt(port: Port) -> None:
    """However slowly they are written, it comes after the last; at once when there is room for no more."""
    port[FCR], port[IER] = 0x01, 0x02
    assert port[IIR] & 0x0F == 0x02     # the empty register: reading ends it
    port.irq.clear()
    for value in range(16):
        port[DATA] = value
        port.machine.clock.advance(3_000)
    assert port.irq.edges == [1]
    assert port[IIR] & 0x0F == 0x02
    for value in b"abc":                # fewer
        port[DATA] = value
        port.machine.clock.advance(15_000)
    assert port.irq.edges == [1, 0]
    port.machine.clock.advance(40_000)
    assert port.irq.edges == [1, 0, 1]
    assert port.host.sent == bytes(range(16)) + b"abc"


def test_registers_changed_within_a_fifos_worth_of_characters(port: Port) -> None:
    """Divisor latch and loopback take effect with the next character."""
    port[FCR], port[IER] = 0x01, 0x02
    port[DATA], port[DATA] = 0x41, 0x42
    port[LCR] = 0x80
    port[DATA] = 7
    port[LCR] = 0x03
    port[DATA] = 0x43
    port[MCR] = 0x10
    port[DATA] = 0x44
    assert port[DATA] == 0x44
    port[MCR] = 0
    port[DATA] = 0x45
    assert port.host.sent == b"ABCE"
    assert port.device.divisor == 7


def test_disabling_the_thre_interrupt_takes_it_off_its_way(port: Port) -> None:
    port[FCR] = 0x01
    port[IER] = 0x02
    port[DATA] = 0x41
    port[IER] = 0x00
    port.machine.clock.advance(50_000)
    assert (port[IIR], port.irq.level) == (0xC1, 0)
    assert port.machine.clock.pending() == []


def test_reading_iir_for_another_source_keeps_thre_pending(port: Port) -> None:
    port[IER] = 0x03
    port.host.feed(b"x")
    assert port[IIR] == 0x04
    assert port[DATA] == ord("x")
    assert port[IIR] == 0x02


def test_a_blocked_host_keeps_thre_down(port: Port) -> None:
    port[IER] = 0x02
    _ = port[IIR]
    port.host.blocked = True
    port[DATA] = 0x41
    assert port[LSR] & 0x60 == 0
    assert port.irq.level == 0
    port.host.blocked = False
    port.host.on_writable()
    assert port[LSR] & 0x60 == 0x60
    assert port[IIR] == 0x02
    assert port.host.sent == b"A"


# ---- receiver without FIFOs ---------------------------------------------------------------------------------------


def test_received_character(port: Port) -> None:
    port[IER] = 0x01
    port.host.feed(b"A")
    assert port.irq.level == 1
    assert port[IIR] == 0x04
    assert port[LSR] == 0x61
    assert port[DATA] == 0x41
    assert (port[LSR], port[IIR], port.irq.level) == (0x60, 0x01, 0)


def test_one_character_at_a_time_without_fifo(port: Port) -> None:
    port.host.feed(b"abc")
    got = []
    while port[LSR] & 1:
        got.append(port[DATA])
    assert bytes(got) == b"abc"
    assert not port[LSR] & 2            # flow control: nothing was overrun


def test_overrun_in_character_mode_overwrites(port: Port) -> None:
    port.loop()
    port[IER] = 0x04
    port[DATA], port[DATA] = 0x11, 0x22
    assert port[IIR] == 0x06
    assert port[LSR] == 0x63
    assert port[LSR] == 0x61            # reading clears OE, not DR
    assert port[IIR] == 0x01
    assert port[DATA] == 0x22


def test_break_sets_bi_and_a_zero_character(port: Port) -> None:
    port[IER] = 0x04
    port.host.event("break")
    assert port[IIR] == 0x06
    assert port[LSR] == 0x71
    assert port[LSR] == 0x61
    assert port[DATA] == 0


# ---- FIFOs ----------------------------------------------------------------------------------------------------------


def test_fifo_enable_shows_in_iir(port: Port) -> None:
    port[FCR] = 0x01
    assert port[IIR] == 0xC1
    port[FCR] = 0x00
    assert port[IIR] == 0x01


@pytest.mark.parametrize(("code", "level"), [(0x00, 1), (0x40, 4), (0x80, 8), (0xC0, 14)])
def test_trigger_levels(port: Port, code: int, level: int) -> None:
    port[FCR] = 0x01 | code
    port.loop()
    port[IER] = 0x01
    for count in range(1, level + 1):
        assert port.irq.level == 0
        port[DATA] = count
    assert port[IIR] == 0xC4
    assert port[DATA] == 1
    assert port[IIR] == 0xC1            # below the trigger level the interrupt ends
    assert port.irq.level == 0


def test_fifo_keeps_sixteen_and_reports_overrun(port: Port) -> None:
    port[FCR] = 0xC1
    port.loop()
    for value in range(18):
        port[DATA] = value
    assert port[LSR] & 0x02
    assert not port[LSR] & 0x02
    assert [port[DATA] for _ in range(16)] == list(range(16))
    assert not port[LSR] & 0x01
    assert port[DATA] == 0


def test_clearing_fifos(port: Port) -> None:
    port[FCR] = 0xC1
    port.loop()
    port[DATA] = 0x33
    port[FCR] = 0xC3                    # clear the receiver's
    assert not port[LSR] & 1
    port[IER] = 0x02
    _ = port[IIR]
    port[FCR] = 0xC5                    # clear the transmitter's: empty again
    assert port[IIR] == 0xC2


def test_switching_fifo_mode_clears_the_fifo(port: Port) -> None:
    port[FCR] = 0x01
    port.loop()
    port[DATA] = 0x33
    port[FCR] = 0x00
    assert not port[LSR] & 1


def test_fcr_bits_count_only_with_fifos_on(port: Port) -> None:
    port[FCR] = 0xC0
    port[FCR] = 0x01
    port.loop()
    port[IER] = 0x01
    port[DATA] = 1
    assert port[IIR] == 0xC4            # trigger level 1, not 14


def test_input_is_paced_by_the_trigger_level(port: Port) -> None:
    port[FCR] = 0x81                    # 8
    port[MCR] = 0x0B
    delivered: list[int] = []
    port.device._chr.on_input = lambda data: (delivered.append(len(data)), port.device._on_input(data))
    port.host.feed(bytes(range(40)))
    assert delivered[0] == 8
    assert all(size == 1 for size in delivered[1:])
    got = []
    while port[LSR] & 1:
        got.append(port[DATA])
    assert got == list(range(40))
    assert not port[LSR] & 2


# ---- receive time-out ------------------------------------------------------------------------------------------------


def char_ns(divisor: int, bits: int) -> int:
    return NS * divisor * bits // 115200


def test_timeout_after_four_characters(port: Port) -> None:
    port[LCR] = 0x83
    port[DATA], port[IER] = 12, 0
    port[LCR] = 0x03                    # 9600 8N1: ten bits
    port[FCR] = 0xC1
    port[IER] = 0x01
    port.host.feed(b"ab")
    four = 4 * char_ns(12, 10)
    port.machine.clock.advance(four - 1)
    assert port[IIR] == 0xC1
    port.machine.clock.advance(1)
    assert port[IIR] == 0xCC
    assert port.irq.level == 1
    assert port[DATA] == ord("a")       # reading ends it and starts the time again
    assert port[IIR] == 0xC1
    port.machine.clock.advance(four)
    assert port[IIR] == 0xCC
    assert port[DATA] == ord("b")
    port.machine.clock.advance(10 * four)
    assert port[IIR] == 0xC1            # an empty FIFO has nothing to time out
    assert port.machine.clock.pending() == []


def test_timeout_starts_again_with_each_character(port: Port) -> None:
    port[FCR] = 0xC1
    port[IER] = 0x01
    port.loop()
    port[DATA] = 1
    four = 4 * port.device._char_ns
    port.machine.clock.advance(four - 10)
    port[DATA] = 2
    port.machine.clock.advance(20)
    assert port[IIR] == 0xC1
    port.machine.clock.advance(four)
    assert port[IIR] == 0xCC


@pytest.mark.parametrize(("lcr", "halves"), [(0x03, 20), (0x00, 14), (0x04, 15), (0x07, 22), (0x0B, 22), (0x1F, 24)])
def test_character_time_follows_the_line_parameters(port: Port, lcr: int, halves: int) -> None:
    port[LCR] = 0x80 | lcr
    port[DATA], port[IER] = 0x80, 0x01
    port[LCR] = lcr
    assert port.device._char_ns == NS * 0x180 * halves // (2 * 115200)


# ---- line errors in the FIFO ------------------------------------------------------------------------------------------


def test_errors_show_when_their_character_is_at_the_top(port: Port) -> None:
    port[FCR] = 0x01
    port.host.feed(b"a")
    port.host.event("break")
    assert port[LSR] == 0xE1            # bit 7: an error somewhere in the FIFO; BI not yet
    assert port[DATA] == ord("a")
    assert port[LSR] & 0x10
    assert port[LSR] == 0x61            # cleared by reading, bit 7 too: none left
    assert port[DATA] == 0


def test_fifo_error_bit_stays_while_errors_are_left(port: Port) -> None:
    port[FCR] = 0x01
    port.host.event("break")
    port.host.event("break")
    assert [port[LSR], port[LSR]] == [0xF1, 0xE1]   # the first one's BI is read away, the second one waits
    assert port[DATA] == 0
    assert [port[LSR], port[LSR]] == [0xF1, 0x61]
    assert port[DATA] == 0


# ---- interrupt priorities --------------------------------------------------------------------------------------------


def test_priorities(port: Port) -> None:
    """Line status over data over THRE over modem status (table 6)."""
    port.loop()
    port[IER] = 0x0F
    port[MCR] = 0x11                    # DTR looped to DSR: a delta
    port[DATA], port[DATA] = 1, 2       # data, and an overrun
    seen = []
    for clear in (LSR, DATA, None, MSR):
        seen.append(port[IIR])          # (reading the THRE source ends it)
        if clear is not None:
            _ = port[clear]
    assert seen == [0x06, 0x04, 0x02, 0x00]
    assert port[IIR] == 0x01
    assert port.irq.level == 0


def test_disabled_sources_do_not_interrupt(port: Port) -> None:
    port.loop()
    port[MCR] = 0x11
    port[DATA], port[DATA] = 1, 2
    assert (port[IIR], port.irq.level) == (0x01, 0)
    for bit, iir in ((0x08, 0x00), (0x02, 0x02), (0x01, 0x04), (0x04, 0x06)):
        port[IER] = bit
        assert port[IIR] == iir


# ---- modem control ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mcr", "msr"), [(0x02, 0x10), (0x01, 0x20), (0x04, 0x40), (0x08, 0x80)])
def test_loopback_connects_modem_outputs_to_inputs(port: Port, mcr: int, msr: int) -> None:
    port.loop()
    port[MCR] = 0x10 | mcr
    assert port[MSR] & 0xF0 == msr


def test_loopback_holds_data_back_from_the_host(port: Port) -> None:
    port.loop()
    port[DATA] = 0x41
    assert port.host.sent == b""
    assert port[DATA] == 0x41
    port.host.feed(b"z")                # the receiver's input is disconnected
    assert not port[LSR] & 1
    port[MCR] = 0x0B
    port[FCR] = 0x00
    assert port[DATA] == ord("z")


def test_delta_bits(port: Port) -> None:
    port.device.set_modem_lines(0xB0 & ~0x10)
    assert port[MSR] == 0xA1            # CTS fell: DCTS
    assert port[MSR] == 0xA0
    port.device.set_modem_lines(0x00)
    assert port[MSR] == 0x0A            # DSR and DCD fell
    port.device.set_modem_lines(0x40)
    assert port[MSR] == 0x40            # the start of a ring is no event,
    port.device.set_modem_lines(0x00)
    assert port[MSR] == 0x04            # its end is (TERI)


def test_modem_status_interrupt(port: Port) -> None:
    port[IER] = 0x08
    port.device.set_modem_lines(0x00)
    assert port.irq.level == 1
    assert port[IIR] == 0x00
    _ = port[MSR]
    assert (port[IIR], port.irq.level) == (0x01, 0)


# ---- places ------------------------------------------------------------------------------------------------------------


def test_ports_get_their_places_in_order() -> None:
    machine = TestMachine()
    places = [(port.index, port.iobase, port.irq_number) for port in (machine.add(IsaSerial) for _ in range(4))]
    assert places == [(0, 0x3F8, 4), (1, 0x2F8, 3), (2, 0x3E8, 4), (3, 0x2E8, 3)]
    with pytest.raises(PcemuError, match="at most 4"):
        machine.add(IsaSerial)


def test_place_by_property() -> None:
    machine = TestMachine()
    machine.add(IsaSerial, iobase="0x220", irq=5)
    machine.outb(0x227, 0x99)
    assert machine.inb(0x227) == 0x99
    machine.outb(0x221, 0x02)
    assert machine.isa_irq[5].level == 1


def test_qtree_lines_are_qemus(port: Port) -> None:
    assert port.device.qtree_lines() == ["index = 0 (0x0)", "iobase = 1016 (0x3f8)", "irq = 4 (0x4)"]


def test_state_survives_a_round_trip(port: Port) -> None:
    port[FCR] = 0xC1
    port[IER] = 0x01
    port.host.feed(b"xyz")
    state = port.device.get_state()
    other = Port()
    other.device.set_state(state)
    assert other.device.get_state() == state
    other.machine.clock.advance(port.device._char_ns * 4)
    assert other[IIR] == 0xCC           # the time-out goes on where it was
    assert [other[DATA] for _ in range(3)] == list(b"xyz")


def test_a_port_nobody_is_behind(port: Port) -> None:
    machine = TestMachine()
    machine.add(IsaSerial)
    machine.outb(BASE, 0x41)
    assert machine.inb(BASE + LSR) == 0x60
