"""Intel 8259A pair: initialization, priorities, end of interrupt, poll, spurious requests, ELCR."""

from __future__ import annotations

import random

import pytest

from pcemu.hw.intc.i8259 import I8259
from pcemu.testing.harness import TestMachine

MASTER, SLAVE = 0x20, 0xA0


class Pair:
    """Both controllers, as a PC has them."""

    def __init__(self, init: bool = True, icw4: int = 0x01, slave_icw4: int = 0x01, icw1: int = 0x11) -> None:
        self.m = TestMachine()
        self.slave = self.m.add(I8259, iobase=SLAVE, elcr_addr=0x4D1, elcr_mask=0xDE)
        self.master = self.m.add(I8259, iobase=MASTER, elcr_addr=0x4D0, elcr_mask=0xF8, master=True)
        self.master.cascade(self.slave)
        self.intr = self.m.watch(self.master.irq)
        if init:
            self.init(MASTER, 0x30, 0x04, icw4, icw1)
            self.init(SLAVE, 0x38, 0x02, slave_icw4, icw1)

    def init(self, base: int, vector: int, icw3: int, icw4: int = 1, icw1: int = 0x11) -> None:
        self.m.outb(base, icw1)
        self.m.outb(base + 1, vector)
        if not icw1 & 2:
            self.m.outb(base + 1, icw3)
        if icw1 & 1:
            self.m.outb(base + 1, icw4)

    def set(self, irq: int, level: int = 1) -> None:
        chip = self.slave if irq >= 8 else self.master
        chip.irq_in[irq & 7].set(level)

    def edge(self, irq: int) -> None:
        self.set(irq, 0)
        self.set(irq, 1)

    @property
    def pending(self) -> int:
        return self.intr.level

    def ack(self) -> int:
        return self.master.intack()

    def mask(self, base: int, value: int) -> None:
        self.m.outb(base + 1, value)

    def ocw2(self, value: int, base: int = MASTER) -> None:
        self.m.outb(base, value)

    def irr(self, base: int = MASTER) -> int:
        self.m.outb(base, 0x0A)
        return self.m.inb(base)

    def isr(self, base: int = MASTER) -> int:
        self.m.outb(base, 0x0B)
        return self.m.inb(base)


def test_power_on() -> None:
    p = Pair(init=False)
    assert p.m.inb(0x21) == 0 and p.m.inb(0x20) == 0
    assert p.pending == 0


def test_ports() -> None:
    p = Pair()
    assert p.m.inb(0x22) == 0xFF and p.m.inb(0xA2) == 0xFF
    p.m.outw(0x20, 0x5A0B)  # a word goes to both ports
    assert p.m.inb(0x21) == 0x5A


@pytest.mark.parametrize("irq", [0, 1, 3, 4, 5, 6, 7])
def test_vector_and_service(irq: int) -> None:
    p = Pair()
    p.set(irq)
    assert p.pending and p.irr() == 1 << irq
    assert p.ack() == 0x30 + irq
    assert not p.pending
    assert p.irr() == 0, "an edge is served once"
    assert p.isr() == 1 << irq
    p.ocw2(0x20)
    assert p.isr() == 0 and not p.pending


@pytest.mark.parametrize("irq", range(8, 16))
def test_slave_vector(irq: int) -> None:
    p = Pair()
    p.set(irq)
    assert p.pending and p.irr() == 0x04 and p.irr(SLAVE) == 1 << (irq - 8)
    assert p.ack() == 0x38 + irq - 8
    assert p.isr() == 0x04 and p.isr(SLAVE) == 1 << (irq - 8)
    assert not p.pending
    p.ocw2(0x20, SLAVE)
    p.ocw2(0x20)
    assert p.isr() == 0 and p.isr(SLAVE) == 0 and not p.pending


def test_vector_low_bits_are_the_level() -> None:
    p = Pair(init=False)
    p.init(MASTER, 0x57, 4)
    p.set(3)
    assert p.ack() == 0x53


