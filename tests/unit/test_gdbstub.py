"""The gdb stub, packet by packet (gdb manual, appendix E) on a machine with small guests; gdb itself: tests/boot/test_gdb.py."""

from __future__ import annotations

import asyncio
import random
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from loader_images import elf32, multiboot_header

from pcemu.debug.gdbpackets import MOST, Wire, checksum, escape, unescape
from pcemu.debug.gdbregs import register_file
from pcemu.machine.config import IcountConfig, MachineConfig
from pcemu.machine.machine import Machine
from pcemu.monitor import Shell

pytest.importorskip("pcemu._core.engine", reason="the core is not built")

BASE, COUNTER = 0x100000, 0x110000
# mov esp, 0x120000; xor eax, eax; 1: inc eax; mov [COUNTER], eax; call 2f; jmp 1b; 2: nop; ret
CODE = bytes.fromhex("bc00001200 31c0 40 a300001100 e802000000 ebf3 90 c3")
START, LOOP, STORE, CALL, JUMP, FUNCTION, RET = (BASE + 0x20 + n for n in (0, 7, 8, 13, 18, 20, 21))


class Client:
    """The other end of the wire."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.stream = machine.chardevs["g"]
        self.sent = bytearray()
        self.news = asyncio.Event()
        self.stream._send = self._take
        self.events: list[str] = []
        machine.listeners.append(lambda name, data: self.events.append(name))

    def _take(self, data: bytes) -> int:
        self.sent += data
        self.news.set()
        return len(data)

    def raw(self, data: bytes) -> None:
        self.stream._receive(data)

    async def reply(self) -> bytes:
        """The next packet that comes."""
        while not (found := re.search(rb"\$([^#]*)#(..)", bytes(self.sent))):
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 300)
        del self.sent[:found.end()]
        assert checksum(found[1]) == found[2]
        return unescape(found[1])

    async def ask(self, packet: bytes | str) -> bytes:
        packet = packet.encode() if isinstance(packet, str) else packet
        self.raw(b"$" + packet + b"#" + checksum(packet))
        return await self.reply()

    async def register(self, name: str) -> int:
        names = [reg.name for reg in self.machine.debugger.file.registers]
        return int.from_bytes(bytes.fromhex((await self.ask(f"p{names.index(name):x}")).decode()), "little")

    async def word(self, addr: int, size: int = 4) -> int:
        return int.from_bytes(bytes.fromhex((await self.ask(f"m{addr:x},{size:x}")).decode()), "little")


@pytest.fixture(params=["", "jit=off", "icount"])
def talk(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Run a conversation with a machine that has not started yet."""
    kernel = tmp_path / "kernel.elf"
    kernel.write_bytes(elf32([(BASE, multiboot_header(0).ljust(32, b"\0") + CODE, 0x1000)], START))

    def run(conversation: Callable[[Client], Awaitable[None]], **config: Any) -> None:
        given: dict[str, Any] = {"ram_size": 8 << 20, "kernel": str(kernel), "nodefaults": True, "paused": True,
                                 "gdb": "chardev:g", "chardevs": [{"backend": "ringbuf", "id": "g"}],
                                 "jit": request.param != "jit=off"}
        if request.param == "icount":
            given["icount"] = IcountConfig(3)
        with Machine(MachineConfig(**given | config)).build() as machine:
            client = Client(machine)

            async def whole() -> None:
                try:
                    await conversation(client)
                finally:
                    machine.quit()

            task = machine.loop.create_task(whole())
            machine.run()
            machine.loop.run_until_complete(task)

    return run


