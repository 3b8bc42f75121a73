"""Local APIC (SDM volume 3, chapter 11): registers, priorities, messages, timer, LINT pins, x2APIC."""

from __future__ import annotations

import pytest

from pcemu.hw.intc.apic import LocalApic
from pcemu.hw.intc.apic_info import info_lapic
from pcemu.hw.intc.apic_msg import EoiTarget
from pcemu.qom import Device
from pcemu.testing.harness import TestMachine

BASE = 0xFEE00000
ID, VER, TPR, APR, PPR, EOI, LDR, DFR, SVR = 0x20, 0x30, 0x80, 0x90, 0xA0, 0xB0, 0xD0, 0xE0, 0xF0
ISR, TMR, IRR, ESR, ICR, ICR2 = 0x100, 0x180, 0x200, 0x280, 0x300, 0x310
LVTT, LVTTHM, LVTPC, LINT0, LINT1, LVTERR, TMICT, TMCCT, DCR = (
    0x320, 0x330, 0x340, 0x350, 0x360, 0x370, 0x380, 0x390, 0x3E0)  # fmt: skip
MASKED = 0x10000


class Board:
    def __init__(self, enable: bool = True) -> None:
        self.m = TestMachine()
        self.cpu = self.m.cpu
        self.apic: LocalApic = self.m.add(LocalApic)
        self.apic.attach(self.cpu)
        self.apic.map()
        if enable:
            self.w(SVR, 0x1FF)

    def r(self, reg: int) -> int:
        return self.m.mmio_read(BASE + reg, 4)

    def w(self, reg: int, value: int) -> None:
        self.m.mmio_write(BASE + reg, 4, value)

    def ipi(self, vector: int) -> None:
        self.w(ICR, 0x40000 | vector)

    def vectors(self, reg: int) -> list[int]:
        return [i for i in range(256) if self.r(reg + (i >> 5 << 4)) >> (i & 31) & 1]


@pytest.fixture
def b() -> Board:
    return Board()


def test_reset_values() -> None:
    b = Board(enable=False)
    assert b.r(ID) == 0 and b.r(VER) == 0x50014
    assert b.r(SVR) == 0xFF and b.r(DFR) == 0xFFFFFFFF and b.r(LDR) == 0
    for reg in (LVTT, LVTTHM, LVTPC, LINT1, LVTERR):
        assert b.r(reg) == MASKED
    assert b.r(LINT0) == 0x700  # the bootstrap CPU comes up with the 8259 passed through
    for reg in (TPR, APR, PPR, ESR, ICR, ICR2, TMICT, TMCCT, DCR):
        assert b.r(reg) == 0
    assert b.cpu.apicbase == 0xFEE00900


def test_writable_bits(b: Board) -> None:
    for reg, expect in ((LVTT, 0x700FF), (LVTTHM, 0x107FF), (LVTPC, 0x107FF), (LINT0, 0x1A7FF),
                        (LINT1, 0x1A7FF), (LVTERR, 0x100FF), (TPR, 0xFF), (LDR, 0xFF000000), (DFR, 0xFFFFFFFF),
                        (ICR2, 0xFF000000), (DCR, 0xB), (ID, 0xFF000000), (VER, 0x50014)):  # fmt: skip
        b.w(reg, 0xFFFFFFFF)
        assert b.r(reg) == expect, hex(reg)
    b.w(DFR, 0)
    assert b.r(DFR) == 0x0FFFFFFF


def test_self_ipi_intack_eoi(b: Board) -> None:
    b.ipi(0x41)
    assert b.cpu.intr == 1 and b.vectors(IRR) == [0x41]
    assert b.cpu.intack() == 0x41
    assert b.cpu.intr == 0
    assert b.vectors(ISR) == [0x41] and b.vectors(IRR) == []
    assert b.r(PPR) == 0x40
    b.w(EOI, 0)
    assert b.vectors(ISR) == [] and b.r(PPR) == 0