def test_fixed_priority_and_nesting() -> None:
    p = Pair()
    p.set(5)
    p.set(3)
    assert p.ack() == 0x33
    assert not p.pending, "lower levels wait"
    p.set(4)
    assert not p.pending
    p.set(1)
    assert p.pending and p.ack() == 0x31
    assert p.isr() == 0x0A
    p.ocw2(0x20)
    assert p.isr() == 0x08 and not p.pending
    p.ocw2(0x20)
    assert p.ack() == 0x34
    p.ocw2(0x20)
    assert p.ack() == 0x35


def test_slave_sits_between_ir1_and_ir3() -> None:
    p = Pair()
    p.set(3)
    p.set(15)
    p.set(8)
    assert p.ack() == 0x38
    p.ocw2(0x20, SLAVE)
    p.ocw2(0x20)
    assert p.ack() == 0x3F
    p.ocw2(0x20, SLAVE)
    p.ocw2(0x20)
    assert p.ack() == 0x33


def test_slave_high_priority_waits_for_master_in_normal_nesting() -> None:
    p = Pair()
    p.set(12)
    assert p.ack() == 0x3C
    p.set(8)
    assert not p.pending, "IR2 is in service"
    p.ocw2(0x20)
    assert p.pending and p.ack() == 0x38


def test_special_fully_nested_mode() -> None:
    p = Pair(icw4=0x11)
    p.set(12)
    assert p.ack() == 0x3C
    p.set(13)
    assert not p.pending, "within the slave the order is kept"
    p.set(8)
    assert p.pending, "a more urgent request of the same slave gets through"
    assert p.ack() == 0x38
    p.set(3)
    assert not p.pending, "a level below the slave's does not"
    # The handler asks the slave whether anything is left before the master's EOI.
    p.ocw2(0x20, SLAVE)
    assert p.isr(SLAVE) == 0x10
    p.ocw2(0x20, SLAVE)
    assert p.isr(SLAVE) == 0
    assert p.pending and p.ack() == 0x3D


def test_mask() -> None:
    p = Pair()
    p.mask(MASTER, 0x08)
    p.set(3)
    assert not p.pending and p.irr() == 0x08, "masked requests are seen in IRR"
    p.mask(MASTER, 0x00)
    assert p.pending and p.ack() == 0x33
    assert p.m.inb(0x21) == 0
    p.mask(SLAVE, 0xFF)
    p.set(9)
    assert not p.pending and p.m.inb(0xA1) == 0xFF


def test_edge_needs_a_new_edge() -> None:
    p = Pair()
    p.set(4)
    assert p.ack() == 0x34
    p.ocw2(0x20)
    assert not p.pending, "still high: not another request"
    p.set(4, 0)
    p.set(4)
    assert p.pending


def test_edge_while_in_service_is_kept() -> None:
    p = Pair()
    p.set(4)
    p.ack()
    p.edge(4)
    assert not p.pending
    p.ocw2(0x20)
    assert p.pending and p.ack() == 0x34


def test_withdrawn_request_gives_default_ir7() -> None:
    """The input must stay high until the acknowledge, in both modes."""
    p = Pair()
    p.set(4)
    p.m.clock.advance(1)
    p.set(4, 0)
    assert not p.pending and p.irr() == 0
    assert p.ack() == 0x37 and p.isr() == 0
    p.set(7)
    assert p.ack() == 0x37 and p.isr() == 0x80, "a real one is in service"


def test_withdrawn_slave_request_gives_irq15() -> None:
    p = Pair()
    p.set(12)
    p.m.clock.advance(1)
    p.slave.irq[0].disconnect()  # the wire's fall comes too late for the master
    p.master.irq_in[2].set(1)
    p.set(12, 0)
    assert p.ack() == 0x3F
    assert p.isr() == 0x04 and p.isr(SLAVE) == 0, "the master needs an EOI, the slave does not"


