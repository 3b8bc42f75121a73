"""What random programs found, each as a program of its own."""

from __future__ import annotations

import pytest

from fuzz.guest import CODE, HOLE, MMIO, ROM, STACK, Rig, set_segment

UD2 = b"\x0f\x0b"


def real_mode(code: bytes, at: int = 0) -> Rig:
    """Real mode, CS = DS = ES = CODE >> 4, the program at CS:at."""
    rig = Rig(1, wild=False)
    for name in ("cs", "ds", "es"):
        set_segment(rig.cpu, name, CODE >> 4, CODE, 0xFFFF, 0x9B00 if name == "cs" else 0x9300)
    set_segment(rig.cpu, "ss", STACK - 0x10000 >> 4, STACK - 0x10000, 0xFFFF, 0x9300)
    rig.cpu.set("rsp", 0xFF00)
    rig.memory.write(CODE + at, code)
    rig.cpu.set("rip", at)
    return rig


def vector(rig: Rig, number: int, offset: int) -> None:
    rig.memory.write(4 * number, offset.to_bytes(2, "little") + (CODE >> 4).to_bytes(2, "little"))


def test_faults_without_end_give_way() -> None:
    """A handler of #UD that begins with UD2: nothing retires, and run() comes back all the same."""
    rig = real_mode(UD2)
    vector(rig, 6, 0)
    assert rig.cpu.run(1000) == "exit_request"
    assert rig.cpu.icount == 0
    rig.cpu.request_exit()
    assert rig.cpu.run() == "exit_request"


def test_interrupts_without_end_give_way() -> None:
    """A line that stays up and a trap gate: the handler's first instruction never runs."""
    rig = real_mode(b"\x90")
    vector(rig, 0x20, 0)
    rig.cpu.intack = lambda: rig.cpu.set("eflags", 0x202) or 0x20
    rig.cpu.set("idt_base", 0)
    rig.cpu.set_intr(True)
    rig.cpu.set("eflags", 0x202)
    for _ in range(3):
        assert rig.cpu.run(1) in ("budget", "exit_request")


@pytest.mark.parametrize("steps", [(9,), (1,) * 9, (4, 5)])
def test_code_ends_at_the_limit(steps: tuple[int, ...]) -> None:
    """Eight NOPs up to offset 0xFFFF, then #GP rather than offset 0 or linear memory behind; in a block and one by one."""
    rig = real_mode(b"\x90" * 16, 0xFFF8)
    rig.memory.write(CODE + 0x100, b"\x40" * 4)  # INC AX
    vector(rig, 13, 0x100)
    for count in steps:
        assert rig.cpu.run(count) == "budget"
    assert (rig.cpu.get("rip"), rig.cpu.get("rax") & 0xFFFF) == (0x101, 1)
    assert int.from_bytes(rig.memory.read(STACK - 0x10000 + 0xFEFA, 2), "little") == 0


def test_an_instruction_across_the_limit_faults() -> None:
    rig = real_mode(b"\xb8\x01\x02", 0xFFFE)  # MOV AX, 0x201, its last byte at 0x10000
    rig.memory.write(CODE + 0x100, b"\x90" * 4)
    vector(rig, 13, 0x100)
    assert rig.cpu.run(1) == "budget"
    assert rig.cpu.get("rip") == 0x101
    assert int.from_bytes(rig.memory.read(STACK - 0x10000 + 0xFEFA, 2), "little") == 0xFFFE


def test_a_trap_after_iret_waits_an_instruction() -> None:
    """INT n ran before in the same turn; the IRET that sets TF does not itself trap."""
    rig = real_mode(b"\xcd\x30\x68\x02\x01\x0e\x68\x20\x00\xcf")  # INT 0x30; PUSH 0x102; PUSH CS; PUSH 0x20; IRET
    rig.memory.write(CODE + 0x20, b"\x40\x40\x40")
    rig.memory.write(CODE + 0x40, b"\xcf")
    rig.memory.write(CODE + 0x80, b"\xf4")
    vector(rig, 0x30, 0x40)
    vector(rig, 1, 0x80)
    assert rig.cpu.run(100) == "halted"
    assert rig.cpu.get("rax") & 0xFFFF == 1
    assert rig.cpu.get("rip") == 0x81


