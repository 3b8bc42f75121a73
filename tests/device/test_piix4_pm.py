"""82371AB (290562-001) function 3: PM1, the ACPI timer, sleep, GPE, APM ports, SMBus."""

from __future__ import annotations

from random import Random

import pytest

from pcemu.hw.acpi.piix4_pm import PM_FREQUENCY, Piix4Pm
from pcemu.hw.acpi.smbus_eeprom import SmbusEeprom
from pcemu.hw.pci.host import I440fxPciHost
from pcemu.testing.harness import TestMachine

PM = 0x600
STS, EN, CNT, TMR = PM, PM + 2, PM + 4, PM + 8
GPE = 0xAFE0
SMB = 0x700
SECOND = 10**9
HALF_WRAP = -(-(1 << 23) * SECOND // PM_FREQUENCY)  # ns


class Board:
    def __init__(self, **props: object) -> None:
        self.m = TestMachine(isa=False)
        self.m.powerdown_handlers = []
        self.host: I440fxPciHost = self.m.add(I440fxPciHost)
        self.pm: Piix4Pm = self.m.add(Piix4Pm, self.host.pci, addr="01.3", **{"smb_io_base": 0xB100, **props})
        self.sci = self.m.watch(self.pm.irq)
        self.setup()

    def setup(self) -> None:
        for reg, size, value in ((0x40, 4, PM | 1), (0x80, 1, 1), (0x90, 4, SMB | 1), (0xD2, 1, 9)):
            self.pm.config_write(reg, value, size)
        self.m.outw(CNT, 1)


@pytest.fixture
def b() -> Board:
    return Board()


def test_identity_and_reset_values() -> None:
    m = TestMachine(isa=False)
    host: I440fxPciHost = m.add(I440fxPciHost)
    pm: Piix4Pm = m.add(Piix4Pm, host.pci, addr="1.3", smb_io_base=0xB100)
    r = pm.config_read
    for reg, value in ((0x00, 0x71138086), (0x04, 0x02800000), (0x08, 0x06800003), (0x2C, 0x11001AF4), (0x3C, 0x100),
                       (0x40, 1), (0x80, 0), (0x90, 0xB101), (0xD0, 0x00090000), (0x5C, 0x10000000),
                       (0x60, 0x60000000)):  # fmt: skip
        assert r(reg, 4) == value, hex(reg)
    assert r(0x58, 4) >> 25 & 1  # firmware takes this as: SMM is set up
    assert pm.describe() == ["class Bridge, addr 00:01.3, pci id 8086:7113 (sub 1af4:1100)"]
    assert pm.qtree_lines()[:6] == [
        'gpio-out "smi-irq" 1', 'gpio-out "" 1', "smb_io_base = 45312 (0xb100)", "disable_s3 = 0 (0x0)",
        "disable_s4 = 0 (0x0)", "s4_val = 2 (0x2)",
    ]  # fmt: skip
    assert m.inl(TMR) == 0xFFFFFFFF  # not enabled yet


def test_base_moves_and_disables(b: Board) -> None:
    b.m.clock.advance(SECOND)
    assert b.m.inl(TMR) == PM_FREQUENCY & 0xFFFFFF
    b.pm.config_write(0x40, 0xB001, 4)
    assert b.m.inl(TMR) == 0xFFFFFFFF and b.m.inl(0xB008) == PM_FREQUENCY & 0xFFFFFF
    b.pm.config_write(0x80, 0, 1)
    assert b.m.inl(0xB008) == 0xFFFFFFFF
    b.pm.config_write(0x40, 0xFFFFFFFF, 4)
    assert b.pm.config_read(0x40, 4) == 0xFFC1


def test_ports_may_land_on_others(b: Board) -> None:
    for base in (0, 0xAFC0, 0xCC0, 0x700, 0xFFC0):
        b.pm.config_write(0x40, base, 4)
        b.m.inl(base + 8)


def test_timer_counts_at_its_frequency(b: Board) -> None:
    for ns in (0, 1, 279, 280, 10**6, SECOND, 5 * SECOND + 7):
        b.m.clock.advance_to(ns)
        assert b.m.inl(TMR) == ns * 3579545 // 10**9 % (1 << 24)
    b.m.clock.advance_to(6 * SECOND)
    value = b.m.inl(TMR)
    assert (b.m.inw(TMR), b.m.inb(TMR + 2), b.m.inw(TMR + 2)) == (value & 0xFFFF, value >> 16, value >> 16)
    b.m.outl(TMR, 0)  # read-only
    assert b.m.inl(TMR) == value


def test_timer_overflow_status_and_sci(b: Board) -> None:
    b.m.clock.advance_to(HALF_WRAP - 1)
    assert b.m.inw(STS) & 1 == 0
    b.m.clock.advance_to(HALF_WRAP)
    assert b.m.inw(STS) & 1 and b.sci.level == 0  # not enabled
    b.m.outw(STS, 1)
    assert b.m.inw(STS) & 1 == 0
    b.m.outw(EN, 1)
    b.m.clock.advance(3 * HALF_WRAP // 2)
    assert b.sci.times == [(-(-(1 << 24) * SECOND // PM_FREQUENCY), 1)]
    b.m.outw(STS, 1)
    assert b.sci.level == 0
    b.m.clock.advance(HALF_WRAP)
    assert b.sci.level == 1


def test_disabled_timer_wakes_nobody(b: Board) -> None:
    assert b.m.clock.pending() == []
    b.m.outw(EN, 1)
    assert len(b.m.clock.pending()) == 1
    b.m.outw(EN, 0)
    assert b.m.clock.pending() == []


def test_power_button(b: Board) -> None:
    b.m.outw(EN, 0x100)
    b.m.powerdown_handlers[0]()
    assert b.m.inw(STS) & 0x100 and b.sci.level == 1
    b.m.outb(STS, 0xFF)  # the other byte
    assert b.sci.level == 1
    b.m.outb(STS + 1, 1)
    assert b.sci.level == 0 and b.m.inw(STS) & 0x100 == 0


def test_sci_needs_sci_en(b: Board) -> None:
    b.m.outw(CNT, 0)
    b.m.outw(EN, 0x100)
    b.pm.power_button()
    assert b.sci.level == 0
    b.m.outw(CNT, 1)
    assert b.sci.level == 1


def test_enable_register_widths(b: Board) -> None:
    b.m.outl(STS, 0xFFFF0000)
    assert b.m.inw(EN) == 0x0521
    b.m.outb(EN, 0)
    assert b.m.inw(EN) == 0x0500
    assert b.m.inl(STS) >> 16 == 0x0500 and b.m.inb(EN + 1) == 5


def test_soft_off(b: Board) -> None:
    b.m.outw(CNT, 0x2001)
    assert b.m.requests == [("shutdown", "guest-shutdown", 0)]
    assert b.m.inw(CNT) == 0x0001  # SLP_EN reads as zero


def test_sleep_types(b: Board) -> None:
    b.m.outw(CNT, 2 << 10)  # no SLP_EN
    assert b.m.requests == []
    b.m.outw(CNT, 0x2000 | 2 << 10)  # to disk: switches off
    assert b.m.requests[0][0] == "shutdown"
    b.m.outw(CNT, 0x2000 | 1 << 10)  # to RAM: wakes at once
    assert len(b.m.requests) == 1 and b.m.inw(STS) & 0x8000
    assert Board(s4_val=3, disable_s4=1).m.requests == []


def test_byte_write_of_sleep_enable(b: Board) -> None:
    b.m.outb(CNT + 1, 0x20)
    assert b.m.requests and b.m.inw(CNT) & 1


def test_acpi_enable_through_the_apm_port(b: Board) -> None:
    b.m.outw(CNT, 0)
    smi = b.m.watch(b.pm.smi_irq)
    b.m.outb(0xB2, 0xF1)
    assert b.m.inw(CNT) == 1 and b.m.inb(0xB2) == 0xF1 and smi.rises == 1
    b.m.outb(0xB2, 0xF0)
    assert b.m.inw(CNT) == 0
    b.m.outb(0xB3, 0x5A)
    assert b.m.inb(0xB3) == 0x5A


def test_general_purpose_events(b: Board) -> None:
    b.m.outw(GPE + 2, 0x0002)
    b.pm.set_gpe(1)
    assert b.sci.level == 1 and b.m.inl(GPE) == 0x00020002
    b.m.outb(GPE, 2)
    assert b.sci.level == 0 and b.m.inl(GPE) == 0x00020000


def test_serial_ports_are_reported() -> None:
    m = TestMachine(isa=True)
    host: I440fxPciHost = m.add(I440fxPciHost)
    m.add("isa-serial", index=0)
    m.add("isa-serial", index=1)
    pm: Piix4Pm = m.add(Piix4Pm, host.pci, addr="1.3")
    assert pm.config_read(0x67, 1) == 0x98


# -- SMBus --------------------------------------------------------------------------------------------------


def transfer(b: Board, protocol: int, address: int, read: bool, command: int = 0) -> int:
    b.m.outb(SMB, 0xFF)
    b.m.outb(SMB + 3, command)
    b.m.outb(SMB + 4, address << 1 | read)
    b.m.outb(SMB + 2, 0x40 | protocol << 2)
    return b.m.inb(SMB)


def test_smbus_without_a_device(b: Board) -> None:
    assert transfer(b, 0, 0x51, True) == 4
    b.m.outb(SMB, 4)
    assert b.m.inb(SMB) == 0


def test_smbus_eeprom(b: Board) -> None:
    eeprom: SmbusEeprom = b.m.add(SmbusEeprom, b.pm.smbus, address=0x50)
    assert eeprom.qtree_lines() == ["address = 80 (0x50)"]
    eeprom.data[:] = bytes(range(256))
    assert transfer(b, 0, 0x50, True) == 2
    assert transfer(b, 2, 0x50, True, 0x42) == 2 and b.m.inb(SMB + 5) == 0x42
    assert transfer(b, 3, 0x50, True, 0xFF) == 2
    assert (b.m.inb(SMB + 5), b.m.inb(SMB + 6)) == (0xFF, 0x00)  # wraps
    assert transfer(b, 1, 0x50, False, 0x10) == 2
    assert transfer(b, 1, 0x50, True) == 2 and b.m.inb(SMB + 5) == 0x10
    assert transfer(b, 1, 0x50, True) == 2 and b.m.inb(SMB + 5) == 0x11
    b.m.outb(SMB + 5, 0xAB)
    assert transfer(b, 2, 0x50, False, 0x20) == 2 and eeprom.data[0x20] == 0xAB
    b.m.reset()
    assert eeprom.data[0x20] == 0xAB  # not volatile


def test_smbus_block(b: Board) -> None:
    eeprom: SmbusEeprom = b.m.add(SmbusEeprom, b.pm.smbus, address=0x50)
    b.m.inb(SMB + 2)  # rewind
    for value in (1, 2, 3):
        b.m.outb(SMB + 7, value)
    b.m.outb(SMB + 5, 3)
    assert transfer(b, 5, 0x50, False, 0x30) == 2
    assert bytes(eeprom.data[0x30:0x34]) == b"\x01\x02\x03\x00"
    assert transfer(b, 5, 0x50, True, 0x30) == 2
    assert [b.m.inb(SMB + 7) for _ in range(4)] == [1, 2, 3, 0] and b.m.inb(SMB + 5) == 32
    b.m.outb(SMB + 5, 0xFF)  # longer than a block can be
    assert transfer(b, 5, 0x50, False, 0x00) == 2


def test_smbus_interrupt(b: Board) -> None:
    b.m.add(SmbusEeprom, b.pm.smbus, address=0x50)
    b.m.outb(SMB + 4, 0xA1)
    b.m.outb(SMB + 2, 0x49)
    assert b.sci.level == 1
    b.m.outb(SMB, 2)
    assert b.sci.level == 0


def test_smbus_base(b: Board) -> None:
    b.pm.config_write(0x90, 0xB100, 4)
    assert b.m.inb(SMB) == 0xFF and b.m.inb(0xB100) == 0
    assert b.pm.smb_io_base == 0xB100
    b.pm.config_write(0xD2, 0, 1)
    assert b.m.inb(0xB100) == 0xFF


# -- the rest -----------------------------------------------------------------------------------------------


def test_reset_and_state(b: Board) -> None:
    b.m.outw(EN, 0x101)
    b.pm.power_button()
    b.m.outb(SMB + 3, 0x77)
    state = b.pm.get_state()
    b.m.reset()
    assert b.sci.level == 0 and b.m.inw(STS) == 0xFFFF  # unmapped again
    b.pm.set_state(state)
    assert b.m.inw(EN) == 0x101 and b.sci.level == 1 and b.m.inb(SMB + 3) == 0x77


def test_any_access_is_survived(b: Board) -> None:
    rng = Random(2)
    for _ in range(5000):
        port = rng.choice((PM, SMB, GPE, 0xB2)) + rng.randrange(64)
        size = rng.choice((1, 2, 4))
        value = rng.getrandbits(8 * size)
        {1: b.m.outb, 2: b.m.outw, 4: b.m.outl}[size](port, value)
        assert 0 <= {1: b.m.inb, 2: b.m.inw, 4: b.m.inl}[size](port) < 1 << 8 * size