def test_priority_classes_nest(b: Board) -> None:
    b.ipi(0x45)
    assert b.cpu.intack() == 0x45
    b.ipi(0x4F)  # the same class: waits
    assert b.cpu.intr == 0
    b.ipi(0x51)
    assert b.cpu.intr == 1 and b.cpu.intack() == 0x51
    assert b.vectors(ISR) == [0x45, 0x51] and b.r(PPR) == 0x50
    b.w(EOI, 0)
    assert b.cpu.intr == 0 and b.r(PPR) == 0x40
    b.w(EOI, 0)
    assert b.cpu.intr == 1 and b.cpu.intack() == 0x4F


def test_tpr_holds_back(b: Board) -> None:
    b.w(TPR, 0x40)
    b.ipi(0x4F)
    assert b.cpu.intr == 0
    b.w(TPR, 0x3F)
    assert b.cpu.intr == 1 and b.r(PPR) == 0x3F
    b.w(TPR, 0x50)
    assert b.cpu.intr == 0
    # The CPU had started to take it before the TPR went up: it gets the spurious vector.
    assert b.cpu.intack() == 0xFF and b.vectors(ISR) == []


def test_cr8_is_the_tpr(b: Board) -> None:
    assert b.cpu.cr8_hook(5) == 5
    assert b.r(TPR) == 0x50
    b.w(TPR, 0x7A)
    assert b.cpu.cr8_hook(None) == 7


def test_eoi_without_service_is_harmless(b: Board) -> None:
    b.w(EOI, 0)
    assert b.vectors(ISR) == []


def test_software_disable_masks_lvts_and_refuses_interrupts(b: Board) -> None:
    b.w(LVTT, 0x30)
    b.w(SVR, 0xFF)
    assert b.r(LVTT) == MASKED | 0x30
    b.w(LVTT, 0x30)
    assert b.r(LVTT) == MASKED | 0x30
    b.ipi(0x55)
    assert b.vectors(IRR) == [] and b.cpu.intr == 0


def test_extint_passes_the_8259_through() -> None:
    b = Board(enable=False)
    b.apic.extint_ack = lambda: 0x08
    b.apic.irq_in[0].set(1)
    assert b.cpu.intr == 1
    assert b.cpu.intack() == 0x08
    assert b.cpu.intr == 1  # the 8259 still asks
    b.apic.irq_in[0].set(0)
    assert b.cpu.intr == 0
    b.w(SVR, 0x1FF)
    b.w(LINT0, 0x700 | MASKED)
    b.apic.irq_in[0].set(1)
    assert b.cpu.intr == 0
    b.w(LINT0, 0x700)
    assert b.cpu.intr == 1


def test_local_interrupts_go_before_the_8259(b: Board) -> None:
    b.w(LINT0, 0x700)
    b.apic.extint_ack = lambda: 0x20
    b.apic.irq_in[0].set(1)
    b.ipi(0x31)
    assert b.cpu.intack() == 0x31
    assert b.cpu.intr == 1 and b.cpu.intack() == 0x20  # ExtINT knows no priority


def test_lint0_fixed_edge_and_level(b: Board) -> None:
    b.w(LINT0, 0x61)
    pin = b.apic.irq_in[0]
    pin.set(1)
    assert b.cpu.intack() == 0x61
    b.w(EOI, 0)
    assert b.cpu.intr == 0
    pin.set(0)
    b.w(LINT0, 0x8062)
    pin.set(1)
    assert b.vectors(IRR) == [0x62] and b.vectors(TMR) == [0x62] and b.r(LINT0) == 0xC062
    assert b.cpu.intack() == 0x62
    b.w(EOI, 0)
    assert b.cpu.intr == 1  # still asserted
    assert b.cpu.intack() == 0x62
    pin.set(0)
    b.w(EOI, 0)
    assert b.cpu.intr == 0 and b.r(LINT0) == 0x8062


