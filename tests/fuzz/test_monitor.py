"""Monitors with input from nobody's mind: lines, arguments, JSON. The machine stays, and no answer is a failure of ours.

`python -m pytest tests/fuzz/test_monitor.py --soak` runs more of it, with other seeds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcemu import chardev, monitor
from pcemu.machine.config import DeviceConfig, MachineConfig
from pcemu.machine.machine import Machine
from pcemu.monitor import Shell
from pcemu.monitor.introspect import schema
from pcemu.monitor.schema import Alternate, Array, Enum, Object, Type
from pcemu.monitor.table import COMMANDS, INFO, QMP
from pcemu.testing.fakes import FakeCore

# What ends the test, waits for somebody, or changes what the test stands on.
LEFT_OUT_LINES = {"quit", "q", "help", "?", "log", "logfile"}
LEFT_OUT = {"quit", "chardev-add", "chardev-change", "chardev-remove"}
WORDS = ["0", "-1", "1", "0x1000", "$eip", "$nope", "on", "off", "/4xw", "/99999999999x", "-a", "-f", "x", "/machine", "..",
         "''", '"', '"a b"', "\\", "%s%n", "\0", "a" * 5000, "(" * 300, "1+" * 300, "9" * 400, "r,id=1", "isa-serial,id=z",
         "ctrl-alt-", "é", "$",
         "tcp::1-:2", "d0", "18446744073709551615", "'a'", "~0", "1/0", ",", "=", "*", "file", "null,id=q9"]  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.chdir(tmp_path)             # for files that commands write
    made = Machine(MachineConfig(ram_size=1 << 20, devices=[DeviceConfig("isa-debug-exit", {"id": "d0"})],
                                 chardevs=[{"backend": "ringbuf", "id": "r"}]), core=FakeCore()).build()  # fmt: skip
    yield made
    made.close()


def lines(machine: Machine, seed: int, count: int) -> None:
    choose = random.Random(seed)
    shell = Shell(machine)
    names = sorted(set(COMMANDS) - LEFT_OUT_LINES)
    for _ in range(count):
        name = choose.choice(names)
        if name == "info":
            name += " " + choose.choice(sorted(INFO))
        line = " ".join([name, *(choose.choice(WORDS) for _ in range(choose.randrange(4)))])
        if choose.randrange(8) == 0:
            cut = choose.randrange(len(line))
            line = line[:cut] + chr(choose.randrange(1, 300)) + line[cut + 1 :]
        text = shell.run(line)
        assert "internal error" not in text, (line[:200], text)


def value(choose: random.Random, of: Type, depth: int = 0) -> Any:
    """Something of a type, or nearly."""
    if depth > 6 or choose.randrange(12) == 0:
        return choose.choice([None, True, 0, -1, 1 << 63, 1 << 70, 0.5, "", "x" * 1000, [], {}, [[]], {"a": {}}, "\0", "\ud800"])
    if isinstance(of, Enum):
        return choose.choice(of.values) if of.values else ""
    if isinstance(of, Array):
        return [value(choose, of.of, depth + 1) for _ in range(choose.randrange(4))]
    if isinstance(of, Alternate):
        return value(choose, choose.choice(of.choices), depth + 1)
    if isinstance(of, Object):
        given = {member.name: value(choose, member.type, depth + 1) for member in of.members
                 if not member.optional or choose.randrange(2)}  # fmt: skip
        variant = of.variants.get(given[of.tag]) if of.tag and isinstance(given.get(of.tag), str) else None
        more = value(choose, variant, depth + 1) if isinstance(variant, Object) and depth < 5 else {}
        return given | more if isinstance(more, dict) else more
    return {"str": choose.choice(WORDS), "int": choose.choice([0, 1, -1, 4096, 1 << 40, (1 << 64) - 1, -(1 << 63)]), "bool": True,
            "number": 1.5, "null": None, "any": choose.choice([1, "on", None, [], {}])}[of.name]  # fmt: skip


def requests(machine: Machine, seed: int, count: int) -> None:
    choose = random.Random(seed)
    stream: Any = chardev.create(machine, {"backend": "ringbuf", "id": f"qmp{seed}", "size": "4M"})
    monitor.create(machine, stream, mode="control")

    def turn() -> list[dict[str, Any]]:
        for _ in range(3):
            machine.loop.call_soon(machine.loop.stop)
            machine.loop.run_forever()
        found = [json.loads(line) for line in stream.read_ring(1 << 22).decode().split("\r\n") if line]
        return [message for message in found if "event" not in message]

    stream.feed(b'{"execute":"qmp_capabilities"}')
    turn()
    names = sorted(QMP.keys() - LEFT_OUT)
    for number in range(count):
        name = choose.choice(names)
        arguments = value(choose, schema().arguments[name])
        text = json.dumps({"execute": name, "arguments": arguments, "id": number}).encode()
        if choose.randrange(10) == 0:
            cut = choose.randrange(len(text))
            text = text[:cut] + bytes((choose.randrange(256),)) + text[cut + 1 :] + b"\n\xff"
        stream.feed(text)
        answers = turn()
        for _ in range(200):
            if answers:
                break
            answers = turn()
        for answer in answers:
            said = answer.get("error", {}).get("desc", "") or str(answer.get("return", ""))[:2000]
            assert "internal error" not in said, (text[:300], said)
    stream.feed(b'\xff\n{"execute":"query-name","id":"end"}')
    assert {"return": {}, "id": "end"} in turn()


def test_lines(machine: Machine) -> None:
    lines(machine, 1, 1500)


def test_requests(machine: Machine) -> None:
    requests(machine, 1, 1200)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 30))
def test_more(machine: Machine, seed: int) -> None:
    lines(machine, seed, 10_000)
    requests(machine, seed, 10_000)