def test_pulse_of_no_width_is_served_once() -> None:
    """What `pulse()` on a wire means: a pulse wide enough for the acknowledge."""
    p = Pair()
    p.set(0)
    p.set(0, 0)
    assert p.pending and p.irr() == 0x01
    p.m.clock.advance(1000)
    assert p.ack() == 0x30 and p.irr() == 0 and p.isr() == 0x01
    p.ocw2(0x20)
    assert not p.pending
    p.m.outb(0x4D0, 0x08)
    p.set(3)
    p.set(3, 0)
    assert not p.pending, "a level is a level"
    p.master.irq_in[4].pulse()
    p.m.outb(MASTER, 0x11)
    assert not p.pending


def test_level_by_elcr() -> None:
    p = Pair()
    p.m.outb(0x4D0, 0xFF)
    p.m.outb(0x4D1, 0xFF)
    assert p.m.inb(0x4D0) == 0xF8 and p.m.inb(0x4D1) == 0xDE, "IRQ 0-2, 8 and 13 are always edges"
    p.set(10)
    assert p.ack() == 0x3A
    p.ocw2(0x20, SLAVE)
    p.ocw2(0x20)
    assert p.pending and p.ack() == 0x3A, "requests as long as the line is high"
    p.set(10, 0)
    p.ocw2(0x20, SLAVE)
    p.ocw2(0x20)
    assert not p.pending


def test_elcr_follows_a_line_that_is_high() -> None:
    p = Pair()
    p.set(11)
    p.ack()
    p.ocw2(0x20, SLAVE)
    p.ocw2(0x20)
    assert not p.pending
    p.m.outb(0x4D1, 0x08)
    assert p.pending


def test_ltim_makes_all_inputs_level_triggered() -> None:
    p = Pair(icw1=0x19)
    p.set(0)
    assert p.ack() == 0x30
    p.ocw2(0x20)
    assert p.pending
    p.set(0, 0)
    assert not p.pending


def test_icw1_clears() -> None:
    p = Pair()
    p.mask(MASTER, 0xAA)
    p.set(0)
    p.set(4)
    p.ack()
    p.ocw2(0xC3)  # rotate
    p.m.outb(MASTER, 0x68)  # special mask mode
    p.m.outb(MASTER, 0x0B)
    p.m.outb(MASTER, 0x11)
    assert p.m.inb(0x20) == 0, "IRR is selected, and edges are forgotten although the line is high"
    p.m.outb(0x21, 0x30)
    p.m.outb(0x21, 0x04)
    p.m.outb(0x21, 0x01)
    assert p.m.inb(0x21) == 0, "nothing is masked"
    assert not p.pending and p.isr() == 0
    assert p.master.highest == 0 and not p.master.special_mask
    p.edge(0)
    assert p.ack() == 0x30


@pytest.mark.parametrize(("icw1", "words"), [(0x11, 3), (0x10, 2), (0x13, 2), (0x12, 1)])
def test_initialization_lengths(icw1: int, words: int) -> None:
    p = Pair(init=False)
    p.m.outb(MASTER, icw1)
    for word in (0x40, 0x04, 0x01)[:1] + (0x04, 0x01)[: words - 1]:
        p.m.outb(0x21, word)
    p.m.outb(0x21, 0x5A)
    assert p.m.inb(0x21) == 0x5A, "after the last ICW the odd port is the mask again"


def test_single_mode_serves_ir2_itself() -> None:
    p = Pair(init=False)
    p.m.outb(MASTER, 0x13)
    p.m.outb(0x21, 0x40)
    p.m.outb(0x21, 0x01)
    p.master.irq_in[2].set(1)
    assert p.ack() == 0x42


def test_wrong_slave_identity_leaves_the_bus_floating() -> None:
    p = Pair(init=False)
    p.init(MASTER, 0x30, 0x04)
    p.init(SLAVE, 0x38, 0x03)
    p.set(9)
    assert p.ack() == 0xFF


