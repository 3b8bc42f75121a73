"""The monitor's commands, from a line of text to a text, in the layouts scripts already parse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pcemu.machine.config import MachineConfig
from pcemu.monitor import Shell
from pcemu.monitor.table import COMMANDS, INFO, QMP
from pcemu.qom import MemoryRegion
from pcemu.testing.harness import TestMachine


class MonitoredMachine(TestMachine):
    """A device-test machine with the few things of a whole one that commands touch."""

    def __init__(self) -> None:
        super().__init__()
        self.config = MachineConfig()
        self.status = "running"

    def stop(self, status: str = "paused") -> None:
        if self.status == "running":
            self.status = status

    def cont(self) -> None:
        self.status = "running"

    def quit(self, status: int = 0) -> None:
        self.requests.append(("quit", "", status))


@pytest.fixture
def machine() -> MonitoredMachine:
    return MonitoredMachine()


@pytest.fixture
def shell(machine: MonitoredMachine) -> Shell:
    return Shell(machine)


# ---- expressions and print ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("print 0x10+3", "0x13"),
        ("p 0", "0"),
        ("p (1+2)*3", "0x9"),
        ("p 1+2*3", "0x7"),
        ("p 7%4", "0x3"),
        ("p 0xff & ~1", "0xfe"),
        ("p 1|6", "0x7"),
        ("p 6^3", "0x5"),
        ("p 1+2&3", "0x3"),                     # & binds closer than +
        ("p -5", "0xfffffffffffffffb"),
        ("p 010", "0x8"),
        ("p 'a'", "0x61"),
        ("p   1 + 2  ", "0x3"),
        ("p /d -5", "-5"),
        ("p/d 0x20", "32"),
        ("p /u -1", "18446744073709551615"),
        ("p /o 8", "010"),
        ("p /c 65", "'A'"),
        ("p /c 10", "'\\n'"),
        ("p /c 39", "'\\''"),
        ("p /xb 0x1ff", "0x1ff"),
        ("p /d -7/2", "-3"),
        ("p /d -7%2", "-1"),
        ("p /d 0x7fffffffffffffff+1", "-9223372036854775808"),
        ("p -9223372036854775807/-1", "0x7fffffffffffffff"),
    ],
)
def test_print(shell: Shell, line: str, text: str) -> None:
    assert shell.run(line) == text + "\n"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "unexpected end of expression"),
        ("3+", "unexpected end of expression"),
        ("7/0", "division by zero"),
        ("5%0", "division by zero"),
        (")", "invalid char ')' in expression"),
        ("(1", "')' expected"),
        ("'ab'", "missing terminating ' character"),
        ("'", "character constant expected"),
        ("$foo", "unknown register"),
        ("$", "unknown register"),
        ("99999999999999999999", "number too large"),
        ("1,2", "print|p: extraneous characters at the end of line"),
        ("1<<3", "print|p: extraneous characters at the end of line"),
        ("08", "print|p: extraneous characters at the end of line"),
        ("/s 0", "invalid char in format: 's'"),
    ],
)
def test_wrong_expressions(shell: Shell, expression: str, message: str) -> None:
    assert shell.run(f"p {expression}") == f'{message}\nTry "help p" for more information\n'


def test_registers_in_expressions(machine: MonitoredMachine, shell: Shell) -> None:
    machine.cpu.regs |= {"rax": 0x1122334455667788, "rsp": 0x100, "cs": 0xF000, "cs_base": 0xFFFF0000, "rip": 0xFFF0}
    for name, value in (("$eax", "0x1122334455667788"), ("$rax", "0x1122334455667788"), ("$sp", "0x100"), ("$cs", "0xf000"),
                        ("$cs.base", "0xffff0000"), ("$eip", "0xfff0"), ("$pc", "0xfffffff0"), ("$eax+1", "0x1122334455667789")):
        assert shell.run(f"p {name}") == value + "\n"


def test_formats_are_remembered(shell: Shell) -> None:
    assert shell.run("p 16") == "0x10\n"
    assert shell.run("p /d 16") == "16\n"
    assert shell.run("p 17") == "17\n"
    shell.run("xp /2xb 0")
    assert shell.run("xp /3 0") == "0000000000000000: 0x00 0x00 0x00\n"


# ---- dumps -----------------------------------------------------------------------------------------------------------------

CODE = bytes.fromhex("ea5be000f030362f32332f39390 0fc00".replace(" ", ""))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("xp /4xw 0x1000", "0000000000001000: 0x00e05bea 0x2f3630f0 0x392f3332 0x00fc0039\n"),
        ("xp /4xb 0x1000", "0000000000001000: 0xea 0x5b 0xe0 0x00\n"),
        ("xp /2xg 0x1000", "0000000000001000: 0x2f3630f000e05bea 0x00fc0039392f3332\n"),
        ("xp /4dw 0x1000", "0000000000001000:   14703594  792080624  959394610   16515129\n"),
        ("xp /4uh 0x1000", "0000000000001000: 23530   224 12528 12086\n"),
        ("xp /4oh 0x1000", "0000000000001000: 055752   0340 030360 027466\n"),
        ("xp /4db 0x1000", "0000000000001000: 234  91 224   0\n"),
        ("xp /5cb 0x1000", "0000000000001000: '\\xea' '[' '\\xe0' '\\x00' '\\xf0'\n"),
        ("xp /2dg 0x1000", "0000000000001000:  3401960375889976298    70931939903615794\n"),
        ("xp /10xb 0x1000",
         "0000000000001000: 0xea 0x5b 0xe0 0x00 0xf0 0x30 0x36 0x2f\n0000000000001008: 0x32 0x33\n"),
        ("xp/2xw 0x1000", "0000000000001000: 0x00e05bea 0x2f3630f0\n"),
        ("xp /0x 0x1000", ""),
        ("xp /2x 0xdeadbeef00000000", "deadbeef00000000: Cannot access memory\n"),
        ("xp /6xw 0xffff0", "00000000000ffff0: 0x00000000 0x00000000 0x00000000 0x00000000\n"
                            "0000000000100000: Cannot access memory\n"),
        ("x /1xw 0x1000", "0000000000001000: 0x00e05bea\n"),
        ("sum 0x1000 16", "54987\n"),
    ],
)
def test_dump(machine: MonitoredMachine, shell: Shell, line: str, text: str) -> None:
    machine.memory.write(0x1000, CODE)
    assert shell.run(line) == text


def test_x_goes_through_the_page_tables(machine: MonitoredMachine, shell: Shell) -> None:
    machine.memory.write(0x2FFC, b"abcd")
    machine.memory.write(0x5000, b"efgh")
    pages = {0xFFFF800000000000: 0x2000, 0xFFFF800000001000: 0x5000}
    machine.cpu.translate = lambda addr: pages[addr & ~0xFFF] | addr & 0xFFF if addr & ~0xFFF in pages else None
    assert shell.run("x /8cb 0xffff800000000ffc") == "ffff800000000ffc: 'a' 'b' 'c' 'd' 'e' 'f' 'g' 'h'\n"
    assert shell.run("x /1xb 0x1000") == "0000000000001000: Cannot access memory\n"
    assert shell.run("gva2gpa 0xffff800000001004") == "gpa: 0x5004\n"
    assert shell.run("gva2gpa 4") == "Unmapped\n"


def test_disassembly(machine: MonitoredMachine, shell: Shell) -> None:
    pytest.importorskip("capstone")
    machine.memory.write(0x1000, CODE)
    assert shell.run("x /3i 0x1000") == (
        "0x00001000:  ea 5b e0 00 f0           ljmpw    $0xf000:$0xe05b\n"
        "0x00001005:  30 36 2f 32              xorb     %dh, 0x322f\n"
        "0x00001009:  33 2f                    xorw     (%bx), %bp\n"
    )
    machine.cpu.regs |= {"cs_attr": 0x00AF9B00, "efer": 0xD01}
    machine.memory.write(0x1000, bytes.fromhex("48b88877665544332211 c3 90".replace(" ", "")))
    assert shell.run("xp /3i 0x1000") == (
        "0x00001000:  48 b8 88 77 66 55 44 33  movabsq  $0x1122334455667788, %rax\n"
        "0x00001008:  22 11\n"
        "0x0000100a:  c3                       retq     \n"
        "0x0000100b:  90                       nop      \n"
    )
    assert shell.run("x /2i 0xffffe") == (
        "0x000ffffe:  00 00                    addb     %al, (%rax)\n0x00100000: unable to read memory\n"
    )


def test_saving_memory(machine: MonitoredMachine, shell: Shell, tmp_path: Path) -> None:
    machine.memory.write(0x1000, CODE)
    path = tmp_path / "with blank"
    assert shell.run(f'pmemsave 0x1000 16 "{path}"') == ""
    assert path.read_bytes() == CODE
    assert shell.run(f'memsave 0x1001 4 "{path}"') == ""
    assert path.read_bytes() == CODE[1:5]
    assert shell.run("pmemsave 0 16") == 'pmemsave: string expected\nTry "help pmemsave" for more information\n'
    assert "Invalid addr" in shell.run(f'pmemsave 0x100000000 16 "{path}"')
    assert "Could not open" in shell.run(f'pmemsave 0 16 "{tmp_path}"')


# ---- ports -------------------------------------------------------------------------------------------------------------------


def test_ports(machine: MonitoredMachine, shell: Shell) -> None:
    machine.add("isa-serial")
    assert shell.run("i /b 0x3fd") == "portb[0x03fd] = 0x60\n"
    assert shell.run("o /b 0x3ff 0x5a") == ""
    assert shell.run("i /h 0x3fe") == "portw[0x03fe] = 0x5ab0\n"
    assert shell.run("i /w 0x3f8") == "portl[0x03f8] = 0x00010000\n"
    assert shell.run("i /w 0x3fe") == "portl[0x03fe] = 0xffff5ab0\n"
    shell.run("o /h 0x3fe 0x7700")
    assert shell.run("i /b 0x3fe.0x11") == "portb[0x03ff] = 0x77\n"     # index written, then the next port read
    assert shell.run("i 0x70 3") == 'i: extraneous characters at the end of line\nTry "help i" for more information\n'
    assert shell.run("o 0x80") == 'unexpected end of expression\nTry "help o" for more information\n'
    assert shell.run("o /w 0x80 0x1234567890") == (
        "'o' has failed: integer is for 32-bit values\nTry \"help o\" for more information\n"
    )


# ---- running and ending -------------------------------------------------------------------------------------------------------


def test_status(machine: MonitoredMachine, shell: Shell) -> None:
    assert shell.run("info status") == "VM status: running\n"
    assert shell.run("stop") == ""
    assert shell.run("info status") == "VM status: paused\n"
    assert shell.run("c") == ""
    assert machine.status == "running"
    machine.status = "prelaunch"
    assert shell.run("info status") == "VM status: paused (prelaunch)\n"
    machine.status = "shutdown"
    assert shell.run("cont") == "Error: Resetting the Virtual Machine is required\n"


def test_requests(machine: MonitoredMachine, shell: Shell) -> None:
    for line in ("system_reset", "system_powerdown", "q"):
        assert shell.run(line) == ""
    assert machine.requests == [("reset", "host-qmp-system-reset", 0), ("powerdown", "", 0), ("quit", "", 0)]
    shell.run("nmi")
    assert machine.cpu.nmis == 1


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("foo", "unknown command: 'foo'\n"),
        ("stpo", "unknown command: 'stpo' (did you mean 'stop'?)\n"),
        ("info foobar", "unknown command: 'info foobar'\n"),
        ("info stauts", "unknown command: 'info stauts' (did you mean 'info status'?)\n"),
        ("stop foo", 'stop|s: extraneous characters at the end of line\nTry "help stop" for more information\n'),
        ("info status x", 'status: extraneous characters at the end of line\nTry "help info status" for more information\n'),
        ("info mtree -x", 'mtree: unsupported option -x\nTry "help info mtree" for more information\n'),
        ("logfile", 'logfile: filename expected\nTry "help logfile" for more information\n'),
        ("sendkey", 'sendkey: string expected\nTry "help sendkey" for more information\n'),
        ("sendkey foo", "invalid parameter: foo\n"),
        ("cpu 3", "invalid CPU index\n"),
        ("trace-event x maybe", "Expected 'on' or 'off'\nTry \"help trace-event\" for more information\n"),
        ("trace-event nothing on", 'unknown event "nothing"\n'),
        ("help stop", "stop|s  -- stop emulation\n"),
        ("? x", "x /fmt addr -- virtual memory dump starting at 'addr'\n"),
        ("help foo", "unknown command: 'foo'\n"),
        ("", ""),
        ("   ", ""),
    ],
)
def test_command_lines(shell: Shell, line: str, text: str) -> None:
    assert shell.run(line) == text


def test_help_lists_every_command_once(shell: Shell) -> None:
    lines = shell.run("help").splitlines()
    assert lines == sorted(lines)
    assert len(lines) == len({id(entry) for entry in COMMANDS.values()})
    assert "print|p /fmt expr -- print expression value (use $reg for CPU register access)" in lines
    assert shell.run("info") == shell.run("help info")
    for name in INFO:
        assert f"\ninfo {name} " in "\n" + shell.run("info")


def test_the_table_serves_qmp_too(shell: Shell) -> None:
    ctx = shell.ctx
    assert QMP["query-status"].fn(ctx) == {"status": "running", "singlestep": False, "running": True}
    assert QMP["query-uuid"].fn(ctx) == {"UUID": "00000000-0000-0000-0000-000000000000"}
    assert QMP["query-kvm"].fn(ctx) == {"enabled": False, "present": False}
    assert QMP["query-version"].fn(ctx)["qemu"].keys() == {"major", "minor", "micro"}


def test_names_and_ids(machine: MonitoredMachine, shell: Shell) -> None:
    assert shell.run("info name") == ""
    assert shell.run("info uuid") == "00000000-0000-0000-0000-000000000000\n"
    machine.config.name, machine.config.uuid = "instance-1", "8e5b2c4a-3f0d-4b57-9b1e-2a6d6b0f7c11"
    assert shell.run("info name") == "instance-1\n"
    assert shell.run("info uuid") == "8e5b2c4a-3f0d-4b57-9b1e-2a6d6b0f7c11\n"
    assert shell.run("info kvm") == "kvm support: disabled\n"
    assert shell.run("info cpus").startswith("* CPU #0: thread_id=")


def test_logs_and_traces(machine: MonitoredMachine, shell: Shell, tmp_path: Path) -> None:
    machine.add("isa-serial")
    assert shell.run("log unimp") == ""
    assert (machine.log.unimp, machine.log.guest_errors) == (True, False)
    assert shell.run("log none") == ""
    assert not machine.log.unimp
    assert "guest_errors" in shell.run("log nonsense")
    shell.run("trace-event * off")
    assert set(shell.run("info trace-events serial*").split("\n")) >= {"serial_write : state 0", "serial_read : state 0"}
    machine.events.clear()
    machine.outb(0x3FF, 1)
    assert machine.events == []
    shell.run("trace-event serial_write on")
    machine.outb(0x3FF, 2)
    assert machine.events == [("isa-serial", "serial_write", {"addr": 7, "value": 2})]


def test_sendkey(machine: MonitoredMachine, shell: Shell) -> None:
    from pcemu.monitor import keys

    assert keys.parse("ctrl-alt-delete") == ["ctrl", "alt", "delete"]
    assert keys.parse("minus") == keys.parse("-") == ["minus"]
    assert keys.parse("shift--") == ["shift", "minus"]
    assert keys.parse("<") == ["less"]
    assert keys.parse("0x1c-0x9c") == ["ret", "kp_enter"]       # bit 7: a key with the prefix byte
    for wrong in ("", "foo", "a-", "0x", "0x1ff"):
        with pytest.raises(keys.KeyNameError):
            keys.parse(wrong)

    assert shell.run("sendkey a") == "Error: there is no keyboard\n"
    keyboard = machine.add("ps2-kbd", machine.main_bus)
    pressed: list[tuple[str, bool]] = []
    keyboard.key_event = lambda name, down: pressed.append((name, down))
    assert shell.run("sendkey shift-a 20") == ""
    assert pressed == [("shift", True), ("a", True)]
    machine.clock.advance(20_000_000)
    assert pressed[2:] == [("a", False), ("shift", False)]


# ---- trees -------------------------------------------------------------------------------------------------------------------


def test_qtree(machine: MonitoredMachine, shell: Shell) -> None:
    from pcemu.hw.isa.bus import IsaBus
    from pcemu.qom import SysBusDevice

    class Bridge(SysBusDevice):
        type_name = "test-bridge"

    bridge = machine.add(Bridge, machine.main_bus, id="b0")
    bus = IsaBus("isa.9", bridge)
    machine.add("isa-serial", bus)
    machine.add("isa-serial", bus, id="com2")
    assert shell.run("info qtree") == """\