def test_lint1_is_nmi(b: Board) -> None:
    b.apic.irq_in[1].pulse()
    assert b.cpu.nmis == 0
    b.w(LINT1, 0x8400)
    b.apic.irq_in[1].pulse()
    assert b.cpu.nmis == 1


def test_bios_setup_matches_a_pc_bios() -> None:
    b = Board(enable=False)
    b.apic.bios_setup()
    assert (b.r(SVR), b.r(LINT0), b.r(LINT1)) == (0x1FF, 0x8700, 0x8400)


# -- messages -----------------------------------------------------------------------------------------------


def test_physical_and_broadcast_destinations(b: Board) -> None:
    for dest, taken in ((0, True), (1, False), (0xFF, True)):
        b.w(ICR2, dest << 24)
        b.w(ICR, 0x33)
        assert b.vectors(IRR) == ([0x33] if taken else []), dest
        if taken:
            b.cpu.intack()
            b.w(EOI, 0)


@pytest.mark.parametrize(
    ("dfr", "ldr", "dest", "taken"),
    [
        (0xF, 0x01, 0x01, True), (0xF, 0x01, 0x03, True), (0xF, 0x02, 0x01, False), (0xF, 0x80, 0xFF, True),
        (0x0, 0x21, 0x21, True), (0x0, 0x21, 0x23, True), (0x0, 0x21, 0x31, False), (0x0, 0x21, 0x22, False),
        (0x0, 0x21, 0xF1, True), (0x0, 0x21, 0xFF, True),
    ],
)  # fmt: skip
def test_logical_destinations(b: Board, dfr: int, ldr: int, dest: int, taken: bool) -> None:
    b.w(DFR, dfr << 28)
    b.w(LDR, ldr << 24)
    b.w(ICR2, dest << 24)
    b.w(ICR, 0x900 | 0x44)
    assert b.vectors(IRR) == ([0x44] if taken else [])


def test_nmi_init_sipi(b: Board) -> None:
    b.w(ICR, 0x40400)
    assert b.cpu.nmis == 1
    b.w(TPR, 0x20)
    b.w(ICR, 0x04500)
    assert b.cpu.inits == 1
    assert b.r(TPR) == 0 and b.r(SVR) == 0xFF  # INIT resets the APIC but for its id
    b.w(ICR, 0x08500)  # level de-assert does nothing
    assert b.cpu.inits == 1
    b.w(ICR, 0x04612)
    assert b.cpu.sipis == []  # the bootstrap CPU never waits for one
    b.apic.bsp = False
    b.w(ICR, 0x04612)
    assert b.cpu.sipis == [0x12]


def test_shorthand_all_but_self_reaches_nobody_on_one_cpu(b: Board) -> None:
    b.w(ICR, 0xC0041)
    assert b.vectors(IRR) == []
    b.w(ICR, 0x80041)
    assert b.vectors(IRR) == [0x41]
    assert b.r(ICR) == 0x80041  # never busy


def test_two_apics() -> None:
    from pcemu.testing.fakes import FakeCpu

    b = Board()
    second = FakeCpu()
    other = LocalApic(b.m)
    other.realize_now()
    other.attach(second, 1)
    b.m.cpus.append(second)
    b.m.reset()
    assert other.lvt[3] == MASKED and second.apicbase == 0xFEE00800
    b.w(SVR, 0x1FF)
    other.write_svr(0x1FF)
    b.w(ICR2, 1 << 24)
    b.w(ICR, 0x4044)
    assert (b.cpu.intr, second.intr) == (0, 1)
    assert second.intack() == 0x44
    # Lowest priority to both: the idle one gets it.
    b.w(ICR2, 0xFF << 24)
    b.w(ICR, 0x132)
    assert (b.cpu.intr, second.intr) == (1, 0)
    b.w(ICR, 0xC0400)
    assert (b.cpu.nmis, second.nmis) == (0, 1)