def test_breakpoints_steps_and_registers(talk: Any) -> None:
    async def conversation(gdb: Client) -> None:
        assert await gdb.ask("?") == b"T05thread:01;"
        assert gdb.machine.status == "prelaunch"
        assert await gdb.register("rip") == START
        assert await gdb.ask(f"Z0,{FUNCTION:x},1") == b"OK"
        assert await gdb.ask("c") == b"T05thread:01;"
        assert (await gdb.register("rip"), await gdb.register("rax")) == (FUNCTION, 1)
        assert gdb.machine.status == "debug"
        assert Shell(gdb.machine).run("info status") == "VM status: paused (debug)\n"
        for place in (RET, JUMP, LOOP, STORE, CALL, FUNCTION):
            assert await gdb.ask("vCont;s:1;c") == b"T05thread:01;"
            assert await gdb.register("rip") == place
        assert await gdb.ask("c") == b"T05thread:01;", "at a breakpoint: it is for the client to step off it"
        assert await gdb.register("rax") == 2
        assert await gdb.ask(f"z0,{FUNCTION:x},1") == b"OK"
        assert await gdb.ask(f"z0,{FUNCTION:x},1") == b"E22"
        assert await gdb.ask(f"P0={'78563412' + '00' * 4}") == b"OK"
        assert await gdb.ask(f"Z1,{CALL:x},1") == b"OK"
        assert await gdb.ask("vCont;c") == b"T05thread:01;"
        assert await gdb.word(COUNTER) == 0x12345679
        assert gdb.events.count("RESUME") == gdb.events.count("STOP") == 9

    talk(conversation)


def test_breakpoint_in_running_code(talk: Any) -> None:
    """Stopped by Ctrl-C somewhere in a hot loop; then a breakpoint in the middle of what is compiled."""

    async def conversation(gdb: Client) -> None:
        assert (await gdb.ask("qSupported:swbreak+;hwbreak+")).endswith(b";swbreak+;hwbreak+")
        gdb.raw(b"$c#63")
        while gdb.machine.memory.ld(COUNTER, 4) < 5000:
            await asyncio.sleep(0)
        gdb.raw(b"\x03")
        assert await gdb.reply() == b"T02thread:01;"
        assert gdb.machine.status == "paused"
        for _ in range(3):
            before = await gdb.word(COUNTER)
            assert await gdb.ask(f"Z0,{JUMP:x},1") == b"OK"
            assert await gdb.ask("c") == b"T05thread:01;swbreak:;"
            assert await gdb.register("rip") == JUMP
            assert before <= await gdb.word(COUNTER) <= before + 1
            assert await gdb.ask(f"z0,{JUMP:x},1") == b"OK"
            assert await gdb.ask("s") == b"T05thread:01;"

    talk(conversation)


def test_watchpoints(talk: Any) -> None:
    async def conversation(gdb: Client) -> None:
        await gdb.ask("?")
        assert await gdb.ask(f"Z2,{COUNTER:x},4") == b"OK"
        for count in (1, 2):
            assert await gdb.ask("c") == b"T05thread:01;watch:%x;" % COUNTER
            assert (await gdb.register("rip"), await gdb.word(COUNTER)) == (CALL, count)
        assert await gdb.ask(f"z2,{COUNTER:x},4") == b"OK"
        stack = 0x120000 - 4
        assert await gdb.ask(f"Z3,{stack:x},4") == b"OK"
        assert await gdb.ask("c") == b"T05thread:01;rwatch:%x;" % stack
        assert await gdb.register("rip") == JUMP, "RET has read its address"
        assert await gdb.ask(f"z3,{stack:x},4") == b"OK"
        assert await gdb.ask(f"Z4,{stack:x},4") == b"OK"
        assert await gdb.ask("c") == b"T05thread:01;awatch:%x;" % stack
        assert await gdb.register("rip") == FUNCTION
        assert await gdb.ask(f"z4,{stack:x},2") == b"E22"
        assert await gdb.ask(f"Z2,{stack:x},0") == b"E22"
        assert await gdb.ask(f"Z5,{stack:x},1") == b""

    talk(conversation)


