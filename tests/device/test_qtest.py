"""The qtest protocol: its words on a machine of ours in-process, and the same script to QEMU and to pcemu."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from device.qemu_oracle import Poked, needs_qemu

from pcemu.hw.intc.i8259 import I8259
from pcemu.hw.timer.i8254 import I8254
from pcemu.monitor import qtest
from pcemu.testing.harness import TestMachine

PIT_HZ = 1193182
ROOT = Path(__file__).resolve().parents[2]


class Bench:
    """A door on a machine without a processor; what it says in between is in `told`."""

    def __init__(self, stepped: bool = True) -> None:
        self.machine = TestMachine()
        self.told: list[str] = []
        self.door = qtest.Door(self.machine, stepped, self.told.append)

    def __call__(self, line: str) -> str:
        answer = self.door.run(line)
        if isinstance(answer, str):
            return answer
        *turns, last = answer
        assert set(turns) <= {None} and last is not None
        return last


@pytest.mark.parametrize(("line", "answer"), [
    ("", "FAIL Unknown command ''"),
    (" inb 0x61", "FAIL Unknown command ''"),
    ("foo 1", "FAIL Unknown command 'foo'"),
    ("inb", "FAIL inb: 1 arguments are expected"),
    ("inb zz", "FAIL 'zz' is not a number"),
    ("inb -1", "FAIL '-1' is not a number"),
    ("inb 09", "FAIL '09' is not a number"),
    ("inb 0x10000", "FAIL '0x10000' does not fit 16 bits"),
    ("outb 0x20", "FAIL outb: 2 arguments are expected"),
    ("readq 0x10000000000000000", "FAIL '0x10000000000000000' does not fit 64 bits"),
    ("readb " + "9" * 5000, f"FAIL '{'9' * 40}' does not fit 64 bits"),
    ("read 0 0", "FAIL size must be 1 to 67108864"),
    ("read 0 0xffffffffffffffff", "FAIL size must be 1 to 67108864"),
    ("memset 0 0xffffffffff 1", "FAIL size must be at most 1073741824"),
    ("memset 0 0 1", "OK"),
    ("write 0 4 0x", "FAIL write: the data is not 0x and hexadecimal digits"),
    ("write 0 4 0xzz", "FAIL write: the data is not 0x and hexadecimal digits"),
    ("b64write 0 4 ====", "FAIL b64write: the data is not base64"),
    ("b64write 0 4 \u00e9", "FAIL b64write: the data is not base64"),
    ("module_load hw- display-qxl", "FAIL"),
    ("endianness", "OK little"),
    ("irq_intercept_in /nowhere", "FAIL Unknown device"),
    ("irq_intercept_in /machine", "FAIL Unknown device"),
    ("clock_set x", "FAIL 'x' is not a number"),
    ("clock_set 0x8000000000000000", "FAIL '0x8000000000000000' does not fit 63 bits"),
])  # fmt: skip
def test_answers(line: str, answer: str) -> None:
    assert Bench()(line) == answer


def test_memory_of_all_widths() -> None:
    ask = Bench()
    for name, size in (("b", 1), ("w", 2), ("l", 4), ("q", 8)):
        assert ask("memset 0x1000 16 0xff") == "OK"
        assert ask(f"write{name} 0x1004 0x1122334455667788") == "OK"
        value = 0x1122334455667788 & (1 << 8 * size) - 1
        assert ask(f"read{name} 0x1004") == f"OK 0x{value:016x}"
        assert ask("read 0x1003 10") == "OK 0x" + "ff" + value.to_bytes(size, "little").hex() + "ff" * (9 - size)
    assert ask("write 0x2000 3 0x010203") == "OK" and ask("write 0x2001 2 0x0") == "OK"
    assert ask("b64read 0x2000 3") == "OK AQAA"
    assert ask("b64write 0x2000 2 aGVsbG8=") == "OK"
    assert ask("read 0x2000 3") == "OK 0x686500"


def test_the_clock_goes_from_timer_to_timer() -> None:
    ask = Bench()
    times: list[int] = []
    clock = ask.machine.clock
    for at in (100, 250, 1000):
        clock.timer(lambda: times.append(clock.now())).arm(at)
    assert ask("clock_step") == "OK 100" and times == [100]
    assert ask("clock_step 200") == "OK 300" and times == [100, 250]
    assert ask("clock_set 200") == "OK 300", "never backward"
    assert ask("clock_set 5000") == "OK 5000" and times == [100, 250, 1000]
    assert ask("clock_step") == "OK 5000", "no timer"
    assert ask("clock_step 0x7fffffffffffffff").startswith("OK ")
    assert Bench(stepped=False)("clock_step 1") == "FAIL Unknown command 'clock_step'"


def test_a_long_step_lets_others_work() -> None:
    ask = Bench()
    ask.machine.add(I8254, iobase=0x40)
    ask("outb 0x43 0x34"), ask("outb 0x40 100"), ask("outb 0x40 0")        # every 84 us
    answer = ask.door.run("clock_step 1000000000")
    assert not isinstance(answer, str)
    assert sum(1 for each in answer if each is None) >= 10


WORDS = ("", "-1", "0", "1", "2", "4", "8", "0x10", "0x20", "0x40", "0x60", "0x70", "0xcf8", "0xffff", "0x10000", "0x1000",
         "0x100000", "0xfffffffc", "0xfee00030", "0xfffffffffffffffc", "0xffffffffffffffff", "0x10000000000000000", "09", "010",
         "zz", "0xzz", "0x", "0x0102", "0x01020304", "AQIDBA==", "====", "/machine", "/machine/unattached/device[1]",
         "unnamed-gpio-in", "\0", "\u00e9", "x" * 300)  # fmt: skip
VERBS = ("inb", "inw", "inl", "outb", "outw", "outl", "readb", "readw", "readl", "readq", "writeb", "writew", "writel", "writeq",
         "read", "write", "memset", "b64read", "b64write", "endianness", "irq_intercept_in", "irq_intercept_out", "set_irq_in",
         "module_load", "nonsense", "")  # fmt: skip


def random_lines(seed: int, count: int) -> None:
    """Any line has one answer, and the door stands open for the next one."""
    choose = random.Random(seed)
    bench = Bench()
    bench.machine.add(I8254)
    bench.machine.add(I8259, master=True)
    for _ in range(count):
        line = " ".join([choose.choice(VERBS), *(choose.choice(WORDS) for _ in range(choose.randrange(5)))])
        if choose.randrange(10) == 0:
            line = "".join(choose.choice(line + " \t0x") for _ in range(choose.randrange(40)))
        assert bench(line).split(" ")[0] in ("OK", "FAIL"), line
        if choose.randrange(20) == 0:
            assert bench(f"clock_step {choose.randrange(1_000_000)}").startswith("OK ")
    assert bench("endianness") == "OK little"


def test_random_lines() -> None:
    random_lines(1, 3000)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_more_random_lines(seed: int) -> None:
    random_lines(seed, 100_000)


def test_interrupt_lines() -> None:
    ask = Bench()
    pit = ask.machine.add(I8254, iobase=0x40)
    pic = ask.machine.add(I8259, iobase=0x20, elcr_addr=0x4D0, elcr_mask=0xF8, master=True)
    pit.irq.connect(pic.irq_in[0])
    base = "/machine/unattached/device"
    assert ask(f"irq_intercept_out {base}[1]") == "OK"
    assert ask(f"irq_intercept_in {base}[1]") == "OK", "the same device; it is intercepted already"
    assert ask(f"irq_intercept_out {base}[2]") == "FAIL IRQ intercept already enabled"
    ask("outb 0x43 0x30"), ask("outb 0x40 0xe8"), ask("outb 0x40 0x03")        # counter 0, mode 0: up after 1000 clocks
    ask.told.clear()
    assert ask("inb 0x20") == "OK 0x0001", "it was high, and the 8259 has latched the edge"
    ask("outb 0x20 0x11"), ask("outb 0x21 8"), ask("outb 0x21 4"), ask("outb 0x21 1")         # that is forgotten
    assert ask("inb 0x20") == "OK 0x0000"
    # The count is loaded at the next clock, and then counts down.
    assert ask(f"clock_step {1000 * 10**9 // PIT_HZ - 1000}").startswith("OK") and ask.told == []
    assert ask("clock_step 3000").startswith("OK") and ask.told == ["IRQ raise 0"]
    assert ask("inb 0x20") == "OK 0x0001", "the line goes on to the 8259"
    assert ask(f"set_irq_in {base}[2] unnamed-gpio-in 5 1") == "OK"
    assert ask("inb 0x20") == "OK 0x0021"
    assert ask(f"set_irq_in {base}[2] unnamed-gpio-in 5 0") == "OK"
    assert ask(f"set_irq_in {base}[2] unnamed-gpio-in 8 1") == "FAIL there is no pin 8 of 'unnamed-gpio-in'"
    assert ask(f"set_irq_in {base}[2] foo 0 1") == "FAIL there is no pin 0 of 'foo'"
    assert ask(f"set_irq_in {base}[2] unnamed-gpio-in 0 x") == "FAIL 'x' is not a number"


# -- beside QEMU ------------------------------------------------------------------------------------------------------
# Debian's QEMU has no -accel qtest: its clock stands because it is stopped (-S), and is not stepped.

OPTIONS = ("-S", "-m", "16", "-serial", "null", "-rtc", "base=2024-02-29T12:34:56,clock=vm", "-vga", "none", "-net", "none")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Poked, Poked]]:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pcemu.__main__ import main; sys.exit(main())"
    ours = (sys.executable, "-c", program, "-accel", "qtest")
    with Poked(tmp_path_factory.mktemp("theirs"), *OPTIONS) as theirs, \
            Poked(tmp_path_factory.mktemp("ours"), *OPTIONS, command=ours) as mine:
        yield theirs, mine


def devices(poked: Poked) -> dict[str, str]:
    """Paths by the names that scripts have for them."""
    return {"PIC": poked.device("isa-i8259"), "PIC2": poked.device("isa-i8259", 1), "IOAPIC": "ioapic"}


# script -> where the answers differ: line, QEMU's answer, ours, and why ours is so
DIFFERENCES: dict[str, list[tuple[str, str, str, str]]] = {
    "pit": [
        ("inb 0x40", "OK 0x0034", "OK 0x00b4", "mode 2: OUT is high until the count is 1 (82C54)"),
        ("inb 0x40", "OK 0x0034", "OK 0x00b4", "the same, of the second read-back command"),
        ("inb 0x42", "OK 0x0030", "OK 0x0070", "null count is set from the control word until the count is loaded (82C54)"),
        ("inb 0x43", "OK 0x0000", "OK 0x00ff", "the control word cannot be read"),
    ],
    "rtc": [
        ("inb 0x71", "OK 0x0005", "OK 0x0007", "the day of the week is what was written; nothing compares it with the date"),
        ("inb 0x71", "OK 0x0006", "OK 0x0001", "the same"),
    ],
    "serial": [("inb 0x3fe", "OK 0x0000", "OK 0x000f", "in loopback MSR's deltas follow MCR (16550A)")],
    "host bridge": [
        ("inb 0xcfd", "OK 0x0033", "OK 0x0030", "PAM0 has an upper half only (82441FX)"),
        ("inl 0xcfc", "OK 0xffffffff", "OK 0x33333333", "reserved bits of PAM registers are zeros (82441FX)"),
    ],
    "ISA bridge": [("inw 0xcfe", "OK 0xffff", "OK 0x01ff", "reserved bits of XBCS are zeros (82371SB)")],
    "power management": [("inl 0xcfc", "OK 0x0000", "OK 0x2000000", "DEVACTB is 02000000h after reset (82371AB)")],
    "configuration mechanism": [("inl 0xcf8", "OK 0x7fffffff", "OK 0xfffffc", "reserved bits of CONFADD are zeros (82441FX)")],
}  # fmt: skip


def compare(both: tuple[Poked, Poked], name: str) -> None:
    """The same answers, and the same words about interrupt lines before them."""
    theirs, ours = ([(line.strip(), poked.say(_filled(line, devices(poked)))) for line in SCRIPTS[name].strip().splitlines()]
                    for poked in both)  # fmt: skip
    found = [(line, *there, *here) for (line, there), (_, here) in zip(theirs, ours, strict=True) if there != here]
    assert found == [each[:3] for each in DIFFERENCES.get(name, [])]


def _filled(line: str, paths: dict[str, str]) -> str:
    return " ".join(paths.get(word, word) for word in line.strip().split(" "))


def reads(ports: range | list[int]) -> str:
    return "\n".join(f"inb {port:#x}" for port in ports)


def cmos(registers: range) -> str:
    return "\n".join(f"outb 0x70 {register:#x}\ninb 0x71" for register in registers)


def cmos_set(register: int, value: int) -> str:
    return f"outb 0x70 {register:#x}\noutb 0x71 {value:#x}"


def set_time(*values: int) -> str:
    """Second, minute, hour, day of the week, day, month, year, century."""
    return "\n".join(cmos_set(register, value) for register, value in zip((0, 2, 4, 6, 7, 8, 9, 0x32), values, strict=True))


def config_space(devfn: int) -> str:
    return "\n".join(f"outl 0xcf8 {0x80000000 | devfn << 8 | register:#x}\ninl 0xcfc" for register in range(0, 256, 4))


def config_write(devfn: int, register: int, value: int, size: str = "l") -> str:
    return (f"outl 0xcf8 {0x80000000 | devfn << 8 | register & 0xfc:#x}\nout{size} {0xcfc + (register & 3):#x} {value:#x}\n"
            f"in{size} {0xcfc + (register & 3):#x}")  # fmt: skip


SCRIPTS: dict[str, str] = {
    "memory": """
        memset 0x1000 64 0xa5
        writeb 0x1000 0x1234
        writew 0x1003 0xbeef
        writel 0x1006 0x12345678
        writeq 0x100b 0x1122334455667788
        read 0x1000 20
        readb 0x1000
        readw 0x1003
        readl 0x1005
        readq 0x100a
        b64read 0x1000 7
        b64write 0x1001 5 aGVsbG8=
        b64write 0x1010 2 aGVsbG8=
        write 0x1030 4 0x01
        write 0x1034 2 0x01020304
        read 0x1000 64
        readl 0xfffffff0
        writel 0xfffffff0 1
        readl 0xfffffff0
    """,
    "words": """
        endianness
        foo
        rtas 1
        clock_stop
        module_load a b
        irq_intercept_in /nowhere
        set_irq_in nowhere unnamed-gpio-in 1 1
        inb 0x80 7 7
        outb 0x80 0x123
        inb 0200
        inb 128
    """,
    "pic": """
        outb 0x20 0x11
        outb 0x21 0x08
        outb 0x21 0x04
        outb 0x21 0x01
        outb 0xa0 0x11
        outb 0xa1 0x70
        outb 0xa1 0x02
        outb 0xa1 0x01
        outb 0x21 0x00
        outb 0xa1 0x81
        inb 0x21
        inb 0xa1
        set_irq_in PIC unnamed-gpio-in 3 1
        set_irq_in PIC unnamed-gpio-in 3 0
        set_irq_in PIC unnamed-gpio-in 5 1
        outb 0x20 0x0a
        inb 0x20
        outb 0x20 0x0c
        inb 0x20
        outb 0x20 0x0b
        inb 0x20
        outb 0x20 0x20
        outb 0x20 0x0b
        inb 0x20
        set_irq_in PIC2 unnamed-gpio-in 1 1
        outb 0xa0 0x0a
        inb 0xa0
        outb 0x20 0x0a
        inb 0x20
        outb 0x4d0 0xff
        inb 0x4d0
        outb 0x4d1 0xff
        inb 0x4d1
        outb 0x4d0 0
        outb 0x4d1 0
        set_irq_in PIC2 unnamed-gpio-in 1 0
        set_irq_in PIC unnamed-gpio-in 5 0
    """,
    "pit": """
        outb 0x43 0x34
        outb 0x40 0x34
        outb 0x40 0x12
        outb 0x43 0x00
        inb 0x40
        inb 0x40
        inb 0x40
        inb 0x40
        outb 0x43 0xe2
        inb 0x40
        outb 0x43 0xc2
        inb 0x40
        inb 0x40
        inb 0x40
        outb 0x43 0x76
        outb 0x41 0xff
        outb 0x41 0xff
        outb 0x43 0xe4
        inb 0x41
        outb 0x43 0xb0
        outb 0x42 0x10
        outb 0x43 0xe8
        inb 0x42
        outb 0x42 0x00
        outb 0x43 0xe8
        inb 0x42
        inb 0x43
    """,
    "serial": f"""
        {reads(range(0x3f9, 0x400))}
        outb 0x3fb 0x83
        outb 0x3f8 0x0c
        outb 0x3f9 0x01
        {reads(range(0x3f8, 0x400))}
        outb 0x3fb 0x1b
        outb 0x3ff 0x5a
        inb 0x3ff
        outb 0x3f9 0xff
        inb 0x3f9
        outb 0x3f9 0x01
        outb 0x3fa 0x07
        inb 0x3fa
        outb 0x3fc 0x1f
        inb 0x3fc
        inb 0x3fe
        outb 0x3fc 0x10
        inb 0x3fe
        inb 0x3fe
        inb 0x3fd
    """,
    "rtc": f"""
        {cmos(range(0x00, 0x0e))}
        inb 0x70
        {cmos_set(0x0b, 0x86)}
        {set_time(56, 34, 23, 5, 29, 2, 24, 20)}
        {cmos_set(0x01, 0xc0)}
        {cmos_set(0x0b, 0x06)}
        {cmos(range(0x00, 0x0e))}
        {cmos_set(0x0b, 0x84)}
        {set_time(59, 59, 0x80 | 12, 7, 31, 12, 99, 20)}
        {cmos_set(0x0b, 0x04)}
        {cmos(range(0x00, 0x0e))}
        {cmos_set(0x0b, 0x80)}
        {set_time(0x59, 0x01, 0x12, 1, 0x01, 0x10, 0x00, 0x21)}
        {cmos_set(0x0b, 0x00)}
        {cmos(range(0x00, 0x0e))}
        {cmos_set(0x0a, 0xff)}
        {cmos(range(0x0a, 0x0e))}
        {cmos_set(0x0d, 0x00)}
        {cmos(range(0x0a, 0x0e))}
        {cmos_set(0x50, 0x99)}
        {cmos(range(0x50, 0x52))}
        outb 0x70 0xff
        inb 0x71
    """,
    "host bridge": config_space(0x00) + "\n" + config_write(0x00, 0x59, 0x33, "b") + "\n" + config_write(0x00, 0x5C, 0xFFFFFFFF),
    "ISA bridge": "\n".join((config_space(0x08), config_write(0x08, 0x60, 0x0B0A8005), config_write(0x08, 0x4E, 0xFFFF, "w"),
                             config_write(0x08, 4, 0xFFFF, "w"))),
    "power management": "\n".join((config_space(0x0B), config_write(0x0B, 0x40, 0xB001), config_write(0x0B, 0x80, 1, "b"),
                                   "inl 0xb008", config_write(0x0B, 0x3C, 0xFFFF, "w"))),
    "nobody there": config_write(0x30, 0, 0x12345678) + "\n" + config_write(0xF8, 4, 1, "w"),
    "configuration mechanism": """
        outl 0xcf8 0x80000000
        inl 0xcf8
        inw 0xcfe
        inb 0xcfd
        outl 0xcf8 0x00000000
        inl 0xcfc
        outl 0xcf8 0x7fffffff
        inl 0xcf8
    """,
    # The last: from here on the I/O APIC's lines are reported.
    "interrupt lines": """
        irq_intercept_in IOAPIC
        irq_intercept_in IOAPIC
        irq_intercept_out PIC
        set_irq_in IOAPIC unnamed-gpio-in 20 1
        set_irq_in IOAPIC unnamed-gpio-in 20 1
        set_irq_in IOAPIC unnamed-gpio-in 20 0
        set_irq_in IOAPIC unnamed-gpio-in 23 7
        set_irq_in IOAPIC unnamed-gpio-in 23 0
        outb 0x3fc 0x0b
        outb 0x3f9 0x02
        outb 0x3f9 0x00
    """,
}  # fmt: skip


@needs_qemu
@pytest.mark.oracle
@pytest.mark.parametrize("name", SCRIPTS)
def test_beside_qemu(both: tuple[Poked, Poked], name: str) -> None:
    compare(both, name)


