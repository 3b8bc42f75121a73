"""8042 keyboard controller: buffer, status, command byte, translation, output port, interrupts."""

from __future__ import annotations

import random

import pytest

from pcemu.hw.input.pckbd import I8042
from pcemu.hw.input.scancodes import CODES, TRANSLATION
from pcemu.testing.harness import TestMachine

KBD_INT, AUX_INT, SYS, KBD_OFF, AUX_OFF, TRANSLATE = 0x01, 0x02, 0x04, 0x10, 0x20, 0x40


class Kbc:
    def __init__(self, mode: int | None = None, **props: object) -> None:
        self.m = TestMachine()
        self.dev = self.m.add(I8042, **props)
        self.kbd, self.mouse = self.dev.kbd, self.dev.mouse
        self.irq1, self.irq12 = self.m.isa_irq[1], self.m.isa_irq[12]
        self.a20 = self.m.watch(self.dev.a20)
        if mode is not None:
            self.mode(mode)

    def cmd(self, value: int) -> None:
        self.m.outb(0x64, value)

    def data(self, value: int) -> None:
        self.m.outb(0x60, value)

    def mode(self, value: int) -> None:
        self.cmd(0x60)
        self.data(value)

    def status(self) -> int:
        return self.m.inb(0x64)

    def read(self) -> int:
        assert self.status() & 1, "nothing in the buffer"
        return self.m.inb(0x60)

    def drain(self) -> list[int]:
        out = []
        while self.status() & 1:
            out.append(self.m.inb(0x60))
        return out

    def ask(self, command: int) -> int:
        self.cmd(command)
        return self.read()


@pytest.fixture
def kbc() -> Kbc:
    return Kbc()


def test_power_on(kbc: Kbc) -> None:
    assert kbc.status() == 0x18
    assert kbc.ask(0x20) == KBD_INT | AUX_INT
    assert kbc.ask(0xD0) & 0xCF == 0xCF
    assert kbc.a20.level == 1
    assert kbc.m.inb(0x61) == 0xFF and kbc.m.inb(0x65) == 0xFF


def test_status_bits(kbc: Kbc) -> None:
    kbc.data(0xEE)
    assert kbc.status() & 0x08 == 0, "the last write was data"
    assert kbc.read() == 0xEE
    kbc.cmd(0xAA)
    assert kbc.status() == 0x1D, "buffer full, system flag, command, not locked"
    assert kbc.m.inb(0x60) == 0x55
    assert kbc.status() == 0x1C
    assert kbc.m.inb(0x60) == 0x55, "the buffer keeps its last byte"


def test_command_byte_sets_the_system_flag(kbc: Kbc) -> None:
    kbc.mode(SYS)
    assert kbc.status() & 4
    kbc.mode(0)
    assert not kbc.status() & 4


@pytest.mark.parametrize("index", range(32))
def test_ram(kbc: Kbc, index: int) -> None:
    kbc.cmd(0x60 | index)
    kbc.data(0x50 | index & 3)
    assert kbc.ask(0x20 | index) == 0x50 | index & 3


@pytest.mark.parametrize(
    ("command", "answer"), [(0xA4, 0xF1), (0xA9, 0x00), (0xAA, 0x55), (0xAB, 0x00), (0xC0, 0x80), (0xE0, 0x03)]
)
def test_answers(kbc: Kbc, command: int, answer: int) -> None:
    assert kbc.ask(command) == answer
    assert not kbc.status() & 0x21


@pytest.mark.parametrize(("off", "on", "bit"), [(0xAD, 0xAE, KBD_OFF), (0xA7, 0xA8, AUX_OFF)])
def test_interfaces(kbc: Kbc, off: int, on: int, bit: int) -> None:
    kbc.cmd(off)
    assert kbc.ask(0x20) & bit
    assert kbc.ask(0xE0) == (2 if bit == KBD_OFF else 1), "its clock line is held"
    kbc.cmd(on)
    assert not kbc.ask(0x20) & bit