def test_restarted_initialization() -> None:
    p = Pair()
    p.m.outb(MASTER, 0x11)
    p.m.outb(0x21, 0x50)
    p.init(MASTER, 0x60, 0x04)
    p.set(1)
    assert p.ack() == 0x61


def test_specific_eoi() -> None:
    p = Pair()
    p.set(6)
    p.ack()
    p.set(1)
    p.ack()
    p.ocw2(0x66)
    assert p.isr() == 0x02
    p.ocw2(0x60)
    assert p.isr() == 0x02
    p.ocw2(0x61)
    assert p.isr() == 0


def test_eoi_with_nothing_in_service() -> None:
    p = Pair()
    p.ocw2(0x20)
    p.ocw2(0xA0)
    assert p.isr() == 0 and p.master.highest == 0


def test_rotate_on_nonspecific_eoi() -> None:
    p = Pair()
    p.set(4)
    p.ack()
    p.ocw2(0xA0)
    # IR4 is the lowest now: order 5 6 7 0 1 2 3 4.
    p.edge(4)
    p.set(3)
    p.set(6)
    assert [p.ack(), (p.ocw2(0x20), p.ack())[1], (p.ocw2(0x20), p.ack())[1]] == [0x36, 0x33, 0x34]


def test_rotate_on_specific_eoi() -> None:
    p = Pair()
    p.set(5)
    p.ack()
    p.ocw2(0xE5)
    assert p.isr() == 0 and p.master.highest == 6


@pytest.mark.parametrize("lowest", range(8))
def test_set_priority(lowest: int) -> None:
    p = Pair(init=False)
    p.init(MASTER, 0x30, 0, icw1=0x13)
    p.ocw2(0xC0 | lowest)
    for irq in range(8):
        p.set(irq)
    order = []
    for _ in range(8):
        order.append(p.ack() & 7)
        p.ocw2(0x20)
    assert order == [(lowest + 1 + i) & 7 for i in range(8)]


def test_ocw2_no_operation() -> None:
    p = Pair()
    p.set(2 + 1)
    p.ack()
    p.ocw2(0x43)
    assert p.isr() == 0x08 and p.master.highest == 0


def test_automatic_eoi() -> None:
    p = Pair(icw4=0x03)
    p.set(3)
    p.set(5)
    assert p.ack() == 0x33
    assert p.isr() == 0 and p.pending
    assert p.ack() == 0x35
    assert not p.pending


def test_rotate_in_automatic_eoi() -> None:
    p = Pair(icw4=0x03)
    p.ocw2(0x80)
    for irq in (3, 4, 5):
        p.set(irq)
    assert p.ack() == 0x33
    assert p.master.highest == 4
    p.edge(3)
    assert [p.ack(), p.ack(), p.ack()] == [0x34, 0x35, 0x33]
    p.ocw2(0x00)
    p.edge(4)
    p.ack()
    assert p.master.highest == 4, "rotation was switched off"


def test_special_mask_mode() -> None:
    p = Pair()
    p.set(1)
    p.ack()
    p.set(6)
    assert not p.pending
    p.mask(MASTER, 0x02)
    assert not p.pending
    p.m.outb(MASTER, 0x68)
    assert p.pending, "a masked level in service lets lower ones through"
    assert p.ack() == 0x36
    p.ocw2(0x20)
    assert p.isr() == 0x02, "a nonspecific EOI spares masked levels"
    p.ocw2(0x20)
    assert p.isr() == 0x02
    p.m.outb(MASTER, 0x48)
    p.ocw2(0x20)
    assert p.isr() == 0
    p.m.outb(MASTER, 0x28)  # ESMM is 0: SMM has no meaning
    assert not p.master.special_mask


