"""What a user may set and nothing reads is named in a warning, once; and nothing else goes unread."""

from __future__ import annotations

import importlib
import pkgutil
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostmemory import mappings

import pcemu
from pcemu import backends, hw, net
from pcemu import machine as machines
from pcemu.cli.parser import parse
from pcemu.machine.board import Board
from pcemu.machine.config import DeviceConfig, MachineConfig
from pcemu.machine.machine import Machine
from pcemu.qom import Device
from pcemu.qom.object import UserObject
from pcemu.qom.property import Property, PropertyDecl
from pcemu.testing.fakes import FakeCore

SOURCE = Path(pcemu.__file__).parent


def subclasses(base: type) -> Iterator[type]:
    yield base
    for cls in base.__subclasses__():
        yield from subclasses(cls)


def declared() -> Iterator[tuple[str, PropertyDecl]]:
    """Every property of a device, a board or an object."""
    for package in (hw, net, backends, machines):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    for base in (Device, Board, UserObject):
        for cls in subclasses(base):
            if cls.__module__.startswith("pcemu."):
                for decl in vars(cls).values():
                    if isinstance(decl, PropertyDecl):
                        yield f"{cls.__name__}.{decl.attr}", decl


def test_what_is_not_read_says_so() -> None:
    lines = [line for path in SOURCE.rglob("*.py") for line in path.read_text().splitlines() if " = Property(" not in line]
    words = set(re.findall(r"""[.'"]([\w-]+)""", "\n".join(lines)))
    silent = [name for name, decl in declared() if not decl.inert and not words & {decl.attr, decl.name}]
    assert silent == [], "nothing reads them: give them inert= and the reason"


def build(options: dict[str, Any] | None = None, **config: Any) -> Machine:
    return Machine(MachineConfig(ram_size=1 << 20, machine_options=options or {}, **config), core=FakeCore()).build()


def test_the_rule() -> None:
    decl: Any = Property(bool, name="shine", inert="there is no sun", so=False)
    assert decl.complaint("lamp", "on") == decl.complaint("lamp", True) == "lamp.shine has no effect: there is no sun"
    assert decl.complaint("lamp", "off") == "", "that is so anyway"
    plain: Any = Property(bool, name="shine")
    assert plain.complaint("lamp", "on") == ""
    always: Any = Property("u8", name="colour", inert="x")
    assert always.complaint("lamp", "0") == "lamp.colour has no effect: x"


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.removeprefix("pcemu: warning: ") for line in capsys.readouterr().err.splitlines()]


def test_devices(capsys: pytest.CaptureFixture[str]) -> None:
    machine = build(devices=[DeviceConfig("isa-serial", {"wakeup": "on"}), DeviceConfig("isa-serial", {"wakeup": "off"})],
                    globals=[("PIIX4_PM", "disable_s3", "0"), ("hpet", "hpet-offset-saved", "off")])  # fmt: skip
    found = ["PIIX4_PM.disable_s3 has no effect: there is no suspend to RAM",
             "hpet.hpet-offset-saved has no effect: there are no saved states",
             "isa-serial.wakeup has no effect: there is no sleep to wake from"]  # fmt: skip
    assert warnings(capsys) == found, "once each"
    machine.close()
    build(globals=[("PIIX4_PM", "disable_s3", "1")]).close()
    assert warnings(capsys) == [], "there is none"


def test_what_the_board_sets_is_not_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    build().close()
    assert warnings(capsys) == []


def test_machine_options(capsys: pytest.CaptureFixture[str]) -> None:
    build({"sata": "on", "mem-merge": "on", "kernel_irqchip": "off", "graphics": "off"}).close()
    sata, merge = warnings(capsys)
    assert sata == "-machine sata has no effect: there is no SATA on this board"
    assert merge == "-machine mem-merge has no effect: hosts do not merge shared memory, which guest RAM is"


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    line = "-machine none -singlestep -tdf -no-kvm-irqchip -boot splash=x -accel tcg,thread=multi"
    config = parse([*line.split(), "-no-fd-bootchk"])
    found = warnings(capsys)
    assert [line.split()[0] for line in found[:-1]] == ["-singlestep", "-tdf", "-boot", "-accel"]
    assert config.machine_options == {"fd-bootchk": "off"}


def test_processor_options(capsys: pytest.CaptureFixture[str]) -> None:
    cpumodel = pytest.importorskip("pcemu._core.cpumodel")
    told: list[str] = []
    cpumodel.parse_cpu("max,l3-cache=on,kvm=off,pmu=on,migratable", warn=told.append)
    assert told == [f"-cpu max: {item} has no effect" for item in ("l3-cache=on", "pmu=on", "migratable")]


# -- options that once did nothing ------------------------------------------------------------------------------------


def test_floppies_are_not_checked() -> None:
    for value, low in (("off", 1), ("on", 0)):
        machine = build({"fd-bootchk": value})
        rtc: Any = machine.find("mc146818rtc")
        assert rtc.cmos[0x38] & 1 == low
        machine.close()


def test_guest_ram_stays_out_of_core_dumps() -> None:
    engine = pytest.importorskip("pcemu._core.engine")
    for option, out in (("off", True), ("on", False)):
        config = MachineConfig(ram_size=32 << 20, machine_options={"dump-guest-core": option})
        with Machine(config, core=engine).build() as machine:
            assert {"dd" in each["VmFlags"].split() for each in mappings(machine)} == {out}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc")
def test_threads_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    from pcemu.qom import threads

    def seen() -> str:
        found: list[str] = []

        def run() -> None:
            threads.introduce()
            found.append(Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text())

        thread = threading.Thread(target=run, name="worker-with-a-long-name")
        thread.start()
        thread.join()
        return found[0]

    assert seen() != "worker-with-a-l\n"
    monkeypatch.setattr(threads, "shown", True)
    assert seen() == "worker-with-a-l\n"
    assert parse(["-machine", "none", "-name", "a,debug-threads=on"]).debug_threads