def test_disabled_keyboard_waits(kbc: Kbc) -> None:
    kbc.cmd(0xAD)
    kbc.kbd.key_event("a", True)
    assert not kbc.status() & 1
    kbc.cmd(0xAE)
    assert kbc.read() == 0x1C


def test_sending_to_a_device_enables_it(kbc: Kbc) -> None:
    kbc.cmd(0xAD)
    kbc.data(0xEE)
    assert kbc.read() == 0xEE and not kbc.ask(0x20) & KBD_OFF
    kbc.cmd(0xA7)
    kbc.cmd(0xD4)
    kbc.data(0xF5)
    assert kbc.read() == 0xFA and not kbc.ask(0x20) & AUX_OFF


def test_irq1(kbc: Kbc) -> None:
    kbc.mode(KBD_INT)
    kbc.kbd.key_event("a", True)
    kbc.kbd.key_event("a", False)
    assert kbc.irq1.edges == [1] and kbc.irq12.edges == []
    assert kbc.read() == 0x1C
    assert kbc.irq1.edges == [1, 0, 1], "an edge for each byte"
    assert kbc.drain() == [0xF0, 0x1C]
    assert kbc.irq1.edges == [1, 0, 1, 0, 1, 0]


def test_answers_interrupt_too(kbc: Kbc) -> None:
    kbc.mode(KBD_INT)
    kbc.cmd(0x20)
    assert kbc.irq1.level == 1
    kbc.read()
    assert kbc.irq1.level == 0


def test_irq_enables(kbc: Kbc) -> None:
    kbc.mode(0)
    kbc.kbd.key_event("a", True)
    assert kbc.irq1.level == 0 and kbc.status() & 1
    kbc.mode(KBD_INT)
    assert kbc.irq1.level == 1
    kbc.mode(AUX_INT)
    assert kbc.irq1.level == 0


def test_irq12(kbc: Kbc) -> None:
    kbc.mode(AUX_INT)
    kbc.cmd(0xD4)
    kbc.data(0xF4)
    assert kbc.irq12.level == 1 and kbc.status() & 0x21 == 0x21
    assert kbc.read() == 0xFA
    assert kbc.irq12.level == 0 and kbc.irq1.edges == []
    kbc.mouse.mouse_event(dx=1)
    assert kbc.irq12.level == 1
    assert kbc.drain() == [0x08, 0x01, 0x00]


def test_other_interrupt_lines() -> None:
    kbc = Kbc(kbd_irq=9, mouse_irq=10)
    kbc.kbd.key_event("a", True)
    assert kbc.m.isa_irq[9].level == 1 and kbc.irq1.level == 0


def test_order_of_sources(kbc: Kbc) -> None:
    kbc.cmd(0xD4)
    kbc.data(0xF4)
    kbc.drain()
    kbc.mouse.mouse_event(buttons=1)
    kbc.kbd.key_event("a", True)
    kbc.kbd.key_event("b", True)
    assert kbc.read() == 0x09, "in the buffer already"
    kbc.cmd(0xAA)
    assert kbc.drain() == [0x1C, 0x55, 0x32, 0x00, 0x00], "in the buffer; answer; keyboard; mouse"


def test_translation(kbc: Kbc) -> None:
    kbc.mode(TRANSLATE)
    for key in ("a", "f7", "right", "ctrl_r"):
        kbc.kbd.key_event(key, True)
        kbc.kbd.key_event(key, False)
    assert kbc.drain() == [0x1E, 0x9E, 0x41, 0xC1, 0xE0, 0x4D, 0xE0, 0xCD, 0xE0, 0x1D, 0xE0, 0x9D]
    kbc.kbd.key_event("pause", True)
    assert kbc.drain() == [0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5]


def test_translation_of_every_key() -> None:
    """Set 2 through the controller is set 1 (but for keys that came after translation was defined)."""
    for key, code in CODES[2].items():
        if code & 0xFF > 0x84:
            continue
        expected = CODES[1][key]
        assert TRANSLATION[code & 0xFF] == expected & 0xFF, key
        assert code >> 8 == expected >> 8