def test_poll() -> None:
    p = Pair()
    p.m.outb(MASTER, 0x0C)
    assert p.m.inb(0x20) == 0, "no request"
    p.set(5)
    p.m.outb(MASTER, 0x0C)
    assert p.m.inb(0x20) == 0x85
    assert p.isr() == 0x20 and not p.pending
    assert p.m.inb(0x20) == 0x20, "only one read"
    p.ocw2(0x20)
    p.set(9)
    p.m.outb(SLAVE, 0x0C)
    assert p.m.inb(0xA1) == 0x81, "at either address"
    assert p.isr(SLAVE) == 0x02 and not p.pending


def test_poll_goes_before_register_read() -> None:
    p = Pair()
    p.set(4)
    p.m.outb(MASTER, 0x0F)
    assert p.m.inb(0x20) == 0x84
    assert p.m.inb(0x20) == 0x10, "ISR, as the same word selected"


def test_register_selection_is_remembered() -> None:
    p = Pair()
    p.set(4)
    p.ack()
    p.set(6)
    p.m.outb(MASTER, 0x0B)
    assert [p.m.inb(0x20), p.m.inb(0x20)] == [0x10, 0x10]
    p.m.outb(MASTER, 0x08)
    assert p.m.inb(0x20) == 0x10
    p.m.outb(MASTER, 0x0A)
    assert p.m.inb(0x20) == 0x40


def test_int_falls_between_acknowledges() -> None:
    p = Pair(icw4=0x03, slave_icw4=0x03)
    p.set(8)
    p.set(9)
    p.intr.clear()
    assert p.ack() == 0x38
    assert p.intr.edges[-2:] == [0, 1]
    assert p.ack() == 0x39
    assert not p.pending


def test_reset_keeps_wires_that_are_high() -> None:
    p = Pair()
    p.set(10)
    p.m.reset()
    assert not p.pending and p.m.inb(0xA1) == 0 and p.m.inb(0x4D1) == 0
    p.init(MASTER, 0x30, 0x04)
    p.init(SLAVE, 0x38, 0x02)
    p.m.outb(0x4D1, 0x04)
    assert p.ack() == 0x3A


def test_info() -> None:
    p = Pair()
    p.mask(MASTER, 0xB8)
    p.set(4)
    p.m.outb(MASTER, 0x0B)
    p.m.outb(0x4D0, 0x20)
    assert p.master.info_pic() == "pic0: irr=10 imr=b8 isr=00 hprio=0 irq_base=30 rr_sel=1 elcr=20 fnm=0"
    assert p.slave.info_pic().startswith("pic1: irr=00 imr=00 isr=00 hprio=0 irq_base=38")
    assert p.master.irq_count[4] == 1


def test_any_write_is_survived() -> None:
    """Random pokes: the state stays in range, INT is what the registers say."""
    rng = random.Random(8259)
    p = Pair()
    ports = (0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1)
    for _ in range(20000):
        action = rng.randrange(4)
        if action == 0:
            p.m.outb(rng.choice(ports), rng.randrange(256))
        elif action == 1:
            assert 0 <= p.m.inb(rng.choice(ports)) <= 255
        elif action == 2:
            irq = rng.choice((0, 1, *range(3, 16)))
            p.set(irq, rng.randrange(2))
        elif p.pending or not rng.randrange(8):
            assert 0 <= p.ack() <= 255
        assert p.pending == (p.master.pending() >= 0)
        assert p.slave.irq.level == (p.slave.pending() >= 0)
    p.master.get_state()
    p.slave.get_state()


def test_before_initialization_no_interrupt_is_asked_for() -> None:
    """After power-on the counter of IRQ 0 runs, and a guest without a BIOS may set IF long before it knows of the 8259."""
    p = Pair(init=False)
    for irq in (0, 5, 12):
        p.set(irq)
        assert not p.pending
    p.m.outb(0x21, 0)                                   # OCW1 is no initialization
    assert not p.pending
    p.init(0x20, 0x30, 4)
    p.set(5, 0)
    p.set(5)
    assert p.pending and p.ack() == 0x35
