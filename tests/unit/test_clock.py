"""Timers on the virtual clock."""

from __future__ import annotations

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