def test_translated_answers(kbc: Kbc) -> None:
    """The controller translates whatever the keyboard says."""
    kbc.mode(TRANSLATE)
    kbc.data(0xF2)
    assert kbc.drain() == [0xFA, 0xAB, 0x41]
    kbc.data(0xF0)
    kbc.data(0x00)
    assert kbc.drain()[-1] == 0x41, "set 2, as the kernel's driver knows it"
    kbc.cmd(0xD2)
    kbc.data(0x1C)
    assert kbc.drain() == [0x1C], "but not what the host puts there"


def test_break_prefix_does_not_fill_the_buffer(kbc: Kbc) -> None:
    kbc.mode(TRANSLATE | KBD_INT)
    kbc.kbd.key_event("a", True)
    kbc.drain()
    kbc.irq1.clear()
    kbc.kbd.key_event("a", False)
    assert kbc.irq1.edges == [1], "0xf0 alone is nothing"
    assert kbc.drain() == [0x9E]


def test_output_port(kbc: Kbc) -> None:
    kbc.cmd(0xD1)
    kbc.data(0xDD)
    assert kbc.a20.level == 0
    assert kbc.ask(0xD0) & 0x0F == 0x0D
    kbc.cmd(0xD1)
    kbc.data(0xDF)
    assert kbc.a20.level == 1
    assert kbc.m.requests == []
    kbc.cmd(0xD1)
    kbc.data(0xDE)
    assert kbc.m.requests == [("reset", "guest-reset", 0)]


def test_output_port_shows_full_buffers(kbc: Kbc) -> None:
    kbc.kbd.key_event("a", True)
    kbc.cmd(0xD0)
    kbc.read()
    assert kbc.read() & 0x30 == 0x10
    kbc.cmd(0xD3)
    kbc.data(0x42)
    kbc.cmd(0xD0)
    kbc.read()
    assert kbc.read() & 0x30 == 0x20


def test_a20_short_cuts(kbc: Kbc) -> None:
    kbc.cmd(0xDD)
    assert kbc.a20.level == 0 and not kbc.ask(0xD0) & 2
    kbc.cmd(0xDF)
    assert kbc.a20.level == 1 and kbc.ask(0xD0) & 2


@pytest.mark.parametrize("command", range(0xF0, 0x100))
def test_pulse(kbc: Kbc, command: int) -> None:
    kbc.cmd(command)
    assert len(kbc.m.requests) == (0 if command & 1 else 1)


def test_write_buffers(kbc: Kbc) -> None:
    kbc.cmd(0xD2)
    kbc.data(0x12)
    assert not kbc.status() & 0x20 and kbc.irq1.level == 1
    assert kbc.read() == 0x12
    kbc.cmd(0xD3)
    kbc.data(0x34)
    assert kbc.status() & 0x20 and kbc.irq12.level == 1
    assert kbc.read() == 0x34


def test_new_command_forgets_the_parameter(kbc: Kbc) -> None:
    kbc.cmd(0xD1)
    kbc.cmd(0x20)
    kbc.data(0xEE)
    assert kbc.drain() == [0x03, 0xEE], "it went to the keyboard"
    assert kbc.m.requests == []


def test_poll_input_port(kbc: Kbc) -> None:
    kbc.cmd(0xC2)
    assert kbc.status() >> 4 == 0x08
    kbc.cmd(0xC1)
    assert kbc.status() >> 4 == 0x00
    kbc.cmd(0xAE)
    assert kbc.status() >> 4 == 0x01


def test_password_is_swallowed(kbc: Kbc) -> None:
    kbc.cmd(0xA5)
    for value in (0x1C, 0xF4, 0x00):
        kbc.data(value)
    kbc.cmd(0xA6)
    assert kbc.drain() == []
    kbc.data(0xEE)
    assert kbc.drain() == [0xEE]


def test_unknown_command(kbc: Kbc) -> None:
    kbc.cmd(0x01)
    assert kbc.drain() == [] and len(kbc.m.log.messages) == 1