def test_msi_write(b: Board) -> None:
    b.m.memory.st(0xFEE00000, 4, 0x4055)  # a device's DMA
    assert b.vectors(IRR) == [0x55] and b.vectors(TMR) == []
    b.m.memory.st(0xFEEFF000, 4, 0x8056)
    assert b.vectors(IRR) == [0x55, 0x56] and b.vectors(TMR) == [0x56]
    b.m.memory.st(0xFEE07000, 4, 0x57)  # APIC 7: nobody
    assert 0x57 not in b.vectors(IRR)


def test_level_eoi_is_broadcast_edge_is_not() -> None:
    class Sink(Device, EoiTarget):
        def __init__(self, machine: TestMachine) -> None:
            self.seen: list[int] = []
            super().__init__(machine)

        def eoi(self, vector: int) -> None:
            self.seen.append(vector)

    b = Board()
    sink = Sink(b.m)
    b.apic.reset()
    b.w(SVR, 0x1FF)
    b.apic.accept(0x40, 1)
    b.apic.accept(0x50, 0)
    assert [b.cpu.intack()] == [0x50]
    b.w(EOI, 0)
    assert sink.seen == []
    b.cpu.intack()
    b.w(EOI, 0)
    assert sink.seen == [0x40]


# -- errors -------------------------------------------------------------------------------------------------


def test_esr_latches_on_write(b: Board) -> None:
    b.w(LVTERR, 0xFE)
    b.w(ICR, 0x40005)  # vector below 16
    assert b.r(ESR) == 0
    assert b.cpu.intack() == 0xFE
    b.w(EOI, 0)
    b.w(ESR, 0)
    assert b.r(ESR) == 0x20
    b.w(ESR, 0)
    assert b.r(ESR) == 0
    b.r(0x40)
    b.w(ESR, 0)
    assert b.r(ESR) == 0x80


def test_no_access_faults(b: Board) -> None:
    for offset in range(0, 0x1000, 4):
        for size in (1, 2, 4, 8):
            assert 0 <= b.m.mmio_read(BASE + offset, size) < 1 << (8 * size)
            for value in (0, 0xFFFFFFFFFFFFFFFF, 0x5A5A5A5A):
                b.m.mmio_write(BASE + offset, size, value)
    b.m.clock.advance(10_000_000)


def test_narrow_reads_see_the_bytes(b: Board) -> None:
    assert b.m.mmio_read(BASE + VER, 1) == 0x14
    assert b.m.mmio_read(BASE + VER + 2, 1) == 0x05
    assert b.m.mmio_read(BASE + VER + 4, 4) == 0


# -- timer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dcr", "divider"), [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)])
def test_one_shot_with_each_divider(b: Board, dcr: int, divider: int) -> None:
    b.w(DCR, dcr)
    b.w(LVTT, 0x30)
    b.w(TMICT, 1000)
    b.m.clock.advance(250 * divider)
    assert b.r(TMCCT) == 750 and b.cpu.intr == 0
    b.m.clock.advance(750 * divider - 1)
    assert b.r(TMCCT) == 1 and b.cpu.intr == 0
    b.m.clock.advance(1)
    assert b.r(TMCCT) == 0 and b.cpu.intack() == 0x30
    b.w(EOI, 0)
    b.m.clock.advance(10_000 * divider)
    assert b.cpu.intr == 0


def test_periodic_keeps_its_phase(b: Board) -> None:
    b.w(DCR, 0xB)
    b.w(LVTT, 0x20030)
    b.w(TMICT, 100_000)
    fired = []
    b.cpu.on_intr = lambda level: fired.append(b.m.clock.now()) if level else None
    for _ in range(5):
        b.m.clock.advance(130_000)
        if b.cpu.intr:
            b.cpu.intack()
            b.w(EOI, 0)
    assert fired == [100_000, 200_000, 300_000, 400_000, 600_000]
    assert b.r(TMCCT) == 100_000 - 650_000 % 100_000


