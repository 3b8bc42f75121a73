"""Trace events: which are on, text and binary files, the reader; -dfilter."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pcemu.debug import tracefile
from pcemu.debug.log import Log, parse_ranges
from pcemu.debug.trace import TextSink, Tracer, states
from pcemu.debug.tracefile import MAGIC, BinarySink, Reader, TraceFileError
from pcemu.hw.char.serial import Serial
from pcemu.machine.config import MachineConfig
from pcemu.machine.machine import Machine
from pcemu.monitor import Shell
from pcemu.qom.errors import PcemuError
from pcemu.testing.fakes import FakeCore
from pcemu.testing.harness import TestMachine

FIELDS: list[dict[str, object]] = [
    {"addr": 0, "value": 255}, {}, {"level": True, "ns": -1}, {"name": "é" * 300, "n": 1 << 63}, {"addr": 3, "value": "text now"}]


@pytest.fixture
def device() -> Any:
    machine = TestMachine()
    return machine.add("isa-serial")


def written(device: Any, path: Path) -> list[tuple[int, str, dict[str, object]]]:
    sink = BinarySink(path.open("wb"))
    expected = []
    for round_ in range(3):
        for number, fields in enumerate(FIELDS):
            device.machine.clock.advance(1000 * number)
            sink.event(device, f"event_{number % 4}", fields)
            expected.append((device.machine.clock.now(), f"event_{number % 4}", fields))
        if round_ == 1:
            sink.flush()
    sink.close()
    return expected


def test_there_and_back(device: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.bin"
    expected = written(device, path)
    reader = Reader(path.read_bytes())
    assert [(event.time, event.name, event.fields) for event in reader] == expected
    assert not reader.cut
    assert path.stat().st_size < 2100, "three times 300 two-byte letters are 1800 of it"
    assert tracefile.main([str(path), "event_0"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "0.000000000 isa-serial: event_0 addr=0x0 value=0xff", "0.000010000 isa-serial: event_0 addr=0x3 value=text now"]
    tracefile.main(["--count", str(path)])
    assert capsys.readouterr().out.splitlines()[0].split() == ["6", "event_0"]
    tracefile.main(["--json", str(path)])
    assert json.loads(capsys.readouterr().out.splitlines()[2]) == {
        "time": 3000, "device": "isa-serial", "name": "event_2", "fields": {"level": 1, "ns": -1}}


def test_every_cut_and_damage(device: Any, tmp_path: Path) -> None:
    """A file that ends anywhere gives the events before that; one that is damaged an error or other events, and no more."""
    path = tmp_path / "trace.bin"
    whole = len(written(device, path))
    data = path.read_bytes()
    counts = []
    for end in range(len(MAGIC), len(data), 7):
        reader = Reader(data[:end])
        counts.append(len(list(reader)))
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] in (whole - 1, whole)
    choose = random.Random(1)
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(choose.randrange(1, 4)):
            broken[choose.randrange(len(MAGIC), len(data))] = choose.randrange(256)
        try:
            list(Reader(bytes(broken)))
        except TraceFileError as error:
            assert "damaged at byte" in str(error)
    with pytest.raises(TraceFileError, match="not a trace file"):
        Reader(b"text\n")


def test_the_program_and_bad_files(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(MAGIC + b"\x09")
    with pytest.raises(SystemExit, match="no shape 7"):
        tracefile.main([str(tmp_path / "x")])
    with pytest.raises(SystemExit, match="No such file"):
        tracefile.main([str(tmp_path / "y")])


def test_patterns() -> None:
    events = ("pit_read", "pit_write", "rtc_read")
    assert Tracer(["pit_*", "-pit_read"]).enabled_events(events) == {"pit_write"}
    assert Tracer(["-pit_read", "*_read"]).enabled_events(events) == {"pit_read", "rtc_read"}
    assert Tracer().enabled_events(events) == frozenset()


def test_switching_reaches_devices_to_come() -> None:
    machine = TestMachine()
    shell = Shell(machine)
    machine.tracer.patterns.clear()
    first = machine.add("isa-serial", index=0)
    assert states(machine.devices, "serial_w*") == {"serial_write": False}
    shell.run("trace-event serial_w* on")
    second = machine.add("isa-serial", index=1)
    assert first.tracing == second.tracing == {"serial_write"}
    shell.run("trace-event * off")
    third = machine.add("isa-serial", index=2)
    assert not first.tracing and not second.tracing and not third.tracing
    for _ in range(50):
        shell.run("trace-event serial_write on")
        shell.run("trace-event serial_write off")
    assert len(machine.tracer.patterns) < 5
    assert shell.run("info trace-events serial_w*") == "serial_write : state 0\n"


@pytest.mark.parametrize("form", ["text", "binary"])
def test_a_machine_s_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / "trace"
    config = MachineConfig(ram_size=1 << 20, trace_events=["pit_ioport_*"], trace_file=str(path), trace_format=form)
    with Machine(config, core=FakeCore()).build() as machine:
        machine.find("isa-pit").io_write(3, 0x34, 1)
    if form == "text":
        assert path.read_text().endswith("pit_ioport_write addr=0x3 value=0x34\n")
    else:
        last = list(Reader(path.read_bytes()))[-1]
        assert (last.device, last.name, last.fields) == ("isa-pit", "pit_ioport_write", {"addr": 3, "value": 0x34})
    config = MachineConfig(trace_file=str(tmp_path / "no" / "trace"), trace_format=form)
    with pytest.raises(PcemuError, match=r"-trace file=.*/no/trace: No such file"):
        Machine(config, core=FakeCore())


def test_a_full_disk_ends_the_trace_only(device: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        sink = BinarySink(full)
        sink.event(device, "event", {})
        sink.flush()
        sink.event(device, "event", {})
        sink.flush()
        assert capsys.readouterr().err.count("No space left on device: the trace ends here") == 1


def test_off_costs_nothing(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device pays a look at an empty set for events that are off: it calls nothing."""
    machine = device.machine
    machine.tracer.sink = TextSink(lambda text: None)
    asked: list[str] = []
    monkeypatch.setattr(Serial, "trace", lambda self, name, **fields: asked.append(name))
    for events in ({"serial_read", "serial_write"}, frozenset()):
        device.tracing = events
        asked.clear()
        machine.inb(0x3FF)
        machine.outb(0x3FF, 0x55)
        assert asked == (["serial_read", "serial_write"] if events else [])


@pytest.mark.parametrize(("spec", "ranges"), [
    ("0x1000..0x1fff", ((0x1000, 0x1FFF),)), ("0x1000+0x10,512-16", ((0x1000, 0x100F), (497, 512))),
    ("0xffffffff81000000+0x200000", ((0xFFFFFFFF81000000, 0xFFFFFFFF811FFFFF),))])
def test_dfilter(spec: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert parse_ranges(spec) == ranges
    log = Log()
    assert log.covers(5)
    log.ranges = ranges
    assert all(log.covers(first) and log.covers(last) and not log.covers(last + 1) for first, last in ranges)


@pytest.mark.parametrize("spec", ["", "x", "1", "2..1", "1+0", "0-2", "1..", "0x..5", "1e3..5", "0xffffffffffffffff+2", "1..2,,"])
def test_bad_dfilter(spec: str) -> None:
    with pytest.raises(PcemuError, match="-dfilter "):
        parse_ranges(spec)
