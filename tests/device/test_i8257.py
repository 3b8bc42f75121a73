"""Intel 8237A pair with page registers: registers, transfer modes, terminal count, cascade, memory to memory."""

from __future__ import annotations

import random

import pytest

from pcemu.hw.dma.i8257 import I8257, DmaChannel, dma_channel
from pcemu.qom import PcemuError
from pcemu.testing.harness import TestMachine

PAGE_PORT = {0: 0x87, 1: 0x83, 2: 0x81, 3: 0x82, 5: 0x8B, 6: 0x89, 7: 0x8A}
VERIFY, WRITE, READ = 0x40, 0x44, 0x48  # single mode
AUTO, DOWN = 0x10, 0x20


class Dma:
    def __init__(self, pageh: int = -1) -> None:
        self.m = TestMachine(ram=4 << 20)
        self.second = self.m.add(I8257, base=0xC0, page_base=0x88, pageh_base=-1, dshift=1)
        self.first = self.m.add(I8257, base=0, page_base=0x80, pageh_base=pageh, dshift=0)
        self.first.cascade(self.second)
        self.m.outb(0xD6, 0xC0)  # channel 4: cascade
        self.m.outb(0xD4, 0x00)

    def port(self, channel: int, register: int) -> int:
        """A channel's address (0) or count (1) port, or a control register (8 to 15)."""
        if register < 8:
            register += (channel & 3) * 2
        return register if channel < 4 else 0xC0 + 2 * register

    def program(self, channel: int, address: int, units: int, mode: int, unmask: bool = True) -> DmaChannel:
        at = address >> 1 if channel >= 4 else address
        self.m.outb(self.port(channel, 12), 0)
        for register, value in ((0, at & 0xFFFF), (1, units - 1)):
            self.m.outb(self.port(channel, register), value & 0xFF)
            self.m.outb(self.port(channel, register), value >> 8)
        self.m.outb(PAGE_PORT[channel], address >> 16)
        self.m.outb(self.port(channel, 11), mode | channel & 3)
        if unmask:
            self.m.outb(self.port(channel, 10), channel & 3)
        found = dma_channel(self.m, channel)
        found.set_dreq(1)
        return found

    def current(self, channel: int, register: int) -> int:
        self.m.outb(self.port(channel, 12), 0)
        low = self.m.inb(self.port(channel, register))
        return low | self.m.inb(self.port(channel, register)) << 8


@pytest.fixture
def dma() -> Dma:
    return Dma()


def test_ports_of_the_pair(dma: Dma) -> None:
    ports = sorted((r.start, r.size, r.region.name) for r in dma.m.io_space.flat)
    assert ports == [
        (0x00, 8, "dma-chan"), (0x08, 8, "dma-cont"),
        (0x81, 3, "dma-page"), (0x87, 1, "dma-page"), (0x89, 3, "dma-page"), (0x8F, 1, "dma-page"),
        (0xC0, 16, "dma-chan"), (0xD0, 16, "dma-cont"),
    ]  # fmt: skip


def test_power_on(dma: Dma) -> None:
    dma.m.reset()
    for channel in (0, 4):
        assert dma.m.inb(dma.port(channel, 8)) == 0
        assert dma.m.inb(dma.port(channel, 15)) == 0x0F, "all masked"
        assert dma.m.inb(dma.port(channel, 13)) == 0