bus: main-system-bus
  type System
  dev: test-bridge, id "b0"
    bus: isa.9
      type ISA
      dev: isa-serial, id "com2"
        index = 1 (0x1)
        iobase = 760 (0x2f8)
        irq = 3 (0x3)
      dev: isa-serial, id ""
        index = 0 (0x0)
        iobase = 1016 (0x3f8)
        irq = 4 (0x4)
"""


def build_memory(machine: MonitoredMachine) -> None:
    pci = MemoryRegion("pci", 2**64)
    machine.memory_root.add(pci, 0, priority=-1)
    bios = MemoryRegion.rom("pc.bios", 0x40000, machine.memory.alloc("pc.bios", 0x40000))
    pci.add(bios, 0xFFFC0000)
    pci.add(MemoryRegion.alias("isa-bios", bios, 0x20000, 0x20000), 0xE0000, priority=1)
    shadow = MemoryRegion.alias("pam-rom", machine.ram, 0xF0000, 0x10000, readonly=True)
    machine.memory_root.add(shadow, 0xF0000, priority=1)
    off = MemoryRegion.alias("smram-region", pci, 0xA0000, 0x20000)
    off.enabled = False
    machine.memory_root.add(off, 0xA0000, priority=1)


def test_mtree(machine: MonitoredMachine, shell: Shell) -> None:
    machine.add("isa-debug-exit")
    build_memory(machine)
    assert shell.run("info mtree") == """\