def test_memory(talk: Any) -> None:
    async def conversation(gdb: Client) -> None:
        await gdb.ask("?")
        assert await gdb.ask(f"m{START:x},{len(CODE):x}") == CODE.hex().encode()
        assert await gdb.ask("M2000,4:01020304") == b"OK"
        assert await gdb.ask(b"X2004,3:" + escape(b"$}*")) == b"OK"
        assert await gdb.ask("m2000,7") == b"01020304" + b"$}*".hex().encode()
        assert await gdb.ask("m2000,0") == b""
        assert await gdb.ask("M2000,4:0102") == b"E22"
        assert await gdb.ask("m2000,fffff") == b"E22"
        assert await gdb.ask("qqemu.PhyMemMode") == b"0"
        assert await gdb.ask("Qqemu.PhyMemMode:1") == b"OK"
        assert await gdb.ask("qqemu.PhyMemMode") == b"1"
        assert await gdb.ask("m2000,1") == b"01"
        assert await gdb.ask("Qqemu.PhyMemMode:2") == b"E22"

    talk(conversation)


def test_memory_by_the_guest_s_page_tables(talk: Any) -> None:
    """Virtual 0x400000 is physical 0x5000; nothing else in the second 4 MiB is mapped."""

    async def conversation(gdb: Client) -> None:
        await gdb.ask("?")
        memory, cpu = gdb.machine.memory, gdb.machine.cpu
        memory.st(0x3000, 4, 0x83)                      # the first 4 MiB: one large page
        memory.st(0x3004, 4, 0x4003)
        memory.st(0x4000, 4, 0x5003)
        for name, value in (("cr3", 0x3000), ("cr4", 0x10), ("cr0", 0x80000011)):
            cpu.set(name, value)
        memory.write(0x5FFC, b"page")
        assert await gdb.ask("m400ffc,4") == b"page".hex().encode()
        assert await gdb.ask("m400ffc,8") == b"page".hex().encode(), "as much as there is"
        assert await gdb.ask("m401000,4") == b"E14"
        assert await gdb.ask("M400ffe,4:00000000") == b"E14"
        assert memory.read(0x5FFC, 4) == b"page", "nothing of it was written"
        assert await gdb.ask("M400ffc,4:2a2b2c2d") == b"OK"
        assert memory.read(0x5FFC, 4) == b"*+,-"
        await gdb.ask("Qqemu.PhyMemMode:1")
        assert await gdb.ask("m5ffc,4") == b"2a2b2c2d"

    talk(conversation)


def test_questions(talk: Any) -> None:
    async def conversation(gdb: Client) -> None:
        assert await gdb.ask("qAttached") == b"1"
        assert await gdb.ask("qC") == b"QC1"
        assert (await gdb.ask("qfThreadInfo"), await gdb.ask("qsThreadInfo")) == (b"m1", b"l")
        assert bytes.fromhex((await gdb.ask("qThreadExtraInfo,1")).decode()) == b"CPU#0 [running]"
        assert (await gdb.ask("T1"), await gdb.ask("T2")) == (b"OK", b"E22")
        assert (await gdb.ask("Hg1"), await gdb.ask("Hc-1"), await gdb.ask("Hg2")) == (b"OK", b"OK", b"E22")
        assert await gdb.ask("vCont?") == b"vCont;c;C;s;S"
        assert (await gdb.ask("vMustReplyEmpty"), await gdb.ask("qNonsense:1"), await gdb.ask("!")) == (b"", b"", b"")
        assert await gdb.ask("qqemu.sstepbits") == b"ENABLE=1,NOIRQ=2,NOTIMER=4"
        assert (await gdb.ask("qqemu.sstep"), await gdb.ask("Qqemu.sstep=0x5")) == (b"0x7", b"OK")
        assert await gdb.ask("qqemu.sstep") == b"0x5"
        assert await gdb.ask("Qqemu.sstep=0x8") == b"E22"
        assert await gdb.ask("qRcmd," + b"info status".hex()) == b"O" + b"VM status: paused (prelaunch)\n".hex().encode()
        assert await gdb.reply() == b"OK"
        await gdb.ask("QStartNoAckMode")
        gdb.sent.clear()
        assert await gdb.ask("qAttached") == b"1"
        assert not gdb.sent.startswith(b"+")

    talk(conversation)