@pytest.mark.parametrize("channel", [0, 1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize("register", [0, 1])
def test_registers_through_the_flip_flop(dma: Dma, channel: int, register: int) -> None:
    port = dma.port(channel, register)
    dma.m.outb(dma.port(channel, 12), 0xFF)  # any value clears it
    dma.m.outb(port, 0x34)
    dma.m.outb(port, 0x12)
    assert (dma.m.inb(port), dma.m.inb(port)) == (0x34, 0x12)
    dma.m.inb(port)
    dma.m.outb(dma.port(channel, 12), 0)
    assert dma.m.inb(port) == 0x34, "cleared again"


@pytest.mark.parametrize("channel", PAGE_PORT)
def test_page_registers(dma: Dma, channel: int) -> None:
    dma.m.outb(PAGE_PORT[channel], 0xA0 | channel)
    assert dma.m.inb(PAGE_PORT[channel]) == 0xA0 | channel
    chip = dma.first if channel < 4 else dma.second
    assert chip.page[channel & 3] == 0xA0 | channel


@pytest.mark.parametrize("channel", [0, 1, 2, 3, 5, 6, 7])
def test_to_memory(dma: Dma, channel: int) -> None:
    ch = dma.program(channel, 0x12346, 8, WRITE)
    data = bytes(range(8 << (channel >> 2)))
    assert ch.ready and ch.left == len(data)
    assert ch.to_memory(data[:4]) == 4 and not ch.tc
    assert ch.to_memory(data[4:] + b"more") == len(data) - 4 and ch.tc
    assert dma.m.memory.read(0x12346, len(data) + 1) == data + b"\0"
    assert dma.current(channel, 1) == 0xFFFF
    assert dma.m.inb(dma.port(channel, 8)) & 0x0F == 1 << (channel & 3)
    assert dma.m.inb(dma.port(channel, 8)) & 0x0F == 0, "reading cleared terminal count"
    assert not ch.ready, "masked after terminal count"


@pytest.mark.parametrize("channel", [1, 5])
def test_from_memory(dma: Dma, channel: int) -> None:
    data = bytes(range(100, 116))
    dma.m.memory.write(0x20000, data)
    ch = dma.program(channel, 0x20000, 16 >> (channel >> 2), READ)
    assert ch.from_memory(6) == data[:6]
    assert dma.current(channel, 0) == 6 >> (channel >> 2)
    assert ch.from_memory(1000) == data[6:] and ch.tc


@pytest.mark.parametrize("channel", [3, 7])
def test_decrement(dma: Dma, channel: int) -> None:
    width = 1 + (channel >> 2)
    data = bytes(range(6 * width))
    ch = dma.program(channel, 0x30010, 6, WRITE | DOWN)
    ch.to_memory(data)
    units = [data[i : i + width] for i in range(0, len(data), width)]
    assert dma.m.memory.read(0x30010 - 5 * width, 6 * width) == b"".join(reversed(units))
    ch = dma.program(channel, 0x30010, 6, READ | DOWN)
    assert ch.from_memory(6 * width) == data


def test_verify_moves_nothing(dma: Dma) -> None:
    ch = dma.program(2, 0x40000, 4, VERIFY)
    assert ch.to_memory(b"data") == 4 and ch.tc
    assert dma.m.memory.read(0x40000, 4) == b"\0\0\0\0"
    ch = dma.program(2, 0x40000, 4, VERIFY)
    assert ch.from_memory(4) == b"\xff" * 4
    assert dma.m.log.messages == []


def test_wrong_direction(dma: Dma) -> None:
    ch = dma.program(2, 0x40000, 4, READ)
    assert ch.to_memory(b"data") == 4
    assert dma.m.memory.read(0x40000, 4) == b"\0\0\0\0"
    ch = dma.program(2, 0x40000, 4, WRITE)
    assert ch.from_memory(2) == b"\xff\xff"
    assert len(dma.m.log.messages) == 2


def test_autoinitialize(dma: Dma) -> None:
    ch = dma.program(1, 0x50000, 4, WRITE | AUTO)
    assert ch.to_memory(b"abcdefgh") == 4 and ch.tc
    assert ch.ready, "goes on"
    assert (dma.current(1, 0), dma.current(1, 1)) == (0, 3)
    ch.to_memory(b"XY")
    assert dma.m.memory.read(0x50000, 4) == b"XYcd" and not ch.tc


def test_addresses_wrap_within_the_page(dma: Dma) -> None:
    """64 KiB for bytes; 128 KiB for words, whose page register's lowest bit is not used."""
    ch = dma.program(0, 0x1FFFE, 4, WRITE)
    ch.to_memory(b"abcd")
    assert dma.m.memory.read(0x1FFFE, 2) == b"ab" and dma.m.memory.read(0x10000, 2) == b"cd"
    ch = dma.program(5, 0x3FFFE, 2, WRITE)
    ch.to_memory(b"wxyz")
    assert dma.m.memory.read(0x3FFFE, 2) == b"wx" and dma.m.memory.read(0x20000, 2) == b"yz"
    ch = dma.program(0, 0x10001, 4, READ | DOWN)
    assert ch.from_memory(4) == b"dcba"


def test_whole_page(dma: Dma) -> None:
    data = random.Random(0).randbytes(0x10000)
    ch = dma.program(0, 0x20000, 0x10000, WRITE)
    assert ch.left == 0x10000
    assert ch.to_memory(data) == 0x10000 and ch.tc
    assert dma.m.memory.read(0x20000, 0x10000) == data


def test_high_page_registers() -> None:
    dma = Dma(pageh=0x480)
    dma.m.outb(0x487, 0x12)
    dma.m.outb(0x483, 0x34)
    assert (dma.m.inb(0x487), dma.m.inb(0x483)) == (0x12, 0x34)
    ch = dma.program(0, 0x1000, 1, WRITE)
    assert list(dma.first.spans(ch.index, 1)) == [(0x12001000, 1, False)]


def test_odd_byte_of_a_word_channel_is_left(dma: Dma) -> None:
    ch = dma.program(5, 0x10000, 4, WRITE)
    assert ch.to_memory(b"abc") == 2


def test_request_waits_for_the_mask(dma: Dma) -> None:
    calls = []
    ch = dma.program(2, 0x10000, 16, WRITE, unmask=False)
    ch.set_dreq(0)
    ch.connect(lambda: calls.append(ch.to_memory(b"0123")))
    ch.set_dreq(1)
    assert calls == [] and dma.m.inb(0x08) == 0x40, "the request is seen in the status"
    dma.m.outb(0x0A, 2)
    assert calls == [4]
    ch.set_dreq(1)
    assert calls == [4, 4]
    ch.set_dreq(0)
    dma.m.outb(0x0B, WRITE | 2)
    assert calls == [4, 4] and dma.m.inb(0x08) == 0


@pytest.mark.parametrize("mask_write", [(0x0A, 0x06, 0x02), (0x0F, 0x04, 0x00), (0x0F, 0x0F, 0x0B)])
def test_mask_registers(dma: Dma, mask_write: tuple[int, int, int]) -> None:
    port, on, off = mask_write
    ch = dma.program(2, 0, 1, WRITE)
    dma.m.outb(port, on)
    assert not ch.ready and dma.m.inb(0x0F) & 4
    dma.m.outb(port, off)
    assert ch.ready and not dma.m.inb(0x0F) & 4


def test_clear_mask_and_master_clear(dma: Dma) -> None:
    ch = dma.program(2, 0x1234, 1, WRITE)
    dma.m.outb(0x0D, 0)
    assert dma.m.inb(0x0F) == 0x0F and not ch.ready
    assert dma.current(2, 0) == 0x1234, "addresses and modes stay"
    dma.m.outb(0x0E, 0)
    assert dma.m.inb(0x0F) == 0 and ch.ready
    dma.m.outb(0x00, 1)
    dma.m.outb(0x0D, 0)
    assert not dma.first.flip_flop


def test_controller_disable(dma: Dma) -> None:
    ch = dma.program(2, 0, 1, WRITE)
    dma.m.outb(0x08, 0x04)
    assert not ch.ready
    dma.m.outb(0x08, 0x00)
    assert ch.ready


def test_cascade(dma: Dma) -> None:
    calls = []
    ch = dma.program(2, 0, 4, WRITE)
    ch.connect(lambda: calls.append(1))
    dma.m.outb(0xD4, 0x04)
    assert not ch.ready, "channel 4 is masked"
    dma.m.outb(0xD4, 0x00)
    assert ch.ready and calls == [1]
    dma.m.outb(0xD6, 0x40)
    assert not ch.ready, "channel 4 is not in cascade mode"
    dma.m.outb(0xD6, 0xC0)
    dma.m.outb(0xD0, 0x04)
    assert not ch.ready, "the second controller is off"
    word = dma.program(6, 0, 4, WRITE)
    assert not word.ready
    dma.m.outb(0xD0, 0x00)
    assert ch.ready and word.ready


def test_software_request(dma: Dma) -> None:
    """Not maskable, seen in the status, cleared by terminal count."""
    ch = dma.program(3, 0x10000, 4, 0x84, unmask=False)
    ch.set_dreq(0)
    assert not ch.ready
    dma.m.outb(0x09, 0x07)
    assert ch.ready and dma.m.inb(0x08) == 0x80
    dma.m.outb(0x09, 0x03)
    assert not ch.ready
    dma.m.outb(0x09, 0x07)
    ch.to_memory(b"abcd")
    assert dma.m.inb(0x08) == 0x08 and not ch.ready


def memory_to_memory(dma: Dma, src: int, dst: int, units: int, mode0: int = 0x88, mode1: int = 0x84, command: int = 1) -> None:
    dma.program(0, src, 1, mode0, unmask=False).set_dreq(0)
    dma.program(1, dst, units, mode1, unmask=False).set_dreq(0)
    dma.m.outb(0x08, command)
    dma.m.outb(0x09, 0x04)


def test_memory_to_memory(dma: Dma) -> None:
    data = random.Random(1).randbytes(0x1000)
    dma.m.memory.write(0x10000, data)
    memory_to_memory(dma, 0x10000, 0x24000, 0x1000)
    assert dma.m.memory.read(0x24000, 0x1001) == data + b"\0"
    assert dma.m.inb(0x0D) == data[-1], "temporary register"
    assert dma.m.inb(0x08) & 0x0F & 2
    assert dma.current(1, 1) == 0xFFFF


def test_memory_fill(dma: Dma) -> None:
    dma.m.memory.write(0x10000, b"\x55")
    memory_to_memory(dma, 0x10000, 0x20000, 0x100, command=3)
    assert dma.m.memory.read(0x20000, 0x101) == b"\x55" * 0x100 + b"\0"
    assert dma.current(0, 0) == 0, "the source address is held"


@pytest.mark.parametrize("distance", [-7, -1, 1, 3, 7])
def test_memory_to_memory_overlap(dma: Dma, distance: int) -> None:
    """Unit by unit: a copy a little upwards repeats what it has written."""
    memory = bytearray(random.Random(2).randbytes(64))
    dma.m.memory.write(0x10000, bytes(memory))
    memory_to_memory(dma, 0x10010, 0x10010 + distance, 20)
    for i in range(20):
        memory[16 + distance + i] = memory[16 + i]
    assert dma.m.memory.read(0x10000, 64) == bytes(memory)


def test_memory_to_memory_backwards(dma: Dma) -> None:
    dma.m.memory.write(0x10000, b"0123456789")
    memory_to_memory(dma, 0x10000, 0x10029, 10, mode1=0x84 | DOWN)
    assert dma.m.memory.read(0x10020, 10) == b"9876543210"


def test_channel_lookup(dma: Dma) -> None:
    assert dma_channel(dma.m, 7) is dma.second.channels[3]
    with pytest.raises(PcemuError):
        dma_channel(dma.m, 8)


def test_any_write_is_survived(dma: Dma) -> None:
    rng = random.Random(8237)
    ports = [*range(0x00, 0x10), *range(0x81, 0x90), *range(0xC0, 0xE0)]
    for number in (0, 1, 2, 3, 5, 6, 7):
        ch = dma_channel(dma.m, number)
        ch.connect(lambda ch=ch: ch.to_memory(b"x" * 64) if ch.index & 1 else ch.from_memory(64))
    for _ in range(10000):
        if rng.randrange(3):
            dma.m.outb(rng.choice(ports), rng.randrange(256))
        else:
            assert 0 <= dma.m.inb(rng.choice(ports)) <= 255
        if not rng.randrange(5):
            dma_channel(dma.m, rng.choice((0, 1, 2, 3, 5, 6, 7))).set_dreq(rng.randrange(2))
    dma.first.get_state()
    dma.second.get_state()