@pytest.mark.parametrize("portion", [1, 2, 1000])
@pytest.mark.parametrize("code_there", [False, True])
def test_chunks_do_not_depend_on_what_is_cached(portion: int, code_there: bool) -> None:
    """REP STOSB of 300 bytes over a page end counts two, be the pages in the TLB or not, and whether or not code was there."""
    rig = real_mode(b"\xbf\x80\x0f\xb9\x2c\x01\xf3\xaa\xf4")  # MOV DI, 0xF80; MOV CX, 300; REP STOSB; HLT
    if code_there:
        rig.memory.write(CODE + 0xFF0, b"\x90\xeb\xfd")
        rig.cpu.set("rip", 0xFF0)
        rig.cpu.run(10)
        rig.cpu.set("rip", 0)
    start = rig.cpu.icount
    while rig.cpu.run(portion) == "budget":
        pass
    assert rig.cpu.icount - start == 5
    assert rig.memory.read(CODE + 0xF80, 300) == bytes(300)


@pytest.mark.parametrize("code", ["88 07", "89 07", "66 89 07", "ff 07"])
def test_an_access_that_begins_in_ram_and_ends_in_a_device(code: str) -> None:
    """The device sees the exact time, whatever block the instruction is in."""
    rig = real_mode(b"\x90\x90" + bytes.fromhex(code) + b"\x90\x90")
    set_segment(rig.cpu, "ds", HOLE >> 4, HOLE & ~15, 0xFFFF, 0x9300)
    set_segment(rig.cpu, "ds", 0, HOLE - 3, 0xFFFF, 0x9300)
    rig.cpu.set("rbx", 2)
    assert rig.cpu.run(5) == "budget"
    assert [when for _what, when, *_rest in rig.probe.recent] == ([] if code == "88 07" else [2] * len(rig.probe.recent))


def test_a_new_program_counter_is_not_chained_to_the_last_block() -> None:
    """rip set from outside between two runs."""
    rig = real_mode(b"\x40\xeb\x00\x40\xf4")  # INC AX; JMP next; INC AX; HLT
    rig.memory.write(CODE + 0x20, b"\x4b\xf4")  # DEC BX; HLT
    assert rig.cpu.run(2) == "budget"
    rig.cpu.set("rip", 0x20)
    assert rig.cpu.run(10) == "halted"
    rig.cpu.halted = False
    rig.cpu.set("rip", 0)
    assert rig.cpu.run(10) == "halted"
    assert (rig.cpu.get("rax") & 0xFFFF, rig.cpu.get("rbx") & 0xFFFF) == (3, 0xFFFF)


def test_a_deadline_brought_forward_while_an_interrupt_is_acknowledged() -> None:
    rig = real_mode(b"\x90" * 64)
    rig.memory.write(CODE + 0x100, b"\x90" * 64)
    vector(rig, 0x20, 0x100)

    def intack() -> int:
        rig.cpu.set_intr(False)
        rig.clock.deadline = rig.clock.now() + 5
        return 0x20

    rig.cpu.intack = intack
    rig.cpu.set("eflags", 0x202)
    rig.memory.write(CODE, b"\xe7\x80")  # OUT 0x80, AX: raises the line in the middle of the quantum
    rig.probe.write = lambda offset, size, value: rig.cpu.set_intr(True)
    rig.io.set_map([(0x80, 8, rig.probe, 0)])
    assert rig.cpu.run(40) == "deadline"
    assert rig.cpu.icount == 6


class Failing:
    """A device that fails when it is touched."""

    def read(self, offset: int, size: int) -> int:
        raise ZeroDivisionError

    def write(self, offset: int, size: int, value: int) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("register", ["idt_base", "ss_base"])
def test_a_device_that_fails_under_an_exception_ends_the_run(register: str) -> None:
    """Vector table or stack in a device: the exception on the way is not delivered over and over."""
    rig = real_mode(UD2)
    vector(rig, 6, 0)
    failing = Failing()
    rig.memory.set_map([(0, 0x40000, "ram", rig.low, 0), (0x50000, 0x20000, "mmio", failing, 0)])
    rig.cpu.set(register, 0x50000)
    with pytest.raises(ZeroDivisionError):
        rig.cpu.run(100)