def test_description(talk: Any) -> None:
    async def conversation(gdb: Client) -> None:
        text, offset = b"", 0
        while True:
            part = await gdb.ask(f"qXfer:features:read:target.xml:{offset:x},200")
            text += part[1:]
            offset += len(part) - 1
            if part[:1] == b"l":
                break
        tree = ElementTree.fromstring(text.decode())
        bits = sum(int(reg.attrib["bitsize"]) for reg in tree.iter("reg"))
        assert tree.findtext("architecture") == "i386:x86-64"
        assert len(bytes.fromhex((await gdb.ask("g")).decode())) == bits // 8
        whole = await gdb.ask("g")
        assert await gdb.ask(b"G" + whole) == b"OK"
        assert await gdb.ask(b"G" + whole[:-2]) == b"E22"
        assert await gdb.ask(f"p{len(list(tree.iter('reg'))):x}") == b"E22"
        assert await gdb.ask("qXfer:features:read:other.xml:0,200") == b"E00"

    talk(conversation, cpu="max")


@pytest.mark.parametrize(("wide", "sse", "avx", "count"), [
    (True, True, True, 24 + 16 + 17 + 2 + 16 + 7), (False, False, False, 16 + 16 + 7), (False, True, False, 16 + 16 + 9 + 7)])
def test_register_files(wide: bool, sse: bool, avx: bool, count: int) -> None:
    registers = register_file(wide, sse, avx)
    tree = ElementTree.fromstring(registers.description().decode())
    names = [reg.attrib["name"] for reg in tree.iter("reg")]
    assert len(names) == len(set(names)) == count
    known = {element.attrib["id"] for element in tree.iter() if "id" in element.attrib}
    builtin = {"int", "int32", "int64", "uint128", "code_ptr", "data_ptr", "i387_ext"}
    assert {reg.attrib["type"] for reg in tree.iter("reg")} <= known | builtin


def test_detach_reconnect_and_kill(talk: Any) -> None:
    async def conversation(gdb: Client) -> None:
        await gdb.ask("?")
        await gdb.ask(f"Z0,{CALL:x},1")
        assert await gdb.ask("D") == b"OK"
        assert gdb.machine.status == "running"
        while gdb.machine.memory.ld(COUNTER, 4) < 5000:
            await asyncio.sleep(0)
        gdb.stream._event("closed")
        gdb.stream._event("opened")
        assert gdb.machine.status == "paused", "it stops for the next one"
        await gdb.ask(f"Z0,{CALL:x},1")
        assert await gdb.ask("c") == b"T05thread:01;"
        gdb.stream._event("closed")
        assert gdb.machine.status == "debug", "a client that vanishes leaves the machine as it is"
        gdb.machine.cont()
        count = gdb.machine.memory.ld(COUNTER, 4)
        while gdb.machine.memory.ld(COUNTER, 4) < count + 5000:
            await asyncio.sleep(0)
        gdb.stream._event("opened")
        assert await gdb.ask("vKill;1") == b"OK"
        await asyncio.sleep(0)
        assert gdb.machine.ending

    talk(conversation)


def test_stops_of_others(talk: Any) -> None:
    async def conversation(gdb: Client) -> None:
        await gdb.ask("?")
        gdb.raw(b"$c#63")
        await asyncio.sleep(0)
        Shell(gdb.machine).run("stop")
        assert await gdb.reply() == b"T02thread:01;"
        gdb.raw(b"$c#63")
        await asyncio.sleep(0)
        gdb.machine.stop("watchdog")
        assert await gdb.reply() == b"T0ethread:01;"
        Shell(gdb.machine).run("cont")
        Shell(gdb.machine).run("stop")
        assert await gdb.ask("qAttached") == b"1", "gdb was not waiting: it hears nothing"

    talk(conversation)


