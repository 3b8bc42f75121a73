"""Intel 8237A DMA controller with the PC's page registers.

Datasheet: Intel 8237A, order number 231466-005. (The device is called i8257 as in QEMU; the chip of a PC is its
successor.) A PC has two: channels 0-3 move bytes, channels 5-7 words; channel 4 joins the first to the second.

Transfers are not clocked. A device that has something to move raises DREQ and moves as much as it likes when the
channel lets it:

    channel = dma_channel(machine, 2)
    channel.connect(self.dma_ready)       # called when DREQ is up and the channel is free to go
    channel.set_dreq(1)
    ...
    taken = channel.to_memory(data)       # or channel.from_memory(count)
    if channel.tc: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import PcemuError, PortWindow, Property, State

# Command register.
MEM_TO_MEM, ADDRESS_HOLD, DISABLE = 0x01, 0x02, 0x04
# Mode register.
VERIFY, WRITE, READ, ILLEGAL = 0, 1, 2, 3  # bits 3-2; to and from memory
AUTOINIT, DECREMENT = 0x10, 0x20
CASCADE_MODE = 0xC0

# Page register of channels 0 to 3, counted from page-base; 4 to 6 and 8 (of each controller) are not connected.
PAGE_OF_CHANNEL = (7, 3, 1, 2)
CHANNEL_OF_PAGE = {page: channel for channel, page in enumerate(PAGE_OF_CHANNEL)}


class DmaChannel:
    """One channel, and the wires between it and a device."""

    def __init__(self, controller: I8257, index: int) -> None:
        self.controller = controller
        self.index = index
        self.tc = False  # the last transfer of the device reached terminal count
        self._on_ready: Callable[[], None] | None = None

    def connect(self, on_ready: Callable[[], None]) -> None:
        """The device on this channel."""
        self._on_ready = on_ready

    # -- the device's side ----------------------------------------------------------------------------------

    def set_dreq(self, level: int) -> None:
        """DMA request. When the channel is free to go, the device's callback is called at once."""
        dma = self.controller
        bit = 1 << self.index
        if level:
            dma.dreq |= bit
            self.kick()
        else:
            dma.dreq &= ~bit

    @property
    def ready(self) -> bool:
        """Would a request be acknowledged now?"""
        return self.controller.grants(self.index)

    @property
    def left(self) -> int:
        """Bytes up to terminal count."""
        dma = self.controller
        return (dma.count[self.index] + 1) << dma.dshift

    def to_memory(self, data: bytes | bytearray | memoryview) -> int:
        """Device to memory; returns how many bytes were taken (terminal count ends it)."""
        dma = self.controller
        shift = dma.dshift
        units = min(len(data) >> shift, dma.count[self.index] + 1)
        data = bytes(data[: units << shift])
        kind = dma.mode[self.index] >> 2 & 3
        if kind == WRITE:
            done = 0
            for address, length, reverse in dma.spans(self.index, units):
                piece = data[done : done + length]
                dma.machine.memory.write(address, _reversed(piece, shift) if reverse else piece)
                done += length
        elif kind != VERIFY:
            dma.log_guest_error("channel %d: device writes, mode %#x reads", self.index, dma.mode[self.index])
        self.tc = dma.advance(self.index, units)
        return units << shift

    def from_memory(self, count: int) -> bytes:
        """Memory to device: at most `count` bytes (terminal count ends it)."""
        dma = self.controller
        shift = dma.dshift
        units = min(max(count, 0) >> shift, dma.count[self.index] + 1)
        kind = dma.mode[self.index] >> 2 & 3
        if kind == READ:
            data = bytearray()
            for address, length, reverse in dma.spans(self.index, units):
                piece = dma.machine.memory.read(address, length)
                data += _reversed(piece, shift) if reverse else piece
        else:
            data = bytearray(b"\xff" * (units << shift))  # nobody drives the bus
            if kind != VERIFY:
                dma.log_guest_error("channel %d: device reads, mode %#x writes", self.index, dma.mode[self.index])
        self.tc = dma.advance(self.index, units)
        return bytes(data)

    # -- the controller's side ------------------------------------------------------------------------------

    def kick(self) -> None:
        """Something that held a request back may have gone."""
        if self._on_ready is not None:
            dma = self.controller
            if dma.grants(self.index) or dma.passes(self.index):
                self._on_ready()


def _reversed(data: bytes, shift: int) -> bytes:
    """The units of a transfer in the order of falling addresses."""
    if not shift:
        return data[::-1]
    out = bytearray(len(data))
    out[0::2] = data[-2::-2]
    out[1::2] = data[::-2]
    return bytes(out)