def test_masked_timer_counts_silently_and_wakes_nobody(b: Board) -> None:
    b.w(DCR, 0xB)
    b.w(LVTT, MASKED | 0x30)
    b.w(TMICT, 0xFFFFFFFF)
    assert b.m.clock.pending() == []
    b.m.clock.advance(1_000_000)
    assert b.r(TMCCT) == 0xFFFFFFFF - 1_000_000
    b.w(LVTT, 0x30)
    assert b.m.clock.pending() == [0xFFFFFFFF]
    b.w(TMICT, 0)
    assert b.m.clock.pending() == [] and b.r(TMCCT) == 0


def test_divider_change_keeps_the_count(b: Board) -> None:
    b.w(DCR, 0xB)
    b.w(LVTT, 0x30)
    b.w(TMICT, 1000)
    b.m.clock.advance(400)
    b.w(DCR, 0)
    assert b.r(TMCCT) == 600
    b.m.clock.advance(1199)
    assert b.cpu.intr == 0
    b.m.clock.advance(1)
    assert b.cpu.intr == 1


def test_tiny_period_does_not_stall_the_machine(b: Board) -> None:
    b.w(DCR, 0xB)
    b.w(LVTT, 0x20030)
    b.w(TMICT, 1)
    ticks = 0
    apic = b.apic
    accept = apic.accept

    def count(vector: int, level: int) -> None:
        nonlocal ticks
        ticks += 1
        accept(vector, level)

    apic.accept = count
    b.m.clock.advance(1_000_000)
    assert 0 < ticks <= 200


def test_tsc_deadline(b: Board) -> None:
    hook = b.cpu.tsc_deadline_hook
    assert hook(5000) == 0  # not in deadline mode: ignored
    b.w(LVTT, 0x40031)
    b.w(TMICT, 1000)
    assert b.r(TMICT) == 0 and b.r(TMCCT) == 0
    hook(5000)
    assert hook(None) == 5000
    b.m.clock.advance_to(4999)
    assert b.cpu.intr == 0
    b.m.clock.advance_to(5000)
    assert b.cpu.intack() == 0x31 and hook(None) == 0
    b.w(EOI, 0)
    hook(100)  # past: at once
    b.m.clock.advance(0)
    assert b.cpu.intack() == 0x31
    b.w(EOI, 0)
    hook(1 << 63 | 5)  # far away, and not an error
    hook(0)
    assert b.m.clock.pending() == []
    hook(9000)
    b.w(LVTT, 0x31)  # leaving the mode disarms
    assert b.m.clock.pending() == [] and hook(None) == 0


# -- base and x2APIC ----------------------------------------------------------------------------------------


def test_apic_base_moves_and_disables(b: Board) -> None:
    b.cpu.apicbase_hook(0xD0000800)
    assert b.cpu.apicbase == 0xD0000900
    assert b.m.mmio_read(0xD0000030, 4) == 0x50014
    b.cpu.apicbase_hook(0xFEE00800)
    assert b.m.mmio_read(0xD0000030, 4) == 0xFFFFFFFF
    b.ipi(0x40)
    b.cpu.apicbase_hook(0xFEE00000)
    assert b.cpu.intr == 0 and b.r(VER) == 0xFFFFFFFF
    b.apic.irq_in[0].set(1)  # the pins are INTR and NMI now
    assert b.cpu.intr == 1
    b.apic.irq_in[1].set(1)
    assert b.cpu.nmis == 1
    b.cpu.apicbase_hook(0xFEE00800)
    assert b.r(SVR) == 0xFF and b.vectors(IRR) == []


