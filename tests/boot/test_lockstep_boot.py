"""Linux in lockstep: compiled code and handlers agree from the first instruction to the end (docs/architecture.md, Lockstep)."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from boot import runner
from boot.files import Files

from pcemu.cli.main import parse
from pcemu.machine.machine import Machine

FILES = Files()
pytestmark = [pytest.mark.compiled, pytest.mark.boot, pytest.mark.fetch]
GUESTS = {"cloud": ("exercise-amd64", 256), "amd64": ("exercise-amd64", 256), "686": ("exercise-i386", 64),
          "686-pae": ("exercise-i386", 256)}


def _boot(kernel: str, initrd: str, megabytes: int, directory: Path) -> None:
    console = directory / "console"
    args = (f"-m {megabytes} -display none -nodefaults -serial file:{console} -kernel {FILES[kernel]} -initrd {FILES[initrd]} "
            f"-append console=ttyS0 -accel tcg,lockstep=on {runner.STEADY}")
    machine = Machine(parse(shlex.split(args)))
    try:
        machine.build()
        machine.run()           # a difference is a PcemuError
        stats = machine.cpu.stats()
    finally:
        machine.close()
    text = console.read_text(errors="replace")
    assert "reboot: Power down" in text
    assert not runner.check_output(runner.Case(name=kernel, args="", linux=True), text)
    assert stats["lockstep_instructions"] > 10**8
    assert stats["lockstep_compared"] >= 0.999 * stats["lockstep_instructions"]


@pytest.mark.slow
def test_lockstep_boots_linux(tmp_path: Path) -> None:
    _boot("cloud", *GUESTS["cloud"], tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("kernel", GUESTS)
def test_soak_lockstep_boots_every_kernel(kernel: str, tmp_path: Path) -> None:
    _boot(kernel, *GUESTS[kernel], tmp_path)