def test_the_machine_ends(talk: Any) -> None:
    async def conversation(gdb: Client) -> None:
        await gdb.ask("?")
        gdb.raw(b"$c#63")
        await asyncio.sleep(0)
        gdb.machine.quit(3)
        assert await gdb.reply() == b"W03"

    talk(conversation)


def test_gdbserver_command(talk: Any, tmp_path: Path) -> None:
    async def conversation(gdb: Client) -> None:
        shell = Shell(gdb.machine)
        path = tmp_path / "gdb.sock"
        where = f"unix:{path},server=on,wait=off"
        assert shell.run(f"gdbserver {where}") == f"Waiting for gdb connection on device '{where}'\n"
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"$qAttached#8f")
        assert await reader.readexactly(6) == b"+$1#31"
        second, other = await asyncio.open_unix_connection(str(path))
        assert await second.read() == b"", "one client at a time; the second is refused"
        other.close()
        writer.close()
        await asyncio.sleep(0)
        assert shell.run("gdbserver none") == "Disabled gdbserver\n"
        assert gdb.machine.debugger is None
        assert not path.exists()
        assert shell.run("gdbserver nonsense").startswith("Could not open gdbserver on device 'nonsense': ")

    talk(conversation)


def test_real_mode(talk: Any, tmp_path: Path) -> None:
    """At the reset vector CS has a base: breakpoints are linear addresses, EIP is not. Going on from one works still."""
    rom = bytearray(b"\x90" * 0x10000)
    rom[0xFFF0:0xFFF5] = b"\xea\x00\x00\x00\xf0"        # ljmp 0xf000:0
    rom[0:6] = b"\x40\x90\x90\xeb\xfb\xf4"              # 1: inc ax; nop; nop; jmp 1b
    (tmp_path / "rom").write_bytes(rom)

    async def conversation(gdb: Client) -> None:
        await gdb.ask("?")
        assert (await gdb.register("rip"), await gdb.register("cs")) == (0xFFF0, 0xF000)
        assert await gdb.word(0xFFFFFFF0, 1) == 0xEA
        assert await gdb.ask("s") == b"T05thread:01;"
        assert (await gdb.register("rip"), await gdb.register("cs")) == (0, 0xF000)
        await gdb.ask("Z0,f0001,1")
        for count in (1, 2, 3):
            assert await gdb.ask("c") == b"T05thread:01;"
            assert (await gdb.register("rip"), await gdb.register("rax")) == (1, count)

    talk(conversation, kernel=None, bios=str(tmp_path / "rom"))


def test_step_over_hlt(talk: Any, tmp_path: Path) -> None:
    """A step onto HLT ends there; the next one waits for the interrupt, and ends where its handler begins."""
    kernel = tmp_path / "halt.elf"
    code = bytes.fromhex("bc00001200 f4 90")
    kernel.write_bytes(elf32([(BASE, multiboot_header(0).ljust(32, b"\0") + code, 0x1000)], START))

    async def conversation(gdb: Client) -> None:
        await gdb.ask("?")
        await gdb.ask("s")
        assert await gdb.ask("s") == b"T05thread:01;"
        assert (gdb.machine.cpu.halted, await gdb.register("rip")) == (True, START + 6)
        gdb.raw(b"$s#73")
        for _ in range(20):
            await asyncio.sleep(0)
        assert gdb.machine.status == "running"
        memory, cpu = gdb.machine.memory, gdb.machine.cpu
        memory.st(0x6010, 8, 0x0010_8E00_0000_7000 | cpu.get("cs") << 16)       # the NMI's gate: to 0x107000
        memory.st(0x107000, 2, 0x9090)
        memory.st(0x6100 + (cpu.get("cs") & ~7), 8, 0x00CF9B000000FFFF)         # ... through this code segment
        for name, value in (("idt_base", 0x6000), ("idt_limit", 0xFF), ("gdt_base", 0x6100), ("gdt_limit", 0xFF)):
            cpu.set(name, value)
        cpu.set_nmi()
        gdb.machine.post(lambda: None)
        assert await gdb.reply() == b"T05thread:01;"
        assert (await gdb.register("rip"), cpu.halted) == (0x107000, False)

    talk(conversation, kernel=str(kernel))