def test_throttle() -> None:
    kbc = Kbc(kbd_throttle=True)
    for key in "abc":
        kbc.kbd.key_event(key, True)
    assert kbc.drain() == [0x1C]
    kbc.m.clock.advance(999_999)
    assert kbc.drain() == []
    kbc.m.clock.advance(1)
    assert kbc.drain() == [0x32]
    kbc.cmd(0x20)
    assert kbc.drain() == [0x03], "answers do not come over the cable"


def test_linux_detection_sequence(kbc: Kbc) -> None:
    """What the kernel's driver does at start: controller test, loop of the mouse port, its interrupt, probe."""
    assert kbc.ask(0x20) == 0x03
    kbc.mode(0x30 | KBD_INT)
    assert kbc.ask(0xAA) == 0x55
    kbc.cmd(0xD3)
    kbc.data(0x5A)
    assert kbc.status() & 0x20 and kbc.read() == 0x5A
    kbc.cmd(0xA7)
    assert kbc.ask(0x20) & AUX_OFF
    kbc.cmd(0xA8)
    assert not kbc.ask(0x20) & AUX_OFF
    kbc.mode(KBD_INT | AUX_INT | TRANSLATE)
    for value, answer in ((0xF2, [0xFA, 0xAB, 0x41]), (0xED, [0xFA]), (0x00, [0xFA]), (0xFF, [0xFA, 0xAA]), (0xF4, [0xFA])):
        kbc.data(value)
        assert kbc.drain() == answer
    for value, answer in ((0xFF, [0xFA, 0xAA, 0x00]), (0xF2, [0xFA, 0x00]), (0xF4, [0xFA])):
        kbc.cmd(0xD4)
        kbc.data(value)
        assert kbc.drain() == answer


def test_reset(kbc: Kbc) -> None:
    kbc.mode(TRANSLATE | SYS)
    kbc.kbd.key_event("a", True)
    kbc.cmd(0xDD)
    kbc.m.reset()
    assert kbc.status() == 0x18 and kbc.irq1.level == 0 and kbc.a20.level == 1
    assert kbc.ask(0x20) == 0x03
    assert not kbc.kbd.has_data()


def test_qtree() -> None:
    kbc = Kbc()
    assert kbc.dev.qtree_lines() == [
        'gpio-in "ps2-mouse-input-irq" 1', 'gpio-in "ps2-kbd-input-irq" 1', 'gpio-out "" 2', 'gpio-out "a20" 1',
        "extended-state = true", "kbd-throttle = false", "kbd-irq = 1 (0x1)", "mouse-irq = 12 (0xc)",
    ]  # fmt: skip
    assert [d.type_name for d in kbc.m.main_bus.children] == ["ps2-kbd", "ps2-mouse"]


@pytest.mark.parametrize("throttle", [False, True])
def test_any_write_is_survived(throttle: bool) -> None:
    rng = random.Random(8042)
    kbc = Kbc(kbd_throttle=throttle)
    keys = sorted(CODES[2])
    for _ in range(20000):
        action = rng.randrange(6)
        if action < 2:
            kbc.m.outb(rng.choice((0x60, 0x64)), rng.randrange(256))
        elif action == 2:
            assert 0 <= kbc.m.inb(rng.choice((0x60, 0x64))) <= 255
        elif action == 3:
            kbc.kbd.key_event(rng.choice(keys), bool(rng.randrange(2)))
        elif action == 4:
            kbc.mouse.mouse_event(*(rng.randrange(-400, 400) for _ in range(3)), rng.randrange(32))
        else:
            kbc.m.clock.advance(rng.randrange(500_000))
        status, mode = kbc.dev.status, kbc.dev.mode
        assert kbc.irq1.level == (status & 0x21 == 0x01 and mode & KBD_INT)
        assert kbc.irq12.level == (status & 0x21 == 0x21 and bool(mode & AUX_INT))
        assert len(kbc.kbd.events) <= 17 and len(kbc.mouse.events) <= 4 and len(kbc.dev.answers) <= 1
        if not status & 1 and not mode & KBD_OFF and not throttle:
            assert not kbc.kbd.has_data(), "a byte is stuck"
    for device in (kbc.dev, kbc.kbd, kbc.mouse):
        device.get_state()