address-space: I/O
  0000000000000000-000000000000ffff (prio 0, i/o): io
    0000000000000501-0000000000000502 (prio 0, i/o): isa-debug-exit

address-space: cpu-memory-0
address-space: memory
  0000000000000000-ffffffffffffffff (prio 0, i/o): system
    0000000000000000-00000000000fffff (prio 0, ram): pc.ram
    0000000000000000-ffffffffffffffff (prio -1, i/o): pci
      00000000000e0000-00000000000fffff (prio 1, rom): alias isa-bios @pc.bios 0000000000020000-000000000003ffff
      00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios
    00000000000f0000-00000000000fffff (prio 1, ram): alias pam-rom @pc.ram 00000000000f0000-00000000000fffff

memory-region: pc.bios
  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios

memory-region: pci
  0000000000000000-ffffffffffffffff (prio -1, i/o): pci
    00000000000e0000-00000000000fffff (prio 1, rom): alias isa-bios @pc.bios 0000000000020000-000000000003ffff
    00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios

memory-region: pc.ram
  0000000000000000-00000000000fffff (prio 0, ram): pc.ram

"""
    assert "(prio 1, i/o): alias smram-region @pci 00000000000a0000-00000000000bffff [disabled]" in shell.run("info mtree -D")
    assert "isa-debug-exit owner:{dev type=isa-debug-exit}" in shell.run("info mtree -o")


def test_mtree_flat(machine: MonitoredMachine, shell: Shell) -> None:
    machine.add("isa-debug-exit")
    build_memory(machine)
    assert shell.run("info mtree -f") == """\