# ---- the wire -----------------------------------------------------------------------------------------------------------


def wire() -> tuple[Wire, list[bytes], list[bytes]]:
    out: list[bytes] = []
    packets: list[bytes] = []
    return Wire(out.append, packets.append, lambda: packets.append(b"<break>")), out, packets


def test_bytes() -> None:
    for data in (b"", bytes(range(256)), b"}}##$$**"):
        assert unescape(escape(data)) == data
    line, out, packets = wire()
    for byte in b"+$g#67\x03$m0,1#fa":
        line.feed(bytes([byte]))
    assert (packets, out) == ([b"g", b"<break>", b"m0,1"], [b"+", b"+"])
    line.feed(b"$g#00")
    assert (out[2:], len(packets)) == ([b"-"], 3)
    line.send(b"x")
    line.feed(b"-")
    assert out[3:] == [b"$x#78", b"$x#78"]
    line.feed(b"+--")
    assert len(out) == 5


def test_a_packet_that_was_sent_again() -> None:
    """A client that saw no acknowledgement yet repeats itself; without acknowledgements two packets are two."""
    line, out, packets = wire()
    line.feed(b"+$g#67$g#67$g#67")
    assert (packets, out) == ([b"g"], [b"+"])
    line.acks = False
    line.feed(b"$g#67$g#67")
    assert packets == [b"g"] * 3


def test_overlong_packets_are_dropped() -> None:
    line, out, packets = wire()
    line.feed(b"$")
    for _ in range(64):
        line.feed(b"m" * 4096)
        assert len(line._in) <= MOST + 1 + 4096
    line.feed(b"#00$g#67")
    assert packets == [b"g"]
    assert out == [b"+", b"$E22#" + checksum(b"E22"), b"+"]


LETTERS = [b"?", b"g", b"G", b"p", b"P", b"m", b"M", b"X", b"Z", b"z", b"H", b"T", b"qSupported:",
           b"qXfer:features:read:target.xml:", b"qRcmd,", b"qThreadExtraInfo,", b"Qqemu.sstep=",
           b"Qqemu.PhyMemMode:", b"vCont;", b"vCont?", b"qC", b"D;", b"q", b"v"]
PIECES = [b"0", b"1", b"-1", b"f" * 16, b"f" * 17, b"ffffffff", b"100000", b",", b";", b":", b"=", b"s", b"c", b"}", b"*",
          b"$", b"\x03", b"zz", b"\xff", b"00" * 40, b"a" * 3000, b"\0"]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_nonsense(talk: Any, seed: int) -> None:
    """Packets from nobody's mind, whole and in halves: an answer or none, and the machine is there after it."""
    choose = random.Random(seed)

    async def conversation(gdb: Client) -> None:
        for _ in range(250):
            body = choose.choice(LETTERS) + b"".join(choose.choice(PIECES) for _ in range(choose.randrange(6)))
            data = b"$" + body + b"#" + (checksum(body) if choose.randrange(8) else b"zz")
            if choose.randrange(8) == 0:
                data = data[:choose.randrange(len(data))]
            gdb.raw(data)
            if choose.randrange(16) == 0:
                await asyncio.sleep(0)
        while gdb.stream._in:
            await asyncio.sleep(0)
        gdb.stream._event("closed")
        gdb.stream.flush()
        gdb.sent.clear()
        gdb.stream._event("opened")
        assert await gdb.ask("?") == b"T05thread:01;"

    talk(conversation)