@pytest.mark.parametrize("portion", [1, 2, 100])
def test_a_descriptor_in_a_device_is_read_at_its_time(portion: int) -> None:
    """LSL in the middle of a block, the GDT in device memory: the device sees the time of the LSL."""
    rig = real_mode(b"\x90\x90\x0f\x03\xc3\x90\x90\xf4")  # NOP; NOP; LSL EAX, EBX; NOP; NOP; HLT
    rig.cpu.set("cr0", 0x11)
    set_segment(rig.cpu, "cs", 8, CODE, 0xFFFF, 0xC09B00)
    rig.cpu.set("gdt_base", MMIO)
    rig.cpu.set("gdt_limit", 0xFF)
    rig.cpu.set("rbx", 0x20)
    for _ in range(10):
        rig.cpu.run(portion)
    assert rig.cpu.halted
    assert {when for _what, when, *_rest in rig.probe.recent} == {2}


@pytest.mark.parametrize("code", ["e8 0c00", "ff d3", "ff 17", "66 ff 17"], ids=["rel", "reg", "mem", "mem32"])
def test_a_call_whose_push_raises_an_interrupt(code: str) -> None:
    """The stack is a device that raises NMI the third time: it is taken before the first instruction of what is called."""
    call, target = bytes.fromhex(code), 0x0F
    rig = real_mode(call)
    rig.memory.write(CODE + target, b"\x40\xeb\xee")  # INC AX; JMP 0
    rig.memory.write(CODE + 0x100, b"\xf4")
    rig.memory.write(CODE + 0x200, target.to_bytes(4, "little"))
    vector(rig, 2, 0x100)
    set_segment(rig.cpu, "ss", 0, MMIO, 0xFFFF, 0x9300)
    for name, value in (("rsp", 0x800), ("rbx", target if code == "ff d3" else 0x200)):
        rig.cpu.set(name, value)
    writes: list[int] = []

    def write(offset: int, size: int, value: int) -> None:
        writes.append(offset)
        if len(writes) == 3:
            rig.cpu.set_nmi()

    rig.probe.write = write
    rig.remap(0)
    rig.cpu.run(50)
    assert rig.cpu.halted
    assert rig.cpu.get("rax") & 0xFFFF == 2


@pytest.mark.parametrize("portion", [1, 3, 100])
def test_code_in_a_device_is_fetched_once_an_instruction(portion: int) -> None:
    """Each chunk of a REP counts as one, and an instruction whose operand is in the device as well is not fetched again."""
    rig = real_mode(b"")
    code = b"\xf3\xac\x8a\x07\xf4" + bytes(27)  # REP LODSB; MOV AL, [BX]; HLT
    fetches: list[int] = []

    def read(offset: int, size: int) -> int:
        if offset in (0, 2, 4):
            fetches.append(rig.clock.now())
        return int.from_bytes(code[offset : offset + size], "little")

    rig.probe.read = read
    rig.remap(0)
    set_segment(rig.cpu, "cs", MMIO >> 4, MMIO, 0xFFFF, 0x9B00)
    set_segment(rig.cpu, "ds", MMIO >> 4, MMIO, 0xFFFF, 0x9300)
    for name, value in (("rip", 0), ("rcx", 4), ("rsi", 0x11), ("rbx", 0x11)):
        rig.cpu.set(name, value)
    for _ in range(10):
        rig.cpu.run(portion)
    assert rig.cpu.halted
    assert fetches == [0, 1, 2, 3, 4, 5]


def test_an_instruction_that_ends_in_a_device_is_fetched_once() -> None:
    """RAM up to MMIO; the last byte of the page and what the device gives are ADD [BX], AL, which goes to ROM."""
    rig = real_mode(b"")
    fetches: list[int] = []

    def read(offset: int, size: int) -> int:
        if offset == 0:
            fetches.append(rig.clock.now())
        return int.from_bytes((b"\x07\xf4" + bytes(30))[offset : offset + size], "little")

    rig.probe.read = read
    rig.remap(0)
    rig.memory.write(MMIO - 1, b"\x00")
    set_segment(rig.cpu, "cs", MMIO - 0x10 >> 4, MMIO - 0x10, 0xFFFF, 0x9B00)
    set_segment(rig.cpu, "ds", ROM >> 4, ROM, 0xFFFF, 0x9300)
    rig.cpu.set("rip", 0x0F)
    assert rig.cpu.run(10) == "halted"
    assert fetches[:1] == [0] and fetches.count(0) == 1
