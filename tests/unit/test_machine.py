"""The machine's life: slices, sleeping, requests, ends. The guest is a script, time is instruction-count time."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pcemu.machine import builder
from pcemu.machine.config import IcountConfig, MachineConfig
from pcemu.machine.exit import DeviceFailure
from pcemu.machine.machine import CATCH_UP_NS, Machine
from pcemu.machine.turns import INTERVAL
from pcemu.qom import Device, PortWindow
from pcemu.testing.fakes import FakeCore, FakeCpu

Step = Callable[[FakeCpu], str]


class Gadget(Device):
    """Does to its machine what the guest writes to its port."""

    type_name = "test-gadget"
    port = PortWindow(0x600, 1, None, "written", (1, 1))

    def written(self, offset: int, value: int, size: int) -> None:
        actions: dict[int, Callable[[], Any]] = {
            0: lambda: self.machine.request_shutdown(),
            1: lambda: self.machine.request_reset(),
            2: lambda: self.machine.request_shutdown("debug-exit", 35),
            3: lambda: 1 // 0,
            4: lambda: self.machine.step(),
            5: lambda: self.machine.run(),
        }
        actions[value]()


def out(value: int) -> Step:
    def step(cpu: FakeCpu) -> str:
        cpu.io.write(0x600, 1, value)
        return "exit_request" if cpu.exit_requested else "budget"

    return step


def halt(cpu: FakeCpu) -> str:
    return "halted"


def triple_fault(cpu: FakeCpu) -> str:
    return "shutdown"


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(builder, "_load_images", lambda machine: None)
    machines: list[Machine] = []

    def make(*script: Step, **options: Any) -> Machine:
        options.setdefault("icount", IcountConfig(shift=0, sleep=False))
        config = MachineConfig(machine="none", ram_size=1 << 20, **options)
        machine = Machine(config, core=FakeCore(*script)).build()
        Gadget(machine).realize_now()
        machines.append(machine)
        return machine

    yield make
    for machine in machines:
        machine.close()


def test_power_off_ends_with_status_0(make: Any) -> None:
    reason = make(out(0)).run()
    assert (reason.cause, reason.status) == ("guest-shutdown", 0)


def test_debug_exit_has_its_own_status_even_with_no_shutdown(make: Any) -> None:
    assert make(out(2), no_shutdown=True).run().status == 35


def test_no_shutdown_pauses_and_quit_ends(make: Any) -> None:
    machine = make(out(0), no_shutdown=True)
    seen: list[str] = []

    def look() -> None:
        seen.append(machine.status)
        machine.quit(3)

    machine.loop.call_later(0.001, look)
    reason = machine.run()
    assert seen == ["shutdown"]
    assert (reason.cause, reason.status) == ("host-qmp-quit", 3)


def test_reset_starts_again(make: Any) -> None:
    machine = make(out(1), out(0))
    before = machine.cpu.resets
    assert machine.run().cause == "guest-shutdown"
    assert machine.cpu.resets == before + 1


def test_no_reboot_ends(make: Any) -> None:
    assert make(out(1), no_reboot=True).run().cause == "guest-reset"


def test_triple_fault_says_so_and_resets(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    machine = make(triple_fault, triple_fault, out(0))
    assert machine.run().cause == "guest-shutdown"
    text = capsys.readouterr().err
    assert text.count("pcemu: triple fault: the processor shut down") == 2
    assert text.count("EIP=") == 1  # the state is dumped once
    assert make(triple_fault, no_reboot=True).run().cause == "guest-reset"


def test_device_exception_names_the_device(make: Any) -> None:
    with pytest.raises(DeviceFailure, match=r"^test-gadget: internal error: ZeroDivisionError: .*\(test_machine.py:\d+\)$"):
        make(out(3)).run()


def test_exception_in_a_timer_names_the_device(make: Any) -> None:
    machine = make(halt)
    gadget = machine.find("test-gadget")
    machine.clock.timer(lambda: gadget.written(0, 3, 1)).arm(100)
    with pytest.raises(DeviceFailure, match="test-gadget: internal error"):
        machine.run()


def test_exception_in_the_loop_ends_the_machine(make: Any) -> None:
    machine = make(halt)
    machine.loop.call_soon(lambda: [][1])
    with pytest.raises(DeviceFailure, match="machine: internal error: IndexError"):
        machine.run()


def test_running_from_inside_a_device_is_an_error(make: Any) -> None:
    with pytest.raises(DeviceFailure, match="cannot be run from inside a device"):
        make(out(5)).run()


def test_halted_guest_jumps_to_its_timers(make: Any) -> None:
    machine = make(halt)
    times: list[int] = []

    def tick() -> None:
        times.append(machine.clock.now())
        if len(times) == 1000:
            machine.request_shutdown()
        timer.arm(times[-1] + 10_000_000_000)

    timer = machine.clock.timer(tick)
    timer.arm(10_000_000_000)
    machine.run()
    assert times == [10_000_000_000 * (i + 1) for i in range(1000)]  # 10000 s of guest time, at once


def test_paused_machine_waits_for_cont(make: Any) -> None:
    machine = make(out(0), paused=True)
    events: list[str] = []
    machine.listeners.append(lambda name, data: events.append(name))
    machine.loop.call_later(0.001, machine.cont)
    assert machine.status == "prelaunch"
    machine.run()
    assert events == ["RESUME", "SHUTDOWN"]


def test_stop_freezes_guest_and_clock(make: Any) -> None:
    def pause(cpu: FakeCpu) -> str:
        machine.stop()
        return "exit_request"

    machine = make(pause, out(0))
    running: list[bool] = []

    def look() -> None:
        running.append(machine.core.clock.running)
        running.append(len(machine.cpu.script) == 1)
        machine.cont()

    machine.loop.call_later(0.001, look)
    machine.run()
    assert running == [False, True]


def test_requests_the_strongest_wins(make: Any) -> None:
    def both(cpu: FakeCpu) -> str:
        cpu.io.write(0x600, 1, 1)
        cpu.io.write(0x600, 1, 0)
        return "exit_request"

    assert make(both).run().cause == "guest-shutdown"


def test_post_from_another_thread(make: Any) -> None:
    machine = make(halt)
    thread = threading.Thread(target=lambda: machine.post(lambda: machine.quit(7)))
    machine.loop.call_soon(thread.start)
    assert machine.run().status == 7
    thread.join()


def test_runs_inside_a_program_with_a_loop(make: Any) -> None:
    machine = make(out(0))

    async def outer() -> str:
        cause = machine.run().cause
        await asyncio.sleep(0)
        return cause

    assert asyncio.run(outer()) == "guest-shutdown"


def test_other_threads_take_short_turns_while_a_machine_runs(make: Any) -> None:
    before = sys.getswitchinterval()
    seen = []

    def look(cpu: FakeCpu) -> str:
        seen.append(sys.getswitchinterval())
        return out(0)(cpu)

    make(look).run()
    assert seen == [pytest.approx(INTERVAL)] and before > INTERVAL
    assert sys.getswitchinterval() == before


def test_work_in_the_loop_reaches_a_sleeping_guest(make: Any) -> None:
    """Nothing has to wake the CPU: what a callback does is seen in the same turn."""
    machine = make(halt, icount=None)
    seen: list[str] = []

    def input_arrives() -> None:
        machine.cpu.script.append(lambda: seen.append("ran") or "halted")
        machine.loop.call_soon(machine.quit)

    machine.loop.call_later(0.001, input_arrives)
    machine.run()
    assert seen == ["ran"]


def test_idle_time_is_until_the_next_timer(make: Any) -> None:
    machine = make(halt, icount=None)
    machine.cont()
    assert machine.run_slice() is True
    assert machine.run_slice() is False
    assert machine.idle_seconds() is None
    machine.clock.timer(lambda: None).arm(5_000_000)
    assert machine.idle_seconds() == 0.005
    machine.stop()
    assert machine.idle_seconds() is None


def test_starved_host_shows_as_slow_time(make: Any) -> None:
    machine = make(halt, icount=None)
    machine.cont()
    machine.run_slice()
    clock = machine.core.clock
    clock.advance_to(1_000)
    machine.run_slice()
    start = clock.now()
    clock.advance_to(start + 3_000_000_000)
    machine.run_slice()
    assert clock.now() == start + CATCH_UP_NS


def test_starved_inside_a_slice(make: Any) -> None:
    def slow(cpu: FakeCpu) -> str:
        machine.core.clock.advance_to(5_000_000_000)
        return "deadline"

    machine = make(slow, icount=None)
    machine.cont()
    machine.run_slice()
    assert machine.clock.now() < 2 * CATCH_UP_NS


def test_an_expected_sleep_is_not_starvation(make: Any) -> None:
    machine = make(halt, icount=None)
    machine.cont()
    machine.clock.timer(lambda: None).arm(1_000_000_000)
    clock = machine.core.clock
    clock.advance_to(1)
    machine.run_slice()
    clock.advance_to(1_001_000_000)  # woke up a millisecond late
    machine.woke_up()
    machine.run_slice()
    assert clock.now() == 1_001_000_000


def test_step(make: Any) -> None:
    steps: list[int] = []

    def count(cpu: FakeCpu) -> str:
        steps.append(cpu.icount)
        return "budget"

    machine = make(count, count, count)
    assert machine.step(2) == 2
    assert steps == [1, 2]
    assert machine.step(10) == 1  # then it is halted for good


def test_power_button(make: Any) -> None:
    machine = make(halt)
    pressed: list[int] = []
    machine.on_powerdown(lambda: pressed.append(1))
    machine.request_powerdown()
    assert pressed == [1]


def test_random_is_seeded(make: Any) -> None:
    assert make(seed=5).random(8) == make(seed=5).random(8) != make(seed=6).random(8)