def test_x2apic(b: Board) -> None:
    msr = b.cpu.msr_hook
    assert msr(0x802, None) is None and msr(0x808, 0) is None
    b.cpu.apicbase_hook(0xFEE00C00)
    assert b.r(VER) == 0xFFFFFFFF  # no register page any more
    assert msr(0x803, None) == 0x50014
    assert msr(0x80D, None) == 1
    assert msr(0x83F, 0x77) == 0
    assert b.cpu.intack() == 0x77
    assert msr(0x813, None) == 1 << (0x77 & 31)
    assert msr(0x80B, 1) is None
    assert msr(0x80B, 0) == 0 and msr(0x813, None) == 0
    assert msr(0x830, 0x00000000_00000078) == 0
    assert b.cpu.intack() == 0x78
    assert msr(0x80B, 0) == 0
    assert msr(0x830, 0xFFFFFFFF_00000079) == 0 and msr(0x830, None) == 0xFFFFFFFF_00000079
    assert msr(0x808, 0x90) == 0 and b.cpu.cr8_hook(None) == 9
    for number in (0x802, 0x803, 0x80A, 0x80D, 0x80E, 0x831, 0x839, 0x840, 0x8FF, 0x900):
        assert msr(number, 0) is None, hex(number)
    # reserved bits
    for number, good, bad in ((0x808, 0xFF, 0x100), (0x80F, 0x1FF, 0x200), (0x828, 0, 1), (0x830, 0xC8034, 0x1000),
                              (0x830, 0xC8034, 0x10000), (0x832, 0x700FF, 0x100), (0x835, 0x1A7FF, 0x800), (0x838, 1, 1 << 32),
                              (0x83E, 0xB, 4), (0x83F, 0xFF, 0x100)):  # fmt: skip
        assert msr(number, good) == 0 and msr(number, bad) is None, hex(number)
    for number in range(0x800, 0x900):
        value = msr(number, None)
        assert value is None or value >= 0
        msr(number, 0xFFFFFFFF_FFFFFFFF)
        msr(number, 0xFFFFFFFF)


def test_reset_restores_everything(b: Board) -> None:
    b.cpu.apicbase_hook(0xD0000800)
    b.apic.accept(0x90, 1)
    b.m.reset()
    assert b.cpu.apicbase == 0xFEE00900 and b.cpu.intr == 0
    assert b.r(SVR) == 0xFF and b.vectors(IRR) == []


def test_info_lapic_reads_as_qemu_prints_it() -> None:
    b = Board(enable=False)
    b.apic.bios_setup()
    assert info_lapic(b.apic) == [
        "dumping local APIC state for CPU 0 ",
        "",
        "LVT0\t 0x00008700 active-hi level                             ExtINT (vec 0)",
        "LVT1\t 0x00008400 active-hi level                             NMI   ",
        "LVTPC\t 0x00010000 active-hi edge  masked                      Fixed  (vec 0)",
        "LVTERR\t 0x00010000 active-hi edge  masked                      Fixed  (vec 0)",
        "LVTTHMR\t 0x00010000 active-hi edge  masked                      Fixed  (vec 0)",
        "LVTT\t 0x00010000 active-hi edge  masked         one-shot     Fixed  (vec 0)",
        "Timer\t DCR=0x0 (divide by 2) initial_count = 0 current_count = 0",
        "SPIV\t 0x000001ff APIC enabled, focus=off, spurious vec 255",
        "ICR\t 0x00000000 physical edge de-assert no-shorthand",
        "ICR2\t 0x00000000 cpu 0 (APIC ID)",
        "ESR\t 0x00000000",
        "ISR\t (none)",
        "IRR\t (none)",
        "",
        "APR 0x00 TPR 0x00 DFR 0x0f LDR 0x00 PPR 0x00",
    ]


def test_rearming_a_far_timer_uses_no_memory(b: Board) -> None:
    b.w(LVTT, 0x30)
    for _ in range(3000):
        b.w(TMICT, 0xFFFFFFFF)
    assert len(b.m.clock.heap.entries) < 1000 and len(b.m.clock.pending()) == 1