class I8257(IsaDevice):
    """Intel 8237A DMA controller: four channels."""

    type_name = "i8257"
    desc = "DMA controller"
    user_creatable = False
    trace_events = ("i8257_write", "i8257_terminal_count")

    base = Property("s32", default=0, fmt="hex", help="first port of the channel and control registers")
    page_base = Property("s32", default=0x80, fmt="hex", help="port of the page registers")
    pageh_base = Property("s32", default=0x480, fmt="hex", help="port of the high page registers, -1 for none")
    dshift = Property("s32", default=0, min=0, max=1, help="1: transfers of words, and registers at every second port")

    base_address = State("u16[4]")
    base_count = State("u16[4]")
    address = State("u16[4]", help="current addresses")
    count = State("u16[4]", help="current counts: transfers left, less one")
    mode = State("u8[4]")
    page = State("u8[4]", help="address bits 23-16")
    pageh = State("u8[4]", help="address bits 31-24")
    command = State("u8")
    mask = State("u8", reset=0x0F)
    request = State("u8", help="software requests")
    dreq = State("u8", help="levels of the DREQ inputs")
    terminal = State("u8", help="channels that reached terminal count since status was read")
    temporary = State("u8", help="last byte of a memory-to-memory transfer")
    flip_flop = State("bool", help="the next byte is the high one")

    channel_ports = PortWindow("base", "_ports", "channel_read", "channel_write", access=(1, 1), name="dma-chan")
    control_ports = PortWindow("_control_base", "_ports", "control_read", "control_write", access=(1, 1), name="dma-cont")
    page_ports = PortWindow("_page1", 3, "page_read", "page_write", access=(1, 1), name="dma-page")
    page7_port = PortWindow("_page7", 1, "page7_read", "page7_write", access=(1, 1), name="dma-page")
    pageh_ports = PortWindow("_pageh1", 3, "pageh_read", "pageh_write", access=(1, 1), name="dma-pageh")
    pageh7_port = PortWindow("_pageh7", 1, "pageh7_read", "pageh7_write", access=(1, 1), name="dma-pageh")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.channels = [DmaChannel(self, index) for index in range(4)]
        self.cascaded_on: DmaChannel | None = None
        super().__init__(*args, **kwargs)

    def cascade(self, second: I8257, channel: int = 0) -> None:
        """HRQ of this controller goes to a channel of `second`, which must be in cascade mode and unmasked."""
        self.cascaded_on = second.channels[channel]
        self.cascaded_on.connect(self._kick)

    # Where the windows lie follows from the properties.

    @property
    def _ports(self) -> int:
        return 8 << self.dshift

    @property
    def _control_base(self) -> int:
        base: int = self.base
        return base + (8 << self.dshift)

    @property
    def _page1(self) -> int:
        return -1 if self.page_base < 0 else self.page_base + 1

    @property
    def _page7(self) -> int:
        return -1 if self.page_base < 0 else self.page_base + 7

    @property
    def _pageh1(self) -> int:
        return -1 if self.pageh_base < 0 else self.pageh_base + 1

    @property
    def _pageh7(self) -> int:
        return -1 if self.pageh_base < 0 else self.pageh_base + 7

    # -- service --------------------------------------------------------------------------------------------

    def grants(self, index: int) -> bool:
        """Is a request of this channel acknowledged?"""
        bit = 1 << index
        if self.command & DISABLE:
            return False
        # A software request cannot be masked (datasheet, "Request Register").
        if not (self.dreq & ~self.mask | self.request) & bit:
            return False
        if self.mode[index] & CASCADE_MODE == CASCADE_MODE:
            return False
        upper = self.cascaded_on
        return upper is None or upper.controller.passes(upper.index)

    def passes(self, index: int) -> bool:
        """Does this channel let another controller's requests through?"""
        return (
            not self.command & DISABLE
            and not self.mask >> index & 1
            and self.mode[index] & CASCADE_MODE == CASCADE_MODE
        )

    def _kick(self) -> None:
        if self.request & 1 and self.command & MEM_TO_MEM and not self.command & DISABLE:
            self._memory_to_memory()
        for channel in self.channels:
            channel.kick()

    def spans(self, index: int, units: int) -> Iterator[tuple[int, int, bool]]:
        """Memory that the next transfers touch: (address, bytes, backwards). Addresses wrap within the page."""
        shift = self.dshift
        page = self.page[index] & ~shift  # a word channel's page is 128 KiB: A16 comes from the address register
        start = self.pageh[index] << 24 | page << 16
        at = self.address[index]
        backwards = bool(self.mode[index] & DECREMENT)
        while units:
            if backwards:
                run = min(units, at + 1)
                yield start + ((at - run + 1) << shift), run << shift, True
                at = (at - run) & 0xFFFF
            else:
                run = min(units, 0x10000 - at)
                yield start + (at << shift), run << shift, False
                at = (at + run) & 0xFFFF
            units -= run

    def advance(self, index: int, units: int, hold: bool = False) -> bool:
        """Count transfers; True at terminal count, after which the channel is masked or starts over."""
        if not hold:
            step = -units if self.mode[index] & DECREMENT else units
            self.address[index] = (self.address[index] + step) & 0xFFFF
        left = self.count[index] - units
        self.count[index] = left & 0xFFFF
        if left >= 0:
            return False
        bit = 1 << index
        self.terminal |= bit
        self.request &= ~bit
        if self.mode[index] & AUTOINIT:
            self.address[index] = self.base_address[index]
            self.count[index] = self.base_count[index]
        else:
            self.mask |= bit
        if self.tracing:
            self.trace("i8257_terminal_count", channel=index)
        return True

    def _memory_to_memory(self) -> None:
        """Channel 0 is the source, channel 1 the destination and the count; one unit after the other."""
        memory, shift = self.machine.memory, self.dshift
        units = self.count[1] + 1
        hold = bool(self.command & ADDRESS_HOLD)
        if hold:
            chunk = units
        elif (self.mode[0] ^ self.mode[1]) & DECREMENT:
            chunk = 1
        else:
            # What lies closer than this to its copy is read before it is overwritten, or after, as on the chip.
            chunk = abs(self.address[0] - self.address[1]) or units
        piece = b""
        while units:
            run = min(chunk, units)
            piece = self._gather(0, 1) * run if hold else self._gather(0, run)
            done = 0
            for address, length, backwards in self.spans(1, run):
                part = piece[done : done + length]
                memory.write(address, _reversed(part, shift) if backwards else part)
                done += length
            self.advance(0, run, hold)
            self.advance(1, run)
            units -= run
        self.temporary = piece[-1]
        self.request &= ~1

    def _gather(self, index: int, units: int) -> bytes:
        out = b""
        for address, length, backwards in self.spans(index, units):
            part = self.machine.memory.read(address, length)
            out += _reversed(part, self.dshift) if backwards else part
        return out

    # -- registers ------------------------------------------------------------------------------------------

    def channel_read(self, offset: int, size: int) -> int:
        register = offset >> self.dshift
        index = register >> 1
        value: int = self.count[index] if register & 1 else self.address[index]
        self.flip_flop = not self.flip_flop
        return value & 0xFF if self.flip_flop else value >> 8

    def channel_write(self, offset: int, value: int, size: int) -> None:
        """A byte of a base register; the current register gets it too."""
        register = offset >> self.dshift
        index = register >> 1
        base, current = (self.base_count, self.count) if register & 1 else (self.base_address, self.address)
        if self.tracing:
            self.trace("i8257_write", register=register, value=value)
        if self.flip_flop:
            base[index] = current[index] = base[index] & 0xFF | value << 8
        else:
            base[index] = current[index] = base[index] & 0xFF00 | value
        self.flip_flop = not self.flip_flop

    def control_read(self, offset: int, size: int) -> int:
        register = offset >> self.dshift
        if register == 0:
            status: int = (self.dreq | self.request) << 4 | self.terminal
            self.terminal = 0
            return status
        if register == 5:
            return self.temporary
        if register == 7:
            return self.mask  # the PIIX lets it be read
        return 0xFF  # illegal on the 8237A

    def control_write(self, offset: int, value: int, size: int) -> None:
        register = offset >> self.dshift
        if self.tracing:
            self.trace("i8257_write", register=8 + register, value=value)
        bit = 1 << (value & 3)
        if register == 0:
            self.command = value
        elif register == 1:
            self.request = self.request | bit if value & 4 else self.request & ~bit
        elif register == 2:
            self.mask = self.mask | bit if value & 4 else self.mask & ~bit
        elif register == 3:
            self.mode[value & 3] = value
        elif register == 4:
            self.flip_flop = False
        elif register == 5:  # master clear
            self.command = self.request = self.terminal = self.temporary = 0
            self.flip_flop = False
            self.mask = 0x0F
        elif register == 6:
            self.mask = 0
        else:
            self.mask = value & 0x0F
        self._kick()

    def page_read(self, offset: int, size: int) -> int:
        return self.page[CHANNEL_OF_PAGE[offset + 1]]

    def page_write(self, offset: int, value: int, size: int) -> None:
        self.page[CHANNEL_OF_PAGE[offset + 1]] = value

    def page7_read(self, offset: int, size: int) -> int:
        return self.page[0]

    def page7_write(self, offset: int, value: int, size: int) -> None:
        self.page[0] = value

    def pageh_read(self, offset: int, size: int) -> int:
        return self.pageh[CHANNEL_OF_PAGE[offset + 1]]

    def pageh_write(self, offset: int, value: int, size: int) -> None:
        self.pageh[CHANNEL_OF_PAGE[offset + 1]] = value

    def pageh7_read(self, offset: int, size: int) -> int:
        return self.pageh[0]

    def pageh7_write(self, offset: int, value: int, size: int) -> None:
        self.pageh[0] = value


def dma_channel(machine: Any, number: int) -> DmaChannel:
    """ISA DMA channel `number`: 0 to 3 move bytes, 5 to 7 words."""
    for controller in machine.find_all(I8257):
        if controller.dshift == number >> 2:
            channel: DmaChannel = controller.channels[number & 3]
            return channel
    raise PcemuError(f"there is no DMA channel {number}")
