"""The 8254 and the MC146818 beside QEMU's, at equal virtual times.

A ROM pokes QEMU's chips and notes when; the same accesses are repeated here at the same nanoseconds. Left out, because
the datasheets say otherwise than QEMU does:
- 8254: a count is loaded at the next clock pulse, not at once (one pulse of tolerance below); new counts of modes 2
  and 3 wait for the end of the cycle; odd counts in mode 3; OUT in modes 2, 4 and 5; BCD; null count; modes 6 and 7
  in the status; GATE in modes 0 and 4;
- MC146818: UIP stays high during the update cycle; PF rises without PIE as well, and in the divider's phase; the
  day of the week counts by itself; an alarm's hour has a PM bit of its own.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from qemu_oracle import IN, OUT, Step, needs_as, needs_qemu, replay, scripted

from pcemu.hw.misc.pcspk import PcSpeaker
from pcemu.hw.timer.i8254 import FREQUENCY, I8254
from pcemu.hw.timer.mc146818rtc import Mc146818Rtc
from pcemu.testing.harness import TestMachine

pytestmark = [pytest.mark.oracle, needs_qemu, needs_as]

NS = 10**9


@pytest.mark.parametrize("seed", range(3))
def test_pit(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    steps: list[Step] = [(OUT, 0x61, 1, 0)]  # GATE of counter 2
    checks: list[tuple[str, int, int, int, int]] = []  # kind, step, counter, mode, count

    def pause() -> int:
        return rng.choice((0, rng.randrange(100), rng.randrange(20000)))

    programmed: dict[int, tuple[int, int]] = {}
    for _ in range(500):
        counter = rng.randrange(3)
        action = rng.randrange(6)
        if action == 0 or counter not in programmed:
            mode, count = rng.choice((0, 2, 3, 4)), rng.choice((rng.randrange(4, 400), rng.randrange(4, 65536), 65536))
            count &= ~1
            programmed[counter] = mode, count
            steps.append((OUT, 0x43, counter << 6 | 0x30 | mode << 1, pause()))
            steps.append((OUT, 0x40 + counter, count & 0xFF, 0))
            steps.append((OUT, 0x40 + counter, count >> 8 & 0xFF, 0))
        elif action == 1:
            mode, count = programmed[counter]
            steps.append((OUT, 0x43, 0xE0 | 2 << counter, 1000 + pause()))
            checks.append(("status", len(steps), counter, mode, count))
            steps.append((IN, 0x40 + counter, 0, pause()))
        elif action == 2 and counter == 2 and programmed[2][0] in (0, 3):
            checks.append(("out", len(steps), 2, *programmed[2]))
            steps.append((IN, 0x61, 0, 1000 + pause()))
        else:
            mode, count = programmed[counter]
            steps.append((OUT, 0x43, rng.choice((counter << 6, 0xD0 | 2 << counter)), 100 + pause()))
            checks.append(("count", len(steps), counter, mode, count))
            steps += [(IN, 0x40 + counter, 0, pause()), (IN, 0x40 + counter, 0, pause())]
    times = scripted(tmp_path, steps, 3)

    m = TestMachine()
    pit = m.add(I8254, iobase=0x40)
    m.add(PcSpeaker)
    outs: list[set[int]] = []

    def advance_to(at: int) -> None:
        m.clock.advance_to(at)
        pulse = at * FREQUENCY // NS
        outs.append({pit.out(2), pit.counters[2].out(pulse + 1)})

    ours = replay(steps, times, advance_to, m.outb, m.inb)
    compared = 0
    for kind, at, counter, mode, count in checks:
        theirs = times[at][1]
        where = f"step {at}, counter {counter}, mode {mode}, count {count}, at {times[at][0]} ns"
        if kind == "status":
            assert ours[at] & 0x3F == theirs & 0x3F, where
        elif kind == "out":
            assert theirs >> 5 & 1 in outs[at], where
            assert ours[at] & 3 == theirs & 3
            compared += 1
        else:
            value = ours[at] | ours[at + 1] << 8
            other = theirs | times[at + 1][1] << 8
            ahead = (value - other) % (count if mode in (2, 3) else 65536)
            assert ahead in ((0, 2) if mode == 3 else (0, 1)), f"{where}: {value}, QEMU {other}"
            compared += 1
    assert compared > 100


BCD_24, BIN_24, BCD_12, BIN_12 = 0x02, 0x06, 0x00, 0x04


@pytest.mark.parametrize("seed", range(3))
def test_rtc(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    steps: list[Step] = []
    second = 488_000  # pause, about
    mode = BCD_24

    def write(index: int, value: int, pause: int = 0) -> None:
        steps.append((OUT, 0x70, index, pause))
        steps.append((OUT, 0x71, value, 0))

    def read(index: int, pause: int = 0) -> None:
        steps.append((OUT, 0x70, index, pause))
        steps.append((IN, 0x71, 0, 0))

    def number(value: int) -> int:
        return value if mode & 4 else value // 10 << 4 | value % 10

    def hour(value: int) -> int:
        return number(value) if mode & 2 else number((value + 11) % 12 + 1) | (0x80 if value > 11 else 0)

    for _ in range(90):
        action = rng.randrange(6)
        pause = rng.randrange(2 * second)
        if action == 0:
            mode = rng.choice((BCD_24, BIN_24, BCD_12, BIN_12))
            write(0x0B, 0x80, pause)
            write(0x0B, 0x80 | mode)
            near_end = rng.randrange(2)
            values = {
                0x32: number(20), 9: number(rng.randrange(100)), 8: number(rng.randrange(1, 13)), 7: number(rng.randrange(1, 29)),
                4: hour(23 if near_end else rng.randrange(24)), 2: number(59 if near_end else rng.randrange(60)),
                0: number(rng.randrange(57, 60) if near_end else rng.randrange(60)),
            }  # fmt: skip
            for index, value in {**values, 5: 0xFF, 3: 0xFF, 1: 0xFF}.items():
                write(index, value)
            write(0x0B, mode | rng.choice((0, 0x10, 0x20, 0x40, 0x70)))
        elif action == 1:
            for index in (5, 3, 1):
                value = number(rng.randrange(60)) if index < 5 else hour(rng.randrange(24)) if mode & 2 else 0xFF
                write(index, rng.choice((0xFF, 0xC0, value)), pause)
                pause = 0
        elif action == 2:
            write(0x0A, 0x20 | rng.choice((6, 6, 10, 15, 3)), pause)
        elif action == 3:
            index = rng.randrange(14, 128)
            write(index if index not in (0x32, 0x37) else 64, rng.randrange(256), pause)
            read(index)
        else:
            for index in (0x0C, 0, 2, 4, 7, 8, 9, 0x32, 0x0B, 0x0D, 1, 3, 5, 0x37):
                read(index, pause)
                pause = 0
    times = scripted(tmp_path, steps, 10, "-rtc", "base=2024-02-28T23:59:50,clock=vm")

    m = TestMachine()
    m.rtc_config.base = "2024-02-28T23:59:50"
    rtc = m.add(Mc146818Rtc, base_year=2000)
    for index in range(14, 128):
        rtc.set_cmos(index, 0)
    uncertain: list[bool] = []
    clocks: list[tuple[int, int, int]] = []  # register B, virtual time, period

    def advance_to(at: int) -> None:
        m.clock.advance_to(at)
        now = rtc._now()
        period = rtc._period() * NS // 32768 or NS
        near = min(now % NS, NS - now % NS) < 5_000_000 or min(now % period, period - now % period) < 40_000
        uncertain.append(near)
        clocks.append((rtc.cmos[0x0B], at, period))

    ours = replay(steps, times, advance_to, m.outb, m.inb)
    index, compared, written, skip_flags, since = 0, 0, set(), False, 0
    for at, (operation, port, value, _) in enumerate(steps):
        if port == 0x70:
            index = value
            continue
        if operation == OUT:
            written.add(index)
            skip_flags |= uncertain[at]  # a flag may have risen on one side of it
            if index in (0x0A, 0x0B):
                since = clocks[at][1]
            continue
        mask = 0xFF
        if index == 0x0C:
            b, now, period = clocks[at]
            mask = 0xFF if b & 0x40 and now - since > period else 0x3F
            since = now
            if uncertain[at] or skip_flags:
                skip_flags = uncertain[at]
                continue
        elif uncertain[at] or (index >= 14 and index not in (0x32, 0x37) and index not in written):
            continue
        assert ours[at] & mask == times[at][1] & mask, (
            f"step {at}, register {index:#x} at {times[at][0]} ns: {ours[at]:#x}, QEMU {times[at][1]:#x}"
        )
        compared += 1
    assert compared > 100
