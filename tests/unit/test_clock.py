"""Timers on the virtual clock."""

from __future__ import annotations

from pcemu._core import engine
from pcemu._core.cpumodel import parse_cpu
from pcemu.qom.timer import NEVER
from pcemu.testing.harness import SteppedClock


def test_timers_fire_in_order_each_at_its_time() -> None:
    clock = SteppedClock()
    seen: list[tuple[str, int]] = []
    late = clock.timer(lambda: seen.append(("late", clock.now())))
    early = clock.timer(lambda: seen.append(("early", clock.now())))
    same = clock.timer(lambda: seen.append(("same", clock.now())))
    late.arm(300)
    early.arm(100)
    same.arm(300)
    clock.advance(299)
    assert seen == [("early", 100)]
    assert clock.now() == 299
    clock.advance(1)
    assert seen == [("early", 100), ("late", 300), ("same", 300)]


def test_rearming_replaces_and_cancel_forgets() -> None:
    clock = SteppedClock()
    seen: list[int] = []
    timer = clock.timer(lambda: seen.append(clock.now()))
    timer.arm(100)
    timer.arm(50)
    timer.arm(200)
    assert clock.pending() == [200]
    assert timer.deadline == 200
    clock.advance(150)
    assert seen == []
    clock.advance(50)
    assert seen == [200]
    assert not timer.pending
    timer.arm_in(10)
    timer.cancel()
    clock.advance(1000)
    assert seen == [200]
    assert clock.next_deadline() == NEVER


def test_periodic_timer_keeps_its_phase() -> None:
    clock = SteppedClock()
    times: list[int] = []

    def tick() -> None:
        times.append(clock.now())
        timer.arm(times[-1] + 55)

    timer = clock.timer(tick)
    timer.arm(55)
    clock.advance(1000)
    assert times == list(range(55, 1001, 55))


def test_core_deadline_follows_the_heap() -> None:
    clock = SteppedClock()
    one, two = clock.timer(lambda: None), clock.timer(lambda: None)
    one.arm(500)
    assert clock.core.deadline == 500
    two.arm(200)
    assert clock.core.deadline == 200
    two.cancel()
    clock.sync()
    assert clock.core.deadline == 500
    clock.advance(500)
    assert clock.core.deadline == NEVER


def test_a_deadline_in_the_past_fires_at_once() -> None:
    clock = SteppedClock(start_ns=1000)
    seen: list[int] = []
    timer = clock.timer(lambda: seen.append(clock.now()))
    timer.arm(10)
    clock.advance(0)
    assert seen == [1000]


def test_a_stalled_host_shows_the_guest_little_more_than_the_next_timers_time() -> None:
    """The guest asks a device for the time, and the host has been away since: 10 ms beyond the timer is what it may see."""
    clock = engine.Clock()
    seen: list[int] = []

    class Counter:
        def read(self, offset: int, size: int) -> int:
            clock.deadline = clock.now() + 1_000_000
            clock.advance_to(clock.now() + 500_000_000_000)  # stands for the host's absence
            seen.extend((clock.deadline, clock.now(), clock.now()))
            return 0

        def write(self, offset: int, size: int, value: int) -> None:
            raise AssertionError

    memory, io = engine.Memory(), engine.IoSpace()
    rom = memory.alloc("rom", 0x10000)
    memory.set_map([(0xFFFF0000, 0x10000, "rom", rom, 0)])
    io.set_map([(0x80, 1, Counter(), 0)])
    memory.block_view(rom, 0x10000)[0xFFF0:0xFFF3] = b"\xe4\x80\xf4"  # in al, 0x80; hlt
    cpu = engine.Cpu(memory, io, clock, parse_cpu("core2duo"))
    clock.start()
    assert cpu.run(1) in ("budget", "deadline")
    deadline, first, second = seen
    assert deadline < first <= second <= deadline + 10_000_000
    assert clock.now() < deadline + 400_000_000_000  # the rest is how long this very test takes
