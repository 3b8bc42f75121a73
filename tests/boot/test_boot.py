"""Boots: every case of cases/*.toml, and what needs two runs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from boot import runner
from boot.files import Files

CASES = runner.load_cases()
FILES = Files()


def _parameters() -> list[object]:
    parameters = []
    for case in CASES:
        marks = [pytest.mark.boot, *(getattr(pytest.mark, mark) for mark in case.marks)]
        if case.pcemu_only and runner.EMULATOR:
            marks.append(pytest.mark.skip(reason="says how pcemu, not another emulator, behaves"))
        parameters.append(pytest.param(case, id=case.name, marks=marks))
    return parameters


@pytest.mark.parametrize("case", _parameters())
def test_boot(case: runner.Case, tmp_path: Path) -> None:
    runner.run(case, FILES, tmp_path)


# A device that switches compiled code off and on, each time after so many instructions, and notes what it found.
SWITCH = """
from pcemu.qom import SysBusDevice

class JitSwitch(SysBusDevice):
    type_name = "jit-switch"
    user_creatable = True

    def realize(self):
        self.timer = self.machine.clock.timer(self.tick)
        self.timer.arm_in(100_000_000)

    def tick(self):
        cpu = self.machine.cpus[0]
        with open("switches", "a") as file:
            print(cpu.jit, file=file)
        cpu.jit = not cpu.jit
        self.timer.arm_in(100_000_000)
"""


def _twice(args: str, line: str, tmp_path: Path) -> None:
    case = runner.Case(name="twice", args=args, lines=[line])
    first = runner.run(case, FILES, tmp_path)
    assert runner.run(case, FILES, tmp_path) == first


@pytest.mark.boot
def test_counted_time_repeats_the_tour(tmp_path: Path) -> None:
    _twice("-nographic -nodefaults -serial stdio -kernel builtin:tour", ".*it interrupted us once\\.", tmp_path)


@pytest.mark.boot
@pytest.mark.fetch
@pytest.mark.slow
def test_counted_time_repeats_linux(tmp_path: Path) -> None:
    """With the kernel's time stamps in the output, the same bytes mean the same instruction counts."""
    args = "-m 64 -display none -nodefaults -serial stdio -kernel {686} -initrd {hello-i386} -append console=ttyS0"
    _twice(args, r"\[ *[0-9.]+\] reboot: Power down", tmp_path)


@pytest.mark.compiled
@pytest.mark.boot
@pytest.mark.fetch
@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["cloud", "686-pae"])
def test_counted_time_is_the_same_in_compiled_code(kernel: str, tmp_path: Path) -> None:
    """Interrupts land at the same instructions, whether blocks are compiled or interpreted, or the one and then the other."""
    case = next(case for case in CASES if case.name == f"exercise-{kernel}")
    args = f"{case.args} {runner.STEADY}"
    found = [runner.run(dataclasses.replace(case, args=f"-accel tcg,jit={jit} {args}"), FILES, tmp_path) for jit in ("on", "off")]
    assert found[0] == found[1]
    package = tmp_path / "jitswitch-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: jitswitch\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[pcemu.devices]\njit-switch = jitswitch:JitSwitch\n")
    (tmp_path / "jitswitch.py").write_text(SWITCH)
    case = dataclasses.replace(case, args=f"-device jit-switch {args}", path=[str(tmp_path)])
    assert runner.run(case, FILES, tmp_path) == found[0]
    switches = (tmp_path / "switches").read_text().split()
    assert len(switches) > 10
    assert {"True", "False"} == set(switches)


@pytest.mark.boot
@pytest.mark.fetch
@pytest.mark.soak
@pytest.mark.parametrize("shift", range(7))
@pytest.mark.parametrize("name", ["exercise-cloud", "exercise-amd64", "exercise-686", "exercise-686-pae"])
def test_soak_at_other_speeds(name: str, shift: int, tmp_path: Path) -> None:
    """The guests on slower and faster machines: interrupts land in other places."""
    case = next(case for case in CASES if case.name == name)
    args = f"{case.args} -icount shift={shift},sleep=off -rtc base=2024-02-29T12:00:00,clock=vm -seed {shift}"
    runner.run(dataclasses.replace(case, args=args), FILES, tmp_path)


def test_expected_trouble_is_recognised() -> None:
    """The filters of the runner find what they are there for."""
    case = runner.Case(name="x", args="", linux=True)
    assert runner.check_output(case, "[    1.0] irq 9: nobody cared (try booting with the irqpoll option)")
    assert runner.check_output(case, "# warning: a thing nobody has seen before")
    assert runner.check_output(case, "EXERCISE rtc FAIL: found '', expected '1'")
    assert not runner.check_output(case, "[    1.0] clocksource: Switched to clocksource tsc")
    assert all(re.compile(pattern) for pattern in runner.TROUBLE)