FlatView #0
 AS "I/O", root: io
 Root memory region: io
  0000000000000000-0000000000000500 (prio 0, i/o): io
  0000000000000501-0000000000000502 (prio 0, i/o): isa-debug-exit
  0000000000000503-000000000000ffff (prio 0, i/o): io @0000000000000503

FlatView #1
 AS "cpu-memory-0", root: system
 AS "memory", root: system
 Root memory region: system
  0000000000000000-00000000000effff (prio 0, ram): pc.ram
  00000000000f0000-00000000000fffff (prio 0, rom): pc.ram @00000000000f0000
  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios

"""
    assert shell.run("info roms") == 'addr=00000000fffc0000 size=0x040000 mem=rom name="pc.bios"\n'


# ---- the CPU -------------------------------------------------------------------------------------------------------------------

LONG_MODE = """
CPU#0
RAX=ffffffffa180de80 RBX=0000000000000000 RCX=0000000000000020 RDX=4000000000000000
RSI=0000000000000087 RDI=000000000000410c RBP=ffffffffa281aa40 RSP=ffffffffa2803e90
R8 =ffff88a67ec22e80 R9 =00000000314e0a03 R10=00000000fffffffb R11=0000000000000000
R12=0000000000000000 R13=0000000000000000 R14=0000000000000000 R15=0000000000014790
RIP=ffffffffa180dfeb RFL=00000216 [----AP-] CPL=0 II=0 A20=1 SMM=0 HLT=1
ES =0000 0000000000000000 00000000 00000000
CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]
SS =0018 0000000000000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
DS =0000 0000000000000000 00000000 00000000
FS =0000 0000000000000000 00000000 00000000
GS =0000 ffff88a67ec00000 00000000 00000000
LDT=0000 0000000000000000 00000000 00008200 DPL=0 LDT
TR =0040 fffffe0000003000 00004087 00008900 DPL=0 TSS64-avl
GDT=     fffffe0000001000 0000007f
IDT=     fffffe0000000000 00000fff
CR0=80050033 CR2=00000000005794a9 CR3=0000000020e02000 CR4=000006b0
DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000 \n\
DR6=00000000ffff0ff0 DR7=0000000000000400
EFER=0000000000000d01
FCW=037f FSW=3800 [ST=7] FTW=80 MXCSR=00001f80
FPR0=0000000000000000 0000 FPR1=0000000000000000 0000
FPR2=0000000000000000 0000 FPR3=0000000000000000 0000
FPR4=0000000000000000 0000 FPR5=0000000000000000 0000
FPR6=0000000000000000 0000 FPR7=c90fdaa22168c235 4000
XMM00=0000000000000000 0000000000000000 XMM01=0000000000000000 4014000000000000
XMM02=002f3d454d4f4800 313d4c564c485300 XMM03=0000000000000000 0000000000000000
XMM04=0000000000000000 0000000000000000 XMM05=0000000000000000 0000000000000000
XMM06=0000000000000000 0000000000000000 XMM07=0000000000000000 0000000000000000
XMM08=0000000000000000 0000000000000000 XMM09=0000000000000000 0000000000000000
XMM10=0000000000000000 0000000000000000 XMM11=0000000000000000 0000000000000000
XMM12=0000000000000000 0000000000000000 XMM13=0000000000000000 0000000000000000
XMM14=0000000000000000 0000000000000000 XMM15=0000000000000000 0000000000000000
"""

REAL_MODE = """
CPU#0
EAX=00000000 EBX=00000000 ECX=00000000 EDX=00060fb1
ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000
EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
ES =0000 00000000 0000ffff 00009300
CS =f000 ffff0000 0000ffff 00009b00
SS =0000 00000000 0000ffff 00009300
DS =0000 00000000 0000ffff 00009300
FS =0000 00000000 0000ffff 00009300
GS =0000 00000000 0000ffff 00009300
LDT=0000 00000000 0000ffff 00008200
TR =0000 00000000 0000ffff 00008b00
GDT=     00000000 0000ffff
IDT=     00000000 0000ffff
CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000
DR0=0000000000000000 DR1=0000000000000000 DR2=0000000000000000 DR3=0000000000000000 \n\
DR6=00000000ffff0ff0 DR7=0000000000000400
EFER=0000000000000000
FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80
FPR0=0000000000000000 0000 FPR1=0000000000000000 0000
FPR2=0000000000000000 0000 FPR3=0000000000000000 0000
FPR4=0000000000000000 0000 FPR5=0000000000000000 0000
FPR6=0000000000000000 0000 FPR7=0000000000000000 0000
XMM00=0000000000000000 0000000000000000 XMM01=0000000000000000 0000000000000000
XMM02=0000000000000000 0000000000000000 XMM03=0000000000000000 0000000000000000
XMM04=0000000000000000 0000000000000000 XMM05=0000000000000000 0000000000000000
XMM06=0000000000000000 0000000000000000 XMM07=0000000000000000 0000000000000000
"""


def test_registers_in_long_mode(machine: MonitoredMachine, shell: Shell) -> None:
    machine.cpu.halted = True
    machine.cpu.regs = {
        "rax": 0xFFFFFFFFA180DE80, "rcx": 0x20, "rdx": 1 << 62, "rsi": 0x87, "rdi": 0x410C, "rbp": 0xFFFFFFFFA281AA40,
        "rsp": 0xFFFFFFFFA2803E90, "r8": 0xFFFF88A67EC22E80, "r9": 0x314E0A03, "r10": 0xFFFFFFFB, "r15": 0x14790,
        "rip": 0xFFFFFFFFA180DFEB, "eflags": 0x216, "cs": 0x10, "cs_limit": 0xFFFFFFFF, "cs_attr": 0xAF9B00, "ss": 0x18,
        "ss_limit": 0xFFFFFFFF, "ss_attr": 0xCF9300, "gs_base": 0xFFFF88A67EC00000, "ldt_attr": 0x8200, "tr": 0x40,
        "tr_base": 0xFFFFFE0000003000, "tr_limit": 0x4087, "tr_attr": 0x8900, "gdt_base": 0xFFFFFE0000001000,
        "gdt_limit": 0x7F, "idt_base": 0xFFFFFE0000000000, "idt_limit": 0xFFF, "cr0": 0x80050033, "cr2": 0x5794A9,
        "cr3": 0x20E02000, "cr4": 0x6B0, "dr6": 0xFFFF0FF0, "dr7": 0x400, "efer": 0xD01, "fcw": 0x37F, "fsw": 0x3800,
        "ftw": 0x80, "mxcsr": 0x1F80, "fpr7": 0x4000C90FDAA22168C235, "xmm1": 0x4014000000000000,
        "xmm2": 0x002F3D454D4F4800313D4C564C485300,
    }  # fmt: skip
    assert shell.run("info registers") == LONG_MODE
    assert shell.run("info registers -a") == LONG_MODE
    assert shell.run("info registers 0") == LONG_MODE
    assert shell.run("info registers 1") == "CPU#1 not available\n"


def test_registers_with_avx(machine: MonitoredMachine, shell: Shell) -> None:
    """As QEMU 7.2: whole YMM registers, a line each, once XCR0 admits them."""
    machine.cpu.regs = {"xcr0": 3, "xmm7": 1}
    assert "XMM07=0000000000000000 0000000000000001" in shell.run("info registers")
    machine.cpu.regs = {"xcr0": 7, "ymm7": 0x11 << 192 | 0x22 << 128 | 0x33 << 64 | 0x44}
    lines = shell.run("info registers").splitlines()
    assert lines[-1] == "YMM07=0000000000000011 0000000000000022 0000000000000033 0000000000000044"
    assert lines[-8].startswith("YMM00=") and not any(line.startswith("XMM") for line in lines)


def test_registers_in_real_mode(machine: MonitoredMachine, shell: Shell) -> None:
    regs: dict[str, Any] = {f"{name}_limit": 0xFFFF for name in ("es", "cs", "ss", "ds", "fs", "gs", "ldt", "tr", "gdt", "idt")}
    regs |= {f"{name}_attr": 0x9300 for name in ("es", "ss", "ds", "fs", "gs")}
    regs |= {"rdx": 0x60FB1, "rip": 0xFFF0, "eflags": 2, "cs": 0xF000, "cs_base": 0xFFFF0000, "cs_attr": 0x9B00,
             "ldt_attr": 0x8200, "tr_attr": 0x8B00, "cr0": 0x60000010, "dr6": 0xFFFF0FF0, "dr7": 0x400, "fcw": 0x37F,
             "mxcsr": 0x1F80}  # fmt: skip
    machine.cpu.regs = regs
    assert shell.run("info registers") == REAL_MODE


def test_protected_mode_words(machine: MonitoredMachine, shell: Shell) -> None:
    machine.cpu.regs = {"cr0": 0x11, "cs": 8, "cs_limit": 0xFFFFFFFF, "cs_attr": 0xCF9A00, "ds_attr": 0x00F600,
                        "fs_attr": 0x009700, "tr_attr": 0x8B00, "ldt_attr": 0x8200}  # fmt: skip
    lines = shell.run("info registers").splitlines()
    words = {line[:3]: line[36:] for line in lines if line[3:4] == "=" and len(line) > 36}
    assert words["CS "] == "DPL=0 CS32 [-R-]"
    assert words["DS "] == "DPL=3 DS16 [EW-]"
    assert words["FS "] == "DPL=0 DS16 [EWA]"
    assert words["TR "] == "DPL=0 TSS32-busy"
    assert words["LDT"] == "DPL=0 LDT"
