"""Intel local APIC (Software Developer's Manual volume 3, chapter 11 "APIC", and 11.12 for x2APIC).

One for each CPU. It owns the CPU's INTR pin and answers its interrupt acknowledge; the 8259 pair comes in
through LINT0 (ExtINT, "virtual wire"), NMI through LINT1. Interrupt request, service and trigger-mode
registers are 256-bit integers: setting a bit, finding the highest one and an EOI are each one operation.
The bus clock of the timer is 1 GHz, so before the divider a tick is a nanosecond of virtual time, as is a TSC tick.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pcemu.qom import IrqIn, MemoryRegion, Property, State

from .apic_msg import (
    DM_EXTINT,
    DM_FIXED,
    DM_INIT,
    DM_LOWEST,
    DM_NMI,
    DM_SMI,
    DM_STARTUP,
    CpuPort,
    EoiTarget,
    deliver,
    select,
)
from .apic_page import build_readers, build_writers
from .apic_regs import (
    APIC_DEFAULT_BASE,
    APIC_MSI_SIZE,
    BASE_BSP,
    BASE_ENABLE,
    BASE_X2APIC,
    ESR_ILLEGAL_REGISTER,
    ESR_RECEIVE_ILLEGAL,
    ESR_SEND_ILLEGAL,
    LVT_ERROR,
    LVT_LEVEL,
    LVT_LINT0,
    LVT_LINT1,
    LVT_MASKED,
    LVT_REMOTE_IRR,
    LVT_TIMER,
    LVT_WRITABLE,
    MSI_PRIORITY,
    SVR_ENABLE,
    TIMER_TSC_DEADLINE,
)
from .apic_timer import ApicTimer
from .apic_x2 import read_msr as x2_read
from .apic_x2 import write_msr as x2_write


class LocalApic(ApicTimer):
    """Local APIC, version 14h (xAPIC); in x2APIC mode its registers are MSRs."""

    type_name = "apic"
    desc = "local interrupt controller of a CPU"
    user_creatable = False
    trace_events: ClassVar[tuple[str, ...]] = ("apic_deliver_irq", "apic_mem_readl", "apic_mem_writel")

    apic_id = Property("u32", name="id", help="APIC id at reset")
    version = Property("u8", default=0x14, help="contents of the version register")
    vapic = Property(bool, default=True, help="help for KVM guests", inert="there is no KVM", so=False)

    base_msr = State("u64", help="IA32_APIC_BASE")
    id_reg = State("u32")
    tpr = State("u8")
    ppr = State("u8", help="derived from TPR and ISR, kept because every interrupt looks at it")
    ldr = State("u32", help="logical destination, bits 31-24 as bits 7-0")
    dfr = State("u32", reset=0xF, help="destination format, bits 31-28: F flat, 0 cluster")
    svr = State("u32", reset=0xFF)
    isr = State("any", reset=0, help="in service, one bit a vector")
    irr = State("any", reset=0, help="requested")
    tmr = State("any", reset=0, help="trigger mode: level")
    esr = State("u32", help="errors as latched by the last write to the ESR")
    errors = State("u32", help="errors since")
    icr_low = State("u32")
    icr_high = State("u32")
    lint_level = State("u8[2]", help="levels of the LINT0 and LINT1 pins")

    # LINT0 comes from the 8259, LINT1 is NMI.
    irq_in = IrqIn(2, handler="on_lint")

    def __init__(self, machine: Any, *args: Any, **props: Any) -> None:
        super().__init__(machine, *args, **props)
        self.cpu: CpuPort | None = None
        self.bsp = True
        self.extint_ack: Callable[[], int] | None = None  # the 8259's INTA cycle
        self.intr = 0  # the level on the CPU's pin
        self.enabled = True  # IA32_APIC_BASE.EN and SVR.enable: takes interrupts
        self.peers: list[LocalApic] = [self]
        self.eoi_targets: list[EoiTarget] = []
        self.region: MemoryRegion | None = None
        self._moved: MemoryRegion | None = None
        self._other_msr: Callable[[int, int | None], int | None] | None = None
        self.readers = build_readers(self)
        self.writers = build_writers(self)

    def realize(self) -> None:
        self.timer = self.machine.clock.timer(self.on_timer)
        self.region = MemoryRegion.mmio("apic-msi", APIC_MSI_SIZE, self, owner=self)
        self._init_registers()

    def attach(self, cpu: CpuPort, index: int = 0) -> None:
        """Wire the APIC to its CPU. CPU 0 is the bootstrap processor."""
        self.cpu = cpu
        self.apic_id = index
        self.bsp = index == 0
        cpu.intack = self.intack
        cpu.cr8_hook = self.cr8
        cpu.apicbase_hook = self.write_base
        cpu.tsc_deadline_hook = self.tsc_deadline_msr
        self._other_msr = cpu.msr_hook
        cpu.msr_hook = self.msr
        self._init_registers()
        cpu.apicbase = self.base_msr

    def map(self) -> None:
        """Put the register page (and the MSI window) into the memory map."""
        assert self.region is not None
        if self.region.parent is None:
            self.machine.memory_root.add(self.region, APIC_DEFAULT_BASE, priority=MSI_PRIORITY)

    def reset(self) -> None:
        super().reset()
        for pin in self.irq_in.pins:  # wires that are high stay high
            self.lint_level[pin.index] = pin.level
        self.peers = list(self.machine.find_all(LocalApic)) or [self]
        self.eoi_targets = list(self.machine.find_all(EoiTarget))
        self.base_msr = APIC_DEFAULT_BASE | BASE_ENABLE | (BASE_BSP if self.bsp else 0)
        self._place()
        self._init_registers()
        if self.cpu is not None:
            self.cpu.apicbase = self.base_msr

    def _init_registers(self) -> None:
        """State after reset, and after INIT but for the id (11.4.7)."""
        self.base_msr = self.base_msr or APIC_DEFAULT_BASE | BASE_ENABLE | (BASE_BSP if self.bsp else 0)
        self.id_reg = self.apic_id
        self.tpr = self.ppr = self.ldr = 0
        self.dfr, self.svr = 0xF, 0xFF
        self.isr = self.irr = self.tmr = 0
        self.esr = self.errors = self.icr_low = self.icr_high = 0
        self.lvt[:] = [LVT_MASKED] * 6
        if self.bsp:
            # As a PC's firmware leaves it: programs that know no APIC get the 8259's interrupts.
            self.lvt[LVT_LINT0] = DM_EXTINT << 8
        self.initial_count = self.divide = self.load_time = self.tsc_deadline = 0
        self.shift = 1
        self.timer.cancel()
        self._enable_changed()

    def bios_setup(self) -> None:
        """What a PC BIOS leaves behind on the bootstrap CPU: enabled, LINT0 ExtINT, LINT1 NMI."""
        self.write_svr(0x1FF)
        self.write_lvt(LVT_LINT0, 0x8000 | DM_EXTINT << 8)
        self.write_lvt(LVT_LINT1, 0x8000 | DM_NMI << 8)

    # -- interrupts: in -------------------------------------------------------------------------------------

    def accept(self, vector: int, level: int) -> None:
        """An interrupt message with a vector has arrived (fixed or lowest priority)."""
        if vector < 16:
            self._error(ESR_RECEIVE_ILLEGAL)
            return
        if not self.enabled:
            return
        bit = 1 << vector
        self.irr |= bit
        if level:
            self.tmr |= bit
        elif self.tmr & bit:
            self.tmr ^= bit
        if not self.intr:
            self._update()

    def deliver(self, mode: int, vector: int, level: int) -> None:
        """Any interrupt message (table 11-3's delivery modes)."""
        if self.tracing:
            self.trace("apic_deliver_irq", mode=mode, vector=vector, level=level)
        if mode <= DM_LOWEST:
            self.accept(vector, level)
            return
        cpu = self.cpu
        if cpu is None or not self.base_msr & BASE_ENABLE:
            return
        if mode == DM_NMI:
            cpu.set_nmi()
        elif mode == DM_INIT:
            self._init_registers()
            cpu.set_init()
        elif mode == DM_STARTUP:
            if not self.bsp:  # the bootstrap CPU never waits for one, and who does not wait ignores it (8.4.3)
                cpu.set_sipi(vector)
        elif mode == DM_SMI:
            self.log_unimp("SMI message")

    def on_lint(self, pin: int, level: int) -> None:
        """LINT0 or LINT1 changed (11.5.1)."""
        self.lint_level[pin] = level
        if not self.base_msr & BASE_ENABLE:
            # The pins are INTR and NMI themselves while the APIC is off (11.4.3).
            if pin == 0:
                self._update()
            elif level and self.cpu is not None:
                self.cpu.set_nmi()
            return
        entry = self.lvt[LVT_LINT0 + pin]
        if entry & LVT_MASKED:
            return
        mode = entry >> 8 & 7
        if mode == DM_EXTINT:
            self._update()
        elif mode == DM_FIXED:
            if entry & LVT_LEVEL and pin == 0:
                # Only LINT0 may be level-triggered (11.5.1); remote IRR holds it until the EOI.
                if level and not entry & LVT_REMOTE_IRR:
                    self.lvt[LVT_LINT0] = entry | LVT_REMOTE_IRR
                    self.accept(entry & 0xFF, 1)
            elif level:
                self.accept(entry & 0xFF, 0)
        elif level:
            self.deliver(mode, 0, 0)

    def _extint(self) -> int:
        """Does the 8259 have the INTR pin?"""
        if not self.lint_level[0]:
            return 0
        if not self.base_msr & BASE_ENABLE:
            return 1
        return 1 if self.lvt[LVT_LINT0] & (LVT_MASKED | 0x700) == DM_EXTINT << 8 else 0

    def _update(self) -> None:
        """Work out the CPU's INTR pin."""
        vector: int = self.irr.bit_length() - 1
        level = 1 if vector >> 4 > self.ppr >> 4 and self.enabled else self._extint()
        if level != self.intr:
            self.intr = level
            if self.cpu is not None:
                self.cpu.set_intr(level)

    def _set_ppr(self) -> None:
        """Processor priority (11.8.3.1)."""
        tpr: int = self.tpr
        vector: int = self.isr.bit_length() - 1
        self.ppr = tpr if vector < 0 or tpr & 0xF0 >= vector & 0xF0 else vector & 0xF0

    def _enable_changed(self) -> None:
        self.enabled = bool(self.base_msr & BASE_ENABLE and self.svr & SVR_ENABLE)
        self._update()

    # -- interrupts: the CPU's side -------------------------------------------------------------------------

    def intack(self) -> int:
        """The CPU takes an interrupt: which vector? Pending local ones go before the 8259's."""
        irr: int = self.irr
        vector: int = irr.bit_length() - 1
        if vector >> 4 > self.ppr >> 4 and self.enabled:
            bit = 1 << vector
            irr ^= bit
            self.irr = irr
            self.isr |= bit
            self.ppr = vector & 0xF0  # above the old PPR, so above TPR as well
            # Nothing else can be deliverable unless it has a still higher priority, which it has not.
            if not self.lint_level[0]:
                self.intr = 0
                self.cpu.set_intr(0)  # type: ignore[union-attr]
            else:
                self._update()
            return vector
        if self._extint() and self.extint_ack is not None:
            return self.extint_ack() & 0xFF
        self._update()
        return self.svr & 0xFF

    def eoi(self) -> None:
        """End of interrupt (11.8.5)."""
        isr: int = self.isr
        if not isr:
            return
        vector = isr.bit_length() - 1
        bit = 1 << vector
        isr ^= bit
        self.isr = isr
        tpr: int = self.tpr
        vector_left = isr.bit_length() - 1
        self.ppr = tpr if vector_left < 0 or tpr & 0xF0 >= vector_left & 0xF0 else vector_left & 0xF0
        if self.tmr & bit:
            self._level_eoi(vector)
        if self.irr and not self.intr:
            self._update()

    def _level_eoi(self, vector: int) -> None:
        entry = self.lvt[LVT_LINT0]
        if entry & LVT_REMOTE_IRR and entry & 0xFF == vector:
            self.lvt[LVT_LINT0] = entry & ~LVT_REMOTE_IRR
            self.on_lint(0, self.lint_level[0])
        for target in self.eoi_targets:
            target.eoi(vector)

    def cr8(self, value: int | None) -> int:
        """MOV CR8: the top four bits of the TPR (11.8.6)."""
        if value is not None:
            self.write_tpr((value & 0xF) << 4)
        return self.tpr >> 4

    # -- base and modes -------------------------------------------------------------------------------------

    def write_base(self, value: int) -> None:
        """WRMSR IA32_APIC_BASE (11.4.4, 11.12.1)."""
        old = self.base_msr
        mode = value & (BASE_ENABLE | BASE_X2APIC)
        if mode == BASE_X2APIC:
            mode = old & (BASE_ENABLE | BASE_X2APIC)  # "invalid state": the CPU should have faulted
        self.base_msr = value & 0xF_FFFF_F000 | mode | old & BASE_BSP
        if self.cpu is not None:
            self.cpu.apicbase = self.base_msr
        if not mode & BASE_ENABLE and old & BASE_ENABLE:
            # Comes back as after a reset when enabled again (11.4.3).
            self._init_registers()
        elif mode & BASE_X2APIC and not old & BASE_X2APIC:
            self.id_reg = self.apic_id
            self.ldr = (self.id_reg >> 4) << 16 | 1 << (self.id_reg & 15)
        self._place()
        self._enable_changed()

    def _place(self) -> None:
        """The register page follows IA32_APIC_BASE; the MSI window stays where the chipset decodes it."""
        base = self.base_msr & 0xF_FFFF_F000
        elsewhere = base != APIC_DEFAULT_BASE and bool(self.base_msr & BASE_ENABLE)
        if self._moved is None:
            if not elsewhere or self.region is None or self.region.parent is None:
                return
            self._moved = MemoryRegion.mmio("apic", 0x1000, self, owner=self)
            self._moved.enabled = False
            self.machine.memory_root.add(self._moved, base, priority=MSI_PRIORITY)
        if elsewhere:
            self._moved.move(base)
        self._moved.enabled = elsewhere

    @property
    def x2apic(self) -> bool:
        return bool(self.base_msr & BASE_X2APIC)

    # -- the register page ----------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """From the core: a load from the page. Registers are 32 bits wide, one every 16 bytes (11.4.1)."""
        if size != 4 or offset & ~0x3F0 or not self.base_msr & BASE_ENABLE or self.x2apic:
            return self._odd_read(offset, size)
        reader = self.readers[offset >> 4]
        value = reader() if reader is not None else self._no_register(offset)
        if self.tracing:
            self.trace("apic_mem_readl", addr=offset, val=value)
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """From the core, or a device's MSI."""
        if offset == 0xB0:
            self.eoi()
            return
        if offset > 0xFFF or not offset:
            self._msi(offset, value)
            return
        if size != 4 or offset & ~0x3F0 or not self.base_msr & BASE_ENABLE or self.x2apic:
            self.log_guest_error("write of %d bytes at %#x", size, offset)
            return
        if self.tracing:
            self.trace("apic_mem_writel", addr=offset, val=value)
        writer = self.writers[offset >> 4]
        if writer is not None:
            writer(value)
        else:
            self._no_register(offset)

    def _odd_read(self, offset: int, size: int) -> int:
        """Narrow and misaligned reads: model-dependent (11.4.1). Bytes of the register, zero between them."""
        if offset > 0xFFF or not self.base_msr & BASE_ENABLE or self.x2apic:
            return (1 << (size << 3)) - 1
        at = offset & 0xF
        if at >= 4 or offset >= 0x400:
            return 0
        reader = self.readers[offset >> 4]
        return (reader() >> (at << 3)) & ((1 << (size << 3)) - 1) if reader is not None else 0

    def _msi(self, offset: int, data: int) -> None:
        """A message-signalled interrupt (11.11): destination in the address, vector and mode in the data."""
        self.send(offset >> 12 & 0xFF, offset >> 2 & 1, data >> 8 & 7, data & 0xFF, data >> 15 & 1)

    def send(self, dest: int, logical: int, mode: int, vector: int, level: int) -> None:
        """An interrupt message to whom it concerns."""
        deliver(self.peers, dest, logical, mode, vector, level)

    def _no_register(self, offset: int) -> int:
        self._error(ESR_ILLEGAL_REGISTER)
        self.log_guest_error("no register at %#x", offset)
        return 0

    def write_id(self, value: int) -> None:
        self.id_reg = value >> 24 & 0xFF

    def write_tpr(self, value: int) -> None:
        self.tpr = value & 0xFF
        self._set_ppr()
        self._update()

    def write_ldr(self, value: int) -> None:
        self.ldr = value >> 24 & 0xFF

    def write_dfr(self, value: int) -> None:
        self.dfr = value >> 28 & 0xF

    def write_svr(self, value: int) -> None:
        self.svr = value & 0x1FF
        if not value & SVR_ENABLE:
            for index in range(6):  # 11.4.7.2: mask bits are set and stay set
                self.lvt[index] |= LVT_MASKED
        self._enable_changed()

    def write_esr(self, value: int) -> None:
        """A write latches what has happened since the last one (11.5.3)."""
        self.esr, self.errors = self.errors, 0

    def _error(self, bit: int) -> None:
        if self.errors & bit:
            return
        self.errors |= bit
        entry = self.lvt[LVT_ERROR]
        if not entry & LVT_MASKED and entry & 0xFF >= 16:
            self.accept(entry & 0xFF, 0)

    def write_lvt(self, index: int, value: int) -> None:
        writable = LVT_WRITABLE[index]
        old = self.lvt[index]
        value &= writable
        if not self.svr & SVR_ENABLE:
            value |= LVT_MASKED
        self.lvt[index] = value | (old & LVT_REMOTE_IRR if value & LVT_LEVEL else 0)
        if index == LVT_TIMER:
            if (old ^ value) >> 17 & 3 and TIMER_TSC_DEADLINE in (old >> 17 & 3, value >> 17 & 3):
                # In and out of deadline mode disarms (11.5.4.1).
                self.initial_count = self.tsc_deadline = 0
            self._arm_timer()
        elif index == LVT_LINT0:
            if self.lint_level[0] and value & LVT_LEVEL:
                self.on_lint(0, 1)
            self._update()

    # -- interrupts: out ------------------------------------------------------------------------------------

    def write_icr_high(self, value: int) -> None:
        self.icr_high = value & 0xFF000000

    def write_icr(self, value: int) -> None:
        """Writing the low half sends (11.6.1)."""
        self.icr_low = value & 0xCCFFF
        self.send_ipi(value, self.icr_high >> 24, 0xFF)

    def send_ipi(self, low: int, dest: int, broadcast: int) -> None:
        vector, mode, level = low & 0xFF, low >> 8 & 7, low >> 15 & 1
        if mode <= DM_LOWEST and vector < 16:
            self._error(ESR_SEND_ILLEGAL)
            return
        if mode == DM_INIT and level and not low >> 14 & 1:
            return  # INIT level de-assert only set arbitration ids, long ago
        shorthand = low >> 18 & 3
        if shorthand == 1:
            self.deliver(mode, vector, 0)
        elif shorthand:
            for apic in self.peers:
                if shorthand == 2 or apic is not self:
                    apic.deliver(mode, vector, 0)
        elif mode == DM_LOWEST or len(self.peers) > 1 or dest == broadcast:
            deliver(self.peers, 0xFFFFFFFF if dest == broadcast else dest, low >> 11 & 1, mode, vector, 0)
        elif select(self, dest, low >> 11 & 1):
            self.deliver(mode, vector, 0)

    # -- x2APIC ---------------------------------------------------------------------------------------------

    def msr(self, number: int, value: int | None) -> int | None:
        """RDMSR (value None) and WRMSR of what the CPU itself does not have: ours are 800h-8FFh. None: #GP."""
        if number >> 8 == 8 and self.x2apic:
            answer = x2_read(self, number) if value is None else 0 if x2_write(self, number, value) else None
            if answer is not None:
                return answer
        return self._other_msr(number, value) if self._other_msr is not None else None
